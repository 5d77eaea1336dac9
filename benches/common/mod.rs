//! What both benches measure, and the stuff it is measured on: a service's frames, a heart with six phones, a fan-out
//! with eight feeds, a picture of 30 kB, a path that reports. No device, no socket, no clock.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use intercomd::intercom::{
    Command, Description, DescriptionKind, Health, Input, Intercom, LinkCommand, LinkEvent, OpId,
    Outcome, Outgoing, PageMessage, PeerId, Rules, Signal, UplinkCommand, UplinkEvent, UplinkId,
};
use intercomd::media::packetise::Packetiser;
use intercomd::media::{Feed, VideoUnit, fanout};
use intercomd::rtc::estimate::{Estimator, Fate};
use intercomd::signalling::{envelope, inbound};
use serde_json::json;

/// How many phones the house has.
pub const PHONES: usize = 6;
/// How many phones drink from one encoder.
pub const FEEDS: usize = 8;
/// Size of the picture, in bytes: a keyframe at 480p and some 1.2 Mbit/s.
pub const PICTURE: usize = 30_000;
const UPLINK: UplinkId = UplinkId::Service;

/// An offer as browsers write it, with a media section each way and twelve codecs.
pub fn browser_offer(version: u64) -> String {
    let mut sdp = format!(
        "v=0\r\no=- 4611731400430051336 {version} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
         a=extmap-allow-mixed\r\na=msid-semantic: WMS phone\r\n"
    );
    for (mid, kind) in ["audio", "video"].into_iter().enumerate() {
        sdp.push_str(&format!(
            "m={kind} 9 UDP/TLS/RTP/SAVPF 96 97 98 99 100 101\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
             a=ice-ufrag:aB3d\r\na=ice-pwd:0123456789abcdefghijklmn\r\na=ice-options:trickle\r\n\
             a=fingerprint:sha-256 {}\r\na=setup:actpass\r\na=mid:{mid}\r\na=sendrecv\r\na=rtcp-mux\r\n",
            ["5A"; 32].join(":")
        ));
        for payload in 96..102 {
            sdp.push_str(&format!(
                "a=rtpmap:{payload} H264/90000\r\na=rtcp-fb:{payload} goog-remb\r\na=rtcp-fb:{payload} transport-cc\r\n\
                 a=rtcp-fb:{payload} ccm fir\r\na=rtcp-fb:{payload} nack\r\na=rtcp-fb:{payload} nack pli\r\n\
                 a=fmtp:{payload} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"
            ));
        }
        sdp.push_str("a=ssrc:1001 cname:phone\r\na=ssrc:1001 msid:phone track\r\n");
    }
    sdp
}

/// The service's frame with that offer in it.
pub fn service_frame() -> String {
    let description = json!({"type": "offer", "sdp": browser_offer(2)});
    direct(&json!({"type": "rtc-description", "description": description}))
}

/// The service's frame with a page's answer in it.
pub fn page_frame() -> String {
    direct(&json!({"intercomd": 1, "type": "answer", "call": "c-5f0c2a91-17"}))
}

fn direct(data: &serde_json::Value) -> String {
    let from = "7d1e0c52-8a4b-4b0e-9c57-0f6f3f1c2ab9";
    json!({"type": "direct", "from": from, "data": data}).to_string()
}

/// Reads one frame down to what the heart is told.
///
/// # Panics
/// When it is no frame for the heart.
pub fn read_frame(text: &str) -> Signal {
    let inbound::Inbound::Frame(frame) = inbound::read(text) else { panic!("no frame") };
    let intercomd::signalling::message::HubFrame::Direct { data, .. } = frame else {
        panic!("no direct frame")
    };
    match envelope::read(&data) {
        envelope::Content::Signal(signal) => signal,
        other => panic!("nothing for the heart: {other:?}"),
    }
}

/// A heart with everything around it that answers at once.
pub struct House {
    heart: Intercom,
    now: Instant,
    version: u64,
    /// Commands carried out; a result that is looked at cannot be left out by the compiler.
    pub commands: usize,
}

impl House {
    /// A door in whose channel the phones wait. It is impolite to none of them.
    pub fn new() -> Self {
        let mut heart = Intercom::new(Rules::default(), "c-bench", &[UPLINK]);
        let now = Instant::now();
        heart.handle(now, Input::Uplink(UPLINK, UplinkEvent::Up { own: PeerId::from("-door") }));
        Self { heart, now, version: 2, commands: 0 }
    }

    /// From the press until all phones are connected and the first has answered.
    ///
    /// # Panics
    /// When a phone is not connected in the end.
    pub fn call(&mut self) {
        self.take(Input::Press);
        let call = self.heart.snapshot().call.expect("a call").0;
        self.signal(0, Signal::Page(PageMessage::Answer(Some(call))));
        let snapshot = self.heart.snapshot();
        assert_eq!(snapshot.peers.iter().filter(|peer| peer.link == "connected").count(), PHONES);
    }

    /// A phone sends a candidate.
    pub fn candidate(&mut self) {
        let candidate = intercomd::intercom::Candidate {
            candidate: "candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host generation 0".into(),
            sdp_mid: Some("0".into()),
            sdp_mline_index: Some(0),
            username_fragment: None,
        };
        self.signal(3, Signal::Candidate(candidate));
    }

    /// A phone offers anew and is answered.
    pub fn offer(&mut self) {
        self.version += 1;
        let sdp = browser_offer(self.version);
        let description = Description { kind: DescriptionKind::Offer, sdp };
        self.signal(3, Signal::Description(description));
    }

    fn signal(&mut self, phone: usize, signal: Signal) {
        // So long apart that nobody takes it for a flood.
        self.now += Duration::from_secs(1);
        self.take(Input::Uplink(UPLINK, UplinkEvent::Signal { from: phone_id(phone), signal }));
    }

    fn take(&mut self, input: Input) {
        self.heart.handle(self.now, input);
        while let Some(command) = self.heart.poll_command() {
            self.commands += 1;
            self.carry_out(command);
        }
    }

    fn carry_out(&mut self, command: Command) {
        let now = self.now;
        match command {
            Command::Uplink(_, UplinkCommand::Join) => {
                let list = (0..PHONES).map(phone_id).collect();
                self.heart.handle(now, Input::Uplink(UPLINK, UplinkEvent::Joined));
                self.heart.handle(now, Input::Uplink(UPLINK, UplinkEvent::Snapshot(list)));
                // The polite side offers when it next looks at the clock.
                self.heart.handle(now, Input::Wakeup);
            }
            Command::Uplink(_, UplinkCommand::Send { to, what: Outgoing::Description(ours) })
                if ours.kind == DescriptionKind::Offer =>
            {
                let sdp = browser_offer(self.version);
                let theirs = Description { kind: DescriptionKind::Answer, sdp };
                let signal = Signal::Description(theirs);
                let event = UplinkEvent::Signal { from: to, signal };
                self.heart.handle(now, Input::Uplink(UPLINK, event));
            }
            Command::Link(id, command) => {
                let mut tell = |event| self.heart.handle(now, Input::Link(id.clone(), event));
                let mut made = |op: OpId, kind| {
                    let ours = Description { kind, sdp: "v=0\r\n".to_owned() };
                    tell(LinkEvent::Done { op, outcome: Outcome::Made(ours) });
                };
                match command {
                    LinkCommand::MakeOffer { op, .. } => made(op, DescriptionKind::Offer),
                    LinkCommand::TakeOffer { op, .. } => made(op, DescriptionKind::Answer),
                    LinkCommand::TakeAnswer { op, .. } => {
                        tell(LinkEvent::Done { op, outcome: Outcome::Taken });
                        tell(LinkEvent::Health(Health::Connected));
                    }
                    LinkCommand::AddCandidate(_) => {}
                }
            }
            _ => {}
        }
    }
}

fn phone_id(number: usize) -> PeerId {
    PeerId::from(&*format!("phone-{number}"))
}

/// One encoder and those who drink from it.
pub struct Tap {
    writer: fanout::Writer,
    feeds: Vec<Feed>,
    unit: VideoUnit,
}

impl Tap {
    /// A fan-out with its feeds open.
    pub fn new() -> Self {
        let (writer, fanout) = fanout::alone();
        let feeds = (0..FEEDS).map(|_| fanout.feed()).collect();
        let unit = Packetiser::new().video(&access_unit(), 0).expect("a picture");
        Self { writer, feeds, unit }
    }

    /// Hands one picture to every feed; how many have it.
    pub fn pour(&mut self) -> usize {
        self.writer.video(self.unit.clone());
        let got = self.feeds.iter_mut().map(|feed| feed.next().now_or_never().flatten());
        got.filter(Option::is_some).count()
    }
}

/// A keyframe of [`PICTURE`] bytes in Annex B form.
pub fn access_unit() -> Bytes {
    let mut stream =
        vec![0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 1, 2, 3, 0, 0, 0, 1, 0x68, 0xce, 6, 0xe2];
    stream.extend([0, 0, 0, 1, 0x65]);
    // Coded data looks like noise; without zeros it holds no start code.
    let mut noise = 0x2545_f491_u32;
    while stream.len() < PICTURE {
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        stream.push((noise >> 8) as u8 | 1);
    }
    Bytes::from(stream)
}

/// A path of 20 ms whose peer reports every 50 ms on ten packets, one in fifty of them lost.
pub struct Reports {
    estimator: Estimator,
    now: Duration,
    fates: Vec<Fate>,
    sent: u32,
}

impl Reports {
    /// A path that has been in use for a while.
    pub fn new() -> Self {
        let estimator = Estimator::new(1_500_000.0);
        let mut reports =
            Self { estimator, now: Duration::from_secs(1), fates: Vec::new(), sent: 0 };
        for _ in 0..200 {
            reports.step();
        }
        reports
    }

    /// One report; what the path takes now, in bit/s.
    pub fn step(&mut self) -> f64 {
        self.fates.clear();
        for packet in 0..10 {
            self.sent += 1;
            let sent = self.now + Duration::from_millis(5 * packet);
            let arrived =
                (!self.sent.is_multiple_of(50)).then_some(sent + Duration::from_millis(20));
            self.fates.push(Fate { sent, arrived, size: 1_200 });
        }
        self.now += Duration::from_millis(50);
        self.estimator.take(self.now + Duration::from_millis(40), &self.fates);
        self.estimator.rate()
    }
}
