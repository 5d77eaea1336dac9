//! What can be wrong with a configuration, where it is wrong, and how that is printed.
//!
//! Nothing here reads files or knows a key by name.

use std::fmt;
use std::sync::Arc;

/// One thing that is wrong with the configuration. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, or "environment", or "command line".
    pub file: String,
    /// The line in the file, counted from 1, where there is one to point at.
    pub line: Option<usize>,
    /// The key with its tables, such as `camera.rate`. Empty when the whole file is meant.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, &self.file, self.line, &self.key)?;
        write!(f, "{}; {}", self.what, self.fix)
    }
}

/// Everything that is wrong with the configuration, in the order of files and lines.
///
/// Prints as one line each: `FILE:LINE: key.path: what is wrong; what to do`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// What is wrong and what to do, before it is known where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    what: String,
    fix: String,
}

/// Puts the two halves of a message together.
pub(super) fn wrong(what: impl Into<String>, fix: impl Into<String>) -> Wrong {
    Wrong { what: what.into(), fix: fix.into() }
}

/// A spot in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    file: Arc<str>,
    line: Option<usize>,
    key: String,
}

impl Place {
    /// A spot in a file.
    pub(super) fn new(file: Arc<str>, line: Option<usize>, key: impl Into<String>) -> Self {
        Self { file, line, key: key.into() }
    }

    /// An environment variable.
    pub(super) fn variable(name: &str) -> Self {
        Self::new(Arc::from("environment"), None, name)
    }

    /// An option of the command line.
    pub(super) fn option(name: &str) -> Self {
        Self::new(Arc::from("command line"), None, name)
    }

    /// The same table with another key, at the same line.
    pub(super) fn sibling(&self, key: &str) -> Self {
        let table = self.key.rsplit_once('.').map_or("", |(table, _)| table);
        let key = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
        Self::new(self.file.clone(), self.line, key)
    }

    /// The line, where there is one.
    pub(super) fn line(&self) -> Option<usize> {
        self.line
    }

    /// The problem this place has.
    pub(super) fn problem(&self, wrong: Wrong) -> Problem {
        Problem {
            file: self.file.to_string(),
            line: self.line,
            key: self.key.clone(),
            what: wrong.what,
            fix: wrong.fix,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        match self.line {
            Some(line) => write!(f, " ({}:{line})", self.file),
            None => write!(f, " ({})", self.file),
        }
    }
}

/// A value and the spot it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At<T> {
    /// The value.
    pub(super) value: T,
    /// Where it was written.
    pub(super) place: Place,
}

impl<T> At<T> {
    /// Keeps the place and changes the value.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> At<U> {
        At { value: change(self.value), place: self.place }
    }
}

/// Formats a warning the way problems are printed.
pub(super) fn warning(place: &Place, text: &str) -> String {
    struct Line<'a>(&'a Place, &'a str);
    impl fmt::Display for Line<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_place(f, &self.0.file, self.0.line, &self.0.key)?;
            f.write_str(self.1)
        }
    }
    Line(place, text).to_string()
}

fn write_place(
    f: &mut fmt::Formatter<'_>,
    file: &str,
    line: Option<usize>,
    key: &str,
) -> fmt::Result {
    f.write_str(file)?;
    if let Some(line) = line {
        write!(f, ":{line}")?;
    }
    f.write_str(": ")?;
    if !key.is_empty() {
        write!(f, "{key}: ")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_file_line_key_fault_and_remedy_in_that_order() {
        let place = Place::new(Arc::from("/etc/x.toml"), Some(7), "camera.rate");
        let problem = place.problem(wrong("is 99", "write 5 to 30"));
        assert_eq!(problem.to_string(), "/etc/x.toml:7: camera.rate: is 99; write 5 to 30");
    }

    #[test]
    fn a_place_without_line_or_key_leaves_them_out() {
        let problem = Place::new(Arc::from("f"), None, "").problem(wrong("a", "b"));
        assert_eq!(problem.to_string(), "f: a; b");
    }

    #[test]
    fn problems_print_one_per_line() {
        let one = Place::variable("INTERCOMD_CHANNEL").problem(wrong("a", "b"));
        let two = Place::option("--board").problem(wrong("c", "d"));
        assert_eq!(
            Problems(vec![one, two]).to_string(),
            "environment: INTERCOMD_CHANNEL: a; b\ncommand line: --board: c; d"
        );
    }
}
