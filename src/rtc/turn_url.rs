//! Reads the addresses of STUN and TURN servers (RFC 7064, RFC 7065).
//!
//! Pure. It resolves no name and knows no credential.

use std::fmt;
use std::net::IpAddr;

/// The port of `stun:` and `turn:` without one.
const PLAIN_PORT: u16 = 3478;
/// The port of `turns:` without one.
const TLS_PORT: u16 = 5349;
/// A DNS name is no longer than this (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 253;

/// What a server does for us and how it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Tells our public address, over UDP.
    Stun,
    /// Relays, reached over UDP.
    TurnUdp,
    /// Relays, reached over TCP.
    TurnTcp,
    /// Relays, reached over TLS.
    TurnTls,
}

/// The host part of an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// An address of its own.
    Literal(IpAddr),
    /// A name to look up, in lower case.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(address) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// One server's address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerUrl {
    /// What it is for.
    pub service: Service,
    /// Where it is.
    pub host: Host,
    /// Its port.
    pub port: u16,
}

/// Why an address is of no use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlProblem {
    /// A way to reach a server that we do not speak: STUN over TLS, TURN over DTLS.
    #[error("is reached in a way this program does not speak")]
    Unsupported,
    /// It follows no form of RFC 7064 or RFC 7065.
    #[error("is no address of a STUN or TURN server")]
    Malformed,
}

impl ServerUrl {
    /// Reads an address such as `turns:relay.example:443?transport=tcp`.
    ///
    /// # Errors
    ///
    /// [`UrlProblem`] when it is malformed or names a transport we do not speak.
    pub fn parse(text: &str) -> Result<Self, UrlProblem> {
        let (scheme, rest) = text.trim().split_once(':').ok_or(UrlProblem::Malformed)?;
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        let transport = query.and_then(|query| {
            let (key, value) = query.split_once('=')?;
            key.eq_ignore_ascii_case("transport").then(|| value.to_ascii_lowercase())
        });
        if query.is_some() && transport.is_none() {
            return Err(UrlProblem::Malformed);
        }
        let service = match (&*scheme.to_ascii_lowercase(), transport.as_deref()) {
            // RFC 7064 knows no query, but some services write one.
            ("stun", None | Some("udp")) => Service::Stun,
            ("turn", None | Some("udp")) => Service::TurnUdp,
            ("turn", Some("tcp")) => Service::TurnTcp,
            ("turns", None | Some("tcp")) => Service::TurnTls,
            ("stun" | "stuns" | "turn" | "turns", _) => return Err(UrlProblem::Unsupported),
            _ => return Err(UrlProblem::Malformed),
        };
        let default = if service == Service::TurnTls { TLS_PORT } else { PLAIN_PORT };
        let (host, port) = host_and_port(place, default).ok_or(UrlProblem::Malformed)?;
        Ok(Self { service, host, port })
    }

    /// Whether it is a TURN server, which takes a user name and a password.
    pub fn relays(&self) -> bool {
        self.service != Service::Stun
    }

    /// Host and port, for a person.
    pub fn place(&self) -> String {
        match &self.host {
            Host::Literal(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            host => format!("{host}:{}", self.port),
        }
    }
}

fn host_and_port(place: &str, default: u16) -> Option<(Host, u16)> {
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let address: IpAddr = host.parse().ok()?;
        if !address.is_ipv6() {
            return None;
        }
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
        (Host::Literal(address), port)
    } else {
        let (host, port) = match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        };
        (name_or_literal(host)?, port)
    };
    let port = match port {
        None => default,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port != 0)?
        }
        Some(_) => return None,
    };
    Some((host, port))
}

fn name_or_literal(host: &str) -> Option<Host> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Host::Literal(address));
    }
    let proper = !host.is_empty()
        && host.len() <= LONGEST_NAME
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    proper.then(|| Host::Name(host.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ServerUrl {
        ServerUrl::parse(text).unwrap_or_else(|problem| panic!("{text} {problem}"))
    }

    #[test]
    fn schemes_and_transports_choose_the_way_and_the_port() {
        for (text, service, port) in [
            ("stun:a.example", Service::Stun, 3478),
            ("stun:a.example:19302?transport=udp", Service::Stun, 19302),
            ("turn:a.example", Service::TurnUdp, 3478),
            ("turn:a.example:80?transport=udp", Service::TurnUdp, 80),
            ("turn:a.example?transport=tcp", Service::TurnTcp, 3478),
            ("TURN:a.example:80?transport=TCP", Service::TurnTcp, 80),
            ("turns:a.example", Service::TurnTls, 5349),
            ("turns:a.example:443?transport=tcp", Service::TurnTls, 443),
        ] {
            let url = read(text);
            assert_eq!((url.service, url.port), (service, port), "{text}");
            assert_eq!(url.host, Host::Name("a.example".into()));
        }
    }

    #[test]
    fn literals_need_no_look_up() {
        let v6 = read("turn:[2001:db8::1]:5000");
        assert_eq!(v6.host, Host::Literal("2001:db8::1".parse().expect("an address")));
        assert_eq!((v6.port, v6.place()), (5000, "[2001:db8::1]:5000".to_owned()));
        assert_eq!(read("stun:[::1]").port, 3478);
        let v4 = read("turn:192.0.2.1?transport=tcp");
        assert_eq!(v4.host, Host::Literal("192.0.2.1".parse().expect("an address")));
    }

    #[test]
    fn what_we_do_not_speak_is_told_from_what_is_wrong() {
        for text in ["stuns:a.example", "turns:a.example?transport=udp", "turn:a?transport=sctp"] {
            assert_eq!(ServerUrl::parse(text), Err(UrlProblem::Unsupported), "{text}");
        }
        for text in [
            "",
            "a.example",
            "http:a.example",
            "turn:",
            "turn://a.example",
            "turn:a.example:0",
            "turn:a.example:70000",
            "turn:a.example:+80",
            "turn:a.example:80:80",
            "turn:[::1",
            "turn:[::1]80",
            "turn:[192.0.2.1]",
            "turn:a b",
            "turn:a.example?tcp",
            "turn:a.example?x=y",
        ] {
            assert_eq!(ServerUrl::parse(text), Err(UrlProblem::Malformed), "{text}");
        }
    }
}
