//! The words of the heart: who is out there, what comes in, what goes out.
//!
//! Plain values only. Nothing here knows a socket, a codec or a clock; times are given by the caller.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::page::{CallNotice, Denial, LogLine, Name, Nonce, PageMessage, Purpose};

/// One signalling attachment of this door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UplinkId {
    /// The managed signalling service.
    Service,
    /// The hub this daemon embeds for the local network.
    Lan,
    /// The managed service once more, in the channel of those who look in.
    ServiceLooks,
    /// The own hub once more, in the channel of those who look in.
    LanLooks,
}

impl UplinkId {
    /// The name used in `status`, logs and configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Lan => "lan",
            Self::ServiceLooks => "service-looks",
            Self::LanLooks => "lan-looks",
        }
    }

    /// Whether it leads to those who look in, and not to those who are called.
    pub fn is_for_looks(self) -> bool {
        match self {
            Self::Service | Self::Lan => false,
            Self::ServiceLooks | Self::LanLooks => true,
        }
    }
}

impl fmt::Display for UplinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A participant's id as the signalling side names it: 1 to 128 printable ASCII characters
/// (protocol.md section 2.1). Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(Arc<str>);

impl PeerId {
    /// Wraps an id. The uplink has checked its length and characters already.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for PeerId {
    fn from(id: &str) -> Self {
        Self(Arc::from(id))
    }
}

/// A remote participant: the same browser met over two uplinks is two peers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerKey {
    /// The uplink the peer was met on.
    pub uplink: UplinkId,
    /// Its id there.
    pub id: PeerId,
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.uplink, self.id)
    }
}

/// One peer connection: a peer and the number of the link.
///
/// Reports that carry an older generation are stale and are ignored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId {
    /// The peer at the other end.
    pub peer: PeerKey,
    /// Grows with every link this daemon builds, so that no two share a number.
    pub generation: u32,
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.peer, self.generation)
    }
}

/// Number of one operation on one link; the report of an operation repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpId(pub u64);

/// Which half of the offer/answer exchange a description is (RFC 3264; no `pranswer`, no `rollback`
/// on this wire, protocol.md section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DescriptionKind {
    /// An offer.
    Offer,
    /// An answer.
    Answer,
}

/// An SDP description. Its `Debug` never shows the SDP, which holds ICE passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct Description {
    /// Offer or answer.
    pub kind: DescriptionKind,
    /// The SDP text.
    pub sdp: String,
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({} bytes)", self.kind, self.sdp.len())
    }
}

/// An ICE candidate as browsers write it (W3C `RTCIceCandidateInit`).
#[derive(Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The candidate line without `a=`.
    pub candidate: String,
    /// The m-section's mid.
    pub sdp_mid: Option<String>,
    /// The m-section's index.
    pub sdp_mline_index: Option<u16>,
    /// The short id of the ICE session the candidate belongs to.
    pub username_fragment: Option<String>,
}

impl Candidate {
    /// The ufrag this candidate names, in its own field or inside its text
    /// (`… ufrag XXXX`, as Chromium writes it).
    pub fn ufrag(&self) -> Option<&str> {
        if let Some(ufrag) = self.username_fragment.as_deref() {
            return Some(ufrag);
        }
        let mut words = self.candidate.split_ascii_whitespace();
        words.find(|word| *word == "ufrag")?;
        words.next()
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Candidate(mid {:?})", self.sdp_mid)
    }
}

/// The way media takes over a link (RFC 8445 section 8.1.1: the nominated pair).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Our own address on it; `None` when a relay stands in for us.
    pub local: Option<IpAddr>,
    /// Whether a TURN server carries it.
    pub relayed: bool,
}

/// How much of the visitor's picture a link carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoMode {
    /// All of it.
    Full,
    /// Keyframes only: the path is too narrow for more.
    Keyframes,
    /// Nothing: what the path carries is left to the voice.
    Paused,
}

impl VideoMode {
    /// The name used in `status` and the door protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Keyframes => "keyframes",
            Self::Paused => "paused",
        }
    }
}

/// Something a peer sent to us in particular.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// An offer or an answer.
    Description(Description),
    /// A candidate.
    Candidate(Candidate),
    /// The peer has no more candidates for this generation.
    EndOfCandidates,
    /// Application data of ours.
    Page(PageMessage),
}

/// Something we send to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// Says what our tracks are (protocol.md section 4.3); goes before the offer that carries them.
    TrackMetadata,
    /// An offer or an answer.
    Description(Description),
    /// A candidate.
    Candidate(Candidate),
    /// No more candidates.
    EndOfCandidates,
    /// Where the call stands.
    Notice(Box<CallNotice>),
    /// How much of the picture the peer gets for now.
    Video(VideoMode),
    /// The door has as many phones as it can serve; the peer's turn comes when one leaves.
    Full,
    /// A number to make a proof with.
    Challenge(CallId, Purpose, Nonce),
    /// What was asked for is not done.
    Refused(CallId, Purpose, Denial),
    /// Somebody opened the door, for so long.
    Opened(CallId, Duration, Name),
    /// The visitor a moment after the press, as a JPEG in base64.
    Picture(CallId, Arc<str>),
    /// The latest calls, newest first.
    Log(CallId, Vec<LogLine>),
    /// The peer's browser will be woken when it rings.
    WillWake(CallId),
    /// The peer may look through the camera, so long at most.
    Looking(CallId, Duration),
    /// The look is over.
    LookOver(CallId),
}

/// Name of a call, unique across restarts: the daemon's own prefix and the number of the press.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallId(pub Arc<str>);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Nobody answered within `no_answer`.
    NoAnswer,
    /// Everybody who saw the ring declined it.
    Declined,
    /// The person who talked hung up.
    HungUp,
    /// The last person who talked went away and did not come back within `linger`.
    PeerGone,
    /// Somebody answered, and no picture or sound ever went to or from them.
    Unreached,
    /// The visitor pressed again and `press_ends_call` is set.
    Visitor,
    /// `intercomd ctl hangup`.
    Control,
    /// The call reached `longest_talk`.
    TooLong,
    /// No uplink let us into the channel within `join_timeout`.
    CannotJoin,
    /// The daemon is stopping.
    Shutdown,
    /// It is quiet hours: nobody was called.
    Quiet,
}

impl Cause {
    /// The name used in `status`, logs and the door protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoAnswer => "no-answer",
            Self::Declined => "declined",
            Self::HungUp => "hung-up",
            Self::PeerGone => "peer-gone",
            Self::Unreached => "unreached",
            Self::Visitor => "visitor",
            Self::Control => "control",
            Self::TooLong => "too-long",
            Self::CannotJoin => "cannot-join",
            Self::Shutdown => "shutdown",
            Self::Quiet => "quiet",
        }
    }

    /// Whether a visitor whose call ended so is left with nobody.
    pub fn disappoints(self) -> bool {
        match self {
            Self::NoAnswer | Self::Declined | Self::Unreached | Self::CannotJoin => true,
            Self::HungUp
            | Self::PeerGone
            | Self::Visitor
            | Self::Control
            | Self::TooLong
            | Self::Shutdown
            // Told in its own way.
            | Self::Quiet => false,
        }
    }
}

/// The times and choices of the call, from the `[call]` table of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// How long it rings before the visitor is told that nobody came. 5 s to 10 min.
    pub no_answer: Duration,
    /// The longest a talk may last. 10 s to 4 h.
    pub longest_talk: Duration,
    /// How long the door waits after the last talking peer left, for it to come back. 0 s to 60 s.
    pub linger: Duration,
    /// How long joining the channel may take before the visitor is told that the line is down.
    /// 1 s to 60 s.
    pub join_timeout: Duration,
    /// Whether a press while talking ends the call.
    pub press_ends_call: bool,
    /// Whether a press while ringing calls the visit off.
    pub press_cancels_ring: bool,
    /// Whether a further person may talk beside the one who answered.
    pub second_speaker: bool,
    /// Whether the door chimes in quiet hours, when nobody is called.
    pub quiet_chime: bool,
    /// Whether there is a screen for texts to the visitor.
    pub texts: bool,
    /// How many phones are served at a time; more of them wait. 1 to 16.
    pub max_peers: u32,
    /// The longest a person may look through the camera before having to ask anew. 5 s to 10 min.
    pub longest_look: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            no_answer: Duration::from_secs(60),
            longest_talk: Duration::from_secs(600),
            linger: Duration::from_secs(10),
            join_timeout: Duration::from_secs(10),
            press_ends_call: false,
            press_cancels_ring: false,
            second_speaker: false,
            quiet_chime: true,
            texts: true,
            max_peers: 6,
            longest_look: Duration::from_secs(60),
        }
    }
}

/// How far a call has come on its way to a picture on a phone. In this order: each needs those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Milestone {
    /// The door is in the channel. All others are of one phone.
    Entered,
    /// The door's first offer or answer is handed to the uplink.
    Described,
    /// ICE has found a way.
    Ice,
    /// DTLS has agreed on keys: media can flow.
    Dtls,
    /// The first packet of sound or picture has gone out.
    Rtp,
    /// The last packet of the first keyframe has gone out.
    Keyframe,
    /// The page has said that it shows the picture.
    Shown,
}

impl Milestone {
    /// The name used in events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Entered => "entered",
            Self::Described => "described",
            Self::Ice => "ice",
            Self::Dtls => "dtls",
            Self::Rtp => "rtp",
            Self::Keyframe => "keyframe",
            Self::Shown => "shown",
        }
    }
}

/// The call's state as the outside knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallState {
    /// Nobody is at the door.
    Idle,
    /// Nobody rang, and a person looks through the camera.
    Looking,
    /// The button was pressed; we are entering the channel.
    Joining,
    /// In the channel; nobody has answered.
    Ringing,
    /// Somebody talks with the visitor.
    Talking,
    /// Saying goodbye and freeing everything.
    Ending,
}

impl CallState {
    /// The name used in `status` and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Looking => "looking",
            Self::Joining => "joining",
            Self::Ringing => "ringing",
            Self::Talking => "talking",
            Self::Ending => "ending",
        }
    }
}
