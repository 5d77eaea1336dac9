//! Opening the door from a page: who may, with what, how often, and what an attacker in the channel comes to.

use intercomd::intercom::{
    CallState, Cause, Command, Denial, Input, Nonce, Opener, Outgoing, PageMessage, Purpose,
    PushAddress, Report, Right, Rules,
};

use crate::world::{RELEASE, RIGHT, SERVICE, WRONG, World, ms};

/// A door with persons; the first phone talks, the second watches.
fn talking() -> World {
    talking_by(Rules::default())
}

fn talking_by(rules: Rules) -> World {
    let mut world = World::with(rules, &[SERVICE], 1);
    world.uplink_up(SERVICE, "-door");
    world.input(Input::Persons(1));
    for phone in ["1a", "2b"] {
        world.browser(phone, false);
    }
    world.press();
    world.run(ms(2_000));
    let call = world.call();
    world.page("1a", PageMessage::Answer(Some(call)));
    world.run(ms(500));
    assert_eq!(world.state(), CallState::Talking);
    world
}

fn opened(world: &World, phone: &str) -> usize {
    let said = world.browsers[phone].said.iter();
    said.filter(|said| matches!(said, Outgoing::Opened(..))).count()
}

#[test]
fn a_person_who_talks_and_proves_it_opens_the_door_and_everybody_hears_of_it() {
    let mut world = talking();
    assert!(
        world.browsers["1a"].notices.last().is_some_and(|told| told.may.contains(&Right::Open))
    );
    world.ask_and_prove("1a", Purpose::Open, RIGHT);
    assert_eq!(world.relay.pulses.len(), 1);
    assert_eq!(world.relay.pulses[0].1, RELEASE.pulse);
    assert_eq!((opened(&world, "1a"), opened(&world, "2b")), (1, 1));
    world.ask_and_prove("1a", Purpose::Open, RIGHT);
    assert_eq!(world.denials("1a"), [Denial::Open], "one pulse at a time");
}

#[test]
fn a_wrong_proof_opens_nothing_and_is_reported_with_the_name_it_claimed() {
    let mut world = talking();
    world.ask_and_prove("1a", Purpose::Open, WRONG);
    assert!(world.relay.pulses.is_empty());
    assert_eq!(world.denials("1a"), [Denial::Wrong]);
    let claims = world.transcript.iter().filter_map(|command| match command {
        Command::Report(Report::OpenRefused { by: Opener::Page { claims, .. }, .. }) => {
            Some(claims.as_ref().map(ToString::to_string))
        }
        _ => None,
    });
    assert_eq!(claims.collect::<Vec<_>>(), [Some("Anna".to_owned())]);
}

#[test]
fn a_browser_is_woken_from_now_on_for_a_person_who_proves_it_and_for_nobody_else() {
    let mut world = talking();
    let mut key = [7; 65];
    key[0] = 4;
    let address = PushAddress::new("https://push.example/x", key, [1; 16]).expect("an address");
    for (phone, proof) in [("2b", WRONG), ("2b", RIGHT), ("1a", RIGHT)] {
        let call = world.call();
        world.page(phone, PageMessage::Wake(call, address.clone()));
        world.run(ms(200));
        let nonce = world.nonce(phone).expect("a number");
        world.prove(phone, Purpose::Wake, nonce, proof);
        world.run(ms(200));
    }
    let anna = || "Anna".to_owned();
    assert_eq!(world.woken, [("2b".to_owned(), anna()), ("1a".to_owned(), anna())]);
    let told = world.browsers["2b"].said.last();
    assert!(matches!(told, Some(Outgoing::WillWake(_))), "{told:?}");
    // A proof without an address, or for another purpose, wakes nobody.
    world.ask_and_prove("1a", Purpose::Wake, RIGHT);
    assert_eq!(world.woken.len(), 2);
}

#[test]
fn a_proof_counts_once() {
    let mut world = talking();
    world.ask_and_prove("1a", Purpose::Open, RIGHT);
    world.run(ms(10_000));
    let nonce = world.nonce("1a").expect("a number");
    world.prove("1a", Purpose::Open, nonce, RIGHT);
    world.run(ms(200));
    assert_eq!(world.relay.pulses.len(), 1);
    assert_eq!(world.denials("1a"), [Denial::Expired]);
}

#[test]
fn a_number_is_good_for_half_a_minute_for_its_page_and_its_purpose_only() {
    let mut world = talking();
    let call = world.call();
    let ask = |purpose| PageMessage::Ask(call.clone(), purpose);
    world.page("1a", ask(Purpose::Open));
    world.run(ms(31_000));
    let nonce = world.nonce("1a").expect("a number");
    world.prove("1a", Purpose::Open, nonce, RIGHT);
    world.run(ms(200));
    world.page("1a", ask(Purpose::Log));
    world.run(ms(200));
    let nonce = world.nonce("1a").expect("a number");
    world.prove("1a", Purpose::Open, nonce, RIGHT);
    world.run(ms(200));
    world.page("2b", ask(Purpose::Log));
    world.run(ms(200));
    let anothers = world.nonce("2b").expect("a number");
    world.prove("1a", Purpose::Open, anothers, RIGHT);
    world.prove("1a", Purpose::Open, Nonce([77; 32]), RIGHT);
    world.run(ms(200));
    assert!(world.relay.pulses.is_empty());
    assert_eq!(world.denials("1a"), [Denial::Expired; 4]);
}

#[test]
fn who_only_watches_opens_nothing_even_with_the_right_proof() {
    let mut world = talking();
    world.ask_and_prove("2b", Purpose::Open, RIGHT);
    assert_eq!(world.denials("2b"), [Denial::NotTalking]);
    assert!(world.relay.pulses.is_empty());
}

#[test]
fn who_hung_up_while_the_proof_was_on_its_way_opens_nothing() {
    let rules = Rules { second_speaker: true, ..Rules::default() };
    let mut world = talking_by(rules);
    let call = world.call();
    world.page("2b", PageMessage::Join(call.clone()));
    world.run(ms(200));
    world.page("2b", PageMessage::Ask(call, Purpose::Open));
    world.run(ms(200));
    let nonce = world.nonce("2b").expect("a number");
    world.page("2b", PageMessage::Hangup(None));
    world.run(ms(200));
    assert_eq!(world.state(), CallState::Talking, "the other one talks on");
    world.prove("2b", Purpose::Open, nonce, RIGHT);
    world.run(ms(200));
    assert_eq!(world.denials("2b"), [Denial::NotTalking]);
    assert!(world.relay.pulses.is_empty());
}

#[test]
fn guesses_at_the_log_keep_nobody_from_the_door_and_a_refusal_is_told_to_the_owner_once() {
    let mut world = talking();
    for phone in ["3c", "4d", "5e", "6f"] {
        world.browser(phone, false);
        world.run(ms(1_500));
        for _ in 0..3 {
            world.ask_and_prove(phone, Purpose::Log, WRONG);
        }
    }
    world.ask_and_prove("2b", Purpose::Log, RIGHT);
    assert_eq!(world.denials("2b"), [Denial::LockedOut]);
    world.ask_and_prove("1a", Purpose::Open, RIGHT);
    assert_eq!(world.relay.pulses.len(), 1);
    let reports = |world: &World| {
        let refused = |command: &&Command| {
            matches!(
                command,
                Command::Report(Report::OpenRefused { .. } | Report::LogRefused { .. })
            )
        };
        world.transcript.iter().filter(refused).count()
    };
    let before = reports(&world);
    for _ in 0..20 {
        let call = world.call();
        world.page("2b", PageMessage::Ask(call, Purpose::Open));
        world.run(ms(100));
    }
    assert_eq!(world.denials("2b").len(), 21, "the page hears it each time");
    assert_eq!(reports(&world), before + 1, "the owner once");
}

#[test]
fn nobody_opens_from_a_page_while_it_rings_or_when_no_person_is_known() {
    let mut world = World::up("-door");
    world.input(Input::Persons(1));
    world.browser("1a", false);
    world.press();
    world.run(ms(2_000));
    world.ask_and_prove("1a", Purpose::Open, RIGHT);
    assert_eq!(world.denials("1a"), [Denial::NotTalking]);
    world.input(Input::Persons(0));
    let call = world.call();
    world.page("1a", PageMessage::Answer(Some(call)));
    world.run(ms(500));
    assert!(
        !world.browsers["1a"].notices.last().is_some_and(|told| told.may.contains(&Right::Open))
    );
    world.ask_and_prove("1a", Purpose::Open, RIGHT);
    assert_eq!(world.denials("1a").last(), Some(&Denial::Nobody));
    assert!(world.relay.pulses.is_empty());
}

#[test]
fn a_guesser_is_not_listened_to_after_three_tries_until_the_next_call() {
    let mut world = talking();
    for _ in 0..3 {
        world.ask_and_prove("1a", Purpose::Open, WRONG);
    }
    world.ask_and_prove("1a", Purpose::Open, RIGHT);
    assert_eq!(
        world.denials("1a"),
        [Denial::Wrong, Denial::Wrong, Denial::Wrong, Denial::LockedOut]
    );
    let locked =
        |command: &&Command| matches!(command, Command::Report(Report::ProofsLocked(Some(_))));
    assert_eq!(world.transcript.iter().filter(locked).count(), 1, "the owner hears of it");
    // The one who takes over is not locked out with it.
    let call = world.call();
    world.page("2b", PageMessage::Take(call));
    world.run(ms(300));
    world.ask_and_prove("2b", Purpose::Open, RIGHT);
    assert_eq!(world.relay.pulses.len(), 1);
}

#[test]
fn many_guessers_lock_the_door_for_pages_for_a_minute_and_for_nobody_else() {
    let mut world = talking();
    for phone in ["3c", "4d", "5e", "6f"] {
        world.browser(phone, false);
        world.run(ms(1_500));
        let call = world.call();
        world.page(phone, PageMessage::Take(call));
        world.run(ms(300));
        for _ in 0..3 {
            world.ask_and_prove(phone, Purpose::Open, WRONG);
        }
    }
    let call = world.call();
    world.page("1a", PageMessage::Take(call));
    world.run(ms(300));
    world.ask_and_prove("1a", Purpose::Open, RIGHT);
    assert_eq!(world.denials("1a"), [Denial::LockedOut]);
    assert_eq!(world.unlock(None), Ok(RELEASE.pulse), "the control socket still opens");
    world.run(ms(61_000));
    world.ask_and_prove("1a", Purpose::Open, RIGHT);
    assert_eq!(world.relay.pulses.len(), 2);
}

#[test]
fn the_log_is_for_persons_too() {
    let mut world = talking();
    world.ask_and_prove("2b", Purpose::Log, WRONG);
    assert!(world.logged.is_empty());
    world.ask_and_prove("2b", Purpose::Log, RIGHT);
    assert_eq!(world.logged, ["2b"], "who may open may read, answering or not");
}

#[test]
fn a_proof_of_an_earlier_call_or_after_the_end_opens_nothing() {
    let mut world = talking();
    let call = world.call();
    world.page("1a", PageMessage::Ask(call, Purpose::Open));
    world.run(ms(200));
    let nonce = world.nonce("1a").expect("a number");
    world.input(Input::Hangup);
    world.run(ms(3_000));
    assert_eq!(world.causes(), [Cause::Control]);
    world.press();
    world.run(ms(2_000));
    let call = world.call();
    world.page("1a", PageMessage::Answer(Some(call)));
    world.run(ms(500));
    world.prove("1a", Purpose::Open, nonce, RIGHT);
    world.run(ms(200));
    assert!(world.relay.pulses.is_empty());
}

#[test]
fn a_right_proof_comes_too_late_for_a_daemon_that_stops() {
    let mut world = talking();
    let call = world.call();
    world.page("1a", PageMessage::Ask(call, Purpose::Open));
    world.run(ms(200));
    let nonce = world.nonce("1a").expect("a number");
    world.prove("1a", Purpose::Open, nonce, RIGHT);
    world.input(Input::Shutdown);
    world.run(ms(3_000));
    assert!(world.relay.pulses.is_empty());
}
