//! One encoder, many listeners: hands every unit to every feed without copying it.
//!
//! Knows no codec and no pipeline. A feed that comes late or falls behind goes on at a keyframe.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::broadcast::{self, error::RecvError};

use super::bell::Bell;
use super::packetise::{AudioUnit, Unit, VideoUnit};
use super::rate::Wish;

/// How many units a feed may fall behind before it loses the oldest: some 0.8 s of picture and sound.
const DEPTH: usize = 64;

/// What travels inside.
#[derive(Debug, Clone)]
enum Item {
    Unit(Unit),
    /// Video was lost before it got here: what follows cannot be decoded until a keyframe.
    Gap,
}

/// The reading end that can be cloned: opens feeds.
#[derive(Debug, Clone)]
pub struct Fanout {
    // Weak, so that feeds end when the writer does, whoever still holds a fan-out.
    sender: broadcast::WeakSender<Item>,
    shared: Arc<Shared>,
}

/// The writing end. There is one; when it is dropped, all feeds end.
#[derive(Debug)]
pub struct Writer {
    // Full: the oldest unit is dropped for the feeds that have not read it; they notice and resume at a keyframe.
    sender: broadcast::Sender<Item>,
}

#[derive(Debug)]
struct Shared {
    bell: Arc<Bell>,
    /// The wishes for a keyframe since the encoder was told last.
    wishes: [AtomicBool; Wish::ALL.len()],
    lags: AtomicU64,
    skipped: AtomicU64,
}

/// What the fan-out has counted since the daemon started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FanoutCounts {
    /// Feeds open now.
    pub feeds: usize,
    /// Times that a feed fell behind.
    pub lags: u64,
    /// Units that feeds lost by falling behind, or skipped until a keyframe.
    pub skipped: u64,
}

/// Makes both ends. The bell is rung for every wish for a keyframe.
pub(super) fn fanout(bell: Arc<Bell>) -> (Writer, Fanout) {
    let (sender, _) = broadcast::channel(DEPTH);
    let fanout = Fanout {
        sender: sender.downgrade(),
        shared: Arc::new(Shared {
            bell,
            wishes: Default::default(),
            lags: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
        }),
    };
    (Writer { sender }, fanout)
}

/// Both ends for a source other than the capture. Its [`Writer`] is never asked for a keyframe.
pub fn alone() -> (Writer, Fanout) {
    fanout(Arc::new(Bell::default()))
}

impl Fanout {
    /// A new feed. Asks for a keyframe, because its video begins at one.
    pub fn feed(&self) -> Feed {
        let feed = self.feed_of_what_comes();
        self.shared.wish(Wish::Newcomer);
        feed
    }

    /// A new feed whose video begins at the next keyframe, whenever there is one.
    pub fn feed_of_what_comes(&self) -> Feed {
        let items = match self.sender.upgrade() {
            Some(sender) => sender.subscribe(),
            None => broadcast::channel(1).1,
        };
        Feed { items, sight: Sight::Waiting, shared: Arc::clone(&self.shared) }
    }

    /// Asks the encoder for a keyframe for somebody who does not see without it. Never blocks; wishes that come close together
    /// are one.
    pub fn request_keyframe(&self) {
        self.shared.wish(Wish::Again);
    }

    /// Says that a keyframe would be of use, if nobody has to wait for it.
    pub fn suggest_keyframe(&self) {
        self.shared.wish(Wish::Spare);
    }

    /// The counters.
    pub fn counts(&self) -> FanoutCounts {
        FanoutCounts {
            feeds: self.sender.upgrade().map_or(0, |sender| sender.receiver_count()),
            lags: self.shared.lags.load(Ordering::Relaxed),
            skipped: self.shared.skipped.load(Ordering::Relaxed),
        }
    }

    /// The most urgent wish for a keyframe since the last call.
    pub(super) fn take_wish(&self) -> Option<Wish> {
        let taken = |wish: &Wish| self.shared.wishes[*wish as usize].swap(false, Ordering::AcqRel);
        Wish::ALL.into_iter().filter(taken).max()
    }
}

impl Shared {
    fn wish(&self, wish: Wish) {
        if !self.wishes[wish as usize].swap(true, Ordering::AcqRel) {
            self.bell.ring();
        }
    }
}

// Nobody listening is no error: the picture is simply not needed.
impl Writer {
    /// Hands a picture to every feed.
    pub fn video(&self, unit: VideoUnit) {
        let _ = self.sender.send(Item::Unit(Unit::Video(Arc::new(unit))));
    }

    /// Hands a piece of sound to every feed.
    pub fn audio(&self, unit: AudioUnit) {
        let _ = self.sender.send(Item::Unit(Unit::Audio(Arc::new(unit))));
    }

    /// Says that a picture was lost on the way here.
    pub fn gap(&self) {
        let _ = self.sender.send(Item::Gap);
    }
}

/// Whether a feed's video can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// Not before the next keyframe.
    Waiting,
    /// Every unit since a keyframe was handed out.
    Following,
}

/// One listener's end.
#[derive(Debug)]
pub struct Feed {
    items: broadcast::Receiver<Item>,
    sight: Sight,
    shared: Arc<Shared>,
}

impl Feed {
    /// The next unit; `None` when the capture is gone for good. Waits while the capture is off. Video begins
    /// at a keyframe, and does so again after the reader fell behind; sound is handed out as it is.
    ///
    /// May be dropped and called again without losing anything.
    pub async fn next(&mut self) -> Option<Unit> {
        loop {
            match self.items.recv().await {
                Ok(Item::Unit(unit)) => {
                    if let Some(unit) = self.pass(unit) {
                        return Some(unit);
                    }
                }
                Ok(Item::Gap) => self.lose_sight(),
                Err(RecvError::Lagged(lost)) => {
                    self.shared.lags.fetch_add(1, Ordering::Relaxed);
                    self.shared.skipped.fetch_add(lost, Ordering::Relaxed);
                    self.lose_sight();
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn pass(&mut self, unit: Unit) -> Option<Unit> {
        let Unit::Video(video) = &unit else {
            return Some(unit);
        };
        if video.keyframe {
            self.sight = Sight::Following;
        }
        match self.sight {
            Sight::Following => Some(unit),
            Sight::Waiting => {
                self.shared.skipped.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn lose_sight(&mut self) {
        self.sight = Sight::Waiting;
        self.shared.wish(Wish::Again);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn open() -> (Writer, Fanout) {
        fanout(Arc::new(Bell::default()))
    }

    fn picture(rtp_time: u32, keyframe: bool) -> VideoUnit {
        VideoUnit { keyframe, rtp_time, payloads: vec![Bytes::from_static(b"x")] }
    }

    fn sound(rtp_time: u32) -> AudioUnit {
        AudioUnit { rtp_time, payload: Bytes::from_static(b"y") }
    }

    async fn video(feed: &mut Feed) -> u32 {
        loop {
            if let Unit::Video(unit) = feed.next().await.expect("the writer lives") {
                return unit.rtp_time;
            }
        }
    }

    #[tokio::test]
    async fn every_feed_gets_the_same_unit_without_a_copy() {
        let (writer, fanout) = open();
        let (mut a, mut b) = (fanout.feed(), fanout.feed());
        writer.video(picture(1, true));
        let (Some(Unit::Video(one)), Some(Unit::Video(other))) = (a.next().await, b.next().await)
        else {
            panic!("two pictures");
        };
        assert!(Arc::ptr_eq(&one, &other));
        assert_eq!(fanout.counts().feeds, 2);
    }

    #[tokio::test]
    async fn a_new_feed_begins_at_a_keyframe_and_hears_sound_at_once() {
        let (writer, fanout) = open();
        let mut feed = fanout.feed();
        assert_eq!(fanout.take_wish(), Some(Wish::Newcomer), "it asks for one");
        assert_eq!(fanout.take_wish(), None);
        writer.video(picture(1, false));
        writer.audio(sound(2));
        writer.video(picture(3, true));
        writer.video(picture(4, false));
        assert!(matches!(feed.next().await, Some(Unit::Audio(unit)) if unit.rtp_time == 2));
        assert_eq!(video(&mut feed).await, 3);
        assert_eq!(video(&mut feed).await, 4);
    }

    #[tokio::test]
    async fn of_several_wishes_the_most_urgent_is_told() {
        let (_writer, fanout) = open();
        let _quiet = fanout.feed_of_what_comes();
        assert_eq!(fanout.take_wish(), None);
        fanout.suggest_keyframe();
        assert_eq!(fanout.take_wish(), Some(Wish::Spare));
        fanout.request_keyframe();
        let _feed = fanout.feed();
        fanout.suggest_keyframe();
        assert_eq!(fanout.take_wish(), Some(Wish::Newcomer));
        assert_eq!(fanout.take_wish(), None);
    }

    #[tokio::test]
    async fn a_feed_that_falls_behind_resumes_at_a_keyframe_and_asks_for_one() {
        let (writer, fanout) = open();
        let mut feed = fanout.feed();
        writer.video(picture(0, true));
        assert_eq!(video(&mut feed).await, 0);
        fanout.take_wish();
        for time in 1..=(2 * DEPTH as u32) {
            writer.video(picture(time, false));
        }
        writer.audio(sound(500));
        writer.video(picture(501, true));
        assert!(matches!(feed.next().await, Some(Unit::Audio(_))));
        assert_eq!(fanout.take_wish(), Some(Wish::Again));
        assert_eq!(video(&mut feed).await, 501);
        let counts = fanout.counts();
        assert_eq!(counts.lags, 1);
        assert_eq!(counts.skipped, 2 * DEPTH as u64);
    }

    #[tokio::test]
    async fn a_gap_before_the_fan_out_stops_video_until_a_keyframe() {
        let (writer, fanout) = open();
        let mut feed = fanout.feed();
        writer.video(picture(0, true));
        writer.gap();
        writer.video(picture(1, false));
        writer.video(picture(2, true));
        assert_eq!(video(&mut feed).await, 0);
        fanout.take_wish();
        assert_eq!(video(&mut feed).await, 2);
        assert_eq!(fanout.take_wish(), Some(Wish::Again));
    }

    #[tokio::test]
    async fn feeds_end_with_the_writer_even_while_fan_outs_are_held() {
        let (writer, fanout) = open();
        let mut feed = fanout.feed();
        drop(writer);
        assert!(feed.next().await.is_none());
        assert!(fanout.feed().next().await.is_none());
    }
}
