//! What happens in the channels: who comes, goes, stays and comes back, and what they say.
//!
//! Part of `Intercom`; the machines it tells are `roster`, `peer` and `call`.

use std::time::{Duration, Instant};

use super::call::CallInput;
use super::flood::Verdict;
use super::peer::Peer;
use super::roster::Attachment;
use super::settle::is_here;
use super::{
    Command, Description, DescriptionKind, Intercom, Outgoing, PageId, PeerId, PeerKey, Portrait,
    Report, Role, Signal, Stance, UplinkCommand, UplinkEvent, UplinkId,
};

/// Shortest time between two leave-and-joins on one uplink: each interrupts everybody there.
const REJOIN_PAUSE: Duration = Duration::from_secs(60);
/// Most pages remembered that are away; the first in order is forgotten when there are more.
const MAX_AWAY: usize = 32;

impl Intercom {
    pub(super) fn uplink(&mut self, now: Instant, uplink: UplinkId, event: UplinkEvent) {
        if uplink.is_for_looks() {
            return self.look_uplink(now, uplink, event);
        }
        let Some(roster) = self.rosters.get_mut(&uplink) else {
            self.counters.ignored += 1;
            return;
        };
        match event {
            UplinkEvent::Up { own } => {
                roster.up(own);
                self.line_up(uplink);
                self.call(now, CallInput::Renewed);
            }
            UplinkEvent::Down => {
                roster.down();
                self.line_down(now, uplink);
                self.leaving.remove(&uplink);
                for (_, peer) in self.peers.iter_mut().filter(|(key, _)| key.uplink == uplink) {
                    peer.hold(now);
                }
            }
            UplinkEvent::Joined if self.call.is_live() => {
                roster.entered();
                self.call(now, CallInput::Entered);
            }
            UplinkEvent::Left => {
                roster.left();
                self.leaving.remove(&uplink);
            }
            // The uplink has said why; another uplink may still carry the call.
            UplinkEvent::JoinRefused => {}
            UplinkEvent::ServersChanged => self.servers_changed(now, uplink),
            UplinkEvent::Snapshot(list) if self.call.is_live() => {
                self.snapshot_of(now, uplink, list)
            }
            UplinkEvent::Came(id) if self.call.is_live() => {
                let known = roster.came(&id);
                self.welcome(now, PeerKey { uplink, id }, known);
            }
            UplinkEvent::Gone(id) if self.call.is_live() => {
                self.gone(now, PeerKey { uplink, id });
            }
            UplinkEvent::Signal { from, signal } if self.call.is_live() => {
                self.signal(now, PeerKey { uplink, id: from }, signal);
            }
            UplinkEvent::Undelivered { to, absent } if self.call.is_live() => {
                let key = PeerKey { uplink, id: to };
                self.with_peer(now, &key, |peer, cx| peer.undelivered(cx, absent));
            }
            // Late news of a call that is over.
            UplinkEvent::Joined
            | UplinkEvent::Snapshot(_)
            | UplinkEvent::Came(_)
            | UplinkEvent::Gone(_)
            | UplinkEvent::Signal { .. }
            | UplinkEvent::Undelivered { .. } => self.counters.ignored += 1,
        }
    }

    pub(super) fn servers_changed(&mut self, now: Instant, uplink: UplinkId) {
        let there = self.peers.keys().filter(|key| key.uplink == uplink);
        for key in there.cloned().collect::<Vec<_>>() {
            self.with_peer(now, &key, |peer, cx| peer.configure(cx));
        }
    }

    fn snapshot_of(&mut self, now: Instant, uplink: UplinkId, list: Vec<PeerId>) {
        let Some(roster) = self.rosters.get_mut(&uplink) else { return };
        let Some(own) = roster.own().cloned() else { return };
        let renewed = roster.take_new_identity();
        let reconciled = roster.snapshot(list);
        for id in reconciled.absent {
            let key = PeerKey { uplink, id };
            self.forget_refusal(&key);
            // Its media still flows, so it may have lost its signalling only. If we are somebody new to the channel, it
            // drops this connection when it is back and sees so; until then people talk.
            let keep =
                self.peers.get(&key).is_some_and(|peer| is_here(peer) && peer.is_connected());
            match self.rosters.get_mut(&uplink) {
                Some(roster) if keep => roster.keep_missing(now, key.id),
                _ => self.drop_peer(now, &key),
            }
        }
        for id in reconciled.stayed {
            let role = Role::between(&own, &id);
            let key = PeerKey { uplink, id };
            let is_linked = self.peers.get(&key).is_some_and(|peer| peer.generation().is_some());
            if !is_linked {
                self.admit(now, &key, Some(role));
                continue;
            }
            self.with_peer(now, &key, |peer, cx| {
                if renewed {
                    peer.renew(cx, role);
                } else {
                    peer.resume(cx);
                }
            });
            // What was told while the line was away is lost; who knows it already takes no harm from it.
            if let Some(telling) = self.told.clone() {
                self.tell(now, &key, &telling);
            }
        }
        for id in reconciled.came {
            self.welcome(now, PeerKey { uplink, id }, false);
        }
    }

    /// Somebody is in the channel: build a link to them, if there is room.
    fn welcome(&mut self, now: Instant, key: PeerKey, known: bool) {
        if !self.call.is_live() {
            // An earlier peer of the same list has just ended the call.
            return;
        }
        let Some(roster) = self.rosters.get_mut(&key.uplink) else { return };
        roster.take_new_identity();
        let Some(own) = roster.own() else { return };
        let role = Role::between(own, &key.id);
        let early = roster.take_signals(&key.id);
        self.forget_refusal(&key);
        let is_linked = self.peers.get(&key).is_some_and(|peer| peer.generation().is_some());
        if known && is_linked {
            // It joined once more, so it has dropped the connection it had for us.
            self.with_peer(now, &key, |peer, cx| peer.renew(cx, role));
        } else {
            if !self.peers.contains_key(&key) {
                self.report(Report::PeerCame(key.clone()));
                self.call(now, CallInput::Came);
                self.arrivals += 1;
                self.peers.insert(key.clone(), Peer::new(now, role, self.arrivals));
            }
            self.admit(now, &key, Some(role));
        }
        if let Some(telling) = self.told.clone() {
            self.tell(now, &key, &telling);
        }
        if self.portrait == Portrait::There {
            self.command(Command::TellPicture(key.clone()));
        }
        for signal in early {
            self.signal(now, key.clone(), signal);
        }
    }

    /// Whether this peer's link counts. Those who are kept for their media only may be here a second time already, under
    /// their new id.
    pub(super) fn takes_room(&self, key: &PeerKey, peer: &Peer) -> bool {
        peer.generation().is_some() && !self.is_missing(key)
    }

    /// Whether one more link may be built.
    pub(super) fn has_room(&self) -> bool {
        let links = self.peers.iter().filter(|(key, peer)| self.takes_room(key, peer)).count();
        links < usize::try_from(self.max_peers).unwrap_or(usize::MAX)
    }

    /// Gives a peer without a link one, or has it wait for its turn. `role` where our id may be new.
    pub(super) fn admit(&mut self, now: Instant, key: &PeerKey, role: Option<Role>) {
        let has_room = self.has_room();
        let Some(peer) = self.peers.get_mut(key) else { return };
        if let Some(role) = role {
            peer.set_role(role);
        }
        if has_room {
            return self.with_peer(now, key, |peer, cx| peer.open(cx));
        }
        if !peer.is_waiting() {
            peer.wait();
            self.report(Report::Waits(key.clone()));
            self.send(key, Outgoing::Full);
        }
    }

    fn forget_refusal(&mut self, key: &PeerKey) {
        self.turned_away.remove(key);
        self.doors.remove(key);
    }

    fn gone(&mut self, now: Instant, key: PeerKey) {
        self.forget_refusal(&key);
        let Some(roster) = self.rosters.get_mut(&key.uplink) else { return };
        // A person whose page lost its signalling only is seen and heard until its media ends, or until
        // the page is back under another id and takes its place.
        if self.peers.get(&key).is_some_and(|peer| is_here(peer) && peer.is_connected()) {
            return roster.keep_missing(now, key.id);
        }
        self.let_go(now, &key);
    }

    /// Whether the peer is kept for its media only.
    pub(super) fn is_missing(&self, key: &PeerKey) -> bool {
        self.rosters.get(&key.uplink).is_some_and(|roster| roster.is_missing(&key.id))
    }

    pub(super) fn let_go(&mut self, now: Instant, key: &PeerKey) {
        if let Some(roster) = self.rosters.get_mut(&key.uplink) {
            roster.gone(&key.id);
        }
        self.drop_peer(now, key);
    }

    fn signal(&mut self, now: Instant, key: PeerKey, signal: Signal) {
        if !self.call.is_live() || self.turned_away.contains(&key) {
            self.counters.ignored += 1;
            return;
        }
        let Some(peer) = self.peers.get_mut(&key) else {
            let kept = self
                .rosters
                .get_mut(&key.uplink)
                .is_some_and(|roster| roster.stranger(now, &key.id, signal));
            self.counters.ignored += u64::from(!kept);
            return;
        };
        match peer.count(now, &signal) {
            Verdict::Pass => {}
            Verdict::Ignore => {
                self.counters.ignored += 1;
                return;
            }
            Verdict::TurnAway => return self.turn_away(now, &key),
        }
        let is_offer =
            matches!(signal, Signal::Description(Description { kind: DescriptionKind::Offer, .. }));
        if is_offer && peer.generation().is_none() && !peer.is_waiting() && !self.has_room() {
            self.admit(now, &key, None);
        }
        match signal {
            Signal::Page(message) => self.page(now, &key, message),
            signal => self.with_peer(now, &key, |peer, cx| peer.signal(cx, signal)),
        }
    }

    /// A page says which it is: if it was here under another id, it has its old place again.
    pub(super) fn hello(&mut self, now: Instant, key: &PeerKey, page: PageId) {
        let was = self
            .peers
            .iter()
            .find(|(other, peer)| *other != key && peer.page() == Some(&page))
            .map(|(other, _)| other.clone());
        let arrival = was.as_ref().and_then(|was| self.peers.get(was)).map(Peer::arrival);
        if let Some(was) = &was {
            self.let_go(now, was);
        }
        let decided = self.away.remove(&page);
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.set_page(page);
        if let Some(arrival) = arrival {
            peer.set_arrival(arrival);
        }
        match (decided, peer.stance()) {
            // Its answer may have come before its name, and found the call with its former self.
            (Some(before), Stance::Watching | Stance::Elsewhere) => peer.set_stance(before),
            // Its media may have come before its name.
            (Some(Stance::Answered(before)), Stance::Answered(order)) => {
                peer.set_stance(Stance::Answered(before.min(order)));
            }
            _ => {}
        }
        if let Some(was) = was {
            self.report(Report::CameBack { was, now: key.clone() });
        }
    }

    fn turn_away(&mut self, now: Instant, key: &PeerKey) {
        self.drop_peer(now, key);
        self.turned_away.insert(key.clone());
        self.report(Report::TurnedAway(key.clone()));
    }

    /// Leaves the channel and joins it again, so that a stuck browser starts anew; only when it
    /// costs nobody a working picture, and not often.
    pub(super) fn rejoin(&mut self, now: Instant, key: &PeerKey) {
        let uplink = key.uplink;
        let disturbs = self
            .peers
            .iter()
            .any(|(other, peer)| other.uplink == uplink && other != key && peer.minds_a_rejoin());
        let too_soon = self.rejoined.get(&uplink).is_some_and(|at| now < *at + REJOIN_PAUSE);
        let is_in = self
            .rosters
            .get(&uplink)
            .is_some_and(|roster| matches!(roster.attachment(), Attachment::In(_)));
        if disturbs || too_soon || !is_in {
            return self.with_peer(now, key, |peer, cx| peer.stays_in(cx));
        }
        self.rejoined.insert(uplink, now);
        self.counters.rejoins += 1;
        let there: Vec<PeerKey> =
            self.peers.keys().filter(|key| key.uplink == uplink).cloned().collect();
        for key in there {
            self.with_peer(now, &key, |peer, cx| peer.close(cx));
        }
        if let Some(roster) = self.rosters.get_mut(&uplink) {
            roster.left();
        }
        self.command(Command::Uplink(uplink, UplinkCommand::Leave));
        self.command(Command::Uplink(uplink, UplinkCommand::Join));
    }

    /// Two doors that share a channel and are rung at would take each other's media for an answer. They go on telling
    /// each other where they stand, as the other may not know yet whom it meets.
    pub(super) fn leave_alone(&mut self, now: Instant, key: &PeerKey) {
        self.drop_peer(now, key);
        self.turned_away.insert(key.clone());
        self.doors.insert(key.clone());
        self.report(Report::OtherDoor(key.clone()));
        if let Some(telling) = self.told.clone() {
            self.tell(now, key, &telling);
        }
    }

    pub(super) fn drop_peer(&mut self, now: Instant, key: &PeerKey) {
        self.with_known_peer(now, key, |peer, cx| peer.close(cx));
        let Some(peer) = self.peers.remove(key) else { return };
        self.access.left(key);
        if let Some(page) = peer.page() {
            self.away.insert(page.clone(), peer.stance());
            if self.away.len() > MAX_AWAY {
                self.away.pop_first();
            }
        }
        self.report(Report::PeerLeft(key.clone()));
    }
}
