//! What a welcome tells beside the id: the term of the token, ICE servers, the time of day there
//! (protocol.md sections 1.3 and 1.4).
//!
//! Pure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tracing::{info, warn};

use super::super::envelope;
use super::super::greeted::Greeted;
use super::ticket::{LONGEST, clock_ahead};
use super::{Session, State};
use crate::intercom::{PeerId, UplinkEvent};

/// Most bytes of our own metadata as JSON (protocol.md section 7); more is left out whole.
const MAX_OWN_METADATA: usize = 8192;

/// A time in Unix seconds has so many digits until the year 2286.
const UNIX_DIGITS: usize = 10;

/// What a welcome says.
pub(super) struct Welcome {
    pub(super) peer_id: String,
    pub(super) expires_at: Option<f64>,
    pub(super) server_time: f64,
    pub(super) max_message_size: f64,
    pub(super) metadata: Option<Value>,
}

impl Session {
    pub(super) fn welcome(&mut self, now: Instant, welcome: Welcome) {
        let own = PeerId::from(welcome.peer_id.as_str());
        match self.backoff.attempts() {
            0 => info!(peer_id = %own, "connected"),
            failures => info!(peer_id = %own, failures, "connected again"),
        }
        self.refused = None;
        self.reported = None;
        self.successions_failed = 0;
        self.compare_clocks(welcome.server_time);
        let luck = self.backoff.luck();
        let (expires_at, server_time) = (welcome.expires_at, welcome.server_time);
        self.tickets.welcomed(now, expires_at, server_time, luck, &self.timings);
        let prefix = format!("{}.{}", self.request_prefix, self.desk.counters.connects);
        let largest = welcome.max_message_size;
        let live = Greeted::new(now, &mut self.desk, &self.timings, own, largest, prefix);
        self.state = State::Live(Box::new(live));
        self.learn(welcome.metadata);
        self.relays_due = self.relays_due(now, server_time, luck);
        if self.may_enter() {
            self.desk.membership.up(now);
        }
        self.plan_succession(now);
    }

    fn learn(&mut self, metadata: Option<Value>) {
        let servers = envelope::ice_servers(metadata.as_ref());
        let is_first = self.ice_servers.is_none();
        let known = self.ice_servers.get_or_insert_default();
        if let Some(servers) = servers.filter(|servers| servers != known) {
            *known = servers;
            if !is_first {
                self.desk.tell(UplinkEvent::ServersChanged);
            }
        }
        self.own_metadata = metadata.and_then(|mut metadata| {
            // They hold passwords and are shown elsewhere.
            metadata.as_object_mut()?.remove("iceServers");
            let is_worth_it = metadata.as_object().is_some_and(|fields| !fields.is_empty());
            (is_worth_it && metadata.to_string().len() <= MAX_OWN_METADATA)
                .then(|| Arc::new(metadata))
        });
    }

    /// When the credentials of the relays are worth replacing: at four fifths of their term, as coturn and others write
    /// their end into the user name (draft-uberti-behave-turn-rest); after some hours where it does not say.
    fn relays_due(&self, now: Instant, server_time: f64, luck: f64) -> Option<Instant> {
        let users =
            self.ice_servers.iter().flatten().filter_map(|server| server.username.as_deref());
        let terms = users.filter(|user| !user.is_empty()).map(|user| {
            let end = user.split(':').next().filter(|end| end.len() == UNIX_DIGITS);
            let term =
                end.and_then(|end| end.parse::<u32>().ok()).map(|end| f64::from(end) - server_time);
            // A term that is over already says nothing: whoever wrote it has another clock.
            let term = term.filter(|term| *term > 0.0).map(|term| term.min(LONGEST));
            term.map_or(self.timings.relays, Duration::from_secs_f64)
        });
        let term = terms.min()?;
        let usual = term.mul_f64(0.78 + 0.04 * luck.clamp(0.0, 1.0));
        Some(now + usual.max(self.timings.shortest_use))
    }

    fn compare_clocks(&mut self, server_time: f64) {
        let ahead = clock_ahead((self.device_clock)(), server_time);
        if let (Some(seconds), None) = (ahead, self.clock_ahead) {
            warn!(
                seconds,
                "the door's clock differs from the signalling side's (below 0: it is behind); calls work, \
                 but certificates may not: set the clock or give the door a time server"
            );
        }
        self.clock_ahead = ahead;
    }
}
