//! What follows from the present state after every input: who has answered, whose picture is shown, what
//! the pages are told, what the lamp says.

use std::time::Instant;

use super::call::CallInput;
use super::peer::Peer;
use super::roster::Attachment;
use super::{
    CallNotice, CallState, Command, Intercom, LinkId, Outgoing, PeerKey, Report, Stage, Stance,
    UplinkCommand, indicator,
};

impl Intercom {
    /// Brings everything that follows from the present state up to date.
    pub(super) fn settle(&mut self, now: Instant) {
        let talking: Vec<PeerKey> = self
            .peers
            .iter()
            .filter(|(_, peer)| {
                peer.stance() == Stance::Watching && peer.is_connected() && peer.sends_media()
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in talking {
            self.answered(&key);
        }
        let company = if self.peers.values().any(is_here) {
            CallInput::Accompanied
        } else {
            CallInput::Alone
        };
        self.call(now, company);
        if self.call.state() == CallState::Ending
            && self.closing.is_empty()
            && self.leaving.is_empty()
        {
            self.call(now, CallInput::Freed);
        }
        self.admit_waiting(now);
        self.show(self.to_show());
        self.tell_stage();
        self.indicate();
        if self.state != self.call.state() {
            self.state = self.call.state();
            self.report(Report::State(self.state));
        }
    }

    /// Who waits for a place gets it as soon as there is one, in the order of coming.
    fn admit_waiting(&mut self, now: Instant) {
        while self.has_room() {
            let is_in = |key: &PeerKey| {
                let roster = self.rosters.get(&key.uplink);
                roster.is_some_and(|roster| matches!(roster.attachment(), Attachment::In(_)))
            };
            let waiting = self.peers.iter().filter(|(key, peer)| peer.is_waiting() && is_in(key));
            let Some((key, _)) = waiting.min_by_key(|(_, peer)| peer.arrival()) else { return };
            let key = key.clone();
            self.admit(now, &key, None);
        }
    }

    /// The first to answer is on the display as long as it is within reach: whoever can be seen goes
    /// before a link under repair, and a page that is in the channel before one that lost it.
    fn to_show(&self) -> Option<LinkId> {
        self.peers
            .iter()
            .filter_map(|(key, peer)| match (peer.stance(), peer.generation()) {
                (Stance::Answered(order), Some(generation)) => {
                    let rank = (!peer.is_connected(), self.is_missing(key), order);
                    Some((rank, LinkId { peer: key.clone(), generation }))
                }
                _ => None,
            })
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, link)| link)
    }

    pub(super) fn show(&mut self, link: Option<LinkId>) {
        if self.shown != link {
            self.shown.clone_from(&link);
            self.command(Command::Show(link));
        }
    }

    fn tell_stage(&mut self) {
        let stage = match self.call.state() {
            CallState::Ringing => Stage::Ringing,
            CallState::Talking => Stage::Talking,
            CallState::Idle | CallState::Joining | CallState::Ending => return,
        };
        let now_told = (stage, self.shown.as_ref().map(|link| link.peer.clone()));
        if self.told.as_ref() != Some(&now_told) {
            self.tell_all(stage, now_told.1.as_ref());
            self.told = Some(now_told);
        }
    }

    pub(super) fn tell_all(&mut self, stage: Stage, answered_by: Option<&PeerKey>) {
        for key in self.peers.keys().cloned().collect::<Vec<_>>() {
            self.tell(&key, stage, answered_by);
        }
    }

    pub(super) fn tell(&mut self, key: &PeerKey, stage: Stage, answered_by: Option<&PeerKey>) {
        let Some((call, _)) = self.call.current() else { return };
        let notice = CallNotice {
            call: call.clone(),
            stage,
            answered_by: answered_by.map(|peer| peer.id.clone()),
        };
        self.send(key, Outgoing::Notice(notice));
    }

    pub(super) fn send(&mut self, key: &PeerKey, what: Outgoing) {
        let to = key.id.clone();
        self.command(Command::Uplink(key.uplink, UplinkCommand::Send { to, what }));
    }

    fn indicate(&mut self) {
        let here: Vec<&Peer> = self.peers.values().filter(|peer| is_here(peer)).collect();
        let seen = here.iter().any(|peer| peer.is_connected());
        let repairing = !seen && (here.is_empty() || here.iter().any(|peer| peer.is_repairing()));
        let lamp = indicator::lamp(self.call.state(), repairing, self.last_cause);
        if lamp != self.lamp {
            self.lamp = lamp;
            self.command(Command::Lamp(lamp));
        }
    }
}

/// Whether a person who answered is still within reach, a link under repair included.
pub fn is_here(peer: &Peer) -> bool {
    matches!(peer.stance(), Stance::Answered(_)) && peer.generation().is_some()
}
