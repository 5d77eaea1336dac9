//! When to connect again (protocol.md section 6.2).
//!
//! Pure: the random part comes from a function given at the start.

use std::time::{Duration, Instant};

use super::advice::Pace;
use super::timings::Timings;

/// The row of failures so far.
pub(super) struct Backoff {
    /// Gives a random number from 0 to 1.
    luck: Box<dyn FnMut() -> f64 + Send>,
    attempts: u32,
    /// Failures in a row that were followed by a delay; the next delay doubles with each.
    delays: u32,
    /// Before this, not even a press brings the next attempt forward.
    earliest: Instant,
}

impl Backoff {
    pub(super) fn new(now: Instant, luck: Box<dyn FnMut() -> f64 + Send>) -> Self {
        Self { luck, attempts: 0, delays: 0, earliest: now }
    }

    /// Failed attempts in a row.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The row of failures is over.
    pub(super) fn reset(&mut self) {
        (self.attempts, self.delays) = (0, 0);
    }

    /// What stood in the way may be gone: the next failure waits as the first one does.
    pub(super) fn forgive(&mut self) {
        self.delays = 0;
    }

    /// A random number from 0 to 1.
    pub(super) fn luck(&mut self) -> f64 {
        (self.luck)()
    }

    /// A little more than `least` by chance, so that all doors of a service do not come back in step.
    pub(super) fn spread(&mut self, least: Duration, timings: &Timings) -> Duration {
        least + (least / 5).max(timings.backoff_first).mul_f64((self.luck)().clamp(0.0, 1.0))
    }

    /// One more failure, to be followed by an attempt at `at`. The next failure in the row is delayed as
    /// the first one would have been.
    pub(super) fn failed_for_once(&mut self, at: Instant) -> Instant {
        self.attempts = self.attempts.saturating_add(1);
        self.earliest = at;
        at
    }

    /// Whether the next failure would be the first of its row to be delayed.
    pub(super) fn is_first(&self) -> bool {
        self.delays == 0 && self.attempts == 0
    }

    /// The planned attempt, or an earlier one if somebody waits for it.
    pub(super) fn sooner(&mut self, now: Instant, planned: Instant, timings: &Timings) -> Instant {
        let luck = 0.8 + 0.4 * (self.luck)().clamp(0.0, 1.0);
        planned.min(now + timings.backoff_wanted.mul_f64(luck))
    }

    /// When to try at the earliest, however urgent it is.
    pub(super) fn earliest(&self, now: Instant) -> Instant {
        now.max(self.earliest)
    }

    /// One more failure; when to try again, `hint` at the least.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        pace: Pace,
        hint: Duration,
        timings: &Timings,
    ) -> Instant {
        self.attempts = self.attempts.saturating_add(1);
        let doubled = 2u32.saturating_pow(self.delays.min(20));
        self.delays = self.delays.saturating_add(1);
        let usual = timings.backoff_first.saturating_mul(doubled).min(timings.backoff_cap);
        let base = match pace {
            Pace::Usual | Pace::Wary => usual,
            Pace::Slow => usual.max(timings.slow_floor),
            Pace::Refused => timings.refused,
        };
        let delay = base.mul_f64(0.8 + 0.4 * (self.luck)().clamp(0.0, 1.0)).max(hint);
        let urgent = match pace {
            Pace::Usual | Pace::Wary => timings.backoff_first.max(hint),
            Pace::Slow => delay,
            Pace::Refused => timings.slow_floor,
        };
        self.earliest = now + urgent.min(delay);
        now + delay
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant as Clock;

    use super::*;

    fn delays(luck: f64, pace: Pace, hint: u64, count: usize) -> Vec<u128> {
        let now = Clock::now();
        let mut backoff = Backoff::new(now, Box::new(move || luck));
        let hint = Duration::from_millis(hint);
        (0..count)
            .map(|_| (backoff.failed(now, pace, hint, &Timings::default()) - now).as_millis())
            .collect()
    }

    #[test]
    fn delays_double_up_to_half_a_minute() {
        let expected = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000];
        assert_eq!(delays(0.5, Pace::Usual, 0, 8), expected);
    }

    #[test]
    fn luck_moves_a_delay_by_a_fifth_either_way() {
        assert_eq!(delays(0.0, Pace::Usual, 0, 1), [400]);
        assert_eq!(delays(1.0, Pace::Usual, 0, 1), [600]);
        assert_eq!(delays(1.0, Pace::Usual, 0, 7).last(), Some(&36_000));
    }

    #[test]
    fn slow_codes_have_a_floor_and_refusals_wait_a_quarter_of_an_hour() {
        assert_eq!(delays(0.5, Pace::Slow, 0, 1), [30_000]);
        assert_eq!(delays(0.5, Pace::Refused, 0, 1), [900_000]);
    }

    #[test]
    fn a_hint_is_the_least_delay() {
        assert_eq!(delays(0.5, Pace::Usual, 7000, 5), [7000, 7000, 7000, 7000, 8000]);
    }

    #[test]
    fn an_attempt_at_once_does_not_lengthen_the_delays_after_it() {
        let now = Clock::now();
        let timings = Timings::default();
        let mut backoff = Backoff::new(now, Box::new(|| 0.5));
        assert!(backoff.is_first());
        assert_eq!(backoff.failed_for_once(now), now);
        assert!(!backoff.is_first(), "only once in a row");
        let next = backoff.failed(now, Pace::Usual, Duration::ZERO, &timings);
        assert_eq!((next - now).as_millis(), 500);
        assert_eq!(backoff.attempts(), 2);
    }

    #[test]
    fn doors_that_were_told_when_to_come_back_do_not_come_in_step() {
        let timings = Timings::default();
        for (luck, millis, expected) in
            [(0.0, 1000, 1000), (1.0, 1000, 1500), (1.0, 10_000, 12_000), (0.5, 10_000, 11_000)]
        {
            let mut backoff = Backoff::new(Clock::now(), Box::new(move || luck));
            let spread = backoff.spread(Duration::from_millis(millis), &timings);
            assert_eq!(spread.as_millis(), expected);
        }
    }

    #[test]
    fn thousands_of_failures_do_not_overflow() {
        assert_eq!(delays(0.5, Pace::Usual, 0, 5000).last(), Some(&30_000));
    }

    #[test]
    fn an_urgent_attempt_respects_what_the_service_asked_for() {
        let now = Clock::now();
        let timings = Timings::default();
        let urgent = |pace, hint| {
            let mut backoff = Backoff::new(now, Box::new(|| 0.5));
            for _ in 0..10 {
                backoff.failed(now, pace, Duration::from_millis(hint), &timings);
            }
            (backoff.earliest(now) - now).as_millis()
        };
        assert_eq!(urgent(Pace::Usual, 0), 500);
        assert_eq!(urgent(Pace::Usual, 3000), 3000);
        assert_eq!(urgent(Pace::Slow, 0), 30_000);
        assert_eq!(urgent(Pace::Refused, 0), 30_000);
    }
}
