//! An event as JSON, which is a promise to everybody who reads it (docs/hooks.md), and as environment of
//! a program.
//!
//! Pure. Keys stay once released; there may be more.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

use super::event::{Told, What};

/// The version of this JSON.
const VERSION: u8 = 1;

#[derive(Serialize)]
struct Body<'a> {
    intercomd: u8,
    event: &'static str,
    door: &'a str,
    call: Option<&'a str>,
    at: u64,
    #[serde(flatten)]
    what: &'a What,
    /// The picture itself, where it goes along.
    #[serde(skip_serializing_if = "Option::is_none")]
    jpeg: Option<String>,
}

impl<'a> Body<'a> {
    fn of(told: &'a Told) -> Self {
        Self {
            intercomd: VERSION,
            event: told.kind().name(),
            door: &told.door,
            call: told.event.call.as_deref(),
            at: told.event.at,
            what: told.what(),
            jpeg: None,
        }
    }

    fn json(&self) -> String {
        serde_json::to_string(self).expect("texts, numbers and flags are always JSON")
    }
}

/// The event as one line of JSON.
pub(super) fn json(told: &Told) -> String {
    Body::of(told).json()
}

/// The same with a picture in it.
pub(super) fn json_with(told: &Told, jpeg: &[u8]) -> String {
    Body { jpeg: Some(STANDARD.encode(jpeg)), ..Body::of(told) }.json()
}

/// What a program finds in its environment: `INTERCOMD_` and the key, for every key that has a value.
pub(super) fn environment(told: &Told) -> Vec<(String, String)> {
    let Ok(Value::Object(keys)) = serde_json::to_value(Body::of(told)) else { return Vec::new() };
    let rows = keys.into_iter().filter(|(key, _)| key != "intercomd");
    rows.filter_map(|(key, value)| {
        let text = match value {
            Value::Null => return None,
            Value::String(text) => text,
            other => other.to_string(),
        };
        Some((format!("INTERCOMD_{}", key.to_uppercase()), text))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::event::Event;

    fn told(what: What) -> Told {
        Event { call: Some("c-1-7".to_owned()), at: 1_795_690_000, what }.cleaned("front-door")
    }

    fn all() -> Vec<(What, &'static str)> {
        let anna = || Some("Anna".to_owned());
        vec![
            (What::Ring { again: false }, r#""event":"ring",@,"again":false"#),
            (What::Answered { name: anna() }, r#""event":"answered",@,"name":"Anna""#),
            (What::Answered { name: None }, r#""event":"answered",@,"name":null"#),
            (What::Missed { cause: "no-answer" }, r#""event":"missed",@,"cause":"no-answer""#),
            (
                What::Ended { cause: "hung-up", talk_s: 31, answered_by: anna(), opened_by: None },
                r#""event":"ended",@,"cause":"hung-up","talk_s":31,"answered_by":"Anna","opened_by":null"#,
            ),
            (
                What::Opened { by: "Anna".to_owned(), for_ms: 3000 },
                r#""event":"opened",@,"by":"Anna","for_ms":3000"#,
            ),
            (
                What::OpenRefused { by: "mqtt".to_owned(), why: "resting".to_owned() },
                r#""event":"open-refused",@,"by":"mqtt","why":"resting""#,
            ),
            (What::LookIn { by: "Anna".to_owned() }, r#""event":"look-in",@,"by":"Anna""#),
            (
                What::Fault { part: "camera".to_owned(), over: true },
                r#""event":"fault",@,"part":"camera","over":true"#,
            ),
            (
                What::Picture { path: "/run/intercomd/c-1-7.jpg".into() },
                r#""event":"picture",@,"picture":"/run/intercomd/c-1-7.jpg""#,
            ),
        ]
    }

    #[test]
    fn every_event_has_the_json_that_was_promised() {
        const COMMON: &str = r#""door":"front-door","call":"c-1-7","at":1795690000"#;
        let mut kinds = std::collections::BTreeSet::new();
        for (what, expected) in all() {
            kinds.insert(what.kind());
            let expected = format!(r#"{{"intercomd":1,{}}}"#, expected.replace('@', COMMON));
            assert_eq!(json(&told(what)), expected);
        }
        assert_eq!(kinds.len(), crate::config::HookEvent::ALL.len());
    }

    #[test]
    fn the_document_shows_the_json_of_every_event() {
        let document = include_str!("../../docs/hooks.md");
        for (what, _) in all() {
            let json: Value = serde_json::from_str(&json(&told(what))).expect("it is JSON");
            let keys: Vec<&String> = json.as_object().expect("an object").keys().collect();
            let shown = document.lines().filter_map(|line| {
                serde_json::from_str::<serde_json::Map<String, Value>>(line).ok()
            });
            let mut same = shown.filter(|row| row.get("event") == json.get("event"));
            assert!(same.any(|row| row.keys().eq(keys.iter().copied())), "{json}");
        }
    }

    #[test]
    fn a_picture_goes_along_in_base64() {
        let told = told(What::Picture { path: "/x.jpg".into() });
        let json: Value = serde_json::from_str(&json_with(&told, b"\xff\xd8")).expect("JSON");
        assert_eq!(json["jpeg"], "/9g=");
    }

    #[test]
    fn an_environment_holds_what_has_a_value() {
        let ended =
            What::Ended { cause: "hung-up", talk_s: 31, answered_by: None, opened_by: None };
        let rows = environment(&told(ended));
        let find =
            |name: &str| rows.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(find("INTERCOMD_EVENT"), Some("ended"));
        assert_eq!(find("INTERCOMD_CALL"), Some("c-1-7"));
        assert_eq!(find("INTERCOMD_AT"), Some("1795690000"));
        assert_eq!(find("INTERCOMD_CAUSE"), Some("hung-up"));
        assert_eq!(find("INTERCOMD_TALK_S"), Some("31"));
        assert_eq!(find("INTERCOMD_ANSWERED_BY"), None);
        assert_eq!(find("INTERCOMD_INTERCOMD"), None);
        let rows = environment(&told(What::Picture { path: "/x.jpg".into() }));
        assert!(rows.contains(&("INTERCOMD_PICTURE".to_owned(), "/x.jpg".to_owned())));
    }
}
