//! Which packets of a remote picture are worth passing on, and where its time makes a jump.
//!
//! Pure. When a hole ends, Chromium first sends packets again that are seconds old, to try how much the path carries
//! (seen, Chromium 156, 5 s without UDP: seven pictures of three seconds ago before the keyframe that was asked for). A
//! jitter buffer would wait for all that is missing between these and what is new.

/// Ticks of a picture's RTP clock in a second (RFC 6184 section 8.2.1, RFC 7741 section 6.1).
const RATE: i32 = 90_000;
/// So many packets in a row from long ago are a new count, as of another camera, and no late ones.
const NEW_COUNT: u32 = 32;

/// What a packet is to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In order, or a little late.
    Next,
    /// A second or more later than all before: what is missing between will not come.
    Jump,
    /// So late that nobody waits for it.
    Stale,
}

/// The order of one remote picture.
#[derive(Debug, Default)]
pub(super) struct Order {
    newest: Option<u32>,
    stale: u32,
}

impl Order {
    /// One more packet, by its RTP timestamp.
    pub(super) fn place(&mut self, timestamp: u32) -> Place {
        let Some(newest) = self.newest else {
            self.newest = Some(timestamp);
            return Place::Next;
        };
        // Half the circle is the future (RFC 3550 section 5.1).
        let ahead = timestamp.wrapping_sub(newest).cast_signed();
        if ahead <= -RATE && self.stale < NEW_COUNT {
            self.stale += 1;
            return Place::Stale;
        }
        self.stale = 0;
        if ahead > 0 || ahead <= -RATE {
            self.newest = Some(timestamp);
        }
        if ahead.unsigned_abs() >= RATE.unsigned_abs() { Place::Jump } else { Place::Next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u32 = 90_000;

    fn places(timestamps: &[u32]) -> Vec<Place> {
        let mut order = Order::default();
        timestamps.iter().map(|timestamp| order.place(*timestamp)).collect()
    }

    #[test]
    fn pictures_in_order_and_a_little_late_pass_across_the_turn_of_the_clock() {
        let from = u32::MAX - 5_000;
        let times = [0, 3_000, 3_000, 9_000, 6_000, 12_000].map(|late| from.wrapping_add(late));
        assert!(places(&times).iter().all(|place| *place == Place::Next));
    }

    #[test]
    fn what_follows_old_packets_after_a_hole_is_a_jump_and_they_are_stale_from_then_on() {
        let old = [7_000, 10_000];
        let new = [7_000 + 3 * SECOND, 10_000 + 3 * SECOND];
        assert_eq!(
            places(&[old[0], old[1], new[0], old[1], new[1]]),
            [Place::Next, Place::Next, Place::Jump, Place::Stale, Place::Next]
        );
    }

    #[test]
    fn a_count_that_begins_anew_is_followed_after_some_packets() {
        let mut order = Order::default();
        order.place(1_000_000_000);
        let mut waited = 0;
        while order.place(5_000 + waited) == Place::Stale {
            waited += 1;
        }
        assert_eq!(waited, NEW_COUNT);
        assert_eq!(order.place(8_000), Place::Next);
    }
}
