//! Names that several rooms must agree on, and the pure checks of those an operator types:
//! the channel, the service's address, ICE servers, and the ids of the door's own media.
//!
//! It reads no file and reaches no network: a name that passes here can still be refused by the service.

use std::fmt;

use thiserror::Error;
use url::{Host, Url};

/// Longest channel name, in bytes of UTF-8 (protocol.md section 2.1).
pub const MAX_CHANNEL: usize = 256;
/// Prefixes of channels the service keeps for itself, in lower case (protocol.md section 2.1).
pub const RESERVED_CHANNELS: [&str; 3] = ["_metered/", "_internal/", "_system/"];

/// 2026-01-01 in unix seconds. A board without a battery clock starts in 1970: whatever is earlier is no time of day.
pub const EARLIEST_CLOCK: i64 = 1_767_225_600;

/// Id of the media stream that carries the door's picture and voice, in `a=msid` and in track metadata
/// (protocol.md trap 10.7).
pub const MEDIA_STREAM: &str = "intercomd";
/// Id of the door's audio track.
pub const AUDIO_TRACK: &str = "intercomd-audio";
/// Id of the door's video track.
pub const VIDEO_TRACK: &str = "intercomd-video";

/// What is wrong with a channel name (protocol.md section 2.1).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChannelProblem {
    /// Nothing was given.
    #[error(
        "the channel name is empty; give the name the answering page uses too, such as \"front-door\""
    )]
    Empty,
    /// More than [`MAX_CHANNEL`] bytes.
    #[error(
        "the channel name has {bytes} bytes, the service takes at most {MAX_CHANNEL}; shorten it"
    )]
    TooLong {
        /// Its length in bytes of UTF-8.
        bytes: usize,
    },
    /// A control character, which is easily pasted by accident.
    #[error(
        "the channel name has an invisible control character at position {at}; type the name again"
    )]
    ControlCharacter {
        /// Which character, counted from 1.
        at: usize,
    },
    /// The name belongs to the service.
    #[error(
        "channel names that begin with \"{prefix}\" belong to the service; choose another beginning"
    )]
    Reserved {
        /// The reserved prefix, in lower case.
        prefix: &'static str,
    },
}

/// Checks a channel name against protocol.md section 2.1.
///
/// # Errors
/// The first rule the name breaks.
pub fn check_channel(name: &str) -> Result<(), ChannelProblem> {
    if name.is_empty() {
        return Err(ChannelProblem::Empty);
    }
    if name.len() > MAX_CHANNEL {
        return Err(ChannelProblem::TooLong { bytes: name.len() });
    }
    if let Some(at) = name.chars().position(char::is_control) {
        return Err(ChannelProblem::ControlCharacter { at: at + 1 });
    }
    let reserved = |prefix: &&&str| {
        let head = name.as_bytes().get(..prefix.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    match RESERVED_CHANNELS.iter().find(reserved) {
        Some(prefix) => Err(ChannelProblem::Reserved { prefix }),
        None => Ok(()),
    }
}

/// The channel of those who look in at the door of this channel (docs/door-protocol.md).
pub fn look_channel(channel: &str) -> String {
    format!("{channel}-look")
}

/// What is wrong with the service's address (protocol.md section 1.1).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OriginProblem {
    /// Not an absolute URL with a host.
    #[error("this is not an address; write it like \"wss://rms.metered.ca\"")]
    NotAnAddress,
    /// A scheme other than `wss`, or than `ws` on this machine.
    #[error("the scheme \"{scheme}\" does not fit; write \"wss://\" before the host")]
    Scheme {
        /// The scheme that was given.
        scheme: String,
    },
    /// `ws://` would send the key in the clear over a network.
    #[error(
        "\"ws://\" sends the key unprotected and is allowed only to localhost, 127.0.0.1 and ::1; \
         write \"wss://{host}\""
    )]
    NotProtected {
        /// The host that was given.
        host: String,
    },
    /// The daemon appends the path by itself.
    #[error(
        "the address must end after the host and port; remove the path (the daemon adds \"/v1\")"
    )]
    Path,
    /// A `?query` or `#fragment`, which may hold a key: it is not repeated here.
    #[error(
        "the address must end after the host and port; remove everything from \"?\" or \"#\" on"
    )]
    QueryOrFragment,
}

/// Checks the service's address by the SDKs' rules (protocol.md section 1.1) and returns it as scheme,
/// host and port, for example `wss://rms.metered.ca`. User information in it is dropped.
///
/// # Errors
/// The first rule the address breaks. No error repeats a part that may hold a secret.
pub fn check_origin(address: &str) -> Result<String, OriginProblem> {
    let url = Url::parse(address).map_err(|_| OriginProblem::NotAnAddress)?;
    if !matches!(url.scheme(), "wss" | "ws") {
        return Err(OriginProblem::Scheme { scheme: url.scheme().to_owned() });
    }
    let host = url.host().ok_or(OriginProblem::NotAnAddress)?;
    if url.scheme() == "ws" && !is_this_machine(&host) {
        return Err(OriginProblem::NotProtected { host: host.to_string() });
    }
    if !matches!(url.path(), "" | "/") {
        return Err(OriginProblem::Path);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(OriginProblem::QueryOrFragment);
    }
    Ok(url.origin().ascii_serialization())
}

/// Only these three spellings: the SDKs take no other loopback address either.
fn is_this_machine(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => *address == std::net::Ipv4Addr::LOCALHOST,
        Host::Ipv6(address) => *address == std::net::Ipv6Addr::LOCALHOST,
    }
}

/// What is wrong with the address tokens are asked from.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenUrlProblem {
    /// Not an address at all.
    #[error("this is not an address; write one such as \"https://owner.example/door-token\"")]
    NotAnAddress,
    /// A scheme other than `https`, or `http` to another machine.
    #[error(
        "tokens are asked over \"https://\" only (\"http://\" to localhost, 127.0.0.1 and ::1); \
         write \"https://{host}...\""
    )]
    NotProtected {
        /// The host that was given.
        host: String,
    },
    /// A user name or password, which would be easily logged.
    #[error("the address holds a user name; remove it and use token_bearer_file")]
    User,
}

/// Checks the address tokens are asked from and returns it without a fragment.
///
/// # Errors
/// The first rule the address breaks. No error repeats a part that may hold a secret.
pub fn check_token_url(address: &str) -> Result<String, TokenUrlProblem> {
    let mut url = Url::parse(address).map_err(|_| TokenUrlProblem::NotAnAddress)?;
    let host = url.host().ok_or(TokenUrlProblem::NotAnAddress)?;
    match url.scheme() {
        "https" => {}
        "http" if is_this_machine(&host) => {}
        "http" => return Err(TokenUrlProblem::NotProtected { host: host.to_string() }),
        _ => return Err(TokenUrlProblem::NotAnAddress),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TokenUrlProblem::User);
    }
    url.set_fragment(None);
    Ok(url.into())
}

/// Most ICE servers of one list (protocol.md section 1.4).
pub const MAX_ICE_SERVERS: usize = 16;
/// Longest URL of an ICE server, in characters (protocol.md section 1.4).
pub const MAX_ICE_URL: usize = 512;
/// Longest user name and longest password of an ICE server, in characters (protocol.md section 1.4).
pub const MAX_ICE_WORD: usize = 1024;

/// What sort of ICE server a URL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceScheme {
    /// `stun:` or `stuns:`; tells us our address.
    Stun,
    /// `turn:` or `turns:`; passes our media on, for those with a name and a password.
    Turn,
}

/// The sort of server an ICE URL names, by the rules of protocol.md section 1.4; `None` if it breaks one.
pub fn ice_scheme(url: &str) -> Option<IceScheme> {
    let (scheme, rest) = url.split_once(':')?;
    if rest.is_empty() || url.chars().count() > MAX_ICE_URL {
        return None;
    }
    match scheme.to_ascii_lowercase().as_str() {
        "stun" | "stuns" => Some(IceScheme::Stun),
        "turn" | "turns" => Some(IceScheme::Turn),
        _ => None,
    }
}

/// One ICE server, as the signalling side hands it out (W3C `RTCIceServer`, protocol.md section 1.4).
/// Its `Debug` shows neither name nor password.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:`, `stuns:`, `turn:` or `turns:` URLs, at least one.
    pub urls: Vec<String>,
    /// TURN user name.
    pub username: Option<String>,
    /// TURN password.
    pub credential: Option<String>,
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |field: &Option<String>| field.as_ref().map(|_| "...");
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .field("username", &hidden(&self.username))
            .field("credential", &hidden(&self.credential))
            .finish()
    }
}

/// Which ways to a phone are tried (W3C `RTCIceTransportPolicy`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IcePolicy {
    /// All of them.
    #[default]
    All,
    /// Only through a TURN server.
    Relay,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_channel_names_pass() {
        for name in ["front-door", "haus/tür", "_meteredx", "x", &"d".repeat(256)] {
            assert_eq!(check_channel(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_channel_name_is_measured_in_bytes() {
        assert_eq!(check_channel(""), Err(ChannelProblem::Empty));
        assert_eq!(check_channel(&"d".repeat(257)), Err(ChannelProblem::TooLong { bytes: 257 }));
        assert_eq!(check_channel(&"ü".repeat(129)), Err(ChannelProblem::TooLong { bytes: 258 }));
    }

    #[test]
    fn control_characters_are_found_by_position() {
        for bad in ["\u{0}", "\u{1f}", "\u{7f}", "\u{80}", "\u{9f}", "\n"] {
            let name = format!("tür{bad}");
            assert_eq!(check_channel(&name), Err(ChannelProblem::ControlCharacter { at: 4 }));
        }
    }

    #[test]
    fn reserved_prefixes_are_refused_in_any_case() {
        for (name, prefix) in
            [("_metered/x", "_metered/"), ("_InTernal/", "_internal/"), ("_SYSTEM/a/b", "_system/")]
        {
            assert_eq!(check_channel(name), Err(ChannelProblem::Reserved { prefix }));
        }
    }

    #[test]
    fn good_addresses_become_origins() {
        for (address, origin) in [
            ("wss://rms.metered.ca", "wss://rms.metered.ca"),
            ("wss://RMS.metered.ca:443/", "wss://rms.metered.ca"),
            ("wss://door.local:8443", "wss://door.local:8443"),
            ("wss://user:word@door.local", "wss://door.local"),
            ("ws://localhost:18080", "ws://localhost:18080"),
            ("ws://127.0.0.1", "ws://127.0.0.1"),
            ("ws://[::1]:9", "ws://[::1]:9"),
        ] {
            assert_eq!(check_origin(address).as_deref(), Ok(origin), "{address}");
        }
    }

    #[test]
    fn bad_addresses_say_what_to_change() {
        use OriginProblem as P;
        for (address, problem) in [
            ("rms.metered.ca", P::NotAnAddress),
            ("", P::NotAnAddress),
            ("wss://", P::NotAnAddress),
            ("https://rms.metered.ca", P::Scheme { scheme: "https".into() }),
            ("ws://192.168.1.2", P::NotProtected { host: "192.168.1.2".into() }),
            ("ws://127.0.0.2", P::NotProtected { host: "127.0.0.2".into() }),
            ("wss://rms.metered.ca/v1", P::Path),
            ("wss://rms.metered.ca?key=pk", P::QueryOrFragment),
            ("wss://rms.metered.ca/#x", P::QueryOrFragment),
        ] {
            let error = check_origin(address).expect_err("this address breaks a rule");
            assert_eq!(error, problem, "{address}");
            assert!(!error.to_string().contains("pk"), "no error repeats a key");
        }
    }

    #[test]
    fn tokens_are_asked_over_protected_ways_only() {
        use TokenUrlProblem as P;
        for (address, taken) in [
            ("https://owner.example/t?door=1#x", "https://owner.example/t?door=1"),
            ("http://127.0.0.1:8080/t", "http://127.0.0.1:8080/t"),
            ("http://[::1]/", "http://[::1]/"),
        ] {
            assert_eq!(check_token_url(address).as_deref(), Ok(taken));
        }
        for (address, problem) in [
            ("owner.example", P::NotAnAddress),
            ("ftp://owner.example", P::NotAnAddress),
            ("http://owner.example/", P::NotProtected { host: "owner.example".into() }),
            ("https://user:word@owner.example/", P::User),
        ] {
            assert_eq!(check_token_url(address), Err(problem), "{address}");
        }
    }

    #[test]
    fn ice_urls_are_told_apart_by_their_scheme() {
        for (url, scheme) in [
            ("stun:s.example:3478", Some(IceScheme::Stun)),
            ("STUNS:s.example", Some(IceScheme::Stun)),
            ("turn:t.example?transport=tcp", Some(IceScheme::Turn)),
            ("turns:t.example:443", Some(IceScheme::Turn)),
            ("turn:", None),
            ("http://t.example", None),
            ("t.example", None),
            ("", None),
        ] {
            assert_eq!(ice_scheme(url), scheme, "{url}");
        }
        assert_eq!(ice_scheme(&format!("stun:{}", "x".repeat(507))), Some(IceScheme::Stun));
        assert_eq!(ice_scheme(&format!("stun:{}", "x".repeat(508))), None);
    }

    #[test]
    fn an_ice_server_shows_no_password() {
        let server = IceServer {
            urls: vec!["turn:t.example".into()],
            username: Some("alice".into()),
            credential: Some("wonder".into()),
        };
        let shown = format!("{server:?}");
        assert!(shown.contains("turn:t.example"));
        assert!(!shown.contains("alice") && !shown.contains("wonder"));
    }
}
