//! Serves the metrics to Prometheus and programs like it: HTTP at one address, one path, nothing else.
//!
//! It asks the daemon for a status as `ctl` does, and writes what `metrics.rs` makes of it. It needs no key: the
//! text holds none, and it listens on this machine only unless its owner wants otherwise.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::metrics::{self, Usage};
use super::server::{Ask, ControlRequest};

/// Callers at once; one more is cut off.
const CALLERS: usize = 8;
/// For the head of a request.
const REQUEST_HEAD: Duration = Duration::from_secs(5);
/// For all a caller does, which is one request.
const VISIT: Duration = Duration::from_secs(10);
/// For the daemon's answer.
const DAEMON: Duration = Duration::from_secs(5);
/// Bytes of a request's head.
const LONGEST_HEAD: usize = 8 * 1024;
/// Between two tries when the system gives no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Why the metrics cannot be served.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen for metrics on {address}: {source}; set [metrics] listen to a free address of this machine"
)]
pub struct MetricsError {
    address: SocketAddr,
    source: io::Error,
}

/// Where the metrics are served.
#[derive(Debug)]
pub struct MetricsPage {
    listener: TcpListener,
}

impl MetricsPage {
    /// Begins to listen.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn bind(address: SocketAddr) -> Result<Self, MetricsError> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| MetricsError { address, source })?;
        info!(listen = %listener.local_addr().unwrap_or(address), "metrics are served at /metrics");
        Ok(Self { listener })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is dropped.
    pub async fn run(self, daemon: mpsc::Sender<ControlRequest>) {
        let mut callers = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = callers.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, _)) if callers.len() < CALLERS => {
                        callers.spawn(serve(socket, daemon.clone()));
                    }
                    Ok((_, from)) => debug!(%from, "too many ask for metrics; one is cut off"),
                    Err(error) => {
                        warn!(%error, "cannot accept a reader of the metrics; trying again");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }
}

async fn serve(socket: TcpStream, daemon: mpsc::Sender<ControlRequest>) {
    let answering = service_fn(move |request| answer(request, daemon.clone()));
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_HEAD)
        .max_buf_size(LONGEST_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), answering);
    match timeout(VISIT, http).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a reader of the metrics ended badly"),
        Err(_) => debug!("a reader of the metrics took too long"),
    }
}

async fn answer(
    request: Request<Incoming>,
    daemon: mpsc::Sender<ControlRequest>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != "/metrics" {
        return Ok(plain(StatusCode::NOT_FOUND, "the metrics are at /metrics\n"));
    }
    if request.method() != Method::GET {
        return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "ask with GET\n"));
    }
    let (reply, told) = oneshot::channel();
    // Whoever it is may know what this page shows, so the user matters to nobody.
    let ask = ControlRequest { ask: Ask::Status, uid: u32::MAX, reply };
    if daemon.try_send(ask).is_err() {
        return Ok(plain(StatusCode::SERVICE_UNAVAILABLE, "the door is busy; ask again\n"));
    }
    let Ok(Ok(reply)) = timeout(DAEMON, told).await else {
        return Ok(plain(StatusCode::GATEWAY_TIMEOUT, "the door did not answer in time\n"));
    };
    let text = reply.status.and_then(|status| metrics::text(&status, usage()).ok());
    let Some(text) = text else {
        return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "the door told no status\n"));
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
    Ok(response)
}

fn plain(status: StatusCode, words: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(words.as_bytes())));
    *response.status_mut() = status;
    response
}

/// What this process takes of the machine; 0 where the kernel does not say.
fn usage() -> Usage {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    Usage {
        resident: field("VmRSS").map_or(0, |kilobytes| kilobytes * 1024),
        descriptors: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
        threads: field("Threads").unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::control::{Reply, Status};
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn page() -> (SocketAddr, mpsc::Receiver<ControlRequest>, tokio::task::JoinHandle<()>) {
        let page = MetricsPage::bind("127.0.0.1:0".parse().expect("an address")).await;
        let page = page.expect("loopback has ports");
        let address = page.address().expect("bound");
        let (daemon, asked) = mpsc::channel(1);
        (address, asked, tokio::spawn(page.run(daemon)))
    }

    async fn get(address: SocketAddr, line: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!("{line} HTTP/1.1\r\nHost: door\r\n\r\n");
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let _ = timeout(PATIENCE, read).await.expect("an answer in time");
        String::from_utf8(answer).expect("text")
    }

    #[tokio::test]
    async fn the_status_of_the_daemon_is_served_as_openmetrics() {
        let (address, mut asked, serving) = page().await;
        let daemon = async {
            let request = asked.recv().await.expect("a request");
            assert_eq!(request.ask, Ask::Status);
            let status = Status { uptime_s: 42, ..Status::default() };
            request.reply.send(Reply::status(status)).expect("somebody waits");
        };
        let (answer, ()) = tokio::join!(get(address, "GET /metrics"), daemon);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(
            answer.to_lowercase().contains(&format!("content-type: {}", metrics::CONTENT_TYPE))
        );
        assert!(answer.contains("\nintercomd_uptime_seconds 42.0\n"), "{answer}");
        let threads = answer.lines().find_map(|line| line.strip_prefix("intercomd_threads "));
        assert!(threads.and_then(|it| it.parse::<f64>().ok()).is_some_and(|it| it >= 1.0));
        serving.abort();
    }

    #[tokio::test]
    async fn nothing_else_is_served_and_a_busy_daemon_is_not_waited_for() {
        let (address, mut asked, serving) = page().await;
        assert!(get(address, "GET /").await.starts_with("HTTP/1.1 404 "));
        assert!(get(address, "POST /metrics").await.starts_with("HTTP/1.1 405 "));
        // One request waits for a daemon that does not listen; the queue is full for the next.
        let first = tokio::spawn(get(address, "GET /metrics"));
        while asked.is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(get(address, "GET /metrics").await.starts_with("HTTP/1.1 503 "));
        drop(asked.recv().await.expect("the first").reply);
        assert!(first.await.expect("no panic").starts_with("HTTP/1.1 504 "));
        serving.abort();
    }

    #[tokio::test]
    async fn callers_that_say_nothing_take_the_places_there_are_and_no_more() {
        let (address, _asked, serving) = page().await;
        let mut silent = Vec::new();
        for _ in 0..CALLERS {
            silent.push(TcpStream::connect(address).await.expect("it listens"));
        }
        assert_eq!(get(address, "GET /").await, "", "cut off");
        drop(silent);
        let served = async { while get(address, "GET /").await.is_empty() {} };
        timeout(PATIENCE, served).await.expect("served again");
        serving.abort();
    }

    #[tokio::test]
    async fn a_taken_address_is_named_in_the_error() {
        let (address, _asked, serving) = page().await;
        let error = MetricsPage::bind(address).await.expect_err("it is taken");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        serving.abort();
    }
}
