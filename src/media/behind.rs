//! Whether sound reaches its card in time. A machine that has too much to do mixes it later than the card plays it, and what
//! comes too late is not heard: where all of it does, nothing is. Then everything is to be played later by as much, until the
//! machine has caught up. A sound that comes late is better than none, and a hole of a moment better than a delay that stays.
//!
//! Holes that come again and again are none of a moment, and waited for as well.
//!
//! A machine that cannot even mix as fast as sound is played falls behind for good, and what waits only grows. That has to be
//! left out, and the speaker begun anew.
//!
//! Pure: told of times, asks no clock. All times in nanoseconds.

use std::collections::VecDeque;

/// For so long everything has to come too late.
const STAYS: u64 = 200_000_000;
/// For so long less has to do before less is waited.
const CALM: u64 = 3_000_000_000;
/// What is too late within so long is one hole.
const ONE_HOLE: u64 = 500_000_000;
/// So many holes in so long are more than a moment's.
const HOLES: usize = 3;
const ROUGH: u64 = 10_000_000_000;
/// As [`CALM`], where it was waited for the sake of holes.
const CALM_AFTER_HOLES: u64 = 30_000_000_000;
/// And what came last then has to have so much left. Less than what a mixer that waits for a voice in vain leaves.
const SPARE: u64 = 5_000_000;
/// What is waited more changes by whole steps of this, as each is a crack in what is heard.
const STEP: u64 = 50_000_000;
/// More is not waited; nobody talks over that.
const MOST: u64 = 1_000_000_000;
/// Where all comes later than that for so long, it is not caught up with.
const LOST: u64 = 2_000_000_000;

/// Of one speaker while it is open.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// How late a piece may come that is still heard; nothing is known of it before the card plays.
    allowed: Option<u64>,
    extra: u64,
    window: Option<Window>,
    /// Since when it would do to wait less, and how late a piece was at the most since.
    calm: Option<(u64, u64)>,
    holes: VecDeque<Hole>,
    /// More was waited for the sake of holes, which come and go.
    is_rough: bool,
    reach: Reach,
}

/// Whether anything is heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Reach {
    #[default]
    Heard,
    /// All comes later than can be waited for, since then.
    Mute(u64),
    /// It did for so long that it is not caught up with.
    Lost,
}

/// Something that came too late.
#[derive(Debug, Clone, Copy)]
struct Hole {
    from: u64,
    to: u64,
    /// By how much it was late at the most.
    most: u64,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    since: u64,
    least: u64,
    most: u64,
}

impl Behind {
    /// From now on pieces are heard that come at most so late, if nothing more is waited.
    pub(super) fn allow(&mut self, late: u64) {
        if self.allowed != Some(late) {
            self.allowed = Some(late);
            // What was seen before was held against something else.
            self.holes.clear();
            self.window = None;
        }
    }

    /// How much later than planned everything is to be played.
    pub(super) fn extra(&self) -> u64 {
        self.extra
    }

    /// Nothing is heard now, as all comes later than can be waited for.
    pub(super) fn is_mute(&self) -> bool {
        self.reach != Reach::Heard
    }

    /// Nothing will be heard any more of what waits.
    pub(super) fn is_lost(&self) -> bool {
        self.reach == Reach::Lost
    }

    /// A piece was mixed `now` that is `late` after its time. Says whether [`Self::extra`] or [`Self::is_lost`] changed.
    pub(super) fn note(&mut self, late: u64, now: u64) -> bool {
        let mut window = self.window.unwrap_or(Window { since: now, least: u64::MAX, most: 0 });
        window.least = window.least.min(late);
        window.most = window.most.max(late);
        self.window = Some(window);
        if now.saturating_sub(window.since) < STAYS {
            return false;
        }
        self.window = None;
        let Some(allowed) = self.allowed else { return false };
        let before = (self.extra, self.is_lost());
        self.reach = match self.reach {
            _ if window.least <= allowed + MOST => Reach::Heard,
            Reach::Heard => Reach::Mute(now),
            Reach::Mute(since) if now.saturating_sub(since) >= LOST => Reach::Lost,
            Reach::Mute(_) | Reach::Lost => self.reach,
        };
        if window.most > allowed + self.extra {
            match self.holes.back_mut() {
                Some(last) if now.saturating_sub(last.to) < ONE_HOLE => {
                    (last.to, last.most) = (now, last.most.max(window.most));
                }
                _ => self.holes.push_back(Hole { from: now, to: now, most: window.most }),
            }
        }
        self.holes.retain(|hole| now.saturating_sub(hole.from) < ROUGH);
        if window.least > allowed + self.extra {
            self.extra = needed(window.most, allowed);
            self.is_rough = false;
            self.calm = None;
            self.holes.clear();
        } else if self.holes.len() >= HOLES {
            // The smallest of them: a long one is a hole still, and not what all of a talk is to wait for.
            let late = self.holes.iter().map(|hole| hole.most).min().unwrap_or_default();
            self.extra = needed(late, allowed);
            self.is_rough = true;
            self.calm = None;
            self.holes.clear();
        } else if needed(window.most + SPARE, allowed) >= self.extra {
            self.calm = None;
        } else {
            let (since, most) = self.calm.unwrap_or((now, 0));
            let most = most.max(window.most);
            self.calm = Some((since, most));
            if now.saturating_sub(since) >= if self.is_rough { CALM_AFTER_HOLES } else { CALM } {
                self.calm = None;
                self.is_rough = false;
                self.extra = needed(most + SPARE, allowed);
            }
        }
        (self.extra, self.is_lost()) != before
    }
}

fn needed(late: u64, allowed: u64) -> u64 {
    (late.saturating_sub(allowed).div_ceil(STEP) * STEP).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Pieces of 10 ms for `ms`, each so late; what is waited more after each.
    fn pass(behind: &mut Behind, from: u64, ms: u64, late: impl Fn(u64) -> u64) -> Vec<u64> {
        let pieces = (0..ms / 10).map(|n| n * 10);
        let note = |at: u64| {
            behind.note(late(at) * MS, (from + at + late(at)) * MS);
            behind.extra() / MS
        };
        pieces.map(note).collect()
    }

    fn allowing(ms: u64) -> Behind {
        let mut behind = Behind::default();
        behind.allow(ms * MS);
        behind
    }

    #[test]
    fn a_machine_in_time_waits_for_nothing() {
        let mut behind = allowing(90);
        let extras = pass(&mut behind, 0, 10_000, |at| at % 90);
        assert!(extras.iter().all(|extra| *extra == 0));
    }

    #[test]
    fn a_machine_that_stays_behind_plays_later_by_as_much() {
        let mut behind = allowing(90);
        let extras = pass(&mut behind, 0, 1_000, |_| 250);
        assert_eq!(extras.last(), Some(&200));
        let first = extras.iter().position(|extra| *extra > 0);
        assert_eq!(first, Some(20), "after 200 ms");
    }

    #[test]
    fn one_that_falls_behind_more_and_more_is_followed_to_a_second_at_most() {
        let mut behind = allowing(90);
        let extras = pass(&mut behind, 0, 10_000, |at| at / 2);
        assert!(extras.windows(2).all(|two| two[0] <= two[1]));
        assert_eq!(extras.last(), Some(&1_000));
    }

    #[test]
    fn what_a_machine_does_not_catch_up_with_is_given_up_after_two_seconds() {
        let mut behind = allowing(90);
        let lost = |behind: &mut Behind, from: u64, ms: u64, late: u64| {
            pass(behind, from, ms, |_| late);
            behind.is_lost()
        };
        assert!(!lost(&mut behind, 0, 10_000, 1_000), "that can be waited for");
        assert!(!lost(&mut behind, 10_000, 1_800, 1_500));
        assert!(behind.is_mute(), "but nothing is heard");
        assert!(!lost(&mut behind, 13_000, 400, 500), "it did catch up");
        assert!(!behind.is_mute());
        assert!(!lost(&mut behind, 14_000, 1_800, 1_500));
        assert!(lost(&mut behind, 15_800, 1_000, 1_500));
    }

    #[test]
    fn a_stall_of_a_moment_is_a_hole_and_no_delay() {
        let mut behind = allowing(90);
        // Held up for 400 ms, and caught up with at once.
        let late = |at: u64| if (1_000..1_400).contains(&at) { 1_400 - at } else { 20 };
        let extras = pass(&mut behind, 0, 5_000, late);
        assert!(extras.iter().all(|extra| *extra == 0));
    }

    #[test]
    fn one_that_has_caught_up_is_in_time_again_after_seconds() {
        let mut behind = allowing(90);
        pass(&mut behind, 0, 1_000, |_| 250);
        let extras = pass(&mut behind, 2_000, 10_000, |_| 20);
        let back = extras.iter().position(|extra| *extra == 0).expect("it is in time again");
        assert!((300..400).contains(&back), "{back}");
    }

    #[test]
    fn the_smallest_wait_is_left_too_where_there_is_little_to_spare() {
        let mut behind = allowing(20);
        assert_eq!(pass(&mut behind, 0, 1_000, |_| 30).last(), Some(&50));
        assert_eq!(pass(&mut behind, 1_000, 10_000, |_| 18).last(), Some(&50), "too little");
        assert_eq!(pass(&mut behind, 11_000, 10_000, |_| 0).last(), Some(&0));
    }

    #[test]
    fn a_machine_that_stalls_again_and_again_plays_later_until_it_does_no_more() {
        let mut behind = allowing(40);
        let stalls = |at: u64| if at % 4_000 == 3_000 { 80 } else { 20 };
        let extras = pass(&mut behind, 0, 40_000, stalls);
        let raised = extras.iter().position(|extra| *extra > 0).map(|piece| piece / 100);
        assert_eq!(raised, Some(11), "after the third");
        assert!(extras[1_200..].iter().all(|extra| *extra == 50));
        let after = pass(&mut behind, 40_000, 40_000, |_| 10);
        let back = after.iter().position(|extra| *extra == 0).map(|piece| piece / 100);
        assert!((28..31).contains(&back.expect("it is in time again")), "{back:?}");
    }

    #[test]
    fn a_stall_is_one_hole_however_long_it_takes_to_catch_up() {
        let mut behind = allowing(40);
        let late = |at: u64| match at {
            1_000..1_400 => 1_400 - at,
            6_000..6_400 => 6_400 - at,
            _ => 20,
        };
        let extras = pass(&mut behind, 0, 9_000, late);
        assert!(extras.iter().all(|extra| *extra == 0));
    }

    #[test]
    fn a_second_of_too_much_work_is_left_as_soon_after_holes_as_at_any_time() {
        let mut behind = allowing(40);
        pass(&mut behind, 0, 9_000, |at| if at % 2_000 == 1_000 { 80 } else { 20 });
        assert_eq!(behind.extra(), 50 * MS);
        let over = pass(&mut behind, 9_000, 1_000, |_| 700);
        assert_eq!(over.last(), Some(&700));
        let after = pass(&mut behind, 11_000, 10_000, |_| 10);
        let back = after.iter().position(|extra| *extra == 0).expect("it is in time again");
        assert!((300..400).contains(&back), "{back}");
    }

    #[test]
    fn a_mixer_that_waits_for_a_voice_in_vain_is_not_taken_for_a_machine_behind() {
        // It then leaves just what was not planned for mixing.
        let mut behind = allowing(27);
        pass(&mut behind, 0, 1_000, |_| 70);
        assert_eq!(behind.extra(), 50 * MS);
        let extras = pass(&mut behind, 1_000, 10_000, |at| if at % 1_000 == 0 { 21 } else { 10 });
        assert_eq!(extras.last(), Some(&0));
    }

    #[test]
    fn what_was_a_hole_before_more_was_allowed_counts_no_more() {
        let mut behind = allowing(40);
        pass(&mut behind, 0, 4_000, |at| if at % 2_000 == 1_000 { 60 } else { 20 });
        behind.allow(100 * MS);
        let extras = pass(&mut behind, 4_000, 2_000, |at| if at == 1_000 { 170 } else { 20 });
        assert!(extras.iter().all(|extra| *extra == 0));
    }

    #[test]
    fn a_long_stall_among_short_ones_is_a_hole_still() {
        let mut behind = allowing(40);
        let late = |at: u64| match at {
            1_000 => 900,
            3_000 | 5_000 => 80,
            _ => 20,
        };
        let extras = pass(&mut behind, 0, 9_000, late);
        assert_eq!(extras.last(), Some(&50));
    }

    #[test]
    fn what_is_waited_stays_while_some_pieces_need_it() {
        let mut behind = allowing(90);
        pass(&mut behind, 0, 1_000, |_| 250);
        let extras = pass(&mut behind, 2_000, 20_000, |at| if at % 1_000 == 0 { 250 } else { 20 });
        assert!(extras.iter().all(|extra| *extra == 200));
    }
}
