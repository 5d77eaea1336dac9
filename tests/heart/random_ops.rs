//! Anything in any order: the invariants hold after every input, and hanging up frees everything.

use intercomd::intercom::{
    CallId, CallState, Input, NetworkChange, Nonce, Note, PageId, PageMessage, Part, Purpose,
    Rules, UplinkEvent,
};
use proptest::prelude::*;

use crate::world::{LAN, LOOKS, Mishap, RIGHT, SERVICE, WRONG, World, ms};

#[derive(Debug, Clone)]
enum Op {
    Press,
    Hangup,
    Shutdown,
    Join {
        lan: bool,
        phone: u8,
        media: bool,
    },
    Leave(u8),
    Swap(u8),
    Cut(u8),
    Mute(u8, bool),
    Stick(u8),
    Page {
        phone: u8,
        answer: bool,
    },
    Say {
        phone: u8,
        what: u8,
    },
    Prove {
        phone: u8,
        log: bool,
        right: bool,
    },
    Quiet(bool),
    Persons(u8),
    Drop {
        lan: bool,
    },
    Return {
        lan: bool,
        id: u8,
    },
    Hole {
        phone: u8,
        on: bool,
    },
    Freeze {
        phone: u8,
        on: bool,
    },
    Hello {
        phone: u8,
        page: u8,
    },
    LoseSignalling(u8),
    Network {
        gone: bool,
    },
    Servers {
        lan: bool,
    },
    Fault {
        to_browser: bool,
        after: u8,
        mishap: u8,
    },
    Unlock(Option<u64>),
    LongPress,
    Part {
        camera: bool,
        works: bool,
    },
    /// Somebody comes to look, or asks to.
    Look {
        right: bool,
        second: bool,
    },
    LookerLeaves {
        second: bool,
    },
    LookLine {
        up: bool,
    },
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let phone = 0u8..4;
    prop_oneof![
        4 => Just(Op::Press),
        1 => Just(Op::Hangup),
        1 => Just(Op::Shutdown),
        5 => (any::<bool>(), phone.clone(), any::<bool>())
            .prop_map(|(lan, phone, media)| Op::Join { lan, phone, media }),
        2 => phone.clone().prop_map(Op::Leave),
        2 => phone.clone().prop_map(Op::Swap),
        2 => phone.clone().prop_map(Op::Cut),
        2 => (phone.clone(), any::<bool>()).prop_map(|(phone, on)| Op::Mute(phone, on)),
        1 => phone.clone().prop_map(Op::Stick),
        3 => (phone.clone(), any::<bool>())
            .prop_map(|(phone, answer)| Op::Page { phone, answer }),
        4 => (phone.clone(), 0u8..6).prop_map(|(phone, what)| Op::Say { phone, what }),
        3 => (phone.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(phone, log, right)| Op::Prove { phone, log, right }),
        1 => any::<bool>().prop_map(Op::Quiet),
        1 => (0u8..3).prop_map(Op::Persons),
        3 => (phone.clone(), any::<bool>()).prop_map(|(phone, on)| Op::Hole { phone, on }),
        2 => (phone.clone(), any::<bool>()).prop_map(|(phone, on)| Op::Freeze { phone, on }),
        2 => (phone.clone(), 0u8..3).prop_map(|(phone, page)| Op::Hello { phone, page }),
        1 => phone.prop_map(Op::LoseSignalling),
        1 => any::<bool>().prop_map(|gone| Op::Network { gone }),
        1 => any::<bool>().prop_map(|lan| Op::Servers { lan }),
        2 => (any::<bool>(), 0u8..12, 0u8..3).prop_map(|(to_browser, after, mishap)| {
            Op::Fault { to_browser, after, mishap }
        }),
        3 => prop::option::of(0u64..12_000).prop_map(Op::Unlock),
        1 => Just(Op::LongPress),
        1 => (any::<bool>(), any::<bool>())
            .prop_map(|(camera, works)| Op::Part { camera, works }),
        2 => any::<bool>().prop_map(|lan| Op::Drop { lan }),
        3 => (any::<bool>(), 0u8..3).prop_map(|(lan, id)| Op::Return { lan, id }),
        4 => (prop::bool::weighted(0.8), any::<bool>())
            .prop_map(|(right, second)| Op::Look { right, second }),
        1 => any::<bool>().prop_map(|second| Op::LookerLeaves { second }),
        1 => any::<bool>().prop_map(|up| Op::LookLine { up }),
        8 => prop_oneof![1u64..50, 50u64..2_000, 2_000u64..40_000].prop_map(Op::Wait),
    ]
}

fn name(phone: u8) -> String {
    format!("{phone}phone")
}

fn run(world: &mut World, op: &Op) {
    let uplink = |lan: bool| if lan { LAN } else { SERVICE };
    let there = |world: &World, phone: u8| {
        world.browsers.get(&name(phone)).is_some_and(|browser| browser.in_channel)
    };
    match *op {
        Op::Press => world.press(),
        Op::Hangup => world.input(Input::Hangup),
        Op::Shutdown => world.input(Input::Shutdown),
        Op::Join { lan, phone, media } => {
            if !there(world, phone) {
                world.browser_on(uplink(lan), &name(phone), media);
            }
        }
        Op::Leave(phone) if there(world, phone) => world.browser_leaves(&name(phone)),
        Op::Swap(phone) if there(world, phone) && world.connected(&name(phone)) => {
            world.browser_swaps_connection(&name(phone));
        }
        Op::Cut(phone) if there(world, phone) => world.cut(&name(phone)),
        Op::Mute(phone, on) if there(world, phone) => {
            world.browsers.get_mut(&name(phone)).expect("it is there").mute = on;
        }
        Op::Stick(phone) if there(world, phone) => {
            world.browsers.get_mut(&name(phone)).expect("it is there").stuck = true;
        }
        Op::Page { phone, answer } if there(world, phone) => {
            let message =
                if answer { PageMessage::Answer(None) } else { PageMessage::Hangup(None) };
            world.page(&name(phone), message);
        }
        Op::Say { phone, what } if there(world, phone) => {
            // Of the present call, or of one that is long over.
            let call = world
                .heart
                .snapshot()
                .call
                .filter(|_| what < 5)
                .map_or_else(|| CallId("c-0".into()), |(call, _)| call);
            let message = match what {
                0 => PageMessage::Ringing(call.clone()),
                1 => PageMessage::Take(call.clone()),
                2 => PageMessage::Join(call.clone()),
                3 => PageMessage::Text(call.clone(), Note::new("a text").expect("a text")),
                _ => PageMessage::Answer(Some(call.clone())),
            };
            world.page(&name(phone), message);
            world.input(Input::Picture(call));
        }
        Op::Prove { phone, log, right } if there(world, phone) => {
            if world.heart.snapshot().call.is_some() {
                let purpose = if log { Purpose::Log } else { Purpose::Open };
                let nonce = world.nonce(&name(phone)).unwrap_or(Nonce([0; 32]));
                world.prove(&name(phone), purpose, nonce, if right { RIGHT } else { WRONG });
                let call = world.call();
                world.page(&name(phone), PageMessage::Ask(call, purpose));
            }
        }
        Op::Quiet(quiet) => world.input(Input::Quiet(quiet)),
        Op::Persons(count) => world.input(Input::Persons(usize::from(count))),
        Op::Drop { lan } => world.uplink_down(uplink(lan)),
        Op::Return { lan, id } => {
            world.uplink_down(uplink(lan));
            world.uplink_up(uplink(lan), ["-door", "5door", "zdoor"][usize::from(id)]);
        }
        Op::Hole { phone, on: true } if there(world, phone) => world.hole(&name(phone)),
        Op::Hole { phone, on: false } if there(world, phone) => world.mend(&name(phone)),
        Op::Freeze { phone, on: true } if there(world, phone) => world.freeze(&name(phone)),
        Op::Freeze { phone, on: false } if there(world, phone) => world.thaw(&name(phone)),
        Op::Hello { phone, page } if there(world, phone) => {
            let page = PageId::new(&format!("page {page}")).expect("a fitting name");
            world.page(&name(phone), PageMessage::Hello(page, None));
        }
        Op::LoseSignalling(phone) if there(world, phone) => world.signalling_lost(&name(phone)),
        Op::Network { gone } => {
            let address = vec!["192.0.2.7".parse().expect("an address")];
            let change = if gone {
                NetworkChange { came: Vec::new(), gone: address }
            } else {
                NetworkChange { came: address, gone: Vec::new() }
            };
            world.input(Input::Network(change));
        }
        Op::Servers { lan } => {
            world.input(Input::Uplink(uplink(lan), UplinkEvent::ServersChanged));
        }
        Op::Fault { to_browser, after, mishap } => {
            let mishap = [Mishap::Lost, Mishap::Twice, Mishap::Late][usize::from(mishap)];
            world.fault_after(to_browser, usize::from(after), mishap);
        }
        // The world checks the answer.
        Op::Unlock(asked) => drop(world.unlock(asked.map(ms))),
        Op::LongPress => world.input(Input::LongPress),
        Op::Part { camera, works } => {
            let part = if camera { Part::Camera } else { Part::Button };
            world.input(if works { Input::Mended(part) } else { Input::Broken(part) });
        }
        Op::Look { right, second } => {
            let looker = name(8 + u8::from(second));
            match there(world, 8 + u8::from(second)) {
                false => world.browser_on(LOOKS, &looker, second),
                true => world.look(&looker, if right { RIGHT } else { WRONG }),
            }
        }
        Op::LookerLeaves { second } => {
            if there(world, 8 + u8::from(second)) {
                world.browser_leaves(&name(8 + u8::from(second)));
            }
        }
        Op::LookLine { up } => {
            world.uplink_down(LOOKS);
            if up {
                world.uplink_up(LOOKS, "-door-look");
            }
        }
        Op::Wait(time) => world.run(ms(time)),
        Op::Leave(_)
        | Op::Swap(_)
        | Op::Cut(_)
        | Op::Mute(..)
        | Op::Stick(_)
        | Op::Page { .. }
        | Op::Say { .. }
        | Op::Prove { .. }
        | Op::Hole { .. }
        | Op::Freeze { .. }
        | Op::Hello { .. }
        | Op::LoseSignalling(_) => {}
    }
}

/// What may go wrong in a call that everybody wants to go on.
fn trouble() -> impl Strategy<Value = Op> {
    let phone = 1u8..4;
    prop_oneof![
        3 => (phone.clone(), any::<bool>()).prop_map(|(phone, on)| Op::Hole { phone, on }),
        2 => (phone.clone(), any::<bool>()).prop_map(|(phone, on)| Op::Freeze { phone, on }),
        2 => (phone.clone(), any::<bool>()).prop_map(|(phone, on)| Op::Mute(phone, on)),
        2 => phone.clone().prop_map(Op::Swap),
        1 => phone.clone().prop_map(Op::Stick),
        2 => phone.prop_map(Op::Cut),
        2 => (Just(false), 0u8..3).prop_map(|(lan, id)| Op::Return { lan, id }),
        1 => Just(Op::Drop { lan: false }),
        1 => any::<bool>().prop_map(|gone| Op::Network { gone }),
        1 => Just(Op::Servers { lan: false }),
        3 => (any::<bool>(), 0u8..12, 0u8..3).prop_map(|(to_browser, after, mishap)| {
            Op::Fault { to_browser, after, mishap }
        }),
        8 => prop_oneof![1u64..50, 50u64..2_000, 2_000u64..20_000].prop_map(Op::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_operations_in_any_order_keep_the_invariants(
        ops in prop::collection::vec(op(), 1..60),
        seed in 1u64..10_000,
    ) {
        let rules = Rules {
            second_speaker: seed.is_multiple_of(2),
            press_cancels_ring: seed.is_multiple_of(3),
            press_ends_call: seed.is_multiple_of(5),
            ..Rules::default()
        };
        let mut world = World::with(rules, &[SERVICE, LAN, LOOKS], seed);
        world.heart.watch_lines(&[SERVICE, LAN]);
        world.uplink_up(LAN, "-door");
        world.uplink_up(LOOKS, "-door-look");
        for op in &ops {
            run(&mut world, op);
        }
        // Whatever happened, hanging up frees everything.
        world.input(Input::Hangup);
        world.run(ms(5_000));
        // A press during an end begins the next call.
        world.input(Input::Hangup);
        world.run(ms(5_000));
        world.assert_everything_is_free();
        // And after all that the door still works.
        world.fault = None;
        world.input(Input::Quiet(false));
        world.uplink_down(LAN);
        world.uplink_up(LAN, "-door");
        world.browser_on(LAN, "9last", true);
        world.press();
        world.run_until(CallState::Talking, ms(10_000));
    }

    /// The same call, one ring, every phone connected in the end, whatever went wrong meanwhile.
    #[test]
    fn no_trouble_sticks_to_a_phone_once_it_is_over(
        ops in prop::collection::vec(trouble(), 1..40),
        seed in 1u64..10_000,
    ) {
        let rules = Rules { longest_talk: ms(4 * 3_600_000), linger: ms(60_000), ..Rules::default() };
        let mut world = World::with(rules, &[SERVICE, LAN], seed);
        world.uplink_up(LAN, "-door");
        world.uplink_up(SERVICE, "5door");
        // Somebody in the local network keeps the call up.
        world.browser_on(LAN, "9home", true);
        for (phone, media) in [(1, true), (2, false), (3, true)] {
            world.browser(&name(phone), media);
        }
        world.press();
        world.run(ms(2_000));
        for op in &ops {
            run(&mut world, op);
        }
        world.fault = None;
        for phone in 1..4 {
            world.browsers.get_mut(&name(phone)).expect("it is there").mute = false;
            world.thaw(&name(phone));
        }
        world.uplink_down(SERVICE);
        world.uplink_up(SERVICE, "6door");
        world.run(ms(75_000));
        for phone in 1..4 {
            prop_assert!(world.connected(&name(phone)), "{}", name(phone));
        }
        prop_assert_eq!(world.state(), CallState::Talking);
        prop_assert_eq!(world.chimes, 1);
        prop_assert_eq!(world.open_links(), 4);
    }
}
