//! The words on the control socket: JSON lines, requests one way, replies and events the other.
//!
//! Pure: values and text only. `server.rs` carries them for the daemon, `ctl.rs` for a person. Readers
//! must ignore keys they do not know; keys and names here are kept once released.

use crate::intercom::{CallState, Opener, PeerKey, Report, VideoMode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest request line, in bytes without its end.
pub const MAX_REQUEST: usize = 4096;

/// The path of the control socket unless the configuration says another.
pub const DEFAULT_SOCKET: &str = "/run/intercomd/control.sock";

/// How events name those who use this socket.
const CONTROL: &str = "control";

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Press the doorbell.
    Press {},
    /// End the call.
    Hangup {},
    /// Open the door.
    Unlock {
        /// For how long, in milliseconds; the time of `[relay]` when not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
    },
    /// Tell everything about the daemon as it is now.
    Status {},
    /// Tell every event from now on, one line each, until either side closes.
    Watch {},
}

/// What the daemon answers, one line for each request.
///
/// `{"ok":true}`, `{"ok":true,"status":{…}}` or `{"ok":false,"error":"…","fix":"…"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Whether it was done.
    pub ok: bool,
    /// The answer to `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Box<Status>>,
    /// Why it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Reply {
    /// It was done.
    pub fn done() -> Self {
        Self { ok: true, status: None, error: None, fix: None }
    }

    /// The answer to `status`.
    pub fn status(status: Status) -> Self {
        Self { status: Some(Box::new(status)), ..Self::done() }
    }

    /// It was not done: why, and what to do.
    pub fn refused(error: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { ok: false, status: None, error: Some(error.into()), fix: Some(fix.into()) }
    }
}

/// The call's state on the socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nobody is at the door.
    #[default]
    Idle,
    /// Entering the channel.
    Joining,
    /// Nobody has answered yet.
    Ringing,
    /// Somebody talks with the visitor.
    Talking,
    /// Freeing everything.
    Ending,
}

impl From<CallState> for State {
    fn from(state: CallState) -> Self {
        match state {
            CallState::Idle => Self::Idle,
            CallState::Joining => Self::Joining,
            CallState::Ringing => Self::Ringing,
            CallState::Talking => Self::Talking,
            CallState::Ending => Self::Ending,
        }
    }
}

impl State {
    /// The name used in JSON and for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Joining => "joining",
            Self::Ringing => "ringing",
            Self::Talking => "talking",
            Self::Ending => "ending",
        }
    }
}

/// Everything about the daemon at one moment. Times are unix seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The call's state.
    pub state: State,
    /// The call, unless idle.
    pub call: Option<CallStatus>,
    /// Every configured uplink.
    pub uplinks: Vec<UplinkStatus>,
    /// Every peer in view.
    pub peers: Vec<PeerStatus>,
    /// The door release: `not_wired`, `locked`, `open` or `locked_out`.
    pub door: String,
    /// What is out of order: `camera`, `button`, `line service`, `line lan`.
    pub faults: Vec<String>,
    /// Cameras, sounds and pictures.
    pub media: MediaStatus,
    /// The panel's parts.
    pub panel: PanelStatus,
    /// Counts since the start, by name; mostly things that should stay 0.
    pub counters: BTreeMap<String, u64>,
    /// The daemon's version.
    pub version: String,
    /// Where the LAN page answers, if it is served.
    pub address: Option<String>,
    /// Seconds since the start.
    pub uptime_s: u64,
}

/// The call that goes on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallStatus {
    /// Its id.
    pub id: String,
    /// When the button was pressed.
    pub since: f64,
}

/// One uplink.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UplinkStatus {
    /// `service` or `lan`.
    pub name: String,
    /// What it does, for people.
    pub state: String,
    /// Our id there, while it is up.
    pub peer_id: Option<String>,
    /// What the owner should do, if anything.
    pub advice: Option<String>,
    /// By how many seconds the door's clock is ahead of the signalling side's (negative: behind), if that
    /// is more than a minute.
    pub clock_ahead_s: Option<i64>,
    /// What our token says of us, without ICE servers.
    pub metadata: Option<serde_json::Value>,
}

/// One peer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerStatus {
    /// Its id on its uplink.
    pub id: String,
    /// The uplink it was met on.
    pub uplink: String,
    /// Its link's state, for people.
    pub link: String,
    /// Number of its present link; 0 without one.
    pub generation: u32,
    /// Whether it has answered this call.
    pub answered: bool,
    /// Pictures sent to it on this link.
    pub frames_sent: u64,
    /// Pictures it sent on this link.
    pub frames_received: u64,
    /// Packets of sound sent to it on this link.
    pub audio_sent: u64,
    /// Packets of sound it sent on this link.
    pub audio_received: u64,
    /// The way media takes: our kind of ICE candidate and the peer's, such as `host-relay`.
    pub path: Option<String>,
    /// How much of the picture it gets: `full`, `keyframes` or `paused`.
    pub picture: String,
    /// What its path takes of ours, in kbit/s, clamped to what the encoder can use; once it reported.
    pub estimate_kbps: Option<u32>,
    /// Share of our packets lost on the way to it lately, in percent; once it reported.
    pub loss_percent: Option<u32>,
    /// What its token says of it, as the signalling side tells everybody in the channel.
    pub metadata: Option<serde_json::Value>,
    /// The codec of the pictures we send it, once negotiated.
    pub video_codec: Option<String>,
}

/// Cameras, sounds and pictures. Texts are for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MediaStatus {
    /// The camera that is or would be used.
    pub camera: String,
    /// The encoder.
    pub encoder: String,
    /// What the encoder is told to use now, in kbit/s.
    pub bitrate_kbps: u32,
    /// The microphone.
    pub microphone: String,
    /// What the capture pipeline does.
    pub capture: String,
    /// Pictures encoded since the start.
    pub frames: u64,
    /// Capture pipelines built since the start.
    pub pipelines_built: u64,
    /// Where pictures are shown.
    pub display: String,
    /// Where sound is played.
    pub speaker: String,
    /// Pictures shown since the start.
    pub frames_shown: u64,
    /// Sound buffers played since the start.
    pub audio_played: u64,
}

/// The panel. Texts are for people.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PanelStatus {
    /// `rpi`, `chardev` or `sim`.
    pub kind: String,
    /// The button.
    pub button: String,
    /// The door relay.
    pub relay: String,
    /// The lamp.
    pub lamp: String,
    /// The chime.
    pub chime: String,
    /// What the outputs were last told, oldest first.
    pub outputs: Vec<OutputStatus>,
}

/// Something an output was told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutputStatus {
    /// `relay`, `lamp` or `chime`.
    pub output: String,
    /// `on`, `off` or the lamp's pattern.
    pub value: String,
    /// When.
    pub at: f64,
}

/// One line of `watch`: `{"event":"rang","call":"…","again":false,"at":1763832000.123}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    #[serde(flatten)]
    pub what: Happening,
    /// When, in unix seconds with milliseconds.
    pub at: f64,
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
        /// `control`.
        by: String,
        /// The user who asked.
        user: u32,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// The door was not opened.
    OpenRefused {
        /// `control`.
        by: String,
        /// The user who asked.
        user: u32,
        /// `not_wired`, `open`, `locked_out`, `length` or `stopping`.
        why: String,
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
            Report::Opened { by: Opener::Control { uid }, length } => Self::Opened {
                by: CONTROL.to_owned(),
                user: *uid,
                for_ms: u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
            },
            Report::OpenRefused { by: Opener::Control { uid }, why } => {
                Self::OpenRefused { by: CONTROL.to_owned(), user: *uid, why: why.name().to_owned() }
            }
            Report::Broken(part) => Self::Fault { part: part.to_string(), over: false },
            Report::Mended(part) => Self::Fault { part: part.to_string(), over: true },
            Report::Answered { peer } => {
                Self::Answered { id: peer.id.to_string(), uplink: peer.uplink.to_string() }
            }
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
            Report::Picture(key, VideoMode::Full) => peer(key, PeerChange::PictureFull),
            Report::Picture(key, VideoMode::Keyframes) => peer(key, PeerChange::PictureStills),
            Report::Picture(key, VideoMode::Paused) => peer(key, PeerChange::PicturePaused),
        }
    }
}

/// Reads a request line.
///
/// # Errors
/// The reply that refuses it.
pub fn parse_request(line: &[u8]) -> Result<Request, Reply> {
    serde_json::from_slice(line).map_err(|why| {
        Reply::refused(
            format!("not a request: {why}"),
            "send one line such as {\"do\":\"status\"}; known are press, hangup, unlock, status and watch",
        )
    })
}

/// One line with its end. These types hold nothing that JSON cannot say; should they ever, the line
/// says so itself.
pub fn line(value: &impl Serialize) -> String {
    let mut line = serde_json::to_string(value).unwrap_or_else(|_| {
        r#"{"ok":false,"error":"this cannot be told in JSON","fix":"report this bug"}"#.to_owned()
    });
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intercom::{CallId, Cause, LinkId, Part, PeerId, Refusal, UplinkId, Why};
    use serde_json::json;

    fn json(value: &impl Serialize) -> serde_json::Value {
        serde_json::to_value(value).expect("plain values")
    }

    #[test]
    fn requests_are_read_as_documented_and_written_back_the_same() {
        for (text, request) in [
            (r#"{"do":"press"}"#, Request::Press {}),
            (r#"{"do":"hangup"}"#, Request::Hangup {}),
            (r#"{"do":"unlock"}"#, Request::Unlock { for_ms: None }),
            (r#"{"do":"unlock","for_ms":3000}"#, Request::Unlock { for_ms: Some(3000) }),
            (r#"{"do":"status"}"#, Request::Status {}),
            (r#"{"do":"watch"}"#, Request::Watch {}),
        ] {
            assert_eq!(parse_request(text.as_bytes()), Ok(request));
            assert_eq!(line(&request), format!("{text}\n"));
        }
    }

    #[test]
    fn anything_else_is_refused_with_a_fix() {
        for text in
            ["", "press", "{}", r#"{"do":"explode"}"#, r#"{"do":"press","hard":true}"#, "\u{fffd}"]
        {
            let reply = parse_request(text.as_bytes()).expect_err(text);
            assert!(!reply.ok);
            assert!(reply.error.is_some() && reply.fix.is_some());
        }
    }

    #[test]
    fn replies_have_their_documented_shapes() {
        assert_eq!(json(&Reply::done()), json!({"ok": true}));
        assert_eq!(
            json(&Reply::refused("no", "wait")),
            json!({"ok": false, "error": "no", "fix": "wait"})
        );
        let status = json(&Reply::status(Status::default()));
        assert_eq!(status["ok"], true);
        assert_eq!(status["status"]["state"], "idle");
    }

    #[test]
    fn status_has_every_promised_key() {
        let status = Status {
            peers: vec![PeerStatus::default()],
            uplinks: vec![UplinkStatus::default()],
            call: Some(CallStatus::default()),
            ..Status::default()
        };
        let status = json(&status);
        let keys = |value: &serde_json::Value| -> Vec<String> {
            let object = value.as_object().expect("an object");
            object.keys().cloned().collect()
        };
        let has = |value: &serde_json::Value, wanted: &[&str]| {
            let keys = keys(value);
            for key in wanted {
                assert!(keys.iter().any(|k| k == key), "{key} is missing");
            }
        };
        has(
            &status,
            &[
                "state", "call", "uplinks", "peers", "media", "panel", "counters", "version",
                "address", "uptime_s",
            ],
        );
        has(&status["call"], &["id", "since"]);
        has(&status["uplinks"][0], &["name", "state", "peer_id", "advice"]);
        has(
            &status["peers"][0],
            &[
                "id",
                "uplink",
                "link",
                "generation",
                "answered",
                "frames_sent",
                "frames_received",
                "video_codec",
            ],
        );
        has(
            &status["media"],
            &[
                "camera",
                "encoder",
                "microphone",
                "capture",
                "frames",
                "pipelines_built",
                "display",
                "speaker",
                "frames_shown",
                "audio_played",
            ],
        );
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
                Report::Answered { peer: key.clone() },
                json!({"event": "answered", "id": "p7", "uplink": "lan"}),
            ),
            (
                Report::Ended { call, cause },
                json!({"event": "ended", "call": "c-1", "cause": "no-answer"}),
            ),
            (Report::LongPress, json!({"event": "long_press"})),
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
