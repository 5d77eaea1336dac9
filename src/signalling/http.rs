//! One HTTP request to a server of the owner's, for tokens and for WHIP: over TLS or to this machine, bounded in
//! length, without redirects.
//!
//! How long it may take is the caller's decision. No address with its path, no bearer and no body gets into an error.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, USER_AGENT,
};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use url::Url;

use super::connect::dial;
use crate::config::Secret;

/// What is asked.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) accept: &'static str,
    /// Sent as `Authorization: Bearer`.
    pub(super) bearer: Option<&'a Secret>,
    /// With its type.
    pub(super) body: Option<(&'static str, Bytes)>,
    /// Longest answer, in bytes.
    pub(super) longest: usize,
    /// Certificate authorities in PEM, in the place of the system's.
    pub(super) ca_file: Option<&'a Path>,
}

/// What came back, whatever it says.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why nothing came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is no address of a server.
    Address,
    /// The bearer holds what no header can.
    Bearer,
    /// Anything else, in words.
    Other(String),
}

impl Fault {
    /// For people; `key` is what the address is called in the configuration.
    pub(super) fn words(self, key: &str) -> String {
        match self {
            Self::Address => format!("its address cannot be used; correct {key}"),
            Self::Bearer => "the bearer cannot be sent; check the file that holds it".to_owned(),
            Self::Other(words) => words,
        }
    }
}

trait Bytestream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytestream for T {}

impl Ask<'_> {
    /// Asks the server at this address, `https` or `http`.
    pub(super) async fn of(self, address: &str) -> Result<Answer, Fault> {
        let other = |words: String| Fault::Other(words);
        let url = Url::parse(address).map_err(|_| Fault::Address)?;
        let host = url.host_str().ok_or(Fault::Address)?.to_owned();
        let (tcp, name) = dial(url.origin().ascii_serialization().as_str())
            .await
            .map_err(|error| other(error.to_string()))?;
        let stream: Box<dyn Bytestream> = if url.scheme() == "https" {
            let insecure = |error: &dyn fmt::Display| {
                other(format!(
                    "no secure connection: {error}; check the door's clock and its CA certificates"
                ))
            };
            let server = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
                .map_err(|_| Fault::Address)?;
            let connector = TlsConnector::from(trust(self.ca_file).await.map_err(other)?);
            Box::new(connector.connect(server, tcp).await.map_err(|error| insecure(&error))?)
        } else {
            Box::new(tcp)
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| other(format!("it does not speak HTTP: {error}")))?;
        let longest = self.longest;
        let request = self.request(&url, &name)?;
        let answer = async {
            let answer = sender
                .send_request(request)
                .await
                .map_err(|error| other(format!("it does not answer: {error}")))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, longest).collect().await.map_err(|_| {
                other(format!("its answer broke off or is longer than {longest} bytes"))
            })?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        tokio::select! {
            answered = answer => answered,
            // Ends before the answer only when it fails.
            Err(error) = connection => Err(other(format!("the connection broke: {error}"))),
        }
    }

    fn request(self, url: &Url, host: &str) -> Result<Request<Full<Bytes>>, Fault> {
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let (kind, body) = self.body.unzip();
        let body = body.unwrap_or_default();
        let mut request = Request::builder()
            .method(self.method)
            .uri(path)
            .header(HOST, host)
            .header(ACCEPT, self.accept)
            .header(CACHE_CONTROL, "no-store")
            .header(CONTENT_LENGTH, body.len())
            .header(USER_AGENT, concat!("intercomd/", env!("CARGO_PKG_VERSION")));
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        if let Some(bearer) = self.bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {}", bearer.expose()));
        }
        request.body(Full::new(body)).map_err(|_| Fault::Bearer)
    }
}

/// The certificates that are trusted. Read anew each time: it is rare, and they may have been renewed.
async fn trust(ca_file: Option<&Path>) -> Result<Arc<rustls::ClientConfig>, String> {
    let ca_file = ca_file.map(Path::to_owned);
    let reading = tokio::task::spawn_blocking(move || match ca_file {
        None => Ok(rustls_native_certs::load_native_certs().certs),
        Some(file) => CertificateDer::pem_file_iter(&file)
            .and_then(Iterator::collect)
            .map_err(|error| format!("{} holds no certificates: {error}", file.display())),
    });
    let found =
        reading.await.map_err(|error| format!("the CA certificates cannot be read: {error}"))??;
    let mut roots = rustls::RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found);
    if usable == 0 {
        return Err("there are no CA certificates on this machine; install them".to_owned());
    }
    let config =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(config))
}
