//! Congestion control of one link: connects the peer's feedback with the estimate, and the estimate with
//! the link's share in the encoder.
//!
//! The crate's own estimator and pacer are not used (media.md section "Rate control"); its numbering of
//! packets, its history of what was sent and its reading of the feedback are. Decides nothing: the estimate
//! is made in `estimate.rs`, what becomes of it in the media room.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rtc::interceptor::{
    BandwidthEstimator, CongestionControlBuilder, CongestionControlInterceptor, Interceptor,
    NackResponderBuilder, Packet, PacketReport, Registry, Slot, StreamInfo, TaggedPacket,
    TwccSenderBuilder, TwccSenderInterceptor,
};
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::estimate::{Estimator, Fate};
use super::pace::{Pace, Road};
use super::repair::{Repairs, Requests};
use crate::intercom::{Input, LinkEvent, LinkId, VideoMode};
use crate::media::Share;

/// Bits per second that the voice needs, with its headers.
const VOICE: f64 = 48_000.0;
/// The part of the rest that the encoder may fill; the rest of that is for headers and overshoot.
const USABLE: f64 = 0.93;
/// How often the share is told what the path has room for.
const TELL: Duration = Duration::from_millis(200);
/// A path that reported nothing for so long has no say.
const FRESH: Duration = Duration::from_secs(1);
/// How long sent packets are remembered for a late report, as a queue can be long.
const MEMORY: Duration = Duration::from_secs(10);

/// Without any packet of the peer for so long, the path was dead. Sound comes each 20 ms, and pictures of a
/// muted peer as often as a browser likes.
const SILENCE: Duration = Duration::from_secs(1);

/// How many packets of a picture can be sent again: those of some 5 s at 2 Mbit/s. A power of two.
const SENT_AGAIN: u16 = 1024;

/// What one link knows of its path. Shared by the connection's driver and the link's tasks; nobody holds
/// it for longer than some arithmetic takes.
#[derive(Debug)]
pub struct Gauge {
    origin: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    estimator: Estimator,
    /// When the last packet left that the peer reports on.
    sent: Duration,
    /// When the last packet of the peer's media came; none before the first.
    arrived: Option<Duration>,
    reports: Reports,
    mode: VideoMode,
}

/// Which packets the peer's reports speak of. A report that is lost tells nothing of its packets, which is
/// not the same as telling that they are lost: on a path that loses both ways the difference is the picture.
#[derive(Debug, Default)]
struct Reports {
    /// The number after the last one reported on; none before the first report.
    next: Option<u16>,
    /// Numbers the last report left out: `from` and how many.
    skipped: (u16, u16),
}

impl Reports {
    /// A report on `count` packets from the number `base` on has come.
    fn take(&mut self, base: u16, count: u16) {
        let skipped = self.next.map_or(0, |next| base.wrapping_sub(next));
        // One that was overtaken by a newer one skips nothing, and may still reach farther.
        if skipped > u16::MAX / 2 {
            let end = base.wrapping_add(count);
            if self.next.is_some_and(|next| end.wrapping_sub(next) < u16::MAX / 2) {
                self.next = Some(end);
            }
            return;
        }
        self.skipped = (base.wrapping_sub(skipped), skipped);
        self.next = Some(base.wrapping_add(count));
    }

    fn is_skipped(&self, number: u16) -> bool {
        let (from, count) = self.skipped;
        number.wrapping_sub(from) < count
    }
}

impl Gauge {
    /// A gauge for an encoder whose full rate is `configured` bit/s: it begins with all of it, and never
    /// says more than it can use.
    pub fn new(configured: u32) -> Self {
        let ceiling = 1.03 * (f64::from(configured) / USABLE + VOICE);
        let estimator = Estimator::new(ceiling);
        let state = State {
            estimator,
            sent: Duration::ZERO,
            arrived: None,
            reports: Reports::default(),
            mode: VideoMode::Full,
        };
        Self { origin: Instant::now(), state: Mutex::new(state) }
    }

    /// What the path takes in bit/s, and the share of packets lost lately; `None` until the peer reported.
    pub fn estimate(&self) -> Option<(u32, f64)> {
        let state = self.lock();
        let estimator = &state.estimator;
        estimator.heard().map(|_| (estimator.rate() as u32, estimator.loss()))
    }

    /// The estimate in words.
    fn words(&self) -> String {
        self.lock().estimator.to_string()
    }

    /// The room for video beside the voice in bit/s; `None` while the path says nothing.
    pub fn room(&self) -> Option<u32> {
        let now = self.now();
        let state = self.lock();
        let heard = state.estimator.heard()?;
        (now.saturating_sub(heard) < FRESH)
            .then(|| (USABLE * (state.estimator.rate() - VOICE)).max(0.0) as u32)
    }

    /// Whether the voice is to be sent twice.
    pub fn wants_copies(&self) -> bool {
        let now = self.now();
        self.lock().estimator.wants_copies(now)
    }

    /// What is known of the path for the next picture.
    pub fn road(&self) -> Road {
        let now = self.now();
        let state = self.lock();
        let pace = match state.mode {
            VideoMode::Full if state.estimator.is_at_ceiling() => Pace::Free,
            _ => Pace::Limited(1.5 * (state.estimator.rate() - VOICE).max(VOICE)),
        };
        Road { mode: state.mode, congested: state.estimator.is_congested(now, state.sent), pace }
    }

    /// The estimate if more may be sent now than the picture itself; `None` if it would only wait.
    pub fn spare(&self, now: Instant) -> Option<f64> {
        let now = self.at(now);
        let state = self.lock();
        (!state.estimator.is_congested(now, state.sent)).then(|| state.estimator.rate())
    }

    /// A packet of the peer's media has come. Whether it ends a silence: then the way out is most likely
    /// whole again, too, and what it takes is a keyframe.
    pub fn peer_heard(&self) -> bool {
        let now = self.now();
        let mut state = self.lock();
        let before = state.arrived.replace(now);
        let over = before.is_some_and(|before| now.saturating_sub(before) >= SILENCE);
        if over {
            let sent = state.sent;
            state.estimator.hole_is_over(sent);
            // What is known of the numbers may be from before they came round.
            state.reports = Reports::default();
        }
        over && state.mode == VideoMode::Full
    }

    /// The link is to carry so much from now on.
    pub fn set_mode(&self, mode: VideoMode) {
        let mut state = self.lock();
        state.mode = mode;
        state.estimator.set_sparing(mode != VideoMode::Full);
    }

    /// The time since this gauge was made.
    pub fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The time from when this gauge was made to then.
    pub fn at(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.origin)
    }

    // The state is valid between any two statements, also after a panic elsewhere.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the share what the path has room for and the heart what the link carries, until the daemon ends.
pub async fn attend(id: LinkId, gauge: Arc<Gauge>, share: Share, inbox: mpsc::Sender<Input>) {
    let mut mode = share.mode();
    let mut tick = tokio::time::interval(TELL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = mode.changed() => {
                if changed.is_err() {
                    return;
                }
                let mode = *mode.borrow_and_update();
                gauge.set_mode(mode);
                tracing::debug!("link {id}: the picture is now {}", mode.name());
                // The daemon is gone when nobody takes the report any more.
                if inbox.send(Input::Link(id.clone(), LinkEvent::Video(mode))).await.is_err() {
                    return;
                }
            }
            _ = tick.tick() => {
                match gauge.room() {
                    Some(room) => {
                        tracing::trace!("link {id}: {}", gauge.words());
                        share.tell(room);
                    }
                    None => share.pass(),
                }
            }
        }
    }
}

/// Adds to the crate's other interceptors what a link needs to know its path.
pub fn register(registry: Registry, gauge: &Arc<Gauge>) -> Registry {
    let feedback = CongestionControlBuilder::new(Feedback(Arc::clone(gauge)));
    let feedback = feedback.with_prune_horizon(MEMORY).build();
    registry
        .with(Slot::CongestionControl, History::new(feedback, Arc::clone(gauge)))
        .with(Slot::TwccSender, Numbers(TwccSenderBuilder::new().build()))
        // In the pacer's place, and for the same packets: those above it have none yet that were sent again.
        .with(Slot::Pacer, Repairs::new(Arc::clone(gauge)))
        .with(Slot::NackResponder, NackResponderBuilder::new().with_size(SENT_AGAIN).build())
        .with(Slot::NackGenerator, Requests::default())
}

/// The crate's reports, as the estimate wants them.
struct Feedback(Arc<Gauge>);

impl BandwidthEstimator for Feedback {
    fn on_reports(&mut self, now: Instant, reports: &[PacketReport]) {
        let now = self.0.at(now);
        let mut state = self.0.lock();
        let fates: Vec<Fate> = reports
            .iter()
            .filter(|report| {
                report.arrived || !state.reports.is_skipped(report.twcc_sequence_number)
            })
            // Firefox numbers pictures only; of what has no number nobody can say that it was lost. Arrived
            // at an unknown time: no sign of anything.
            .filter(|report| report.is_twcc && (!report.arrived || report.arrival.is_some()))
            .map(|report| Fate {
                sent: self.0.at(report.departure),
                arrived: report.arrival.filter(|_| report.arrived),
                size: report.size,
            })
            .collect();
        state.estimator.take(now, &fates);
    }

    fn target_bitrate(&self) -> f64 {
        self.0.lock().estimator.rate()
    }
}

/// The same stream's packets when they are sent again (RFC 4588): a stream of its own on the path. The
/// crate forgets to tell the numbering and the history of it.
fn repair_stream(info: &StreamInfo) -> Option<StreamInfo> {
    Some(StreamInfo {
        ssrc: info.ssrc_rtx?,
        payload_type: info.payload_type_rtx?,
        ssrc_rtx: None,
        payload_type_rtx: None,
        ..info.clone()
    })
}

/// Implements the parts of [`Protocol`] that an inner interceptor already knows.
macro_rules! through {
    ($($field:tt)+) => {
        fn poll_read(&mut self) -> Option<TaggedPacket> {
            self.$($field)+.poll_read()
        }

        fn poll_write(&mut self) -> Option<TaggedPacket> {
            self.$($field)+.poll_write()
        }

        fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
            self.$($field)+.handle_timeout(now)
        }

        fn poll_timeout(&mut self) -> Option<Instant> {
            self.$($field)+.poll_timeout()
        }
    };
}

/// Numbers all packets that leave (transport-wide congestion control).
struct Numbers(TwccSenderInterceptor);

impl Protocol<TaggedPacket, TaggedPacket, ()> for Numbers {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.0.handle_read(message)
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.0.handle_write(message)
    }

    through!(0);
}

impl Interceptor for Numbers {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        self.0.bind_local_stream(info);
        if let Some(repair) = repair_stream(info) {
            self.0.bind_local_stream(&repair);
        }
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.0.unbind_local_stream(info);
        if let Some(repair) = repair_stream(info) {
            self.0.unbind_local_stream(&repair);
        }
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        self.0.bind_remote_stream(info);
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.0.unbind_remote_stream(info);
    }
}

/// Remembers what left and reads the peer's feedback on it.
struct History {
    inner: CongestionControlInterceptor<Feedback>,
    gauge: Arc<Gauge>,
    /// The streams whose packets are numbered.
    numbered: BTreeSet<u32>,
}

impl History {
    fn new(inner: CongestionControlInterceptor<Feedback>, gauge: Arc<Gauge>) -> Self {
        Self { inner, gauge, numbered: BTreeSet::new() }
    }
}

const TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

impl Protocol<TaggedPacket, TaggedPacket, ()> for History {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &message.message.packet {
            for packet in packets {
                if let Some(feedback) = packet.as_any().downcast_ref::<TransportLayerCc>() {
                    let (base, count) =
                        (feedback.base_sequence_number, feedback.packet_status_count);
                    self.gauge.lock().reports.take(base, count);
                }
            }
        }
        self.inner.handle_read(message)
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(packet) = &message.message.packet
            && self.numbered.contains(&packet.header.ssrc)
        {
            let sent = self.gauge.at(message.now);
            self.gauge.lock().sent = sent;
        }
        self.inner.handle_write(message)
    }

    through!(inner);
}

impl Interceptor for History {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        for info in [Some(info.clone()), repair_stream(info)].into_iter().flatten() {
            if info.rtp_header_extensions.iter().any(|extension| extension.uri == TRANSPORT_CC) {
                self.numbered.insert(info.ssrc);
            }
            self.inner.bind_local_stream(&info);
        }
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        for info in [Some(info.clone()), repair_stream(info)].into_iter().flatten() {
            self.numbered.remove(&info.ssrc);
            self.inner.unbind_local_stream(&info);
        }
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        self.inner.bind_remote_stream(info);
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.inner.unbind_remote_stream(info);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intercom::{PeerKey, UplinkId};
    use crate::media::Capture;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn packets_of_a_lost_report_count_neither_as_lost_nor_as_arrived() {
        let mut reports = Reports::default();
        reports.take(65_530, 4);
        assert!(!reports.is_skipped(65_531));
        reports.take(2, 10);
        let skipped: Vec<u16> =
            (65_520..=65_535).chain(0..20).filter(|number| reports.is_skipped(*number)).collect();
        assert_eq!(skipped, [65_534, 65_535, 0, 1]);
        // The one that was overtaken comes after all: its packets are known as skipped already.
        reports.take(65_534, 4);
        reports.take(12, 5);
        assert!((0..100).all(|number| !reports.is_skipped(number)), "nothing is missing now");
    }

    #[tokio::test]
    async fn the_first_packet_after_a_silence_opens_the_road_again() {
        let gauge = Gauge::new(1_000_000);
        assert!(!gauge.peer_heard(), "the first packet of all ends no silence");
        assert!(!gauge.peer_heard());
        {
            let mut state = gauge.lock();
            state.arrived = Some(Duration::ZERO);
            let fate = Fate { sent: MS, arrived: Some(MS), size: 100 };
            state.estimator.take(MS, &[fate]);
            state.sent = 3000 * MS;
            assert!(state.estimator.is_congested(3001 * MS, state.sent), "a hole");
        }
        // The gauge's own clock is younger than that: a silence is made by hand.
        let gauge = Gauge { origin: Instant::now() - 3001 * MS, ..gauge };
        assert!(gauge.peer_heard());
        assert!(!gauge.road().congested);
        assert!(!gauge.peer_heard(), "only once");
    }

    #[tokio::test]
    async fn a_path_that_turns_narrow_is_told_to_the_share_and_the_mode_to_the_heart() {
        let board = crate::config::built_in_board("sim").expect("the simulated board is built in");
        let bandwidth = Capture::new(&board).bandwidth();
        let other = bandwidth.join();
        other.tell(bandwidth.configured());
        let gauge = Arc::new(Gauge::new(bandwidth.configured()));
        assert_eq!((gauge.room(), gauge.road().pace), (None, Pace::Free));
        // 1000 bytes in 100 ms are 80 kbit/s; they are sent ten times as quickly.
        for packet in (1..=100_u32).step_by(10) {
            let fate = |packet: u32| Fate {
                sent: packet * 10 * MS,
                arrived: Some(packet * 100 * MS),
                size: 1000,
            };
            let fates: Vec<Fate> = (packet..packet + 10).map(fate).collect();
            gauge.lock().estimator.take(packet * 10 * MS, &fates);
        }
        let peer = PeerKey { uplink: UplinkId::Lan, id: "phone".into() };
        let id = LinkId { peer, generation: 1 };
        let (inbox, mut reports) = mpsc::channel(4);
        let attending =
            tokio::spawn(attend(id.clone(), Arc::clone(&gauge), bandwidth.join(), inbox));
        let report = tokio::time::timeout(Duration::from_secs(20), reports.recv()).await;
        let Ok(Some(Input::Link(from, LinkEvent::Video(mode)))) = report else {
            panic!("no report of a mode: {report:?}");
        };
        assert_eq!((from, mode), (id, VideoMode::Paused));
        assert_eq!(gauge.road().mode, VideoMode::Paused);
        assert_eq!(bandwidth.bitrate(), bandwidth.configured(), "the other keeps all of it");
        attending.abort();
    }
}
