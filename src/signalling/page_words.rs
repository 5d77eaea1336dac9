//! The JSON of the door protocol, both directions (docs/door-protocol.md).
//!
//! Pure and total: a message that is not as documented is no message. What it is worth is decided by the heart.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::intercom::{
    CallId, CallNotice, LogLine, Name, Nonce, Note, PageId, PageMessage, Proof, Purpose,
    PushAddress, Right, Stage,
};

/// Version of the door protocol spoken here.
pub const DOOR_PROTOCOL: u64 = 1;
/// Longest name of a call taken, in bytes: ours are far shorter.
const MAX_CALL: usize = 128;
/// The longest time a page may report, in milliseconds: no ring lasts as long.
const MAX_AFTER: u64 = 3_600_000;

/// Reads what a page says. `None`: not ours, or of a newer version.
pub fn read(fields: &Map<String, Value>) -> Option<PageMessage> {
    if fields.get("intercomd")?.as_u64()? != DOOR_PROTOCOL {
        return None;
    }
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    // A name that no call can have stands for another call than ours, not for none.
    let call =
        || text("call").filter(|call| call.len() <= MAX_CALL).map(|call| CallId(call.into()));
    let named_or_present = || match fields.get("call") {
        None => Some(None),
        Some(_) => call().map(Some),
    };
    Some(match text("type")? {
        // Only doors tell where a call stands.
        "call" => call().map(|_| PageMessage::OtherDoor)?,
        "hello" => {
            PageMessage::Hello(PageId::new(text("page")?)?, text("name").and_then(Name::new))
        }
        "ringing" => PageMessage::Ringing(call()?),
        "answer" => PageMessage::Answer(named_or_present()?),
        "hangup" => PageMessage::Hangup(named_or_present()?),
        "take" => PageMessage::Take(call()?),
        "join" => PageMessage::Join(call()?),
        "text" => PageMessage::Text(call()?, Note::new(text("text")?)?),
        "shown" => {
            let after = fields.get("after_ms")?.as_u64().filter(|ms| *ms <= MAX_AFTER)?;
            PageMessage::Seen(call()?, Duration::from_millis(after))
        }
        "look" => PageMessage::Look,
        "wake" => {
            let address = PushAddress::read(text("endpoint")?, text("key")?, text("auth")?)?;
            PageMessage::Wake(call()?, address)
        }
        "open" => PageMessage::Ask(call()?, Purpose::Open),
        "log" => PageMessage::Ask(call()?, Purpose::Log),
        "proof" => PageMessage::Proof(Proof {
            call: call()?,
            purpose: Purpose::named(text("purpose")?)?,
            nonce: Nonce(bytes(text("nonce")?)?),
            person: Name::new(text("person")?)?,
            proof: bytes(text("proof")?)?,
        }),
        _ => return None,
    })
}

fn bytes(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(digits, &mut bytes).ok().map(|()| bytes)
}

/// Where the call stands.
pub fn notice(notice: &CallNotice) -> Value {
    let stage = match notice.stage {
        Stage::Ringing => "ringing",
        Stage::Talking => "talking",
        Stage::Ended(_) => "ended",
    };
    let mut data = json!({
        "intercomd": DOOR_PROTOCOL,
        "type": "call",
        "call": &*notice.call.0,
        "seq": notice.seq,
        "stage": stage,
        "age_ms": millis(notice.age),
        "ringing_at": notice.ringing_at,
        "answered_by": notice.answered_by.as_ref().map(|peer| peer.id.as_str()),
        "answered_name": notice.answered_name.as_ref().map(Name::as_str),
        "may": notice.may.iter().map(|right: &Right| right.name()).collect::<Vec<_>>(),
    });
    if let Stage::Ended(cause) = notice.stage {
        data["cause"] = json!(cause.name());
    }
    data
}

/// A number to make a proof with.
pub fn challenge(call: &CallId, purpose: Purpose, nonce: Nonce) -> Value {
    about(call, "challenge", json!({"purpose": purpose.name(), "nonce": hex::encode(nonce.0)}))
}

/// What was asked for is not done.
pub fn refused(call: &CallId, purpose: Purpose, why: &str) -> Value {
    about(call, "refused", json!({"purpose": purpose.name(), "why": why}))
}

/// Somebody opened the door.
pub fn opened(call: &CallId, length: Duration, by: &Name) -> Value {
    about(call, "opened", json!({"for_ms": millis(length), "by": by.as_str()}))
}

/// The page's browser will be woken.
pub fn will_wake(call: &CallId) -> Value {
    about(call, "will-wake", json!({}))
}

/// The page may look through the camera, so long at most.
pub fn looking(look: &CallId, length: Duration) -> Value {
    about(look, "looking", json!({"for_ms": millis(length)}))
}

/// The look is over.
pub fn look_over(look: &CallId) -> Value {
    about(look, "look-over", json!({}))
}

/// The visitor, as a JPEG in base64.
pub fn picture(call: &CallId, jpeg: &str) -> Value {
    about(call, "picture", json!({"jpeg": jpeg}))
}

/// The latest calls.
pub fn log(call: &CallId, lines: &[LogLine]) -> Value {
    let entries: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({
                "call": line.call, "at": line.at, "outcome": line.outcome,
                "answered_by": line.answered_by, "opened_by": line.opened_by, "talk_s": line.talk_s,
            })
        })
        .collect();
    about(call, "log", json!({"entries": entries}))
}

fn about(call: &CallId, kind: &str, mut rest: Value) -> Value {
    rest["intercomd"] = json!(DOOR_PROTOCOL);
    rest["type"] = json!(kind);
    rest["call"] = json!(&*call.0);
    rest
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intercom::{Cause, PeerKey, UplinkId};

    fn said(value: Value) -> Option<PageMessage> {
        read(value.as_object().expect("an object"))
    }

    fn call() -> CallId {
        CallId("c-1".into())
    }

    fn point() -> [u8; 65] {
        let mut key = [0; 65];
        key[0] = 4;
        key
    }

    #[test]
    fn every_documented_message_of_a_page_is_read() {
        let digits = "ab".repeat(32);
        let name = |name| Name::new(name).expect("a name");
        let page = PageId::new("7c0e").expect("a name");
        for (text, message) in [
            (json!({"type": "hello", "page": "7c0e"}), PageMessage::Hello(page.clone(), None)),
            (
                json!({"type": "hello", "page": "7c0e", "name": "Anna"}),
                PageMessage::Hello(page, Some(name("Anna"))),
            ),
            (json!({"type": "call", "call": "c-1", "stage": "ended"}), PageMessage::OtherDoor),
            (json!({"type": "ringing", "call": "c-1"}), PageMessage::Ringing(call())),
            (json!({"type": "answer"}), PageMessage::Answer(None)),
            (json!({"type": "answer", "call": "c-1"}), PageMessage::Answer(Some(call()))),
            (json!({"type": "hangup"}), PageMessage::Hangup(None)),
            (json!({"type": "hangup", "call": "c-1"}), PageMessage::Hangup(Some(call()))),
            (json!({"type": "take", "call": "c-1"}), PageMessage::Take(call())),
            (json!({"type": "join", "call": "c-1"}), PageMessage::Join(call())),
            (
                json!({"type": "text", "call": "c-1", "text": "I am coming"}),
                PageMessage::Text(call(), Note::new("I am coming").expect("a text")),
            ),
            (
                json!({"type": "shown", "call": "c-1", "after_ms": 410}),
                PageMessage::Seen(call(), Duration::from_millis(410)),
            ),
            (json!({"type": "look"}), PageMessage::Look),
            (
                json!({"type": "wake", "call": "c-1", "endpoint": "https://push.example/x",
                       "key": format!("BA{}", "A".repeat(85)), "auth": "AAAAAAAAAAAAAAAAAAAAAA"}),
                PageMessage::Wake(
                    call(),
                    PushAddress::new("https://push.example/x", point(), [0; 16]).expect("one"),
                ),
            ),
            (json!({"type": "open", "call": "c-1"}), PageMessage::Ask(call(), Purpose::Open)),
            (json!({"type": "log", "call": "c-1"}), PageMessage::Ask(call(), Purpose::Log)),
            (
                json!({"type": "proof", "call": "c-1", "purpose": "open", "nonce": digits,
                       "person": "Anna", "proof": digits}),
                PageMessage::Proof(Proof {
                    call: call(),
                    purpose: Purpose::Open,
                    nonce: Nonce([0xab; 32]),
                    person: name("Anna"),
                    proof: [0xab; 32],
                }),
            ),
        ] {
            let mut text = text;
            text["intercomd"] = json!(1);
            assert_eq!(said(text.clone()), Some(message), "{text}");
            text["intercomd"] = json!(2);
            assert_eq!(said(text), None);
        }
    }

    #[test]
    fn what_is_not_as_documented_is_no_message() {
        let long = "x".repeat(129);
        for text in [
            json!({"type": "hello", "page": ""}),
            json!({"type": "ringing"}),
            json!({"type": "call", "stage": "ringing"}),
            json!({"type": "answer", "call": 7}),
            json!({"type": "hangup", "call": null}),
            json!({"type": "take", "call": long}),
            json!({"type": "text", "call": "c-1", "text": "two\nlines"}),
            json!({"type": "text", "call": "c-1", "text": long}),
            json!({"type": "text", "call": "c-1", "text": "  "}),
            json!({"type": "shown", "call": "c-1", "after_ms": -1}),
            json!({"type": "shown", "call": "c-1", "after_ms": 1e12}),
            json!({"type": "proof", "call": "c-1", "purpose": "rule", "nonce": "ab".repeat(32), "person": "A", "proof": "ab".repeat(32)}),
            json!({"type": "proof", "call": "c-1", "purpose": "open", "nonce": "ab", "person": "A", "proof": "ab".repeat(32)}),
            json!({"type": "proof", "call": "c-1", "purpose": "open", "nonce": "ab".repeat(32), "person": "A\u{7}", "proof": "ab".repeat(32)}),
            json!({"type": "wake", "call": "c-1", "endpoint": "http://push.example/x", "key": format!("BA{}", "A".repeat(85)), "auth": "AAAAAAAAAAAAAAAAAAAAAA"}),
            json!({"type": "wake", "call": "c-1", "endpoint": "https://push.example/x", "key": "A".repeat(87), "auth": "AAAAAAAAAAAAAAAAAAAAAA"}),
            json!({"type": "wake", "call": "c-1", "endpoint": "https://push.example/x", "key": format!("BA{}", "A".repeat(85)), "auth": "AA"}),
            json!({"type": "dance", "call": "c-1"}),
        ] {
            let mut text = text;
            text["intercomd"] = json!(1);
            assert_eq!(said(text.clone()), None, "{text}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_one_is_left_out_of_a_hello() {
        let page = PageId::new("7c0e").expect("a name");
        for name in [json!(7), json!(""), json!("x".repeat(33)), json!(" Anna"), json!("A\nB")] {
            let text = json!({"intercomd": 1, "type": "hello", "page": "7c0e", "name": name});
            assert_eq!(said(text), Some(PageMessage::Hello(page.clone(), None)), "{name}");
        }
    }

    #[test]
    fn a_notice_tells_the_whole_state_and_the_cause_only_at_the_end() {
        let said = |stage, seq| {
            notice(&CallNotice {
                call: call(),
                seq,
                stage,
                age: Duration::from_millis(9_120),
                ringing_at: 2,
                answered_by: Some(PeerKey { uplink: UplinkId::Lan, id: "p".into() }),
                answered_name: Name::new("Anna"),
                may: vec![Right::Open, Right::Text],
            })
        };
        assert_eq!(
            said(Stage::Talking, 4),
            json!({"intercomd": 1, "type": "call", "call": "c-1", "seq": 4, "stage": "talking", "age_ms": 9120,
                "ringing_at": 2, "answered_by": "p", "answered_name": "Anna", "may": ["open", "text"]})
        );
        let ended = said(Stage::Ended(Cause::NoAnswer), 5);
        assert_eq!((&ended["stage"], &ended["cause"]), (&json!("ended"), &json!("no-answer")));
    }

    #[test]
    fn what_the_door_says_is_as_documented() {
        let anna = Name::new("Anna").expect("a name");
        assert_eq!(
            challenge(&call(), Purpose::Open, Nonce([1; 32])),
            json!({"intercomd": 1, "type": "challenge", "call": "c-1", "purpose": "open", "nonce": "01".repeat(32)})
        );
        assert_eq!(
            refused(&call(), Purpose::Log, "wrong"),
            json!({"intercomd": 1, "type": "refused", "call": "c-1", "purpose": "log", "why": "wrong"})
        );
        assert_eq!(
            opened(&call(), Duration::from_secs(3), &anna),
            json!({"intercomd": 1, "type": "opened", "call": "c-1", "for_ms": 3000, "by": "Anna"})
        );
        assert_eq!(
            looking(&call(), Duration::from_secs(60)),
            json!({"intercomd": 1, "type": "looking", "call": "c-1", "for_ms": 60_000})
        );
        assert_eq!(look_over(&call()), json!({"intercomd": 1, "type": "look-over", "call": "c-1"}));
        assert_eq!(will_wake(&call()), json!({"intercomd": 1, "type": "will-wake", "call": "c-1"}));
        assert_eq!(
            picture(&call(), "/9j/"),
            json!({"intercomd": 1, "type": "picture", "call": "c-1", "jpeg": "/9j/"})
        );
        let line = LogLine {
            call: "c-0".into(),
            at: 1_795_690_000,
            outcome: "no-answer".into(),
            answered_by: None,
            opened_by: None,
            talk_s: 0,
        };
        assert_eq!(
            log(&call(), &[line]),
            json!({"intercomd": 1, "type": "log", "call": "c-1", "entries": [{"call": "c-0", "at": 1_795_690_000,
                "outcome": "no-answer", "answered_by": null, "opened_by": null, "talk_s": 0}]})
        );
    }
}
