//! The call as a visitor and the people at the phones would tell it.

use intercomd::intercom::{
    CallState, Cause, Command, Input, Lamp, PageMessage, Report, Rules, Stage, UplinkEvent,
};

use crate::world::{LAN, SERVICE, World, ms};

fn talking() -> World {
    let mut world = World::up("-door");
    world.browser("1phone", true);
    world.press();
    world.run_until(CallState::Talking, ms(2_000));
    world
}

#[test]
fn a_press_rings_and_a_phone_in_the_channel_makes_the_call() {
    let mut world = World::up("-door");
    world.browser("1phone", true);
    assert_eq!(world.state(), CallState::Idle);
    world.press();
    assert_eq!(world.state(), CallState::Joining);
    assert!(world.capture, "the camera starts at the press, not at the answer");
    assert_eq!(world.chimes, 1, "the visitor hears that the press counted");
    world.run_until(CallState::Ringing, ms(100));
    assert_eq!(world.lamp, Lamp::Calling);
    world.run_until(CallState::Talking, ms(2_000));
    assert_eq!(world.lamp, Lamp::Talking);
    assert_eq!(world.shown.as_ref().map(|link| link.peer.id.as_str()), Some("1phone"));
}

#[test]
fn another_door_that_rings_in_the_same_channel_is_no_answer() {
    let mut world = World::up("-door");
    world.browser("1back", true);
    world.press();
    world.run(ms(30));
    // As the other door does as soon as it sees this one.
    world.page("1back", PageMessage::OtherDoor);
    world.run(ms(10_000));
    assert_eq!((world.state(), world.open_links()), (CallState::Ringing, 0));
    let told = world.stages("1back").len();
    assert!(told > 0, "the other door learns whom it has met");
    world.browser("2phone", true);
    world.run_until(CallState::Talking, ms(2_000));
    world.run(ms(100));
    assert_eq!(world.shown.as_ref().map(|link| link.peer.id.as_str()), Some("2phone"));
    assert!(world.stages("1back").len() > told, "it goes on hearing where this one stands");
    // Whoever has that id next is whoever it says it is.
    world.browser_leaves("1back");
    world.run(ms(100));
    world.browser("1back", false);
    world.run(ms(2_000));
    assert!(world.connected("1back"));
}

#[test]
fn a_phone_that_comes_during_the_ring_makes_the_call() {
    let mut world = World::up("-door");
    world.press();
    world.run(ms(20_000));
    assert_eq!(world.state(), CallState::Ringing);
    world.browser("1phone", true);
    world.run_until(CallState::Talking, ms(2_000));
}

#[test]
fn a_silent_viewer_sees_the_door_while_it_rings_on() {
    let mut world = World::up("-door");
    world.browser("1viewer", false);
    world.press();
    world.run(ms(5_000));
    assert!(world.connected("1viewer"));
    assert_eq!(world.state(), CallState::Ringing);
    assert_eq!(world.shown, None);
    assert_eq!(world.stages("1viewer").last(), Some(&Stage::Ringing));
}

#[test]
fn a_viewer_that_answers_talks_even_without_a_microphone() {
    let mut world = World::up("-door");
    world.browser("1viewer", false);
    world.press();
    world.run(ms(3_000));
    world.page("1viewer", PageMessage::Answer(None));
    world.run_until(CallState::Talking, ms(200));
    world.run(ms(100));
    assert_eq!(world.stages("1viewer").last(), Some(&Stage::Talking));
}

#[test]
fn a_phone_that_answers_and_has_no_way_for_its_media_does_not_keep_the_visitor_for_long() {
    let mut world = World::up("-door");
    world.browser("1nowhere", true);
    world.browsers.get_mut("1nowhere").expect("it is there").in_a_hole = true;
    world.press();
    world.run(ms(3_000));
    world.page("1nowhere", PageMessage::Answer(None));
    world.run(ms(20_000));
    assert_eq!((world.state(), world.lamp), (CallState::Talking, Lamp::Reconnecting));
    world.run(ms(6_000));
    assert_eq!(world.causes(), [Cause::Unreached]);
    assert_eq!(world.lamp, Lamp::Sorry, "the visitor is not left to guess");
    world.run(ms(3_000));
    // The next press reaches whoever else is there.
    world.browser("2near", true);
    world.press();
    world.run_until(CallState::Talking, ms(2_000));
    world.run(ms(60_000));
    assert_eq!(world.state(), CallState::Talking, "the one who was met has all the time");
}

#[test]
fn a_phone_without_a_way_gets_no_more_time_by_leaving_and_coming_back() {
    let mut world = World::up("-door");
    world.press();
    world.run(ms(1_000));
    for round in 0..3 {
        let id = format!("{round}nowhere");
        world.browser(&id, true);
        world.browsers.get_mut(&id).expect("it is there").in_a_hole = true;
        world.run(ms(1_000));
        world.page(&id, PageMessage::Answer(None));
        world.run(ms(8_000));
        world.browser_leaves(&id);
        world.run(ms(500));
    }
    assert_eq!(world.causes(), [Cause::Unreached]);
    assert_eq!(world.lamp, Lamp::Sorry);
}

#[test]
fn whoever_takes_a_call_over_that_nobody_was_met_in_has_all_the_time() {
    let mut world = World::up("-door");
    world.browser("1nowhere", true);
    world.browsers.get_mut("1nowhere").expect("it is there").in_a_hole = true;
    world.browser("2late", false);
    world.browsers.get_mut("2late").expect("it is there").in_a_hole = true;
    world.press();
    world.run(ms(1_000));
    world.page("1nowhere", PageMessage::Answer(None));
    world.run(ms(20_000));
    let call = world.call();
    world.page("2late", PageMessage::Take(call));
    world.run(ms(10_000));
    assert_eq!(world.state(), CallState::Talking, "25 s after the first answer");
    world.mend("2late");
    world.run(ms(14_000));
    assert_eq!(world.state(), CallState::Talking);
    assert!(world.connected("2late"));
}

#[test]
fn nobody_answers_and_everything_is_free_again() {
    let mut world = World::up("-door");
    world.browser("1viewer", false);
    world.press();
    world.run(ms(59_000));
    assert_eq!(world.state(), CallState::Ringing);
    world.run(ms(5_000));
    assert_eq!(world.causes(), [Cause::NoAnswer]);
    assert_eq!(world.lamp, Lamp::Sorry);
    world.assert_everything_is_free();
}

#[test]
fn a_press_while_ringing_rings_again_and_starts_the_wait_anew() {
    let mut world = World::up("-door");
    world.press();
    world.run(ms(50_000));
    world.press();
    assert_eq!(world.chimes, 2);
    world.run(ms(50_000));
    assert_eq!(world.state(), CallState::Ringing);
    world.run(ms(12_000));
    assert_eq!(world.causes(), [Cause::NoAnswer]);
}

#[test]
fn a_press_while_joining_or_talking_changes_nothing() {
    let mut world = World::up("-door");
    world.browser("1phone", true);
    world.press();
    world.press();
    world.run_until(CallState::Talking, ms(2_000));
    world.press();
    assert_eq!(world.state(), CallState::Talking);
    let ignored = |command: &&Command| matches!(command, Command::Report(Report::PressIgnored(_)));
    assert_eq!(world.transcript.iter().filter(ignored).count(), 2);
}

#[test]
fn a_press_while_talking_ends_the_call_if_the_owner_wants_that() {
    let rules = Rules { press_ends_call: true, ..Rules::default() };
    let mut world = World::with(rules, &[SERVICE], 1);
    world.uplink_up(SERVICE, "-door");
    world.browser("1phone", true);
    world.press();
    world.run_until(CallState::Talking, ms(2_000));
    world.press();
    world.run(ms(3_000));
    assert_eq!(world.causes(), [Cause::Visitor]);
    world.assert_everything_is_free();
}

#[test]
fn hanging_up_ends_the_call_and_says_so() {
    let mut world = talking();
    world.page("1phone", PageMessage::Hangup(None));
    world.run(ms(1_000));
    assert_eq!(world.causes(), [Cause::HungUp]);
    world.assert_everything_is_free();
}

#[test]
fn hanging_up_at_the_door_tells_the_phones_before_leaving() {
    let mut world = talking();
    world.input(Input::Hangup);
    let told = world.transcript.iter().position(|command| {
        matches!(command, Command::Uplink(_, intercomd::intercom::UplinkCommand::Send { what:
            intercomd::intercom::Outgoing::Notice(notice), .. }) if notice.stage == Stage::Ended(Cause::Control))
    });
    let left = world.transcript.iter().position(|command| {
        matches!(command, Command::Uplink(_, intercomd::intercom::UplinkCommand::Leave))
    });
    assert!(told.expect("the phone is told") < left.expect("the channel is left"));
    world.run(ms(1_000));
    world.assert_everything_is_free();
}

#[test]
fn a_declined_ring_goes_on_for_the_others_and_ends_when_all_declined() {
    let mut world = World::up("-door");
    world.browser("1a", false);
    world.browser("2b", false);
    world.press();
    world.run(ms(2_000));
    world.page("1a", PageMessage::Hangup(None));
    world.run(ms(500));
    assert_eq!(world.state(), CallState::Ringing);
    world.page("2b", PageMessage::Hangup(None));
    world.run(ms(1_000));
    assert_eq!(world.causes(), [Cause::Declined]);
    world.assert_everything_is_free();
}

#[test]
fn a_hang_up_of_a_second_talker_leaves_the_first_one_talking() {
    let mut world = talking();
    world.browser("2phone", true);
    world.run(ms(2_000));
    assert_eq!(world.shown.as_ref().map(|link| link.peer.id.as_str()), Some("1phone"));
    world.page("2phone", PageMessage::Hangup(None));
    world.run(ms(1_000));
    assert_eq!(world.state(), CallState::Talking);
}

#[test]
fn the_second_talker_is_shown_when_the_first_leaves() {
    let mut world = talking();
    world.browser("2phone", true);
    world.run(ms(2_000));
    world.browser_leaves("1phone");
    world.run(ms(5_000));
    assert_eq!(world.state(), CallState::Talking);
    assert_eq!(world.shown.as_ref().map(|link| link.peer.id.as_str()), Some("2phone"));
}

#[test]
fn the_door_waits_a_moment_for_the_last_talker_to_come_back() {
    let mut world = talking();
    world.browser_leaves("1phone");
    world.run(ms(2_000));
    assert_eq!(world.state(), CallState::Talking);
    world.browser("9again", true);
    world.run(ms(10_000));
    assert_eq!(world.state(), CallState::Talking);
    world.browser_leaves("9again");
    // 5 s until its media is known to have ended, then `linger`.
    world.run(ms(16_000));
    assert_eq!(world.causes(), [Cause::PeerGone]);
    world.assert_everything_is_free();
}

#[test]
fn the_longest_talk_ends_by_itself() {
    let mut world = talking();
    world.run(ms(600_000));
    assert_eq!(world.causes(), [Cause::TooLong]);
    world.run(ms(3_000));
    world.assert_everything_is_free();
}

#[test]
fn with_no_uplink_the_visitor_is_told_after_the_join_time() {
    let mut world = World::new(&[SERVICE]);
    world.press();
    world.run(ms(10_000));
    assert_eq!(world.causes(), [Cause::CannotJoin]);
    assert_eq!(world.lamp, Lamp::Sorry);
    world.run(ms(3_000));
    world.assert_everything_is_free();
}

#[test]
fn the_line_that_comes_up_while_joining_carries_the_call() {
    let mut world = World::new(&[SERVICE]);
    world.browser("1phone", true);
    world.press();
    world.run(ms(8_000));
    world.uplink_up(SERVICE, "-door");
    world.run_until(CallState::Talking, ms(3_000));
}

#[test]
fn phones_on_both_uplinks_see_the_same_visitor() {
    let mut world = World::new(&[SERVICE, LAN]);
    world.uplink_up(SERVICE, "5door");
    world.uplink_up(LAN, "-door");
    world.browser_on(SERVICE, "1away", false);
    world.browser_on(LAN, "1home", false);
    world.press();
    world.run(ms(3_000));
    assert!(world.connected("1away") && world.connected("1home"));
    assert_eq!(world.peers().len(), 2);
}

#[test]
fn a_dead_uplink_does_not_keep_the_other_from_ringing_or_ending() {
    let mut world = World::new(&[SERVICE, LAN]);
    world.uplink_up(LAN, "-door");
    world.browser_on(LAN, "1home", true);
    world.press();
    world.run_until(CallState::Talking, ms(2_000));
    world.page("1home", PageMessage::Hangup(None));
    world.run(ms(1_000));
    world.assert_everything_is_free();
}

#[test]
fn a_press_while_ending_begins_the_next_call() {
    let mut world = talking();
    world.input(Input::Hangup);
    assert_eq!(world.state(), CallState::Ending);
    world.press();
    world.run_until(CallState::Talking, ms(5_000));
    assert_eq!(world.heart.snapshot().call.map(|(id, _)| id.to_string()).as_deref(), Some("c-2"));
}

#[test]
fn a_link_that_never_reports_closed_does_not_hold_up_the_end() {
    let mut world = World::new(&[SERVICE]);
    world.uplink_up(SERVICE, "-door");
    world.press();
    world.run(ms(100));
    // The channel's `Left` is lost with its socket.
    world.heart.handle(world.now, Input::Hangup);
    while world.heart.poll_command().is_some() {}
    world.run(ms(2_100));
    assert_eq!(world.state(), CallState::Idle);
}

#[test]
fn stopping_the_daemon_ends_the_call_and_a_waiting_press_is_dropped() {
    let mut world = talking();
    world.input(Input::Hangup);
    world.press();
    world.input(Input::Shutdown);
    world.run(ms(3_000));
    world.assert_everything_is_free();
}

#[test]
fn news_of_a_call_that_is_over_changes_nothing() {
    let mut world = World::up("-door");
    for event in [
        UplinkEvent::Joined,
        UplinkEvent::Snapshot(vec!["1x".into()]),
        UplinkEvent::Came("1x".into()),
        UplinkEvent::Gone("1x".into()),
        UplinkEvent::JoinRefused,
        UplinkEvent::Undelivered { to: "1x".into(), absent: false },
    ] {
        world.input(Input::Uplink(SERVICE, event));
    }
    world.assert_everything_is_free();
    assert_eq!(world.heart.snapshot().counters.ignored, 5);
}

#[test]
fn twenty_calls_in_a_row_leave_nothing_behind() {
    let mut world = World::up("-door");
    world.browser("1phone", true);
    for call in 1..=20 {
        world.press();
        world.run_until(CallState::Talking, ms(3_000));
        world.page("1phone", PageMessage::Hangup(None));
        world.run_until(CallState::Idle, ms(3_000));
        world.run(ms(30_000));
        world.assert_everything_is_free();
        assert_eq!(world.causes().len(), call);
    }
}
