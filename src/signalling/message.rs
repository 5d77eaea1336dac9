//! The service's JSON frames, both directions, and the envelopes inside them (protocol.md sections 2 and 4).
//!
//! Pure: text in, values out and back. Parsing is strict and total: whatever cannot be used is told
//! apart and never an error that stops a socket. Nothing here keeps state.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest frame the service accepts from a member, in bytes (protocol.md section 1.5).
pub const MAX_FRAME: usize = 65_536;
/// Longest frame a member accepts, in bytes (protocol.md section 1.5).
pub const MAX_INBOUND: usize = 1_048_576;
/// Longest peer id and request id (protocol.md section 2.1).
pub const MAX_ID: usize = 128;

/// What a member sends (protocol.md section 2.1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum MemberFrame {
    /// Be in a channel.
    Subscribe {
        /// The channel's name.
        channel: String,
        /// Asks for an ack or error that repeats it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
        /// Whether broadcasts carry the sender's metadata.
        #[serde(default, skip_serializing_if = "is_false")]
        include_sender_metadata: bool,
    },
    /// Leave a channel.
    Unsubscribe {
        /// The channel's name.
        channel: String,
        /// Asks for an ack or error that repeats it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
    /// Send to everybody else in a channel.
    Publish {
        /// The channel's name.
        channel: String,
        /// Any JSON, `null` included.
        data: Value,
        /// Asks for an ack or error that repeats it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
    /// Send to one peer.
    Send {
        /// The addressee's id.
        to: String,
        /// Any JSON, `null` included.
        data: Value,
        /// Asks for an ack or error that repeats it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
    /// Asks for a `pong`.
    Ping,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// One member in a presence list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The member's id.
    pub peer_id: String,
    /// What its token says of it; absent for publishable keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
}

/// What the signalling side sends (protocol.md section 2.2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum HubFrame {
    /// The first frame on every socket.
    Welcome {
        /// The id the receiver has on this socket.
        peer_id: String,
        /// Unix seconds, or null for publishable keys. Browsers drop a welcome without the field.
        #[serde(default)]
        expires_at: Option<f64>,
        /// Unix seconds on the signalling side's clock.
        server_time: f64,
        /// Longest frame accepted from the receiver, in bytes.
        max_message_size: f64,
        /// Holds `iceServers`, among others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<Value>,
    },
    /// A request was carried out.
    Ack {
        /// The request's id.
        request_id: String,
    },
    /// A request, or the member as such, was refused.
    Error {
        /// One of the codes of protocol.md section 2.4, or one that is newer than this program.
        code: String,
        /// The request's id, if it is about one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
        /// Words for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// A broadcast.
    Message {
        /// The channel.
        channel: String,
        /// The sender's id.
        from: String,
        /// What was sent. The key must be there; `null` is a value like any other.
        #[serde(deserialize_with = "present")]
        data: Value,
        /// The sender's metadata, for subscribers that asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from_metadata: Option<Value>,
    },
    /// Sent to the receiver alone.
    Direct {
        /// The sender's id.
        from: String,
        /// What was sent. The key must be there; `null` is a value like any other.
        #[serde(deserialize_with = "present")]
        data: Value,
        /// The sender's metadata.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from_metadata: Option<Value>,
    },
    /// Who came and who went; right after a subscribe, who was there.
    Presence {
        /// The channel.
        channel: String,
        /// Those who came.
        joined: Vec<Member>,
        /// Those who went.
        left: Vec<Member>,
    },
    /// The signalling side is about to close this socket.
    GoingAway {
        /// Milliseconds to wait before connecting again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<f64>,
    },
    /// Answers `ping`.
    Pong,
}

/// `Value` with the key required: serde would otherwise read a missing key as `null`.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Value::deserialize(deserializer)
}
