//! What the speaker plays, as the echo canceller in the capture needs to know it.
//!
//! GStreamer's canceller finds its probe by name among all of the process, so the two may stand in different
//! pipelines. It keeps the probe it found when it started: the element is made once and goes into each speaker
//! pipeline that is built, so that the canceller never listens to one that is no more. It compares running times:
//! both pipelines use the system's clock with base time 0 (`on_the_system_s_time`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use gst::prelude::*;
use gstreamer as gst;

/// The played sound as a reference. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct EchoReference {
    probe: Arc<OnceLock<Option<gst::Element>>>,
}

impl EchoReference {
    /// The probe, made when somebody asks first; `None` where GStreamer has none. GStreamer must have been started.
    pub(super) fn probe(&self) -> Option<gst::Element> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let make = || {
            let name = format!("echo-probe-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
            gst::ElementFactory::make("webrtcechoprobe").name(name).build().ok()
        };
        self.probe.get_or_init(make).clone()
    }

    /// Ties a voice processor to this reference, before it starts.
    pub(super) fn tie(&self, processor: &gst::Element) {
        match self.probe() {
            Some(probe) => processor.set_property("probe", probe.name()),
            None => untie(processor),
        }
    }
}

/// Has a voice processor do without echo cancelling.
pub(super) fn untie(processor: &gst::Element) {
    processor.set_property("echo-cancel", false);
}

/// Puts a pipeline on the system's clock, with running times that mean the same in every such pipeline.
pub(super) fn on_the_system_s_time(pipeline: &gst::Pipeline) {
    pipeline.use_clock(Some(&gst::SystemClock::obtain()));
    pipeline.set_start_time(gst::ClockTime::NONE);
    pipeline.set_base_time(gst::ClockTime::ZERO);
}
