//! When a voice's packets should have come. A network that stands still for a moment hands them over all at once; taken by
//! when they came, they would be played late, and all that follows with them for seconds. Each is given the time of the
//! quickest way instead: what is too late then is left out, and what comes in time is heard in time.
//!
//! Pure: told of times, asks no clock.

use std::time::Duration;

/// A way that is longer by more than this is a longer way, if it stays so for [`STAYS`].
const LATE_NS: i64 = 40_000_000;
/// For so long everything has to be late. A bunch that was held back comes in less.
const STAYS: u64 = 300_000_000;
/// After so long the quickest way is looked for anew: clocks drift apart.
const WINDOW: u64 = 2_000_000_000;
/// Time stamps that are further from what was expected are of a new count, or made up.
const NEW_COUNT: Duration = Duration::from_secs(10);

/// Of one track.
#[derive(Debug)]
pub(super) struct Arrivals {
    clock_rate: u32,
    way: Option<Way>,
}

/// All times in nanoseconds, of the clock of arrival.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// The last time stamp, and when its packet was due.
    stamp: u32,
    due: i64,
    /// How late packets were at the least since a time.
    least: (i64, u64),
    /// Since when they all are, and how much at the least.
    late: Option<(u64, i64)>,
}

impl Arrivals {
    /// A track of this clock rate in Hz, of which nothing came yet.
    pub(super) fn new(clock_rate: u32) -> Self {
        Self { clock_rate: clock_rate.max(1), way: None }
    }

    /// When a packet of this RTP time stamp was due, which comes `now`. Never later than now.
    pub(super) fn due(&mut self, stamp: u32, now: u64) -> u64 {
        let fresh = Way { stamp, due: now.cast_signed(), least: (0, now), late: None };
        let Some(way) = &mut self.way else {
            self.way = Some(fresh);
            return now;
        };
        let since = i64::from(stamp.wrapping_sub(way.stamp).cast_signed());
        let due = way.due + since * 1_000_000_000 / i64::from(self.clock_rate);
        let behind = now.cast_signed() - due;
        if behind.unsigned_abs() > NEW_COUNT.as_nanos() as u64 {
            *way = fresh;
            return now;
        }
        (way.stamp, way.due) = (stamp, due);
        way.late = match way.late {
            _ if behind < LATE_NS => None,
            None => Some((now, behind)),
            Some((from, least)) => Some((from, least.min(behind))),
        };
        way.least.0 = way.least.0.min(behind);
        let longer = match way.late {
            Some((from, least)) if now.saturating_sub(from) >= STAYS => least,
            _ if behind < 0 => behind,
            _ if now.saturating_sub(way.least.1) >= WINDOW => way.least.0,
            _ => return due.min(now.cast_signed()).unsigned_abs(),
        };
        way.due += longer;
        way.least = (i64::MAX, now);
        way.late = None;
        way.due.min(now.cast_signed()).unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const START: u64 = 5_000 * MS;

    /// Packets of 20 ms that take so many milliseconds each; says how late each was stamped, by the time it was sent.
    fn stamped(ways: impl IntoIterator<Item = u64>) -> Vec<i64> {
        let mut arrivals = Arrivals::new(48_000);
        let mut last = 0;
        let each = |(n, way): (usize, u64)| {
            let sent = START + n as u64 * 20 * MS;
            // Nothing overtakes.
            last = (sent + way * MS).max(last);
            let stamp = u32::MAX.wrapping_sub(5_000).wrapping_add(n as u32 * 960);
            let due = arrivals.due(stamp, last);
            assert!(due <= last, "due after it came");
            (due.cast_signed() - sent.cast_signed()) / MS.cast_signed()
        };
        ways.into_iter().enumerate().map(each).collect()
    }

    #[test]
    fn an_even_way_is_left_as_it_is() {
        assert!(stamped([30; 500]).iter().all(|late| *late == 30));
    }

    #[test]
    fn a_bunch_that_was_held_back_is_stamped_as_if_it_had_come_in_time() {
        for held in [80, 200, 400, 1_000, 5_000] {
            let held_back = (0..held / 20).map(|n| 30 + held - n * 20);
            let seen = stamped([30; 100].into_iter().chain(held_back).chain([30; 100]));
            assert!(seen.iter().all(|late| *late == 30), "{held} ms: {seen:?}");
        }
    }

    #[test]
    fn the_quickest_way_counts_from_the_packet_that_took_it() {
        let seen = stamped([330].into_iter().chain([30; 100]));
        assert_eq!(seen[..3], [330, 310, 290], "behind the first, which held them up");
        assert!(seen[15..].iter().all(|late| *late == 30), "{seen:?}");
    }

    #[test]
    fn trembling_changes_nothing() {
        let seen = stamped((0..400).map(|n| 30 + (n * 7) % 20));
        assert!(seen.iter().all(|late| (30..=34).contains(late)), "{seen:?}");
    }

    #[test]
    fn a_way_that_stays_longer_is_taken_within_half_a_second() {
        let seen = stamped([30; 100].into_iter().chain([230; 200]));
        assert!(seen[100..110].iter().all(|late| *late == 30));
        assert!(seen[120..].iter().all(|late| *late == 230), "{:?}", &seen[100..125]);
        let seen = stamped([230; 100].into_iter().chain([30; 100]));
        assert!(seen[115..].iter().all(|late| *late == 30), "{:?}", &seen[100..125]);
    }

    #[test]
    fn a_peer_s_clock_that_is_off_is_followed() {
        // 500 in a million, ten times what a crystal is off, for ten minutes.
        for fast in [true, false] {
            let way = |n: u64| if fast { 1_000 - n / 100 } else { 30 + n / 100 };
            let seen = stamped((0..30_000).map(way));
            let off =
                seen.iter().enumerate().map(|(n, late)| (late - way(n as u64).cast_signed()).abs());
            assert!(off.max().is_some_and(|most| most <= 3), "fast: {fast}");
        }
    }

    #[test]
    fn a_new_count_is_taken_at_once_and_a_made_up_time_harms_one_packet() {
        let mut arrivals = Arrivals::new(48_000);
        let mut now = START;
        let mut next = |stamp: u32| {
            now += 20 * MS;
            (now - arrivals.due(stamp, now)) / MS
        };
        for n in 0..50 {
            assert_eq!(next(n * 960), 0);
        }
        assert_eq!(next(4_000_000_000), 0);
        assert_eq!(next(51 * 960), 0, "and back again");
        for n in 0..50 {
            assert_eq!(next(77_000_000 + n * 960), 0);
        }
    }
}
