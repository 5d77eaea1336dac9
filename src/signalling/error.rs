//! What can go wrong between this room and the world outside.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

/// A failure of the signalling room. No message holds a URL, since URLs hold keys.
#[derive(Debug, Error)]
pub enum SignallingError {
    /// No TCP connection to the service.
    #[error("cannot reach {host}: {source}; check the network and name resolution of the door")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// No TLS with the service.
    #[error(
        "no secure connection to {host}: {reason}; check the door's clock and its CA certificates"
    )]
    Tls {
        /// Host and port.
        host: String,
        /// What the TLS library said.
        reason: String,
    },
    /// An HTTP status came in place of the upgrade.
    #[error(
        "{host} answered with HTTP status {status} instead of opening a WebSocket; check the address"
    )]
    Http {
        /// Host and port.
        host: String,
        /// The status.
        status: u16,
    },
    /// Something that is not WebSocket.
    #[error("{host} does not speak WebSocket ({reason}); check the address of the uplink")]
    NotWebSocket {
        /// Host and port.
        host: String,
        /// What the WebSocket library said.
        reason: String,
    },
    /// No token from the source the configuration names.
    #[error("no token from {from}: {reason}")]
    NoToken {
        /// The command's name or the host.
        from: String,
        /// What is wrong and what to do. Never holds a token.
        reason: String,
    },
    /// The LAN page's address cannot be taken.
    #[error("cannot listen on {address}: {source}; change the LAN address or stop what uses it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The LAN page's certificate or key is unusable.
    #[error("{}: {reason}; give a PEM certificate chain and its private key", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// How lasting a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// May pass by itself.
    Transient,
    /// The other end does not want us; a person has to change something there or here.
    Refused,
    /// Nothing works until this program's surroundings change.
    Broken,
}

impl SignallingError {
    /// How lasting this failure is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::NotWebSocket { .. }
            | Self::NoToken { .. } => Fault::Transient,
            Self::Http { status: 401 | 403, .. } => Fault::Refused,
            Self::Http { .. } => Fault::Transient,
            Self::Listen { .. } | Self::Certificate { .. } => Fault::Broken,
        }
    }
}
