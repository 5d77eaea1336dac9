//! The self-test's questions to the world: a scripted service, and STUN and TURN of a real server (coturn).

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use intercomd::config::verdict::{Grade, Verdict};
use intercomd::rtc::{IceServer, trial as servers};
use intercomd::signalling::trial as service;
use intercomd::signalling::uplink::{Key, Login, TokenSource};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::turn::Coturn;

const KEY: &str = "pk_live_test";

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), future).await {
        Ok(done) => done,
        Err(_) => panic!("still waiting for {what}"),
    }
}

/// What the service grants.
#[derive(Clone, Copy)]
struct Rights {
    subscribe: bool,
    presence: bool,
    send: bool,
    clock_behind_s: i64,
}

const ALL: Rights = Rights { subscribe: true, presence: true, send: true, clock_behind_s: 0 };

struct Service {
    origin: String,
    task: JoinHandle<Vec<Value>>,
}

impl Service {
    /// Serves one member; gives what it heard.
    async fn open(rights: Rights) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
        let origin = format!("ws://{}", listener.local_addr().expect("bound"));
        let task = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("somebody comes");
            let mut socket = accept_async(stream).await.expect("a WebSocket upgrade");
            serve(&mut socket, rights).await
        });
        Self { origin, task }
    }

    /// What the self-test says of it, and what it heard from the self-test.
    async fn tried(self) -> (service::Tried, Vec<Value>) {
        let login = Login::Key(Key::new(KEY));
        let tried = soon("the trial", service::service(&self.origin, &login, "front-door")).await;
        (tried, soon("the service", self.task).await.expect("no panic"))
    }
}

async fn serve(socket: &mut WebSocketStream<TcpStream>, rights: Rights) -> Vec<Value> {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    let now = i64::try_from(now).expect("before the end of time") - rights.clock_behind_s;
    let mut say = Vec::new();
    say.push(json!({"type": "welcome", "peerId": "p-1", "expiresAt": null, "serverTime": now,
        "maxMessageSize": 65536, "metadata": {"iceServers": [{"urls": "stun:192.0.2.1:3478"}]}}));
    let mut heard = Vec::new();
    loop {
        for frame in say.drain(..) {
            socket.send(Message::text(frame.to_string())).await.expect("sent");
        }
        let Some(Ok(message)) = socket.next().await else { return heard };
        let Message::Text(text) = message else { continue };
        let frame: Value = serde_json::from_str(&text).expect("JSON");
        let id = frame["requestId"].clone();
        let ack = json!({"type": "ack", "requestId": id});
        let refused = |words: &str| json!({"type": "error", "requestId": id, "code": "action_not_permitted", "message": words});
        match frame["type"].as_str() {
            Some("subscribe") if !rights.subscribe => say.push(refused("subscribe")),
            Some("subscribe") => {
                say.push(ack);
                if rights.presence {
                    say.push(json!({"type": "presence", "channel": "front-door", "joined": [], "left": []}));
                }
            }
            Some("send") if !rights.send => say.push(refused("send")),
            Some("send") => say.push(ack),
            _ => {}
        }
        heard.push(frame);
    }
}

fn bad(verdicts: &[Verdict]) -> Vec<&Verdict> {
    verdicts.iter().filter(|verdict| verdict.grade != Grade::Good).collect()
}

fn says(verdicts: &[Verdict], words: &str) -> bool {
    verdicts.iter().any(|verdict| verdict.words.contains(words))
}

#[tokio::test]
async fn a_service_that_grants_all_is_good_step_by_step_and_nobody_is_rung() {
    let (tried, heard) = Service::open(ALL).await.tried().await;
    assert!(bad(&tried.verdicts).is_empty(), "{:?}", tried.verdicts);
    for words in ["is reached", "knows the key", "clock agrees", "subscribe", "presence", "send"] {
        assert!(says(&tried.verdicts, words), "{words}: {:?}", tried.verdicts);
    }
    assert_eq!(tried.servers.len(), 1);
    let kinds: Vec<_> = heard.iter().map(|frame| frame["type"].as_str().expect("text")).collect();
    assert_eq!(kinds, ["subscribe", "send", "unsubscribe"]);
    assert_eq!(heard[1]["to"], "p-1", "to itself");
}

#[tokio::test]
async fn each_right_that_is_missing_is_named_with_what_to_do() {
    for (rights, word) in [
        (Rights { subscribe: false, ..ALL }, "subscribe"),
        (Rights { presence: false, ..ALL }, "presence"),
        (Rights { send: false, ..ALL }, "send"),
    ] {
        let (tried, _) = Service::open(rights).await.tried().await;
        let bad = bad(&tried.verdicts);
        assert_eq!(bad.len(), 1, "{word}: {:?}", tried.verdicts);
        assert_eq!(bad[0].grade, Grade::Bad);
        assert!(bad[0].words.contains(word) && bad[0].remedy.contains("enable"), "{:?}", bad[0]);
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_told() {
    let (tried, _) = Service::open(Rights { clock_behind_s: 3600, ..ALL }).await.tried().await;
    let told: Vec<Verdict> = bad(&tried.verdicts).into_iter().cloned().collect();
    assert!(says(&told, "s ahead of the service") && told.len() == 1, "{told:?}");
}

#[tokio::test]
async fn an_unknown_key_a_dead_port_and_a_name_that_is_none_are_told_apart_without_the_key() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let origin = format!("ws://{}", listener.local_addr().expect("bound"));
    let closing = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("somebody comes");
        let mut socket = accept_async(stream).await.expect("a WebSocket upgrade");
        let close = CloseFrame { code: 4001.into(), reason: "".into() };
        let _ = socket.close(Some(close)).await;
        while let Some(Ok(_)) = socket.next().await {}
    });
    let login = Login::Key(Key::new(KEY));
    let tried = soon("the trial", service::service(&origin, &login, "c")).await;
    soon("the service", closing).await.expect("no panic");
    let unknown = tried.verdicts.last().expect("a verdict");
    assert!(unknown.words.contains("4001") && unknown.remedy.contains("copy"), "{unknown:?}");

    let tried = soon("the trial", service::service(&origin, &login, "c")).await;
    let dead = tried.verdicts.last().expect("a verdict");
    assert!(dead.grade == Grade::Bad && dead.words.contains("cannot reach"), "{dead:?}");

    let nowhere = "wss://door.invalid";
    let tried = soon("the trial", service::service(nowhere, &login, "c")).await;
    assert_eq!(tried.verdicts.len(), 1);
    assert!(tried.verdicts[0].words.contains("door.invalid is not found"), "{tried:?}");
    assert!(!format!("{tried:?} {unknown:?} {dead:?}").contains(KEY));
}

#[tokio::test]
async fn a_source_of_tokens_that_gives_none_is_told() {
    let login = Login::Tokens(TokenSource::Command(vec!["/nonexistent/token".to_owned()]));
    let tried = soon("the trial", service::service("ws://127.0.0.1:9", &login, "c")).await;
    let last = tried.verdicts.last().expect("a verdict");
    assert!(last.grade == Grade::Bad && last.words.contains("no token from"), "{last:?}");
}

#[tokio::test]
async fn stun_and_each_way_to_turn_are_tried_by_a_real_answer_and_a_real_allocation() {
    let mut coturn = Coturn::start().await;
    let mut all: Vec<IceServer> =
        ["udp", "tcp", "tls"].map(|way| coturn.server(way, "alice", "wonder")).into();
    all.push(IceServer {
        urls: vec![format!("stun:127.0.0.1:{}", coturn.plain)],
        username: String::new(),
        credential: String::new(),
    });
    let roots = vec![coturn.certificate.clone()];
    let verdicts = soon("the trial", servers::servers(&all, &roots)).await;
    assert_eq!(verdicts.len(), 4);
    assert!(bad(&verdicts).is_empty(), "{verdicts:?}");
    for words in ["TURN over UDP", "TURN over TCP", "TURN over TLS", "sees us as 127.0.0.1:"] {
        assert!(says(&verdicts, words), "{words}: {verdicts:?}");
    }
    coturn.stop().await;
}

#[tokio::test]
async fn a_wrong_password_and_a_certificate_nobody_trusts_are_bad_and_no_password_is_told() {
    let mut coturn = Coturn::start().await;
    let wrong = coturn.server("tcp", "alice", "looking-glass");
    let untrusted = coturn.server("tls", "alice", "wonder");
    let verdicts = soon("the trial", servers::servers(&[wrong, untrusted], &[])).await;
    assert!(verdicts.iter().all(|verdict| verdict.grade == Grade::Bad), "{verdicts:?}");
    assert!(verdicts.iter().all(|verdict| !verdict.remedy.is_empty()));
    let told = format!("{verdicts:?}");
    assert!(!told.contains("wonder") && !told.contains("looking-glass"), "{told}");
    coturn.stop().await;
}

#[tokio::test]
async fn a_stun_server_that_is_silent_an_account_without_password_and_a_wrong_address_are_told() {
    // Holds the port and never answers.
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has ports");
    let port = silent.local_addr().expect("bound").port();
    let server = |url: String| IceServer {
        urls: vec![url],
        username: String::new(),
        credential: String::new(),
    };
    let all = [
        server(format!("stun:127.0.0.1:{port}")),
        server("turn:127.0.0.1:9".to_owned()),
        server("stuns:127.0.0.1:9".to_owned()),
    ];
    let verdicts = soon("the trial", servers::servers(&all, &[])).await;
    assert_eq!((verdicts[0].grade, verdicts[1].grade), (Grade::Bad, Grade::Fair));
    assert!(verdicts[0].words.contains("no answer"), "{verdicts:?}");
    assert!(verdicts[1].words.contains("no user name or password"), "{verdicts:?}");
    assert!(verdicts[2].words.contains("does not speak"), "{verdicts:?}");
    let none = soon("the trial", servers::servers(&[], &[])).await;
    assert_eq!(none[0].grade, Grade::Fair);
}
