//! Opens one WebSocket to the signalling side: over TLS to the service, or through a pipe to our own hub.
//!
//! It tries once and keeps no state; when to try is the session's decision, and so is when an attempt has
//! taken too long. The key is in the URL, so no URL leaves this file.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpStream, lookup_host};
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_tls_with_config};
use url::{Host, Url};

use super::error::SignallingError;
use super::message::MAX_INBOUND;
use super::token::Token;

/// Head start of one address before the next is tried beside it (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);
/// From the last address to the first one once more, while none has answered.
const AGAIN: Duration = Duration::from_secs(2);

/// How long the kernel keeps what the other end does not acknowledge, in milliseconds; a little less than
/// an idle socket may be silent.
const UNSENT_MS: u32 = 30_000;

/// The publishable key. Its `Debug` prints dots.
#[derive(Clone)]
pub struct Key(String);

impl Key {
    /// Wraps a key.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(...)")
    }
}

/// What one socket shows to be let in; exactly one of the two goes into its URL (protocol.md section 1.1).
#[derive(Debug, Clone)]
pub(super) enum Credential {
    /// A publishable key.
    Key(Key),
    /// A token.
    Token(Token),
}

impl Credential {
    /// The URL's query.
    fn query(&self) -> String {
        match self {
            Self::Key(Key(key)) => format!("key={}", encoded(key)),
            Self::Token(token) => format!("token={}", encoded(token.expose())),
        }
    }
}

/// A text as a URI component (RFC 3986 section 2.3).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Makes the member's end of a fresh in-memory pipe for each attempt; the hub serves the other end.
pub type PipeMaker = Arc<dyn Fn() -> DuplexStream + Send + Sync>;

/// How an uplink reaches its signalling side.
#[derive(Clone)]
pub enum Transport {
    /// The managed service, or a server like it.
    Url {
        /// Scheme, host and port, as `config::names::check_origin` returns them.
        origin: String,
    },
    /// Our own hub.
    Pipe(PipeMaker),
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url { origin } => write!(f, "Url({origin})"),
            Self::Pipe(_) => f.write_str("Pipe"),
        }
    }
}

/// Any two-way byte stream.
pub(super) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// The one kind of socket both transports end in.
pub(super) type Socket = WebSocketStream<MaybeTlsStream<Box<dyn Bytes>>>;

/// Which address of this board a socket goes out by, as soon as that is known; a pipe has none.
pub(super) type OwnAddress = Arc<OnceLock<IpAddr>>;

/// Opens one WebSocket. Dropping the future drops the attempt.
pub(super) async fn open(
    transport: Transport,
    credential: Credential,
    from: OwnAddress,
) -> Result<Socket, SignallingError> {
    let (bytes, origin, host): (Box<dyn Bytes>, _, _) = match transport {
        Transport::Pipe(make) => {
            (Box::new(make()), "ws://localhost".to_owned(), "the hub".to_owned())
        }
        Transport::Url { origin } => {
            let (tcp, host) = dial(&origin).await?;
            if let Ok(address) = tcp.local_addr() {
                from.get_or_init(|| address.ip());
            }
            (Box::new(tcp), origin, host)
        }
    };
    let request = format!("{origin}/v1?{}", credential.query());
    // Small buffers: the socket lives for months and carries a few kilobytes per call.
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_INBOUND))
        .max_frame_size(Some(MAX_INBOUND));
    match client_async_tls_with_config(request, bytes, Some(config), None).await {
        Ok((socket, _response)) => Ok(socket),
        Err(error) => Err(explain(error, host)),
    }
}

/// Whether this board has that address. Where the kernel does not say, it has.
pub(super) fn is_ours(address: IpAddr) -> bool {
    let refused = UdpSocket::bind((address, 0)).err();
    refused.is_none_or(|error| error.kind() != io::ErrorKind::AddrNotAvailable)
}

fn explain(error: WsError, host: String) -> SignallingError {
    match error {
        WsError::Http(response) => {
            SignallingError::Http { host, status: response.status().as_u16() }
        }
        WsError::Tls(error) => SignallingError::Tls { host, reason: error.to_string() },
        // TCP is up by then, so the one thing that can be missing is a CA certificate.
        WsError::Io(source) if source.kind() == io::ErrorKind::NotFound => {
            SignallingError::Tls { host, reason: source.to_string() }
        }
        WsError::Io(source)
            if source.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) =>
        {
            SignallingError::Tls { host, reason: source.to_string() }
        }
        WsError::Io(source) => SignallingError::Unreachable { host, source },
        WsError::Url(_) | WsError::HttpFormat(_) => {
            SignallingError::NotWebSocket { host, reason: "the address cannot be used".to_owned() }
        }
        other => SignallingError::NotWebSocket { host, reason: other.to_string() },
    }
}

/// A TCP connection to the origin's host, and the name to call it by.
pub(super) async fn dial(origin: &str) -> Result<(TcpStream, String), SignallingError> {
    let parsed = Url::parse(origin).ok();
    let target = parsed.as_ref().and_then(|url| Some((url.host()?, url.port_or_known_default()?)));
    let Some((host, port)) = target else {
        let reason = "the address cannot be used".to_owned();
        return Err(SignallingError::NotWebSocket { host: "the uplink".to_owned(), reason });
    };
    let name = format!("{host}:{port}");
    let found: io::Result<Vec<SocketAddr>> = match host {
        Host::Domain(domain) => lookup_host((domain, port)).await.map(Iterator::collect),
        Host::Ipv4(address) => Ok(vec![(address, port).into()]),
        Host::Ipv6(address) => Ok(vec![(address, port).into()]),
    };
    let connected = match found {
        Ok(addresses) => race(take_turns(addresses), TcpStream::connect).await,
        Err(error) => Err(error),
    };
    let tcp =
        connected.map_err(|source| SignallingError::Unreachable { host: name.clone(), source })?;
    // Frames are small and each one is waited for.
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY refused");
    }
    // The kernel then lets go of what nobody acknowledges, also after we have dropped the socket.
    if let Err(error) = setsockopt(&tcp, sockopt::TcpUserTimeout, &UNSENT_MS) {
        tracing::debug!(%error, "TCP_USER_TIMEOUT refused");
    }
    Ok((tcp, name))
}

/// Address families in turns, the resolver's favourite first (RFC 8305 section 4).
fn take_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let favourite = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == favourite);
    let mut turns = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let pair = [first.next(), second.next()];
        if pair.iter().all(Option::is_none) {
            return turns;
        }
        turns.extend(pair.into_iter().flatten());
    }
}

/// The first address that answers wins; a broken IPv6 costs a quarter of a second, not the call. While none
/// answers all are tried anew every two seconds, since the kernel waits longer and longer between its own
/// repeats: a network that comes back is noticed at once. Ends when all have failed.
async fn race<T, F: Future<Output = io::Result<T>>>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut waiting = addresses.iter();
    let mut running = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if let Some(address) = waiting.next() {
            running.push(connect(*address));
        }
        let pause = if waiting.len() > 0 { HEAD_START } else { AGAIN };
        tokio::select! {
            outcome = running.next() => match outcome {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(error)) => last = error,
                None => return Err(last),
            },
            () = tokio::time::sleep(pause) => {
                if waiting.len() == 0 {
                    waiting = addresses.iter();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_encoded_as_a_uri_component_and_never_shown() {
        let key = Credential::Key(Key::new("pk_live_a+b/ü"));
        assert_eq!(key.query(), "key=pk_live_a%2Bb%2F%C3%BC");
        assert_eq!(format!("{key:?}"), "Key(Key(...))");
        let token = Token::read("ey.a_b-c=").expect("it is one");
        let token = Credential::Token(token);
        assert_eq!(token.query(), "token=ey.a_b-c%3D");
        assert_eq!(format!("{token:?}"), "Token(Token(...))");
    }

    #[test]
    fn an_address_is_ours_as_long_as_this_board_has_it() {
        let ours = |text: &str| is_ours(text.parse().expect("an address"));
        assert!(ours("127.0.0.1"));
        // For documentation (RFC 5737): nobody has it.
        assert!(!ours("192.0.2.1"));
    }

    #[test]
    fn address_families_take_turns() {
        let parse = |list: &[&str]| -> Vec<SocketAddr> {
            list.iter().map(|text| text.parse().expect("an address")).collect()
        };
        let found = parse(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"]);
        assert_eq!(take_turns(found), parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]));
    }

    #[tokio::test]
    async fn a_dead_address_does_not_hide_a_living_one() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let alive = listener.local_addr().expect("bound");
        let dead = {
            let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
            gone.local_addr().expect("bound")
        };
        let tcp =
            race(vec![dead, alive], TcpStream::connect).await.expect("one of the two answers");
        assert_eq!(tcp.peer_addr().expect("connected"), alive);
        assert!(race(vec![dead], TcpStream::connect).await.is_err());
        assert!(race(vec![], TcpStream::connect).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_comes_back_is_noticed_within_two_seconds() {
        let start = tokio::time::Instant::now();
        let back = start + Duration::from_secs(3);
        // What was sent before the network was back is lost for good.
        let connect = async |address: SocketAddr| {
            if tokio::time::Instant::now() < back {
                std::future::pending::<()>().await;
            }
            Ok(address)
        };
        let address: SocketAddr = "192.0.2.1:1".parse().expect("an address");
        assert_eq!(race(vec![address], connect).await.expect("it answers"), address);
        assert_eq!(start.elapsed(), Duration::from_secs(4));
    }
}
