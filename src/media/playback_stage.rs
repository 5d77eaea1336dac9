//! The playback's thread: builds a branch for each wanted track, watches it and builds it again when it fails.
//!
//! Blocks while devices are opened and closed, which is why it is a thread. What a branch is built of is decided in
//! `plan_playback.rs`; which tracks are wanted, in `playback.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::bell::{lock, ring_on_news};
use super::jitter;
use super::plan_display::{self, Surface};
use super::plan_playback::{self, DECODER, Grudges, Kind, TO_SCREEN};
use super::playback::{Inlet, Shared, Track};
use super::rate::{Wish, pause};
use super::screen;
use super::{devices, init};
use crate::config::Board;

/// How long the thread sleeps when nothing is wanted of it.
const IDLE: Duration = Duration::from_secs(60);
/// After this time of playing, a branch's failures are forgotten.
const GOOD_AGE: Duration = Duration::from_secs(10);
/// How often video branches are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// A video branch that shows nothing for so long although it is fed needs a keyframe.
const DARK: Duration = Duration::from_millis(500);
/// So many packets count as being fed; fewer may be a sender's padding.
const FED: u64 = 5;
/// A decoder in hardware that shows nothing after so many requests in a row is taken for stuck: 3 s.
const IN_VAIN: u32 = 6;
/// A branch that shows nothing after so many is begun anew, whatever decodes it: 5 s. Its jitter buffer may wait for times
/// that a peer made up, and would gather packets until then.
const FOR_NOTHING: u32 = 10;

/// What the thread does for one track.
#[derive(Debug)]
enum Act {
    Playing {
        pipeline: gst::Pipeline,
        decoder: String,
        attempt: u32,
        since: Instant,
        sight: Sight,
    },
    Resting {
        until: Instant,
        attempt: u32,
    },
    /// Nothing on this machine can play it.
    Hopeless,
}

/// Whether a branch shows what it is fed. The depayloader drops everything before a keyframe without asking
/// for one, and a request may get lost on its way.
#[derive(Debug)]
struct Sight {
    /// Counts what the branch shows.
    shown: Arc<AtomicU64>,
    /// The counts when something was last shown or asked for, and when that was.
    last_shown: u64,
    last_fed: u64,
    since: Instant,
    /// How often in a row a keyframe was asked for and nothing was shown.
    in_vain: u32,
}

impl Sight {
    fn new(shown: Arc<AtomicU64>, fed: u64) -> Self {
        Self { shown, last_shown: 0, last_fed: fed, since: Instant::now(), in_vain: 0 }
    }

    /// Whether a keyframe is needed.
    fn is_dark(&mut self, fed: u64) -> bool {
        let shown = self.shown.load(Ordering::Relaxed);
        let is_dark = shown == self.last_shown && self.since.elapsed() >= DARK;
        let is_fed = fed.saturating_sub(self.last_fed) >= FED;
        if shown != self.last_shown || (is_dark && is_fed) {
            self.in_vain = if shown == self.last_shown { self.in_vain + 1 } else { 0 };
            self.last_shown = shown;
            self.last_fed = fed;
            self.since = Instant::now();
        }
        is_dark && is_fed
    }
}

/// The thread's own state.
#[derive(Debug)]
pub(super) struct Stage {
    house: House,
    acts: BTreeMap<u64, (Arc<Track>, Act)>,
}

/// What all branches have in common.
#[derive(Debug)]
struct House {
    board: Board,
    shared: Arc<Shared>,
    /// Takes pictures where the board's display stays open.
    screen: Option<Arc<screen::Shared>>,
    grudges: Grudges,
}

impl Stage {
    /// A stage that does nothing yet.
    pub(super) fn new(
        board: Board,
        shared: Arc<Shared>,
        screen: Option<Arc<screen::Shared>>,
    ) -> Self {
        let house = House { board, shared, screen, grudges: Grudges::default() };
        Self { house, acts: BTreeMap::new() }
    }

    /// The thread's whole life: until the playback ends.
    pub(super) fn run(mut self) {
        if let Err(error) = init() {
            self.house.shared.trouble(error.to_string());
            return;
        }
        self.plan_words();
        while let Some(mut wanted) = self.house.shared.tracks() {
            // Sound is the speaker's.
            wanted.retain(|_, track| track.stream.kind == Kind::Video);
            let house = &mut self.house;
            self.acts.retain(|id, (track, act)| {
                let keep = wanted.contains_key(id);
                if !keep {
                    act.stop(house, track);
                }
                keep
            });
            for (id, track) in wanted {
                let now = Act::Resting { until: Instant::now(), attempt: 0 };
                self.acts.entry(id).or_insert((track, now));
            }
            if !self.acts.values().any(|(track, _)| track.stream.kind == Kind::Video) {
                house.grudges.call_is_over();
            }
            for (track, act) in self.acts.values_mut() {
                house.tend(track, act);
            }
            let rest = self.until_next();
            self.house.shared.bell.wait(rest);
        }
        for (track, act) in self.acts.values_mut() {
            track.set_inlet(Inlet::Closed);
            act.stop(&self.house, track);
        }
    }

    fn plan_words(&self) {
        let found = devices::screen_probe();
        match plan_display::surface(&self.house.board.display, &found) {
            Surface::Counted(sink) | Surface::Direct(sink) => {
                lock(&self.house.shared.words).display = sink.label;
            }
            // The screen tells for itself.
            Surface::Screen(_) => {}
        }
    }

    fn until_next(&self) -> Duration {
        let now = Instant::now();
        let mut next = now + IDLE;
        for (track, act) in self.acts.values() {
            match act {
                Act::Resting { until, .. } => next = next.min(*until),
                Act::Playing { .. } if track.stream.kind == Kind::Video => {
                    next = next.min(now + LOOK)
                }
                Act::Playing { .. } | Act::Hopeless => {}
            }
            if let Some(deadline) = lock(&track.gate).deadline() {
                next = next.min(self.house.shared.origin + deadline);
            }
        }
        next.saturating_duration_since(now)
    }
}

impl House {
    fn tend(&mut self, track: &Arc<Track>, act: &mut Act) {
        if let Act::Resting { until, attempt } = act
            && *until <= Instant::now()
        {
            *act = self.perform(track, *attempt);
        }
        if let Act::Playing { pipeline, .. } = act
            && let Some(fault) = read_bus(pipeline)
        {
            act.fail(self, track, &fault);
        }
        if track.stream.kind == Kind::Video {
            self.look(track, act);
        }
        track.ask(self.shared.origin.elapsed());
    }

    /// Whether a branch of pictures shows what it is fed.
    fn look(&mut self, track: &Arc<Track>, act: &mut Act) {
        let Act::Playing { sight, decoder, since, .. } = act else { return };
        if sight.is_dark(track.fed.load(Ordering::Relaxed)) {
            lock(&track.gate).request(Wish::Again);
            if sight.in_vain >= FOR_NOTHING {
                tracing::debug!(
                    decoder,
                    "nothing is shown of what is fed; the branch is begun anew"
                );
                act.begin_anew(self, track);
            } else if sight.in_vain >= IN_VAIN && plan_playback::is_hardware(decoder) {
                let words = format!("{decoder} shows nothing of what it is fed");
                act.fail(self, track, &BranchFault { of_decoder: true, words });
            }
        } else if sight.last_shown > 0 && since.elapsed() >= GOOD_AGE {
            self.grudges.proved(decoder);
        }
    }
}

/// What went wrong in a branch.
#[derive(Debug)]
struct BranchFault {
    /// The decoder reports it, and another one may do.
    of_decoder: bool,
    words: String,
}

impl Act {
    fn stop(&mut self, house: &House, track: &Track) {
        if let Self::Playing { pipeline, .. } = self {
            take_down(pipeline);
            // Last, as a picture may come until then: held, it would hold the decoder's memory and device.
            if let (Kind::Video, Some(screen)) = (track.stream.kind, &house.screen) {
                screen.let_go();
            }
        }
    }

    /// Takes the branch down, to be built again at once.
    fn begin_anew(&mut self, house: &House, track: &Track) {
        let Self::Playing { attempt, .. } = self else { return };
        let attempt = *attempt;
        track.close_inlet_for_now();
        self.stop(house, track);
        house.shared.bell.ring();
        *self = Self::Resting { until: Instant::now(), attempt };
    }

    /// Takes the branch down, to be built again later; at once when another decoder may do.
    fn fail(&mut self, house: &mut House, track: &Track, fault: &BranchFault) {
        let Self::Playing { attempt, since, decoder, .. } = self else {
            return;
        };
        let attempt = if since.elapsed() >= GOOD_AGE { 0 } else { *attempt };
        let decoder = std::mem::take(decoder);
        track.close_inlet_for_now();
        self.stop(house, track);
        *self = house.fail(track, attempt, &decoder, fault);
    }
}

impl House {
    fn fail(&mut self, track: &Track, attempt: u32, decoder: &str, fault: &BranchFault) -> Act {
        let blamed =
            fault.of_decoder && plan_playback::is_hardware(decoder) && self.grudges.blame(decoder);
        if blamed {
            tracing::warn!(decoder, words = fault.words, "another decoder is tried");
            self.shared.trouble(fault.words.clone());
            self.shared.bell.ring();
            return Act::Resting { until: Instant::now(), attempt };
        }
        rest(&self.shared, track, attempt, &fault.words)
    }
}

fn rest(shared: &Shared, track: &Track, attempt: u32, words: &str) -> Act {
    let pause = pause(attempt);
    match attempt {
        0 => {
            tracing::warn!(kind = ?track.stream.kind, words, ?pause, "a remote track is not played; trying again")
        }
        _ => tracing::debug!(kind = ?track.stream.kind, words, ?pause, attempt, "still not played"),
    }
    shared.trouble(words.to_owned());
    Act::Resting { until: Instant::now() + pause, attempt: attempt.saturating_add(1) }
}

impl House {
    /// Builds and starts the branch of a track.
    fn perform(&mut self, track: &Arc<Track>, attempt: u32) -> Act {
        let shared = Arc::clone(&self.shared);
        let broken = self.grudges.broken();
        let plan =
            plan_playback::playback(&track.stream, &self.board, &devices::screen_probe(), &broken);
        let plan = match plan {
            Ok(plan) => plan,
            Err(words) => {
                tracing::warn!(kind = ?track.stream.kind, words, "a remote track cannot be played");
                shared.trouble(words);
                return Act::Hopeless;
            }
        };
        let shown = Arc::new(AtomicU64::new(0));
        let fed = track.fed.load(Ordering::Relaxed);
        let (pipeline, source) = match build(&plan.text, &shared, track, &shown) {
            Ok(built) => built,
            Err(words) => return rest(&shared, track, attempt, &words),
        };
        if track.stream.kind == Kind::Video {
            plain_caps(&pipeline);
            self.show_pictures(&pipeline);
        }
        shared.branches_built.fetch_add(1, Ordering::Relaxed);
        // The screen tells for itself.
        if !plan.sink.is_empty() {
            lock(&shared.words).display.clone_from(&plan.sink);
        }
        if let Err(error) = pipeline.set_state(gst::State::Playing) {
            let unknown = BranchFault { of_decoder: false, words: error.to_string() };
            let fault = read_bus(&pipeline).unwrap_or(unknown);
            take_down(&pipeline);
            return self.fail(track, attempt, &plan.decoder, &fault);
        }
        tracing::debug!(kind = ?track.stream.kind, decoder = plan.decoder, sink = plan.sink, "playing a remote track");
        track.open_inlet(source);
        let sight = Sight::new(shown, fed);
        Act::Playing { pipeline, decoder: plan.decoder, attempt, since: Instant::now(), sight }
    }

    /// Pictures of this branch go to the screen, if the plan says so.
    fn show_pictures(&self, pipeline: &gst::Pipeline) {
        let sink =
            pipeline.by_name(TO_SCREEN).and_then(|sink| sink.downcast::<gst_app::AppSink>().ok());
        let (Some(sink), Some(screen)) = (sink, &self.screen) else { return };
        let screen = Arc::clone(screen);
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            screen.picture(sink.pull_sample().map_err(|_| gst::FlowError::Eos)?);
            Ok(gst::FlowSuccess::Ok)
        });
        sink.set_callbacks(callbacks.build());
    }
}

/// What a picture's colours mean stands in its caps, and `v4l2h264dec` refuses meanings its driver does not know
/// (raspberrypi/linux 7560). A door can do without.
fn plain_caps(pipeline: &gst::Pipeline) {
    let Some(pad) = pipeline.by_name(DECODER).and_then(|decoder| decoder.static_pad("sink")) else {
        return;
    };
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        if let Some(gst::PadProbeData::Event(event)) = &mut info.data
            && let gst::EventView::Caps(caps) = event.view()
            && caps.caps().structure(0).is_some_and(|fields| fields.has_field("colorimetry"))
        {
            let mut plain = caps.caps_owned();
            if let Some(fields) = plain.make_mut().structure_mut(0) {
                fields.remove_field("colorimetry");
            }
            *event = gst::event::Caps::builder(&plain).seqnum(event.seqnum()).build();
        }
        gst::PadProbeReturn::Ok
    });
}

fn build(
    text: &str,
    shared: &Arc<Shared>,
    track: &Arc<Track>,
    shown: &Arc<AtomicU64>,
) -> Result<(gst::Pipeline, gst_app::AppSrc), String> {
    let pipeline = gst::parse::launch(text)
        .map_err(|error| format!("the branch cannot be built: {}", error.message()))?
        .downcast::<gst::Pipeline>()
        .map_err(|_| "the branch cannot be built: no sink".to_owned())?;
    let source =
        pipeline.by_name("in").and_then(|source| source.downcast::<gst_app::AppSrc>().ok());
    let source = source
        .ok_or("the branch cannot be built: the board's pipeline uses the name \"in\" itself")?;
    jitter::bound(pipeline.upcast_ref());
    if let Some(pad) = source.static_pad("src") {
        // Weak, because the track holds the source and the source would hold the track.
        let (track, shared) = (Arc::downgrade(track), Arc::downgrade(shared));
        pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
            let wish = info.event().is_some_and(|event| gst_video::ForceKeyUnitEvent::is(event));
            if wish && let (Some(track), Some(shared)) = (track.upgrade(), shared.upgrade()) {
                lock(&track.gate).request(Wish::Again);
                track.ask(shared.origin.elapsed());
                // A wish that has to wait is seen to by the thread.
                shared.bell.ring();
            }
            gst::PadProbeReturn::Ok
        });
    }
    if let Some(pad) = pipeline.by_name("shown").and_then(|shown| shown.static_pad("src")) {
        let shown = Arc::clone(shown);
        let in_all = Arc::clone(&shared.video_frames);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            shown.fetch_add(1, Ordering::Relaxed);
            in_all.fetch_add(1, Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        });
    }
    ring_on_news(&pipeline, shared, |shared| &shared.bell);
    Ok((pipeline, source))
}

/// Reads what came on the bus; the first error ends the reading.
fn read_bus(pipeline: &gst::Pipeline) -> Option<BranchFault> {
    let bus = pipeline.bus()?;
    while let Some(message) = bus.pop() {
        match message.view() {
            gst::MessageView::Latency(_) => {
                if let Err(error) = pipeline.recalculate_latency() {
                    tracing::debug!(%error, "the branch's delay could not be worked out");
                }
            }
            gst::MessageView::Error(error) => {
                let name = message.src().map(|source| source.name().to_string());
                tracing::debug!(detail = ?error.debug(), "a branch reports an error");
                let name = name.unwrap_or_default();
                let words = format!("{name}: {}", error.error().message());
                return Some(BranchFault { of_decoder: is_up_to_decoder(&name), words });
            }
            _ => {}
        }
    }
    None
}

/// Whether an error of this element may be the decoder's: caps it refuses are reported by whoever sent them.
fn is_up_to_decoder(element: &str) -> bool {
    let before = ["rtp", "h264parse"].iter().any(|kind| element.starts_with(kind));
    before || element == "in" || element == DECODER
}

fn take_down(pipeline: &gst::Pipeline) {
    if let Some(bus) = pipeline.bus() {
        bus.unset_sync_handler();
    }
    if let Err(error) = pipeline.set_state(gst::State::Null) {
        tracing::warn!(%error, "a branch did not stop cleanly");
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan_playback::RemoteStream;
    use super::super::playback::Playback;
    use super::*;

    fn house() -> House {
        let mut board =
            crate::config::built_in_board("sim").expect("the simulated board is built in");
        board.display.source = crate::config::Source::Off;
        let shared = Playback::new(&board).shared();
        House { board, shared, screen: None, grudges: Grudges::default() }
    }

    fn track() -> Track {
        let stream = RemoteStream {
            kind: Kind::Video,
            encoding: "H264".to_owned(),
            payload_type: 96,
            clock_rate: 90_000,
        };
        Track::new(stream, Arc::new(|| {}))
    }

    fn fault(element: &str) -> BranchFault {
        BranchFault { of_decoder: is_up_to_decoder(element), words: format!("{element}: broken") }
    }

    fn rests(act: &Act) -> bool {
        matches!(act, Act::Resting { until, .. } if *until > Instant::now() + Duration::from_millis(50))
    }

    #[test]
    fn a_decoder_in_hardware_that_fails_is_replaced_at_once() {
        let (mut house, track) = (house(), track());
        let act = house.fail(&track, 0, "v4l2h264dec", &fault(DECODER));
        assert!(matches!(act, Act::Resting { attempt: 0, .. }) && !rests(&act), "{act:?}");
        assert!(house.grudges.broken().contains("v4l2h264dec"));
        let again = house.fail(&track, 0, "v4l2h264dec", &fault("in"));
        assert!(rests(&again), "it was the only one: {again:?}");
    }

    #[test]
    fn other_failures_are_tried_again_after_a_pause() {
        let (mut house, track) = (house(), track());
        let software = house.fail(&track, 0, "avdec_h264", &fault(DECODER));
        assert!(rests(&software), "{software:?}");
        let sink = house.fail(&track, 0, "v4l2h264dec", &fault("autovideosink0"));
        assert!(rests(&sink), "{sink:?}");
        assert!(house.grudges.broken().is_empty());
    }

    #[test]
    fn nothing_shown_for_three_seconds_of_packets_is_a_stuck_decoder() {
        let shown = Arc::new(AtomicU64::new(0));
        let mut sight = Sight::new(Arc::clone(&shown), 0);
        let mut fed = 0;
        for round in 1..=IN_VAIN {
            fed += FED;
            sight.since = Instant::now() - DARK;
            assert!(sight.is_dark(fed));
            assert_eq!(sight.in_vain, round);
        }
        shown.store(1, Ordering::Relaxed);
        assert!(!sight.is_dark(fed + FED));
        assert_eq!(sight.in_vain, 0, "a picture makes good");
    }

    #[test]
    fn the_decoder_is_not_told_what_colours_mean() {
        init().expect("GStreamer starts");
        let text = format!(
            "appsrc name=in format=time caps=\"video/x-h264,stream-format=byte-stream,alignment=au,\
             width=640,height=480,colorimetry=bt709\" ! identity name={DECODER} ! appsink name=out sync=false"
        );
        let pipeline = gst::parse::launch(&text).expect("a pipeline");
        let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
        plain_caps(&pipeline);
        pipeline.set_state(gst::State::Playing).expect("it starts");
        let source = pipeline.by_name("in").expect("a source");
        let source = source.downcast::<gst_app::AppSrc>().expect("an appsrc");
        source.push_buffer(gst::Buffer::from_slice([0_u8; 8])).expect("it is taken");
        let out = pipeline.by_name("out").expect("a sink");
        let out = out.downcast::<gst_app::AppSink>().expect("an appsink");
        let sample = out.try_pull_sample(gst::ClockTime::from_seconds(20)).expect("in time");
        let caps = sample.caps().expect("caps");
        let fields = caps.structure(0).expect("fields");
        assert!(!fields.has_field("colorimetry"), "{caps}");
        assert_eq!(fields.get::<i32>("width"), Ok(640), "everything else stays");
        pipeline.set_state(gst::State::Null).expect("it stops");
    }
}
