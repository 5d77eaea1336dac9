//! The speaker's pipeline while it is open: a mixer that never stops, the echo probe, the sink; and what is plugged
//! into the mixer.
//!
//! Built, watched and taken down by `speaker_stage.rs`; decides nothing itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::echo::on_the_system_s_time;
use super::plan_sound::{CAPS, SpeakerPlan};
use super::playback::Shared;

/// A sound begins so long after it was asked for, so that its beginning is not behind what was mixed already.
const LEAD: Duration = Duration::from_millis(10);
/// Taken for the delay of a sink that does not tell.
const USUAL_LATENCY: Duration = Duration::from_millis(300);

/// The open pipeline.
#[derive(Debug)]
pub(super) struct SpeakerLine {
    pipeline: gst::Pipeline,
    mixer: gst::Element,
    probe: Option<gst::Element>,
}

/// Something plugged into the mixer.
#[derive(Debug)]
pub(super) struct Strand {
    bin: gst::Bin,
    pad: gst::Pad,
}

impl SpeakerLine {
    /// Builds the pipeline and starts it. Blocks while the card is opened.
    ///
    /// # Errors
    /// A sentence saying what does not work.
    pub(super) fn open(
        plan: &SpeakerPlan,
        shared: &Arc<Shared>,
        probe: Option<gst::Element>,
    ) -> Result<Self, String> {
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
        let sink = gst::parse::bin_from_description(&plan.text, true)
            .map_err(|error| told(error.message()))?;
        let part = |name| pipeline.by_name(name).ok_or_else(|| told(name));
        let (mixer, mixed) = (part("mixer")?, part("mixed")?);
        let line = Self { pipeline, mixer, probe };
        line.join(&mixed, sink.upcast_ref()).map_err(|error| told(&error.to_string()))?;
        line.watch(&mixed, shared);
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

    fn watch(&self, mixed: &gst::Element, shared: &Arc<Shared>) {
        if let Some(pad) = mixed.static_pad("src") {
            let shared = Arc::downgrade(shared);
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                if let Some(shared) = shared.upgrade() {
                    shared.speaker.counts.mixed.fetch_add(1, Ordering::Relaxed);
                }
                gst::PadProbeReturn::Ok
            });
        }
        if let Some(bus) = self.pipeline.bus() {
            let shared = Arc::downgrade(shared);
            // Only what `read_bus` reads is kept: the bus would grow.
            bus.set_sync_handler(move |_, message| match message.type_() {
                gst::MessageType::Error | gst::MessageType::Latency => {
                    if let Some(shared) = shared.upgrade() {
                        shared.speaker.bell.ring();
                    }
                    gst::BusSyncReply::Pass
                }
                _ => gst::BusSyncReply::Drop,
            });
        }
    }

    /// Reads what came on the bus; the first error ends the reading.
    pub(super) fn read_bus(&self) -> Option<String> {
        let bus = self.pipeline.bus()?;
        while let Some(message) = bus.pop() {
            match message.view() {
                gst::MessageView::Latency(_) => {
                    if let Err(error) = self.pipeline.recalculate_latency() {
                        tracing::debug!(%error, "the speaker's delay could not be worked out");
                    }
                }
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

    /// From the mixer to the ear.
    pub(super) fn latency(&self) -> Duration {
        let mut query = gst::query::Latency::new();
        match self.pipeline.query(&mut query) {
            true => {
                Duration::from_nanos(query.result().1.nseconds()) + LEAD + Duration::from_millis(50)
            }
            false => USUAL_LATENCY,
        }
    }

    /// Plugs in a remote voice: pipeline text from an appsrc called `in` to what the mixer takes.
    ///
    /// # Errors
    /// A sentence saying what does not work.
    pub(super) fn add_voice(
        &self,
        text: &str,
        heard: &Arc<AtomicU64>,
    ) -> Result<(Strand, gst_app::AppSrc), String> {
        let (strand, source) = self.plug(text)?;
        if let Some(pad) = strand.bin.by_name("shown").and_then(|shown| shown.static_pad("src")) {
            let heard = Arc::clone(heard);
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                heard.fetch_add(1, Ordering::Relaxed);
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
        let (strand, source) = self.plug(&text)?;
        self.start(&strand)?;
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        let now = gst::SystemClock::obtain().time();
        if let Some(buffer) = buffer.get_mut() {
            let lead = gst::ClockTime::from_nseconds(LEAD.as_nanos() as u64);
            buffer.set_pts(now + lead);
            let length = super::tones::duration(samples.len());
            buffer.set_duration(gst::ClockTime::from_nseconds(length.as_nanos() as u64));
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
        let strand = Strand { bin, pad };
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
