//! One HTTP request, with an end to everything: connecting, waiting, what is read of the answer.
//!
//! Nothing but the head of an answer is read. Redirects are not followed: they could lead anywhere, into
//! the house too. What the environment says of proxies is not looked at.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::RETRY_AFTER;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::error::{Failure, HookError, chain};
use super::trust;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same with a picture, for the uplink of a house.
const PATIENCE_WITH_PICTURE: Duration = Duration::from_secs(30);
/// Bodies from this size on count as pictures.
const LARGE: usize = 16 * 1024;
/// Longest head of an answer, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;

/// How requests name their sender.
pub(super) const AGENT: &str = concat!("intercomd/", env!("CARGO_PKG_VERSION"));

/// Sends requests to one receiver.
pub(super) struct Sender {
    ca_file: Option<PathBuf>,
}

impl Sender {
    pub(super) fn new(ca_file: Option<PathBuf>) -> Self {
        Self { ca_file }
    }

    /// Sends one and judges the answer.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        size: usize,
    ) -> Result<(), Failure> {
        let after = if size < LARGE { PATIENCE } else { PATIENCE_WITH_PICTURE };
        match tokio::time::timeout(after, self.exchange(request)).await {
            Ok(judged) => judged,
            Err(_) => Err(again(HookError::TimedOut { after })),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(), Failure> {
        let tls = if request.uri().scheme_str() == Some("https") {
            trust::config(self.ca_file.as_deref()).await.map_err(again)?
        } else {
            trust::none()
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new())
            // Events are minutes apart; a kept connection would only be found dead.
            .pool_max_idle_per_host(0)
            .http1_max_buf_size(LONGEST_HEAD)
            .build(connector);
        let answer = client
            .request(request)
            .await
            .map_err(|error| again(HookError::Unreachable { why: chain(&error) }))?;
        let header = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        judge(answer.status().as_u16(), header.and_then(|text| hint(text, SystemTime::now())))
    }
}

fn again(error: HookError) -> Failure {
    Failure::Again { error, hint: None }
}

fn judge(status: u16, hint: Option<Duration>) -> Result<(), Failure> {
    match status {
        200..=299 => Ok(()),
        300..=399 => Err(Failure::Final(HookError::Redirected { status })),
        429 | 500.. => Err(Failure::Again { error: HookError::Busy { status }, hint }),
        _ => Err(Failure::Final(HookError::Refused { status })),
    }
}

/// What `Retry-After` asks for: seconds, or a date.
fn hint(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(header).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(hint(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(hint("Sun, 06 Nov 1994 08:50:07 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(hint("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(hint("soon", now), None);
        assert_eq!(hint("-1", now), None);
    }

    #[test]
    fn only_troubles_of_the_receivers_own_are_worth_another_try() {
        assert_eq!(judge(204, None), Ok(()));
        for status in [301, 304, 307, 400, 401, 404, 408, 410] {
            assert!(matches!(judge(status, None), Err(Failure::Final(_))), "{status}");
        }
        let hint = Some(Duration::from_secs(7));
        for status in [429, 500, 502, 503, 599] {
            let error = HookError::Busy { status };
            assert_eq!(judge(status, hint), Err(Failure::Again { error, hint }), "{status}");
        }
    }
}
