//! Is the other end still there? When to ask, and when to stop believing (protocol.md section 6.3).
//!
//! Pure: times in, deadlines out.

use std::time::{Duration, Instant};

/// The times a [`Pulse`] keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulseTimes {
    /// Without inbound text for this long, ask; and again this long after each question.
    pub keepalive: Duration,
    /// Without any sign of life for this long after a question, the socket is dead.
    pub answer: Duration,
    /// Without any sign of life for this long, the socket is dead, question or not.
    pub silence: Duration,
}

impl Default for PulseTimes {
    fn default() -> Self {
        Self {
            keepalive: Duration::from_secs(20),
            answer: Duration::from_secs(15),
            silence: Duration::from_secs(60),
        }
    }
}

/// Signs of life of one socket.
#[derive(Debug)]
pub(super) struct Pulse {
    times: PulseTimes,
    /// When to ask next.
    ask: Instant,
    life: Instant,
    /// The first question since the last sign of life.
    asked: Option<Instant>,
}

impl Pulse {
    pub(super) fn new(now: Instant, times: PulseTimes) -> Self {
        Self { ask: now + times.keepalive, life: now, asked: None, times }
    }

    /// A text frame came.
    pub(super) fn text(&mut self, now: Instant) {
        self.ask = now + self.times.keepalive;
        self.life(now);
    }

    /// Anything came.
    pub(super) fn life(&mut self, now: Instant) {
        self.life = now;
        self.asked = None;
    }

    /// Whether to ask now; the question counts as asked.
    pub(super) fn should_ask(&mut self, now: Instant) -> bool {
        let due = now >= self.ask;
        if due {
            self.ask = now + self.times.keepalive;
            self.asked.get_or_insert(now);
        }
        due
    }

    /// When the socket is to be given up, unless a sign of life comes.
    fn death(&self) -> Instant {
        let silence = self.life + self.times.silence;
        self.asked.map_or(silence, |asked| silence.min(asked + self.times.answer))
    }

    /// Whether the socket is dead.
    pub(super) fn is_dead(&self, now: Instant) -> bool {
        now >= self.death()
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Instant {
        self.ask.min(self.death())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant as Clock;

    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_silent_socket_is_asked_after_20_s_and_dead_15_s_later() {
        let start = Clock::now();
        let mut pulse = Pulse::new(start, PulseTimes::default());
        assert_eq!(pulse.deadline(), start + seconds(20));
        assert!(!pulse.should_ask(start + seconds(19)));
        assert!(pulse.should_ask(start + seconds(20)));
        assert_eq!(pulse.deadline(), start + seconds(35));
        assert!(!pulse.is_dead(start + seconds(34)));
        assert!(pulse.is_dead(start + seconds(35)));
    }

    #[test]
    fn pings_of_the_other_end_keep_the_socket_but_not_the_question_away() {
        let start = Clock::now();
        let mut pulse = Pulse::new(start, PulseTimes::default());
        for at in (5..100).step_by(5) {
            let now = start + seconds(at);
            assert!(!pulse.is_dead(now));
            pulse.life(now);
            assert_eq!(pulse.should_ask(now), at % 20 == 0, "at {at} s");
        }
    }

    #[test]
    fn a_late_answer_saves_the_socket() {
        let start = Clock::now();
        let mut pulse = Pulse::new(start, PulseTimes::default());
        assert!(pulse.should_ask(start + seconds(20)));
        pulse.text(start + seconds(34));
        assert!(!pulse.is_dead(start + seconds(35)));
        assert_eq!(pulse.deadline(), start + seconds(54));
    }

    #[test]
    fn silence_kills_even_if_no_question_could_be_asked() {
        let start = Clock::now();
        let pulse =
            Pulse::new(start, PulseTimes { keepalive: seconds(500), ..PulseTimes::default() });
        assert!(!pulse.is_dead(start + seconds(59)));
        assert!(pulse.is_dead(start + seconds(60)));
    }
}
