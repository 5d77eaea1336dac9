//! The few facts this room reads from SDP.
//!
//! Pure. Everything else about SDP is the `webrtc` crate's business.

use std::collections::BTreeMap;

/// What the peer's description says it sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sends {
    /// An audio section with direction `sendrecv` or `sendonly`.
    pub audio: bool,
    /// A video section with direction `sendrecv` or `sendonly`.
    pub video: bool,
}

/// Reads which media the writer of this description sends (RFC 8866 section 6.7: no direction
/// attribute means `sendrecv`).
pub fn sends(sdp: &str) -> Sends {
    let mut result = Sends::default();
    for section in sections(sdp) {
        let inactive =
            section.lines.iter().any(|line| matches!(*line, "a=recvonly" | "a=inactive"));
        if section.rejected || inactive {
            continue;
        }
        match section.kind {
            "audio" => result.audio = true,
            "video" => result.video = true,
            _ => {}
        }
    }
    result
}

/// The mid of the first section: with BUNDLE every candidate belongs to it.
pub fn first_mid(sdp: &str) -> Option<String> {
    sdp.lines().find_map(|line| line.strip_prefix("a=mid:")).map(|mid| mid.trim().to_owned())
}

/// The description's ICE username fragment.
pub fn ufrag(sdp: &str) -> Option<String> {
    sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).map(|it| it.trim().to_owned())
}

/// A codec as a payload type stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec {
    /// The encoding name in upper case, such as `H264`.
    pub encoding: String,
    /// The RTP clock in Hz.
    pub clock_rate: u32,
}

/// The payload types a description assigns (`a=rtpmap`, RFC 8866 section 6.6).
pub fn codecs(sdp: &str) -> BTreeMap<u8, Codec> {
    let rtpmap = |line: &str| {
        let (payload_type, codec) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        let mut parts = codec.trim().split('/');
        let encoding = parts.next()?.to_ascii_uppercase();
        let clock_rate = parts.next()?.parse().ok()?;
        Some((payload_type.parse().ok()?, Codec { encoding, clock_rate }))
    };
    sdp.lines().filter_map(rtpmap).collect()
}

/// The header extensions a description names, by number (`a=extmap`, RFC 8285 section 5).
pub fn extensions(sdp: &str) -> BTreeMap<u16, String> {
    let extmap = |line: &str| {
        let (number, rest) = line.strip_prefix("a=extmap:")?.split_once(' ')?;
        let number = number.split('/').next()?.parse().ok()?;
        Some((number, rest.split_ascii_whitespace().next()?.to_owned()))
    };
    sdp.lines().filter_map(extmap).collect()
}

/// The description with H.264 before the other codecs of its pictures. Who answers keeps the order of the offer, and a
/// browser sends what the answer names first.
pub fn h264_first(sdp: &str) -> String {
    // Read once: a peer chooses how many numbers there are.
    let codecs = codecs(sdp);
    let h264 = |number: &str| {
        let codec = number.parse().ok().and_then(|number: u8| codecs.get(&number));
        codec.is_some_and(|codec| codec.encoding == "H264")
    };
    let reorder = |line: &str| {
        // m=video PORT PROTOCOL and the payload types (RFC 8866 section 5.14).
        let mut words = line.split(' ');
        let head: Vec<&str> = words.by_ref().take(3).collect();
        let (first, rest): (Vec<&str>, Vec<&str>) = words.partition(|number| h264(number));
        [head, first, rest].concat().join(" ")
    };
    let lines = sdp.lines().map(|line| match line.starts_with("m=video ") {
        true => reorder(line),
        false => line.to_owned(),
    });
    lines.map(|line| line + "\r\n").collect()
}

struct Section<'a> {
    kind: &'a str,
    rejected: bool,
    lines: Vec<&'a str>,
}

fn sections(sdp: &str) -> Vec<Section<'_>> {
    let mut result: Vec<Section<'_>> = Vec::new();
    for line in sdp.lines().map(str::trim_end) {
        if let Some(media) = line.strip_prefix("m=") {
            let mut words = media.split(' ');
            let kind = words.next().unwrap_or("");
            let rejected = words.next() == Some("0");
            result.push(Section { kind, rejected, lines: Vec::new() });
        } else if let Some(section) = result.last_mut() {
            section.lines.push(line);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\na=group:BUNDLE 0 1 2\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
        a=ice-ufrag:abCd\r\na=recvonly\r\na=rtpmap:111 opus/48000/2\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 102 96\r\na=mid:2\r\na=rtpmap:102 H264/90000\r\na=rtpmap:96 vp8/90000\r\n";

    #[test]
    fn a_section_without_a_direction_sends() {
        assert_eq!(sends(OFFER), Sends { audio: false, video: true });
    }

    #[test]
    fn a_rejected_section_sends_nothing() {
        assert_eq!(sends("m=video 0 UDP/TLS/RTP/SAVPF 0\r\na=sendrecv\r\n"), Sends::default());
    }

    #[test]
    fn payload_types_are_read_with_their_codec() {
        let codecs = codecs(OFFER);
        assert_eq!(codecs[&96], Codec { encoding: "VP8".to_owned(), clock_rate: 90_000 });
        assert_eq!(codecs[&111], Codec { encoding: "OPUS".to_owned(), clock_rate: 48_000 });
        assert_eq!(codecs.len(), 3);
    }

    #[test]
    fn header_extensions_are_read_by_number() {
        let sdp = "m=audio 9 X 0\r\na=extmap:4 urn:a\r\nm=video 9 X 0\r\na=extmap:4 urn:a\r\n\
            a=extmap:12/recvonly urn:b with=parameters\r\na=extmap:x urn:c\r\n";
        let expected = [(4, "urn:a".to_owned()), (12, "urn:b".to_owned())];
        assert_eq!(extensions(sdp), BTreeMap::from(expected));
    }

    #[test]
    fn h264_is_put_before_the_other_codecs_and_nothing_else_changes() {
        let offer = OFFER.replace("SAVPF 102 96", "SAVPF 96 97 102");
        let wanted = OFFER.replace("SAVPF 102 96", "SAVPF 102 96 97");
        assert_eq!(h264_first(&offer), wanted);
        assert_eq!(h264_first(OFFER), OFFER);
        let none = "v=0\r\nm=video 9 X 96\r\na=rtpmap:96 VP8/90000\r\n";
        assert_eq!(h264_first(none), none);
    }

    #[test]
    fn a_description_with_as_many_numbers_as_fit_into_a_frame_is_put_in_order_at_once() {
        // A peer chooses the lines. Reading all of them for each number would take minutes here.
        let maps: String = (0..12_000).map(|n| format!("a=rtpmap:{} x/{n}\r\n", n % 96)).collect();
        let numbers = " 7".repeat(100_000);
        let sdp = format!("m=video 9 X{numbers} 102\r\na=rtpmap:102 H264/90000\r\n{maps}");
        assert!(h264_first(&sdp).starts_with("m=video 9 X 102 7 7"));
    }

    #[test]
    fn candidates_belong_to_the_first_section() {
        assert_eq!(first_mid(OFFER).as_deref(), Some("0"));
        assert_eq!(ufrag(OFFER).as_deref(), Some("abCd"));
    }
}
