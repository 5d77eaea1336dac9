//! The daemon's hands: carries the heart's commands out on uplinks, links, media and panel.
//!
//! Never waits. What cannot be done at once comes back as an input. Also reads everything `status`
//! shows.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, error, info, warn};

use crate::config;
use crate::hardware::{Panel, Release};
use crate::intercom::{
    Command, Input, LinkCommand, LinkEvent, LinkId, Outgoing, PeerView, Report, Scene, Snapshot,
    Stance, UplinkCommand, UplinkEvent, UplinkId,
};
use crate::media::{self, Capture, CaptureState, Playback};
use crate::rtc::{IceServer, LinkHandle, Links};
use crate::service::control::{
    CallStatus, Happening, MediaStatus, OutputStatus, PanelStatus, PeerStatus, Status, UplinkStatus,
};
use crate::service::notify;
use crate::service::server::{Events, unix_seconds};
use crate::service::tasks::{Tasks, Weight};
use crate::signalling::uplink::UplinkHandle;

/// Everything the heart's commands act on.
pub struct Hands {
    links: Links,
    uplinks: BTreeMap<UplinkId, UplinkHandle>,
    capture: Capture,
    playback: Playback,
    panel: Panel,
    events: Events,
    address: Option<String>,
    open: BTreeMap<LinkId, LinkHandle>,
    shown: Option<LinkId>,
    scene: Scene,
    refused: VecDeque<Input>,
    started: Instant,
}

impl Hands {
    /// Hands on these rooms.
    pub fn new(
        links: Links,
        uplinks: BTreeMap<UplinkId, UplinkHandle>,
        capture: Capture,
        playback: Playback,
        panel: Panel,
        events: Events,
        address: Option<String>,
    ) -> Self {
        Self {
            links,
            uplinks,
            capture,
            playback,
            panel,
            events,
            address,
            open: BTreeMap::new(),
            shown: None,
            scene: Scene::Idle,
            refused: VecDeque::new(),
            started: Instant::now(),
        }
    }

    /// The page's full address in the local network, hub key included.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Carries one command out.
    pub fn carry_out(&mut self, command: Command, tasks: &mut Tasks) {
        match command {
            Command::Uplink(uplink, command) => self.uplink(uplink, command),
            Command::OpenLink(id) => self.open_link(id, tasks),
            Command::Link(id, command) => self.order(id, command),
            Command::Configure(id) => self.configure(id),
            Command::CloseLink(id) => {
                // The task ends with its handle and reports; one that has ended cannot.
                if self.open.remove(&id).is_none() {
                    self.refused.push_back(Input::Link(id, LinkEvent::Closed));
                }
            }
            Command::Capture(on) => self.capture.set(on),
            Command::Show(link) => self.show(link),
            Command::Lamp(lamp) => self.panel.lamp(lamp),
            Command::Scene(scene) => {
                self.scene = scene;
                self.playback.ringback(scene == Scene::Ringing);
                self.show_scene();
            }
            Command::Sorry => self.playback.sorry(),
            Command::Chime => self.chime(),
            Command::Release(length) => self.release(length),
            Command::Report(report) => self.report(&report),
        }
    }

    /// What could not be done, as the heart has to hear of it.
    pub fn poll_refused(&mut self) -> Option<Input> {
        self.refused.pop_front()
    }

    /// The link's task has ended.
    pub fn forget(&mut self, link: &LinkId) {
        self.open.remove(link);
    }

    /// Closes everything, outputs safe last.
    pub async fn close(self) {
        drop(self.open);
        for (_, uplink) in self.uplinks {
            uplink.stop().await;
        }
        self.capture.stop().await;
        self.playback.stop().await;
        self.panel.close();
    }

    fn uplink(&mut self, uplink: UplinkId, command: UplinkCommand) {
        let Some(handle) = self.uplinks.get(&uplink) else {
            return error!("the heart uses the uplink {uplink}, which is not configured");
        };
        let Err(command) = handle.try_command(command) else { return };
        match command {
            UplinkCommand::Send { to, what: Outgoing::Description(_) } => {
                warn!("uplink {uplink} does not get on with its queue; a description is lost");
                let event = UplinkEvent::Undelivered { to, absent: false };
                self.refused.push_back(Input::Uplink(uplink, event));
            }
            UplinkCommand::Send { .. } => debug!("uplink {uplink} is full; a signal is lost"),
            UplinkCommand::Join | UplinkCommand::Leave => {
                error!("uplink {uplink} does not take commands any more");
            }
        }
    }

    fn open_link(&mut self, id: LinkId, tasks: &mut Tasks) {
        let servers = self.servers(id.peer.uplink);
        let (handle, task) = self.links.open(id.clone(), servers);
        tasks.spawn(format!("link {id}"), Weight::Ordinary, task);
        self.open.insert(id, handle);
    }

    fn order(&mut self, id: LinkId, command: LinkCommand) {
        let Some(handle) = self.open.get(&id) else {
            // It has ended by itself; the heart hears so by `Closed`.
            return debug!("link {id} takes no more orders");
        };
        if handle.order(command).is_err() {
            warn!("link {id} does not get on with its orders; it is given up");
            self.open.remove(&id);
        }
    }

    fn configure(&mut self, id: LinkId) {
        let servers = self.servers(id.peer.uplink);
        if self.open.get(&id).is_some_and(|handle| handle.configure(servers).is_err()) {
            warn!("link {id} does not get on with its orders; it is given up");
            self.open.remove(&id);
        }
    }

    /// The uplink's ICE servers are known: their names are looked up before a call needs them.
    pub fn warm(&self, uplink: UplinkId) {
        self.links.warm(&self.servers(uplink));
    }

    /// The board's addresses changed: each uplink looks at its socket, or tries at once.
    pub fn network_changed(&self) {
        self.uplinks.values().for_each(UplinkHandle::network_changed);
    }

    fn servers(&self, uplink: UplinkId) -> Vec<IceServer> {
        self.uplinks.get(&uplink).map(ice_servers).unwrap_or_default()
    }

    fn show(&mut self, link: Option<LinkId>) {
        for (id, on) in [(self.shown.take(), false), (link.clone(), true)] {
            if let Some(handle) = id.and_then(|id| self.open.get(&id)) {
                handle.show(on);
            }
        }
        self.shown = link;
        if self.scene == Scene::Talking {
            self.show_scene();
        }
    }

    /// What the screen is to show: the heart's scene, with the name of whose picture it is.
    fn show_scene(&self) {
        self.playback.show_scene(match self.scene {
            Scene::Idle => media::Scene::Idle,
            Scene::Calling => media::Scene::Calling,
            Scene::Ringing => media::Scene::Ringing,
            Scene::Talking => media::Scene::Talking { name: self.name_of_shown() },
            Scene::Reconnecting => media::Scene::Reconnecting,
            Scene::NobodyAnswered => media::Scene::NobodyAnswered,
            Scene::LineDown => media::Scene::LineDown,
            Scene::Fault => media::Scene::Fault,
        });
    }

    fn name_of_shown(&self) -> Option<String> {
        let peer = &self.shown.as_ref()?.peer;
        let status = self.uplinks.get(&peer.uplink)?.status();
        let status = status.borrow();
        status.peer_metadata.get(peer.id.as_str()).and_then(media::scene::name_in)
    }

    /// The one place where the chime is ordered: what sounds at the door goes here. Within 100 ms of the
    /// press, so nothing here may wait.
    fn chime(&self) {
        self.panel.chime();
        self.playback.chime();
    }

    fn release(&self, length: Duration) {
        match self.panel.release(length) {
            Release::Pulsing => {}
            // The heart was told of a relay that the panel refused to start without.
            Release::NoRelay => error!("the door was to be opened, but its relay is not there"),
        }
    }

    fn report(&self, report: &Report) {
        self.events.tell(Happening::from(report));
        match report {
            Report::State(state) => {
                debug!("the call is {}", state.name());
                notify::status(state.name());
            }
            Report::Rang { call, again: false } => info!("the doorbell rang (call {call})"),
            Report::Rang { call, again: true } => info!("the doorbell rang again (call {call})"),
            Report::PressIgnored(state) => {
                info!("the doorbell was pressed while {}; nothing to do", state.name());
            }
            Report::LongPress => info!("the doorbell button is held for long"),
            Report::Opened { by, length } => info!("the door is opened for {length:?} by {by}"),
            Report::OpenRefused { by, why } => {
                warn!("the door is not opened for {by}: {}", why.name());
            }
            Report::Broken(part) => warn!("out of order: {part}"),
            Report::Mended(part) => info!("in order again: {part}"),
            Report::Answered { peer } => info!("answered by {peer}"),
            Report::Ended { call, cause } => info!("call {call} ended: {}", cause.name()),
            Report::PeerCame(peer) => debug!("{peer} is in the channel"),
            Report::PeerLeft(peer) => debug!("{peer} is gone"),
            Report::Rebuilt(link, why) => debug!("link {link} replaces an earlier one: {why:?}"),
            Report::GaveUp(peer) => warn!("{peer} cannot be reached and is given up"),
            Report::CameBack { was, now } => info!("{was} is back as {now}"),
            Report::Waits(peer) => warn!("{peer} waits: the door serves `max_peers` already"),
            Report::TurnedAway(peer) => {
                warn!("{peer} sent far more than a call needs and is turned away");
            }
            Report::Picture(peer, mode) => {
                info!("{peer} gets the picture {}: so much its network takes", mode.name());
            }
        }
    }

    /// Everything `status` shows.
    pub fn status(&self, heart: &Snapshot) -> Status {
        let now = Instant::now();
        let capture = self.capture.status();
        let playback = self.playback.status();
        let panel = self.panel.status();
        let counters = heart.counters;
        Status {
            state: heart.state.into(),
            call: heart.call.as_ref().map(|(id, since)| CallStatus {
                id: id.to_string(),
                since: unix_seconds(SystemTime::now() - now.saturating_duration_since(*since)),
            }),
            uplinks: self.uplinks.values().map(uplink_status).collect(),
            door: heart.door.name().to_owned(),
            faults: heart.faults.iter().map(ToString::to_string).collect(),
            peers: heart.peers.iter().map(|peer| self.peer_status(peer)).collect(),
            media: MediaStatus {
                camera: capture.camera,
                encoder: capture.encoder,
                microphone: capture.microphone,
                capture: match capture.state {
                    CaptureState::Off => "off".to_owned(),
                    CaptureState::Starting => "starting".to_owned(),
                    CaptureState::Running => "running".to_owned(),
                    CaptureState::Broken { reason } => format!("broken: {reason}"),
                },
                frames: capture.frames,
                bitrate_kbps: capture.bitrate_kbps,
                pipelines_built: capture.pipelines_built,
                display: playback.display,
                speaker: playback.speaker,
                frames_shown: playback.video_frames,
                audio_played: playback.audio_buffers,
            },
            panel: PanelStatus {
                kind: panel.kind.to_owned(),
                button: panel.button,
                relay: panel.relay,
                lamp: panel.lamp,
                chime: panel.chime,
                outputs: panel
                    .outputs
                    .into_iter()
                    .map(|record| OutputStatus {
                        output: record.output.to_owned(),
                        value: record.value.to_owned(),
                        at: unix_seconds(record.at),
                    })
                    .collect(),
            },
            counters: [
                ("calls", counters.calls),
                ("openings", counters.openings),
                ("openings_refused", counters.refusals),
                ("long_presses", counters.long_presses),
                ("button_faults", counters.button_faults),
                ("camera_faults", counters.camera_faults),
                ("line_faults", counters.line_faults),
                ("ignored_inputs", counters.ignored),
                ("link_rebuilds", counters.rebuilds),
                ("rejoins", counters.rejoins),
                ("peers_given_up", counters.given_up),
                ("capture_failures", capture.failures),
                ("links_open", self.open.len() as u64),
            ]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address: self.address.clone(),
            uptime_s: self.started.elapsed().as_secs(),
        }
    }

    fn peer_status(&self, peer: &PeerView) -> PeerStatus {
        let generation = peer.generation.unwrap_or(0);
        let link = LinkId { peer: peer.key.clone(), generation };
        let reading = self.open.get(&link).map(LinkHandle::reading).unwrap_or_default();
        let uplink = self.uplinks.get(&peer.key.uplink).map(UplinkHandle::status);
        let metadata = uplink
            .and_then(|status| status.borrow().peer_metadata.get(peer.key.id.as_str()).cloned());
        PeerStatus {
            id: peer.key.id.to_string(),
            uplink: peer.key.uplink.to_string(),
            link: peer.link.to_owned(),
            generation,
            answered: matches!(peer.stance, Stance::Answered(_)),
            frames_sent: reading.frames_sent,
            frames_received: reading.frames_received,
            audio_sent: reading.audio_sent,
            audio_received: reading.audio_received,
            path: reading
                .path
                .map(|local| format!("{local}-{}", reading.path_remote.unwrap_or("unknown"))),
            picture: peer.video.name().to_owned(),
            metadata,
            loss_percent: reading.loss_percent,
            estimate_kbps: reading.estimate_kbps,
            video_codec: reading.video_codec.map(str::to_owned),
        }
    }
}

fn ice_servers(uplink: &UplinkHandle) -> Vec<IceServer> {
    let status = uplink.status();
    let servers = &status.borrow().ice_servers;
    servers.iter().map(ice_server).collect()
}

/// A server as the configuration and the signalling side name it, for a link.
pub fn ice_server(server: &config::names::IceServer) -> IceServer {
    IceServer {
        urls: server.urls.clone(),
        username: server.username.clone().unwrap_or_default(),
        credential: server.credential.clone().unwrap_or_default(),
    }
}

fn uplink_status(uplink: &UplinkHandle) -> UplinkStatus {
    let status = uplink.status();
    let status = status.borrow();
    UplinkStatus {
        name: status.name.to_owned(),
        state: status.state.name().to_owned(),
        peer_id: status.peer_id.as_ref().map(ToString::to_string),
        advice: status.problem.clone(),
        clock_ahead_s: status.clock_ahead,
        metadata: status.own_metadata.as_deref().cloned(),
    }
}
