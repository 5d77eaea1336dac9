//! The memory room: what outlives a restart and is not configuration. Who may open the door, and who was there.
//!
//! Files in the state directory, each written whole or not at all. A file that cannot be read is set aside and said
//! so; the door works without it. It decides nothing about calls and talks to nobody.

pub mod budget;
pub mod call_log;
pub mod calls;
pub mod persons;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod promises;
pub mod proof;
pub mod sleepers;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// What can go wrong with the memory.
#[derive(Debug, Error)]
pub enum MemoryError {
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {source}; check the disk and the owner of the folder")]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What there is could not be read when the door started, and is not written over.
    #[error("{0}; then start intercomd again")]
    Unread(String),
    /// There is a person of this name already.
    #[error("there is a person called {0} already; remove it first, or take another name")]
    Known(String),
    /// There is no such person.
    #[error("there is no person called {0}; `intercomd ctl person list` shows them")]
    Unknown(String),
    /// Not a name.
    #[error("a name has 1 to 32 characters, no blanks at its ends and no control characters")]
    Name,
    /// There are as many as there can be.
    #[error("there are {0} persons already, which is the most; remove one first")]
    Full(usize),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// Puts a file that cannot be used out of the way, as FILE.broken: what is in it may still be of use to a person.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".broken");
    let aside = path.with_file_name(name);
    fs::rename(path, &aside).map(|()| aside)
}
