//! Whether a voice that comes is heard. One that is not is begun anew by the speaker's thread.
//!
//! Asks no clock; what is heard is counted by the threads of the pipeline.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A voice that comes and is not heard for so long is begun anew: its jitter buffer may wait for times that a peer made up.
const MUTE: Duration = Duration::from_secs(5);
/// So many packets in that time are a voice; fewer may be the silence of a phone that sends none.
const SPEAKS: u64 = 100;

/// Whether what comes of a voice is heard.
#[derive(Debug)]
pub(super) struct Hearing {
    /// Counts what is heard of it.
    heard: Arc<AtomicU64>,
    /// The counts when something was heard last, and when that was.
    last_heard: u64,
    last_fed: u64,
    since: Instant,
}

impl Hearing {
    /// Nothing was heard yet of one of which so much came.
    pub(super) fn new(fed: u64) -> Self {
        Self { heard: Arc::default(), last_heard: 0, last_fed: fed, since: Instant::now() }
    }

    /// To be counted up by whoever hears some of it.
    pub(super) fn count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.heard)
    }

    /// Whether the voice comes and has not been heard for [`MUTE`].
    pub(super) fn is_mute(&mut self, now: Instant, fed: u64) -> bool {
        let heard = self.heard.load(Ordering::Relaxed);
        let time_is_up = now.saturating_duration_since(self.since) >= MUTE;
        let comes = fed.saturating_sub(self.last_fed) >= SPEAKS;
        if heard != self.last_heard || time_is_up {
            let is_mute = heard == self.last_heard && comes;
            (self.last_heard, self.last_fed, self.since) = (heard, fed, now);
            return is_mute;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voice_that_comes_and_is_not_heard_for_five_seconds_is_mute() {
        let mut hearing = Hearing::new(7);
        let start = hearing.since;
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!hearing.is_mute(at(4), 207), "it may be on its way");
        assert!(hearing.is_mute(at(5), 257));
        hearing.heard.store(1, Ordering::Relaxed);
        assert!(!hearing.is_mute(at(6), 307));
        assert!(!hearing.is_mute(at(10), 507));
        assert!(hearing.is_mute(at(11), 557));
        assert!(!hearing.is_mute(at(16), 557 + SPEAKS - 1), "a phone that is silent sends little");
    }
}
