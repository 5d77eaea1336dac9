//! The heart: what the intercom decides, with no socket, no codec, no task and no clock in it.
//!
//! `handle(now, input)` takes one input, `poll_command` hands out what is to be done, `poll_timeout`
//! says when to come back. The same inputs at the same times always give the same commands. This
//! file routes between the machines beside it and holds no policy of its own:
//! `call` (the ring and the talk), `roster` (who is there), `peer` (one remote) with `negotiation`
//! and `recovery`, `indicator` (what the lamp says); `settle` brings what follows from them up to date.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

mod call;
mod commands;
mod indicator;
mod inputs;
mod negotiation;
mod peer;
mod recovery;
mod roster;
mod settle;
mod types;
mod verify;
mod view;

pub use commands::*;
pub use inputs::*;
pub use negotiation::Role;
pub use peer::Stance;
pub use types::*;
pub use view::{Counters, PeerView, Snapshot};

use call::{Call, CallInput, Effect};
use peer::{Act, Context, Peer};
use roster::{Attachment, Roster};
use settle::is_here;

/// Shortest time between two leave-and-joins on one uplink: each interrupts everybody there.
const REJOIN_PAUSE: Duration = Duration::from_secs(60);

/// The heart.
#[derive(Debug)]
pub struct Intercom {
    call: Call,
    prefix: String,
    presses: u64,
    rosters: BTreeMap<UplinkId, Roster>,
    peers: BTreeMap<PeerKey, Peer>,
    /// Links whose `Closed` is awaited.
    closing: BTreeSet<LinkId>,
    /// Uplinks whose `Left` is awaited.
    leaving: BTreeSet<UplinkId>,
    rejoined: BTreeMap<UplinkId, Instant>,
    generations: u32,
    answers: u64,
    shown: Option<LinkId>,
    told: Option<(Stage, Option<PeerKey>)>,
    lamp: Lamp,
    last_cause: Option<Cause>,
    state: CallState,
    commands: VecDeque<Command>,
    counters: Counters,
}

impl Intercom {
    /// A door that waits. `prefix` makes the call ids differ from those of an earlier run.
    pub fn new(rules: Rules, prefix: &str, uplinks: &[UplinkId]) -> Self {
        Self {
            call: Call::new(rules),
            prefix: prefix.to_owned(),
            presses: 0,
            rosters: uplinks.iter().map(|id| (*id, Roster::new())).collect(),
            peers: BTreeMap::new(),
            closing: BTreeSet::new(),
            leaving: BTreeSet::new(),
            rejoined: BTreeMap::new(),
            generations: 0,
            answers: 0,
            shown: None,
            told: None,
            lamp: Lamp::Off,
            last_cause: None,
            state: CallState::Idle,
            commands: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Press => {
                self.presses += 1;
                let id = CallId(format!("{}-{}", self.prefix, self.presses).into());
                self.call(now, CallInput::Press(id));
            }
            Input::Hangup => self.call(now, CallInput::End(Cause::Control)),
            Input::Shutdown => self.call(now, CallInput::End(Cause::Shutdown)),
            Input::Wakeup => self.wakeup(now),
            Input::Network(_) => {}
            Input::Uplink(uplink, event) => self.uplink(now, uplink, event),
            Input::Link(link, event) => self.link(now, &link, event),
        }
        self.settle(now);
    }

    /// The next thing to do. Drain after every `handle`.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When to come back with `Input::Wakeup`, and what waits for it.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let call = self.call.deadline().map(|at| (at, "call"));
        let peers = self.peers.values().filter_map(Peer::deadline).map(|at| (at, "peer"));
        let rosters = self.rosters.values().filter_map(Roster::deadline).map(|at| (at, "roster"));
        call.into_iter().chain(peers).chain(rosters).min()
    }

    fn call(&mut self, now: Instant, input: CallInput) {
        for effect in self.call.handle(now, input) {
            match effect {
                Effect::Begin => self.begin(),
                Effect::Ring { again } => {
                    if let Some((call, _)) = self.call.current() {
                        let call = call.clone();
                        self.report(Report::Rang { call, again });
                    }
                    if again {
                        self.command(Command::Chime);
                        self.told = None;
                    }
                }
                Effect::Talk | Effect::Rest => {}
                Effect::End(cause) => self.end(now, cause),
                Effect::PressIgnored => self.report(Report::PressIgnored(self.call.state())),
            }
        }
    }

    fn begin(&mut self) {
        self.counters.calls += 1;
        self.last_cause = None;
        self.told = None;
        self.command(Command::Chime);
        self.command(Command::Capture(true));
        for uplink in self.rosters.keys().copied().collect::<Vec<_>>() {
            self.command(Command::Uplink(uplink, UplinkCommand::Join));
        }
    }

    fn end(&mut self, now: Instant, cause: Cause) {
        self.last_cause = Some(cause);
        if let Some((call, _)) = self.call.current() {
            let call = call.clone();
            self.report(Report::Ended { call, cause });
        }
        self.tell_all(Stage::Ended(cause), None);
        self.told = None;
        for uplink in self.rosters.keys().copied().collect::<Vec<_>>() {
            self.command(Command::Uplink(uplink, UplinkCommand::Leave));
            self.leaving.insert(uplink);
        }
        for key in self.peers.keys().cloned().collect::<Vec<_>>() {
            self.drop_peer(now, &key);
        }
        for (uplink, roster) in &mut self.rosters {
            roster.clear();
            if *roster.attachment() == Attachment::Down {
                self.leaving.remove(uplink);
            }
        }
        self.show(None);
        self.command(Command::Capture(false));
    }

    fn wakeup(&mut self, now: Instant) {
        self.call(now, CallInput::Wakeup);
        let due: Vec<PeerKey> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.deadline().is_some_and(|at| at <= now))
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.with_peer(now, &key, |peer, cx| peer.wakeup(cx));
        }
        for uplink in self.rosters.keys().copied().collect::<Vec<_>>() {
            let over = self.rosters.get_mut(&uplink).map(|roster| roster.expire(now));
            for id in over.unwrap_or_default() {
                self.drop_peer(now, &PeerKey { uplink, id });
            }
        }
    }

    fn uplink(&mut self, now: Instant, uplink: UplinkId, event: UplinkEvent) {
        let Some(roster) = self.rosters.get_mut(&uplink) else {
            self.counters.ignored += 1;
            return;
        };
        match event {
            UplinkEvent::Up { own } => roster.up(own),
            UplinkEvent::Down => {
                roster.down();
                self.leaving.remove(&uplink);
                for (_, peer) in self.peers.iter_mut().filter(|(key, _)| key.uplink == uplink) {
                    peer.hold();
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
            UplinkEvent::JoinRefused | UplinkEvent::ServersChanged => {}
            UplinkEvent::Snapshot(list) if self.call.is_live() => {
                self.snapshot_of(now, uplink, list)
            }
            UplinkEvent::Came(id) if self.call.is_live() => {
                let known = roster.came(&id);
                self.welcome(now, PeerKey { uplink, id }, known);
            }
            UplinkEvent::Gone(id) if self.call.is_live() => {
                roster.gone(&id);
                self.drop_peer(now, &PeerKey { uplink, id });
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

    fn snapshot_of(&mut self, now: Instant, uplink: UplinkId, list: Vec<PeerId>) {
        let Some(roster) = self.rosters.get_mut(&uplink) else { return };
        let Some(own) = roster.own().cloned() else { return };
        let renewed = roster.take_new_identity();
        let reconciled = roster.snapshot(list);
        for id in reconciled.absent {
            let key = PeerKey { uplink, id };
            // Its media still flows, so it may have lost its signalling only.
            let keep = !renewed && self.peers.get(&key).is_some_and(Peer::is_connected);
            match self.rosters.get_mut(&uplink) {
                Some(roster) if keep => roster.keep_missing(now, key.id),
                _ => self.drop_peer(now, &key),
            }
        }
        for id in reconciled.stayed {
            let role = Role::between(&own, &id);
            let key = PeerKey { uplink, id };
            self.with_peer(now, &key, |peer, cx| {
                if renewed || peer.generation().is_none() {
                    peer.renew(cx, role);
                } else {
                    peer.resume(cx);
                }
            });
        }
        for id in reconciled.came {
            self.welcome(now, PeerKey { uplink, id }, false);
        }
    }

    /// Somebody is in the channel: build a link to them.
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
        if known && self.peers.contains_key(&key) {
            // It joined once more, so it has dropped the connection it had for us.
            self.with_peer(now, &key, |peer, cx| peer.renew(cx, role));
        } else {
            self.report(Report::PeerCame(key.clone()));
            self.peers.insert(key.clone(), Peer::new(now, role));
            self.with_peer(now, &key, |peer, cx| peer.open(cx));
        }
        if let Some((stage, answered_by)) = self.told.clone() {
            self.tell(&key, stage, answered_by.as_ref());
        }
        for signal in early {
            self.signal(now, key.clone(), signal);
        }
    }

    fn signal(&mut self, now: Instant, key: PeerKey, signal: Signal) {
        if !self.call.is_live() {
            return;
        }
        if !self.peers.contains_key(&key) {
            let kept = self
                .rosters
                .get_mut(&key.uplink)
                .is_some_and(|roster| roster.stranger(now, &key.id, signal));
            self.counters.ignored += u64::from(!kept);
            return;
        }
        match signal {
            Signal::Page(PageMessage::Answer) => self.answered(&key),
            Signal::Page(PageMessage::Hangup) => self.hung_up(now, &key),
            signal => self.with_peer(now, &key, |peer, cx| peer.signal(cx, signal)),
        }
    }

    fn answered(&mut self, key: &PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if !matches!(peer.stance(), Stance::Answered(_)) {
            self.answers += 1;
            peer.set_stance(Stance::Answered(self.answers));
            self.report(Report::Answered { peer: key.clone() });
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

    fn link(&mut self, now: Instant, link: &LinkId, event: LinkEvent) {
        if event == LinkEvent::Closed {
            self.closing.remove(link);
        }
        if event == LinkEvent::Health(Health::Connected)
            && let Some((stage, answered_by)) = self.told.clone()
        {
            // A page that joined a moment ago may have lost the first telling (protocol.md 5.7).
            self.tell(&link.peer, stage, answered_by.as_ref());
        }
        self.with_peer(now, &link.peer, |peer, cx| peer.link_event(cx, link.generation, event));
    }

    /// Runs one step of a peer and carries out what it wants.
    fn with_peer(
        &mut self,
        now: Instant,
        key: &PeerKey,
        step: impl FnOnce(&mut Peer, &mut Context<'_>),
    ) {
        let Some(peer) = self.peers.get_mut(key) else {
            self.counters.ignored += 1;
            return;
        };
        let mut acts = Vec::new();
        let mut cx = Context { now, generations: &mut self.generations, acts: &mut acts };
        step(peer, &mut cx);
        for act in acts {
            self.act(now, key, act);
        }
    }

    fn act(&mut self, now: Instant, key: &PeerKey, act: Act) {
        let link = |generation| LinkId { peer: key.clone(), generation };
        match act {
            Act::Open(generation) => self.command(Command::OpenLink(link(generation))),
            Act::Close(generation) => {
                self.closing.insert(link(generation));
                self.command(Command::CloseLink(link(generation)));
            }
            Act::Link(generation, command) => {
                self.command(Command::Link(link(generation), command))
            }
            Act::Send(what) => self.send(key, what),
            Act::Rejoin => self.rejoin(now, key),
            Act::Rebuilt(generation, why) => {
                self.counters.rebuilds += 1;
                self.report(Report::Rebuilt(link(generation), why));
            }
            Act::GaveUp => {
                self.counters.given_up += 1;
                self.report(Report::GaveUp(key.clone()));
            }
            Act::Ignored => self.counters.ignored += 1,
        }
    }

    /// Leaves the channel and joins it again, so that a stuck browser starts anew; only when it
    /// costs nobody a working picture, and not often.
    fn rejoin(&mut self, now: Instant, key: &PeerKey) {
        let uplink = key.uplink;
        let disturbs = self
            .peers
            .iter()
            .any(|(other, peer)| other.uplink == uplink && other != key && peer.is_connected());
        let too_soon = self.rejoined.get(&uplink).is_some_and(|at| now < *at + REJOIN_PAUSE);
        if disturbs || too_soon {
            self.with_peer(now, key, |peer, cx| peer.close(cx));
            return self.act(now, key, Act::GaveUp);
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

    fn drop_peer(&mut self, now: Instant, key: &PeerKey) {
        if self.peers.contains_key(key) {
            self.with_peer(now, key, |peer, cx| peer.close(cx));
            self.peers.remove(key);
            self.report(Report::PeerLeft(key.clone()));
        }
    }

    fn report(&mut self, report: Report) {
        self.command(Command::Report(report));
    }

    fn command(&mut self, command: Command) {
        self.commands.push_back(command);
    }
}
