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
    belt: Belt,
}

impl Default for Requests {
    fn default() -> Self {
        let generator = NackGeneratorBuilder::new()
            .with_interval(ASK_INTERVAL)
            .with_max_nacks_per_packet(ASK_LIMIT);
        Self { generator: generator.build(), repairs: BTreeMap::new(), belt: Belt::default() }
    }
}

impl Requests {
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
        self.generator.bind_remote_stream(info);
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        if let Some(repair) = info.ssrc_rtx {
            self.repairs.remove(&repair);
        }
        self.generator.unbind_remote_stream(info);
    }
}
