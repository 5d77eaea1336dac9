//! What the LAN hub answers over HTTP: the page's files, the WebSocket upgrade, and a redirect for
//! those who forgot `https://`.
//!
//! Keeps nothing but the clock's start and checks no key; the upgraded socket goes to `lan.rs`, its key to `hub.rs`.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::ws::WebSocket;
use axum::extract::{Extension, RawQuery, WebSocketUpgrade};
use axum::http::{HeaderName, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use tokio::sync::mpsc;
use tower_http::services::ServeDir;
use url::form_urlencoded;

use super::hub::Credentials;
use super::knocks::Knocks;
use super::seat;

/// The WebSocket's path (protocol.md section 1.1).
const WEBSOCKET_PATH: &str = "/v1";

/// Sent with every answer. Only our own scripts; WebSockets to us and, for a page that also uses
/// the service, elsewhere. Framing is left open: an owner may show the page inside a home
/// automation panel, and a stranger's frame lacks the key.
const HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; connect-src 'self' wss: ws:; img-src 'self' data:; \
         media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
];

/// How a WebSocket gets from its HTTP request to the task of its caller. Capacity 1, and only one
/// upgrade can happen per caller.
#[derive(Clone)]
pub struct Handover(pub mpsc::Sender<(WebSocket, Credentials)>);

/// How often a caller's address may connect; `None` for the door's own pipe.
#[derive(Clone)]
pub struct Gate(pub Option<(Arc<Mutex<Knocks>>, IpAddr)>);

impl Gate {
    /// Counts one connect. `now` as for [`Knocks::admit`].
    fn admits(&self, now: Duration) -> bool {
        self.0.as_ref().is_none_or(|(knocks, from)| {
            // Nothing can panic while it is locked; if it does, nobody is shut out for that.
            knocks.lock().map_or(true, |mut knocks| knocks.admit(now, *from))
        })
    }
}

/// The page and its WebSocket. Every request needs a [`Handover`] and a [`Gate`] among its extensions.
pub fn router(web_dir: &Path) -> Router {
    Router::new()
        .route(WEBSOCKET_PATH, get(upgrade))
        .fallback_service(ServeDir::new(web_dir))
        .layer(middleware::map_response(add_headers))
}

async fn add_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Accepts every upgrade but the 61st of an address in a minute; a bad credential is answered by a close code, which a page can read, and
/// not by an HTTP status, which it cannot (protocol.md section 1.2).
///
/// The `Origin` header is not checked: a foreign page in a browser of this network can reach this
/// socket, but gets nothing without the key, which is not a cookie and travels with no request by
/// itself. Checking it would shut out native members, which send none, and pages behind a proxy.
async fn upgrade(
    Extension(handover): Extension<Handover>,
    Extension(gate): Extension<Gate>,
    RawQuery(query): RawQuery,
    upgrade: WebSocketUpgrade,
) -> Response {
    static START: OnceLock<Instant> = OnceLock::new();
    if !gate.admits(START.get_or_init(Instant::now).elapsed()) {
        let words = "more than 60 connects in 60 s from this address; wait a minute";
        return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "60")], words)
            .into_response();
    }
    let credentials = credentials(query.as_deref().unwrap_or_default());
    upgrade.max_message_size(seat::READ_LIMIT).max_frame_size(seat::READ_LIMIT).on_upgrade(
        async move |socket| {
            // Fails only when the caller's task has ended meanwhile.
            drop(handover.0.send((socket, credentials)).await);
        },
    )
}

fn credentials(query: &str) -> Credentials {
    let mut found = Credentials::Unusable("key missing");
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        found = match (name.as_ref(), found) {
            ("key" | "token", Credentials::Key(_)) => {
                return Credentials::Unusable("more than one credential");
            }
            ("key", _) => Credentials::Key(value.into_owned()),
            ("token", _) => return Credentials::Unusable("this hub takes keys, not tokens"),
            (_, found) => found,
        };
    }
    found
}

/// Sends those who spoke HTTP to the HTTPS port the right way. Temporary, so that no browser keeps
/// it for a hub that later listens otherwise.
pub fn redirect_router() -> Router {
    Router::new().fallback(|request: Request<Body>| async move {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        match host {
            Some(host) => {
                let to = format!("https://{host}{path}");
                (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
            }
            None => StatusCode::BAD_REQUEST.into_response(),
        }
    })
}
