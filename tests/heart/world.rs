//! A small world for the heart on virtual time: signalling with delays, links that negotiate, and
//! browsers that behave like the SDK (protocol.md sections 5.3, 5.4 and 6.6).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use intercomd::intercom::{
    CallId, CallNotice, CallState, Candidate, Cause, Checked, Command, Denial, Description,
    DescriptionKind, Health, Input, Intercom, LOCK_OUT, Lamp, LinkCommand, LinkEvent, LinkId,
    Milestone, Name, Nonce, OpId, Opener, Outcome, Outgoing, PageMessage, PeerId, PeerKey, Proof,
    Purpose, Refusal, ReleaseRules, Report, Rules, SHORTEST_PULSE, Scene, Signal, Stage,
    UplinkCommand, UplinkEvent, UplinkId, VideoMode,
};

pub const SERVICE: UplinkId = UplinkId::Service;
pub const LAN: UplinkId = UplinkId::Lan;
/// Where those who look in meet the door.
pub const LOOKS: UplinkId = UplinkId::ServiceLooks;

pub const RELEASE: ReleaseRules =
    ReleaseRules { pulse: Duration::from_secs(3), max_pulse: Duration::from_secs(10) };
pub const CONTROL: Opener = Opener::Control { uid: 1000 };
/// The one proof that is right in this world, and one that is not.
pub const RIGHT: [u8; 32] = [1; 32];
pub const WRONG: [u8; 32] = [2; 32];

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

enum Event {
    Input(Input),
    /// A frame of the door's reaches a browser.
    ToBrowser(String, PeerId, Outgoing),
    /// A browser's own offer leaves, unless something came first.
    BrowserOffers(String, u32),
}

#[derive(Clone, Copy, PartialEq)]
enum Signalling {
    Stable,
    HaveLocalOffer,
}

/// One peer connection in a browser.
struct Pc {
    number: u32,
    door: PeerId,
    signalling: Signalling,
    /// What it knows of the door's link.
    remote: Option<Ends>,
    /// Counts its ICE sessions.
    session: u32,
    /// Counts its descriptions.
    version: u32,
    offer_due: bool,
}

/// One end of a connection: its certificate and its ICE session.
#[derive(Clone, Debug, Default, PartialEq)]
struct Ends {
    fingerprint: String,
    ufrag: String,
}

impl Ends {
    fn of(sdp: &str) -> Self {
        Self { fingerprint: field(sdp, "a=fingerprint:"), ufrag: field(sdp, "a=ice-ufrag:") }
    }
}

/// What goes wrong with one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mishap {
    Lost,
    Twice,
    /// Three seconds late; what was sent after it comes before it.
    Late,
}

/// One frame between the door and the browsers that meets a mishap.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub to_browser: bool,
    /// Which frame of that direction, counted from 0.
    pub number: usize,
    pub mishap: Mishap,
}

pub struct Browser {
    pub uplink: UplinkId,
    pub media: bool,
    pub in_channel: bool,
    pub rollbacks: u32,
    pub offers_seen: u32,
    pub notices: Vec<CallNotice>,
    /// Signals from this browser are lost while set.
    pub mute: bool,
    /// Nothing reaches its page.
    pub deaf: bool,
    /// The browser sends no candidates and never connects until it makes a new connection.
    pub stuck: bool,
    /// So many of its next connections find a way and never agree on keys.
    pub stalled_handshakes: u32,
    /// Its network carries no media.
    pub in_a_hole: bool,
    /// It takes nothing and says nothing; what comes is waiting for it.
    frozen: Option<Vec<(PeerId, Outgoing)>>,
    pub video: Vec<VideoMode>,
    pub told_full: u32,
    /// What it was told beside notices.
    pub said: Vec<Outgoing>,
    met: bool,
    pc: Option<Pc>,
}

#[derive(Default)]
struct FakeLink {
    remote: Option<Ends>,
    stable: bool,
    connected: bool,
    /// Counts its ICE sessions.
    restarts: u32,
    /// Until then its checks go on.
    checks_until: Option<Instant>,
    /// The browser has thrown away the keys it shared with this link; it makes new ones with a new link only.
    over: bool,
}

#[derive(Default)]
struct FakeUplink {
    own: Option<PeerId>,
    wanted: bool,
    joined: bool,
}

/// The door relay as it hangs on the heart, and the rule it has to keep.
#[derive(Default)]
pub struct FakeRelay {
    /// Set while somebody who may open asks.
    asked: bool,
    /// When each pulse began, and how long it is.
    pub pulses: Vec<(Instant, Duration)>,
    stopping: bool,
}

impl FakeRelay {
    pub fn is_on(&self, now: Instant) -> bool {
        self.pulses.last().is_some_and(|(at, length)| now < *at + *length)
    }

    /// What a request ought to come to.
    fn verdict(&self, now: Instant, asked: Option<Duration>) -> Result<Duration, Refusal> {
        let length = asked.unwrap_or(RELEASE.pulse);
        let last = self.pulses.last();
        if self.stopping {
            Err(Refusal::Stopping)
        } else if self.is_on(now) {
            Err(Refusal::Open)
        } else if last.is_some_and(|(at, length)| now < *at + *length + LOCK_OUT) {
            Err(Refusal::LockedOut)
        } else if (SHORTEST_PULSE..=RELEASE.max_pulse).contains(&length) {
            Ok(length)
        } else {
            Err(Refusal::Length { longest: RELEASE.max_pulse })
        }
    }
}

pub struct World {
    pub now: Instant,
    pub heart: Intercom,
    pub browsers: BTreeMap<String, Browser>,
    pub transcript: Vec<Command>,
    pub capture: bool,
    /// Whether the camera is on for those who look in.
    pub watched: bool,
    pub lamp: Lamp,
    pub scene: Scene,
    pub shown: Option<LinkId>,
    pub chimes: u32,
    /// Whose voices are played.
    pub heard: BTreeSet<LinkId>,
    /// What the visitor reads.
    pub text: Option<String>,
    /// How the calls ended, as the visitor was told.
    pub parted: Vec<Cause>,
    /// Who got the visitor's picture, and who the log.
    pub pictured: Vec<String>,
    pub logged: Vec<String>,
    /// Whose browsers are woken from now on, and for which persons.
    pub woken: Vec<(String, String)>,
    /// Counts the numbers drawn for proofs.
    nonces: u8,
    pub relay: FakeRelay,
    pub restarts: u32,
    pub configured: u32,
    pub fault: Option<Fault>,
    frames: [usize; 2],
    links: BTreeMap<LinkId, FakeLink>,
    uplinks: BTreeMap<UplinkId, FakeUplink>,
    queue: BTreeMap<(Instant, u64), Event>,
    lanes: BTreeMap<(bool, String), Instant>,
    serial: u64,
    random: u64,
}

impl World {
    pub fn new(uplinks: &[UplinkId]) -> Self {
        Self::with(Rules::default(), uplinks, 1)
    }

    pub fn with(rules: Rules, uplinks: &[UplinkId], seed: u64) -> Self {
        let mut heart = Intercom::new(rules, "c", uplinks);
        heart.wire_release(RELEASE);
        Self {
            now: Instant::now(),
            heart,
            browsers: BTreeMap::new(),
            transcript: Vec::new(),
            capture: false,
            watched: false,
            lamp: Lamp::Idle,
            scene: Scene::Idle,
            shown: None,
            chimes: 0,
            heard: BTreeSet::new(),
            text: None,
            parted: Vec::new(),
            pictured: Vec::new(),
            logged: Vec::new(),
            woken: Vec::new(),
            nonces: 0,
            relay: FakeRelay::default(),
            restarts: 0,
            configured: 0,
            fault: None,
            frames: [0; 2],
            links: BTreeMap::new(),
            uplinks: uplinks.iter().map(|id| (*id, FakeUplink::default())).collect(),
            queue: BTreeMap::new(),
            lanes: BTreeMap::new(),
            serial: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// A world whose one uplink is up, the door's id being `own`.
    pub fn up(own: &str) -> Self {
        let mut world = Self::new(&[SERVICE]);
        world.uplink_up(SERVICE, own);
        world
    }

    pub fn input(&mut self, input: Input) {
        self.relay.stopping |= input == Input::Shutdown;
        // Whoever has proved it may open.
        self.relay.asked = matches!(input, Input::Verified(_, Purpose::Open, Checked::Right(_)));
        self.heart.handle(self.now, input);
        self.drain();
        self.relay.asked = false;
        self.heart.verify().expect("every invariant holds after every input");
        let looks = self.state() == CallState::Looking;
        assert_eq!(self.watched, looks, "the camera is on for those who look, and for nobody else");
        assert_eq!(self.lamp == Lamp::Looking, looks, "the visitor is shown that somebody looks");
    }

    pub fn press(&mut self) {
        self.input(Input::Press);
    }

    /// Somebody at the control socket asks to open; the answer is checked against the rule.
    pub fn unlock(&mut self, asked: Option<Duration>) -> Result<Duration, Refusal> {
        let due = self.relay.verdict(self.now, asked);
        let pulses = self.relay.pulses.len();
        self.relay.asked = true;
        let verdict = self.heart.unlock(self.now, CONTROL, asked);
        self.drain();
        self.relay.asked = false;
        self.heart.verify().expect("every invariant holds after every request");
        assert_eq!(verdict, due);
        assert_eq!(self.relay.pulses.len(), pulses + usize::from(verdict.is_ok()));
        verdict
    }

    pub fn state(&self) -> CallState {
        self.heart.snapshot().state
    }

    pub fn open_links(&self) -> usize {
        self.links.len()
    }

    pub fn connected(&self, browser: &str) -> bool {
        self.links.iter().any(|(id, link)| id.peer.id.as_str() == browser && link.connected)
    }

    pub fn causes(&self) -> Vec<Cause> {
        self.transcript
            .iter()
            .filter_map(|command| match command {
                Command::Report(Report::Ended { cause, .. }) => Some(*cause),
                _ => None,
            })
            .collect()
    }

    /// How far calls came, and how long after the press: by a phone, or by the door itself.
    pub fn milestones(&self, browser: Option<&str>) -> Vec<(Milestone, Duration)> {
        let reports = self.transcript.iter().filter_map(|command| match command {
            Command::Report(Report::Reached { peer, what, after }) => Some((peer, *what, *after)),
            _ => None,
        });
        reports
            .filter(|(peer, ..)| peer.as_ref().map(|peer| peer.id.as_str()) == browser)
            .map(|(_, what, after)| (what, after))
            .collect()
    }

    /// The link to this browser.
    pub fn link_to(&self, browser: &str) -> LinkId {
        let mut links = self.links.keys().filter(|link| link.peer.id.as_str() == browser);
        links.next_back().cloned().expect("a link")
    }

    /// The present call.
    pub fn call(&self) -> CallId {
        self.heart.snapshot().call.map(|(call, _)| call).expect("a call")
    }

    /// The number a browser was given last.
    pub fn nonce(&self, browser: &str) -> Option<Nonce> {
        self.browsers[browser].said.iter().rev().find_map(|said| match said {
            Outgoing::Challenge(_, _, nonce) => Some(*nonce),
            _ => None,
        })
    }

    /// Why a browser was refused, all times.
    pub fn denials(&self, browser: &str) -> Vec<Denial> {
        let said = self.browsers[browser].said.iter();
        said.filter_map(|said| match said {
            Outgoing::Refused(_, _, why) => Some(*why),
            _ => None,
        })
        .collect()
    }

    /// A proof of a browser's person, called Anna.
    pub fn prove(&mut self, browser: &str, purpose: Purpose, nonce: Nonce, proof: [u8; 32]) {
        let person = Name::new("Anna").expect("a name");
        let proof = Proof { call: self.call(), purpose, nonce, person, proof };
        self.page(browser, PageMessage::Proof(proof));
    }

    /// A browser asks, is given a number and proves, right or wrong.
    pub fn ask_and_prove(&mut self, browser: &str, purpose: Purpose, proof: [u8; 32]) {
        let before = self.nonce(browser);
        self.page(browser, PageMessage::Ask(self.call(), purpose));
        self.run(ms(200));
        if let Some(nonce) = self.nonce(browser).filter(|nonce| Some(*nonce) != before) {
            self.prove(browser, purpose, nonce, proof);
            self.run(ms(200));
        }
    }

    /// A browser in the channel of those who look asks, is given a number and proves, right or wrong.
    pub fn look(&mut self, browser: &str, proof: [u8; 32]) {
        let before = self.nonce(browser);
        self.page(browser, PageMessage::Look);
        self.run(ms(200));
        let said = self.browsers[browser].said.iter().rev();
        let asked = said.clone().find_map(|said| match said {
            Outgoing::Challenge(call, Purpose::Look, nonce) => Some((call.clone(), *nonce)),
            _ => None,
        });
        if let Some((call, nonce)) = asked.filter(|(_, nonce)| Some(*nonce) != before) {
            let person = Name::new("Anna").expect("a name");
            let proof = Proof { call, purpose: Purpose::Look, nonce, person, proof };
            self.page(browser, PageMessage::Proof(proof));
            self.run(ms(200));
        }
    }

    pub fn stages(&self, browser: &str) -> Vec<Stage> {
        self.browsers[browser].notices.iter().map(|notice| notice.stage).collect()
    }

    // ---- the signalling side

    pub fn uplink_up(&mut self, uplink: UplinkId, own: &str) {
        let fake = self.uplinks.get_mut(&uplink).expect("an uplink of this world");
        fake.own = Some(own.into());
        let wanted = fake.wanted;
        self.input(Input::Uplink(uplink, UplinkEvent::Up { own: own.into() }));
        if wanted {
            self.enter(uplink);
        }
    }

    pub fn uplink_down(&mut self, uplink: UplinkId) {
        let fake = self.uplinks.get_mut(&uplink).expect("an uplink of this world");
        fake.own = None;
        if std::mem::take(&mut fake.joined) {
            self.door_left(uplink);
        }
        // An uplink reports in order: nothing of the old socket comes after its end.
        self.queue.retain(
            |_, event| !matches!(event, Event::Input(Input::Uplink(from, _)) if *from == uplink),
        );
        self.input(Input::Uplink(uplink, UplinkEvent::Down));
    }

    /// The socket is lost and back under the same id, and nobody in the channel was told.
    pub fn uplink_blinks(&mut self, uplink: UplinkId, own: &str) {
        self.line_goes(uplink);
        self.line_returns(uplink, own);
    }

    /// The socket is lost, and nobody in the channel is told.
    pub fn line_goes(&mut self, uplink: UplinkId) {
        self.uplinks.get_mut(&uplink).expect("an uplink of this world").joined = false;
        self.input(Input::Uplink(uplink, UplinkEvent::Down));
    }

    /// It is back under the same id.
    pub fn line_returns(&mut self, uplink: UplinkId, own: &str) {
        self.input(Input::Uplink(uplink, UplinkEvent::Up { own: own.into() }));
        self.uplinks.get_mut(&uplink).expect("an uplink of this world").joined = true;
        self.later(ms(20), Event::Input(Input::Uplink(uplink, UplinkEvent::Joined)));
        let there = self.members(uplink);
        let list = there.iter().map(|id| PeerId::from(id.as_str())).collect();
        self.later(ms(21), Event::Input(Input::Uplink(uplink, UplinkEvent::Snapshot(list))));
    }

    fn enter(&mut self, uplink: UplinkId) {
        let fake = self.uplinks.get_mut(&uplink).expect("an uplink of this world");
        let Some(own) = fake.own.clone() else { return };
        fake.joined = true;
        let there = self.members(uplink);
        self.later(ms(20), Event::Input(Input::Uplink(uplink, UplinkEvent::Joined)));
        let list = there.iter().map(|id| PeerId::from(id.as_str())).collect();
        self.later(ms(21), Event::Input(Input::Uplink(uplink, UplinkEvent::Snapshot(list))));
        for id in there {
            self.browser_meets(&id, &own);
        }
    }

    fn members(&self, uplink: UplinkId) -> Vec<String> {
        let there = self
            .browsers
            .iter()
            .filter(|(_, browser)| browser.in_channel && browser.uplink == uplink);
        there.map(|(id, _)| id.clone()).collect()
    }

    fn door_left(&mut self, uplink: UplinkId) {
        for id in self.members(uplink) {
            self.drop_pc(&id);
        }
    }

    // ---- browsers

    pub fn browser(&mut self, id: &str, media: bool) {
        self.browser_on(SERVICE, id, media);
    }

    pub fn browser_on(&mut self, uplink: UplinkId, id: &str, media: bool) {
        let browser = Browser {
            uplink,
            media,
            in_channel: true,
            rollbacks: 0,
            offers_seen: 0,
            notices: Vec::new(),
            mute: false,
            deaf: false,
            stuck: false,
            stalled_handshakes: 0,
            in_a_hole: false,
            frozen: None,
            video: Vec::new(),
            told_full: 0,
            said: Vec::new(),
            met: false,
            pc: None,
        };
        self.browsers.insert(id.to_owned(), browser);
        let fake = &self.uplinks[&uplink];
        if let (true, Some(own)) = (fake.joined, fake.own.clone()) {
            let came = UplinkEvent::Came(id.into());
            self.later(ms(20), Event::Input(Input::Uplink(uplink, came)));
            self.browser_meets(id, &own);
        }
    }

    pub fn browser_leaves(&mut self, id: &str) {
        self.drop_pc(id);
        let browser = self.browsers.get_mut(id).expect("a browser of this world");
        browser.in_channel = false;
        let uplink = browser.uplink;
        if self.uplinks[&uplink].joined {
            self.later(ms(20), Event::Input(Input::Uplink(uplink, UplinkEvent::Gone(id.into()))));
        }
    }

    /// The frame so many after the latest meets a mishap.
    pub fn fault_after(&mut self, to_browser: bool, frames: usize, mishap: Mishap) {
        let number = self.frames[usize::from(to_browser)] + frames;
        self.fault = Some(Fault { to_browser, number, mishap });
    }

    /// The browser's socket is gone, its media goes on.
    pub fn signalling_lost(&mut self, id: &str) {
        let browser = self.browsers.get_mut(id).expect("a browser of this world");
        browser.in_channel = false;
        let uplink = browser.uplink;
        self.later(ms(20), Event::Input(Input::Uplink(uplink, UplinkEvent::Gone(id.into()))));
    }

    /// The SDK drops its connection and makes another inside the same peer (protocol.md 6.6).
    pub fn browser_swaps_connection(&mut self, id: &str) {
        // A phone that came back on the other uplink under its name has none yet, while its old media goes on.
        let Some(pc) = self.browsers[id].pc.as_ref() else { return };
        let door = pc.door.clone();
        self.browser_meets(id, &door);
    }

    pub fn page(&mut self, id: &str, message: PageMessage) {
        self.browser_sends(id, Signal::Page(message));
    }

    /// The network between the door and this browser dies.
    pub fn cut(&mut self, id: &str) {
        let cut: Vec<LinkId> =
            self.links.keys().filter(|link| link.peer.id.as_str() == id).cloned().collect();
        for link in cut {
            let fake = self.links.get_mut(&link).expect("just listed");
            fake.connected = false;
            fake.stable = false;
            fake.checks_until = None;
            self.link_later(ms(5_000), &link, LinkEvent::Health(Health::Disconnected));
            self.link_later(ms(25_000), &link, LinkEvent::Health(Health::Failed));
        }
    }

    /// The browser throws its keys away, and the word of it is lost.
    pub fn keys_lost(&mut self, id: &str) {
        self.cut_session(id);
        for (_, fake) in self.links.iter_mut().filter(|(link, _)| link.peer.id.as_str() == id) {
            fake.over = true;
        }
    }

    /// The browser closes its connection, and the door hears that.
    pub fn link_ends(&mut self, id: &str) {
        let theirs = |link: &&LinkId| link.peer.id.as_str() == id;
        let ended: Vec<LinkId> = self.links.keys().filter(theirs).cloned().collect();
        for link in ended {
            let fake = self.links.get_mut(&link).expect("just listed");
            (fake.connected, fake.over) = (false, true);
            self.link_later(ms(0), &link, LinkEvent::Closed);
        }
    }

    /// Nothing but signalling passes between the door and this browser until `mend`.
    pub fn hole(&mut self, id: &str) {
        self.browsers.get_mut(id).expect("a browser of this world").in_a_hole = true;
        self.cut_session(id);
    }

    /// The network carries media again; checks that still go on find it.
    pub fn mend(&mut self, id: &str) {
        self.browsers.get_mut(id).expect("a browser of this world").in_a_hole = false;
        self.try_connect(id);
    }

    /// The phone sleeps: nothing it gets is looked at, and its media stops.
    pub fn freeze(&mut self, id: &str) {
        self.browsers.get_mut(id).expect("a browser of this world").frozen = Some(Vec::new());
        self.hole(id);
    }

    /// It wakes and works off everything that has come.
    pub fn thaw(&mut self, id: &str) {
        let browser = self.browsers.get_mut(id).expect("a browser of this world");
        for (door, what) in browser.frozen.take().unwrap_or_default() {
            self.browser_takes(id, &door, what);
        }
        self.mend(id);
    }

    fn cut_session(&mut self, id: &str) {
        let cut: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(link, fake)| link.peer.id.as_str() == id && fake.connected)
            .map(|(link, _)| link.clone())
            .collect();
        for link in cut {
            let fake = self.links.get_mut(&link).expect("just listed");
            fake.connected = false;
            // Keepalives of a link that worked go on.
            fake.checks_until = Some(self.now + ms(3_600_000));
            self.link_later(ms(5_000), &link, LinkEvent::Health(Health::Disconnected));
            self.link_later(ms(25_000), &link, LinkEvent::Health(Health::Failed));
        }
    }

    fn browser_meets(&mut self, id: &str, door: &PeerId) {
        self.drop_pc(id);
        self.serial += 1;
        let number = self.serial as u32;
        let thinking = ms(20 + self.dice(180));
        let browser = self.browsers.get_mut(id).expect("a browser of this world");
        browser.stuck = browser.stuck && !browser.met;
        browser.met = true;
        browser.pc = Some(Pc {
            number,
            door: door.clone(),
            signalling: Signalling::Stable,
            remote: None,
            session: 0,
            version: 0,
            offer_due: browser.media,
        });
        if browser.media {
            self.later(thinking, Event::BrowserOffers(id.to_owned(), number));
        }
    }

    fn drop_pc(&mut self, id: &str) {
        let browser = self.browsers.get_mut(id).expect("a browser of this world");
        if browser.pc.take().is_some() {
            self.cut(id);
        }
    }

    fn sdp_of(browser: &mut Browser, id: &str, number: u32) -> String {
        let direction = if browser.media { "sendrecv" } else { "recvonly" };
        let (session, version) = browser.pc.as_mut().map_or((0, 0), |pc| {
            pc.version += 1;
            (pc.session, pc.version)
        });
        format!(
            "v=0\r\no=- {id}{number} {version} IN IP4 127.0.0.1\r\nm=audio 9 X 111\r\na=ice-ufrag:{id}{number}.{session}\r\na=fingerprint:{id}#{number}\r\n\
             a={direction}\r\nm=video 9 X 102\r\na={direction}\r\n"
        )
    }

    fn browser_takes(&mut self, id: &str, door: &PeerId, what: Outgoing) {
        let Some(browser) = self.browsers.get_mut(id) else { return };
        if browser.deaf {
            return;
        }
        if let Some(waiting) = &mut browser.frozen {
            return waiting.push((door.clone(), what));
        }
        let Some(pc) = browser.pc.as_mut().filter(|pc| pc.door == *door) else { return };
        match what {
            Outgoing::Notice(notice) => browser.notices.push(*notice),
            Outgoing::Video(mode) => browser.video.push(mode),
            Outgoing::Full => browser.told_full += 1,
            Outgoing::Description(description) => {
                let remote = Ends::of(&description.sdp);
                let other = |had: &Ends| had.fingerprint != remote.fingerprint;
                let is_taken = match description.kind {
                    DescriptionKind::Offer => {
                        pc.signalling == Signalling::Stable || id < door.as_str()
                    }
                    DescriptionKind::Answer => pc.signalling == Signalling::HaveLocalOffer,
                };
                let makes_new_keys = is_taken && pc.remote.as_ref().is_some_and(other);
                match (description.kind, pc.signalling) {
                    (DescriptionKind::Offer, signalling) => {
                        browser.offers_seen += 1;
                        if signalling == Signalling::HaveLocalOffer {
                            if id >= door.as_str() {
                                return;
                            }
                            browser.rollbacks += 1;
                        }
                        pc.signalling = Signalling::Stable;
                        pc.offer_due = false;
                        if pc.remote.as_ref() != Some(&remote) {
                            // New ICE credentials are answered with new ones (RFC 8839 section 4.4.1).
                            pc.session += u32::from(pc.remote.is_some());
                            pc.remote = Some(remote);
                        }
                        let number = pc.number;
                        let sdp = Self::sdp_of(browser, id, number);
                        let answer = Description { kind: DescriptionKind::Answer, sdp };
                        self.browser_sends(id, Signal::Description(answer));
                        self.browser_trickles(id, number);
                    }
                    (DescriptionKind::Answer, Signalling::HaveLocalOffer) => {
                        pc.signalling = Signalling::Stable;
                        pc.remote = Some(remote);
                        self.try_connect(id);
                    }
                    (DescriptionKind::Answer, Signalling::Stable) => {}
                }
                if makes_new_keys {
                    self.browser_makes_new_keys(id);
                }
            }
            said @ (Outgoing::Challenge(..)
            | Outgoing::Refused(..)
            | Outgoing::Opened(..)
            | Outgoing::Picture(..)
            | Outgoing::Looking(..)
            | Outgoing::LookOver(..)
            | Outgoing::WillWake(..)
            | Outgoing::Log(..)) => browser.said.push(said),
            Outgoing::TrackMetadata | Outgoing::Candidate(_) | Outgoing::EndOfCandidates => {}
        }
    }

    /// It was shown another certificate: it ends what it had with the link before (RFC 8842 section 5.5).
    fn browser_makes_new_keys(&mut self, id: &str) {
        // The word of it may be lost like any other datagram.
        let hears_of_it = self.dice(2) == 0 && !self.browsers[id].in_a_hole;
        let secured: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(link, fake)| link.peer.id.as_str() == id && fake.connected)
            .map(|(link, _)| link.clone())
            .collect();
        for link in secured {
            let fake = self.links.get_mut(&link).expect("just listed");
            (fake.connected, fake.over) = (false, true);
            if hears_of_it {
                self.link_later(ms(500), &link, LinkEvent::Closed);
            } else {
                self.link_later(ms(5_000), &link, LinkEvent::Health(Health::Disconnected));
            }
        }
    }

    fn browser_offers(&mut self, id: &str, number: u32) {
        let Some(browser) = self.browsers.get_mut(id) else { return };
        let Some(pc) = browser.pc.as_mut().filter(|pc| pc.number == number && pc.offer_due) else {
            return;
        };
        pc.offer_due = false;
        pc.signalling = Signalling::HaveLocalOffer;
        let sdp = Self::sdp_of(browser, id, number);
        self.browser_sends(
            id,
            Signal::Description(Description { kind: DescriptionKind::Offer, sdp }),
        );
        self.browser_trickles(id, number);
    }

    fn browser_trickles(&mut self, id: &str, number: u32) {
        if self.browsers[id].stuck {
            return;
        }
        let session = self.browsers[id].pc.as_ref().map_or(0, |pc| pc.session);
        self.browser_sends(id, Signal::Candidate(candidate(&format!("{id}{number}.{session}"))));
        self.browser_sends(id, Signal::EndOfCandidates);
    }

    fn browser_sends(&mut self, id: &str, signal: Signal) {
        let browser = &self.browsers[id];
        if browser.mute || !self.uplinks[&browser.uplink].joined {
            return;
        }
        let event = UplinkEvent::Signal { from: id.into(), signal };
        let uplink = browser.uplink;
        for at in self.arrivals(false, id) {
            self.at(at, Event::Input(Input::Uplink(uplink, event.clone())));
        }
    }

    /// When a frame arrives: once, unless it meets a mishap.
    fn arrivals(&mut self, to_browser: bool, id: &str) -> Vec<Instant> {
        let number = self.frames[usize::from(to_browser)];
        self.frames[usize::from(to_browser)] += 1;
        let hit = |fault: &Fault| fault.to_browser == to_browser && fault.number == number;
        match self.fault.filter(hit).map(|fault| fault.mishap) {
            None => vec![self.lane(!to_browser, id)],
            Some(Mishap::Lost) => Vec::new(),
            Some(Mishap::Twice) => vec![self.lane(!to_browser, id), self.lane(!to_browser, id)],
            Some(Mishap::Late) => vec![self.now + ms(3_000)],
        }
    }

    fn try_connect(&mut self, id: &str) {
        let browser = &self.browsers[id];
        if browser.stuck || browser.in_a_hole || browser.frozen.is_some() {
            return;
        }
        let Some(pc) = browser.pc.as_ref() else { return };
        let theirs = Ends {
            fingerprint: format!("{id}#{}", pc.number),
            ufrag: format!("{id}{}.{}", pc.number, pc.session),
        };
        let both = self.links.iter_mut().find(|(link, fake)| {
            link.peer.id.as_str() == id
                && fake.stable
                && fake.remote.as_ref() == Some(&theirs)
                && pc.signalling == Signalling::Stable
                && pc.remote.as_ref() == Some(&door_ends(link, fake.restarts))
        });
        let now = self.now;
        if let Some((link, fake)) = both
            && !fake.connected
            && !fake.over
            && fake.checks_until.is_some_and(|until| now <= until)
        {
            let link = link.clone();
            if browser.stalled_handshakes > 0 {
                fake.over = true;
                self.browsers.get_mut(id).expect("just looked at").stalled_handshakes -= 1;
                let found = LinkEvent::Reached(Milestone::Ice, now);
                return self.link_later(ms(30), &link, found);
            }
            fake.connected = true;
            self.link_later(ms(30), &link, LinkEvent::Health(Health::Connected));
        }
    }

    // ---- the door's hands

    fn drain(&mut self) {
        while let Some(command) = self.heart.poll_command() {
            self.transcript.push(command.clone());
            match command {
                Command::Capture(on) => self.capture = on,
                Command::Look(on) => self.watched = on,
                Command::Lamp(lamp) => self.lamp = lamp,
                Command::Scene(scene) => self.scene = scene,
                Command::Part(cause) => self.parted.push(cause),
                Command::Show(link) => self.shown = link,
                Command::Hear(links) => self.heard = links,
                Command::Text(note) => self.text = note.map(|note| note.as_str().to_owned()),
                Command::Challenge(peer, purpose) => {
                    self.nonces += 1;
                    let nonce = Nonce([self.nonces; 32]);
                    self.later(ms(0), Event::Input(Input::Challenge(peer, purpose, nonce)));
                }
                Command::Verify(peer, proof) => {
                    let verdict = match proof.proof == RIGHT {
                        true => Checked::Right(proof.person),
                        false => Checked::Wrong(proof.person),
                    };
                    let verified = Input::Verified(peer, proof.purpose, verdict);
                    self.later(ms(0), Event::Input(verified));
                }
                Command::KeepAddress(peer, person, _) => {
                    self.woken.push((peer.id.to_string(), person.to_string()));
                    self.later(ms(5), Event::Input(Input::WakeKept(peer)));
                }
                Command::TellPicture(peer) => self.pictured.push(peer.id.to_string()),
                Command::TellLog(peer, _) => self.logged.push(peer.id.to_string()),
                Command::Chime => self.chimes += 1,
                Command::Report(_) => {}
                Command::Release(length) => {
                    assert!(self.relay.asked, "nobody who may open has asked");
                    assert!(!self.relay.is_on(self.now), "one pulse at a time");
                    self.relay.pulses.push((self.now, length));
                }
                Command::OpenLink(id) => {
                    assert!(
                        self.links.insert(id, FakeLink::default()).is_none(),
                        "a generation is used once"
                    );
                }
                Command::CloseLink(id) => {
                    self.links.remove(&id).expect("only an open link is closed");
                    self.later(ms(2), Event::Input(Input::Link(id, LinkEvent::Closed)));
                }
                Command::Configure(id) => {
                    assert!(self.links.contains_key(&id), "only an open link is configured");
                    self.configured += 1;
                }
                Command::Link(id, command) => self.link_command(&id, command),
                Command::Uplink(uplink, command) => self.uplink_command(uplink, command),
            }
        }
    }

    fn uplink_command(&mut self, uplink: UplinkId, command: UplinkCommand) {
        let fake = self.uplinks.get_mut(&uplink).expect("an uplink of this world");
        match command {
            UplinkCommand::Join => {
                fake.wanted = true;
                if !fake.joined {
                    self.enter(uplink);
                }
            }
            UplinkCommand::Leave => {
                fake.wanted = false;
                let up = fake.own.is_some();
                if std::mem::take(&mut fake.joined) {
                    self.door_left(uplink);
                }
                if up {
                    self.later(ms(10), Event::Input(Input::Uplink(uplink, UplinkEvent::Left)));
                }
            }
            UplinkCommand::Send { to, what } => {
                let Some(own) = fake.own.clone().filter(|_| fake.joined) else { return };
                for at in self.arrivals(true, to.as_str()) {
                    let frame = Event::ToBrowser(to.to_string(), own.clone(), what.clone());
                    self.at(at, frame);
                }
            }
        }
    }

    fn link_command(&mut self, id: &LinkId, command: LinkCommand) {
        let browser = id.peer.id.to_string();
        let Some(link) = self.links.get_mut(id) else { panic!("{id} is not open") };
        match command {
            LinkCommand::MakeOffer { op, restart } => {
                link.stable = false;
                link.restarts += u32::from(restart);
                if restart {
                    link.connected = false;
                }
                self.restarts += u32::from(restart);
                let sdp = self.door_sdp(id);
                self.made(id, op, DescriptionKind::Offer, sdp);
            }
            LinkCommand::TakeOffer { op, sdp } => {
                link.remote = Some(Ends::of(&sdp));
                link.stable = true;
                link.checks_until = Some(self.now + ms(15_000));
                let media = sdp.contains("a=sendrecv");
                let ours = self.door_sdp(id);
                self.link_later(ms(4), id, LinkEvent::RemoteMedia { audio: media, video: media });
                self.made(id, op, DescriptionKind::Answer, ours);
            }
            LinkCommand::TakeAnswer { op, sdp } => {
                link.remote = Some(Ends::of(&sdp));
                link.stable = true;
                link.checks_until = Some(self.now + ms(15_000));
                let media = sdp.contains("a=sendrecv");
                self.link_later(ms(4), id, LinkEvent::RemoteMedia { audio: media, video: media });
                self.link_later(ms(5), id, LinkEvent::Done { op, outcome: Outcome::Taken });
                self.try_connect(&browser);
            }
            LinkCommand::AddCandidate(candidate) => {
                assert!(link.remote.is_some(), "a candidate before its description");
                let _ = candidate;
            }
        }
    }

    fn made(&mut self, id: &LinkId, op: OpId, kind: DescriptionKind, sdp: String) {
        // A candidate may be found before the operation is reported.
        let early = candidate(&id.generation.to_string());
        self.link_later(ms(3), id, LinkEvent::Candidate(early));
        let description = Description { kind, sdp };
        let took = ms(5 + self.dice(20));
        self.link_later(took, id, LinkEvent::Done { op, outcome: Outcome::Made(description) });
        self.link_later(took + ms(5), id, LinkEvent::EndOfCandidates);
    }

    fn door_sdp(&self, id: &LinkId) -> String {
        let Ends { fingerprint, ufrag } = door_ends(id, self.links[id].restarts);
        format!(
            "v=0\r\na=ice-ufrag:{ufrag}\r\na=fingerprint:{fingerprint}\r\nm=audio 9 X 111\r\n\
             m=video 9 X 102\r\n"
        )
    }

    // ---- time

    fn dice(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below.max(1)
    }

    /// Frames between two ends keep their order.
    fn lane(&mut self, inbound: bool, id: &str) -> Instant {
        let at = self.now + ms(5 + self.dice(40));
        let last = self.lanes.entry((inbound, id.to_owned())).or_insert(at);
        *last = at.max(*last + Duration::from_micros(10));
        *last
    }

    fn link_later(&mut self, delay: Duration, id: &LinkId, event: LinkEvent) {
        self.later(delay, Event::Input(Input::Link(id.clone(), event)));
    }

    fn later(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.serial += 1;
        self.queue.insert((at, self.serial), event);
    }

    /// Lets virtual time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let event = self.queue.keys().next().map(|(at, _)| *at);
            let wake = self.heart.poll_timeout().map(|(at, _)| at.max(self.now));
            let next = event.into_iter().chain(wake).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = next;
            if event == Some(next) {
                let (_, event) = self.queue.pop_first().expect("just seen");
                self.happens(event);
            } else {
                self.input(Input::Wakeup);
            }
        }
        self.now = end;
    }

    /// Lets virtual time pass until the call is in this state.
    pub fn run_until(&mut self, state: CallState, limit: Duration) {
        let end = self.now + limit;
        while self.state() != state {
            assert!(
                self.now < end,
                "{} is not reached within {limit:?}, but {}",
                state.name(),
                self.state().name()
            );
            self.run(ms(10));
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Input(input) => {
                if let Input::Link(id, LinkEvent::Health(Health::Disconnected | Health::Failed)) =
                    &input
                    && self.links.get(id).is_none_or(|link| link.connected)
                {
                    return;
                }
                self.input(input.clone());
                if let Input::Link(id, LinkEvent::Done { .. }) = input {
                    self.try_connect(id.peer.id.as_str());
                }
            }
            Event::ToBrowser(id, door, what) => {
                self.browser_takes(&id, &door, what);
                if self.browsers.contains_key(&id) {
                    self.try_connect(&id);
                }
            }
            Event::BrowserOffers(id, number) => self.browser_offers(&id, number),
        }
    }

    /// What is left when no call is on: nothing.
    pub fn assert_everything_is_free(&self) {
        assert_eq!(self.state(), CallState::Idle);
        assert!(!self.capture, "the camera is off");
        assert_eq!(self.shown, None, "nobody is on the display");
        assert!(self.heard.is_empty(), "nobody is played");
        assert_eq!(self.text, None, "the visitor reads nothing");
        assert_eq!(self.links.len(), 0, "no link is open");
        let mut lines = self.uplinks.iter().filter(|(id, _)| !id.is_for_looks());
        assert!(lines.all(|(_, uplink)| !uplink.joined), "no channel is joined");
        // The lamp's sorry and a watched line are no part of a call.
        let waits = self.heart.poll_timeout().map(|(_, what)| what);
        assert!(matches!(waits, None | Some("lamp" | "line" | "door")), "{waits:?} is waited for");
    }

    pub fn peers(&self) -> BTreeSet<PeerKey> {
        self.heart.snapshot().peers.into_iter().map(|peer| peer.key).collect()
    }
}

fn door_ends(id: &LinkId, session: u32) -> Ends {
    Ends { fingerprint: id.to_string(), ufrag: format!("door{}.{session}", id.generation) }
}

fn candidate(ufrag: &str) -> Candidate {
    Candidate {
        candidate: format!("candidate:1 1 udp 1 192.0.2.7 5000 typ host ufrag {ufrag}"),
        sdp_mid: Some("0".to_owned()),
        sdp_mline_index: Some(0),
        username_fragment: None,
    }
}

fn field(sdp: &str, prefix: &str) -> String {
    sdp.lines().find_map(|line| line.strip_prefix(prefix)).unwrap_or_default().to_owned()
}
