//! The control socket: a Unix socket on which local programs ask the daemon and watch its events.
//!
//! It checks who asks and carries lines; the daemon answers. The words are `control.rs`.
//! Who may ask: root, the daemon's own user, and whoever the socket file's group (mode 0660) lets in.

use super::control::{MAX_REQUEST, Reply, Request, line, parse_request};
use super::happenings::{Event, Happening};
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, info, warn};

/// How long a client may take to send its next request, and to read what it is told.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);
/// How long the daemon may take for an answer.
const DAEMON_PATIENCE: Duration = Duration::from_secs(5);
/// How long clients get to take their last line at the end.
const GOODBYE: Duration = Duration::from_secs(1);
/// Clients at once. One more is refused.
const CLIENTS: usize = 32;
/// Events that wait for a slow watcher. One more, and the watcher is dropped.
const EVENTS: usize = 64;
/// How many requests may wait for the daemon. One more is refused as busy.
pub const REQUESTS: usize = 16;

/// How many calls of the log are told unless said otherwise, and at most.
const CALLS: u32 = 20;
const MOST_CALLS: u32 = 1000;

/// Why the control socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another daemon has it.
    #[error(
        "another intercomd answers at {0}; stop it (`systemctl stop intercomd`), or give this one its own `socket`"
    )]
    InUse(PathBuf),
    /// Something that is no socket lies there, and is not ours to remove.
    #[error("{0} exists and is not a socket; remove it, or set `socket` to another path")]
    NotASocket(PathBuf),
    /// The kernel refused.
    #[error(
        "cannot open the control socket {path}: {source}; set `socket` to a path in a directory the daemon may write"
    )]
    Open {
        /// The socket's path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What a client wants of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Press the doorbell.
    Press,
    /// End the call.
    Hangup,
    /// Open the door, for so long or as long as it does by itself.
    Unlock(Option<Duration>),
    /// Tell the status.
    Status,
    /// Tell the latest calls, so many of them at most.
    Log(usize),
    /// Forget all calls.
    ClearLog,
    /// Let this person open the door from a page.
    AddPerson(String),
    /// Let this person open the door no more.
    RemovePerson(String),
    /// Tell who may open the door from a page.
    Persons,
}

/// One request for the daemon, which should answer soon: after five seconds the client is told that
/// nobody did, and the answer goes nowhere.
#[derive(Debug)]
pub struct ControlRequest {
    /// What is wanted.
    pub ask: Ask,
    /// The user who asks.
    pub uid: u32,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Reply>,
}

/// Where the daemon tells what happens; every watcher hears it. Clones tell the same watchers.
#[derive(Debug, Clone)]
pub struct Events(broadcast::Sender<Arc<Event>>);

impl Events {
    /// Nobody watches yet.
    pub fn new() -> Self {
        Self(broadcast::Sender::new(EVENTS))
    }

    /// Tells what has happened just now. Never waits; without a watcher it is forgotten.
    pub fn tell(&self, what: Happening) {
        let _ = self.0.send(Arc::new(stamped(what)));
    }

    /// How many clients watch at the moment.
    pub fn watchers(&self) -> usize {
        self.0.receiver_count()
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

fn stamped(what: Happening) -> Event {
    let at = unix_seconds(SystemTime::now());
    Event { what, at }
}

/// A time as `control.rs` writes it: unix seconds with milliseconds; 0 for times before 1970.
pub fn unix_seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as f64 / 1000.0
}

/// The open control socket. Dropping it removes its file.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    file: SocketFile,
}

#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
    /// Our user, which owns the file.
    uid: u32,
    /// Held for as long as the socket is ours, so that two daemons starting together cannot both
    /// take the other's fresh socket for a stale one.
    _lock: File,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path);
        if ours.is_ok_and(|file| file.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Server {
    /// Opens the socket at `path` with mode 0660, in a directory that exists or is made. A socket
    /// that nobody answers on is replaced. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Another daemon runs, the path is taken, or the kernel refuses.
    pub fn bind(path: &Path) -> Result<Self, ServerError> {
        let open = |source| ServerError::Open { path: path.to_owned(), source };
        let directory = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(open)?;
        let lock = lock(path)?;
        match std::fs::symlink_metadata(path) {
            Err(why) if why.kind() == ErrorKind::NotFound => {}
            Err(why) => return Err(open(why)),
            Ok(file) if !file.file_type().is_socket() => {
                return Err(ServerError::NotASocket(path.to_owned()));
            }
            Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
                Err(why) if why.kind() == ErrorKind::ConnectionRefused => {
                    debug!("{} is left over from an earlier run", path.display());
                }
                Ok(_) => return Err(ServerError::InUse(path.to_owned())),
                Err(why) => return Err(open(why)),
            },
        }
        let listener = listen(directory, path).map_err(open)?;
        let made = std::fs::symlink_metadata(path).map_err(open)?;
        let file =
            SocketFile { path: path.to_owned(), inode: made.ino(), uid: made.uid(), _lock: lock };
        Ok(Self { listener, file })
    }

    /// Serves until `stop` completes, tells watchers goodbye and removes the socket.
    pub async fn run(
        self,
        requests: mpsc::Sender<ControlRequest>,
        events: Events,
        stop: impl Future<Output = ()>,
    ) {
        let mut clients = JoinSet::new();
        tokio::pin!(stop);
        loop {
            let stream = tokio::select! {
                () = &mut stop => break,
                Some(_) = clients.join_next() => continue,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(why) => {
                        // Out of descriptors, most likely: a busy loop would make it worse.
                        warn!("the control socket could not take a client: {why}");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        continue;
                    }
                },
            };
            let full = clients.len() >= CLIENTS;
            let uid = stream.peer_cred().map(|peer| peer.uid());
            let refusal = match uid {
                Err(_) => Some(Reply::refused(
                    "the kernel does not tell who asks",
                    "use `intercomd ctl` on this machine",
                )),
                Ok(uid) if !self.file.lets_in(uid) => Some(Reply::refused(
                    format!("user {uid} may not control this door"),
                    "become a member of the socket's group, or use sudo",
                )),
                Ok(_) if full => Some(busy()),
                Ok(_) => None,
            };
            let client = Client {
                requests: requests.clone(),
                events: events.clone(),
                uid: uid.unwrap_or(u32::MAX),
            };
            match refusal {
                None => drop(clients.spawn(client.serve(stream))),
                Some(refusal) => {
                    debug!("a client of the control socket was refused");
                    // Never waits: an empty socket buffer takes one line.
                    let _ = stream.try_write(line(&refusal).as_bytes());
                }
            }
        }
        drop(requests);
        events.tell(Happening::Stopping);
        let goodbye = async { while clients.join_next().await.is_some() {} };
        if timeout(GOODBYE, goodbye).await.is_err() {
            debug!("some clients of the control socket did not take their last line");
        }
    }
}

impl SocketFile {
    /// The file's mode has let this user in already. It is looked at again for the one case it
    /// cannot answer: somebody has opened the file for the whole world.
    fn lets_in(&self, uid: u32) -> bool {
        let world =
            || std::fs::symlink_metadata(&self.path).map_or(true, |file| file.mode() & 0o002 != 0);
        uid == 0 || uid == self.uid || !world()
    }
}

fn busy() -> Reply {
    Reply::refused("the daemon is busy with other requests", "try again")
}

/// Locks the socket's neighbour file.
fn lock(path: &Path) -> Result<File, ServerError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let open = |source| ServerError::Open { path: PathBuf::from(&name), source };
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(open)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(ServerError::InUse(path.to_owned())),
        Err(std::fs::TryLockError::Error(why)) => Err(open(why)),
    }
}

/// Makes the socket in a directory only we can enter and moves it into place, so that at no moment
/// it is there with other rights than it should have.
fn listen(directory: &Path, path: &Path) -> io::Result<UnixListener> {
    let hidden = directory.join(format!(".{}", std::process::id()));
    let made = hidden.join("s");
    // Left over from a crash of a process with our number.
    let _ = std::fs::remove_file(&made);
    let _ = std::fs::remove_dir(&hidden);
    DirBuilder::new().mode(0o700).create(&hidden)?;
    let listener = std::os::unix::net::UnixListener::bind(&made).and_then(|listener| {
        std::fs::set_permissions(&made, Permissions::from_mode(0o660))?;
        std::fs::rename(&made, path)?;
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    });
    let _ = std::fs::remove_file(&made);
    let _ = std::fs::remove_dir(&hidden);
    listener
}

/// What a client's task needs.
struct Client {
    requests: mpsc::Sender<ControlRequest>,
    events: Events,
    uid: u32,
}

/// Why a client's task ends.
enum Gone {
    /// It has said or heard enough.
    Done,
    /// It did not read in time.
    Slow,
}

impl Client {
    async fn serve(self, stream: UnixStream) {
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        while let Some(request) = next_line(&mut reader).await {
            let end = match request.and_then(|line| parse_request(&line)) {
                Err(refusal) => {
                    // What follows a line that could not be read can be anything.
                    let _ = send(&mut writer, &refusal).await;
                    return;
                }
                Ok(Request::Press {}) => self.answer(&mut writer, Ask::Press).await,
                Ok(Request::Hangup {}) => self.answer(&mut writer, Ask::Hangup).await,
                Ok(Request::Unlock { for_ms }) => {
                    let length = for_ms.map(Duration::from_millis);
                    self.answer(&mut writer, Ask::Unlock(length)).await
                }
                Ok(Request::Status {}) => self.answer(&mut writer, Ask::Status).await,
                Ok(Request::Log { count }) => {
                    let count = count.unwrap_or(CALLS).min(MOST_CALLS);
                    self.answer(&mut writer, Ask::Log(count as usize)).await
                }
                Ok(Request::ClearLog {}) => self.answer(&mut writer, Ask::ClearLog).await,
                Ok(Request::AddPerson { name }) => {
                    self.answer(&mut writer, Ask::AddPerson(name)).await
                }
                Ok(Request::RemovePerson { name }) => {
                    self.answer(&mut writer, Ask::RemovePerson(name)).await
                }
                Ok(Request::Persons {}) => self.answer(&mut writer, Ask::Persons).await,
                Ok(Request::Watch {}) => match self.watch(&mut reader, &mut writer).await {
                    Gone::Done => return,
                    Gone::Slow => {
                        info!("a watcher on the control socket was too slow and was dropped");
                        return;
                    }
                },
            };
            if end.is_err() {
                return;
            }
        }
    }

    async fn answer(&self, writer: &mut OwnedWriteHalf, ask: Ask) -> io::Result<()> {
        send(writer, &self.ask(ask).await).await
    }

    async fn ask(&self, ask: Ask) -> Reply {
        let (reply, answer) = oneshot::channel();
        let uid = self.uid;
        match self.requests.try_send(ControlRequest { ask, uid, reply }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return busy(),
            Err(mpsc::error::TrySendError::Closed(_)) => return stopping(),
        }
        match timeout(DAEMON_PATIENCE, answer).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => stopping(),
            Err(_) => Reply::refused(
                format!("the daemon did not answer within {DAEMON_PATIENCE:?}"),
                "look at its log (`journalctl -u intercomd`)",
            ),
        }
    }

    async fn watch(
        &self,
        reader: &mut BufReader<OwnedReadHalf>,
        writer: &mut OwnedWriteHalf,
    ) -> Gone {
        // Before the state is asked for, so that no change falls between.
        let mut events = self.events.0.subscribe();
        let status = self.ask(Ask::Status).await;
        if !status.ok {
            let _ = send(writer, &status).await;
            return Gone::Done;
        }
        let state = status.status.map(|status| status.state).unwrap_or_default();
        let first = stamped(Happening::State { state });
        if send(writer, &Reply::done()).await.is_err() || send(writer, &first).await.is_err() {
            return Gone::Done;
        }
        let mut ignored = [0; 64];
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                read = reader.read(&mut ignored) => match read {
                    Ok(1..) => continue,
                    Ok(0) | Err(_) => return Gone::Done,
                },
            };
            let event = match event {
                Ok(event) => event,
                Err(broadcast::error::RecvError::Lagged(_)) => return Gone::Slow,
                Err(broadcast::error::RecvError::Closed) => return Gone::Done,
            };
            match send(writer, &*event).await {
                Ok(()) if event.what == Happening::Stopping => return Gone::Done,
                Ok(()) => {}
                Err(why) if why.kind() == ErrorKind::TimedOut => return Gone::Slow,
                Err(_) => return Gone::Done,
            }
        }
    }
}

fn stopping() -> Reply {
    Reply::refused("the daemon is stopping", "start it again")
}

/// The next request line, without its end. `None` when the client has gone or says nothing for too
/// long; an error for a line that is too long.
async fn next_line(reader: &mut BufReader<OwnedReadHalf>) -> Option<Result<Vec<u8>, Reply>> {
    let mut line = Vec::new();
    let mut bounded = reader.take(MAX_REQUEST as u64 + 1);
    let read = timeout(CLIENT_PATIENCE, bounded.read_until(b'\n', &mut line)).await;
    match read {
        Err(_) | Ok(Err(_)) | Ok(Ok(0)) => return None,
        Ok(Ok(_)) => {}
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > MAX_REQUEST {
        return Some(Err(Reply::refused(
            format!("a request is at most {MAX_REQUEST} bytes"),
            "send one JSON object on one line",
        )));
    }
    Some(Ok(line))
}

async fn send(writer: &mut OwnedWriteHalf, value: &impl serde::Serialize) -> io::Result<()> {
    let line = line(value);
    match timeout(CLIENT_PATIENCE, writer.write_all(line.as_bytes())).await {
        Ok(written) => written,
        Err(_) => Err(ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::control::{State, Status};
    use super::*;
    use tempfile::TempDir;
    use tokio::io::Lines;
    use tokio::task::JoinHandle;

    /// A server with a daemon that answers, or does not.
    struct World {
        socket: PathBuf,
        events: Events,
        stop: Option<oneshot::Sender<()>>,
        server: JoinHandle<()>,
        _directory: TempDir,
    }

    fn directory() -> TempDir {
        tempfile::tempdir().expect("a place for files")
    }

    fn world_with(answer: impl Fn(ControlRequest) + Send + 'static) -> World {
        let directory = directory();
        let socket = directory.path().join("made/control.sock");
        let server = Server::bind(&socket).expect("a fresh place");
        let (requests, mut asked) = mpsc::channel::<ControlRequest>(REQUESTS);
        tokio::spawn(async move {
            while let Some(request) = asked.recv().await {
                answer(request);
            }
        });
        let events = Events::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(server.run(requests, events.clone(), async {
            let _ = stopped.await;
        }));
        World { socket, events, stop: Some(stop), server, _directory: directory }
    }

    fn world() -> World {
        world_with(|request| {
            let reply = match request.ask {
                Ask::Press => Reply::done(),
                Ask::Hangup => Reply::refused("there is no call", "press first"),
                Ask::Unlock(Some(length)) if length == Duration::from_secs(3) => Reply::done(),
                Ask::Unlock(_) => Reply::refused("not so", "ask for three seconds"),
                Ask::Status => Reply::status(Status { state: State::Ringing, ..Status::default() }),
                other => {
                    Reply::refused(format!("{other:?} was not expected"), "ask something else")
                }
            };
            let _ = request.reply.send(reply);
        })
    }

    struct Person {
        lines: Lines<BufReader<OwnedReadHalf>>,
        writer: OwnedWriteHalf,
    }

    impl World {
        async fn person(&self) -> Person {
            let stream = UnixStream::connect(&self.socket).await;
            let (reader, writer) = stream.expect("the server listens").into_split();
            let lines = BufReader::new(reader).lines();
            Person { lines, writer }
        }

        async fn stop(&mut self) {
            let stop = self.stop.take().expect("stopped once");
            stop.send(()).expect("the server runs");
            (&mut self.server).await.expect("the server ends well");
        }
    }

    impl Person {
        async fn say(&mut self, text: &str) {
            let said = self.writer.write_all(text.as_bytes()).await;
            said.expect("the server reads");
        }

        async fn hear(&mut self) -> Option<serde_json::Value> {
            let line = self.lines.next_line().await.expect("an orderly end")?;
            Some(serde_json::from_str(&line).expect("JSON lines"))
        }

        async fn ask(&mut self, text: &str) -> serde_json::Value {
            self.say(text).await;
            self.hear().await.expect("an answer")
        }
    }

    #[tokio::test]
    async fn requests_get_the_daemons_answers_on_one_socket() {
        let world = world();
        let mut person = world.person().await;
        let press = person.ask("{\"do\":\"press\"}\n").await;
        assert_eq!(press, serde_json::json!({"ok": true}));
        let hangup = person.ask("{\"do\":\"hangup\"}\n").await;
        assert_eq!(hangup["error"], "there is no call");
        assert_eq!(hangup["fix"], "press first");
        let unlock = person.ask("{\"do\":\"unlock\",\"for_ms\":3000}\n").await;
        assert_eq!(unlock, serde_json::json!({"ok": true}));
        let unlock = person.ask("{\"do\":\"unlock\"}\n").await;
        assert_eq!(unlock["error"], "not so");
        let status = person.ask("{\"do\":\"status\"}\n").await;
        assert_eq!(status["status"]["state"], "ringing");
    }

    #[tokio::test]
    async fn the_file_is_for_owner_and_group_only_and_goes_with_the_server() {
        let mut world = world();
        let file = std::fs::metadata(&world.socket).expect("it is there");
        assert_eq!(file.mode() & 0o777, 0o660);
        let around: Vec<_> = std::fs::read_dir(world.socket.parent().expect("made above"))
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert_eq!(around.len(), 2, "socket and lock only: {around:?}");
        world.stop().await;
        assert!(!world.socket.exists());
    }

    #[tokio::test]
    async fn nonsense_and_oversized_lines_are_refused_and_end_the_talk() {
        let world = world();
        for text in ["open the door\n".to_owned(), "x".repeat(MAX_REQUEST * 3)] {
            let mut person = world.person().await;
            let reply = person.ask(&text).await;
            assert_eq!(reply["ok"], false);
            assert!(reply["fix"].is_string());
            let end = person.lines.next_line().await;
            assert!(matches!(end, Ok(None) | Err(_)), "{end:?}");
        }
        let padded = format!("{}{}\n", "{\"do\":\"press\"}", " ".repeat(MAX_REQUEST - 14));
        let reply = world.person().await.ask(&padded).await;
        assert_eq!(reply["ok"], true, "exactly the longest line is fine");
    }

    #[tokio::test]
    async fn a_watcher_begins_with_the_state_and_hears_every_event_until_the_end() {
        let mut world = world();
        let mut person = world.person().await;
        let ok = person.ask("{\"do\":\"watch\"}\n").await;
        assert_eq!(ok, serde_json::json!({"ok": true}));
        let first = person.hear().await.expect("the state");
        assert_eq!((&first["event"], &first["state"]), (&"state".into(), &"ringing".into()));
        world.events.tell(Happening::Answered {
            id: "p7".to_owned(),
            uplink: "lan".to_owned(),
            name: None,
        });
        let event = person.hear().await.expect("the event");
        assert_eq!(event["event"], "answered");
        assert!(event["at"].as_f64().is_some_and(|at| at > 1.7e9));
        world.stop().await;
        assert_eq!(person.hear().await.expect("goodbye")["event"], "stopping");
        assert_eq!(person.hear().await, None);
    }

    #[tokio::test]
    async fn a_watcher_that_misses_events_is_dropped_and_others_are_not() {
        let world = world();
        let mut slow = world.person().await;
        slow.ask("{\"do\":\"watch\"}\n").await;
        slow.hear().await.expect("the state");
        // All in one breath: the watcher's task gets no turn in between.
        for _ in 0..=EVENTS {
            world.events.tell(Happening::Stopping);
        }
        assert_eq!(slow.hear().await, None);
        let mut other = world.person().await;
        assert_eq!(other.ask("{\"do\":\"press\"}\n").await["ok"], true);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_that_does_not_read_is_dropped() {
        let world = world();
        let mut deaf = world.person().await;
        deaf.ask("{\"do\":\"watch\"}\n").await;
        let long = "x".repeat(60_000);
        // Until the watcher's task, stuck in its write, has given up and let its receiver go.
        while world.events.watchers() > 0 {
            world
                .events
                .tell(Happening::Ended { call: long.clone(), cause: "no-answer".to_owned() });
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_does_not_answer_is_told_about() {
        let kept = std::sync::Mutex::new(Vec::new());
        let world = world_with(move |request| kept.lock().expect("one thread").push(request));
        let mut person = world.person().await;
        let reply = person.ask("{\"do\":\"status\"}\n").await;
        assert_eq!(reply["ok"], false);
        let error = reply["error"].as_str().expect("a text");
        assert!(error.contains("did not answer"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_let_go() {
        let world = world();
        let mut silent = world.person().await;
        assert_eq!(silent.hear().await, None);
    }

    #[tokio::test]
    async fn too_many_clients_are_told_so() {
        let world = world();
        let mut watchers = Vec::new();
        for _ in 0..CLIENTS {
            let mut person = world.person().await;
            person.ask("{\"do\":\"watch\"}\n").await;
            watchers.push(person);
        }
        let reply = world.person().await.hear().await.expect("a refusal");
        assert_eq!(reply["ok"], false);
    }

    #[tokio::test]
    async fn a_second_daemon_is_refused_and_the_first_goes_on() {
        let world = world();
        let error = Server::bind(&world.socket).expect_err("the first has it");
        assert!(matches!(error, ServerError::InUse(_)), "{error}");
        let reply = world.person().await.ask("{\"do\":\"press\"}\n").await;
        assert_eq!(reply["ok"], true);
    }

    #[tokio::test]
    async fn a_socket_somebody_answers_on_is_never_replaced() {
        let directory = directory();
        let path = directory.path().join("control.sock");
        let _other = UnixListener::bind(&path).expect("a fresh place");
        let error = Server::bind(&path).expect_err("it is in use");
        assert!(matches!(error, ServerError::InUse(_)), "{error}");
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced() {
        let directory = directory();
        let path = directory.path().join("control.sock");
        drop(UnixListener::bind(&path).expect("a fresh place"));
        assert!(path.exists(), "a closed socket leaves its file");
        let server = Server::bind(&path).expect("nobody answers there");
        assert!(UnixStream::connect(&path).await.is_ok());
        drop(server);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_plain_file_in_the_way_is_left_alone() {
        let directory = directory();
        let path = directory.path().join("control.sock");
        std::fs::write(&path, "somebody's notes").expect("a fresh place");
        let error = Server::bind(&path).expect_err("not a socket");
        assert!(matches!(error, ServerError::NotASocket(_)), "{error}");
        assert!(path.exists());
    }

    #[tokio::test]
    async fn only_root_the_owner_and_the_group_are_let_in() {
        let directory = directory();
        let path = directory.path().join("control.sock");
        let server = Server::bind(&path).expect("a fresh place");
        let stranger = server.file.uid + 4_711;
        // The kernel has checked the group for a connection that got here.
        assert!(server.file.lets_in(stranger));
        std::fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("our file");
        assert!(!server.file.lets_in(stranger));
        assert!(server.file.lets_in(0) && server.file.lets_in(server.file.uid));
    }
}
