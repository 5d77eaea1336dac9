//! A judgement in plain words, as the rooms give it in a self-test.
//!
//! Values only.

/// How a judgement came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it should be.
    Good,
    /// It works, and could be better.
    Fair,
    /// Something is wrong.
    Bad,
}

/// A judgement, in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How it came out.
    pub grade: Grade,
    /// What was found.
    pub words: String,
    /// What to do; empty when nothing is to be done.
    pub remedy: String,
}

impl Verdict {
    /// A verdict without a remedy.
    pub fn good(words: impl Into<String>) -> Self {
        Self { grade: Grade::Good, words: words.into(), remedy: String::new() }
    }

    /// A verdict with one.
    pub fn new(grade: Grade, words: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { grade, words: words.into(), remedy: remedy.into() }
    }

    /// Something is wrong, and what to do.
    pub fn bad(words: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Grade::Bad, words, remedy)
    }

    /// It works and could be better, and what to do.
    pub fn fair(words: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Grade::Fair, words, remedy)
    }
}
