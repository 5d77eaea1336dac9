//! What the parts of a session share: what it is told, what it wants done, and what outlives a socket.
//!
//! Pure values. The decisions are in `session` and `greeted`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use tracing::debug;

use super::advice::{self, Pace, Pass, Verdict};
use super::inbound::{self, Inbound};
use super::membership::Membership;
use super::message::{HubFrame, Member};
use super::status::Counters;
use super::timings::Timings;
use crate::intercom::{PeerId, UplinkCommand, UplinkEvent};

/// Our former ids remembered: after a reconnect they haunt the roster for a while (protocol.md section 3.2).
const FORMER_IDS: usize = 16;
/// Most peers whose metadata is kept.
const MAX_METADATA: usize = 64;
/// Most bytes of one peer's metadata as JSON (protocol.md section 7); more is left out whole.
const MAX_METADATA_BYTES: usize = 4096;

/// What a session is made from.
pub struct Setup {
    /// The uplink's name, for `status`.
    pub name: &'static str,
    /// The channel; checked by `config::names::check_channel`.
    pub channel: String,
    /// What the door shows to be let in.
    pub pass: Pass,
    /// Whether the socket stays open while nobody is at the door.
    pub arm: bool,
    /// Begins every request id; random, so that two runs never use the same.
    pub request_prefix: String,
    /// Gives a random number from 0 to 1 for each delay.
    pub luck: Box<dyn FnMut() -> f64 + Send>,
    /// The device's clock in Unix seconds. Only compared with the signalling side's, to say that it is
    /// wrong; nothing is planned by it.
    pub device_clock: Box<dyn FnMut() -> f64 + Send>,
    /// The times to keep.
    pub timings: Timings,
}

/// What a session is told.
#[derive(Debug)]
pub enum Input {
    /// The daemon wants something.
    Command(UplinkCommand),
    /// The socket did something.
    Wire(Wire),
    /// The second socket did something.
    Successor(Wire),
    /// The retired socket is gone.
    Retired,
    /// The board's own addresses changed.
    NetworkChanged,
    /// A deadline of `Session::poll_timeout` has passed.
    Tick,
    /// End for good.
    Stop,
}

/// What a socket did.
#[derive(Debug)]
pub enum Wire {
    /// The socket asked for is open.
    Opened,
    /// It could not be opened.
    OpenFailed {
        /// The HTTP status that came in place of the upgrade.
        http: Option<u16>,
        /// What happened and what to do, without the URL.
        reason: String,
    },
    /// A text frame.
    Text(String),
    /// A WebSocket ping or pong.
    Life,
    /// A binary frame; nothing on this wire is binary.
    Binary,
    /// A frame beyond `message::MAX_INBOUND`, which was not read.
    TooBig,
    /// The socket is gone.
    Closed {
        /// The close code, if the other end gave one.
        code: Option<u16>,
    },
}

/// Which token to show; with a key it means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticket {
    /// The one of the last time.
    Kept,
    /// A new one from the source.
    Fresh,
}

/// What a session wants done. There is one socket, at times a second one that is to take its place, and
/// at times a retired one that only has to close.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Open a socket.
    Open(Ticket),
    /// Send this text frame.
    Frame(String),
    /// Close the socket properly, with this code; `Closed` is awaited.
    Close(u16),
    /// Drop the socket, or the attempt to open it, without a word.
    Drop,
    /// Open a second socket beside it.
    OpenSuccessor(Ticket),
    /// Drop the second socket, or the attempt to open it, without a word.
    DropSuccessor,
    /// The second socket takes the first one's place, which retires: it sends what it has left and closes.
    Promote,
    /// Drop the retired socket without a word.
    DropRetired,
    /// Tell the daemon.
    Event(UplinkEvent),
    /// All is done.
    Stopped,
}

/// Something an operator should know, and what proves it wrong.
pub(super) struct Problem {
    pub(super) text: String,
    pub(super) until: Proof,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Proof {
    Welcome,
    Joined,
}

/// Why a socket, or an attempt at one, is lost.
pub(super) struct Loss {
    pub(super) pace: Pace,
    /// What the operator is told to change, if it is a refusal.
    pub(super) advice: &'static str,
    pub(super) text: String,
    pub(super) until: Proof,
    pub(super) ending: Ending,
    /// What it says about the token.
    pub(super) verdict: Verdict,
}

impl Loss {
    /// The other end closed the socket, or it went without a code.
    pub(super) fn of_close(code: Option<u16>, pass: Pass) -> Self {
        let (pace, advice) = advice::on_close(code, pass);
        let text = match code {
            Some(code) => format!("{advice} (close code {code})"),
            None => advice.to_owned(),
        };
        let verdict = advice::verdict_of_close(code);
        Self { pace, advice, verdict, ..Self::usual(&text, Ending::Gone) }
    }

    /// An HTTP status came in place of the socket.
    pub(super) fn of_http(status: u16, pass: Pass) -> Self {
        let (pace, advice) = advice::on_http(status, pass);
        let text = format!("{advice} (HTTP status {status})");
        let verdict = if pace == Pace::Refused { Verdict::Rejected } else { Verdict::Open };
        Self { pace, advice, verdict, ..Self::usual(&text, Ending::Gone) }
    }

    /// A loss that nobody need do anything about at once.
    pub(super) fn usual(text: &str, ending: Ending) -> Self {
        Self {
            pace: Pace::Usual,
            advice: "",
            text: text.to_owned(),
            until: Proof::Welcome,
            ending,
            verdict: Verdict::Open,
        }
    }
}

/// How a socket ends.
#[derive(Clone, Copy)]
pub(super) enum Ending {
    /// It is gone already.
    Gone,
    /// Without a word: nobody is listening.
    Cut,
    /// With a closing handshake and this code.
    Bye(u16),
}

/// What outlives a socket.
pub(super) struct Desk {
    pub(super) channel: String,
    pub(super) membership: Membership,
    pub(super) problem: Option<Problem>,
    pub(super) counters: Counters,
    pub(super) outputs: VecDeque<Output>,
    /// Our ids, the newest last.
    pub(super) own_ids: VecDeque<PeerId>,
    /// What tokens say of the peers in the channel. For `status` only, never for a log; shared with it,
    /// since it is shown with every frame and changes rarely.
    pub(super) peer_metadata: Arc<BTreeMap<String, Value>>,
}

impl Desk {
    pub(super) fn new(channel: String, membership: Membership) -> Self {
        Self {
            channel,
            membership,
            problem: None,
            counters: Counters::default(),
            outputs: VecDeque::new(),
            own_ids: VecDeque::new(),
            peer_metadata: Arc::default(),
        }
    }

    pub(super) fn tell(&mut self, event: UplinkEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Tells the daemon about a description that was not delivered; nobody waits for anything else.
    pub(super) fn undelivered(&mut self, is_description: bool, to: PeerId, absent: bool) {
        if is_description {
            self.tell(UplinkEvent::Undelivered { to, absent });
        }
    }

    /// Reads one text frame; what is none is counted.
    pub(super) fn read(&mut self, text: &str) -> Option<HubFrame> {
        match inbound::read(text) {
            Inbound::Frame(frame) => return Some(frame),
            Inbound::Unknown { name } => {
                self.counters.unknown += 1;
                let name: String = name.chars().take(40).collect();
                debug!(%name, "frame of an unknown type ignored");
            }
            Inbound::Malformed { why } => {
                self.counters.malformed += 1;
                debug!(bytes = text.len(), "frame dropped: {why}");
            }
        }
        None
    }

    pub(super) fn greet(&mut self, own: &PeerId) {
        self.own_ids.retain(|id| id != own);
        self.own_ids.push_back(own.clone());
        if self.own_ids.len() > FORMER_IDS + 1 {
            self.own_ids.pop_front();
        }
        self.problem.take_if(|problem| problem.until == Proof::Welcome);
        self.tell(UplinkEvent::Up { own: own.clone() });
    }

    /// Keeps what the tokens of those who came say of them, and forgets those who went.
    pub(super) fn learn(&mut self, joined: &[Member], left: &[Member]) {
        for member in joined {
            let fits = |metadata: &&Value| metadata.to_string().len() <= MAX_METADATA_BYTES;
            let id = &member.peer_id;
            let is_own = self.own_ids.iter().any(|own| own.as_str() == id);
            match member.metadata.as_ref().filter(fits).filter(|_| !is_own) {
                Some(metadata) if self.peer_metadata.get(id) != Some(metadata) => {
                    let known = Arc::make_mut(&mut self.peer_metadata);
                    if known.contains_key(id) || known.len() < MAX_METADATA {
                        known.insert(id.clone(), metadata.clone());
                    }
                }
                Some(_) => {}
                None => self.forget(id),
            }
        }
        for member in left {
            self.forget(&member.peer_id);
        }
    }

    fn forget(&mut self, id: &str) {
        if self.peer_metadata.contains_key(id) {
            Arc::make_mut(&mut self.peer_metadata).remove(id);
        }
    }

    /// Nobody is known any more.
    pub(super) fn forget_all(&mut self) {
        self.peer_metadata = Arc::default();
    }

    /// A presence list without ourselves and our ghosts.
    pub(super) fn others(&self, members: &[Member]) -> Vec<PeerId> {
        let ids = members.iter().map(|member| PeerId::from(member.peer_id.as_str()));
        ids.filter(|id| !self.own_ids.contains(id)).collect()
    }
}
