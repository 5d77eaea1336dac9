//! The rules of udev: words and groups that exist, and nothing left to root that the daemon needs.

use std::collections::BTreeSet;

use super::read;

const RULES: &str = "systemd/60-intercomd.rules";

/// Keys of udev's language that our rules may use, all known to systemd 252 (udev(7)).
const UDEV_KEYS: &[&str] =
    &["ACTION", "SUBSYSTEM", "KERNEL", "GROUP", "MODE", "RUN", "GOTO", "LABEL"];

/// The parts of each rule: key, operator, value.
fn rules() -> Vec<Vec<(String, String, String)>> {
    let text = read(RULES);
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let part = |part: &str| {
        let part = part.trim();
        let (head, value) = part
            .strip_suffix('"')
            .and_then(|part| part.split_once('"'))
            .unwrap_or_else(|| panic!("{RULES}: {part}: a value stands in quotes"));
        let key = head.trim_end_matches(['=', '+', '!', ':']);
        (key.to_owned(), head[key.len()..].to_owned(), value.to_owned())
    };
    // No value of ours holds `",`.
    lines
        .map(|line| line.split_inclusive("\",").map(|at| part(at.trim_end_matches(','))).collect())
        .collect()
}

#[test]
fn udev_rules_use_known_words_and_groups_that_sysusers_fills() {
    let sysusers = read("systemd/intercomd.sysusers");
    let groups: BTreeSet<&str> = sysusers
        .lines()
        .filter_map(|line| line.split_whitespace().collect::<Vec<_>>().try_into().ok())
        .filter_map(|[kind, user, group]: [&str; 3]| {
            (kind == "m" && user == "intercomd").then_some(group)
        })
        .collect();
    let rules = rules();
    let labels: BTreeSet<&str> = rules
        .iter()
        .flatten()
        .filter(|(key, ..)| key == "LABEL")
        .map(|(_, _, label)| &**label)
        .collect();
    for (key, operator, value) in rules.iter().flatten() {
        assert!(UDEV_KEYS.contains(&&**key), "{RULES}: {key}");
        let asks = matches!(&**key, "ACTION" | "SUBSYSTEM" | "KERNEL");
        assert_eq!(matches!(&**operator, "==" | "!="), asks, "{RULES}: {key}{operator}{value}");
        match &**key {
            "GROUP" => assert!(groups.contains(&**value), "{RULES}: nobody joins {value}"),
            "GOTO" => assert!(labels.contains(&**value), "{RULES}: no label {value}"),
            "MODE" => assert_eq!(value, "0660", "{RULES}: nobody else may use the device"),
            "RUN" => {
                let words: Vec<&str> = value.split(' ').collect();
                assert!(words[0].starts_with("/bin/"), "{RULES}: {value}: udev has no PATH");
                if words[0] == "/bin/chgrp" {
                    assert!(groups.contains(words[1]), "{RULES}: nobody joins {}", words[1]);
                }
            }
            _ => {}
        }
    }
}

#[test]
fn udev_rules_cover_what_systemd_itself_leaves_to_root() {
    let rules = rules();
    let covered = |subject: &str, group: &str| {
        rules.iter().any(|rule| {
            let asks = rule.iter().any(|(key, operator, value)| {
                matches!(&**key, "SUBSYSTEM" | "KERNEL") && operator == "==" && value == subject
            });
            let gives = rule.iter().any(|(key, _, value)| {
                key == "GROUP" && value == group
                    || key == "RUN" && value.starts_with(&format!("/bin/chgrp {group} "))
            });
            asks && gives
        })
    };
    for (subject, group) in [
        ("gpiochip[0-9]*", "gpio"),
        ("gpiomem*", "gpio"),
        ("dma_heap", "video"),
        ("leds", "gpio"),
        ("backlight", "video"),
    ] {
        assert!(covered(subject, group), "{RULES}: {subject} is not given to {group}");
    }
}

#[test]
fn what_udev_gives_to_a_group_in_sys_the_group_may_write_too() {
    for rule in rules() {
        let run = |program: &str| -> BTreeSet<String> {
            let runs = rule.iter().filter(|(key, ..)| key == "RUN");
            let words = runs.map(|(_, _, value)| value.split(' ').collect::<Vec<_>>());
            let words = words.filter(|words| words[0] == program);
            words
                .flat_map(|words| {
                    words[2..].iter().map(|file| (*file).to_owned()).collect::<Vec<_>>()
                })
                .collect()
        };
        assert_eq!(run("/bin/chgrp"), run("/bin/chmod"), "{RULES}: {rule:?}");
        let in_sys = run("/bin/chgrp").iter().all(|file| file.starts_with("/sys%p/"));
        assert!(in_sys, "{RULES}: {rule:?}");
    }
}
