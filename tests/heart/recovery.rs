//! Links and uplinks that fail and come back.

use intercomd::intercom::{
    CallState, Cause, Command, Description, DescriptionKind, Health, Input, Lamp, LinkEvent,
    NetworkChange, PageId, PageMessage, Path, Report, Rules, Signal, Stage, UplinkEvent, UplinkId,
    VideoMode, Why,
};

use crate::world::{Fault, Mishap, SERVICE, World, ms};

fn talking(door: &str) -> World {
    let mut world = World::up(door);
    world.browser("7phone", true);
    world.press();
    world.run_until(CallState::Talking, ms(2_000));
    world
}

#[test]
fn a_dead_network_is_repaired_by_an_ice_restart_of_ours() {
    for door in ["-door", "zdoor"] {
        let mut world = talking(door);
        world.cut("7phone");
        world.run(ms(6_000));
        assert_eq!(world.lamp, Lamp::Reconnecting);
        assert_eq!(world.state(), CallState::Talking);
        world.run(ms(10_000));
        assert_eq!(world.restarts, 1, "{door}");
        assert!(world.connected("7phone"), "{door}");
        assert_eq!(world.lamp, Lamp::Talking);
    }
}

#[test]
fn an_sdk_that_rebuilt_its_connection_is_answered_at_once() {
    for door in ["-door", "zdoor"] {
        let mut world = talking(door);
        world.browser_swaps_connection("7phone");
        world.run(ms(1_000));
        assert!(world.connected("7phone"), "{door}");
        assert_eq!(world.state(), CallState::Talking);
        assert_eq!(world.open_links(), 1);
    }
}

#[test]
fn who_hangs_up_while_the_line_is_away_is_not_kept_for_media_that_have_ended() {
    let mut world = talking("-door");
    world.line_goes(SERVICE);
    world.run(ms(500));
    world.link_ends("7phone");
    world.run(ms(500));
    assert!(!world.connected("7phone"));
    assert_eq!(world.lamp, Lamp::Reconnecting);
    world.browsers.get_mut("7phone").expect("just made").in_channel = false;
    world.line_returns(SERVICE, "-door");
    // The rule lets a call whose last phone is gone linger for a while.
    world.run(ms(12_000));
    assert_ne!(world.state(), CallState::Talking, "nobody is there any more");
}

#[test]
fn keys_that_no_restart_brings_back_are_made_anew_within_half_a_minute() {
    for door in ["-door", "zdoor"] {
        let mut world = talking(door);
        world.keys_lost("7phone");
        world.run(ms(5_000 + 10_000 + 3 * 5_000 + 1_000));
        assert!(world.connected("7phone"), "{door}");
        assert_eq!(world.state(), CallState::Talking);
    }
}

#[test]
fn a_lost_answer_is_made_up_for() {
    for door in ["-door", "zdoor"] {
        let mut world = World::up(door);
        world.browser("7viewer", false);
        world.browsers.get_mut("7viewer").expect("just made").mute = true;
        world.press();
        world.run(ms(3_000));
        world.browsers.get_mut("7viewer").expect("just made").mute = false;
        world.run(ms(8_000));
        assert!(world.connected("7viewer"), "{door}");
    }
}

#[test]
fn an_offer_of_the_phones_that_was_lost_ends_in_leave_and_join() {
    // An impolite SDK whose offer was lost ignores every offer of ours for good (protocol.md 5.7).
    let mut rejoins = 0;
    for seed in 1..=50 {
        let mut world = World::with(Rules::default(), &[SERVICE], seed);
        world.uplink_up(SERVICE, "-door");
        world.browser("7phone", true);
        world.browsers.get_mut("7phone").expect("just made").mute = true;
        world.press();
        world.run(ms(1_000));
        world.browsers.get_mut("7phone").expect("just made").mute = false;
        world.run_until(CallState::Talking, ms(45_000));
        rejoins += world.heart.snapshot().counters.rejoins;
    }
    // Where our offer was first, the phone takes the next one; where its own was, only this helps.
    assert!((1..50).contains(&rejoins), "{rejoins} leave-and-joins");
}

#[test]
fn a_stuck_browser_is_cured_by_leave_and_join() {
    let mut world = World::up("-door");
    world.browser("7viewer", false);
    world.browsers.get_mut("7viewer").expect("just made").stuck = true;
    world.press();
    world.run(ms(6_000));
    assert_eq!(world.heart.snapshot().counters.rejoins, 1);
    assert!(world.connected("7viewer"));
    assert_eq!(world.state(), CallState::Ringing);
}

#[test]
fn leave_and_join_spares_a_phone_that_works() {
    let mut world = World::up("-door");
    world.browser("1good", false);
    world.press();
    world.run(ms(2_000));
    world.browser("7stuck", false);
    world.browsers.get_mut("7stuck").expect("just made").stuck = true;
    world.run(ms(10_000));
    assert_eq!(world.heart.snapshot().counters.rejoins, 0);
    assert_eq!(world.heart.snapshot().counters.given_up, 1);
    assert!(world.connected("1good"));
}

#[test]
fn an_uplink_that_drops_while_ringing_rings_on_when_it_returns() {
    let mut world = World::up("-door");
    world.browser("7viewer", false);
    world.press();
    world.run(ms(2_000));
    world.uplink_down(SERVICE);
    world.run(ms(5_000));
    assert_eq!(world.state(), CallState::Ringing);
    assert_eq!(world.chimes, 1);
    world.uplink_up(SERVICE, "-door2");
    world.run(ms(3_000));
    assert!(world.connected("7viewer"));
    assert_eq!(world.state(), CallState::Ringing);
    assert_eq!(world.chimes, 1, "a reconnect never rings");
}

#[test]
fn an_uplink_that_drops_while_talking_brings_the_same_talk_back() {
    for (before, after) in [("-door", "-door"), ("-door", "zdoor"), ("zdoor", "-door")] {
        let mut world = talking(before);
        world.uplink_down(SERVICE);
        world.run(ms(10_000));
        assert_eq!(world.state(), CallState::Talking);
        world.uplink_up(SERVICE, after);
        world.run(ms(8_000));
        assert_eq!(world.state(), CallState::Talking);
        assert!(world.connected("7phone"), "{before} to {after}");
        assert_eq!(world.open_links(), 1);
        assert!(world.causes().is_empty());
    }
}

#[test]
fn a_phone_that_went_while_the_uplink_was_down_is_let_go() {
    let mut world = talking("-door");
    world.uplink_down(SERVICE);
    world.browser_leaves("7phone");
    world.run(ms(1_000));
    world.uplink_up(SERVICE, "-door2");
    // Only the end of its media tells that it left.
    world.run(ms(20_000));
    assert_eq!(world.causes(), [Cause::PeerGone]);
    world.assert_everything_is_free();
}

#[test]
fn a_talk_outlives_an_outage_of_the_service_for_both_sides() {
    for back in ["-door", "-door2", "zdoor"] {
        let mut world = talking("-door");
        world.line_goes(SERVICE);
        world.browsers.get_mut("7phone").expect("just made").in_channel = false;
        world.run(ms(15_000));
        // The phone's pause between two attempts is longer than the door's.
        world.uplink_up(SERVICE, back);
        world.run(ms(45_000));
        assert!(world.connected("7phone"), "{back}: its media goes on");
        assert_eq!(world.state(), CallState::Talking, "{back}");
        // Its SDK sees a door it does not know, and drops the old connection.
        world.cut("7phone");
        world.browser("8phone", true);
        world.run(ms(8_000));
        assert!(world.connected("8phone"), "{back}");
        assert_eq!(world.state(), CallState::Talking, "{back}");
        assert_eq!(world.open_links(), 1, "{back}");
        assert!(world.causes().is_empty(), "{back}");
    }
}

#[test]
fn a_phone_whose_socket_breaks_again_and_again_keeps_its_talk() {
    let mut world = talking("-door");
    let mut last = "7phone".to_owned();
    for drop in 0..30 {
        // Its SDK closes the link, and has no time for another.
        world.browser_leaves(&last);
        world.run(ms(600));
        last = format!("8phone{drop}");
        world.browser(&last, false);
        world.run(ms(300));
    }
    assert_eq!(world.state(), CallState::Talking);
    world.browser_leaves(&last);
    world.browser("9phone", true);
    world.run(ms(8_000));
    assert!(world.connected("9phone"));
    assert_eq!(world.state(), CallState::Talking);
    assert!(world.causes().is_empty());
    world.browser_leaves("9phone");
    world.run(ms(20_000));
    assert_eq!(world.causes(), [Cause::PeerGone], "it is not waited for without end");
}

#[test]
fn six_phones_that_come_back_after_an_outage_find_room_at_once() {
    let mut world = World::up("-door");
    for n in 0..6 {
        world.browser(&format!("{n}old"), true);
    }
    world.press();
    world.run_until(CallState::Talking, ms(2_000));
    world.run(ms(2_000));
    world.line_goes(SERVICE);
    for browser in world.browsers.values_mut() {
        browser.in_channel = false;
    }
    world.uplink_up(SERVICE, "-door2");
    world.run(ms(1_000));
    for n in 0..6 {
        world.browser(&format!("{n}new"), true);
    }
    world.run(ms(3_000));
    for n in 0..6 {
        assert!(world.connected(&format!("{n}new")), "{n}");
        world.cut(&format!("{n}old"));
    }
    world.run(ms(8_000));
    assert_eq!(world.open_links(), 6);
    assert_eq!(world.state(), CallState::Talking);
}

#[test]
fn a_talker_that_answers_nothing_after_the_door_came_back_is_waited_for_a_minute() {
    for back in ["-door", "-door2", "zdoor"] {
        let mut world = talking("-door");
        world.uplink_down(SERVICE);
        world.run(ms(2_000));
        world.freeze("7phone");
        world.uplink_up(SERVICE, back);
        world.run(ms(60_000));
        assert_eq!(world.state(), CallState::Talking, "{back}");
        world.thaw("7phone");
        world.run(ms(16_000));
        assert!(world.connected("7phone"), "{back}");
        assert_eq!(world.state(), CallState::Talking, "{back}");
    }
}

#[test]
fn a_phone_that_vanished_for_good_is_given_up_and_the_call_ends() {
    let mut world = talking("-door");
    world.browsers.get_mut("7phone").expect("just made").mute = true;
    world.cut("7phone");
    world.run(ms(200_000));
    assert_eq!(world.causes(), [Cause::PeerGone]);
    world.assert_everything_is_free();
}

#[test]
fn a_phone_in_a_hole_is_back_within_seconds_of_its_end() {
    for door in ["-door", "zdoor"] {
        for seconds in [3, 10, 30, 60, 90, 120] {
            let mut world = talking(door);
            world.hole("7phone");
            world.run(ms(seconds * 1_000));
            assert_eq!(world.state(), CallState::Talking, "{door}, {seconds} s");
            world.mend("7phone");
            world.run(ms(5_000));
            assert!(world.connected("7phone"), "{door}, {seconds} s");
            assert_eq!(world.state(), CallState::Talking);
            assert_eq!(world.lamp, Lamp::Talking);
            assert_eq!(world.open_links(), 1);
            assert_eq!(world.chimes, 1);
        }
    }
}

#[test]
fn a_phone_that_slept_is_reached_when_it_wakes() {
    for door in ["-door", "zdoor"] {
        for seconds in [4, 12, 20, 40, 80] {
            let mut world = talking(door);
            world.freeze("7phone");
            world.run(ms(seconds * 1_000));
            world.thaw("7phone");
            world.run(ms(10_000));
            assert!(world.connected("7phone"), "{door}, {seconds} s");
            assert_eq!(world.state(), CallState::Talking);
        }
    }
}

#[test]
fn no_single_frame_decides_about_a_call() {
    for door in ["-door", "zdoor"] {
        for mishap in [Mishap::Lost, Mishap::Twice, Mishap::Late] {
            for (to_browser, number) in (0..14).flat_map(|n| [(true, n), (false, n)]) {
                for media in [true, false] {
                    let mut world = World::up(door);
                    world.fault = Some(Fault { to_browser, number, mishap });
                    world.browser("7phone", media);
                    world.press();
                    world.run(ms(30_000));
                    let what = format!("{door}, {:?}, media {media}", world.fault);
                    assert!(world.connected("7phone"), "{what}");
                    let state = if media { CallState::Talking } else { CallState::Ringing };
                    assert_eq!(world.state(), state, "{what}");
                    assert_eq!(world.open_links(), 1, "{what}");
                    assert_eq!(world.heart.snapshot().counters.given_up, 0, "{what}");
                }
            }
        }
    }
}

#[test]
fn fifty_drops_of_the_uplink_end_in_the_same_call() {
    for door in ["-door", "zdoor"] {
        let mut world = talking(door);
        for drop in 0..50u64 {
            world.uplink_down(SERVICE);
            world.run(ms(drop * 37 % 900));
            world.uplink_up(SERVICE, &format!("{door}{drop}"));
            world.run(ms(drop * 53 % 1_100));
        }
        world.run(ms(5_000));
        assert!(world.connected("7phone"), "{door}");
        assert_eq!(world.state(), CallState::Talking);
        assert_eq!((world.open_links(), world.chimes), (1, 1));
        assert!(world.causes().is_empty());
    }
}

#[test]
fn nothing_is_tried_while_the_uplink_is_away() {
    let mut world = talking("-door");
    world.hole("7phone");
    world.uplink_down(SERVICE);
    // The peer stays in the world's channel, but our connection to it is gone with the door's leaving.
    world.run(ms(60_000));
    assert_eq!(world.restarts, 0);
    assert_eq!(world.heart.snapshot().counters.rebuilds, 0);
    world.mend("7phone");
    world.uplink_up(SERVICE, "-door");
    world.run(ms(3_000));
    assert!(world.connected("7phone"));
    assert_eq!(world.state(), CallState::Talking);
}

#[test]
fn a_viewer_that_saw_the_door_leave_and_come_is_offered_a_link() {
    for door in ["-door", "zdoor"] {
        let mut world = World::up(door);
        world.browser("7viewer", false);
        world.press();
        world.run(ms(2_000));
        world.uplink_down(SERVICE);
        world.run(ms(500));
        // The same id again, before the old link is known to be dead.
        world.uplink_up(SERVICE, door);
        world.run(ms(3_000));
        assert!(world.connected("7viewer"), "{door}");
        assert_eq!(world.open_links(), 1);
    }
}

#[test]
fn a_lost_address_moves_the_link_at_once() {
    let old = "192.0.2.7".parse().expect("an address");
    let new = "198.51.100.7".parse().expect("an address");
    let path = |local| LinkEvent::Path(Path { local, relayed: local.is_none() });
    for (local, moves) in [(Some(old), true), (None, true), (Some(new), false)] {
        let mut world = talking("-door");
        let link = world.shown.clone().expect("somebody is shown");
        world.input(Input::Link(link, path(local)));
        world.input(Input::Network(NetworkChange { came: vec![new], gone: vec![old] }));
        world.run(ms(2_000));
        assert!(world.connected("7phone"));
        assert_eq!(world.restarts, u32::from(moves), "{local:?}");
    }
}

#[test]
fn a_new_address_is_tried_at_once_by_a_link_in_trouble() {
    let mut world = talking("-door");
    world.hole("7phone");
    world.run(ms(60_000));
    world.mend("7phone");
    let came = vec!["192.0.2.8".parse().expect("an address")];
    world.input(Input::Network(NetworkChange { came, gone: Vec::new() }));
    world.run(ms(1_000));
    assert!(world.connected("7phone"));
}

#[test]
fn new_credentials_reach_every_link_and_move_the_relayed_one() {
    let mut world = talking("-door");
    world.browser("8direct", false);
    world.run(ms(2_000));
    let link = world.shown.clone().expect("somebody is shown");
    world.input(Input::Link(link, LinkEvent::Path(Path { local: None, relayed: true })));
    world.input(Input::Uplink(SERVICE, UplinkEvent::ServersChanged));
    world.run(ms(2_000));
    assert_eq!((world.configured, world.restarts), (2, 1));
    assert!(world.connected("7phone") && world.connected("8direct"));
    assert_eq!(world.heart.snapshot().counters.rebuilds, 0);
}

#[test]
fn new_credentials_that_come_with_a_new_line_wait_until_it_is_known_who_we_are() {
    for own in ["-door", "-other"] {
        let mut world = talking("-door");
        let link = world.shown.clone().expect("somebody is shown");
        world.input(Input::Link(link, LinkEvent::Path(Path { local: None, relayed: true })));
        match own {
            "-door" => world.uplink_blinks(SERVICE, own),
            _ => {
                world.uplink_down(SERVICE);
                world.uplink_up(SERVICE, own);
            }
        }
        world.input(Input::Uplink(SERVICE, UplinkEvent::ServersChanged));
        world.run(ms(15));
        assert_eq!(world.restarts, 0, "{own}: we are not in the channel yet");
        world.run(ms(2_000));
        assert!(world.connected("7phone"));
        // Under a new id there is a new link, which has the new credentials from the start.
        assert_eq!(world.restarts, u32::from(own == "-door"), "{own}");
    }
}

#[test]
fn an_offer_that_the_phone_takes_back_while_we_answer_it_is_not_waited_for() {
    let mut world = World::up("zdoor");
    world.browser("7raw", false);
    world.browsers.get_mut("7raw").expect("just made").mute = true;
    world.press();
    world.run(ms(100));
    let description = |kind, version: u32, ufrag: &str| {
        let sdp = format!(
            "v=0\r\no=- 7 {version} IN IP4 127.0.0.1\r\nm=audio 9 X 111\r\na=ice-ufrag:{ufrag}\r\na=fingerprint:7raw\r\n"
        );
        Input::Uplink(
            SERVICE,
            UplinkEvent::Signal {
                from: "7raw".into(),
                signal: Signal::Description(Description { kind, sdp }),
            },
        )
    };
    // It made an offer, then saw one that a link of ours had sent before it was replaced, and answered that.
    world.input(description(DescriptionKind::Offer, 1, "taken.back"));
    world.input(description(DescriptionKind::Answer, 2, "stands"));
    world.run(ms(200));
    let rebuilt =
        |command: &Command| matches!(command, Command::Report(Report::Rebuilt(_, Why::Mismatched)));
    assert!(world.transcript.iter().any(rebuilt));
}

#[test]
fn a_ghost_is_let_go_within_twenty_seconds() {
    for door in ["-door", "zdoor"] {
        let mut world = World::up(door);
        world.browser("1ghost", false);
        world.browsers.get_mut("1ghost").expect("just made").mute = true;
        world.browser("7phone", false);
        world.press();
        world.run(ms(20_000));
        assert_eq!(world.open_links(), 1, "{door}");
        assert!(world.connected("7phone"));
        assert_eq!(world.heart.snapshot().counters.rejoins, 0, "{door}: nobody is disturbed");
    }
}

#[test]
fn a_page_that_comes_back_under_another_id_has_its_old_place() {
    let page = || PageMessage::Hello(PageId::new("page-of-anna").expect("a fitting name"), None);
    for lost_at_once in [true, false] {
        let mut world = talking("-door");
        world.page("7phone", page());
        world.browser("8bob", true);
        world.run(ms(3_000));
        assert_eq!(world.shown.as_ref().map(|link| link.peer.id.as_str()), Some("7phone"));
        if lost_at_once {
            world.browser_leaves("7phone");
            world.run(ms(700));
        }
        world.browser("3anna", true);
        world.run(ms(200));
        world.page("3anna", page());
        world.run(ms(1_500));
        assert_eq!(world.shown.as_ref().map(|link| link.peer.id.as_str()), Some("3anna"));
        assert!(world.connected("3anna"));
        assert!(!world.peers().iter().any(|peer| peer.id.as_str() == "7phone"));
        assert_eq!(world.state(), CallState::Talking);
    }
}

#[test]
fn a_phone_that_lost_its_signalling_is_seen_until_it_is_back() {
    let mut world = talking("-door");
    world.signalling_lost("7phone");
    world.run(ms(1_500));
    assert!(world.connected("7phone"), "its media goes on");
    assert!(world.shown.is_some());
    world.browser("3phone", true);
    world.run(ms(2_000));
    assert_eq!(world.shown.as_ref().map(|link| link.peer.id.as_str()), Some("3phone"));
    assert_eq!(world.state(), CallState::Talking);
    world.cut("7phone");
    world.run(ms(6_000));
    assert_eq!(world.open_links(), 1);
    assert!(world.causes().is_empty());
}

#[test]
fn the_seventh_phone_waits_for_its_turn() {
    let mut world = World::up("-door");
    for phone in 1..=7 {
        world.browser(&format!("{phone}phone"), phone == 7);
        world.run(ms(300));
    }
    world.press();
    world.run(ms(3_000));
    assert_eq!(world.open_links(), 6);
    assert!(!world.connected("7phone"));
    assert!(world.browsers["7phone"].told_full > 0);
    assert_eq!(world.state(), CallState::Ringing);
    world.browser_leaves("3phone");
    world.run(ms(20_000));
    assert!(world.connected("7phone"));
    assert_eq!(world.state(), CallState::Talking);
}

#[test]
fn a_phone_that_floods_is_turned_away_and_the_others_talk_on() {
    let mut world = talking("-door");
    world.browser("8loud", false);
    world.run(ms(2_000));
    let offer = Description { kind: DescriptionKind::Offer, sdp: "v=0\r\n".to_owned() };
    for _ in 0..2_000 {
        let signal = Signal::Description(offer.clone());
        world.input(Input::Uplink(SERVICE, UplinkEvent::Signal { from: "8loud".into(), signal }));
    }
    world.run(ms(1_000));
    assert!(!world.connected("8loud"));
    assert!(world.heart.snapshot().counters.rebuilds < 100);
    assert!(world.connected("7phone"));
    assert_eq!(world.state(), CallState::Talking);
    world.browser_leaves("8loud");
    world.run(ms(100));
    world.browser("8loud", false);
    world.run(ms(2_000));
    assert!(world.connected("8loud"), "who left and came is heard again");
}

#[test]
fn a_phone_is_told_how_much_of_the_picture_it_gets() {
    let mut world = talking("-door");
    let link = world.shown.clone().expect("somebody is shown");
    for mode in [VideoMode::Keyframes, VideoMode::Keyframes, VideoMode::Full] {
        world.input(Input::Link(link.clone(), LinkEvent::Video(mode)));
    }
    world.run(ms(100));
    assert_eq!(world.browsers["7phone"].video, [VideoMode::Keyframes, VideoMode::Full]);
}

#[test]
fn a_page_that_does_not_answer_an_offer_keeps_the_picture_that_flows() {
    for door in ["-door", "zdoor"] {
        let mut world = talking(door);
        let link = world.shown.clone();
        // Its socket is half open: it is listed, but hears and says nothing.
        world.browsers.get_mut("7phone").expect("just made").deaf = true;
        world.uplink_blinks(SERVICE, door);
        world.run(ms(20_000));
        assert!(world.connected("7phone"), "{door}");
        assert_eq!(world.shown, link, "{door}: the same link");
        assert_eq!(world.state(), CallState::Talking);
    }
}

#[test]
fn a_link_that_looks_for_a_way_in_vain_is_not_left_alone() {
    let mut world = talking("-door");
    let link = world.shown.clone().expect("somebody is shown");
    world.cut("7phone");
    world.input(Input::Link(link, LinkEvent::Health(Health::Connecting)));
    assert_eq!(world.lamp, Lamp::Reconnecting);
    world.run(ms(12_000));
    assert!(world.connected("7phone"));
    assert_eq!(world.lamp, Lamp::Talking);
}

#[test]
fn a_handshake_that_stalls_costs_its_own_patience_and_not_that_of_a_connection() {
    for door in ["-door", "zdoor"] {
        let mut world = World::up(door);
        world.browser("7phone", true);
        world.browsers.get_mut("7phone").expect("just made").stalled_handshakes = 1;
        world.press();
        world.run_until(CallState::Talking, ms(4_000));
        assert!(world.connected("7phone"), "{door}");
        assert_eq!(
            world.heart.snapshot().counters.rejoins,
            0,
            "{door}: nobody has to leave for it"
        );
    }
}

#[test]
fn a_path_that_is_slow_gets_the_time_it_needs_with_a_new_link() {
    let mut world = World::up("-door");
    world.browser("7phone", true);
    world.browsers.get_mut("7phone").expect("just made").stalled_handshakes = u32::MAX;
    world.press();
    world.run(ms(5_000));
    let link = world.link_to("7phone");
    world.run(ms(12_000));
    assert_eq!(world.link_to("7phone"), link, "its handshake goes on");
    world.input(Input::Link(link, LinkEvent::Health(Health::Connected)));
    assert_eq!(world.state(), CallState::Talking);
}

#[test]
fn who_waits_for_a_place_gets_no_link_before_there_is_one() {
    let mut world = World::up("-door");
    for phone in 1..=8 {
        world.browser(&format!("{phone}phone"), true);
        world.run(ms(100));
    }
    world.press();
    world.run(ms(40_000));
    assert_eq!(world.open_links(), 6);
    assert_eq!(world.heart.snapshot().counters.rejoins, 0);
    assert_eq!(world.heart.snapshot().counters.given_up, 0);
}

#[test]
fn somebody_whom_neither_media_nor_signalling_reach_is_waited_for_a_minute_and_not_till_the_talk_is_too_long()
 {
    let mut world = talking("-door");
    world.line_goes(SERVICE);
    world.hole("7phone");
    world.run(ms(55_000));
    assert_eq!(world.state(), CallState::Talking, "it may come back");
    world.run(ms(30_000));
    assert_ne!(world.state(), CallState::Talking, "the button works again");
    world.mend("7phone");
    world.uplink_up(SERVICE, "-door");
    world.run(ms(3_000));
    world.press();
    world.run_until(CallState::Talking, ms(5_000));
}

#[test]
fn a_phone_that_was_given_up_is_served_at_once_when_it_wakes() {
    let mut world = World::up("-door");
    world.browser("7phone", true);
    world.press();
    world.run_until(CallState::Talking, ms(2_000));
    world.browser("8sleeper", true);
    world.freeze("8sleeper");
    world.run(ms(20_000));
    assert_eq!(world.heart.snapshot().counters.given_up, 1);
    world.run(ms(20_000));
    assert_eq!(world.heart.snapshot().counters.given_up, 1, "it is left alone for half a minute");
    world.thaw("8sleeper");
    world.run(ms(1_000));
    assert!(world.connected("8sleeper"));
    assert!(world.connected("7phone"), "at nobody's cost");
    assert_eq!(world.heart.snapshot().counters.rejoins, 0);
}

#[test]
fn a_link_that_does_not_come_about_is_no_talk_on_the_lamp() {
    let mut world = World::up("-door");
    world.browser("7phone", true);
    world.hole("7phone");
    world.press();
    world.run(ms(500));
    world.page("7phone", PageMessage::Answer(None));
    world.run(ms(500));
    assert_eq!(world.state(), CallState::Talking, "an answer counts");
    world.run(ms(15_000));
    assert_eq!(world.lamp, Lamp::Reconnecting);
}

#[test]
fn what_was_told_while_the_line_was_away_is_told_again() {
    let mut world = World::new(&[SERVICE, UplinkId::Lan]);
    world.uplink_up(SERVICE, "-door");
    world.uplink_up(UplinkId::Lan, "-door");
    world.browser_on(SERVICE, "7phone", false);
    world.browser_on(UplinkId::Lan, "8house", true);
    world.run(ms(100));
    world.press();
    world.run(ms(100));
    world.line_goes(SERVICE);
    world.page("8house", PageMessage::Answer(None));
    world.run(ms(2_000));
    assert_eq!(world.state(), CallState::Talking);
    world.line_returns(SERVICE, "-door");
    world.run(ms(2_000));
    assert_eq!(world.stages("7phone").last(), Some(&Stage::Talking));
}

#[test]
fn who_answers_while_the_door_is_full_takes_the_place_of_one_who_watches() {
    let mut world = World::up("-door");
    for phone in 1..=7 {
        world.browser(&format!("{phone}phone"), false);
        world.run(ms(300));
    }
    world.press();
    world.run(ms(3_000));
    world.page("7phone", PageMessage::Answer(None));
    world.run(ms(3_000));
    assert!(world.connected("7phone"));
    assert!(!world.connected("6phone"), "the last who came and only watches");
    assert_eq!(world.open_links(), 6);
    assert_eq!(world.state(), CallState::Talking);
    assert!(world.browsers["6phone"].told_full > 0);
}

#[test]
fn a_talker_who_comes_back_to_a_full_door_has_its_place() {
    let page = || PageMessage::Hello(PageId::new("page-of-anna").expect("a fitting name"), None);
    let mut world = World::up("-door");
    world.browser("1anna", true);
    for phone in 2..=7 {
        world.browser(&format!("{phone}viewer"), false);
        world.run(ms(300));
    }
    world.press();
    world.run(ms(3_000));
    world.page("1anna", page());
    world.run(ms(500));
    assert_eq!(world.state(), CallState::Talking);
    world.browser("9anna", true);
    world.run(ms(100));
    world.page("9anna", page());
    world.run(ms(3_000));
    assert!(world.connected("9anna"));
    assert_eq!(world.shown.as_ref().map(|link| link.peer.id.as_str()), Some("9anna"));
    assert_eq!(world.state(), CallState::Talking);
    assert_eq!(world.open_links(), 6);
}
