//! Whether and when something that failed is tried again.
//!
//! Pure: it is told the time and the luck.

use std::time::{Duration, Instant};

/// Pauses before the second, third, ... try; the last repeats.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(16),
    Duration::from_secs(60),
];
/// First and longest pause before the broker is tried again.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// When to try again what was told at `told` and has failed `failures` times before this one. `None`: not
/// any more, since that would be later than `patience` after it was told. `hint`: what the receiver asked
/// for, the least pause.
pub(super) fn again(
    now: Instant,
    told: Instant,
    failures: u32,
    patience: Duration,
    hint: Option<Duration>,
) -> Option<Instant> {
    let number = usize::try_from(failures).unwrap_or(usize::MAX).min(PAUSES.len() - 1);
    let pause = PAUSES[number].max(hint.unwrap_or_default());
    // A hint may be longer than time can be counted.
    let at = now.checked_add(pause)?;
    (at <= told + patience).then_some(at)
}

/// The pause before the broker is tried again after so many failures in a row; `luck` from 0 to 1 spreads
/// doors that lost it at the same time.
pub(super) fn reconnect(failures: u32, luck: f64) -> Duration {
    let doubled = FIRST.saturating_mul(2u32.saturating_pow(failures.min(16)));
    doubled.min(LONGEST).mul_f64(0.5 + luck.clamp(0.0, 1.0) * 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: Duration = Duration::from_secs(600);

    #[test]
    fn tries_come_after_1_4_16_and_then_every_60_seconds_for_ten_minutes() {
        let told = Instant::now();
        let mut now = told;
        let mut pauses = Vec::new();
        while let Some(at) = again(now, told, pauses.len() as u32, MINUTES, None) {
            pauses.push((at - now).as_secs());
            now = at;
        }
        assert_eq!(pauses, [1, 4, 16, 60, 60, 60, 60, 60, 60, 60, 60, 60]);
        assert!(now <= told + MINUTES);
    }

    #[test]
    fn what_the_receiver_asks_for_is_the_least_pause() {
        let now = Instant::now();
        let at = |hint| again(now, now, 1, MINUTES, Some(Duration::from_secs(hint)));
        assert_eq!(at(2), Some(now + Duration::from_secs(4)));
        assert_eq!(at(30), Some(now + Duration::from_secs(30)));
        assert_eq!(at(601), None);
        assert_eq!(at(u64::MAX), None);
    }

    #[test]
    fn pauses_before_a_broker_double_up_to_a_minute_and_vary_by_chance() {
        let pauses = |luck| [0, 1, 2, 5, 6, 4000].map(|n| reconnect(n, luck).as_millis());
        assert_eq!(pauses(1.0), [1000, 2000, 4000, 32_000, 60_000, 60_000]);
        assert_eq!(pauses(0.0), [500, 1000, 2000, 16_000, 30_000, 30_000]);
    }
}
