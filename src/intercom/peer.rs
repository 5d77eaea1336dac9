//! One remote participant: its negotiation, its recovery and the count of links built for it.
//!
//! A peer keeps its identity, its stance and its place while its link is rebuilt. It decides about
//! its own link only; the call and the roster decide whether it exists.

use std::time::Instant;

use super::negotiation::{Negotiation, Role, Step};
use super::recovery::{CANDIDATE_TIMEOUT, Recovery, Remedy};
use super::{Health, LinkCommand, LinkEvent, Outgoing, Signal, Why};

/// What the person at the other end has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stance {
    /// Sees the door, has not answered.
    Watching,
    /// Talks with the visitor; the number orders those who answered.
    Answered(u64),
    /// Does not want this call.
    Declined,
}

/// What a peer wants done.
#[derive(Debug, PartialEq)]
pub enum Act {
    /// Open the link of this generation.
    Open(u32),
    /// Close the link of this generation.
    Close(u32),
    /// Run this on the link of this generation.
    Link(u32, LinkCommand),
    /// Send to the peer.
    Send(Outgoing),
    /// Leave the channel and join it again.
    Rejoin,
    /// The link was thrown away and the one of this generation opened.
    Rebuilt(u32, Why),
    /// The peer is out of reach.
    GaveUp,
    /// An input came at a time when it means nothing.
    Ignored,
}

/// What a peer needs from outside to act.
#[derive(Debug)]
pub struct Context<'a> {
    /// The time of this input.
    pub now: Instant,
    /// Counts every link ever built, so that no two share a number.
    pub generations: &'a mut u32,
    /// What the peer wants done, in order.
    pub acts: &'a mut Vec<Act>,
}

/// The link a peer has at present.
#[derive(Debug)]
struct Link {
    generation: u32,
    negotiation: Negotiation,
    health: Health,
    /// Set when a description was applied and nothing has come of it yet.
    candidates_due: Option<Instant>,
}

/// A remote participant.
#[derive(Debug)]
pub struct Peer {
    role: Role,
    stance: Stance,
    recovery: Recovery,
    link: Option<Link>,
    sends_media: bool,
}

impl Peer {
    /// A peer without a link yet; `open` builds it.
    pub fn new(now: Instant, role: Role) -> Self {
        Self {
            role,
            stance: Stance::Watching,
            recovery: Recovery::new(now),
            link: None,
            sends_media: false,
        }
    }

    /// What the person has decided.
    pub fn stance(&self) -> Stance {
        self.stance
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

    /// Whether the link worked before and is being repaired.
    pub fn is_repairing(&self) -> bool {
        self.recovery.is_repairing()
    }

    /// Whether the peer sends audio or video.
    pub fn sends_media(&self) -> bool {
        self.sends_media
    }

    /// The link's state in one word, for `status`.
    pub fn link_state(&self) -> &'static str {
        match &self.link {
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

    /// Builds the first link.
    pub fn open(&mut self, cx: &mut Context<'_>) {
        self.build(cx);
        self.wakeup(cx);
    }

    /// Closes the link, if there is one. The peer stays.
    pub fn close(&mut self, cx: &mut Context<'_>) {
        if let Some(link) = self.link.take() {
            cx.acts.push(Act::Close(link.generation));
        }
    }

    /// The uplink is gone.
    pub fn hold(&mut self) {
        self.recovery.hold();
    }

    /// The uplink is back with the same id of ours and the peer is still there.
    pub fn resume(&mut self, cx: &mut Context<'_>) {
        let overdue = self.link.as_ref().is_some_and(|link| !link.negotiation.is_stable());
        let remedy = self.recovery.resume(cx.now);
        if let Some(remedy) = remedy {
            self.remedy(cx, remedy, Why::Failed);
        } else if overdue {
            // Whatever was on its way when the socket went is lost (protocol.md section 5.7).
            self.rebuild(cx, Why::NoAnswer, None);
        }
    }

    /// Our own id on the uplink changed: the peer sees a door it does not know.
    pub fn renew(&mut self, cx: &mut Context<'_>, role: Role) {
        self.role = role;
        self.recovery.restarted(cx.now);
        self.rebuild(cx, Why::NewIdentity, None);
    }

    /// The peer sent a description or a candidate. Page messages are not for here.
    pub fn signal(&mut self, cx: &mut Context<'_>, signal: Signal) {
        if self.link.is_none() {
            // A peer that was given up and offers again is worth another try.
            let Signal::Description(description) = &signal else {
                return cx.acts.push(Act::Ignored);
            };
            if description.kind != super::DescriptionKind::Offer {
                return cx.acts.push(Act::Ignored);
            }
            self.recovery = Recovery::new(cx.now);
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
            Signal::EndOfCandidates => link.candidates_due = None,
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
            LinkEvent::Path(_) | LinkEvent::Video(_) => {}
            LinkEvent::Health(health) => return self.health(cx, health),
            LinkEvent::Closed => return self.rebuild_by_ladder(cx, Why::Broken),
        }
        self.carry_out(cx, steps);
    }

    /// When `wakeup` is due.
    pub fn deadline(&self) -> Option<Instant> {
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
        if let Some(link) = self.link.as_mut() {
            let mut steps = Vec::new();
            if link.negotiation.wakeup(cx.now, &mut steps) {
                return self.rebuild_by_ladder(cx, Why::NoAnswer);
            }
            if link.candidates_due.is_some_and(|due| due <= cx.now) {
                link.candidates_due = None;
                if let Some(remedy) = self.recovery.browser_stuck(cx.now) {
                    return self.remedy(cx, remedy, Why::NoAnswer);
                }
            }
            self.carry_out(cx, steps);
        }
        if let Some(remedy) = self.recovery.wakeup(cx.now) {
            self.remedy(cx, remedy, Why::Failed);
        }
    }

    /// A description of ours did not reach the peer.
    pub fn undelivered(&mut self, cx: &mut Context<'_>, absent: bool) {
        // An absent peer is told of by presence; the ladder's deadline covers the rest.
        if !absent && self.link.is_some() {
            self.rebuild_by_ladder(cx, Why::NoAnswer);
        }
    }

    fn health(&mut self, cx: &mut Context<'_>, health: Health) {
        let Some(link) = self.link.as_mut() else { return };
        link.health = health;
        match health {
            Health::Connecting => {}
            Health::Connected => {
                link.candidates_due = None;
                self.recovery.connected();
                if link.negotiation.lacks_media() {
                    let mut steps = Vec::new();
                    link.negotiation.want_offer(false, &mut steps);
                    self.carry_out(cx, steps);
                }
            }
            Health::Disconnected => self.recovery.disconnected(cx.now),
            Health::Failed => {
                if let Some(remedy) = self.recovery.failed(cx.now) {
                    self.remedy(cx, remedy, Why::Failed);
                }
            }
        }
    }

    fn rebuild_by_ladder(&mut self, cx: &mut Context<'_>, why: Why) {
        if let Some(remedy) = self.recovery.useless(cx.now) {
            self.remedy(cx, remedy, why);
        }
    }

    fn remedy(&mut self, cx: &mut Context<'_>, remedy: Remedy, why: Why) {
        match remedy {
            Remedy::Restart => {
                let mut steps = Vec::new();
                if let Some(link) = self.link.as_mut() {
                    link.negotiation.want_offer(true, &mut steps);
                }
                self.carry_out(cx, steps);
            }
            Remedy::Rebuild => self.rebuild(cx, why, None),
            Remedy::Rejoin => cx.acts.push(Act::Rejoin),
            Remedy::GiveUp => {
                self.close(cx);
                cx.acts.push(Act::GaveUp);
            }
        }
    }

    fn carry_out(&mut self, cx: &mut Context<'_>, steps: Vec<Step>) {
        for step in steps {
            let Some(link) = self.link.as_mut() else { return };
            match step {
                Step::Link(command) => cx.acts.push(Act::Link(link.generation, command)),
                Step::Send(what) => cx.acts.push(Act::Send(what)),
                Step::Applied { trickles } => {
                    if trickles && link.health == Health::Connecting {
                        link.candidates_due = Some(cx.now + CANDIDATE_TIMEOUT);
                    }
                }
                Step::Ignored => cx.acts.push(Act::Ignored),
                Step::Rebuild(Why::Broken, offer) => {
                    match self.recovery.useless(cx.now) {
                        Some(Remedy::Rebuild) => self.rebuild(cx, Why::Broken, offer),
                        Some(remedy) => self.remedy(cx, remedy, Why::Broken),
                        None => {}
                    }
                    return;
                }
                Step::Rebuild(why, offer) => {
                    self.recovery.restarted(cx.now);
                    self.rebuild(cx, why, offer);
                    return;
                }
            }
        }
    }

    fn rebuild(&mut self, cx: &mut Context<'_>, why: Why, offer: Option<String>) {
        let waiting = self.link.as_mut().map(|link| link.negotiation.release_candidates());
        self.build(cx);
        let Some(link) = self.link.as_mut() else { return };
        cx.acts.push(Act::Rebuilt(link.generation, why));
        match offer {
            None => self.wakeup(cx),
            Some(sdp) => {
                let mut steps = Vec::new();
                link.negotiation.adopt_candidates(waiting.unwrap_or_default());
                link.negotiation.remote_offer(sdp, &mut steps);
                self.carry_out(cx, steps);
            }
        }
    }

    fn build(&mut self, cx: &mut Context<'_>) {
        self.close(cx);
        *cx.generations += 1;
        self.sends_media = false;
        self.link = Some(Link {
            generation: *cx.generations,
            negotiation: Negotiation::new(cx.now, self.role),
            health: Health::Connecting,
            candidates_due: None,
        });
        cx.acts.push(Act::Open(*cx.generations));
    }
}
