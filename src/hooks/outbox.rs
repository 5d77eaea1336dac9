//! The mailbox between the daemon and one outlet: the daemon puts in and goes on, the outlet's task takes
//! out; both can see how it does.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::backlog::{Backlog, Item};
use super::error::HookError;
use super::event::Told;
use crate::config::HookEvent;

/// How an outlet does.
#[derive(Debug, Clone, PartialEq)]
pub struct OutletStatus {
    /// Its sort and whom it tells: `webhook owner.example`.
    pub name: String,
    /// When it last succeeded, in unix seconds.
    pub last_success: Option<f64>,
    /// When it last failed, in unix seconds.
    pub last_failure: Option<f64>,
    /// Why it last failed, for people.
    pub last_error: Option<String>,
    /// Events that were told.
    pub sent: u64,
    /// Events that were given up after they had failed.
    pub failed: u64,
    /// Events that were dropped because too many waited.
    pub dropped: u64,
    /// Events that wait.
    pub waiting: usize,
}

/// One event for one outlet.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    /// The same over all tries.
    pub(super) id: Uuid,
    pub(super) told: Arc<Told>,
}

/// The mailbox.
pub(super) struct Outbox {
    name: String,
    on: BTreeSet<HookEvent>,
    inside: Mutex<Inside>,
    news: Notify,
}

struct Inside {
    backlog: Backlog<Parcel>,
    last_success: Option<f64>,
    last_failure: Option<(f64, HookError)>,
    sent: u64,
    failed: u64,
    /// Dropped after they were taken out.
    dropped: u64,
    /// Taken out and waiting elsewhere.
    held: usize,
}

impl Outbox {
    pub(super) fn new(name: String, on: BTreeSet<HookEvent>, limit: usize) -> Self {
        let inside = Inside {
            backlog: Backlog::new(limit),
            last_success: None,
            last_failure: None,
            sent: 0,
            failed: 0,
            dropped: 0,
            held: 0,
        };
        Self { name, on, inside: Mutex::new(inside), news: Notify::new() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is its name, apart from a number behind it.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(" ("))
    }

    pub(super) fn wants(&self, kind: HookEvent) -> bool {
        self.on.contains(&kind)
    }

    /// Puts one in. Never waits: the lock is never held over anything that does.
    pub(super) fn put(&self, told: Arc<Told>) {
        let now = tokio::time::Instant::now().into_std();
        let lost = {
            let mut inside = self.inside();
            let before = inside.backlog.dropped();
            inside.backlog.put(now, Parcel { id: Uuid::new_v4(), told });
            inside.backlog.dropped() - before
        };
        if lost > 0 {
            debug!("{} has too much to do, its oldest event is dropped", self.name);
        }
        self.news.notify_one();
    }

    /// Waits for the next, what failed before included. While closing, only what was never tried, then
    /// nothing. Cancel safe.
    pub(super) async fn next(&self, closing: &mut Closing) -> Option<Item<Parcel>> {
        loop {
            let due = {
                let mut inside = self.inside();
                if closing.is_closing() {
                    return inside.backlog.take_fresh();
                }
                if let Some(item) = inside.backlog.take(tokio::time::Instant::now().into_std()) {
                    return Some(item);
                }
                inside.backlog.due()
            };
            tokio::select! {
                () = self.news.notified() => {}
                () = closing.closed() => {}
                () = sleep_until(due) => {}
            }
        }
    }

    /// Puts one back to be tried again.
    pub(super) fn put_back(&self, item: Item<Parcel>, at: Instant) {
        self.inside().backlog.put_back(item, at);
        self.news.notify_one();
    }

    /// Notes that an event was told.
    pub(super) fn sent(&self, told: &Told) {
        debug!("{} was told: {}", self.name, told.kind().name());
        let mut inside = self.inside();
        inside.sent += 1;
        inside.last_success = Some(unix_now());
    }

    /// Notes that it can be reached.
    pub(super) fn reached(&self) {
        self.inside().last_success = Some(unix_now());
    }

    /// Notes a failure. The same one again and again is said once.
    pub(super) fn trouble(&self, error: &HookError) {
        let mut inside = self.inside();
        let well_since = inside.last_success >= inside.last_failure.as_ref().map(|(at, _)| *at);
        let known = inside.last_failure.as_ref().is_some_and(|(_, last)| last == error);
        inside.last_failure = Some((unix_now(), error.clone()));
        drop(inside);
        if known && !well_since {
            debug!("{}: {error}", self.name);
        } else {
            warn!("{}: {error}", self.name);
        }
    }

    /// Notes that an event will not be told any more.
    pub(super) fn gave_up(&self, told: &Told) {
        info!("{} will not be told of: {}", self.name, told.kind().name());
        self.inside().failed += 1;
    }

    /// Notes that an event was dropped after it was taken out.
    pub(super) fn dropped(&self) {
        self.inside().dropped += 1;
    }

    /// Notes how many that were taken out wait to be told.
    pub(super) fn holds(&self, count: usize) {
        self.inside().held = count;
    }

    pub(super) fn status(&self) -> OutletStatus {
        let inside = self.inside();
        let failure = inside.last_failure.as_ref();
        OutletStatus {
            name: self.name.clone(),
            last_success: inside.last_success,
            last_failure: failure.map(|(at, _)| *at),
            last_error: failure.map(|(_, error)| error.to_string()),
            sent: inside.sent,
            failed: inside.failed,
            dropped: inside.backlog.dropped() + inside.dropped,
            waiting: inside.backlog.len() + inside.held,
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Nobody panics while holding it; if one did, counts are all that could be off.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the hooks are being closed. A daemon that has dropped them counts as well.
#[derive(Clone)]
pub(super) struct Closing(watch::Receiver<bool>);

impl Closing {
    pub(super) fn new(receiver: watch::Receiver<bool>) -> Self {
        Self(receiver)
    }

    pub(super) fn is_closing(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits for it.
    pub(super) async fn closed(&mut self) {
        // An error says that nobody will ever tell.
        let _ = self.0.wait_for(|closing| *closing).await;
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
