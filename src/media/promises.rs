//! What this room promises of the bytes an encoder delivers: never a panic, and payloads that fit. Each promise takes
//! any bytes and breaks off when it is not kept.
//!
//! Built for tests and for the fuzz targets only (docs/fuzzing.md), which share them.

use bytes::Bytes;

use super::packetise::{LARGEST_PAYLOAD, Packetiser, profile_level_id};

/// A byte stream becomes payloads that fit, or an error after which the next picture goes through. A second picture
/// follows the first, as parameter sets are kept from one to the next.
pub fn h264(bytes: &[u8]) {
    let mut packetiser = Packetiser::new();
    let half = bytes.len() / 2;
    for piece in [bytes, &bytes[..half], &bytes[half..]] {
        let _ = profile_level_id(piece);
        let Ok(unit) = packetiser.video(&Bytes::copy_from_slice(piece), 90_000) else { continue };
        assert_eq!(unit.rtp_time, 90_000);
        assert!(!unit.payloads.is_empty(), "a picture without a payload");
        assert!(unit.payloads.iter().all(|it| (1..=LARGEST_PAYLOAD).contains(&it.len())));
        let sent: usize = unit.payloads.iter().map(Bytes::len).sum();
        // A fragment has two bytes of its own, and parameter sets of the picture before go along.
        assert!(sent <= 2 * bytes.len() + 2 * unit.payloads.len() + 16, "{sent} bytes");
    }
    let picture = packetiser.video(&Bytes::from_static(&[0, 0, 0, 1, 0x41, 0x9a, 1]), 1);
    assert!(picture.is_ok_and(|unit| !unit.keyframe && !unit.payloads.is_empty()));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_byte_stream_becomes_payloads_that_fit(
            units in prop::collection::vec(
                (
                    prop::sample::select(vec![vec![0, 0, 1], vec![0, 0, 0, 1], vec![0, 0], vec![]]),
                    prop::sample::select(vec![0x67_u8, 0x68, 0x65, 0x41, 0x06, 0x09, 0x7c, 0xff, 0]),
                    prop::collection::vec(any::<u8>(), 0..40),
                    prop::sample::select(vec![0_usize, 1, 1157, 1158, 1159, 1160, 1161, 3000]),
                ),
                0..8,
            ),
        ) {
            let mut stream = Vec::new();
            for (code, head, body, filling) in units {
                stream.extend(code);
                stream.push(head);
                stream.extend(body);
                stream.extend(std::iter::repeat_n(0x5a, filling));
            }
            h264(&stream);
        }

        #[test]
        fn any_bytes_at_all_are_taken(bytes in prop::collection::vec(0..4_u8, 0..200)) {
            h264(&bytes);
        }
    }
}
