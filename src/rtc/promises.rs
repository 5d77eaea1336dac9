//! What this room promises of descriptions, candidates, server addresses and streams that anybody can send: never
//! a panic, bounded memory, and nothing shown that is not to be shown. Each promise takes any text or bytes and
//! breaks off when it is not kept.
//!
//! Built for tests and for the fuzz targets only (docs/fuzzing.md), which share them.

use bytes::BytesMut;

use super::turn_frames::{self, Splitter};
use super::turn_url::{Host, ServerUrl, Service};
use super::{candidates, sdp};
use crate::config::names::IcePolicy;

/// A TURN message with its filling is no longer than this.
const LONGEST_MESSAGE: usize = 65_536 + 20;

/// A description is read as far as it says something, and putting H.264 first only reorders.
pub fn description(text: &str) {
    let lines = text.lines().count();
    assert!(sdp::codecs(text).len() <= lines.min(256));
    assert!(sdp::extensions(text).len() <= lines);
    let _ = sdp::sends(text);
    for name in [sdp::first_mid(text), sdp::ufrag(text)].into_iter().flatten() {
        assert!(name.len() <= text.len());
    }
    let ordered = sdp::h264_first(text);
    assert_eq!(ordered.lines().count(), lines);
    for (before, after) in text.lines().zip(ordered.lines()) {
        let words = |line: &str| {
            let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            words.sort_unstable();
            words
        };
        assert_eq!(words(before), words(after));
    }
    assert_eq!(sdp::h264_first(&ordered), ordered);
    assert_eq!(sdp::codecs(&ordered), sdp::codecs(text));
    shown(text);
}

/// Who allows relays only shows no address of the door's own.
fn shown(text: &str) {
    for policy in [IcePolicy::All, IcePolicy::Relay] {
        let once = candidates::shown_in(text, policy);
        assert_eq!(candidates::shown_in(&once, policy), once);
        let kept = once.lines().filter(|line| line.starts_with("a=candidate:"));
        for candidate in kept {
            let words: Vec<&str> = candidate.split_ascii_whitespace().collect();
            let relay = words.get(6..8) == Some(&["typ", "relay"]);
            assert!(policy == IcePolicy::All || relay, "{candidate}");
        }
    }
}

/// A candidate is shown as it is, without its base, or not at all.
pub fn candidate(line: &str) {
    assert!(candidates::shown(line, IcePolicy::All).is_none_or(|shown| shown == line));
    if let Some(shown) = candidates::shown(line, IcePolicy::Relay) {
        let words: Vec<&str> = shown.split_ascii_whitespace().collect();
        assert_eq!(words.get(6..8), Some(&["typ", "relay"][..]), "{shown}");
        for pair in words.get(8..).unwrap_or_default().windows(2) {
            match pair[0] {
                "raddr" => assert!(matches!(pair[1], "0.0.0.0" | "::"), "{shown}"),
                "rport" => assert_eq!(pair[1], "0", "{shown}"),
                _ => {}
            }
        }
    }
}

/// An address of a server is read or refused, and one that was read names the same server again.
pub fn server_url(text: &str) {
    let Ok(url) = ServerUrl::parse(text) else { return };
    if let Host::Name(name) = &url.host {
        assert!((1..=253).contains(&name.len()));
        assert!(!name.contains(|c: char| c.is_whitespace() || c.is_control()), "{name:?}");
    }
    let (scheme, transport) = match url.service {
        Service::Stun => ("stun", ""),
        Service::TurnUdp => ("turn", "?transport=udp"),
        Service::TurnTcp => ("turn", "?transport=tcp"),
        Service::TurnTls => ("turns", "?transport=tcp"),
    };
    let again = format!("{scheme}:{}{transport}", url.place());
    assert_eq!(ServerUrl::parse(&again).as_ref(), Ok(&url), "{again}");
}

/// A stream of a TURN server comes apart the same however it is cut, and holds one message at most. The first byte
/// says where it is cut.
pub fn turn_stream(bytes: &[u8]) {
    let Some((cut, stream)) = bytes.split_first() else { return };
    let whole = messages(stream, stream.len().max(1));
    let pieces = messages(stream, usize::from(*cut) + 1);
    assert_eq!(whole, pieces);
    for message in &whole.0 {
        let _ = (turn_frames::request(message), turn_frames::refusal(message));
        let _ = (turn_frames::asks_for_allocation(message), turn_frames::releases(message));
        let mut out = BytesMut::new();
        if turn_frames::append(message, &mut out) {
            assert_eq!(messages(&out, 7), (vec![message.clone()], false));
        }
    }
    let _ = (turn_frames::request(stream), turn_frames::refusal(stream));
    let _ = turn_frames::append(stream, &mut BytesMut::new());
}

/// The messages of a stream, and whether it ended out of step.
fn messages(stream: &[u8], cut: usize) -> (Vec<bytes::Bytes>, bool) {
    let mut splitter = Splitter::default();
    let mut out = Vec::new();
    for piece in stream.chunks(cut) {
        splitter.push(piece);
        loop {
            match splitter.next() {
                Ok(Some(message)) => {
                    assert!(message.len() <= LONGEST_MESSAGE);
                    out.push(message);
                }
                Ok(None) => break,
                Err(_) => return (out, true),
            }
        }
    }
    (out, false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sdp_like() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            Just("m=video 9 UDP/TLS/RTP/SAVPF 96 102 97\r\n".to_owned()),
            "m=(audio|video|application) [0-9]{1,5} X( [0-9]{1,3}){0,6}\r?\n",
            "a=rtpmap:[0-9]{1,3} (H264|h264|VP8|opus)/[0-9]{1,6}(/2)?\r?\n",
            "a=(mid|ice-ufrag):[ -~]{0,8}\r?\n",
            "a=extmap:[0-9]{0,6}(/recvonly)? [a-z:]{0,6}\n",
            "a=(sendrecv|recvonly|sendonly|inactive)\r\n",
            "a=candidate:[0-9] 1 udp [0-9]{1,9} [0-9a-f.:]{1,12} [0-9]{1,5} typ (host|relay|srflx)( raddr [0-9.:]{1,9} rport [0-9]{1,5})?\r?\n",
            "\\PC{0,30}\r?\n?",
        ];
        prop::collection::vec(line, 0..20).prop_map(|lines| lines.concat())
    }

    proptest! {
        #[test]
        fn any_description_is_read_and_only_reordered(text in sdp_like()) {
            description(&text);
        }

        #[test]
        fn any_candidate_is_shown_without_its_base_or_not_at_all(
            line in "(candidate:)?[0-9 ]{0,6}( ?[a-z0-9.:]{0,12}){0,7} ?typ (relay|host)( raddr| rport| [0-9a-f.:]{0,9}){0,6}|\\PC{0,80}",
        ) {
            candidate(&line);
        }

        #[test]
        fn any_server_address_names_the_same_server_again(
            text in "(stun|turn|turns|STUN|http)s?:\\[?[a-zA-Z0-9.:_-]{0,20}\\]?(:[0-9]{0,6})?(\\?transport=(udp|tcp|tls))?|\\PC{0,60}",
        ) {
            server_url(&text);
        }

        #[test]
        fn a_turn_stream_comes_apart_the_same_however_it_is_cut(
            cut in any::<u8>(),
            parts in prop::collection::vec(
                prop_oneof![
                    (any::<u16>(), 0..40_usize).prop_map(|(kind, words)| {
                        let mut message = (kind & 0x3FFF).to_be_bytes().to_vec();
                        message.extend(u16::try_from(words * 4).expect("short").to_be_bytes());
                        message.extend([0x21, 0x12, 0xA4, 0x42]);
                        message.resize(20 + words * 4, 7);
                        message
                    }),
                    prop::collection::vec(any::<u8>(), 0..60).prop_map(|data| {
                        let mut message = vec![0x40, 1, 0, u8::try_from(data.len()).expect("short")];
                        message.extend(&data);
                        message.resize(message.len().next_multiple_of(4), 0);
                        message
                    }),
                    prop::collection::vec(any::<u8>(), 0..9),
                ],
                0..8,
            ),
        ) {
            let mut bytes = vec![cut];
            bytes.extend(parts.concat());
            turn_stream(&bytes);
        }
    }
}
