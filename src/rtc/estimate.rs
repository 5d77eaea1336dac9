//! How much a path takes: send times and arrival times of packets in, bits per second out.
//!
//! Pure: the caller tells the time and what became of each packet. Knows no RTCP and no track.
//!
//! Two signs are read. A queue that grows somewhere on the path makes packets travel longer: then the rate
//! falls to what really arrives. Loss without a queue is a narrow path only if sending less makes it less;
//! else it is the path's nature, and sending less would help nobody (media.md section "Rate control").

mod arrivals;

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use arrivals::Arrivals;

/// The least this ever says, in bit/s: a voice.
const LEAST: f64 = 30_000.0;
/// So much of what arrived is sent after the path turned out too narrow; the rest lets the queue drain.
const BACK_OFF: f64 = 0.85;
/// Whoever sends less than this part of the rate does not test it: a queue then says that the path is narrower, or
/// stood still for a moment, but not how narrow it is.
const TESTING: f64 = 0.4;
/// What is left of a rate that nobody tested, for each queue that is too long.
const DOUBT: f64 = 0.5;
/// Growth per second far from what was too much, near it, and just past it.
const GROWTH_FAR: f64 = 1.4;
const GROWTH_NEAR: f64 = 1.08;
const GROWTH_PAST: f64 = 1.2;
/// From when to when the rate is near what was too much.
const NEAR: Range<f64> = 0.8..1.12;
/// Up to here it is just past it; farther on, what was too much is forgotten.
const PAST: f64 = 1.35;
/// A queue shorter than this, in seconds, is no obstacle to sending more.
const SHORT_QUEUE: f64 = 0.03;
/// A queue longer than this that does not fall is too long.
const LONG_QUEUE: f64 = 0.06;
/// And so long it must have been too long: a board or a phone that does something else for a moment, as at the
/// beginning of a call, or a radio that listens elsewhere, is no narrow path.
const LASTING: Duration = Duration::from_millis(200);
/// While a queue is longer than this, pictures wait.
const TOO_LONG_QUEUE: f64 = 0.12;
/// The shortest time between two reductions, in which the first shows its effect.
const REDUCTION_PAUSE: Duration = Duration::from_millis(300);
/// The time without a queue after a reduction before the rate grows again.
const REST: Duration = Duration::from_millis(500);
/// Losses are counted over this time.
const LOSS_WINDOW: Duration = Duration::from_secs(1);
/// Fewer packets say nothing about loss.
const LOSS_SAMPLE: u32 = 20;
/// Loss above the path's nature by this much may mean that the path is too narrow.
const HIGH_LOSS: f64 = 0.1;
/// With loss above the path's nature by this much the rate does not grow.
const SOME_LOSS: f64 = 0.05;
/// Without a report for so long, packets went into a hole.
const HOLE: Duration = Duration::from_secs(1);
/// Nothing arrived of what was sent during so long: a hole too, though reports came again within [`HOLE`]. Losses by
/// chance and by a full queue leave something over; a radio that changes its channel, or a router its route, nothing.
const BLACKOUT: Duration = Duration::from_millis(150);
/// So many packets must be gone in it.
const BLACKOUT_SAMPLE: u32 = 6;
/// The shortest travelling time is remembered this long at least, and twice as long at most.
const BASE_AGE: Duration = Duration::from_secs(15);
/// A queue that stays for so long although less is sent is not ours: the path itself is longer now.
const STANDING: Duration = Duration::from_millis(2500);

/// Enough to try a keyframe beside the voice, in bit/s: else a link that sends nothing else would never find
/// out that there is room again.
const TRY: f64 = 120_000.0;
/// Reports come several times as often.
const PROBE_PAUSE: Duration = Duration::from_millis(500);

/// From this loss on the voice needs more than its own correction, and below this no more of it.
const VOICE_LOSS: (f64, f64) = (0.03, 0.01);
/// A path counts as lossy for so long.
const LOSSY: Duration = Duration::from_secs(5);
/// On a path narrower than this, in bit/s, loss comes from sending too much already.
const ROOM_FOR_COPIES: f64 = 400_000.0;

/// What became of one packet. `sent` and `arrived` are on different clocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fate {
    /// When it was sent.
    pub sent: Duration,
    /// When it arrived, on the receiver's clock; `None` if it was lost.
    pub arrived: Option<Duration>,
    /// Its size in bytes.
    pub size: usize,
}

/// A loss that is to become less by sending less.
#[derive(Debug, Clone, Copy)]
struct Trial {
    /// The loss above the path's nature.
    excess: f64,
    /// What arrived, in bytes per window, and whether more was sent than arrives of what was sent after.
    arrived: usize,
    filled: bool,
    since: Duration,
}

/// What one report said.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    at: Duration,
    lost: u32,
    total: u32,
    sent_bytes: usize,
    arrived_bytes: usize,
}

/// The estimate for one path.
#[derive(Debug)]
pub struct Estimator {
    ceiling: f64,
    rate: f64,
    /// What arrived when the path was last too narrow.
    too_much: Option<f64>,
    base: Base,
    /// The queue's length in seconds, as the last packets of the last report met it.
    queue: f64,
    /// Since when the queue is long, and how long it was then.
    long_since: Option<(Duration, f64)>,
    arrivals: Arrivals,
    outcomes: VecDeque<Outcome>,
    natural_loss: f64,
    /// When the path was last lossy.
    lossy: Option<Duration>,
    trial: Option<Trial>,
    reduced: Option<Duration>,
    updated: Duration,
    heard: Option<Duration>,
    /// When the newest packet was sent that is known to have arrived.
    reached: Duration,
    /// When the last hole was over. What was sent before says nothing: it may have been lost in it, or have waited
    /// for its end, and is reported on piece by piece.
    whole_since: Duration,
    /// When the first and the last of the packets were sent that are lost without one between them that arrived, and
    /// how many they are.
    gone: Option<(Duration, Duration, u32)>,
    round_trip: Duration,
    /// The rate grows no further than what arrived allows: little is sent on purpose.
    tested: Option<f64>,
}

impl Estimator {
    /// Begins at `ceiling` bit/s, which it never exceeds.
    pub fn new(ceiling: f64) -> Self {
        Self {
            ceiling,
            rate: ceiling,
            too_much: None,
            base: Base::default(),
            queue: 0.0,
            long_since: None,
            arrivals: Arrivals::default(),
            outcomes: VecDeque::new(),
            natural_loss: 0.0,
            lossy: None,
            trial: None,
            reduced: None,
            updated: Duration::ZERO,
            heard: None,
            reached: Duration::ZERO,
            whole_since: Duration::ZERO,
            gone: None,
            round_trip: Duration::ZERO,
            tested: None,
        }
    }

    /// What the path takes, all packets together with their RTP headers, in bit/s.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Whether nothing speaks against sending all there is.
    pub fn is_at_ceiling(&self) -> bool {
        self.rate >= 0.95 * self.ceiling
    }

    /// The share of packets that were lost lately, 0 to 1.
    pub fn loss(&self) -> f64 {
        let (lost, total) = self.lost_of();
        if total < LOSS_SAMPLE { 0.0 } else { f64::from(lost) / f64::from(total) }
    }

    /// Whether the voice is to be sent twice: packets are lost, and not for want of room.
    pub fn wants_copies(&self, now: Duration) -> bool {
        self.rate > ROOM_FOR_COPIES && self.lossy.is_some_and(|at| now.saturating_sub(at) < LOSSY)
    }

    /// When the last report came.
    pub fn heard(&self) -> Option<Duration> {
        self.heard
    }

    /// Whether what is sent now would only wait: packets stand in a long queue, or fall into a hole.
    /// `sent` is when the last packet was sent that the peer reports on. A peer that never reports is never
    /// congested, and without packets to report on something must be sent to find out.
    pub fn is_congested(&self, now: Duration, sent: Duration) -> bool {
        let patience = PROBE_PAUSE + self.round_trip.min(Duration::from_secs(1));
        self.heard.is_some()
            && now.saturating_sub(sent) < PROBE_PAUSE
            && (self.queue > TOO_LONG_QUEUE || sent.saturating_sub(self.reached) > patience)
    }

    /// The peer was heard again after a hole: what is sent from now on arrives again, as far as can be told,
    /// and waits for no report on what fell into the hole. `sent` as in [`is_congested`](Self::is_congested).
    pub fn hole_is_over(&mut self, sent: Duration) {
        self.reached = self.reached.max(sent);
        self.whole_again(sent);
    }

    /// Packets that are sent after `now` take another way, which may be longer or shorter.
    pub fn path_changed(&mut self, now: Duration) {
        self.base = Base::default();
        self.arrivals = Arrivals::default();
        self.whole_again(now);
    }

    fn whole_again(&mut self, sent: Duration) {
        self.whole_since = self.whole_since.max(sent);
        self.queue = 0.0;
        self.outcomes.clear();
        self.trial = None;
        self.long_since = None;
    }

    /// Says whether little is sent on purpose. Then nothing tests the path, and the estimate must not
    /// run away from what really arrives.
    pub fn set_sparing(&mut self, sparing: bool) {
        match (sparing, self.tested) {
            (true, None) => self.tested = Some(self.rate / 1.5),
            (false, _) => self.tested = None,
            (true, Some(_)) => {}
        }
    }

    /// Takes in a report, packets in the order of sending. `now` is on the clock of `sent`.
    pub fn take(&mut self, now: Duration, fates: &[Fate]) {
        let Some((newest, _)) = travel(fates) else { return };
        let silence = self.heard.map_or(Duration::ZERO, |heard| now.saturating_sub(heard));
        self.heard = Some(now);
        self.reached = self.reached.max(newest);
        if silence > HOLE {
            self.updated = now;
            // Only if something waited: a link that sends a keyframe now and then is silent between them.
            let oldest = fates.first().map_or(now, |fate| fate.sent);
            if now.saturating_sub(oldest) > HOLE {
                self.whole_again(now);
            }
        }
        self.find_blackout(fates);
        let hole = fates.partition_point(|fate| fate.sent <= self.whole_since);
        let fates = &fates[hole..];
        let Some((newest, lowest)) = travel(fates) else { return };
        let trip = now.saturating_sub(newest);
        self.round_trip = match self.round_trip.is_zero() {
            true => trip,
            false => (self.round_trip * 7 + trip) / 8,
        };
        let before = self.queue;
        self.queue = lowest - self.base.least(now, lowest);
        self.count(now, fates);
        let queued = self.queue_rule(now, before);
        let lossy = self.loss_rule(now);
        if !queued && !lossy {
            self.grow(now);
        }
    }

    /// Looks for a time in which everything was lost.
    fn find_blackout(&mut self, fates: &[Fate]) {
        for fate in fates {
            if fate.arrived.is_none() {
                let (first, _, count) = self.gone.unwrap_or((fate.sent, fate.sent, 0));
                self.gone = Some((first, fate.sent, count + 1));
            } else if let Some((first, last, count)) = self.gone.take()
                && count >= BLACKOUT_SAMPLE
                && last.saturating_sub(first) >= BLACKOUT
            {
                self.whole_again(last);
            }
        }
    }

    fn count(&mut self, now: Duration, fates: &[Fate]) {
        // What was sent before a reduction says nothing about the rate after it.
        let counted = |fate: &&Fate| self.reduced.is_none_or(|at| fate.sent >= at);
        let counted: Vec<&Fate> = fates.iter().filter(counted).collect();
        let there = || counted.iter().filter(|fate| fate.arrived.is_some());
        self.outcomes.push_back(Outcome {
            at: now,
            lost: (counted.len() - there().count()) as u32,
            total: counted.len() as u32,
            sent_bytes: counted.iter().map(|fate| fate.size).sum(),
            arrived_bytes: there().map(|fate| fate.size).sum(),
        });
        let old = |outcome: &Outcome| now.saturating_sub(outcome.at) > LOSS_WINDOW;
        while self.outcomes.front().is_some_and(old) {
            self.outcomes.pop_front();
        }
        let loss = self.loss();
        let was_lossy = self.lossy.is_some_and(|at| now.saturating_sub(at) < LOSSY);
        if loss >= VOICE_LOSS.0 || (was_lossy && loss >= VOICE_LOSS.1) {
            self.lossy = Some(now);
        }
        self.arrivals.take(fates);
        if let (Some(tested), Some(rate)) = (self.tested, self.arrivals.rate()) {
            self.tested = Some(rate.max(tested * 0.995));
        }
    }

    fn lost_of(&self) -> (u32, u32) {
        self.outcomes.iter().fold((0, 0), |sum, one| (sum.0 + one.lost, sum.1 + one.total))
    }

    /// The loss of the last few reports: it knows earlier how narrow the path became.
    fn latest_loss(&self) -> f64 {
        let (mut lost, mut total) = (0, 0);
        for one in self.outcomes.iter().rev() {
            if total >= LOSS_SAMPLE {
                break;
            }
            (lost, total) = (lost + one.lost, total + one.total);
        }
        f64::from(lost) / f64::from(total.max(1))
    }

    fn may_reduce(&self, now: Duration) -> bool {
        self.reduced.is_none_or(|at| now.saturating_sub(at) >= REDUCTION_PAUSE)
    }

    /// Reduces the rate if a queue is too long. Whether the queue forbids growth.
    fn queue_rule(&mut self, now: Duration, before: f64) -> bool {
        if self.queue <= LONG_QUEUE {
            self.long_since = None;
            return self.queue > SHORT_QUEUE;
        }
        let (since, length) = *self.long_since.get_or_insert((now, self.queue));
        if now.saturating_sub(since) >= STANDING {
            if self.queue > 0.8 * length {
                self.base.accept(now, self.queue);
                self.queue = 0.0;
                self.long_since = None;
                return true;
            }
            self.long_since = Some((now, self.queue));
        }
        let falls = self.queue < before - 0.005;
        let stays = before > SHORT_QUEUE && !falls && now.saturating_sub(since) >= LASTING;
        if stays && self.may_reduce(now) {
            // Reports on what was sent before the last reduction can only correct it.
            let again = self.reduced.is_some_and(|at| self.reached > at);
            self.back_off(now, if again || self.reduced.is_none() { 0.95 } else { 1.0 });
        }
        true
    }

    /// Down to less than what arrives, and to `most` of the present rate.
    fn back_off(&mut self, now: Duration, most: f64) {
        let arrives = self.arrivals.rate().unwrap_or(self.rate);
        let doubted = DOUBT * self.rate;
        let untested = self.arrivals.sending_rate().is_some_and(|sent| sent < TESTING * self.rate);
        if untested && BACK_OFF * arrives < doubted {
            self.rate = doubted.max(LEAST);
            self.too_much = None;
        } else {
            self.rate = (BACK_OFF * arrives).min(most * self.rate).max(LEAST);
            self.too_much = Some(arrives.max(self.rate));
        }
        self.reduced = Some(now);
        self.outcomes.clear();
    }

    /// Reduces the rate if packets are lost that would not be if fewer were sent. Whether loss forbids growth.
    fn loss_rule(&mut self, now: Duration) -> bool {
        let (_, total) = self.lost_of();
        if total < LOSS_SAMPLE {
            return false;
        }
        let loss = self.loss();
        self.natural_loss = self.natural_loss.min(loss + SOME_LOSS);
        if let Some(trial) = self.trial {
            // All that was counted must have been sent at the lower rate.
            if now.saturating_sub(trial.since) < LOSS_WINDOW + self.round_trip {
                return true;
            }
            self.trial = None;
            let arrived: usize = self.outcomes.iter().map(|one| one.arrived_bytes).sum();
            // A narrow path still delivers as much when less is sent; a lossy one delivers less.
            let as_much = trial.filled && arrived as f64 > 0.9 * trial.arrived as f64;
            if loss - self.natural_loss > 0.6 * trial.excess && !as_much {
                self.natural_loss = loss;
                self.too_much = None;
            }
        }
        if loss > self.natural_loss + HIGH_LOSS && self.may_reduce(now) {
            if self.queue > SHORT_QUEUE {
                // Both signs at once leave no doubt.
                self.back_off(now, 0.95);
                return true;
            }
            let lost = loss.max(self.latest_loss());
            self.too_much = Some(self.rate * (1.0 - lost));
            self.rate = (self.rate * (1.0 - lost) * 0.95).max(LEAST);
            self.reduced = Some(now);
            let sent: usize = self.outcomes.iter().map(|one| one.sent_bytes).sum();
            self.trial = Some(Trial {
                excess: loss - self.natural_loss,
                arrived: self.outcomes.iter().map(|one| one.arrived_bytes).sum(),
                filled: sent as f64 * 8.0 > 1.1 * self.rate * LOSS_WINDOW.as_secs_f64(),
                since: now,
            });
            self.outcomes.clear();
            return true;
        }
        loss > self.natural_loss + SOME_LOSS
    }

    fn grow(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.updated).as_secs_f64().min(0.25);
        self.updated = now;
        if self.reduced.is_some_and(|at| now.saturating_sub(at) < REST) {
            return;
        }
        let growth: f64 = match self.too_much.map(|rate| self.rate / rate) {
            Some(part) if part < NEAR.start => GROWTH_FAR,
            Some(part) if part < NEAR.end => GROWTH_NEAR,
            Some(part) if part < PAST => GROWTH_PAST,
            _ => {
                self.too_much = None;
                GROWTH_FAR
            }
        };
        let limit = self.tested.map_or(self.ceiling, |rate| (1.5 * rate).max(self.rate).max(TRY));
        self.rate = (self.rate * growth.powf(elapsed)).min(limit).min(self.ceiling);
    }
}

impl fmt::Display for Estimator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rate, queue) = (self.rate / 1000.0, 1000.0 * self.queue);
        let (loss, natural) = (100.0 * self.loss(), 100.0 * self.natural_loss);
        write!(
            f,
            "{rate:.0} kbit/s, queue {queue:.0} ms, loss {loss:.0} % ({natural:.0} % natural)"
        )
    }
}

/// When the newest packet that arrived was sent, and the shortest travelling time of the newest quarter in
/// seconds, which has an unknown constant in it. Only the newest, as they met the queue at its longest; the
/// shortest, as a radio link that stops for a moment delays some and lets the next pass.
fn travel(fates: &[Fate]) -> Option<(Duration, f64)> {
    let arrived = || fates.iter().rev().filter_map(|fate| Some((fate.sent, fate.arrived?)));
    let newest = arrived().map(|(sent, _)| sent).max()?;
    let lowest = arrived()
        .take((fates.len() / 4).max(3))
        .map(|(sent, arrived)| arrived.as_secs_f64() - sent.as_secs_f64())
        .fold(f64::INFINITY, f64::min);
    Some((newest, lowest))
}

/// The shortest travelling time of the last 15 to 30 s: that of an empty path. It is forgotten at last, as
/// paths and clocks drift.
#[derive(Debug, Default)]
struct Base {
    present: Option<f64>,
    past: Option<f64>,
    since: Duration,
}

impl Base {
    fn least(&mut self, now: Duration, travel: f64) -> f64 {
        if now.saturating_sub(self.since) >= BASE_AGE {
            self.past = self.present.take();
            self.since = now;
        }
        let present = self.present.map_or(travel, |least| least.min(travel));
        self.present = Some(present);
        self.past.map_or(present, |past| past.min(present))
    }

    /// The path has become longer by so much.
    fn accept(&mut self, now: Duration, longer: f64) {
        let least = self.past.into_iter().chain(self.present).fold(f64::INFINITY, f64::min);
        *self = Self { present: Some(least + longer), past: None, since: now };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CEILING: f64 = 2_000_000.0;
    const MS: Duration = Duration::from_millis(1);

    /// A path with one bottleneck: a queue that is emptied at `capacity` and holds `depth` seconds of it.
    struct Path {
        capacity: f64,
        depth: f64,
        /// Every so many packets one is lost; 0 for none.
        loss_every: u64,
        /// Each packet and each report is lost with this chance.
        loss: f64,
        dice: u64,
        delay: Duration,
        dead: bool,
        free_at: f64,
        count: u64,
    }

    impl Path {
        fn new(capacity: f64) -> Self {
            let delay = 10 * MS;
            Self {
                capacity,
                depth: 5.0,
                loss_every: 0,
                loss: 0.0,
                dice: 1,
                delay,
                dead: false,
                free_at: 0.0,
                count: 0,
            }
        }

        fn loses(&mut self) -> bool {
            // Knuth's MMIX generator: any will do that repeats itself from run to run.
            self.dice = self
                .dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((self.dice >> 33) as f64 / f64::from(1_u32 << 31)) < self.loss
        }

        fn carry(&mut self, sent: Duration, size: usize) -> Fate {
            self.count += 1;
            let now = sent.as_secs_f64();
            let start = self.free_at.max(now);
            let random = self.loss_every > 0 && self.count.is_multiple_of(self.loss_every);
            let random = self.loses() || random;
            if self.dead || random || start - now > self.depth {
                return Fate { sent, arrived: None, size };
            }
            self.free_at = start + size as f64 * 8.0 / self.capacity;
            // The receiver's clock is another one.
            let arrived = Duration::from_secs_f64(self.free_at + 1000.0) + self.delay;
            Fate { sent, arrived: Some(arrived), size }
        }
    }

    /// A sender of pictures and voice that keeps the estimate, and a receiver that reports every 100 ms.
    struct Talk {
        path: Path,
        estimator: Estimator,
        now: Duration,
        sent: Duration,
        under_way: VecDeque<Fate>,
        /// Only the voice is sent.
        quiet: bool,
        /// The longest travelling time of the voice in the last run, and its losses.
        slowest: Duration,
        voice_lost: u32,
        pictures: u32,
    }

    impl Talk {
        fn over(path: Path) -> Self {
            Self {
                path,
                estimator: Estimator::new(CEILING),
                now: Duration::ZERO,
                sent: Duration::ZERO,
                under_way: VecDeque::new(),
                quiet: false,
                slowest: Duration::ZERO,
                voice_lost: 0,
                pictures: 0,
            }
        }

        fn send(&mut self, size: usize) -> Fate {
            let fate = self.path.carry(self.now, size);
            self.sent = self.now;
            self.under_way.push_back(fate);
            fate
        }

        fn run(&mut self, seconds: f64) -> f64 {
            (self.slowest, self.voice_lost, self.pictures) = (Duration::ZERO, 0, 0);
            let end = self.now + Duration::from_secs_f64(seconds);
            while self.now < end {
                self.now += MS;
                let ms = self.now.as_millis();
                if ms.is_multiple_of(20) {
                    let fate = self.send(90);
                    match fate.arrived {
                        Some(arrived) => {
                            let travel = arrived - Duration::from_secs(1000) - fate.sent;
                            self.slowest = self.slowest.max(travel);
                        }
                        None => self.voice_lost += 1,
                    }
                }
                let may = !self.quiet && !self.estimator.is_congested(self.now, self.sent);
                if ms.is_multiple_of(33) && may {
                    self.pictures += 1;
                    let bytes = (self.estimator.rate() - 48_000.0).max(0.0) * 0.93 * 0.033 / 8.0;
                    for _ in 0..(bytes / 1000.0).ceil() as u32 {
                        self.send((bytes / (bytes / 1000.0).ceil()) as usize);
                    }
                }
                if ms.is_multiple_of(100) {
                    self.report();
                }
            }
            self.estimator.rate()
        }

        /// The crate's history works so: everything up to the newest packet that arrived.
        fn report(&mut self) {
            let there = self.now + Duration::from_secs(1000) - self.path.delay;
            let newest = self
                .under_way
                .iter()
                .rposition(|fate| fate.arrived.is_some_and(|arrived| arrived <= there));
            if let Some(newest) = newest {
                let fates: Vec<Fate> = self.under_way.drain(..=newest).collect();
                // Of the packets of a lost report nothing is known.
                if !self.path.loses() {
                    self.estimator.take(self.now, &fates);
                }
            }
        }
    }

    fn assert_near(rate: f64, expected: f64) {
        assert!((0.6 * expected..1.25 * expected).contains(&rate), "{rate} is not near {expected}");
    }

    #[test]
    fn a_good_path_stays_at_the_ceiling_from_the_start() {
        let mut talk = Talk::over(Path::new(20_000_000.0));
        for _ in 0..60 {
            assert_eq!(talk.run(1.0), CEILING);
        }
        assert!(talk.estimator.is_at_ceiling());
    }

    #[test]
    fn a_path_that_stops_for_a_moment_while_only_the_voice_flows_is_not_taken_for_a_narrow_one() {
        for stop in [80, 130, 200, 400] {
            let mut talk = Talk::over(Path::new(20_000_000.0));
            talk.quiet = true;
            talk.run(0.3);
            talk.path.free_at = talk.now.as_secs_f64() + f64::from(stop) / 1000.0;
            talk.run(0.6);
            talk.quiet = false;
            let rate = talk.run(1.0);
            assert!(rate > 0.4 * CEILING, "a stop of {stop} ms: {rate}");
            assert_eq!(talk.run(4.0), CEILING);
        }
    }

    #[test]
    fn a_path_that_is_long_for_a_moment_while_only_the_voice_flows_is_not_taken_for_a_narrow_one() {
        for longer in [100, 150, 250] {
            let mut talk = Talk::over(Path::new(20_000_000.0));
            talk.quiet = true;
            talk.run(0.2);
            talk.path.delay += longer * MS;
            talk.run(0.7);
            talk.path.delay -= longer * MS;
            talk.run(0.3);
            talk.quiet = false;
            let rate = talk.run(0.1);
            assert!(rate > 0.2 * CEILING, "{longer} ms longer: {rate}");
            assert_eq!(talk.run(6.0), CEILING);
        }
    }

    #[test]
    fn a_path_that_turns_narrow_for_the_voice_alone_is_found_out_within_two_seconds() {
        let mut talk = Talk::over(Path::new(20_000_000.0));
        talk.quiet = true;
        talk.run(2.0);
        talk.path.capacity = 25_000.0;
        talk.run(2.5);
        talk.quiet = false;
        let rate = talk.run(0.1);
        assert!(rate < 0.1 * CEILING, "{rate}");
    }

    #[test]
    fn a_longer_way_that_is_known_to_be_another_costs_no_picture() {
        for known in [true, false] {
            let mut talk = Talk::over(Path::new(20_000_000.0));
            talk.run(5.0);
            talk.path.delay += 160 * MS;
            if known {
                talk.estimator.path_changed(talk.now);
            }
            talk.run(2.0);
            let whole = talk.pictures >= 58 && talk.estimator.rate() > 0.9 * CEILING;
            assert_eq!(whole, known, "{} pictures, {}", talk.pictures, talk.estimator);
        }
    }

    #[test]
    fn without_reports_nothing_is_congested() {
        let estimator = Estimator::new(CEILING);
        assert!(!estimator.is_congested(9 * MS, 9 * MS));
        assert_eq!((estimator.rate(), estimator.heard()), (CEILING, None));
    }

    #[test]
    fn a_path_that_turns_narrow_is_followed_within_a_second_and_the_voice_stays_whole() {
        let mut talk = Talk::over(Path::new(20_000_000.0));
        talk.run(5.0);
        talk.path.capacity = 300_000.0;
        assert_near(talk.run(1.0), 300_000.0);
        assert!(talk.slowest < 1600 * MS, "{:?}", talk.slowest);
        assert_eq!(talk.voice_lost, 0);
        talk.run(2.0);
        for _ in 0..17 {
            let rate = talk.run(1.0);
            assert_near(rate, 300_000.0);
            assert!(talk.slowest < 300 * MS, "{:?}", talk.slowest);
            assert!(talk.pictures > 10, "the picture goes on");
            assert!(!talk.estimator.wants_copies(talk.now), "there is no room for them");
            assert_eq!(talk.voice_lost, 0);
        }
    }

    #[test]
    fn a_path_that_is_wide_again_is_used_in_full_within_ten_seconds() {
        for narrow in [15.0, 15.7, 16.4, 17.1, 17.8, 18.5, 20.0] {
            let mut talk = Talk::over(Path::new(20_000_000.0));
            talk.run(5.0);
            talk.path.capacity = 300_000.0;
            talk.run(narrow);
            talk.path.capacity = 20_000_000.0;
            assert_eq!(talk.run(10.0), CEILING, "after {narrow} s");
            assert!(talk.slowest < 300 * MS);
        }
    }

    #[test]
    fn a_path_with_a_short_queue_is_found_by_its_losses() {
        let mut talk = Talk::over(Path::new(20_000_000.0));
        talk.run(5.0);
        (talk.path.capacity, talk.path.depth) = (300_000.0, 0.06);
        talk.run(6.0);
        for _ in 0..10 {
            let rate = talk.run(1.0);
            assert!((150_000.0..420_000.0).contains(&rate), "{rate}");
        }
    }

    #[test]
    fn loss_that_has_nothing_to_do_with_the_rate_does_not_starve_the_picture() {
        for (every, least) in [(100, 1.0), (20, 1.0), (10, 0.95), (5, 0.7)] {
            let mut talk = Talk::over(Path::new(20_000_000.0));
            talk.path.loss_every = every;
            talk.run(10.0);
            for _ in 0..20 {
                let rate = talk.run(1.0);
                assert!(rate >= least * CEILING, "one of {every} lost: {rate}");
            }
            let loss = talk.estimator.loss();
            assert!((loss - 1.0 / every as f64).abs() < 0.05, "{loss}");
            assert_eq!(talk.estimator.wants_copies(talk.now), every <= 20, "one of {every} lost");
            talk.path.loss_every = 0;
            talk.run(7.0);
            assert!(!talk.estimator.wants_copies(talk.now));
        }
    }

    #[test]
    fn loss_by_chance_both_ways_does_not_starve_the_picture_either() {
        for (percent, least) in [(5, 0.9), (10, 0.7), (20, 0.4)] {
            for seed in 1..=20 {
                let mut talk = Talk::over(Path::new(20_000_000.0));
                talk.path.dice = seed;
                talk.path.loss = f64::from(percent) / 100.0;
                talk.run(10.0);
                let rates: Vec<f64> = (0..20).map(|_| talk.run(1.0)).collect();
                let mean = rates.iter().sum::<f64>() / 20.0;
                let lowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
                assert!(mean >= least * CEILING, "{percent} %, seed {seed}: {mean} of {rates:?}");
                assert!(lowest >= 300_000.0, "{percent} %, seed {seed}: {rates:?}");
            }
        }
    }

    #[test]
    fn after_a_hole_the_rate_is_what_it_was() {
        let mut talk = Talk::over(Path::new(20_000_000.0));
        talk.run(5.0);
        talk.path.dead = true;
        talk.run(5.0);
        assert!(talk.estimator.is_congested(talk.now, talk.sent), "nothing more is thrown into it");
        assert!(talk.pictures < 30, "{}", talk.pictures);
        talk.path.dead = false;
        assert_eq!(talk.run(0.5), CEILING);
        assert!(!talk.estimator.is_congested(talk.now, talk.sent));
        assert!(talk.pictures >= 10, "{}", talk.pictures);
    }

    #[test]
    fn a_short_hole_is_no_narrow_path_whenever_it_comes() {
        for ms in [200, 300, 500, 740, 900, 990] {
            for phase in 0..12 {
                let mut talk = Talk::over(Path::new(20_000_000.0));
                talk.run(5.0 + f64::from(phase) * 0.017);
                talk.path.dead = true;
                talk.run(f64::from(ms) / 1000.0);
                talk.path.dead = false;
                talk.run(0.5);
                let rate = talk.estimator.rate();
                assert_eq!(rate, CEILING, "{ms} ms, phase {phase}");
                assert_eq!(talk.run(2.0), CEILING, "{ms} ms, phase {phase}");
            }
        }
    }

    #[test]
    fn a_short_hole_in_a_lossy_path_leaves_a_picture() {
        for seed in 1..=20 {
            let mut talk = Talk::over(Path::new(20_000_000.0));
            talk.path.dice = seed;
            talk.path.loss = 0.1;
            talk.run(10.0);
            talk.path.dead = true;
            talk.run(0.7);
            talk.path.dead = false;
            let rate = talk.run(1.0);
            assert!(rate >= 0.3 * CEILING, "seed {seed}: {rate}");
        }
    }

    #[test]
    fn what_waited_out_a_hole_or_was_lost_in_it_says_nothing_however_it_is_reported() {
        let mut talk = Talk::over(Path::new(20_000_000.0));
        talk.run(5.0);
        let begun = talk.now;
        // The peer's program stops for 10 s: what is sent waits until no more fits, and the rest is lost.
        for step in 1..=500_u32 {
            talk.now = begun + step * 20 * MS;
            let end = begun + 10_000 * MS + Duration::from_secs(1000);
            let arrived = (step < 200).then_some(end + step * MS / 100);
            talk.under_way.push_back(Fate { sent: talk.now, arrived, size: 90 });
            talk.sent = talk.now;
        }
        talk.estimator.hole_is_over(talk.sent);
        let fates: Vec<Fate> = talk.under_way.drain(..).collect();
        // A report says some of it at a time, while new packets go as ever.
        for fates in fates.chunks(60) {
            talk.now += 50 * MS;
            talk.estimator.take(talk.now, fates);
            talk.path.free_at = 0.0;
        }
        assert_eq!(talk.run(3.0), CEILING);
        assert!(!talk.estimator.is_congested(talk.now, talk.sent));
    }

    #[test]
    fn a_longer_path_is_not_taken_for_a_queue_for_ever() {
        let mut talk = Talk::over(Path::new(20_000_000.0));
        talk.run(5.0);
        talk.path.delay += 150 * MS;
        talk.run(10.0);
        assert_eq!(talk.run(10.0), CEILING);
    }

    #[test]
    fn single_late_packets_are_not_taken_for_a_queue() {
        let mut estimator = Estimator::new(CEILING);
        for round in 0..100_u32 {
            let sent = round * 100 * MS;
            // A radio link stops for 80 ms every now and then, and delivers all at once.
            let stop = if round % 5 == 0 { 80 } else { 0 };
            let fates: Vec<Fate> = (0..20)
                .map(|packet| {
                    let sent = sent + packet * 5 * MS;
                    let late = 80_u32.min(stop).saturating_sub(packet * 5) * MS;
                    Fate { sent, arrived: Some(sent + 10 * MS + late), size: 1000 }
                })
                .collect();
            estimator.take(sent + 110 * MS, &fates);
        }
        assert_eq!(estimator.rate(), CEILING);
    }

    #[test]
    fn a_link_that_sends_little_on_purpose_is_not_believed_to_be_wide() {
        let mut talk = Talk::over(Path::new(60_000.0));
        talk.run(5.0);
        talk.estimator.set_sparing(true);
        let mut rate = 0.0;
        for second in 0..60 {
            // Voice only.
            for step in 0..50 {
                talk.now += 20 * MS;
                talk.send(90);
                if step % 5 == 0 {
                    talk.report();
                }
            }
            rate = talk.estimator.rate();
            assert!(rate < 150_000.0, "{rate} after {second} s");
        }
        assert!(rate > LEAST, "{rate}");
    }
}
