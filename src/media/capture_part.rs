//! One half of the capture while it lives: the picture from its source to the fan-out, or the sound.
//!
//! Built, watched and taken down by `capture.rs`; decides nothing itself.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::bell::{Bell, lock};
use super::camera_feed::Feeding;
use super::echo::{self, EchoReference};
use super::fanout::Writer;
use super::packetise::{
    AUDIO_CLOCK, AudioUnit, Packetiser, VIDEO_CLOCK, profile_level_id, rtp_time,
};
use super::plan::{BitrateSetting, Fragment, KeyframeSetting, bitrate_setting, keyframe_setting};
use super::plan_camera::{CameraFeed, FEED};
use super::plan_playback::Kind;
use super::plan_sound::VOICE_PROCESSOR;

/// A source so far behind the pipeline's time counts its own.
const OWN_TIME: gst::ClockTime = gst::ClockTime::from_seconds(10);

/// What both halves write to.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) writer: Writer,
    pub(super) bell: Arc<Bell>,
    pub(super) counts: Arc<Counts>,
    /// What the speaker plays, for the echo canceller; `None`: nobody plays.
    pub(super) echo: Option<EchoReference>,
}

/// Counted since the daemon started.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) frames: AtomicU64,
    pub(super) keyframes: AtomicU64,
    pub(super) sounds: AtomicU64,
    pub(super) bad_units: AtomicU64,
    pub(super) profile: Mutex<Option<[u8; 3]>>,
}

/// What went through one part.
#[derive(Debug, Default)]
struct Flow {
    raw: AtomicU64,
    units: AtomicU64,
    ended: AtomicBool,
}

/// What a look at a part shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Something came since the last look, or may still come.
    Fine,
    /// The source said that it has no more.
    Ended,
    /// Nothing came for too long.
    Stalled,
    /// Pictures or sound went into the encoder and nothing came out for too long.
    EncoderStalled,
}

/// A part in the pipeline.
#[derive(Debug)]
pub(super) struct LivePart {
    bin: gst::Bin,
    flow: Arc<Flow>,
    /// The source in words.
    pub(super) source: String,
    /// The encoder's element name.
    pub(super) encoder: String,
    /// The camera that is to be read, and the place its pictures go to.
    camera: Option<(Box<CameraFeed>, gst_app::AppSrc)>,
    feeding: Option<Feeding>,
    /// What the encoder was last told to keep, in bit/s.
    bitrate: u32,
    /// Whether the voice carries its own correction.
    corrects: bool,
    /// How many starts failed before this one.
    pub(super) attempt: u32,
    started: Instant,
    seen: (u64, u64),
    raw_at: Instant,
    units_at: Instant,
}

impl LivePart {
    /// Builds a part, outside of any pipeline and without touching a device.
    ///
    /// # Errors
    /// A sentence saying what is wrong with the pipeline text.
    pub(super) fn build(
        kind: Kind,
        fragment: &Fragment,
        outlet: &Arc<Outlet>,
        attempt: u32,
    ) -> Result<Self, String> {
        let bin = gst::parse::bin_from_description(&fragment.text, false)
            .map_err(|error| format!("cannot be built: {}", error.message()))?;
        let sink = bin
            .by_name("out")
            .and_then(|out| out.downcast::<gst_app::AppSink>().ok())
            .ok_or("cannot be built: its pipeline text uses the name \"out\" itself")?;
        let camera = match &fragment.feed {
            Some(wanted) => {
                let source = bin.by_name(FEED).and_then(|it| it.downcast::<gst_app::AppSrc>().ok());
                Some((wanted.clone(), source.ok_or("cannot be built: nothing takes the pictures")?))
            }
            None => None,
        };
        match (bin.by_name(VOICE_PROCESSOR), &outlet.echo) {
            (Some(processor), Some(echo)) => echo.tie(&processor),
            (Some(processor), None) => echo::untie(&processor),
            (None, _) => {}
        }
        // A part is put into a pipeline that plays already, where nobody waits for a first buffer.
        sink.set_async(false);
        let flow = Arc::new(Flow::default());
        let raw_pad = bin.by_name("encoder").and_then(|encoder| encoder.static_pad("sink"));
        if let Some(pad) = raw_pad {
            let flow = Arc::clone(&flow);
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                flow.raw.fetch_add(1, Ordering::Relaxed);
                gst::PadProbeReturn::Ok
            });
        }
        let on_end = {
            let (flow, bell) = (Arc::clone(&flow), Arc::clone(&outlet.bell));
            move |_: &gst_app::AppSink| {
                flow.ended.store(true, Ordering::Release);
                bell.ring();
            }
        };
        let callbacks = gst_app::AppSinkCallbacks::builder().eos(on_end);
        let mut deliver = match kind {
            Kind::Video => deliver_video(Arc::clone(outlet)),
            Kind::Audio => deliver_audio(Arc::clone(outlet)),
        };
        let (counted, bell) = (Arc::clone(&flow), Arc::clone(&outlet.bell));
        let callbacks = callbacks.new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            deliver(sink, &sample)?;
            if counted.units.fetch_add(1, Ordering::Relaxed) == 0 {
                bell.ring();
            }
            Ok(gst::FlowSuccess::Ok)
        });
        sink.set_callbacks(callbacks.build());
        let now = Instant::now();
        Ok(Self {
            bin,
            flow,
            source: fragment.source.clone(),
            encoder: fragment.encoder.clone(),
            camera,
            feeding: None,
            bitrate: fragment.bitrate,
            corrects: true,
            attempt,
            started: now,
            seen: (0, 0),
            raw_at: now,
            units_at: now,
        })
    }

    /// Puts the part into a playing pipeline and starts it. Blocks while devices are opened.
    ///
    /// # Errors
    /// A sentence; the reason itself is on the bus. The part must then be taken out.
    pub(super) fn start(&mut self, pipeline: &gst::Pipeline) -> Result<(), String> {
        pipeline.add(&self.bin).map_err(|error| error.message.to_string())?;
        let started = self.bin.sync_state_with_parent();
        if let Some((wanted, source)) = &self.camera {
            self.feeding = Some(Feeding::start(wanted, source.clone())?);
        }
        self.started = Instant::now();
        (self.raw_at, self.units_at) = (self.started, self.started);
        started.map_err(|_| "does not start".to_owned())
    }

    /// Takes the part out and frees its devices and threads. Blocks while devices are closed.
    pub(super) fn stop(mut self, pipeline: &gst::Pipeline) {
        self.feeding = None;
        self.bin.set_locked_state(true);
        if let Err(error) = self.bin.set_state(gst::State::Null) {
            tracing::warn!(source = self.source, %error, "a capture part did not stop cleanly");
        }
        if let Err(error) = pipeline.remove(&self.bin) {
            tracing::debug!(source = self.source, %error, "a capture part was in no pipeline");
        }
    }

    /// Whether this element is one of the part's.
    pub(super) fn owns(&self, element: &gst::Object) -> bool {
        element == self.bin.upcast_ref::<gst::Object>() || element.has_as_ancestor(&self.bin)
    }

    /// Whether anything came out yet.
    pub(super) fn has_delivered(&self) -> bool {
        self.flow.units.load(Ordering::Relaxed) > 0
    }

    /// How long it has been running.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// Looks whether it still delivers. To be called at least every `patience`.
    pub(super) fn look(&mut self, now: Instant, patience: Duration) -> Health {
        if self.flow.ended.load(Ordering::Acquire) {
            return Health::Ended;
        }
        let raw = self.flow.raw.load(Ordering::Relaxed);
        let units = self.flow.units.load(Ordering::Relaxed);
        if raw != self.seen.0 {
            self.raw_at = now;
        }
        if units != self.seen.1 {
            self.units_at = now;
        }
        self.seen = (raw, units);
        let late = |since: Instant| now.saturating_duration_since(since) >= patience;
        match (late(self.units_at), late(self.raw_at)) {
            (false, _) => Health::Fine,
            (true, true) => Health::Stalled,
            (true, false) => Health::EncoderStalled,
        }
    }

    /// Has the encoder keep another rate, in bit/s, from the next picture on. Nothing is built again.
    pub(super) fn keep_bitrate(&mut self, bitrate: u32) {
        let setting = bitrate_setting(&self.encoder, bitrate);
        if setting == bitrate_setting(&self.encoder, self.bitrate) {
            return;
        }
        self.bitrate = bitrate;
        let Some(encoder) = self.bin.by_name("encoder") else { return };
        match setting {
            Some(BitrateSetting::Number(number)) => encoder.set_property("bitrate", number),
            Some(BitrateSetting::Control(number)) => {
                let controls = gst::Structure::builder("controls").field("video_bitrate", number);
                encoder.set_property("extra-controls", controls.build());
            }
            None => {}
        }
    }

    /// Has the voice carry its own correction from the next piece on, or go without, which is a fifth less work.
    pub(super) fn keep_correction(&mut self, corrects: bool) {
        if std::mem::replace(&mut self.corrects, corrects) == corrects {
            return;
        }
        if let Some(encoder) = self.bin.by_name("encoder") {
            encoder.set_property("inband-fec", corrects);
        }
    }

    /// Asks the encoder for a keyframe.
    pub(super) fn force_keyframe(&self) {
        let Some(encoder) = self.bin.by_name("encoder") else { return };
        let (major, minor, patch, _) = gst::version();
        let taken = match keyframe_setting(&self.encoder, (major, minor, patch)) {
            KeyframeSetting::Event => {
                let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true);
                encoder.send_event(event.build())
            }
            KeyframeSetting::Control => {
                let controls = gst::Structure::builder("controls").field("force_key_frame", 1);
                encoder.set_property("extra-controls", controls.build());
                true
            }
            KeyframeSetting::None => false,
        };
        if !taken {
            tracing::debug!(encoder = self.encoder, "the encoder takes no keyframe requests now");
        }
    }
}

type Deliver =
    Box<dyn FnMut(&gst_app::AppSink, &gst::Sample) -> Result<(), gst::FlowError> + Send + 'static>;

fn deliver_video(outlet: Arc<Outlet>) -> Deliver {
    let mut packetiser = Packetiser::new();
    let mut shift = None;
    Box::new(move |sink, sample| {
        let (time, bytes) = content(sink, sample, &mut shift)?;
        match packetiser.video(&bytes, rtp_time(time, VIDEO_CLOCK)) {
            Ok(unit) => {
                let counts = &outlet.counts;
                counts.frames.fetch_add(1, Ordering::Relaxed);
                if unit.keyframe {
                    counts.keyframes.fetch_add(1, Ordering::Relaxed);
                    if let Some(profile) = profile_level_id(&bytes) {
                        *lock(&counts.profile) = Some(profile);
                    }
                }
                outlet.writer.video(unit);
            }
            Err(error) => {
                outlet.counts.bad_units.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%error, "a picture is left out");
                outlet.writer.gap();
            }
        }
        Ok(())
    })
}

fn deliver_audio(outlet: Arc<Outlet>) -> Deliver {
    let mut shift = None;
    Box::new(move |sink, sample| {
        let (time, payload) = content(sink, sample, &mut shift)?;
        outlet.counts.sounds.fetch_add(1, Ordering::Relaxed);
        outlet.writer.audio(AudioUnit { rtp_time: rtp_time(time, AUDIO_CLOCK), payload });
        Ok(())
    })
}

/// A sample's time on the system's clock in nanoseconds, and a copy of its bytes. Unlike the time in the pipeline,
/// the clock's runs on when the pipeline is built again, and with it the RTP time that peers see. Copied,
/// because a hardware encoder has few buffers and stops when readers hold them.
///
/// `shift` is the part's own: a source that is not live counts from 0 while the pipeline's time is the system's, and is
/// moved to where the time was at its first sample.
fn content(
    sink: &gst_app::AppSink,
    sample: &gst::Sample,
    shift: &mut Option<u64>,
) -> Result<(u64, Bytes), gst::FlowError> {
    let buffer = sample.buffer().ok_or(gst::FlowError::Error)?;
    let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
    let running = buffer
        .pts()
        .and_then(|pts| segment.and_then(|segment| segment.to_running_time(pts)))
        .or_else(|| sink.current_running_time())
        .unwrap_or(gst::ClockTime::ZERO);
    let base = sink.base_time().unwrap_or(gst::ClockTime::ZERO);
    let shift = *shift.get_or_insert_with(|| {
        let now = sink.current_running_time().unwrap_or(running);
        let behind = now.saturating_sub(running);
        if behind > OWN_TIME { behind.nseconds() } else { 0 }
    });
    let map = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
    Ok((
        base.nseconds().wrapping_add(running.nseconds()).wrapping_add(shift),
        Bytes::copy_from_slice(map.as_slice()),
    ))
}
/// Where one part of the capture stands.
#[derive(Debug)]
pub(super) enum Seat {
    /// Nobody wants it at the moment.
    Closed,
    /// Not to be used on this board; says why.
    Unused(String),
    /// In the pipeline.
    Live(LivePart),
    /// Not working; it is tried again.
    Resting { until: Instant, attempt: u32, why: String },
}

impl Seat {
    pub(super) fn due_at(&self) -> Option<Instant> {
        match self {
            Self::Resting { until, .. } => Some(*until),
            Self::Closed | Self::Unused(_) | Self::Live(_) => None,
        }
    }

    pub(super) fn live(&self) -> Option<&LivePart> {
        match self {
            Self::Live(part) => Some(part),
            Self::Closed | Self::Unused(_) | Self::Resting { .. } => None,
        }
    }

    pub(super) fn words(&self) -> String {
        match self {
            Self::Live(part) => part.source.clone(),
            Self::Closed => "off".to_owned(),
            Self::Unused(why) | Self::Resting { why, .. } => format!("none ({why})"),
        }
    }
}
