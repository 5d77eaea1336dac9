//! The persons of the house and what is kept for them: their proofs, and where their phones are woken.
//!
//! Ties the memory room to the control socket, to the hooks and to the heart's wishes. Its work may wait for the disk, so
//! it is done beside the daemon's loop.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use crate::config::Settings;
use crate::hooks::{self, Waking};
use crate::intercom::{Input, Name, PeerKey, PushAddress};
use crate::memory::MemoryError;
use crate::memory::persons::Persons;
use crate::memory::sleepers::{Sleepers, own_key};
use crate::service::control::{NewPerson, Reply};

/// See the file's head. Clones know the same.
#[derive(Debug, Clone)]
pub struct Household {
    persons: Persons,
    look_in: bool,
    /// `None`: no phone is woken.
    waking: Option<Alarm>,
}

/// What waking takes.
#[derive(Clone)]
struct Alarm {
    sleepers: Sleepers,
    key: Arc<[u8]>,
    public_key: Arc<str>,
}

/// What is to become of whom.
#[derive(Debug)]
pub enum Change {
    /// May open the door from a page.
    Add(String),
    /// May do so no more.
    Remove(String),
}

impl Household {
    /// Reads what is remembered.
    pub fn open(settings: &Settings) -> Self {
        let wanted = settings.hooks.web_push.is_some();
        let household = Self {
            persons: Persons::open(&settings.state_dir),
            look_in: settings.look_in,
            waking: wanted.then(|| Alarm::open(&settings.state_dir)).flatten(),
        };
        // Somebody may have been removed while nobody was woken.
        household.wake_persons_only();
        household
    }

    /// The persons.
    pub fn persons(&self) -> &Persons {
        &self.persons
    }

    /// What the hooks need to wake phones.
    pub fn waking(&self) -> Option<Waking> {
        let alarm = self.waking.clone()?;
        let key = alarm.key.to_vec();
        Some(Waking { sleepers: Arc::new(alarm), key })
    }

    /// Adds or removes a person, as user `uid` asks. Blocks until it is on the disk. `address` is that of the LAN page.
    pub fn change(&self, what: &Change, uid: u32, address: Option<&str>) -> Reply {
        let outcome = match what {
            Change::Add(name) => self.persons.add(name).map(|secret| {
                info!("user {uid} lets {name:?} open the door from a page");
                let secret = URL_SAFE_NO_PAD.encode(secret);
                let fragment = self.fragment(name, &secret);
                let link = address.map(|address| format!("{address}&{fragment}"));
                let person = NewPerson { name: name.clone(), secret, fragment, link };
                Reply { person: Some(Box::new(person)), ..Reply::done() }
            }),
            Change::Remove(name) => self.persons.remove(name).map(|()| {
                info!("user {uid} lets {name:?} open the door no more");
                self.wake_persons_only();
                Reply::done()
            }),
        };
        outcome.unwrap_or_else(|why| refused(&why))
    }

    fn wake_persons_only(&self) {
        let Some(alarm) = self.waking.as_ref().filter(|_| self.persons.are_known()) else {
            return;
        };
        let names: Vec<String> =
            self.persons.list().into_iter().map(|person| person.name).collect();
        if let Err(why) = alarm.sleepers.keep_those_of(&names) {
            warn!("phones of persons who were removed are still woken when it rings: {why}");
        }
    }

    /// What stands behind the `#` of a person's link.
    fn fragment(&self, name: &str, secret: &str) -> String {
        let mut words = url::form_urlencoded::Serializer::new(String::new());
        words.append_pair("person", name).append_pair("secret", secret);
        if self.look_in {
            words.append_pair("look", "1");
        }
        if let Some(alarm) = &self.waking {
            words.append_pair("push", &alarm.public_key);
        }
        words.finish()
    }

    /// Wakes this browser of a person's from now on, and says so to `inbox` when it is on the disk.
    pub fn keep_address(
        &self,
        peer: PeerKey,
        person: Name,
        address: PushAddress,
        inbox: mpsc::Sender<Input>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let household = self.clone();
        async move {
            let Some(alarm) = household.waking.clone() else {
                return info!("{person} wants to be woken, but there is no [hooks.web_push]");
            };
            let name = person.clone();
            let keeping = tokio::task::spawn_blocking(move || {
                let kept = alarm.sleepers.add(&name, address);
                // Its person may have been removed since the proof.
                household.wake_persons_only();
                kept
            });
            match keeping.await {
                Ok(Ok(())) => {
                    // Pages give their address in each call.
                    debug!("a phone of {person} is woken when it rings");
                    let _ = inbox.send(Input::WakeKept(peer)).await;
                }
                Ok(Err(why)) => warn!("a phone of {person} cannot be woken: {why}"),
                Err(why) => warn!("a phone of {person} cannot be woken: {why}"),
            }
        }
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alarm(...)")
    }
}

impl Alarm {
    fn open(state_dir: &Path) -> Option<Self> {
        let key = match own_key(state_dir) {
            Ok(key) => key,
            Err(why) => {
                error!("no phone can be woken: {why}");
                return None;
            }
        };
        let public_key = hooks::public_key(&key).ok()?.into();
        Some(Self { sleepers: Sleepers::open(state_dir), key: key.into(), public_key })
    }
}

impl hooks::Sleepers for Alarm {
    fn list(&self) -> Vec<PushAddress> {
        self.sleepers.list()
    }

    fn forget(&self, endpoint: &str) {
        match self.sleepers.forget(endpoint) {
            Ok(()) => info!("a phone that its push service knows no more is not woken any more"),
            Err(why) => warn!("a phone is tried although its push service knows it no more: {why}"),
        }
    }
}

fn refused(why: &MemoryError) -> Reply {
    if let MemoryError::File { .. } | MemoryError::Unread(_) = why {
        warn!("{why}");
    }
    let text = why.to_string();
    let (what, fix) = text.split_once("; ").unwrap_or((&text, "see `intercomd ctl person list`"));
    Reply::refused(what, fix)
}
