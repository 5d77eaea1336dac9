//! How fast packets were sent and how fast they arrived, over the last few of them.

use std::collections::VecDeque;
use std::time::Duration;

use super::Fate;

/// They are measured over this much of the receiver's time.
const MEASURE: Duration = Duration::from_millis(150);
/// And over so many packets at least.
const MEASURE_PACKETS: usize = 10;
/// No packet is overtaken by another by so much.
const NEW_CLOCK: Duration = Duration::from_secs(60);
/// Packets that come within a shorter time, in seconds, say nothing about a rate.
const SHORTEST: f64 = 0.02;

/// Packets that arrived lately, in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    packets: VecDeque<Packet>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    arrived: Duration,
    sent: Duration,
    size: usize,
}

impl Arrivals {
    /// Adds what one report says.
    pub fn take(&mut self, fates: &[Fate]) {
        let arrived =
            |fate: &Fate| Some(Packet { arrived: fate.arrived?, sent: fate.sent, size: fate.size });
        let mut arrived: Vec<Packet> = fates.iter().filter_map(arrived).collect();
        arrived.sort_unstable();
        // The receiver's clock has 24 bits of 64 ms and begins anew every 12 days.
        if let (Some(known), Some(new)) = (self.packets.back(), arrived.first())
            && known.arrived.saturating_sub(new.arrived) > NEW_CLOCK
        {
            self.packets.clear();
        }
        self.packets.extend(arrived);
        let Some(last) = self.packets.back().map(|last| last.arrived) else { return };
        let old = |first: &Packet| last.saturating_sub(first.arrived) > MEASURE;
        while self.packets.len() > MEASURE_PACKETS && self.packets.front().is_some_and(old) {
            self.packets.pop_front();
        }
    }

    /// Bits per second that arrived lately, by the receiver's clock.
    pub fn rate(&self) -> Option<f64> {
        let (first, last) = (self.packets.front()?, self.packets.back()?);
        self.over(last.arrived.saturating_sub(first.arrived))
    }

    /// Bits per second at which the same packets were sent, lost ones not counted.
    pub fn sending_rate(&self) -> Option<f64> {
        let sent = || self.packets.iter().map(|packet| packet.sent);
        self.over(sent().max()?.saturating_sub(sent().min()?))
    }

    fn over(&self, span: Duration) -> Option<f64> {
        let span = span.as_secs_f64();
        // The first packet only starts the clock.
        let bytes: usize = self.packets.iter().skip(1).map(|packet| packet.size).sum();
        (span > SHORTEST).then(|| bytes as f64 * 8.0 / span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Packets of 100 bytes each 20 ms, which arrive in the same order from `clock` on.
    fn voice(clock: Duration, from: u32) -> Vec<Fate> {
        let fate =
            |n: u32| Fate { sent: n * 20 * MS, arrived: Some(clock + n * 20 * MS), size: 100 };
        (from..from + 20).map(fate).collect()
    }

    #[test]
    fn a_voice_is_sent_as_fast_as_it_arrives() {
        let mut arrivals = Arrivals::default();
        assert_eq!((arrivals.rate(), arrivals.sending_rate()), (None, None));
        arrivals.take(&voice(Duration::from_secs(5), 0));
        assert_eq!(arrivals.rate(), Some(40_000.0));
        assert_eq!(arrivals.sending_rate(), Some(40_000.0));
    }

    #[test]
    fn the_turn_of_the_receivers_clock_stops_no_measurement() {
        let mut arrivals = Arrivals::default();
        arrivals.take(&voice(Duration::from_secs(1_000_000), 0));
        arrivals.take(&voice(Duration::ZERO, 20));
        assert_eq!(arrivals.rate(), Some(40_000.0));
    }
}
