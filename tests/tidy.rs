//! The rules of the house, read off the files themselves: who imports whom, what is pure, how long a file
//! may be, what lies beside the code. Runs nothing of the program; each failure names the place and the cure.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which rooms a room may import, itself apart.
const EDGES: &[(&str, &[&str])] = &[
    ("intercom", &[]),
    ("config", &["intercom"]),
    ("memory", &["config", "intercom"]),
    ("signalling", &["config", "intercom"]),
    ("hardware", &["config", "intercom"]),
    ("hooks", &["config", "intercom"]),
    ("media", &["config", "intercom"]),
    ("rtc", &["media", "config", "intercom"]),
    ("service", &["memory", "config", "intercom"]),
];

/// The files outside all rooms; they may import every room.
const ROOTS: &[&str] = &[
    "src/lib.rs",
    "src/main.rs",
    "src/clerk.rs",
    "src/daemon.rs",
    "src/devices.rs",
    "src/diagnose.rs",
    "src/errands.rs",
    "src/hands.rs",
    "src/herald.rs",
    "src/household.rs",
    "src/journal.rs",
    "src/lines.rs",
    "src/overview.rs",
    "src/publisher.rs",
    "src/selftest.rs",
    "src/setup.rs",
    "src/setup/draft.rs",
    "src/setup/tests.rs",
    "src/setup/unit.rs",
];

/// Files that decide and do nothing else, beside those of the heart.
const PURE: &[&str] = &[
    "src/config/edit.rs",
    "src/config/names.rs",
    "src/hardware/debounce.rs",
    "src/hooks/backlog.rs",
    "src/hooks/body.rs",
    "src/hooks/discovery.rs",
    "src/hooks/event.rs",
    "src/hooks/ledger.rs",
    "src/hooks/mirror.rs",
    "src/hooks/retry.rs",
    "src/hooks/signature.rs",
    "src/media/allocator.rs",
    "src/media/arrival.rs",
    "src/media/behind.rs",
    "src/media/found.rs",
    "src/media/found_video.rs",
    "src/media/packetise.rs",
    "src/media/plan.rs",
    "src/media/plan_camera.rs",
    "src/media/plan_display.rs",
    "src/media/plan_encoder.rs",
    "src/media/plan_notice.rs",
    "src/media/plan_playback.rs",
    "src/media/plan_sound.rs",
    "src/media/rate.rs",
    "src/media/room.rs",
    "src/media/scene.rs",
    "src/media/slate.rs",
    "src/media/tones.rs",
    "src/memory/budget.rs",
    "src/memory/calls.rs",
    "src/memory/proof.rs",
    "src/rtc/candidates.rs",
    "src/rtc/early.rs",
    "src/rtc/estimate.rs",
    "src/rtc/estimate/arrivals.rs",
    "src/rtc/flights.rs",
    "src/rtc/nudges.rs",
    "src/rtc/order.rs",
    "src/rtc/pace.rs",
    "src/rtc/sdp.rs",
    "src/rtc/turn_frames.rs",
    "src/rtc/turn_url.rs",
    "src/service/control.rs",
    "src/service/happenings.rs",
    "src/service/health.rs",
    "src/service/metrics.rs",
    "src/service/redact.rs",
    "src/signalling/advice.rs",
    "src/signalling/backoff.rs",
    "src/signalling/bucket.rs",
    "src/signalling/desk.rs",
    "src/signalling/envelope.rs",
    "src/signalling/frames.rs",
    "src/signalling/greeted.rs",
    "src/signalling/hub.rs",
    "src/signalling/inbound.rs",
    "src/signalling/knocks.rs",
    "src/signalling/membership.rs",
    "src/signalling/message.rs",
    "src/signalling/page_words.rs",
    "src/signalling/pulse.rs",
    "src/signalling/request.rs",
    "src/signalling/requests.rs",
    "src/signalling/session.rs",
    "src/signalling/session/loss.rs",
    "src/signalling/session/succession.rs",
    "src/signalling/session/ticket.rs",
    "src/signalling/session/welcome.rs",
    "src/signalling/status.rs",
    "src/signalling/timings.rs",
    "src/signalling/wrong_keys.rs",
];
const HEART: &str = "src/intercom/";

/// What a pure file does not say outside its tests: waiting, clocks, devices, chance.
const IMPURE: &[&str] = &[
    "tokio",
    "async",
    "Instant::now",
    ".elapsed()",
    "SystemTime",
    "gstreamer",
    "webrtc::",
    "rppal",
    "HashMap",
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
];

/// Where a crate may be used: below these paths only.
const CRATES: &[(&str, &[&str])] = &[
    ("alsa", &["src/media/"]),
    ("anyhow", &["src/main.rs", "src/daemon.rs", "src/lines.rs"]),
    ("axum", &["src/signalling/"]),
    ("clap", &["src/main.rs", "src/setup.rs", "src/service/ctl.rs", "src/service/manual.rs"]),
    ("clap_complete", &["src/service/manual.rs"]),
    ("clap_mangen", &["src/service/manual.rs"]),
    ("drm", &["src/media/"]),
    ("gpiocdev", &["src/hardware/"]),
    ("gst", &["src/media/"]),
    ("gst_app", &["src/media/"]),
    ("gst_video", &["src/media/"]),
    ("gstreamer", &["src/media/"]),
    ("gstreamer_app", &["src/media/"]),
    ("gstreamer_video", &["src/media/"]),
    ("http_body_util", &["src/signalling/", "src/hooks/", "src/service/metrics_page.rs"]),
    ("httpdate", &["src/hooks/"]),
    ("hyper", &["src/signalling/", "src/hooks/", "src/service/metrics_page.rs"]),
    ("hyper_rustls", &["src/hooks/"]),
    ("hyper_util", &["src/signalling/", "src/hooks/", "src/service/metrics_page.rs"]),
    ("prometheus_client", &["src/service/metrics.rs"]),
    ("qrcode", &["src/service/", "src/media/"]),
    ("rcgen", &["src/signalling/"]),
    ("rppal", &["src/hardware/"]),
    // Where a provider of cryptography has to be named for TLS, too.
    ("ring", &["src/memory/", "src/hooks/", "src/rtc/turn_dial.rs"]),
    // The payloader of the WebRTC crates makes the same packets for all links.
    ("rtc", &["src/rtc/", "src/media/packetise.rs"]),
    ("rumqttc", &["src/hooks/"]),
    ("rustls", &["src/signalling/", "src/hooks/", "src/rtc/turn_dial.rs"]),
    ("rustls_native_certs", &["src/signalling/", "src/hooks/", "src/rtc/turn_dial.rs"]),
    ("sd_notify", &["src/service/"]),
    ("tokio_rustls", &["src/signalling/", "src/rtc/turn_dial.rs"]),
    ("tokio_tungstenite", &["src/signalling/"]),
    ("toml", &["src/config/", "src/setup.rs", "src/setup/"]),
    ("tower_http", &["src/signalling/"]),
    ("v4l", &["src/media/"]),
    ("webrtc", &["src/rtc/"]),
];

/// Lines of a file before its tests.
const LONGEST: usize = 500;

/// The keys the unit uses, all known to systemd 252 (Debian 12), which warns of others and goes on without.
const UNIT_KEYS: &[(&str, &[&str])] = &[
    ("Unit", &["Description", "Documentation", "After", "Wants", "StartLimitIntervalSec"]),
    (
        "Service",
        &[
            "Type",
            "NotifyAccess",
            "ExecStart",
            "ExecStopPost",
            "TimeoutAbortSec",
            "WatchdogSec",
            "TimeoutStartSec",
            "TimeoutStopSec",
            "Restart",
            "RestartSec",
            "RestartPreventExitStatus",
            "OOMScoreAdjust",
            "MemoryHigh",
            "TasksMax",
            "LimitCORE",
            "User",
            "Group",
            "SupplementaryGroups",
            "UMask",
            "StateDirectory",
            "StateDirectoryMode",
            "CacheDirectory",
            "RuntimeDirectory",
            "RuntimeDirectoryMode",
            "WorkingDirectory",
            "Environment",
            "LoadCredential",
            "SetCredential",
            "DevicePolicy",
            "DeviceAllow",
            "NoNewPrivileges",
            "CapabilityBoundingSet",
            "AmbientCapabilities",
            "ProtectSystem",
            "ProtectHome",
            "PrivateTmp",
            "PrivateMounts",
            "ProtectClock",
            "ProtectControlGroups",
            "ProtectHostname",
            "ProtectKernelLogs",
            "ProtectKernelModules",
            "ProtectKernelTunables",
            "ProtectProc",
            "RemoveIPC",
            "RestrictAddressFamilies",
            "RestrictNamespaces",
            "RestrictRealtime",
            "RestrictSUIDSGID",
            "LockPersonality",
            "MemoryDenyWriteExecute",
            "SystemCallArchitectures",
            "SystemCallFilter",
            "SystemCallErrorNumber",
            "KeyringMode",
        ],
    ),
    ("Install", &["WantedBy"]),
];

/// Domains of package registries, in two parts so that this file does not name them.
const REGISTRIES: &[(&str, &str)] = &[
    ("crates", "io"),
    ("npmjs", "org"),
    ("npmjs", "com"),
    ("yarnpkg", "com"),
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("proxy.golang", "org"),
];
/// How Cargo.lock names the index: a name, not an address anything is fetched from.
const CARGO_INDEX: &str = "source = \"registry+https://github.com/rust-lang/";

/// How keys of the signalling service begin.
const KEYS: &[&str] = &["pk_live_", "sk_live_", "sk_secret_"];
const SHORTEST_KEY: usize = 16;

#[test]
fn a_room_imports_only_the_rooms_its_row_in_the_table_names() {
    let mut faults = Vec::new();
    for source in sources("src") {
        let Some(room) = source.room() else {
            if !ROOTS.contains(&source.path.as_str()) {
                faults.push(format!(
                    "{}:1: lies outside all rooms; move it into one or add it to ROOTS",
                    source.path
                ));
            }
            continue;
        };
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == room) else {
            faults.push(format!("{}:1: the room {room} has no row in EDGES", source.path));
            continue;
        };
        for mention in source.mentions_of_rooms() {
            match mention {
                (line, Mention::Group) => faults.push(format!(
                    "{}:{line}: imports several rooms at once; write one `use crate::ROOM` for each",
                    source.path
                )),
                (line, Mention::Room(other)) if other != room && !allowed.contains(&&*other) => {
                    faults.push(format!(
                        "{}:{line}: {room} imports {other}; the daemon ties rooms together, or the \
                         thing belongs into config or intercom",
                        source.path
                    ));
                }
                _ => {}
            }
        }
    }
    report(&faults);
}

#[test]
fn pure_files_know_no_waiting_no_clock_and_no_device() {
    let mut faults = Vec::new();
    let all = sources("src");
    for path in PURE {
        if !all.iter().any(|source| source.path == *path) {
            faults.push(format!("{path}:1: is not there any more; correct PURE"));
        }
    }
    for source in all.iter().filter(|source| source.is_pure()) {
        for (number, line) in source.own_lines() {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                faults.push(format!(
                    "{}:{number}: says `{word}`; let the caller tell it, or move this into the \
                     file's shell",
                    source.path
                ));
            }
        }
    }
    report(&faults);
}

#[test]
fn a_file_that_calls_itself_pure_is_checked_for_it() {
    let claims = |source: &Source| {
        let mut head = source.text.lines().take_while(|line| line.starts_with("//!"));
        head.any(|line| line.starts_with("//! Pure"))
    };
    let unchecked = sources("src")
        .into_iter()
        .filter(|source| claims(source) && !source.is_pure() && !source.path.ends_with("/mod.rs"));
    let faults: Vec<_> = unchecked
        .map(|source| format!("{}:1: calls itself pure; add it to PURE", source.path))
        .collect();
    report(&faults);
}

#[test]
fn every_file_begins_by_saying_what_it_is_for() {
    let headless = sources("src").into_iter().chain(sources("tests"));
    let faults: Vec<_> = headless
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| {
            format!("{}:1: begin with `//!`: what it is for, what it does not do", source.path)
        })
        .collect();
    report(&faults);
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let mut faults = Vec::new();
    for source in sources("src") {
        let lines = source.own_lines().count();
        if lines > LONGEST {
            faults.push(format!(
                "{}:{LONGEST}: {lines} lines before its tests, {LONGEST} at most; split it by what \
                 its parts decide",
                source.path
            ));
        }
    }
    report(&faults);
}

#[test]
fn nothing_is_unwrapped() {
    let mut faults = Vec::new();
    for source in sources("src") {
        for (number, line) in source.code.lines().enumerate() {
            if line.contains(".unwrap()") {
                faults.push(format!(
                    "{}:{}: `.unwrap()`; handle it, or `expect` with the reason why it holds",
                    source.path,
                    number + 1
                ));
            }
        }
    }
    report(&faults);
}

#[test]
fn each_crate_stays_in_its_room() {
    let mut faults = Vec::new();
    for source in sources("src") {
        // A test may stand in for another room's part.
        for (line, name) in source.mentions_of_crates() {
            if line > source.before_tests {
                continue;
            }
            let Some((_, homes)) = CRATES.iter().find(|(known, _)| *known == name) else {
                continue;
            };
            if !homes.iter().any(|home| source.path.starts_with(home)) {
                faults.push(format!(
                    "{}:{line}: uses the crate {name}, which stays in {}; reach it through that room",
                    source.path,
                    homes.join(" and ")
                ));
            }
        }
    }
    report(&faults);
}

#[test]
fn nothing_carries_what_the_webrtc_crates_log_into_our_log() {
    let locked = read("Cargo.lock");
    assert!(locked.contains("name = \"rtc-ice\""), "they are there, under this name");
    let bridge = "name = \"tracing-log\"";
    assert!(!locked.contains(bridge), "they print ICE passwords (src/service/logging.rs)");
}

#[test]
fn every_board_profile_is_toml_and_is_listed() {
    let readme = read("board/README.md");
    let mut faults = Vec::new();
    for path in files(Path::new("board")) {
        let Some(name) = path.to_str().and_then(|path| path.strip_suffix(".toml")) else {
            continue;
        };
        let (path, name) = (path.display(), name.trim_start_matches("board/"));
        if let Err(error) = read(&path.to_string()).parse::<toml::Table>() {
            let text = read(&path.to_string());
            let at = error.span().map_or(0, |span| span.start);
            let line = line_at(&text, at);
            faults.push(format!("{path}:{line}: {}; correct the TOML", error.message()));
        }
        if !readme.contains(&format!("| `{name}` |")) {
            faults.push(format!("board/README.md:1: add a row for the profile `{name}`"));
        }
    }
    report(&faults);
}

#[test]
fn the_unit_holds_only_keys_that_systemd_252_knows() {
    const UNIT: &str = "systemd/intercomd.service";
    let mut faults = Vec::new();
    for Setting { line, section, key, value } in settings(&read(UNIT)) {
        let known = UNIT_KEYS.iter().find(|(name, _)| *name == section);
        if !known.is_some_and(|(_, keys)| keys.contains(&&*key)) {
            faults.push(format!(
                "{UNIT}:{line}: {key}= in [{section}] is not in UNIT_KEYS; add it there if systemd 252 \
                 has it, else leave it out",
            ));
        }
        if key == "Type" && value != "notify" {
            faults.push(format!(
                "{UNIT}:{line}: Type={value}: write notify; systemd 252 takes a type it does not know \
                 for simple",
            ));
        }
    }
    report(&faults);
}

#[test]
fn the_unit_names_no_group_or_user_that_nobody_creates() {
    const UNIT: &str = "systemd/intercomd.service";
    let accounts = read("systemd/intercomd.sysusers");
    let created = |name: &str| {
        let mut lines = accounts.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.any(|words| match words.first() {
            Some(&"u" | &"g") => words.get(1) == Some(&name),
            Some(&"m") => words.get(2) == Some(&name),
            _ => false,
        })
    };
    let mut faults = Vec::new();
    for Setting { line, key, value, .. } in settings(&read(UNIT)) {
        if !matches!(&*key, "User" | "Group" | "SupplementaryGroups") {
            continue;
        }
        for name in value.split_whitespace().filter(|name| !created(name)) {
            faults.push(format!(
                "{UNIT}:{line}: {key}= names {name}; a missing one stops the start with 216/GROUP: add \
                 it to systemd/intercomd.sysusers",
            ));
        }
    }
    report(&faults);
}

#[test]
fn the_unit_allows_the_sockets_the_program_opens() {
    const UNIT: &str = "systemd/intercomd.service";
    let mut faults = Vec::new();
    let unit = settings(&read(UNIT));
    let allowed = unit.iter().find(|setting| setting.key == "RestrictAddressFamilies");
    let words: Vec<_> =
        allowed.map(|setting| setting.value.split_whitespace().collect()).unwrap_or_default();
    for (family, user) in [
        ("AF_INET", "signalling and calls"),
        ("AF_INET6", "signalling and calls"),
        ("AF_NETLINK", "src/service/network.rs"),
        ("AF_UNIX", "the control socket"),
    ] {
        if !words.contains(&family) {
            faults.push(format!(
                "{UNIT}: RestrictAddressFamilies= lacks {family}, which is for {user}: add it"
            ));
        }
    }
    report(&faults);
}

#[test]
fn no_file_names_a_registry_or_holds_what_looks_like_a_key() {
    let mut faults = Vec::new();
    for path in tracked() {
        let bytes = fs::read(root().join(&path)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        for (number, line) in text.lines().enumerate() {
            let place = format!("{path}:{}", number + 1);
            let is_lock = path == "Cargo.lock" || path == "fuzz/Cargo.lock";
            if !(is_lock && line.starts_with(CARGO_INDEX)) {
                let named = |(name, end): &&(&str, &str)| line.contains(&format!("{name}.{end}"));
                for (name, end) in REGISTRIES.iter().filter(named) {
                    faults.push(format!(
                        "{place}: names the registry {name}.{end}; every tool knows its own, leave it out"
                    ));
                }
                if is_lock && line.starts_with("source = ") {
                    faults.push(format!("{place}: a source that is not the usual index"));
                }
            }
            if path.ends_with("package-lock.json") && line.contains("\"resolved\": \"http") {
                faults.push(format!(
                    "{place}: names a registry; make the lock file with omit-lockfile-registry-resolved"
                ));
            }
            for prefix in KEYS {
                let tails = line.split(prefix).skip(1);
                let long = |tail: &str| {
                    tail.bytes().take_while(u8::is_ascii_alphanumeric).count() >= SHORTEST_KEY
                };
                if tails.into_iter().any(long) {
                    faults.push(format!(
                        "{place}: {prefix} and {SHORTEST_KEY} or more letters look like a real key; \
                         revoke it if it is one, else break it up, as in {prefix}not-a-key"
                    ));
                }
            }
        }
    }
    report(&faults);
}

#[test]
fn every_document_the_code_cites_has_the_section_it_cites() {
    let protocol = sections(&read("docs/protocol.md"));
    let media = sections(&read("docs/media.md"));
    let mut faults = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        for (number, line) in source.text.lines().enumerate() {
            let place = format!("{}:{}", source.path, number + 1);
            for (document, known) in [("protocol.md", &protocol), ("media.md", &media)] {
                for cited in citations(line, document) {
                    if !known.contains(&cited) {
                        faults.push(format!("{place}: docs/{document} has no section {cited}"));
                    }
                }
            }
            for word in line.split(|c: char| c.is_whitespace() || "()`\",;".contains(c)) {
                let word = word.trim_end_matches('.');
                let is_document = word.starts_with("docs/") && word.ends_with(".md");
                if is_document && !root().join(word).is_file() {
                    faults.push(format!("{place}: {word} is not there; correct the name"));
                }
            }
        }
    }
    report(&faults);
}

#[test]
fn every_test_that_the_documents_of_faults_and_attacks_name_is_there() {
    let mut code = String::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        code.push_str(&source.text);
    }
    let mut faults = Vec::new();
    let mut named = 0;
    for document in ["docs/faults.md", "docs/security.md"] {
        for (at, line) in read(document).lines().enumerate() {
            let place = format!("{document}:{}", at + 1);
            // Between backticks, a name of five words and more is a test's.
            for name in line.split('`').skip(1).step_by(2) {
                let is_name = name.matches('_').count() >= 4
                    && name
                        .bytes()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_');
                if is_name {
                    named += 1;
                    if !code.contains(&format!("fn {name}(")) {
                        faults.push(format!("{place}: there is no test {name}; correct the name"));
                    }
                }
            }
            // `folder/file.test.mjs`: "its words"
            for (start, _) in line.match_indices(".test.mjs`: \"") {
                let file = line[..start].rsplit('`').next().unwrap_or_default();
                let words = line[start..].split('"').nth(1).unwrap_or_default();
                named += 1;
                let path = format!("tests/{file}.test.mjs");
                if !fs::read_to_string(root().join(&path)).is_ok_and(|text| text.contains(words)) {
                    faults.push(format!("{place}: {path} has no test {words:?}; correct it"));
                }
            }
        }
    }
    assert!(named > 80, "only {named} tests were found in the documents");
    report(&faults);
}

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{path}:1: cannot be read: {error}"))
}

/// All files below a folder, relative to the root, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder of the repository") {
            let name = entry.expect("an entry of it").file_name();
            let path = folder.join(&name);
            if !root().join(&path).is_dir() {
                found.push(path);
            } else if name != "node_modules" {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What git keeps, and what it would keep at the next `git add`. Nothing outside a checkout.
fn tracked() -> Vec<String> {
    if !root().join(".git").exists() {
        return Vec::new();
    }
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is installed where there is a checkout");
    assert!(listed.status.success(), "git: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The number of the line in which this byte is.
fn line_at(text: &str, byte: usize) -> usize {
    text.as_bytes().iter().take(byte).filter(|byte| **byte == b'\n').count() + 1
}

/// One Rust file.
struct Source {
    /// From the root, with `/`.
    path: String,
    text: String,
    /// The text with comments and the insides of quotes blanked out; lines keep their numbers.
    code: String,
    /// Lines before the file's test module.
    before_tests: usize,
}

fn sources(folder: &str) -> Vec<Source> {
    let rust = files(Path::new(folder))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|path| {
        let path = path.to_str().expect("names are plain").to_owned();
        let text = read(&path);
        let code = code_only(&text);
        let before_tests = {
            let lines: Vec<_> = code.lines().map(str::trim).collect();
            let tests = lines
                .windows(2)
                .position(|at| at[0] == "#[cfg(test)]" && at[1].starts_with("mod "));
            tests.unwrap_or(lines.len())
        };
        Source { path, text, code, before_tests }
    })
    .collect()
}

enum Mention {
    Room(String),
    /// `crate::{...}`, which would need a parser to read.
    Group,
}

impl Source {
    fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        (!ROOTS.contains(&&*self.path)).then_some(inside.split_once('/')?.0)
    }

    fn is_pure(&self) -> bool {
        self.path.starts_with(HEART) || PURE.contains(&&*self.path)
    }

    /// Code outside the test module, with line numbers from 1.
    fn own_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().take(self.before_tests).enumerate().map(|(at, line)| (at + 1, line))
    }

    /// Every path that begins at the crate's root, written `crate::` or with enough `super::`.
    fn mentions_of_rooms(&self) -> Vec<(usize, Mention)> {
        let folders = self.path.matches('/').count() - 1;
        let depth = folders + usize::from(!self.path.ends_with("/mod.rs"));
        let mut found = Vec::new();
        for (at, line) in self.code.lines().enumerate() {
            let depth = depth + usize::from(at >= self.before_tests);
            for start in ["crate::", &"super::".repeat(depth)] {
                for (place, _) in line.match_indices(start) {
                    let before = line[..place].chars().next_back();
                    if before.is_some_and(|c| is_word(c) || c == ':') {
                        continue;
                    }
                    let rest = &line[place + start.len()..];
                    let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
                    match (rest.chars().next(), &*name) {
                        (Some('{' | '*'), _) => found.push((at + 1, Mention::Group)),
                        (_, "" | "super" | "self") => {}
                        _ => found.push((at + 1, Mention::Room(name))),
                    }
                }
            }
        }
        found
    }

    /// Every name at the beginning of a path, with its line: `name::`, `::name` or `use name`.
    fn mentions_of_crates(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, line) in self.code.lines().enumerate() {
            let mut rest = 0;
            while let Some(skipped) = line[rest..].find(is_word) {
                let start = rest + skipped;
                let end = line[start..].find(|c| !is_word(c)).map_or(line.len(), |len| start + len);
                rest = end;
                let before = line[..start].trim_end();
                let is_inner = before
                    .strip_suffix("::")
                    .is_some_and(|path| path.ends_with(|c: char| is_word(c) || c == '>'));
                let is_path = line[end..].trim_start().starts_with("::")
                    || before.ends_with("::")
                    || before == "use"
                    || before.ends_with(" use");
                if is_path && !is_inner {
                    found.push((at + 1, line[start..end].to_owned()));
                }
            }
        }
        found
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Rust without comments and without what stands between quotes.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_word = code.chars().next_back().is_some_and(is_word);
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let (false, Some(length)) = (after_word, raw_string(rest)) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    code
}

/// The length of `r"..."` or `r#"..."#`, with or without `b` before it.
fn raw_string(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = body.bytes().take_while(|byte| *byte == b'#').count();
    let inside = body[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = inside.find(&close)?;
    Some(rest.len() - inside.len() + end + close.len())
}

/// The length of what begins and ends with this quote.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Whether this `'` begins a character rather than a lifetime.
fn is_character(rest: &str) -> bool {
    let mut next = rest.chars().skip(1);
    matches!((next.next(), next.next()), (Some('\\'), _) | (_, Some('\'')))
}

struct Setting {
    line: usize,
    section: String,
    key: String,
    value: String,
}

/// The settings of a unit file.
fn settings(unit: &str) -> Vec<Setting> {
    let mut section = String::new();
    let mut found = Vec::new();
    for (at, line) in unit.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            section = name.to_owned();
        } else if !line.is_empty() && !line.starts_with(['#', ';']) {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            let [key, value] = [key, value].map(|text| text.trim().to_owned());
            found.push(Setting { line: at + 1, section: section.clone(), key, value });
        }
    }
    found
}

/// What a document can be cited by: the numbers of its headings (`5`, `5.6`), and in the chapter "Traps"
/// the first cell of each row, `| 10.7 |` as `10.7` and `trap 7`, `| 12 |` as `trap 12`.
fn sections(document: &str) -> BTreeSet<String> {
    let number = |text: &str| {
        let number: String =
            text.trim().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        number.trim_end_matches('.').to_owned()
    };
    let mut known = BTreeSet::new();
    let mut in_traps = false;
    for line in document.lines() {
        if let Some(heading) = line.strip_prefix("##") {
            let heading = heading.trim_start_matches('#');
            in_traps = heading.ends_with("Traps");
            known.insert(number(heading));
        } else if let Some(row) = line.strip_prefix('|').filter(|_| in_traps) {
            let number = number(row);
            known.insert(format!("trap {}", number.rsplit('.').next().unwrap_or("")));
            known.insert(number);
        }
    }
    known.remove("");
    known
}

/// What a line cites of a document: after its name the words `section`, `sections` or `trap`, or a
/// number at once; further numbers after `and`, `,` or `to`.
fn citations(line: &str, document: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (place, _) in line.match_indices(document) {
        let mut words = line[place + document.len()..].split_whitespace().peekable();
        let prefix = if words.next_if(|word| word.starts_with("section")).is_some() {
            ""
        } else {
            words.next_if_eq(&"trap").map_or("", |_| "trap ")
        };
        for word in words {
            let number = word.trim_matches(|c: char| !c.is_ascii_digit());
            let is_number = number.starts_with(|c: char| c.is_ascii_digit())
                && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            match word {
                "and" | "to" => {}
                _ if is_number && number.contains('.') => found.push(number.to_owned()),
                _ if is_number => found.push(format!("{prefix}{number}")),
                _ => break,
            }
            if is_number && !word.ends_with(|c: char| c.is_ascii_digit() || c == ',') {
                break;
            }
        }
    }
    found
}
