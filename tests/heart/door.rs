//! The door release, the lamp between calls, and what a press must do first.

use intercomd::intercom::{
    CallState, Command, DoorState, Input, Intercom, LINE_PATIENCE, Lamp, NetworkChange, Part,
    Refusal, Report, Rules,
};

use crate::world::{CONTROL, LAN, RELEASE, SERVICE, World, ms};

fn faults(world: &World) -> Vec<Part> {
    world.heart.snapshot().faults
}

#[test]
fn whoever_may_open_opens_once_for_its_time_and_the_next_has_to_wait() {
    let mut world = World::up("-door");
    assert_eq!(world.unlock(None), Ok(RELEASE.pulse));
    assert_eq!(world.heart.snapshot().door, DoorState::Open);
    assert_eq!(world.unlock(Some(ms(10_000))), Err(Refusal::Open));
    world.run(ms(3_000));
    assert_eq!(world.heart.snapshot().door, DoorState::LockedOut);
    assert_eq!(world.unlock(None), Err(Refusal::LockedOut));
    world.run(ms(2_000));
    assert_eq!(world.heart.snapshot().door, DoorState::Locked);
    assert_eq!(world.unlock(Some(ms(500))), Ok(ms(500)));
    let counters = world.heart.snapshot().counters;
    assert_eq!((counters.openings, counters.refusals), (2, 2));
    let told = |command: &&Command| {
        matches!(
            command,
            Command::Report(
                Report::Opened { by: CONTROL, .. } | Report::OpenRefused { by: CONTROL, .. }
            )
        )
    };
    assert_eq!(world.transcript.iter().filter(told).count(), 4);
}

#[test]
fn nothing_but_a_request_opens_whatever_happens_around_it() {
    let mut world = World::up("-door");
    world.browser("1phone", true);
    world.press();
    world.run_until(CallState::Talking, ms(2_000));
    world.press();
    world.input(Input::LongPress);
    world.uplink_down(SERVICE);
    world.uplink_up(SERVICE, "5door");
    world.input(Input::Network(NetworkChange::default()));
    world.browser_leaves("1phone");
    world.run(ms(60_000));
    world.input(Input::Shutdown);
    world.run(ms(5_000));
    assert_eq!(world.relay.pulses, []);
    assert_eq!(world.unlock(None), Err(Refusal::Stopping));
}

#[test]
fn a_pulse_outlives_a_lost_line_and_is_not_repeated_by_its_return() {
    let mut world = World::up("-door");
    assert_eq!(world.unlock(None), Ok(RELEASE.pulse));
    world.uplink_down(SERVICE);
    world.run(ms(1_000));
    world.uplink_up(SERVICE, "-door");
    world.run(ms(60_000));
    assert_eq!(world.relay.pulses.len(), 1);
}

#[test]
fn a_door_without_a_relay_says_so() {
    let now = std::time::Instant::now();
    let mut heart = Intercom::new(Rules::default(), "c", &[SERVICE]);
    assert_eq!(heart.unlock(now, CONTROL, None), Err(Refusal::NotWired));
    assert_eq!(heart.snapshot().door, DoorState::NotWired);
    while let Some(command) = heart.poll_command() {
        assert!(!matches!(command, Command::Release(_)), "{command:?}");
    }
}

#[test]
fn the_chime_is_the_first_thing_a_press_brings_line_or_no_line() {
    let mut world = World::new(&[SERVICE]);
    for press in 1..=2 {
        if press == 2 {
            // Rung once, and pressed again during the ring.
            world.uplink_up(SERVICE, "-door");
            world.run_until(CallState::Ringing, ms(1_000));
        }
        let before = world.transcript.len();
        world.press();
        assert_eq!(world.transcript.get(before), Some(&Command::Chime), "press {press}");
    }
}

#[test]
fn the_lamp_says_sorry_for_a_while_and_rests_again() {
    let mut world = World::up("-door");
    world.press();
    world.run(ms(61_000));
    assert_eq!(world.lamp, Lamp::Sorry);
    world.run(ms(8_000));
    assert_eq!((world.lamp, world.state()), (Lamp::Idle, CallState::Idle));
    assert!(world.heart.poll_timeout().is_none());
}

#[test]
fn a_line_that_stays_down_becomes_a_fault_once_and_its_return_ends_it() {
    let mut world = World::new(&[SERVICE, LAN]);
    world.heart.watch_lines(&[SERVICE, LAN]);
    world.input(Input::Wakeup);
    world.uplink_up(LAN, "-door");
    world.run(LINE_PATIENCE - ms(1));
    assert_eq!((faults(&world), world.lamp), (vec![], Lamp::Idle));
    world.run(ms(2));
    assert_eq!((faults(&world), world.lamp), (vec![Part::Line(SERVICE)], Lamp::Fault));
    assert!(world.heart.poll_timeout().is_none(), "a fault that is told is not waited for");

    world.uplink_up(SERVICE, "5door");
    assert_eq!((faults(&world), world.lamp), (vec![], Lamp::Idle));
    // A router that starts again is no fault.
    world.uplink_down(SERVICE);
    world.run(LINE_PATIENCE - ms(1));
    world.uplink_up(SERVICE, "5door");
    world.run(LINE_PATIENCE * 2);
    assert_eq!(faults(&world), []);
    assert_eq!(world.heart.snapshot().counters.line_faults, 1);
}

#[test]
fn a_fault_shows_between_calls_and_a_call_shows_itself() {
    let mut world = World::up("-door");
    world.browser("1phone", true);
    world.input(Input::Broken(Part::Button));
    world.input(Input::Broken(Part::Button));
    world.input(Input::Broken(Part::Camera));
    assert_eq!(world.lamp, Lamp::Fault);
    assert_eq!(faults(&world), [Part::Camera, Part::Button]);
    let counters = world.heart.snapshot().counters;
    assert_eq!((counters.button_faults, counters.camera_faults), (1, 1));

    world.press();
    assert_eq!(world.lamp, Lamp::Calling);
    world.run_until(CallState::Talking, ms(2_000));
    assert_eq!(world.lamp, Lamp::Talking);
    world.input(Input::Mended(Part::Camera));
    world.input(Input::Hangup);
    world.run(ms(1_000));
    assert_eq!(world.lamp, Lamp::Fault);
    world.input(Input::Mended(Part::Button));
    assert_eq!((world.lamp, faults(&world)), (Lamp::Idle, vec![]));
}

#[test]
fn a_long_press_is_told_and_counted_and_changes_nothing_else() {
    let mut world = World::up("-door");
    world.press();
    world.run_until(CallState::Ringing, ms(1_000));
    let before = world.transcript.len();
    world.input(Input::LongPress);
    assert_eq!(world.transcript[before..], [Command::Report(Report::LongPress)]);
    assert_eq!(world.heart.snapshot().counters.long_presses, 1);
}
