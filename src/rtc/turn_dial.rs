//! Opens one TCP or TLS connection to a TURN server (RFC 8656 section 2.1).
//!
//! It tries once; when to try again is the bridge's decision.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tracing::warn;

use super::names::Names;
use super::turn_url::{Host, ServerUrl, Service};

/// Head start of one address before the next is tried beside it (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);
/// How long a name may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// Bytes the kernel may hold back for a slow network. Media that waits longer is worth nothing, and
/// the kernel would keep megabytes of it.
const SEND_BUFFER: u32 = 128 * 1024;

/// Any two-way byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens connections. Clones share what they know.
#[derive(Clone)]
pub struct Dial {
    names: Names,
    extra_roots: Arc<[CertificateDer<'static>]>,
    tls: Arc<OnceCell<Arc<ClientConfig>>>,
}

impl Dial {
    /// A dialler that trusts the system's certificate authorities, and these.
    pub fn new(names: Names, extra_roots: Vec<CertificateDer<'static>>) -> Self {
        Self { names, extra_roots: extra_roots.into(), tls: Arc::default() }
    }

    /// Connects. Dropping the future drops the attempt; it has no deadline of its own.
    ///
    /// # Errors
    ///
    /// When the name has no address, nobody answers, or the certificate is not the server's.
    pub async fn open(&self, server: &ServerUrl) -> io::Result<Box<dyn Stream>> {
        let addresses = match &server.host {
            Host::Literal(address) => vec![*address],
            Host::Name(name) => self.names.addresses(name, PATIENCE).await,
        };
        let tcp = race(take_turns(addresses), server.port).await?;
        // Every message is waited for.
        tcp.set_nodelay(true)?;
        if server.service != Service::TurnTls {
            return Ok(Box::new(tcp));
        }
        let name = match &server.host {
            Host::Literal(address) => ServerName::from(*address),
            Host::Name(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
        };
        let config = self.tls.get_or_try_init(|| self.tls_config()).await?;
        let connector = TlsConnector::from(Arc::clone(config));
        Ok(Box::new(connector.connect(name, tcp).await?))
    }

    async fn tls_config(&self) -> io::Result<Arc<ClientConfig>> {
        let extra = Arc::clone(&self.extra_roots);
        let reading = tokio::task::spawn_blocking(move || {
            let mut roots = RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            roots.add_parsable_certificates(extra.iter().cloned());
            roots
        });
        let roots = reading.await.map_err(io::Error::other)?;
        if roots.is_empty() {
            warn!("this system has no CA certificates: no TURN server can be reached over TLS");
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

/// Address families in turns, the resolver's favourite first (RFC 8305 section 4).
fn take_turns(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let favourite = addresses.first().is_some_and(IpAddr::is_ipv6);
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

/// The first address that answers wins.
async fn race(addresses: Vec<IpAddr>, port: u16) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter().peekable();
    let mut running = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if let Some(address) = waiting.next() {
            running.push(connect(SocketAddr::new(address, port)));
        }
        let has_more = waiting.peek().is_some();
        tokio::select! {
            outcome = running.next() => match outcome {
                Some(Ok(tcp)) => return Ok(tcp),
                Some(Err(error)) => last = error,
                None => return Err(last),
            },
            () = tokio::time::sleep(HEAD_START), if has_more => {}
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.connect(address).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_families_take_turns() {
        let parse = |list: &[&str]| -> Vec<IpAddr> {
            list.iter().map(|text| text.parse().expect("an address")).collect()
        };
        let found = parse(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
        assert_eq!(take_turns(found), parse(&["192.0.2.1", "2001:db8::1", "192.0.2.2"]));
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_an_error_and_not_a_wait() {
        let error = race(vec![], 1).await.expect_err("there is nowhere to go");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
