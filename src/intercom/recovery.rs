//! The ladder by which one peer's link comes back: grace, ICE restarts, rebuilds, leave-and-join, lost.
//!
//! Browsers do not repair a link by themselves (protocol.md section 6.5), so every rung is ours. A
//! remedy needs the uplink to carry its offer: while the uplink is down the rung holds, and when it
//! returns the same remedy is issued again with a fresh deadline.

use std::time::{Duration, Instant};

/// How long a new link may take to connect before the next rung.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a disconnected link may heal by itself.
pub const GRACE: Duration = Duration::from_secs(5);
/// How long the first ICE restart may take; each further one doubles it.
pub const RESTART_TIMEOUT: Duration = Duration::from_secs(8);
/// ICE restarts before the link is rebuilt.
pub const RESTARTS: u32 = 2;
/// Rebuilds before leave-and-join.
pub const REBUILDS: u32 = 2;
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
    /// Give the peer up until it joins or offers again.
    GiveUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rung {
    Steady,
    Connecting,
    Grace,
    Restart(u32),
    Rebuild(u32),
    Rejoin,
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    Until(Instant),
    /// The uplink is down: time does not count.
    Held,
    Off,
}

/// The ladder of one peer.
#[derive(Debug)]
pub struct Recovery {
    rung: Rung,
    clock: Clock,
    /// Whether the link has ever been connected: what never worked is given up sooner.
    past: Past,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Past {
    NeverConnected,
    WasConnected,
}

impl Recovery {
    /// The ladder of a link that is being built for the first time.
    pub fn new(now: Instant) -> Self {
        Self {
            rung: Rung::Connecting,
            clock: Clock::Until(now + CONNECT_TIMEOUT),
            past: Past::NeverConnected,
        }
    }

    /// When `wakeup` is due.
    pub fn deadline(&self) -> Option<Instant> {
        match self.clock {
            Clock::Until(at) => Some(at),
            Clock::Held | Clock::Off => None,
        }
    }

    /// Whether the link worked before and is being repaired.
    pub fn is_repairing(&self) -> bool {
        self.past == Past::WasConnected && !matches!(self.rung, Rung::Steady | Rung::Lost)
    }

    /// The link is connected.
    pub fn connected(&mut self) {
        self.rung = Rung::Steady;
        self.clock = Clock::Off;
        self.past = Past::WasConnected;
    }

    /// The link shows no life; it may heal.
    pub fn disconnected(&mut self, now: Instant) {
        if self.rung == Rung::Steady {
            self.rung = Rung::Grace;
            self.clock = Clock::Until(now + GRACE);
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

    /// The present remedy is known to be of no use (no answer, operation failed): climb now.
    #[must_use]
    pub fn useless(&mut self, now: Instant) -> Option<Remedy> {
        match self.rung {
            Rung::Lost => None,
            Rung::Connecting | Rung::Restart(_) | Rung::Steady | Rung::Grace => {
                self.enter(now, Rung::Rebuild(1))
            }
            Rung::Rebuild(_) | Rung::Rejoin => self.climb(now),
        }
    }

    /// The browser answered but sends no candidates: only a new connection on its side helps.
    #[must_use]
    pub fn browser_stuck(&mut self, now: Instant) -> Option<Remedy> {
        match self.rung {
            Rung::Lost | Rung::Rejoin | Rung::Steady => None,
            _ => self.enter(now, Rung::Rejoin),
        }
    }

    /// A new link is being built for a reason outside the ladder (glare, a new remote).
    pub fn restarted(&mut self, now: Instant) {
        self.rung = match self.rung {
            Rung::Rebuild(n) => Rung::Rebuild(n),
            Rung::Rejoin => Rung::Rejoin,
            _ => Rung::Connecting,
        };
        self.clock = Clock::Until(now + CONNECT_TIMEOUT);
    }

    /// The uplink is gone: remedies cannot be carried out.
    pub fn hold(&mut self) {
        if matches!(self.clock, Clock::Until(_)) {
            self.clock = Clock::Held;
        }
    }

    /// The uplink is back: the held remedy, to be issued again.
    #[must_use]
    pub fn resume(&mut self, now: Instant) -> Option<Remedy> {
        if self.clock != Clock::Held {
            return None;
        }
        match self.rung {
            Rung::Steady | Rung::Lost => {
                self.clock = Clock::Off;
                None
            }
            Rung::Grace => self.climb(now),
            // What was under way when the socket went is lost with it.
            Rung::Connecting | Rung::Rejoin => self.enter(now, Rung::Rebuild(1)),
            rung => self.enter(now, rung),
        }
    }

    /// Time passed.
    #[must_use]
    pub fn wakeup(&mut self, now: Instant) -> Option<Remedy> {
        match self.clock {
            Clock::Until(at) if at <= now => self.climb(now),
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
            Rung::Rejoin | Rung::Lost => Rung::Lost,
        };
        self.enter(now, next)
    }

    fn enter(&mut self, now: Instant, rung: Rung) -> Option<Remedy> {
        self.rung = rung;
        let (remedy, clock) = match rung {
            Rung::Steady => (None, Clock::Off),
            Rung::Connecting => (None, Clock::Until(now + CONNECT_TIMEOUT)),
            Rung::Grace => (None, Clock::Until(now + GRACE)),
            Rung::Restart(n) => {
                (Some(Remedy::Restart), Clock::Until(now + RESTART_TIMEOUT * 2u32.pow(n - 1)))
            }
            Rung::Rebuild(_) => (Some(Remedy::Rebuild), Clock::Until(now + CONNECT_TIMEOUT)),
            Rung::Rejoin => (Some(Remedy::Rejoin), Clock::Until(now + CONNECT_TIMEOUT)),
            Rung::Lost => (Some(Remedy::GiveUp), Clock::Off),
        };
        self.clock = clock;
        remedy
    }
}
