//! What must hold after every input; the random-operations test asks after each one.

use super::roster::Attachment;
use super::{CallState, DoorState, Intercom, LinkId};

impl Intercom {
    /// The first broken invariant, in words.
    ///
    /// # Errors
    ///
    /// Never in a correct program; the text names what does not hold.
    pub fn verify(&self) -> Result<(), String> {
        let state = self.call.state();
        let quiet = matches!(state, CallState::Idle | CallState::Ending);
        let nobody_talks = quiet || state == CallState::Looking;
        if quiet && !self.peers.is_empty() {
            return Err(format!("{} with {} peers", state.name(), self.peers.len()));
        }
        let looks = state == CallState::Looking;
        if let Some(key) = self.peers.keys().find(|key| key.uplink.is_for_looks() != looks) {
            return Err(format!("{} with {key}", state.name()));
        }
        if looks && self.peers.is_empty() {
            return Err("looking with nobody who looks".to_owned());
        }
        if nobody_talks && self.shown.is_some() {
            return Err(format!("{} with somebody on the display", state.name()));
        }
        for (key, peer) in &self.peers {
            let Some(generation) = peer.generation() else { continue };
            if self.closing.contains(&LinkId { peer: key.clone(), generation }) {
                return Err(format!("{key} uses a link that is being closed"));
            }
        }
        if let Some(shown) = &self.shown {
            let current = self.peers.get(&shown.peer).and_then(super::Peer::generation);
            if current != Some(shown.generation) {
                return Err(format!("{shown} is on the display but is not a present link"));
            }
        }
        for heard in &self.heard {
            if self.peers.get(&heard.peer).is_none_or(|peer| !super::is_here(peer)) {
                return Err(format!("{heard} is heard but has not answered"));
            }
        }
        if nobody_talks && (!self.heard.is_empty() || self.note.is_some()) {
            return Err(format!("{} with somebody to hear or a text to read", state.name()));
        }
        if state == CallState::Ringing && self.peers.values().any(super::is_here) {
            return Err("ringing although somebody has answered".to_owned());
        }
        let nobody_in = self
            .rosters
            .iter()
            .filter(|(uplink, _)| !uplink.is_for_looks())
            .all(|(_, roster)| !matches!(roster.attachment(), Attachment::In(_)));
        if state == CallState::Joining && !nobody_in && self.leaving.is_empty() {
            return Err("joining although a channel has been entered".to_owned());
        }
        if self.door.is_over_long() {
            return Err("the door is open for longer than `max_pulse`".to_owned());
        }
        let waits = matches!(self.door.state(), DoorState::Open | DoorState::LockedOut);
        if waits != self.door.deadline().is_some() {
            return Err(format!("the door is {} without its deadline", self.door.state().name()));
        }
        if state != CallState::Idle && self.call.deadline().is_none() {
            return Err(format!("{} without a deadline", state.name()));
        }
        Ok(())
    }
}
