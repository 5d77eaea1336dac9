//! The panel in a self-test: whether each line can be claimed, whether the button rests, and, where a person is there to be
//! asked, whether a press comes through and the relay clicks.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::{ButtonEvent, ButtonState, Panel, Part};
use crate::config::Board;
use crate::config::verdict::Verdict;

/// How long a line may take until its level is known.
const SETTLED: Duration = Duration::from_millis(500);
/// How long a person has for the press.
const PRESS: Duration = Duration::from_secs(15);
/// How often the end of the pulse is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// The longest pulse of a trial; the profile's `max_pulse` may be shorter.
const PULSE: Duration = Duration::from_secs(1);

/// What to do about a line that cannot be claimed.
const CLAIM: &str =
    "`intercomd devices` shows lines and who holds them; correct the profile's line or wiring";

/// Somebody who can press and listen.
pub trait Person {
    /// Says something to them.
    fn told(&mut self, words: &str);
    /// Asks them something; `false` also where they say nothing.
    fn agrees(&mut self, question: &str) -> bool;
}

/// Tries the panel. Nothing is switched on unless a person agrees.
pub async fn panel(board: &Board, person: Option<&mut dyn Person>) -> Vec<Verdict> {
    // Presses of a person: more than that nobody waits for.
    let (tell, events) = mpsc::channel(8);
    let panel = match Panel::open(board, tell) {
        Ok(panel) => panel,
        Err(why) => {
            return vec![Verdict::bad(why.to_string(), CLAIM)];
        }
    };
    let mut verdicts = vec![claimed("button", &panel.button), claimed("relay", &panel.relay)];
    verdicts.extend([claimed("lamp", &panel.lamp), claimed("chime", &panel.chime)]);
    sleep(SETTLED).await;
    verdicts.extend(rest(&panel));
    if let Some(person) = person {
        verdicts.extend(press(&panel, events, person).await);
        verdicts.extend(pulse(&panel, board, person).await);
    }
    panel.close();
    verdicts
}

fn claimed<T>(what: &str, part: &Part<T>) -> Verdict {
    match part {
        Part::NotWired => Verdict::good(format!("no {what} is wired, as the board says")),
        Part::Works { line, .. } => Verdict::good(format!("the {what} has its line: {line}")),
        Part::Missing { line, why } => {
            Verdict::bad(format!("the {what} has no line: {line}: {why}"), CLAIM)
        }
    }
}

/// Whether the button rests, as nobody was asked to press yet.
fn rest(panel: &Panel) -> Option<Verdict> {
    let state = panel.watch_button()?.borrow().clone();
    let remedy = "nobody pressing, the profile's `active` or `bias` is wrong, or the wires touch";
    match state {
        ButtonState::Released => Some(Verdict::good("the button rests")),
        ButtonState::Pressed | ButtonState::Held | ButtonState::Stuck => {
            Some(Verdict::fair("the button is pressed", remedy))
        }
        ButtonState::Broken(why) => {
            Some(Verdict::bad(format!("the button's line gives nothing: {why}"), remedy))
        }
    }
}

async fn press(
    panel: &Panel,
    mut events: mpsc::Receiver<ButtonEvent>,
    person: &mut dyn Person,
) -> Option<Verdict> {
    panel.button.working()?;
    person.told(&format!("press the doorbell button now, within {} s", PRESS.as_secs()));
    Some(match timeout(PRESS, events.recv()).await {
        Ok(Some(_)) => Verdict::good("the press of the button came through"),
        Ok(None) | Err(_) => Verdict::bad(
            format!("no press of the button within {} s", PRESS.as_secs()),
            "check the button's wires and the profile's line; `intercomd devices` shows all lines",
        ),
    })
}

async fn pulse(panel: &Panel, board: &Board, person: &mut dyn Person) -> Option<Verdict> {
    let relay = panel.relay.working()?;
    let length = board.relay.as_ref().map_or(PULSE, |wiring| wiring.max_pulse.min(PULSE));
    if !person.agrees(&format!("pulse the door relay for {length:?} now? It may open the door")) {
        return Some(Verdict::good("the relay was not tried"));
    }
    relay.fire(length);
    // The question stops everything else, the end of the pulse too: first the relay has to be off.
    sleep(length).await;
    let over = Instant::now() + SETTLED;
    while relay.is_on() && Instant::now() < over {
        sleep(LOOK).await;
    }
    Some(match person.agrees("did the relay click?") {
        true => Verdict::good("the relay clicks"),
        false => Verdict::bad(
            "the relay was not heard",
            "check its wires and supply, and the profile's line and `active`",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::verdict::Grade;

    /// Somebody who says the same to every question.
    struct Always(bool, Vec<String>);

    impl Person for Always {
        fn told(&mut self, words: &str) {
            self.1.push(words.to_owned());
        }

        fn agrees(&mut self, question: &str) -> bool {
            self.1.push(question.to_owned());
            self.0
        }
    }

    fn board() -> Board {
        crate::config::built_in_board("sim").expect("the simulated board is built in")
    }

    fn words(verdicts: &[Verdict]) -> Vec<&str> {
        verdicts.iter().map(|verdict| verdict.words.as_str()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn alone_it_claims_the_lines_looks_at_the_button_and_switches_nothing_on() {
        let verdicts = panel(&board(), None).await;
        assert!(words(&verdicts).contains(&"the button rests"), "{verdicts:?}");
        assert!(verdicts.iter().all(|verdict| verdict.grade == Grade::Good), "{verdicts:?}");
        assert!(!words(&verdicts).iter().any(|words| words.contains("click")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_press_that_does_not_come_is_told_with_what_to_do() {
        let mut person = Always(false, Vec::new());
        let verdicts = panel(&board(), Some(&mut person)).await;
        let bad: Vec<_> = verdicts.iter().filter(|verdict| verdict.grade == Grade::Bad).collect();
        assert_eq!(bad.len(), 1, "{verdicts:?}");
        assert!(bad[0].words.contains("no press") && !bad[0].remedy.is_empty());
        assert!(person.1[0].contains("press the doorbell button"), "{:?}", person.1);
    }

    /// Somebody who looks whether the relay is on while they are asked.
    struct Looks<'p>(&'p Panel, Vec<bool>);

    impl Person for Looks<'_> {
        fn told(&mut self, _: &str) {}

        fn agrees(&mut self, _: &str) -> bool {
            self.1.push(self.0.relay.working().is_some_and(super::super::output::Pulses::is_on));
            true
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_relay_is_off_again_before_anything_more_is_asked() {
        let (tell, _events) = mpsc::channel(1);
        let board = board();
        let panel = Panel::open(&board, tell).expect("a simulated panel");
        let mut person = Looks(&panel, Vec::new());
        let verdict = pulse(&panel, &board, &mut person).await.expect("a relay is wired");
        assert_eq!(verdict.grade, Grade::Good);
        assert_eq!(person.1, [false, false]);
        let pulses = panel.status().outputs;
        assert!(format!("{pulses:?}").contains("on"), "it was on between: {pulses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_relay_is_pulsed_only_when_a_person_agrees() {
        for agrees in [true, false] {
            let mut person = Always(agrees, Vec::new());
            let mut wired = board();
            wired.relay.get_or_insert_with(|| panic!("the simulated board has a relay"));
            let verdicts = panel(&wired, Some(&mut person)).await;
            assert!(person.1.iter().any(|words| words.contains("may open the door")));
            assert_eq!(words(&verdicts).contains(&"the relay clicks"), agrees, "{verdicts:?}");
            assert_eq!(words(&verdicts).contains(&"the relay was not tried"), !agrees);
        }
    }
}
