//! Turns the heart's reports into the events that hooks are told.
//!
//! Decides nothing and waits for nothing: which outlet wants what, and how it gets there, is the hooks' business.

use std::path::PathBuf;

use crate::clerk::clock;
use crate::hooks::{Event, Hooks, OutletStatus, What};
use crate::intercom::{CallId, Cause, Denial, Report};
use crate::memory::calls::{Entry, News};

/// See the file's head.
pub struct Herald {
    hooks: Hooks,
    /// The present one.
    call: Option<String>,
}

impl Herald {
    /// Tells these hooks.
    pub fn new(hooks: Hooks) -> Self {
        Self { hooks, call: None }
    }

    /// Takes a report of the heart's, and what it did to the log.
    pub fn report(&mut self, report: &Report, news: &News) {
        if let Report::Rang { call, again: false } = report {
            self.call = Some(call.to_string());
        }
        if let Report::Ended { call, .. } = report {
            self.call = Some(call.to_string());
        }
        if let Some(what) = Self::what(report, news) {
            self.tell(what);
        }
        if let Report::Ended { .. } = report {
            self.call = None;
        }
    }

    /// The picture of a call's visitor lies there now.
    pub fn picture(&self, call: &CallId, path: PathBuf) {
        let what = What::Picture { path };
        self.hooks.tell(Event { call: Some(call.to_string()), at: clock(), what });
    }

    /// How each outlet does.
    pub fn status(&self) -> Vec<OutletStatus> {
        self.hooks.status()
    }

    /// The hooks, to be closed.
    pub fn into_hooks(self) -> Hooks {
        self.hooks
    }

    fn tell(&self, what: What) {
        self.hooks.tell(Event { call: self.call.clone(), at: clock(), what });
    }

    fn what(report: &Report, news: &News) -> Option<What> {
        Some(match (report, news) {
            (Report::Rang { again, .. }, _) => What::Ring { again: *again },
            (Report::Answered { name, .. }, News::Answered) => {
                What::Answered { name: name.as_ref().map(ToString::to_string) }
            }
            (Report::Ended { cause, .. }, News::Ended(entry)) => ended(*cause, entry),
            (Report::Opened { by, length }, _) => What::Opened {
                by: by.who(),
                for_ms: u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
            },
            (Report::OpenRefused { by, why }, _) => What::OpenRefused {
                by: by.who(),
                why: why.denial().map_or(why.name(), Denial::name).to_owned(),
            },
            (Report::LooksIn { by, .. }, _) => What::LookIn { by: by.to_string() },
            (Report::Broken(part), _) => What::Fault { part: part.to_string(), over: false },
            (Report::Mended(part), _) => What::Fault { part: part.to_string(), over: true },
            _ => return None,
        })
    }
}

fn ended(cause: Cause, entry: &Entry) -> What {
    if entry.answered_by.is_empty() || cause == Cause::Unreached {
        return What::Missed { cause: cause.name() };
    }
    What::Ended {
        cause: cause.name(),
        talk_s: entry.talk_s,
        answered_by: entry.answered_by.first().cloned(),
        opened_by: entry.opened_by.first().cloned(),
    }
}
