//! Links: one WebRTC peer connection per peer and generation. The `webrtc` crate stays in this room.
//!
//! A link runs the heart's operations strictly in order and reports what happens; it decides
//! nothing about offers, roles or recovery. It drinks encoded frames from the media room and hands
//! it what the peer sends.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};

use crate::intercom::{Input, LinkCommand, LinkId};
use crate::media::{Fanout, Playback};

mod engine;
mod keyframes;
mod link;
mod sdp;
mod tracks;

/// A STUN or TURN server. Its `Debug` hides the credential.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:`, `turn:` … addresses.
    pub urls: Vec<String>,
    /// TURN user name; empty for STUN.
    pub username: String,
    /// TURN password; empty for STUN.
    pub credential: String,
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IceServer({:?})", self.urls)
    }
}

/// What can go wrong with a peer connection.
#[derive(Debug, thiserror::Error)]
pub enum RtcError {
    /// The peer connection could not be made.
    #[error("cannot build a peer connection: {0}; is there a network interface that is up?")]
    Build(String),
    /// An operation was refused by the peer connection.
    #[error("{operation} failed: {reason}")]
    Operation {
        /// Which operation.
        operation: &'static str,
        /// The crate's words, which name no SDP.
        reason: String,
    },
    /// An operation took too long.
    #[error("{0} did not finish in time")]
    TimedOut(&'static str),
}

impl RtcError {
    fn build(error: webrtc::error::Error) -> Self {
        Self::Build(error.to_string())
    }
}

/// Counters of one link.
#[derive(Debug, Default)]
pub struct LinkStats {
    /// Video frames handed to the connection.
    pub frames_sent: AtomicU64,
    /// Video frames that came from the peer.
    pub frames_received: AtomicU64,
    /// Audio packets handed to the connection.
    pub audio_sent: AtomicU64,
    /// Audio packets that came from the peer.
    pub audio_received: AtomicU64,
    /// RTP packets the connection refused.
    pub write_errors: AtomicU64,
}

/// One reading of [`LinkStats`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkReading {
    /// Video frames handed to the connection.
    pub frames_sent: u64,
    /// Video frames that came from the peer.
    pub frames_received: u64,
    /// Audio packets handed to the connection.
    pub audio_sent: u64,
    /// Audio packets that came from the peer.
    pub audio_received: u64,
    /// RTP packets the connection refused.
    pub write_errors: u64,
    /// What we send as video, once negotiated.
    pub video_codec: Option<&'static str>,
}

/// Builds links.
#[derive(Clone)]
pub struct Links {
    fanout: Fanout,
    playback: Playback,
    inbox: mpsc::Sender<Input>,
}

/// One link, as its owner holds it. Dropping it closes the link.
#[derive(Debug)]
pub struct LinkHandle {
    orders: mpsc::Sender<LinkCommand>,
    shown: watch::Sender<bool>,
    video: watch::Receiver<tracks::Targets>,
    stats: Arc<LinkStats>,
}

/// The link's queue of operations is full: it is stuck.
#[derive(Debug, PartialEq, Eq)]
pub struct LinkStuck;

impl Links {
    /// A builder of links that send what `fanout` carries, play into `playback` and report to `inbox`.
    pub fn new(fanout: Fanout, playback: Playback, inbox: mpsc::Sender<Input>) -> Self {
        Self { fanout, playback, inbox }
    }

    /// Builds a link and runs it in a task of its own until its handle is dropped;
    /// `LinkEvent::Closed` is the last thing it reports.
    pub fn open(
        &self,
        id: LinkId,
        servers: Vec<IceServer>,
    ) -> (LinkHandle, impl Future<Output = ()> + Send + use<>) {
        // 64: an offer or answer and all candidates of one exchange; a fuller queue means that the
        // link does not get on, which its owner reports as a broken link.
        let (orders, order_queue) = mpsc::channel(64);
        let (shown, shown_watch) = watch::channel(false);
        let (targets, video) = watch::channel(tracks::Targets::default());
        let stats = Arc::new(LinkStats::default());
        let task = link::run(link::Parts {
            id,
            servers,
            fanout: self.fanout.clone(),
            playback: self.playback.clone(),
            inbox: self.inbox.clone(),
            orders: order_queue,
            shown: shown_watch,
            targets,
            stats: Arc::clone(&stats),
        });
        (LinkHandle { orders, shown, video, stats }, task)
    }
}

impl LinkHandle {
    /// Queues an operation.
    ///
    /// # Errors
    ///
    /// [`LinkStuck`] when the link does not get on with its queue or has ended.
    pub fn order(&self, command: LinkCommand) -> Result<(), LinkStuck> {
        self.orders.try_send(command).map_err(|_| LinkStuck)
    }

    /// Whether this peer's picture and voice are the ones the door plays.
    pub fn show(&self, shown: bool) {
        self.shown.send_replace(shown);
    }

    /// The link's counters now.
    pub fn reading(&self) -> LinkReading {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LinkReading {
            frames_sent: get(&self.stats.frames_sent),
            frames_received: get(&self.stats.frames_received),
            audio_sent: get(&self.stats.audio_sent),
            audio_received: get(&self.stats.audio_received),
            write_errors: get(&self.stats.write_errors),
            video_codec: self.video.borrow().video.map(|_| "H264"),
        }
    }
}
