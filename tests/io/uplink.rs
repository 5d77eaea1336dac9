//! The real uplink against a scripted signalling server on loopback.
//!
//! The service's timing rules are tested on virtual time beside the session; here times are shrunk where a
//! test waits for one to pass, and left at their defaults where it must not pass.

use std::future::Future;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use intercomd::config::Secret;
use intercomd::intercom::{
    Description, DescriptionKind, Input, Outgoing, Signal, UplinkCommand, UplinkEvent, UplinkId,
};
use intercomd::signalling::status::{UplinkState, UplinkStatus};
use intercomd::signalling::timings::Timings;
use intercomd::signalling::uplink::{
    Key, Login, PipeMaker, TokenSource, Transport, Uplink, UplinkHandle,
};
use intercomd::signalling::{MembershipTimes, PulseTimes};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_async, accept_hdr_async};

const KEY: &str = "pk_live_secret+1";

/// Nothing here takes seconds unless it hangs.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), future).await {
        Ok(done) => done,
        Err(_) => panic!("still waiting for {what}"),
    }
}

fn quick() -> Timings {
    Timings {
        backoff_first: Duration::from_millis(10),
        backoff_cap: Duration::from_millis(40),
        slow_floor: Duration::from_millis(20),
        ..Timings::default()
    }
}

/// An uplink and what it tells the daemon.
struct Door {
    uplink: UplinkHandle,
    inbox: mpsc::Receiver<Input>,
}

impl Door {
    fn new(timings: Timings, transport: Transport, arm: bool) -> Self {
        Self::with(timings, transport, Login::Key(Key::new(KEY)), arm)
    }

    fn with(timings: Timings, transport: Transport, login: Login, arm: bool) -> Self {
        let (events, inbox) = mpsc::channel(256);
        let channel = "front-door".to_owned();
        let id = UplinkId::Service;
        let uplink = Uplink::spawn_timed(timings, id, transport, login, channel, arm, events);
        Self { uplink, inbox }
    }

    fn ask(&self, command: UplinkCommand) {
        self.uplink.try_command(command).expect("the uplink takes commands");
    }

    fn send_offer(&self, to: &str) {
        let description = Description { kind: DescriptionKind::Offer, sdp: "v=0\r\n".into() };
        let what = Outgoing::Description(description);
        self.ask(UplinkCommand::Send { to: to.into(), what });
    }

    async fn event(&mut self) -> UplinkEvent {
        match soon("an event", self.inbox.recv()).await {
            Some(Input::Uplink(UplinkId::Service, event)) => event,
            other => panic!("the uplink sent {other:?}"),
        }
    }

    async fn expect(&mut self, events: &[UplinkEvent]) {
        for event in events {
            assert_eq!(self.event().await, *event);
        }
    }

    async fn status(&self, wanted: impl FnMut(&UplinkStatus) -> bool) -> UplinkStatus {
        let mut status = self.uplink.status();
        let shown = soon("a status", status.wait_for(wanted)).await;
        shown.expect("the uplink lives").clone()
    }
}

/// Where scripted members of the server side arrive.
struct Desk {
    listener: TcpListener,
}

impl Desk {
    async fn open() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports") }
    }

    fn transport(&self) -> Transport {
        let address = self.listener.local_addr().expect("bound");
        Transport::Url { origin: format!("ws://{address}") }
    }

    async fn tcp(&self) -> TcpStream {
        soon("a connection", self.listener.accept()).await.expect("loopback accepts").0
    }

    async fn guest(&self) -> Guest<TcpStream> {
        Guest { socket: accept_async(self.tcp().await).await.expect("a WebSocket upgrade") }
    }

    /// A guest, and the path and query it asked for.
    async fn guest_and_address(&self) -> (Guest<TcpStream>, String) {
        let mut asked = String::new();
        #[expect(clippy::result_large_err, reason = "the shape of the library's callback")]
        let look = |request: &Request, response: Response| {
            asked = request.uri().to_string();
            Ok(response)
        };
        let socket = accept_hdr_async(self.tcp().await, look).await.expect("a WebSocket upgrade");
        (Guest { socket }, asked)
    }

    /// A guest that has been greeted as `own`.
    async fn greeted(&self, own: &str) -> Guest<TcpStream> {
        let mut guest = self.guest().await;
        guest.welcome(own).await;
        guest
    }
}

/// The server's end of one socket.
struct Guest<S> {
    socket: WebSocketStream<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guest<S> {
    async fn say(&mut self, frame: Value) {
        self.say_text(&frame.to_string()).await;
    }

    async fn say_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("the uplink listens");
    }

    async fn welcome(&mut self, own: &str) {
        self.say(json!({"type":"welcome","peerId":own,"expiresAt":null,"serverTime":1760000000,
            "maxMessageSize":65536,"metadata":{"iceServers":[{"urls":"stun:s.example"}]}}))
            .await;
    }

    async fn message(&mut self) -> Option<Message> {
        soon("a frame", self.socket.next()).await.and_then(Result::ok)
    }

    /// The next frame of this type; its ack is sent.
    async fn ack(&mut self, kind: &str) -> Value {
        let frame = self.frame(kind).await;
        self.say(json!({"type":"ack","requestId":frame["requestId"]})).await;
        frame
    }

    async fn frame(&mut self, kind: &str) -> Value {
        loop {
            let Some(message) = self.message().await else { panic!("closed before any {kind}") };
            if let Message::Text(text) = message {
                let frame: Value = serde_json::from_str(&text).expect("the uplink speaks JSON");
                assert_eq!(frame["type"], kind);
                return frame;
            }
        }
    }

    async fn let_in(&mut self, peers: &[&str]) {
        let subscribe = self.ack("subscribe").await;
        assert_eq!(subscribe["channel"], "front-door");
        let joined: Vec<Value> = peers.iter().map(|peer| json!({"peerId":peer})).collect();
        self.say(json!({"type":"presence","channel":"front-door","joined":joined,"left":[]})).await;
    }

    async fn close(&mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "no words".into() };
        self.socket.close(Some(frame)).await.expect("the uplink listens");
    }

    /// Reads to the end; the close code the uplink sent, if any.
    async fn end(&mut self) -> Option<u16> {
        let mut code = None;
        while let Some(message) = self.message().await {
            if let Message::Close(Some(frame)) = message {
                code = Some(frame.code.into());
            }
        }
        code
    }
}

fn up(own: &str) -> UplinkEvent {
    UplinkEvent::Up { own: own.into() }
}

fn snapshot(peers: &[&str]) -> UplinkEvent {
    UplinkEvent::Snapshot(peers.iter().map(|peer| (*peer).into()).collect())
}

#[tokio::test]
async fn a_whole_call_runs_over_one_socket() {
    let desk = Desk::open().await;
    let mut door = Door::new(Timings::default(), desk.transport(), true);
    let mut guest = desk.greeted("own").await;
    door.expect(&[up("own")]).await;
    let status = door.status(|status| status.state == UplinkState::Connected).await;
    assert_eq!(status.ice_servers.len(), 1, "known before the first peer");

    door.ask(UplinkCommand::Join);
    guest.let_in(&["phone", "own"]).await;
    door.expect(&[UplinkEvent::Joined, snapshot(&["phone"])]).await;
    let status = door.status(|status| status.state == UplinkState::Joined).await;
    assert_eq!(status.peer_id.as_ref().map(|id| id.as_str()), Some("own"));

    door.send_offer("phone");
    let offer = guest.ack("send").await;
    assert_eq!(offer["to"], "phone");
    assert_eq!(
        offer["data"],
        json!({"type":"rtc-description","description":{"type":"offer","sdp":"v=0\r\n"}})
    );
    let answer = json!({"type":"rtc-description","description":{"type":"answer","sdp":"v=1"}});
    guest.say(json!({"type":"direct","from":"phone","data":answer})).await;
    let answer = Description { kind: DescriptionKind::Answer, sdp: "v=1".into() };
    let signal = Signal::Description(answer);
    door.expect(&[UplinkEvent::Signal { from: "phone".into(), signal }]).await;

    door.ask(UplinkCommand::Leave);
    guest.ack("unsubscribe").await;
    door.expect(&[UplinkEvent::Left]).await;
    let (code, ()) = tokio::join!(guest.end(), door.uplink.stop());
    assert_eq!(code, Some(1000));
}

#[tokio::test]
async fn the_key_travels_encoded_and_only_in_the_url() {
    let desk = Desk::open().await;
    let _door = Door::new(Timings::default(), desk.transport(), true);
    let tcp = desk.tcp().await;
    let mut asked = None;
    #[expect(clippy::result_large_err, reason = "the shape of the library's callback")]
    let look = |request: &Request, response: Response| {
        asked = Some((request.uri().to_string(), format!("{:?}", request.headers())));
        Ok(response)
    };
    accept_hdr_async(tcp, look).await.expect("a WebSocket upgrade");
    let (uri, headers) = asked.expect("the callback ran");
    assert_eq!(uri, "/v1?key=pk_live_secret%2B1");
    assert!(!headers.contains("pk_live"));
}

#[tokio::test]
async fn a_welcome_that_does_not_come_costs_the_socket() {
    let desk = Desk::open().await;
    let timings = Timings { welcome: Duration::from_millis(300), ..quick() };
    let mut door = Door::new(timings, desk.transport(), true);
    let mut silent = desk.guest().await;
    assert_eq!(silent.end().await, None, "dropped without a close frame");
    // With a deadline that short, a loaded machine may need more than one further attempt.
    loop {
        let mut guest = desk.guest().await;
        let welcome =
            json!({"type":"welcome","peerId":"own","serverTime":1,"maxMessageSize":65536});
        if guest.socket.send(Message::text(welcome.to_string())).await.is_ok() {
            door.expect(&[up("own")]).await;
            break;
        }
    }
}

#[tokio::test]
async fn malformed_and_unknown_frames_are_counted_and_survived() {
    let desk = Desk::open().await;
    let mut door = Door::new(Timings::default(), desk.transport(), true);
    let mut guest = desk.guest().await;
    guest.say(json!({"type":"pong"})).await;
    guest.say(json!({"type":"welcome","peerId":"own"})).await;
    guest.welcome("own").await;
    door.expect(&[up("own")]).await;
    for text in ["", "not JSON", "[1,2]", "{\"type\":7}", r#"{"type":"direct","from":"a"}"#] {
        guest.say_text(text).await;
    }
    guest.socket.send(Message::binary(vec![1, 2, 3])).await.expect("the uplink listens");
    guest.say(json!({"type":"from_the_future"})).await;
    door.ask(UplinkCommand::Join);
    guest.let_in(&[]).await;
    door.expect(&[UplinkEvent::Joined, snapshot(&[])]).await;
    let counters = door.status(|_| true).await.counters;
    assert_eq!((counters.malformed, counters.unknown), (7, 1));
}

#[tokio::test]
async fn every_close_code_is_explained_and_only_some_are_refusals() {
    for (code, is_refused, word) in [
        (1000, false, "nothing to do"),
        (1001, false, "restarts"),
        (1008, false, "policy"),
        (1009, false, "too big"),
        (1011, false, "does not know"),
        (4001, true, "key"),
        (4002, false, "expired"),
        (4003, true, "channel"),
        (4010, false, "too many sockets"),
        (4011, false, "faster"),
        (4012, true, "suspended"),
        (4020, true, "administrator"),
        (4999, false, "does not know"),
    ] {
        let desk = Desk::open().await;
        let mut door = Door::new(Timings::default(), desk.transport(), true);
        let mut guest = desk.greeted("own").await;
        door.expect(&[up("own")]).await;
        door.ask(UplinkCommand::Join);
        guest.let_in(&[]).await;
        door.expect(&[UplinkEvent::Joined, snapshot(&[])]).await;
        guest.close(code).await;
        if is_refused {
            door.expect(&[UplinkEvent::JoinRefused]).await;
        }
        door.expect(&[UplinkEvent::Down]).await;
        let status = door.status(|status| status.next_retry.is_some()).await;
        let problem = status.problem.expect("a close is explained");
        assert!(problem.contains(word), "{code}: {problem}");
        assert!(problem.contains(&code.to_string()), "{code}: {problem}");
        assert_eq!(matches!(status.state, UplinkState::Refused { .. }), is_refused, "{code}");
        assert_eq!(status.attempts, 1);
    }
}

#[tokio::test]
async fn http_429_in_place_of_the_upgrade_is_explained_and_tried_again() {
    let desk = Desk::open().await;
    let mut door = Door::new(quick(), desk.transport(), true);
    let mut tcp = desk.tcp().await;
    let mut request = [0; 16];
    tcp.read_exact(&mut request).await.expect("the uplink asks");
    tcp.write_all(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")
        .await
        .expect("the uplink listens");
    let status = door.status(|status| status.problem.is_some()).await;
    let problem = status.problem.expect("just seen");
    assert!(problem.contains("too many connections") && problem.contains("429"), "{problem}");
    let _guest = desk.greeted("own").await;
    door.expect(&[up("own")]).await;
    assert_eq!(door.status(|status| status.problem.is_none()).await.state, UplinkState::Connected);
}

#[tokio::test]
async fn a_half_open_socket_is_noticed_and_replaced() {
    let desk = Desk::open().await;
    let pulse = PulseTimes {
        keepalive: Duration::from_millis(50),
        answer: Duration::from_millis(100),
        ..PulseTimes::default()
    };
    let mut door = Door::new(Timings { pulse, ..quick() }, desk.transport(), true);
    // Held, never read: the far end of a broken network looks just like this.
    let _silent = desk.greeted("own-1").await;
    door.expect(&[up("own-1"), UplinkEvent::Down]).await;
    let mut guest = desk.greeted("own-2").await;
    door.expect(&[up("own-2")]).await;
    guest.frame("ping").await;
}

#[tokio::test]
async fn pings_of_the_server_are_answered() {
    let desk = Desk::open().await;
    let _door = Door::new(Timings::default(), desk.transport(), true);
    let mut guest = desk.greeted("own").await;
    guest.socket.send(Message::Ping(vec![7].into())).await.expect("the uplink listens");
    let pong = guest.message().await.expect("an answer");
    assert_eq!(pong, Message::Pong(vec![7].into()));
}

#[tokio::test]
async fn a_reconnect_while_joined_enters_the_channel_again() {
    let desk = Desk::open().await;
    let mut door = Door::new(quick(), desk.transport(), true);
    let mut guest = desk.greeted("own-1").await;
    door.ask(UplinkCommand::Join);
    guest.let_in(&["phone"]).await;
    door.expect(&[up("own-1"), UplinkEvent::Joined, snapshot(&["phone"])]).await;
    drop(guest);
    door.expect(&[UplinkEvent::Down]).await;
    let mut guest = desk.greeted("own-2").await;
    guest.let_in(&["phone", "own-1"]).await;
    door.expect(&[up("own-2"), UplinkEvent::Joined, snapshot(&["phone"])]).await;
}

#[tokio::test]
async fn a_subscribe_without_an_ack_is_repeated() {
    let desk = Desk::open().await;
    let membership =
        MembershipTimes { again: Duration::from_millis(50), ..MembershipTimes::default() };
    let mut door = Door::new(Timings { membership, ..quick() }, desk.transport(), true);
    let mut guest = desk.greeted("own").await;
    door.ask(UplinkCommand::Join);
    let first = guest.frame("subscribe").await;
    let second = guest.frame("subscribe").await;
    assert_ne!(first["requestId"], second["requestId"]);
    guest.say(json!({"type":"ack","requestId":second["requestId"]})).await;
    door.expect(&[up("own"), UplinkEvent::Joined]).await;
}

#[tokio::test]
async fn a_key_without_send_is_reported_in_words_an_owner_can_act_on() {
    let desk = Desk::open().await;
    let mut door = Door::new(Timings::default(), desk.transport(), true);
    let mut guest = desk.greeted("own").await;
    door.ask(UplinkCommand::Join);
    guest.let_in(&["phone"]).await;
    door.expect(&[up("own"), UplinkEvent::Joined, snapshot(&["phone"])]).await;
    door.send_offer("phone");
    let id = guest.frame("send").await["requestId"].clone();
    guest.say(json!({"type":"error","code":"action_not_permitted","requestId":id})).await;
    let undelivered = UplinkEvent::Undelivered { to: "phone".into(), absent: false };
    door.expect(&[undelivered]).await;
    let problem = door.status(|status| status.problem.is_some()).await.problem;
    assert!(problem.is_some_and(|problem| problem.contains("enable 'send' for this key")));
}

#[tokio::test]
async fn a_channel_the_key_does_not_cover_is_refused_once() {
    let desk = Desk::open().await;
    let mut door = Door::new(quick(), desk.transport(), true);
    let mut guest = desk.greeted("own").await;
    door.ask(UplinkCommand::Join);
    let id = guest.frame("subscribe").await["requestId"].clone();
    guest.say(json!({"type":"error","code":"channel_not_authorized","requestId":id})).await;
    door.expect(&[up("own"), UplinkEvent::JoinRefused, UplinkEvent::Down]).await;
    assert_eq!(guest.end().await, Some(1000));
    let refused = |status: &UplinkStatus| matches!(status.state, UplinkState::Refused { .. });
    let status = door.status(refused).await;
    assert!(status.problem.is_some_and(|problem| problem.contains("patterns")));
}

#[tokio::test]
async fn a_frame_over_a_mebibyte_is_not_read() {
    let desk = Desk::open().await;
    let mut door = Door::new(quick(), desk.transport(), true);
    let guest = desk.greeted("own").await;
    door.expect(&[up("own")]).await;
    let huge = Message::text("x".repeat(1_048_577));
    // The uplink need not take it all, so sending it may fail.
    let (code, _) = {
        let (mut write, mut read) = guest.socket.split();
        let reading = async {
            while let Some(Ok(message)) = read.next().await {
                if let Message::Close(Some(frame)) = message {
                    return Some(u16::from(frame.code));
                }
            }
            None
        };
        soon("a close", async { tokio::join!(reading, write.send(huge)) }).await
    };
    assert_eq!(code, Some(1009));
    door.expect(&[UplinkEvent::Down]).await;
}

/// Greets by TLS with a certificate nobody vouches for.
fn untrusted() -> tokio_rustls::TlsAcceptor {
    let made =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("ring speaks TLS")
    .with_no_client_auth()
    .with_single_cert(vec![made.cert.der().clone()], key.expect("a private key"))
    .expect("the key fits the certificate");
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_is_explained() {
    let desk = Desk::open().await;
    let port = desk.listener.local_addr().expect("bound").port();
    let transport = Transport::Url { origin: format!("wss://127.0.0.1:{port}") };
    let door = Door::new(quick(), transport, true);
    let accepted = untrusted().accept(desk.tcp().await);
    assert!(soon("the handshake's end", accepted).await.is_err());
    let problem = door.status(|status| status.problem.is_some()).await.problem;
    let problem = problem.expect("just seen");
    assert!(problem.contains("no secure connection to 127.0.0.1"), "{problem}");
    assert!(problem.contains("CA certificates"), "{problem}");
}

#[tokio::test]
async fn without_arm_the_socket_lives_as_long_as_the_call() {
    let desk = Desk::open().await;
    let mut door = Door::new(quick(), desk.transport(), false);
    let status = door.status(|_| true).await;
    assert_eq!((status.state, status.counters.connects), (UplinkState::Offline, 0));
    for own in ["own-1", "own-2"] {
        door.ask(UplinkCommand::Join);
        let mut guest = desk.greeted(own).await;
        guest.let_in(&[]).await;
        door.expect(&[up(own), UplinkEvent::Joined, snapshot(&[])]).await;
        door.ask(UplinkCommand::Leave);
        guest.ack("unsubscribe").await;
        assert_eq!(guest.end().await, Some(1000));
        door.expect(&[UplinkEvent::Left, UplinkEvent::Down]).await;
    }
    assert_eq!(door.status(|_| true).await.counters.connects, 2);
}

#[tokio::test]
async fn the_pipe_to_our_own_hub_is_the_same_code_path() {
    let (ends, mut served) = mpsc::channel::<DuplexStream>(4);
    let make: PipeMaker = Arc::new(move || {
        let (near, far) = tokio::io::duplex(64 * 1024);
        ends.try_send(far).expect("the hub takes it");
        near
    });
    let mut door = Door::new(quick(), Transport::Pipe(make), true);
    for own in ["-door", "-door"] {
        let far = soon("a pipe", served.recv()).await.expect("the uplink connects");
        let socket = accept_async(far).await.expect("a WebSocket upgrade");
        let mut guest = Guest { socket };
        guest.welcome(own).await;
        door.expect(&[up(own)]).await;
        drop(guest);
        door.expect(&[UplinkEvent::Down]).await;
    }
}

#[tokio::test]
async fn stopping_leaves_the_channel_and_closes() {
    let desk = Desk::open().await;
    let mut door = Door::new(quick(), desk.transport(), true);
    let mut guest = desk.greeted("own").await;
    door.ask(UplinkCommand::Join);
    guest.let_in(&[]).await;
    door.expect(&[up("own"), UplinkEvent::Joined, snapshot(&[])]).await;
    let farewell = async {
        guest.frame("unsubscribe").await;
        guest.end().await
    };
    let (code, ()) = tokio::join!(farewell, door.uplink.stop());
    assert_eq!(code, Some(1000));
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_server_that_is_gone() {
    let desk = Desk::open().await;
    let timings = Timings { close: Duration::from_millis(50), ..quick() };
    let mut door = Door::new(timings, desk.transport(), true);
    let _silent = desk.greeted("own").await;
    door.expect(&[up("own")]).await;
    soon("the stop", door.uplink.stop()).await;
}

#[tokio::test]
async fn dropping_the_handle_stops_the_uplink() {
    let desk = Desk::open().await;
    let mut door = Door::new(quick(), desk.transport(), true);
    let mut guest = desk.greeted("own").await;
    door.expect(&[up("own")]).await;
    drop(door.uplink);
    assert_eq!(guest.end().await, Some(1000));
}

#[tokio::test]
async fn a_service_that_goes_away_is_left_when_the_next_socket_is_greeted() {
    let desk = Desk::open().await;
    let mut door = Door::new(quick(), desk.transport(), true);
    let mut old = desk.greeted("own-1").await;
    door.expect(&[up("own-1")]).await;
    old.say(json!({"type":"going_away","retryAfterMs":1})).await;
    let mut new = desk.guest().await;
    // Nothing was lost so far: the first socket still enters the channel.
    assert_eq!(door.status(|_| true).await.state, UplinkState::Connected);
    new.welcome("own-2").await;
    door.expect(&[UplinkEvent::Down, up("own-2")]).await;
    assert_eq!(old.end().await, Some(1000));
    door.ask(UplinkCommand::Join);
    new.let_in(&["phone", "own-1"]).await;
    door.expect(&[UplinkEvent::Joined, snapshot(&["phone"])]).await;
}

#[tokio::test]
async fn a_press_on_a_dead_socket_is_answered_by_a_second_one() {
    let desk = Desk::open().await;
    let pulse = PulseTimes {
        fresh: Duration::ZERO,
        doubt: Duration::from_millis(50),
        ..PulseTimes::default()
    };
    let mut door = Door::new(Timings { pulse, ..quick() }, desk.transport(), true);
    let mut dead = desk.greeted("own-1").await;
    door.expect(&[up("own-1")]).await;
    door.ask(UplinkCommand::Join);
    let mut guest = desk.greeted("own-2").await;
    guest.let_in(&["phone", "own-1"]).await;
    door.expect(&[UplinkEvent::Down, up("own-2"), UplinkEvent::Joined, snapshot(&["phone"])]).await;
    assert_eq!(dead.end().await, None, "dropped without a word");
}

#[tokio::test]
async fn a_change_of_the_network_asks_for_a_sign_of_life() {
    let desk = Desk::open().await;
    let mut door = Door::new(Timings::default(), desk.transport(), true);
    let mut guest = desk.greeted("own").await;
    door.expect(&[up("own")]).await;
    door.uplink.network_changed();
    guest.frame("ping").await;
}

#[tokio::test]
async fn other_ice_servers_are_known_before_they_are_announced() {
    let desk = Desk::open().await;
    let mut door = Door::new(quick(), desk.transport(), true);
    drop(desk.greeted("own-1").await);
    door.expect(&[up("own-1"), UplinkEvent::Down]).await;
    let mut guest = desk.guest().await;
    let servers = json!({"iceServers":[{"urls":"turn:t.example","username":"u","credential":"c"}]});
    guest
        .say(json!({"type":"welcome","peerId":"own-2","expiresAt":null,"serverTime":1760000000,
            "maxMessageSize":65536,"metadata":servers}))
        .await;
    door.expect(&[up("own-2"), UplinkEvent::ServersChanged]).await;
    let servers = door.uplink.status().borrow().ice_servers.clone();
    assert_eq!(servers[0].urls, ["turn:t.example"]);
}

/// A program that writes `token-1`, `token-2` and so on.
fn counting_source(dir: &tempfile::TempDir) -> Login {
    let count = dir.path().join("count");
    let script = format!("echo x >> {0}; echo token-$(wc -l < {0} | tr -d ' ')", count.display());
    Login::Tokens(TokenSource::Command(["/bin/sh", "-c", &script].map(str::to_owned).to_vec()))
}

#[tokio::test]
async fn tokens_travel_in_the_url_are_kept_while_they_are_good_and_fetched_anew_when_not() {
    let desk = Desk::open().await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let timings = Timings { proven: Duration::ZERO, ..quick() };
    let mut door = Door::with(timings, desk.transport(), counting_source(&dir), true);
    for (address, code) in [
        ("/v1?token=token-1", 1000),
        ("/v1?token=token-1", 4002),
        ("/v1?token=token-2", 4001),
        ("/v1?token=token-3", 1000),
    ] {
        let (mut guest, asked) = desk.guest_and_address().await;
        assert_eq!(asked, address);
        guest.welcome("-door").await;
        door.expect(&[up("-door")]).await;
        guest.close(code).await;
        door.expect(&[UplinkEvent::Down]).await;
    }
}

#[tokio::test]
async fn a_token_about_to_expire_is_replaced_on_a_second_socket() {
    let desk = Desk::open().await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let timings = Timings { shortest_use: Duration::from_millis(200), ..quick() };
    let mut door = Door::with(timings, desk.transport(), counting_source(&dir), true);
    let (mut old, _) = desk.guest_and_address().await;
    // Its term is over already, so the renewal is due at its earliest.
    old.say(
        json!({"type":"welcome","peerId":"-door","expiresAt":1760000000,"serverTime":1760000000,
        "maxMessageSize":65536}),
    )
    .await;
    door.expect(&[up("-door")]).await;
    let (mut new, asked) = soon("the renewal", desk.guest_and_address()).await;
    assert_eq!(asked, "/v1?token=token-2");
    new.welcome("-door").await;
    door.expect(&[UplinkEvent::Down, up("-door")]).await;
    assert_eq!(old.end().await, Some(1000));
}

#[tokio::test]
async fn a_source_that_fails_is_explained_and_asked_again() {
    let desk = Desk::open().await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let good = dir.path().join("good");
    let script = format!(
        "test -e {} || {{ echo eyJ-secret; echo 'no key yet' >&2; exit 1; }}; echo token-1",
        good.display()
    );
    let words = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
    let login = Login::Tokens(TokenSource::Command(words));
    let mut door = Door::with(quick(), desk.transport(), login, true);
    let status = door.status(|status| status.attempts > 1).await;
    let problem = status.problem.expect("a failure is explained");
    assert!(problem.contains("/bin/sh") && problem.contains("no key yet"), "{problem}");
    assert!(!problem.contains("eyJ"), "{problem}");
    std::fs::write(good, "").expect("the file can be written");
    let _guest = desk.greeted("-door").await;
    door.expect(&[up("-door")]).await;
    door.status(|status| status.problem.is_none()).await;
}

/// Answers one HTTP request and returns its head.
async fn answer_http(listener: &TcpListener, answer: &str) -> String {
    let mut tcp = soon("a request", listener.accept()).await.expect("loopback accepts").0;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("the request's head", tcp.read_u8()).await.expect("the request goes on"));
    }
    tcp.write_all(answer.as_bytes()).await.expect("the asker listens");
    String::from_utf8(head).expect("a head is text")
}

#[tokio::test]
async fn an_address_is_asked_for_tokens_with_its_bearer_and_redirects_are_not_followed() {
    let desk = Desk::open().await;
    let backend = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let url = format!("http://{}/door?site=1", backend.local_addr().expect("bound"));
    let bearer = Some(Secret::new("hunter2"));
    let login = Login::Tokens(TokenSource::Url { url, bearer });
    let mut door = Door::with(quick(), desk.transport(), login, true);

    let moved = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let head = answer_http(&backend, moved).await;
    assert!(head.starts_with("POST /door?site=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("authorization: bearer hunter2\r\n"), "{head}");
    let problem = door.status(|status| status.problem.is_some()).await.problem;
    let problem = problem.expect("just seen");
    assert!(problem.contains("302") && problem.contains("redirects"), "{problem}");
    assert!(!problem.contains("hunter2") && !problem.contains("site=1"), "{problem}");

    let huge = format!("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n{}", "x".repeat(20_000));
    answer_http(&backend, &huge).await;
    let is_told = |status: &UplinkStatus| {
        status.problem.as_ref().is_some_and(|problem| problem.contains("longer than"))
    };
    door.status(is_told).await;

    let body = r#"{"token": "eyJ.a.b", "expiresAt": 1760003600}"#;
    let good = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    answer_http(&backend, &good).await;
    let (mut guest, asked) = desk.guest_and_address().await;
    assert_eq!(asked, "/v1?token=eyJ.a.b");
    guest.welcome("-door").await;
    door.expect(&[up("-door")]).await;
    assert!(!format!("{:?}", door.uplink).contains("eyJ"));
}

#[tokio::test]
async fn a_bearer_is_not_sent_to_a_server_nobody_vouches_for() {
    let desk = Desk::open().await;
    let backend = Desk::open().await;
    let port = backend.listener.local_addr().expect("bound").port();
    let url = format!("https://127.0.0.1:{port}/door");
    let login = Login::Tokens(TokenSource::Url { url, bearer: Some(Secret::new("hunter2")) });
    let door = Door::with(quick(), desk.transport(), login, true);
    let accepted = untrusted().accept(backend.tcp().await);
    assert!(soon("the handshake's end", accepted).await.is_err());
    let problem = door.status(|status| status.problem.is_some()).await.problem;
    let problem = problem.expect("just seen");
    assert!(problem.contains("no token from 127.0.0.1"), "{problem}");
    assert!(problem.contains("CA certificates"), "{problem}");
}

/// Collects what is logged on this thread.
#[derive(Clone, Default)]
struct Notebook(Arc<Mutex<Vec<u8>>>);

impl Write for Notebook {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no test panics while writing").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_key_and_the_sdp_reach_no_log() {
    let notebook = Notebook::default();
    let writer = notebook.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // While there is only one subscriber, tracing lets whichever thread comes first decide which lines exist
    // at all, and the threads of other tests have none.
    let _second =
        tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
    let _guard = tracing::subscriber::set_default(subscriber);

    let desk = Desk::open().await;
    let transport = desk.transport();
    let mut door = Door::new(quick(), transport, true);
    let mut guest = desk.greeted("own").await;
    door.ask(UplinkCommand::Join);
    guest.let_in(&["phone"]).await;
    door.expect(&[up("own"), UplinkEvent::Joined, snapshot(&["phone"])]).await;
    let offer = json!({"type":"rtc-description","description":{"type":"offer","sdp":"ice-pwd-1"}});
    guest.say(json!({"type":"direct","from":"phone","data":offer})).await;
    door.event().await;
    guest.close(4001).await;
    door.expect(&[UplinkEvent::JoinRefused, UplinkEvent::Down]).await;
    let problem = door.status(|status| status.problem.is_some()).await.problem;

    // The same with a token, and with what tokens say of the peers.
    let words = ["/bin/echo", "eyJ.token.secret"].map(str::to_owned).to_vec();
    let login = Login::Tokens(TokenSource::Command(words));
    let mut by_token = Door::with(quick(), desk.transport(), login, true);
    let mut guest = desk.guest().await;
    guest
        .say(
            json!({"type":"welcome","peerId":"-door","expiresAt":1760003600,"serverTime":1760000000,
            "maxMessageSize":65536,"metadata":{"note":"private-1"}}),
        )
        .await;
    by_token.ask(UplinkCommand::Join);
    guest.ack("subscribe").await;
    let ann = json!({"peerId":"phone","metadata":{"name":"private-2"}});
    guest.say(json!({"type":"presence","channel":"front-door","joined":[ann],"left":[]})).await;
    by_token.expect(&[up("-door"), UplinkEvent::Joined, snapshot(&["phone"])]).await;
    let status = by_token.status(|status| !status.peer_metadata.is_empty()).await;
    assert_eq!(status.peer_metadata["phone"], json!({"name":"private-2"}));
    guest.close(4001).await;
    by_token.expect(&[UplinkEvent::Down]).await;

    // Nobody listens any more: the refused attempt is logged too.
    drop(desk);
    let unreachable = Transport::Url { origin: "ws://127.0.0.1:1".into() };
    let alone = Door::new(quick(), unreachable, true);
    alone.status(|status| status.attempts > 1).await;

    let logged = notebook.0.lock().expect("no test panics while writing").clone();
    let logged = String::from_utf8(logged).expect("the log is text");
    assert!(logged.contains("does not know this key"), "the advice is logged");
    assert!(logged.contains("cannot reach 127.0.0.1:1"), "{logged}");
    for secret in ["pk_live", "secret", "ice-pwd-1", "eyJ", "private"] {
        assert!(!logged.contains(secret), "{secret} is in the log");
        assert!(!format!("{problem:?}{door:?}", door = door.uplink).contains(secret));
    }
}
