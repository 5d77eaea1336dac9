//! What can happen at the door, as the outside is told.
//!
//! Pure: values. How they look as JSON is `body`.

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::config::HookEvent;

/// Longest text an event carries, in characters; names come from pages, which may write anything.
const LONGEST: usize = 128;

/// Something that happened at the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The call it belongs to, if any.
    pub call: Option<String>,
    /// When, in unix seconds by the door's clock.
    pub at: u64,
    /// What.
    pub what: What,
}

/// What happened. Each call that rings ends with one of `Missed` and `Ended`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum What {
    /// Somebody pressed the doorbell.
    Ring {
        /// Whether it rang already.
        again: bool,
    },
    /// Somebody answered.
    Answered {
        /// Who, as their page says; `None`: it does not say.
        name: Option<String>,
    },
    /// The call is over and nobody has answered it.
    Missed {
        /// Why, by the name of a cause of docs/door-protocol.md.
        cause: &'static str,
    },
    /// The call is over and somebody has answered it.
    Ended {
        /// Why, by the name of a cause of docs/door-protocol.md.
        cause: &'static str,
        /// How long they talked, in seconds.
        talk_s: u64,
        /// Who answered first.
        answered_by: Option<String>,
        /// Who opened the door during the call.
        opened_by: Option<String>,
    },
    /// The door was opened.
    Opened {
        /// Who did it.
        by: String,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// The door was not opened for somebody who asked.
    OpenRefused {
        /// Who asked.
        by: String,
        /// Why not: a word such as `resting`.
        why: String,
    },
    /// A person looks through the camera although nobody rang.
    LookIn {
        /// Who.
        by: String,
    },
    /// A part of the door is out of order, or well again.
    Fault {
        /// Which one, as in `faults` of the status.
        part: String,
        /// Whether it is well again.
        over: bool,
    },
    /// There is a picture of the visitor.
    Picture {
        /// A JPEG file on the door.
        #[serde(rename = "picture", serialize_with = "as_text")]
        path: PathBuf,
    },
}

fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

impl What {
    /// The sort of event.
    pub fn kind(&self) -> HookEvent {
        match self {
            Self::Ring { .. } => HookEvent::Ring,
            Self::Answered { .. } => HookEvent::Answered,
            Self::Missed { .. } => HookEvent::Missed,
            Self::Ended { .. } => HookEvent::Ended,
            Self::Opened { .. } => HookEvent::Opened,
            Self::OpenRefused { .. } => HookEvent::OpenRefused,
            Self::LookIn { .. } => HookEvent::LookIn,
            Self::Fault { .. } => HookEvent::Fault,
            Self::Picture { .. } => HookEvent::Picture,
        }
    }
}

/// An event whose texts are harmless, and which knows its door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) door: String,
    pub(super) event: Event,
}

impl Told {
    pub(super) fn kind(&self) -> HookEvent {
        self.event.what.kind()
    }

    pub(super) fn what(&self) -> &What {
        &self.event.what
    }
}

impl Event {
    /// Without control characters, which an environment, a header and a log line cannot hold, and not
    /// longer than a person needs.
    pub(super) fn cleaned(self, door: &str) -> Told {
        let what = match self.what {
            What::Answered { name } => What::Answered { name: name.and_then(clean_name) },
            What::Ended { cause, talk_s, answered_by, opened_by } => What::Ended {
                cause,
                talk_s,
                answered_by: answered_by.and_then(clean_name),
                opened_by: opened_by.and_then(clean_name),
            },
            What::Opened { by, for_ms } => What::Opened { by: clean(&by), for_ms },
            What::OpenRefused { by, why } => What::OpenRefused { by: clean(&by), why: clean(&why) },
            What::LookIn { by } => What::LookIn { by: clean(&by) },
            What::Fault { part, over } => What::Fault { part: clean(&part), over },
            plain @ (What::Ring { .. } | What::Missed { .. } | What::Picture { .. }) => plain,
        };
        Told { door: door.to_owned(), event: Event { what, ..self } }
    }
}

fn clean(text: &str) -> String {
    // Besides control characters, those that turn the direction of a line around.
    let shown = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().filter(shown).take(LONGEST).collect::<String>().trim().to_owned()
}

fn clean_name(name: String) -> Option<String> {
    let name = clean(&name);
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(name: &str) -> Option<String> {
        let what = What::Answered { name: Some(name.to_owned()) };
        match (Event { call: None, at: 0, what }).cleaned("d").event.what {
            What::Answered { name } => name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_name_from_a_page_can_break_neither_line_nor_header_nor_environment() {
        assert_eq!(answered("Anna\r\nX-Evil: 1\0").as_deref(), Some("AnnaX-Evil: 1"));
        assert_eq!(answered("\u{202e}annA").as_deref(), Some("annA"));
        assert_eq!(answered(" \n"), None);
        assert_eq!(answered(&"ü".repeat(500)).map(|name| name.chars().count()), Some(128));
    }
}
