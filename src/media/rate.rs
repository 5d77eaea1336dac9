//! How often things may happen: keyframes, and new attempts at something broken.
//!
//! Pure: the caller tells the time. Knows nothing of who asks or of what is done about it.

use std::time::Duration;

/// The shortest time between two keyframes that somebody asked for again. A keyframe costs as much as some ten other
/// pictures, and several phones that lose packets ask all at once.
pub const KEYFRAME_PAUSE: Duration = Duration::from_millis(500);

/// The same before one for a newcomer: a first picture is waited for by a person, and phones that come together share one.
pub const NEWCOMER_PAUSE: Duration = Duration::from_millis(100);

/// The first pause before something broken is tried again.
pub const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause before something broken is tried again.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why somebody asks for a keyframe; the later, the more urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// It would be of use. Passes when there was none for [`KEYFRAME_PAUSE`], and holds up nobody.
    Spare,
    /// Somebody who saw the picture does not any more.
    Again,
    /// Somebody has seen nothing yet.
    Newcomer,
}

impl Wish {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Spare, Self::Again, Self::Newcomer];
}

/// Lets a keyframe be made as often as those who ask have a claim to; no wish is forgotten.
///
/// Times are given as the time since any fixed moment.
#[derive(Debug, Default)]
pub struct KeyframeGate {
    /// When one was made, and when one was made that somebody needed.
    last: Option<Duration>,
    last_needed: Option<Duration>,
    /// The most urgent.
    waiting: Option<Wish>,
}

impl KeyframeGate {
    /// A gate that lets the first request pass at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// Somebody asks for a keyframe.
    pub fn request(&mut self, wish: Wish) {
        self.waiting = self.waiting.max(Some(wish));
    }

    /// Whether a keyframe is to be made now. All who waited are served by it.
    pub fn take(&mut self, now: Duration) -> bool {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return false;
        }
        if self.waiting.take() > Some(Wish::Spare) {
            self.last_needed = Some(now);
        }
        self.last = Some(now);
        true
    }

    /// From when on [`take`](Self::take) answers `true`; `None` when nobody waits.
    pub fn deadline(&self) -> Option<Duration> {
        let (last, pause) = match self.waiting? {
            Wish::Spare => (self.last, KEYFRAME_PAUSE),
            Wish::Again => (self.last_needed, KEYFRAME_PAUSE),
            Wish::Newcomer => (self.last_needed, NEWCOMER_PAUSE),
        };
        Some(last.map_or(Duration::ZERO, |last| last + pause))
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
        gate.request(Wish::Again);
        assert!(gate.take(ms(100)));
        assert!(!gate.take(ms(100)));
        assert_eq!(gate.deadline(), None);
    }

    #[test]
    fn requests_inside_the_pause_become_one_at_its_end() {
        let mut gate = KeyframeGate::new();
        gate.request(Wish::Again);
        assert!(gate.take(ms(1000)));
        for asked in [1010, 1200, 1499] {
            gate.request(Wish::Again);
            assert!(!gate.take(ms(asked)));
        }
        assert_eq!(gate.deadline(), Some(ms(1500)));
        assert!(gate.take(ms(1500)));
        assert!(!gate.take(ms(9000)), "none is left over");
    }

    #[test]
    fn a_newcomer_waits_for_nobody_and_shares_with_those_who_come_together() {
        let mut gate = KeyframeGate::new();
        gate.request(Wish::Again);
        assert!(gate.take(ms(1000)));
        gate.request(Wish::Again);
        gate.request(Wish::Newcomer);
        assert_eq!(gate.deadline(), Some(ms(1100)));
        gate.request(Wish::Newcomer);
        assert!(gate.take(ms(1150)));
        assert_eq!(gate.deadline(), None, "all are served");
        gate.request(Wish::Newcomer);
        assert!(!gate.take(ms(1160)), "a keyframe from before it came is of no use to it");
        assert!(gate.take(ms(1250)));
    }

    #[test]
    fn one_that_was_only_of_use_holds_up_nobody_and_waits_for_all() {
        let mut gate = KeyframeGate::new();
        gate.request(Wish::Spare);
        assert!(gate.take(ms(500)));
        gate.request(Wish::Newcomer);
        assert!(gate.take(ms(690)));
        gate.request(Wish::Spare);
        assert_eq!(gate.deadline(), Some(ms(1190)));
        gate.request(Wish::Again);
        assert!(gate.take(ms(1190)));
        gate.request(Wish::Spare);
        assert!(gate.take(ms(1690)));
        gate.request(Wish::Again);
        assert!(gate.take(ms(1700)));
    }

    #[test]
    fn a_storm_of_requests_passes_twice_a_second() {
        let mut gate = KeyframeGate::new();
        let passed = (0..10_000)
            .filter(|now| {
                gate.request(Wish::Again);
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
