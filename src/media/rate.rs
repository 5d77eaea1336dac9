//! How often things may happen: keyframes, and new attempts at something broken.
//!
//! Pure: the caller tells the time. Knows nothing of who asks or of what is done about it.

use std::time::Duration;

/// The shortest time between two keyframes that somebody asked for. A keyframe costs as much as some ten other
/// pictures, and several phones that lose packets ask all at once.
pub const KEYFRAME_PAUSE: Duration = Duration::from_millis(500);

/// The first pause before something broken is tried again.
pub const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause before something broken is tried again.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Lets at most one keyframe request pass per [`KEYFRAME_PAUSE`]; none is forgotten.
///
/// Times are given as the time since any fixed moment.
#[derive(Debug, Default)]
pub struct KeyframeGate {
    last: Option<Duration>,
    waiting: bool,
}

impl KeyframeGate {
    /// A gate that lets the first request pass at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// Somebody needs a keyframe.
    pub fn request(&mut self) {
        self.waiting = true;
    }

    /// Whether a keyframe is to be made now. Those who waited are served by it.
    pub fn take(&mut self, now: Duration) -> bool {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return false;
        }
        self.waiting = false;
        self.last = Some(now);
        true
    }

    /// From when on [`take`](Self::take) answers `true`; `None` when nobody waits.
    pub fn deadline(&self) -> Option<Duration> {
        self.waiting.then(|| self.last.map_or(Duration::ZERO, |last| last + KEYFRAME_PAUSE))
    }
}

/// The pause before attempt `attempt` (0 = the first repetition): doubles from [`FIRST_PAUSE`] to
/// [`LONGEST_PAUSE`].
pub fn pause(attempt: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << attempt.min(16)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_first_request_passes_at_once() {
        let mut gate = KeyframeGate::new();
        assert!(!gate.take(ms(100)), "nobody asked");
        gate.request();
        assert!(gate.take(ms(100)));
        assert!(!gate.take(ms(100)));
        assert_eq!(gate.deadline(), None);
    }

    #[test]
    fn requests_inside_the_pause_become_one_at_its_end() {
        let mut gate = KeyframeGate::new();
        gate.request();
        assert!(gate.take(ms(1000)));
        for asked in [1010, 1200, 1499] {
            gate.request();
            assert!(!gate.take(ms(asked)));
        }
        assert_eq!(gate.deadline(), Some(ms(1500)));
        assert!(gate.take(ms(1500)));
        assert!(!gate.take(ms(9000)), "none is left over");
    }

    #[test]
    fn a_storm_of_requests_passes_twice_a_second() {
        let mut gate = KeyframeGate::new();
        let passed = (0..10_000)
            .filter(|now| {
                gate.request();
                gate.take(ms(*now))
            })
            .count();
        assert_eq!(passed, 20);
    }

    #[test]
    fn pauses_double_up_to_five_seconds() {
        let pauses: Vec<Duration> = (0..7).map(pause).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 5000, 5000].map(ms));
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
