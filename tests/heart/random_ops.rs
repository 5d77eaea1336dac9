//! Anything in any order: the invariants hold after every input, and hanging up frees everything.

use intercomd::intercom::{CallState, Input, PageMessage, Rules};
use proptest::prelude::*;

use crate::world::{LAN, SERVICE, World, ms};

#[derive(Debug, Clone)]
enum Op {
    Press,
    Hangup,
    Shutdown,
    Join { lan: bool, phone: u8, media: bool },
    Leave(u8),
    Swap(u8),
    Cut(u8),
    Mute(u8, bool),
    Stick(u8),
    Page { phone: u8, answer: bool },
    Drop { lan: bool },
    Return { lan: bool, id: u8 },
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
        3 => (phone, any::<bool>()).prop_map(|(phone, answer)| Op::Page { phone, answer }),
        2 => any::<bool>().prop_map(|lan| Op::Drop { lan }),
        3 => (any::<bool>(), 0u8..3).prop_map(|(lan, id)| Op::Return { lan, id }),
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
            let message = if answer { PageMessage::Answer } else { PageMessage::Hangup };
            world.page(&name(phone), message);
        }
        Op::Drop { lan } => world.uplink_down(uplink(lan)),
        Op::Return { lan, id } => {
            world.uplink_down(uplink(lan));
            world.uplink_up(uplink(lan), ["-door", "5door", "zdoor"][usize::from(id)]);
        }
        Op::Wait(time) => world.run(ms(time)),
        Op::Leave(_) | Op::Swap(_) | Op::Cut(_) | Op::Mute(..) | Op::Stick(_) | Op::Page { .. } => {
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_operations_in_any_order_keep_the_invariants(
        ops in prop::collection::vec(op(), 1..60),
        seed in 1u64..10_000,
    ) {
        let mut world = World::with(Rules::default(), &[SERVICE, LAN], seed);
        world.uplink_up(LAN, "-door");
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
        world.uplink_down(LAN);
        world.uplink_up(LAN, "-door");
        world.browser_on(LAN, "9last", true);
        world.press();
        world.run_until(CallState::Talking, ms(10_000));
    }
}
