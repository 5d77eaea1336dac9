//! Where the time of a call goes, as the heart tells it.

use std::time::Duration;

use intercomd::intercom::{CallState, Input, LinkEvent, LinkId, Milestone, PageMessage};

use crate::world::{SERVICE, World, ms};

/// The link comes so far now; it is told a moment later.
fn link_reaches(world: &mut World, link: &LinkId, what: Milestone) {
    let at = world.now;
    world.run(ms(7));
    world.input(Input::Link(link.clone(), LinkEvent::Reached(what, at)));
}

fn stages(world: &World, phone: &str) -> Vec<Milestone> {
    world.milestones(Some(phone)).into_iter().map(|(what, _)| what).collect()
}

#[test]
fn every_stage_of_a_call_is_told_with_its_time_since_the_press() {
    let mut world = World::up("-door");
    world.browser("1a", false);
    world.run(ms(30_000));
    let pressed = world.now;
    world.press();
    world.run(ms(1_000));
    let link = world.link_to("1a");
    let mut reached = Vec::new();
    for stage in [Milestone::Ice, Milestone::Dtls, Milestone::Rtp, Milestone::Keyframe] {
        reached.push((stage, world.now - pressed));
        link_reaches(&mut world, &link, stage);
    }
    let call = world.call();
    reached.push((Milestone::Shown, world.now - pressed));
    world.page("1a", PageMessage::Seen(call, ms(900)));
    world.run(ms(100));

    assert_eq!(
        world.milestones(None),
        [(Milestone::Entered, ms(20))],
        "as long as joining takes here"
    );
    let told = world.milestones(Some("1a"));
    assert_eq!(told[0].0, Milestone::Described);
    assert!(told[0].1 > ms(20) && told[0].1 < ms(500), "the polite side offers at once: {told:?}");
    assert_eq!(told[1].0, Milestone::Ice);
    assert_eq!(told[1..5], reached[..4], "when it happened, not when it was told");
    assert_eq!(told[5].0, Milestone::Shown);
    assert!(told[5].1 >= reached[4].1 && told[5].1 < reached[4].1 + ms(50));
}

#[test]
fn each_stage_is_told_once_for_each_phone_however_often_its_link_is_repaired() {
    let mut world = World::up("-door");
    world.browser("1a", false);
    world.browser("2b", false);
    world.press();
    world.run(ms(1_000));
    for phone in ["1a", "2b", "1a"] {
        let link = world.link_to(phone);
        link_reaches(&mut world, &link, Milestone::Ice);
    }
    assert_eq!(stages(&world, "1a"), [Milestone::Described, Milestone::Ice]);
    assert_eq!(stages(&world, "2b"), [Milestone::Described, Milestone::Ice]);
}

#[test]
fn what_a_link_that_is_no_more_had_reached_is_not_told() {
    let mut world = World::up("-door");
    world.browser("1a", false);
    world.press();
    world.run(ms(1_000));
    let link = world.link_to("1a");
    let old = LinkId { generation: link.generation + 1, ..link.clone() };
    link_reaches(&mut world, &old, Milestone::Ice);
    assert_eq!(stages(&world, "1a"), [Milestone::Described]);
    world.input(Input::Hangup);
    link_reaches(&mut world, &link, Milestone::Ice);
    assert_eq!(stages(&world, "1a"), [Milestone::Described], "the call is over");
}

#[test]
fn the_next_call_counts_from_its_own_press() {
    let mut world = World::up("-door");
    world.browser("1a", false);
    for _ in 0..2 {
        world.press();
        world.run(ms(5_000));
        world.input(Input::Hangup);
        world.run_until(CallState::Idle, ms(3_000));
    }
    assert_eq!(world.milestones(None), [(Milestone::Entered, ms(20)); 2]);
    let described = world.milestones(Some("1a"));
    assert_eq!(described.len(), 2);
    assert!(
        described.iter().all(|(_, after)| *after < Duration::from_millis(500)),
        "{described:?}"
    );
}

#[test]
fn a_door_that_gets_into_no_channel_reaches_nothing() {
    let mut world = World::new(&[SERVICE]);
    world.press();
    world.run(ms(12_000));
    assert_eq!(world.milestones(None), []);
}
