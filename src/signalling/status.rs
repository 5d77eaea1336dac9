//! What `status` shows of one uplink: plain values, nothing that could hold a secret but ICE servers,
//! whose `Debug` hides theirs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use crate::config::names::IceServer;
use crate::intercom::PeerId;

/// Where an uplink stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UplinkState {
    /// No socket: waiting for the next attempt, or not needed now.
    Offline,
    /// A socket is being opened.
    Connecting,
    /// Greeted by the signalling side.
    Connected,
    /// In the channel.
    Joined,
    /// The signalling side does not want us until a person changes something.
    Refused {
        /// What to change.
        advice: &'static str,
    },
}

impl UplinkState {
    /// The name used in `status`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Joined => "joined",
            Self::Refused { .. } => "refused",
        }
    }
}

/// Things that should not happen often, counted since the uplink started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Attempts to connect.
    pub connects: u64,
    /// Inbound frames of a type this program does not know.
    pub unknown: u64,
    /// Inbound frames that could not be used.
    pub malformed: u64,
    /// Signals dropped: we were not in the channel, or the peer sent too many.
    pub dropped: u64,
    /// Outgoing frames not sent: too big, no socket, or too many waiting.
    pub unsent: u64,
    /// Requests the signalling side refused or never answered.
    pub failed: u64,
}

/// A snapshot of one uplink for `status`.
#[derive(Debug, Clone, PartialEq)]
pub struct UplinkStatus {
    /// The uplink's name.
    pub name: &'static str,
    /// Where it stands.
    pub state: UplinkState,
    /// Our id there while connected.
    pub peer_id: Option<PeerId>,
    /// Failed attempts in a row.
    pub attempts: u32,
    /// When the next attempt is due, while offline.
    pub next_retry: Option<Instant>,
    /// The last thing an operator should know; gone when it is proved wrong.
    pub problem: Option<String>,
    /// For peer connections made from now on (protocol.md section 1.4).
    pub ice_servers: Vec<IceServer>,
    /// What our token says of us, without the ICE servers; `None` with a key. Not for logs.
    pub own_metadata: Option<Arc<Value>>,
    /// What the tokens of the peers in the channel say of them, by peer id. Not for logs.
    pub peer_metadata: Arc<BTreeMap<String, Value>>,
    /// When the credential in use expires, by the signalling side's clock; `None`: never.
    pub expires: Option<Instant>,
    /// By how many seconds the device's clock is ahead of the signalling side's (negative: behind), if
    /// that is more than a minute.
    pub clock_ahead: Option<i64>,
    /// Oddities so far.
    pub counters: Counters,
}
