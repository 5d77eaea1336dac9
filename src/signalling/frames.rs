//! How the LAN hub writes its frames (protocol.md section 2.2).
//!
//! Pure. Decides nothing; most frames are those of `message.rs` as they are.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

/// Frames that need more than `HubFrame` of `message.rs` gives: `data` passed on exactly as it came
/// (numbers, lone surrogates and all), and whole numbers in the welcome.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Verbatim<'a> {
    /// The first frame on every socket.
    Welcome {
        /// The receiver's id.
        peer_id: &'a str,
        /// Null: LAN keys do not expire. The field must be there (protocol.md section 1.3).
        expires_at: (),
        /// Unix seconds.
        server_time: u64,
        /// Bytes.
        max_message_size: usize,
    },
    /// A broadcast.
    Message {
        /// The channel.
        channel: &'a str,
        /// The sender's id.
        from: &'a str,
        /// What was sent.
        data: &'a RawValue,
    },
    /// Sent to the receiver alone.
    Direct {
        /// The sender's id.
        from: &'a str,
        /// What was sent.
        data: &'a RawValue,
    },
}

/// A frame's JSON, ready to be shared.
pub fn encode(frame: &impl Serialize) -> Arc<str> {
    let text = serde_json::to_string(frame)
        .expect("the hub's frames have text keys and parts that cannot fail to be written");
    Arc::from(text)
}
