//! The hooks as those outside meet them: programs that are run, an HTTP server, a real broker (mosquitto).
//!
//! Each test has receivers of its own on free ports and waits for what it expects; the plans behind (queues,
//! pauses, JSON) are tested on virtual time beside their code.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::net::TcpListener as Listener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::IntoResponse;
use intercomd::config::{HooksSettings, LoadArgs, Surroundings, load_within};
use intercomd::hooks::{Event, Hooks, OutletStatus, PROGRAMS, Started, WAITING, What, Wish};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rumqttc::{AsyncClient, Event as Occurrence, MqttOptions, Packet, Publish, QoS};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long anything may take on a slow machine.
const SOON: Duration = Duration::from_secs(60);
/// How long closing may take.
const CLOSE: Duration = Duration::from_secs(10);
const JPEG: &[u8] = b"\xff\xd8\xff\xe0 a visitor";

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(SOON, waiting).await.is_ok(), "waited for: {what}");
}

async fn next<T>(what: &str, queue: &mut mpsc::UnboundedReceiver<T>) -> T {
    let next = timeout(SOON, queue.recv()).await;
    next.unwrap_or_else(|_| panic!("waited for: {what}")).expect("the other side runs")
}

/// A door with hooks from a configuration, in a folder of its own.
struct Door {
    dir: TempDir,
}

impl Door {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("it can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode can be set");
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn settings(&self, tables: &str) -> HooksSettings {
        let config = self.file("config.toml", format!("channel = \"front-door\"\n{tables}"));
        let args = LoadArgs { config: Some(config), ..LoadArgs::default() };
        let loaded = load_within(&args, &Surroundings::default());
        loaded.unwrap_or_else(|problems| panic!("{problems}")).settings.hooks
    }

    fn start(&self, tables: &str) -> Running {
        let Started { hooks, tasks, wishes } = Hooks::start(&self.settings(tables), "front-door");
        let tasks = tasks.into_iter().map(|(_, task)| tokio::spawn(task)).collect();
        Running { hooks, tasks, wishes }
    }
}

struct Running {
    hooks: Hooks,
    tasks: Vec<JoinHandle<()>>,
    wishes: mpsc::Receiver<Wish>,
}

impl Running {
    fn tell(&self, what: What) {
        self.hooks.tell(Event { call: Some("c-1-7".to_owned()), at: 1_795_690_000, what });
    }

    fn ring(&self) {
        self.tell(What::Ring { again: false });
    }

    /// Of the only outlet.
    fn status(&self) -> OutletStatus {
        let mut all = self.hooks.status();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    async fn until(&self, what: &str, is_so: impl Fn(&OutletStatus) -> bool) -> OutletStatus {
        until(what, || is_so(&self.status())).await;
        self.status()
    }

    /// Ends everything and shows that it does end.
    async fn close(self) -> mpsc::Receiver<Wish> {
        self.hooks.close(CLOSE).await;
        for task in self.tasks {
            timeout(SOON, task).await.expect("it ends").expect("without a panic");
        }
        self.wishes
    }
}

// ---- programs

fn shell(script: &str) -> String {
    format!("run = [\"/bin/sh\", \"-c\", '''{script}''']\n")
}

/// Waits for the end of the process whose number is in this file.
async fn ended(door: &Door, file: &str) {
    let stat = format!("/proc/{}/stat", door.read(file).trim());
    // Whoever takes in orphans may leave it as a zombie for a while.
    let is_gone = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    until("the end of what a program started", is_gone).await;
}

#[tokio::test]
async fn a_program_gets_the_event_in_its_environment_and_on_its_input_and_nothing_else() {
    let door = Door::new();
    let dir = door.dir.path().display();
    let script = shell(&format!("env >{dir}/env; cat >{dir}/in; echo out; echo words >&2"));
    let running =
        door.start(&format!("[[hooks.command]]\non = [\"missed\", \"answered\"]\n{script}"));
    running.ring();
    running.tell(What::Missed { cause: "no-answer" });
    let status = running.until("the program", |status| status.sent == 1).await;
    assert_eq!((status.name.as_str(), status.last_error), ("command /bin/sh", None));
    let environment = door.read("env");
    // The shell adds some of its own.
    let own = |row: &&str| !["PWD=", "SHLVL=", "_=", "OLDPWD="].iter().any(|s| row.starts_with(s));
    let mut rows: Vec<&str> = environment.lines().filter(own).collect();
    rows.sort_unstable();
    assert_eq!(
        rows,
        [
            "INTERCOMD_AT=1795690000",
            "INTERCOMD_CALL=c-1-7",
            "INTERCOMD_CAUSE=no-answer",
            "INTERCOMD_DOOR=front-door",
            "INTERCOMD_EVENT=missed",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
    );
    let input: Value = serde_json::from_str(&door.read("in")).expect("one JSON object");
    assert_eq!((&input["event"], &input["intercomd"]), (&"missed".into(), &1.into()));
    running.close().await;
}

#[tokio::test]
async fn a_name_is_never_taken_for_a_command() {
    let door = Door::new();
    let dir = door.dir.path().display().to_string();
    let script = shell(&format!("printf %s \"$INTERCOMD_NAME\" >{dir}/name"));
    let running = door.start(&format!("[[hooks.command]]\non = [\"answered\"]\n{script}"));
    let name = format!("$(touch {dir}/bad); touch {dir}/bad\n");
    running.tell(What::Answered { name: Some(name.clone()) });
    running.until("the program", |status| status.sent == 1).await;
    assert_eq!(door.read("name"), name.trim());
    assert!(!door.path("bad").exists());
    running.close().await;
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_killed_with_all_it_has_started() {
    let door = Door::new();
    let dir = door.dir.path().display();
    let script = shell(&format!("echo waits >&2; sleep 600 & echo $! >{dir}/pid; wait"));
    let table = format!("[[hooks.command]]\non = [\"ring\"]\ntimeout = \"1s\"\n{script}");
    let running = door.start(&table);
    running.ring();
    let status = running.until("its end", |status| status.failed == 1).await;
    let error = status.last_error.expect("it failed");
    assert!(error.contains("timeout") && error.contains("waits"), "{error}");
    ended(&door, "pid").await;
    running.close().await;
}

#[tokio::test]
async fn what_a_program_leaves_running_ends_with_it_and_holds_up_nothing() {
    let door = Door::new();
    let dir = door.dir.path().display();
    let script = shell(&format!("sleep 600 & echo $! >{dir}/pid; exit 0"));
    let running = door.start(&format!("[[hooks.command]]\non = [\"ring\"]\n{script}"));
    running.ring();
    let status = running.until("its end", |status| status.sent + status.failed == 1).await;
    assert_eq!(status.sent, 1, "{:?}", status.last_error);
    ended(&door, "pid").await;
    running.close().await;
}

#[tokio::test]
async fn a_flood_of_words_is_read_away_and_one_short_line_is_kept() {
    let door = Door::new();
    let script =
        shell("head -c 30000000 /dev/zero | tr '\\0' x >&2; yes | head -c 30000000; exit 3");
    let running = door.start(&format!("[[hooks.command]]\non = [\"ring\"]\n{script}"));
    running.ring();
    let status = running.until("its end", |status| status.failed == 1).await;
    let error = status.last_error.expect("it failed");
    assert!(error.contains("exit status: 3") && error.contains("xxx"), "{error}");
    assert!(error.len() < 300, "{} bytes", error.len());
    running.close().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_by_name() {
    let door = Door::new();
    let running = door.start("[[hooks.command]]\non = [\"ring\"]\nrun = [\"/nowhere/x\"]\n");
    running.ring();
    let status = running.until("the failure", |status| status.failed == 1).await;
    assert_eq!(status.name, "command /nowhere/x");
    assert!(status.last_error.expect("it failed").contains("correct run"));
    running.close().await;
}

#[tokio::test]
async fn four_programs_run_at_once_and_the_others_wait() {
    let door = Door::new();
    let dir = door.dir.path().display();
    let script = shell(&format!(
        "echo + >>{dir}/log; while [ ! -e {dir}/go ]; do sleep 0.02; done; echo - >>{dir}/log"
    ));
    // Two hooks share the four places.
    let hook = format!("[[hooks.command]]\non = [\"ring\"]\n{script}");
    let running = door.start(&format!("{hook}{hook}"));
    const RINGS: usize = 6;
    (0..RINGS).for_each(|_| running.ring());
    let count = |sign: &str| door.read("log").lines().filter(|line| *line == sign).count();
    // However the places are shared: one event of each hook waits for one, the rest in the queues.
    let waiting = || running.hooks.status().iter().map(|status| status.waiting).sum::<usize>();
    until("four at work", || count("+") == PROGRAMS && waiting() == 2 * RINGS - PROGRAMS - 2).await;
    fs::write(door.path("go"), "").expect("it can be written");
    let sent = || running.hooks.status().iter().map(|status| status.sent).sum::<u64>();
    until("all done", || sent() == 2 * RINGS as u64).await;
    let mut at_once = 0;
    for line in door.read("log").lines() {
        at_once = if line == "+" { at_once + 1 } else { at_once - 1 };
        assert!(at_once <= PROGRAMS);
    }
    running.close().await;
}

// ---- web addresses

/// One request as it came in.
struct Seen {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no header {name}"));
        value.to_str().expect("it is ASCII")
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("it is JSON")
    }
}

/// What is answered: a status, and a header with its value.
type Answer = (u16, Option<(&'static str, &'static str)>);

#[derive(Clone)]
struct Desk {
    seen: mpsc::UnboundedSender<Seen>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

/// An HTTP server that answers by a script, then 204.
struct Receiver {
    address: String,
    seen: mpsc::UnboundedReceiver<Seen>,
}

async fn take(
    State(desk): State<Desk>,
    method: Method,
    uri: axum::http::Uri,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let path = uri.to_string();
    // The test may be over.
    let _ = desk.seen.send(Seen { method, path, headers, body });
    let answer = desk.answers.lock().expect("no test panics here").pop_front();
    let (status, header) = answer.unwrap_or((204, None));
    let mut headers = HeaderMap::new();
    if let Some((name, value)) = header {
        headers.insert(name, value.parse().expect("a header"));
    }
    (StatusCode::from_u16(status).expect("a status"), headers)
}

async fn receiver(answers: &[Answer]) -> Receiver {
    let (tell, seen) = mpsc::unbounded_channel();
    let answers = Arc::new(Mutex::new(answers.iter().copied().collect()));
    let app = Router::new()
        .fallback(take)
        .layer(axum::extract::DefaultBodyLimit::max(4 << 20))
        .with_state(Desk { seen: tell, answers });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Receiver { address, seen }
}

const SECRET: &str = "not-a-secret-but-long-enough";

fn webhook(door: &Door, receiver: &Receiver, more: &str) -> Running {
    door.file("secret", SECRET);
    door.start(&format!(
        "[[hooks.webhook]]\nurl = \"{}/hook?x=1\"\nsecret_file = \"secret\"\n{more}",
        receiver.address
    ))
}

/// The recipe of the document, as whoever copies it runs it.
fn python_says(seen: &Seen, secret: &str, now: &str) -> bool {
    let document = include_str!("../docs/hooks.md");
    let code = document.split("```python\n").nth(1).and_then(|rest| rest.split("```").next());
    let code = code.expect("the document has the recipe");
    let call = "\nimport sys\nargs = sys.argv[1:]\nsys.exit(0 if verify(args[0], args[1], args[2], \
                sys.stdin.buffer.read(), float(args[3])) else 9)\n";
    let mut python = Command::new("python3")
        .args(["-c", &format!("{code}{call}"), secret])
        .args([seen.header("x-intercomd-timestamp"), seen.header("x-intercomd-signature"), now])
        .stdin(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    let mut stdin = python.stdin.take().expect("it has an input");
    std::io::Write::write_all(&mut stdin, &seen.body).expect("it reads");
    drop(stdin);
    match python.wait().expect("it ends").code() {
        Some(0) => true,
        Some(9) => false,
        other => panic!("the recipe failed: {other:?}"),
    }
}

#[tokio::test]
async fn a_delivery_is_json_signed_so_that_the_recipe_of_the_document_believes_it() {
    let (door, mut receiver) = (Door::new(), receiver(&[]).await);
    let running = webhook(&door, &receiver, "");
    running.tell(What::Answered { name: Some("Änne".to_owned()) });
    let seen = next("the delivery", &mut receiver.seen).await;
    assert_eq!((&seen.method, seen.path.as_str()), (&Method::POST, "/hook?x=1"));
    assert_eq!(seen.header("content-type"), "application/json");
    assert!(seen.header("user-agent").starts_with("intercomd/"));
    assert_eq!(seen.json()["name"], "Änne");
    let now = seen.header("x-intercomd-timestamp");
    assert!(python_says(&seen, SECRET, now));
    assert!(!python_says(&seen, "another-secret-of-theirs", now));
    let later = (now.parse::<u64>().expect("a number") + 301).to_string();
    assert!(!python_says(&seen, SECRET, &later));
    let status = running.until("its end", |status| status.sent == 1).await;
    assert_eq!(status.name, "webhook 127.0.0.1");
    running.close().await;
}

#[tokio::test]
async fn a_delivery_that_failed_is_tried_again_under_the_same_number() {
    let answers = [(500, None), (429, Some(("retry-after", "0")))];
    let (door, mut receiver) = (Door::new(), receiver(&answers).await);
    let running = webhook(&door, &receiver, "");
    running.ring();
    let first = next("the first try", &mut receiver.seen).await;
    let second = next("the second try", &mut receiver.seen).await;
    let third = next("the third try", &mut receiver.seen).await;
    for again in [&second, &third] {
        assert_eq!(again.header("x-intercomd-delivery"), first.header("x-intercomd-delivery"));
        assert_eq!(again.body, first.body);
    }
    let now = third.header("x-intercomd-timestamp");
    assert!(python_says(&third, SECRET, now), "each try is signed anew");
    let status = running.until("its success", |status| status.sent == 1).await;
    assert_eq!((status.failed, status.dropped, status.waiting), (0, 0, 0));
    running.ring();
    let other = next("another event", &mut receiver.seen).await;
    assert_ne!(other.header("x-intercomd-delivery"), first.header("x-intercomd-delivery"));
    running.close().await;
}

#[tokio::test]
async fn a_refusal_a_redirect_and_a_far_retry_after_are_final() {
    for (answer, words) in [
        ((400, None), "refused with HTTP status 400"),
        ((404, None), "refused with HTTP status 404"),
        ((307, Some(("location", "/elsewhere"))), "redirects are not followed"),
        ((503, Some(("retry-after", "601"))), "HTTP status 503"),
        ((429, Some(("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT"))), "HTTP status 429"),
    ] {
        let (door, mut receiver) = (Door::new(), receiver(&[answer]).await);
        let running = webhook(&door, &receiver, "");
        running.ring();
        next("the only try", &mut receiver.seen).await;
        let status = running.until("giving up", |status| status.failed == 1).await;
        let error = status.last_error.expect("it failed");
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("x=1") && !error.contains(SECRET), "{error}");
        assert_eq!(status.waiting, 0);
        running.close().await;
        assert!(receiver.seen.try_recv().is_err(), "{words}: it was tried again");
    }
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_tried_again_and_younger_events_too() {
    let door = Door::new();
    let gone = Listener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let running = door.start(&format!("[[hooks.webhook]]\nurl = \"http://{gone}/\"\n"));
    running.ring();
    running.tell(What::Missed { cause: "no-answer" });
    let status = running.until("two failures", |s| s.waiting == 2 && s.last_error.is_some()).await;
    let error = status.last_error.expect("it failed");
    assert!(error.contains("cannot be reached"), "{error}");
    running.close().await;
}

#[tokio::test]
async fn a_receiver_that_never_answers_delays_nobody_and_the_oldest_events_are_dropped() {
    let door = Door::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let running = door.start(&format!(
        "[[hooks.webhook]]\nurl = \"http://{address}/\"\n[[hooks.command]]\non = [\"missed\"]\n\
         run = [\"/bin/true\"]\n"
    ));
    running.ring();
    let caller = timeout(SOON, listener.accept()).await.expect("it calls").expect("it can");
    for _ in 0..1000 {
        running.ring();
    }
    let status = |name: &str| {
        let all = running.hooks.status();
        all.into_iter().find(|status| status.name.starts_with(name)).expect("it is there")
    };
    let stuck = status("webhook");
    assert_eq!((stuck.waiting, stuck.dropped), (WAITING, 1000 - WAITING as u64));
    // The others go on.
    running.tell(What::Missed { cause: "no-answer" });
    until("the program", || status("command").sent == 1).await;
    drop(caller);
    for task in &running.tasks {
        task.abort();
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_read() {
    let door = Door::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let running = door.start(&format!("[[hooks.webhook]]\nurl = \"http://{address}/\"\n"));
    running.ring();
    let (mut caller, _) =
        timeout(SOON, listener.accept()).await.expect("it calls").expect("it can");
    use tokio::io::AsyncWriteExt;
    let flood = tokio::spawn(async move {
        let mut sent = caller.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while sent.is_ok() {
            sent = caller.write_all(&[b'x'; 65536]).await;
        }
    });
    running.until("its success", |status| status.sent == 1).await;
    timeout(SOON, flood).await.expect("the door hangs up").expect("without a panic");
    running.close().await;
}

#[tokio::test]
async fn pictures_go_along_where_they_are_wanted() {
    let door = Door::new();
    let jpeg = door.file("visitor.jpg", JPEG);
    for (more, expected) in [("picture = true", true), ("on = [\"picture\"]", false)] {
        let mut receiver = receiver(&[]).await;
        let running = webhook(&door, &receiver, more);
        running.tell(What::Picture { path: jpeg.clone() });
        let seen = next("the picture", &mut receiver.seen).await.json();
        assert_eq!(seen["picture"], jpeg.display().to_string());
        assert_eq!(seen.get("jpeg").is_some(), expected, "{seen}");
        running.close().await;
    }
    let mut receiver = receiver(&[]).await;
    let running = webhook(&door, &receiver, "picture = true");
    running.tell(What::Picture { path: door.path("gone.jpg") });
    let seen = next("the news alone", &mut receiver.seen).await.json();
    assert!(seen.get("jpeg").is_none());
    let status = running.until("its success", |status| status.sent == 1).await;
    assert!(status.last_error.expect("it is told").contains("gone.jpg"));
    running.close().await;
}

#[tokio::test]
async fn closing_sends_what_waits() {
    let (door, mut receiver) = (Door::new(), receiver(&[]).await);
    let running = webhook(&door, &receiver, "");
    for _ in 0..5 {
        running.ring();
    }
    running.close().await;
    for _ in 0..5 {
        receiver.seen.try_recv().expect("it was sent before the end");
    }
}

// ---- certificates

/// An authority and a server at 127.0.0.1 it vouches for, as PEM files.
fn certificates(door: &Door) -> (rustls_pki_types::CertificateDer<'static>, KeyPair) {
    let mut authority = CertificateParams::new([]).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let own = authority.self_signed(&authority_key).expect("a certificate");
    door.file("ca.crt", own.pem());
    let issuer = Issuer::new(authority, authority_key);
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let server = CertificateParams::new(names).expect("good names");
    let key = KeyPair::generate().expect("a key");
    let certificate = server.signed_by(&key, &issuer).expect("a certificate");
    door.file("server.crt", certificate.pem());
    door.file("server.key", key.serialize_pem());
    (certificate.der().clone(), key)
}

#[tokio::test]
async fn https_is_spoken_with_those_the_authority_vouches_for_and_no_others() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let door = Door::new();
    let (certificate, key) = certificates(&door);
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let server = rustls::ServerConfig::builder().with_no_client_auth();
    let server = server.with_single_cert(vec![certificate], key.into()).expect("they fit");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok(mut tls) = acceptor.accept(tcp).await {
                let _ = tls.read(&mut [0; 4096]).await;
                let _ = tls.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
                let _ = tls.shutdown().await;
            }
        }
    });
    let table = format!("[[hooks.webhook]]\nurl = \"https://{address}/\"\n");
    let trusting = door.start(&format!("{table}ca_file = \"ca.crt\"\n"));
    trusting.ring();
    trusting.until("its success", |status| status.sent == 1).await;
    trusting.close().await;
    let wary = door.start(&table);
    wary.ring();
    let status = wary.until("the failure", |status| status.last_error.is_some()).await;
    let error = status.last_error.expect("it failed");
    assert!(error.contains("certificate"), "{error}");
    wary.close().await;
}

// ---- pushes

#[tokio::test]
async fn a_push_says_who_rings_and_carries_no_key() {
    let (door, mut receiver) = (Door::new(), receiver(&[]).await);
    door.file("token", "tk_test");
    let jpeg = door.file("visitor.jpg", JPEG);
    let running = door.start(&format!(
        "[hooks.push]\nurl = \"{}/topic\"\ntoken_file = \"token\"\npicture = true\n",
        receiver.address
    ));
    running.ring();
    running.tell(What::Answered { name: None });
    running.tell(What::Picture { path: jpeg });
    let ring = next("the ring", &mut receiver.seen).await;
    assert_eq!((&ring.method, ring.path.as_str()), (&Method::POST, "/topic"));
    assert_eq!(&ring.body[..], b"Somebody is at the door");
    assert_eq!(ring.header("x-title"), "front-door");
    assert_eq!(ring.header("x-priority"), "5");
    assert_eq!(ring.header("x-tags"), "bell");
    assert_eq!(ring.header("authorization"), "Bearer tk_test");
    assert!(ring.headers.get("x-click").is_none());
    let picture = next("the picture, not the answer", &mut receiver.seen).await;
    assert_eq!((&picture.method, &picture.body[..]), (&Method::PUT, JPEG));
    assert_eq!(picture.header("x-filename"), "visitor.jpg");
    running.close().await;
}

// ---- the broker

/// A broker of the test's own, ended with it.
struct Broker {
    port: u16,
    process: Child,
    config: PathBuf,
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const PASSWORD: &str = "hunter2";

fn mosquitto(config: &Path) -> Child {
    let sbin = Path::new("/usr/sbin/mosquitto");
    let program = if sbin.exists() { sbin } else { Path::new("mosquitto") };
    Command::new(program)
        .arg("-c")
        .arg(config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("mosquitto is installed (tools/setup.sh test)")
}

impl Broker {
    /// `more`: lines of its configuration for the listener.
    async fn start(door: &Door, more: &str) -> Self {
        let passwords = door.file("passwords", "");
        for user in ["door", "other"] {
            let made = Command::new("mosquitto_passwd")
                .arg("-b")
                .arg(&passwords)
                .args([user, PASSWORD])
                .stderr(Stdio::null())
                .status();
            assert!(made.expect("mosquitto_passwd is installed").success());
        }
        let port = {
            let free = Listener::bind("127.0.0.1:0").expect("a port");
            free.local_addr().expect("an address").port()
        };
        // As the user of the test, who owns the files.
        let config = door.file(
            "mosquitto.conf",
            format!(
                "user root\nlistener {port} 127.0.0.1\nallow_anonymous false\npassword_file {}\n{more}\n",
                passwords.display()
            ),
        );
        let broker = Self { port, process: mosquitto(&config), config };
        broker.answers().await;
        broker
    }

    async fn answers(&self) {
        let port = self.port;
        until("the broker", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
    }

    async fn start_again(&mut self) {
        self.process = mosquitto(&self.config);
        self.answers().await;
    }

    fn stop(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }
}

/// Somebody else at the broker.
struct Other {
    client: AsyncClient,
    heard: mpsc::UnboundedReceiver<Publish>,
    task: JoinHandle<()>,
}

impl Drop for Other {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Other {
    /// Hears everything from here on.
    async fn at(port: u16) -> Self {
        let mut options = MqttOptions::new("other", "127.0.0.1", port);
        options.set_credentials("other", PASSWORD).set_max_packet_size(1 << 21, 1 << 21);
        let (client, mut network) = AsyncClient::new(options, 64);
        let (tell, heard) = mpsc::unbounded_channel();
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let mut ready = Some(ready);
        client.subscribe("#", QoS::AtLeastOnce).await.expect("there is room");
        let task = tokio::spawn(async move {
            while let Ok(occurrence) = network.poll().await {
                match occurrence {
                    Occurrence::Incoming(Packet::SubAck(_)) => {
                        if let Some(ready) = ready.take() {
                            let _ = ready.send(());
                        }
                    }
                    Occurrence::Incoming(Packet::Publish(publish)) => {
                        let _ = tell.send(publish);
                    }
                    _ => {}
                }
            }
        });
        timeout(SOON, is_ready).await.expect("the broker answers").expect("it lets us in");
        Self { client, heard, task }
    }

    async fn say(&self, topic: &str, payload: &str, retain: bool) {
        let said = self.client.publish(topic, QoS::AtLeastOnce, retain, payload);
        said.await.expect("there is room");
    }

    /// Waits for a message on a topic; others are passed over.
    async fn hear(&mut self, topic: &str) -> Publish {
        loop {
            let publish = next(topic, &mut self.heard).await;
            if publish.topic == topic {
                return publish;
            }
        }
    }

    /// Waits for this text on this topic.
    async fn hear_text(&mut self, topic: &str, text: &str) {
        while self.hear(topic).await.payload != text {}
    }
}

fn mqtt(door: &Door, port: u16, more: &str) -> Running {
    door.file("password", PASSWORD);
    door.start(&format!(
        "[hooks.mqtt]\nurl = \"mqtt://127.0.0.1:{port}\"\nusername = \"door\"\n\
         password_file = \"password\"\n{more}"
    ))
}

const STATUS: &str = "intercomd/front-door/status";
const STATE: &str = "intercomd/front-door/state";
const PRESS: &str = "intercomd/front-door/press";
const OPEN: &str = "intercomd/front-door/open/set";

fn discovery(component: &str, object: &str) -> String {
    format!("homeassistant/{component}/intercomd_front-door/{object}/config")
}

#[tokio::test]
async fn the_broker_has_entities_states_presses_and_pictures() {
    let door = Door::new();
    let broker = Broker::start(&door, "").await;
    let mut other = Other::at(broker.port).await;
    let running = mqtt(&door, broker.port, "");
    let mut configs = BTreeMap::new();
    while configs.len() < 5 {
        let publish = next("the entities", &mut other.heard).await;
        if publish.topic.starts_with("homeassistant/") {
            configs.insert(publish.topic, publish.payload);
        }
    }
    assert!(configs[&discovery("button", "open")].is_empty(), "nobody may open by MQTT");
    let press: Value =
        serde_json::from_slice(&configs[&discovery("event", "press")]).expect("JSON");
    assert_eq!(press["state_topic"], PRESS);
    assert_eq!(press["availability_topic"], STATUS);
    assert_eq!(press["device"]["name"], "front-door");
    other.hear_text(STATUS, "online").await;
    other.hear_text(STATE, "idle").await;

    running.ring();
    other.hear_text(STATE, "ringing").await;
    let press: Value = serde_json::from_slice(&other.hear(PRESS).await.payload).expect("JSON");
    assert_eq!((&press["event_type"], &press["call"]), (&"ring".into(), &"c-1-7".into()));
    let event = other.hear("intercomd/front-door/event").await;
    let event: Value = serde_json::from_slice(&event.payload).expect("JSON");
    assert_eq!((&event["intercomd"], &event["event"]), (&1.into(), &"ring".into()));

    running.tell(What::Fault { part: "camera".to_owned(), over: false });
    other.hear_text("intercomd/front-door/problem", "ON").await;
    other.hear_text("intercomd/front-door/problem/parts", "{\"parts\":[\"camera\"]}").await;

    let mut large = JPEG.to_vec();
    large.resize(700_000, 7);
    running.tell(What::Picture { path: door.file("visitor.jpg", &large) });
    assert_eq!(other.hear("intercomd/front-door/picture").await.payload, large);
    running.until("all confirmed", |status| status.sent == 3).await;

    // The states are kept for those who come later, the press is not.
    let mut late = Other::at(broker.port).await;
    let mut kept = BTreeMap::new();
    while kept.len() < 9 {
        let publish = next("what is kept", &mut late.heard).await;
        assert!(publish.retain, "{}", publish.topic);
        kept.insert(publish.topic, publish.payload);
    }
    assert_eq!(kept[STATE], "ringing");
    assert!(kept.contains_key("intercomd/front-door/picture") && !kept.contains_key(PRESS));
    drop(late);
    running.close().await;
}

#[tokio::test]
async fn a_door_that_goes_is_offline_with_and_without_a_goodbye() {
    let door = Door::new();
    let broker = Broker::start(&door, "").await;
    let mut other = Other::at(broker.port).await;
    let running = mqtt(&door, broker.port, "");
    other.hear_text(STATUS, "online").await;
    running.ring();
    running.close().await;
    other.hear_text(PRESS, r#"{"again":false,"call":"c-1-7","event_type":"ring"}"#).await;
    other.hear_text(STATUS, "offline").await;

    let running = mqtt(&door, broker.port, "");
    other.hear_text(STATUS, "online").await;
    running.tasks.iter().for_each(|task| task.abort());
    other.hear_text(STATUS, "offline").await;
}

#[tokio::test]
async fn entities_are_told_again_when_home_assistant_has_started() {
    let door = Door::new();
    let broker = Broker::start(&door, "").await;
    let mut other = Other::at(broker.port).await;
    let running = mqtt(&door, broker.port, "");
    let topic = discovery("sensor", "state");
    let first = other.hear(&topic).await;
    other.hear_text("intercomd/front-door/problem/parts", "{\"parts\":[]}").await;
    other.say("homeassistant/status", "offline", false).await;
    other.say("homeassistant/status", "online", false).await;
    let second = other.hear(&topic).await;
    assert_eq!(first.payload, second.payload);
    other.hear_text(STATE, "idle").await;
    running.close().await;
}

#[tokio::test]
async fn a_broker_that_was_away_gets_the_states_of_now_and_a_ring_that_is_young() {
    let door = Door::new();
    let mut broker = Broker::start(&door, "").await;
    let running = mqtt(&door, broker.port, "");
    running.until("being let in", |status| status.last_success.is_some()).await;
    broker.stop();
    running.until("the loss", |status| status.last_error.is_some()).await;
    running.tell(What::Fault { part: "camera".to_owned(), over: false });
    running.ring();
    running.until("holding them", |status| status.waiting == 2).await;
    broker.start_again().await;
    let mut other = Other::at(broker.port).await;
    other.hear_text(STATE, "ringing").await;
    running.until("both told", |status| status.sent == 2 && status.waiting == 0).await;
    assert_eq!(running.status().failed, 0);
    let mut late = Other::at(broker.port).await;
    late.hear_text("intercomd/front-door/problem", "ON").await;
    running.close().await;
}

#[tokio::test]
async fn the_door_is_asked_to_open_only_by_a_fresh_message_that_says_the_right_thing() {
    let door = Door::new();
    let broker = Broker::start(&door, "").await;
    let mut other = Other::at(broker.port).await;
    other.say(OPEN, "sesame", true).await;
    other.hear(OPEN).await;
    let running = mqtt(&door, broker.port, "allow_open = true\nopen_payload = \"sesame\"\n");
    let button = other.hear(&discovery("button", "open")).await;
    let button: Value = serde_json::from_slice(&button.payload).expect("JSON");
    assert_eq!(
        (&button["command_topic"], &button["payload_press"]),
        (&OPEN.into(), &"sesame".into())
    );
    other.hear_text(STATUS, "online").await;
    for payload in ["", "Sesame", "sesame ", "OPEN"] {
        other.say(OPEN, payload, false).await;
    }
    other.say(OPEN, "sesame", false).await;
    // Answered when all before it was dealt with.
    other.say("homeassistant/status", "online", false).await;
    other.hear(&discovery("button", "open")).await;
    let mut wishes = running.close().await;
    assert_eq!(wishes.recv().await, Some(Wish::Open { by: "mqtt" }));
    assert_eq!(wishes.recv().await, None, "one good message, one wish");
}

#[tokio::test]
async fn without_allow_open_nobody_is_heard() {
    let door = Door::new();
    let broker = Broker::start(&door, "").await;
    let mut other = Other::at(broker.port).await;
    let running = mqtt(&door, broker.port, "");
    other.hear_text(STATUS, "online").await;
    other.say(OPEN, "OPEN", false).await;
    // Answered after the message before it was dealt with.
    other.hear(OPEN).await;
    other.say("homeassistant/status", "online", false).await;
    other.hear(&discovery("event", "press")).await;
    assert_eq!(running.close().await.recv().await, None);
}

/// The rules of the document, and all rights for the other one.
fn rules(door: &Door) -> String {
    let document = include_str!("../docs/hooks.md");
    let rules = document.split("(mosquitto):\n```\n").nth(1).and_then(|s| s.split("```").next());
    let rules = rules.expect("the document has rules");
    let path = door.file("acl", format!("{rules}\nuser other\ntopic readwrite #\n"));
    format!("acl_file {}", path.display())
}

#[tokio::test]
async fn the_rules_of_the_document_are_all_the_door_needs() {
    let door = Door::new();
    let broker = Broker::start(&door, &rules(&door)).await;
    let mut other = Other::at(broker.port).await;
    let mut running = mqtt(&door, broker.port, "allow_open = true\n");
    assert!(!other.hear(&discovery("button", "open")).await.payload.is_empty());
    other.hear_text(STATUS, "online").await;
    running.ring();
    other.hear(PRESS).await;
    other.say("homeassistant/status", "online", false).await;
    other.hear(&discovery("button", "open")).await;
    other.say(OPEN, "OPEN", false).await;
    let wish = timeout(SOON, running.wishes.recv()).await.expect("it is asked");
    assert_eq!(wish, Some(Wish::Open { by: "mqtt" }));
    assert_eq!(running.status().last_error, None);
    running.close().await;
}

/// One connection to a broker that is played by the test: mosquitto lets everybody subscribe and confirms
/// everything.
struct Played {
    tcp: tokio::net::TcpStream,
}

impl Played {
    /// Lets the door in.
    async fn accept(listener: &tokio::net::TcpListener) -> Self {
        let (tcp, _) = timeout(SOON, listener.accept()).await.expect("it calls").expect("it can");
        let mut played = Self { tcp };
        assert_eq!(played.packet().await.0 >> 4, 1, "CONNECT comes first");
        played.say(&[0x20, 2, 0, 0]).await;
        played
    }

    async fn say(&mut self, packet: &[u8]) {
        tokio::io::AsyncWriteExt::write_all(&mut self.tcp, packet).await.expect("it listens");
    }

    /// The first byte and the body of a packet.
    async fn packet(&mut self) -> (u8, Vec<u8>) {
        use tokio::io::AsyncReadExt;
        let reading = async {
            let first = self.tcp.read_u8().await?;
            let (mut length, mut shift) = (0, 0);
            loop {
                let byte = usize::from(self.tcp.read_u8().await?);
                length |= (byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.tcp.read_exact(&mut body).await?;
            Ok::<_, std::io::Error>((first, body))
        };
        timeout(SOON, reading).await.expect("it speaks").expect("it stays")
    }

    /// Answers subscriptions with `code` and confirms messages until one comes on this topic, which is left
    /// unconfirmed: its number.
    async fn until_published(&mut self, topic: &str, code: u8) -> [u8; 2] {
        loop {
            let (first, body) = self.packet().await;
            match first >> 4 {
                8 => self.say(&[0x90, 4, body[0], body[1], code, code]).await,
                3 => {
                    let end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                    let number = [body[end], body[end + 1]];
                    if &body[2..end] == topic.as_bytes() {
                        return number;
                    }
                    self.confirm(number).await;
                }
                _ => {}
            }
        }
    }

    async fn confirm(&mut self, number: [u8; 2]) {
        self.say(&[0x40, 2, number[0], number[1]]).await;
    }
}

const REFUSED: u8 = 0x80;
const GRANTED: u8 = 1;

#[tokio::test]
async fn a_door_that_may_not_subscribe_says_so_and_tells_all_the_same() {
    let door = Door::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let running = mqtt(&door, port, "allow_open = true\n");
    running.ring();
    let mut broker = Played::accept(&listener).await;
    broker.until_published(PRESS, REFUSED).await;
    let status = running.until("the refusal", |status| status.last_error.is_some()).await;
    let error = status.last_error.expect("it failed");
    assert!(error.contains("docs/hooks.md"), "{error}");
    drop(broker);
    running.tasks.iter().for_each(|task| task.abort());
}

#[tokio::test]
async fn a_ring_the_broker_did_not_confirm_is_sent_again_over_the_next_connection() {
    let door = Door::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let running = mqtt(&door, port, "");
    let mut broker = Played::accept(&listener).await;
    running.ring();
    broker.until_published(PRESS, GRANTED).await;
    drop(broker);
    let mut broker = Played::accept(&listener).await;
    let number = broker.until_published(PRESS, GRANTED).await;
    assert_eq!(running.status().sent, 0);
    broker.confirm(number).await;
    let number = broker.until_published("intercomd/front-door/event", GRANTED).await;
    broker.confirm(number).await;
    running.until("its success", |status| status.sent == 1).await;
    drop(broker);
    running.tasks.iter().for_each(|task| task.abort());
}

#[tokio::test]
async fn a_wrong_password_is_named_without_being_shown() {
    let door = Door::new();
    let broker = Broker::start(&door, "").await;
    door.file("wrong", "never-show-this");
    let running = door.start(&format!(
        "[hooks.mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\nusername = \"door\"\npassword_file = \"wrong\"\n",
        broker.port
    ));
    let status = running.until("the refusal", |status| status.last_error.is_some()).await;
    let error = status.last_error.expect("it failed");
    assert!(error.contains("check username and password_file"), "{error}");
    assert!(!error.contains("never-show-this"), "{error}");
    running.close().await;
}

#[tokio::test]
async fn a_broker_with_tls_is_checked_with_the_authority_of_the_owner() {
    let door = Door::new();
    certificates(&door);
    let more =
        format!("certfile {0}/server.crt\nkeyfile {0}/server.key", door.dir.path().display());
    let broker = Broker::start(&door, &more).await;
    door.file("password", PASSWORD);
    let table = |more: &str| {
        format!(
            "[hooks.mqtt]\nurl = \"mqtts://127.0.0.1:{}\"\nusername = \"door\"\n\
             password_file = \"password\"\n{more}",
            broker.port
        )
    };
    let running = door.start(&table("ca_file = \"ca.crt\"\n"));
    running.ring();
    running.until("its success", |status| status.sent == 1).await;
    running.close().await;
    let wary = door.start(&table(""));
    let status = wary.until("the failure", |status| status.last_error.is_some()).await;
    let error = status.last_error.expect("it failed");
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(status.last_success, None);
    wary.close().await;
}
