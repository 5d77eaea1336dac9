//! One encoded picture in, RTP payloads out: done once, for all peers alike.
//!
//! Pure: bytes to bytes. RTP headers, sequence numbers and encryption belong to each link; encoding to
//! the capture pipeline.

use std::sync::Arc;

use ::rtc::rtp::codec::h264::H264Payloader;
use ::rtc::rtp::packetizer::Payloader;
use bytes::Bytes;

use super::MediaError;

/// The largest RTP payload, in bytes. With the RTP header, header extensions, the SRTP tag, UDP and IPv6
/// it stays below the 1280 bytes that every IPv6 path carries (RFC 8200 section 5).
pub const LARGEST_PAYLOAD: usize = 1160;

/// RTP clock of video, in Hz (RFC 6184 section 8.2.1).
pub const VIDEO_CLOCK: u32 = 90_000;

/// RTP clock of Opus, in Hz (RFC 7587 section 4.1).
pub const AUDIO_CLOCK: u32 = 48_000;

/// One picture, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoUnit {
    /// A decoder can begin here: it holds an IDR picture, and its parameter sets go before it.
    pub keyframe: bool,
    /// RTP time stamp, 90 kHz, without a link's own offset. Runs on across pauses of the capture.
    pub rtp_time: u32,
    /// RTP payloads in order (RFC 6184, packetization-mode 1), each at most [`LARGEST_PAYLOAD`] bytes. The
    /// last one goes out with the marker bit.
    pub payloads: Vec<Bytes>,
}

/// One Opus packet, ready to be sent (RFC 7587).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioUnit {
    /// RTP time stamp, 48 kHz, without a link's own offset.
    pub rtp_time: u32,
    /// The RTP payload.
    pub payload: Bytes,
}

/// What a feed hands out.
#[derive(Debug, Clone)]
pub enum Unit {
    /// One picture.
    Video(Arc<VideoUnit>),
    /// One piece of sound.
    Audio(Arc<AudioUnit>),
}

/// Turns access units into RTP payloads.
#[derive(Debug, Default)]
pub struct Packetiser {
    payloader: H264Payloader,
}

impl Packetiser {
    /// A packetiser that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Splits one H.264 access unit in Annex B form. Access unit delimiters are left out and the parameter
    /// sets travel together in front of the picture they belong to.
    ///
    /// # Errors
    /// [`MediaError::Bitstream`] when there is no picture in it. The packetiser can be used on.
    pub fn video(&mut self, access_unit: &Bytes, rtp_time: u32) -> Result<VideoUnit, MediaError> {
        let mut pictures = 0;
        let mut keyframe = false;
        for nal in nal_units(access_unit) {
            match nal_type(nal) {
                5 => {
                    pictures += 1;
                    keyframe = true;
                }
                1..=4 => pictures += 1,
                _ => {}
            }
        }
        if pictures == 0 {
            return Err(MediaError::Bitstream(format!(
                "an access unit of {} bytes without a picture",
                access_unit.len()
            )));
        }
        let payloads = self
            .payloader
            .payload(LARGEST_PAYLOAD, access_unit)
            .map_err(|error| MediaError::Bitstream(error.to_string()))?;
        Ok(VideoUnit { keyframe, rtp_time, payloads })
    }
}

/// The profile-level-id of an access unit: profile_idc, constraint flags and level_idc, as they stand in its
/// sequence parameter set (RFC 6184 section 8.1). `None` when it holds no such set.
pub fn profile_level_id(access_unit: &[u8]) -> Option<[u8; 3]> {
    nal_units(access_unit)
        .find(|nal| nal_type(nal) == 7)
        .and_then(|nal| nal.get(1..4))
        .and_then(|bytes| bytes.try_into().ok())
}

/// An RTP time stamp for a time in nanoseconds. Wraps, as RTP does.
pub fn rtp_time(nanoseconds: u64, clock: u32) -> u32 {
    let ticks = u128::from(nanoseconds) * u128::from(clock) / 1_000_000_000;
    // Keeping the low 32 bits is the wrap RFC 3550 section 5.1 asks for.
    (ticks & u128::from(u32::MAX)) as u32
}

fn nal_type(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |first| first & 0x1f)
}

/// The NAL units between the start codes of Annex B.
fn nal_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(stream);
    std::iter::from_fn(move || {
        let current = rest?;
        rest = after_start_code(current);
        let end = match rest {
            Some(next) => current.len() - next.len() - 3,
            None => current.len(),
        };
        Some(&current[..end])
    })
}

fn after_start_code(stream: &[u8]) -> Option<&[u8]> {
    stream.windows(3).position(|bytes| bytes == [0, 0, 1]).map(|at| &stream[at + 3..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPS: [u8; 5] = [0x67, 0x42, 0xc0, 0x1e, 0x99];
    const PPS: [u8; 3] = [0x68, 0xce, 0x3c];

    fn access_unit(nals: &[&[u8]]) -> Bytes {
        let mut stream = Vec::new();
        for nal in nals {
            stream.extend_from_slice(&[0, 0, 0, 1]);
            stream.extend_from_slice(nal);
        }
        Bytes::from(stream)
    }

    fn picture(first: u8, length: usize) -> Vec<u8> {
        let mut nal = vec![first];
        nal.extend((1..length).map(|i| (i % 250) as u8 + 2));
        nal
    }

    #[test]
    fn a_keyframe_carries_its_parameter_sets_in_front() {
        let idr = picture(0x65, 5000);
        let unit = Packetiser::new()
            .video(&access_unit(&[&[9, 0xf0], &SPS, &PPS, &idr]), 7)
            .expect("a whole keyframe");
        assert!(unit.keyframe);
        assert_eq!(unit.rtp_time, 7);
        let mut expected = vec![0x78, 0, 5];
        expected.extend(SPS);
        expected.extend([0, 3]);
        expected.extend(PPS);
        assert_eq!(unit.payloads[0].as_ref(), expected.as_slice());
        assert!(unit.payloads.iter().all(|p| p.len() <= LARGEST_PAYLOAD));
        let mut joined = vec![0x65];
        for (i, part) in unit.payloads[1..].iter().enumerate() {
            assert_eq!(part[0], 28 | 0x60, "fragments keep the importance bits");
            assert_eq!(part[1] & 0x80 != 0, i == 0, "start bit on the first only");
            assert_eq!(
                part[1] & 0x40 != 0,
                i + 2 == unit.payloads.len(),
                "end bit on the last only"
            );
            joined.extend_from_slice(&part[2..]);
        }
        assert_eq!(joined, idr);
    }

    #[test]
    fn a_small_picture_is_one_payload() {
        let unit = Packetiser::new()
            .video(&access_unit(&[&picture(0x41, LARGEST_PAYLOAD)]), 0)
            .expect("a picture");
        assert!(!unit.keyframe);
        assert_eq!(unit.payloads.len(), 1);
    }

    #[test]
    fn parameter_sets_are_sent_again_with_every_keyframe() {
        let mut packetiser = Packetiser::new();
        let key = access_unit(&[&SPS, &PPS, &[6, 1, 2, 0x80], &picture(0x65, 40)]);
        for _ in 0..3 {
            let unit = packetiser.video(&key, 0).expect("a keyframe");
            assert_eq!(unit.payloads[0][0], 0x78);
            assert_eq!(unit.payloads[1][0], 6);
            assert_eq!(unit.payloads[2][0], 0x65);
            let unit = packetiser.video(&access_unit(&[&picture(0x41, 40)]), 0).expect("a picture");
            assert_eq!(unit.payloads.len(), 1);
        }
    }

    #[test]
    fn an_access_unit_without_a_picture_is_refused_and_does_no_harm() {
        let mut packetiser = Packetiser::new();
        for bad in [
            Bytes::new(),
            Bytes::from_static(&[1, 2, 3, 4]),
            access_unit(&[&SPS, &PPS]),
            Bytes::from_static(&[0, 0, 1]),
        ] {
            assert!(packetiser.video(&bad, 0).is_err());
        }
        assert!(packetiser.video(&access_unit(&[&SPS, &PPS, &picture(0x65, 9)]), 0).is_ok());
    }

    #[test]
    fn the_profile_is_read_from_the_sequence_parameter_set() {
        assert_eq!(
            profile_level_id(&access_unit(&[&[9, 0x10], &SPS, &PPS])),
            Some([0x42, 0xc0, 0x1e])
        );
        assert_eq!(profile_level_id(&access_unit(&[&[0x67, 0x42]])), None);
        assert_eq!(profile_level_id(&access_unit(&[&[0x41, 1, 2, 3]])), None);
    }

    #[test]
    fn rtp_time_wraps_and_keeps_opus_frames_exactly_960_apart() {
        assert_eq!(rtp_time(1_000_000_000, VIDEO_CLOCK), 90_000);
        let whole = (u64::from(u32::MAX) + 1) * 1_000_000_000 / 48_000;
        assert!(rtp_time(whole + 20_833, AUDIO_CLOCK) < 2);
        for n in 0..1000_u64 {
            let step = rtp_time((n + 1) * 20_000_000, AUDIO_CLOCK)
                .wrapping_sub(rtp_time(n * 20_000_000, AUDIO_CLOCK));
            assert_eq!(step, 960);
        }
    }
}
