//! What the lamp tells the visitor: one answer for every state of the house.

use super::{CallState, Cause, Lamp};

/// The lamp for a state. `repairing` means that nobody who talks can be seen at the moment; `last` is
/// how the latest call ended.
pub fn lamp(state: CallState, repairing: bool, last: Option<Cause>) -> Lamp {
    match (state, last) {
        (CallState::Joining | CallState::Ringing, _) => Lamp::Calling,
        (CallState::Talking, _) if repairing => Lamp::Reconnecting,
        (CallState::Talking, _) => Lamp::Talking,
        (CallState::Idle | CallState::Ending, Some(cause)) if is_disappointing(cause) => {
            Lamp::Sorry
        }
        (CallState::Idle | CallState::Ending, _) => Lamp::Off,
    }
}

fn is_disappointing(cause: Cause) -> bool {
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
