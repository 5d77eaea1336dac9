//! `intercomd selftest`: all a call needs, tried for real and told in plain words: configuration, the machine, camera,
//! encoder, speaker, microphone and echo, display, button and relay, the service with its rights, STUN and TURN servers,
//! the LAN page.
//!
//! Presentation only: each room tries its own. The daemon must not be running, as it holds the devices.

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::config::verdict::{Grade, Verdict};
use crate::config::{self, LoadArgs, Loaded, Problem, Problems, Settings};
use crate::hands::ice_server;
use crate::hardware::trial::{Person, panel};
use crate::lines::login;
use crate::media::room::Findings;
use crate::media::selftest::{PartReport, display, picture, sound};
use crate::rtc::{IceServer, trial as ways};
use crate::service::host;
use crate::signalling::{lan, trial};

/// Runs the test and prints what it found: 0 all is good or fair, 1 something is wrong.
pub fn run(args: &LoadArgs, as_json: bool) -> ExitCode {
    match config::load(args) {
        Ok(loaded) => {
            let is_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
            let asks = if is_terminal && !as_json { Asks::ThePerson } else { Asks::Nobody };
            run_loaded(&loaded, as_json, asks)
        }
        Err(problems) => {
            let parts = vec![("configuration", plain(problem_verdicts(&problems)))];
            not_begun(&parts, &problems.to_string(), as_json)
        }
    }
}

/// Whether somebody is there to press the button and to listen to the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// A person at the terminal.
    ThePerson,
    /// A script, or somebody who has been asked already: nothing is switched on.
    Nobody,
}

/// Whoever sits at the terminal.
struct AtTerminal;

#[expect(clippy::print_stderr, reason = "the questions of a command line tool")]
impl Person for AtTerminal {
    fn told(&mut self, words: &str) {
        eprintln!("{words}");
    }

    fn agrees(&mut self, question: &str) -> bool {
        eprint!("{question} [y/N] ");
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).is_ok()
            && matches!(answer.trim(), "y" | "Y" | "yes" | "j" | "J" | "ja")
    }
}

/// The same with a configuration that has been read.
#[expect(clippy::print_stderr, reason = "the answer of a command line tool")]
pub fn run_loaded(loaded: &Loaded, as_json: bool, asks: Asks) -> ExitCode {
    let mut parts = vec![("configuration", settings_report(&loaded.warnings))];
    if UnixStream::connect(&loaded.settings.socket).is_ok() {
        let words = "the daemon is running and holds camera and sound cards";
        let remedy = "stop it first: systemctl stop intercomd";
        parts.push(("machine", plain(vec![Verdict::bad(words, remedy)])));
        return not_begun(&parts, &format!("{words}; {remedy}"), as_json);
    }
    if !as_json {
        eprintln!("the speaker will be heard for some 8 s; keep quiet meanwhile");
    }
    match try_all(&loaded.settings, asks) {
        Ok(more) => parts.extend(more),
        Err(why) => {
            let words = format!("the kernel gives no threads: {why}");
            let remedy = "end what else runs here, or raise the system's limit on threads";
            parts.push(("machine", plain(vec![Verdict::bad(words.clone(), remedy)])));
            return not_begun(&parts, &format!("{words}; {remedy}"), as_json);
        }
    }
    if as_json {
        tell(&format!("{}\n", to_json(&parts)));
    } else {
        tell(&to_text(&parts));
    }
    match worst(&parts) {
        Grade::Bad => ExitCode::FAILURE,
        Grade::Good | Grade::Fair => ExitCode::SUCCESS,
    }
}

/// Whoever reads no more has heard enough, and is no reason to end with a panic.
fn tell(answer: &str) {
    let _ = std::io::stdout().write_all(answer.as_bytes());
}

/// Ends before anything was tried: for a person in these words, for a program in the shape of a test that was run.
#[expect(clippy::print_stderr, reason = "the answer of a command line tool")]
fn not_begun(parts: &Parts, words: &str, as_json: bool) -> ExitCode {
    if as_json {
        tell(&format!("{}\n", to_json(parts)));
    } else {
        eprintln!("{words}");
    }
    ExitCode::FAILURE
}

type Parts = Vec<(&'static str, PartReport)>;

fn try_all(settings: &Settings, asks: Asks) -> std::io::Result<Parts> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut person = AtTerminal;
    let person: Option<&mut dyn Person> = match asks {
        Asks::ThePerson => Some(&mut person),
        Asks::Nobody => None,
    };
    let (panel, picture, service, servers) = runtime.block_on(async {
        let panel = panel(&settings.board, person).await;
        let picture = picture(&settings.board).await;
        let (service, servers) = network(settings).await;
        (panel, picture, service, servers)
    });
    runtime.shutdown_background();
    Ok(vec![
        ("machine", plain(machine(settings, Path::new("/")))),
        ("panel", plain(panel)),
        ("picture", picture),
        ("display", display(&settings.board)),
        ("sound", sound(&settings.board)),
        ("service", plain(service)),
        ("servers", plain(servers)),
        ("page", plain(page(settings))),
    ])
}

fn plain(verdicts: Vec<Verdict>) -> PartReport {
    PartReport { verdicts, ..PartReport::default() }
}

fn machine(settings: &Settings, root: &Path) -> Vec<Verdict> {
    let mut verdicts = vec![host::clock(SystemTime::now(), root), host::disk(&settings.state_dir)];
    verdicts.extend(host::heat_and_power(root));
    verdicts
}

/// The service, and the STUN and TURN servers it and the configuration name.
async fn network(settings: &Settings) -> (Vec<Verdict>, Vec<Verdict>) {
    let own = settings.ice.servers.iter().map(ice_server);
    let Some(uplink) = &settings.uplink else {
        let words = "no service is configured: phones in the local network only";
        let service = vec![Verdict::good(words)];
        let servers: Vec<IceServer> = own.collect();
        let servers = match servers.is_empty() {
            true => vec![Verdict::good("none is needed in the local network")],
            false => ways::servers(&servers, &[]).await,
        };
        return (service, servers);
    };
    let tried = trial::service(&uplink.origin, &login(&uplink.credential), &settings.channel).await;
    let servers: Vec<IceServer> = tried.servers.iter().map(ice_server).chain(own).collect();
    (tried.verdicts, ways::servers(&servers, &[]).await)
}

fn page(settings: &Settings) -> Vec<Verdict> {
    let Some(lan) = &settings.lan else {
        return vec![Verdict::good("no page is served in the local network, as configured")];
    };
    let files = lan
        .tls
        .as_ref()
        .map(|files| lan::TlsFiles { cert: files.cert.clone(), key: files.key.clone() });
    let mut verdicts = vec![trial::certificate(
        lan.listen.ip(),
        files.as_ref(),
        &settings.state_dir,
        SystemTime::now(),
    )];
    verdicts.push(match lan.web_dir.join("index.html").is_file() {
        true => Verdict::good("the page's files are there"),
        false => Verdict::bad(
            format!("{} holds no index.html", lan.web_dir.display()),
            "install the page, or correct [lan] web_dir",
        ),
    });
    verdicts
}

fn settings_report(warnings: &[String]) -> PartReport {
    let fair = |warning: &String| Verdict::new(Grade::Fair, warning.clone(), "");
    let mut verdicts: Vec<Verdict> = warnings.iter().map(fair).collect();
    if verdicts.is_empty() {
        verdicts.push(Verdict::good("the configuration is good"));
    }
    PartReport { verdicts, ..PartReport::default() }
}

fn problem_verdicts(problems: &Problems) -> Vec<Verdict> {
    let bad = |problem: &Problem| {
        let line = problem.to_string();
        let words = line.strip_suffix(&format!("; {}", problem.fix)).unwrap_or(&line);
        Verdict::bad(words, problem.fix.clone())
    };
    problems.0.iter().map(bad).collect()
}

fn worst(parts: &Parts) -> Grade {
    let grades =
        parts.iter().flat_map(|(_, part)| part.verdicts.iter().map(|verdict| verdict.grade));
    grades.max().unwrap_or(Grade::Bad)
}

fn word(grade: Grade) -> &'static str {
    match grade {
        Grade::Good => "good",
        Grade::Fair => "fair",
        Grade::Bad => "bad",
    }
}

fn to_text(parts: &Parts) -> String {
    let mut text = String::new();
    for (name, part) in parts {
        let _ = writeln!(text, "{name}");
        for used in &part.used {
            let _ = writeln!(text, "        {used}");
        }
        for verdict in &part.verdicts {
            let _ = writeln!(text, "  {}  {}", word(verdict.grade), verdict.words);
            if !verdict.remedy.is_empty() {
                let _ = writeln!(text, "        → {}", verdict.remedy);
            }
        }
    }
    let _ = writeln!(text, "{}", word(worst(parts)));
    text
}

fn to_json(parts: &Parts) -> Value {
    let parts_json: serde_json::Map<String, Value> = parts
        .iter()
        .map(|(name, part)| {
            let verdicts: Vec<Value> = part
                .verdicts
                .iter()
                .map(|verdict| {
                    json!({"grade": word(verdict.grade), "words": verdict.words, "remedy": verdict.remedy})
                })
                .collect();
            let value = json!({
                "used": part.used,
                "verdicts": verdicts,
                "pictures_per_second": part.pictures_per_second,
                "sound": part.findings.as_ref().map(findings),
            });
            ((*name).to_owned(), value)
        })
        .collect();
    json!({"result": word(worst(parts)), "parts": parts_json})
}

fn findings(found: &Findings) -> Value {
    json!({
        "delay_ms": found.delay_ms,
        "likeness": found.likeness,
        "echo_return_loss_db": found.return_loss_db,
        "clipped": found.clipped,
        "noise_db": found.noise_db,
        "above_noise_db": found.above_noise_db,
        "echo_return_loss_enhancement_db": found.enhancement_db,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(grade: Grade) -> Parts {
        let verdict = Verdict::new(grade, "the echo is loud", "lower the volume");
        let part = PartReport { verdicts: vec![verdict], ..PartReport::default() };
        vec![("configuration", settings_report(&[])), ("sound", part)]
    }

    #[test]
    fn a_problem_of_the_configuration_is_a_bad_line_with_its_place_and_its_remedy() {
        let problem = Problem {
            file: "config.toml".into(),
            line: Some(7),
            key: "camera.rate".into(),
            what: "is 99; far too many".into(),
            fix: "write 5 to 30".into(),
        };
        let parts = vec![("configuration", plain(problem_verdicts(&Problems(vec![problem]))))];
        let value = to_json(&parts);
        assert_eq!(value["result"], "bad");
        let verdict = json!({
            "grade": "bad",
            "words": "config.toml:7: camera.rate: is 99; far too many",
            "remedy": "write 5 to 30",
        });
        assert_eq!(value["parts"]["configuration"]["verdicts"], json!([verdict]));
    }

    #[test]
    fn the_worst_part_is_the_result_and_its_remedy_is_told() {
        let text = to_text(&parts(Grade::Fair));
        assert!(text.ends_with("fair\n") && text.contains("→ lower the volume"), "{text}");
        let value = to_json(&parts(Grade::Bad));
        assert_eq!(value["result"], "bad");
        assert_eq!(value["parts"]["sound"]["verdicts"][0]["remedy"], "lower the volume");
        assert_eq!(value["parts"]["sound"]["sound"], Value::Null);
    }
}
