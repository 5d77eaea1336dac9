//! One TOML file: its text, where it came from, and which line is where.
//!
//! Taking single keys out of it is the business of `reader`.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::notes::{Kind, Notes};
use super::problem::{Place, wrong};

/// Larger than any sane configuration; keeps a wrong path such as a video file from being read in whole.
const LARGEST_DOCUMENT: u64 = 1024 * 1024;

/// After this many syntax errors the rest are echoes of the first.
const MOST_SYNTAX_ERRORS: usize = 5;

/// The text of one TOML file.
pub(super) struct Document {
    kind: Kind,
    name: Arc<str>,
    dir: PathBuf,
    text: String,
}

impl Document {
    /// A document that is already in memory. Relative paths in it count from `dir`.
    pub(super) fn new(kind: Kind, name: &str, dir: PathBuf, text: String) -> Self {
        Self { kind, name: Arc::from(name), dir, text }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What the system said; `InvalidData` when it is not UTF-8 or larger than 1 MiB.
    pub(super) fn open(kind: Kind, path: &Path) -> io::Result<Self> {
        let mut text = String::new();
        let file = std::fs::File::open(path)?;
        file.take(LARGEST_DOCUMENT + 1).read_to_string(&mut text)?;
        if text.len() as u64 > LARGEST_DOCUMENT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than 1 MiB"));
        }
        let dir = path.parent().unwrap_or(Path::new("")).to_path_buf();
        Ok(Self::new(kind, &path.display().to_string(), dir, text))
    }

    /// Where relative paths in this document count from.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What sort of document it is.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// A key of the document, with the byte its name begins at, where it is written.
    pub(super) fn spot(&self, offset: Option<usize>, key: &str) -> Place {
        let line = offset.map(|offset| self.line(offset));
        Place::new(self.name.clone(), line, key)
    }

    /// Takes the text apart. Syntax errors go to the notes, and nothing is returned then: what
    /// follows a syntax error cannot be judged.
    pub(super) fn parse(&self, notes: &Notes) -> Option<DeTable<'_>> {
        let (table, sound) = self.recover(notes);
        sound.then_some(table)
    }

    /// The same, and what could be made of the text in spite of its syntax errors; whether it has none.
    pub(super) fn recover(&self, notes: &Notes) -> (DeTable<'_>, bool) {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        for error in errors.iter().take(MOST_SYNTAX_ERRORS) {
            let place = self.spot(error.span().map(|span| span.start), "");
            let message = error.message().trim().replace('\n', ", ");
            notes.problem(
                &place,
                wrong(
                    format!("is not TOML: {message}"),
                    "correct this line; text values need quotes, tables are written [name]",
                ),
            );
        }
        (table.into_inner(), errors.is_empty())
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        1 + before.filter(|byte| **byte == b'\n').count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::new(Kind::Config, "f.toml", PathBuf::new(), text.to_owned())
    }

    #[test]
    fn lines_count_from_one() {
        let document = document("a\nb\r\nc");
        let lines: Vec<usize> = (0..6).map(|offset| document.line(offset)).collect();
        assert_eq!(lines, [1, 1, 2, 2, 2, 3]);
        assert_eq!(document.line(99), 3, "behind the end is the last line");
    }

    #[test]
    fn the_first_syntax_errors_are_noted_with_their_lines() {
        let notes = Notes::default();
        let document = document("a = \nb = 1\n[c\n");
        assert!(document.parse(&notes).is_none());
        let problems = notes.finish().expect_err("two lines are bad").0;
        let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(1), Some(3)]);
    }

    #[test]
    fn an_avalanche_of_syntax_errors_is_cut_short() {
        let notes = Notes::default();
        assert!(document(&"=\n".repeat(50)).parse(&notes).is_none());
        let problems = notes.finish().expect_err("all of it is bad").0;
        assert_eq!(problems.len(), MOST_SYNTAX_ERRORS);
    }

    #[test]
    fn a_byte_order_mark_does_no_harm() {
        let notes = Notes::default();
        let document = document("\u{feff}a = 1");
        assert!(document.parse(&notes).is_some());
    }
}
