//! The ladder by which one peer's link comes back: grace, ICE restarts, rebuilds, leave-and-join, lost.
//!
//! Browsers do not repair a link by themselves (protocol.md section 6.5), so every rung is ours. A
//! remedy needs the uplink to carry its offer: while the uplink is down the rung holds, and when it
//! returns a new link is built, as what was under way is lost.

use std::time::{Duration, Instant};

/// How long a new link may take to connect before the next rung.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the two sides may take to agree on keys once ICE has found a way between them; a link that was built anew
/// has all of [`REBUILD_TIMEOUT`], for paths that are slow. On a path that loses packets a handshake
/// comes through within a second, or hangs where nothing that is said again helps it (docs/recovery.md, "Handshakes").
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a disconnected link may heal by itself. Its keepalives go on, and find a path that is whole again
/// within a second; a restart gives up the addresses both sides had through their routers, and cannot learn
/// new ones before the hole is over (docs/recovery.md).
pub const GRACE: Duration = Duration::from_secs(10);
/// The same for a link that goes over a relay: the relay may have forgotten us, which no patience heals.
pub const RELAYED_GRACE: Duration = Duration::from_secs(2);
/// How long each ICE restart may take: what a browser cannot learn of its address when it is asked, it asks
/// again only after up to 8 s.
pub const RESTART_TIMEOUT: Duration = Duration::from_secs(5);
/// Offers in a row that nobody answers before more is done: some 80 s, longer than the service takes to notice
/// that somebody is gone (protocol.md section 3.1).
pub const MOST_UNANSWERED: u32 = 6;
/// ICE restarts before the link is rebuilt for good.
pub const RESTARTS: u32 = 20;
/// Each so-manieth of them is a new link instead. A restart keeps the keys; where the two sides do not agree about
/// those any more, no restart ever helps, and the door cannot see it when the peer's word of it was lost.
pub const REBUILT_EACH: u32 = 4;
/// How long somebody who talked is waited for while neither media nor signalling reach them. Their page gives up sooner
/// (30 s), and as long as the call waits, nobody who presses the button is heard.
pub const STRANDED: Duration = Duration::from_secs(60);
/// Longest time an offer of the ladder waits for its answer.
pub const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Rebuilds before leave-and-join.
pub const REBUILDS: u32 = 2;
/// How long a rebuilt link may take to connect.
pub const REBUILD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a peer that was given up is left alone before it is tried afresh, should it still be there.
pub const REST: Duration = Duration::from_secs(30);
/// How long after a description was applied the first candidate or the connection may take before
/// the browser is taken for stuck (protocol.md section 5.6).
pub const CANDIDATE_TIMEOUT: Duration = Duration::from_secs(3);

/// What to do next for a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// An offer with new ICE credentials.
    Restart,
    /// A new link.
    Rebuild,
    /// Leave the channel and join it again: the browser then drops its connection too.
    Rejoin,
    /// Give the peer up for a while: its link goes, and the room it took.
    GiveUp,
    /// Try a peer that was given up afresh.
    Retry,
}

/// Why the present remedy is known to be of no use before its time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Futile {
    /// Nothing came back to our offer.
    Unanswered,
    /// The link itself failed.
    Broken,
}

/// How media went over the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From router to router.
    Direct,
    /// Over a TURN server of ours.
    Relayed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rung {
    Steady,
    Connecting,
    Grace,
    /// How many ICE restarts were begun.
    Restart(u32),
    /// How many rebuilds were begun.
    Rebuild(u32),
    Rejoin,
    Lost,
}

/// Whether remedies can be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Up,
    /// The uplink is down: time does not count.
    Down,
}

/// What is known of the peer so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Past {
    /// Nothing ever came from it: perhaps a ghost, somebody who is gone while the service does not know
    /// yet (protocol.md section 3.1).
    Silent,
    /// It spoke, but was never connected.
    Heard,
    Connected,
}

/// Whether somebody who talked is given the ladder a second time when its end came early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    Whole,
    Spent,
}

/// The ladder of one peer.
#[derive(Debug)]
pub struct Recovery {
    rung: Rung,
    due: Option<Instant>,
    line: Line,
    past: Past,
    /// Restarts in a row that nobody answered.
    unanswered: u32,
    patience: Patience,
    /// When a peer that nothing reaches is given up.
    stranded: Option<Instant>,
}

impl Recovery {
    /// The ladder of a link that is being built for the first time.
    pub fn new(now: Instant) -> Self {
        Self {
            rung: Rung::Connecting,
            due: Some(now + CONNECT_TIMEOUT),
            line: Line::Up,
            past: Past::Silent,
            unanswered: 0,
            patience: Patience::Whole,
            stranded: None,
        }
    }

    /// When `wakeup` is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.due.filter(|_| self.line == Line::Up)
    }

    /// Whether the link worked before and is being repaired.
    pub fn is_repairing(&self) -> bool {
        self.past == Past::Connected && !matches!(self.rung, Rung::Steady | Rung::Lost)
    }

    /// Whether a link is being set up or repaired.
    pub fn is_at_work(&self) -> bool {
        !matches!(self.rung, Rung::Steady | Rung::Lost)
    }

    /// Whether the uplink is down, so that nothing can be done.
    pub fn is_held(&self) -> bool {
        self.line == Line::Down
    }

    /// When a peer is given up that neither media nor signalling reach.
    pub fn stranded(&self) -> Option<Instant> {
        self.stranded
    }

    /// Whether the link worked before and is being repaired, or does not come about as it should.
    pub fn is_in_trouble(&self) -> bool {
        self.is_repairing() || !matches!(self.rung, Rung::Steady | Rung::Connecting)
    }

    /// Whether the link is being brought back by ICE restarts.
    pub fn is_restarting(&self) -> bool {
        matches!(self.rung, Rung::Restart(_))
    }

    /// Whether the present rung's time is up.
    pub fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|at| at <= now)
    }

    /// Whether the peer has ever sent anything.
    pub fn was_heard(&self) -> bool {
        self.past != Past::Silent
    }

    /// The peer sent something.
    pub fn heard(&mut self) {
        self.unanswered = 0;
        if self.past == Past::Silent {
            self.past = Past::Heard;
        }
    }

    /// The link is connected.
    pub fn connected(&mut self) {
        self.rung = Rung::Steady;
        self.due = None;
        self.past = Past::Connected;
        self.patience = Patience::Whole;
        self.stranded = None;
    }

    /// A link that worked is looking for a way again, on the peer's wish or ours.
    pub fn connecting(&mut self, now: Instant) {
        if self.rung == Rung::Steady {
            self.rung = Rung::Connecting;
            self.due = Some(now + CONNECT_TIMEOUT);
        }
    }

    /// ICE has found a way, and the keys are being agreed on.
    pub fn handshaking(&mut self, now: Instant) {
        if self.rung == Rung::Connecting {
            self.due = self.due.map(|due| due.min(now + HANDSHAKE_TIMEOUT));
        }
    }

    /// The link shows no life; it may heal.
    pub fn disconnected(&mut self, now: Instant, way: Way) {
        if self.rung == Rung::Steady {
            self.rung = Rung::Grace;
            let grace = match way {
                Way::Direct => GRACE,
                Way::Relayed => RELAYED_GRACE,
            };
            self.due = Some(now + grace);
        }
    }

    /// The link will not heal by itself.
    #[must_use]
    pub fn failed(&mut self, now: Instant) -> Option<Remedy> {
        match self.rung {
            Rung::Steady | Rung::Grace => self.climb(now),
            // A remedy is under way with a deadline of its own.
            _ => None,
        }
    }

    /// The present remedy is known to be of no use: go on at once.
    #[must_use]
    pub fn useless(&mut self, now: Instant, why: Futile) -> Option<Remedy> {
        let next = match (self.rung, why) {
            (Rung::Lost, _) => return None,
            // Somebody who talked may have lost only their signalling, and comes back to it within half a minute.
            (Rung::Rejoin, Futile::Unanswered) if self.may_begin_again() => {
                return self.begin_again(now);
            }
            (Rung::Rejoin, _) => Rung::Lost,
            // A browser that ignores two offers in a row waits for an answer that was lost
            // (protocol.md section 5.7), or nobody is there.
            (Rung::Rebuild(_), Futile::Unanswered) => Rung::Rejoin,
            (Rung::Rebuild(_), Futile::Broken) => return self.climb(now),
            (Rung::Restart(_), Futile::Unanswered) if self.unanswered >= MOST_UNANSWERED => {
                Rung::Rejoin
            }
            (Rung::Restart(n), Futile::Unanswered) if n < RESTARTS => {
                return self.offer_more_rarely(now, n + 1);
            }
            (Rung::Connecting | Rung::Restart(_) | Rung::Steady | Rung::Grace, _) => {
                Rung::Rebuild(1)
            }
        };
        self.enter(now, next)
    }

    fn may_begin_again(&self) -> bool {
        self.past == Past::Connected
            && self.patience == Patience::Whole
            && self.unanswered < MOST_UNANSWERED
    }

    fn begin_again(&mut self, now: Instant) -> Option<Remedy> {
        self.patience = Patience::Spent;
        self.offer_more_rarely(now, 1)
    }

    /// An offer nobody answered leaves both sides apart; a new link makes them agree again.
    /// A phone that sleeps should not wake to a heap of offers, so they become rarer.
    fn offer_more_rarely(&mut self, now: Instant, restart: u32) -> Option<Remedy> {
        self.unanswered += 1;
        let remedy = self.enter(now, Rung::Restart(restart)).map(|_| Remedy::Rebuild);
        let wait = RESTART_TIMEOUT * (self.unanswered + 1);
        self.due = Some(now + wait.min(LONGEST_WAIT));
        remedy
    }

    /// The browser answered but sends no candidates: only a new connection on its side helps.
    #[must_use]
    pub fn browser_stuck(&mut self, now: Instant) -> Option<Remedy> {
        match self.rung {
            Rung::Lost | Rung::Rejoin | Rung::Steady => None,
            _ => self.enter(now, Rung::Rejoin),
        }
    }

    /// The address the link used is gone, or a link in trouble has a new one to try.
    #[must_use]
    pub fn moved(&mut self, now: Instant) -> Option<Remedy> {
        match self.past {
            Past::Connected => self.enter(now, Rung::Restart(1)),
            Past::Silent | Past::Heard => self.enter(now, Rung::Rebuild(1)),
        }
    }

    /// A new link is being built for a reason outside the ladder (glare, a new remote).
    pub fn restarted(&mut self, now: Instant) {
        self.rung = match self.rung {
            Rung::Rebuild(n) => Rung::Rebuild(n),
            Rung::Rejoin => Rung::Rejoin,
            _ => Rung::Connecting,
        };
        self.due = Some(now + CONNECT_TIMEOUT);
    }

    /// The uplink is gone: remedies cannot be carried out.
    pub fn hold(&mut self) {
        self.line = Line::Down;
    }

    /// Media does not flow.
    pub fn silent(&mut self, now: Instant) {
        if self.is_held() {
            self.stranded.get_or_insert(now + STRANDED);
        }
    }

    /// It was given up.
    pub fn abandoned(&mut self) {
        self.stranded = None;
    }

    /// The uplink is back: the held remedy, to be issued again.
    #[must_use]
    pub fn resume(&mut self, now: Instant) -> Option<Remedy> {
        self.stranded = None;
        if std::mem::replace(&mut self.line, Line::Up) == Line::Up {
            return None;
        }
        match self.rung {
            Rung::Steady | Rung::Lost => None,
            // What was under way when the socket went is lost with it. And the peer may have seen us leave: then
            // its old connection is gone, and a restart would offer to one that never knew the link.
            Rung::Connecting | Rung::Grace | Rung::Restart(_) | Rung::Rejoin => {
                self.enter(now, Rung::Rebuild(1))
            }
            rung => self.enter(now, rung),
        }
    }

    /// A new link is being built whatever was before, and the uplink is there to carry its offer.
    pub fn renewed(&mut self, now: Instant) {
        self.line = Line::Up;
        self.stranded = None;
        self.restarted(now);
    }

    /// Time passed.
    #[must_use]
    pub fn wakeup(&mut self, now: Instant) -> Option<Remedy> {
        match self.deadline() {
            Some(at) if at <= now => self.climb(now),
            _ => None,
        }
    }

    fn climb(&mut self, now: Instant) -> Option<Remedy> {
        let next = match self.rung {
            Rung::Steady | Rung::Grace => Rung::Restart(1),
            Rung::Restart(n) if n < RESTARTS => Rung::Restart(n + 1),
            Rung::Connecting | Rung::Restart(_) => Rung::Rebuild(1),
            Rung::Rebuild(n) if n < REBUILDS => Rung::Rebuild(n + 1),
            Rung::Rebuild(_) => Rung::Rejoin,
            Rung::Rejoin if self.may_begin_again() => return self.begin_again(now),
            Rung::Rejoin => Rung::Lost,
            Rung::Lost => {
                self.due = Some(now + REST);
                return Some(Remedy::Retry);
            }
        };
        self.enter(now, next)
    }

    fn enter(&mut self, now: Instant, rung: Rung) -> Option<Remedy> {
        self.rung = rung;
        let (remedy, lasts) = match rung {
            Rung::Steady => (None, None),
            Rung::Connecting => (None, Some(CONNECT_TIMEOUT)),
            Rung::Grace => (None, Some(GRACE)),
            Rung::Restart(n) if n % REBUILT_EACH == 0 => {
                (Some(Remedy::Rebuild), Some(RESTART_TIMEOUT))
            }
            Rung::Restart(_) => (Some(Remedy::Restart), Some(RESTART_TIMEOUT)),
            Rung::Rebuild(_) => (Some(Remedy::Rebuild), Some(REBUILD_TIMEOUT)),
            Rung::Rejoin => (Some(Remedy::Rejoin), Some(REBUILD_TIMEOUT)),
            Rung::Lost => (Some(Remedy::GiveUp), Some(REST)),
        };
        self.due = lasts.map(|lasts| now + lasts);
        // What cannot be sent is not begun; it is issued when the uplink is back.
        remedy.filter(|remedy| self.line == Line::Up || *remedy == Remedy::GiveUp)
    }
}
