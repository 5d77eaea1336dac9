//! Everything the heart can ask for; the daemon carries it out and reports what came of it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::door::{Opener, Refusal};
use super::faults::Part;
use super::page::{Denial, Name, Note, Proof, Purpose, PushAddress};
use super::types::{
    CallId, CallState, Candidate, Cause, LinkId, Milestone, OpId, Outgoing, PeerId, PeerKey,
    UplinkId, VideoMode,
};

/// Everything the heart can ask for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// For an uplink.
    Uplink(UplinkId, UplinkCommand),
    /// Build a peer connection.
    OpenLink(LinkId),
    /// Run an operation on a link; they run strictly in order.
    Link(LinkId, LinkCommand),
    /// Give a link the newest ICE servers of its uplink; they count from its next gathering.
    Configure(LinkId),
    /// Close a link and free all it holds; `LinkEvent::Closed` follows.
    CloseLink(LinkId),
    /// Camera, microphone and encoder on or off.
    Capture(bool),
    /// Camera and encoder on or off for those who look in; the microphone stays off.
    Look(bool),
    /// Whose picture the door shows. `None`: nobody's.
    Show(Option<LinkId>),
    /// Whose voices the door plays, mixed.
    Hear(BTreeSet<LinkId>),
    /// A text for the visitor, or no more of it.
    Text(Option<Note>),
    /// Draw a number for a proof of this peer's; comes back as `Input::Challenge`.
    Challenge(PeerKey, Purpose),
    /// Check a proof of this peer's, which it can have made for its id alone; comes back as `Input::Verified`.
    Verify(PeerKey, Proof),
    /// Wake this browser of a person's when it rings, from now on; comes back as `Input::WakeKept`.
    KeepAddress(PeerKey, Name, PushAddress),
    /// Send this peer the picture of the visitor.
    TellPicture(PeerKey),
    /// Send this peer, which has proved its right, who was there; the call is the present one.
    TellLog(PeerKey, CallId),
    /// What the lamp tells the visitor.
    Lamp(Lamp),
    /// What the screen tells the visitor.
    Scene(Scene),
    /// Tell the visitor how the call ended, by a tone or in the owner's words.
    Part(Cause),
    /// One chime at the door, so that the visitor hears that the press counted.
    Chime,
    /// One pulse of the door relay, so long. Only ever the answer to [`super::Intercom::unlock`].
    Release(Duration),
    /// Something an owner would tell a neighbour; goes to the log and to `ctl watch`.
    Report(Report),
}

/// What an uplink is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UplinkCommand {
    /// Be in the channel from now on, and again after every reconnect.
    Join,
    /// Leave the channel.
    Leave,
    /// Send to one peer. Never queued across a reconnect.
    Send {
        /// The addressee.
        to: PeerId,
        /// What.
        what: Outgoing,
    },
}

/// What a link is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkCommand {
    /// Make an offer and set it locally.
    MakeOffer {
        /// Number the report repeats.
        op: OpId,
        /// With new ICE credentials.
        restart: bool,
    },
    /// Set the peer's offer, make an answer and set it locally.
    TakeOffer {
        /// Number the report repeats.
        op: OpId,
        /// The peer's offer.
        sdp: String,
    },
    /// Set the peer's answer.
    TakeAnswer {
        /// Number the report repeats.
        op: OpId,
        /// The peer's answer.
        sdp: String,
    },
    /// Add a candidate of the peer; one that does not fit is dropped with a debug line.
    AddCandidate(Candidate),
}

/// What the screen tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// Nobody is at the door.
    Idle,
    /// We are entering the channel.
    Calling,
    /// Phones are being called; nobody has answered.
    Ringing,
    /// At least one phone says that it rings.
    Seen,
    /// Somebody talks with you: the one who is [shown](Command::Show).
    Talking,
    /// The line is being repaired; stay.
    Reconnecting,
    /// Nobody came. The screen knows by itself for how long to say so.
    NobodyAnswered,
    /// Nobody can be called.
    LineDown,
    /// Nobody is called at this hour.
    Quiet,
    /// Nobody rang, and somebody looks through the camera.
    Looking,
    /// The door itself does not work.
    Fault,
}

/// What the lamp tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lamp {
    /// Nothing: the door waits. Dark or lit, as the owner likes it.
    Idle,
    /// We are calling.
    Calling,
    /// A phone rings.
    Seen,
    /// Somebody talks with you.
    Talking,
    /// The line is being repaired; stay.
    Reconnecting,
    /// Nobody came, or the line is down. Shown for a few seconds after such an end.
    Sorry,
    /// The door waits, and something of it is out of order.
    Fault,
    /// Nobody rang, and somebody looks through the camera.
    Looking,
}

impl Lamp {
    /// The name used in board profiles and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Calling => "calling",
            Self::Seen => "seen",
            Self::Talking => "talking",
            Self::Reconnecting => "reconnecting",
            Self::Sorry => "sorry",
            Self::Fault => "fault",
            Self::Looking => "looking",
        }
    }
}

/// Events worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The call's state changed.
    State(CallState),
    /// The doorbell rang, whether anybody can be called or not; `again` when it was already ringing.
    Rang {
        /// Which call.
        call: CallId,
        /// A second press during the same ring.
        again: bool,
    },
    /// A press that changes nothing now.
    PressIgnored(CallState),
    /// The button has been held for long.
    LongPress,
    /// The door was opened.
    Opened {
        /// By whom.
        by: Opener,
        /// For how long.
        length: Duration,
    },
    /// The door was not opened.
    OpenRefused {
        /// Who asked.
        by: Opener,
        /// Why not.
        why: Refusal,
    },
    /// The log was not told to a page that asked with a wrong proof.
    LogRefused {
        /// Who asked.
        by: Opener,
        /// Why not.
        why: Denial,
    },
    /// A person looks through the camera although nobody rang.
    LooksIn {
        /// Under which name.
        call: CallId,
        /// Who.
        by: Name,
        /// Where.
        peer: PeerKey,
    },
    /// Nobody looks through the camera any more.
    LookOver(CallId),
    /// Somebody may not look through the camera.
    LookRefused {
        /// Who asked.
        by: Opener,
        /// Why not.
        why: Denial,
    },
    /// Something of the door does not work any more.
    Broken(Part),
    /// It works again.
    Mended(Part),
    /// Somebody answered.
    Answered {
        /// Who.
        peer: PeerKey,
        /// How the person is called, if that is known.
        name: Option<Name>,
    },
    /// So many pages ring.
    RingingAt(u32),
    /// A page has shown the first picture of the call so long after it heard of it.
    Seen(PeerKey, Duration),
    /// The call came so far, so long after the press: this phone, or without one the door itself.
    Reached {
        /// The phone.
        peer: Option<PeerKey>,
        /// How far.
        what: Milestone,
        /// How long after the press; after the end of the call before, if the press came in that.
        after: Duration,
    },
    /// Wrong proofs have locked out this peer for the rest of the call, or every peer for a while.
    ProofsLocked(Option<PeerKey>),
    /// The call is over.
    Ended {
        /// Which call.
        call: CallId,
        /// Why.
        cause: Cause,
    },
    /// A peer came into view.
    PeerCame(PeerKey),
    /// A peer is gone.
    PeerLeft(PeerKey),
    /// A peer's link was built again.
    Rebuilt(LinkId, Why),
    /// A peer could not be reached and was given up until it comes again.
    GaveUp(PeerKey),
    /// A peer came back under another id and has its old place again.
    CameBack {
        /// Its id before.
        was: PeerKey,
        /// Its id now.
        now: PeerKey,
    },
    /// A peer has to wait: the door serves as many as it can.
    Waits(PeerKey),
    /// A peer sent far more than a call needs and is not listened to any more.
    TurnedAway(PeerKey),
    /// Another door is in the channel; it is not called.
    OtherDoor(PeerKey),
    /// How much of the picture a peer gets.
    Picture(PeerKey, VideoMode),
}

/// Why a link was built again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Both offered at once and we gave way.
    Glare,
    /// The peer offers from a new connection of its own.
    NewRemote,
    /// Nothing came back to our description.
    NoAnswer,
    /// The connection failed and did not heal.
    Failed,
    /// An operation on the link failed.
    Broken,
    /// Our own id on the uplink changed, so the peer sees a new door.
    NewIdentity,
    /// The board's addresses changed.
    Moved,
    /// The peer answers an offer of a link that is no more.
    Mismatched,
}
