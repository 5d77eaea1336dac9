//! The LAN hub against callers that mean harm: too many, too slow, too long, too fast, in the wrong language.
//!
//! Loopback has many addresses (127.0.0.1, 127.0.0.2, …), so a test can be several devices.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use intercomd::signalling::lan::{self, Lan, Options};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// For anything that must happen at all; no test waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(60);
/// Places before the hub, of all and of one address.
const STRANGERS: usize = 64;
const OF_ONE_ADDRESS: usize = 32;

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("still waiting for {what}"),
    }
}

struct House {
    lan: Lan,
    port: u16,
    _dir: tempfile::TempDir,
}

impl House {
    /// The page by HTTP on loopback, or by HTTPS on every address.
    async fn open(secure: bool) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let web_dir = dir.path().join("web");
        std::fs::create_dir(&web_dir).expect("the page's folder");
        std::fs::write(web_dir.join("index.html"), "<p>the door").expect("the page");
        std::fs::write(dir.path().join("secret"), "not for pages").expect("a file beside it");
        let options = Options {
            // Other addresses of loopback reach it, too, when it listens on all.
            listen: if secure { "0.0.0.0:0" } else { "127.0.0.1:0" }.parse().expect("an address"),
            web_dir,
            tls: None,
            door_peer_id: "-door".to_owned(),
        };
        let lan = lan::start(options, "door", dir.path()).await.expect("the hub starts");
        Self { port: lan.local_addr().port(), lan, _dir: dir }
    }

    /// A connection from the device with this number.
    async fn from(&self, device: u8) -> TcpStream {
        soon("a connection", connect(self.port, device)).await.expect("the kernel takes it")
    }

    async fn door(&self) -> Member<DuplexStream> {
        Member::join(self.lan.connect_door(), self.lan.key()).await
    }

    async fn guest(&self, device: u8) -> Member<TcpStream> {
        Member::join(self.from(device).await, self.lan.key()).await
    }
}

async fn connect(port: u16, device: u8) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, device], 0)))?;
    socket.connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into()).await
}

/// All that comes until the other end closes; a reset is an end like another.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let _ = soon("the end of a stream", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> String {
    // It may close before it has read everything.
    let _ = stream.write_all(request).await;
    rest(&mut stream).await
}

async fn page(stream: TcpStream) -> String {
    ask(stream, b"GET / HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n").await
}

fn is_page(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("<p>the door")
}

struct Member<S> {
    socket: WebSocketStream<S>,
    id: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Member<S> {
    async fn join(stream: S, key: &str) -> Self {
        let url = format!("ws://door/v1?key={key}");
        let (socket, _) =
            soon("an upgrade", client_async(url, stream)).await.expect("the upgrade is accepted");
        let mut member = Self { socket, id: String::new() };
        let welcome = member.next().await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        member.id = welcome["peerId"].as_str().expect("an id").to_owned();
        member
    }

    async fn message(&mut self) -> Option<Message> {
        loop {
            match soon("a message", self.socket.next()).await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return Some(message),
                Some(Err(_)) | None => return None,
            }
        }
    }

    async fn next(&mut self) -> Value {
        match self.message().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("a text frame was expected, not {other:?}"),
        }
    }

    async fn close_code(&mut self) -> u16 {
        loop {
            match self.message().await {
                Some(Message::Close(Some(close))) => return close.code.into(),
                Some(_) => {}
                None => panic!("the socket ended without a close"),
            }
        }
    }

    async fn say(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.expect("sent");
    }
}

/// One message there and one back.
async fn exchange(
    door: &mut Member<DuplexStream>,
    guest: &mut Member<impl AsyncRead + AsyncWrite + Unpin>,
    number: usize,
) {
    guest.say(json!({"type": "send", "to": "-door", "data": number})).await;
    let heard = door.next().await;
    assert_eq!(heard, json!({"type": "direct", "from": guest.id, "data": number}));
    door.say(json!({"type": "send", "to": guest.id, "data": number})).await;
    let heard = guest.next().await;
    assert_eq!(heard, json!({"type": "direct", "from": "-door", "data": number}));
}

#[tokio::test]
async fn one_device_cannot_take_all_places_before_the_hub() {
    let house = House::open(false).await;
    let mut idle = Vec::new();
    for _ in 0..OF_ONE_ADDRESS {
        idle.push(house.from(1).await);
    }
    assert_eq!(rest(&mut house.from(1).await).await, "", "one more is cut off at once");
    assert!(is_page(&page(house.from(2).await).await), "another device is served");
    // A place is free again as soon as its caller is gone.
    drop(idle.pop());
    soon("the place to be free", async { while !is_page(&page(house.from(1).await).await) {} })
        .await;
}

#[tokio::test]
async fn when_all_places_are_taken_the_next_caller_waits_and_is_served_then() {
    let house = House::open(false).await;
    let mut idle = Vec::new();
    for device in 1..=4 {
        for _ in 0..STRANGERS / 4 {
            idle.push(house.from(device).await);
        }
    }
    let waiting = house.from(5).await;
    let served = tokio::spawn(page(waiting));
    // Those of one device go; that is what the caller waits for.
    idle.truncate(STRANGERS - OF_ONE_ADDRESS);
    assert!(is_page(&soon("the page", served).await.expect("no panic")));
    drop(idle);
}

#[tokio::test]
async fn a_head_that_trickles_in_is_cut_off_and_holds_nobody_up_meanwhile() {
    let house = House::open(false).await;
    let mut slow = Vec::new();
    for _ in 0..OF_ONE_ADDRESS {
        slow.push(tokio::spawn(trickle(house.from(1).await)));
    }
    for _ in 0..20 {
        assert!(is_page(&page(house.from(2).await).await));
    }
    for one in slow {
        let answer = soon("a slow caller to be cut off", one).await.expect("no panic");
        assert!(!answer.contains("200 OK"), "{answer}");
    }
}

/// Sends a head letter by letter until the other end has had enough.
async fn trickle(stream: TcpStream) -> String {
    let (mut reader, mut writer) = stream.into_split();
    let mut answer = Vec::new();
    let _ = writer.write_all(b"GET / HTTP/1.1\r\nHost: door\r\nX-Slow: ").await;
    let mut pace = interval(Duration::from_millis(50));
    let mut read = [0; 1024];
    loop {
        tokio::select! {
            got = reader.read(&mut read) => match got {
                Ok(0) | Err(_) => return String::from_utf8_lossy(&answer).into_owned(),
                Ok(length) => answer.extend_from_slice(&read[..length]),
            },
            _ = pace.tick() => if writer.write_all(b"a").await.is_err() {
                return String::from_utf8_lossy(&answer).into_owned();
            },
        }
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused_long_before_it_is_read() {
    let house = House::open(false).await;
    let mut request = b"GET / HTTP/1.1\r\nHost: door\r\nX-Long: ".to_vec();
    request.resize(8 * 1024 * 1024, b'a');
    let answer = ask(house.from(1).await, &request).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    let many: String = (0..5_000).map(|number| format!("X-{number}: y\r\n")).collect();
    let request = format!("GET / HTTP/1.1\r\nHost: door\r\n{many}\r\n");
    let answer = ask(house.from(1).await, request.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(is_page(&page(house.from(1).await).await));
}

#[tokio::test]
async fn a_body_that_nobody_asked_for_is_not_kept() {
    let house = House::open(false).await;
    let mut request =
        b"POST / HTTP/1.1\r\nHost: door\r\nContent-Length: 99999999999\r\n\r\n".to_vec();
    request.resize(4 * 1024 * 1024, b'a');
    let answer = ask(house.from(1).await, &request).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(is_page(&page(house.from(1).await).await));
}

#[tokio::test]
async fn what_is_no_tls_is_cut_off_and_the_page_still_answers() {
    let house = House::open(true).await;
    let hello = |version: u8, length: usize| {
        let mut bytes = vec![0x16, 3, version, (length >> 8) as u8, length as u8];
        bytes.extend([1, 0, 0, (length.saturating_sub(4)) as u8]);
        bytes.resize(5 + length, 0xAA);
        bytes
    };
    for garbage in [
        vec![0x16],
        vec![0x16, 3, 1, 0xFF, 0xFF, 1, 2, 3],
        hello(0, 64),
        hello(1, 40),
        hello(3, 200),
        vec![0x16; 70_000],
        b"\x16\x03\x01\x00\x00".to_vec(),
    ] {
        let mut stream = house.from(1).await;
        let _ = stream.write_all(&garbage).await;
        // Says that there is no more to come, as the hub would wait for the rest.
        let _ = stream.shutdown().await;
        let answer = rest(&mut stream).await;
        assert!(!answer.contains("the door"), "{answer}");
    }
    let answer = page(house.from(1).await).await;
    assert!(answer.starts_with("HTTP/1.1 307 "), "{answer}");
    let mut door = house.door().await;
    door.say(json!({"type": "ping"})).await;
    assert_eq!(door.next().await, json!({"type": "pong"}));
}

#[tokio::test]
async fn no_path_leads_out_of_the_folder_of_the_page() {
    let house = House::open(false).await;
    for path in [
        "/../secret",
        "/./../secret",
        "/%2e%2e/secret",
        "/%2E%2E%2Fsecret",
        "/..%2fsecret",
        "/..%5csecret",
        "/..\\secret",
        "/%252e%252e/secret",
        "/....//secret",
        "//secret",
        "//../secret",
        "/x/../../secret",
        "/%00/../secret",
        "/index.html%00.js",
        "/index.html/../../secret",
        "/%c0%ae%c0%ae/secret",
        "/..;/secret",
        "http://door/../secret",
        "/hub-key",
        "/../hub.key",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n");
        let answer = ask(house.from(1).await, request.as_bytes()).await;
        assert!(!answer.contains("not for pages"), "{path}: {answer}");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_foreign_page_without_the_key_hears_nothing() {
    let house = House::open(false).await;
    let mut request =
        tungstenite::client::IntoClientRequest::into_client_request("ws://door/v1?key=guess")
            .expect("a request");
    request.headers_mut().insert("Origin", "https://evil.example".parse().expect("a header"));
    let (socket, _) = client_async(request, house.from(1).await).await.expect("upgraded");
    let mut stranger = Member { socket, id: String::new() };
    assert_eq!(stranger.close_code().await, 4001);
}

#[tokio::test]
async fn a_member_that_sends_too_long_or_too_fast_is_closed_and_the_others_talk_on() {
    let house = House::open(false).await;
    let (mut door, mut guest) = (house.door().await, house.guest(1).await);
    let mut long = house.guest(2).await;
    let _ = long.socket.send(Message::text("x".repeat(70_000))).await;
    assert_eq!(long.close_code().await, 1009);
    let mut fast = house.guest(2).await;
    for _ in 0..400 {
        let _ = fast.socket.send(Message::text("{}")).await;
    }
    assert_eq!(fast.close_code().await, 4011);
    // Pings are not for the hub, but each is answered.
    let mut pings = house.guest(2).await;
    for _ in 0..400 {
        let _ = pings.socket.send(Message::Ping(bytes::Bytes::new())).await;
    }
    assert_eq!(pings.close_code().await, 4011);
    exchange(&mut door, &mut guest, 1).await;
}

#[tokio::test]
async fn the_sixty_first_connect_in_a_minute_is_refused_and_those_inside_talk_on() {
    let house = House::open(false).await;
    let (mut door, mut guest) = (house.door().await, house.guest(1).await);
    let url = format!("ws://door/v1?key={}", house.lan.key());
    for _ in 0..59 {
        let (socket, _) = client_async(&url, house.from(1).await).await.expect("upgraded");
        let mut member = Member { socket, id: String::new() };
        assert_eq!(member.next().await["type"], "welcome");
        let _ = member.socket.close(None).await;
    }
    let refused = client_async(&url, house.from(1).await).await.expect_err("too many");
    let tungstenite::Error::Http(answer) = refused else { panic!("{refused}") };
    assert_eq!(answer.status(), 429);
    exchange(&mut door, &mut guest, 1).await;
    exchange(&mut door, &mut house.guest(2).await, 2).await;
}

/// What the flood below has done.
#[derive(Default)]
struct Flood {
    over: AtomicBool,
    tried: AtomicUsize,
    opened: AtomicUsize,
}

/// 5,000 connects at 1,000 a second, a third of them idle, a third half a request, a third a whole one.
async fn flood(port: u16, told: Arc<Flood>) {
    let mut pace = interval(Duration::from_millis(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut open = std::collections::VecDeque::new();
    for number in 0..5_000 {
        pace.tick().await;
        told.tried.fetch_add(1, Ordering::Relaxed);
        // The kernel's queue may be full for a moment, and a flood does not wait for it.
        let Ok(Ok(mut stream)) = timeout(Duration::from_millis(20), connect(port, 9)).await else {
            continue;
        };
        told.opened.fetch_add(1, Ordering::Relaxed);
        let words: &[u8] = match number % 3 {
            0 => b"",
            1 => b"GET / HT",
            _ => b"GET /v1?key=guess HTTP/1.1\r\nHost: door\r\n\r\n",
        };
        let _ = stream.try_write(words);
        let _ = stream.flush().await;
        open.push_back(stream);
        if open.len() > 500 {
            open.pop_front();
        }
    }
    told.over.store(true, Ordering::Release);
}

#[expect(clippy::print_stdout, reason = "the figures of docs/security.md")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_a_thousand_connects_a_second_holds_up_no_message_of_those_inside() {
    let house = House::open(false).await;
    let (mut door, mut guest) = (house.door().await, house.guest(1).await);
    let told = Arc::new(Flood::default());
    let flooding = tokio::spawn(flood(house.port, Arc::clone(&told)));
    let (mut talked, mut pages) = (0, 0);
    // As fast as a guest may for long, so that the hub has no reason of its own to close it.
    let mut pace = interval(Duration::from_millis(20));
    while !told.over.load(Ordering::Acquire) {
        pace.tick().await;
        talked += 1;
        exchange(&mut door, &mut guest, talked).await;
        // A phone that comes home in the middle of it.
        if talked % 25 == 0 {
            assert!(is_page(&page(house.from(2).await).await));
            pages += 1;
        }
    }
    soon("the flood to end", flooding).await.expect("no panic");
    let (tried, opened) = (told.tried.load(Ordering::Relaxed), told.opened.load(Ordering::Relaxed));
    println!(
        "{tried} connects tried, {opened} opened; {talked} messages there and back, {pages} pages"
    );
    assert!(opened * 2 > tried, "it was a flood: {opened} of {tried}");
    assert!(talked > 50 && pages > 1, "{talked} messages, {pages} pages");
    exchange(&mut door, &mut house.guest(3).await, 0).await;
}
