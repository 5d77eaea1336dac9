//! Looking in: who may see through the camera although nobody rang, what the visitor is shown of it, and what ends it.

use intercomd::intercom::{
    CallId, CallState, Command, Denial, Input, Lamp, Outgoing, PageMessage, Report, Rules, Scene,
};

use crate::world::{LOOKS, RIGHT, SERVICE, WRONG, World, ms};

/// A door with a person, in both channels; a phone waits for calls and somebody waits to look.
fn door() -> World {
    let mut world = World::new(&[SERVICE, LOOKS]);
    world.uplink_up(SERVICE, "-door");
    world.uplink_up(LOOKS, "-door-look");
    world.input(Input::Persons(1));
    world.browser("1phone", false);
    world.browser_on(LOOKS, "8looker", false);
    world.run(ms(500));
    world
}

fn looking() -> World {
    let mut world = door();
    world.look("8looker", RIGHT);
    world.run(ms(1_000));
    assert_eq!(world.state(), CallState::Looking);
    world
}

fn told_it_is_over(world: &World, browser: &str) -> bool {
    world.browsers[browser].said.iter().any(|said| matches!(said, Outgoing::LookOver(_)))
}

#[test]
fn a_person_who_proves_it_sees_and_the_visitor_is_shown_that_somebody_does() {
    let mut world = door();
    assert_eq!((world.state(), world.watched, world.lamp), (CallState::Idle, false, Lamp::Idle));
    world.look("8looker", RIGHT);
    world.run(ms(1_000));
    assert_eq!(world.state(), CallState::Looking);
    assert!(world.watched && world.connected("8looker"));
    assert_eq!((world.lamp, world.scene), (Lamp::Looking, Scene::Looking));
    let longest = Rules::default().longest_look;
    let told = world.browsers["8looker"].said.last();
    assert!(matches!(told, Some(Outgoing::Looking(_, time)) if *time == longest), "{told:?}");
    let reported = world.transcript.iter().any(|command| {
        matches!(command, Command::Report(Report::LooksIn { by, .. }) if by.as_str() == "Anna")
    });
    assert!(reported, "the owner can read who looked");
}

#[test]
fn a_look_rings_at_no_phone_enters_no_call_and_plays_nothing_at_the_door() {
    let world = looking();
    assert!(world.browsers["1phone"].notices.is_empty());
    assert_eq!(world.browsers["1phone"].offers_seen, 0);
    assert_eq!((world.chimes, world.shown.clone(), world.heard.len()), (0, None, 0));
    assert!(!world.capture, "the microphone stays off");
    assert_eq!(world.heart.snapshot().counters.calls, 0);
}

#[test]
fn whoever_looks_and_sends_media_is_no_answerer_and_is_not_heard() {
    let mut world = door();
    world.browser_on(LOOKS, "9loud", true);
    world.run(ms(500));
    world.look("9loud", RIGHT);
    // Its own offer came before it had the right to make one, and is forgotten.
    world.run(ms(20_000));
    assert!(world.connected("9loud"));
    assert_eq!(world.state(), CallState::Looking);
    assert!(world.heard.is_empty() && world.shown.is_none());
}

#[test]
fn being_in_the_channel_shows_nothing() {
    let mut world = door();
    world.browser_on(LOOKS, "9other", true);
    world.run(ms(5_000));
    assert_eq!((world.state(), world.open_links()), (CallState::Idle, 0));
    world.look("9other", WRONG);
    assert_eq!(world.denials("9other"), [Denial::Wrong]);
    assert_eq!((world.state(), world.open_links(), world.watched), (CallState::Idle, 0, false));
    // A proof is good once, and for the page that it was made for.
    world.look("8looker", RIGHT);
    world.browser_leaves("8looker");
    world.run(ms(500));
    assert_eq!(world.state(), CallState::Idle);
    let proof = world.transcript.iter().rev().find_map(|command| match command {
        Command::Verify(peer, proof) if peer.id.as_str() == "8looker" => Some(proof.clone()),
        _ => None,
    });
    world.page("9other", PageMessage::Proof(proof.expect("it was checked")));
    world.run(ms(500));
    assert_eq!(world.denials("9other").last(), Some(&Denial::Expired));
    assert_eq!(world.state(), CallState::Idle);
}

#[test]
fn who_guesses_is_locked_out() {
    let mut world = door();
    for _ in 0..4 {
        world.look("8looker", WRONG);
    }
    let last = world.denials("8looker").last().copied();
    assert_eq!((last, world.state()), (Some(Denial::LockedOut), CallState::Idle));
    world.look("8looker", RIGHT);
    assert_eq!(world.state(), CallState::Idle, "not with the right secret either, for a while");
}

#[test]
fn a_door_that_knows_nobody_shows_itself_to_nobody() {
    let mut world = door();
    world.input(Input::Persons(0));
    world.look("8looker", RIGHT);
    assert_eq!(world.denials("8looker"), [Denial::Nobody]);
    assert_eq!(world.state(), CallState::Idle);
}

#[test]
fn a_look_ends_by_itself_and_frees_everything() {
    let mut world = looking();
    world.run(Rules::default().longest_look);
    assert_eq!(world.state(), CallState::Idle);
    assert!(told_it_is_over(&world, "8looker"));
    world.run(ms(1_000));
    assert_eq!((world.open_links(), world.watched, world.lamp), (0, false, Lamp::Idle));
    world.look("8looker", RIGHT);
    world.run(ms(1_000));
    assert_eq!(world.state(), CallState::Looking, "and can be asked for anew");
}

#[test]
fn a_press_goes_before_a_look_and_rings_at_once() {
    let mut world = looking();
    world.press();
    assert_eq!((world.state(), world.chimes), (CallState::Joining, 1));
    assert!(world.capture, "without a moment in which the camera is off");
    world.run(ms(1_000));
    assert!(told_it_is_over(&world, "8looker"));
    assert_eq!(world.state(), CallState::Ringing);
    assert_eq!(world.open_links(), 1, "to the phone that is called");
    world.look("8looker", RIGHT);
    assert_eq!(world.denials("8looker"), [Denial::Busy], "whoever wants to see takes the call");
    world.input(Input::Hangup);
    world.run(ms(3_000));
    assert_eq!((world.state(), world.watched), (CallState::Idle, false));
}

#[test]
fn the_last_who_looks_and_leaves_ends_the_look() {
    let mut world = looking();
    world.browser_on(LOOKS, "9second", false);
    world.run(ms(500));
    world.look("9second", RIGHT);
    world.run(ms(1_000));
    assert_eq!(world.open_links(), 2);
    world.browser_leaves("8looker");
    world.run(ms(500));
    assert_eq!((world.state(), world.open_links()), (CallState::Looking, 1));
    world.browser_leaves("9second");
    world.run(ms(500));
    assert_eq!((world.state(), world.open_links()), (CallState::Idle, 0));
}

#[test]
fn each_looks_by_a_proof_of_its_own_and_a_second_one_lengthens_nobody_s_time() {
    let mut world = looking();
    world.browser_on(LOOKS, "9second", false);
    world.run(ms(40_000));
    world.look("9second", RIGHT);
    world.run(ms(25_000));
    assert!(told_it_is_over(&world, "8looker"));
    assert_eq!((world.state(), world.open_links()), (CallState::Looking, 1));
    world.run(ms(40_000));
    assert_eq!((world.state(), world.open_links()), (CallState::Idle, 0));
}

#[test]
fn a_person_less_ends_every_look_at_once() {
    let mut world = door();
    world.input(Input::Persons(2));
    world.look("8looker", RIGHT);
    world.run(ms(1_000));
    world.input(Input::Persons(3));
    assert_eq!(world.state(), CallState::Looking);
    world.input(Input::Persons(2));
    assert_eq!((world.state(), world.watched), (CallState::Idle, false));
    world.run(ms(200));
    assert!(told_it_is_over(&world, "8looker"));
}

#[test]
fn who_presses_in_quiet_hours_reads_so_although_somebody_looks() {
    let mut world = looking();
    world.input(Input::Quiet(true));
    world.press();
    assert_eq!((world.scene, world.lamp), (Scene::Quiet, Lamp::Looking));
    assert_eq!(world.state(), CallState::Looking);
}

#[test]
fn hanging_up_at_the_door_and_stopping_end_a_look() {
    for input in [Input::Hangup, Input::Shutdown] {
        let mut world = looking();
        world.input(input);
        assert_eq!((world.state(), world.watched), (CallState::Idle, false));
        assert!(world.causes().is_empty(), "no call has ended");
    }
}

#[test]
fn a_line_that_blinks_does_not_end_a_look() {
    let mut world = looking();
    world.uplink_blinks(LOOKS, "-door-look");
    world.run(ms(3_000));
    assert_eq!(world.state(), CallState::Looking);
    assert!(world.connected("8looker"));
}

#[test]
fn the_door_is_in_the_channel_of_those_who_look_from_its_start_and_again_after_a_refusal() {
    let mut world = World::new(&[SERVICE, LOOKS]);
    world.input(Input::Persons(1));
    let joins = |world: &World| {
        let joins = world.transcript.iter().filter(|command| {
            matches!(command, Command::Uplink(LOOKS, intercomd::intercom::UplinkCommand::Join))
        });
        joins.count()
    };
    assert_eq!(joins(&world), 1);
    world.uplink_up(LOOKS, "-door-look");
    assert!(joins(&world) > 1, "a refusal would have ended the wish");
}

#[test]
fn words_about_calls_mean_nothing_where_people_look() {
    let mut world = looking();
    for message in [
        PageMessage::Answer(None),
        PageMessage::Hangup(None),
        PageMessage::Take(CallId("c-1".into())),
        PageMessage::OtherDoor,
    ] {
        world.page("8looker", message);
    }
    world.run(ms(500));
    assert_eq!(world.state(), CallState::Looking);
}
