//! What this room promises of any text that is given for a configuration: settings, or problems of one line each
//! that a person can act on. Each promise takes any text and breaks off when it is not kept.
//!
//! Built for tests and for the fuzz targets only (docs/fuzzing.md), which share them.

use std::path::PathBuf;

use super::document::Document;
use super::notes::{Kind, Notes};
use super::{LoadArgs, Surroundings, settle};

const NAME: &str = "config.toml";

/// A text is read as `config.toml` is, in an empty surrounding. Files that it names are looked for, as they would
/// be; none is named `config.toml`, so nothing but the text itself is read twice.
pub fn config(text: &str) {
    let around = Surroundings::default();
    let folder = PathBuf::from("/nonexistent/intercomd");
    let document = Document::new(Kind::Config, NAME, folder, text.to_owned());
    let notes = Notes::default();
    let settings = settle(&document, &LoadArgs::default(), &around, &mut Vec::new(), &notes);
    match notes.finish() {
        Ok(warnings) => {
            assert!(settings.is_some(), "neither settings nor a problem");
            assert!(warnings.iter().all(|line| is_one_line(line)), "{warnings:?}");
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            for problem in &problems.0 {
                assert!(!problem.what.is_empty() && !problem.fix.is_empty(), "{problem:?}");
                assert!(is_one_line(&problem.to_string()), "{problem:?}");
                // One may be told of a built-in profile, which has lines of its own.
                let is_there = problem.line.is_none_or(|line| line <= text.lines().count() + 1);
                assert!(is_there || problem.file != NAME, "{problem:?}");
            }
        }
    }
}

/// What goes to a terminal and to the log must not be able to write lines of its own there.
fn is_one_line(text: &str) -> bool {
    !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The reference with a piece replaced, so that every key meets values that it must not have.
    fn bent_reference() -> impl Strategy<Value = String> {
        let reference = include_str!("../../docs/config.toml");
        let lines: Vec<String> = reference
            .lines()
            .map(|line| line.strip_prefix("# ").or(line.strip_prefix('#')).unwrap_or(line))
            .filter(|line| line.contains(" = ") || line.starts_with('['))
            .map(str::to_owned)
            .collect();
        let count = lines.len();
        let value = prop_oneof![
            Just("-1".to_owned()),
            Just("9223372036854775807".to_owned()),
            Just("nan".to_owned()),
            Just("\"\\n\\u001b[2J\"".to_owned()),
            Just("[[]]".to_owned()),
            Just("{ a = 1 }".to_owned()),
            Just("1979-05-27T07:32:00Z".to_owned()),
            "\"\\PC{0,12}\"",
            "\\PC{0,8}",
        ];
        let change = (0..count, value);
        (0..count, 1..30_usize, prop::collection::vec(change, 0..4)).prop_map(
            move |(from, length, changes)| {
                let mut lines = lines.clone();
                for (at, value) in changes {
                    if let Some((key, _)) = lines[at].clone().split_once(" = ") {
                        lines[at] = format!("{key} = {value}");
                    }
                }
                lines[from..(from + length).min(count)].join("\n")
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_bent_configuration_is_settings_or_problems_of_one_line(text in bent_reference()) {
            config(&text);
        }

        #[test]
        fn any_text_at_all_is_settings_or_problems_of_one_line(text in "(\\PC|\n|\t|\u{1b}){0,80}") {
            config(&text);
        }
    }

    #[test]
    fn a_problem_of_a_built_in_profile_has_that_profile_s_line() {
        config("[relay]\nline = \"GPIO27\"\nmax_pulse = \"1s\"");
    }

    #[test]
    fn a_key_or_value_with_control_characters_writes_no_line_of_its_own() {
        for text in [
            "\"a\\nb\" = 1",
            "channel = \"door\\n[31m\"",
            "board = \"x\\u001b[2J\"\nchannel = \"d\"",
            "[\"lan\\n\"]\nx = 1",
            "channel = \"d\"\nstate_dir = \"a\\nb\"\n[uplink]\nurl = \"x\\ny\"\nkey_file = \"k\\n\"",
            "channel = \"d\"\n[camera.controls]\n\"a\\rb\" = 1",
        ] {
            config(text);
        }
    }
}
