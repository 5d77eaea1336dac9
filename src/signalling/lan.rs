//! The LAN hub's shell: the answer page over HTTP or HTTPS, the WebSocket at `/v1`, and the
//! in-memory pipe by which this daemon is a member of its own hub.
//!
//! One code path for every byte stream: TCP, TLS and pipe meet in `Doorway::receive`. Frames are
//! routed by `hub.rs` and carried by `seat.rs`; nothing here reads them.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

use super::address::{page_address, reachable};
use super::cert::{self, Unwritable};
use super::doorstep::{Doorstep, Place};
use super::hub::{Hub, Identity, MemberId};
use super::knocks::Knocks;
use super::page::{Gate, Handover, redirect_router, router};
use super::papers::Papers;
use super::seat::{self, Timings, ToHub, Visit, Visitor};
use super::wrong_keys::WrongKeys;

/// For the TLS handshake.
const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
/// For the head of a request, and so for a browser that keeps a connection for a next one: it has a place meanwhile.
const REQUEST_HEAD: Duration = Duration::from_secs(5);
/// Bytes of a request's head. A browser's has one or two thousand.
const LONGEST_HEAD: usize = 32 * 1024;
/// For all of a caller's HTTP up to the upgrade. Browsers reconnect by themselves for what comes
/// after.
const VISIT: Duration = Duration::from_secs(60);
/// For the WebSocket to arrive after its HTTP is done.
const UPGRADE: Duration = Duration::from_secs(5);
/// For all callers to go after `stop`, and a little more for the tasks above them.
const STOPPING: Duration = Duration::from_secs(2);
const STOPPED: Duration = Duration::from_millis(2_500);
/// Between two tries when the system gives no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// Between two looks at whose wrong keys were only counted.
const COUNTS: Duration = Duration::from_secs(30);
/// Bytes the pipe of the door holds in each direction; then the writer waits.
const PIPE: usize = 262_144;
/// Door pipes that wait to be served. When full, the newest is dropped: its uplink sees the end
/// of the stream and tries again.
const DOORS: usize = 4;
/// First byte of a TLS handshake (RFC 8446 section 5.1).
const TLS_FIRST_BYTE: u8 = 0x16;

/// An owner's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file with the certificate and its chain.
    pub cert: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
}

/// What the LAN hub needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where to listen. Port 0: any free one. A loopback address: HTTP, else HTTPS.
    pub listen: SocketAddr,
    /// The folder with `index.html`.
    pub web_dir: PathBuf,
    /// The owner's certificate; without one the hub makes its own.
    pub tls: Option<TlsFiles>,
    /// The door's id at this hub: 1 to 128 printable ASCII characters. One that sorts before
    /// every UUID makes the door the polite side towards every page (protocol.md section 5.2).
    pub door_peer_id: String,
}

/// Why the LAN hub cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LanError {
    /// A file in the state directory.
    #[error(
        "cannot {action} {path}: {source}; the state directory must be writable for the daemon's user"
    )]
    State {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The system gives no random numbers.
    #[error("cannot make the hub key: {source}; the system gives no random numbers")]
    Random {
        /// The system's answer.
        source: getrandom::Error,
    },
    /// A certificate that cannot be used.
    #[error(
        "certificate {path}: {problem}; give a PEM certificate and its private key, or none to have one made"
    )]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The own certificate could not be made.
    #[error("cannot make a certificate for the LAN page: {problem}; give one in the configuration")]
    MakeCertificate {
        /// What went wrong.
        problem: String,
    },
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; choose another address or port for the LAN page"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
}

/// A running LAN hub. Dropping it ends it at once, [`Lan::stop`] with a word to the members.
pub struct Lan {
    address: String,
    local_addr: SocketAddr,
    key: String,
    doors: mpsc::Sender<(DuplexStream, Identity)>,
    stop: watch::Sender<bool>,
    /// The routing task and the doorway; the doorway owns one task per caller.
    tasks: JoinSet<()>,
}

impl fmt::Debug for Lan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lan").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

/// Starts the LAN hub of the door whose channel is `channel`; keys and certificate live in
/// `state_dir`.
///
/// # Errors
/// When the state directory, the certificate or the address cannot be used.
pub async fn start(options: Options, channel: &str, state_dir: &Path) -> Result<Lan, LanError> {
    let secure = !options.listen.ip().is_loopback();
    start_with(options, channel, state_dir, secure, Timings::default()).await
}

async fn start_with(
    options: Options,
    channel: &str,
    state_dir: &Path,
    secure: bool,
    timings: Timings,
) -> Result<Lan, LanError> {
    let listen = options.listen;
    let refused = |source| LanError::Listen { address: listen, source };
    let key = {
        let state_dir = state_dir.to_owned();
        let key = tokio::task::spawn_blocking(move || cert::hub_key(&state_dir));
        key.await.map_err(|error| LanError::MakeCertificate { problem: error.to_string() })??
    };
    let papers = Papers { files: options.tls.clone(), state_dir: state_dir.to_owned() };
    let papers = secure.then_some(papers);
    let tls = match papers.clone() {
        Some(papers) => Some(TlsAcceptor::from(papers.read(Unwritable::Hold).await?)),
        None => None,
    };
    if !options.web_dir.join("index.html").is_file() {
        tracing::warn!(web_dir = %options.web_dir.display(), "no index.html there: pages get 404; build web/ or correct the path");
    }

    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let local_addr = listener.local_addr().map_err(refused)?;
    let (stop, stopped) = watch::channel(false);
    let (doors, pipes) = mpsc::channel(DOORS);
    let (to_hub, inbox) = mpsc::channel(seat::INBOX);
    let doorway = Doorway {
        router: router(&options.web_dir),
        tls,
        hub: to_hub,
        stopped: stopped.clone(),
        doorstep: Doorstep::default(),
        began: Instant::now(),
        knocks: Arc::default(),
        wrong_keys: Arc::default(),
        numbers: Arc::new(AtomicU64::new(0)),
        timings,
    };
    let hub = Hub::new(key.clone(), options.door_peer_id);
    let mut tasks = JoinSet::new();
    tasks.spawn(seat::route(hub, inbox, stopped));
    tasks.spawn(doorway.keep(listener, pipes, papers));
    let address = page_address(secure, reachable(local_addr), channel, &key);
    tracing::info!(listen = %local_addr, secure, "the LAN page is up");
    Ok(Lan { address, local_addr, key, doors, stop, tasks })
}

impl Lan {
    /// The page's full address for a person, with channel and key behind the `#`. A secret: not
    /// for the log.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The key members give as `?key=`. A secret.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A pipe into the hub, for this daemon. Make a WebSocket handshake for `/v1?key=` over it; the
    /// hub then knows the member by the door's id. A newer pipe replaces an older one.
    pub fn connect_door(&self) -> DuplexStream {
        self.connect(Identity::Door)
    }

    /// The same for where those who look in meet the door.
    pub fn connect_looks(&self) -> DuplexStream {
        self.connect(Identity::Looks)
    }

    fn connect(&self, identity: Identity) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        if self.doors.try_send((theirs, identity)).is_err() {
            tracing::debug!("the hub takes no further door pipe now");
        }
        ours
    }

    /// Tells every member that the hub goes away, closes everything and waits for it, 2.5 s at most.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(STOPPED, ended).await.is_err() {
            tracing::warn!("the LAN hub did not end in time and is cut off");
        }
    }
}

/// What every caller's task needs.
#[derive(Clone)]
struct Doorway {
    router: Router,
    tls: Option<TlsAcceptor>,
    hub: mpsc::Sender<ToHub>,
    stopped: watch::Receiver<bool>,
    doorstep: Doorstep,
    /// The moment its times are counted from.
    began: Instant,
    knocks: Arc<Mutex<Knocks>>,
    wrong_keys: Arc<Mutex<WrongKeys>>,
    numbers: Arc<AtomicU64>,
    timings: Timings,
}

impl Doorway {
    /// Accepts callers until `stopped`; owns their tasks.
    async fn keep(
        mut self,
        listener: TcpListener,
        mut pipes: mpsc::Receiver<(DuplexStream, Identity)>,
        papers: Option<Papers>,
    ) {
        let mut callers = JoinSet::new();
        let mut looks = interval_at(Instant::now() + self.timings.papers, self.timings.papers);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = JoinSet::new();
        let mut counts = interval_at(Instant::now() + COUNTS, COUNTS);
        counts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopped = self.stopped.clone();
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => break,
                Some(_) = callers.join_next() => {}
                _ = looks.tick(), if look.is_empty() => {
                    look.extend(papers.clone().map(|papers| papers.read(Unwritable::Refuse)));
                }
                _ = counts.tick() => self.tell_counts(),
                Some(found) = look.join_next() => {
                    let broke_off = |error: JoinError| LanError::MakeCertificate { problem: error.to_string() };
                    self.renew(found.unwrap_or_else(|error| Err(broke_off(error))));
                }
                Some((pipe, identity)) = pipes.recv() => {
                    let doorway = self.clone();
                    let door = self.visitor(identity, "door", None);
                    callers.spawn(async move { doorway.receive(pipe, door, None).await });
                }
                (socket, from, place) = self.accept(&listener) => {
                    callers.spawn(self.clone().welcome(socket, from, place));
                }
            }
        }
        drop((listener, pipes));
        let gone = async { while callers.join_next().await.is_some() {} };
        if timeout(STOPPING, gone).await.is_err() {
            tracing::debug!("some callers did not go in time and are cut off");
        }
    }

    /// The next callers are shown what was found. With nothing good the page keeps what it has.
    fn renew(&mut self, found: Result<Arc<ServerConfig>, LanError>) {
        match found {
            Ok(config) => self.tls = Some(TlsAcceptor::from(config)),
            Err(why) => {
                tracing::warn!(%why, "the LAN page keeps the certificate it has; it is looked at again tomorrow");
            }
        }
    }

    /// The first wrong key of an address in a minute is told.
    fn wrong_key(&self, who: &str, reason: &str) {
        let now = self.began.elapsed();
        // Nothing can panic while it is locked; if it does, everything is told.
        let tell = self.wrong_keys.lock().map_or(true, |mut keys| keys.note(now, who));
        if tell {
            tracing::warn!(who, reason, "a page without the right key was turned away");
        }
    }

    fn tell_counts(&self) {
        let now = self.began.elapsed();
        let counted = self.wrong_keys.lock().map_or(Vec::new(), |mut keys| keys.over(now));
        for (who, more) in counted {
            tracing::warn!(who, more, "more pages without the right key were turned away");
        }
    }

    /// The next caller that has a place.
    async fn accept(&self, listener: &TcpListener) -> (TcpStream, SocketAddr, Place) {
        let mut vacancy = self.doorstep.vacancy().await;
        loop {
            match listener.accept().await {
                Ok((socket, from)) => {
                    match self.doorstep.admit(vacancy, self.began.elapsed(), from.ip()) {
                        Ok(place) => return (socket, from, place),
                        Err(again) => {
                            // Without a word: each would cost as much as what it is to keep away.
                            tracing::debug!(%from, "too many callers of this address; one is cut off");
                            vacancy = again;
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a caller of the LAN page; trying again");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// A TCP caller: TLS if we have it.
    async fn welcome(self, socket: TcpStream, from: SocketAddr, place: Place) {
        // Small frames that must not wait for each other; a failure costs some milliseconds only.
        drop(socket.set_nodelay(true));
        let peer_id = Uuid::new_v4().to_string();
        let from = from.ip().to_canonical();
        let who = from.to_string();
        let visitor = self.visitor(Identity::Guest { peer_id }, &who, Some(place));
        let Some(tls) = self.tls.clone() else {
            return self.receive(socket, visitor, Some(from)).await;
        };
        let mut first = [0];
        match timeout(TLS_HANDSHAKE, socket.peek(&mut first)).await {
            Ok(Ok(1)) if first[0] == TLS_FIRST_BYTE => {}
            // Somebody typed the address without https://.
            Ok(Ok(1)) => {
                let doorway = Self { router: redirect_router(), ..self };
                return doorway.receive(socket, visitor, Some(from)).await;
            }
            _ => return,
        }
        match timeout(TLS_HANDSHAKE, tls.accept(socket)).await {
            Ok(Ok(socket)) => self.receive(socket, visitor, Some(from)).await,
            // Usual while a browser asks its user to trust the certificate.
            Ok(Err(error)) => tracing::debug!(who, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(who, "TLS handshake took too long"),
        }
    }

    fn visitor(&self, identity: Identity, who: &str, place: Option<Place>) -> Visitor {
        Visitor {
            member: MemberId(self.numbers.fetch_add(1, Ordering::Relaxed)),
            identity,
            who: who.to_owned(),
            place,
        }
    }

    /// Any caller: HTTP until the upgrade, then a seat at the hub.
    async fn receive<S>(mut self, stream: S, visitor: Visitor, from: Option<IpAddr>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let who = visitor.who.as_str();
        let (sender, mut handed) = mpsc::channel(1);
        let gate = Gate(from.map(|from| (Arc::clone(&self.knocks), from)));
        let router = self.router.clone().layer(Extension(Handover(sender))).layer(Extension(gate));
        let http = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST_HEAD)
            .max_buf_size(LONGEST_HEAD)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
            .with_upgrades();
        tokio::select! {
            done = timeout(VISIT, http) => match done {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(who, %error, "a caller's HTTP ended badly"),
                Err(_) => return,
            },
            _ = self.stopped.wait_for(|stop| *stop) => return,
        }
        let Ok(Some((socket, credentials))) = timeout(UPGRADE, handed.recv()).await else {
            return;
        };
        tracing::debug!(member = visitor.member.0, who, "a WebSocket was opened");
        let who = visitor.who.clone();
        match seat::sit(socket, credentials, visitor, self.hub.clone(), self.timings).await {
            Visit::Over => {}
            Visit::WrongKey(reason) => self.wrong_key(&who, reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use futures_util::{SinkExt, StreamExt};
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, ServerName};
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
    use tokio_tungstenite::tungstenite::{self, Message};
    use tokio_tungstenite::{WebSocketStream, client_async};

    use super::*;

    /// For anything that must happen at all; no test waits this long when all is well.
    const PATIENCE: Duration = Duration::from_secs(30);

    trait Pipe: AsyncRead + AsyncWrite + Unpin {}
    impl<S: AsyncRead + AsyncWrite + Unpin> Pipe for S {}

    struct House {
        lan: Lan,
        dir: tempfile::TempDir,
    }

    async fn house_with(secure: bool, timings: Timings) -> House {
        house_in(tempfile::tempdir().expect("a folder for the test"), secure, timings, None).await
    }

    async fn house_in(
        dir: tempfile::TempDir,
        secure: bool,
        timings: Timings,
        tls: Option<TlsFiles>,
    ) -> House {
        let web_dir = dir.path().join("web");
        fs::create_dir(&web_dir).expect("the page's folder");
        for (name, content) in [
            ("index.html", "<p>the door"),
            ("answer.js", "let a"),
            ("sdk.mjs", "let b"),
            ("style.css", "p {}"),
        ] {
            fs::write(web_dir.join(name), content).expect("a file of the page");
        }
        fs::write(dir.path().join("secret"), "not for pages").expect("a file beside the page");
        let lan = open(&dir, secure, timings, tls).await;
        House { lan, dir }
    }

    async fn open(
        dir: &tempfile::TempDir,
        secure: bool,
        timings: Timings,
        tls: Option<TlsFiles>,
    ) -> Lan {
        let options = Options {
            listen: "127.0.0.1:0".parse().expect("an address"),
            web_dir: dir.path().join("web"),
            tls,
            door_peer_id: "-door".to_owned(),
        };
        start_with(options, "front door/1", dir.path(), secure, timings).await.expect("a hub")
    }

    async fn house() -> House {
        house_with(false, Timings::default()).await
    }

    impl House {
        async fn tcp(&self) -> TcpStream {
            TcpStream::connect(self.lan.local_addr()).await.expect("the hub listens")
        }

        async fn guest(&self) -> Member<TcpStream> {
            Member::join(self.tcp().await, self.lan.key()).await
        }

        async fn door(&self) -> Member<DuplexStream> {
            Member::join(self.lan.connect_door(), self.lan.key()).await
        }

        async fn get(&self, path: &str) -> String {
            get(self.tcp().await, path).await
        }
    }

    /// The whole answer to a GET.
    async fn get(mut stream: impl Pipe, path: &str) -> String {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: door:7443\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        timeout(PATIENCE, read).await.expect("an answer in time").expect("an answer");
        String::from_utf8(answer).expect("text")
    }

    struct Member<S> {
        socket: WebSocketStream<S>,
        id: String,
    }

    impl<S: Pipe> Member<S> {
        async fn open(stream: S, query: &str) -> Self {
            let url = format!("ws://door/v1{query}");
            let (socket, _) = client_async(url, stream).await.expect("every upgrade is accepted");
            Self { socket, id: String::new() }
        }

        async fn join(stream: S, key: &str) -> Self {
            let mut member = Self::open(stream, &format!("?key={key}")).await;
            let welcome = member.next().await;
            assert_eq!(welcome["type"], "welcome", "{welcome}");
            member.id = welcome["peerId"].as_str().expect("an id").to_owned();
            member
        }

        async fn message(&mut self) -> Option<Message> {
            loop {
                match timeout(PATIENCE, self.socket.next()).await.expect("something in time") {
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

        async fn say(&mut self, frame: Value) {
            self.socket.send(Message::text(frame.to_string())).await.expect("sent");
        }

        async fn subscribe(&mut self, channel: &str) -> Value {
            self.say(json!({"type": "subscribe", "channel": channel, "requestId": "s"})).await;
            assert_eq!(self.next().await, json!({"type": "ack", "requestId": "s"}));
            self.next().await
        }

        /// The close, with everything before it skipped.
        async fn close(&mut self) -> (u16, String) {
            loop {
                match self.message().await {
                    Some(Message::Close(Some(CloseFrame { code, reason }))) => {
                        return (code.into(), reason.to_string());
                    }
                    Some(_) => {}
                    None => panic!("the socket ended without a close"),
                }
            }
        }
    }

    fn presence(joined: &[&str], left: &[&str]) -> Value {
        let list =
            |ids: &[&str]| -> Vec<Value> { ids.iter().map(|id| json!({"peerId": id})).collect() };
        json!({"type": "presence", "channel": "c", "joined": list(joined), "left": list(left)})
    }

    /// Both subscribe, and then talk.
    async fn meet(door: &mut Member<impl Pipe>, guest: &mut Member<impl Pipe>) {
        assert_eq!(door.subscribe("c").await, presence(&[], &[]));
        assert_eq!(guest.subscribe("c").await, presence(&[&door.id], &[]));
        assert_eq!(door.next().await, presence(&[&guest.id], &[]));
        guest.say(json!({"type": "send", "to": door.id, "data": [null]})).await;
        let direct = json!({"type": "direct", "from": guest.id, "data": [null]});
        assert_eq!(door.next().await, direct);
        door.say(json!({"type": "publish", "channel": "c", "data": "ring"})).await;
        let message = json!({"type": "message", "channel": "c", "from": door.id, "data": "ring"});
        assert_eq!(guest.next().await, message);
    }

    #[tokio::test]
    async fn the_door_by_its_pipe_and_a_page_by_tcp_meet() {
        let house = house().await;
        let (mut door, mut guest) = (house.door().await, house.guest().await);
        assert_eq!(door.id, "-door");
        Uuid::parse_str(&guest.id).expect("guests have UUIDs");
        meet(&mut door, &mut guest).await;
        drop(guest.socket);
        assert_eq!(door.next().await, presence(&[], &[&guest.id]));
    }

    #[tokio::test]
    async fn a_door_that_comes_again_replaces_itself() {
        let house = house().await;
        let mut first = house.door().await;
        let mut second = house.door().await;
        assert_eq!((first.id.as_str(), second.id.as_str()), ("-door", "-door"));
        assert_eq!(first.close().await.0, 1000);
        second.subscribe("c").await;
    }

    #[tokio::test]
    async fn a_bad_credential_is_upgraded_and_then_closed_with_4001_and_a_reason() {
        let house = house().await;
        let key = house.lan.key();
        for (query, reason) in [
            ("?key=wrong".to_owned(), "invalid key"),
            ("?key=".to_owned(), "invalid key"),
            (String::new(), "key missing"),
            (format!("?token={key}"), "this hub takes keys, not tokens"),
            (format!("?key={key}&token=x"), "more than one credential"),
            (format!("?key={key}&key={key}"), "more than one credential"),
        ] {
            let mut member = Member::open(house.tcp().await, &query).await;
            let Some(Message::Close(Some(close))) = member.message().await else {
                panic!("the close must come first");
            };
            assert_eq!((u16::from(close.code), close.reason.as_str()), (4001, reason));
        }
    }

    #[derive(Clone, Default)]
    struct Sheet(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sheet {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics here").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn whoever_guesses_keys_is_told_of_once_in_the_log() {
        let sheet = Sheet::default();
        let copy = sheet.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || copy.clone()).finish();
        // Of this thread, which is that of all tasks of this test.
        let _guard = tracing::subscriber::set_default(subscriber);
        let house = house().await;
        for _ in 0..20 {
            let mut guess = Member::open(house.tcp().await, "?key=wrong").await;
            assert_eq!(guess.close().await.0, 4001);
        }
        let told = || {
            let text = sheet.0.lock().expect("no test panics here").clone();
            String::from_utf8_lossy(&text).matches("without the right key").count()
        };
        let first = async {
            while told() == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, first).await.expect("the first is told");
        house.lan.stop().await;
        assert_eq!(told(), 1);
    }

    #[tokio::test]
    async fn the_sixty_first_connect_of_an_address_in_a_minute_gets_http_429_and_the_door_none() {
        let house = house().await;
        for _ in 0..60 {
            drop(Member::open(house.tcp().await, "?key=wrong").await);
        }
        let url = format!("ws://door/v1?key={}", house.lan.key());
        let refused = client_async(url, house.tcp().await).await.expect_err("too many");
        let tungstenite::Error::Http(answer) = refused else { panic!("{refused}") };
        assert_eq!(answer.status(), 429);
        assert!(house.get("/").await.contains("200 OK"), "the page is no connect");
        house.door().await;
    }

    #[tokio::test]
    async fn long_frames_are_answered_by_1009_however_long() {
        for length in [65_537, 2 * seat::READ_LIMIT] {
            let house = house().await;
            let mut door = house.door().await;
            // The hub may stop reading a very long frame before its end.
            drop(door.socket.send(Message::text("x".repeat(length))).await);
            assert_eq!(door.close().await.0, 1009);
        }
    }

    #[tokio::test]
    async fn binary_frames_are_ignored() {
        let house = house().await;
        let mut guest = house.guest().await;
        guest.socket.send(Message::binary(vec![1, 2, 3])).await.expect("sent");
        guest.say(json!({"type": "ping"})).await;
        assert_eq!(guest.next().await, json!({"type": "pong"}));
    }

    #[tokio::test]
    async fn the_page_is_served_with_its_types_and_headers() {
        let house = house().await;
        for (path, kind, content) in [
            ("/", "text/html", "<p>the door"),
            ("/answer.js", "text/javascript", "let a"),
            ("/sdk.mjs", "/javascript", "let b"),
            ("/style.css", "text/css", "p {}"),
        ] {
            let answer = house.get(path).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            assert!(answer.ends_with(content), "{answer}");
            let (head, _) = answer.split_once("\r\n\r\n").expect("a head");
            let head = head.to_lowercase();
            for line in [
                kind,
                "cache-control: no-cache",
                "x-content-type-options: nosniff",
                "referrer-policy: no-referrer",
                "content-security-policy: default-src 'self'; connect-src 'self' wss: ws:;",
            ] {
                assert!(head.contains(line), "{line} is missing in {head}");
            }
        }
    }

    #[tokio::test]
    async fn other_paths_are_not_found_and_nothing_beside_the_page_is_shown() {
        let house = house().await;
        for path in ["/v2", "/v1/x", "/nothing.js", "/../secret", "/%2e%2e/secret", "/..%2fsecret"]
        {
            let answer = house.get(path).await;
            assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
        }
        let answer = house.get("/v1").await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }

    #[tokio::test]
    async fn without_the_pages_files_there_is_no_page_and_the_hub_works() {
        let dir = tempfile::tempdir().expect("a folder for the test");
        let lan = open(&dir, false, Timings::default(), None).await;
        let house = House { lan, dir };
        assert!(house.get("/").await.starts_with("HTTP/1.1 404 "));
        let (mut door, mut guest) = (house.door().await, house.guest().await);
        meet(&mut door, &mut guest).await;
    }

    fn trusts(own: CertificateDer<'static>) -> tokio_rustls::TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(own).expect("a certificate to trust");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tokio_rustls::TlsConnector::from(Arc::new(config))
    }

    #[tokio::test]
    async fn https_and_its_websocket_work_for_who_trusts_the_certificate() {
        let house = house_with(true, Timings::default()).await;
        let pem = fs::read(house.dir.path().join(cert::PAIR_FILE)).expect("a certificate");
        let connector = trusts(CertificateDer::from_pem_slice(&pem).expect("PEM"));
        let connect = async |name: &'static str| {
            let name = ServerName::try_from(name).expect("a name");
            connector.connect(name, house.tcp().await).await.expect("the certificate fits")
        };

        let answer = get(connect("localhost").await, "/").await;
        assert!(answer.ends_with("<p>the door"), "{answer}");
        let mut door = house.door().await;
        let mut guest = Member::join(connect("localhost").await, house.lan.key()).await;
        meet(&mut door, &mut guest).await;
        assert!(house.lan.address().starts_with("https://127.0.0.1:"));
    }

    #[tokio::test]
    async fn a_certificate_that_its_owner_replaces_is_shown_without_a_restart() {
        let dir = tempfile::tempdir().expect("a folder");
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
        let put = || {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
            fs::write(&key, made.signing_key.serialize_pem()).expect("written");
            fs::write(&cert, made.cert.pem()).expect("written");
            made.cert.der().clone()
        };
        put();
        let timings = Timings { papers: Duration::from_millis(20), ..Timings::default() };
        let tls = Some(TlsFiles { cert: cert.clone(), key: key.clone() });
        let house = house_in(dir, true, timings, tls).await;
        // Half a pair is no pair: the page goes on with what it has.
        fs::write(&key, "no key").expect("written");
        let connector = trusts(put());
        let shown = async {
            loop {
                let name = ServerName::try_from("localhost").expect("a name");
                if connector.connect(name, house.tcp().await).await.is_ok() {
                    return;
                }
            }
        };
        timeout(PATIENCE, shown).await.expect("the new one is shown");
    }

    #[tokio::test]
    async fn http_on_the_https_port_is_sent_the_right_way() {
        let house = house_with(true, Timings::default()).await;
        let answer = house.get("/x?y=1").await.to_lowercase();
        assert!(answer.starts_with("http/1.1 307 "), "{answer}");
        assert!(answer.contains("location: https://door:7443/x?y=1\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn the_address_carries_channel_and_key_and_both_survive_a_restart() {
        let House { lan, dir } = house().await;
        let at = lan.local_addr();
        let key = lan.key().to_owned();
        assert_eq!(lan.address(), format!("http://{at}/#channel=front+door%2F1&key={key}"));
        assert!(!format!("{lan:?}").contains(&key), "Debug must not show the key");
        lan.stop().await;
        let again = open(&dir, false, Timings::default(), None).await;
        assert_eq!(again.key(), key);
    }

    #[tokio::test]
    async fn stopping_is_announced_and_ends_everything() {
        let house = house().await;
        let (mut door, mut guest) = (house.door().await, house.guest().await);
        let at = house.lan.local_addr();
        let idle = house.tcp().await;
        let watch = async {
            assert_eq!(door.next().await["type"], "going_away");
            assert_eq!(door.close().await.0, 1001);
            assert_eq!(guest.next().await["type"], "going_away");
            assert_eq!(guest.close().await.0, 1001);
        };
        tokio::join!(house.lan.stop(), watch);
        assert!(TcpStream::connect(at).await.is_err(), "the port must be free again");
        drop(idle);
    }

    #[tokio::test]
    async fn dropping_the_hub_ends_its_members() {
        let House { lan, dir: _dir } = house().await;
        let mut door = Member::join(lan.connect_door(), lan.key()).await;
        drop(lan);
        while door.message().await.is_some() {}
    }

    #[tokio::test]
    async fn a_member_without_a_sign_of_life_is_cut_off() {
        let timings = Timings { silence: Duration::from_millis(100), ..Timings::default() };
        let house = house_with(false, timings).await;
        let query = format!("?key={}", house.lan.key());
        let member = Member::open(house.lan.connect_door(), &query).await;
        // From here on nobody speaks WebSocket at this end.
        let mut pipe = member.socket.into_inner();
        let mut nowhere = tokio::io::sink();
        let read = tokio::io::copy(&mut pipe, &mut nowhere);
        let ended = timeout(PATIENCE, read).await.expect("cut off in time");
        ended.expect("a clean end");
    }

    #[tokio::test]
    async fn a_member_that_answers_pings_stays() {
        let timings = Timings { ping: Duration::from_millis(20), ..Timings::default() };
        let house = house_with(false, timings).await;
        let mut guest = house.guest().await;
        let mut pings = 0;
        while pings < 5 {
            let message = timeout(PATIENCE, guest.socket.next()).await.expect("a ping in time");
            pings += usize::from(matches!(message, Some(Ok(Message::Ping(_)))));
        }
        assert_eq!(guest.subscribe("c").await, presence(&[], &[]));
    }

    #[tokio::test]
    async fn a_member_that_does_not_read_is_dropped_and_the_others_are_not_held_up() {
        let house = house().await;
        let (mut door, mut guest) = (house.door().await, house.guest().await);
        door.subscribe("c").await;
        guest.subscribe("c").await;
        let data = "x".repeat(60_000);
        for _ in 0..60 {
            guest.say(json!({"type": "send", "to": "-door", "data": data})).await;
        }
        guest.say(json!({"type": "ping"})).await;
        assert_eq!(guest.next().await, presence(&[], &["-door"]));
        // What is sent after the drop finds nobody.
        let mut last = guest.next().await;
        while last["type"] == "error" {
            assert_eq!(last["code"], "peer_not_found");
            last = guest.next().await;
        }
        assert_eq!(last, json!({"type": "pong"}));
        assert_eq!(door.close().await.0, 1013);
    }

    #[tokio::test]
    async fn a_used_port_is_named_in_the_error() {
        let house = house().await;
        let taken = house.lan.local_addr();
        let options = Options {
            listen: taken,
            web_dir: house.dir.path().join("web"),
            tls: None,
            door_peer_id: "-door".to_owned(),
        };
        let error = start(options, "c", house.dir.path()).await.expect_err("the port is taken");
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
    }
}
