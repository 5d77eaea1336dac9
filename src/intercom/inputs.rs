//! Everything the heart can be told: by the button, the uplinks, the links, the devices, the
//! network and the clock.

use std::net::IpAddr;
use std::time::Instant;

use super::faults::Part;
use super::page::{Checked, Nonce, Purpose};
use super::types::{
    CallId, Candidate, Description, LinkId, Milestone, OpId, Path, PeerId, PeerKey, Signal,
    UplinkId, VideoMode,
};

/// Everything the heart can be told.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The doorbell was pressed, at the door or by `ctl press`.
    Press,
    /// The button has been held for long. Means nothing to the call, which heard of the press.
    LongPress,
    /// Something of the door does not work any more.
    Broken(Part),
    /// It works again.
    Mended(Part),
    /// `ctl hangup`.
    Hangup,
    /// Something happened on an uplink.
    Uplink(UplinkId, UplinkEvent),
    /// Something happened on a link.
    Link(LinkId, LinkEvent),
    /// The board's own addresses changed.
    Network(NetworkChange),
    /// Quiet hours begin (`true`) or are over.
    Quiet(bool),
    /// There is a picture of this call's visitor.
    Picture(CallId),
    /// So many persons are known who can prove who they are.
    Persons(usize),
    /// The number asked for by `Command::Challenge`.
    Challenge(PeerKey, Purpose, Nonce),
    /// What `Command::Verify` came to.
    Verified(PeerKey, Purpose, Checked),
    /// What `Command::KeepAddress` asked for is on the disk.
    WakeKept(PeerKey),
    /// A deadline given by `poll_timeout` has passed.
    Wakeup,
    /// The daemon is stopping.
    Shutdown,
}

/// Addresses of this board that came or went, loopback and link-local ones apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkChange {
    /// New addresses.
    pub came: Vec<IpAddr>,
    /// Addresses that are no more.
    pub gone: Vec<IpAddr>,
}

/// What an uplink reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UplinkEvent {
    /// The signalling side greeted us and gave us this id.
    Up {
        /// Our own id on this uplink until it goes down.
        own: PeerId,
    },
    /// The socket is gone; the uplink reconnects by itself.
    Down,
    /// We are in the channel. The first snapshot follows, or never comes when nobody is there
    /// (protocol.md section 3.1).
    Joined,
    /// The channel let us go after `Leave`.
    Left,
    /// The channel refused us; the uplink has logged why and keeps no retry going.
    JoinRefused,
    /// The full list of the others in the channel.
    Snapshot(Vec<PeerId>),
    /// Somebody came.
    Came(PeerId),
    /// Somebody went.
    Gone(PeerId),
    /// A peer sent us something.
    Signal {
        /// Who.
        from: PeerId,
        /// What.
        signal: Signal,
    },
    /// The signalling side gave other ICE servers than before, or other credentials for them.
    ServersChanged,
    /// A description we sent was not delivered.
    Undelivered {
        /// To whom.
        to: PeerId,
        /// Whether the addressee is known to be away (`peer_not_found`).
        absent: bool,
    },
}

/// What a link reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// An operation finished.
    Done {
        /// The operation's number.
        op: OpId,
        /// Its outcome.
        outcome: Outcome,
    },
    /// We have a candidate for the peer.
    Candidate(Candidate),
    /// We have no more candidates for this generation.
    EndOfCandidates,
    /// The connection's health changed.
    Health(Health),
    /// The way media takes, when the link is connected and each time it changes.
    Path(Path),
    /// How much of the picture the link carries from now on; `Full` at its beginning.
    Video(VideoMode),
    /// The peer's current description says it sends these.
    RemoteMedia {
        /// The peer sends audio.
        audio: bool,
        /// The peer sends video.
        video: bool,
    },
    /// The link came so far, and when: it may have waited for its turn to be told.
    Reached(Milestone, Instant),
    /// The link has been closed and everything it held is free.
    Closed,
}

/// Outcome of one link operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// `MakeOffer` or `TakeOffer` made this description and has set it locally.
    Made(Description),
    /// `TakeAnswer` is done.
    Taken,
    /// The operation failed. The text names no SDP.
    Failed(String),
}

/// Health of a link, from the peer connection's `connectionState` (W3C webrtc section 4.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Not connected yet.
    Connecting,
    /// Media can flow.
    Connected,
    /// No sign of the peer for some seconds; may heal by itself.
    Disconnected,
    /// Will not heal by itself.
    Failed,
}
