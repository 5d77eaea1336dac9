//! Reads what the signalling side sends: text in, a frame or the reason why it is none out.
//!
//! Pure, strict and total. A field that is required and wrong drops the frame, an optional field that is
//! wrong counts as absent, extra fields are ignored (protocol.md section 2.2).

use serde_json::{Map, Value};

use super::message::{HubFrame, MAX_ID, Member};

/// What one text frame turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Inbound {
    /// A frame of the protocol.
    Frame(HubFrame),
    /// A well-formed frame of a type this program does not know.
    Unknown {
        /// Its `type`.
        name: String,
    },
    /// Not a frame.
    Malformed {
        /// What is wrong, without any of the frame's content.
        why: &'static str,
    },
}

/// Reads one text frame.
pub fn read(text: &str) -> Inbound {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return Inbound::Malformed { why: "not JSON" };
    };
    let Value::Object(mut fields) = value else {
        return Inbound::Malformed { why: "not an object" };
    };
    let Some(kind) = text_field(&fields, "type") else {
        return Inbound::Malformed { why: "no type" };
    };
    let frame = match kind.as_str() {
        "welcome" => welcome(&mut fields),
        "ack" => text_field(&fields, "requestId").map(|request_id| HubFrame::Ack { request_id }),
        "error" => error(&fields),
        "message" => delivery(&mut fields).and_then(|(from, data, from_metadata)| {
            let channel = text_field(&fields, "channel")?;
            Some(HubFrame::Message { channel, from, data, from_metadata })
        }),
        "direct" => delivery(&mut fields).map(|(from, data, from_metadata)| HubFrame::Direct {
            from,
            data,
            from_metadata,
        }),
        "presence" => presence(&mut fields),
        "going_away" => {
            Some(HubFrame::GoingAway { retry_after_ms: number(&fields, "retryAfterMs") })
        }
        "pong" => Some(HubFrame::Pong),
        _ => return Inbound::Unknown { name: kind },
    };
    frame.map_or(Inbound::Malformed { why: "a required field is missing or wrong" }, Inbound::Frame)
}

/// Whether this can be a peer's id: 1 to 128 printable ASCII characters (protocol.md section 2.1).
pub fn is_peer_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

fn text_field(fields: &Map<String, Value>, key: &str) -> Option<String> {
    fields.get(key)?.as_str().map(str::to_owned)
}

fn number(fields: &Map<String, Value>, key: &str) -> Option<f64> {
    fields.get(key)?.as_f64().filter(|number| number.is_finite())
}

fn object(fields: &mut Map<String, Value>, key: &str) -> Option<Value> {
    fields.remove(key).filter(Value::is_object)
}

fn welcome(fields: &mut Map<String, Value>) -> Option<HubFrame> {
    let expires_at = match fields.get("expiresAt") {
        None | Some(Value::Null) => None,
        Some(_) => Some(number(fields, "expiresAt")?),
    };
    Some(HubFrame::Welcome {
        peer_id: text_field(fields, "peerId").filter(|id| is_peer_id(id))?,
        expires_at,
        server_time: number(fields, "serverTime")?,
        max_message_size: number(fields, "maxMessageSize").filter(|size| *size > 0.0)?,
        metadata: object(fields, "metadata"),
    })
}

fn error(fields: &Map<String, Value>) -> Option<HubFrame> {
    Some(HubFrame::Error {
        code: text_field(fields, "code").filter(|code| !code.is_empty())?,
        request_id: text_field(fields, "requestId"),
        message: text_field(fields, "message"),
    })
}

fn delivery(fields: &mut Map<String, Value>) -> Option<(String, Value, Option<Value>)> {
    let from = text_field(fields, "from").filter(|id| is_peer_id(id))?;
    Some((from, fields.remove("data")?, object(fields, "fromMetadata")))
}

fn presence(fields: &mut Map<String, Value>) -> Option<HubFrame> {
    Some(HubFrame::Presence {
        channel: text_field(fields, "channel")?,
        joined: members(fields.remove("joined")?)?,
        left: members(fields.remove("left")?)?,
    })
}

/// An entry of the wrong shape spoils the list; an id that no peer can have is only left out, so that one
/// odd member cannot hide all the others.
fn members(list: Value) -> Option<Vec<Member>> {
    let Value::Array(entries) = list else {
        return None;
    };
    let mut members = Vec::with_capacity(entries.len());
    for entry in entries {
        let Value::Object(mut fields) = entry else {
            return None;
        };
        let peer_id = text_field(&fields, "peerId")?;
        if is_peer_id(&peer_id) {
            members.push(Member { peer_id, metadata: object(&mut fields, "metadata") });
        }
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn frame(value: Value) -> HubFrame {
        match read(&value.to_string()) {
            Inbound::Frame(frame) => frame,
            other => panic!("{value} was read as {other:?}"),
        }
    }

    #[test]
    fn a_plain_welcome_is_read() {
        let welcome = json!({"type":"welcome","peerId":"p1","expiresAt":null,"serverTime":1760000000,
            "maxMessageSize":65536,"metadata":{"iceServers":[]},"extra":1});
        let HubFrame::Welcome { peer_id, expires_at, max_message_size, metadata, .. } =
            frame(welcome)
        else {
            panic!("a welcome is a welcome")
        };
        assert_eq!((peer_id.as_str(), expires_at, max_message_size), ("p1", None, 65536.0));
        assert_eq!(metadata, Some(json!({"iceServers":[]})));
    }

    #[test]
    fn a_welcome_may_lack_expires_at_but_not_its_other_fields() {
        let whole = json!({"type":"welcome","peerId":"p1","serverTime":1,"maxMessageSize":2});
        frame(whole.clone());
        for key in ["peerId", "serverTime", "maxMessageSize"] {
            let mut broken = whole.clone();
            broken[key] = json!([]);
            assert!(matches!(read(&broken.to_string()), Inbound::Malformed { .. }), "{key}");
        }
        let mut broken = whole;
        broken["maxMessageSize"] = json!(0);
        assert!(matches!(read(&broken.to_string()), Inbound::Malformed { .. }));
    }

    #[test]
    fn optional_fields_of_the_wrong_type_count_as_absent() {
        assert_eq!(
            frame(json!({"type":"error","code":"x","requestId":7,"message":[]})),
            HubFrame::Error { code: "x".into(), request_id: None, message: None }
        );
        assert_eq!(
            frame(json!({"type":"going_away","retryAfterMs":"soon"})),
            HubFrame::GoingAway { retry_after_ms: None }
        );
        let direct = frame(json!({"type":"direct","from":"a","data":null,"fromMetadata":3}));
        assert_eq!(
            direct,
            HubFrame::Direct { from: "a".into(), data: Value::Null, from_metadata: None }
        );
    }

    #[test]
    fn frames_with_a_broken_required_field_are_malformed() {
        for text in [
            "",
            "nonsense",
            "[]",
            "null",
            "{}",
            r#"{"type":5}"#,
            r#"{"type":"ack"}"#,
            r#"{"type":"error","code":""}"#,
            r#"{"type":"direct","from":"a"}"#,
            r#"{"type":"direct","from":"","data":1}"#,
            r#"{"type":"message","from":"a","data":1}"#,
            r#"{"type":"presence","channel":"c","joined":[]}"#,
            r#"{"type":"presence","channel":"c","joined":[{"peerId":1}],"left":[]}"#,
            r#"{"type":"presence","channel":"c","joined":["p"],"left":[]}"#,
        ] {
            assert!(matches!(read(text), Inbound::Malformed { .. }), "{text}");
        }
    }

    #[test]
    fn unknown_types_are_told_apart() {
        assert_eq!(
            read(r#"{"type":"novelty","x":1}"#),
            Inbound::Unknown { name: "novelty".into() }
        );
    }

    #[test]
    fn a_member_with_an_impossible_id_does_not_hide_the_others() {
        let HubFrame::Presence { joined, .. } = frame(json!({"type":"presence","channel":"c",
            "joined":[{"peerId":"a"},{"peerId":"tür"},{"peerId":"b","metadata":{"n":1}}],"left":[]}))
        else {
            panic!("presence is presence")
        };
        let ids: Vec<_> = joined.iter().map(|member| member.peer_id.as_str()).collect();
        assert_eq!(ids, ["a", "b"]);
    }

    proptest! {
        #[test]
        fn nothing_makes_the_reader_panic(text in ".{0,200}") {
            let _ = read(&text);
        }
    }
}
