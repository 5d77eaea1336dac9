//! The routing of the embedded LAN hub: who is here, who is in which channel, who is told what
//! (protocol.md sections 1 to 3, the side of the service).
//!
//! Pure: frames in, [`Action`]s out; the time of day, the clock (`now`: since any fixed moment) and
//! fresh ids are given by the caller. It knows no socket, keeps nothing for later and never looks inside `data`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use subtle::ConstantTimeEq;

use super::bucket::{Bucket, FRAMES};
use super::frames::{Verbatim, encode};
use super::message::{HubFrame, MAX_FRAME, Member as Listed};
use super::request::{Refusal, Request, read};

/// Most guests at a time; the door has a place of its own beside them. More get
/// [`CloseCode::Full`].
pub const MAX_GUESTS: usize = 32;
/// Most channels one member may be in (protocol.md section 2.1).
pub const MAX_CHANNELS: usize = 100;
/// Milliseconds the hub asks for in `going_away` (protocol.md section 2.6).
const RETRY_AFTER: f64 = 1_000.0;

/// Number of one socket at the hub. The caller never gives a number twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberId(pub u64);

/// What a socket brought along in its URL. Has no `Debug`, because it may hold the key.
pub enum Credentials {
    /// `?key=`, decoded.
    Key(String),
    /// No credential, a token, or more than one; the text says which, for the close reason.
    Unusable(&'static str),
}

/// Who a socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// This daemon, through its in-memory pipe. Gets the configured id, a place even when the hub
    /// is full, and no rate limit: our own door must not be locked out by its visitors.
    Door,
    /// This daemon once more, where those who look in meet it: as `Door`, under an id of its own.
    Looks,
    /// Anybody else.
    Guest {
        /// A fresh id, unique for this socket.
        peer_id: String,
    },
}

/// Why the hub closes a member's socket (protocol.md section 2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// A newer socket took the same id.
    Replaced,
    /// The hub stops.
    GoingAway,
    /// The member's frame was longer than [`MAX_FRAME`].
    TooBig,
    /// Wrong or missing key.
    BadKey,
    /// [`MAX_GUESTS`] are here already.
    Full,
    /// The member sent faster than the rate limit allows (protocol.md section 2.7).
    TooFast,
}

impl CloseCode {
    /// The WebSocket close code.
    pub fn code(self) -> u16 {
        match self {
            Self::Replaced => 1000,
            Self::GoingAway => 1001,
            Self::TooBig => 1009,
            Self::BadKey => 4001,
            Self::Full => 4010,
            Self::TooFast => 4011,
        }
    }
}

/// Something for the shell to carry out, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a text frame.
    Deliver {
        /// To whom.
        to: MemberId,
        /// The finished JSON; shared between the receivers of a broadcast.
        frame: Arc<str>,
    },
    /// Close the socket after what was delivered before. The hub has forgotten the member.
    Close {
        /// Whose.
        member: MemberId,
        /// Why.
        code: CloseCode,
        /// Words for people.
        reason: &'static str,
    },
}

/// Members, channels and presence of one LAN hub.
pub struct Hub {
    key: String,
    door_peer_id: String,
    members: BTreeMap<MemberId, Member>,
    channels: BTreeMap<String, BTreeSet<MemberId>>,
    actions: VecDeque<Action>,
}

struct Member {
    peer_id: String,
    channels: BTreeSet<String>,
    /// `None`: no limit, for the door.
    bucket: Option<Bucket>,
}

impl Hub {
    /// A hub that lets in who knows `key`, and calls the door `door_peer_id` (1 to 128 printable
    /// ASCII characters).
    pub fn new(key: impl Into<String>, door_peer_id: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            door_peer_id: door_peer_id.into(),
            members: BTreeMap::new(),
            channels: BTreeMap::new(),
            actions: VecDeque::new(),
        }
    }

    /// The next thing to carry out; drain it after every call.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// A socket was accepted: greets it, or closes it before any greeting.
    ///
    /// `server_time` is the time of day in Unix seconds.
    pub fn open(
        &mut self,
        now: Duration,
        server_time: u64,
        member: MemberId,
        credentials: &Credentials,
        identity: Identity,
    ) {
        let given = match credentials {
            Credentials::Key(given) => given,
            Credentials::Unusable(reason) => return self.close(member, CloseCode::BadKey, reason),
        };
        // In constant time, so that answers do not tell how much of a guess was right.
        if !bool::from(given.as_bytes().ct_eq(self.key.as_bytes())) {
            return self.close(member, CloseCode::BadKey, "invalid key");
        }
        let (peer_id, bucket) = match identity {
            Identity::Door => (self.door_peer_id.clone(), None),
            Identity::Looks => (self.looks_peer_id(), None),
            Identity::Guest { peer_id } => (peer_id, Some(Bucket::full(FRAMES, now))),
        };
        if bucket.is_some() && self.guests() >= MAX_GUESTS {
            return self.close(member, CloseCode::Full, "too many members");
        }
        // The door comes back before the hub has noticed that its old pipe broke.
        if let Some(old) = self.by_peer_id(&peer_id) {
            self.close(old, CloseCode::Replaced, "replaced by a newer socket");
        }
        let welcome = encode(&Verbatim::Welcome {
            peer_id: &peer_id,
            expires_at: (),
            server_time,
            max_message_size: MAX_FRAME,
        });
        self.deliver(member, welcome);
        let channels = BTreeSet::new();
        self.members.insert(member, Member { peer_id, channels, bucket });
    }

    fn looks_peer_id(&self) -> String {
        // It fits into 128 characters, whatever the owner calls the door (protocol.md section 2.1).
        let beginning: String = self.door_peer_id.chars().take(120).collect();
        format!("{beginning}-look")
    }

    /// A text frame came in.
    pub fn text(&mut self, now: Duration, member: MemberId, text: &str) {
        if !self.admit(now, member, text.len()) {
            return;
        }
        let (id, request) = read(text);
        let outcome = request.and_then(|request| self.carry_out(member, id.as_deref(), request));
        if let Err(refusal) = outcome {
            let error = HubFrame::Error {
                code: refusal.code.to_owned(),
                request_id: id,
                message: Some(refusal.message.to_owned()),
            };
            self.deliver(member, encode(&error));
        }
    }

    /// A binary frame of `length` bytes came in. It counts towards the limits and means nothing
    /// (protocol.md section 2.2).
    pub fn binary(&mut self, now: Duration, member: MemberId, length: usize) {
        self.admit(now, member, length);
    }

    /// A member's socket is gone. Harmless for one the hub has closed itself.
    pub fn closed(&mut self, member: MemberId) {
        let Some(gone) = self.members.remove(&member) else {
            return;
        };
        for channel in &gone.channels {
            self.drop_from(channel, member, &gone.peer_id);
        }
    }

    /// Announces the end to everybody and closes every socket.
    pub fn shutdown(&mut self) {
        let going_away = encode(&HubFrame::GoingAway { retry_after_ms: Some(RETRY_AFTER) });
        let everybody: Vec<_> = std::mem::take(&mut self.members).into_keys().collect();
        self.channels.clear();
        for member in everybody {
            self.deliver(member, Arc::clone(&going_away));
            self.close(member, CloseCode::GoingAway, "the door station stops");
        }
    }

    /// Size and rate. `false`: the frame goes no further, the member may be gone.
    fn admit(&mut self, now: Duration, member: MemberId, length: usize) -> bool {
        let Some(sender) = self.members.get_mut(&member) else {
            return false;
        };
        if length > MAX_FRAME {
            self.close(member, CloseCode::TooBig, "frame over 65536 bytes");
            return false;
        }
        if sender.bucket.as_mut().is_some_and(|bucket| !bucket.take(now)) {
            self.close(member, CloseCode::TooFast, "over 100 frames per second");
            return false;
        }
        true
    }

    fn carry_out(
        &mut self,
        member: MemberId,
        id: Option<&str>,
        request: Request<'_>,
    ) -> Result<(), Refusal> {
        match request {
            Request::Subscribe { channel } => self.subscribe(member, id, channel),
            Request::Unsubscribe { channel } => {
                self.ack(member, id);
                self.unsubscribe(member, &channel);
                Ok(())
            }
            Request::Publish { channel, data } => {
                self.ack(member, id);
                self.publish(member, &channel, data);
                Ok(())
            }
            Request::Send { to, data } => {
                let Some(to) = self.by_peer_id(&to) else {
                    return Err(Refusal::new("peer_not_found", "no such peer is online"));
                };
                self.ack(member, id);
                if let Some(sender) = self.members.get(&member) {
                    let direct = encode(&Verbatim::Direct { from: &sender.peer_id, data });
                    self.deliver(to, direct);
                }
                Ok(())
            }
            Request::Ping => {
                self.deliver(member, encode(&HubFrame::Pong));
                Ok(())
            }
        }
    }

    fn subscribe(
        &mut self,
        member: MemberId,
        id: Option<&str>,
        channel: String,
    ) -> Result<(), Refusal> {
        let Some(newcomer) = self.members.get_mut(&member) else {
            return Ok(());
        };
        let repeated = newcomer.channels.contains(&channel);
        if !repeated && newcomer.channels.len() >= MAX_CHANNELS {
            return Err(Refusal::new("channel_limit_exceeded", "in 100 channels already"));
        }
        newcomer.channels.insert(channel.clone());
        let peer_id = newcomer.peer_id.clone();
        let inside = self.channels.entry(channel.clone()).or_default();
        inside.insert(member);
        let others: Vec<_> = inside.iter().copied().filter(|other| *other != member).collect();

        // Ack, then the snapshot even if nobody is there: older browsers' SDKs wait for one for
        // ever (protocol.md sections 3.1 and 9.2).
        self.ack(member, id);
        let present = others.iter().filter_map(|other| self.members.get(other)).map(listed);
        let snapshot = HubFrame::Presence {
            channel: channel.clone(),
            joined: present.collect(),
            left: vec![],
        };
        self.deliver(member, encode(&snapshot));
        if !repeated {
            let joined = vec![Listed { peer_id, metadata: None }];
            let delta = encode(&HubFrame::Presence { channel, joined, left: vec![] });
            self.deliver_all(&others, &delta);
        }
        Ok(())
    }

    fn unsubscribe(&mut self, member: MemberId, channel: &str) {
        let Some(leaver) = self.members.get_mut(&member) else {
            return;
        };
        if leaver.channels.remove(channel) {
            let peer_id = leaver.peer_id.clone();
            self.drop_from(channel, member, &peer_id);
        }
    }

    fn publish(&mut self, member: MemberId, channel: &str, data: &RawValue) {
        let (Some(sender), Some(inside)) = (self.members.get(&member), self.channels.get(channel))
        else {
            return;
        };
        let message = encode(&Verbatim::Message { channel, from: &sender.peer_id, data });
        let others: Vec<_> = inside.iter().copied().filter(|other| *other != member).collect();
        self.deliver_all(&others, &message);
    }

    /// Takes a member out of a channel and tells those who stay.
    fn drop_from(&mut self, channel: &str, member: MemberId, peer_id: &str) {
        let Some(inside) = self.channels.get_mut(channel) else {
            return;
        };
        inside.remove(&member);
        let others: Vec<_> = inside.iter().copied().collect();
        if others.is_empty() {
            self.channels.remove(channel);
            return;
        }
        let left = vec![Listed { peer_id: peer_id.to_owned(), metadata: None }];
        let channel = channel.to_owned();
        let delta = encode(&HubFrame::Presence { channel, joined: vec![], left });
        self.deliver_all(&others, &delta);
    }

    fn close(&mut self, member: MemberId, code: CloseCode, reason: &'static str) {
        self.actions.push_back(Action::Close { member, code, reason });
        self.closed(member);
    }

    fn ack(&mut self, member: MemberId, id: Option<&str>) {
        if let Some(id) = id {
            self.deliver(member, encode(&HubFrame::Ack { request_id: id.to_owned() }));
        }
    }

    fn deliver(&mut self, to: MemberId, frame: Arc<str>) {
        self.actions.push_back(Action::Deliver { to, frame });
    }

    fn deliver_all(&mut self, to: &[MemberId], frame: &Arc<str>) {
        for member in to {
            self.deliver(*member, Arc::clone(frame));
        }
    }

    fn guests(&self) -> usize {
        self.members.values().filter(|member| member.bucket.is_some()).count()
    }

    fn by_peer_id(&self, peer_id: &str) -> Option<MemberId> {
        self.members.iter().find(|(_, member)| member.peer_id == peer_id).map(|(id, _)| *id)
    }
}

fn listed(member: &Member) -> Listed {
    Listed { peer_id: member.peer_id.clone(), metadata: None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const KEY: &str = "lan_0123456789";
    const DOOR: MemberId = MemberId(0);
    const ANN: MemberId = MemberId(1);
    const BEN: MemberId = MemberId(2);

    fn uuid(number: u64) -> String {
        format!("00000000-0000-4000-8000-{number:012}")
    }

    /// A hub with a clock and one list of received frames per member, as JSON; a close is
    /// `{"close": code}`.
    struct World {
        hub: Hub,
        now: Duration,
        got: BTreeMap<MemberId, Vec<Value>>,
    }

    impl World {
        fn empty() -> Self {
            let hub = Hub::new(KEY, "-door");
            Self { hub, now: Duration::ZERO, got: BTreeMap::new() }
        }

        /// Door, Ann and Ben are greeted; what they got so far is forgotten.
        fn new() -> Self {
            let mut world = Self::empty();
            for member in [DOOR, ANN, BEN] {
                world.open(member);
            }
            world.got.clear();
            world
        }

        fn open(&mut self, member: MemberId) {
            let identity = match member {
                DOOR => Identity::Door,
                MemberId(number) => Identity::Guest { peer_id: uuid(number) },
            };
            self.open_as(member, Credentials::Key(KEY.to_owned()), identity);
        }

        fn open_as(&mut self, member: MemberId, credentials: Credentials, identity: Identity) {
            self.hub.open(self.now, 1_760_000_000, member, &credentials, identity);
            self.drain();
        }

        fn say(&mut self, member: MemberId, frame: Value) {
            self.say_text(member, &frame.to_string());
        }

        fn say_text(&mut self, member: MemberId, frame: &str) {
            self.hub.text(self.now, member, frame);
            self.drain();
        }

        fn subscribe(&mut self, member: MemberId, channel: &str) {
            self.say(member, json!({"type": "subscribe", "channel": channel}));
        }

        fn leave(&mut self, member: MemberId) {
            self.hub.closed(member);
            self.drain();
        }

        fn drain(&mut self) {
            while let Some(action) = self.hub.poll_action() {
                match action {
                    Action::Deliver { to, frame } => {
                        let frame = serde_json::from_str(&frame).expect("the hub writes JSON");
                        self.got.entry(to).or_default().push(frame);
                    }
                    Action::Close { member, code, .. } => {
                        self.got.entry(member).or_default().push(json!({"close": code.code()}));
                    }
                }
            }
        }

        /// What a member got since it was last asked.
        fn got(&mut self, member: MemberId) -> Vec<Value> {
            self.got.remove(&member).unwrap_or_default()
        }
    }

    fn ack(id: &str) -> Value {
        json!({"type": "ack", "requestId": id})
    }

    fn presence(channel: &str, joined: &[MemberId], left: &[MemberId]) -> Value {
        let list = |members: &[MemberId]| -> Vec<Value> {
            let name = |id: &MemberId| {
                if *id == DOOR { "-door".to_owned() } else { uuid(id.0) }
            };
            members.iter().map(|id| json!({"peerId": name(id)})).collect()
        };
        json!({"type": "presence", "channel": channel, "joined": list(joined), "left": list(left)})
    }

    /// The code of the only frame, an error; and whether it repeats the request id `q`.
    fn only_error(got: &[Value]) -> (String, bool) {
        assert_eq!(got.len(), 1, "{got:?}");
        assert_eq!(got[0]["type"], "error", "{got:?}");
        let code = got[0]["code"].as_str().expect("a code").to_owned();
        (code, got[0].get("requestId") == Some(&json!("q")))
    }

    #[test]
    fn the_first_frame_is_a_welcome_that_says_it_never_expires() {
        let mut world = World::empty();
        world.open(ANN);
        let welcome = json!({"type": "welcome", "peerId": uuid(1), "expiresAt": null,
            "serverTime": 1_760_000_000, "maxMessageSize": 65_536});
        assert_eq!(world.got(ANN), [welcome]);
    }

    #[test]
    fn the_door_gets_its_own_id_which_sorts_before_every_guests() {
        let mut world = World::empty();
        world.open(DOOR);
        let welcome = world.got(DOOR).remove(0);
        assert_eq!(welcome["peerId"], "-door");
        assert!("-door" < "00000000-0000-4000-8000-000000000000");
    }

    #[test]
    fn a_wrong_key_is_closed_with_4001_before_any_welcome() {
        let wrong = ["", "lan_", "lan_0123456788", "lan_01234567890", "LAN_0123456789"];
        let keys = wrong.map(|key| Credentials::Key(key.to_owned()));
        let others = [Credentials::Unusable("key missing")];
        for credentials in keys.into_iter().chain(others) {
            let mut world = World::empty();
            world.open_as(ANN, credentials, Identity::Guest { peer_id: uuid(1) });
            assert_eq!(world.got(ANN), [json!({"close": 4001})]);
            world.subscribe(ANN, "c");
            assert_eq!(world.got(ANN), [] as [Value; 0]);
        }
    }

    #[test]
    fn the_door_needs_the_key_as_well() {
        let mut world = World::empty();
        world.open_as(DOOR, Credentials::Key("no".to_owned()), Identity::Door);
        assert_eq!(world.got(DOOR), [json!({"close": 4001})]);
    }

    #[test]
    fn one_guest_too_many_is_closed_with_4010_but_the_door_has_a_place() {
        let mut world = World::empty();
        for number in 1..=32 {
            world.open(MemberId(number));
        }
        assert_eq!(world.got(MemberId(32))[0]["type"], "welcome");
        world.open(MemberId(33));
        assert_eq!(world.got(MemberId(33)), [json!({"close": 4010})]);
        world.open(DOOR);
        assert_eq!(world.got(DOOR)[0]["type"], "welcome");
        world.leave(ANN);
        world.open(MemberId(34));
        assert_eq!(world.got(MemberId(34))[0]["type"], "welcome");
    }

    #[test]
    fn a_newer_door_replaces_the_older_one() {
        let mut world = World::new();
        world.subscribe(DOOR, "c");
        world.subscribe(ANN, "c");
        world.got.clear();
        world.open_as(MemberId(9), Credentials::Key(KEY.to_owned()), Identity::Door);
        assert_eq!(world.got(DOOR), [json!({"close": 1000})]);
        assert_eq!(world.got(ANN), [presence("c", &[], &[DOOR])]);
        assert_eq!(world.got(MemberId(9))[0]["peerId"], "-door");
        world.leave(DOOR);
        assert_eq!(world.got(ANN), [] as [Value; 0]);
        world.say(ANN, json!({"type": "send", "to": "-door", "data": 1}));
        assert_eq!(world.got(MemberId(9)).len(), 1);
    }

    #[test]
    fn the_ack_comes_before_the_snapshot_and_the_snapshot_lists_the_others_only() {
        let mut world = World::new();
        world.subscribe(DOOR, "c");
        world.subscribe(ANN, "c");
        world.got.clear();
        world.say(BEN, json!({"type": "subscribe", "channel": "c", "requestId": "q"}));
        assert_eq!(world.got(BEN), [ack("q"), presence("c", &[DOOR, ANN], &[])]);
        assert_eq!(world.got(DOOR), [presence("c", &[BEN], &[])]);
        assert_eq!(world.got(ANN), [presence("c", &[BEN], &[])]);
    }

    #[test]
    fn the_first_in_a_channel_gets_an_empty_snapshot() {
        let mut world = World::new();
        world.subscribe(ANN, "c");
        assert_eq!(world.got(ANN), [presence("c", &[], &[])]);
    }

    #[test]
    fn a_repeated_subscribe_gives_a_new_snapshot_and_no_second_joined() {
        let mut world = World::new();
        world.subscribe(DOOR, "c");
        world.subscribe(ANN, "c");
        world.got.clear();
        let again = json!({"type": "subscribe", "channel": "c", "requestId": "q",
            "includeSenderMetadata": true});
        world.say(ANN, again);
        assert_eq!(world.got(ANN), [ack("q"), presence("c", &[DOOR], &[])]);
        assert_eq!(world.got(DOOR), [] as [Value; 0]);
    }

    #[test]
    fn leaving_a_channel_and_losing_the_socket_are_both_told() {
        let mut world = World::new();
        for member in [DOOR, ANN, BEN] {
            world.subscribe(member, "c");
        }
        world.subscribe(BEN, "d");
        world.got.clear();
        world.say(ANN, json!({"type": "unsubscribe", "channel": "c", "requestId": "q"}));
        assert_eq!(world.got(ANN), [ack("q")]);
        world.leave(BEN);
        world.leave(BEN);
        assert_eq!(world.got(DOOR), [presence("c", &[], &[ANN]), presence("c", &[], &[BEN])]);
        assert_eq!(world.got(ANN), [] as [Value; 0]);
    }

    #[test]
    fn leaving_a_channel_one_is_not_in_is_acked_and_told_to_nobody() {
        let mut world = World::new();
        world.subscribe(DOOR, "c");
        world.got.clear();
        world.say(ANN, json!({"type": "unsubscribe", "channel": "c", "requestId": "q"}));
        assert_eq!(world.got(ANN), [ack("q")]);
        assert_eq!(world.got(DOOR), [] as [Value; 0]);
    }

    #[test]
    fn a_broadcast_reaches_the_others_in_the_channel_also_from_outside() {
        let mut world = World::new();
        world.subscribe(DOOR, "c");
        world.subscribe(ANN, "c");
        world.got.clear();
        let publish = json!({"type": "publish", "channel": "c", "data": null, "requestId": "q"});
        let message =
            |from| json!({"type": "message", "channel": "c", "from": uuid(from), "data": null});
        world.say(ANN, publish.clone());
        assert_eq!(world.got(ANN), [ack("q")]);
        assert_eq!(world.got(DOOR), [message(1)]);
        world.say(BEN, publish);
        assert_eq!(world.got(BEN), [ack("q")]);
        assert_eq!(world.got(DOOR), [message(2)]);
        assert_eq!(world.got(ANN), [message(2)]);
    }

    #[test]
    fn publishing_to_an_empty_channel_is_acked() {
        let mut world = World::new();
        world.say(ANN, json!({"type": "publish", "channel": "c", "data": 1, "requestId": "q"}));
        assert_eq!(world.got(ANN), [ack("q")]);
    }

    #[test]
    fn what_is_sent_to_one_peer_reaches_only_that_peer() {
        let mut world = World::new();
        world
            .say(ANN, json!({"type": "send", "to": "-door", "data": {"a": [1]}, "requestId": "q"}));
        assert_eq!(world.got(ANN), [ack("q")]);
        let direct = json!({"type": "direct", "from": uuid(1), "data": {"a": [1]}});
        assert_eq!(world.got(DOOR), [direct]);
        assert_eq!(world.got(BEN), [] as [Value; 0]);
    }

    #[test]
    fn data_is_passed_on_letter_by_letter() {
        let mut world = World::new();
        let data = r#"{"b":1.0,"a":12345678901234567890123,"c":"\ud800", "a":2}"#;
        let text = format!(r#"{{"type":"send","to":"-door","data":{data}}}"#);
        world.hub.text(world.now, ANN, &text);
        let Some(Action::Deliver { to: DOOR, frame }) = world.hub.poll_action() else {
            panic!("nothing reached the door");
        };
        assert!(frame.ends_with(&format!(r#""data":{data}}}"#)), "{frame}");
    }

    #[test]
    fn sending_to_somebody_who_is_not_here_is_peer_not_found() {
        let mut world = World::new();
        world.say(ANN, json!({"type": "send", "to": "nobody", "data": 1, "requestId": "q"}));
        assert_eq!(only_error(&world.got(ANN)), ("peer_not_found".to_owned(), true));
        world.leave(BEN);
        world.say(ANN, json!({"type": "send", "to": uuid(2), "data": 1}));
        assert_eq!(only_error(&world.got(ANN)), ("peer_not_found".to_owned(), false));
    }

    #[test]
    fn ping_is_answered_by_pong() {
        let mut world = World::new();
        world.say(ANN, json!({"type": "ping"}));
        assert_eq!(world.got(ANN), [json!({"type": "pong"})]);
    }

    #[test]
    fn requests_without_id_are_silent_on_success() {
        let mut world = World::new();
        world.say(ANN, json!({"type": "publish", "channel": "c", "data": 1}));
        world.say(ANN, json!({"type": "send", "to": "-door", "data": 1}));
        world.say(ANN, json!({"type": "unsubscribe", "channel": "c", "requestId": null}));
        assert_eq!(world.got(ANN), [] as [Value; 0]);
    }

    #[test]
    fn each_wrong_frame_has_its_error_code_and_repeats_the_request_id() {
        let (long_channel, long_peer) = ("c".repeat(257), "p".repeat(129));
        let two_byte_channel = "\u{fc}".repeat(129);
        let cases = [
            (json!({"channel": "c"}), "malformed_message"),
            (json!({"type": 7}), "malformed_message"),
            (json!({"type": "shout"}), "unknown_type"),
            (json!({"type": "welcome"}), "unknown_type"),
            (json!({"type": "subscribe"}), "invalid_channel"),
            (json!({"type": "subscribe", "channel": ""}), "invalid_channel"),
            (json!({"type": "subscribe", "channel": 5}), "invalid_channel"),
            (json!({"type": "subscribe", "channel": "a\u{7f}"}), "invalid_channel"),
            (json!({"type": "subscribe", "channel": "a\u{85}"}), "invalid_channel"),
            (json!({"type": "unsubscribe", "channel": "a\n"}), "invalid_channel"),
            (json!({"type": "subscribe", "channel": long_channel}), "invalid_channel"),
            (json!({"type": "subscribe", "channel": two_byte_channel}), "invalid_channel"),
            (json!({"type": "publish", "data": 1}), "invalid_channel"),
            (json!({"type": "subscribe", "channel": "_metered/x"}), "channel_reserved"),
            (json!({"type": "publish", "channel": "_INTERNAL/", "data": 1}), "channel_reserved"),
            (json!({"type": "subscribe", "channel": "_System/y"}), "channel_reserved"),
            (json!({"type": "publish", "channel": "c"}), "missing_data"),
            (json!({"type": "send", "to": "-door"}), "missing_data"),
            (json!({"type": "send", "data": 1}), "invalid_peer_id"),
            (json!({"type": "send", "to": "", "data": 1}), "invalid_peer_id"),
            (json!({"type": "send", "to": "\u{fc}", "data": 1}), "invalid_peer_id"),
            (json!({"type": "send", "to": long_peer, "data": 1}), "invalid_peer_id"),
        ];
        let mut world = World::new();
        for (mut frame, code) in cases {
            frame["requestId"] = json!("q");
            world.say(ANN, frame.clone());
            assert_eq!(only_error(&world.got(ANN)), (code.to_owned(), true), "{frame}");
        }
        for text in ["", "nonsense", "[1]", "[\"subscribe\",\"c\"]", "7", "null", "{\"type\":"] {
            world.say_text(ANN, text);
            let expected = ("malformed_message".to_owned(), false);
            assert_eq!(only_error(&world.got(ANN)), expected, "{text}");
        }
        assert!(world.hub.channels.is_empty());
    }

    #[test]
    fn the_longest_names_allowed_are_taken() {
        let mut world = World::new();
        let id = "i".repeat(128);
        let channel = "\u{fc}".repeat(128);
        world.say(ANN, json!({"type": "subscribe", "channel": channel, "requestId": id}));
        assert_eq!(world.got(ANN)[0], ack(&id));
        world.subscribe(ANN, "_metered");
        assert_eq!(world.got(ANN)[0]["type"], "presence");
    }

    #[test]
    fn a_request_id_that_cannot_be_repeated_is_malformed_and_nothing_is_done() {
        let mut world = World::new();
        for id in [json!(""), json!(7), json!({}), json!("i".repeat(129))] {
            world.say(ANN, json!({"type": "subscribe", "channel": "c", "requestId": id}));
            let expected = ("malformed_message".to_owned(), false);
            assert_eq!(only_error(&world.got(ANN)), expected);
        }
        assert!(world.hub.channels.is_empty());
    }

    #[test]
    fn the_hundred_and_first_channel_is_refused_until_one_is_left() {
        let mut world = World::new();
        for number in 0..100 {
            world.subscribe(DOOR, &number.to_string());
        }
        world.got.clear();
        let more = json!({"type": "subscribe", "channel": "more", "requestId": "q"});
        world.say(DOOR, more.clone());
        assert_eq!(only_error(&world.got(DOOR)), ("channel_limit_exceeded".to_owned(), true));
        world.say(DOOR, json!({"type": "subscribe", "channel": "7", "requestId": "q"}));
        assert_eq!(world.got(DOOR)[0], ack("q"));
        world.say(DOOR, json!({"type": "unsubscribe", "channel": "7"}));
        world.say(DOOR, more);
        assert_eq!(world.got(DOOR)[0], ack("q"));
    }

    #[test]
    fn a_frame_over_64_kib_is_closed_with_1009_and_the_others_are_told() {
        let mut world = World::new();
        world.subscribe(DOOR, "c");
        world.subscribe(ANN, "c");
        world.got.clear();
        let frame = |length: usize| {
            let empty = r#"{"type":"send","to":"-door","data":""}"#;
            empty.replace(r#""""#, &format!(r#""{}""#, "x".repeat(length - empty.len())))
        };
        world.say_text(ANN, &frame(65_536));
        assert_eq!(world.got(DOOR).len(), 1);
        world.say_text(ANN, &frame(65_537));
        assert_eq!(world.got(ANN), [json!({"close": 1009})]);
        assert_eq!(world.got(DOOR), [presence("c", &[], &[ANN])]);
    }

    #[test]
    fn a_guest_that_sends_too_fast_is_closed_with_4011_and_the_door_never() {
        let mut world = World::new();
        for member in [ANN, DOOR] {
            for _ in 0..200 {
                world.say_text(member, "{");
            }
            assert_eq!(world.got(member).len(), 200);
        }
        world.say(ANN, json!({"type": "ping"}));
        world.say(DOOR, json!({"type": "ping"}));
        assert_eq!(world.got(ANN), [json!({"close": 4011})]);
        assert_eq!(world.got(DOOR), [json!({"type": "pong"})]);
    }

    #[test]
    fn binary_frames_mean_nothing_but_count_towards_the_limits() {
        let mut world = World::new();
        for _ in 0..200 {
            world.hub.binary(world.now, ANN, 10);
        }
        world.hub.binary(world.now, BEN, 65_537);
        world.drain();
        assert_eq!(world.got(BEN), [json!({"close": 1009})]);
        assert_eq!(world.got(ANN), [] as [Value; 0]);
        world.say(ANN, json!({"type": "ping"}));
        assert_eq!(world.got(ANN), [json!({"close": 4011})]);
    }

    #[test]
    fn a_shutdown_is_announced_and_closes_everybody_with_1001() {
        let mut world = World::new();
        world.subscribe(DOOR, "c");
        world.subscribe(ANN, "c");
        world.got.clear();
        world.hub.shutdown();
        world.drain();
        for member in [DOOR, ANN, BEN] {
            let end =
                [json!({"type": "going_away", "retryAfterMs": 1000.0}), json!({"close": 1001})];
            assert_eq!(world.got(member), end);
        }
    }

    /// Something a member of the random runs does.
    #[derive(Debug, Clone)]
    enum Op {
        Open,
        Lose,
        Subscribe(u8),
        Unsubscribe(u8),
        Publish(u8),
        Send(u64),
        Garbage(String),
    }

    fn ops() -> impl Strategy<Value = Vec<(u64, Op)>> {
        let op = prop_oneof![
            2 => Just(Op::Open),
            1 => Just(Op::Lose),
            4 => (0..3_u8).prop_map(Op::Subscribe),
            2 => (0..3_u8).prop_map(Op::Unsubscribe),
            2 => (0..3_u8).prop_map(Op::Publish),
            2 => (0..5_u64).prop_map(Op::Send),
            1 => any::<String>().prop_map(Op::Garbage),
        ];
        prop::collection::vec((0..5_u64, op), 0..120)
    }

    /// A page's picture of one channel, kept as the SDKs keep it.
    fn learn(roster: &mut BTreeMap<String, BTreeSet<String>>, frame: &Value, fresh: bool) {
        let channel = frame["channel"].as_str().expect("a channel").to_owned();
        let names = |list: &Value| -> Vec<String> {
            let list = list.as_array().expect("a list");
            list.iter().map(|entry| entry["peerId"].as_str().expect("an id").to_owned()).collect()
        };
        let members = roster.entry(channel).or_default();
        if fresh {
            members.clear();
        }
        members.extend(names(&frame["joined"]));
        for gone in names(&frame["left"]) {
            assert!(members.remove(&gone), "{gone} left without having been there");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_hub_panic(frames in prop::collection::vec(any::<String>(), 0..20)) {
            let mut world = World::new();
            for frame in frames {
                world.say_text(ANN, &frame);
            }
        }

        #[test]
        fn every_well_formed_object_with_a_request_id_gets_exactly_one_answer(
            kind in prop_oneof![
                Just("subscribe".to_owned()), Just("unsubscribe".to_owned()),
                Just("publish".to_owned()), Just("send".to_owned()), "[a-z_]{0,12}",
            ],
            channel in prop::option::of(".{0,4}|_metered/x"),
            to in prop::option::of(prop_oneof![Just("-door".to_owned()), ".{0,4}".boxed()]),
            data in prop::option::of(any::<Option<i64>>()),
            id in "[!-~]{1,128}",
        ) {
            prop_assume!(kind != "ping");
            let mut frame = json!({"type": kind, "requestId": id});
            for (name, value) in [
                ("channel", channel.map(Value::from)),
                ("to", to.map(Value::from)),
                ("data", data.map(|data| json!(data))),
            ] {
                if let Some(value) = value {
                    frame[name] = value;
                }
            }
            let mut world = World::new();
            world.say(ANN, frame);
            let got = world.got(ANN);
            let answers = got.iter().filter(|frame| {
                ["ack", "error"].iter().any(|kind| frame["type"] == *kind)
            });
            let answers: Vec<_> = answers.map(|frame| frame["requestId"].clone()).collect();
            prop_assert_eq!(answers, [json!(id)]);
        }

        /// Whatever happens in whatever order, a member that believes its snapshots and deltas
        /// knows exactly who is in its channels.
        #[test]
        fn presence_always_adds_up_to_the_truth(ops in ops()) {
            let mut world = World::empty();
            let mut next = 100;
            let mut seats: BTreeMap<u64, MemberId> = BTreeMap::new();
            let mut rosters: BTreeMap<MemberId, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
            for (seat, op) in ops {
                world.now += Duration::from_millis(10);
                let mut asked = None;
                match (op, seats.get(&seat).copied()) {
                    (Op::Open, None) => {
                        next += 1;
                        seats.insert(seat, MemberId(next));
                        world.open(MemberId(next));
                    }
                    (Op::Lose, Some(member)) => {
                        seats.remove(&seat);
                        rosters.remove(&member);
                        world.leave(member);
                    }
                    (Op::Subscribe(channel), Some(member)) => {
                        asked = Some(member);
                        world.subscribe(member, &channel.to_string());
                    }
                    (Op::Unsubscribe(channel), Some(member)) => {
                        let channel = channel.to_string();
                        world.say(member, json!({"type": "unsubscribe", "channel": channel}));
                        rosters.entry(member).or_default().remove(&channel);
                    }
                    (Op::Publish(channel), Some(member)) => {
                        let channel = channel.to_string();
                        world.say(member, json!({"type": "publish", "channel": channel, "data": 1}));
                    }
                    (Op::Send(to), Some(member)) => {
                        world.say(member, json!({"type": "send", "to": uuid(to), "data": 1}));
                    }
                    (Op::Garbage(text), Some(member)) => world.say_text(member, &text),
                    _ => {}
                }
                for (member, frames) in std::mem::take(&mut world.got) {
                    for frame in frames.iter().filter(|frame| frame["type"] == "presence") {
                        learn(rosters.entry(member).or_default(), frame, asked == Some(member));
                    }
                }
                for member in seats.values() {
                    let held = &world.hub.members[member];
                    let believed = rosters.get(member).cloned().unwrap_or_default();
                    prop_assert!(believed.keys().eq(held.channels.iter()));
                    for (channel, others) in believed {
                        let inside = &world.hub.channels[&channel];
                        let true_others = inside.iter().filter(|other| *other != member);
                        let true_others: BTreeSet<_> = true_others.map(|id| uuid(id.0)).collect();
                        prop_assert_eq!(others, true_others);
                    }
                }
                prop_assert!(world.hub.channels.values().all(|inside| !inside.is_empty()));
            }
        }
    }
}
