//! Plays the lamp's patterns on one output line.
//!
//! Which pattern is shown when is the heart's business. The player sleeps between two changes of a
//! pattern, and for ever on a steady one.

use super::output::Output;
use crate::config::IdleLamp;
use crate::intercom::Lamp;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Half a period of the slow blink.
const SLOW: Duration = Duration::from_millis(500);
/// Half a period of the blink while it rings inside: calmer than while calling.
const BREATH: Duration = Duration::from_millis(1000);
/// Half a period of the fast blink: 4 Hz, not to be taken for the slow one.
const FAST: Duration = Duration::from_millis(125);
/// One of the three short signs, and the pause after it.
const SHORT: Duration = Duration::from_millis(200);
/// How many short signs say sorry.
const SORRY: u32 = 3;
/// One of the two winks of a fault, and the pause between them.
const WINK: Duration = Duration::from_millis(100);
/// From one gap to the next while somebody looks in, and how long a gap is: neither the steady light of a waiting
/// door nor that of a talk.
const LOOK: Duration = Duration::from_secs(2);
const GAP: Duration = Duration::from_millis(300);
/// From one pair of winks to the next.
const FAULT: Duration = Duration::from_secs(3);

/// What a pattern shows at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    on: bool,
    /// When it changes, from the pattern's start; `None`: stays.
    until: Option<Duration>,
}

/// What `lamp` shows `elapsed` after it was asked for. A lamp that is lit while the door waits stays so,
/// two winks apart, when something is out of order: the button still has to be found.
fn step(lamp: Lamp, idle: IdleLamp, elapsed: Duration) -> Step {
    let lit = idle == IdleLamp::Lit;
    match lamp {
        Lamp::Idle => Step { on: lit, until: None },
        Lamp::Fault => {
            let round = FAULT.as_nanos();
            let begin = Duration::from_nanos((elapsed.as_nanos() / round * round) as u64);
            let (on, until) = match (elapsed - begin).as_nanos() / WINK.as_nanos() {
                0 => (!lit, WINK),
                1 => (lit, WINK * 2),
                2 => (!lit, WINK * 3),
                _ => (lit, FAULT),
            };
            Step { on, until: Some(begin + until) }
        }
        Lamp::Talking => Step { on: true, until: None },
        Lamp::Looking => {
            let into = Duration::from_nanos((elapsed.as_nanos() % LOOK.as_nanos()) as u64);
            let on = into < LOOK - GAP;
            let length = if on { LOOK - GAP } else { LOOK };
            Step { on, until: Some(elapsed - into + length) }
        }
        Lamp::Calling => blink(SLOW, elapsed),
        Lamp::Seen => blink(BREATH, elapsed),
        Lamp::Reconnecting => blink(FAST, elapsed),
        Lamp::Sorry if elapsed >= SHORT * (2 * SORRY) => Step { on: false, until: None },
        Lamp::Sorry => blink(SHORT, elapsed),
    }
}

fn blink(half: Duration, elapsed: Duration) -> Step {
    let halves = elapsed.as_nanos() / half.as_nanos();
    let into = Duration::from_nanos((elapsed.as_nanos() % half.as_nanos()) as u64);
    Step { on: halves.is_multiple_of(2), until: Some(elapsed - into + half) }
}

/// The lamp's player.
pub(crate) struct Lamps {
    output: Output,
    /// The last wish wins.
    wish: watch::Sender<Lamp>,
    task: AbortHandle,
}

impl Lamps {
    /// Must be called inside a tokio runtime.
    pub(crate) fn new(output: Output, idle: IdleLamp) -> Self {
        let (wish, wishes) = watch::channel(Lamp::Idle);
        let task = tokio::spawn(play(output.clone(), idle, wishes)).abort_handle();
        Self { output, wish, task }
    }

    /// Shows a pattern from its beginning; asking for the one that is shown changes nothing.
    /// Returns whether it changed.
    pub(crate) fn show(&self, lamp: Lamp) -> bool {
        self.wish.send_if_modified(|shown| {
            let changed = *shown != lamp;
            *shown = lamp;
            changed
        })
    }

    pub(crate) fn shown(&self) -> Lamp {
        *self.wish.borrow()
    }

    /// Why the lamp does not do what it is told, if it does not.
    pub(crate) fn fault(&self) -> Option<String> {
        self.output.fault()
    }
}

impl Drop for Lamps {
    fn drop(&mut self) {
        self.task.abort();
        self.output.close();
    }
}

async fn play(output: Output, idle: IdleLamp, mut wishes: watch::Receiver<Lamp>) {
    loop {
        let lamp = *wishes.borrow_and_update();
        let start = Instant::now();
        let mut elapsed = Duration::ZERO;
        loop {
            let step = step(lamp, idle, elapsed);
            output.set(step.on);
            let next = async {
                match step.until {
                    Some(until) => tokio::time::sleep_until(start + until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = wishes.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = next => elapsed = start.elapsed(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sim::SimLine;
    use super::*;

    /// The changes of the line in milliseconds, up to `end`.
    fn changes(lamp: Lamp, end: Duration) -> Vec<(u64, bool)> {
        changes_of(lamp, IdleLamp::Dark, end)
    }

    fn changes_of(lamp: Lamp, idle: IdleLamp, end: Duration) -> Vec<(u64, bool)> {
        let mut seen: Vec<(u64, bool)> = Vec::new();
        let mut now = Duration::ZERO;
        while now < end {
            let step = step(lamp, idle, now);
            if seen.last().is_none_or(|last| last.1 != step.on) {
                seen.push((now.as_millis() as u64, step.on));
            }
            match step.until {
                Some(until) => {
                    assert!(until > now, "a pattern must move on");
                    now = until;
                }
                None => break,
            }
        }
        seen
    }

    #[test]
    fn calling_blinks_slowly_and_reconnecting_fast() {
        assert_eq!(
            changes(Lamp::Calling, Duration::from_millis(1_600)),
            [(0, true), (500, false), (1_000, true), (1_500, false)]
        );
        assert_eq!(
            changes(Lamp::Reconnecting, Duration::from_millis(400)),
            [(0, true), (125, false), (250, true), (375, false)]
        );
    }

    #[test]
    fn sorry_is_three_short_signs_and_then_nothing() {
        assert_eq!(
            changes(Lamp::Sorry, Duration::from_secs(60)),
            [(0, true), (200, false), (400, true), (600, false), (800, true), (1_000, false)]
        );
    }

    #[test]
    fn a_fault_winks_twice_every_three_seconds_over_what_the_idle_lamp_shows() {
        for (idle, lit) in [(IdleLamp::Dark, false), (IdleLamp::Lit, true)] {
            assert_eq!(
                changes_of(Lamp::Fault, idle, Duration::from_millis(3_200)),
                [(0, !lit), (100, lit), (200, !lit), (300, lit), (3_000, !lit), (3_100, lit)]
            );
        }
    }

    #[test]
    fn a_look_is_a_light_with_a_gap_every_two_seconds() {
        assert_eq!(
            changes(Lamp::Looking, Duration::from_millis(4_100)),
            [(0, true), (1_700, false), (2_000, true), (3_700, false), (4_000, true)]
        );
    }

    #[test]
    fn steady_patterns_never_wake_the_player() {
        let late = Duration::from_secs(9);
        for (lamp, idle, on) in [
            (Lamp::Idle, IdleLamp::Dark, false),
            (Lamp::Idle, IdleLamp::Lit, true),
            (Lamp::Talking, IdleLamp::Dark, true),
        ] {
            assert_eq!(step(lamp, idle, late), Step { on, until: None });
        }
        assert_eq!(step(Lamp::Sorry, IdleLamp::Lit, late).until, None);
    }

    #[test]
    fn a_late_player_joins_the_pattern_where_it_is_by_then() {
        let late = step(Lamp::Calling, IdleLamp::Dark, Duration::from_millis(700));
        assert!(!late.on);
        assert_eq!(late.until, Some(Duration::from_millis(1_000)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_follows_the_last_wish() {
        let line = SimLine::new(false);
        let output = Output::new("lamp", Box::new(line.clone()), None);
        let lamps = Lamps::new(output, IdleLamp::Dark);
        let start = Instant::now();
        assert!(lamps.show(Lamp::Calling));
        line.until(true).await;
        line.until(false).await;
        assert_eq!(start.elapsed(), SLOW);
        assert!(!lamps.show(Lamp::Calling), "the pattern goes on unbroken");
        line.until(true).await;
        assert_eq!(start.elapsed(), SLOW * 2);

        lamps.show(Lamp::Sorry);
        lamps.show(Lamp::Talking);
        line.until(true).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(line.is_on());
        assert_eq!(lamps.shown(), Lamp::Talking);

        drop(lamps);
        assert!(!line.is_on());
    }
}
