//! Pure debounce of one button: raw edges with their times in, presses out.
//!
//! It owns no clock and no line; `button.rs` feeds it. Times are durations since any fixed moment.

use crate::config::ButtonTimes as Times;
use std::time::Duration;

/// A button held longer than this is reported once as stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(60);

/// What the button did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A press; one for each activation, however long it lasts.
    Press,
    /// A press that does not count, so soon after the last that did.
    TooSoon,
    /// Held for the time of a long press; told once for each activation, after its press.
    Long,
    /// Held longer than [`STUCK_AFTER`]; told once for each activation.
    Stuck,
    /// Let go, for the whole debounce time.
    Released,
}

/// What this activation has to tell next if it is held on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alarm {
    Long(Duration),
    Stuck,
    Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Released,
    /// Active since then, for less than the debounce time.
    Closing {
        since: Duration,
    },
    /// A counted activation.
    Held {
        since: Duration,
        alarm: Alarm,
    },
    /// A counted activation, inactive since `open` for less than the debounce time.
    Opening {
        open: Duration,
        since: Duration,
        alarm: Alarm,
    },
}

/// The debounce machine.
///
/// A line must be active for the whole debounce time to count as pressed, and inactive for the whole
/// debounce time before it can count again. Both ways, so that a contact bouncing at release, or a
/// glitch on a long wire, does not ring twice.
#[derive(Debug, Clone)]
pub struct Debounce {
    times: Times,
    phase: Phase,
    /// When the last press that counted began.
    counted: Option<Duration>,
}

impl Debounce {
    /// A machine at the time `now`. A line that is active already belongs to an activation that
    /// happened before we looked: it can become stuck, but it neither rings nor is a long press, so
    /// that neither a restart nor a jammed button does anything by itself.
    pub fn new(times: Times, active: bool, now: Duration) -> Self {
        let phase =
            if active { Phase::Held { since: now, alarm: Alarm::Stuck } } else { Phase::Released };
        Self { times, phase, counted: None }
    }

    /// The line changed to `active` at `now`. Times before an earlier one count as that one.
    pub fn edge(&mut self, now: Duration, active: bool) -> Vec<Told> {
        let mut told = self.tick(now);
        self.phase = match (self.phase, active) {
            (Phase::Released, true) => Phase::Closing { since: now },
            (Phase::Closing { .. }, false) => Phase::Released,
            (Phase::Held { since, alarm }, false) => Phase::Opening { open: now, since, alarm },
            (Phase::Opening { since, alarm, .. }, true) => Phase::Held { since, alarm },
            // The level is known already: the kernel has dropped edges in between.
            (phase @ (Phase::Released | Phase::Opening { .. }), false)
            | (phase @ (Phase::Closing { .. } | Phase::Held { .. }), true) => phase,
        };
        told.extend(self.tick(now));
        told
    }

    /// Nothing changed on the line up to `now`.
    pub fn tick(&mut self, now: Duration) -> Vec<Told> {
        let mut told = Vec::new();
        while let Some(due) = self.deadline()
            && due <= now
        {
            self.phase = match self.phase {
                Phase::Released => Phase::Released,
                Phase::Closing { since } => {
                    told.push(self.count(since));
                    let alarm = self.times.long_press.map_or(Alarm::Stuck, Alarm::Long);
                    Phase::Held { since, alarm }
                }
                Phase::Held { since, alarm: Alarm::Long(_) } => {
                    told.push(Told::Long);
                    Phase::Held { since, alarm: Alarm::Stuck }
                }
                Phase::Held { since, .. } => {
                    told.push(Told::Stuck);
                    Phase::Held { since, alarm: Alarm::Told }
                }
                Phase::Opening { .. } => {
                    told.push(Told::Released);
                    Phase::Released
                }
            };
        }
        told
    }

    /// When [`Debounce::tick`] is due, if no edge comes before.
    pub fn deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Released | Phase::Held { alarm: Alarm::Told, .. } => None,
            Phase::Closing { since } => Some(since + self.times.debounce),
            Phase::Held { since, alarm: Alarm::Long(time) } => Some(since + time),
            Phase::Held { since, alarm: Alarm::Stuck } => Some(since + STUCK_AFTER),
            Phase::Opening { open, .. } => Some(open + self.times.debounce),
        }
    }

    fn count(&mut self, since: Duration) -> Told {
        if self.counted.is_some_and(|last| since < last + self.times.cooldown) {
            return Told::TooSoon;
        }
        self.counted = Some(since);
        Told::Press
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIME: Duration = Duration::from_millis(30);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Debounced, and nothing else.
    const TIMES: Times = Times { debounce: TIME, cooldown: Duration::ZERO, long_press: None };

    fn idle() -> Debounce {
        Debounce::new(TIMES, false, Duration::ZERO)
    }

    #[test]
    fn a_press_is_told_after_the_whole_debounce_time() {
        let mut button = idle();
        assert_eq!(button.edge(ms(100), true), []);
        assert_eq!(button.deadline(), Some(ms(130)));
        assert_eq!(button.tick(ms(129)), []);
        assert_eq!(button.tick(ms(130)), [Told::Press]);
    }

    #[test]
    fn a_glitch_shorter_than_the_debounce_time_is_nothing() {
        let mut button = idle();
        assert_eq!(button.edge(ms(100), true), []);
        assert_eq!(button.edge(ms(129), false), []);
        assert_eq!(button.tick(ms(1_000)), []);
        assert_eq!(button.deadline(), None);
    }

    #[test]
    fn bouncing_contacts_ring_once() {
        let mut button = idle();
        let mut told = Vec::new();
        for (at, active) in [
            (0, true),
            (2, false),
            (3, true),
            (7, false),
            (8, true), // closed for good
            (200, false),
            (204, true),
            (206, false),
            (210, true),
            (211, false), // open for good
        ] {
            told.extend(button.edge(ms(at), active));
        }
        told.extend(button.tick(ms(500)));
        assert_eq!(told, [Told::Press, Told::Released]);
    }

    #[test]
    fn a_short_gap_while_held_does_not_ring_again() {
        let mut button = idle();
        button.edge(ms(0), true);
        assert_eq!(button.tick(ms(50)), [Told::Press]);
        assert_eq!(button.edge(ms(100), false), []);
        assert_eq!(button.edge(ms(120), true), []);
        assert_eq!(button.tick(ms(5_000)), []);
    }

    #[test]
    fn late_edges_are_judged_by_their_own_times() {
        let mut button = idle();
        button.edge(ms(0), true);
        assert_eq!(button.edge(ms(90), false), [Told::Press]);
    }

    #[test]
    fn a_button_held_over_a_minute_is_told_stuck_once() {
        let mut button = idle();
        button.edge(ms(0), true);
        assert_eq!(button.tick(ms(59_999)), [Told::Press]);
        assert_eq!(button.tick(ms(60_000)), [Told::Stuck]);
        assert_eq!(button.tick(ms(600_000)), []);
        button.edge(ms(600_001), false);
        button.edge(ms(600_005), true);
        assert_eq!(button.tick(ms(900_000)), []);
        button.edge(ms(900_001), false);
        assert_eq!(button.tick(ms(900_100)), [Told::Released]);
        button.edge(ms(900_200), true);
        assert_eq!(button.tick(ms(900_300)), [Told::Press]);
    }

    #[test]
    fn a_button_already_held_at_the_start_does_not_ring() {
        let mut button = Debounce::new(TIMES, true, ms(10));
        assert_eq!(button.tick(ms(5_000)), []);
        button.edge(ms(6_000), false);
        assert_eq!(button.tick(ms(6_030)), [Told::Released]);
        button.edge(ms(7_000), true);
        assert_eq!(button.tick(ms(7_030)), [Told::Press]);
    }

    #[test]
    fn without_a_debounce_time_the_edge_itself_is_the_press() {
        let times = Times { debounce: Duration::ZERO, ..TIMES };
        let mut button = Debounce::new(times, false, Duration::ZERO);
        assert_eq!(button.edge(ms(5), true), [Told::Press]);
        assert_eq!(button.edge(ms(6), false), [Told::Released]);
    }

    #[test]
    fn a_second_press_within_the_cool_down_does_not_count_and_does_not_prolong_it() {
        let mut button =
            Debounce::new(Times { cooldown: ms(1_000), ..TIMES }, false, Duration::ZERO);
        let mut told = Vec::new();
        for at in [0, 400, 900, 1_000, 1_900, 2_000] {
            told.extend(button.edge(ms(at), true));
            told.extend(button.edge(ms(at + 50), false));
            told.retain(|told| *told != Told::Released);
        }
        let (press, soon) = (Told::Press, Told::TooSoon);
        assert_eq!(told, [press, soon, soon, press, soon, press]);
    }

    #[test]
    fn a_long_press_is_told_once_after_its_press_and_before_the_alarm() {
        let times = Times { long_press: Some(ms(5_000)), ..TIMES };
        let mut button = Debounce::new(times, false, Duration::ZERO);
        button.edge(ms(0), true);
        assert_eq!(button.tick(ms(4_999)), [Told::Press]);
        assert_eq!(button.deadline(), Some(ms(5_000)));
        assert_eq!(button.tick(ms(5_000)), [Told::Long]);
        assert_eq!(button.tick(ms(59_999)), []);
        assert_eq!(button.tick(ms(60_000)), [Told::Stuck]);
        button.edge(ms(61_000), false);
        button.edge(ms(62_000), true);
        let told = button.edge(ms(67_500), false);
        assert_eq!(told, [Told::Press, Told::Long], "read late and judged by its own time");
    }

    #[test]
    fn a_button_held_since_before_the_start_makes_no_long_press() {
        let times = Times { long_press: Some(ms(5_000)), ..TIMES };
        let mut button = Debounce::new(times, true, Duration::ZERO);
        assert_eq!(button.tick(ms(60_000)), [Told::Stuck]);
    }

    /// The rule, written down again without a machine: walk the runs between edges.
    fn presses_by_rule(edges: &[(Duration, bool)], end: Duration, cooldown: Duration) -> usize {
        let mut counted: Vec<Duration> = Vec::new();
        let mut pressed = false;
        for (n, (at, active)) in edges.iter().enumerate() {
            let until = edges.get(n + 1).map_or(end, |next| next.0);
            if until - *at >= TIME {
                let rested = counted.last().is_none_or(|last| *at - *last >= cooldown);
                if *active && !pressed && rested {
                    counted.push(*at);
                }
                pressed = *active;
            }
        }
        counted.len()
    }

    proptest! {
        #[test]
        fn any_edges_and_any_ticks_agree_with_the_rule(
            gaps in proptest::collection::vec((0_u64..80, 0_u64..80), 0..60),
            tail in 0_u64..200,
            cooldown in prop_oneof![Just(0_u64), 1_u64..400],
        ) {
            let times = Times { cooldown: ms(cooldown), ..TIMES };
            let mut button = Debounce::new(times, false, Duration::ZERO);
            let mut edges = Vec::new();
            let (mut now, mut active, mut presses) = (Duration::ZERO, false, 0);
            let count = |told: Vec<Told>| told.iter().filter(|t| **t == Told::Press).count();
            for (gap, tick) in gaps {
                // A tick somewhere inside the gap must change nothing but the moment of telling.
                presses += count(button.tick(now + ms(tick.min(gap))));
                now += ms(gap);
                active = !active;
                edges.push((now, active));
                presses += count(button.edge(now, active));
                prop_assert!(button.deadline().is_none_or(|due| due > now));
            }
            let end = now + ms(tail);
            presses += count(button.tick(end));
            prop_assert_eq!(presses, presses_by_rule(&edges, end, ms(cooldown)));
        }
    }
}
