//! What persons decide at their phones: to ring, to answer, to take over, to join, to decline, to write.
//!
//! Part of `Intercom`. Whoever answers first has the call; that is decided here and nowhere else.

use std::time::{Duration, Instant};

use super::call::CallInput;
use super::peer::Peer;
use super::settle::is_here;
use super::{
    CallId, CallState, Cause, Command, Intercom, Milestone, Note, PageMessage, PeerKey, Report,
    Stance,
};

/// How long the visitor can read a text.
pub const NOTE: Duration = Duration::from_secs(15);

impl Intercom {
    /// A page says something about the call.
    pub(super) fn page(&mut self, now: Instant, key: &PeerKey, message: PageMessage) {
        match message {
            PageMessage::Hello(page, name) => {
                if let Some(peer) = self.peers.get_mut(key) {
                    peer.set_name(name);
                }
                self.hello(now, key, page);
            }
            PageMessage::Ringing(call) if self.is_present(&call) => {
                if let Some(peer) = self.peers.get_mut(key) {
                    peer.set_rings(now);
                }
            }
            PageMessage::Answer(call) if call.as_ref().is_none_or(|call| self.is_present(call)) => {
                self.answer(now, key);
            }
            PageMessage::Hangup(call) if call.as_ref().is_none_or(|call| self.is_present(call)) => {
                self.hung_up(now, key);
            }
            PageMessage::Take(call) if self.is_present(&call) && self.is_talk() => {
                self.take(now, key);
            }
            PageMessage::Join(call)
                if self.is_present(&call) && self.is_talk() && self.call.rules().second_speaker =>
            {
                self.call(now, CallInput::Renewed);
                self.answered(key);
            }
            PageMessage::Text(call, note) if self.is_present(&call) && self.call.rules().texts => {
                self.set_note(Some((now + NOTE, note)));
            }
            PageMessage::Seen(call, after) if self.is_present(&call) => {
                self.reached(now, Some(key), Milestone::Shown);
                // Once for each peer: the first picture has no second.
                if self.peers.get_mut(key).is_some_and(Peer::sees_first) {
                    self.report(Report::Seen(key.clone(), after));
                }
            }
            PageMessage::Ask(call, purpose) if self.is_present(&call) => {
                self.ask(now, key, purpose);
            }
            PageMessage::Wake(call, address) if self.is_present(&call) => {
                self.ask_to_wake(now, key, address);
            }
            PageMessage::Proof(proof) => self.proof(now, key, proof),
            PageMessage::OtherDoor => self.leave_alone(now, key),
            // Who is in a call sees the visitor.
            PageMessage::Look => self.counters.ignored += 1,
            // Late news of another call, or what this door does not offer.
            PageMessage::Ringing(_)
            | PageMessage::Answer(_)
            | PageMessage::Hangup(_)
            | PageMessage::Take(_)
            | PageMessage::Join(_)
            | PageMessage::Text(..)
            | PageMessage::Seen(..)
            | PageMessage::Wake(..)
            | PageMessage::Ask(..) => self.counters.ignored += 1,
        }
    }

    /// Whether this is the call that goes on.
    pub(super) fn is_present(&self, call: &CallId) -> bool {
        self.call.is_live() && self.call.current().is_some_and(|(present, _)| present == call)
    }

    fn is_talk(&self) -> bool {
        self.call.state() == CallState::Talking
    }

    fn answer(&mut self, now: Instant, key: &PeerKey) {
        let is_taken = self.peers.iter().any(|(other, peer)| other != key && has_the_call(peer));
        let Some(peer) = self.peers.get_mut(key) else { return };
        let has_it = matches!(peer.stance(), Stance::Answered(_));
        if !is_taken || has_it {
            if !has_it {
                self.forget_the_absent();
            }
            return self.answered(key);
        }
        // Its media is on the way already, and must not count as an answer of its own.
        peer.set_stance(Stance::Elsewhere);
        if let Some(telling) = self.told.clone() {
            self.tell(now, key, &telling);
        }
    }

    /// The peer has the call, or a part in it.
    pub(super) fn answered(&mut self, key: &PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if !matches!(peer.stance(), Stance::Answered(_)) {
            self.answers += 1;
            peer.set_stance(Stance::Answered(self.answers));
            let name = peer.name().cloned();
            self.report(Report::Answered { peer: key.clone(), name });
        }
    }

    fn take(&mut self, now: Instant, key: &PeerKey) {
        if !self.peers.contains_key(key) {
            return;
        }
        self.call(now, CallInput::Renewed);
        for (_, peer) in self.peers.iter_mut().filter(|(other, _)| *other != key) {
            if matches!(peer.stance(), Stance::Answered(_)) {
                peer.set_stance(Stance::Elsewhere);
            }
        }
        self.forget_the_absent();
        self.answered(key);
    }

    /// Somebody has the call now: whoever had it and is away does not get it back by coming back.
    fn forget_the_absent(&mut self) {
        for stance in self.away.values_mut() {
            if matches!(stance, Stance::Answered(_)) {
                *stance = Stance::Elsewhere;
            }
        }
    }

    fn hung_up(&mut self, now: Instant, key: &PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let talked = matches!(peer.stance(), Stance::Answered(_));
        peer.set_stance(Stance::Declined);
        let others_talk = self.peers.values().any(is_here);
        let all_declined = self.peers.values().all(|peer| peer.stance() == Stance::Declined);
        if talked && !others_talk {
            self.call(now, CallInput::End(Cause::HungUp));
        } else if !talked && all_declined && self.call.state() == CallState::Ringing {
            self.call(now, CallInput::End(Cause::Declined));
        }
    }

    /// What the visitor reads from now on, and until when.
    pub(super) fn set_note(&mut self, note: Option<(Instant, Note)>) {
        if self.note.is_some() || note.is_some() {
            self.command(Command::Text(note.as_ref().map(|(_, note)| note.clone())));
        }
        self.note = note;
    }
}

/// Whether a person has the call and is served, or waits for a place because of it.
fn has_the_call(peer: &Peer) -> bool {
    is_here(peer) || peer.is_waiting() && matches!(peer.stance(), Stance::Answered(_))
}
