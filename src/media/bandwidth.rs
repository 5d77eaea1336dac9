//! Between the links and the capture: links say what their paths have room for and hear what they are to
//! carry; the capture's thread hears what the encoder is to keep.
//!
//! Decides nothing itself; that is `allocator.rs`. Knows no network and no pipeline.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::watch;

use super::allocator::{Allocator, Party};
use super::bell::{Bell, lock};
use crate::intercom::VideoMode;

/// The common end: hands out shares, tells the encoder's rate. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bandwidth(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    configured: u32,
    bell: Arc<Bell>,
    origin: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    allocator: Allocator,
    next: u64,
    links: Vec<Link>,
}

#[derive(Debug)]
struct Link {
    number: u64,
    mode: watch::Sender<VideoMode>,
    /// Pieces of its voice may be lost.
    corrects: bool,
}

impl State {
    fn publish(&self) {
        for link in &self.links {
            if let Some(decided) = self.allocator.mode(link.number) {
                link.mode.send_if_modified(|mode| std::mem::replace(mode, decided) != decided);
            }
        }
    }

    fn corrects(&self) -> bool {
        self.links.iter().any(|link| link.corrects)
    }
}

impl Bandwidth {
    /// For an encoder whose full rate is `configured` bit/s. The bell is rung when its rate is to change.
    pub(super) fn new(configured: u32, bell: Arc<Bell>) -> Self {
        let state = State { allocator: Allocator::new(configured), next: 0, links: Vec::new() };
        Self(Arc::new(Shared {
            configured,
            bell,
            origin: Instant::now(),
            state: Mutex::new(state),
        }))
    }

    /// The encoder's full rate, in bit/s.
    pub fn configured(&self) -> u32 {
        self.0.configured
    }

    /// The rate the encoder is to keep now, in bit/s.
    pub fn bitrate(&self) -> u32 {
        lock(&self.0.state).allocator.bitrate()
    }

    /// Whether the voice is to carry its own correction (RFC 6716 section 2.1.7): while any link may lose a piece of it.
    pub fn corrects(&self) -> bool {
        lock(&self.0.state).corrects()
    }

    /// A phone's share; given back when dropped.
    pub fn join(&self) -> Share {
        self.join_as(Party::Phone)
    }

    /// The share of such a link.
    pub fn join_as(&self, party: Party) -> Share {
        let (sender, mode) = watch::channel(VideoMode::Full);
        let link = self.change(|state| {
            let number = state.next;
            state.next += 1;
            state.allocator.join(number, party);
            state.links.push(Link { number, mode: sender, corrects: true });
            number
        });
        Share { link, mode, bandwidth: self.clone() }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.0.state);
        let heard = |state: &State| (state.allocator.bitrate(), state.corrects());
        let before = heard(&state);
        let changed = change(&mut state);
        state.publish();
        let after = heard(&state);
        drop(state);
        if before != after {
            self.0.bell.ring();
        }
        changed
    }
}

/// One link's share in the encoder.
#[derive(Debug)]
pub struct Share {
    link: u64,
    mode: watch::Receiver<VideoMode>,
    bandwidth: Bandwidth,
}

impl Share {
    /// The path has room for `room` bit/s of video beside the voice. To be said about every 200 ms while
    /// the path is alive; a link that is silent for 2 s has no say.
    pub fn tell(&self, room: u32) {
        let now = self.bandwidth.0.origin.elapsed();
        self.bandwidth.change(|state| state.allocator.tell(self.link, room, now));
    }

    /// The path says nothing now, and time passes. To be said in place of [`tell`](Self::tell).
    pub fn pass(&self) {
        let now = self.bandwidth.0.origin.elapsed();
        self.bandwidth.change(|state| state.allocator.pass(now));
    }

    /// Whether pieces of the voice may be lost on the way. A link counts as such a one until it says otherwise.
    pub fn correct(&self, corrects: bool) {
        self.bandwidth.change(|state| {
            if let Some(link) = state.links.iter_mut().find(|link| link.number == self.link) {
                link.corrects = corrects;
            }
        });
    }

    /// What the link is to carry.
    pub fn mode(&self) -> watch::Receiver<VideoMode> {
        self.mode.clone()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let now = self.bandwidth.0.origin.elapsed();
        self.bandwidth.change(|state| {
            state.allocator.leave(self.link, now);
            state.links.retain(|link| link.number != self.link);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_voice_carries_its_own_correction_while_any_link_may_lose_a_piece_of_it() {
        let bell = Arc::new(Bell::default());
        let bandwidth = Bandwidth::new(1_000_000, Arc::clone(&bell));
        let good = bandwidth.join();
        assert!(bandwidth.corrects(), "nothing is known of its path");
        let rang = || bell.has_rung();
        rang();
        good.correct(false);
        assert!(!bandwidth.corrects());
        assert!(rang(), "the encoder hears of it");
        good.correct(false);
        assert!(!rang(), "once");
        let bad = bandwidth.join();
        assert!(rang() && bandwidth.corrects(), "nor of a second one's");
        bad.correct(false);
        good.correct(true);
        assert!(bandwidth.corrects());
        drop(good);
        assert!(!bandwidth.corrects());
    }

    #[tokio::test]
    async fn a_share_hears_its_mode_and_gives_all_back_when_dropped() {
        let bandwidth = Bandwidth::new(1_000_000, Arc::new(Bell::default()));
        let (good, bad) = (bandwidth.join(), bandwidth.join());
        let mut mode = bad.mode();
        good.tell(1_000_000);
        bad.tell(100_000);
        mode.changed().await.expect("the share lives");
        assert_eq!(*mode.borrow(), VideoMode::Keyframes);
        assert_eq!(*good.mode().borrow(), VideoMode::Full);
        assert_eq!(bandwidth.bitrate(), 1_000_000);
        drop((good, bad));
        assert_eq!(bandwidth.bitrate(), 1_000_000);
        assert!(mode.changed().await.is_err());
    }
}
