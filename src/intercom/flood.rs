//! How much one peer may say: a phone that floods costs the others nothing.
//!
//! A call set-up is one or two descriptions and some dozens of candidates. What goes beyond any honest
//! exchange is ignored; what goes far beyond it has the peer turned away.

use std::time::{Duration, Instant};

/// The time over which signals are counted.
const WINDOW: Duration = Duration::from_secs(10);
/// Signals heeded per window. A phone with many networks sends some fifty per exchange.
const SIGNALS: u32 = 300;
/// Descriptions heeded per window: each one costs keys and checks.
const DESCRIPTIONS: u32 = 30;
/// So many times over the limit is no mishap any more.
const PATIENCE: u32 = 4;

/// What to do with one more signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Heed it.
    Pass,
    /// Ignore it.
    Ignore,
    /// Turn the peer away.
    TurnAway,
}

/// What one peer has said lately.
#[derive(Debug)]
pub struct Flood {
    since: Instant,
    signals: u32,
    descriptions: u32,
}

impl Flood {
    /// Nothing said yet.
    pub fn new(now: Instant) -> Self {
        Self { since: now, signals: 0, descriptions: 0 }
    }

    /// One more signal.
    pub fn count(&mut self, now: Instant, is_description: bool) -> Verdict {
        if now.saturating_duration_since(self.since) >= WINDOW {
            *self = Self::new(now);
        }
        self.signals = self.signals.saturating_add(1);
        self.descriptions = self.descriptions.saturating_add(u32::from(is_description));
        let over =
            |limit: u32| self.signals > SIGNALS * limit || self.descriptions > DESCRIPTIONS * limit;
        if over(PATIENCE) {
            Verdict::TurnAway
        } else if over(1) {
            Verdict::Ignore
        } else {
            Verdict::Pass
        }
    }
}
