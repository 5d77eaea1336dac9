//! Links: one WebRTC peer connection per peer and generation. The `webrtc` crate stays in this room.
//!
//! A link runs the heart's operations strictly in order and reports what happens; it decides
//! nothing about offers, roles or recovery. It drinks encoded frames from the media room and hands
//! it what the peer sends.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};

use crate::config::names::IcePolicy;
use crate::intercom::{Input, LinkCommand, LinkId, PeerKey, VideoMode};
use crate::media::{Bandwidth, Fanout, Party, Playback};

pub use tracks::Played;

mod ask;
mod bandwidth;
mod candidates;
mod early;
mod engine;
pub mod estimate;
mod events;
mod firsts;
mod flights;
mod keyframes;
mod link;
mod names;
mod nudges;
mod numbers;
mod order;
mod pace;
mod path;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod promises;
mod repair;
mod reports;
mod sdp;
mod servers;
mod sockets;
mod tracks;
pub mod trial;
mod turn_bridge;
mod turn_dial;
mod turn_frames;
mod turn_url;

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

/// How links reach their peers: the owner's choices, the same for all links.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Which ways are tried.
    pub policy: IcePolicy,
    /// Servers beside those a link is opened with.
    pub extra_servers: Vec<IceServer>,
    /// Certificate authorities beside the system's, in DER, for TURN over TLS. For tests.
    pub extra_roots: Vec<Vec<u8>>,
}

/// What links say of pictures in their descriptions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Picture {
    /// level_idc of the pictures we send (H.264 Annex A: ten times the level's number).
    pub level: u8,
    /// What we would rather be sent.
    pub taste: Taste,
}

/// Which of the codecs that we understand we would rather be sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Taste {
    /// Whatever the phone likes.
    #[default]
    Any,
    /// H.264: this board decodes it without work for its cores.
    H264,
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
    /// Video frames left out, as the path had no room for them or they could not be decoded.
    pub frames_dropped: AtomicU64,
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
    /// Video frames left out, as the path had no room for them or they could not be decoded.
    pub frames_dropped: u64,
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
    /// The kind of our candidate on the way media takes, once connected: `host`, `host-tcp`, `srflx`,
    /// `prflx` or `relay` (RFC 8445 section 4).
    pub path: Option<&'static str>,
    /// The kind of the peer's candidate.
    pub path_remote: Option<&'static str>,
    /// How much of the picture the link carries; none if there is no link.
    pub mode: Option<VideoMode>,
    /// What the path takes, in kbit/s; unknown until the peer reports on what it gets. Not above what the
    /// encoder can use.
    pub estimate_kbps: Option<u32>,
    /// Packets of ours that were lost lately, in percent; unknown until the peer reports.
    pub loss_percent: Option<u32>,
}

/// Who hears the door's microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ears {
    /// Every phone that has a link.
    Open,
    /// Those whose voice is played at the door: they have answered.
    Answered,
}

impl Ears {
    /// Those of a link to this peer: whoever looks in sees, and hears nothing.
    fn of(self, peer: &PeerKey) -> Self {
        if peer.uplink.is_for_looks() { Self::Answered } else { self }
    }
}

/// Builds links.
#[derive(Clone)]
pub struct Links {
    fanout: Fanout,
    bandwidth: Bandwidth,
    playback: Playback,
    inbox: mpsc::Sender<Input>,
    kit: servers::Kit,
    numbers: numbers::Numbers,
    picture: Picture,
    ears: Ears,
    party: Party,
}

/// One link, as its owner holds it. Dropping it closes the link.
#[derive(Debug)]
pub struct LinkHandle {
    orders: mpsc::Sender<link::Order>,
    played: watch::Sender<Played>,
    video: watch::Receiver<tracks::Targets>,
    way: watch::Receiver<Option<path::Way>>,
    stats: Arc<LinkStats>,
    mode: watch::Receiver<VideoMode>,
    gauge: Arc<bandwidth::Gauge>,
}

/// The link's queue of operations is full: it is stuck.
#[derive(Debug, PartialEq, Eq)]
pub struct LinkStuck;

impl Links {
    /// A builder of links that send what `fanout` carries, share `bandwidth`, play into `playback`, report to
    /// `inbox`, reach their peers as `network` says and say of pictures what `picture` does.
    pub fn new(
        fanout: Fanout,
        bandwidth: Bandwidth,
        playback: Playback,
        inbox: mpsc::Sender<Input>,
        network: Network,
        picture: Picture,
    ) -> Self {
        let names = names::Names::default();
        let roots = network.extra_roots.iter().cloned().map(Into::into).collect();
        let dial = turn_dial::Dial::new(names.clone(), roots);
        let kit = servers::Kit { names, dial, network: Arc::new(network) };
        Self {
            fanout,
            bandwidth,
            playback,
            inbox,
            kit,
            numbers: numbers::Numbers::default(),
            picture,
            ears: Ears::Open,
            party: Party::Phone,
        }
    }

    /// The same, with who hears the door's microphone said.
    #[must_use]
    pub fn with_ears(self, ears: Ears) -> Self {
        Self { ears, ..self }
    }

    /// Links to somebody who only looks on, reporting to `inbox`: what phones get is not changed by them, and what
    /// they send is not listened to.
    #[must_use]
    pub fn for_an_audience(self, inbox: mpsc::Sender<Input>) -> Self {
        Self { inbox, party: Party::Audience, ..self }
    }

    /// Begins to look up the names of these servers and of those of the configuration, so that no call
    /// waits for the name service. Cheap; to be called whenever servers become known, within a runtime.
    pub fn warm(&self, servers: &[IceServer]) {
        self.kit.warm(servers);
    }

    /// Builds a link and runs it in a task of its own until its handle is dropped;
    /// `LinkEvent::Closed` is the last thing it reports.
    pub fn open(
        &self,
        id: LinkId,
        servers: Vec<IceServer>,
    ) -> (LinkHandle, impl Future<Output = ()> + Send + use<>) {
        // 256: a description and the 200 candidates that may wait for it; a fuller queue means that the
        // link does not get on, which its owner reports as a broken link.
        let (orders, order_queue) = mpsc::channel(256);
        let (played, played_watch) = watch::channel(Played::default());
        let (targets, video) = watch::channel(tracks::Targets::default());
        let (way_in, way) = watch::channel(None);
        let stats = Arc::new(LinkStats::default());
        let gauge = bandwidth::Gauge::new(self.bandwidth.configured());
        let gauge = Arc::new(gauge.numbering(self.numbers.packets(&id.peer)));
        let share = self.bandwidth.join_as(self.party);
        let mode = share.mode();
        let ears = self.ears.of(&id.peer);
        let task = link::run(link::Parts {
            id,
            policy: self.kit.network.policy,
            servers: servers::Servers::new(self.kit.clone(), servers),
            fanout: self.fanout.clone(),
            playback: self.playback.clone(),
            inbox: self.inbox.clone(),
            orders: order_queue,
            played: played_watch,
            targets,
            way: way_in,
            stats: Arc::clone(&stats),
            share,
            gauge: Arc::clone(&gauge),
            numbers: self.numbers.clone(),
            picture: self.picture,
            ears,
            party: self.party,
        });
        (LinkHandle { orders, played, video, way, stats, mode, gauge }, task)
    }
}

impl LinkHandle {
    /// Queues an operation.
    ///
    /// # Errors
    ///
    /// [`LinkStuck`] when the link does not get on with its queue or has ended.
    pub fn order(&self, command: LinkCommand) -> Result<(), LinkStuck> {
        self.orders.try_send(link::Order::Command(command)).map_err(|_| LinkStuck)
    }

    /// Queues new servers or credentials behind the operations. The next ICE restart uses them;
    /// allocations at servers that are named again live on under the new credentials.
    ///
    /// # Errors
    ///
    /// [`LinkStuck`] when the link does not get on with its queue or has ended.
    pub fn configure(&self, servers: Vec<IceServer>) -> Result<(), LinkStuck> {
        self.orders.try_send(link::Order::Configure(servers)).map_err(|_| LinkStuck)
    }

    /// Says what the door plays of this peer.
    pub fn play(&self, played: Played) {
        self.played.send_replace(played);
    }

    /// The link's counters now.
    pub fn reading(&self) -> LinkReading {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let way = self.way.borrow();
        let estimate = self.gauge.estimate();
        LinkReading {
            frames_sent: get(&self.stats.frames_sent),
            frames_dropped: get(&self.stats.frames_dropped),
            frames_received: get(&self.stats.frames_received),
            audio_sent: get(&self.stats.audio_sent),
            audio_received: get(&self.stats.audio_received),
            write_errors: get(&self.stats.write_errors),
            video_codec: self.video.borrow().video.map(|_| "H264"),
            path: way.as_ref().map(|way| way.local),
            path_remote: way.as_ref().map(|way| way.remote),
            mode: Some(*self.mode.borrow()),
            estimate_kbps: estimate.map(|(rate, _)| rate / 1000),
            loss_percent: estimate.map(|(_, loss)| (100.0 * loss).round() as u32),
        }
    }
}
