//! For how long a voice is held back before it is heard, so that those of its packets that come later than others still come
//! in time. A network that gathers packets, as a phone's does that saves its battery, hands them over some 100 ms late again and
//! again.
//!
//! What is held back longer is heard later by as much. So some moments of ten seconds go without: a hole of a moment is better
//! than a delay that stays.
//!
//! Pure: told of times, asks no clock. All times in nanoseconds.

use std::collections::VecDeque;

/// What is late within so long is one hole.
const MOMENT: u64 = 500_000_000;
/// So many holes are put up with ...
const HOLES: usize = 3;
/// ... in so many moments; one more, and the voice is held back for longer.
const ROUGH: usize = 20;
/// For so many moments less has to do before it is held back for less.
const CALM: usize = 60;
/// What is held back more changes by whole steps of this, as each is a crack in what is heard.
const STEP: u64 = 40_000_000;
/// A packet has to come so much before its piece is mixed: for its decoder.
const SPARE: u64 = 10_000_000;
/// More is not held back; nobody talks over that.
const MOST: u64 = 600_000_000;

/// Of one voice.
#[derive(Debug)]
pub(super) struct Hold {
    /// How late a packet may come, if the voice is held back for no longer.
    allowed: u64,
    extra: u64,
    /// How late packets were at the most in each moment, the latest first.
    moments: VecDeque<u64>,
    /// When the latest began.
    begun: Option<u64>,
}

impl Hold {
    /// Of a voice that is held back for so long already.
    pub(super) fn new(allowed: u64) -> Self {
        Self { allowed, extra: 0, moments: VecDeque::with_capacity(CALM), begun: None }
    }

    /// How much longer than planned it is to be held back.
    pub(super) fn extra(&self) -> u64 {
        self.extra
    }

    /// A packet came `now` that is `late` after its time. Says whether [`Self::extra`] changed.
    pub(super) fn note(&mut self, late: u64, now: u64) -> bool {
        let begun = *self.begun.get_or_insert(now);
        let over = (now.saturating_sub(begun) / MOMENT).min(CALM as u64);
        if over > 0 || self.moments.is_empty() {
            // In the moments between, nothing came, or nothing late.
            (0..over.max(1)).for_each(|_| self.moments.push_front(0));
            self.moments.truncate(CALM);
            self.begun = Some(begun + now.saturating_sub(begun) / MOMENT * MOMENT);
        }
        let late = late.saturating_add(SPARE);
        if let Some(moment) = self.moments.front_mut() {
            *moment = late.max(*moment);
        }
        let before = self.extra;
        let raised = self.needed(ROUGH);
        if raised > self.extra {
            self.extra = raised;
        } else if over > 0 && self.moments.len() == CALM {
            self.extra = self.extra.min(self.needed(CALM));
        }
        self.extra != before
    }

    /// What does for all but the latest of the last moments.
    fn needed(&self, moments: usize) -> u64 {
        let mut latest: Vec<u64> = self.moments.iter().take(moments).copied().collect();
        latest.sort_unstable_by(|one, other| other.cmp(one));
        let late = latest.get(HOLES).copied().unwrap_or_default();
        (late.saturating_sub(self.allowed).div_ceil(STEP) * STEP).min(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Packets of 20 ms for `ms`, each so late; what is held back more after each, in ms.
    fn pass(hold: &mut Hold, from: u64, ms: u64, late: impl Fn(u64) -> u64) -> Vec<u64> {
        let packets = (0..ms / 20).map(|n| n * 20);
        let note = |at: u64| {
            hold.note(late(at) * MS, (from + at + late(at)) * MS);
            hold.extra() / MS
        };
        packets.map(note).collect()
    }

    fn hold() -> Hold {
        Hold::new(60 * MS)
    }

    /// Six packets at once, the last of them in time.
    fn gathered(at: u64) -> u64 {
        100 - at % 120
    }

    #[test]
    fn a_voice_that_comes_in_time_is_held_back_for_no_longer() {
        let extras = pass(&mut hold(), 7_000, 60_000, |at| at % 50);
        assert!(extras.iter().all(|extra| *extra == 0));
    }

    #[test]
    fn one_whose_packets_are_gathered_is_soon_held_back_until_the_last_of_them_is_there() {
        let extras = pass(&mut hold(), 7_000, 60_000, gathered);
        let raised = extras.iter().position(|extra| *extra > 0).expect("it is");
        assert!((75..100).contains(&raised), "in the second second, {raised}");
        assert!(extras[raised..].iter().all(|extra| *extra == 80), "no step of 40 less");
    }

    #[test]
    fn when_they_are_gathered_no_more_it_is_heard_sooner_after_half_a_minute() {
        let mut hold = hold();
        pass(&mut hold, 0, 20_000, gathered);
        let after = pass(&mut hold, 20_000, 40_000, |at| at % 20);
        let back = after.iter().position(|extra| *extra == 0).expect("it is");
        assert!((1_400..1_510).contains(&back), "{back}");
    }

    #[test]
    fn two_stalls_in_ten_seconds_are_holes_and_no_delay() {
        let mut hold = hold();
        // Held up for 400 ms, and handed over at once.
        let late = |at: u64| match at % 5_000 {
            since @ 4_500..4_900 => 4_900 - since,
            _ => 10,
        };
        let extras = pass(&mut hold, 0, 60_000, late);
        assert!(extras.iter().all(|extra| *extra == 0));
    }

    #[test]
    fn nobody_is_held_back_for_longer_than_one_can_talk_over() {
        let extras = pass(&mut hold(), 0, 20_000, |at| 2_000 - at % 2_000);
        assert_eq!(extras.iter().max(), Some(&600));
    }

    #[test]
    fn a_silence_without_packets_counts_as_time() {
        let mut hold = hold();
        pass(&mut hold, 0, 20_000, gathered);
        assert_eq!(hold.extra(), 80 * MS);
        // One packet of comfort noise after a minute.
        assert!(hold.note(0, 80_000 * MS));
        assert_eq!(hold.extra(), 0);
    }
}
