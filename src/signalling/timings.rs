//! Every time the member side keeps, in one place; the defaults are those of protocol.md section 8.

use std::time::Duration;

use super::{MembershipTimes, PulseTimes};

/// Every time a session keeps. Tests shrink them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timings {
    /// From the start of an attempt to the welcome.
    pub welcome: Duration,
    /// How much longer that may take when a token has to be fetched first.
    pub token: Duration,
    /// From a request to its answer.
    pub ack: Duration,
    /// From a description to its one repeat, if nothing is heard of it.
    pub unheard: Duration,
    /// From a transient error on a description to its one repeat.
    pub repeat: Duration,
    /// The first delay between attempts; it doubles with each failure in a row.
    pub backoff_first: Duration,
    /// The longest ordinary delay.
    pub backoff_cap: Duration,
    /// The longest ordinary delay while somebody is at the door.
    pub backoff_wanted: Duration,
    /// The least delay after 4010 and HTTP 429, and the least time before a refused `Join` tries again.
    pub slow_floor: Duration,
    /// The delay after a refusal that only a person can lift (protocol.md section 2.5).
    pub refused: Duration,
    /// A socket that lived this long ends a row of failures. Without it a service that greets and closes at
    /// once would see more than the 60 attempts a minute it allows.
    pub proven: Duration,
    /// The longest a closing handshake may take.
    pub close: Duration,
    /// A token is not replaced sooner than this after a welcome, however short its term.
    pub shortest_use: Duration,
    /// A token this near to its end is not shown again.
    pub stale_token: Duration,
    /// A token this near to its end is replaced even during a call.
    pub last_renewal: Duration,
    /// How long the credentials of relays are used that do not say when they end. A service may end them after hours,
    /// and tells new ones in a welcome only (protocol.md section 7).
    pub relays: Duration,
    /// From a second socket that failed to the next try at one.
    pub renew_again: Duration,
    /// Signs of life.
    pub pulse: PulseTimes,
    /// Being in the channel.
    pub membership: MembershipTimes,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            welcome: Duration::from_secs(10),
            token: Duration::from_secs(10),
            ack: Duration::from_secs(15),
            unheard: Duration::from_secs(2),
            repeat: Duration::from_millis(500),
            backoff_first: Duration::from_millis(500),
            backoff_cap: Duration::from_secs(30),
            backoff_wanted: Duration::from_secs(4),
            slow_floor: Duration::from_secs(30),
            refused: Duration::from_secs(15 * 60),
            proven: Duration::from_secs(5),
            close: Duration::from_secs(1),
            shortest_use: Duration::from_secs(10),
            stale_token: Duration::from_secs(60),
            last_renewal: Duration::from_secs(10),
            relays: Duration::from_secs(4 * 3600),
            renew_again: Duration::from_secs(5),
            pulse: PulseTimes::default(),
            membership: MembershipTimes::default(),
        }
    }
}
