//! A running door as those see it who watch over it: metrics, health, the report and the self-test. The real program,
//! on a board without hardware, in a folder of its own.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// For anything that must happen at all; a first start looks through all plugins of GStreamer.
const PATIENCE: Duration = Duration::from_secs(120);
/// What must be in no output of the program. Their files and keys are made below.
const KEY: &str = "pk_live_test-9f2c";
const SECRETS: [&str; 6] = [
    KEY,
    "signs-all-deliveries",
    "T0ken-in-the-path",
    "pass-of-the-relay",
    "user-of-the-relay",
    "argument-of-a-hook",
];

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_intercomd"));
    for variable in [
        "INTERCOMD_BOARD",
        "INTERCOMD_CHANNEL",
        "INTERCOMD_SOCKET",
        "STATE_DIRECTORY",
        "JOURNAL_STREAM",
    ] {
        command.env_remove(variable);
    }
    command
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("loopback");
    socket.local_addr().expect("bound").port()
}

struct House {
    dir: tempfile::TempDir,
    metrics: SocketAddr,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()));
        // Nobody listens there: the line to the service stays down.
        let service = free_port();
        let secret = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("closed");
        };
        secret("channel.key", KEY);
        secret("webhook.secret", SECRETS[1]);
        secret("turn.key", SECRETS[3]);
        fs::create_dir(dir.path().join("web")).expect("the page's folder");
        fs::write(dir.path().join("web/index.html"), "<p>").expect("the page");
        let config = format!(
            "channel = \"front-door\"\nboard = \"sim\"\nstate_dir = \"state\"\n\
             [uplink]\nurl = \"ws://127.0.0.1:{service}\"\nkey_file = \"channel.key\"\n\
             [lan]\nlisten = \"127.0.0.1:0\"\nweb_dir = \"web\"\n\
             [metrics]\nlisten = \"{metrics}\"\n\
             [[ice.servers]]\nurls = \"turn:127.0.0.1:9\"\nusername = \"{}\"\ncredential_file = \"turn.key\"\n\
             [[hooks.webhook]]\nurl = \"http://127.0.0.1:9/{}\"\nsecret_file = \"webhook.secret\"\n\
             [[hooks.command]]\non = [\"ring\"]\nrun = [\"/bin/true\", \"{}\"]\n",
            SECRETS[4], SECRETS[2], SECRETS[5]
        );
        fs::write(dir.path().join("config.toml"), config).expect("written");
        Self { dir, metrics }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn door(&self) -> Door {
        let log = fs::File::create(self.path("log")).expect("a log");
        let mut child = program()
            .arg("run")
            .arg("--config")
            .arg(self.path("config.toml"))
            .arg("--socket")
            .arg(self.path("control.sock"))
            .env("INTERCOMD_LOG", "debug")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("it says when it is ready");
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        assert!(line.starts_with("intercomd ready"), "{line}{log}");
        Door { child, line }
    }

    fn ctl(&self, words: &[&str]) -> Output {
        let mut command = program();
        command.arg("ctl").arg("--socket").arg(self.path("control.sock")).args(words);
        command.output().expect("the program runs")
    }

    fn status(&self) -> Value {
        serde_json::from_slice(&self.ctl(&["status", "--json"]).stdout).expect("a status")
    }

    fn scrape(&self) -> String {
        let mut stream = TcpStream::connect(self.metrics).expect("metrics are served");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
        body.to_owned()
    }
}

struct Door {
    child: Child,
    /// What it said when it was ready.
    line: String,
}

impl Drop for Door {
    fn drop(&mut self) {
        // The polite way first, so that it gives back what it holds; the child is ours.
        let _ = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "still waiting for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The Python interpreter of the tests, with the reference parser of OpenMetrics.
fn python() -> PathBuf {
    std::env::var_os("INTERCOMD_PYTHON").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-python/bin/python"),
        PathBuf::from,
    )
}

/// Has the text read by the parser that Prometheus itself publishes; the names of its families.
fn families(text: &str) -> Vec<String> {
    const READ: &str = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
        print('\\n'.join(f.name + ' ' + f.type for f in read(sys.stdin.read())))";
    let mut child = Command::new(python())
        .args(["-c", READ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the Python of the tests is there (tools/setup.sh test)");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

#[test]
fn metrics_of_a_running_door_are_openmetrics_and_documented_and_follow_a_call() {
    let house = House::new();
    let _door = house.door();
    let text = house.scrape();
    let families = families(&text);
    assert!(families.len() > 40, "{families:?}");
    let documented = include_str!("../docs/metrics.md");
    let dashboard = include_str!("../docs/grafana.json");
    for family in &families {
        let (name, kind) = family.split_once(' ').expect("a name and a kind");
        let shown = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        assert!(
            documented.contains(&format!("`{shown}`")),
            "docs/metrics.md lacks {shown} ({kind})"
        );
    }
    // And nothing is drawn that is not there.
    let dashboard: Value = serde_json::from_str(dashboard).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
    {
        let expression = target["expr"].as_str().expect("an expression");
        let drawn = expression
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|word| word.starts_with("intercomd_"));
        for name in drawn {
            let known = documented.contains(&format!("`{name}`"));
            assert!(known, "docs/grafana.json draws {name}, which docs/metrics.md does not have");
        }
    }
    assert!(text.contains("intercomd_call{state=\"idle\"} 1.0"), "{text}");
    assert!(text.contains("intercomd_calls_total 0"), "{text}");
    assert!(house.ctl(&["press"]).status.success());
    until("the call to be counted", || house.scrape().contains("intercomd_calls_total 1"));
    assert!(!house.scrape().contains("intercomd_call{state=\"idle\"} 1.0"));
    assert!(house.ctl(&["hangup"]).status.success());
    until("the door to be idle", || house.scrape().contains("intercomd_call{state=\"idle\"} 1.0"));
    // The hook's address takes nobody, which its owner wants to see.
    until("the hook to fail", || {
        house.scrape().contains("intercomd_hook_failing{hook=\"webhook 127.0.0.1\"} 1.0")
    });
    until("health to follow", || house.status()["health"]["word"] == "degraded");
}

#[test]
fn the_report_of_a_running_door_has_every_part_and_no_secret() {
    let house = House::new();
    let door = house.door();
    let address = house.status()["address"].as_str().expect("an address").to_owned();
    let (_, hub_key) = address.split_once("key=").expect("the hub's key");
    // Not at a terminal; whoever has the pipe may keep what comes through it.
    let line = &door.line;
    assert!(!line.contains(hub_key) && line.contains("ctl pair"), "{line}");
    let config = house.path("config.toml");
    let output = house.ctl(&["diagnose", "--config", config.to_str().expect("a path")]);
    assert!(output.status.success(), "{output:?}");
    let report = String::from_utf8(output.stdout).expect("text");
    for words in [
        "## Version",
        concat!("intercomd ", env!("CARGO_PKG_VERSION")),
        "## Status",
        "\"state\": \"idle\"",
        "\"health\"",
        "## Configuration",
        "front-door",
        "## Devices",
        "## Log",
    ] {
        assert!(report.contains(words), "{words} is missing in\n{report}");
    }
    drop(door);
    let log = fs::read_to_string(house.path("log")).expect("a log");
    for secret in SECRETS.into_iter().chain([hub_key]) {
        assert!(!report.contains(secret), "the report tells {secret}");
        assert!(!log.contains(secret), "the log tells {secret}");
    }
    let output = house.ctl(&["diagnose", "--config", config.to_str().expect("a path")]);
    let report = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success() && report.contains("the daemon told none"), "{report}");
    assert!(SECRETS.iter().chain([&hub_key]).all(|secret| !report.contains(*secret)));
}

#[test]
fn a_self_test_that_cannot_begin_says_why_as_json_too() {
    let house = House::new();
    let verdict = |part: &str| {
        let mut command = program();
        command.args(["selftest", "--json", "--config"]).arg(house.path("config.toml"));
        command.arg("--socket").arg(house.path("control.sock"));
        let output = command.output().expect("the program runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(value["result"], "bad", "{value}");
        let verdict = value["parts"][part]["verdicts"][0].clone();
        assert_eq!(verdict["grade"], "bad", "{value}");
        assert_ne!(verdict["remedy"], "", "{value}");
        verdict["words"].as_str().expect("words").to_owned()
    };
    let door = house.door();
    assert!(verdict("machine").contains("the daemon is running"));
    drop(door);
    fs::write(house.path("config.toml"), "channel = 7\n").expect("written");
    assert!(verdict("configuration").contains("channel"));
}

#[test]
fn the_self_test_judges_every_part_in_both_forms_and_tells_no_secret() {
    let house = House::new();
    let config = house.path("config.toml");
    let run = |json: &[&str]| {
        let mut command = program();
        command.arg("selftest").arg("--config").arg(&config);
        command.arg("--socket").arg(house.path("control.sock")).args(json);
        command.output().expect("the program runs")
    };
    let output = run(&["--json"]);
    // The service and its servers are not there.
    assert!(!output.status.success());
    let text = String::from_utf8(output.stdout).expect("text");
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["result"], "bad", "{text}");
    for part in ["configuration", "machine", "picture", "sound", "service", "servers", "page"] {
        let verdicts = value["parts"][part]["verdicts"].as_array();
        let verdicts = verdicts.unwrap_or_else(|| panic!("{part} is missing in {text}"));
        assert!(!verdicts.is_empty(), "{part}");
        for verdict in verdicts.iter().filter(|verdict| verdict["grade"] == "bad") {
            assert!(
                verdict["remedy"] != ""
                    || verdict["words"].as_str().is_some_and(|it| it.contains(';')),
                "{verdict}"
            );
        }
    }
    let words = |part: &str| value["parts"][part]["verdicts"].to_string();
    assert!(words("picture").contains("the picture moves"), "{}", words("picture"));
    assert!(words("picture").contains("the picture shows something"), "{}", words("picture"));
    assert!(words("service").contains("cannot reach"), "{}", words("service"));
    assert!(words("servers").contains("TURN over UDP at 127.0.0.1:9"), "{}", words("servers"));
    assert!(words("machine").contains("can be written"), "{}", words("machine"));
    let plain = run(&[]);
    let plain_text = String::from_utf8(plain.stdout).expect("text");
    assert!(plain_text.contains("→ "), "{plain_text}");
    for secret in SECRETS {
        assert!(!text.contains(secret) && !plain_text.contains(secret), "{secret} is told");
    }
}

#[test]
fn on_a_terminal_it_runs_as_well_as_in_a_pipe() {
    // `script` gives it a terminal of its own; what it is asked for does not exist, which it has to say.
    let command = format!("{} run --config /nonexistent", env!("CARGO_BIN_EXE_intercomd"));
    let shown = std::process::Command::new("script").args(["-qec", &command, "/dev/null"]).output();
    let shown = shown.expect("script is there (package bsdutils, essential)");
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(text.contains("cannot be read"), "{text}");
    assert!(!text.contains("panicked") && text.trim().lines().count() == 1, "{text}");
}
