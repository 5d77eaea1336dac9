//! The documents against what they speak of: links lead somewhere, commands and make targets exist. Runs nothing
//! but `intercomd --help`; knows nothing of what a document means.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn every_link_in_a_document_leads_to_a_file_and_a_heading_that_exist() {
    let mut faults = Vec::new();
    for page in documents() {
        let text = read(&page);
        for (number, link) in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let folder = page.parent().unwrap_or(Path::new(""));
            let target = if file.is_empty() { page.clone() } else { folder.join(file) };
            let place = format!("{}:{number}", page.display());
            if !root().join(&target).exists() {
                faults.push(format!("{place}: {link} is not there; correct the link"));
            } else if !heading.is_empty() && !headings(&read(&target)).contains(heading) {
                faults.push(format!("{place}: {} has no heading #{heading}", target.display()));
            }
        }
    }
    report(&faults);
}

/// A specification, for pages of others; it may be ahead of the program.
const AHEAD: &str = "docs/door-protocol.md";

#[test]
fn every_command_of_intercomd_a_document_shows_exists() {
    let commands = commands_of(&[]);
    let verbs = commands_of(&["ctl"]);
    assert!(commands.contains("run") && verbs.contains("press"), "{commands:?} {verbs:?}");
    let mut faults = Vec::new();
    for page in documents().into_iter().filter(|page| page != Path::new(AHEAD)) {
        for (number, line) in shown(&read(&page)) {
            let place = format!("{}:{number}", page.display());
            for words in calls(&line, "intercomd") {
                let Some(command) = words.first() else { continue };
                if !commands.contains(command) {
                    faults.push(format!("{place}: intercomd has no command {command}"));
                } else if command == "ctl" {
                    let verb = words.get(1).filter(|verb| !verbs.contains(*verb));
                    faults.extend(verb.map(|verb| format!("{place}: ctl has no verb {verb}")));
                }
            }
        }
    }
    report(&faults);
}

#[test]
fn every_make_target_a_document_shows_exists() {
    let makefile = read(Path::new("Makefile"));
    let targets: BTreeSet<_> = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', '#', '.', ' ']))
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(names, _)| names.split_whitespace())
        .collect();
    let mut faults = Vec::new();
    for page in documents() {
        for (number, line) in shown(&read(&page)) {
            for words in calls(&line, "make") {
                let target = words.first().filter(|target| !targets.contains(target.as_str()));
                faults.extend(target.map(|target| {
                    format!("{}:{number}: the Makefile has no target {target}", page.display())
                }));
            }
        }
    }
    report(&faults);
}

#[test]
fn every_document_can_be_found_from_the_readme() {
    let mut open = vec![PathBuf::from("README.md")];
    let mut found = BTreeSet::new();
    while let Some(page) = open.pop() {
        if !found.insert(page.clone()) {
            continue;
        }
        let folder = page.parent().unwrap_or(Path::new("")).to_owned();
        for (_, link) in links(&read(&page)) {
            let file = folder.join(link.split('#').next().unwrap_or(""));
            let plain = normal(&file);
            if plain.extension().is_some_and(|ending| ending == "md")
                && root().join(&plain).is_file()
            {
                open.push(plain);
            }
        }
    }
    let lost: Vec<_> = documents()
        .into_iter()
        .filter(|page| page.starts_with("docs") && !found.contains(page))
        .map(|page| {
            format!("{}: no page that can be reached from README.md links to it", page.display())
        })
        .collect();
    report(&lost);
}

#[test]
fn every_setting_of_the_reference_is_on_its_man_page() {
    let page = Command::new("python3")
        .args(["tools/config-manual.py", "docs/config.toml", "0"])
        .current_dir(root())
        .output()
        .expect("python3 runs");
    assert!(page.status.success(), "{}", String::from_utf8_lossy(&page.stderr));
    let page = String::from_utf8_lossy(&page.stdout).replace("\\-", "-").replace("\\(dq", "\"");
    let mut faults = Vec::new();
    for (number, line) in read(Path::new("docs/config.toml")).lines().enumerate() {
        let setting = line.strip_prefix('#').unwrap_or(line);
        if setting.starts_with(|first: char| first.is_ascii_lowercase()) && !page.contains(setting)
        {
            faults.push(format!("docs/config.toml:{}: not on the man page: {setting}", number + 1));
        }
    }
    report(&faults);
}

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{}: cannot be read: {error}", path.display()))
}

/// Every Markdown file that is ours, relative to the root.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder of the repository") {
            let name = entry.expect("an entry of it").file_name();
            let path = folder.join(&name);
            let is_ours =
                !matches!(name.to_str(), Some("target" | "node_modules" | "vendor" | ".git"));
            if root().join(&path).is_dir() {
                if is_ours {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|ending| ending == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// `a/b/../c` as `a/c`.
fn normal(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            std::path::Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

/// What stands between `](` and `)`, with its line.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    // A link may be broken across two lines in its text, never in its target.
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced || line.starts_with("    ") {
            continue;
        }
        for (start, _) in line.match_indices("](") {
            let rest = &line[start + 2..];
            if let Some(end) = rest.find(')') {
                found.push((at + 1, rest[..end].to_owned()));
            }
        }
    }
    found
}

/// The anchors of a page's headings, as GitHub and most others make them.
fn headings(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let title = line.trim_start_matches('#');
        if fenced || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let plain = title.trim().to_lowercase();
        let kept = plain.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        found.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
    }
    found
}

/// What a page shows as typed: inside back-ticks, in fences, indented by four.
fn shown(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            let code = line.split(" # ").next().unwrap_or(line);
            found.push((at + 1, code.to_owned()));
        } else {
            let quoted = line.split('`').skip(1).step_by(2);
            found.extend(quoted.map(|code| (at + 1, code.to_owned())));
        }
    }
    found
}

/// The words after this program in every call of it, options left out. What follows must be a plain word: `make
/// test` is a call, `make … .` is not.
fn calls(line: &str, program: &str) -> Vec<Vec<String>> {
    let words: Vec<_> = line.split_whitespace().collect();
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| words.get(before)).copied();
        let begins = match before {
            None => true,
            Some(before) => {
                matches!(before, "sudo" | "&&" | "|" | "$" | ";" | "exec")
                    || before.contains('=')
                    || before.ends_with('"')
            }
        };
        let is_program = *word == program || word.ends_with(&format!("/{program}"));
        if !is_program || !begins {
            continue;
        }
        let plain = |word: &&&str| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        let arguments = words[at + 1..].iter().take_while(plain);
        found.push(arguments.map(|word| (*word).to_owned()).collect());
    }
    found
}

/// The commands `--help` lists.
fn commands_of(before: &[&str]) -> BTreeSet<String> {
    let help = Command::new(env!("CARGO_BIN_EXE_intercomd"))
        .args(before)
        .arg("--help")
        .output()
        .expect("intercomd runs");
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    let listed = text.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    // Hidden ones are shown by nobody but the package's own page.
    listed
        .take_while(|line| line.starts_with(' '))
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .chain(before.is_empty().then(|| "manual".to_owned()))
        .collect()
}
