//! The term of the door's credential: when a token may be shown again, when it is to be replaced
//! (protocol.md section 7), and whether the device's clock is right.
//!
//! Pure. It never sees a token; the task keeps that. All terms are counted from the welcome, which says both
//! when the token ends and what time it is there, so a wrong clock of the device changes nothing.

use std::time::{Duration, Instant};

use super::super::advice::Pass;
use super::super::desk::Ticket;
use super::super::timings::Timings;

/// The longest term believed; longer ones end here, which keeps the arithmetic of times in range.
pub(super) const LONGEST: f64 = 366.0 * 86_400.0;
/// A clock that is wrong by less is not worth a word.
const CLOCK_SLACK: f64 = 60.0;

/// What is known of the credential.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Standing {
    /// There is none, or it is used up.
    None,
    /// It was welcomed.
    Good { renew: Option<Instant>, ends: Option<Instant> },
    /// A new one was rejected, and none was welcomed since.
    Rejected,
}

/// The door's credential over time.
#[derive(Debug)]
pub(in super::super) struct Tickets {
    pass: Pass,
    standing: Standing,
}

impl Tickets {
    pub(super) fn new(pass: Pass) -> Self {
        Self { pass, standing: Standing::None }
    }

    pub(super) fn pass(&self) -> Pass {
        self.pass
    }

    /// Which token the next socket shows.
    pub(super) fn next(&self, now: Instant, timings: &Timings) -> Ticket {
        match (self.pass, self.standing) {
            (Pass::Key, _) => Ticket::Kept,
            (Pass::Token, Standing::Good { ends, .. })
                if ends.is_none_or(|ends| now + timings.stale_token < ends) =>
            {
                Ticket::Kept
            }
            (Pass::Token, _) => Ticket::Fresh,
        }
    }

    /// A socket was welcomed. Times in Unix seconds on the signalling side's clock; `luck` from 0 to 1.
    pub(super) fn welcomed(
        &mut self,
        now: Instant,
        expires_at: Option<f64>,
        server_time: f64,
        luck: f64,
        timings: &Timings,
    ) {
        let term =
            expires_at.map(|end| Duration::from_secs_f64((end - server_time).clamp(0.0, LONGEST)));
        let renew = |term: Duration| {
            // Four fifths, a little apart from other doors; a minute before the end at the latest, unless
            // the term is so short that half of it is more.
            let usual = term.mul_f64(0.78 + 0.04 * luck.clamp(0.0, 1.0));
            let late = term.saturating_sub(Duration::from_secs(60)).max(term / 2);
            now + usual.min(late).max(timings.shortest_use)
        };
        self.standing = Standing::Good {
            renew: term.map(renew).filter(|_| self.pass == Pass::Token),
            ends: term.map(|term| now + term),
        };
    }

    /// When to fetch the next token and change sockets.
    pub(super) fn renewal(&self) -> Option<Instant> {
        match self.standing {
            Standing::Good { renew, .. } => renew,
            Standing::None | Standing::Rejected => None,
        }
    }

    /// The same, as late as can be.
    pub(super) fn last_renewal(&self, timings: &Timings) -> Option<Instant> {
        let renew = self.renewal()?;
        let last = self.ends().and_then(|ends| ends.checked_sub(timings.last_renewal));
        Some(last.map_or(renew, |last| last.max(renew)))
    }

    /// When the credential ends, if it does.
    pub(super) fn ends(&self) -> Option<Instant> {
        match self.standing {
            Standing::Good { ends, .. } => ends,
            Standing::None | Standing::Rejected => None,
        }
    }

    /// The signalling side says that the token has expired.
    pub(super) fn expired(&mut self) {
        if let Standing::Good { .. } = self.standing {
            self.standing = Standing::None;
        }
    }

    /// The signalling side does not take the token. Whether a new one is worth a try at once.
    pub(super) fn rejected(&mut self) -> bool {
        std::mem::replace(&mut self.standing, Standing::Rejected) != Standing::Rejected
    }
}

/// By how many seconds the device is ahead of the signalling side, if that is worth a word.
pub(super) fn clock_ahead(device: f64, server: f64) -> Option<i64> {
    let ahead = device - server;
    // A float to integer cast saturates.
    (ahead.abs() > CLOCK_SLACK).then_some(ahead.round() as i64)
}

#[cfg(test)]
mod tests {
    use std::time::Instant as Clock;

    use super::*;

    fn welcomed(now: Instant, term: Option<f64>) -> Tickets {
        let mut tickets = Tickets::new(Pass::Token);
        tickets.welcomed(now, term.map(|term| 1000.0 + term), 1000.0, 0.5, &Timings::default());
        tickets
    }

    #[test]
    fn a_token_is_replaced_at_four_fifths_of_its_term_or_a_minute_before_its_end() {
        let now = Clock::now();
        for (term, seconds) in [
            (3600.0, 2880),
            (600.0, 480),
            (200.0, 140),
            (120.0, 60),
            (100.0, 50),
            (12.0, 10),
            (-5.0, 10),
        ] {
            let renewal = welcomed(now, Some(term)).renewal().expect("it ends");
            assert_eq!((renewal - now).as_secs(), seconds, "{term}");
        }
        assert_eq!(welcomed(now, None).renewal(), None);
        assert_eq!(
            welcomed(now, Some(f64::MAX)).ends().map(|at| (at - now).as_secs_f64()),
            Some(LONGEST)
        );
    }

    #[test]
    fn during_a_call_a_token_is_used_almost_to_its_end() {
        let now = Clock::now();
        let timings = Timings::default();
        let late =
            |term| welcomed(now, Some(term)).last_renewal(&timings).map(|at| (at - now).as_secs());
        assert_eq!(late(3600.0), Some(3590));
        assert_eq!(late(15.0), Some(10));
    }

    #[test]
    fn a_token_is_shown_again_while_it_is_good_for_a_minute() {
        let now = Clock::now();
        let timings = Timings::default();
        let tickets = welcomed(now, Some(100.0));
        assert_eq!(tickets.next(now + Duration::from_secs(39), &timings), Ticket::Kept);
        assert_eq!(tickets.next(now + Duration::from_secs(40), &timings), Ticket::Fresh);
        assert_eq!(welcomed(now, None).next(now, &timings), Ticket::Kept);
        assert_eq!(Tickets::new(Pass::Token).next(now, &timings), Ticket::Fresh);
        assert_eq!(Tickets::new(Pass::Key).next(now, &timings), Ticket::Kept);
    }

    #[test]
    fn an_expired_token_is_not_shown_again_and_a_rejected_one_replaced_once() {
        let now = Clock::now();
        let timings = Timings::default();
        let mut tickets = welcomed(now, Some(3600.0));
        tickets.expired();
        assert_eq!(tickets.next(now, &timings), Ticket::Fresh);
        let mut tickets = welcomed(now, Some(3600.0));
        assert!(tickets.rejected());
        assert!(!tickets.rejected());
        tickets.expired();
        assert!(!tickets.rejected(), "an expired one in between proves nothing");
        assert_eq!(tickets.next(now, &timings), Ticket::Fresh);
    }

    #[test]
    fn a_key_is_never_replaced() {
        let mut tickets = Tickets::new(Pass::Key);
        tickets.welcomed(Clock::now(), Some(3600.0), 0.0, 0.5, &Timings::default());
        assert_eq!(tickets.renewal(), None);
    }

    #[test]
    fn a_minute_of_difference_between_clocks_is_nothing() {
        assert_eq!(clock_ahead(1060.0, 1000.0), None);
        assert_eq!(clock_ahead(1061.0, 1000.0), Some(61));
        assert_eq!(clock_ahead(0.0, 1_760_000_000.0), Some(-1_760_000_000));
    }
}
