//! The pictures of one link on their way out: which go at all, and how quickly one after the other.
//!
//! Pure: the caller tells the time and sends what is handed out. Sound does not pass here; it is sent at
//! once, between two packets of a picture, so that it never waits behind one.
//!
//! On a path with room enough nothing is held back. On a narrow one the packets of a picture are spread
//! out, as a burst would fill the path's queue and the voice would wait in it. What does not fit is
//! dropped in whole pictures, up to the next keyframe.

use std::collections::VecDeque;
use std::time::Duration;

use crate::intercom::VideoMode;

/// Pictures are taken while those before them leave within this time.
const LONGEST_WAIT: Duration = Duration::from_millis(400);
/// A link that gets keyframes only gets one so often at most.
const KEYFRAME_PAUSE: Duration = Duration::from_secs(3);
/// The encoder is asked again for a keyframe that has not come after this time.
const ASK_PAUSE: Duration = Duration::from_millis(500);
/// Packets that may leave at once, in time: finer steps would cost many wake-ups.
const STEP: Duration = Duration::from_millis(5);

/// How quickly packets may leave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// At once.
    Free,
    /// So many bits per second.
    Limited(f64),
}

/// What is known of the path when a picture comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Road {
    /// What the link is to carry.
    pub mode: VideoMode,
    /// Whether what is sent now would only wait.
    pub congested: bool,
    /// How quickly packets may leave.
    pub pace: Pace,
}

/// Whether the peer can decode the next picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// Only if it is a keyframe.
    Waiting,
    /// It has all since a keyframe.
    Following,
}

/// The packets that wait. Bounded by [`LONGEST_WAIT`] and one picture.
#[derive(Debug)]
pub struct Lane<T> {
    waiting: VecDeque<(T, usize)>,
    bits: f64,
    sight: Sight,
    /// When the packets that left would have gone through at the pace.
    free_at: Duration,
    last_keyframe: Option<Duration>,
    asked: Option<Duration>,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            bits: 0.0,
            sight: Sight::Waiting,
            free_at: Duration::ZERO,
            last_keyframe: None,
            asked: None,
        }
    }
}

impl<T> Lane<T> {
    /// Whether a picture goes out. If so, its packets are to be [pushed](Self::push).
    pub fn admits(&mut self, keyframe: bool, now: Duration, road: Road) -> bool {
        let fits = !road.congested
            && match (road.mode, road.pace) {
                (VideoMode::Full, Pace::Free) => true,
                (VideoMode::Full, Pace::Limited(pace)) => {
                    self.bits <= pace * LONGEST_WAIT.as_secs_f64()
                }
                (VideoMode::Keyframes, _) => {
                    keyframe && self.waiting.is_empty() && self.is_time(now)
                }
                (VideoMode::Paused, _) => false,
            };
        if !fits {
            self.sight = Sight::Waiting;
        }
        let goes = fits && (keyframe || self.sight == Sight::Following);
        if goes && keyframe {
            self.last_keyframe = Some(now);
            self.asked = None;
            self.sight = Sight::Following;
        }
        goes
    }

    /// Appends one packet of an admitted picture, of so many bytes.
    pub fn push(&mut self, packet: T, bytes: usize) {
        self.bits += bytes as f64 * 8.0;
        self.waiting.push_back((packet, bytes));
    }

    /// Leaves out what waits.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.bits = 0.0;
        self.sight = Sight::Waiting;
    }

    /// The next packet that may leave now.
    pub fn next(&mut self, now: Duration, pace: Pace) -> Option<T> {
        if self.due(pace)? > now {
            return None;
        }
        let (packet, bytes) = self.waiting.pop_front()?;
        let bits = bytes as f64 * 8.0;
        self.bits = if self.waiting.is_empty() { 0.0 } else { self.bits - bits };
        self.free_at = match pace {
            Pace::Free => now,
            Pace::Limited(pace) => {
                self.free_at.max(now.saturating_sub(STEP))
                    + Duration::from_secs_f64(bits / pace.max(1000.0))
            }
        };
        Some(packet)
    }

    /// When the next packet may leave; `None` when none waits.
    pub fn due(&self, pace: Pace) -> Option<Duration> {
        self.waiting.front()?;
        Some(match pace {
            Pace::Free => Duration::ZERO,
            Pace::Limited(_) => self.free_at,
        })
    }

    /// Whether to ask the encoder for a keyframe: the peer cannot go on without one, and the path would
    /// take it. Once asked, a while passes before it is asked again.
    pub fn wants_keyframe(&mut self, now: Duration, road: Road) -> bool {
        if self.asked.is_some_and(|asked| now.saturating_sub(asked) < ASK_PAUSE) {
            return false;
        }
        let wants = !road.congested
            && match road.mode {
                VideoMode::Full => self.sight == Sight::Waiting,
                VideoMode::Keyframes => self.waiting.is_empty() && self.is_time(now),
                VideoMode::Paused => false,
            };
        if wants {
            self.asked = Some(now);
        }
        wants
    }

    fn is_time(&self, now: Duration) -> bool {
        self.last_keyframe.is_none_or(|last| now.saturating_sub(last) >= KEYFRAME_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Road = Road { mode: VideoMode::Full, congested: false, pace: Pace::Free };
    const NARROW: Road = Road { pace: Pace::Limited(400_000.0), ..WIDE };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A picture of `packets` packets of 1000 bytes, if it is admitted.
    fn picture(
        lane: &mut Lane<u32>,
        keyframe: bool,
        packets: u32,
        now: Duration,
        road: Road,
    ) -> bool {
        let goes = lane.admits(keyframe, now, road);
        (0..packets).filter(|_| goes).for_each(|number| lane.push(number, 1000));
        goes
    }

    fn leave(lane: &mut Lane<u32>, now: Duration, road: Road) -> usize {
        std::iter::from_fn(|| lane.next(now, road.pace)).count()
    }

    #[test]
    fn on_a_wide_path_a_keyframe_leaves_at_once() {
        let mut lane = Lane::default();
        assert!(picture(&mut lane, true, 60, ms(0), WIDE));
        assert_eq!(leave(&mut lane, ms(0), WIDE), 60);
        assert_eq!(lane.due(WIDE.pace), None);
    }

    #[test]
    fn on_a_narrow_path_the_packets_are_spread_out() {
        let mut lane = Lane::default();
        assert!(picture(&mut lane, true, 10, ms(1000), NARROW));
        let left: Vec<usize> =
            (0..10).map(|step| leave(&mut lane, ms(1000 + 20 * step), NARROW)).collect();
        assert!(left.iter().all(|count| *count <= 2), "{left:?}");
        assert_eq!(left.iter().sum::<usize>(), 10, "{left:?}: 20 ms each at 400 kbit/s");
    }

    #[test]
    fn what_does_not_fit_is_dropped_in_whole_pictures_up_to_a_keyframe() {
        let mut lane = Lane::default();
        assert!(!picture(&mut lane, false, 1, ms(0), NARROW), "it comes in the middle");
        assert!(lane.wants_keyframe(ms(0), NARROW));
        assert!(picture(&mut lane, true, 30, ms(0), NARROW));
        assert!(!picture(&mut lane, false, 1, ms(33), NARROW), "600 ms of it still wait");
        let mut now = ms(33);
        while lane.due(NARROW.pace).is_some() {
            now += ms(5);
            leave(&mut lane, now, NARROW);
        }
        assert!(!picture(&mut lane, false, 1, now, NARROW), "it refers to the dropped one");
        assert!(lane.wants_keyframe(now, NARROW));
        assert!(picture(&mut lane, true, 5, now, NARROW));
        assert!(picture(&mut lane, false, 1, now + ms(33), NARROW));
        assert!(!lane.wants_keyframe(now, NARROW));
    }

    #[test]
    fn nothing_joins_a_queue_and_the_picture_goes_on_when_it_is_gone() {
        let mut lane = Lane::default();
        assert!(picture(&mut lane, true, 1, ms(0), WIDE));
        let stuck = Road { congested: true, ..WIDE };
        assert!(!picture(&mut lane, true, 1, ms(33), stuck));
        assert!(!lane.wants_keyframe(ms(33), stuck), "it would only wait");
        assert!(!picture(&mut lane, false, 1, ms(66), WIDE));
        assert!(lane.wants_keyframe(ms(66), WIDE));
        assert!(!lane.wants_keyframe(ms(99), WIDE), "it was asked for");
        assert!(lane.wants_keyframe(ms(566), WIDE), "it did not come");
        assert!(picture(&mut lane, true, 1, ms(600), WIDE));
    }

    #[test]
    fn keyframes_only_means_one_in_three_seconds_and_paused_none() {
        let road = Road { mode: VideoMode::Keyframes, ..NARROW };
        let mut lane = Lane::default();
        assert!(picture(&mut lane, true, 1, ms(0), road));
        assert_eq!(leave(&mut lane, ms(0), road), 1);
        assert!(!picture(&mut lane, false, 1, ms(33), road));
        assert!(!picture(&mut lane, true, 1, ms(1000), road));
        assert!(!lane.wants_keyframe(ms(1000), road));
        assert!(lane.wants_keyframe(ms(3000), road));
        assert!(picture(&mut lane, true, 1, ms(3010), road));
        let paused = Road { mode: VideoMode::Paused, ..NARROW };
        assert!(!picture(&mut lane, true, 1, ms(9000), paused));
        assert!(!lane.wants_keyframe(ms(9000), paused));
    }

    #[test]
    fn a_link_that_carries_all_again_begins_at_a_keyframe() {
        let mut lane = Lane::default();
        let road = Road { mode: VideoMode::Keyframes, ..WIDE };
        assert!(picture(&mut lane, true, 1, ms(0), road));
        assert!(!picture(&mut lane, false, 1, ms(33), road));
        assert!(lane.wants_keyframe(ms(66), WIDE));
        assert!(!picture(&mut lane, false, 1, ms(66), WIDE));
        assert!(picture(&mut lane, true, 1, ms(99), WIDE));
    }
}
