//! Congestion control of one link: connects the peer's feedback with the estimate, and the estimate with
//! the link's share in the encoder.
//!
//! The crate's own estimator and pacer are not used (media.md section "Rate control"); its numbering of
//! packets, its history of what was sent and its reading of the feedback are. Decides nothing: the estimate
//! is made in `estimate.rs`, what becomes of it in the media room.

mod feedback;

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::estimate::{Estimator, Fate};
use super::pace::{Pace, Road};
use crate::intercom::{Input, LinkEvent, LinkId, VideoMode};
use crate::media::Share;

pub use feedback::register;

/// Bits per second that the voice needs, with its headers.
const VOICE: f64 = 48_000.0;
/// The part of the rest that the encoder may fill; the rest of that is for headers and overshoot.
const USABLE: f64 = 0.93;
/// How often the share is told what the path has room for.
const TELL: Duration = Duration::from_millis(200);
/// A path that reported nothing for so long has no say.
const FRESH: Duration = Duration::from_secs(1);

/// A path on which nothing was lost for so long is taken for one that loses nothing.
const WHOLE: Duration = Duration::from_secs(5);

/// Without any packet of the peer for so long, the path was dead. Sound comes each 20 ms, and pictures of a
/// muted peer as often as a browser likes.
const SILENCE: Duration = Duration::from_secs(1);

/// A link before may still send while its successor is built: so many numbers are left to it.
const LEFT_OVER: u16 = 64;

/// What one link knows of its path. Shared by the connection's driver and the link's tasks; nobody holds
/// it for longer than some arithmetic takes.
#[derive(Debug)]
pub struct Gauge {
    origin: Instant,
    /// The number after that of the last packet that left, or a little more.
    next: Arc<AtomicU16>,
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
    /// Since when all packets are known to arrive on this path.
    whole: Option<Duration>,
}

impl State {
    /// A report has come, before the estimate takes it.
    fn note_losses(&mut self, now: Duration, fates: &[Fate]) {
        if fates.is_empty() {
            return;
        }
        let heard = self.estimator.heard();
        // Of what was sent while nothing was reported, not all need to be reported on.
        let silent = heard.is_none_or(|at| now.saturating_sub(at) >= FRESH);
        let lost = fates.iter().any(|fate| fate.arrived.is_none());
        self.whole = self.whole.filter(|_| !silent && !lost).or(Some(now));
    }
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
            whole: None,
        };
        Self { origin: Instant::now(), next: Arc::default(), state: Mutex::new(state) }
    }

    /// Numbers packets on from `next`, where the link before to the same peer has left off, and keeps it up to date.
    pub fn numbering(self, next: Arc<AtomicU16>) -> Self {
        next.fetch_add(LEFT_OVER, Ordering::Relaxed);
        Self { next, ..self }
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

    /// Whether the voice is to carry what makes up for a lost piece of it: always, but where nothing is lost.
    fn wants_correction(&self) -> bool {
        let now = self.now();
        let state = self.lock();
        let fresh = state.estimator.heard().is_some_and(|at| now.saturating_sub(at) < FRESH);
        let whole = state.whole.is_some_and(|since| now.saturating_sub(since) >= WHOLE);
        !(fresh && whole)
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
            state.whole = None;
        }
        over && state.mode == VideoMode::Full
    }

    /// Packets take another way from now on.
    pub fn path_changed(&self) {
        let now = self.now();
        let mut state = self.lock();
        state.whole = None;
        state.estimator.path_changed(now);
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
                share.correct(gauge.wants_correction());
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

    #[test]
    fn the_voice_goes_without_correction_where_nothing_was_lost_for_five_seconds_on_this_path() {
        let young = Gauge::new(1_000_000);
        // Its own clock is younger than what is told of it here.
        let gauge = Gauge { origin: Instant::now() - Duration::from_secs(100), ..young };
        let report = |at: u32, arrived: bool| {
            let (now, sent) = (at * 100 * MS, (at * 100).saturating_sub(50) * MS);
            let fate = Fate { sent, arrived: arrived.then_some(now), size: 100 };
            let mut state = gauge.lock();
            state.note_losses(now, &[fate]);
            state.estimator.take(now, &[fate]);
        };
        let whole = |at: u32| {
            let since = gauge.lock().whole;
            since.is_some_and(|since| (at * 100 * MS).saturating_sub(since) >= WHOLE)
        };
        assert!(gauge.wants_correction(), "nothing is known");
        (1..=50).for_each(|at| report(at, true));
        assert!(!whole(50), "not for long enough");
        (51..=60).for_each(|at| report(at, true));
        assert!(whole(60));
        report(61, false);
        assert!(!whole(61), "one is enough");
        (62..=120).for_each(|at| report(at, true));
        assert!(whole(120));
        // Nothing came for three seconds, in a hole most likely.
        report(150, true);
        assert!(!whole(150));
        (151..=205).for_each(|at| report(at, true));
        assert!(whole(205));
        gauge.path_changed();
        assert!(!whole(205), "another path");
        (206..=1_050).for_each(|at| report(at, true));
        assert!(!gauge.wants_correction(), "and it hears of this by its own clock");
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
