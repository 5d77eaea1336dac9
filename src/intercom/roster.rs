//! Who is in the channel on one uplink, as far as we know, and making that agree with a snapshot.
//!
//! Also keeps, for a few seconds, what somebody sent before presence told us of them: the SDK does
//! not repeat it (protocol.md section 5.7).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{PeerId, Signal};

/// How long a signal from somebody not yet in presence is kept.
const STRANGER_LIMIT: Duration = Duration::from_secs(5);
/// Most strangers remembered at a time.
const MAX_STRANGERS: usize = 8;
/// Most signals kept per stranger: a description and its candidates.
const MAX_SIGNALS: usize = 32;
/// How long a peer that is missing from a snapshot is kept while its media still flows: it may have
/// lost its signalling only. The end of its media ends it sooner.
pub const STALE_LIMIT: Duration = Duration::from_secs(600);

/// Where we stand on the uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachment {
    /// No socket.
    Down,
    /// Greeted, not in the channel.
    Up(PeerId),
    /// In the channel.
    In(PeerId),
}

#[derive(Debug)]
struct Stranger {
    until: Instant,
    signals: Vec<Signal>,
}

/// The roster of one uplink.
#[derive(Debug)]
pub struct Roster {
    attachment: Attachment,
    /// The id under which the peers we hold know us.
    known_as: Option<PeerId>,
    members: BTreeSet<PeerId>,
    missing: BTreeMap<PeerId, Instant>,
    strangers: BTreeMap<PeerId, Stranger>,
}

/// What a snapshot changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Not known before.
    pub came: Vec<PeerId>,
    /// Known before, and still there.
    pub stayed: Vec<PeerId>,
    /// Known before, and not there any more.
    pub absent: Vec<PeerId>,
}

impl Roster {
    /// The roster of an uplink that is not connected yet.
    pub fn new() -> Self {
        Self {
            attachment: Attachment::Down,
            known_as: None,
            members: BTreeSet::new(),
            missing: BTreeMap::new(),
            strangers: BTreeMap::new(),
        }
    }

    /// Where we stand.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// Our own id, while the socket is up.
    pub fn own(&self) -> Option<&PeerId> {
        match &self.attachment {
            Attachment::Down => None,
            Attachment::Up(own) | Attachment::In(own) => Some(own),
        }
    }

    /// The socket is up.
    pub fn up(&mut self, own: PeerId) {
        self.attachment = Attachment::Up(own);
    }

    /// The socket is gone. Members stay until a snapshot says otherwise.
    pub fn down(&mut self) {
        self.attachment = Attachment::Down;
        self.strangers.clear();
    }

    /// The channel let us in.
    pub fn entered(&mut self) {
        if let Attachment::Up(own) = &self.attachment {
            self.attachment = Attachment::In(own.clone());
        }
    }

    /// We are out of the channel.
    pub fn left(&mut self) {
        if let Attachment::In(own) = &self.attachment {
            self.attachment = Attachment::Up(own.clone());
        }
    }

    /// Whether the peers we hold know us under another id than the one we have now; the answer is
    /// given once.
    pub fn take_new_identity(&mut self) -> bool {
        let Some(own) = self.own().cloned() else { return false };
        let is_new = self.known_as.as_ref().is_some_and(|known| *known != own);
        self.known_as = Some(own);
        is_new
    }

    /// Forgets everybody; the attachment stays.
    pub fn clear(&mut self) {
        self.members.clear();
        self.missing.clear();
        self.strangers.clear();
        self.known_as = None;
    }

    /// The full list of who is there.
    pub fn snapshot(&mut self, list: Vec<PeerId>) -> Reconciled {
        let fresh: BTreeSet<PeerId> = list.into_iter().collect();
        let mut result = Reconciled::default();
        for id in &fresh {
            if self.members.contains(id) {
                result.stayed.push(id.clone());
            } else {
                result.came.push(id.clone());
            }
        }
        result.absent = self.members.difference(&fresh).cloned().collect();
        self.missing.retain(|id, _| !fresh.contains(id));
        self.members = fresh;
        result
    }

    /// Somebody came. Returns whether we knew them already.
    pub fn came(&mut self, id: &PeerId) -> bool {
        self.missing.remove(id);
        !self.members.insert(id.clone())
    }

    /// Somebody went.
    pub fn gone(&mut self, id: &PeerId) {
        self.members.remove(id);
        self.missing.remove(id);
        self.strangers.remove(id);
    }

    /// Keeps a peer that is not in the channel any more but whose media still flows, for
    /// [`STALE_LIMIT`].
    pub fn keep_missing(&mut self, now: Instant, id: PeerId) {
        self.members.insert(id.clone());
        self.missing.entry(id).or_insert(now + STALE_LIMIT);
    }

    /// Whether a peer is kept although it is not in the channel.
    pub fn is_missing(&self, id: &PeerId) -> bool {
        self.missing.contains_key(id)
    }

    /// Keeps a signal of somebody not in presence. Returns whether there was room.
    pub fn stranger(&mut self, now: Instant, id: &PeerId, signal: Signal) -> bool {
        let room = self.strangers.len() < MAX_STRANGERS;
        if !room && !self.strangers.contains_key(id) {
            return false;
        }
        let stranger = self
            .strangers
            .entry(id.clone())
            .or_insert_with(|| Stranger { until: now + STRANGER_LIMIT, signals: Vec::new() });
        let fits = stranger.signals.len() < MAX_SIGNALS;
        if fits {
            stranger.signals.push(signal);
        }
        fits
    }

    /// What somebody sent before presence told us of them.
    pub fn take_signals(&mut self, id: &PeerId) -> Vec<Signal> {
        self.strangers.remove(id).map(|stranger| stranger.signals).unwrap_or_default()
    }

    /// When `expire` is due.
    pub fn deadline(&self) -> Option<Instant> {
        let strangers = self.strangers.values().map(|stranger| stranger.until);
        strangers.chain(self.missing.values().copied()).min()
    }

    /// Time passed: forgets strangers, and returns the missing peers whose time is up.
    pub fn expire(&mut self, now: Instant) -> Vec<PeerId> {
        self.strangers.retain(|_, stranger| stranger.until > now);
        let over: Vec<PeerId> = self
            .missing
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in &over {
            self.gone(id);
        }
        over
    }
}

impl Default for Roster {
    fn default() -> Self {
        Self::new()
    }
}
