//! Lost packets: sends ours again when the peer asks, within bounds, and asks for the peer's.
//!
//! Finding losses, keeping what was sent and wrapping it (RFC 4585, RFC 4588) is the crate's work; this adds
//! what it lacks. The crate unwraps what the peer sends again when it hands packets over, behind all
//! interceptors.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::interceptor::{
    Attribute, Interceptor, NackGeneratorBuilder, NackGeneratorInterceptor, Packet, StreamInfo,
    TaggedPacket,
};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

use super::bandwidth::Gauge;

/// The part of the rate that packets sent again may take.
const REPAIR_PART: f64 = 0.5;
/// Unused room for them is kept this long.
const REPAIR_BURST: Duration = Duration::from_millis(250);
/// How often lost packets of the peer are asked for. The peer sends none twice within one round trip.
const ASK_INTERVAL: Duration = Duration::from_millis(40);
/// How often one packet is asked for. After that a picture has no use for it.
const ASK_LIMIT: u16 = 10;

/// What was lost before a silence of this length is asked for no more: pictures that old are of no use, and what the
/// path takes is wanted for a keyframe.
const HOLE: Duration = Duration::from_millis(600);

/// Packets on their way through one interceptor. The chain empties it after each.
#[derive(Default)]
struct Belt {
    inbound: VecDeque<TaggedPacket>,
    outbound: VecDeque<TaggedPacket>,
}

/// Keeps packets that are sent again within bounds: on a narrow path they would push out the voice.
pub struct Repairs {
    belt: Belt,
    gauge: Arc<Gauge>,
    /// When those that left would have gone through at the rate they may take.
    free_at: Duration,
}

impl Repairs {
    /// With bounds as `gauge` says.
    pub fn new(gauge: Arc<Gauge>) -> Self {
        Self { belt: Belt::default(), gauge, free_at: Duration::ZERO }
    }

    fn may_pass(&mut self, bytes: usize, now: Instant) -> bool {
        let Some(rate) = self.gauge.spare(now) else { return false };
        let now = self.gauge.at(now);
        if self.free_at > now {
            return false;
        }
        let time = bytes as f64 * 8.0 / (REPAIR_PART * rate);
        self.free_at =
            self.free_at.max(now.saturating_sub(REPAIR_BURST)) + Duration::from_secs_f64(time);
        true
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Repairs {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.belt.inbound.push_back(message);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.belt.inbound.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        let mut again = message.message.attributes.iter();
        let again = again.any(|attribute| matches!(attribute, Attribute::Retransmission));
        if let (true, Packet::Rtp(packet)) = (again, &message.message.packet)
            && !self.may_pass(packet.payload.len(), message.now)
        {
            return Ok(());
        }
        self.belt.outbound.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.belt.outbound.pop_front()
    }
}

impl Interceptor for Repairs {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

/// Asks for the peer's lost packets. The crate's generator does, but it does not know a packet that is sent
/// again for what it is, and would ask for it over and over.
pub struct Requests {
    generator: NackGeneratorInterceptor,
    /// The stream that each stream of packets sent again repairs.
    repairs: BTreeMap<u32, u32>,
    streams: BTreeMap<u32, Heard>,
    belt: Belt,
}

/// A stream of the peer, and when its last packet came; none before the first.
struct Heard {
    info: StreamInfo,
    last: Option<Instant>,
}

impl Default for Requests {
    fn default() -> Self {
        let generator = NackGeneratorBuilder::new()
            .with_interval(ASK_INTERVAL)
            .with_max_nacks_per_packet(ASK_LIMIT);
        Self {
            generator: generator.build(),
            repairs: BTreeMap::new(),
            streams: BTreeMap::new(),
            belt: Belt::default(),
        }
    }
}

impl Requests {
    /// Begins anew with a stream that was silent for long.
    fn forget_before_a_hole(&mut self, message: &TaggedPacket) {
        let Packet::Rtp(packet) = &message.message.packet else { return };
        let Some(stream) = self.streams.get_mut(&packet.header.ssrc) else { return };
        let before = stream.last.replace(message.now);
        if before.is_some_and(|last| message.now.saturating_duration_since(last) >= HOLE) {
            self.generator.unbind_remote_stream(&stream.info);
            self.generator.bind_remote_stream(&stream.info);
        }
    }

    /// Only the header of the packet that was sent again, under its first number (RFC 4588 section 4).
    fn first_sent(&self, message: &TaggedPacket) -> Option<TaggedPacket> {
        let Packet::Rtp(packet) = &message.message.packet else { return None };
        let ssrc = *self.repairs.get(&packet.header.ssrc)?;
        let number = packet.payload.get(..2)?;
        let mut first = rtc::rtp::Packet::default();
        first.header.ssrc = ssrc;
        first.header.sequence_number = u16::from_be_bytes([number[0], number[1]]);
        Some(TaggedPacket {
            now: message.now,
            transport: message.transport,
            message: Packet::Rtp(first).into(),
        })
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Requests {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        match self.first_sent(&message) {
            Some(first) => {
                self.generator.handle_read(first)?;
                while self.generator.poll_read().is_some() {}
                self.belt.inbound.push_back(message);
            }
            None => {
                self.forget_before_a_hole(&message);
                self.generator.handle_read(message)?;
                while let Some(message) = self.generator.poll_read() {
                    self.belt.inbound.push_back(message);
                }
            }
        }
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.belt.inbound.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.generator.handle_write(message)
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.generator.poll_write()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.generator.handle_timeout(now)
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.generator.poll_timeout()
    }
}

impl Interceptor for Requests {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}

    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        // A stream of packets sent again is never asked for itself.
        if self.repairs.contains_key(&info.ssrc) {
            return;
        }
        if let Some(repair) = info.ssrc_rtx {
            self.repairs.insert(repair, info.ssrc);
        }
        self.streams.insert(info.ssrc, Heard { info: info.clone(), last: None });
        self.generator.bind_remote_stream(info);
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.streams.remove(&info.ssrc);
        if let Some(repair) = info.ssrc_rtx {
            self.repairs.remove(&repair);
        }
        self.generator.unbind_remote_stream(info);
    }
}

#[cfg(test)]
mod tests {
    use super::super::engine;
    use super::*;
    use bytes::Bytes;
    use rtc::interceptor::{RTCPFeedback, RTPHeaderExtension};
    use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
        PacketStatusChunk, RecvDelta, RunLengthChunk, SymbolTypeTcc, TransportLayerCc,
    };
    use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
        TransportLayerNack, nack_pairs_from_sequence_numbers,
    };
    use rtc::rtp::{self, header::Header};

    const VIDEO: u32 = 11;
    const AGAIN: u32 = 12;
    const NUMBER_ID: u16 = 3;

    fn video() -> StreamInfo {
        let feedback = |parameter: &str| RTCPFeedback {
            typ: "nack".to_owned(),
            parameter: parameter.to_owned(),
        };
        StreamInfo {
            ssrc: VIDEO,
            ssrc_rtx: Some(AGAIN),
            payload_type: 102,
            payload_type_rtx: Some(103),
            rtcp_feedback: vec![feedback(""), feedback("pli")],
            rtp_header_extensions: vec![RTPHeaderExtension {
                uri: "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
                    .to_owned(),
                id: NUMBER_ID,
            }],
            clock_rate: 90_000,
            ..StreamInfo::default()
        }
    }

    fn rtp(ssrc: u32, sequence_number: u16, payload: Vec<u8>) -> Packet {
        let payload_type = if ssrc == VIDEO { 102 } else { 103 };
        let header =
            Header { version: 2, ssrc, sequence_number, payload_type, ..Header::default() };
        Packet::Rtp(rtp::Packet { header, payload: Bytes::from(payload) })
    }

    fn tagged(now: Instant, packet: Packet) -> TaggedPacket {
        TaggedPacket { now, transport: Default::default(), message: packet.into() }
    }

    fn chain(gauge: &Arc<Gauge>) -> impl Interceptor {
        engine::media(gauge, Default::default(), &Default::default())
            .expect("the codecs are fine")
            .1
            .build()
    }

    fn leaving(chain: &mut impl Interceptor) -> Vec<Packet> {
        std::iter::from_fn(|| chain.poll_write()).map(|tagged| tagged.message.packet).collect()
    }

    fn nack(lost: &[u16]) -> Packet {
        let nacks = nack_pairs_from_sequence_numbers(lost);
        Packet::Rtcp(vec![Box::new(TransportLayerNack {
            sender_ssrc: 1,
            media_ssrc: VIDEO,
            nacks,
        })])
    }

    /// The sequence numbers that are asked for.
    fn asked(packets: &[Packet]) -> Vec<u16> {
        let rtcp = packets.iter().filter_map(|packet| match packet {
            Packet::Rtcp(packets) => Some(packets),
            _ => None,
        });
        let nacks = rtcp
            .flatten()
            .filter_map(|packet| packet.as_any().downcast_ref::<TransportLayerNack>());
        nacks.flat_map(|nack| nack.nacks.iter().flat_map(|pair| pair.packet_list())).collect()
    }

    fn number(packet: &rtp::Packet) -> Option<u16> {
        let bytes = packet.header.get_extension(NUMBER_ID as u8)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    #[test]
    fn a_lost_packet_is_sent_again_on_its_own_stream_and_numbered_like_all() {
        let gauge = Arc::new(Gauge::new(2_000_000));
        let mut chain = chain(&gauge);
        chain.bind_local_stream(&video());
        let start = Instant::now();
        // 800 ms at 2 Mbit/s go by before the peer asks.
        for sequence in 0..170_u16 {
            let now = start + Duration::from_millis(5) * u32::from(sequence);
            chain.handle_write(tagged(now, rtp(VIDEO, sequence, vec![7; 1100]))).expect("taken");
        }
        assert_eq!(leaving(&mut chain).len(), 170);
        let now = start + Duration::from_millis(850);
        chain.handle_read(tagged(now, nack(&[4, 6]))).expect("taken");
        let sent = leaving(&mut chain);
        let again: Vec<&rtp::Packet> = sent
            .iter()
            .filter_map(|packet| match packet {
                Packet::Rtp(packet) => Some(packet),
                _ => None,
            })
            .collect();
        assert_eq!(again.len(), 2);
        for (packet, first) in again.iter().zip([4_u16, 6]) {
            assert_eq!((packet.header.ssrc, packet.header.payload_type), (AGAIN, 103));
            assert_eq!(packet.payload[..2], first.to_be_bytes());
            assert_eq!(packet.payload.len(), 1102);
        }
        assert_eq!(
            again.iter().map(|packet| number(packet)).collect::<Vec<_>>(),
            [170, 171].map(Some)
        );
    }

    #[test]
    fn packets_sent_again_take_half_of_the_rate_at_most() {
        let gauge = Arc::new(Gauge::new(1_000_000));
        let mut chain = chain(&gauge);
        chain.bind_local_stream(&video());
        let start = Instant::now();
        let mut again = 0;
        for step in 0..2000_u16 {
            let now = start + Duration::from_millis(u64::from(step));
            chain.handle_write(tagged(now, rtp(VIDEO, step, vec![7; 1000]))).expect("taken");
            chain.handle_read(tagged(now, nack(&[step]))).expect("taken");
            again += leaving(&mut chain)
                .iter()
                .filter(
                    |packet| matches!(packet, Packet::Rtp(packet) if packet.header.ssrc == AGAIN),
                )
                .count();
        }
        // 2.25 s of 0.57 Mbit/s in packets of 1002 bytes.
        assert!((120..180).contains(&again), "{again}");
    }

    #[test]
    fn the_peers_lost_packets_are_asked_for_until_they_come_again() {
        let gauge = Arc::new(Gauge::new(2_000_000));
        let mut chain = chain(&gauge);
        let again = StreamInfo {
            ssrc: AGAIN,
            ssrc_rtx: None,
            payload_type: 103,
            payload_type_rtx: None,
            ..video()
        };
        chain.bind_remote_stream(&video());
        chain.bind_remote_stream(&again);
        let start = Instant::now();
        let mut now = start;
        for sequence in (100..110).filter(|sequence| ![103, 107].contains(sequence)) {
            chain.handle_read(tagged(now, rtp(VIDEO, sequence, vec![1; 10]))).expect("taken");
        }
        now += ASK_INTERVAL;
        chain.handle_timeout(now).expect("time passes");
        assert_eq!(asked(&leaving(&mut chain)), [103, 107]);
        let mut payload = 103_u16.to_be_bytes().to_vec();
        payload.extend([1; 10]);
        chain.handle_read(tagged(now, rtp(AGAIN, 9, payload))).expect("taken");
        let handed: Vec<Packet> =
            std::iter::from_fn(|| chain.poll_read()).map(|tagged| tagged.message.packet).collect();
        assert_eq!(handed.len(), 9, "what was sent again is handed on as it came, once");
        let mut asks = 1;
        for _ in 0..50 {
            now += ASK_INTERVAL;
            chain.handle_timeout(now).expect("time passes");
            let asked = asked(&leaving(&mut chain));
            assert!(asked.is_empty() || asked == [107], "{asked:?}");
            asks += asked.len();
        }
        assert_eq!(asks, usize::from(ASK_LIMIT), "a packet that never comes is given up");
    }

    #[test]
    fn what_was_lost_in_a_hole_is_not_asked_for_and_what_is_lost_after_it_is() {
        let gauge = Arc::new(Gauge::new(2_000_000));
        let mut chain = chain(&gauge);
        chain.bind_remote_stream(&video());
        let mut now = Instant::now();
        let mut ask_after = |numbers: &[u16], pause: Duration| {
            for sequence in numbers {
                chain.handle_read(tagged(now, rtp(VIDEO, *sequence, vec![1; 10]))).expect("taken");
            }
            now += ASK_INTERVAL;
            chain.handle_timeout(now).expect("time passes");
            let asked = asked(&leaving(&mut chain));
            now += pause;
            asked
        };
        assert_eq!(ask_after(&[100, 101, 103], HOLE), [102]);
        assert_eq!(ask_after(&[300, 301, 303, 304], Duration::ZERO), [302]);
    }

    #[test]
    fn the_peers_feedback_moves_the_estimate_and_too_narrow_paths_get_nothing_again() {
        let gauge = Arc::new(Gauge::new(2_000_000));
        let mut chain = chain(&gauge);
        chain.bind_local_stream(&video());
        let begin = gauge.estimate();
        assert_eq!(begin, None, "the peer has not reported");
        let start = Instant::now();
        let mut now = start;
        // Packets arrive 40 ms apart that were sent 5 ms apart: 1000 bytes in 40 ms are 0.2 Mbit/s.
        for report in 0..6_u16 {
            for packet in 0..10 {
                now += Duration::from_millis(5);
                let sequence = report * 10 + packet;
                chain.handle_write(tagged(now, rtp(VIDEO, sequence, vec![7; 980]))).expect("taken");
            }
            let feedback = TransportLayerCc {
                base_sequence_number: report * 10,
                packet_status_count: 10,
                // In units of 64 ms: 400 ms are 6.25 of them.
                reference_time: (u32::from(report) * 25).div_ceil(4),
                packet_chunks: vec![PacketStatusChunk::RunLengthChunk(RunLengthChunk {
                    packet_status_symbol: SymbolTypeTcc::PacketReceivedSmallDelta,
                    run_length: 10,
                    ..RunLengthChunk::default()
                })],
                recv_deltas: vec![
                    RecvDelta {
                        type_tcc_packet: SymbolTypeTcc::PacketReceivedSmallDelta,
                        delta: 40_000,
                    };
                    10
                ],
                ..TransportLayerCc::default()
            };
            let packet = Packet::Rtcp(vec![Box::new(feedback)]);
            chain.handle_read(tagged(now, packet)).expect("taken");
        }
        leaving(&mut chain);
        let (rate, loss) = gauge.estimate().expect("the peer has reported");
        assert!((120_000..260_000).contains(&rate), "{rate}");
        assert_eq!(loss, 0.0);
        chain.handle_read(tagged(now, nack(&[40]))).expect("taken");
        assert!(leaving(&mut chain).is_empty(), "it would only stand in the queue");
    }
}
