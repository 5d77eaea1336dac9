//! The speaker's pipeline while it is open: a mixer that never stops, the echo probe, the sink; and what is plugged
//! into the mixer.
//!
//! Built, watched and taken down by `speaker_stage.rs`; decides nothing itself.

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::behind::Behind;
use super::bell::{lock, ring_on_news};
use super::echo::on_the_system_s_time;
use super::jitter;
use super::plan_sound::{CAPS, SpeakerPlan};
use super::speaker::SpeakerDesk;

/// A sound begins so long after it was asked for, so that its beginning is not behind what was mixed already.
const LEAD: gst::ClockTime = gst::ClockTime::from_mseconds(20);
/// Between the echo probe and the sink; [`AHEAD`] says how much.
const QUEUE: &str = "queue name=ahead max-size-buffers=0 max-size-bytes=0";
/// How much of sound may wait for the sink, and as much more as a slow machine plays later (`behind.rs`). Full when the sink
/// stands still, which then stops the mixer.
const AHEAD: gst::ClockTime = gst::ClockTime::from_mseconds(200);
/// What is mixed with less left than this until it is to be heard may come too late for a sink without a buffer.
const TOO_LATE: gst::ClockTime = gst::ClockTime::from_mseconds(13);
/// A sink with a buffer fills the card's, which is as long, by itself. So its own is read ahead of the ear by as much, and
/// so much more.
const READ_AHEAD: gst::ClockTime = gst::ClockTime::from_mseconds(3);
/// How long the rehearsal may take; it is some 50 ms of sound.
const REHEARSAL: gst::ClockTime = gst::ClockTime::from_seconds(1);
/// Taken for the delay of a sink that does not tell.
const USUAL_DELAY: gst::ClockTime = gst::ClockTime::from_mseconds(300);

/// The open pipeline.
#[derive(Debug)]
pub(super) struct SpeakerLine {
    pipeline: gst::Pipeline,
    mixer: gst::Element,
    probe: Option<gst::Element>,
    /// Until when there is something mixed, in nanoseconds of the system's clock.
    mixed_to: Arc<AtomicU64>,
    behind: Arc<Mutex<Behind>>,
    /// The queue before the sink.
    ahead: gst::Element,
    /// Mixed with less left than this until it is to be heard, a piece comes too late for its sink.
    too_late: gst::ClockTime,
    /// How much later everything is played as the machine is behind; `None` until the sink plays and was asked for its delay.
    extra: Option<gst::ClockTime>,
}

/// Something plugged into the mixer.
#[derive(Debug)]
pub(super) struct Strand {
    bin: gst::Bin,
    pad: gst::Pad,
    begins: gst::ClockTime,
    ends: gst::ClockTime,
}

impl Strand {
    /// The time of its first sample in the mixer, on the system's clock; it is heard later by the line's delay.
    pub(super) fn begins(&self) -> gst::ClockTime {
        self.begins
    }
}

impl SpeakerLine {
    /// Builds the pipeline and starts it. Blocks while the card is opened.
    ///
    /// # Errors
    /// A sentence saying what does not work.
    pub(super) fn open(
        plan: &SpeakerPlan,
        desk: &Arc<SpeakerDesk>,
        probe: Option<gst::Element>,
    ) -> Result<Self, String> {
        let told = |what: &str| format!("the speaker cannot be built: {what}");
        let (pipeline, sink) = Self::build(plan)?;
        let part = |name| pipeline.by_name(name).ok_or_else(|| told(name));
        let (mixer, mixed) = (part("mixer")?, part("mixed")?);
        let ahead = sink.by_name("ahead").ok_or_else(|| told("ahead"))?;
        ahead.set_property("max-size-time", AHEAD.nseconds());
        let end = sink.iterate_sinks().next().ok().flatten().ok_or_else(|| told("no sink"))?;
        let line = Self {
            pipeline,
            mixer,
            probe,
            mixed_to: Arc::default(),
            behind: Arc::default(),
            ahead,
            too_late: buffer_of(&end).map_or(TOO_LATE, |buffer| buffer + READ_AHEAD),
            extra: None,
        };
        line.join(&mixed, sink.upcast_ref()).map_err(|error| told(&error.to_string()))?;
        line.watch(&mixed, desk);
        on_the_system_s_time(&line.pipeline);
        match line.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(line),
            Err(error) => {
                let words = line.read_bus().unwrap_or_else(|| error.to_string());
                line.close();
                Err(words)
            }
        }
    }

    /// Loads what an opening needs, so that the first takes no longer than the others: builds one that opens nothing, and
    /// plays a moment of silence to nobody, as code is loaded and made on its first use only.
    pub(super) fn warm_up(plan: &SpeakerPlan) {
        if let Err(why) = Self::build(plan) {
            tracing::debug!(why, "the speaker cannot be built yet");
        }
        if let Err(why) = Self::rehearse() {
            tracing::debug!(why, "nothing could be played to nobody");
        }
    }

    fn rehearse() -> Result<(), String> {
        let nobody = SpeakerPlan {
            text: "audioconvert ! audioresample ! fakesink sync=true num-buffers=5".to_owned(),
            label: "nobody".to_owned(),
            card: None,
            is_real: false,
            stands_in: false,
        };
        let desk = Arc::default();
        let line = Self::open(&nobody, &desk, None)?;
        let bus = line.pipeline.bus();
        if let Some(bus) = &bus {
            // It lets no end through.
            bus.unset_sync_handler();
        }
        let sound = line.add_sound(vec![0; 480]);
        if let Some(bus) = bus {
            bus.timed_pop_filtered(REHEARSAL, &[gst::MessageType::Eos, gst::MessageType::Error]);
        }
        line.close();
        sound.map(|_| ())
    }

    fn build(plan: &SpeakerPlan) -> Result<(gst::Pipeline, gst::Bin), String> {
        let told = |what: &str| format!("the speaker cannot be built: {what}");
        // Silence under everything: it gives the pace, and the mixer nothing to wait for.
        let floor = format!(
            "audiotestsrc name=floor is-live=true wave=silence samplesperbuffer=480 ! {CAPS} ! mixer. \
             audiomixer name=mixer output-buffer-duration=10000000 start-time-selection=first \
             ! capsfilter name=mixed caps=\"{CAPS}\""
        );
        let pipeline = gst::parse::launch(&floor)
            .map_err(|error| told(error.message()))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| told("no pipeline"))?;
        // The probe hears what is mixed at once and not only when the sink takes it: the canceller needs to know
        // it before it is played.
        let text = format!("{QUEUE} ! {}", plan.text);
        let sink =
            gst::parse::bin_from_description(&text, true).map_err(|error| told(error.message()))?;
        Ok((pipeline, sink))
    }

    fn join(&self, mixed: &gst::Element, sink: &gst::Element) -> Result<(), gst::glib::BoolError> {
        self.pipeline.add(sink)?;
        match &self.probe {
            Some(probe) => {
                self.pipeline.add(probe)?;
                gst::Element::link_many([mixed, probe, sink])
            }
            None => mixed.link(sink),
        }
    }

    fn watch(&self, mixed: &gst::Element, desk: &Arc<SpeakerDesk>) {
        // Not at the sink: one that waits for the clock holds up the next piece, which is then late for no fault of the machine.
        if let Some(pad) = mixed.static_pad("src") {
            let desk = Arc::downgrade(desk);
            let (mixed_to, behind) = (Arc::clone(&self.mixed_to), Arc::clone(&self.behind));
            let clock = gst::SystemClock::obtain();
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                let Some(desk) = desk.upgrade() else { return gst::PadProbeReturn::Ok };
                desk.counts.mixed.fetch_add(1, Ordering::Relaxed);
                // Silence too is for the card: a sink that is handed a gap waits for its end, and has the beginning of what
                // comes next too late.
                if let Some(piece) = info.buffer_mut() {
                    piece.make_mut().unset_flags(gst::BufferFlags::GAP);
                }
                let times = info.buffer().and_then(|it| Some((it.pts()?, it.duration()?)));
                if let Some((begins, length)) = times {
                    mixed_to.store((begins + length).nseconds(), Ordering::Relaxed);
                    let now = clock.time();
                    let late = now.saturating_sub(begins).nseconds();
                    if lock(&behind).note(late, now.nseconds()) {
                        desk.bell.ring();
                    }
                }
                gst::PadProbeReturn::Ok
            });
        }
        ring_on_news(&self.pipeline, desk, |desk| &desk.bell);
    }

    /// Plays everything so much later as the machine is behind. The canceller is told of it with the pipeline's latency. For a
    /// line that plays.
    pub(super) fn keep_up(&mut self) {
        let extra = gst::ClockTime::from_nseconds(lock(&self.behind).extra());
        if self.extra != Some(extra) {
            tracing::debug!(%extra, "how much later the speaker plays, as the machine is behind");
            self.extra = Some(extra);
            self.work_out_latency();
        }
    }

    /// Whether the machine is so far behind that nothing is heard now.
    pub(super) fn is_mute(&self) -> bool {
        lock(&self.behind).is_mute()
    }

    /// Whether the machine is so far behind that nothing will be heard any more.
    pub(super) fn is_lost(&self) -> bool {
        lock(&self.behind).is_lost()
    }

    fn work_out_latency(&self) {
        let extra = self.extra.unwrap_or_default();
        self.ahead.set_property("max-size-time", (AHEAD + extra).nseconds());
        // A sink that waits for no clock plays whatever comes when it comes.
        if let Some(needed) = self.needed() {
            lock(&self.behind).allow(needed.saturating_sub(self.too_late).nseconds());
            let wanted = (extra > gst::ClockTime::ZERO).then(|| needed + extra);
            self.pipeline.set_latency(wanted);
        }
        if let Err(error) = self.pipeline.recalculate_latency() {
            tracing::debug!(%error, "the speaker's delay could not be worked out");
        }
    }

    /// From the mixer to the ear on a machine in time, as the sink tells it; `None` if it does not, or waits for no clock.
    fn needed(&self) -> Option<gst::ClockTime> {
        let mut query = gst::query::Latency::new();
        let is_told = self.pipeline.query(&mut query);
        let (is_live, least, _) = query.result();
        (is_told && is_live).then_some(least)
    }

    /// Reads what came on the bus; the first error ends the reading.
    pub(super) fn read_bus(&self) -> Option<String> {
        let bus = self.pipeline.bus()?;
        while let Some(message) = bus.pop() {
            match message.view() {
                gst::MessageView::Latency(_) => self.work_out_latency(),
                gst::MessageView::Error(error) => {
                    let name = message.src().map(|source| source.name().to_string());
                    tracing::debug!(detail = ?error.debug(), "the speaker reports an error");
                    let name = name.unwrap_or_default();
                    return Some(format!("{name}: {}", error.error().message()));
                }
                _ => {}
            }
        }
        None
    }

    /// Whether the sink plays. What is mixed before that comes too late to be heard.
    pub(super) fn is_playing(&self) -> bool {
        let (change, state, _) = self.pipeline.state(gst::ClockTime::ZERO);
        state == gst::State::Playing && change.is_ok_and(|it| it != gst::StateChangeSuccess::Async)
    }

    /// Whether all of it has been heard; of a voice, which has no end, always.
    pub(super) fn has_played(&self, strand: &Strand) -> bool {
        self.mixed_to.load(Ordering::Relaxed) >= strand.ends.nseconds()
            && gst::SystemClock::obtain().time() >= strand.ends + self.delay()
    }

    /// From the mixer to the ear, as the sink tells it and as much as the machine is behind.
    pub(super) fn delay(&self) -> gst::ClockTime {
        self.needed().unwrap_or(USUAL_DELAY) + self.extra.unwrap_or_default()
    }

    /// Plugs in a remote voice: pipeline text from an appsrc called `in` to what the mixer takes. What is heard of it is
    /// counted in both.
    ///
    /// # Errors
    /// A sentence saying what does not work.
    pub(super) fn add_voice(
        &self,
        text: &str,
        heard: &[Arc<AtomicU64>; 2],
    ) -> Result<(Strand, gst_app::AppSrc), String> {
        let (strand, source) = self.plug(text)?;
        jitter::bound(&strand.bin);
        if let Some(pad) = strand.bin.by_name("shown").and_then(|shown| shown.static_pad("src")) {
            let heard = heard.clone();
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                for count in &heard {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                gst::PadProbeReturn::Ok
            });
        }
        self.start(&strand)?;
        Ok((strand, source))
    }

    /// Plugs in a sound that begins now.
    ///
    /// # Errors
    /// A sentence saying what does not work.
    pub(super) fn add_sound(&self, samples: Vec<i16>) -> Result<Strand, String> {
        let text = format!(
            "appsrc name=in is-live=true format=time caps=\"{CAPS}\" ! queue max-size-bytes=0"
        );
        let (mut strand, source) = self.plug(&text)?;
        self.start(&strand)?;
        let length = super::tones::duration(samples.len());
        let length = gst::ClockTime::from_nseconds(length.as_nanos() as u64);
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        strand.begins = gst::SystemClock::obtain().time() + LEAD;
        strand.ends = strand.begins + length;
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(strand.begins);
            buffer.set_duration(length);
        }
        // Refused only while the pipeline is being taken down.
        let _ = source.push_buffer(buffer).and_then(|_| source.end_of_stream());
        Ok(strand)
    }

    fn plug(&self, text: &str) -> Result<(Strand, gst_app::AppSrc), String> {
        let told = |what: &str| format!("a sound cannot be plugged in: {what}");
        let bin =
            gst::parse::bin_from_description(text, true).map_err(|error| told(error.message()))?;
        let source = bin.by_name("in").and_then(|source| source.downcast::<gst_app::AppSrc>().ok());
        let source = source.ok_or_else(|| told("it has no source"))?;
        let pad =
            self.mixer.request_pad_simple("sink_%u").ok_or_else(|| told("the mixer is full"))?;
        let strand = Strand { bin, pad, begins: gst::ClockTime::ZERO, ends: gst::ClockTime::ZERO };
        self.pipeline.add(&strand.bin).map_err(|error| told(&error.to_string()))?;
        Ok((strand, source))
    }

    fn start(&self, strand: &Strand) -> Result<(), String> {
        let linked = strand
            .bin
            .static_pad("src")
            .ok_or_else(|| "it has no end".to_owned())
            .and_then(|end| end.link(&strand.pad).map_err(|error| error.to_string()));
        let started = linked
            .and_then(|_| strand.bin.sync_state_with_parent().map_err(|error| error.to_string()));
        started.map_err(|why| {
            self.remove(strand);
            format!("a sound cannot be plugged in: {why}")
        })
    }

    /// Unplugs it and frees its threads.
    pub(super) fn remove(&self, strand: &Strand) {
        strand.bin.set_locked_state(true);
        // A card that stands still holds the strand's thread inside the mixer; it has to be let out first.
        if let Err(error) = strand.pad.set_active(false) {
            tracing::debug!(%error, "a place at the mixer was not in use");
        }
        if let Err(error) = strand.bin.set_state(gst::State::Null) {
            tracing::warn!(%error, "a sound did not stop cleanly");
        }
        if let Some(end) = strand.bin.static_pad("src")
            && end.is_linked()
            && let Err(error) = end.unlink(&strand.pad)
        {
            tracing::debug!(%error, "a sound was not plugged in");
        }
        self.mixer.release_request_pad(&strand.pad);
        if let Err(error) = self.pipeline.remove(&strand.bin) {
            tracing::debug!(%error, "a sound was in no pipeline");
        }
    }

    /// Stops everything and closes the card. Blocks meanwhile. The echo probe is kept for the next pipeline.
    pub(super) fn close(&self) {
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
        if let Err(error) = self.pipeline.set_state(gst::State::Null) {
            tracing::warn!(%error, "the speaker did not stop cleanly");
        }
        if let Some(probe) = &self.probe
            && let Err(error) = self.pipeline.remove(probe)
        {
            tracing::debug!(%error, "the echo probe was in no pipeline");
        }
    }
}

/// How much sound a sink has room for, if it says so.
fn buffer_of(sink: &gst::Element) -> Option<gst::ClockTime> {
    let has =
        |element: &gst::Element| element.has_property_with_type("buffer-time", i64::static_type());
    let micros = has(sink).then(|| sink.property::<i64>("buffer-time"))?;
    u64::try_from(micros).ok().map(gst::ClockTime::from_useconds)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::config::{Board, Source};
    use crate::media::devices::sound_probe;
    use crate::media::plan_sound::{self, MicrophonePlan, VOICE_PROCESSOR};
    use crate::media::room::{find, level_db, speech};
    use crate::media::tones::RATE;

    /// A piece of 10 ms.
    const PIECE: usize = RATE as usize / 100;

    fn samples(bytes: &[u8]) -> Vec<f64> {
        let pairs = bytes.chunks_exact(2);
        pairs.map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0).collect()
    }

    fn numbers(samples: &[f64]) -> Vec<i16> {
        samples.iter().map(|sample| (sample * 32_767.0) as i16).collect()
    }

    /// What came out of a room: what its microphone heard, and the same after the voice processor.
    struct Heard {
        raw: Vec<f64>,
        processed: Vec<f64>,
        near: Vec<f64>,
    }

    /// A room: what is played comes back after `delay` samples, through some walls; somebody speaks in it too.
    ///
    /// Speaker and microphone are different pipelines, as in the door. The microphone's samples carry the time at
    /// which they would have been recorded, so that a busy machine changes nothing in what is measured.
    fn in_a_room(board: &Board, delay: usize, far: Vec<f64>, near: Vec<f64>) -> Heard {
        let desk = Arc::new(SpeakerDesk::default());
        let own = |text: &str| MicrophonePlan {
            text: text.to_owned(),
            label: "room".to_owned(),
            card: None,
            is_real: true,
        };
        let source = own("appsrc name=air is-live=true format=time");
        let voice =
            plan_sound::voice(board, &sound_probe(), &source).text.expect("it is processed");
        let text = format!(
            "{} caps=\"{CAPS}\" ! {CAPS} ! {voice} ! appsink name=out sync=false",
            source.text
        );
        let microphone = gst::parse::launch(&text).expect("a microphone");
        let microphone = microphone.downcast::<gst::Pipeline>().expect("a pipeline");
        on_the_system_s_time(&microphone);
        desk.echo.tie(&microphone.by_name(VOICE_PROCESSOR).expect("a processor"));
        let out = microphone.by_name("out").expect("an end").downcast::<gst_app::AppSink>();
        let processed = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&processed);
        let (tell, told) = mpsc::channel();
        let wanted = near.len();
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let buffer = sample.buffer().ok_or(gst::FlowError::Error)?;
            let map = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
            let mut kept = lock(&kept);
            kept.extend(samples(&map));
            if kept.len() >= wanted {
                let _ = tell.send(());
            }
            Ok(gst::FlowSuccess::Ok)
        });
        out.expect("an appsink").set_callbacks(callbacks.build());
        microphone.set_state(gst::State::Playing).expect("it starts");

        let plan = plan_sound::speaker(board, &sound_probe());
        let line = SpeakerLine::open(&plan, &desk, desk.echo.probe()).expect("a speaker");
        let air = microphone.by_name("air").expect("a source").downcast::<gst_app::AppSrc>();
        let air = air.expect("an appsrc");
        let mut past: VecDeque<f64> = std::iter::repeat_n(0.0, delay + 4 * PIECE).collect();
        let mut speaker_near = near.clone().into_iter();
        let raw = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&raw);
        let mut begun = false;
        let pipeline = line.pipeline.downgrade();
        let ear = line.pipeline.by_name("ear").expect("an ear").downcast::<gst_app::AppSink>();
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let buffer = sample.buffer().ok_or(gst::FlowError::Error)?;
            let map = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
            let played = samples(&map);
            begun |= played.iter().any(|sample| *sample != 0.0);
            if !begun {
                return Ok(gst::FlowSuccess::Ok);
            }
            let mut mixed = Vec::new();
            for sample in &played {
                past.push_front(*sample);
                past.pop_back();
                let echo =
                    0.4 * past[delay] + 0.12 * past[delay + 331] - 0.07 * past[delay + 1_201];
                mixed.push(echo + speaker_near.next().unwrap_or(0.0));
            }
            lock(&heard).extend(&mixed);
            let bytes: Vec<u8> = numbers(&mixed).iter().flat_map(|n| n.to_le_bytes()).collect();
            let mut recorded = gst::Buffer::from_mut_slice(bytes);
            let mut query = gst::query::Latency::new();
            let known = pipeline.upgrade().is_some_and(|pipeline| pipeline.query(&mut query));
            let latency = if known { query.result().1 } else { gst::ClockTime::ZERO };
            if let (Some(recorded), Some(pts)) = (recorded.get_mut(), buffer.pts()) {
                recorded.set_pts(pts + latency - gst::ClockTime::from_mseconds(10));
                recorded.set_duration(gst::ClockTime::from_nseconds(
                    crate::media::tones::duration(played.len()).as_nanos() as u64,
                ));
            }
            air.push_buffer(recorded).map_err(|_| gst::FlowError::Error)
        });
        ear.expect("an appsink").set_callbacks(callbacks.build());
        let strand = line.add_sound(numbers(&far)).expect("it is played");
        told.recv_timeout(Duration::from_secs(60)).expect("the microphone hears all of it");
        line.remove(&strand);
        line.close();
        microphone.set_state(gst::State::Null).expect("it stops");
        Heard {
            raw: std::mem::take(&mut *lock(&raw)),
            processed: std::mem::take(&mut *lock(&processed)),
            near,
        }
    }

    fn board() -> Board {
        let mut board =
            crate::config::built_in_board("sim").expect("the simulated board is built in");
        board.speaker.source =
            Source::Pipeline(format!("{CAPS} ! appsink name=ear sync=true max-buffers=20"));
        board
    }

    /// How much louder a voice is in what came out than it was, in dB, whatever else is in it.
    fn gain_db(voice: &[f64], out: &[f64]) -> f64 {
        let gain = find(voice, out, 0).gain;
        20.0 * gain.max(1e-6).log10()
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "docs/media.md records these figures")]
    fn the_echo_is_cancelled_across_pipelines_and_near_speech_is_left_alone() {
        crate::media::init().expect("GStreamer starts");
        let second = RATE as usize;
        let mut board = board();
        // It would make up for what is taken away.
        board.microphone.gain_control = false;
        let far = speech(10.0, 0.12, 3);
        let mut near = vec![0.0; 6 * second];
        near.extend(speech(7.0, 0.12, 11));
        let heard = in_a_room(&board, 40 * PIECE / 10, far, near);
        let part = |samples: &[f64], from: usize, to: usize| {
            samples[from * second..(to * second).min(samples.len())].to_vec()
        };
        let (before, after) = (part(&heard.raw, 4, 6), part(&heard.processed, 4, 6));
        let enhancement = level_db(&before) - level_db(&after);
        let kept = |from, to| {
            let voice = part(&heard.near, from, to);
            gain_db(&voice, &part(&heard.processed, from, to + 1))
        };
        let (both, alone) = (kept(7, 9), kept(11, 12));
        println!(
            "echo {:.1} dB, after the canceller {:.1} dB: {enhancement:.1} dB less; \
             near speech while both talk {both:+.1} dB, alone {alone:+.1} dB",
            level_db(&before),
            level_db(&after),
        );
        assert!(enhancement >= 20.0, "{enhancement}");
        assert!(alone.abs() <= 1.0, "{alone}");
        // -2.5 to -3.6 from run to run; `moderate` in place of `low` takes 2 more (docs/media.md).
        assert!(both.abs() <= 4.5, "{both}");
    }

    /// A line that plays into an ear, and when each piece is heard after its time, in milliseconds.
    fn eared() -> (SpeakerLine, Arc<SpeakerDesk>, mpsc::Receiver<f64>) {
        crate::media::init().expect("GStreamer starts");
        let desk = Arc::new(SpeakerDesk::default());
        let mut board = board();
        // A delay as that of a card's buffer.
        let ear = "appsink name=ear sync=true max-buffers=20 processing-deadline=100000000";
        board.speaker.source = Source::Pipeline(format!("{CAPS} ! {ear}"));
        let plan = plan_sound::speaker(&board, &sound_probe());
        let line = SpeakerLine::open(&plan, &desk, None).expect("a speaker");
        let ear = line.pipeline.by_name("ear").expect("an ear").downcast::<gst_app::AppSink>();
        let (tell, told) = mpsc::channel();
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            let now = gst::SystemClock::obtain().time();
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            if let Some(due) = sample.buffer().and_then(|buffer| buffer.pts()) {
                let _ = tell.send(now.saturating_sub(due).nseconds() as f64 / 1e6);
            }
            Ok(gst::FlowSuccess::Ok)
        });
        ear.expect("an appsink").set_callbacks(callbacks.build());
        (line, desk, told)
    }

    #[test]
    fn everything_is_played_later_by_as_much_as_the_machine_is_behind_and_in_time_again_after() {
        const LATE: u64 = 500_000_000;
        let (mut line, _desk, heard) = eared();
        // Of so many the most punctual, as a busy machine hands some over late.
        let next = || {
            let piece = || heard.recv_timeout(Duration::from_secs(10)).expect("it goes on");
            (0..30).map(|_| piece()).fold(f64::MAX, f64::min)
        };
        let mut words = None;
        let usual = loop {
            let usual = next();
            words = words.or(line.read_bus());
            if line.is_playing() && line.delay() < USUAL_DELAY {
                break usual;
            }
        };
        assert_eq!(words, None);
        let behind = Arc::clone(&line.behind);
        let say = |late, times: u64| {
            let now = gst::SystemClock::obtain().time().nseconds();
            let mut behind = lock(&behind);
            // As if for seconds, in none of which the mixer says anything else.
            for n in 0..times {
                behind.note(late, now + n * 10_000_000);
            }
        };
        say(LATE, 50);
        line.keep_up();
        let waited = line.extra.unwrap_or_default().nseconds() as f64 / 1e6;
        assert!(waited > 300.0, "{waited}");
        let mut later = next();
        while later < usual + waited - 40.0 {
            later = next();
        }
        say(0, 400);
        line.keep_up();
        assert_eq!(line.extra, Some(gst::ClockTime::ZERO));
        let mut after = next();
        while after > usual + 40.0 {
            after = next();
        }
        line.close();
    }
}
