//! The hooks room: tells programs, web addresses, phones and a home automation what happens at the door.
//!
//! The daemon tells it events and never waits for it: each outlet has a queue of its own with an end, and
//! what does not fit any more is dropped, the oldest first, and counted. The other way there is one thing
//! only: a [`Wish`], which the daemon grants or does not.
//!
//! It must not decide about calls or the door, and it keeps nothing on disk.

mod backlog;
mod body;
mod command;
mod courier;
mod discovery;
mod error;
mod event;
mod ledger;
mod mirror;
mod mqtt;
mod outbox;
mod picture;
mod push;
mod retry;
mod sender;
mod signature;
mod trust;
mod web_push;
mod web_push_crypt;
mod webhook;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tracing::warn;
use url::Url;

pub use error::HookError;
pub use event::{Event, What};
pub use outbox::OutletStatus;
pub use web_push::{Sleepers, Waking};
pub use web_push_crypt::public_key;

use crate::config::{HookEvent, HooksSettings};
use outbox::{Closing, Outbox};

/// Events that wait at one outlet, those to be tried again included.
pub const WAITING: usize = 64;
/// Programs that run at the same time, of all hooks together.
pub const PROGRAMS: usize = 4;
/// Wishes that wait for the daemon. One more is dropped: the door would open later than it was meant to.
const WISHES: usize = 4;

/// What the outside asks of the daemon, which decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Open the door.
    Open {
        /// Who asks, for the log and the events: `mqtt`.
        by: &'static str,
    },
}

/// Something to be run until the hooks are closed.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What [`Hooks::start`] gives.
pub struct Started {
    /// Where events go.
    pub hooks: Hooks,
    /// One task for each outlet, with its name. Nothing is sent before they run.
    pub tasks: Vec<(String, Running)>,
    /// What the outside asks for. Ends when no outlet can ask.
    pub wishes: mpsc::Receiver<Wish>,
}

/// The door's side of all outlets.
pub struct Hooks {
    door: Arc<str>,
    outlets: Vec<Arc<Outbox>>,
    closing: watch::Sender<bool>,
    /// Ends when every outlet has.
    ended: mpsc::Receiver<()>,
}

impl Hooks {
    /// Makes the outlets. `door` is the channel, which events name as `door`.
    ///
    /// Opens nothing: what cannot be reached shows in [`Hooks::status`] and the log.
    pub fn start(settings: &HooksSettings, door: &str) -> Started {
        Self::start_with(settings, door, None)
    }

    /// The same with what waking phones takes; without, none is woken.
    pub fn start_with(settings: &HooksSettings, door: &str, waking: Option<Waking>) -> Started {
        let (closing, closed) = watch::channel(false);
        let (alive, ended) = mpsc::channel(1);
        let (wish, wishes) = mpsc::channel(WISHES);
        let mut making = Making { outlets: Vec::new(), tasks: Vec::new(), closed, alive };
        let programs = Arc::new(Semaphore::new(PROGRAMS));
        for hook in &settings.commands {
            let name = hook.run.first().map_or("", String::as_str);
            let (hook, programs) = (hook.clone(), programs.clone());
            making.outlet(format!("command {name}"), hook.on.clone(), |outbox, closing| {
                Box::pin(command::run(hook, outbox, programs, closing))
            });
        }
        for hook in &settings.webhooks {
            let hook = hook.clone();
            let name = format!("webhook {}", host_of(hook.url.expose()));
            making.outlet(name, hook.on.clone(), |outbox, closing| {
                Box::pin(webhook::run(hook, outbox, closing))
            });
        }
        if let Some(hook) = settings.push.clone() {
            let name = format!("push {}", host_of(hook.url.expose()));
            making.outlet(name, hook.on.clone(), |outbox, closing| {
                Box::pin(push::run(hook, outbox, closing))
            });
        }
        if let (Some(hook), Some(waking)) = (settings.web_push.clone(), waking) {
            making.outlet("web push".to_owned(), hook.on.clone(), |outbox, closing| {
                Box::pin(web_push::run(hook, waking, outbox, closing))
            });
        }
        if let Some(hook) = settings.mqtt.clone() {
            let name = format!("mqtt {}", hook.host);
            let name_of_door = Arc::from(door);
            let on = HookEvent::ALL
                .into_iter()
                .filter(|kind| hook.picture || *kind != HookEvent::Picture);
            making.outlet(name, on.collect(), |outbox, closing| {
                Box::pin(mqtt::run(hook, name_of_door, outbox, wish, closing))
            });
        }
        let Making { outlets, tasks, .. } = making;
        let hooks = Self { door: door.into(), outlets, closing, ended };
        Started { hooks, tasks, wishes }
    }

    /// Tells every outlet that wants such events. Never waits.
    pub fn tell(&self, event: Event) {
        let event = Arc::new(event.cleaned(&self.door));
        for outlet in &self.outlets {
            if outlet.wants(event.kind()) {
                outlet.put(event.clone());
            }
        }
    }

    /// How each outlet does, in the order of the configuration.
    pub fn status(&self) -> Vec<OutletStatus> {
        self.outlets.iter().map(|outlet| outlet.status()).collect()
    }

    /// Lets the outlets send what was never tried, and end; gives up after `patience`.
    pub async fn close(mut self, patience: Duration) {
        let _ = self.closing.send(true);
        // Nothing is ever sent on it: it ends with the last outlet.
        if tokio::time::timeout(patience, self.ended.recv()).await.is_err() {
            let late = self.outlets.iter().filter(|outlet| outlet.status().waiting > 0);
            let names: Vec<String> = late.map(|outlet| outlet.name().to_owned()).collect();
            warn!("hooks did not end within {patience:?}; events wait at: {}", names.join(", "));
        }
    }
}

/// The outlets as they come.
struct Making {
    outlets: Vec<Arc<Outbox>>,
    tasks: Vec<(String, Running)>,
    closed: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
}

impl Making {
    fn outlet(
        &mut self,
        name: String,
        on: std::collections::BTreeSet<HookEvent>,
        run: impl FnOnce(Arc<Outbox>, Closing) -> Running,
    ) {
        let same = self.outlets.iter().filter(|outlet| outlet.is_called(&name)).count();
        // Two addresses of one host, or one program for two sorts of events.
        let name = if same > 0 { format!("{name} ({})", same + 1) } else { name };
        let outbox = Arc::new(Outbox::new(name.clone(), on, WAITING));
        let running = run(outbox.clone(), Closing::new(self.closed.clone()));
        let alive = self.alive.clone();
        self.outlets.push(outbox);
        let task = Box::pin(async move {
            let _alive = alive;
            running.await;
        });
        self.tasks.push((format!("hook {name}"), task));
    }
}

/// The host of an address, which is all of it that may be told.
fn host_of(address: &str) -> String {
    let url = Url::parse(address).ok();
    url.and_then(|url| Some(url.host_str()?.to_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_outlets_there_is_nothing_to_run_and_nothing_to_wait_for() {
        let mut started = Hooks::start(&HooksSettings::default(), "front-door");
        assert!(started.tasks.is_empty());
        started.hooks.tell(Event { call: None, at: 0, what: What::Ring { again: false } });
        assert!(started.hooks.status().is_empty());
        started.hooks.close(Duration::from_secs(3600)).await;
        assert_eq!(started.wishes.recv().await, None);
    }

    #[tokio::test]
    async fn outlets_that_tell_the_same_one_can_be_told_apart() {
        let hook = crate::config::CommandHook {
            on: [HookEvent::Ring].into(),
            run: vec!["/bin/x".to_owned()],
            timeout: Duration::from_secs(1),
        };
        let commands = vec![hook.clone(), hook.clone(), hook];
        let settings = HooksSettings { commands, ..HooksSettings::default() };
        let started = Hooks::start(&settings, "front-door");
        let names: Vec<_> = started.tasks.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["hook command /bin/x", "hook command /bin/x (2)", "hook command /bin/x (3)"]
        );
    }

    #[test]
    fn only_the_host_of_an_address_is_told() {
        assert_eq!(host_of("https://owner.example/hook?token=x"), "owner.example");
        assert_eq!(host_of("nonsense"), "");
    }
}
