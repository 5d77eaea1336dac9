//! Looking in: a person sees through the camera although nobody rang, and the visitor is shown that somebody does.
//!
//! Part of `Intercom`. Those who look are met in a channel of their own, where the door always is: in the channel of
//! calls its coming would be a ring to every page that waits there. Being in that channel gives no right; each look
//! needs a person's proof (docs/door-protocol.md). Whoever looks hears nothing and is neither seen nor heard.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::access::CHALLENGE;
use super::call::CallInput;
use super::flood::Verdict;
use super::peer::Peer;
use super::{
    CallId, CallState, Command, Denial, Intercom, Name, Nonce, Outgoing, PageMessage, PeerId,
    PeerKey, Proof, Purpose, Report, Role, Signal, UplinkCommand, UplinkEvent, UplinkId,
};

/// Most members who may be asked for a proof at a time: more of them at once are no household.
const MOST_ASKING: usize = 8;

/// Who wants to look, until that is decided.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// Counts requests, for their names.
    count: u64,
    /// The name the look would have, and until when a proof of it is waited for.
    asking: BTreeMap<PeerKey, (CallId, Instant)>,
    /// Who looks, and until when: each by a proof of its own.
    until: BTreeMap<PeerKey, Instant>,
}

impl Looks {
    /// When the next look is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.until.values().min().copied()
    }
}

/// The door waits in the channels of those who look from its start.
pub(super) fn joins(uplinks: &[UplinkId]) -> VecDeque<Command> {
    let looks = uplinks.iter().filter(|uplink| uplink.is_for_looks());
    looks.map(|uplink| Command::Uplink(*uplink, UplinkCommand::Join)).collect()
}

impl Intercom {
    /// Something happened on an uplink to those who look.
    pub(super) fn look_uplink(&mut self, now: Instant, uplink: UplinkId, event: UplinkEvent) {
        let Some(roster) = self.rosters.get_mut(&uplink) else {
            self.counters.ignored += 1;
            return;
        };
        match event {
            UplinkEvent::Up { own } => {
                roster.up(own);
                // A refusal ends the wish to be in the channel; a new socket may be let in.
                self.command(Command::Uplink(uplink, UplinkCommand::Join));
            }
            UplinkEvent::Down => {
                roster.down();
                self.looks.asking.retain(|key, _| key.uplink != uplink);
                for (_, peer) in self.peers.iter_mut().filter(|(key, _)| key.uplink == uplink) {
                    peer.hold(now);
                }
            }
            UplinkEvent::Joined => roster.entered(),
            UplinkEvent::Left => roster.left(),
            // The uplink has said why.
            UplinkEvent::JoinRefused => {}
            UplinkEvent::ServersChanged => self.servers_changed(now, uplink),
            UplinkEvent::Snapshot(list) => self.look_snapshot(now, uplink, list),
            UplinkEvent::Came(id) => {
                let known = roster.came(&id);
                let role = roster.own().map(|own| Role::between(own, &id));
                if let (true, Some(role)) = (known, role) {
                    // It joined once more, so it has dropped the connection it had for us.
                    let key = PeerKey { uplink, id };
                    self.with_known_peer(now, &key, |peer, cx| peer.renew(cx, role));
                }
            }
            UplinkEvent::Gone(id) => {
                roster.gone(&id);
                self.looks_no_more(now, &PeerKey { uplink, id });
            }
            UplinkEvent::Signal { from, signal } => {
                self.look_signal(now, PeerKey { uplink, id: from }, signal);
            }
            UplinkEvent::Undelivered { to, absent } => {
                let key = PeerKey { uplink, id: to };
                self.with_known_peer(now, &key, |peer, cx| peer.undelivered(cx, absent));
            }
        }
    }

    fn look_snapshot(&mut self, now: Instant, uplink: UplinkId, list: Vec<PeerId>) {
        let Some(roster) = self.rosters.get_mut(&uplink) else { return };
        let Some(own) = roster.own().cloned() else { return };
        let renewed = roster.take_new_identity();
        let reconciled = roster.snapshot(list);
        for id in reconciled.absent {
            self.looks_no_more(now, &PeerKey { uplink, id });
        }
        for id in reconciled.stayed {
            let role = Role::between(&own, &id);
            let key = PeerKey { uplink, id };
            self.with_known_peer(now, &key, |peer, cx| match renewed {
                true => peer.renew(cx, role),
                false => peer.resume(cx),
            });
        }
    }

    fn look_signal(&mut self, now: Instant, key: PeerKey, signal: Signal) {
        if let Some(peer) = self.peers.get_mut(&key) {
            match peer.count(now, &signal) {
                Verdict::Pass => {}
                Verdict::Ignore => return self.counters.ignored += 1,
                Verdict::TurnAway => {
                    self.report(Report::TurnedAway(key.clone()));
                    return self.looks_no_more(now, &key);
                }
            }
        }
        match signal {
            Signal::Page(PageMessage::Look) => self.ask_to_look(now, &key),
            Signal::Page(PageMessage::Proof(proof)) if proof.purpose == Purpose::Look => {
                self.look_proof(now, &key, proof);
            }
            // Pages speak of calls in the channel of calls.
            Signal::Page(_) => self.counters.ignored += 1,
            signal => self.with_peer(now, &key, |peer, cx| peer.signal(cx, signal)),
        }
    }

    fn ask_to_look(&mut self, now: Instant, key: &PeerKey) {
        self.looks.asking.retain(|_, (_, until)| now < *until);
        let is_full = self.looks.asking.len() >= MOST_ASKING;
        if self.looks.asking.contains_key(key) || is_full {
            // One number is out already; whoever wants another waits until it is used or too old.
            self.counters.ignored += 1;
            return;
        }
        match self.may_look(now, key) {
            Ok(()) => {
                self.looks.count += 1;
                let look = CallId(format!("{}-look-{}", self.prefix, self.looks.count).into());
                self.looks.asking.insert(key.clone(), (look, now + CHALLENGE));
                self.command(Command::Challenge(key.clone(), Purpose::Look));
            }
            Err(why) => self.deny(key, Purpose::Look, None, why),
        }
    }

    /// The number for a proof is drawn.
    pub(super) fn look_challenge(&mut self, now: Instant, key: &PeerKey, nonce: Nonce) {
        let Some((look, _)) = self.looks.asking.get(key).cloned() else { return };
        self.access.give(now, key, Purpose::Look, nonce);
        self.send(key, Outgoing::Challenge(look, Purpose::Look, nonce));
    }

    fn look_proof(&mut self, now: Instant, key: &PeerKey, proof: Proof) {
        let redeemed = self.access.redeem(now, key, &proof);
        if let Err(why) = self.may_look(now, key) {
            return self.deny(key, Purpose::Look, Some(proof.person), why);
        }
        let asked = self.looks.asking.get(key).is_some_and(|(look, _)| *look == proof.call);
        if !redeemed || !asked {
            return self.deny(key, Purpose::Look, Some(proof.person), Denial::Expired);
        }
        self.command(Command::Verify(key.clone(), proof));
    }

    /// Whether persons may look in at all.
    pub(super) fn shows_itself(&self) -> bool {
        self.access.has_persons() && self.rosters.keys().any(|uplink| uplink.is_for_looks())
    }

    pub(super) fn may_look(&self, now: Instant, key: &PeerKey) -> Result<(), Denial> {
        let free = matches!(self.call.state(), CallState::Idle | CallState::Looking);
        if !self.access.has_persons() {
            Err(Denial::Nobody)
        } else if self.access.is_locked(now, key, Purpose::Look) {
            Err(Denial::LockedOut)
        } else if !free || !self.peers.contains_key(key) && !self.has_room() {
            Err(Denial::Busy)
        } else {
            Ok(())
        }
    }

    /// A person has proved the right to look.
    pub(super) fn look_in(&mut self, now: Instant, key: &PeerKey, person: Name) {
        let Some((look, _)) = self.looks.asking.remove(key) else { return };
        let own = self.rosters.get(&key.uplink).and_then(|roster| roster.own().cloned());
        // The line went down meanwhile; the page asks again when it is back.
        let Some(own) = own else { return };
        self.call(now, CallInput::Look(look));
        let Some((look, _)) = self.call.current() else { return };
        let look = look.clone();
        if !self.peers.contains_key(key) {
            self.report(Report::PeerCame(key.clone()));
            self.arrivals += 1;
            let role = Role::between(&own, &key.id);
            self.peers.insert(key.clone(), Peer::new(now, role, self.arrivals));
            self.admit(now, key, Some(role));
        }
        let longest = self.call.rules().longest_look;
        self.looks.until.insert(key.clone(), now + longest);
        self.report(Report::LooksIn { call: look.clone(), by: person, peer: key.clone() });
        self.send(key, Outgoing::Looking(look, longest));
    }

    /// So many persons are known from now on. With one less, whoever looks has to prove anew who it is.
    pub(super) fn persons(&mut self, now: Instant, count: usize) {
        let fewer = count < self.access.persons();
        self.access.set_persons(count);
        if fewer {
            self.looks.asking.clear();
            self.call(now, CallInput::Unwatched);
        }
    }

    /// Time passed: whose time is up looks no more.
    pub(super) fn expire_looks(&mut self, now: Instant) {
        let over = self.looks.until.iter().filter(|(_, until)| **until <= now);
        for key in over.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            if let Some((look, _)) = self.call.current() {
                let look = look.clone();
                self.send(&key, Outgoing::LookOver(look));
            }
            self.looks_no_more(now, &key);
        }
    }

    pub(super) fn refuse_look(&mut self, key: &PeerKey, why: Denial) {
        let asked = self.looks.asking.remove(key).map(|(look, _)| look);
        let look = asked.unwrap_or_else(|| CallId(format!("{}-look", self.prefix).into()));
        self.send(key, Outgoing::Refused(look, Purpose::Look, why));
    }

    /// A peer is gone or is not wanted any more. With the last one the camera goes off.
    fn looks_no_more(&mut self, now: Instant, key: &PeerKey) {
        self.looks.asking.remove(key);
        self.looks.until.remove(key);
        self.access.left(key);
        if !self.peers.contains_key(key) {
            return;
        }
        self.drop_peer(now, key);
        if self.peers.is_empty() {
            self.call(now, CallInput::Unwatched);
        }
    }

    /// Time is up, or somebody rang.
    pub(super) fn look_over(&mut self, now: Instant, look: CallId) {
        self.looks.until.clear();
        let looking = self.peers.keys().filter(|key| key.uplink.is_for_looks());
        for key in looking.cloned().collect::<Vec<_>>() {
            self.send(&key, Outgoing::LookOver(look.clone()));
            self.drop_peer(now, &key);
        }
        self.command(Command::Look(false));
        self.report(Report::LookOver(look));
    }
}
