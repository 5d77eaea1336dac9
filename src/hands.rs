//! The daemon's hands: carries the heart's commands out on uplinks, links, media and panel.
//!
//! Never waits. What cannot be done at once comes back as an input. Also reads everything `status`
//! shows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{debug, error, warn};

use crate::clerk::Clerk;
use crate::config::{self, Messages};
use crate::errands;
use crate::hardware::{Panel, Release};
use crate::herald::Herald;
use crate::intercom::{
    CallId, Cause, Checked, Command, Input, LinkCommand, LinkEvent, LinkId, Name, Outgoing,
    PeerKey, Report, Scene, UplinkCommand, UplinkEvent, UplinkId,
};
use crate::journal;
use crate::media::{self, Aim, Capture, Line, Playback};
use crate::publisher::{Publisher, Show};
use crate::rtc::{IceServer, LinkHandle, Links, Played};
use crate::service::happenings::Happening;
use crate::service::server::Events;
use crate::service::tasks::{Tasks, Weight};
use crate::signalling::uplink::UplinkHandle;

/// How long the outside may take to hear the last news.
const HOOKS: Duration = Duration::from_secs(2);

/// Everything the heart's commands act on.
pub struct Hands {
    pub(crate) links: Links,
    pub(crate) uplinks: BTreeMap<UplinkId, UplinkHandle>,
    pub(crate) capture: Capture,
    pub(crate) playback: Playback,
    pub(crate) panel: Panel,
    pub(crate) clerk: Clerk,
    pub(crate) herald: Herald,
    pub(crate) publisher: Option<Publisher>,
    events: Events,
    pub(crate) address: Option<String>,
    messages: Messages,
    portraits: mpsc::Sender<(CallId, Vec<u8>)>,
    inbox: mpsc::Sender<Input>,
    /// Whether camera and microphone are wanted for a call.
    capturing: bool,
    /// Whether the camera is wanted for those who look in.
    looking: bool,
    /// Whether the owner wants the camera on all the time.
    warm: bool,
    pub(crate) open: BTreeMap<LinkId, LinkHandle>,
    /// How those who answered this call want to be called.
    names: BTreeMap<PeerKey, Name>,
    shown: Option<LinkId>,
    pub(crate) heard: BTreeSet<LinkId>,
    scene: Scene,
    /// What the owner has to say at the end of the latest call.
    parting: Option<String>,
    refused: VecDeque<Input>,
    pub(crate) started: Instant,
}

/// The rooms the hands reach into.
pub struct Rooms {
    /// WebRTC links.
    pub links: Links,
    /// Every configured uplink.
    pub uplinks: BTreeMap<UplinkId, UplinkHandle>,
    /// Camera and microphone.
    pub capture: Capture,
    /// Screen and speaker.
    pub playback: Playback,
    /// Button, lamp, chime and relay.
    pub panel: Panel,
    /// Persons, log and pictures.
    pub clerk: Clerk,
    /// Who tells the outside.
    pub herald: Herald,
    /// The media server, if there is one.
    pub publisher: Option<Publisher>,
    /// Where it is said what came of something that took its time.
    pub inbox: mpsc::Sender<Input>,
}

impl Hands {
    /// Hands on these rooms, with the camera on from now on if it is to be `warm`. `messages` is what the owner has to say at which end of a call; pictures of visitors go
    /// to `portraits`.
    pub fn new(
        rooms: Rooms,
        events: Events,
        address: Option<String>,
        messages: Messages,
        portraits: mpsc::Sender<(CallId, Vec<u8>)>,
        warm: bool,
    ) -> Self {
        let Rooms { links, uplinks, capture, playback, panel, clerk, herald, publisher, inbox } =
            rooms;
        let hands = Self {
            links,
            uplinks,
            capture,
            playback,
            panel,
            clerk,
            herald,
            publisher,
            events,
            address,
            messages,
            portraits,
            inbox,
            capturing: false,
            looking: false,
            warm,
            open: BTreeMap::new(),
            names: BTreeMap::new(),
            shown: None,
            heard: BTreeSet::new(),
            scene: Scene::Idle,
            parting: None,
            refused: VecDeque::new(),
            started: Instant::now(),
        };
        hands.aim();
        hands
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
            Command::Capture(on) => {
                if on {
                    self.parting = None;
                }
                self.capturing = on;
                self.aim();
                self.publish(|show| show.picture = on);
            }
            Command::Look(on) => {
                self.looking = on;
                self.aim();
            }
            Command::Show(link) => self.show(link),
            Command::Hear(links) => self.hear(links),
            Command::Text(note) => self.playback.note(note.map(|note| note.as_str().to_owned())),
            Command::Challenge(peer, purpose) => {
                if let Some(nonce) = self.clerk.nonce() {
                    self.refused.push_back(Input::Challenge(peer, purpose, nonce));
                }
            }
            Command::Verify(peer, proof) => {
                let verdict = match self.clerk.check(&peer, &proof) {
                    Some(person) => Checked::Right(person),
                    None => Checked::Wrong(proof.person),
                };
                self.refused.push_back(Input::Verified(peer, proof.purpose, verdict));
            }
            Command::KeepAddress(peer, person, address) => {
                let keeping =
                    self.clerk.household().keep_address(peer, person, address, self.inbox.clone());
                tasks.spawn("phone to wake", Weight::Ordinary, keeping);
            }
            Command::TellPicture(peer) => {
                if let Some((call, jpeg)) = self.clerk.portrait_now() {
                    self.tell_page(peer, Outgoing::Picture(call, jpeg));
                }
            }
            Command::TellLog(peer, call) => {
                self.tell_page(peer, Outgoing::Log(call, self.clerk.lines()));
            }
            Command::Lamp(lamp) => self.panel.lamp(lamp),
            Command::Scene(scene) => {
                self.scene = scene;
                self.playback.set_line(match scene {
                    Scene::Calling | Scene::Talking | Scene::Reconnecting => Line::Open,
                    Scene::Ringing | Scene::Seen => Line::Ringing,
                    Scene::Idle
                    | Scene::NobodyAnswered
                    | Scene::LineDown
                    | Scene::Quiet
                    | Scene::Looking
                    | Scene::Fault => Line::Idle,
                });
                self.show_scene();
            }
            Command::Part(cause) => self.part(cause),
            Command::Chime => self.chime(),
            Command::Release(length) => self.release(length),
            Command::Report(report) => {
                if let Report::Rang { call, again: false } = &report
                    && self.capturing
                    && self.clerk.wants_portraits()
                {
                    let taking = errands::take_portrait(
                        call.clone(),
                        self.capture.fanout(),
                        self.portraits.clone(),
                    );
                    tasks.spawn("portrait", Weight::Ordinary, taking);
                }
                self.report(&report);
            }
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
        // Beside the rest: who outside does not answer holds nothing up.
        let hooks = self.herald.into_hooks().close(HOOKS);
        let uplinks = async {
            for (_, uplink) in self.uplinks {
                uplink.stop().await;
            }
        };
        tokio::join!(hooks, uplinks);
        self.capture.stop().await;
        self.playback.stop().await;
        self.panel.close();
    }

    /// Opens what is wanted of camera and microphone, and closes the rest.
    fn aim(&self) {
        self.capture.aim(match (self.capturing, self.looking || self.warm) {
            (true, _) => Aim::All,
            (false, true) => Aim::Camera,
            (false, false) => Aim::Nothing,
        });
    }

    fn uplink(&mut self, uplink: UplinkId, command: UplinkCommand) {
        let Some(handle) = self.uplinks.get(&uplink) else {
            return error!("the heart uses the uplink {uplink}, which is not configured");
        };
        let Err(command) = handle.try_command(self.with_name(command)) else { return };
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

    fn tell_page(&mut self, peer: PeerKey, what: Outgoing) {
        self.uplink(peer.uplink, UplinkCommand::Send { to: peer.id, what });
    }

    /// Who answered is named to the pages by what its token says, where it has not named itself.
    fn with_name(&self, mut command: UplinkCommand) -> UplinkCommand {
        if let UplinkCommand::Send { what: Outgoing::Notice(notice), .. } = &mut command
            && let (Some(peer), None) = (&notice.answered_by, &notice.answered_name)
        {
            notice.answered_name = self.name_in_token(peer).and_then(|name| Name::new(&name));
        }
        command
    }

    fn hear(&mut self, links: BTreeSet<LinkId>) {
        let changed: Vec<LinkId> = self.heard.symmetric_difference(&links).cloned().collect();
        self.heard = links;
        let answered = !self.heard.is_empty();
        self.publish(|show| show.answered = answered);
        for link in changed {
            self.play(&link);
        }
    }

    fn publish(&self, change: impl FnOnce(&mut Show)) {
        if let Some(publisher) = &self.publisher {
            publisher.show(change);
        }
    }

    fn play(&self, link: &LinkId) {
        if let Some(handle) = self.open.get(link) {
            let picture = self.shown.as_ref() == Some(link);
            handle.play(Played { picture, voice: self.heard.contains(link) });
        }
    }

    fn show(&mut self, link: Option<LinkId>) {
        let before = std::mem::replace(&mut self.shown, link.clone());
        for link in before.iter().chain(&link) {
            self.play(link);
        }
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
            Scene::Seen => media::Scene::Seen,
            Scene::Looking => media::Scene::Looking,
            Scene::Quiet => media::Scene::Quiet { words: self.parting.clone() },
            Scene::Talking => media::Scene::Talking { name: self.name_of_shown() },
            Scene::Reconnecting => media::Scene::Reconnecting,
            Scene::NobodyAnswered => media::Scene::NobodyAnswered { words: self.parting.clone() },
            Scene::LineDown => media::Scene::LineDown { words: self.parting.clone() },
            Scene::Fault => media::Scene::Fault,
        });
    }

    fn name_of_shown(&self) -> Option<String> {
        let peer = &self.shown.as_ref()?.peer;
        let said = self.names.get(peer).map(ToString::to_string);
        said.or_else(|| self.name_in_token(peer))
    }

    fn name_in_token(&self, peer: &PeerKey) -> Option<String> {
        let status = self.uplinks.get(&peer.uplink)?.status();
        let status = status.borrow();
        status.peer_metadata.get(peer.id.as_str()).and_then(media::scene::name_in)
    }

    /// Tells the visitor how the call ended, in the owner's words where there are any.
    fn part(&mut self, cause: Cause) {
        let told_as = if cause == Cause::Unreached { Cause::NoAnswer } else { cause };
        let own = self.messages.get(told_as.name());
        self.parting = own.and_then(|own| own.text.clone());
        match own.and_then(|own| own.sound.clone()) {
            Some(file) => self.playback.say(file),
            None if cause.disappoints() => self.playback.sorry(),
            None => {}
        }
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

    fn report(&mut self, report: &Report) {
        self.events.tell(Happening::from(report));
        let news = self.clerk.report(report);
        self.herald.report(report, &news);
        journal::write(report, &news);
        match report {
            Report::Answered { peer, name: Some(name) } => {
                self.names.insert(peer.clone(), name.clone());
            }
            Report::CameBack { was, now } => {
                if let Some(name) = self.names.remove(was) {
                    self.names.insert(now.clone(), name);
                }
            }
            Report::Ended { .. } => self.names.clear(),
            _ => {}
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
