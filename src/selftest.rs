//! `intercomd selftest`: configuration, camera, speaker, microphone and echo, tried for real and told in plain words.
//!
//! Presentation only: the trying is done in the media room. The daemon must not be running, as it holds the devices.

use std::fmt::Write as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::config::{self, LoadArgs, Settings};
use crate::media::room::{Findings, Grade, Verdict};
use crate::media::selftest::{PartReport, picture, sound};

/// Runs the test and prints what it found: 0 all is good or fair, 1 something is wrong.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the answer of a command line tool")]
pub fn run(args: &LoadArgs, as_json: bool) -> ExitCode {
    let loaded = match config::load(args) {
        Ok(loaded) => loaded,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::FAILURE;
        }
    };
    if UnixStream::connect(&loaded.settings.socket).is_ok() {
        eprintln!(
            "the daemon is running and holds camera and sound cards; stop it first: systemctl stop intercomd"
        );
        return ExitCode::FAILURE;
    }
    if !as_json {
        eprintln!("the speaker will be heard for some 8 s; keep quiet meanwhile");
    }
    let mut parts = vec![("configuration", settings_report(&loaded.warnings))];
    match try_all(&loaded.settings) {
        Ok(more) => parts.extend(more),
        Err(why) => {
            eprintln!("the kernel gives no threads: {why}");
            return ExitCode::FAILURE;
        }
    }
    if as_json {
        println!("{}", to_json(&parts));
    } else {
        print!("{}", to_text(&parts));
    }
    match worst(&parts) {
        Grade::Bad => ExitCode::FAILURE,
        Grade::Good | Grade::Fair => ExitCode::SUCCESS,
    }
}

type Parts = Vec<(&'static str, PartReport)>;

fn try_all(settings: &Settings) -> std::io::Result<Parts> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let picture = runtime.block_on(picture(&settings.board));
    runtime.shutdown_background();
    Ok(vec![("picture", picture), ("sound", sound(&settings.board))])
}

fn settings_report(warnings: &[String]) -> PartReport {
    let fair = |warning: &String| Verdict::new(Grade::Fair, warning.clone(), "");
    let mut verdicts: Vec<Verdict> = warnings.iter().map(fair).collect();
    if verdicts.is_empty() {
        verdicts.push(Verdict::good("the configuration is good"));
    }
    PartReport { verdicts, ..PartReport::default() }
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
    fn the_worst_part_is_the_result_and_its_remedy_is_told() {
        let text = to_text(&parts(Grade::Fair));
        assert!(text.ends_with("fair\n") && text.contains("→ lower the volume"), "{text}");
        let value = to_json(&parts(Grade::Bad));
        assert_eq!(value["result"], "bad");
        assert_eq!(value["parts"]["sound"]["verdicts"][0]["remedy"], "lower the volume");
        assert_eq!(value["parts"]["sound"]["sound"], Value::Null);
    }
}
