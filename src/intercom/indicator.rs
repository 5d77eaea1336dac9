//! What lamp and screen tell the visitor: one answer for every state of the house.

use std::time::Duration;

use super::{CallState, Cause, Lamp, Scene};

/// How long the lamp says sorry.
pub const SORRY: Duration = Duration::from_secs(8);

/// What there is to tell while nobody rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Nothing.
    Fine,
    /// Something of the door is out of order.
    Faulty(Trouble),
    /// The latest call disappointed its visitor a moment ago.
    Sorry(Cause),
}

/// What a fault means to the visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// A press rings as ever, with something missing.
    Bearable,
    /// No press is noticed.
    Deaf,
    /// No line is up.
    Alone,
}

/// How the call itself goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Going {
    /// As it should.
    Well,
    /// A page says that it rings.
    Seen,
    /// Nobody who talks can be seen at the moment.
    Repairing,
}

/// The lamp for a state.
pub fn lamp(state: CallState, going: Going, rest: Rest) -> Lamp {
    match (state, rest) {
        (CallState::Looking, _) => Lamp::Looking,
        (CallState::Ringing, _) if going == Going::Seen => Lamp::Seen,
        (CallState::Joining | CallState::Ringing, _) => Lamp::Calling,
        (CallState::Talking, _) if going == Going::Repairing => Lamp::Reconnecting,
        (CallState::Talking, _) => Lamp::Talking,
        (CallState::Idle | CallState::Ending, Rest::Sorry(_)) => Lamp::Sorry,
        (CallState::Idle | CallState::Ending, Rest::Faulty(_)) => Lamp::Fault,
        (CallState::Idle | CallState::Ending, Rest::Fine) => Lamp::Idle,
    }
}

/// The scene for a state.
pub fn scene(state: CallState, going: Going, rest: Rest) -> Scene {
    match (state, rest) {
        // Who pressed reads what came of it; the lamp goes on telling of the look.
        (CallState::Looking, Rest::Sorry(Cause::Quiet)) => Scene::Quiet,
        (CallState::Looking, _) => Scene::Looking,
        (CallState::Joining, _) => Scene::Calling,
        (CallState::Ringing, _) if going == Going::Seen => Scene::Seen,
        (CallState::Ringing, _) => Scene::Ringing,
        (CallState::Talking, _) if going == Going::Repairing => Scene::Reconnecting,
        (CallState::Talking, _) => Scene::Talking,
        (_, Rest::Sorry(Cause::CannotJoin) | Rest::Faulty(Trouble::Alone)) => Scene::LineDown,
        (_, Rest::Sorry(Cause::Quiet)) => Scene::Quiet,
        (_, Rest::Sorry(_)) => Scene::NobodyAnswered,
        (_, Rest::Faulty(Trouble::Deaf)) => Scene::Fault,
        (_, Rest::Faulty(Trouble::Bearable) | Rest::Fine) => Scene::Idle,
    }
}
