//! One greeted socket: its frames, requests and signs of life, from the welcome to the loss
//! (protocol.md sections 2 and 6.3).
//!
//! Pure. What outlives a socket lies on the [`Desk`]; connecting again is the session's business.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::advice::{self, Action, Pace};
use super::desk::{Desk, Ending, Loss, Output, Problem, Proof};
use super::envelope::{self, Content};
use super::membership::{Membership, Step};
use super::message::{HubFrame, MAX_FRAME, MemberFrame};
use super::pulse::{Attention, Pulse};
use super::requests::{Due, Request, Requests, Throttle};
use super::timings::Timings;
use crate::intercom::{Outgoing, PeerId, UplinkEvent};

/// Longest hint of `going_away` that is followed (protocol.md section 2.2).
const LONGEST_HINT: Duration = Duration::from_secs(300);
/// Close code of our own for a socket that is no use any more (protocol.md section 2.5).
const USELESS: u16 = 4000;
/// Most error codes an operator is told about per socket; a well-behaved service has about twenty.
const MAX_TOLD: usize = 64;

/// What the other end said about closing the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Going {
    /// Nothing.
    No,
    /// It will; come back after this time.
    Told(Duration),
    /// It will; this is when to come back.
    Planned(Instant),
}

pub(super) struct Greeted {
    pub(super) own: PeerId,
    pub(super) since: Instant,
    /// Whether the other end said that it will close this socket.
    pub(super) going: Going,
    largest: usize,
    repeat: Duration,
    pulse: Pulse,
    requests: Requests,
    throttle: Throttle,
    /// Error codes an operator has been told about on this socket.
    told: BTreeSet<String>,
}

impl Greeted {
    /// A socket that was just welcomed. `prefix` begins its request ids. The membership is not told yet.
    pub(super) fn new(
        now: Instant,
        desk: &mut Desk,
        timings: &Timings,
        own: PeerId,
        max_message_size: f64,
        prefix: String,
    ) -> Self {
        desk.greet(&own);
        Self {
            own,
            since: now,
            going: Going::No,
            // A float to integer cast saturates, so any large size ends as our own cap.
            largest: (max_message_size as usize).min(MAX_FRAME),
            repeat: timings.repeat,
            pulse: Pulse::new(now, timings.pulse.clone()),
            requests: Requests::new(prefix, timings.ack, timings.unheard),
            throttle: Throttle::new(now),
            told: BTreeSet::new(),
        }
    }

    pub(super) fn deadline(&self, membership: &Membership) -> Option<Instant> {
        let others = [self.requests.deadline(), self.throttle.deadline(), membership.deadline()];
        others.into_iter().flatten().chain([self.pulse.deadline()]).min()
    }

    /// A text frame came, whatever is in it.
    pub(super) fn heard_text(&mut self, now: Instant) {
        self.pulse.text(now);
    }

    /// Anything else came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.pulse.life(now);
    }

    pub(super) fn frame(&mut self, now: Instant, desk: &mut Desk, frame: HubFrame) -> Option<Loss> {
        match frame {
            HubFrame::Welcome { .. } => debug!("second welcome ignored"),
            HubFrame::Ack { request_id } => match self.requests.take(&request_id) {
                Some(Request::Subscribe) => desk.membership.subscribed(now),
                Some(Request::Unsubscribe) => desk.membership.unsubscribed(now),
                Some(Request::Description { to, .. }) => self.requests.settled(&to),
                Some(Request::Other { .. }) => {}
                None => debug!("ack to nothing we asked ignored"),
            },
            HubFrame::Error { code, request_id, message } => {
                return self.error(now, desk, &code, request_id, message.as_deref());
            }
            HubFrame::Presence { channel, joined, left } if channel == desk.channel => {
                desk.learn(&joined, &left);
                let (joined, left) = (desk.others(&joined), desk.others(&left));
                desk.membership.presence(joined, left);
            }
            HubFrame::Direct { from, data, .. } => {
                let from = PeerId::from(from.as_str());
                if !desk.own_ids.contains(&from) {
                    direct(desk, from, &data);
                }
            }
            HubFrame::GoingAway { retry_after_ms } => {
                let hint = retry_after_ms.filter(|hint| *hint > 0.0).unwrap_or(1000.0);
                let hint = Duration::try_from_secs_f64(hint / 1000.0).unwrap_or(LONGEST_HINT);
                self.going = Going::Told(hint.min(LONGEST_HINT));
                info!("the signalling side will go away soon");
            }
            HubFrame::Message { .. } | HubFrame::Presence { .. } | HubFrame::Pong => {}
        }
        None
    }

    fn error(
        &mut self,
        now: Instant,
        desk: &mut Desk,
        code: &str,
        request_id: Option<String>,
        message: Option<&str>,
    ) -> Option<Loss> {
        let request = request_id.as_deref().and_then(|id| self.requests.take(id));
        let action = match &request {
            Some(Request::Subscribe) => Action::of_subscribe(message),
            _ => Action::Send,
        };
        if request.is_some() {
            desk.counters.failed += 1;
        }
        let advice = advice::on_error(code, action);
        let text = format!("{advice} ({code})");
        if request == Some(Request::Subscribe) && advice::is_refusal(code) {
            // The key's rights are read when a socket is greeted: this one will never be let in.
            let ending = Ending::Bye(1000);
            let (pace, until) = (Pace::Refused, Proof::Joined);
            let verdict = advice::verdict_of_error(code);
            return Some(Loss { pace, advice, text, until, ending, verdict });
        }
        // `unknown_type` is how a service without `pong` answers our `ping`.
        let is_news =
            !matches!(code, "peer_not_found" | "unknown_type") && self.told.len() < MAX_TOLD;
        if is_news && self.told.insert(code.to_owned()) {
            warn!("the signalling side refused: {text}");
            desk.problem = Some(Problem { text, until: Proof::Joined });
        } else {
            debug!("the signalling side refused: {text}");
        }
        match (request, request_id) {
            (Some(Request::Subscribe), _) => desk.membership.not_now(),
            (Some(Request::Unsubscribe), _) => desk.membership.unsubscribed(now),
            (Some(Request::Description { to, frame: Some(frame) }), Some(id))
                if advice::is_passing(code) =>
            {
                self.requests.repeat_at(now + self.repeat, id, to, frame);
            }
            (Some(Request::Description { to, .. }), _) => {
                self.requests.settled(&to);
                desk.undelivered(true, to, code == "peer_not_found");
            }
            (Some(Request::Other { .. }) | None, _) => {}
        }
        None
    }

    /// Somebody pressed the button.
    pub(super) fn press(&mut self, now: Instant) {
        self.pulse.press(now);
    }

    /// The board's own addresses changed.
    pub(super) fn path_changed(&mut self, now: Instant) {
        self.pulse.path_changed(now);
    }

    /// Whether a second socket is wanted because this one may be dead; said once per question.
    pub(super) fn is_doubtful(&mut self, now: Instant) -> bool {
        self.pulse.is_doubtful(now)
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant, desk: &mut Desk) -> Option<Loss> {
        if self.pulse.is_dead(now) {
            let text =
                "the signalling side fell silent; if this goes on, check the network of the door";
            return Some(Loss::usual(text, Ending::Cut));
        }
        for due in self.requests.due(now) {
            match due {
                Due::Repeat(frame) => {
                    self.throttle.push(frame);
                }
                Due::Expired(request) => {
                    desk.counters.failed += 1;
                    expired(now, desk, request);
                }
            }
        }
        desk.membership.tick(now);
        None
    }

    /// Sends to one peer. The finished frames are measured, since the envelope counts too
    /// (protocol.md section 1.5).
    pub(super) fn send(&mut self, now: Instant, desk: &mut Desk, to: PeerId, what: &Outgoing) {
        let is_description = matches!(what, Outgoing::Description(_));
        for data in envelope::write(what) {
            let id = self.requests.next_id();
            let send = MemberFrame::Send { to: to.to_string(), data, request_id: Some(id.clone()) };
            let frame = to_text(&send);
            let bytes = frame.len();
            let to_keep = is_description.then(|| frame.clone());
            if matches!(what, Outgoing::Candidate(_) | Outgoing::EndOfCandidates) {
                self.requests.follow(&to, &frame);
            }
            let why = if bytes > self.largest {
                "it is larger than the service takes"
            } else if !self.requests.has_room() || !self.throttle.push(frame) {
                "too many frames are waiting already"
            } else {
                let request = match to_keep {
                    Some(frame) => Request::Description { to: to.clone(), frame: Some(frame) },
                    None => Request::Other { to: to.clone() },
                };
                self.requests.add(now, id, request);
                continue;
            };
            warn!(%to, bytes, "a frame to a peer was not sent: {why}");
            desk.counters.unsent += 1;
            return desk.undelivered(is_description, to, false);
        }
    }

    /// Does what the membership decided and hands out the frames whose turn has come.
    pub(super) fn follow(&mut self, now: Instant, desk: &mut Desk) -> Option<Loss> {
        while let Some(step) = desk.membership.step() {
            match step {
                Step::Event(event) => {
                    match event {
                        UplinkEvent::Joined => {
                            info!("in the channel");
                            desk.problem = None;
                        }
                        UplinkEvent::Left => desk.forget_all(),
                        _ => {}
                    }
                    desk.tell(event);
                }
                Step::Subscribe => self.ask(now, &desk.channel, Request::Subscribe),
                Step::Unsubscribe => self.ask(now, &desk.channel, Request::Unsubscribe),
                Step::Exhausted => return Some(exhausted(desk)),
            }
        }
        let is_in_call = desk.membership.is_wanted() || desk.membership.has_ties();
        self.pulse.attend(if is_in_call { Attention::InCall } else { Attention::Idle });
        if self.pulse.should_ask(now) {
            self.throttle.push(to_text(&MemberFrame::Ping));
        }
        while let Some(frame) = self.throttle.pop(now) {
            desk.outputs.push_back(Output::Frame(frame));
        }
        None
    }

    fn ask(&mut self, now: Instant, channel: &str, request: Request) {
        let id = self.requests.next_id();
        let (channel, request_id) = (channel.to_owned(), Some(id.clone()));
        let frame = match request {
            Request::Unsubscribe => MemberFrame::Unsubscribe { channel, request_id },
            _ => MemberFrame::Subscribe { channel, request_id, include_sender_metadata: false },
        };
        self.requests.add(now, id, request);
        self.throttle.push(to_text(&frame));
    }

    /// The last frame of a socket that is about to be closed; it goes around the throttle, since nothing
    /// leaves after the close.
    pub(super) fn farewell(desk: &mut Desk) {
        if desk.membership.has_ties() {
            let channel = desk.channel.clone();
            let frame = to_text(&MemberFrame::Unsubscribe { channel, request_id: None });
            desk.outputs.push_back(Output::Frame(frame));
        }
    }

    /// Tells the daemon what ends with this socket.
    pub(super) fn end(mut self, desk: &mut Desk) {
        for to in self.requests.abandon() {
            desk.undelivered(true, to, false);
        }
        desk.membership.down();
        desk.forget_all();
        while let Some(step) = desk.membership.step() {
            if let Step::Event(event) = step {
                desk.tell(event);
            }
        }
        desk.tell(UplinkEvent::Down);
    }
}

fn direct(desk: &mut Desk, from: PeerId, data: &serde_json::Value) {
    let is_taken = match envelope::read(data) {
        Content::Signal(signal) => desk.membership.signal(from.clone(), signal),
        Content::TrackMetadata => true,
        Content::TooLong | Content::Other => false,
    };
    if !is_taken {
        desk.counters.dropped += 1;
        debug!(%from, "data of a peer dropped");
    }
}

/// The one loss that may have been explained already, by an error that named no request.
fn exhausted(desk: &Desk) -> Loss {
    let text = "the signalling side does not let the door into the channel and does not say why; nothing \
                to do, the door connects again";
    let explained = desk.problem.as_ref().filter(|problem| problem.until == Proof::Joined);
    let (text, until) = match explained {
        Some(problem) => (problem.text.as_str(), Proof::Joined),
        None => (text, Proof::Welcome),
    };
    Loss { pace: Pace::Slow, until, ..Loss::usual(text, Ending::Bye(USELESS)) }
}

fn expired(now: Instant, desk: &mut Desk, request: Request) {
    match request {
        Request::Description { to, .. } => {
            warn!(%to, "the signalling side did not acknowledge a description in time");
            desk.undelivered(true, to, false);
        }
        Request::Unsubscribe => desk.membership.unsubscribed(now),
        // Membership repeats a subscribe by its own times.
        Request::Subscribe => {}
        Request::Other { to } => debug!(%to, "no acknowledgement in time"),
    }
}

fn to_text(frame: &MemberFrame) -> String {
    serde_json::to_string(frame).expect("a frame of strings and JSON values is always JSON")
}
