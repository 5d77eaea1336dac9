//! What can go wrong between the door and those who are told.
//!
//! No message holds an address beyond its host, a secret or a header: addresses of hooks are passwords.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Why somebody was not told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HookError {
    /// There was no answer in time.
    #[error("there was no answer within {} s; see whether it can be reached from the door", after.as_secs())]
    TimedOut {
        /// How long it was waited.
        after: Duration,
    },
    /// No connection, or it broke.
    #[error("it cannot be reached: {why}")]
    Unreachable {
        /// What the system said.
        why: String,
    },
    /// There is nothing to check certificates with.
    #[error("its certificate cannot be checked: {why}")]
    Certificates {
        /// What is wrong and what to do.
        why: String,
    },
    /// It wants the door to go elsewhere.
    #[error(
        "it answered with HTTP status {status}; redirects are not followed, write the final address as url"
    )]
    Redirected {
        /// The status.
        status: u16,
    },
    /// It will not have this.
    #[error("it refused with HTTP status {status}; check url and the secret or token")]
    Refused {
        /// The status.
        status: u16,
    },
    /// It cannot take it now.
    #[error("it answered with HTTP status {status}, which is a trouble of its own")]
    Busy {
        /// The status.
        status: u16,
    },
    /// Something in the settings cannot be sent.
    #[error("the request cannot be made: {what} holds what no header may hold; correct it")]
    NoRequest {
        /// The key of the setting.
        what: &'static str,
    },
    /// There is no picture where one should be.
    #[error("the picture {} cannot be sent: {why}", path.display())]
    NoPicture {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A message for a phone cannot be sealed.
    #[error(
        "a phone cannot be woken: {what}; have it call once more, so that it gives its address anew"
    )]
    Seal {
        /// What is wrong.
        what: &'static str,
    },
    /// The program does not start.
    #[error("it cannot be started: {why}; correct run")]
    NoStart {
        /// What the system said.
        why: String,
    },
    /// The program failed.
    #[error("it failed ({status}){}", said(complaint))]
    Failed {
        /// How it ended.
        status: String,
        /// The first line it wrote on standard error.
        complaint: String,
    },
    /// The program took too long.
    #[error("it was ended after {} s, which is its timeout{}", after.as_secs(), said(complaint))]
    Ended {
        /// Its time.
        after: Duration,
        /// The first line it wrote on standard error.
        complaint: String,
    },
    /// The broker does not let the door in.
    #[error("the broker refuses the door ({why}); check username and password_file")]
    NotLetIn {
        /// What the broker said.
        why: String,
    },
    /// The broker does not let the door hear something.
    #[error("the broker does not let the door subscribe; allow it the topics of docs/hooks.md")]
    Deaf,
}

fn said(complaint: &str) -> String {
    if complaint.is_empty() { String::new() } else { format!("; it says: {complaint}") }
}

/// Everything an error says, its causes included, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some layers repeat the one below.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.chars().filter(|letter| !letter.is_control()).take(300).collect()
}

/// What becomes of something that was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It may work later, after `hint` at the least.
    Again { error: HookError, hint: Option<Duration> },
    /// It would be the same again.
    Final(HookError),
}

impl Failure {
    pub(super) fn error(&self) -> &HookError {
        match self {
            Self::Again { error, .. } | Self::Final(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_its_causes_once() {
        #[derive(Debug, Error)]
        #[error("outer: inner")]
        struct Outer(#[source] Inner);
        #[derive(Debug, Error)]
        #[error("inner")]
        struct Inner(#[source] std::io::Error);
        let error = Outer(Inner(std::io::Error::other("bottom\n")));
        assert_eq!(chain(&error), "outer: inner: bottom");
    }
}
