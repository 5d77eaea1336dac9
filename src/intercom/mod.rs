//! The heart: what the intercom decides, with no socket, no codec, no task and no clock in it.
//!
//! `handle(now, input)` takes one input, `poll_command` hands out what is to be done, `poll_timeout`
//! says when to come back. The same inputs at the same times always give the same commands. This
//! file routes between the machines beside it and holds no policy of its own:
//! `call` (the ring and the talk), `roster` (who is there), `peer` (one remote) with `negotiation`
//! and `recovery`, `door` (the release), `faults` (what is out of order), `indicator` (what the lamp
//! says); `settle` brings what follows from them up to date.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

mod access;
mod act;
mod answering;
mod call;
mod channel;
mod commands;
mod door;
mod faults;
mod flood;
mod indicator;
mod inputs;
mod look;
mod negotiation;
mod page;
mod peer;
mod recovery;
mod remote;
mod roster;
mod settle;
mod types;
mod verify;
mod view;

pub use call::STUTTER;
pub use commands::*;
pub use door::{DoorState, LOCK_OUT, Opener, Refusal, ReleaseRules, SHORTEST_PULSE};
pub use faults::{LINE_PATIENCE, Part};
pub use inputs::*;
pub use negotiation::Role;
pub use page::*;
pub use peer::Stance;
pub use types::*;
pub use view::{Counters, PeerView, Snapshot};

use access::Access;
use call::{Call, CallInput, Effect};
use door::Door;
use faults::Faults;
use look::Looks;
use peer::{Act, Context, Peer};
use roster::{Attachment, Roster};
use settle::{Telling, is_here};

/// Whether presses call anybody at this time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hours {
    Usual,
    Quiet,
}

/// Whether there is a picture of the visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Portrait {
    None,
    There,
}

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
    /// Peers that are not listened to any more, until they leave or the call is over.
    turned_away: BTreeSet<PeerKey>,
    /// Those of them that are doors.
    doors: BTreeSet<PeerKey>,
    /// What persons had decided whose pages are away at present.
    away: BTreeMap<PageId, Stance>,
    max_peers: u32,
    arrivals: u64,
    generations: u32,
    answers: u64,
    shown: Option<LinkId>,
    heard: BTreeSet<LinkId>,
    told: Option<Telling>,
    /// The number of the latest telling of this call.
    seq: u64,
    /// What the visitor reads, and until when.
    note: Option<(Instant, Note)>,
    access: Access,
    looks: Looks,
    /// Whether there is a picture of this call's visitor.
    portrait: Portrait,
    /// Whether it is quiet hours.
    hours: Hours,
    door: Door,
    faults: Faults,
    lamp: Lamp,
    scene: Scene,
    /// Until when lamp and screen say sorry, and what for.
    sorry: Option<(Instant, Cause)>,
    state: CallState,
    /// What must not be, and is so at present.
    violation: Option<String>,
    /// All of it that was told.
    violations: BTreeSet<String>,
    commands: VecDeque<Command>,
    counters: Counters,
}

impl Intercom {
    /// A door that waits. `prefix` makes the call ids differ from those of an earlier run.
    pub fn new(rules: Rules, prefix: &str, uplinks: &[UplinkId]) -> Self {
        Self {
            max_peers: rules.max_peers,
            call: Call::new(rules),
            prefix: prefix.to_owned(),
            presses: 0,
            rosters: uplinks.iter().map(|id| (*id, Roster::new())).collect(),
            peers: BTreeMap::new(),
            closing: BTreeSet::new(),
            leaving: BTreeSet::new(),
            rejoined: BTreeMap::new(),
            turned_away: BTreeSet::new(),
            doors: BTreeSet::new(),
            away: BTreeMap::new(),
            arrivals: 0,
            generations: 0,
            answers: 0,
            shown: None,
            heard: BTreeSet::new(),
            told: None,
            seq: 0,
            note: None,
            access: Access::default(),
            looks: Looks::default(),
            portrait: Portrait::None,
            hours: Hours::Usual,
            door: Door::NotWired,
            faults: Faults::default(),
            lamp: Lamp::Idle,
            scene: Scene::Idle,
            sorry: None,
            state: CallState::Idle,
            violation: None,
            violations: BTreeSet::new(),
            commands: look::joins(uplinks),
            counters: Counters::default(),
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Instant, input: Input) {
        let in_time = input == Input::Wakeup;
        match input {
            Input::Press => {
                self.presses += 1;
                let id = CallId(format!("{}-{}", self.prefix, self.presses).into());
                match (self.hours, self.call.is_live()) {
                    (Hours::Quiet, false) => self.hush(now, id),
                    _ => self.call(now, CallInput::Press(id)),
                }
            }
            Input::LongPress => {
                self.counters.long_presses += 1;
                self.report(Report::LongPress);
            }
            Input::Broken(part) => self.broken(part),
            Input::Mended(part) => self.mended(part),
            Input::Hangup => self.call(now, CallInput::End(Cause::Control)),
            Input::Shutdown => {
                self.door.shut();
                self.call(now, CallInput::End(Cause::Shutdown));
            }
            Input::Wakeup => self.wakeup(now),
            Input::Network(change) => self.network(now, &change),
            Input::Quiet(quiet) => self.hours = if quiet { Hours::Quiet } else { Hours::Usual },
            Input::Picture(call) => self.picture_is_there(&call),
            Input::Persons(count) => self.persons(now, count),
            Input::Challenge(peer, purpose, nonce) => self.challenge(now, &peer, purpose, nonce),
            Input::Verified(peer, purpose, verdict) => self.verified(now, &peer, purpose, verdict),
            Input::WakeKept(peer) => self.wake_kept(&peer),
            Input::Uplink(uplink, event) => self.uplink(now, uplink, event),
            Input::Link(link, event) => self.link(now, &link, event),
        }
        self.settle(now);
        self.examine(in_time.then_some(now));
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
        let door = self.door.deadline().map(|at| (at, "door"));
        let line = self.faults.deadline().map(|at| (at, "line"));
        let lamp = self.sorry.map(|(at, _)| (at, "lamp"));
        let look = self.looks.deadline().map(|at| (at, "look"));
        let note = self.note.as_ref().map(|(at, _)| (*at, "note"));
        let rest = door.into_iter().chain(line).chain(lamp).chain(look).chain(note);
        call.into_iter().chain(peers).chain(rosters).chain(rest).min()
    }

    fn call(&mut self, now: Instant, input: CallInput) {
        for effect in self.call.handle(now, input) {
            match effect {
                Effect::Begin => self.begin(),
                // It was reported when it began.
                Effect::Ring { again: false } => self.reached(now, None, Milestone::Entered),
                Effect::Ring { again: true } => {
                    // Nothing goes before it: the visitor has to hear that the press counted.
                    self.command(Command::Chime);
                    self.told = None;
                    self.report_ring(true);
                }
                Effect::Talk | Effect::Rest => {}
                Effect::End(cause) => self.end(now, cause),
                Effect::PressIgnored => self.report(Report::PressIgnored(self.call.state())),
                Effect::Look => self.command(Command::Look(true)),
                Effect::LookOver(look) => self.look_over(now, look),
            }
        }
    }

    /// A press in quiet hours: the visitor hears and reads that it counted for nothing.
    fn hush(&mut self, now: Instant, call: CallId) {
        self.counters.hushed += 1;
        if self.call.rules().quiet_chime {
            self.command(Command::Chime);
        }
        let told = self.sorry.is_some_and(|(until, why)| now < until && why == Cause::Quiet);
        self.sorry = Some((now + indicator::SORRY, Cause::Quiet));
        // Who goes on pressing is one visit: it must not push everybody else out of the log.
        if told {
            return;
        }
        self.command(Command::Part(Cause::Quiet));
        // No `Rang`: whoever is told of rings is not to be woken.
        self.report(Report::Ended { call, cause: Cause::Quiet });
    }

    /// Everybody who was told of the ring gets the picture, and who comes later gets it then.
    fn picture_is_there(&mut self, call: &CallId) {
        if !self.is_present(call) || self.portrait == Portrait::There {
            self.counters.ignored += 1;
            return;
        }
        self.portrait = Portrait::There;
        for key in self.peers.keys().cloned().collect::<Vec<_>>() {
            self.command(Command::TellPicture(key));
        }
    }

    fn begin(&mut self) {
        self.counters.calls += 1;
        self.sorry = None;
        self.told = None;
        self.seq = 0;
        self.portrait = Portrait::None;
        self.command(Command::Chime);
        self.command(Command::Capture(true));
        self.report_ring(false);
        for uplink in self.call_lines() {
            self.command(Command::Uplink(uplink, UplinkCommand::Join));
        }
    }

    /// The uplinks over which phones are called.
    fn call_lines(&self) -> Vec<UplinkId> {
        self.rosters.keys().copied().filter(|uplink| !uplink.is_for_looks()).collect()
    }

    fn report_ring(&mut self, again: bool) {
        if let Some((call, _)) = self.call.current() {
            let call = call.clone();
            self.report(Report::Rang { call, again });
        }
    }

    fn end(&mut self, now: Instant, cause: Cause) {
        self.sorry = None;
        if cause.disappoints() {
            self.sorry = Some((now + indicator::SORRY, cause));
        }
        self.command(Command::Part(cause));
        if let Some((call, _)) = self.call.current() {
            let call = call.clone();
            self.report(Report::Ended { call, cause });
        }
        self.tell_end(now, cause);
        self.access.call_is_over();
        self.set_note(None);
        for uplink in self.call_lines() {
            self.command(Command::Uplink(uplink, UplinkCommand::Leave));
            self.leaving.insert(uplink);
        }
        for key in self.peers.keys().cloned().collect::<Vec<_>>() {
            self.drop_peer(now, &key);
        }
        self.turned_away.clear();
        self.doors.clear();
        self.away.clear();
        for (uplink, roster) in &mut self.rosters {
            if uplink.is_for_looks() {
                continue;
            }
            roster.clear();
            if *roster.attachment() == Attachment::Down {
                self.leaving.remove(uplink);
            }
        }
        self.show(None);
        self.hear(BTreeSet::new());
        self.command(Command::Capture(false));
    }

    fn wakeup(&mut self, now: Instant) {
        self.expire_looks(now);
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

    fn link(&mut self, now: Instant, link: &LinkId, event: LinkEvent) {
        if event == LinkEvent::Closed {
            self.closing.remove(link);
        }
        if event == LinkEvent::Health(Health::Connected)
            && let Some(telling) = self.told.clone()
        {
            // A page that joined a moment ago may have lost the first telling (protocol.md 5.7).
            self.tell(now, &link.peer, &telling);
        }
        if let LinkEvent::Reached(what, at) = event
            && self.is_current(link)
        {
            self.reached(at, Some(&link.peer), what);
        }
        let is_end = matches!(
            event,
            LinkEvent::Closed | LinkEvent::Health(Health::Disconnected | Health::Failed)
        );
        if is_end && self.is_current(link) && self.is_missing(&link.peer) {
            // It was kept for its media only.
            return self.let_go(now, &link.peer);
        }
        self.with_peer(now, &link.peer, |peer, cx| peer.link_event(cx, link.generation, event));
    }

    fn is_current(&self, link: &LinkId) -> bool {
        self.peers.get(&link.peer).and_then(Peer::generation) == Some(link.generation)
    }

    fn network(&mut self, now: Instant, change: &NetworkChange) {
        for key in self.peers.keys().cloned().collect::<Vec<_>>() {
            self.with_peer(now, &key, |peer, cx| peer.moved(cx, change));
        }
    }

    /// Runs one step of a peer and carries out what it wants.
    fn with_peer(
        &mut self,
        now: Instant,
        key: &PeerKey,
        step: impl FnOnce(&mut Peer, &mut Context<'_>),
    ) {
        if !self.peers.contains_key(key) {
            self.counters.ignored += 1;
        }
        self.with_known_peer(now, key, step);
    }

    /// Like `with_peer` for a peer that may well be unknown.
    fn with_known_peer(
        &mut self,
        now: Instant,
        key: &PeerKey,
        step: impl FnOnce(&mut Peer, &mut Context<'_>),
    ) {
        let Some(peer) = self.peers.get_mut(key) else { return };
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
            Act::Configure(generation) => self.command(Command::Configure(link(generation))),
            Act::Send(what) => {
                if matches!(what, Outgoing::Description(_)) {
                    self.reached(now, Some(key), Milestone::Described);
                }
                self.send(key, what);
            }
            Act::Rejoin => self.rejoin(now, key),
            Act::Rebuilt(generation, why) => {
                self.counters.rebuilds += 1;
                self.report(Report::Rebuilt(link(generation), why));
            }
            Act::GaveUp => {
                self.counters.given_up += 1;
                self.report(Report::GaveUp(key.clone()));
            }
            Act::Retry => self.admit(now, key, None),
            Act::Picture(mode) => {
                self.report(Report::Picture(key.clone(), mode));
                self.send(key, Outgoing::Video(mode));
            }
            Act::Ignored => self.counters.ignored += 1,
        }
    }

    /// The call came so far; told once for each peer in view.
    fn reached(&mut self, at: Instant, key: Option<&PeerKey>, what: Milestone) {
        let Some((_, since)) = self.call.current() else { return };
        if key.is_some_and(|key| key.uplink.is_for_looks()) {
            // No call waits for it.
            return;
        }
        let after = at.saturating_duration_since(since);
        let is_news = match key {
            Some(key) => self.peers.get_mut(key).is_some_and(|peer| peer.reaches(what)),
            None => true,
        };
        if is_news {
            self.report(Report::Reached { peer: key.cloned(), what, after });
        }
    }

    fn report(&mut self, report: Report) {
        self.command(Command::Report(report));
    }

    fn command(&mut self, command: Command) {
        self.commands.push_back(command);
    }
}
