//! Web addresses that are sent events as JSON, signed if they share a secret with the door.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Method, Request};

use super::body;
use super::courier;
use super::error::{Failure, HookError};
use super::event::What;
use super::outbox::{Closing, Outbox, Parcel};
use super::picture;
use super::sender::{AGENT, Sender};
use super::signature::sign;
use crate::config::WebHook;

/// How long after an event it is still told.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs one address until the hooks are closed.
pub(super) async fn run(hook: WebHook, outbox: Arc<Outbox>, mut closing: Closing) {
    let sender = Sender::new(hook.ca_file.clone());
    while let Some(item) = outbox.next(&mut closing).await {
        let tried = deliver(&hook, &sender, &outbox, &item.what).await;
        courier::settle(&outbox, PATIENCE, item, tried);
    }
}

async fn deliver(
    hook: &WebHook,
    sender: &Sender,
    outbox: &Outbox,
    parcel: &Parcel,
) -> Result<(), Failure> {
    let body = body_of(hook, outbox, parcel).await;
    let size = body.len();
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let request = request(hook, parcel, at, body).map_err(Failure::Final)?;
    sender.send(request, size).await
}

/// A picture that cannot be read is left out: that there was one is still worth telling.
async fn body_of(hook: &WebHook, outbox: &Outbox, parcel: &Parcel) -> Bytes {
    if let What::Picture { path } = parcel.told.what()
        && hook.picture
    {
        match picture::read(path).await {
            Ok(jpeg) => return body::json_with(&parcel.told, &jpeg).into(),
            Err(error) => outbox.trouble(&error),
        }
    }
    body::json(&parcel.told).into()
}

fn request(
    hook: &WebHook,
    parcel: &Parcel,
    at: u64,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, HookError> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(hook.url.expose())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, AGENT)
        .header("X-Intercomd-Timestamp", at)
        .header("X-Intercomd-Delivery", parcel.id.to_string());
    if let Some(secret) = &hook.secret {
        request = request.header("X-Intercomd-Signature", sign(secret.expose(), at, &body));
    }
    request.body(Full::new(body)).map_err(|_| HookError::NoRequest { what: "url" })
}
