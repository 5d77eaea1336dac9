//! Reports to the peer which of its packets came (draft-holmer-rmcat-transport-wide-cc-extensions-01): each 50 ms, and
//! at once after a silence.
//!
//! A browser that hears nothing of what it sent stops its encoder, as all of it may still be on its way; the sooner it
//! hears that the path carries again, the sooner there is a picture.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc::interceptor::{
    Interceptor, Packet, StreamInfo, TaggedPacket, TwccReceiverBuilder, TwccReceiverInterceptor,
};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

/// Between two reports: what browsers take at the rate of a picture.
const INTERVAL: Duration = Duration::from_millis(50);
/// Without a packet for so long, the path carried nothing: sound comes each 20 ms.
const SILENCE: Duration = Duration::from_millis(600);

/// The crate's reports, and when a packet came last.
pub struct Reports {
    receiver: TwccReceiverInterceptor,
    last: Option<Instant>,
    outbound: VecDeque<TaggedPacket>,
}

impl Default for Reports {
    fn default() -> Self {
        let receiver = TwccReceiverBuilder::new().with_interval(INTERVAL).build();
        Self { receiver, last: None, outbound: VecDeque::new() }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Reports {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        let now = message.now;
        let media = matches!(message.message.packet, Packet::Rtp(_));
        self.receiver.handle_read(message)?;
        if !media {
            return Ok(());
        }
        let before = self.last.replace(now);
        if before.is_some_and(|last| now.saturating_duration_since(last) >= SILENCE)
            && let Some(due) = self.receiver.poll_timeout()
        {
            self.receiver.handle_timeout(due)?;
            while let Some(mut report) = self.receiver.poll_write() {
                report.now = now;
                self.outbound.push_back(report);
            }
        }
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.receiver.poll_read()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.receiver.handle_write(message)
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outbound.pop_front().or_else(|| self.receiver.poll_write())
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.receiver.handle_timeout(now)
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.receiver.poll_timeout()
    }
}

impl Interceptor for Reports {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        self.receiver.bind_local_stream(info);
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.receiver.unbind_local_stream(info);
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        self.receiver.bind_remote_stream(info);
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.receiver.unbind_remote_stream(info);
    }
}

#[cfg(test)]
mod tests {
    use super::super::bandwidth::Gauge;
    use super::super::engine;
    use super::*;
    use bytes::Bytes;
    use rtc::interceptor::RTPHeaderExtension;
    use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
    use rtc::rtp::{self, header::Header};
    use std::sync::Arc;

    const NUMBER_ID: u8 = 3;

    fn sound(now: Instant, number: u16) -> TaggedPacket {
        let mut header = Header {
            version: 2,
            ssrc: 7,
            payload_type: 111,
            sequence_number: number,
            ..Header::default()
        };
        header
            .set_extension(NUMBER_ID, Bytes::copy_from_slice(&number.to_be_bytes()))
            .expect("there is room");
        let packet = rtp::Packet { header, payload: Bytes::from_static(&[1; 10]) };
        TaggedPacket { now, transport: Default::default(), message: Packet::Rtp(packet).into() }
    }

    /// Base number and count of each report that leaves.
    fn reported(chain: &mut impl Interceptor) -> Vec<(u16, u16)> {
        let mut reports = Vec::new();
        while let Some(tagged) = chain.poll_write() {
            let Packet::Rtcp(packets) = tagged.message.packet else { continue };
            let found = packets.iter().filter_map(|one| one.as_any().downcast_ref());
            reports.extend(found.map(|report: &TransportLayerCc| {
                (report.base_sequence_number, report.packet_status_count)
            }));
        }
        reports
    }

    #[test]
    fn what_comes_after_a_silence_is_reported_at_once_and_the_rest_in_its_turn() {
        let gauge = Arc::new(Gauge::new(1_000_000));
        let (_, registry) =
            engine::media(&gauge, Default::default(), &Default::default()).expect("it is fine");
        let mut chain = registry.build();
        chain.bind_remote_stream(&StreamInfo {
            ssrc: 7,
            payload_type: 111,
            clock_rate: 48_000,
            rtp_header_extensions: vec![RTPHeaderExtension {
                uri: "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
                    .to_owned(),
                id: u16::from(NUMBER_ID),
            }],
            ..StreamInfo::default()
        });
        let mut now = Instant::now();
        for number in 0..2 {
            chain.handle_read(sound(now, number)).expect("taken");
            now += Duration::from_millis(20);
        }
        assert_eq!(reported(&mut chain), [], "it is not time yet");
        now += Duration::from_millis(20);
        chain.handle_timeout(now).expect("time passes");
        assert_eq!(reported(&mut chain), [(0, 2)]);
        for _ in 0..50 {
            now += Duration::from_millis(100);
            chain.handle_timeout(now).expect("time passes");
        }
        assert_eq!(reported(&mut chain), [], "there is nothing to report");
        now += Duration::from_millis(10);
        chain.handle_read(sound(now, 40)).expect("taken");
        let first = reported(&mut chain);
        assert!(
            matches!(first[..], [(base, count)] if base.wrapping_add(count) == 41),
            "{first:?}"
        );
        now += Duration::from_millis(20);
        chain.handle_read(sound(now, 41)).expect("taken");
        assert_eq!(reported(&mut chain), []);
        now += Duration::from_millis(100);
        chain.handle_timeout(now).expect("time passes");
        assert_eq!(reported(&mut chain), [(41, 1)]);
    }
}
