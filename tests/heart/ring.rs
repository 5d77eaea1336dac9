//! The ring as several phones tell it: seen, answered first, taken over, joined, declined, called off, hushed.

use intercomd::intercom::{
    CallId, CallState, Cause, Command, Input, Lamp, Name, Note, Outgoing, PageId, PageMessage,
    Report, Right, Rules, STUTTER, Scene, Stage, UplinkCommand,
};

use crate::world::{LAN, SERVICE, World, ms};

/// A door that rings at these phones, which show it and wait.
fn ringing(rules: Rules, phones: &[&str]) -> World {
    let mut world = World::with(rules, &[SERVICE], 1);
    world.uplink_up(SERVICE, "-door");
    for phone in phones {
        world.browser(phone, false);
    }
    world.press();
    world.run(ms(2_000));
    assert_eq!(world.state(), CallState::Ringing);
    world
}

fn answer(world: &mut World, phone: &str) {
    let call = world.call();
    world.page(phone, PageMessage::Answer(Some(call)));
    world.run(ms(300));
}

fn answered_by(world: &World, phone: &str) -> Option<String> {
    let notice = world.browsers[phone].notices.last().expect("it was told");
    notice.answered_by.as_ref().map(|peer| peer.id.to_string())
}

fn hello(page: &str, name: &str) -> PageMessage {
    PageMessage::Hello(PageId::new(page).expect("a page"), Name::new(name))
}

#[test]
fn the_visitor_is_told_when_it_rings_somewhere_and_no_sooner() {
    let mut world = ringing(Rules::default(), &["1a", "2b"]);
    assert_eq!((world.lamp, world.scene), (Lamp::Calling, Scene::Ringing));
    let call = world.call();
    world.page("1a", PageMessage::Ringing(call.clone()));
    world.run(ms(100));
    assert_eq!((world.lamp, world.scene), (Lamp::Seen, Scene::Seen));
    world.page("2b", PageMessage::Ringing(call));
    world.run(ms(100));
    assert_eq!(world.browsers["1a"].notices.last().map(|notice| notice.ringing_at), Some(2));
    for phone in ["1a", "2b"] {
        assert_eq!(world.scene, Scene::Seen);
        world.page(phone, PageMessage::Hangup(None));
        world.run(ms(100));
    }
    assert_eq!(world.causes(), [Cause::Declined], "all who were called declined");
}

#[test]
fn a_phone_that_rang_and_left_rings_no_more() {
    let mut world = ringing(Rules::default(), &["1a"]);
    let call = world.call();
    world.page("1a", PageMessage::Ringing(call));
    world.run(ms(100));
    assert_eq!(world.scene, Scene::Seen);
    world.browser_leaves("1a");
    world.run(ms(500));
    assert_eq!((world.lamp, world.scene), (Lamp::Calling, Scene::Ringing));
}

#[test]
fn the_first_to_answer_has_the_call_and_all_others_know_within_300_ms() {
    let mut world = ringing(Rules::default(), &["1a", "2b", "3c"]);
    world.page("2b", hello("page of Anna", "Anna"));
    world.run(ms(50));
    let call = world.call();
    for phone in ["2b", "3c", "1a"] {
        world.page(phone, PageMessage::Answer(Some(call.clone())));
    }
    world.run(ms(300));
    assert_eq!(world.state(), CallState::Talking);
    for phone in ["1a", "2b", "3c"] {
        assert_eq!(answered_by(&world, phone).as_deref(), Some("2b"), "{phone} knows");
        let notice = world.browsers[phone].notices.last().expect("told");
        assert_eq!(notice.answered_name.as_ref().map(Name::as_str), Some("Anna"));
    }
    assert_eq!(world.heard.len(), 1, "the others' voices are not at the door");
    // Their media, which was on the way already, is no answer of its own.
    world.run(ms(5_000));
    world.page("2b", PageMessage::Hangup(None));
    world.run(ms(1_000));
    assert_eq!(world.causes(), [Cause::HungUp], "nobody was left who had been second");
    world.assert_everything_is_free();
}

#[test]
fn answers_declines_and_texts_of_another_call_change_nothing() {
    let mut world = ringing(Rules::default(), &["1a"]);
    let old = CallId("c-0".into());
    let note = Note::new("hello").expect("a text");
    for message in [
        PageMessage::Answer(Some(old.clone())),
        PageMessage::Hangup(Some(old.clone())),
        PageMessage::Ringing(old.clone()),
        PageMessage::Text(old.clone(), note),
        PageMessage::Take(old.clone()),
        PageMessage::Join(old),
    ] {
        world.page("1a", message);
        world.run(ms(100));
    }
    assert_eq!((world.state(), world.scene), (CallState::Ringing, Scene::Ringing));
    assert_eq!(world.text, None);
}

#[test]
fn nothing_a_page_says_after_the_end_begins_anything() {
    let mut world = ringing(Rules::default(), &["1a"]);
    let call = world.call();
    world.input(Input::Hangup);
    world.run(ms(3_000));
    for message in [
        PageMessage::Answer(Some(call.clone())),
        PageMessage::Ringing(call.clone()),
        PageMessage::Take(call),
    ] {
        world.page("1a", message);
        world.run(ms(3_000));
    }
    world.assert_everything_is_free();
    assert_eq!(world.chimes, 1);
}

#[test]
fn every_change_has_a_higher_number_and_a_repetition_the_same() {
    let mut world = ringing(Rules::default(), &["1a", "2b"]);
    let call = world.call();
    world.page("1a", PageMessage::Ringing(call));
    world.run(ms(100));
    world.press();
    world.run(ms(100));
    world.browser("3late", false);
    world.run(ms(2_000));
    answer(&mut world, "2b");
    world.input(Input::Hangup);
    world.run(ms(500));
    for phone in ["1a", "2b", "3late"] {
        let notices = &world.browsers[phone].notices;
        for pair in notices.windows(2) {
            let same = pair[0].seq == pair[1].seq;
            let alike = pair[0].stage == pair[1].stage && pair[0].ringing_at == pair[1].ringing_at;
            assert!(pair[0].seq < pair[1].seq || same && alike, "{phone}: {pair:?}");
        }
    }
    // The goodbye may be overtaken by the door's leaving; it was sent with the highest number.
    let goodbye = world.transcript.iter().rev().find_map(|command| match command {
        Command::Uplink(_, UplinkCommand::Send { what: Outgoing::Notice(notice), .. }) => {
            Some(notice)
        }
        _ => None,
    });
    let goodbye = goodbye.expect("a goodbye");
    assert_eq!(goodbye.stage, Stage::Ended(Cause::Control));
    let told = world.browsers["1a"].notices.iter().map(|notice| notice.seq).max();
    assert!(Some(goodbye.seq) >= told, "{goodbye:?}");
    let late = &world.browsers["3late"].notices[0];
    assert!(late.stage == Stage::Ringing && late.seq > 1 && late.age >= ms(2_000), "{late:?}");
    assert_eq!(late.ringing_at, 1, "who comes late learns everything");
}

#[test]
fn a_call_can_be_taken_over_and_the_one_who_had_it_ends_nothing() {
    let mut world = ringing(Rules::default(), &["1a", "2b"]);
    answer(&mut world, "1a");
    let call = world.call();
    assert!(
        world.browsers["2b"].notices.last().is_some_and(|told| told.may.contains(&Right::Take))
    );
    world.page("2b", PageMessage::Take(call));
    world.run(ms(300));
    assert_eq!(answered_by(&world, "1a").as_deref(), Some("2b"));
    assert_eq!(world.shown.as_ref().map(|link| link.peer.id.as_str()), Some("2b"));
    assert_eq!(world.heard.len(), 1);
    world.page("1a", PageMessage::Hangup(None));
    world.run(ms(1_000));
    assert_eq!(world.state(), CallState::Talking);
    world.page("2b", PageMessage::Hangup(None));
    world.run(ms(1_000));
    assert_eq!(world.causes(), [Cause::HungUp]);
}

#[test]
fn a_page_that_answers_again_before_it_says_its_name_is_not_taken_for_somebody_else() {
    let mut world = ringing(Rules::default(), &["1a"]);
    world.page("1a", hello("page of Anna", "Anna"));
    answer(&mut world, "1a");
    // Loaded again: its old connection lives on for a moment.
    world.signalling_lost("1a");
    world.browser("2a", false);
    world.run(ms(300));
    let call = world.call();
    world.page("2a", PageMessage::Answer(Some(call)));
    world.run(ms(50));
    world.page("2a", hello("page of Anna", "Anna"));
    world.run(ms(2_000));
    assert_eq!(answered_by(&world, "2a").as_deref(), Some("2a"));
    world.run(ms(60_000));
    assert_eq!(world.state(), CallState::Talking);
}

#[test]
fn who_comes_back_after_somebody_else_took_the_call_does_not_get_it_again() {
    let mut world = ringing(Rules::default(), &["1a", "2b"]);
    world.page("1a", hello("page of Anna", "Anna"));
    answer(&mut world, "1a");
    // Her phone is gone, media and all.
    world.cut("1a");
    world.browser_leaves("1a");
    world.run(ms(6_000));
    let call = world.call();
    world.page("2b", PageMessage::Take(call));
    world.run(ms(300));
    world.browser("3a", false);
    world.run(ms(500));
    world.page("3a", hello("page of Anna", "Anna"));
    world.run(ms(2_000));
    assert_eq!(answered_by(&world, "3a").as_deref(), Some("2b"));
    assert_eq!(world.shown.as_ref().map(|link| link.peer.id.as_str()), Some("2b"));
    assert_eq!(world.heard.len(), 1);
    world.page("2b", PageMessage::Hangup(None));
    world.run(ms(1_000));
    assert_eq!(world.causes(), [Cause::HungUp]);
}

#[test]
fn nobody_takes_or_joins_a_call_that_nobody_has() {
    let rules = Rules { second_speaker: true, ..Rules::default() };
    let mut world = ringing(rules, &["1a"]);
    let call = world.call();
    for message in [PageMessage::Take(call.clone()), PageMessage::Join(call)] {
        world.page("1a", message);
        world.run(ms(200));
    }
    assert_eq!(world.state(), CallState::Ringing);
}

#[test]
fn a_second_speaker_is_heard_beside_the_first_where_the_owner_allows_it() {
    for allowed in [true, false] {
        let rules = Rules { second_speaker: allowed, ..Rules::default() };
        let mut world = ringing(rules, &["1a", "2b"]);
        answer(&mut world, "1a");
        let call = world.call();
        let told = world.browsers["2b"].notices.last().expect("told");
        assert_eq!(told.may.contains(&Right::Join), allowed);
        world.page("2b", PageMessage::Join(call));
        world.run(ms(300));
        assert_eq!(world.heard.len(), if allowed { 2 } else { 1 });
        assert_eq!(world.shown.as_ref().map(|link| link.peer.id.as_str()), Some("1a"));
        world.page("1a", PageMessage::Hangup(None));
        world.run(ms(1_000));
        assert_eq!(world.state() == CallState::Talking, allowed, "the second speaker goes on");
    }
}

#[test]
fn the_visitor_calls_the_visit_off_where_that_is_allowed_but_not_by_haste() {
    let rules = Rules { press_cancels_ring: true, ..Rules::default() };
    let mut world = World::with(rules, &[SERVICE], 1);
    world.uplink_up(SERVICE, "-door");
    world.browser("1a", false);
    world.press();
    world.run(ms(1_000));
    world.press();
    world.run(ms(500));
    assert_eq!(world.state(), CallState::Ringing, "a second press in haste rings again");
    world.run(STUTTER);
    world.press();
    world.run(ms(1_000));
    assert_eq!(world.causes(), [Cause::Visitor]);
    world.assert_everything_is_free();
}

#[test]
fn in_quiet_hours_nobody_is_called_and_the_visitor_is_told() {
    for chimes in [true, false] {
        let rules = Rules { quiet_chime: chimes, ..Rules::default() };
        let mut world = World::with(rules, &[SERVICE], 1);
        world.uplink_up(SERVICE, "-door");
        world.browser("1a", true);
        world.input(Input::Quiet(true));
        world.press();
        world.run(ms(1_000));
        assert_eq!(world.state(), CallState::Idle);
        assert!(!world.capture, "no camera");
        assert!(world.browsers["1a"].notices.is_empty(), "no phone");
        assert_eq!((world.scene, world.lamp), (Scene::Quiet, Lamp::Sorry));
        assert_eq!(world.chimes, u32::from(chimes));
        assert_eq!(
            (world.causes(), world.parted.clone()),
            (vec![Cause::Quiet], vec![Cause::Quiet])
        );
        let rang = |command: &&Command| matches!(command, Command::Report(Report::Rang { .. }));
        assert_eq!(world.transcript.iter().filter(rang).count(), 0, "hooks that ring stay quiet");
        world.input(Input::Quiet(false));
        world.press();
        world.run_until(CallState::Talking, ms(3_000));
    }
}

#[test]
fn who_goes_on_pressing_in_quiet_hours_is_one_visit_and_who_comes_later_another() {
    let mut world = World::with(Rules::default(), &[SERVICE], 1);
    world.uplink_up(SERVICE, "-door");
    world.input(Input::Quiet(true));
    for _ in 0..50 {
        world.press();
        world.run(ms(500));
    }
    assert_eq!((world.causes().len(), world.parted.len(), world.chimes), (1, 1, 50));
    world.run(ms(9_000));
    assert_eq!((world.scene, world.lamp), (Scene::Idle, Lamp::Idle));
    world.press();
    world.run(ms(500));
    assert_eq!((world.causes().len(), world.parted.len()), (2, 2));
}

#[test]
fn quiet_hours_that_begin_in_a_call_do_not_end_it() {
    let mut world = ringing(Rules::default(), &["1a"]);
    world.input(Input::Quiet(true));
    world.press();
    answer(&mut world, "1a");
    assert_eq!(world.state(), CallState::Talking);
}

#[test]
fn a_text_is_read_for_a_while_and_goes_with_the_call() {
    let mut world = ringing(Rules::default(), &["1a", "2b"]);
    let call = world.call();
    let note = |text: &str| Note::new(text).expect("a text");
    world.page("2b", PageMessage::Text(call.clone(), note("I am coming")));
    world.run(ms(200));
    assert_eq!(world.text.as_deref(), Some("I am coming"));
    world.run(ms(10_000));
    world.page("1a", PageMessage::Text(call.clone(), note("No, I am")));
    world.run(ms(14_000));
    assert_eq!(world.text.as_deref(), Some("No, I am"), "the newest, for its whole time");
    world.run(ms(2_000));
    assert_eq!(world.text, None);
    world.page("1a", PageMessage::Text(call, note("Bye")));
    world.run(ms(100));
    world.input(Input::Hangup);
    world.run(ms(1_000));
    world.assert_everything_is_free();
}

#[test]
fn a_door_without_a_screen_offers_and_takes_no_texts() {
    let mut world = ringing(Rules { texts: false, ..Rules::default() }, &["1a"]);
    let told = world.browsers["1a"].notices.last().expect("told").clone();
    assert!(!told.may.contains(&Right::Text));
    world.page("1a", PageMessage::Text(told.call, Note::new("x").expect("a text")));
    world.run(ms(100));
    assert_eq!(world.text, None);
}

#[test]
fn the_picture_goes_to_everybody_who_rings_and_to_who_comes_later() {
    let mut world = ringing(Rules::default(), &["1a"]);
    let call = world.call();
    world.input(Input::Picture(CallId("c-0".into())));
    assert!(world.pictured.is_empty(), "not that of another call");
    world.input(Input::Picture(call.clone()));
    world.input(Input::Picture(call));
    assert_eq!(world.pictured, ["1a"]);
    world.browser("2b", false);
    world.run(ms(500));
    assert_eq!(world.pictured, ["1a", "2b"]);
    world.input(Input::Hangup);
    world.run(ms(3_000));
    world.press();
    world.run(ms(2_000));
    assert_eq!(world.pictured.len(), 2, "the next visitor has a picture of its own");
}

#[test]
fn everybody_who_sends_sound_without_knowing_of_us_is_heard() {
    let mut world = World::new(&[SERVICE, LAN]);
    world.uplink_up(SERVICE, "-door");
    world.uplink_up(LAN, "-door");
    world.browser_on(SERVICE, "1a", true);
    world.browser_on(LAN, "2b", true);
    world.press();
    world.run_until(CallState::Talking, ms(3_000));
    world.run(ms(2_000));
    assert_eq!(world.heard.len(), 2, "as in any call between three");
    assert!(world.shown.is_some());
}
