//! Wakes one thread of this room. Rings while it is busy are one ring, so nothing queues up.
//!
//! Not for tasks of the async side: those have their own channels.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gstreamer::{self as gst, prelude::*};

/// A bell one thread waits for and anybody rings.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    /// Rings. Never blocks for longer than setting a flag takes.
    pub(super) fn ring(&self) {
        *lock(&self.rung) = true;
        self.changed.notify_one();
    }

    /// Whether it was rung since the last time somebody asked or waited.
    #[cfg(test)]
    pub(super) fn has_rung(&self) -> bool {
        std::mem::take(&mut *lock(&self.rung))
    }

    /// Waits for a ring, at most so long. A ring since the last wait ends it at once.
    pub(super) fn wait(&self, limit: Duration) {
        let rung = lock(&self.rung);
        let (mut rung, _) = self
            .changed
            .wait_timeout_while(rung, limit, |rung| !*rung)
            .unwrap_or_else(PoisonError::into_inner);
        *rung = false;
    }
}

/// Lets a pipeline ring the bell of `owner` when it has an error or another latency to tell. Only such messages stay
/// on its bus, for whoever the bell wakes to read: the bus would grow.
pub(super) fn ring_on_news<T: Send + Sync + 'static>(
    pipeline: &gst::Pipeline,
    owner: &Arc<T>,
    bell: fn(&T) -> &Bell,
) {
    let Some(bus) = pipeline.bus() else { return };
    let owner = Arc::downgrade(owner);
    bus.set_sync_handler(move |_, message| match message.type_() {
        gst::MessageType::Error | gst::MessageType::Latency => {
            if let Some(owner) = owner.upgrade() {
                bell(&owner).ring();
            }
            gst::BusSyncReply::Pass
        }
        _ => gst::BusSyncReply::Drop,
    });
}

/// Locks, also after a panic elsewhere: what this room keeps behind locks is valid between any two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_not_lost_and_counts_once() {
        let bell = Bell::default();
        bell.ring();
        bell.ring();
        bell.wait(Duration::from_secs(60));
        assert!(!*lock(&bell.rung));
    }
}
