//! How often one address may knock at the LAN hub: 60 connects in 60 s, as at the service
//! (protocol.md section 1.2).
//!
//! Pure: the clock, any that only moves forward, is given by the caller.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// Connects one address may make within [`WINDOW`].
const MOST: usize = 60;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses remembered; beyond it the one that was quiet longest is forgotten.
const CALLERS: usize = 256;

/// Who knocked when.
#[derive(Debug, Default)]
pub struct Knocks {
    callers: BTreeMap<IpAddr, VecDeque<Duration>>,
}

impl Knocks {
    /// Counts one connect. `false`: there were too many; this one does not count.
    pub fn admit(&mut self, now: Duration, from: IpAddr) -> bool {
        // Whole addresses: all devices of a house share one IPv6 network, and one that loops must not shut
        // the others out. What the table forgets bounds what a device with many addresses can do.
        let from = from.to_canonical();
        if !self.callers.contains_key(&from) && self.callers.len() >= CALLERS {
            self.forget_one();
        }
        let times = self.callers.entry(from).or_default();
        while times.front().is_some_and(|first| *first + WINDOW <= now) {
            times.pop_front();
        }
        let is_welcome = times.len() < MOST;
        if is_welcome {
            times.push_back(now);
        }
        is_welcome
    }

    fn forget_one(&mut self) {
        let quietest = self.callers.iter().min_by_key(|(_, times)| times.back().copied());
        if let Some(quietest) = quietest.map(|(caller, _)| *caller) {
            self.callers.remove(&quietest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn admitted(knocks: &mut Knocks, seconds: u64, from: &str) -> usize {
        let now = Duration::from_secs(seconds);
        (0..100).filter(|_| knocks.admit(now, ip(from))).count()
    }

    #[test]
    fn sixty_connects_in_a_minute_pass_and_then_as_many_as_grow_old() {
        let mut knocks = Knocks::default();
        assert_eq!(admitted(&mut knocks, 0, "192.0.2.1"), 60);
        assert_eq!(admitted(&mut knocks, 59, "192.0.2.1"), 0);
        assert_eq!(admitted(&mut knocks, 60, "192.0.2.1"), 60);
    }

    #[test]
    fn one_caller_does_not_shut_out_another() {
        let mut knocks = Knocks::default();
        assert_eq!(admitted(&mut knocks, 0, "192.0.2.1"), 60);
        assert_eq!(admitted(&mut knocks, 0, "192.0.2.2"), 60);
        assert_eq!(admitted(&mut knocks, 0, "2001:db8::1"), 60);
        assert_eq!(admitted(&mut knocks, 0, "2001:db8::2"), 60, "another phone of the house");
        assert_eq!(admitted(&mut knocks, 0, "::ffff:192.0.2.1"), 0, "the same address");
    }

    #[test]
    fn the_list_of_callers_is_bounded_and_forgets_the_quietest() {
        let mut knocks = Knocks::default();
        assert_eq!(admitted(&mut knocks, 0, "192.0.2.1"), 60);
        for number in 0..=255u8 {
            knocks.admit(Duration::from_secs(1), IpAddr::from([198, 51, 100, number]));
        }
        assert_eq!(knocks.callers.len(), CALLERS);
        assert_eq!(admitted(&mut knocks, 2, "192.0.2.1"), 60, "forgotten");
    }
}
