//! Who gets how much picture: one encoder, several links, each with its own path.
//!
//! Pure: the caller tells the time and what each link has room for. Measures nothing and sets nothing.
//!
//! The encoder follows the narrowest path that carries the whole picture. A path far narrower than the
//! others is not followed: its link alone is reduced to keyframes, and below what these need to nothing.
//! The voice is no part of this: it flows whatever is decided here.
//!
//! An audience, such as a media server, has no say while a phone is there: it gets what fits its path of what phones
//! get, and neither its path nor its silence changes anything for them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::intercom::VideoMode;

/// The least the encoder is asked for, in bit/s. Below this a moving picture is not worth having.
pub const FLOOR: u32 = 150_000;
/// The least a link needs for a keyframe now and then, in bit/s.
const KEYFRAMES_NEED: u32 = 40_000;
/// A path with less than this part of the next wider one's room is far narrower.
const FAR: f64 = 0.4;
/// To come back, a link needs so many times what it would be reduced below.
const MARGIN: f64 = 1.3;
/// How long there must be room before a link comes back for the first time.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);
/// The patience doubles with every relapse up to this.
const LONGEST_PATIENCE: Duration = Duration::from_secs(30);
/// A link reduced again within this time after it came back has relapsed.
const RELAPSE: Duration = Duration::from_secs(30);
/// A link that says nothing for so long has no say: its path is dead, not narrow.
const STALE: Duration = Duration::from_secs(2);
/// The encoder's rate grows at most by this factor per second.
const GROWTH_PER_SECOND: f64 = 1.6;

/// With less than this part of the encoder's rate an audience gets keyframes only, and with so much all again.
const AUDIENCE_NEEDS: (f64, f64) = (0.8, 0.95);

/// Whose link it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Party {
    /// A phone's: it has a say.
    #[default]
    Phone,
    /// Of somebody who only looks on.
    Audience,
}

/// What one link has said and what was decided for it.
#[derive(Debug)]
struct Seat {
    party: Party,
    mode: VideoMode,
    /// Room for video in bit/s, and when it was said; none until it first speaks.
    said: Option<(u32, Duration)>,
    /// Since when there is room for a fuller mode.
    room_since: Option<Duration>,
    patience: Duration,
    came_back: Option<Duration>,
}

impl Seat {
    fn room(&self, now: Duration) -> Option<u32> {
        self.said.filter(|(_, at)| now.saturating_sub(*at) < STALE).map(|(room, _)| room)
    }

    fn reduce(&mut self, mode: VideoMode, now: Duration) {
        // One relapse counts once, however many steps down it takes.
        if let Some(at) = self.came_back.take() {
            self.patience = match now.saturating_sub(at) < RELAPSE {
                true => (self.patience * 2).min(LONGEST_PATIENCE),
                false => FIRST_PATIENCE,
            };
        }
        self.mode = mode;
        self.room_since = None;
    }
}

/// The decisions. Links are known by numbers of the caller's; times count from any fixed moment.
#[derive(Debug)]
pub struct Allocator {
    configured: u32,
    bitrate: f64,
    at: Duration,
    seats: BTreeMap<u64, Seat>,
}

impl Allocator {
    /// For an encoder whose full rate is `configured` bit/s.
    pub fn new(configured: u32) -> Self {
        Self {
            configured,
            bitrate: f64::from(configured),
            at: Duration::ZERO,
            seats: BTreeMap::new(),
        }
    }

    /// A link has come. It carries the whole picture and has no say until it first [speaks](Self::tell).
    pub fn join(&mut self, link: u64, party: Party) {
        self.seats.insert(
            link,
            Seat {
                party,
                mode: VideoMode::Full,
                said: None,
                room_since: None,
                patience: FIRST_PATIENCE,
                came_back: None,
            },
        );
    }

    /// A link is gone.
    pub fn leave(&mut self, link: u64, now: Duration) {
        self.seats.remove(&link);
        self.decide(now);
    }

    /// A link has room for `room` bit/s of video beside its voice.
    pub fn tell(&mut self, link: u64, room: u32, now: Duration) {
        if let Some(seat) = self.seats.get_mut(&link) {
            seat.said = Some((room, now));
            self.decide(now);
        }
    }

    /// Time passes. A link that carries nothing may hear nothing for that very reason: after a while it is
    /// given a keyframe to show what its path takes.
    pub fn pass(&mut self, now: Duration) {
        for seat in self.seats.values_mut() {
            let silent = seat.said.is_none_or(|(_, at)| {
                now.saturating_sub(at) >= STALE.saturating_add(seat.patience)
            });
            if seat.mode == VideoMode::Paused && silent {
                seat.mode = VideoMode::Keyframes;
                seat.room_since = None;
                seat.came_back = Some(now);
            }
        }
        self.decide(now);
    }

    /// The rate the encoder is to keep, in bit/s.
    pub fn bitrate(&self) -> u32 {
        self.bitrate.round() as u32
    }

    /// What a link is to carry; `None` for a link that is not there.
    pub fn mode(&self, link: u64) -> Option<VideoMode> {
        self.seats.get(&link).map(|seat| seat.mode)
    }

    fn decide(&mut self, now: Duration) {
        self.reduce(now);
        self.come_back(now);
        let full = self.rooms(now).filter(|(mode, _)| *mode == VideoMode::Full);
        let weakest = full.map(|(_, room)| room).min();
        let reduced = self.heard().any(|seat| seat.mode != VideoMode::Full);
        let carries = self.heard().any(|seat| seat.mode == VideoMode::Full);
        let target = match weakest {
            Some(room) => room.clamp(self.floor(), self.configured),
            // Only keyframes are left to be sent, and small ones pass a narrow path sooner.
            None if reduced && !carries => self.floor(),
            None => self.configured,
        };
        self.steer(f64::from(target), now);
    }

    /// Down at once, up gently; up at once when nobody is there to suffer from it.
    fn steer(&mut self, target: f64, now: Duration) {
        let elapsed = now.saturating_sub(self.at).as_secs_f64().min(1.0);
        self.at = now;
        self.bitrate = match self.seats.is_empty() {
            true => target,
            false => target.min(self.bitrate * GROWTH_PER_SECOND.powf(elapsed)),
        };
    }

    fn floor(&self) -> u32 {
        FLOOR.min(self.configured)
    }

    /// The links that have a say: phones, or everybody where there are none.
    fn heard(&self) -> impl Iterator<Item = &Seat> {
        let phones = self.has_phones();
        self.seats.values().filter(move |seat| !phones || seat.party == Party::Phone)
    }

    fn has_phones(&self) -> bool {
        self.seats.values().any(|seat| seat.party == Party::Phone)
    }

    /// What the links that have a say carry, and their room.
    fn rooms(&self, now: Duration) -> impl Iterator<Item = (VideoMode, u32)> {
        self.heard().filter_map(move |seat| seat.room(now).map(|room| (seat.mode, room)))
    }

    fn reduce(&mut self, now: Duration) {
        let of_phones = self.full_needs(now, None).max(self.floor());
        let of_audience = (AUDIENCE_NEEDS.0 * self.bitrate) as u32;
        let phones = self.has_phones();
        for seat in self.seats.values_mut() {
            let Some(room) = seat.room(now) else { continue };
            let limit = match phones && seat.party == Party::Audience {
                true => of_audience,
                false => of_phones,
            };
            if seat.mode != VideoMode::Paused && room < KEYFRAMES_NEED {
                seat.reduce(VideoMode::Paused, now);
            } else if seat.mode == VideoMode::Full && room < limit {
                seat.reduce(VideoMode::Keyframes, now);
            }
        }
    }

    /// The room below which a path is far narrower than the others, if as many others are wide: the widest
    /// step between two neighbours decides. `with` counts a reduced link among the full ones.
    fn full_needs(&self, now: Duration, with: Option<u32>) -> u32 {
        let full = self.rooms(now).filter(|(mode, _)| *mode == VideoMode::Full);
        // What is more than enough is all alike.
        let mut rooms: Vec<u32> =
            full.map(|(_, room)| room).chain(with).map(|room| room.min(self.configured)).collect();
        rooms.sort_unstable();
        let count = rooms.len();
        (1..count)
            .filter(|below| *below <= count - below)
            .filter(|below| f64::from(rooms[below - 1]) < FAR * f64::from(rooms[*below]))
            .map(|below| rooms[below])
            .max()
            .map_or(0, |next| (FAR * f64::from(next)) as u32)
    }

    fn come_back(&mut self, now: Duration) {
        let alone = !self.rooms(now).any(|(mode, _)| mode == VideoMode::Full);
        let reduced: Vec<(u64, u32, Party)> = self
            .seats
            .iter()
            .filter(|(_, seat)| seat.mode != VideoMode::Full)
            .filter_map(|(link, seat)| seat.room(now).map(|room| (*link, room, seat.party)))
            .collect();
        for (link, room, party) in reduced {
            let full = if party == Party::Audience && self.has_phones() {
                f64::from(room) >= AUDIENCE_NEEDS.1 * self.bitrate
            } else {
                let need = self.full_needs(now, Some(room)).max(self.floor());
                f64::from(room) >= MARGIN * f64::from(need)
            };
            let keyframes = f64::from(room) >= MARGIN * f64::from(KEYFRAMES_NEED);
            let Some(seat) = self.seats.get_mut(&link) else { continue };
            let fuller = match (full, keyframes, seat.mode) {
                (true, ..) => VideoMode::Full,
                (false, true, VideoMode::Paused) => VideoMode::Keyframes,
                _ => {
                    seat.room_since = None;
                    continue;
                }
            };
            let since = *seat.room_since.get_or_insert(now);
            // With nobody else to spare, the first relapse costs no more than a short wait.
            let patience = match alone {
                true => seat.patience.min(FIRST_PATIENCE * 2),
                false => seat.patience,
            };
            if now.saturating_sub(since) >= patience {
                seat.mode = fuller;
                seat.room_since = None;
                seat.came_back = Some(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use VideoMode::{Full, Keyframes, Paused};

    const CONFIGURED: u32 = 2_000_000;

    /// Links that say the same again every 200 ms.
    struct Door {
        allocator: Allocator,
        now: Duration,
        rooms: BTreeMap<u64, u32>,
    }

    impl Door {
        fn with(rooms: &[u32]) -> Self {
            let mut allocator = Allocator::new(CONFIGURED);
            let rooms: BTreeMap<u64, u32> =
                rooms.iter().enumerate().map(|(link, room)| (link as u64, *room)).collect();
            rooms.keys().for_each(|link| allocator.join(*link, Party::Phone));
            Self { allocator, now: Duration::ZERO, rooms }
        }

        fn round(&mut self) {
            self.now += Duration::from_millis(200);
            for (link, room) in &self.rooms {
                self.allocator.tell(*link, *room, self.now);
            }
        }

        fn run(&mut self, seconds: u64) {
            for _ in 0..seconds * 5 {
                self.round();
            }
        }

        fn modes(&self) -> Vec<VideoMode> {
            self.rooms.keys().filter_map(|link| self.allocator.mode(*link)).collect()
        }
    }

    #[test]
    fn without_links_the_encoder_keeps_the_configured_rate() {
        let mut allocator = Allocator::new(CONFIGURED);
        assert_eq!(allocator.bitrate(), CONFIGURED);
        allocator.join(1, Party::Phone);
        allocator.tell(1, 300_000, Duration::from_secs(1));
        assert_eq!(allocator.bitrate(), 300_000);
        allocator.leave(1, Duration::from_secs(1));
        assert_eq!(allocator.bitrate(), CONFIGURED);
    }

    #[test]
    fn an_audience_changes_nothing_for_phones_and_gets_what_fits() {
        // A phone on a narrow path is followed, however wide that of a media server is.
        for server in [30_000, 200_000, 300_000, 2_000_000] {
            let mut door = Door::with(&[300_000]);
            door.allocator.join(7, Party::Audience);
            door.rooms.insert(7, server);
            door.run(10);
            assert_eq!(door.allocator.bitrate(), 300_000, "{server}");
            assert_eq!(door.allocator.mode(0), Some(Full), "{server}");
            let fits = if server >= 240_000 { Full } else { Keyframes };
            let fits = if server < KEYFRAMES_NEED { Paused } else { fits };
            assert_eq!(door.allocator.mode(7), Some(fits), "{server}");
        }
        // A silent one does not hold up the floor of a phone that gets keyframes only.
        let mut door = Door::with(&[100_000]);
        door.allocator.join(7, Party::Audience);
        door.run(3);
        assert_eq!(door.modes(), [Keyframes]);
        assert_eq!(door.allocator.bitrate(), FLOOR);
    }

    #[test]
    fn an_audience_gets_all_again_when_its_path_is_wide_enough() {
        let mut door = Door::with(&[2_000_000]);
        door.allocator.join(7, Party::Audience);
        door.rooms.insert(7, 500_000);
        door.run(3);
        assert_eq!(door.allocator.mode(7), Some(Keyframes));
        door.rooms.insert(7, 2_000_000);
        door.run(5);
        assert_eq!(door.allocator.mode(7), Some(Full));
        assert_eq!(door.allocator.bitrate(), CONFIGURED);
    }

    #[test]
    fn an_audience_by_itself_is_followed_like_a_phone() {
        let mut allocator = Allocator::new(CONFIGURED);
        allocator.join(7, Party::Audience);
        allocator.tell(7, 500_000, Duration::from_secs(1));
        assert_eq!((allocator.bitrate(), allocator.mode(7)), (500_000, Some(Full)));
    }

    #[test]
    fn a_link_that_has_not_spoken_changes_nothing() {
        let mut door = Door::with(&[1_800_000]);
        door.allocator.join(9, Party::Phone);
        door.run(2);
        assert_eq!(door.allocator.bitrate(), 1_800_000);
        assert_eq!(door.allocator.mode(9), Some(Full));
    }

    #[test]
    fn a_single_link_is_followed_to_the_floor_then_gets_keyframes_then_nothing() {
        let mut door = Door::with(&[600_000]);
        for (room, mode, bitrate) in [
            (600_000, Full, 600_000),
            (FLOOR, Full, FLOOR),
            (FLOOR - 1, Keyframes, FLOOR),
            (KEYFRAMES_NEED - 1, Paused, FLOOR),
        ] {
            door.rooms.insert(0, room);
            door.round();
            assert_eq!(door.modes(), [mode], "{room}");
            assert_eq!(door.allocator.bitrate(), bitrate, "{room}");
        }
    }

    #[test]
    fn one_bad_phone_of_three_does_not_lower_the_other_two() {
        let mut door = Door::with(&[5_000_000, 1_900_000, 300_000]);
        door.round();
        assert_eq!(door.modes(), [Full, Full, Keyframes]);
        door.run(60);
        assert_eq!(door.modes(), [Full, Full, Keyframes]);
        assert_eq!(door.allocator.bitrate(), 1_900_000);
        door.rooms.insert(2, 20_000);
        door.round();
        assert_eq!(door.modes(), [Full, Full, Paused]);
        assert_eq!(door.allocator.bitrate(), 1_900_000);
    }

    #[test]
    fn a_phone_that_is_only_somewhat_narrower_is_followed() {
        let mut door = Door::with(&[2_000_000, 2_000_000, 900_000]);
        door.run(3);
        assert_eq!(door.modes(), [Full, Full, Full]);
        assert_eq!(door.allocator.bitrate(), 900_000);
    }

    #[test]
    fn two_phones_at_300_kbit_bring_the_encoder_to_300() {
        let mut door = Door::with(&[300_000, 300_000]);
        door.round();
        assert_eq!(door.modes(), [Full, Full]);
        assert_eq!(door.allocator.bitrate(), 300_000);
        // A third with a good path does not outvote them.
        door.rooms.insert(2, 2_000_000);
        door.allocator.join(2, Party::Phone);
        door.run(2);
        assert_eq!(door.modes(), [Full, Full, Full]);
        assert_eq!(door.allocator.bitrate(), 300_000);
    }

    #[test]
    fn down_goes_with_the_next_report_and_up_takes_some_seconds() {
        let mut door = Door::with(&[2_000_000]);
        door.round();
        door.rooms.insert(0, 300_000);
        door.round();
        assert_eq!(door.allocator.bitrate(), 300_000);
        door.rooms.insert(0, 2_000_000);
        door.run(1);
        let after_one = door.allocator.bitrate();
        assert!((400_000..600_000).contains(&after_one), "{after_one}");
        door.run(4);
        assert_eq!(door.allocator.bitrate(), CONFIGURED);
    }

    #[test]
    fn a_reduced_phone_comes_back_after_some_seconds_of_enough_room() {
        let mut door = Door::with(&[2_000_000, 100_000]);
        door.run(5);
        assert_eq!(door.modes(), [Full, Keyframes]);
        door.rooms.insert(1, 1_500_000);
        door.run(2);
        assert_eq!(door.modes(), [Full, Keyframes]);
        door.run(2);
        assert_eq!(door.modes(), [Full, Full]);
        assert_eq!(door.allocator.bitrate(), 1_500_000);
    }

    #[test]
    fn barely_enough_room_does_not_bring_it_back() {
        let mut door = Door::with(&[140_000]);
        door.run(1);
        door.rooms.insert(0, 160_000);
        door.run(60);
        assert_eq!(door.modes(), [Keyframes]);
        door.rooms.insert(0, 200_000);
        door.run(4);
        assert_eq!(door.modes(), [Full]);
    }

    #[test]
    fn a_paused_phone_comes_back_over_keyframes() {
        let mut door = Door::with(&[10_000]);
        door.run(1);
        assert_eq!(door.modes(), [Paused]);
        door.rooms.insert(0, 60_000);
        door.run(4);
        assert_eq!(door.modes(), [Keyframes]);
    }

    #[test]
    fn flapping_is_damped() {
        let mut door = Door::with(&[2_000_000, 100_000]);
        let mut changes = 0;
        let mut before = door.modes();
        for round in 0..300 * 5 {
            // Every come-back is punished at once by a path that is narrow all the same.
            let narrow = door.allocator.mode(1) == Some(Full) || round % 50 == 0;
            door.rooms.insert(1, if narrow { 100_000 } else { 1_500_000 });
            door.round();
            changes += usize::from(door.modes() != before);
            before = door.modes();
        }
        assert!(changes <= 40, "{changes} changes in 5 min");
        assert!(changes >= 4, "{changes}: it does try");
    }

    #[test]
    fn trying_keyframes_on_a_path_for_the_voice_only_becomes_rare() {
        let mut door = Door::with(&[30_000]);
        let mut tries = 0;
        for _ in 0..120 * 5 {
            let paused = door.modes() == [Paused];
            door.rooms.insert(0, if paused { 70_000 } else { 20_000 });
            door.round();
            tries += usize::from(paused && door.modes() == [Keyframes]);
        }
        assert!((4..=20).contains(&tries), "{tries} tries in 2 min");
    }

    #[test]
    fn the_last_one_is_followed_when_the_wide_ones_leave() {
        let mut door = Door::with(&[2_000_000, 300_000]);
        door.run(1);
        assert_eq!(door.modes(), [Full, Keyframes]);
        door.rooms.remove(&0);
        door.allocator.leave(0, door.now);
        door.run(5);
        assert_eq!(door.modes(), [Full]);
        assert_eq!(door.allocator.bitrate(), 300_000);
    }

    #[test]
    fn a_link_that_fell_silent_has_no_say() {
        let mut door = Door::with(&[2_000_000, 900_000]);
        door.run(1);
        assert_eq!(door.allocator.bitrate(), 900_000);
        door.rooms.remove(&1);
        door.run(6);
        assert_eq!(door.allocator.bitrate(), CONFIGURED);
        assert_eq!(door.allocator.mode(1), Some(Full));
    }

    #[test]
    fn a_rate_configured_below_the_floor_is_kept() {
        let mut allocator = Allocator::new(100_000);
        allocator.join(1, Party::Phone);
        allocator.tell(1, 110_000, Duration::from_secs(1));
        assert_eq!((allocator.bitrate(), allocator.mode(1)), (100_000, Some(Full)));
    }

    #[test]
    fn a_link_that_carries_nothing_and_hears_nothing_is_given_a_keyframe_to_find_out() {
        let mut door = Door::with(&[10_000]);
        door.run(2);
        assert_eq!(door.modes(), [Paused]);
        door.rooms.clear();
        for _ in 0..100 {
            door.now += Duration::from_millis(200);
            door.allocator.pass(door.now);
        }
        assert_eq!(door.allocator.mode(0), Some(Keyframes));
    }

    #[test]
    fn the_rate_rises_again_for_links_that_never_say_anything() {
        let mut door = Door::with(&[200_000]);
        door.allocator.join(9, Party::Phone);
        door.run(5);
        assert!(door.allocator.bitrate() < 300_000);
        door.allocator.leave(0, door.now);
        for _ in 0..100 {
            door.now += Duration::from_millis(200);
            door.allocator.pass(door.now);
        }
        assert_eq!(door.allocator.bitrate(), CONFIGURED);
    }
}
