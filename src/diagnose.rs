//! `intercomd ctl diagnose`: all there is to know about a door in one text that can be given away: version, status,
//! configuration, devices and the last lines of the log, without keys, passwords and addresses that hold them.
//!
//! Presentation only. It asks, and changes nothing.

use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::config::{self, Credential, LoadArgs, Loaded, Problems, Settings};
use crate::devices;
use crate::service::control::Status;
use crate::service::redact::redact;
use crate::signalling;

/// Lines of the log.
const LINES: &str = "300";
/// For the log.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of the log that are read.
const LONGEST_LOG: u64 = 256 * 1024;

/// The report. `status` is what the daemon said, or why it said nothing.
pub fn report(status: Result<Status, String>, args: &LoadArgs) -> String {
    let loaded = config::load(args);
    let secrets = to_hide(&loaded, status.as_ref().ok(), args);
    let mut text = String::from(
        "A report of an intercomd door. Keys, passwords and addresses that hold them are taken out; names of persons\n\
         in the log are not. Read it before you give it away.\n",
    );
    let mut part = |title: &str, body: &str| {
        let _ = write!(text, "\n## {title}\n{}\n", body.trim_end());
    };
    part("Version", &version());
    part("Status", &told(status));
    part(
        "Configuration",
        &match &loaded {
            Ok(loaded) => {
                let sources: Vec<String> =
                    loaded.sources.iter().map(|source| source.display().to_string()).collect();
                let warnings: String =
                    loaded.warnings.iter().map(|line| format!("warning: {line}\n")).collect();
                format!("read from {}\n{warnings}{:#?}", sources.join(", "), loaded.settings)
            }
            Err(problems) => format!("it cannot be used, or not by this user:\n{problems}"),
        },
    );
    part(
        "Devices",
        &devices::list(args).map_or_else(|error| error.to_string(), |list| list.text()),
    );
    part("Log", &log());
    redact(&text, &secrets)
}

fn version() -> String {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let system = file("/etc/os-release")
        .lines()
        .find_map(|line| {
            line.strip_prefix("PRETTY_NAME=").map(|name| name.trim_matches('"').to_owned())
        })
        .unwrap_or_default();
    let board = file("/sys/firmware/devicetree/base/model");
    let mut lines = format!("intercomd {}\n{system}\n", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(lines, "{}", file("/proc/version"));
    let _ = writeln!(lines, "{}", board.trim_end_matches('\0'));
    lines
}

/// The status without what is about persons or opens the page.
fn told(status: Result<Status, String>) -> String {
    let mut status = match status {
        Ok(status) => status,
        Err(why) => return format!("the daemon told none: {why}"),
    };
    status.address = status.address.map(|page| {
        let end = page.find('#').unwrap_or(page.len());
        page[..end].to_owned()
    });
    for uplink in &mut status.uplinks {
        uplink.metadata = None;
    }
    for peer in &mut status.peers {
        peer.metadata = None;
    }
    status.media.display_text = None;
    serde_json::to_string_pretty(&status).unwrap_or_else(|error| error.to_string())
}

/// The last lines of the journal, where there is one.
fn log() -> String {
    let started = Command::new("journalctl")
        .args(["--unit=intercomd", "--no-pager", "--output=short-iso", "--lines", LINES])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return format!("there is no journal here: {error}"),
    };
    let Some(output) = child.stdout.take() else {
        return "the journal cannot be read".to_owned();
    };
    let (tell, told) = mpsc::sync_channel(1);
    // A thread, as a pipe cannot be read with a deadline; it ends with the program that is ended below.
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.take(LONGEST_LOG).read_to_end(&mut bytes);
        let _ = tell.send(read.map(|_| bytes));
    });
    let told = told.recv_timeout(PATIENCE);
    let _ = child.kill();
    let _ = child.wait();
    match told {
        Ok(Ok(bytes)) if bytes.is_empty() => "the journal holds nothing of this unit".to_owned(),
        Ok(Ok(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        Ok(Err(error)) => format!("the journal cannot be read: {error}"),
        Err(_) => format!("the journal did not answer within {} s", PATIENCE.as_secs()),
    }
}

/// Everything that is nobody's business, however far the configuration could be read.
fn to_hide(
    loaded: &Result<Loaded, Problems>,
    status: Option<&Status>,
    args: &LoadArgs,
) -> Vec<String> {
    let mut found = match loaded {
        Ok(loaded) => secrets(&loaded.settings),
        Err(_) => {
            let salvage = config::salvage(args);
            let named = salvage.secrets.iter().map(|secret| secret.expose().to_owned());
            named.chain(hub_key(&salvage.state_dir)).collect()
        }
    };
    // The daemon may run with another configuration than the one that was read now.
    let address = status.and_then(|status| status.address.as_deref());
    let key = address.and_then(|address| address.split_once("&key=")).map(|(_, key)| key);
    found.extend(key.and_then(|key| key.split('&').next()).map(str::to_owned));
    found
}

/// Everything in these settings that is nobody's business, and the hub's key.
fn secrets(settings: &Settings) -> Vec<String> {
    let mut found = Vec::new();
    match settings.uplink.as_ref().map(|uplink| &uplink.credential) {
        None => {}
        Some(Credential::Key(key)) => found.push(key.expose().to_owned()),
        Some(Credential::Command(words)) => found.extend(words.iter().skip(1).cloned()),
        Some(Credential::Url { url, bearer }) => {
            found.push(url.clone());
            found.extend(bearer.iter().map(|bearer| bearer.expose().to_owned()));
        }
    }
    for server in &settings.ice.servers {
        found.extend(server.username.iter().chain(&server.credential).cloned());
    }
    let hooks = &settings.hooks;
    for hook in &hooks.commands {
        found.extend(hook.run.iter().skip(1).cloned());
    }
    for hook in &hooks.webhooks {
        found.push(hook.url.expose().to_owned());
        found.extend(hook.secret.iter().map(|secret| secret.expose().to_owned()));
    }
    if let Some(push) = &hooks.push {
        let rest = push.token.iter().chain(&push.click);
        found.extend(std::iter::once(&push.url).chain(rest).map(|it| it.expose().to_owned()));
    }
    if let Some(publish) = &settings.publish {
        let secrets = std::iter::once(&publish.whip).chain(&publish.token);
        found.extend(secrets.map(|secret| secret.expose().to_owned()));
    }
    if let Some(mqtt) = &hooks.mqtt {
        found.extend(mqtt.username.iter().cloned());
        let secrets = mqtt.password.iter().chain(&mqtt.open);
        found.extend(secrets.map(|secret| secret.expose().to_owned()));
    }
    found.extend(hub_key(&settings.state_dir));
    found
}

fn hub_key(state_dir: &Path) -> Option<String> {
    let key = std::fs::read_to_string(state_dir.join(signalling::HUB_KEY_FILE)).ok()?;
    Some(key.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_door_whose_configuration_does_not_load_the_hub_key_and_the_named_secrets_are_hidden() {
        let dir = tempfile::tempdir().expect("a folder");
        let put = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).expect("written");
        };
        let text =
            "channel = \nstate_dir = \"state\"\n[[hooks.webhook]]\nsecret_file = \"its.secret\"\n";
        put("config.toml", text);
        put("its.secret", "signs-all-deliveries\n");
        std::fs::create_dir(dir.path().join("state")).expect("a folder");
        put("state/lan.key", "an-owner-s-own-hub-key\n");
        let args = LoadArgs { config: Some(dir.path().join("config.toml")), ..LoadArgs::default() };
        let loaded = config::load(&args);
        assert!(loaded.is_err(), "{loaded:?}");
        let address = Some("https://door/#channel=a&key=of-the-running-door&name=x".to_owned());
        let status = Status { address, ..Status::default() };
        let hidden = to_hide(&loaded, Some(&status), &args);
        let line = "signs-all-deliveries an-owner-s-own-hub-key of-the-running-door end";
        assert_eq!(redact(line, &hidden), "[hidden] [hidden] [hidden] end");
    }
}
