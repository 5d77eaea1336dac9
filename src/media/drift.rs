//! A microphone's clock is not the system's: what it gains or loses is left out or said twice, in pieces of one buffer, so
//! that its sound keeps its place beside the picture and is never sent faster than it can be heard.
//!
//! GStreamer's own `skew` does so for a card that is slow, and not for one that is fast (1.22 to 1.26: its time stamps run
//! ahead without end). Its time stamps are therefore taken once, for the first buffer; from there lengths are added up and
//! compared with when buffers come.

use gst::prelude::*;
use gstreamer as gst;

/// What the plan calls the place where buffers of the microphone arrive.
pub(super) const ARRIVAL: &str = "microphone-queue";
/// So many buffers are looked at before anything is done: each of them may come late, all of them only if the card is.
const WINDOW: u32 = 50;
/// From here a hole is left as it is, in nanoseconds: the encoder takes up a time stamp that is so far off (its
/// `tolerance`), and saying that much twice would be heard.
const HOLE: i64 = 40_000_000;
/// What is off by more is no drift, in nanoseconds: a source that stood still, or one that knows no time.
const NO_DRIFT: i64 = 500_000_000;

/// What becomes of a buffer. Times in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Goes on, with this time stamp.
    On(u64),
    /// Goes on with this time stamp and is said a second time.
    Twice(u64),
    /// Is left out.
    Out,
}

/// Keeps count of one microphone. Told of each buffer, on any clock that runs at the system's pace.
#[derive(Debug, Default)]
struct Pace {
    /// Time stamps of the next buffer: as it should come in, and as it goes out.
    next: Option<(u64, u64)>,
    /// How late a buffer was at the least, when the source began.
    usual: Option<i64>,
    least: Option<i64>,
    looked_at: u32,
    /// Buffers still to be said twice, or if negative to be left out.
    owed: i64,
}

impl Pace {
    /// A buffer of this time stamp and length that arrives `now`.
    fn fate(&mut self, stamp: u64, length: u64, now: u64) -> Fate {
        let due = match self.next {
            Some((expected, due)) if signed(stamp, expected).abs() < NO_DRIFT => due,
            // The source went on somewhere else.
            Some(_) | None => stamp,
        };
        if length == 0 {
            return Fate::On(stamp);
        }
        let out = due + self.look(signed(now, due + length), length);
        let (fate, end) = match self.owed.signum() {
            0 => (Fate::On(out), out + length),
            1 => (Fate::Twice(out), out + 2 * length),
            _ => (Fate::Out, out),
        };
        self.owed -= self.owed.signum();
        self.next = Some((stamp + length, end));
        fate
    }

    /// Takes a buffer's lateness into account; at the end of a window, what it comes to. Returns by how much time stamps leap
    /// over what was lost.
    fn look(&mut self, late: i64, length: u64) -> u64 {
        let least = self.least.map_or(late, |least| least.min(late));
        self.least = Some(least);
        self.looked_at += 1;
        if self.looked_at < WINDOW {
            return 0;
        }
        (self.looked_at, self.least) = (0, None);
        let off = least - *self.usual.get_or_insert(least);
        match off {
            HOLE..NO_DRIFT => return off.unsigned_abs(),
            _ if off.abs() < HOLE => self.owed = off / length.cast_signed(),
            // Nothing gains that much in a window: it began late, or knows no time.
            _ => self.usual = Some(least),
        }
        0
    }
}

/// Has a part's microphone, if it has one, keep the system's pace. To be called before the part plays.
pub(super) fn keep_pace(part: &gst::Bin) {
    let Some(arrival) = part.by_name(ARRIVAL).and_then(|queue| queue.static_pad("sink")) else {
        return;
    };
    let clock = gst::SystemClock::obtain();
    let mut pace = Pace::default();
    let probe = move |_: &gst::Pad, info: &mut gst::PadProbeInfo<'_>| {
        let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data else {
            return gst::PadProbeReturn::Ok;
        };
        let (Some(stamp), Some(length)) = (buffer.pts(), buffer.duration()) else {
            return gst::PadProbeReturn::Ok;
        };
        let now = clock.time().nseconds();
        match pace.fate(stamp.nseconds(), length.nseconds(), now) {
            Fate::On(at) => buffer.make_mut().set_pts(gst::ClockTime::from_nseconds(at)),
            Fate::Twice(at) => {
                let mut twice = buffer.clone();
                twice.append(buffer.clone());
                let whole = twice.make_mut();
                whole.set_pts(gst::ClockTime::from_nseconds(at));
                whole.set_duration(length * 2);
                *buffer = twice;
                tracing::trace!("the microphone's clock is slow; 1 buffer more");
            }
            Fate::Out => {
                tracing::trace!("the microphone's clock is fast; 1 buffer less");
                return gst::PadProbeReturn::Handled;
            }
        }
        gst::PadProbeReturn::Ok
    };
    let probe = std::sync::Mutex::new(probe);
    arrival.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        super::bell::lock(&probe)(pad, info)
    });
}

fn signed(left: u64, right: u64) -> i64 {
    left.wrapping_sub(right).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A source whose buffers of 10 ms, by its own count, come at a pace of its own, each a little late. Says what became of
    /// each after the first windows.
    struct Source {
        pace: Pace,
        made: u64,
        now: u64,
        heard: Vec<(u64, u64)>,
    }

    impl Source {
        fn new() -> Self {
            Self { pace: Pace::default(), made: 0, now: 7_000 * MS, heard: Vec::new() }
        }

        fn run(&mut self, buffers: u64, takes_us: u64) {
            for n in 0..buffers {
                self.now += takes_us * 1_000;
                let stamp = 7_000 * MS + self.made * 10 * MS;
                self.made += 1;
                let late = (n * 7919) % 5 * MS;
                match self.pace.fate(stamp, 10 * MS, self.now + late) {
                    Fate::On(at) => self.heard.push((at, at + 10 * MS)),
                    Fate::Twice(at) => self.heard.push((at, at + 20 * MS)),
                    Fate::Out => {}
                }
            }
        }

        /// From the time it was heard to the time it is said to be of; at the end, in milliseconds.
        fn behind(&self) -> i64 {
            let (_, end) = *self.heard.last().expect("something is heard");
            signed(self.now, end) / MS.cast_signed()
        }

        fn has_no_gap(&self) -> bool {
            self.heard.windows(2).all(|pair| pair[0].1 == pair[1].0)
        }
    }

    #[test]
    fn a_source_that_keeps_time_is_left_as_it_is() {
        let mut source = Source::new();
        source.run(3_000, 10_000);
        assert_eq!(source.heard.len(), 3_000);
        assert!(source.has_no_gap() && source.behind() == 0);
    }

    #[test]
    fn of_a_fast_source_some_is_left_out_and_of_a_slow_one_some_is_said_twice() {
        for takes_us in [9_800, 9_990, 9_999, 10_001, 10_010, 10_200] {
            let mut source = Source::new();
            source.run(60_000, takes_us);
            assert!(source.behind().abs() <= 30, "{takes_us} us: {} ms", source.behind());
            assert!(source.has_no_gap(), "{takes_us} us");
        }
    }

    #[test]
    fn buffers_that_come_late_for_less_than_a_window_change_nothing() {
        let mut source = Source::new();
        source.run(200, 10_000);
        source.now += 300 * MS;
        source.run(WINDOW as u64 - 5, 10_000);
        source.now -= 300 * MS;
        source.run(200, 10_000);
        assert_eq!(source.heard.len() as u64, source.made);
        assert!(source.has_no_gap());
    }

    #[test]
    fn what_a_source_lost_is_leapt_over_once() {
        let mut source = Source::new();
        source.run(200, 10_000);
        source.now += 150 * MS;
        source.run(500, 10_000);
        assert_eq!(source.heard.len() as u64, source.made, "nothing is said twice for it");
        assert_eq!(source.behind(), 0);
        let leaps = source.heard.windows(2).filter(|pair| pair[0].1 != pair[1].0);
        assert_eq!(leaps.count(), 1);
    }

    #[test]
    fn a_source_that_stood_still_goes_on_at_its_new_time() {
        let mut source = Source::new();
        source.run(200, 10_000);
        (source.now, source.made) = (source.now + 5_000 * MS, source.made + 500);
        source.run(200, 10_000);
        assert_eq!(source.behind(), 0);
        assert_eq!(source.heard.len(), 400);
    }

    #[test]
    fn a_source_that_knows_no_time_is_left_as_it_is() {
        // A file that is read as fast as it goes.
        let mut source = Source::new();
        source.run(2_000, 100);
        assert_eq!(source.heard.len(), 2_000);
    }

    #[test]
    fn a_source_that_was_late_at_first_keeps_its_time_stamps() {
        let mut source = Source::new();
        source.now += 60 * MS;
        source.run(WINDOW as u64, 10_000);
        source.now -= 60 * MS;
        source.run(500, 10_000);
        assert_eq!(source.heard.len() as u64, source.made);
        assert!(source.has_no_gap());
    }

    #[test]
    fn buffers_without_length_are_passed_on() {
        let mut pace = Pace::default();
        assert!((0..200).all(|n| pace.fate(n, 0, 5 * n) == Fate::On(n)));
    }
}
