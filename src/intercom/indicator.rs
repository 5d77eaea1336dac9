//! What the lamp tells the visitor: one answer for every state of the house.

use std::time::Duration;

use super::{CallState, Cause, Lamp};

/// How long the lamp says sorry.
pub const SORRY: Duration = Duration::from_secs(8);

/// What there is to tell while nobody rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Nothing.
    Fine,
    /// Something of the door is out of order.
    Faulty,
    /// The latest call disappointed its visitor a moment ago.
    Sorry,
}

/// The lamp for a state. `repairing` means that nobody who talks can be seen at the moment.
pub fn lamp(state: CallState, repairing: bool, rest: Rest) -> Lamp {
    match (state, rest) {
        (CallState::Joining | CallState::Ringing, _) => Lamp::Calling,
        (CallState::Talking, _) if repairing => Lamp::Reconnecting,
        (CallState::Talking, _) => Lamp::Talking,
        (CallState::Idle | CallState::Ending, Rest::Sorry) => Lamp::Sorry,
        (CallState::Idle | CallState::Ending, Rest::Faulty) => Lamp::Fault,
        (CallState::Idle | CallState::Ending, Rest::Fine) => Lamp::Idle,
    }
}

/// Whether a visitor whose call ended so is left with nobody.
pub fn is_disappointing(cause: Cause) -> bool {
    match cause {
        Cause::NoAnswer | Cause::Declined | Cause::CannotJoin => true,
        Cause::HungUp
        | Cause::PeerGone
        | Cause::Visitor
        | Cause::Control
        | Cause::TooLong
        | Cause::Shutdown => false,
    }
}
