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

use super::bell::lock;
use super::plan_playback::{self, Kind};
use super::playback::{Inlet, Shared, Track};
use super::rate::pause;
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

/// What the thread does for one track.
#[derive(Debug)]
enum Act {
    Playing {
        pipeline: gst::Pipeline,
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
}

impl Sight {
    fn new(shown: Arc<AtomicU64>, fed: u64) -> Self {
        Self { shown, last_shown: 0, last_fed: fed, since: Instant::now() }
    }

    /// Whether a keyframe is needed.
    fn is_dark(&mut self, fed: u64) -> bool {
        let shown = self.shown.load(Ordering::Relaxed);
        let is_dark = shown == self.last_shown && self.since.elapsed() >= DARK;
        let is_fed = fed.saturating_sub(self.last_fed) >= FED;
        if shown != self.last_shown || (is_dark && is_fed) {
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
    board: Board,
    shared: Arc<Shared>,
    acts: BTreeMap<u64, (Arc<Track>, Act)>,
}

impl Stage {
    /// A stage that does nothing yet.
    pub(super) fn new(board: Board, shared: Arc<Shared>) -> Self {
        Self { board, shared, acts: BTreeMap::new() }
    }

    /// The thread's whole life: until the playback ends.
    pub(super) fn run(mut self) {
        if let Err(error) = init() {
            self.shared.trouble(error.to_string());
            return;
        }
        self.plan_words();
        while let Some(mut wanted) = self.shared.tracks() {
            // Sound is the speaker's.
            wanted.retain(|_, track| track.stream.kind == Kind::Video);
            let shared = Arc::clone(&self.shared);
            self.acts.retain(|id, (_, act)| {
                let keep = wanted.contains_key(id);
                if !keep {
                    act.stop();
                }
                keep
            });
            for (id, track) in wanted {
                let now = Act::Resting { until: Instant::now(), attempt: 0 };
                self.acts.entry(id).or_insert((track, now));
            }
            for (track, act) in self.acts.values_mut() {
                Self::tend(&self.board, &shared, track, act);
            }
            shared.bell.wait(self.until_next());
        }
        for (track, act) in self.acts.values_mut() {
            track.set_inlet(Inlet::Closed);
            act.stop();
        }
    }

    fn plan_words(&self) {
        let found = devices::probe();
        lock(&self.shared.words).display = plan_playback::display(&self.board, &found).label;
    }

    fn tend(board: &Board, shared: &Arc<Shared>, track: &Arc<Track>, act: &mut Act) {
        if let Act::Resting { until, attempt } = act
            && *until <= Instant::now()
        {
            *act = perform(board, shared, track, *attempt);
        }
        if let Act::Playing { pipeline, .. } = act
            && let Some(words) = read_bus(pipeline)
        {
            act.fail(shared, track, &words);
        }
        if let Act::Playing { sight, .. } = act
            && track.stream.kind == Kind::Video
            && sight.is_dark(track.fed.load(Ordering::Relaxed))
        {
            lock(&track.gate).request();
        }
        track.ask(shared.origin.elapsed());
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
                next = next.min(self.shared.origin + deadline);
            }
        }
        next.saturating_duration_since(now)
    }
}

impl Act {
    fn stop(&mut self) {
        if let Self::Playing { pipeline, .. } = self {
            take_down(pipeline);
        }
    }

    /// Takes the branch down, to be built again later.
    fn fail(&mut self, shared: &Shared, track: &Track, words: &str) {
        let Self::Playing { attempt, since, .. } = self else {
            return;
        };
        let attempt = if since.elapsed() >= GOOD_AGE { 0 } else { *attempt };
        track.close_inlet_for_now();
        self.stop();
        *self = rest(shared, track, attempt, words);
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

/// Builds and starts the branch of a track.
fn perform(board: &Board, shared: &Arc<Shared>, track: &Arc<Track>, attempt: u32) -> Act {
    let plan = match plan_playback::playback(&track.stream, board, &devices::probe()) {
        Ok(plan) => plan,
        Err(words) => {
            tracing::warn!(kind = ?track.stream.kind, words, "a remote track cannot be played");
            shared.trouble(words);
            return Act::Hopeless;
        }
    };
    let shown = Arc::new(AtomicU64::new(0));
    let fed = track.fed.load(Ordering::Relaxed);
    let (pipeline, source) = match build(&plan.text, shared, track, &shown) {
        Ok(built) => built,
        Err(words) => return rest(shared, track, attempt, &words),
    };
    shared.branches_built.fetch_add(1, Ordering::Relaxed);
    lock(&shared.words).display.clone_from(&plan.sink);
    if let Err(error) = pipeline.set_state(gst::State::Playing) {
        let words = read_bus(&pipeline).unwrap_or_else(|| error.to_string());
        take_down(&pipeline);
        return rest(shared, track, attempt, &words);
    }
    tracing::debug!(kind = ?track.stream.kind, decoder = plan.decoder, sink = plan.sink, "playing a remote track");
    track.open_inlet(source);
    Act::Playing { pipeline, attempt, since: Instant::now(), sight: Sight::new(shown, fed) }
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
    if let Some(pad) = source.static_pad("src") {
        // Weak, because the track holds the source and the source would hold the track.
        let (track, shared) = (Arc::downgrade(track), Arc::downgrade(shared));
        pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
            let wish = info.event().is_some_and(|event| gst_video::ForceKeyUnitEvent::is(event));
            if wish && let (Some(track), Some(shared)) = (track.upgrade(), shared.upgrade()) {
                lock(&track.gate).request();
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
    if let Some(bus) = pipeline.bus() {
        let shared = Arc::downgrade(shared);
        // Only what `read_bus` reads is kept: the bus would grow.
        bus.set_sync_handler(move |_, message| match message.type_() {
            gst::MessageType::Error | gst::MessageType::Latency => {
                if let Some(shared) = shared.upgrade() {
                    shared.bell.ring();
                }
                gst::BusSyncReply::Pass
            }
            _ => gst::BusSyncReply::Drop,
        });
    }
    Ok((pipeline, source))
}

/// Reads what came on the bus; the first error ends the reading.
fn read_bus(pipeline: &gst::Pipeline) -> Option<String> {
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
                return Some(format!("{}: {}", name.unwrap_or_default(), error.error().message()));
            }
            _ => {}
        }
    }
    None
}

fn take_down(pipeline: &gst::Pipeline) {
    if let Some(bus) = pipeline.bus() {
        bus.unset_sync_handler();
    }
    if let Err(error) = pipeline.set_state(gst::State::Null) {
        tracing::warn!(%error, "a branch did not stop cleanly");
    }
}
