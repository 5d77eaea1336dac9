//! What this room promises of texts that anybody can send: never a panic, bounded answers, and what is written
//! can be read again. Each promise takes any text and breaks off when it is not kept.
//!
//! Built for tests and for the fuzz targets only (docs/fuzzing.md), which share them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use serde_json::value::RawValue;

use super::advice::Pass;
use super::envelope::{self, Content, MAX_CANDIDATE};
use super::hub::{Action, Credentials, Hub, Identity, MAX_GUESTS, MemberId};
use super::inbound::{self, Inbound, is_peer_id};
use super::message::{HubFrame, MAX_FRAME};
use super::session::{Input, Output, Session, Setup, Wire};
use super::timings::Timings;
use crate::intercom::{Description, DescriptionKind, Outgoing, PeerId, Signal, UplinkCommand};

/// The key of the hub of these promises.
const KEY: &str = "lan_key";
/// Members of one script; more than the hub lets in.
const MEMBERS: u64 = MAX_GUESTS as u64 + 3;
/// Steps of one script; more tell nothing new.
const MOST_STEPS: usize = 64;
/// The same at the hub: enough to fill it, and to use up a burst of one member.
const MOST_MEMBER_STEPS: usize = 224;
/// Deadlines that are let pass at the end of a script: over an hour of attempts, each later than the last.
const MOST_DEADLINES: usize = 40;

/// A frame of the signalling side is read or refused, and one that was read can be written and read again.
pub fn service_frame(text: &str) {
    match inbound::read(text) {
        Inbound::Frame(frame) => {
            let written = serde_json::to_string(&frame).expect("a frame can be written");
            let Inbound::Frame(again) = inbound::read(&written) else {
                panic!("cannot be read again: {written}")
            };
            if !has_fractions(text) {
                assert_eq!(again, frame);
            }
            match frame {
                HubFrame::Direct { from, data, .. } => {
                    assert!(is_peer_id(&from));
                    peer_data(&data);
                }
                HubFrame::Message { from, .. } => assert!(is_peer_id(&from)),
                HubFrame::Welcome { metadata, .. } => {
                    let servers = envelope::ice_servers(metadata.as_ref()).unwrap_or_default();
                    assert!(servers.len() <= 16);
                    let urls = servers.iter().flat_map(|server| &server.urls);
                    assert!(urls.into_iter().all(|url| url.chars().count() <= 512));
                }
                HubFrame::Presence { joined, left, .. } => {
                    assert!(joined.iter().chain(&left).all(|member| is_peer_id(&member.peer_id)));
                }
                HubFrame::Ack { .. }
                | HubFrame::Error { .. }
                | HubFrame::GoingAway { .. }
                | HubFrame::Pong => {}
            }
        }
        Inbound::Unknown { name } => assert!(name.len() <= text.len()),
        Inbound::Malformed { why } => assert!(!why.is_empty()),
    }
}

/// Fractions are read to the nearest that this machine has, which may be another one the second time.
fn has_fractions(text: &str) -> bool {
    text.contains(['.', 'e', 'E'])
}

/// What a page says is read or refused, and a signal that was read can be written and read again.
pub fn page_words(text: &str) {
    if let Ok(data) = serde_json::from_str::<Value>(text) {
        peer_data(&data);
    }
}

fn peer_data(data: &Value) {
    let Content::Signal(signal) = envelope::read(data) else { return };
    let again = match signal.clone() {
        Signal::Description(description) => Outgoing::Description(description),
        Signal::Candidate(candidate) => {
            assert!(candidate.candidate.chars().count() <= MAX_CANDIDATE);
            Outgoing::Candidate(candidate)
        }
        Signal::EndOfCandidates => Outgoing::EndOfCandidates,
        Signal::Page(_) => return,
    };
    let written = envelope::write(&again);
    assert_eq!(written.len(), 1);
    assert_eq!(envelope::read(&written[0]), Content::Signal(signal));
}

/// Whatever a service does, the machine of an uplink stays in range: it asks for few things at a time, its
/// deadlines move forward, and its frames are short JSON.
///
/// The text is a script, one step a line: `O`pened, `C`losed (with a code), `F`ailed to open (with a status),
/// `B`inary, too long `X`, `L`ife; the same behind `2` for the second socket; `R`etired; `J`oin, `Q`uit the
/// channel, `D`escription for a peer, `N`etwork changed, `S`top, `W`ait (milliseconds); any other line is a frame.
pub fn uplink(script: &str) {
    let mut now = Instant::now();
    let arm = !script.starts_with('-');
    let token = script.len().is_multiple_of(2);
    let mut session = Session::new(
        now,
        Setup {
            name: "service",
            channel: "door".to_owned(),
            pass: if token { Pass::Token } else { Pass::Key },
            arm,
            request_prefix: "r".to_owned(),
            luck: Box::new(|| 0.5),
            device_clock: Box::new(|| 1_795_690_000.0),
            timings: Timings::default(),
        },
    );
    let mut joins = 0;
    for step in script.trim_start_matches('-').lines().take(MOST_STEPS) {
        let rest = step.get(1..).unwrap_or_default();
        let input = match step.chars().next() {
            Some('2') => Input::Successor(wire(rest)),
            Some('R') => Input::Retired,
            Some('J') => Input::Command(UplinkCommand::Join),
            Some('Q') => Input::Command(UplinkCommand::Leave),
            Some('D') => Input::Command(UplinkCommand::Send {
                to: PeerId::from(rest.trim()),
                what: Outgoing::Description(Description {
                    kind: DescriptionKind::Offer,
                    sdp: "v=0".to_owned(),
                }),
            }),
            Some('N') => Input::NetworkChanged,
            Some('S') => Input::Stop,
            Some('W') => {
                now += Duration::from_millis(rest.trim().parse::<u32>().map_or(1_000, u64::from));
                Input::Tick
            }
            _ => Input::Wire(wire(step)),
        };
        joins += usize::from(matches!(input, Input::Command(UplinkCommand::Join)));
        session.handle(now, input);
        drain(&mut session, step.len());
    }
    // Left alone it gets on with its own deadlines, and none of them comes again and again at one moment.
    let mut at_once = 0;
    for _ in 0..MOST_DEADLINES {
        let Some(deadline) = session.poll_timeout() else { break };
        at_once = if deadline <= now { at_once + 1 } else { 0 };
        assert!(at_once < 16, "does not get on from {:?} after {joins} joins", session.status());
        now = now.max(deadline);
        session.handle(now, Input::Tick);
        drain(&mut session, 0);
    }
}

fn wire(step: &str) -> Wire {
    let rest = step.get(1..).unwrap_or_default().trim();
    match step.chars().next() {
        Some('O') => Wire::Opened,
        Some('C') => Wire::Closed { code: rest.parse().ok() },
        Some('F') => Wire::OpenFailed { http: rest.parse().ok(), reason: "refused".to_owned() },
        Some('B') => Wire::Binary,
        Some('X') => Wire::TooBig,
        Some('L') => Wire::Life,
        _ => Wire::Text(step.to_owned()),
    }
}

fn drain(session: &mut Session, heard: usize) {
    let mut asked = 0;
    while let Some(output) = session.poll_output() {
        asked += 1;
        // A presence list of n members is n events; none is shorter than this in a frame.
        assert!(asked <= 64 + heard / 8, "{asked} outputs for {heard} bytes");
        if let Output::Frame(frame) = output {
            assert!(frame.len() <= MAX_FRAME);
            assert!(serde_json::from_str::<Value>(&frame).is_ok_and(|frame| frame.is_object()));
        }
    }
    // Whatever it is in the middle of can be shown.
    drop(session.status());
}

/// Whatever members send, the hub talks to members only, in JSON, and as often as there are members; when all
/// are gone it remembers none of them.
///
/// The text is a script, one step a line: a letter names the member, the rest is `+` (comes in), `-` (goes), `~`
/// (a binary frame), `>` (all of a second passes), or a frame.
pub fn hub(script: &str) {
    let mut hub = Hub::new(KEY, "-door");
    let mut now = Duration::ZERO;
    let mut here = BTreeSet::new();
    let mut next = 1_000;
    // Who stands for which letter at present; the hub's numbers are never used again.
    let mut seats = BTreeMap::new();
    for step in script.lines().take(MOST_MEMBER_STEPS) {
        let Some(letter) = step.chars().next() else { continue };
        let seat = u64::from(u32::from(letter)) % MEMBERS;
        let rest = &step[letter.len_utf8()..];
        let known = seats.get(&seat).copied();
        match (rest, known) {
            (">", _) => now += Duration::from_secs(1),
            ("-", Some(member)) => {
                hub.closed(member);
                here.remove(&member);
                seats.remove(&seat);
            }
            ("~", Some(member)) => hub.binary(now, member, rest.len()),
            (_, Some(member)) => hub.text(now, member, rest),
            (_, None) => {
                let member = MemberId(next);
                next += 1;
                let identity = match seat {
                    0 => Identity::Door,
                    1 => Identity::Looks,
                    _ => Identity::Guest { peer_id: format!("guest-{next}") },
                };
                let key = if rest.len() > 40 { rest } else { KEY };
                hub.open(now, 1, member, &Credentials::Key(key.to_owned()), identity);
                here.insert(member);
                seats.insert(seat, member);
            }
        }
        let most = 3 * here.len() + 3;
        let mut done = 0;
        while let Some(action) = hub.poll_action() {
            done += 1;
            assert!(done <= most, "{done} actions with {} members", here.len());
            match action {
                Action::Deliver { to, frame } => {
                    assert!(here.contains(&to), "a frame for nobody");
                    assert!(frame.len() <= 2 * step.len() + 64 * 1024);
                    // What is in `data` passes as it came. A half of a surrogate pair is JSON (RFC 8259 section 8.2), but
                    // no text for this reader.
                    assert!(serde_json::from_str::<BTreeMap<String, &RawValue>>(&frame).is_ok());
                }
                Action::Close { member, .. } => {
                    assert!(here.remove(&member), "closed twice");
                    seats.retain(|_, seat| *seat != member);
                }
            }
        }
        assert!(here.len() <= MAX_GUESTS + 1, "{} members", here.len());
    }
    for member in here {
        hub.closed(member);
    }
    while hub.poll_action().is_some() {}
    hub.shutdown();
    assert_eq!(hub.poll_action(), None, "somebody is remembered");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// JSON with the keys and words that mean something, so that tests get past the first check.
    fn near_json() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            Just("\"type\""),
            Just("\"welcome\""),
            Just("\"direct\""),
            Just("\"presence\""),
            Just("\"message\""),
            Just("\"error\""),
            Just("\"going_away\""),
            Just("\"ack\""),
            Just("\"subscribe\""),
            Just("\"publish\""),
            Just("\"send\""),
            Just("\"peerId\""),
            Just("\"expiresAt\""),
            Just("\"serverTime\""),
            Just("\"maxMessageSize\""),
            Just("\"metadata\""),
            Just("\"iceServers\""),
            Just("\"from\""),
            Just("\"to\""),
            Just("\"data\""),
            Just("\"channel\""),
            Just("\"joined\""),
            Just("\"left\""),
            Just("\"requestId\""),
            Just("\"rtc-ice\""),
            Just("\"rtc-description\""),
            Just("\"candidate\""),
            Just("\"intercomd\""),
            Just("\"call\""),
            Just("\"c-1\""),
            Just("{"),
            Just("}"),
            Just("["),
            Just("]"),
            Just(":"),
            Just(","),
            Just("null"),
            Just("1e999"),
            Just("-1"),
            Just("1"),
            Just("\n"),
            Just("\"\\ud800\""),
        ];
        prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
    }

    /// Whole frames with one field replaced.
    fn bent_frame() -> impl Strategy<Value = String> {
        let frames: &[&str] = &[
            r#"{"type":"welcome","peerId":"p","expiresAt":null,"serverTime":1,"maxMessageSize":65536,"metadata":{"iceServers":[{"urls":"stun:a"}]}}"#,
            r#"{"type":"ack","requestId":"r1"}"#,
            r#"{"type":"error","code":"peer_not_found","requestId":"r1"}"#,
            r#"{"type":"message","channel":"door","from":"p","data":null}"#,
            r#"{"type":"direct","from":"p","data":{"type":"rtc-ice","candidate":{"candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host","sdpMid":"0","sdpMLineIndex":0}}}"#,
            r#"{"type":"direct","from":"p","data":{"intercomd":1,"type":"shown","call":"c-1","after_ms":4}}"#,
            r#"{"type":"presence","channel":"door","joined":[{"peerId":"p"}],"left":[{"peerId":"q"}]}"#,
            r#"{"type":"going_away","retryAfterMs":1000}"#,
            r#"{"type":"subscribe","channel":"door","requestId":"s"}"#,
            r#"{"type":"publish","channel":"door","data":[1]}"#,
            r#"{"type":"send","to":"-door","data":{}}"#,
            r#"{"type":"ping"}"#,
        ];
        let frame = prop::sample::select(frames);
        (frame, any::<prop::sample::Index>(), "[\\PC\"{}\\[\\],:]{0,3}", 0..4_usize).prop_map(
            |(frame, at, with, cut)| {
                let start = at.index(frame.len());
                let end = (start + cut).min(frame.len());
                format!("{}{with}{}", &frame[..start], &frame[end..])
            },
        )
    }

    fn hostile() -> impl Strategy<Value = String> {
        prop_oneof![near_json(), bent_frame(), ".{0,200}"]
    }

    fn script(steps: &'static str) -> impl Strategy<Value = String> {
        let step = prop_oneof![steps, hostile().prop_map(|frame| frame.replace('\n', " "))];
        prop::collection::vec(step, 0..40).prop_map(|steps| steps.join("\n"))
    }

    #[test]
    fn half_a_surrogate_pair_is_passed_on_by_the_hub_and_read_or_refused_at_the_door() {
        let subscribe = r#"{"type":"subscribe","channel":"c"}"#;
        let publish = r#"{"type":"publish","channel":"c","data":"x\ud800"}"#;
        hub(&format!("b+\nc+\nb{subscribe}\nc{subscribe}\nb{publish}\nc{publish}"));
        for words in [r#""x\ud800""#, r#"{"intercomd":1,"type":"text","text":"x\ud800"}"#] {
            page_words(words);
        }
        service_frame(r#"{"type":"message","channel":"c","from":"b","data":"x\ud800"}"#);
    }

    proptest! {
        #[test]
        fn frames_of_the_signalling_side_are_read_or_refused(text in hostile()) {
            service_frame(&text);
        }

        #[test]
        fn what_a_page_says_is_read_or_refused(text in hostile()) {
            page_words(&text);
        }

        #[test]
        fn an_uplink_stays_in_range_whatever_the_service_does(
            script in script("[OCFBXLRJQDNSW]( ?[0-9]{0,5})|2[OCFBXL][0-9]{0,4}"),
        ) {
            uplink(&script);
        }

        #[test]
        fn the_hub_stays_in_range_whatever_its_members_do(
            script in script("[a-z@][+\\-~>]"),
        ) {
            hub(&script);
        }
    }
}
