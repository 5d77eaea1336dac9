//! One remote participant: its negotiation, its recovery and the count of links built for it.
//!
//! A peer keeps its identity, its stance and its place while its link is rebuilt. It decides about
//! its own link only; the call and the roster decide whether it exists.

mod mend;

use std::collections::BTreeSet;
use std::time::Instant;

pub use super::act::{Act, Context, Stance};
use super::flood::{Flood, Verdict};
use super::negotiation::{DEFERENCE, Negotiation, Role};
use super::recovery::{Futile, Recovery, Way};
use super::{
    DescriptionKind, Health, LinkEvent, Milestone, Name, NetworkChange, PageId, Path, Signal,
    VideoMode, Why,
};

/// Most signals kept of a peer that waits for its turn: a description and its candidates.
const MAX_KEPT: usize = 32;

/// The link a peer has at present.
#[derive(Debug)]
struct Link {
    generation: u32,
    negotiation: Negotiation,
    health: Health,
    /// Set when a description was applied and nothing has come of it yet.
    candidates_due: Option<Instant>,
    path: Option<Path>,
    servers: Servers,
}

/// Whether a link over a relay still hangs on credentials that are not the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Servers {
    Present,
    /// There are new ones, and they wait for the line to carry the offer.
    Outdated,
}

/// Whether a peer is served.
#[derive(Debug)]
enum Place {
    Served,
    /// The door is full. What the peer sent last is kept, since the SDK does not repeat it.
    Waiting(Vec<Signal>),
}

/// A remote participant.
#[derive(Debug)]
pub struct Peer {
    role: Role,
    stance: Stance,
    recovery: Recovery,
    link: Option<Link>,
    sends_media: bool,
    place: Place,
    flood: Flood,
    page: Option<PageId>,
    name: Option<Name>,
    /// Whether its page says that it rings.
    rings: bool,
    /// Whether its page has shown the visitor.
    sees: bool,
    video: VideoMode,
    /// How far it has come in this call.
    reached: BTreeSet<Milestone>,
    /// Orders peers by their coming.
    arrival: u64,
}

impl Peer {
    /// A peer without a link yet; `open` builds it. `arrival` grows from peer to peer.
    pub fn new(now: Instant, role: Role, arrival: u64) -> Self {
        Self {
            role,
            stance: Stance::Watching,
            recovery: Recovery::new(now),
            link: None,
            sends_media: false,
            place: Place::Served,
            flood: Flood::new(now),
            page: None,
            name: None,
            rings: false,
            sees: false,
            video: VideoMode::Full,
            reached: BTreeSet::new(),
            arrival,
        }
    }

    /// Which page this is, if it said so.
    pub fn page(&self) -> Option<&PageId> {
        self.page.as_ref()
    }

    /// The page says which it is.
    pub fn set_page(&mut self, page: PageId) {
        self.page = Some(page);
    }

    /// How its person wants to be called.
    pub fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    /// The page says how its person wants to be called.
    pub fn set_name(&mut self, name: Option<Name>) {
        self.name = name;
    }

    /// Whether its page rings, and its person may still answer.
    pub fn rings(&self) -> bool {
        self.rings && self.stance == Stance::Watching
    }

    /// The page says that it shows the visitor. Whether it says so for the first time.
    pub fn sees_first(&mut self) -> bool {
        !std::mem::replace(&mut self.sees, true)
    }

    /// The page says that it rings. Nobody has answered on it, so it sends no media and makes no offer of its own
    /// (protocol.md section 5.3): ours need not wait for it.
    pub fn set_rings(&mut self, now: Instant) {
        self.rings = true;
        if let (Stance::Watching, Some(link)) = (self.stance, &mut self.link) {
            link.negotiation.need_not_wait(now);
        }
    }

    /// How much of the picture the peer gets.
    pub fn video(&self) -> VideoMode {
        self.video
    }

    /// It came so far. Whether that is new.
    pub fn reaches(&mut self, what: Milestone) -> bool {
        self.reached.insert(what)
    }

    /// Its place in the order of coming.
    pub fn arrival(&self) -> u64 {
        self.arrival
    }

    /// It has the place of somebody who came earlier.
    pub fn set_arrival(&mut self, arrival: u64) {
        self.arrival = arrival;
    }

    /// Whether the peer waits for its turn.
    pub fn is_waiting(&self) -> bool {
        matches!(self.place, Place::Waiting(_))
    }

    /// Whether a leave-and-join would interrupt something that works or is about to.
    pub fn minds_a_rejoin(&self) -> bool {
        let on_its_way = self.recovery.was_heard() && self.recovery.is_at_work();
        let talks = matches!(self.stance, Stance::Answered(_));
        let stays = talks || !self.recovery.is_repairing();
        self.is_connected() || (on_its_way && stays && self.link.is_some())
    }

    /// There is no room for the peer now.
    pub fn wait(&mut self) {
        if !self.is_waiting() {
            self.place = Place::Waiting(Vec::new());
        }
    }

    /// One more signal of the peer's.
    pub fn count(&mut self, now: Instant, signal: &Signal) -> Verdict {
        self.flood.count(now, matches!(signal, Signal::Description(_)))
    }

    /// What the person has decided.
    pub fn stance(&self) -> Stance {
        self.stance
    }

    /// Our id may be another than when the peer came.
    pub fn set_role(&mut self, role: Role) {
        self.role = role;
    }

    /// Records what the person has decided.
    pub fn set_stance(&mut self, stance: Stance) {
        self.stance = stance;
    }

    /// The generation of the present link.
    pub fn generation(&self) -> Option<u32> {
        self.link.as_ref().map(|link| link.generation)
    }

    /// Whether media can flow.
    pub fn is_connected(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.health == Health::Connected)
    }

    /// Whether the link worked before and is being repaired, or does not come about as it should.
    pub fn is_in_trouble(&self) -> bool {
        self.recovery.is_in_trouble()
    }

    /// Whether the peer sends audio or video.
    pub fn sends_media(&self) -> bool {
        self.sends_media
    }

    /// The link's state in one word, for `status`.
    pub fn link_state(&self) -> &'static str {
        match &self.link {
            None if self.is_waiting() => "waiting",
            None => "none",
            Some(_) if self.recovery.is_repairing() => "reconnecting",
            Some(link) => match link.health {
                Health::Connecting => "connecting",
                Health::Connected => "connected",
                Health::Disconnected => "disconnected",
                Health::Failed => "failed",
            },
        }
    }

    /// Builds the first link, and takes up what the peer has sent while it waited.
    pub fn open(&mut self, cx: &mut Context<'_>) {
        let place = std::mem::replace(&mut self.place, Place::Served);
        self.recovery.renewed(cx.now);
        self.build(cx);
        if let Place::Waiting(signals) = place {
            for signal in signals {
                self.signal(cx, signal);
            }
        }
        self.wakeup(cx);
    }

    /// Closes the link, if there is one. The peer stays.
    pub fn close(&mut self, cx: &mut Context<'_>) {
        if let Some(link) = self.link.take() {
            cx.acts.push(Act::Close(link.generation));
        }
    }

    /// The uplink is gone.
    pub fn hold(&mut self, now: Instant) {
        self.recovery.hold();
        if self.link.is_some() && !self.is_connected() {
            self.recovery.silent(now);
        }
    }

    /// The uplink is back with the same id of ours and the peer is still there.
    pub fn resume(&mut self, cx: &mut Context<'_>) {
        let in_flight = self.link.as_ref().is_some_and(|link| link.negotiation.is_in_flight());
        if !self.recovery.is_held() {
            // A list that was asked for again, with nothing lost in between.
            return;
        }
        let remedy = self.recovery.resume(cx.now);
        if let Some(remedy) = remedy {
            self.remedy(cx, remedy, Why::Failed);
        } else if in_flight {
            // Whatever was on its way when the socket went is lost (protocol.md section 5.7).
            self.recovery.restarted(cx.now);
            self.rebuild(cx, Why::NoAnswer, None);
        } else if let Some(link) = self.link.as_mut() {
            if std::mem::replace(&mut link.servers, Servers::Present) == Servers::Outdated {
                return self.configure(cx);
            }
            // The peer may have seen us leave and come, and then has a new connection that waits for an
            // offer; one that has not just confirms what there is (protocol.md section 6.6).
            link.negotiation.offer_at(cx.now + DEFERENCE);
        }
    }

    /// Our own id on the uplink changed: the peer sees a door it does not know.
    pub fn renew(&mut self, cx: &mut Context<'_>, role: Role) {
        self.role = role;
        self.recovery.renewed(cx.now);
        self.rebuild(cx, Why::NewIdentity, None);
    }

    /// The board's addresses changed.
    pub fn moved(&mut self, cx: &mut Context<'_>, change: &NetworkChange) {
        let Some(link) = self.link.as_ref() else { return };
        let lost = link.path.as_ref().is_some_and(|path| match path.local {
            Some(local) => change.gone.contains(&local),
            // A relay's own way to the board is not known: it may be the one that is gone.
            None => !change.gone.is_empty(),
        });
        let hopes = self.recovery.is_at_work() && !change.came.is_empty();
        if (lost || hopes)
            && let Some(remedy) = self.recovery.moved(cx.now)
        {
            self.remedy(cx, remedy, Why::Moved);
        }
    }

    /// The peer sent a description or a candidate. Page messages are not for here.
    pub fn signal(&mut self, cx: &mut Context<'_>, signal: Signal) {
        self.recovery.heard();
        if let Place::Waiting(kept) = &mut self.place {
            if matches!(signal, Signal::Description(_)) {
                kept.clear();
            }
            if kept.len() < MAX_KEPT {
                kept.push(signal);
            }
            return;
        }
        if self.link.is_none() {
            // A peer that was given up and offers again is worth another try.
            let Signal::Description(description) = &signal else {
                return cx.acts.push(Act::Ignored);
            };
            if description.kind != DescriptionKind::Offer {
                // The answer of a phone that slept, to an offer of before: it is awake now.
                return cx.acts.push(Act::Retry);
            }
            self.recovery = Recovery::new(cx.now);
            self.recovery.heard();
            self.build(cx);
        }
        let Some(link) = self.link.as_mut() else { return };
        let mut steps = Vec::new();
        match signal {
            Signal::Description(description) => link.negotiation.remote(description, &mut steps),
            Signal::Candidate(candidate) => {
                link.candidates_due = None;
                link.negotiation.remote_candidate(candidate, &mut steps);
            }
            Signal::EndOfCandidates => {
                link.candidates_due = None;
                link.negotiation.remote_end();
            }
            Signal::Page(_) => {}
        }
        self.carry_out(cx, steps);
    }

    /// The link of this generation reports. Older generations are ignored.
    pub fn link_event(&mut self, cx: &mut Context<'_>, generation: u32, event: LinkEvent) {
        let Some(link) = self.link.as_mut().filter(|link| link.generation == generation) else {
            return cx.acts.push(Act::Ignored);
        };
        let mut steps = Vec::new();
        match event {
            LinkEvent::Done { op, outcome } => {
                link.negotiation.done(cx.now, op, outcome, &mut steps);
            }
            LinkEvent::Candidate(candidate) => {
                link.negotiation.local_candidate(candidate, &mut steps);
            }
            LinkEvent::EndOfCandidates => link.negotiation.local_end(&mut steps),
            LinkEvent::RemoteMedia { audio, video } => self.sends_media = audio || video,
            LinkEvent::Path(path) => link.path = Some(path),
            LinkEvent::Video(mode) if mode != self.video => {
                self.video = mode;
                cx.acts.push(Act::Picture(mode));
            }
            LinkEvent::Reached(Milestone::Ice, _) if link.health != Health::Connected => {
                self.recovery.handshaking(cx.now);
            }
            // Told on; nothing follows from it.
            LinkEvent::Video(_) | LinkEvent::Reached(..) => {}
            LinkEvent::Health(health) => return self.health(cx, health),
            LinkEvent::Closed => {
                // Nothing more comes of it, also where the remedy has to wait for the uplink.
                link.health = Health::Failed;
                self.recovery.silent(cx.now);
                return self.useless(cx, Futile::Broken);
            }
        }
        self.carry_out(cx, steps);
    }

    /// When `wakeup` is due.
    pub fn deadline(&self) -> Option<Instant> {
        if self.recovery.is_held() {
            return self.recovery.stranded();
        }
        // Its ladder begins with its link.
        if self.is_waiting() {
            return None;
        }
        let link = self.link.as_ref();
        [
            self.recovery.deadline(),
            link.and_then(|link| link.negotiation.deadline()),
            link.and_then(|link| link.candidates_due),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Time passed.
    pub fn wakeup(&mut self, cx: &mut Context<'_>) {
        if self.recovery.is_held() || self.is_waiting() {
            if self.recovery.stranded().is_some_and(|at| at <= cx.now) {
                self.recovery.abandoned();
                self.close(cx);
                cx.acts.push(Act::GaveUp);
            }
            return;
        }
        if let Some(link) = self.link.as_mut() {
            let mut steps = Vec::new();
            if link.negotiation.wakeup(cx.now, &mut steps) {
                // While the ladder restarts, its own rung is the answer's time: a phone that sleeps for
                // half a minute should not find a heap of offers. And media that flows is not given up
                // because a page does not answer.
                let flows = link.health == Health::Connected;
                if !flows && !self.recovery.is_restarting() {
                    return self.useless(cx, Futile::Unanswered);
                }
                link.negotiation.wait_on();
            }
            if link.candidates_due.is_some_and(|due| due <= cx.now) {
                link.candidates_due = None;
                if let Some(remedy) = self.recovery.browser_stuck(cx.now) {
                    return self.remedy(cx, remedy, Why::NoAnswer);
                }
            }
            self.carry_out(cx, steps);
        }
        if !self.recovery.is_due(cx.now) {
            return;
        }
        let unanswered = self.link.as_ref().is_some_and(|link| link.negotiation.awaits_answer());
        if unanswered {
            return self.useless(cx, Futile::Unanswered);
        }
        if let Some(remedy) = self.recovery.wakeup(cx.now) {
            self.remedy(cx, remedy, Why::Failed);
        }
    }

    /// A description of ours did not reach the peer.
    pub fn undelivered(&mut self, cx: &mut Context<'_>, absent: bool) {
        // An absent peer is told of by presence; the ladder's deadline covers the rest.
        let is_out = self
            .link
            .as_ref()
            .is_some_and(|link| link.health != Health::Connected && !link.negotiation.is_busy());
        if !absent && is_out && !self.recovery.is_held() {
            self.useless(cx, Futile::Unanswered);
        }
    }

    /// The channel cannot be left and joined again now.
    pub fn stays_in(&mut self, cx: &mut Context<'_>) {
        self.useless(cx, Futile::Unanswered);
    }

    fn health(&mut self, cx: &mut Context<'_>, health: Health) {
        let Some(link) = self.link.as_mut() else { return };
        link.health = health;
        if health != Health::Connected {
            self.recovery.silent(cx.now);
        }
        match health {
            Health::Connecting => self.recovery.connecting(cx.now),
            Health::Connected => {
                link.candidates_due = None;
                self.recovery.connected();
                if link.negotiation.lacks_media() {
                    let mut steps = Vec::new();
                    link.negotiation.want_offer(false, &mut steps);
                    self.carry_out(cx, steps);
                }
            }
            Health::Disconnected => {
                let relayed = link.path.as_ref().is_some_and(|path| path.relayed);
                let way = if relayed { Way::Relayed } else { Way::Direct };
                self.recovery.disconnected(cx.now, way);
            }
            Health::Failed => {
                if let Some(remedy) = self.recovery.failed(cx.now) {
                    self.remedy(cx, remedy, Why::Failed);
                }
            }
        }
    }
}
