//! Perfect negotiation with one peer over one link (W3C webrtc section 10.7, protocol.md section 5).
//!
//! Decides who offers, who gives way and which candidates belong to which description. One link
//! operation is in flight at a time. Two rules go beyond the textbook, both measured against
//! Chromium (docs/architecture.md, "Politeness"): a browser is never made to roll back, so the
//! polite side throws its own link away on a collision and the impolite side first waits a moment
//! for the browser's offer; and an offer that has not left yet always gives way.

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

use super::remote::{Origin, Remote};
use super::{
    Candidate, Description, DescriptionKind, LinkCommand, OpId, Outcome, Outgoing, PeerId, Why,
};

/// How long the impolite side waits for the peer's offer before it makes its own
/// (protocol.md section 5.6: a browser with media offers 40 to 280 ms after presence).
pub const DEFERENCE: Duration = Duration::from_millis(500);
/// How long an offer may stay unanswered (protocol.md section 5.7).
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Most candidates kept for a description that has not been applied yet (protocol.md section 4.2).
pub const MAX_WAITING: usize = 200;

/// Who gives way when both offer at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We give way.
    Polite,
    /// The peer gives way.
    Impolite,
}

impl Role {
    /// The SDK's rule: the id that sorts first is polite (protocol.md section 5.2).
    pub fn between(own: &PeerId, remote: &PeerId) -> Self {
        if own < remote { Self::Polite } else { Self::Impolite }
    }
}

/// What the negotiation wants done.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Run this on the link.
    Link(LinkCommand),
    /// Send this to the peer.
    Send(Outgoing),
    /// Throw the link away, build another, and there begin with this offer of the peer's, if any.
    Rebuild(Why, Option<String>),
    /// A description of the peer has been applied; `trickles` when it holds no candidates itself.
    Applied {
        /// More candidates are to come by themselves.
        trickles: bool,
    },
    /// The peer answered an offer other than the one whose answer was taken: the two sides do not agree.
    Mismatched {
        /// It is the connection that our link is with, so that what still flows ends in a moment.
        same_connection: bool,
    },
    /// The input came at a time when it means nothing.
    Ignored,
}

#[derive(Debug, PartialEq)]
enum State {
    /// Nothing exchanged; we offer at the given time unless the peer does first.
    Waiting(Instant),
    Stable,
    Offering(OpId),
    /// An offer of ours is out; overdue at the given time, if that is for us to tell.
    AwaitingAnswer(Option<Instant>),
    Answering(OpId, Remote),
    TakingAnswer(OpId, Remote),
}

/// An offer of our own that waits for its moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Nothing,
    Offer,
    Restart,
}

#[derive(Debug)]
enum Local {
    Candidate(Candidate),
    End,
}

/// The negotiation over one link; a rebuilt link gets a new one.
#[derive(Debug)]
pub struct Negotiation {
    role: Role,
    state: State,
    next_op: u64,
    wanted: Wanted,
    /// The newest offer of the peer that came while an operation ran.
    held: Option<String>,
    applied: Option<Remote>,
    /// The newest description of the peer's that was taken up, by its origin and its whole text.
    newest: Option<(Origin, String)>,
    /// Whether candidates, or their end, have come since the peer's last description.
    trickled: bool,
    /// An answer with other credentials came while another description was being taken.
    contradicted: bool,
    waiting: VecDeque<Candidate>,
    local: LocalSide,
}

/// What the negotiation over one link leaves to that over the next.
#[derive(Debug, Default)]
pub struct Heritage {
    newest: Option<(Origin, String)>,
    waiting: VecDeque<Candidate>,
}

/// Our candidates go out only behind the description they belong to (protocol.md section 4.2:
/// a browser loses those that come first).
#[derive(Debug)]
enum LocalSide {
    Held(Vec<Local>),
    Open,
}

impl Negotiation {
    /// A negotiation that will offer at once (polite) or after [`DEFERENCE`] (impolite).
    pub fn new(now: Instant, role: Role) -> Self {
        let offer_at = match role {
            Role::Polite => now,
            Role::Impolite => now + DEFERENCE,
        };
        Self {
            role,
            state: State::Waiting(offer_at),
            next_op: 0,
            wanted: Wanted::Nothing,
            held: None,
            applied: None,
            newest: None,
            trickled: false,
            contradicted: false,
            waiting: VecDeque::new(),
            local: LocalSide::Held(Vec::new()),
        }
    }

    /// Whether something is under way that was lost if the socket went meanwhile.
    pub fn is_in_flight(&self) -> bool {
        !matches!(self.state, State::Stable | State::Waiting(_))
    }

    /// Makes an offer at `at`, unless the peer makes one before or something is under way.
    pub fn offer_at(&mut self, at: Instant) {
        if self.state == State::Stable {
            self.state = State::Waiting(at);
        }
    }

    /// The peer has nothing to offer: whatever offer of ours waits for one of its own is made at `now`.
    pub fn need_not_wait(&mut self, now: Instant) {
        if let State::Waiting(at) = &mut self.state {
            *at = now.min(*at);
        }
    }

    /// Whether the peer's last description leaves out a medium of ours, so that we have to offer it.
    pub fn lacks_media(&self) -> bool {
        self.applied.as_ref().is_some_and(|remote| !(remote.audio && remote.video))
    }

    /// When `wakeup` is due: an offer to make, or an answer that is overdue.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(at) => Some(at),
            State::AwaitingAnswer(at) => at,
            _ => None,
        }
    }

    /// Time passed. Returns `true` when an answer is overdue: the caller decides on the remedy.
    #[must_use]
    pub fn wakeup(&mut self, now: Instant, steps: &mut Vec<Step>) -> bool {
        match self.state {
            State::Waiting(at) if at <= now => {
                self.offer(false, steps);
                false
            }
            State::AwaitingAnswer(at) => at.is_some_and(|at| at <= now),
            _ => false,
        }
    }

    /// Whether an operation of the link is under way, so that nothing of it has been sent yet.
    pub fn is_busy(&self) -> bool {
        matches!(self.state, State::Offering(_) | State::Answering(..) | State::TakingAnswer(..))
    }

    /// Whether an offer of ours is out.
    pub fn awaits_answer(&self) -> bool {
        matches!(self.state, State::AwaitingAnswer(_))
    }

    /// The answer may still come; the caller keeps the time.
    pub fn wait_on(&mut self) {
        if let State::AwaitingAnswer(at) = &mut self.state {
            *at = None;
        }
    }

    /// Asks for a new offer, with new ICE credentials if `restart`; made as soon as nothing is
    /// under way. An offer that already waits for its answer is replaced.
    pub fn want_offer(&mut self, restart: bool, steps: &mut Vec<Step>) {
        match self.state {
            State::Waiting(_) | State::Stable | State::AwaitingAnswer(_) => {
                self.offer(restart, steps);
            }
            State::Offering(_) | State::Answering(..) | State::TakingAnswer(..) => {
                self.wanted = if restart || self.wanted == Wanted::Restart {
                    Wanted::Restart
                } else {
                    Wanted::Offer
                };
            }
        }
    }

    /// The peer's description.
    pub fn remote(&mut self, description: Description, steps: &mut Vec<Step>) {
        match description.kind {
            DescriptionKind::Offer => self.remote_offer(description.sdp, steps),
            DescriptionKind::Answer => self.remote_answer(description.sdp, steps),
        }
    }

    /// Begins with the peer's offer instead of one of ours.
    pub fn remote_offer(&mut self, sdp: String, steps: &mut Vec<Step>) {
        let remote = Remote::of(&sdp);
        if self.is_past(&remote, &sdp) {
            return steps.push(Step::Ignored);
        }
        match self.state {
            State::Waiting(_) | State::Stable if self.is_new_remote(&remote) => {
                steps.push(Step::Rebuild(Why::NewRemote, Some(sdp)));
            }
            State::Waiting(_) | State::Stable => {
                let op = self.op();
                self.take_up(&remote, &sdp);
                self.local.hold();
                self.state = State::Answering(op, remote);
                steps.push(Step::Link(LinkCommand::TakeOffer { op, sdp }));
            }
            // Our offer has not left: taking theirs spares the browser a rollback in either role.
            State::Offering(_) => steps.push(Step::Rebuild(Why::Glare, Some(sdp))),
            // Ours has been out for so long that it is lost; theirs is not.
            State::AwaitingAnswer(None) => steps.push(Step::Rebuild(Why::Glare, Some(sdp))),
            State::AwaitingAnswer(Some(_)) => match self.role {
                Role::Polite => steps.push(Step::Rebuild(Why::Glare, Some(sdp))),
                // Its candidates carry a foreign ufrag and go when our answer is applied.
                Role::Impolite => steps.push(Step::Ignored),
            },
            State::Answering(..) | State::TakingAnswer(..) => self.held = Some(sdp),
        }
    }

    fn remote_answer(&mut self, sdp: String, steps: &mut Vec<Step>) {
        let remote = Remote::of(&sdp);
        if self.is_past(&remote, &sdp) {
            return steps.push(Step::Ignored);
        }
        let State::AwaitingAnswer(_) = self.state else {
            return self.unasked_answer(&remote, &sdp, steps);
        };
        if self.is_new_remote(&remote) {
            return steps.push(Step::Rebuild(Why::NewRemote, None));
        }
        let op = self.op();
        self.take_up(&remote, &sdp);
        self.state = State::TakingAnswer(op, remote);
        steps.push(Step::Link(LinkCommand::TakeAnswer { op, sdp }));
    }

    /// An answer while none is awaited.
    fn unasked_answer(&mut self, remote: &Remote, sdp: &str, steps: &mut Vec<Step>) {
        let taken = match &self.state {
            State::Stable => self.applied.as_ref(),
            // It has taken back the offer that we are answering, for one of ours that came from a link before.
            State::TakingAnswer(_, taken) | State::Answering(_, taken) => Some(taken),
            _ => None,
        };
        let Some(taken) = taken.filter(|taken| taken.ufrag != remote.ufrag) else {
            return steps.push(Step::Ignored);
        };
        let same_connection = taken.is_of_one_connection_with(remote);
        let is_settled = self.state == State::Stable;
        if same_connection {
            // So that its double is none when the next answer is awaited.
            self.take_up(remote, sdp);
            self.contradicted = !is_settled;
        }
        steps.push(match is_settled {
            true => Step::Mismatched { same_connection },
            false => Step::Ignored,
        });
    }

    /// A candidate of the peer's.
    pub fn remote_candidate(&mut self, candidate: Candidate, steps: &mut Vec<Step>) {
        self.trickled = true;
        let applying = matches!(self.state, State::Answering(..) | State::TakingAnswer(..));
        if !applying && self.held.is_none() && self.belongs(&candidate) {
            return steps.push(Step::Link(LinkCommand::AddCandidate(candidate)));
        }
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(candidate);
        } else {
            steps.push(Step::Ignored);
        }
    }

    /// The peer has no more candidates.
    pub fn remote_end(&mut self) {
        self.trickled = true;
    }

    /// A candidate of ours.
    pub fn local_candidate(&mut self, candidate: Candidate, steps: &mut Vec<Step>) {
        match &mut self.local {
            LocalSide::Open => steps.push(Step::Send(Outgoing::Candidate(candidate))),
            LocalSide::Held(held) => held.push(Local::Candidate(candidate)),
        }
    }

    /// We have no more candidates.
    pub fn local_end(&mut self, steps: &mut Vec<Step>) {
        match &mut self.local {
            LocalSide::Open => steps.push(Step::Send(Outgoing::EndOfCandidates)),
            LocalSide::Held(held) => held.push(Local::End),
        }
    }

    /// An operation finished. Reports of operations that are no longer awaited are ignored.
    pub fn done(&mut self, now: Instant, op: OpId, outcome: Outcome, steps: &mut Vec<Step>) {
        let state = mem::replace(&mut self.state, State::Stable);
        match (state, outcome) {
            (State::Offering(expected), Outcome::Made(offer)) if expected == op => {
                self.state = State::AwaitingAnswer(Some(now + ANSWER_TIMEOUT));
                steps.push(Step::Send(Outgoing::TrackMetadata));
                steps.push(Step::Send(Outgoing::Description(offer)));
                self.local.open(steps);
            }
            (State::Answering(expected, remote), Outcome::Made(answer)) if expected == op => {
                steps.push(Step::Send(Outgoing::TrackMetadata));
                steps.push(Step::Send(Outgoing::Description(answer)));
                self.local.open(steps);
                self.applied_unless_contradicted(remote, steps);
            }
            (State::TakingAnswer(expected, remote), Outcome::Taken) if expected == op => {
                self.applied_unless_contradicted(remote, steps);
            }
            (
                State::Offering(expected)
                | State::Answering(expected, _)
                | State::TakingAnswer(expected, _),
                Outcome::Failed(_),
            ) if expected == op => {
                steps.push(Step::Rebuild(Why::Broken, self.held.take()));
            }
            (state, _) => {
                self.state = state;
                steps.push(Step::Ignored);
            }
        }
    }

    fn applied_unless_contradicted(&mut self, remote: Remote, steps: &mut Vec<Step>) {
        self.applied(remote, steps);
        if mem::take(&mut self.contradicted) {
            steps.push(Step::Mismatched { same_connection: true });
        }
    }

    fn applied(&mut self, remote: Remote, steps: &mut Vec<Step>) {
        let trickles = !remote.has_candidates && !self.trickled;
        self.applied = Some(remote);
        for candidate in mem::take(&mut self.waiting) {
            if self.belongs(&candidate) {
                steps.push(Step::Link(LinkCommand::AddCandidate(candidate)));
            } else if self.held.is_some() {
                self.waiting.push_back(candidate);
            }
        }
        steps.push(Step::Applied { trickles });
        if let Some(sdp) = self.held.take() {
            return self.remote_offer(sdp, steps);
        }
        match mem::replace(&mut self.wanted, Wanted::Nothing) {
            Wanted::Nothing => {}
            Wanted::Offer => self.offer(false, steps),
            Wanted::Restart => self.offer(true, steps),
        }
    }

    fn offer(&mut self, restart: bool, steps: &mut Vec<Step>) {
        let op = self.op();
        self.wanted = Wanted::Nothing;
        self.local.hold();
        self.state = State::Offering(op);
        steps.push(Step::Link(LinkCommand::MakeOffer { op, restart }));
    }

    /// Whether a description came late or twice: the peer has gone on since it wrote it.
    fn is_past(&self, remote: &Remote, sdp: &str) -> bool {
        self.newest.as_ref().is_some_and(|(newest, text)| {
            text == sdp || remote.origin.as_ref().is_some_and(|it| it.is_older_than(newest))
        })
    }

    fn take_up(&mut self, remote: &Remote, sdp: &str) {
        self.trickled = !self.waiting.is_empty();
        if let Some(origin) = &remote.origin {
            self.newest = Some((origin.clone(), sdp.to_owned()));
        }
    }

    /// What a link that is thrown away knows of the peer's descriptions and candidates, for the next one.
    pub fn hand_over(&mut self) -> Heritage {
        Heritage { newest: self.newest.take(), waiting: mem::take(&mut self.waiting) }
    }

    /// Takes over from the link before. The candidates are kept only where the peer's offer is, too.
    pub fn inherit(&mut self, heritage: Heritage, with_candidates: bool) {
        self.newest = heritage.newest;
        if with_candidates {
            self.waiting = heritage.waiting;
        }
    }

    fn op(&mut self) -> OpId {
        self.next_op += 1;
        OpId(self.next_op)
    }

    fn belongs(&self, candidate: &Candidate) -> bool {
        match (&self.applied, candidate.ufrag()) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(applied), Some(ufrag)) => applied.ufrag.as_deref() == Some(ufrag),
        }
    }

    /// A browser that built a new connection for us shows another certificate (protocol.md 6.6).
    fn is_new_remote(&self, remote: &Remote) -> bool {
        self.applied.as_ref().is_some_and(|applied| applied.fingerprint != remote.fingerprint)
    }
}

impl LocalSide {
    fn hold(&mut self) {
        if matches!(self, Self::Open) {
            *self = Self::Held(Vec::new());
        }
    }

    fn open(&mut self, steps: &mut Vec<Step>) {
        if let Self::Held(held) = mem::replace(self, Self::Open) {
            steps.extend(held.into_iter().map(|local| {
                Step::Send(match local {
                    Local::Candidate(candidate) => Outgoing::Candidate(candidate),
                    Local::End => Outgoing::EndOfCandidates,
                })
            }));
        }
    }
}
