//! Is the other end still there? When to ask, and when to stop believing (protocol.md section 6.3).
//!
//! Pure: times in, deadlines out.

use std::time::{Duration, Instant};

/// The times a [`Pulse`] keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulseTimes {
    /// While nobody is at the door: without inbound text for this long, ask; and again this long after
    /// each question.
    pub keepalive: Duration,
    /// Without any sign of life for this long after a question, the socket is dead.
    pub answer: Duration,
    /// The same two while somebody is at the door; together no more than 15 s.
    pub keepalive_in_call: Duration,
    /// See `keepalive_in_call`.
    pub answer_in_call: Duration,
    /// Without any sign of life for this long, the socket is dead, question or not.
    pub silence: Duration,
    /// A press asks at once if there was no sign of life for this long.
    pub fresh: Duration,
    /// Without a sign of life for this long after that question, a second socket is opened beside.
    pub doubt: Duration,
    /// After a change of the board's own addresses the other end must give a sign of life within this.
    pub new_path: Duration,
}

impl Default for PulseTimes {
    fn default() -> Self {
        Self {
            keepalive: Duration::from_secs(20),
            answer: Duration::from_secs(15),
            keepalive_in_call: Duration::from_secs(5),
            answer_in_call: Duration::from_secs(10),
            silence: Duration::from_secs(60),
            fresh: Duration::from_secs(3),
            doubt: Duration::from_secs(2),
            new_path: Duration::from_secs(3),
        }
    }
}

/// How closely the other end is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attention {
    /// Nobody is at the door; a wake-up saved is worth more than seconds.
    Idle,
    /// Somebody is at the door.
    InCall,
}

/// Signs of life of one socket.
#[derive(Debug)]
pub(super) struct Pulse {
    times: PulseTimes,
    attention: Attention,
    /// The last text frame, or the last question.
    text: Instant,
    life: Instant,
    /// The first question since the last sign of life.
    asked: Option<Instant>,
    /// Ask now, whatever `text` says.
    ask_now: bool,
    /// A sign of life is due by then, or the socket is dead.
    must: Option<Instant>,
    /// A sign of life is due by then, or a second socket is wanted.
    should: Option<Instant>,
}

impl Pulse {
    pub(super) fn new(now: Instant, times: PulseTimes) -> Self {
        Self {
            times,
            attention: Attention::Idle,
            text: now,
            life: now,
            asked: None,
            ask_now: false,
            must: None,
            should: None,
        }
    }

    /// Somebody came to the door, or the last one went.
    pub(super) fn attend(&mut self, attention: Attention) {
        self.attention = attention;
    }

    /// A text frame came.
    pub(super) fn text(&mut self, now: Instant) {
        self.text = now;
        self.life(now);
    }

    /// Anything came.
    pub(super) fn life(&mut self, now: Instant) {
        self.life = now;
        (self.asked, self.must, self.should) = (None, None, None);
    }

    /// Somebody pressed: is the other end still there? Nothing is asked if it just spoke.
    pub(super) fn press(&mut self, now: Instant) {
        if now.saturating_duration_since(self.life) >= self.times.fresh {
            self.ask_now = true;
            self.should.get_or_insert(now + self.times.doubt);
        }
    }

    /// The board's own addresses changed: the way to the other end may be gone.
    pub(super) fn path_changed(&mut self, now: Instant) {
        self.ask_now = true;
        self.must.get_or_insert(now + self.times.new_path);
    }

    fn keepalive(&self) -> Duration {
        match self.attention {
            Attention::Idle => self.times.keepalive,
            Attention::InCall => self.times.keepalive_in_call,
        }
    }

    /// Whether to ask now; the question counts as asked.
    pub(super) fn should_ask(&mut self, now: Instant) -> bool {
        let due = std::mem::take(&mut self.ask_now) || now >= self.text + self.keepalive();
        if due {
            self.text = now;
            self.asked.get_or_insert(now);
        }
        due
    }

    /// When the socket is to be given up, unless a sign of life comes.
    fn death(&self) -> Instant {
        let answer = match self.attention {
            Attention::Idle => self.times.answer,
            Attention::InCall => self.times.answer_in_call,
        };
        let silence = self.life + self.times.silence;
        let unanswered = self.asked.map(|asked| asked + answer);
        [unanswered, self.must].into_iter().flatten().fold(silence, Instant::min)
    }

    /// Whether the socket is dead.
    pub(super) fn is_dead(&self, now: Instant) -> bool {
        now >= self.death()
    }

    /// Whether a second socket is wanted beside this one; said once per question.
    pub(super) fn is_doubtful(&mut self, now: Instant) -> bool {
        self.should.take_if(|until| *until <= now).is_some()
    }

    /// When to look again; a moment that has passed means at once.
    pub(super) fn deadline(&self) -> Instant {
        let ask = if self.ask_now { self.life } else { self.text + self.keepalive() };
        let next = ask.min(self.death());
        self.should.map_or(next, |until| next.min(until))
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
    fn while_somebody_is_at_the_door_silence_is_noticed_within_15_s() {
        let start = Clock::now();
        let mut pulse = Pulse::new(start, PulseTimes::default());
        pulse.attend(Attention::InCall);
        assert_eq!(pulse.deadline(), start + seconds(5));
        assert!(pulse.should_ask(start + seconds(5)));
        assert!(pulse.should_ask(start + seconds(10)), "asked again");
        assert!(!pulse.is_dead(start + seconds(14)));
        assert!(pulse.is_dead(start + seconds(15)));
    }

    #[test]
    fn a_press_after_a_long_quiet_asks_at_once() {
        let start = Clock::now();
        let mut pulse = Pulse::new(start, PulseTimes::default());
        pulse.attend(Attention::InCall);
        pulse.press(start + seconds(4));
        assert!(pulse.deadline() <= start + seconds(4));
        assert!(pulse.should_ask(start + seconds(4)));
        assert!(!pulse.is_doubtful(start + seconds(5)));
        assert!(pulse.is_doubtful(start + seconds(6)));
        assert!(!pulse.is_doubtful(start + seconds(6)), "once");
        assert!(!pulse.is_dead(start + seconds(13)), "it may only be slow");
    }

    #[test]
    fn a_press_on_a_socket_that_just_spoke_asks_nothing() {
        let start = Clock::now();
        let mut pulse = Pulse::new(start, PulseTimes::default());
        pulse.press(start + seconds(2));
        assert!(!pulse.should_ask(start + seconds(2)));
        assert!(!pulse.is_doubtful(start + seconds(10)));
    }

    #[test]
    fn after_a_change_of_addresses_the_other_end_has_three_seconds() {
        let start = Clock::now();
        let mut pulse = Pulse::new(start, PulseTimes::default());
        pulse.path_changed(start);
        assert!(pulse.should_ask(start));
        assert!(pulse.is_dead(start + seconds(3)));
        pulse.life(start + seconds(2));
        assert!(!pulse.is_dead(start + seconds(3)));
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
