//! The events on the control socket: what `watch` tells, one JSON line each.
//!
//! Pure. Keys and names here are kept once released.

use serde::{Deserialize, Serialize};

use super::control::State;
use crate::intercom::{Opener, PeerKey, Report, VideoMode};

/// One line of `watch`: `{"event":"rang","call":"…","again":false,"at":1763832000.123}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    #[serde(flatten)]
    pub what: Happening,
    /// When, in unix seconds with milliseconds.
    pub at: f64,
}

/// Who asked to open the door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Who {
    /// Somebody on this socket.
    Control {
        /// The user's number.
        user: u32,
    },
    /// A person who has proved who it is.
    Person {
        /// The name.
        person: String,
        /// The peer it talked from.
        id: String,
    },
    /// A page that has proved nothing.
    Page {
        /// Who it says to be.
        claims: Option<String>,
        /// Its peer id.
        id: String,
    },
    /// The owner's home automation.
    Automation,
}

impl From<&Opener> for Who {
    fn from(by: &Opener) -> Self {
        match by {
            Opener::Control { uid } => Self::Control { user: *uid },
            Opener::Person { name, peer } => {
                Self::Person { person: name.to_string(), id: peer.id.to_string() }
            }
            Opener::Page { claims, peer } => Self::Page {
                claims: claims.as_ref().map(ToString::to_string),
                id: peer.id.to_string(),
            },
            Opener::Automation => Self::Automation,
        }
    }
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Happening {
    /// The call's state, at the beginning of a watch and at every change.
    State {
        /// The new state.
        state: State,
    },
    /// The doorbell rang.
    Rang {
        /// Which call.
        call: String,
        /// A second press during the same ring.
        again: bool,
    },
    /// A press that changed nothing.
    PressIgnored {
        /// The state that has no use for it.
        state: State,
    },
    /// The button has been held for long.
    LongPress,
    /// The door was opened.
    Opened {
        /// Who asked.
        #[serde(flatten)]
        by: Who,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// The door was not opened.
    OpenRefused {
        /// Who asked.
        #[serde(flatten)]
        by: Who,
        /// `not_wired`, `open`, `locked_out`, `length` or `stopping`; for a page also what the door protocol has.
        why: String,
    },
    /// The log was not told to a page.
    LogRefused {
        /// Who asked.
        #[serde(flatten)]
        by: Who,
        /// Why not, as in the door protocol.
        why: String,
    },
    /// A person looks through the camera although nobody rang.
    LooksIn {
        /// Which look.
        look: String,
        /// Who.
        person: String,
        /// The peer's id.
        id: String,
        /// The uplink it was met on.
        uplink: String,
    },
    /// Nobody looks through the camera any more.
    LookOver {
        /// Which look.
        look: String,
    },
    /// Somebody may not look through the camera.
    LookRefused {
        /// Who asked.
        #[serde(flatten)]
        by: Who,
        /// Why not, as in the door protocol.
        why: String,
    },
    /// So many pages ring.
    RingingAt {
        /// How many.
        pages: u32,
    },
    /// A page has shown the first picture of the call.
    Seen {
        /// The peer's id.
        id: String,
        /// The uplink it was met on.
        uplink: String,
        /// How long after it heard of the call, in milliseconds.
        after_ms: u64,
    },
    /// The call came so far on its way to a picture.
    Reached {
        /// The phone's id; `null`: the door itself.
        id: Option<String>,
        /// The uplink it was met on.
        uplink: Option<String>,
        /// `entered`, `described`, `ice`, `dtls`, `rtp`, `keyframe` or `shown`.
        what: String,
        /// How long after the press, in milliseconds.
        after_ms: u64,
    },
    /// Too many wrong proofs: this peer, or nobody, is listened to for a while.
    ProofsLocked {
        /// The peer's id; `null`: all of them.
        id: Option<String>,
    },
    /// Something of the door is out of order, or in order again.
    Fault {
        /// What, as in the status.
        part: String,
        /// Whether it is over.
        over: bool,
    },
    /// Somebody answered.
    Answered {
        /// The peer's id.
        id: String,
        /// Its uplink.
        uplink: String,
        /// How the person is called, if that is known.
        #[serde(default)]
        name: Option<String>,
    },
    /// The call is over.
    Ended {
        /// Which call.
        call: String,
        /// Why, as docs/door-protocol.md names it.
        cause: String,
    },
    /// A peer came, went or was reached again.
    Peer {
        /// The peer's id.
        id: String,
        /// Its uplink.
        uplink: String,
        /// What changed.
        change: PeerChange,
    },
    /// An uplink's state changed.
    Uplink {
        /// `service` or `lan`.
        name: String,
        /// What it does now, for people.
        state: String,
    },
    /// The daemon is stopping; the last event of a watch.
    Stopping,
}

/// What can happen to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerChange {
    /// It came into view.
    Came,
    /// It is gone.
    Left,
    /// Its link was built again.
    Rebuilt,
    /// It could not be reached.
    GivenUp,
    /// It came back under another id.
    CameBack,
    /// The door is full, it waits for its turn.
    Waits,
    /// It sent far more than a call needs.
    TurnedAway,
    /// It is a door itself.
    OtherDoor,
    /// It gets the whole picture again.
    PictureFull,
    /// It gets still pictures only: its network is too slow.
    PictureStills,
    /// It gets sound only: its network is too slow.
    PicturePaused,
}

impl From<&Report> for Happening {
    fn from(report: &Report) -> Self {
        let peer = |key: &PeerKey, change| Self::Peer {
            id: key.id.to_string(),
            uplink: key.uplink.to_string(),
            change,
        };
        match report {
            Report::State(state) => Self::State { state: (*state).into() },
            Report::Rang { call, again } => Self::Rang { call: call.to_string(), again: *again },
            Report::PressIgnored(state) => Self::PressIgnored { state: (*state).into() },
            Report::LongPress => Self::LongPress,
            Report::Opened { by, length } => Self::Opened {
                by: Who::from(by),
                for_ms: u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
            },
            Report::OpenRefused { by, why } => {
                Self::OpenRefused { by: Who::from(by), why: why.name().to_owned() }
            }
            Report::LogRefused { by, why } => {
                Self::LogRefused { by: Who::from(by), why: why.name().to_owned() }
            }
            Report::LooksIn { call, by, peer } => Self::LooksIn {
                look: call.to_string(),
                person: by.to_string(),
                id: peer.id.to_string(),
                uplink: peer.uplink.to_string(),
            },
            Report::LookOver(call) => Self::LookOver { look: call.to_string() },
            Report::LookRefused { by, why } => {
                Self::LookRefused { by: Who::from(by), why: why.name().to_owned() }
            }
            Report::RingingAt(pages) => Self::RingingAt { pages: *pages },
            Report::Seen(key, after) => Self::Seen {
                id: key.id.to_string(),
                uplink: key.uplink.to_string(),
                after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
            },
            Report::Reached { peer, what, after } => Self::Reached {
                id: peer.as_ref().map(|key| key.id.to_string()),
                uplink: peer.as_ref().map(|key| key.uplink.to_string()),
                what: what.name().to_owned(),
                after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
            },
            Report::ProofsLocked(who) => {
                Self::ProofsLocked { id: who.as_ref().map(|key| key.id.to_string()) }
            }
            Report::Broken(part) => Self::Fault { part: part.to_string(), over: false },
            Report::Mended(part) => Self::Fault { part: part.to_string(), over: true },
            Report::Answered { peer, name } => Self::Answered {
                id: peer.id.to_string(),
                uplink: peer.uplink.to_string(),
                name: name.as_ref().map(ToString::to_string),
            },
            Report::Ended { call, cause } => {
                Self::Ended { call: call.to_string(), cause: cause.name().to_owned() }
            }
            Report::PeerCame(key) => peer(key, PeerChange::Came),
            Report::PeerLeft(key) => peer(key, PeerChange::Left),
            Report::Rebuilt(link, _) => peer(&link.peer, PeerChange::Rebuilt),
            Report::GaveUp(key) => peer(key, PeerChange::GivenUp),
            Report::CameBack { now, .. } => peer(now, PeerChange::CameBack),
            Report::Waits(key) => peer(key, PeerChange::Waits),
            Report::TurnedAway(key) => peer(key, PeerChange::TurnedAway),
            Report::OtherDoor(key) => peer(key, PeerChange::OtherDoor),
            Report::Picture(key, VideoMode::Full) => peer(key, PeerChange::PictureFull),
            Report::Picture(key, VideoMode::Keyframes) => peer(key, PeerChange::PictureStills),
            Report::Picture(key, VideoMode::Paused) => peer(key, PeerChange::PicturePaused),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::control::line;
    use super::*;
    use crate::intercom::{
        CallId, CallState, Cause, Denial, LinkId, Milestone, Name, Part, PeerId, Refusal, UplinkId,
        Why,
    };
    use serde_json::json;

    fn json(value: &impl Serialize) -> serde_json::Value {
        serde_json::to_value(value).expect("plain values")
    }

    #[test]
    fn an_event_is_one_flat_object() {
        let event = Event {
            what: Happening::Rang { call: "c-1".to_owned(), again: false },
            at: 1_763_832_000.123,
        };
        assert_eq!(
            line(&event),
            "{\"event\":\"rang\",\"call\":\"c-1\",\"again\":false,\"at\":1763832000.123}\n"
        );
        let back: Event = serde_json::from_str(&line(&event)).expect("our own line");
        assert_eq!(back, event);
    }

    #[test]
    fn every_report_of_the_heart_has_an_event() {
        let key = PeerKey { uplink: UplinkId::Lan, id: PeerId::from("p7") };
        let anna = Name::new("Anna").expect("a name");
        let call = CallId("c-1".into());
        let link = LinkId { peer: key.clone(), generation: 2 };
        let cause = Cause::NoAnswer;
        for (report, wanted) in [
            (Report::State(CallState::Ringing), json!({"event": "state", "state": "ringing"})),
            (
                Report::PressIgnored(CallState::Ending),
                json!({"event": "press_ignored", "state": "ending"}),
            ),
            (
                Report::Answered { peer: key.clone(), name: Name::new("Anna") },
                json!({"event": "answered", "id": "p7", "uplink": "lan", "name": "Anna"}),
            ),
            (
                Report::Ended { call, cause },
                json!({"event": "ended", "call": "c-1", "cause": "no-answer"}),
            ),
            (Report::LongPress, json!({"event": "long_press"})),
            (Report::RingingAt(2), json!({"event": "ringing_at", "pages": 2})),
            (
                Report::Seen(key.clone(), Duration::from_millis(410)),
                json!({"event": "seen", "id": "p7", "uplink": "lan", "after_ms": 410}),
            ),
            (Report::ProofsLocked(None), json!({"event": "proofs_locked", "id": null})),
            (
                Report::Opened {
                    by: Opener::Person { name: anna.clone(), peer: key.clone() },
                    length: Duration::from_secs(3),
                },
                json!({"event": "opened", "by": "person", "person": "Anna", "id": "p7", "for_ms": 3000}),
            ),
            (
                Report::Opened { by: Opener::Automation, length: Duration::from_secs(3) },
                json!({"event": "opened", "by": "automation", "for_ms": 3000}),
            ),
            (
                Report::OpenRefused {
                    by: Opener::Page { claims: Some(anna.clone()), peer: key.clone() },
                    why: Refusal::Denied(Denial::Wrong),
                },
                json!({"event": "open_refused", "by": "page", "claims": "Anna", "id": "p7", "why": "wrong"}),
            ),
            (
                Report::LogRefused {
                    by: Opener::Page { claims: None, peer: key.clone() },
                    why: Denial::LockedOut,
                },
                json!({"event": "log_refused", "by": "page", "claims": null, "id": "p7", "why": "locked-out"}),
            ),
            (
                Report::Reached {
                    peer: Some(key.clone()),
                    what: Milestone::Keyframe,
                    after: std::time::Duration::from_millis(85),
                },
                json!({"event": "reached", "id": "p7", "uplink": "lan", "what": "keyframe", "after_ms": 85}),
            ),
            (
                Report::Opened {
                    by: Opener::Control { uid: 7 },
                    length: std::time::Duration::from_secs(3),
                },
                json!({"event": "opened", "by": "control", "user": 7, "for_ms": 3000}),
            ),
            (
                Report::OpenRefused { by: Opener::Control { uid: 7 }, why: Refusal::LockedOut },
                json!({"event": "open_refused", "by": "control", "user": 7, "why": "locked_out"}),
            ),
            (
                Report::Broken(Part::Line(UplinkId::Service)),
                json!({"event": "fault", "part": "line service", "over": false}),
            ),
            (
                Report::Mended(Part::Button),
                json!({"event": "fault", "part": "button", "over": true}),
            ),
            (
                Report::PeerCame(key.clone()),
                json!({"event": "peer", "id": "p7", "uplink": "lan", "change": "came"}),
            ),
            (
                Report::Rebuilt(link, Why::Failed),
                json!({"event": "peer", "id": "p7", "uplink": "lan", "change": "rebuilt"}),
            ),
        ] {
            assert_eq!(json(&Happening::from(&report)), wanted);
        }
    }
}
