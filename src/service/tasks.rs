//! Named tasks and threads, so that the daemon knows what runs and what has stopped.
//!
//! It starts them, notices their ends and waits for them at shutdown. How a task is told to stop is
//! between the task and the daemon.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{debug, error, warn};

/// What the end of a task means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// The daemon cannot work without it: its end ends the daemon.
    Essential,
    /// Its end is normal, or costs one feature.
    Ordinary,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// It returned.
    Returned,
    /// It panicked, with this message. Release builds abort instead.
    Panicked(String),
}

/// The end of an essential task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub how: How,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.how {
            How::Returned => write!(f, "the essential task {:?} has ended", self.name),
            How::Panicked(why) => write!(f, "the essential task {:?} panicked: {why}", self.name),
        }
    }
}

/// All tasks and threads of the daemon. Dropping it aborts the tasks; threads go on.
#[derive(Debug, Default)]
pub struct Tasks {
    running: JoinSet<How>,
    names: BTreeMap<Id, (String, Weight)>,
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task. Must be called inside a tokio runtime.
    pub fn spawn(
        &mut self,
        name: impl Into<String>,
        weight: Weight,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.running.spawn(async {
            future.await;
            How::Returned
        });
        self.names.insert(task.id(), (name.into(), weight));
    }

    /// Starts a thread whose end counts as a task's. It cannot be aborted.
    ///
    /// # Errors
    /// The kernel gives no more threads.
    pub fn thread(
        &mut self,
        name: impl Into<String>,
        weight: Weight,
        run: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let name = name.into();
        let (tell, ended) = oneshot::channel();
        std::thread::Builder::new().name(name.clone()).spawn(move || {
            run();
            // Nobody to tell: the daemon has given this thread up already.
            let _ = tell.send(());
        })?;
        let task = self.running.spawn(async {
            match ended.await {
                Ok(()) => How::Returned,
                Err(_) => How::Panicked("the thread's own message is in the log above".to_owned()),
            }
        });
        self.names.insert(task.id(), (name, weight));
        Ok(())
    }

    /// The names of those that run, in the order of their start.
    pub fn names(&self) -> Vec<&str> {
        self.names.values().map(|(name, _)| name.as_str()).collect()
    }

    /// Waits until an essential task has ended, for ever if none does. Ends of ordinary ones are
    /// logged on the way. Cancel safe.
    pub async fn essential_end(&mut self) -> Ended {
        loop {
            let Some(end) = self.running.join_next_with_id().await else {
                // Without tasks there is nothing to wait for; a later call sees new ones.
                std::future::pending::<()>().await;
                continue;
            };
            if let Some((ended, Weight::Essential)) = self.ended(end) {
                return ended;
            }
        }
    }

    /// Waits for all tasks, at most `patience`, then aborts the rest. Returns the names of those that
    /// did not end by themselves.
    pub async fn shutdown(mut self, patience: Duration) -> Vec<String> {
        let deadline = Instant::now() + patience;
        while let Ok(Some(end)) =
            tokio::time::timeout_at(deadline, self.running.join_next_with_id()).await
        {
            self.ended(end);
        }
        let late: Vec<String> = self.names.into_values().map(|(name, _)| name).collect();
        if !late.is_empty() {
            warn!("did not stop in time: {}", late.join(", "));
        }
        late
    }

    fn ended(&mut self, end: Result<(Id, How), JoinError>) -> Option<(Ended, Weight)> {
        let (id, how) = match end {
            Ok((id, how)) => (id, how),
            Err(end) => (end.id(), How::Panicked(message(end))),
        };
        let (name, weight) = self.names.remove(&id)?;
        match (&how, weight) {
            (How::Panicked(why), Weight::Ordinary) => error!("task {name:?} panicked: {why}"),
            (How::Returned, Weight::Ordinary) => debug!("task {name:?} has ended"),
            // The daemon says it, with what it does about it.
            (_, Weight::Essential) => {}
        }
        Some((Ended { name, how }, weight))
    }
}

fn message(end: JoinError) -> String {
    match end.try_into_panic() {
        Ok(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => match payload.downcast::<&'static str>() {
                Ok(text) => (*text).to_owned(),
                Err(_) => "no message".to_owned(),
            },
        },
        Err(_) => "it was aborted".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_essential_end_is_told_with_its_name() {
        let mut tasks = Tasks::new();
        tasks.spawn("visitor", Weight::Ordinary, async {});
        tasks.spawn("uplink", Weight::Essential, async {
            tokio::time::sleep(Duration::from_secs(3)).await;
        });
        tasks.spawn("clock", Weight::Essential, std::future::pending());
        let ended = tasks.essential_end().await;
        assert_eq!(ended.to_string(), "the essential task \"uplink\" has ended");
        assert_eq!(tasks.names(), ["clock"]);
    }

    #[tokio::test]
    async fn a_panic_of_an_essential_task_is_told_with_its_message() {
        let mut tasks = Tasks::new();
        tasks.spawn("loop", Weight::Essential, async { panic!("a wanted {}", 1) });
        let ended = tasks.essential_end().await;
        assert_eq!(ended.name, "loop");
        assert_eq!(ended.how, How::Panicked("a wanted 1".to_owned()));
    }

    #[tokio::test]
    async fn a_thread_counts_like_a_task() {
        let mut tasks = Tasks::new();
        let (seen, name) = std::sync::mpsc::channel();
        tasks
            .thread("reader", Weight::Essential, move || {
                let thread = std::thread::current();
                seen.send(thread.name().map(str::to_owned)).expect("the test waits");
            })
            .expect("one more thread");
        assert_eq!(tasks.essential_end().await.how, How::Returned);
        assert_eq!(name.recv().expect("sent above"), Some("reader".to_owned()));

        tasks
            .thread("writer", Weight::Essential, || panic!("a wanted panic"))
            .expect("one more thread");
        let ended = tasks.essential_end().await;
        assert!(matches!(ended.how, How::Panicked(_)), "{ended}");
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_waits_for_those_that_end_and_names_those_that_do_not() {
        let mut tasks = Tasks::new();
        tasks.spawn("quick", Weight::Essential, async {
            tokio::time::sleep(Duration::from_secs(1)).await;
        });
        tasks.spawn("deaf", Weight::Ordinary, std::future::pending());
        let start = Instant::now();
        assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, ["deaf"]);
        assert_eq!(start.elapsed(), Duration::from_secs(5));

        let mut tasks = Tasks::new();
        tasks.spawn("quick", Weight::Essential, async {});
        let none: [String; 0] = [];
        assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, none);
    }
}
