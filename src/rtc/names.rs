//! Looks up the names of STUN and TURN servers and remembers them for all links.
//!
//! A press must not wait for the name service and must not fail for it: what was known once is used at
//! once while it is looked up again behind the call. It decides nothing about servers.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

/// After this the system's resolver has tried its servers more than once.
const LOOK_UP: Duration = Duration::from_secs(6);
/// Known addresses younger than this are not looked up again.
const FRESH: Duration = Duration::from_secs(60);
/// A name without an address is looked up again after this; until then nobody waits for it.
const RETRY: Duration = Duration::from_secs(5);
/// Names remembered. More than a daemon ever meets; the oldest goes.
const MOST: usize = 64;

/// Names and their addresses. Clones share them.
#[derive(Clone, Default)]
pub struct Names(Arc<Shared>);

#[derive(Default)]
struct Shared {
    known: Mutex<BTreeMap<String, Known>>,
    /// Look-ups under way; they end with the last clone. One per name, so `MOST` bounds them.
    tasks: Mutex<JoinSet<()>>,
    finished: watch::Sender<()>,
}

#[derive(Default)]
struct Known {
    addresses: Vec<IpAddr>,
    /// When they were looked up; `None` never.
    at: Option<Instant>,
    /// Whether a look-up is under way.
    busy: bool,
}

impl Names {
    /// The addresses of a name, waiting no longer than this for one that nobody knows yet. Empty when it
    /// has none or is not known in time.
    pub async fn addresses(&self, name: &str, patience: Duration) -> Vec<IpAddr> {
        let deadline = Instant::now() + patience;
        let mut finished = self.0.finished.subscribe();
        loop {
            if let Some(addresses) = self.now(name) {
                return addresses;
            }
            if !matches!(timeout_at(deadline, finished.changed()).await, Ok(Ok(()))) {
                return Vec::new();
            }
        }
    }

    /// Begins to look a name up unless it is fresh, so that a later call need not wait.
    pub fn warm(&self, name: &str) {
        self.now(name);
    }

    /// What is known of a name; `None` while its first look-up runs.
    fn now(&self, name: &str) -> Option<Vec<IpAddr>> {
        let mut known = lock(&self.0.known);
        if !known.contains_key(name) && known.len() >= MOST {
            // One that is being looked up is awaited by somebody.
            let idle = known.iter().filter(|(_, entry)| !entry.busy);
            let oldest = idle.min_by_key(|(_, entry)| entry.at).map(|(name, _)| name.clone());
            known.remove(&oldest.unwrap_or_default());
        }
        let entry = known.entry(name.to_owned()).or_default();
        let rest = if entry.addresses.is_empty() { RETRY } else { FRESH };
        if !entry.busy && entry.at.is_none_or(|at| at.elapsed() >= rest) {
            entry.busy = true;
            let (shared, name) = (Arc::downgrade(&self.0), name.to_owned());
            let mut tasks = lock(&self.0.tasks);
            while tasks.try_join_next().is_some() {}
            tasks.spawn(async move {
                let found = look_up(&name).await;
                if let Some(shared) = shared.upgrade() {
                    shared.learn(&name, found);
                }
            });
        }
        entry.at.map(|_| entry.addresses.clone())
    }
}

impl Shared {
    fn learn(&self, name: &str, found: Vec<IpAddr>) {
        if let Some(entry) = lock(&self.known).get_mut(name) {
            entry.busy = false;
            entry.at = Some(Instant::now());
            // A name service that is away for a while does not make us forget.
            if !found.is_empty() {
                entry.addresses = steady(&entry.addresses, found);
            }
        }
        self.finished.send_replace(());
    }
}

/// The addresses found, those known before first: name services shuffle their answers, and a server
/// whose address changes without need loses its allocations.
fn steady(before: &[IpAddr], found: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut addresses = found;
    addresses.sort_by_key(|address| !before.contains(address));
    addresses
}

async fn look_up(name: &str) -> Vec<IpAddr> {
    match timeout(LOOK_UP, lookup_host((name, 0))).await {
        Ok(Ok(found)) => {
            let mut addresses: Vec<IpAddr> = Vec::new();
            for address in found.map(|address: SocketAddr| address.ip()) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            addresses
        }
        Ok(Err(error)) => {
            debug!("cannot look up {name}: {error}");
            Vec::new()
        }
        Err(_) => {
            debug!("the name service says nothing about {name}");
            Vec::new()
        }
    }
}

/// A panic elsewhere leaves a whole entry behind at any point.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_looked_up_once_and_then_known_at_once() {
        let names = Names::default();
        let first = names.addresses("localhost", Duration::from_secs(30)).await;
        assert!(first.iter().any(IpAddr::is_loopback), "{first:?}");
        assert_eq!(names.now("localhost"), Some(first));
    }

    #[tokio::test]
    async fn an_unknown_name_costs_no_more_than_the_patience() {
        let names = Names::default();
        assert!(names.addresses("nowhere.invalid", Duration::ZERO).await.is_empty());
    }

    #[tokio::test]
    async fn an_address_once_known_outlives_a_failed_look_up() {
        let names = Names::default();
        let address: IpAddr = "192.0.2.1".parse().expect("an address");
        let entry = Known { addresses: vec![address], at: None, busy: true };
        lock(&names.0.known).insert("t.example".into(), entry);
        names.0.learn("t.example", Vec::new());
        assert_eq!(names.now("t.example"), Some(vec![address]));
    }

    #[tokio::test]
    async fn a_name_that_has_no_address_is_waited_for_once() {
        let names = Names::default();
        let entry = Known { addresses: Vec::new(), at: None, busy: true };
        lock(&names.0.known).insert("t.example".into(), entry);
        assert_eq!(names.now("t.example"), None);
        names.0.learn("t.example", Vec::new());
        assert_eq!(names.now("t.example"), Some(Vec::new()));
    }

    #[test]
    fn a_known_address_keeps_its_place_when_answers_are_shuffled() {
        let [a, b, c] = ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
            .map(|text| text.parse::<IpAddr>().expect("an address"));
        assert_eq!(steady(&[b], vec![a, b, c]), [b, a, c]);
        assert_eq!(steady(&[b, c], vec![c, a]), [c, a]);
    }
}
