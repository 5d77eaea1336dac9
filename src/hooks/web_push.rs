//! Sleeping browsers are woken by the push services of their makers (RFC 8030), so that a phone rings whose page the
//! system has put to sleep.
//!
//! A push service sees that something was sent, and when; what it says is encrypted for the browser alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use hyper::{Method, Request};
use uuid::Uuid;

use super::body;
use super::courier;
use super::error::{Failure, HookError};
use super::event::{Told, What};
use super::outbox::{Closing, Outbox};
use super::sender::{AGENT, Sender};
use super::web_push_crypt::{Identity, seal};
use crate::config::WebPushHook;
use crate::intercom::PushAddress;

/// How long after an event it is still told, and how long a push service may keep it for a phone that is off: a bell
/// that rings when the visitor is gone only annoys.
const PATIENCE: Duration = Duration::from_secs(90);
/// The news of a call nobody answered is still of use when the phone is on again.
const LATER: Duration = Duration::from_secs(12 * 3600);

/// The browsers that want to be woken; the daemon keeps them.
pub trait Sleepers: Send + Sync {
    /// All of them.
    fn list(&self) -> Vec<PushAddress>;
    /// Its push service knows this one no more. May wait for the disk.
    fn forget(&self, endpoint: &str);
}

/// What waking takes beside the settings.
#[derive(Clone)]
pub struct Waking {
    /// Whom.
    pub sleepers: Arc<dyn Sleepers>,
    /// The door's own key, PKCS #8: push services take nothing without, and addresses are good for this one only.
    pub key: Vec<u8>,
}

/// Runs the outlet until the hooks are closed.
pub(super) async fn run(
    hook: WebPushHook,
    waking: Waking,
    outbox: Arc<Outbox>,
    mut closing: Closing,
) {
    let sender = Sender::new(hook.ca_file.clone());
    let identity = Identity::new(&waking.key, &hook.contact);
    // Who has been told of what is tried again for others.
    let mut told: BTreeMap<Uuid, BTreeSet<String>> = BTreeMap::new();
    while let Some(item) = outbox.next(&mut closing).await {
        let done = told.remove(&item.what.id).unwrap_or_default();
        let (done, tried) = match &identity {
            Ok(identity) => wake(identity, &sender, &waking, done, &item.what.told).await,
            Err(error) => (done, Err(Failure::Final(error.clone()))),
        };
        if let Err(Failure::Again { .. }) = &tried {
            told.insert(item.what.id, done);
            // As many as can wait.
            while told.len() > super::WAITING {
                told.pop_first();
            }
        }
        courier::settle(&outbox, PATIENCE, item, tried);
    }
}

async fn wake(
    identity: &Identity,
    sender: &Sender,
    waking: &Waking,
    mut done: BTreeSet<String>,
    told: &Told,
) -> (BTreeSet<String>, Result<(), Failure>) {
    let list = waking.sleepers.list();
    let left = list.into_iter().filter(|address| !done.contains(address.endpoint()));
    let tries = left.map(|address| async move {
        let tried = match request(identity, &address, told) {
            Ok(request) => sender.send(request, 0).await,
            Err(error) => Err(Failure::Final(error)),
        };
        (address, tried)
    });
    let mut worst = Ok(());
    for (address, tried) in join_all(tries).await {
        match &tried {
            Err(Failure::Final(HookError::Refused { status: 404 | 410 })) => {
                let (sleepers, endpoint) = (waking.sleepers.clone(), address.endpoint().to_owned());
                // An end of the disk's own is not this outlet's business.
                let _ = tokio::task::spawn_blocking(move || sleepers.forget(&endpoint)).await;
                done.insert(address.endpoint().to_owned());
            }
            Ok(()) => drop(done.insert(address.endpoint().to_owned())),
            // One that will never take it must not keep others from being tried again.
            Err(Failure::Final(_)) if worst.is_ok() => worst = tried,
            Err(Failure::Final(_)) => {}
            Err(Failure::Again { .. }) => worst = tried,
        }
    }
    (done, worst)
}

fn request(
    identity: &Identity,
    address: &PushAddress,
    told: &Told,
) -> Result<Request<Full<Bytes>>, HookError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let rings = matches!(told.what(), What::Ring { .. });
    let keeps = if matches!(told.what(), What::Missed { .. }) { LATER } else { PATIENCE };
    let sealed = seal(address, body::json(told).as_bytes())?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(address.endpoint())
        .header(USER_AGENT, AGENT)
        .header(AUTHORIZATION, identity.authorization(address.endpoint(), now)?)
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_ENCODING, "aes128gcm")
        .header("TTL", keeps.as_secs())
        .header("Urgency", if rings { "high" } else { "normal" });
    request
        .body(Full::new(Bytes::from(sealed)))
        .map_err(|_| HookError::NoRequest { what: "the address of a phone" })
}
