//! `intercomd ctl`: asks the running daemon over its control socket and tells a person, or a script.
//!
//! Synchronous on purpose: it needs no runtime. Exit codes are in [`Outcome`].

use super::control::{DEFAULT_SOCKET, Reply, Request, Status, line};
use super::ctl_words::{describe, log_line, qr_code, sentence};
use super::happenings::{Event, Happening};
use crate::config::LoadArgs;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the daemon may take for an answer; a little longer than it gives itself.
const PATIENCE: Duration = Duration::from_secs(8);

/// Arguments of `intercomd ctl`.
#[derive(Debug, Clone, clap::Args)]
pub struct CtlArgs {
    /// The daemon's control socket.
    #[arg(long, value_name = "SOCKET", env = "INTERCOMD_SOCKET", default_value = DEFAULT_SOCKET, global = true)]
    pub socket: PathBuf,
    /// One JSON object a line instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What `ctl` can do.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub enum Verb {
    /// Press the doorbell.
    Press,
    /// End the call.
    Hangup,
    /// Open the door: one pulse of its relay.
    Unlock {
        /// For how long, such as 3s or 800ms [default: `pulse` of the relay]
        #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
        length: Option<Duration>,
    },
    /// Tell everything about the daemon.
    Status,
    /// Tell every event until the daemon ends.
    Watch,
    /// Tell who was there, newest first.
    Log {
        /// How many calls at most
        #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
        count: u32,
        /// Forget all of it, pictures too
        #[arg(long, conflicts_with = "count")]
        clear: bool,
    },
    /// Show the page's address as text and as a QR code, to open it on a phone.
    Pair,
    /// Who may open the door from a page.
    #[command(subcommand)]
    Person(PersonVerb),
    /// Write a report to be given to whoever helps: status, configuration, devices and log, without secrets.
    Diagnose {
        /// The configuration file [default: /etc/intercomd/config.toml]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// What `ctl person` can do.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub enum PersonVerb {
    /// Let a person open the door, and show the person's own address of the page once.
    Add {
        /// How the person is called, 1 to 32 characters
        name: String,
    },
    /// Let a person open the door no more.
    Remove {
        /// How the person is called
        name: String,
    },
    /// Show who may open the door.
    List,
}

/// How `ctl` ended; the numbers are its exit codes. 2 (wrong usage) is given by the argument parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done = 0,
    /// The daemon refused.
    Refused = 1,
    /// No daemon answers at the socket, or it went away in the middle.
    NoDaemon = 3,
    /// The socket is there, but this user may not use it.
    Denied = 4,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome as u8)
    }
}

/// Why there was no answer.
#[derive(Debug)]
enum Failure {
    NoDaemon(String),
    Denied,
    /// Nobody reads what we write any more, as in `ctl watch | head`.
    OutputClosed,
}

impl From<io::Error> for Failure {
    fn from(why: io::Error) -> Self {
        match why.kind() {
            ErrorKind::PermissionDenied => Self::Denied,
            ErrorKind::NotFound => Self::NoDaemon("there is no socket".to_owned()),
            ErrorKind::ConnectionRefused => Self::NoDaemon("nobody listens".to_owned()),
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                Self::NoDaemon(format!("it did not answer within {PATIENCE:?}"))
            }
            _ => Self::NoDaemon(why.to_string()),
        }
    }
}

/// Writes a report of what the daemon says, or why it says nothing, and of what this machine shows.
pub type Reporter = fn(Result<Status, String>, &LoadArgs) -> String;

/// Carries a verb out, tells on standard output, complains on standard error. A report, which is about more than this
/// room knows, is written by `report`.
pub fn run(args: CtlArgs, report: Reporter) -> ExitCode {
    let outcome = execute(&args, report, &mut io::stdout().lock(), &mut io::stderr().lock());
    outcome.into()
}

fn execute(
    args: &CtlArgs,
    report: Reporter,
    out: &mut impl Write,
    err: &mut impl Write,
) -> Outcome {
    let done = match &args.verb {
        Verb::Press => ask(args, Request::Press {}, out),
        Verb::Hangup => ask(args, Request::Hangup {}, out),
        Verb::Unlock { length } => {
            let for_ms = length.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            ask(args, Request::Unlock { for_ms }, out)
        }
        Verb::Status => ask(args, Request::Status {}, out),
        Verb::Watch => watch(args, out),
        Verb::Log { clear: true, .. } => ask(args, Request::ClearLog {}, out),
        Verb::Log { count, .. } => ask(args, Request::Log { count: Some(*count) }, out),
        Verb::Pair => pair(args, out),
        Verb::Person(PersonVerb::Add { name }) => {
            ask(args, Request::AddPerson { name: name.clone() }, out)
        }
        Verb::Person(PersonVerb::Remove { name }) => {
            ask(args, Request::RemovePerson { name: name.clone() }, out)
        }
        Verb::Person(PersonVerb::List) => ask(args, Request::Persons {}, out),
        Verb::Diagnose { config } => diagnose(args, config.as_deref(), report, out),
    };
    let socket = args.socket.display();
    let (text, outcome) = match done {
        Ok(reply) if reply.ok => return Outcome::Done,
        Ok(Reply { error, fix, .. }) => {
            let error = error.unwrap_or_else(|| "the daemon gives no reason".to_owned());
            let fix = fix.map(|fix| format!("; {fix}")).unwrap_or_default();
            (format!("refused: {error}{fix}"), Outcome::Refused)
        }
        Err(Failure::OutputClosed) => return Outcome::Done,
        Err(Failure::NoDaemon(why)) => (
            format!(
                "no daemon answers at {socket}: {why}; start it (`systemctl start intercomd`), \
                 or name its socket with --socket"
            ),
            Outcome::NoDaemon,
        ),
        Err(Failure::Denied) => (
            format!(
                "you may not use {socket}; use sudo, or become a member of its group ({})",
                group_hint(&args.socket)
            ),
            Outcome::Denied,
        ),
    };
    // With nobody to complain to, the exit code still tells.
    let _ = writeln!(err, "intercomd ctl: {text}");
    outcome
}

fn group_hint(socket: &Path) -> String {
    format!("`ls -l {}` shows it", socket.display())
}

/// The daemon's end of the socket.
struct Daemon {
    lines: BufReader<UnixStream>,
}

impl Daemon {
    fn connect(socket: &Path) -> Result<Self, Failure> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let lines = BufReader::new(stream);
        Ok(Self { lines })
    }

    fn ask(&mut self, request: Request) -> Result<(Reply, String), Failure> {
        // A daemon that refuses us may have answered and closed before it was asked.
        let said = self.lines.get_mut().write_all(line(&request).as_bytes());
        let text = match (self.hear()?, said) {
            (Some(text), _) => text,
            (None, Err(why)) => return Err(why.into()),
            (None, Ok(())) => return Err(Failure::NoDaemon("it hung up".to_owned())),
        };
        let reply = serde_json::from_str(&text)
            .map_err(|_| Failure::NoDaemon("something answers that is no intercomd".to_owned()))?;
        Ok((reply, text))
    }

    fn hear(&mut self) -> Result<Option<String>, Failure> {
        let mut text = String::new();
        let read = self.lines.read_line(&mut text)?;
        text.truncate(text.trim_end().len());
        Ok((read > 0).then_some(text))
    }
}

fn ask(args: &CtlArgs, request: Request, out: &mut impl Write) -> Result<Reply, Failure> {
    let (reply, text) = Daemon::connect(&args.socket)?.ask(request)?;
    match (args.json, reply.ok, &reply.status) {
        (true, true, Some(status)) => tell(out, line(status).trim_end())?,
        (true, ..) => tell(out, &text)?,
        (false, true, _) => tell(out, for_a_person(&reply).trim_end())?,
        // The complaint goes to standard error.
        (false, false, _) => {}
    }
    Ok(reply)
}

fn for_a_person(reply: &Reply) -> String {
    let lines = |lines: Vec<String>, none: &str| match lines.is_empty() {
        true => none.to_owned(),
        false => lines.join("\n"),
    };
    if let Some(status) = &reply.status {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        return describe(status, now.unwrap_or_default());
    }
    if let Some(log) = &reply.log {
        return lines(log.iter().map(log_line).collect(), "nobody was there yet");
    }
    if let Some(persons) = &reply.persons {
        let names = persons.iter().map(|person| person.name.clone()).collect();
        return lines(names, "nobody may open the door from a page");
    }
    if let Some(person) = &reply.person {
        return match &person.link {
            Some(link) => format!(
                "{name} may open the door from this page. It is shown this once: give it to {name} and to nobody else.\n\n\
                 {link}\n\n{}",
                qr_code(link),
                name = person.name
            ),
            None => format!(
                "{} may open the door. No page is served in the local network; add this to the address of yours, behind the \
                 #, and keep it secret. It is shown this once.\n\n&{}",
                person.name, person.fragment
            ),
        };
    }
    "done".to_owned()
}

fn pair(args: &CtlArgs, out: &mut impl Write) -> Result<Reply, Failure> {
    let (reply, text) = Daemon::connect(&args.socket)?.ask(Request::Status {})?;
    let Some(status) = reply.status.as_ref().filter(|_| reply.ok) else {
        if args.json {
            tell(out, &text)?;
        }
        return Ok(reply);
    };
    let Some(address) = &status.address else {
        return Ok(Reply::refused(
            "no page is served in the local network",
            "set `listen` of [lan] in the configuration, or use a page of your own at the service",
        ));
    };
    if args.json {
        tell(out, line(&serde_json::json!({"address": address})).trim_end())?;
    } else {
        tell(
            out,
            &format!(
                "Open this on a phone in the same network, and keep it to yourself: whoever has it can answer the door.\n\n\
             {address}\n\n{}",
                qr_code(address)
            ),
        )?;
    }
    Ok(reply)
}

/// A door that does not run is reported, too.
fn diagnose(
    args: &CtlArgs,
    config: Option<&Path>,
    report: Reporter,
    out: &mut impl Write,
) -> Result<Reply, Failure> {
    let asked = Daemon::connect(&args.socket).and_then(|mut daemon| daemon.ask(Request::Status {}));
    let status = match asked {
        Ok((Reply { status: Some(status), .. }, _)) => Ok(*status),
        Ok((reply, _)) => Err(reply.error.unwrap_or_default()),
        Err(Failure::NoDaemon(why)) => Err(why),
        Err(Failure::Denied) => Err("this user may not ask it; use sudo".to_owned()),
        Err(Failure::OutputClosed) => return Err(Failure::OutputClosed),
    };
    let args = LoadArgs {
        config: config.map(Path::to_owned),
        socket: Some(args.socket.clone()),
        ..LoadArgs::default()
    };
    tell(out, report(status, &args).trim_end())?;
    Ok(Reply::done())
}

fn watch(args: &CtlArgs, out: &mut impl Write) -> Result<Reply, Failure> {
    let mut daemon = Daemon::connect(&args.socket)?;
    let (reply, text) = daemon.ask(Request::Watch {})?;
    if !reply.ok {
        if args.json {
            tell(out, &text)?;
        }
        return Ok(reply);
    }
    // An idle door has nothing to tell for days.
    daemon.lines.get_mut().set_read_timeout(None)?;
    while let Some(text) = daemon.hear()? {
        let event = serde_json::from_str::<Event>(&text);
        match &event {
            Ok(event) if !args.json => tell(out, &sentence(event))?,
            // An event that only a newer daemon knows is shown as it is.
            _ => tell(out, &text)?,
        }
        if event.is_ok_and(|event| event.what == Happening::Stopping) {
            return Ok(reply);
        }
    }
    Err(Failure::NoDaemon(
        "it ended the watch without a goodbye (it died, or this watcher was too slow)".to_owned(),
    ))
}

fn tell(out: &mut impl Write, text: &str) -> Result<(), Failure> {
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|_| Failure::OutputClosed)
}

#[cfg(test)]
mod tests {
    use super::super::control::{CallStatus, PeerStatus, State, UplinkStatus};
    use super::super::server::{Ask, ControlRequest, Events, Server};
    use super::*;
    use clap::Parser;
    use std::os::unix::net::UnixListener;

    fn no_report(status: Result<Status, String>, _: &LoadArgs) -> String {
        format!("a report of {status:?}")
    }
    use std::thread::JoinHandle;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: CtlArgs,
    }

    fn args(socket: &Path, words: &[&str]) -> CtlArgs {
        let socket = socket.to_str().expect("a plain path");
        let words = ["ctl", "--socket", socket].into_iter().chain(words.iter().copied());
        Cli::try_parse_from(words).expect("good words").args
    }

    /// A daemon that hears one line, says `replies` and hangs up.
    struct Fake {
        directory: tempfile::TempDir,
        heard: JoinHandle<String>,
    }

    impl Fake {
        fn new(replies: &'static str) -> Self {
            let directory = tempfile::tempdir().expect("a place for files");
            let listener = UnixListener::bind(directory.path().join("s")).expect("a fresh place");
            let heard = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("one client");
                let mut text = String::new();
                BufReader::new(&stream).read_line(&mut text).expect("one line");
                stream.write_all(replies.as_bytes()).expect("it listens");
                text
            });
            Self { directory, heard }
        }

        /// The exit code, standard output, standard error, and what the daemon heard.
        fn ctl(self, words: &[&str]) -> (Outcome, String, String, String) {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let args = args(&self.directory.path().join("s"), words);
            let outcome = execute(&args, no_report, &mut out, &mut err);
            let text = |bytes| String::from_utf8(bytes).expect("text");
            let heard = self.heard.join().expect("the daemon ends well");
            (outcome, text(out), text(err), heard)
        }
    }

    #[test]
    fn press_says_done() {
        let (outcome, out, err, heard) = Fake::new("{\"ok\":true}\n").ctl(&["press"]);
        assert_eq!(outcome, Outcome::Done);
        assert_eq!((out.as_str(), err.as_str()), ("done\n", ""));
        assert_eq!(heard, "{\"do\":\"press\"}\n");
    }

    #[test]
    fn unlock_asks_for_its_time_in_milliseconds() {
        let (outcome, _, _, heard) = Fake::new("{\"ok\":true}\n").ctl(&["unlock"]);
        assert_eq!((outcome, heard.as_str()), (Outcome::Done, "{\"do\":\"unlock\"}\n"));
        let words = ["unlock", "--for", "1s 500ms"];
        let (outcome, _, _, heard) = Fake::new("{\"ok\":true}\n").ctl(&words);
        assert_eq!(outcome, Outcome::Done);
        assert_eq!(heard, "{\"do\":\"unlock\",\"for_ms\":1500}\n");
        for bad in ["3", "-3s", "soon"] {
            assert!(Cli::try_parse_from(["ctl", "unlock", "--for", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_is_told_with_its_fix() {
        let refusal = "{\"ok\":false,\"error\":\"there is no call\",\"fix\":\"press first\"}\n";
        let (outcome, out, err, _) = Fake::new(refusal).ctl(&["hangup"]);
        assert_eq!(outcome, Outcome::Refused);
        assert_eq!(out, "");
        assert_eq!(err, "intercomd ctl: refused: there is no call; press first\n");
        let (outcome, out, ..) = Fake::new(refusal).ctl(&["hangup", "--json"]);
        assert_eq!((outcome, out.as_str()), (Outcome::Refused, refusal));
    }

    #[test]
    fn status_as_json_is_the_status_object_alone() {
        let reply = "{\"ok\":true,\"status\":{\"state\":\"talking\",\"uptime_s\":7}}\n";
        let (outcome, out, ..) = Fake::new(reply).ctl(&["--json", "status"]);
        assert_eq!(outcome, Outcome::Done);
        let status: Status = serde_json::from_str(&out).expect("one object");
        assert_eq!((status.state, status.uptime_s), (State::Talking, 7));
        assert_eq!(out.lines().count(), 1);
    }

    #[test]
    fn watch_tells_until_the_daemon_says_goodbye() {
        let lines = "{\"ok\":true}\n\
            {\"event\":\"state\",\"state\":\"idle\",\"at\":1763832000.5}\n\
            {\"event\":\"news\",\"at\":1763832001.0}\n\
            {\"event\":\"stopping\",\"at\":1763832002.0}\n";
        let (outcome, out, ..) = Fake::new(lines).ctl(&["watch"]);
        assert_eq!(outcome, Outcome::Done);
        assert_eq!(
            out,
            "2025-11-22T17:20:00.500Z the door is idle\n\
             {\"event\":\"news\",\"at\":1763832001.0}\n\
             2025-11-22T17:20:02.000Z the daemon is stopping\n"
        );
        let (outcome, out, ..) = Fake::new(lines).ctl(&["watch", "--json"]);
        assert_eq!(outcome, Outcome::Done);
        assert_eq!(Some(out.as_str()), lines.strip_prefix("{\"ok\":true}\n"));
    }

    #[test]
    fn a_watch_without_a_goodbye_means_the_daemon_is_gone() {
        let (outcome, _, err, _) = Fake::new("{\"ok\":true}\n").ctl(&["watch"]);
        assert_eq!(outcome, Outcome::NoDaemon);
        assert!(err.contains("goodbye"), "{err}");
    }

    #[test]
    fn without_a_daemon_it_says_what_to_do() {
        let directory = tempfile::tempdir().expect("a place for files");
        let socket = directory.path().join("s");
        for stale in [false, true] {
            if stale {
                drop(UnixListener::bind(&socket).expect("a fresh place"));
            }
            let mut err = Vec::new();
            let outcome =
                execute(&args(&socket, &["status"]), no_report, &mut Vec::new(), &mut err);
            assert_eq!(outcome, Outcome::NoDaemon);
            let err = String::from_utf8(err).expect("text");
            assert!(err.contains("systemctl start"), "{err}");
        }
    }

    #[test]
    fn something_else_on_the_socket_is_no_daemon() {
        let (outcome, _, err, _) = Fake::new("220 smtp ready\n").ctl(&["status"]);
        assert_eq!(outcome, Outcome::NoDaemon);
        assert!(err.contains("no intercomd"), "{err}");
        let (outcome, ..) = Fake::new("").ctl(&["status"]);
        assert_eq!(outcome, Outcome::NoDaemon);
    }

    #[test]
    fn a_missing_right_is_its_own_outcome() {
        let failure = Failure::from(io::Error::from(ErrorKind::PermissionDenied));
        assert!(matches!(failure, Failure::Denied));
        assert_eq!(Outcome::Denied as u8, 4);
    }

    #[test]
    fn the_status_page_shows_what_matters() {
        let status = Status {
            state: State::Talking,
            call: Some(CallStatus { id: "c-17".to_owned(), since: 1_000.0, budget: None }),
            uplinks: vec![UplinkStatus {
                name: "service".to_owned(),
                state: "refused".to_owned(),
                peer_id: None,
                advice: Some("renew the key".to_owned()),
                clock_ahead_s: Some(-7200),
                ..UplinkStatus::default()
            }],
            peers: vec![PeerStatus {
                id: "p7".to_owned(),
                uplink: "lan".to_owned(),
                link: "connected".to_owned(),
                generation: 2,
                answered: true,
                frames_sent: 250,
                frames_received: 240,
                video_codec: Some("VP8".to_owned()),
                path: Some("host-relay".to_owned()),
                picture: "full".to_owned(),
                ..PeerStatus::default()
            }],
            door: "locked_out".to_owned(),
            faults: vec!["button".to_owned(), "line service".to_owned()],
            version: "0.1.0".to_owned(),
            uptime_s: 3_700,
            ..Status::default()
        };
        let page = describe(&status, Duration::from_secs(1_012));
        for row in [
            "state       talking (call c-17, for 12s)\n",
            "faults      button, line service\n",
            "door        locked out\n",
            "uplink      service: refused\n            → renew the key\n",
            "peer        p7 by lan: connected host-relay (link 2, answered), frames sent 250, received 240 (VP8)\n",
            "version     0.1.0, up for 1h 1m 40s\n",
        ] {
            assert!(page.contains(row), "{row} is not in\n{page}");
        }
        assert!(!page.contains("counters"));
    }

    #[tokio::test]
    async fn ctl_and_the_real_server_understand_each_other() {
        let directory = tempfile::tempdir().expect("a place for files");
        let socket = directory.path().join("s");
        let server = Server::bind(&socket).expect("a fresh place");
        let (requests, mut asked) = tokio::sync::mpsc::channel::<ControlRequest>(1);
        let events = Events::new();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(server.run(requests, events.clone(), async {
            let _ = stopped.await;
        }));
        let daemon = tokio::spawn(async move {
            let mut stop = Some(stop);
            while let Some(request) = asked.recv().await {
                let reply = match request.ask {
                    Ask::Status => Reply::status(Status::default()),
                    Ask::Press | Ask::Unlock(_) => Reply::done(),
                    Ask::Hangup => {
                        drop(stop.take());
                        Reply::refused("there is no call", "press first")
                    }
                    other => {
                        Reply::refused(format!("{other:?} was not expected"), "ask something else")
                    }
                };
                let _ = request.reply.send(reply);
            }
        });
        let ctl = |words: &'static [&'static str]| {
            let args = args(&socket, words);
            tokio::task::spawn_blocking(move || {
                let mut out = Vec::new();
                let outcome = execute(&args, no_report, &mut out, &mut Vec::new());
                (outcome, String::from_utf8(out).expect("text"))
            })
        };
        let watch = ctl(&["watch", "--json"]);
        while events.watchers() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(ctl(&["press"]).await.expect("no panic").0, Outcome::Done);
        let (outcome, status) = ctl(&["status", "--json"]).await.expect("no panic");
        assert_eq!(outcome, Outcome::Done);
        serde_json::from_str::<Status>(&status).expect("a status");
        // This daemon stops at a hang-up.
        let hangup = ctl(&["hangup"]).await.expect("no panic").0;
        assert_eq!(hangup, Outcome::Refused);
        let (outcome, told) = watch.await.expect("no panic");
        assert_eq!(outcome, Outcome::Done);
        assert!(told.ends_with('\n') && told.contains("\"stopping\""), "{told}");
        server.await.expect("the server ends well");
        daemon.await.expect("the daemon ends with it");
    }

    #[test]
    fn the_default_socket_is_the_services_own() {
        let cli = Cli::try_parse_from(["ctl", "status"]).expect("good words");
        if std::env::var_os("INTERCOMD_SOCKET").is_none() {
            assert_eq!(cli.args.socket, Path::new(DEFAULT_SOCKET));
        }
        assert!(Cli::try_parse_from(["ctl"]).is_err());
        assert!(Cli::try_parse_from(["ctl", "explode"]).is_err());
    }

    #[test]
    fn a_door_that_does_not_run_is_reported_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let args = args(&folder.path().join("none.sock"), &["diagnose"]);
        let mut out = Vec::new();
        let outcome = execute(&args, no_report, &mut out, &mut Vec::new());
        assert_eq!(outcome, Outcome::Done);
        let out = String::from_utf8(out).expect("text");
        assert!(out.contains("a report of Err(\"there is no socket\")"), "{out}");
    }
}
