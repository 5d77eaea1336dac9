//! Both sides offer at once, in both roles: nothing sticks, and no browser is made to roll back.

use intercomd::intercom::{CallState, PageMessage, Rules};

use crate::world::{SERVICE, World, ms};

fn presses(door: &str, browser: &str, press_first: bool) {
    for seed in 1..=50 {
        let mut world = World::with(Rules::default(), &[SERVICE], seed);
        world.uplink_up(SERVICE, door);
        if press_first {
            world.press();
            world.run(ms(seed * 7));
            world.browser(browser, true);
        } else {
            world.browser(browser, true);
            world.press();
        }
        world.run_until(CallState::Talking, ms(4_000));
        world.run(ms(2_000));
        assert!(world.connected(browser), "seed {seed}: the picture stays");
        assert_eq!(world.browsers[browser].rollbacks, 0, "seed {seed}: no browser rolls back");
        assert_eq!(world.open_links(), 1, "seed {seed}");
    }
}

#[test]
fn a_polite_door_connects_fifty_of_fifty_presses() {
    presses("-door", "7phone", false);
}

#[test]
fn an_impolite_door_connects_fifty_of_fifty_presses() {
    presses("zdoor", "7phone", false);
}

#[test]
fn a_polite_door_that_rings_first_connects_fifty_of_fifty() {
    presses("-door", "7phone", true);
}

#[test]
fn an_impolite_door_that_rings_first_connects_fifty_of_fifty() {
    presses("zdoor", "7phone", true);
}

#[test]
fn a_polite_door_does_not_keep_a_silent_viewer_waiting() {
    let mut world = World::up("-door");
    world.browser("7viewer", false);
    world.press();
    world.run(ms(400));
    assert!(world.connected("7viewer"));
}

#[test]
fn an_impolite_door_does_not_keep_a_page_waiting_that_says_it_rings() {
    let mut world = World::up("zdoor");
    world.browser("7viewer", false);
    world.press();
    world.run(ms(100));
    let call = world.call();
    world.page("7viewer", PageMessage::Ringing(call));
    world.run(ms(300));
    assert!(world.connected("7viewer"));
    assert_eq!(world.browsers["7viewer"].rollbacks, 0);
}

#[test]
fn an_impolite_door_offers_to_a_silent_viewer_after_its_deference() {
    let mut world = World::up("zdoor");
    world.browser("7viewer", false);
    world.press();
    world.run(ms(400));
    assert_eq!(world.browsers["7viewer"].offers_seen, 0);
    world.run(ms(600));
    assert!(world.connected("7viewer"));
}

#[test]
fn many_phones_arriving_together_are_all_connected() {
    for door in ["-door", "zdoor"] {
        let mut world = World::up(door);
        for number in 0..6 {
            world.browser(&format!("{number}phone"), number % 2 == 0);
        }
        world.press();
        world.run(ms(5_000));
        for number in 0..6 {
            assert!(world.connected(&format!("{number}phone")), "{door}: phone {number}");
        }
        assert!(world.browsers.values().all(|browser| browser.rollbacks == 0));
    }
}
