//! The words on the control socket: JSON lines, requests one way, replies and events the other.
//!
//! Pure: values and text only. `server.rs` carries them for the daemon, `ctl.rs` for a person. Readers
//! must ignore keys they do not know; keys and names here are kept once released.

use super::health::Health;
use crate::intercom::CallState;
use crate::memory::budget::Budget;
use crate::memory::calls::Entry;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest request line, in bytes without its end.
pub const MAX_REQUEST: usize = 4096;

/// The path of the control socket unless the configuration says another.
pub const DEFAULT_SOCKET: &str = "/run/intercomd/control.sock";

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Tell who was there, newest first.
    Log {
        /// How many calls at most; 20 when not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
    },
    /// Forget who was there, pictures too.
    ClearLog {},
    /// Let a person open the door from a page.
    AddPerson {
        /// How the person is called.
        name: String,
    },
    /// Let a person open the door no more.
    RemovePerson {
        /// How the person is called.
        name: String,
    },
    /// Tell who may open the door from a page.
    Persons {},
    /// Tell every event from now on, one line each, until either side closes.
    Watch {},
}

/// What the daemon answers, one line for each request.
///
/// `{"ok":true}`, `{"ok":true,"status":{…}}` or `{"ok":false,"error":"…","fix":"…"}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Whether it was done.
    pub ok: bool,
    /// The answer to `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Box<Status>>,
    /// The answer to `log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Vec<Entry>>,
    /// The answer to `add_person`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Box<NewPerson>>,
    /// The answer to `persons`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persons: Option<Vec<KnownPerson>>,
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
        Self { ok: true, ..Self::default() }
    }

    /// The answer to `status`.
    pub fn status(status: Status) -> Self {
        Self { status: Some(Box::new(status)), ..Self::done() }
    }

    /// It was not done: why, and what to do.
    pub fn refused(error: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { ok: false, error: Some(error.into()), fix: Some(fix.into()), ..Self::default() }
    }
}

/// A person who was just added. The secret is told this once and kept nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPerson {
    /// How the person is called.
    pub name: String,
    /// What the person's page proves to know, as base64url.
    pub secret: String,
    /// Both, as they go behind the `#` of an address of the page.
    pub fragment: String,
    /// The page's address with all of it, if a page is served in the local network.
    pub link: Option<String>,
}

impl std::fmt::Debug for NewPerson {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewPerson({:?}, ...)", self.name)
    }
}

/// A person who may open the door from a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPerson {
    /// How the person is called.
    pub name: String,
    /// When it was added, in unix seconds.
    pub added: u64,
}

/// The call's state on the socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nobody is at the door.
    #[default]
    Idle,
    /// Nobody rang, and a person looks through the camera.
    Looking,
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
            CallState::Looking => Self::Looking,
            CallState::Joining => Self::Joining,
            CallState::Ringing => Self::Ringing,
            CallState::Talking => Self::Talking,
            CallState::Ending => Self::Ending,
        }
    }
}

impl State {
    /// All of them, in the order of a call.
    pub const ALL: [Self; 6] =
        [Self::Idle, Self::Looking, Self::Joining, Self::Ringing, Self::Talking, Self::Ending];

    /// The name used in JSON and for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Looking => "looking",
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
    /// How the door is, in one word with reasons.
    pub health: Health,
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
    /// Every hook.
    pub hooks: Vec<HookStatus>,
    /// The media server, if there is one.
    pub publish: Option<PublishStatus>,
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

/// One hook: who outside is told what happens.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HookStatus {
    /// What it is, such as `webhook owner.example`.
    pub name: String,
    /// When an event last got there.
    pub last_success: Option<f64>,
    /// What went wrong last, in words, if nothing went well since.
    pub error: Option<String>,
    /// Events that got there.
    pub sent: u64,
    /// Events that did not, for good.
    pub failed: u64,
    /// Events that found the queue full.
    pub dropped: u64,
    /// Events that wait.
    pub waiting: u64,
}

/// The media server that gets what phones get.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PublishStatus {
    /// Its host.
    pub server: String,
    /// What it gets.
    pub state: PublishState,
    /// What went wrong last, in words, if nothing went well since.
    pub error: Option<String>,
}

/// How far a media server has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishState {
    /// Nobody is at the door.
    #[default]
    Idle,
    /// It was offered the stream.
    Connecting,
    /// It has the stream.
    Connected,
    /// It does not; it is asked again.
    Failing,
}

/// The call that goes on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallStatus {
    /// Its id.
    pub id: String,
    /// When the button was pressed.
    pub since: f64,
    /// Where the time went so far, if the door got anywhere.
    pub budget: Option<Budget>,
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
    /// Whether its voice is played at the door.
    pub heard: bool,
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
    /// The text the visitor can read at present.
    pub display_text: Option<String>,
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

/// Reads a request line.
///
/// # Errors
/// The reply that refuses it.
pub fn parse_request(line: &[u8]) -> Result<Request, Reply> {
    serde_json::from_slice(line).map_err(|why| {
        Reply::refused(
            format!("not a request: {why}"),
            "send one line such as {\"do\":\"status\"}; known are press, hangup, unlock, status, log, clear_log, add_person, remove_person, persons and watch",
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
            assert_eq!(parse_request(text.as_bytes()), Ok(request.clone()));
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
                "health", "state", "call", "uplinks", "peers", "media", "panel", "counters",
                "version", "address", "uptime_s",
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
}
