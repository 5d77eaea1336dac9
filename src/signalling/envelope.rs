//! The JSON inside `data`: WebRTC signals, track metadata and the door protocol, both directions
//! (protocol.md section 4; docs/door-protocol.md), and the ICE servers inside a welcome (section 1.4).
//!
//! Pure and stateless: values in, values out. Who may send what is decided elsewhere.

use serde_json::{Map, Value, json};

use crate::config::names::{AUDIO_TRACK, IceServer, MEDIA_STREAM, VIDEO_TRACK};
use crate::intercom::{Candidate, Description, DescriptionKind, Outgoing, Signal};

use super::page_words::{self, DOOR_PROTOCOL};

/// Longest candidate line taken, in characters (protocol.md section 4.2).
pub const MAX_CANDIDATE: usize = 1000;
/// Longest mid or ufrag heeded, in bytes (RFC 8839 section 5.4: a ufrag has 256 characters at most).
const MAX_NAME: usize = 256;

/// What the `data` of a `direct` frame turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// For the heart.
    Signal(Signal),
    /// A peer's words about its own tracks; the door has no use for them.
    TrackMetadata,
    /// A candidate longer than [`MAX_CANDIDATE`].
    TooLong,
    /// Application data that is not ours, or of a newer door protocol.
    Other,
}

/// Reads the `data` of a `direct` frame, in the order of protocol.md section 4.4.
pub fn read(data: &Value) -> Content {
    let Value::Object(fields) = data else {
        return Content::Other;
    };
    match fields.get("type").and_then(Value::as_str) {
        Some("rtc-description") => {
            if let Some(description) = fields.get("description").and_then(description) {
                return Content::Signal(Signal::Description(description));
            }
        }
        Some("rtc-ice") => {
            if let Some(content) = fields.get("candidate").and_then(candidate) {
                return content;
            }
        }
        _ => {}
    }
    if is_track_metadata(fields) {
        return Content::TrackMetadata;
    }
    page_words::read(fields)
        .map_or(Content::Other, |message| Content::Signal(Signal::Page(message)))
}

fn description(value: &Value) -> Option<Description> {
    let kind = match value.get("type")?.as_str()? {
        "offer" => DescriptionKind::Offer,
        "answer" => DescriptionKind::Answer,
        _ => return None,
    };
    Some(Description { kind, sdp: value.get("sdp")?.as_str()?.to_owned() })
}

fn candidate(value: &Value) -> Option<Content> {
    let fields = match value {
        Value::Null => return Some(Content::Signal(Signal::EndOfCandidates)),
        Value::Object(fields) => fields,
        _ => return None,
    };
    let line = match fields.get("candidate") {
        None | Some(Value::Null) => "",
        Some(line) => line.as_str()?,
    };
    // Firefox marks the end of one generation by an empty line.
    if line.is_empty() {
        return Some(Content::Signal(Signal::EndOfCandidates));
    }
    if line.chars().count() > MAX_CANDIDATE {
        return Some(Content::TooLong);
    }
    let text = |key: &str| fields.get(key).and_then(Value::as_str).map(str::to_owned);
    let too_long = |key: &str| text(key).is_some_and(|text| text.len() > MAX_NAME);
    if too_long("sdpMid") || too_long("usernameFragment") {
        return Some(Content::TooLong);
    }
    let index = fields.get("sdpMLineIndex").and_then(Value::as_u64);
    Some(Content::Signal(Signal::Candidate(Candidate {
        candidate: line.to_owned(),
        sdp_mid: text("sdpMid"),
        sdp_mline_index: index.and_then(|index| u16::try_from(index).ok()),
        username_fragment: text("usernameFragment"),
    })))
}

fn is_track_metadata(fields: &Map<String, Value>) -> bool {
    let Some(Value::Object(meta)) = fields.get("__meteredTrackMeta") else {
        return false;
    };
    let named = meta.get("trackId").and_then(Value::as_str).is_some_and(|id| !id.is_empty());
    named && meta.get("metadata").is_none_or(Value::is_object)
}

/// The `data` of the `send` frames that carry `what`, in order. Only track metadata takes more than one.
pub fn write(what: &Outgoing) -> Vec<Value> {
    match what {
        Outgoing::TrackMetadata => {
            vec![track_metadata(AUDIO_TRACK, "audio"), track_metadata(VIDEO_TRACK, "video")]
        }
        Outgoing::Description(description) => {
            let kind = match description.kind {
                DescriptionKind::Offer => "offer",
                DescriptionKind::Answer => "answer",
            };
            vec![
                json!({"type": "rtc-description", "description": {"type": kind, "sdp": description.sdp}}),
            ]
        }
        Outgoing::Candidate(candidate) => vec![write_candidate(candidate)],
        Outgoing::EndOfCandidates => vec![json!({"type": "rtc-ice", "candidate": null})],
        Outgoing::Notice(notice) => vec![page_words::notice(notice)],
        Outgoing::Video(mode) => {
            vec![json!({"intercomd": DOOR_PROTOCOL, "type": "video", "mode": mode.name()})]
        }
        Outgoing::Full => vec![json!({"intercomd": DOOR_PROTOCOL, "type": "full"})],
        Outgoing::Challenge(call, purpose, nonce) => {
            vec![page_words::challenge(call, *purpose, *nonce)]
        }
        Outgoing::Refused(call, purpose, why) => {
            vec![page_words::refused(call, *purpose, why.name())]
        }
        Outgoing::Looking(look, length) => vec![page_words::looking(look, *length)],
        Outgoing::WillWake(call) => vec![page_words::will_wake(call)],
        Outgoing::LookOver(look) => vec![page_words::look_over(look)],
        Outgoing::Opened(call, length, by) => vec![page_words::opened(call, *length, by)],
        Outgoing::Picture(call, jpeg) => vec![page_words::picture(call, jpeg)],
        Outgoing::Log(call, lines) => vec![page_words::log(call, lines)],
    }
}

fn track_metadata(track: &str, kind: &str) -> Value {
    json!({"__meteredTrackMeta": {
        "trackId": track, "metadata": {"role": "camera"}, "streamId": MEDIA_STREAM, "kind": kind,
    }})
}

fn write_candidate(candidate: &Candidate) -> Value {
    let mut inner = json!({
        "candidate": candidate.candidate,
        "sdpMid": candidate.sdp_mid,
        "sdpMLineIndex": candidate.sdp_mline_index,
    });
    if let Some(fragment) = &candidate.username_fragment {
        inner["usernameFragment"] = json!(fragment);
    }
    json!({"type": "rtc-ice", "candidate": inner})
}

/// The ICE servers inside a welcome's metadata, by the rules of protocol.md section 1.4. `None` when there is
/// no list or any part of it breaks a rule: the previous list stays. An empty list replaces it.
pub fn ice_servers(metadata: Option<&Value>) -> Option<Vec<IceServer>> {
    let list = metadata?.get("iceServers")?.as_array()?;
    if list.len() > 16 {
        return None;
    }
    list.iter().map(ice_server).collect()
}

fn ice_server(entry: &Value) -> Option<IceServer> {
    let entry = entry.as_object()?;
    let urls = match entry.get("urls")? {
        Value::String(url) => vec![url.clone()],
        Value::Array(urls) if !urls.is_empty() => {
            urls.iter().map(|url| url.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()?
        }
        _ => return None,
    };
    if !urls.iter().all(|url| is_ice_url(url)) {
        return None;
    }
    Some(IceServer {
        urls,
        username: short_text(entry.get("username"))?,
        credential: short_text(entry.get("credential"))?,
    })
}

/// Outer `None`: the text is too long. Inner `None`: there is no text.
fn short_text(value: Option<&Value>) -> Option<Option<String>> {
    match value.and_then(Value::as_str) {
        Some(text) if text.chars().count() > 1024 => None,
        text => Some(text.map(str::to_owned)),
    }
}

fn is_ice_url(url: &str) -> bool {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    let known = matches!(scheme.as_deref(), Some("stun" | "stuns" | "turn" | "turns"));
    known && url.chars().count() <= 512
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intercom::{PageMessage, VideoMode};

    fn signal(data: Value) -> Signal {
        match read(&data) {
            Content::Signal(signal) => signal,
            other => panic!("{data} was read as {other:?}"),
        }
    }

    fn line(text: &str) -> Candidate {
        Candidate {
            candidate: text.into(),
            sdp_mid: Some("0".into()),
            sdp_mline_index: Some(0),
            username_fragment: Some("AbCd".into()),
        }
    }

    #[test]
    fn descriptions_go_out_and_come_back_the_same() {
        for kind in [DescriptionKind::Offer, DescriptionKind::Answer] {
            let sent = Description { kind, sdp: "v=0\r\n".into() };
            let data = write(&Outgoing::Description(sent.clone()));
            assert_eq!(data.len(), 1);
            assert_eq!(signal(data[0].clone()), Signal::Description(sent));
        }
        assert_eq!(
            write(&Outgoing::Description(Description {
                kind: DescriptionKind::Offer,
                sdp: "v=0".into()
            })),
            [json!({"type":"rtc-description","description":{"type":"offer","sdp":"v=0"}})]
        );
    }

    #[test]
    fn a_page_is_told_what_it_gets_of_the_picture() {
        let data = write(&Outgoing::Video(VideoMode::Keyframes));
        assert_eq!(data, [json!({"intercomd": 1, "type": "video", "mode": "keyframes"})]);
        assert_eq!(write(&Outgoing::Full), [json!({"intercomd": 1, "type": "full"})]);
    }

    #[test]
    fn candidates_go_out_and_come_back_the_same() {
        let sent = line("candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host");
        let data = write(&Outgoing::Candidate(sent.clone()));
        assert_eq!(signal(data[0].clone()), Signal::Candidate(sent));
        let bare = Candidate { sdp_mid: None, username_fragment: None, ..line("candidate:2") };
        let data = write(&Outgoing::Candidate(bare.clone()));
        assert!(data[0]["candidate"].get("usernameFragment").is_none());
        assert_eq!(signal(data[0].clone()), Signal::Candidate(bare));
    }

    #[test]
    fn null_and_an_empty_line_both_end_the_candidates() {
        assert_eq!(write(&Outgoing::EndOfCandidates), [json!({"type":"rtc-ice","candidate":null})]);
        for candidate in [json!(null), json!({"candidate":"","sdpMid":"0"}), json!({})] {
            let data = json!({"type":"rtc-ice","candidate":candidate});
            assert_eq!(signal(data), Signal::EndOfCandidates);
        }
    }

    #[test]
    fn a_candidate_over_a_thousand_characters_is_dropped() {
        let data =
            |length: usize| json!({"type":"rtc-ice","candidate":{"candidate":"x".repeat(length)}});
        assert!(matches!(read(&data(1000)), Content::Signal(Signal::Candidate(_))));
        assert_eq!(read(&data(1001)), Content::TooLong);
    }

    #[test]
    fn wrong_shapes_are_application_data() {
        for data in [
            json!(null),
            json!("hello"),
            json!([1]),
            json!({"type":"rtc-description"}),
            json!({"type":"rtc-description","description":{"type":"rollback","sdp":""}}),
            json!({"type":"rtc-description","description":{"type":"pranswer","sdp":""}}),
            json!({"type":"rtc-description","description":{"type":"offer","sdp":5}}),
            json!({"type":"rtc-ice"}),
            json!({"type":"rtc-ice","candidate":"candidate:1"}),
            json!({"type":"rtc-ice","candidate":{"candidate":7}}),
            json!({"__meteredTrackMeta":{"trackId":""}}),
            json!({"__meteredTrackMeta":{"trackId":"t","metadata":null}}),
            json!({"__meteredTrackMeta":{"trackId":"t","metadata":[]}}),
        ] {
            assert_eq!(read(&data), Content::Other, "{data}");
        }
    }

    #[test]
    fn a_peers_track_metadata_is_told_apart() {
        for data in [
            json!({"__meteredTrackMeta":{"trackId":"t","metadata":{"a":1}}}),
            json!({"__meteredTrackMeta":{"trackId":"t"}}),
        ] {
            assert_eq!(read(&data), Content::TrackMetadata);
        }
    }

    #[test]
    fn our_track_metadata_names_both_tracks() {
        assert_eq!(
            write(&Outgoing::TrackMetadata),
            [
                json!({"__meteredTrackMeta":{"trackId":"intercomd-audio","metadata":{"role":"camera"},
                    "streamId":"intercomd","kind":"audio"}}),
                json!({"__meteredTrackMeta":{"trackId":"intercomd-video","metadata":{"role":"camera"},
                    "streamId":"intercomd","kind":"video"}}),
            ]
        );
    }

    #[test]
    fn pages_can_answer_and_hang_up() {
        assert_eq!(
            signal(json!({"intercomd":1,"type":"answer"})),
            Signal::Page(PageMessage::Answer(None))
        );
        assert_eq!(
            signal(json!({"intercomd":1,"type":"hangup"})),
            Signal::Page(PageMessage::Hangup(None))
        );
        for ignored in [
            json!({"intercomd":2,"type":"answer"}),
            json!({"intercomd":"1","type":"answer"}),
            json!({"intercomd":1,"type":"unlock"}),
            json!({"type":"answer"}),
        ] {
            assert_eq!(read(&ignored), Content::Other, "{ignored}");
        }
    }

    #[test]
    fn good_ice_servers_are_taken() {
        let list = ice_servers(Some(&json!({"iceServers":[
            {"urls":"stun:s.example"},
            {"urls":["TURN:t.example:443","turns:t.example"],"username":"u","credential":"c","other":1},
            {"urls":"turn:t","username":7},
        ]})))
        .expect("the list follows the rules");
        assert_eq!(list.len(), 3);
        assert_eq!(list[1].urls.len(), 2);
        assert_eq!(list[1].credential.as_deref(), Some("c"));
        assert_eq!(list[2].username, None);
        assert_eq!(ice_servers(Some(&json!({"iceServers":[]}))), Some(vec![]));
    }

    #[test]
    fn one_bad_ice_server_rejects_the_whole_list() {
        let good = json!({"urls":"stun:s.example"});
        for bad in [
            json!({"urls":""}),
            json!({"urls":[]}),
            json!({"urls":["stun:a",5]}),
            json!({"urls":"http://a"}),
            json!({"urls":format!("stun:{}", "a".repeat(508))}),
            json!({"urls":"stun:a","username":"u".repeat(1025)}),
            json!({"urls":"stun:a","credential":"u".repeat(1025)}),
            json!("stun:a"),
            json!({}),
        ] {
            assert_eq!(ice_servers(Some(&json!({"iceServers":[good, bad]}))), None, "{bad}");
        }
        let many = vec![good; 17];
        assert_eq!(ice_servers(Some(&json!({"iceServers":many}))), None);
        assert_eq!(ice_servers(Some(&json!({}))), None);
        assert_eq!(ice_servers(None), None);
    }
}
