//! The interceptors by which a link numbers what it sends and hears what became of it.
//!
//! Numbering, history and the reading of feedback are the crate's; here they are told what they miss. Decides
//! nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rtc::interceptor::{
    BandwidthEstimator, CongestionControlBuilder, CongestionControlInterceptor, Interceptor,
    NackResponderBuilder, Packet, PacketReport, Registry, Slot, StreamInfo, TaggedPacket,
    TwccSenderBuilder, TwccSenderInterceptor,
};
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

use super::Gauge;
use crate::rtc::estimate::Fate;
use crate::rtc::repair::{Repairs, Requests};

/// How long sent packets are remembered for a late report, as a queue can be long.
const MEMORY: Duration = Duration::from_secs(10);

/// How many packets of a picture can be sent again: those of some 5 s at 2 Mbit/s. A power of two.
const SENT_AGAIN: u16 = 1024;

/// Adds to the crate's other interceptors what a link needs to know its path.
pub fn register(registry: Registry, gauge: &Arc<Gauge>) -> Registry {
    let feedback = CongestionControlBuilder::new(Feedback(Arc::clone(gauge)));
    let feedback = feedback.with_prune_horizon(MEMORY).build();
    let first = gauge.next.load(Ordering::Relaxed);
    let numbers = TwccSenderBuilder::new().with_initial_sequence_number(first).build();
    registry
        .with(Slot::CongestionControl, History::new(feedback, Arc::clone(gauge)))
        .with(Slot::TwccSender, Numbers(numbers))
        // In the pacer's place, and for the same packets: those above it have none yet that were sent again.
        .with(Slot::Pacer, Repairs::new(Arc::clone(gauge)))
        .with(Slot::NackResponder, NackResponderBuilder::new().with_size(SENT_AGAIN).build())
        .with(Slot::NackGenerator, Requests::default())
}

/// The crate's reports, as the estimate wants them.
struct Feedback(Arc<Gauge>);

impl BandwidthEstimator for Feedback {
    fn on_reports(&mut self, now: Instant, reports: &[PacketReport]) {
        let now = self.0.at(now);
        let mut state = self.0.lock();
        let fates: Vec<Fate> = reports
            .iter()
            .filter(|report| {
                report.arrived || !state.reports.is_skipped(report.twcc_sequence_number)
            })
            // Firefox numbers pictures only; of what has no number nobody can say that it was lost. Arrived
            // at an unknown time: no sign of anything.
            .filter(|report| report.is_twcc && (!report.arrived || report.arrival.is_some()))
            .map(|report| Fate {
                sent: self.0.at(report.departure),
                arrived: report.arrival.filter(|_| report.arrived),
                size: report.size,
            })
            .collect();
        state.note_losses(now, &fates);
        state.estimator.take(now, &fates);
    }

    fn target_bitrate(&self) -> f64 {
        self.0.lock().estimator.rate()
    }
}

/// The same stream's packets when they are sent again (RFC 4588): a stream of its own on the path. The
/// crate forgets to tell the numbering and the history of it.
fn repair_stream(info: &StreamInfo) -> Option<StreamInfo> {
    Some(StreamInfo {
        ssrc: info.ssrc_rtx?,
        payload_type: info.payload_type_rtx?,
        ssrc_rtx: None,
        payload_type_rtx: None,
        ..info.clone()
    })
}

/// Implements the parts of [`Protocol`] that an inner interceptor already knows.
macro_rules! through {
    ($($field:tt)+) => {
        fn poll_read(&mut self) -> Option<TaggedPacket> {
            self.$($field)+.poll_read()
        }

        fn poll_write(&mut self) -> Option<TaggedPacket> {
            self.$($field)+.poll_write()
        }

        fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
            self.$($field)+.handle_timeout(now)
        }

        fn poll_timeout(&mut self) -> Option<Instant> {
            self.$($field)+.poll_timeout()
        }
    };
}

/// Numbers all packets that leave (transport-wide congestion control).
struct Numbers(TwccSenderInterceptor);

impl Protocol<TaggedPacket, TaggedPacket, ()> for Numbers {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.0.handle_read(message)
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.0.handle_write(message)
    }

    through!(0);
}

impl Interceptor for Numbers {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        self.0.bind_local_stream(info);
        if let Some(repair) = repair_stream(info) {
            self.0.bind_local_stream(&repair);
        }
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.0.unbind_local_stream(info);
        if let Some(repair) = repair_stream(info) {
            self.0.unbind_local_stream(&repair);
        }
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        self.0.bind_remote_stream(info);
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.0.unbind_remote_stream(info);
    }
}

/// Remembers what left and reads the peer's feedback on it.
struct History {
    inner: CongestionControlInterceptor<Feedback>,
    gauge: Arc<Gauge>,
    /// The streams whose packets are numbered.
    numbered: BTreeSet<u32>,
}

impl History {
    fn new(inner: CongestionControlInterceptor<Feedback>, gauge: Arc<Gauge>) -> Self {
        Self { inner, gauge, numbered: BTreeSet::new() }
    }
}

const TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

impl Protocol<TaggedPacket, TaggedPacket, ()> for History {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &message.message.packet {
            for packet in packets {
                if let Some(feedback) = packet.as_any().downcast_ref::<TransportLayerCc>() {
                    let (base, count) =
                        (feedback.base_sequence_number, feedback.packet_status_count);
                    self.gauge.lock().reports.take(base, count);
                }
            }
        }
        self.inner.handle_read(message)
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(packet) = &message.message.packet
            && self.numbered.contains(&packet.header.ssrc)
        {
            let sent = self.gauge.at(message.now);
            self.gauge.next.fetch_add(1, Ordering::Relaxed);
            self.gauge.lock().sent = sent;
        }
        self.inner.handle_write(message)
    }

    through!(inner);
}

impl Interceptor for History {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        for info in [Some(info.clone()), repair_stream(info)].into_iter().flatten() {
            if info.rtp_header_extensions.iter().any(|extension| extension.uri == TRANSPORT_CC) {
                self.numbered.insert(info.ssrc);
            }
            self.inner.bind_local_stream(&info);
        }
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        for info in [Some(info.clone()), repair_stream(info)].into_iter().flatten() {
            self.numbered.remove(&info.ssrc);
            self.inner.unbind_local_stream(&info);
        }
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        self.inner.bind_remote_stream(info);
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.inner.unbind_remote_stream(info);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU16;

    use rtc::interceptor::RTPHeaderExtension;
    use rtc::rtp::header::Header;

    use super::super::LEFT_OVER;
    use super::*;

    /// The numbers of so many packets of a new link that counts on with `next`.
    fn numbers_of_a_link(next: &Arc<AtomicU16>, packets: u16) -> Vec<u16> {
        let gauge = Arc::new(Gauge::new(1_000_000).numbering(Arc::clone(next)));
        let mut chain = register(Registry::new(), &gauge).build();
        let extension = RTPHeaderExtension { uri: TRANSPORT_CC.to_owned(), id: 3 };
        chain.bind_local_stream(&StreamInfo {
            ssrc: 1,
            rtp_header_extensions: vec![extension],
            ..StreamInfo::default()
        });
        let packet = |sequence_number| {
            let header = Header { ssrc: 1, sequence_number, ..Header::default() };
            let packet = Packet::Rtp(rtc::rtp::Packet { header, payload: vec![0; 4].into() });
            TaggedPacket {
                now: Instant::now(),
                transport: Default::default(),
                message: packet.into(),
            }
        };
        let number = |sent: TaggedPacket| match &sent.message.packet {
            Packet::Rtp(packet) => {
                let extension = packet.header.get_extension(3).expect("it is numbered");
                u16::from_be_bytes(extension[..].try_into().expect("two bytes"))
            }
            _ => panic!("no report is sent"),
        };
        (0..packets)
            .map(|sequence| {
                chain.handle_write(packet(sequence)).expect("it is taken");
                number(chain.poll_write().expect("it leaves"))
            })
            .collect()
    }

    #[test]
    fn a_new_link_to_the_same_browser_counts_on() {
        let next = Arc::new(AtomicU16::new(65_400));
        let before = numbers_of_a_link(&next, 100);
        assert_eq!(before[..2], [65_464, 65_465]);
        let after = numbers_of_a_link(&next, 3);
        assert_eq!(after, [28 + LEFT_OVER, 29 + LEFT_OVER, 30 + LEFT_OVER]);
    }
}
