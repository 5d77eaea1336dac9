//! What follows from the present state after every input: who has answered, whose picture is shown, what
//! the pages are told, what the lamp says.

use std::collections::BTreeSet;
use std::time::Instant;

use super::call::CallInput;
use super::indicator::{Going, Rest};
use super::peer::Peer;
use super::roster::Attachment;
use super::{
    CallNotice, CallState, Cause, Command, DoorState, Intercom, LinkId, Name, Outgoing, PeerKey,
    Report, Right, Stage, Stance, UplinkCommand, indicator,
};

/// What all pages have been told last.
#[derive(Debug, Clone)]
pub(super) struct Telling {
    seq: u64,
    stage: Stage,
    answered_by: Option<PeerKey>,
    answered_name: Option<Name>,
    ringing_at: u32,
    may: Vec<Right>,
}

impl Telling {
    /// Nobody has answered and nobody may do anything.
    fn plain(stage: Stage) -> Self {
        let (answered_by, answered_name) = (None, None);
        Self { seq: 0, stage, answered_by, answered_name, ringing_at: 0, may: Vec::new() }
    }

    /// Whether a page that has heard this learns nothing from `other`.
    fn says_as_much_as(&self, other: &Self) -> bool {
        let Self { seq: _, stage, answered_by, answered_name, ringing_at, may } = self;
        *stage == other.stage
            && *answered_by == other.answered_by
            && *answered_name == other.answered_name
            && *ringing_at == other.ringing_at
            && *may == other.may
    }
}

impl Intercom {
    /// Brings everything that follows from the present state up to date.
    pub(super) fn settle(&mut self, now: Instant) {
        let talking: Vec<PeerKey> = self
            .peers
            .iter()
            .filter(|(_, peer)| {
                peer.stance() == Stance::Watching && peer.is_connected() && peer.sends_media()
            })
            // Whoever looks in talks with nobody.
            .filter(|(key, _)| !key.uplink.is_for_looks())
            .map(|(key, _)| key.clone())
            .collect();
        for key in talking {
            self.answered(&key);
        }
        self.admit_waiting(now);
        self.door.tick(now);
        self.watch_over_lines(now);
        let here = self.peers.values().filter(|peer| is_here(peer));
        let company = match here.map(Peer::is_connected).max() {
            None => CallInput::Alone,
            Some(false) => CallInput::Accompanied,
            Some(true) => CallInput::Met,
        };
        self.call(now, company);
        if self.call.state() == CallState::Ending
            && self.closing.is_empty()
            && self.leaving.is_empty()
        {
            self.call(now, CallInput::Freed);
        }
        self.show(self.to_show());
        self.hear(self.to_hear());
        self.tell_stage(now);
        if self.note.as_ref().is_some_and(|(until, _)| *until <= now) {
            self.set_note(None);
        }
        self.indicate(now);
        if self.state != self.call.state() {
            self.state = self.call.state();
            self.report(Report::State(self.state));
        }
    }

    /// Who waits for a place gets it as soon as there is one: those who answered first, then in the order of
    /// coming. For somebody who answered, one who only watches makes room.
    fn admit_waiting(&mut self, now: Instant) {
        loop {
            let is_in = |key: &PeerKey| {
                let roster = self.rosters.get(&key.uplink);
                roster.is_some_and(|roster| matches!(roster.attachment(), Attachment::In(_)))
            };
            let waiting = self.peers.iter().filter(|(key, peer)| peer.is_waiting() && is_in(key));
            let rank =
                |peer: &Peer| (!matches!(peer.stance(), Stance::Answered(_)), peer.arrival());
            let Some((key, next)) = waiting.min_by_key(|(_, peer)| rank(peer)) else { return };
            let (key, answered) = (key.clone(), matches!(next.stance(), Stance::Answered(_)));
            if !(self.has_room() || answered && self.make_room(now)) {
                return;
            }
            self.admit(now, &key, None);
        }
    }

    /// Takes the place of the last comer who has not answered. Returns whether there was one.
    fn make_room(&mut self, now: Instant) -> bool {
        let served = self.peers.iter().filter(|(key, peer)| self.takes_room(key, peer));
        let idle = served.filter(|(_, peer)| !matches!(peer.stance(), Stance::Answered(_)));
        let Some(key) = idle.max_by_key(|(_, peer)| peer.arrival()).map(|(key, _)| key.clone())
        else {
            return false;
        };
        self.with_peer(now, &key, |peer, cx| {
            peer.close(cx);
            peer.wait();
        });
        self.report(Report::Waits(key.clone()));
        self.send(&key, Outgoing::Full);
        true
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

    /// Everybody who answered is heard, whoever of them is seen.
    fn to_hear(&self) -> BTreeSet<LinkId> {
        let here = self.peers.iter().filter(|(_, peer)| is_here(peer));
        here.filter_map(|(key, peer)| {
            Some(LinkId { peer: key.clone(), generation: peer.generation()? })
        })
        .collect()
    }

    pub(super) fn hear(&mut self, links: BTreeSet<LinkId>) {
        if self.heard != links {
            self.heard.clone_from(&links);
            self.command(Command::Hear(links));
        }
    }

    fn tell_stage(&mut self, now: Instant) {
        let stage = match self.call.state() {
            CallState::Ringing => Stage::Ringing,
            CallState::Talking => Stage::Talking,
            CallState::Idle | CallState::Looking | CallState::Joining | CallState::Ending => return,
        };
        let answered_by = self.shown.as_ref().map(|link| link.peer.clone());
        let ringing = self.peers.values().filter(|peer| peer.rings()).count();
        let telling = Telling {
            seq: 0,
            stage,
            answered_name: answered_by
                .as_ref()
                .and_then(|key| self.peers.get(key)?.name().cloned()),
            answered_by,
            ringing_at: u32::try_from(ringing).unwrap_or(u32::MAX),
            may: self.rights(stage),
        };
        let before = self.told.take();
        if before.as_ref().is_none_or(|told| told.ringing_at != telling.ringing_at) && ringing > 0 {
            self.report(Report::RingingAt(telling.ringing_at));
        }
        match before {
            Some(before) if before.says_as_much_as(&telling) => self.told = Some(before),
            _ => self.tell_all(now, telling),
        }
    }

    /// What a page may do besides answering.
    fn rights(&self, stage: Stage) -> Vec<Right> {
        let rules = self.call.rules();
        let talk = stage == Stage::Talking;
        let rights = [
            (Right::Open, self.door.state() != DoorState::NotWired && self.access.has_persons()),
            (Right::Take, talk),
            (Right::Join, talk && rules.second_speaker),
            (Right::Text, rules.texts),
            (Right::Look, self.shows_itself()),
        ];
        rights.into_iter().filter_map(|(right, has)| has.then_some(right)).collect()
    }

    /// Tells everybody that the call is over.
    pub(super) fn tell_end(&mut self, now: Instant, cause: Cause) {
        let stage = Stage::Ended(cause);
        self.tell_all(now, Telling::plain(stage));
        self.told = None;
    }

    fn tell_all(&mut self, now: Instant, telling: Telling) {
        self.seq += 1;
        let telling = Telling { seq: self.seq, ..telling };
        for key in self.peers.keys().chain(&self.doors).cloned().collect::<Vec<_>>() {
            self.tell(now, &key, &telling);
        }
        self.told = Some(telling);
    }

    pub(super) fn tell(&mut self, now: Instant, key: &PeerKey, telling: &Telling) {
        let Some((call, since)) = self.call.current() else { return };
        let notice = CallNotice {
            call: call.clone(),
            seq: telling.seq,
            stage: telling.stage,
            age: now.saturating_duration_since(since),
            ringing_at: telling.ringing_at,
            answered_by: telling.answered_by.clone(),
            answered_name: telling.answered_name.clone(),
            may: telling.may.clone(),
        };
        self.send(key, Outgoing::Notice(Box::new(notice)));
        // A page looks at this only once it knows of the call.
        if self.peers.get(key).is_some_and(Peer::is_waiting) {
            self.send(key, Outgoing::Full);
        }
    }

    pub(super) fn send(&mut self, key: &PeerKey, what: Outgoing) {
        let to = key.id.clone();
        self.command(Command::Uplink(key.uplink, UplinkCommand::Send { to, what }));
    }

    fn indicate(&mut self, now: Instant) {
        self.sorry = self.sorry.filter(|(until, _)| now < *until);
        let rest = match (self.sorry, self.faults.trouble()) {
            (Some((_, cause)), _) => Rest::Sorry(cause),
            (None, Some(trouble)) => Rest::Faulty(trouble),
            (None, None) => Rest::Fine,
        };
        let here: Vec<&Peer> = self.peers.values().filter(|peer| is_here(peer)).collect();
        let seen = here.iter().any(|peer| peer.is_connected());
        let repairing = !seen && (here.is_empty() || here.iter().any(|peer| peer.is_in_trouble()));
        let going = match self.call.state() {
            CallState::Talking if repairing => Going::Repairing,
            CallState::Ringing if self.peers.values().any(Peer::rings) => Going::Seen,
            _ => Going::Well,
        };
        let lamp = indicator::lamp(self.call.state(), going, rest);
        if lamp != self.lamp {
            self.lamp = lamp;
            self.command(Command::Lamp(lamp));
        }
        let scene = indicator::scene(self.call.state(), going, rest);
        if scene != self.scene {
            self.scene = scene;
            self.command(Command::Scene(scene));
        }
    }
}

/// Whether a person who answered is still within reach, a link under repair included.
pub fn is_here(peer: &Peer) -> bool {
    matches!(peer.stance(), Stance::Answered(_)) && peer.generation().is_some()
}
