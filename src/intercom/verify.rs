//! What must hold after every input. Tests ask after each one; in a running door it is looked at after each one as well,
//! and what does not hold is counted and told: such a door goes on as well as it can, and somebody hears of it.

use std::time::{Duration, Instant};

use super::roster::Attachment;
use super::{CallState, DoorState, Intercom, LinkId, Report};

/// Different things that are told: a program that is so wrong need not fill the journal.
const MOST_TOLD: usize = 16;
/// How long after its time a deadline may be acted on: the daemon's loop may have had its hands full.
const OVERDUE: Duration = Duration::from_secs(5);

impl Intercom {
    /// Looks whether all is as it must be, counts what is not, and tells of each once. `woken`: the time, if what was due
    /// has just been done; a daemon that was stopped for a while finds other inputs first.
    pub(super) fn examine(&mut self, woken: Option<Instant>) {
        let in_time = || woken.map_or(Ok(()), |now| self.is_in_time(now));
        match self.verify().and_then(|()| in_time()) {
            Ok(()) => self.violation = None,
            Err(what) if self.violation.as_ref() == Some(&what) => {}
            Err(what) => {
                self.counters.violations += 1;
                if self.violations.len() < MOST_TOLD && self.violations.insert(what.clone()) {
                    self.report(Report::Violated(what.clone()));
                }
                self.violation = Some(what);
            }
        }
    }

    /// No state lasts longer than its deadline.
    fn is_in_time(&self, now: Instant) -> Result<(), String> {
        match self.poll_timeout() {
            Some((at, what)) if at + OVERDUE < now => {
                Err(format!("the deadline of the {what} is long over"))
            }
            _ => Ok(()),
        }
    }

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

#[cfg(test)]
mod tests {
    use super::super::{Command, Input, PeerKey, Rules, UplinkId};
    use super::*;

    fn told(heart: &mut Intercom) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(command) = heart.poll_command() {
            if let Command::Report(Report::Violated(what)) = command {
                told.push(what);
            }
        }
        told
    }

    #[test]
    fn what_must_not_be_is_told_once_and_counted_each_time_it_comes() {
        let (now, mut heart) = (Instant::now(), Intercom::new(Rules::default(), "c", &[]));
        let key = PeerKey { uplink: UplinkId::Lan, id: "left behind".into() };
        for count in 1..=2 {
            heart
                .peers
                .insert(key.clone(), super::super::Peer::new(now, super::super::Role::Polite, 1));
            heart.handle(now, Input::Wakeup);
            heart.handle(now, Input::Wakeup);
            assert_eq!(told(&mut heart).len(), usize::from(count == 1));
            assert_eq!(heart.counters.violations, count);
            heart.peers.clear();
            heart.handle(now, Input::Wakeup);
            assert!(told(&mut heart).is_empty());
        }
    }

    #[test]
    fn a_deadline_that_nobody_acts_on_is_told() {
        let (now, mut heart) = (Instant::now(), Intercom::new(Rules::default(), "c", &[]));
        // Nothing ends this one: the lamp's is looked at while a call is drawn only.
        heart.sorry = Some((now + Duration::from_secs(8), super::super::Cause::NoAnswer));
        heart.examine(Some(now + Duration::from_secs(13)));
        heart.examine(None);
        assert!(told(&mut heart).is_empty());
        heart.examine(Some(now + Duration::from_secs(14)));
        assert_eq!(told(&mut heart), ["the deadline of the lamp is long over"]);
    }
}
