//! The capture's thread: builds the one pipeline, watches its two parts and puts back what failed.
//!
//! Blocks while devices are opened and closed, which is why it is a thread. Which elements are used is decided in
//! `plan.rs`; who is told, in `capture.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use tokio::sync::watch;

use super::bandwidth::Bandwidth;
use super::bell::lock;
use super::capture::{Aim, CaptureState, CaptureStatus, Shared, Sight, Want};
use super::capture_notice::Notice;
use super::capture_part::{Health, LivePart, Outlet, Seat};
use super::echo::on_the_system_s_time;
use super::fanout::Fanout;
use super::found::Probe;
use super::plan::{self, CapturePlan, Part};
use super::plan_playback::{Grudges, Kind};
use super::plan_sound::microphone_source;
use super::rate::{KeyframeGate, pause};
use super::{devices, init, volume};
use crate::config::Board;

/// How often the parts are looked at while the capture is on.
const LOOK: Duration = Duration::from_secs(1);
/// How long the thread sleeps when nothing is wanted of it.
const IDLE: Duration = Duration::from_secs(60);
/// After this time of working, a part's failures are forgotten.
const GOOD_AGE: Duration = Duration::from_secs(10);

/// The thread's own state.
#[derive(Debug)]
pub(super) struct Engine {
    board: Board,
    patience: Duration,
    shared: Arc<Shared>,
    fanout: Fanout,
    bandwidth: Bandwidth,
    outlet: Arc<Outlet>,
    status: watch::Sender<CaptureStatus>,
    pipeline: Option<gst::Pipeline>,
    camera: Seat,
    notice: Notice,
    microphone: Seat,
    grudges: Grudges,
    gate: KeyframeGate,
    origin: Instant,
}

const KINDS: [Kind; 2] = [Kind::Video, Kind::Audio];

impl Engine {
    /// An engine that does nothing yet.
    pub(super) fn new(
        board: Board,
        patience: Duration,
        shared: Arc<Shared>,
        fanout: Fanout,
        bandwidth: Bandwidth,
        outlet: Arc<Outlet>,
        status: watch::Sender<CaptureStatus>,
    ) -> Self {
        Self {
            board,
            patience,
            shared,
            fanout,
            bandwidth,
            outlet,
            status,
            pipeline: None,
            camera: Seat::Closed,
            notice: Notice::Hidden,
            microphone: Seat::Closed,
            grudges: Grudges::default(),
            gate: KeyframeGate::new(),
            origin: Instant::now(),
        }
    }

    /// The thread's whole life: until `Want::End`.
    pub(super) fn run(mut self) {
        if let Err(error) = init() {
            let reason = error.to_string();
            self.status.send_modify(|status| status.state = CaptureState::Broken { reason });
            return;
        }
        // The first call should not wait for what can be measured now.
        self.probe();
        loop {
            let want = *lock(&self.shared.want);
            let rest = match want {
                Want::End => {
                    self.switch_off();
                    return;
                }
                Want::Aim(Aim::Nothing) => {
                    self.switch_off();
                    IDLE
                }
                Want::Aim(aim) => {
                    self.tend(aim);
                    self.publish();
                    self.until_next()
                }
            };
            self.shared.bell.wait(rest);
        }
    }

    /// One round of work while the capture is wanted.
    fn tend(&mut self, aim: Aim) {
        if self.status.borrow().state == CaptureState::Off {
            self.status.send_modify(|status| status.state = CaptureState::Starting);
        }
        self.want(Kind::Video);
        match aim {
            Aim::All => self.want(Kind::Audio),
            Aim::Camera | Aim::Nothing => self.close_microphone(),
        }
        self.start_due();
        self.read_bus();
        self.look_at_parts();
        self.show_notice();
        let parts = [self.camera.live(), self.notice.live(), self.microphone.live()];
        if parts.iter().all(Option::is_none) {
            self.drop_pipeline();
        }
        let bitrate = self.bandwidth.bitrate();
        if let Seat::Live(part) = &mut self.camera {
            part.keep_bitrate(bitrate);
        }
        let corrects = self.bandwidth.corrects();
        if let Seat::Live(part) = &mut self.microphone {
            part.keep_correction(corrects);
        }
        if let Some(wish) = self.fanout.take_wish() {
            self.gate.request(wish);
        }
        if self.gate.take(self.origin.elapsed())
            && let Some(part) = self.camera.live().or(self.notice.live())
        {
            part.force_keyframe();
        }
    }

    fn want(&mut self, kind: Kind) {
        if let seat @ Seat::Closed = self.seat(kind) {
            let why = "starting".to_owned();
            *seat = Seat::Resting { until: Instant::now(), attempt: 0, why };
        }
    }

    /// The picture goes on: for somebody who looks in, or for the next call.
    fn close_microphone(&mut self) {
        let seat = std::mem::replace(&mut self.microphone, Seat::Closed);
        if let Seat::Closed = seat {
            return;
        }
        self.grudges.call_is_over();
        if let (Seat::Live(part), Some(pipeline)) = (seat, self.pipeline.clone()) {
            self.blocking(|_| part.stop(&pipeline));
            tracing::debug!("the microphone is off");
        }
    }

    /// What is on this machine now, and how fast it encodes if the plan may want to know.
    fn probe(&mut self) -> Probe {
        self.blocking(|engine| devices::probe_for(&engine.board, &engine.grudges.broken()))
    }

    /// Says in the camera's place that it is away, once it has failed.
    fn show_notice(&mut self) {
        let away = matches!(self.camera, Seat::Resting { attempt: 1.., .. });
        if !away || !matches!(self.notice, Notice::Hidden) {
            return;
        }
        let probe = self.probe();
        if let Some(pipeline) = self.pipeline() {
            self.notice.show(&self.board, &probe, &pipeline, &self.outlet);
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        let is_due = |seat: &Seat| seat.due_at().is_some_and(|due| due <= now);
        if !is_due(&self.camera) && !is_due(&self.microphone) {
            return;
        }
        let probe = self.probe();
        let mut plan = plan::capture(&self.board, &probe, &self.grudges.broken());
        if is_due(&self.camera)
            && let Some(controls) = &plan.controls
        {
            plan.reasons.extend(self.blocking(|_| devices::apply_controls(controls)));
        }
        if is_due(&self.microphone)
            && let Ok(source) = microphone_source(&self.board, &probe, &mut Vec::new())
        {
            plan.reasons
                .extend(self.blocking(|engine| volume::of_microphone(&engine.board, &source)));
        }
        self.show_reasons(&plan);
        for (kind, part) in [(Kind::Video, &plan.camera), (Kind::Audio, &plan.microphone)] {
            let attempt = match self.seat(kind) {
                Seat::Resting { until, attempt, .. } if *until <= now => *attempt,
                _ => continue,
            };
            match part {
                Part::Off => *self.seat(kind) = Seat::Unused("off, as the board says".to_owned()),
                Part::Missing(why) => self.rest(kind, attempt, why.clone()),
                Part::Ready(fragment) => {
                    match LivePart::build(kind, fragment, &self.outlet, attempt) {
                        Ok(part) => self.start(kind, part),
                        Err(why) => {
                            // A driver's element may lack what the plan asks of it; software does not.
                            if !plan::is_software(&fragment.encoder) {
                                self.grudges.blame(&fragment.encoder);
                            }
                            self.rest(kind, attempt, format!("{} {why}", fragment.source));
                        }
                    }
                }
            }
        }
    }

    fn start(&mut self, kind: Kind, mut part: LivePart) {
        let Some(pipeline) = self.pipeline() else {
            return self.rest(kind, part.attempt, "no pipeline could be started".to_owned());
        };
        if kind == Kind::Video {
            // An encoder begins with a keyframe anyway.
            self.fanout.take_wish();
            self.gate = KeyframeGate::new();
            self.notice.hide(Some(&pipeline));
        }
        let started = self.blocking(|_| part.start(&pipeline));
        *self.seat(kind) = Seat::Live(part);
        if let Err(why) = started {
            // The bus knows better, and says whether it was the encoder.
            self.read_bus();
            self.fail(kind, &why);
        }
    }

    /// The pipeline, built if there is none. Its clock is the system's, so that it does not go away with a
    /// sound card.
    fn pipeline(&mut self) -> Option<gst::Pipeline> {
        if let Some(pipeline) = &self.pipeline {
            return Some(pipeline.clone());
        }
        let pipeline = gst::Pipeline::with_name("capture");
        on_the_system_s_time(&pipeline);
        let bell = Arc::clone(&self.shared.bell);
        // Only errors are kept: nobody reads the rest, and the bus would grow.
        pipeline.bus()?.set_sync_handler(move |_, message| match message.type_() {
            gst::MessageType::Error => {
                bell.ring();
                gst::BusSyncReply::Pass
            }
            _ => gst::BusSyncReply::Drop,
        });
        if let Err(error) = pipeline.set_state(gst::State::Playing) {
            tracing::error!(%error, "an empty pipeline does not start");
            return None;
        }
        self.status.send_modify(|status| status.pipelines_built += 1);
        self.pipeline = Some(pipeline.clone());
        Some(pipeline)
    }

    fn read_bus(&mut self) {
        let Some(pipeline) = self.pipeline.clone() else {
            return;
        };
        let Some(bus) = pipeline.bus() else { return };
        while let Some(message) = bus.pop_filtered(&[gst::MessageType::Error]) {
            let (gst::MessageView::Error(error), Some(source)) = (message.view(), message.src())
            else {
                continue;
            };
            let words = format!("{}: {}", source.name(), error.error().message());
            tracing::debug!(words, detail = ?error.debug(), "the capture pipeline reports an error");
            let whose = KINDS
                .into_iter()
                .find(|kind| self.seat(*kind).live().is_some_and(|part| part.owns(source)));
            match whose {
                Some(Kind::Video) if source.name() == "encoder" => self.fail_encoder(&words),
                Some(kind) => self.fail(kind, &words),
                None if source == pipeline.upcast_ref::<gst::Object>() => {
                    KINDS.into_iter().for_each(|kind| self.fail(kind, &words));
                }
                None if self.notice.live().is_some_and(|part| part.owns(source)) => {
                    self.notice.fail(&pipeline);
                }
                // A last word of a part that has been taken out.
                None => {}
            }
        }
    }

    fn look_at_parts(&mut self) {
        let (now, patience) = (Instant::now(), self.patience);
        for kind in KINDS {
            let Seat::Live(part) = self.seat(kind) else {
                continue;
            };
            let health = part.look(now, patience);
            let proved = part.age(now) >= GOOD_AGE && part.has_delivered();
            if part.age(now) >= GOOD_AGE {
                part.attempt = 0;
            }
            let proved = (proved && kind == Kind::Video).then(|| part.encoder.clone());
            if let Some(encoder) = proved {
                self.grudges.proved(&encoder);
            }
            let what = format!("nothing came for {} s", patience.as_secs());
            match health {
                Health::Fine => {}
                Health::Ended => self.fail(kind, "the source has ended"),
                Health::EncoderStalled if kind == Kind::Video => self.fail_encoder(&what),
                Health::Stalled | Health::EncoderStalled => self.fail(kind, &what),
            }
        }
    }

    /// The video encoder is to blame: the next one in the list is tried at once.
    fn fail_encoder(&mut self, why: &str) {
        let Some(encoder) = self.camera.live().map(|part| part.encoder.clone()) else {
            return;
        };
        let first_time = self.grudges.blame(&encoder);
        let before = self.camera.live().map_or(0, |part| part.attempt);
        self.fail(Kind::Video, why);
        if let (true, Seat::Resting { until, attempt, .. }) = (first_time, &mut self.camera) {
            // The camera is well, and nobody is to be told otherwise.
            (*until, *attempt) = (Instant::now(), before);
            self.shared.bell.ring();
        }
    }

    /// Takes a live part out, to be tried again later.
    fn fail(&mut self, kind: Kind, why: &str) {
        let seat = std::mem::replace(self.seat(kind), Seat::Unused(String::new()));
        let Seat::Live(part) = seat else {
            *self.seat(kind) = seat;
            return;
        };
        let (attempt, why) = (part.attempt, format!("{}: {why}", part.source));
        if let Some(pipeline) = self.pipeline.clone() {
            self.blocking(|_| part.stop(&pipeline));
        }
        self.status.send_modify(|status| status.failures += 1);
        self.rest(kind, attempt, why);
    }

    fn rest(&mut self, kind: Kind, attempt: u32, why: String) {
        let pause = pause(attempt);
        // The first time is news; the repetitions are not.
        match attempt {
            0 => {
                tracing::warn!(?kind, why, ?pause, "a part of the capture is missing; trying again")
            }
            _ => tracing::debug!(?kind, why, ?pause, attempt, "still missing"),
        }
        *self.seat(kind) = Seat::Resting {
            until: Instant::now() + pause,
            attempt: attempt.saturating_add(1),
            why,
        };
    }

    fn switch_off(&mut self) {
        if self.status.borrow().state == CaptureState::Off {
            return;
        }
        for kind in KINDS {
            let seat = std::mem::replace(self.seat(kind), Seat::Closed);
            if let (Seat::Live(part), Some(pipeline)) = (seat, self.pipeline.clone()) {
                self.blocking(|_| part.stop(&pipeline));
            }
        }
        self.grudges.call_is_over();
        self.notice.hide(self.pipeline.as_ref());
        self.drop_pipeline();
        self.status.send_modify(|status| status.state = CaptureState::Off);
        tracing::debug!("capture is off");
    }

    fn drop_pipeline(&mut self) {
        let Some(pipeline) = self.pipeline.take() else {
            return;
        };
        if let Some(bus) = pipeline.bus() {
            bus.unset_sync_handler();
        }
        if let Err(error) = pipeline.set_state(gst::State::Null) {
            tracing::warn!(%error, "the capture pipeline did not stop cleanly");
        }
    }

    fn publish(&self) {
        let seats = [&self.camera, &self.microphone];
        let state = if seats.iter().any(|seat| seat.live().is_some_and(LivePart::has_delivered)) {
            CaptureState::Running
        } else if seats.iter().any(|seat| seat.live().is_some()) {
            CaptureState::Starting
        } else {
            let reason =
                format!("camera: {}; microphone: {}", self.camera.words(), self.microphone.words());
            CaptureState::Broken { reason }
        };
        let (mut camera, microphone) = (self.camera.words(), self.microphone.words());
        if self.notice.live().is_some() {
            camera.push_str("; phones see a notice");
        }
        let sight = match &self.camera {
            Seat::Live(part) if part.has_delivered() => Sight::Works,
            Seat::Resting { attempt: 1.., .. } => Sight::Away,
            Seat::Live(_) | Seat::Resting { .. } | Seat::Closed | Seat::Unused(_) => Sight::Unknown,
        };
        let encoder = self.camera.live().map(|part| part.encoder.clone()).unwrap_or_default();
        self.status.send_if_modified(|status| {
            let before = status.clone();
            if state == CaptureState::Running && status.state != CaptureState::Running {
                tracing::info!(camera, encoder, microphone, "capture is running");
            }
            (status.state, status.sight, status.camera) = (state, sight, camera);
            (status.encoder, status.microphone) = (encoder, microphone);
            *status != before
        });
    }

    fn show_reasons(&self, plan: &CapturePlan) {
        self.status.send_if_modified(|status| {
            let news = status.reasons != plan.reasons;
            if news {
                tracing::debug!(reasons = ?plan.reasons, "capture planned");
                status.reasons.clone_from(&plan.reasons);
            }
            news
        });
    }

    fn until_next(&self) -> Duration {
        let seats = [&self.camera, &self.microphone].into_iter().filter_map(Seat::due_at);
        let wish = self.gate.deadline().map(|deadline| self.origin + deadline);
        let look = Instant::now() + LOOK.min(self.patience / 4);
        let next = seats.chain(wish).fold(look, Instant::min);
        next.saturating_duration_since(Instant::now())
    }

    /// Does something that may block on a driver, so that `status` can tell.
    fn blocking<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        *lock(&self.shared.blocked_since) = Some(Instant::now());
        let result = work(self);
        *lock(&self.shared.blocked_since) = None;
        result
    }

    fn seat(&mut self, kind: Kind) -> &mut Seat {
        match kind {
            Kind::Video => &mut self.camera,
            Kind::Audio => &mut self.microphone,
        }
    }
}
