//! One link: the task that owns a peer connection, runs operations in order and reports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rtc::peer_connection::configuration::RTCOfferOptions;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};
use webrtc::peer_connection::{
    PeerConnection, RTCIceCandidateInit, RTCPeerConnectionState, RTCSessionDescription,
};
use webrtc::rtp_transceiver::RtpSender;

use super::ask::{add, bounded, extension, failed, operation, parameters, payload_type};
use super::bandwidth::{self, Gauge};
use super::events::{Event, Handler};
use super::firsts::Firsts;
use super::numbers::Numbers;
use super::path::{Look, Way};
use super::servers::{Ready, Servers};
use super::sockets::Choice;
use super::tracks::{Outgoing, Played, Receiving, Sending, Targets};
use super::{
    Ears, IceServer, LinkStats, Picture, RtcError, Taste, candidates, engine, path, sdp, servers,
    tracks,
};
use crate::config::names::IcePolicy;
use crate::intercom::{
    Candidate, Description, DescriptionKind, Health, Input, LinkCommand, LinkEvent, LinkId, Outcome,
};
use crate::media::{Fanout, Kind, Party, Playback, Share};

/// How long closing may take; the driver is stopped by then or abandoned.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a connected link looks at its way and for the peer's farewell.
const LOOK: Duration = Duration::from_secs(1);

/// What a link is told.
pub enum Order {
    /// An operation of the heart's.
    Command(LinkCommand),
    /// Servers in place of those before.
    Configure(Vec<IceServer>),
}

/// Everything a link is made from.
pub struct Parts {
    pub id: LinkId,
    pub policy: IcePolicy,
    pub servers: Servers,
    pub fanout: Fanout,
    pub playback: Playback,
    pub inbox: mpsc::Sender<Input>,
    pub orders: mpsc::Receiver<Order>,
    pub played: watch::Receiver<Played>,
    pub ears: Ears,
    pub party: Party,
    pub targets: watch::Sender<Targets>,
    pub way: watch::Sender<Option<Way>>,
    pub stats: Arc<LinkStats>,
    pub share: Share,
    pub gauge: Arc<Gauge>,
    pub numbers: Numbers,
    pub picture: Picture,
}

/// Runs a link until its orders end. `LinkEvent::Closed` is the last report.
pub async fn run(parts: Parts) {
    let (id, inbox) = (parts.id.clone(), parts.inbox.clone());
    match Link::build(parts).await {
        Ok(mut link) => {
            link.live().await;
            link.close().await;
        }
        Err(error) => warn!("link {id}: {error}"),
    }
    // The daemon is gone when nobody takes the report any more.
    let _ = inbox.send(Input::Link(id, LinkEvent::Closed)).await;
}

/// The two tracks wait here until the connection is up for the first time.
struct Unsent {
    audio: Outgoing,
    video: Outgoing,
    firsts: Firsts,
}

/// How far a link has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not connected, or not any more.
    Away,
    /// Connected.
    Connected,
    /// Only a new link helps: the peer has closed it, or its driver has stopped, or may stop for long.
    /// The task ends.
    Stopped,
}

struct Link {
    ears: Ears,
    party: Party,
    id: LinkId,
    numbers: Numbers,
    policy: IcePolicy,
    taste: Taste,
    servers: Servers,
    /// The servers the connection knows.
    configured: Vec<Ready>,
    /// The servers that have given us candidates.
    heard: BTreeSet<String>,
    /// The relays that gave none, as far as the log knows.
    silent: BTreeSet<String>,
    stage: Stage,
    connection: Arc<dyn PeerConnection>,
    senders: [Arc<dyn RtpSender>; 2],
    unsent: Option<Unsent>,
    fanout: Fanout,
    inbox: mpsc::Sender<Input>,
    orders: mpsc::Receiver<Order>,
    events: mpsc::Receiver<Event>,
    targets: watch::Sender<Targets>,
    way: watch::Sender<Option<Way>>,
    codecs: watch::Sender<BTreeMap<u8, sdp::Codec>>,
    receiving: Receiving,
    stats: Arc<LinkStats>,
    gauge: Arc<Gauge>,
    /// Senders and receivers; they end with the link.
    tasks: JoinSet<()>,
}

impl Link {
    async fn build(mut parts: Parts) -> Result<Self, RtcError> {
        let configured = parts.servers.ready().await;
        if parts.policy == IcePolicy::Relay && !configured.iter().any(Ready::relays) {
            warn!("link {}: only relays are allowed and there is no TURN server", parts.id);
        }
        // 256: more than a connection can report between two turns of this task.
        let (handler, events) = mpsc::channel(256);
        let numbers = parts.numbers.of(&parts.id.peer);
        let choice = Arc::new(Choice::default());
        let handler_of_all =
            Arc::new(Handler { events: handler.clone(), choice: Arc::clone(&choice) });
        let building = engine::build(
            &configured,
            parts.policy,
            (handler_of_all, choice),
            (&parts.gauge, parts.picture),
            &numbers,
        );
        let connection = bounded("building the connection", building).await??;
        let audio = Outgoing::new(Kind::Audio, parts.picture);
        let video = Outgoing::new(Kind::Video, parts.picture);
        let added =
            async { Ok((add(&connection, &audio).await?, add(&connection, &video).await?)) };
        let (audio_sender, video_sender) = match added.await {
            Ok(senders) => senders,
            Err(error) => {
                // The crate's driver lives until it is told.
                let _ = timeout(CLOSE_TIMEOUT, connection.close()).await;
                return Err(error);
            }
        };
        let firsts = Firsts::new(handler.clone());
        let (codecs, codec_watch) = watch::channel(BTreeMap::new());
        let mut tasks = JoinSet::new();
        let requests = tracks::answer_keyframe_requests(
            Arc::clone(&video.track),
            parts.fanout.clone(),
            Arc::clone(&parts.gauge),
            parts.party,
        );
        tasks.spawn(async move {
            requests.await;
            // Nothing else tells that the driver is no more.
            let _ = handler.send(Event::Stopped).await;
        });
        let gauge = Arc::clone(&parts.gauge);
        let attending =
            bandwidth::attend(parts.id.clone(), gauge, parts.share, parts.inbox.clone());
        tasks.spawn(attending);
        Ok(Self {
            id: parts.id,
            numbers: parts.numbers,
            ears: parts.ears,
            party: parts.party,
            policy: parts.policy,
            taste: parts.picture.taste,
            servers: parts.servers,
            configured,
            heard: BTreeSet::new(),
            silent: BTreeSet::new(),
            stage: Stage::Away,
            connection,
            senders: [audio_sender, video_sender],
            unsent: Some(Unsent { audio, video, firsts }),
            fanout: parts.fanout.clone(),
            inbox: parts.inbox,
            orders: parts.orders,
            events,
            targets: parts.targets,
            way: parts.way,
            codecs,
            receiving: Receiving {
                played: parts.played,
                codecs: codec_watch,
                playback: parts.playback,
                stats: Arc::clone(&parts.stats),
                gauge: Arc::clone(&parts.gauge),
                fanout: parts.fanout,
                heard_again: Arc::default(),
            },
            stats: parts.stats,
            gauge: parts.gauge,
            tasks,
        })
    }

    async fn live(&mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(Order::Command(command)) => self.carry_out(command).await,
                    Some(Order::Configure(servers)) => {
                        self.servers.give(servers);
                        self.configure().await;
                    }
                    None => return,
                },
                Some(event) = self.events.recv() => self.event(event).await,
                _ = looks.tick(), if self.stage == Stage::Connected => self.look().await,
            }
            if self.stage == Stage::Stopped {
                return;
            }
        }
    }

    async fn close(mut self) {
        self.tasks.shutdown().await;
        if timeout(CLOSE_TIMEOUT, self.connection.close()).await.is_err() {
            warn!("link {}: the peer connection did not close in time", self.id);
        }
    }

    async fn carry_out(&mut self, command: LinkCommand) {
        match &command {
            LinkCommand::MakeOffer { restart, .. } => {
                debug!("link {}: makes an offer (restart: {restart})", self.id);
            }
            LinkCommand::TakeOffer { .. } => debug!("link {}: takes an offer", self.id),
            LinkCommand::TakeAnswer { .. } => debug!("link {}: takes an answer", self.id),
            LinkCommand::AddCandidate(_) => {}
        }
        let (op, outcome) = match command {
            LinkCommand::MakeOffer { op, restart } => (op, self.make_offer(restart).await),
            LinkCommand::TakeOffer { op, sdp } => (op, self.take_offer(sdp).await),
            LinkCommand::TakeAnswer { op, sdp } => (op, self.take_answer(sdp).await),
            LinkCommand::AddCandidate(candidate) => return self.add_candidate(candidate).await,
        };
        let outcome = outcome.unwrap_or_else(|error| {
            warn!("link {}: {error}", self.id);
            Outcome::Failed(error.to_string())
        });
        self.report(LinkEvent::Done { op, outcome }).await;
    }

    async fn make_offer(&mut self, restart: bool) -> Result<Outcome, RtcError> {
        if restart {
            // Names may have become known or have moved with the network.
            self.configure().await;
        }
        // Not `restart_ice`, which begins to gather before the offer is set and then drops what it found.
        let options = restart.then_some(RTCOfferOptions { ice_restart: true });
        let making = self.connection.create_offer(options);
        let offer = operation("making an offer", making).await?;
        operation("setting our offer", self.connection.set_local_description(offer)).await?;
        self.local(DescriptionKind::Offer).await
    }

    async fn take_offer(&mut self, sdp: String) -> Result<Outcome, RtcError> {
        let sdp = match self.taste {
            Taste::Any => sdp,
            Taste::H264 => sdp::h264_first(&sdp),
        };
        let offer = RTCSessionDescription::offer(sdp.clone())
            .map_err(|error| failed("reading the peer's offer", &error))?;
        operation("setting the peer's offer", self.connection.set_remote_description(offer))
            .await?;
        let answer = operation("making an answer", self.connection.create_answer(None)).await?;
        operation("setting our answer", self.connection.set_local_description(answer)).await?;
        let made = self.local(DescriptionKind::Answer).await?;
        self.negotiated(&sdp).await;
        Ok(made)
    }

    async fn take_answer(&mut self, sdp: String) -> Result<Outcome, RtcError> {
        let answer = RTCSessionDescription::answer(sdp.clone())
            .map_err(|error| failed("reading the peer's answer", &error))?;
        operation("setting the peer's answer", self.connection.set_remote_description(answer))
            .await?;
        self.negotiated(&sdp).await;
        Ok(Outcome::Taken)
    }

    async fn local(&self, kind: DescriptionKind) -> Result<Outcome, RtcError> {
        let description =
            bounded("reading our description", self.connection.local_description()).await?;
        let sdp = description.map(|description| description.sdp).unwrap_or_default();
        let sdp = candidates::shown_in(&sdp, self.policy);
        self.codecs.send_replace(sdp::codecs(&sdp));
        Ok(Outcome::Made(Description { kind, sdp }))
    }

    /// Both descriptions are in: learn what we may send and what the peer sends.
    async fn negotiated(&mut self, remote: &str) {
        let [audio, video] = &self.senders;
        let (audio, video) = (parameters(audio).await, parameters(video).await);
        let targets = Targets {
            audio: audio.and_then(|audio| payload_type(&audio, "audio/opus", "")),
            video: video
                .as_ref()
                .and_then(|video| payload_type(video, "video/h264", "packetization-mode=1")),
            playout_delay: video.as_ref().and_then(|video| extension(video, engine::PLAYOUT_DELAY)),
        };
        if targets.video.is_none() {
            warn!("link {}: the phone takes no H.264 of ours; it gets sound only", self.id);
        }
        self.targets.send_replace(targets);
        self.numbers.learn(&self.id.peer, sdp::extensions(remote));
        let sends = sdp::sends(remote);
        self.report(LinkEvent::RemoteMedia { audio: sends.audio, video: sends.video }).await;
    }

    async fn add_candidate(&self, candidate: Candidate) {
        let init = RTCIceCandidateInit {
            candidate: candidate.candidate,
            sdp_mid: candidate.sdp_mid,
            sdp_mline_index: candidate.sdp_mline_index,
            username_fragment: candidate.username_fragment,
            url: None,
        };
        // TCP, `.local` or IPv6 candidates the stack cannot use are no reason to fail (protocol.md 10.9).
        if operation("adding a candidate", self.connection.add_ice_candidate(init)).await.is_err() {
            debug!("link {}: a candidate of the peer is of no use here", self.id);
        }
    }

    /// Tells the connection its servers when they are not the same any more.
    async fn configure(&mut self) {
        let ready = self.servers.ready().await;
        if ready == self.configured {
            return;
        }
        let configuration = engine::configuration(&ready, self.policy);
        let setting = self.connection.set_configuration(configuration);
        match operation("setting the servers", setting).await {
            Ok(()) => self.configured = ready,
            Err(error) => warn!("link {}: {error}; it keeps its servers", self.id),
        }
    }

    async fn look(&mut self) {
        match path::look(&self.senders[0]).await {
            Look::Nothing => {}
            Look::Way(way) => {
                if self.way.borrow().as_ref() == Some(&way) {
                    return;
                }
                debug!("link {}: goes from {} to {}", self.id, way.local, way.remote);
                self.gauge.path_changed();
                let path = way.path.clone();
                self.way.send_replace(Some(way));
                self.report(LinkEvent::Path(path)).await;
            }
            // An ICE restart keeps the keys, and those are gone (RFC 8842 section 5.5).
            Look::PeerClosed => self.stop("the peer has closed it"),
        }
    }

    fn stop(&mut self, reason: &str) {
        debug!("link {}: {reason}", self.id);
        self.stage = Stage::Stopped;
    }

    async fn event(&mut self, event: Event) {
        match event {
            Event::Stopped => self.stop("its connection has no socket any more"),
            Event::Candidate(text, server) => {
                self.heard.insert(servers::key(&server));
                let Some(text) = candidates::shown(&text, self.policy) else { return };
                let local = self.connection.local_description().await;
                let sdp = local.map(|description| description.sdp).unwrap_or_default();
                let candidate = Candidate {
                    candidate: text,
                    sdp_mid: sdp::first_mid(&sdp).or_else(|| Some("0".to_owned())),
                    sdp_mline_index: Some(0),
                    username_fragment: sdp::ufrag(&sdp),
                };
                self.report(LinkEvent::Candidate(candidate)).await;
            }
            Event::Gathered => {
                for place in servers::silent(&self.configured, &self.heard) {
                    // Once per link: each renegotiation gathers again.
                    if self.silent.insert(place.clone()) {
                        warn!(
                            "link {}: the TURN server {place} gives us no relay; is it reachable, \
                             are user name and password right?",
                            self.id
                        );
                    }
                }
                self.report(LinkEvent::EndOfCandidates).await;
            }
            Event::Reached(what, at) => self.report(LinkEvent::Reached(what, at)).await,
            Event::Track(_) if self.party == Party::Audience => {
                debug!("link {}: sends something, which nobody listens to", self.id);
            }
            Event::Track(track) => {
                self.tasks.spawn(tracks::receive(track, self.receiving.clone()));
            }
            // The door has no use for it. Its section is accepted all the same: Chromium offers a
            // refused one again without end.
            Event::DataChannel(channel) => {
                debug!("link {}: a data channel of the page is closed", self.id);
                if operation("closing a data channel", channel.close()).await.is_err() {
                    debug!("link {}: the data channel was gone already", self.id);
                }
            }
            Event::State(state) => {
                let health = match state {
                    RTCPeerConnectionState::Connected => Health::Connected,
                    RTCPeerConnectionState::Disconnected => Health::Disconnected,
                    RTCPeerConnectionState::Failed => Health::Failed,
                    RTCPeerConnectionState::Connecting => Health::Connecting,
                    RTCPeerConnectionState::Closed => return self.stop("it is closed"),
                    _ => return,
                };
                debug!("link {}: {health:?}", self.id);
                let was_tcp = self.way.borrow().as_ref().is_some_and(|way| way.local == path::TCP);
                if health == Health::Disconnected && was_tcp {
                    // A full TCP buffer holds up the crate's driver for as long as TCP likes.
                    self.stage = Stage::Stopped;
                    return;
                }
                self.stage = Stage::Away;
                if health != Health::Disconnected {
                    // What is found next is news, even when it is the same.
                    self.way.send_replace(None);
                }
                if health == Health::Connected {
                    self.stage = Stage::Connected;
                    self.begin_sending();
                }
                self.report(LinkEvent::Health(health)).await;
                if health == Health::Connected {
                    self.look().await;
                }
            }
        }
    }

    /// Frames flow from the first moment the peer can decrypt them, beginning with a keyframe.
    fn begin_sending(&mut self) {
        let Some(Unsent { audio, video, firsts }) = self.unsent.take() else {
            return self.fanout.request_keyframe();
        };
        let sending = Sending {
            fanout: self.fanout.clone(),
            targets: self.targets.subscribe(),
            stats: Arc::clone(&self.stats),
            gauge: Arc::clone(&self.gauge),
            ears: self.ears,
            played: self.receiving.played.clone(),
            firsts,
        };
        // Its feed asks for the keyframe.
        self.tasks.spawn(tracks::send(sending, audio, video));
    }

    async fn report(&self, event: LinkEvent) {
        // The daemon is gone when nobody takes the report any more; then this task ends too.
        let _ = self.inbox.send(Input::Link(self.id.clone(), event)).await;
    }
}
