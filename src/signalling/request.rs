//! What a member asks of the LAN hub, read from its frames (protocol.md sections 2.1 and 2.4).
//!
//! Pure. Checks everything that needs no knowledge of other members; what is allowed beyond that
//! is decided in `hub.rs`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::message::MAX_ID;
use crate::config::names::{ChannelProblem, check_channel};

/// A member's frame after all checks that need no knowledge of others.
pub enum Request<'a> {
    /// `includeSenderMetadata` is accepted and has no effect: nobody has metadata here.
    Subscribe {
        channel: String,
    },
    Unsubscribe {
        channel: String,
    },
    Publish {
        channel: String,
        data: &'a RawValue,
    },
    Send {
        to: String,
        data: &'a RawValue,
    },
    Ping,
}

/// An `error` frame in the making; the codes are those of protocol.md section 2.4.
pub struct Refusal {
    /// The code.
    pub code: &'static str,
    /// Words for people.
    pub message: &'static str,
}

impl Refusal {
    /// A refusal with one of the codes of protocol.md section 2.4.
    pub fn new(code: &'static str, message: &'static str) -> Self {
        Self { code, message }
    }
}

type Fields<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// Reads a frame. The request id comes apart, because refusals repeat it too.
pub fn read(text: &str) -> (Option<String>, Result<Request<'_>, Refusal>) {
    let malformed = |message| Err(Refusal::new("malformed_message", message));
    let Ok(fields) = serde_json::from_str::<Fields<'_>>(text) else {
        return (None, malformed("not a JSON object"));
    };
    let id = match fields.get("requestId").map(|raw| raw.get()) {
        None | Some("null") => None,
        Some(_) => match word(&fields, "requestId") {
            Some(id) if (1..=MAX_ID).contains(&id.len()) => Some(id),
            // Cannot be repeated in an answer, so the sender would wait for one in vain.
            _ => return (None, malformed("requestId must be text of 1 to 128 bytes")),
        },
    };
    let Some(kind) = word(&fields, "type") else {
        return (id, malformed("type is missing or not text"));
    };
    let request = match kind.as_str() {
        "subscribe" => channel(&fields).map(|channel| Request::Subscribe { channel }),
        "unsubscribe" => channel(&fields).map(|channel| Request::Unsubscribe { channel }),
        "publish" => channel(&fields)
            .and_then(|channel| Ok(Request::Publish { channel, data: data(&fields)? })),
        "send" => addressee(&fields).and_then(|to| Ok(Request::Send { to, data: data(&fields)? })),
        "ping" => Ok(Request::Ping),
        _ => Err(Refusal::new("unknown_type", "no such type")),
    };
    (id, request)
}

fn word(fields: &Fields<'_>, name: &str) -> Option<String> {
    serde_json::from_str(fields.get(name)?.get()).ok()
}

fn channel(fields: &Fields<'_>) -> Result<String, Refusal> {
    let name = word(fields, "channel").unwrap_or_default();
    match check_channel(&name) {
        Ok(()) => Ok(name),
        Err(ChannelProblem::Reserved { .. }) => {
            Err(Refusal::new("channel_reserved", "this channel is reserved"))
        }
        Err(
            ChannelProblem::Empty
            | ChannelProblem::TooLong { .. }
            | ChannelProblem::ControlCharacter { .. },
        ) => {
            let message = "channel must be text of 1 to 256 bytes without control characters";
            Err(Refusal::new("invalid_channel", message))
        }
    }
}

fn addressee(fields: &Fields<'_>) -> Result<String, Refusal> {
    word(fields, "to")
        .filter(|to| {
            (1..=MAX_ID).contains(&to.len()) && to.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        })
        .ok_or(Refusal::new("invalid_peer_id", "to must be 1 to 128 printable ASCII characters"))
}

fn data<'a>(fields: &Fields<'a>) -> Result<&'a RawValue, Refusal> {
    fields.get("data").copied().ok_or(Refusal::new("missing_data", "data is missing"))
}
