//! The list that grows while a configuration is read: problems, warnings, and the keys nobody asked for.
//!
//! Unknown keys are judged at the end only, when every key that exists has been asked for once.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::problem::{Place, Problem, Problems, Wrong, warning, wrong};

/// What sort of document a key was read from; each sort has its own set of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// `config.toml`.
    Config,
    /// A board profile.
    Board,
}

impl Kind {
    /// The name people use for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Config => "config.toml",
            Self::Board => "a board profile",
        }
    }
}

/// A key that nobody asked for.
struct Unknown {
    kind: Kind,
    table: String,
    name: String,
    place: Place,
}

/// Collects what is found while reading. Shared by all readers of one load.
#[derive(Default)]
pub(super) struct Notes {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<String>>,
    known: RefCell<BTreeSet<(Kind, String, &'static str)>>,
    unknown: RefCell<Vec<Unknown>>,
}

impl Notes {
    /// Notes a problem; the load will fail with it and all others.
    pub(super) fn problem(&self, place: &Place, wrong: Wrong) {
        self.problems.borrow_mut().push(place.problem(wrong));
    }

    /// Notes something that is allowed but probably not meant.
    pub(super) fn warn(&self, place: &Place, text: &str) {
        let text = warning(place, text);
        let mut warnings = self.warnings.borrow_mut();
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// Notes that a key exists, whether or not it is written in the document.
    pub(super) fn known(&self, kind: Kind, table: &str, name: &'static str) {
        self.known.borrow_mut().insert((kind, table.to_owned(), name));
    }

    /// Notes that a document has a key nobody asked for.
    pub(super) fn unknown(&self, kind: Kind, table: &str, name: &str, place: Place) {
        self.unknown.borrow_mut().push(Unknown {
            kind,
            table: table.to_owned(),
            name: name.to_owned(),
            place,
        });
    }

    /// Every key of one sort of document, as paths such as `camera.rate`.
    #[cfg(test)]
    pub(super) fn known_keys(&self, wanted: Kind) -> BTreeSet<String> {
        let known = self.known.borrow();
        known
            .iter()
            .filter(|(kind, ..)| *kind == wanted)
            .map(|(_, table, name)| join(table, name))
            .collect()
    }

    /// Ends the reading: the warnings, or all the problems in the order of files and lines.
    pub(super) fn finish(self) -> Result<Vec<String>, Problems> {
        let known = self.known.into_inner();
        let mut problems = self.problems.into_inner();
        for unknown in self.unknown.into_inner() {
            problems.push(unknown.place.problem(judge(&unknown, &known)));
        }
        if problems.is_empty() {
            return Ok(self.warnings.into_inner());
        }
        problems.sort();
        problems.dedup();
        Err(Problems(problems))
    }
}

fn judge(unknown: &Unknown, known: &BTreeSet<(Kind, String, &'static str)>) -> Wrong {
    let what = "is not a key that exists";
    let here: Vec<&str> = known
        .iter()
        .filter(|(kind, table, _)| *kind == unknown.kind && *table == unknown.table)
        .map(|(_, _, name)| *name)
        .collect();
    if let Some(near) = nearest(&unknown.name, here.iter().copied()) {
        return wrong(what, format!("did you mean `{near}`?"));
    }
    let elsewhere: Vec<&(Kind, String, &str)> =
        known.iter().filter(|(_, _, name)| *name == unknown.name).collect();
    let same_document = elsewhere.iter().find(|(kind, ..)| *kind == unknown.kind);
    if let Some((_, table, name)) = same_document {
        let target = if table.is_empty() {
            format!("`{name}` stands above the first [table]")
        } else {
            format!("`{name}` belongs in [{table}]")
        };
        return wrong(what, format!("{target}, move it there"));
    }
    if let Some((kind, table, name)) = elsewhere.first() {
        let path = join(table, name);
        return wrong(what, format!("`{path}` belongs in {}, move it there", kind.name()));
    }
    wrong(what, format!("delete it, or use one of: {}", here.join(", ")))
}

/// The candidate that was probably meant by a mistyped word, if any is near enough.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let best = candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&lower, candidate), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    let slips = strsim::damerau_levenshtein(&lower, best.1);
    let near = best.0 >= 0.87 || (slips <= 2 && slips * 2 < best.1.chars().count());
    near.then_some(best.1)
}

/// A key with its table.
pub(super) fn join(table: &str, name: &str) -> String {
    let name = name.escape_debug();
    if table.is_empty() { name.to_string() } else { format!("{table}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn place(line: usize, key: &str) -> Place {
        Place::new(Arc::from("f"), Some(line), key)
    }

    #[test]
    fn slips_of_the_finger_find_their_word() {
        let words = ["camera", "channel", "rate", "pipeline", "source"];
        assert_eq!(nearest("chanel", words), Some("channel"));
        assert_eq!(nearest("Camera", words), Some("camera"));
        assert_eq!(nearest("rtae", words), Some("rate"));
        assert_eq!(nearest("pipline", words), Some("pipeline"));
    }

    #[test]
    fn a_stranger_is_not_taken_for_a_slip() {
        let words = ["camera", "channel", "rate"];
        assert_eq!(nearest("bluetooth", words), None);
        assert_eq!(nearest("x", words), None);
        assert_eq!(nearest("", words), None);
        assert_eq!(nearest("anything", []), None);
    }

    #[test]
    fn a_key_in_the_wrong_table_is_told_where_it_belongs() {
        let notes = Notes::default();
        notes.known(Kind::Config, "", "channel");
        notes.known(Kind::Config, "lan", "listen");
        notes.unknown(Kind::Config, "", "listen", place(1, "listen"));
        notes.unknown(Kind::Config, "lan", "channel", place(2, "lan.channel"));
        let text = notes.finish().expect_err("both are wrong").to_string();
        assert!(text.contains("`listen` belongs in [lan]"), "{text}");
        assert!(text.contains("`channel` stands above the first [table]"), "{text}");
    }

    #[test]
    fn a_key_of_the_other_document_is_told_which_document() {
        let notes = Notes::default();
        notes.known(Kind::Config, "", "channel");
        notes.known(Kind::Board, "panel", "kind");
        notes.unknown(Kind::Board, "", "channel", place(1, "channel"));
        notes.unknown(Kind::Config, "", "kind", place(1, "kind"));
        let text = notes.finish().expect_err("both are wrong").to_string();
        assert!(text.contains("`channel` belongs in config.toml"), "{text}");
        assert!(text.contains("`panel.kind` belongs in a board profile"), "{text}");
    }

    #[test]
    fn problems_come_out_in_the_order_of_lines_and_once() {
        let notes = Notes::default();
        notes.problem(&place(9, "b"), wrong("w", "f"));
        notes.problem(&place(2, "a"), wrong("w", "f"));
        notes.problem(&place(9, "b"), wrong("w", "f"));
        let problems = notes.finish().expect_err("there are problems").0;
        let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(2), Some(9)]);
    }
}
