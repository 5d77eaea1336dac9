//! The daemon's word to systemd: ready, status, stopping, and the watchdog's food.
//!
//! Everything here does nothing where no service manager listens (`$NOTIFY_SOCKET` unset). When the
//! daemon is ready is its own decision.

use sd_notify::NotifyState;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{debug, warn};

fn tell(states: &[NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(states) {
        debug!("the service manager was not told: {why}");
    }
}

/// The start is over: the configuration is good, the panel claimed, the control socket open.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// One line for `systemctl status`.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(&one_line(status))]);
}

/// The daemon has begun to stop.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// A line break would begin another assignment of the protocol.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// A counter of the main loop's turns. Clones count together.
#[derive(Debug, Clone)]
pub struct Progress(watch::Sender<u64>);

impl Progress {
    /// At 0.
    pub fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// One turn more.
    pub fn beat(&self) {
        self.0.send_modify(|turns| *turns = turns.wrapping_add(1));
    }

    /// The turns so far.
    pub fn turns(&self) -> u64 {
        *self.0.borrow()
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// Feeds systemd's watchdog, but only while the main loop turns.
///
/// An idle loop makes no turn by itself, so the watchdog first asks it for one (the probe) and feeds
/// when the progress counter has moved. A loop that does not turn is not fed for, and systemd ends
/// the process when `WatchdogSec=` has passed.
#[derive(Debug)]
pub struct Watchdog {
    limit: Duration,
}

impl Watchdog {
    /// The watchdog, if the service manager asks for one.
    pub fn from_environment() -> Option<Self> {
        let limit = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())?;
        Some(Self { limit })
    }

    /// Runs as long as somebody has the counter. `ask` puts a probe into the main loop's inbox and never waits; a probe that
    /// finds the inbox full may be left out, since the loop has enough to turn for.
    pub fn run(
        self,
        progress: &Progress,
        ask: impl Fn() + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        self.feed(progress.0.subscribe(), ask, || tell(&[NotifyState::Watchdog]))
    }

    async fn feed(
        self,
        mut turns: watch::Receiver<u64>,
        ask: impl Fn() + Send,
        mut food: impl FnMut() + Send,
    ) {
        // Twice within the limit, as sd_watchdog_enabled(3) advises, with room for one slow turn.
        let pause = self.limit / 4;
        let patience = self.limit / 4;
        loop {
            turns.mark_unchanged();
            ask();
            match tokio::time::timeout(patience, turns.changed()).await {
                Ok(Ok(())) => food(),
                Ok(Err(_)) => return,
                Err(_) => warn!(
                    "the main loop has not turned for {} ms; the watchdog is not fed",
                    patience.as_millis()
                ),
            }
            let over = async { while turns.changed().await.is_ok() {} };
            if tokio::time::timeout(pause, over).await.is_ok() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    const LIMIT: Duration = Duration::from_secs(8);

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_only_while_the_loop_answers_probes() {
        let progress = Progress::new();
        let (probes, mut inbox) = tokio::sync::mpsc::channel::<()>(1);
        let fed = Arc::new(AtomicU32::new(0));
        let count = fed.clone();
        let watchdog = Watchdog { limit: LIMIT };
        let dog = tokio::spawn(watchdog.feed(
            progress.0.subscribe(),
            move || {
                let _ = probes.try_send(());
            },
            move || {
                count.fetch_add(1, Ordering::Relaxed);
            },
        ));
        // A main loop that hangs when it is told to.
        let (hang, mut hung) = watch::channel(false);
        let main = tokio::spawn(async move {
            while inbox.recv().await.is_some() {
                let released = hung.wait_for(|hung| !hung).await;
                released.expect("the test holds the sender");
                progress.beat();
            }
        });
        let meals = || fed.load(Ordering::Relaxed);
        tokio::time::sleep(LIMIT * 3).await;
        assert!(meals() >= 6, "{}", meals());

        hang.send_replace(true);
        let before = meals();
        tokio::time::sleep(LIMIT * 3).await;
        assert_eq!(meals(), before);

        hang.send_replace(false);
        tokio::time::sleep(LIMIT).await;
        assert!(meals() > before);
        main.abort();
        dog.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_living_loop_is_fed_for_often_enough() {
        let progress = Progress::new();
        let turn = progress.clone();
        let (fed, mut meals) = tokio::sync::mpsc::channel(1);
        let watchdog = Watchdog { limit: LIMIT };
        let dog = tokio::spawn(watchdog.feed(
            progress.0.subscribe(),
            // A loop that turns at once.
            move || turn.beat(),
            move || {
                let _ = fed.try_send(tokio::time::Instant::now());
            },
        ));
        let mut last = meals.recv().await.expect("fed");
        for _ in 0..20 {
            let meal = meals.recv().await.expect("fed");
            assert!(meal - last <= LIMIT / 2);
            last = meal;
        }
        dog.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_ends_with_the_loop_and_keeps_nobody_waiting() {
        for turns in [true, false] {
            let progress = Progress::new();
            let (probes, mut inbox) = tokio::sync::mpsc::channel::<()>(1);
            let ask = move || {
                let _ = probes.try_send(());
            };
            let dog = Watchdog { limit: LIMIT }.feed(progress.0.subscribe(), ask, || {});
            let dog = tokio::spawn(dog);
            let main = tokio::spawn(async move {
                while inbox.recv().await.is_some() {
                    if turns {
                        progress.beat();
                    }
                }
            });
            tokio::time::sleep(LIMIT + LIMIT / 8).await;
            assert!(!dog.is_finished());
            main.abort();
            let ended = tokio::time::timeout(Duration::from_millis(1), dog).await;
            ended.expect("at once").expect("it ends");
        }
    }

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(one_line("ready\nMAINPID=1"), "ready MAINPID=1");
    }
}
