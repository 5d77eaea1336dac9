//! What a loss leads to: the next attempt and its time, and the way a socket ends (protocol.md sections 2.5
//! and 6.2).
//!
//! Pure.

use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::super::advice::{Pace, Pass, Verdict};
use super::super::desk::{Ending, Loss, Output, Problem, Proof};
use super::super::greeted::Going;
use super::{Next, Session, State};

/// What there was before a loss.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Was {
    /// An attempt.
    Nothing,
    /// A socket greeted a moment ago.
    Young,
    /// A socket that lived.
    Proven,
}

impl Session {
    /// The socket, or the attempt at one, has failed: plan the next.
    pub(super) fn lose(&mut self, now: Instant, loss: Loss) {
        let (was, going) = match &self.state {
            State::Live(live)
                if now.saturating_duration_since(live.since) >= self.timings.proven =>
            {
                (Was::Proven, live.going)
            }
            State::Live(live) => (Was::Young, live.going),
            _ => (Was::Nothing, Going::No),
        };
        if was == Was::Proven {
            self.backoff.reset();
        }
        let loss = self.judge_token(loss, was);
        if loss.pace != Pace::Refused && loss.pace != Pace::Slow && self.take_over(now, loss.ending)
        {
            return info!("the second socket takes over: {}", loss.text);
        }
        let at = self.next_attempt(now, &loss, was, going);
        let next_try_s = (at - now).as_secs_f32();
        if self.reported.as_ref() != Some(&loss.text) || loss.pace == Pace::Refused {
            warn!(next_try_s, "not connected: {}", loss.text);
        } else {
            debug!(next_try_s, attempts = self.backoff.attempts(), "not connected: {}", loss.text);
        }
        self.reported = Some(loss.text.clone());
        // A refused channel stays worth knowing until we are in it, whatever fails in between.
        if self.desk.problem.as_ref().is_none_or(|known| known.until == Proof::Welcome)
            || loss.pace != Pace::Usual
        {
            self.desk.problem = Some(Problem { text: loss.text, until: loss.until });
        }
        self.refused = (loss.pace == Pace::Refused).then_some(loss.advice);
        if loss.pace == Pace::Refused {
            self.desk.membership.give_up();
        }
        let next = if self.is_socket_wanted() { Next::At(at) } else { Next::Rest };
        self.end_socket(now, loss.ending, next);
    }

    /// With tokens, a refusal of the one shown is first answered by another.
    fn judge_token(&mut self, loss: Loss, was: Was) -> Loss {
        if self.tickets.pass() == Pass::Key {
            return loss;
        }
        match loss.verdict {
            Verdict::Open => loss,
            Verdict::Expired => {
                self.tickets.expired();
                Loss { pace: Pace::Usual, ..loss }
            }
            Verdict::Rejected => {
                // A service that greets and rejects in turn is not to be asked in a loop.
                let is_worth_it =
                    self.tickets.rejected() && (was == Was::Nothing || self.backoff.is_first());
                let pace = if is_worth_it { Pace::Usual } else { Pace::Refused };
                Loss { pace, ..loss }
            }
        }
    }

    /// When to connect again after this loss.
    fn next_attempt(&mut self, now: Instant, loss: &Loss, was: Was, going: Going) -> Instant {
        if loss.pace != Pace::Usual {
            return self.backoff.failed(now, loss.pace, Duration::ZERO, &self.timings);
        }
        let is_wanted = self.desk.membership.is_wanted();
        let is_first = self.backoff.is_first();
        match (going, loss.verdict) {
            (Going::Planned(at), _) if is_first => self.backoff.failed_for_once(at.max(now)),
            (_, Verdict::Rejected) => self.backoff.failed_for_once(now),
            (_, Verdict::Expired) if is_first && self.tickets.pass() == Pass::Token => {
                self.backoff.failed_for_once(now)
            }
            // Somebody is at the door. An idle one has time, and waits a little for the others of a
            // service that starts again. A socket greeted a moment ago is no row of failures yet; it would be one at
            // the second time.
            _ if is_first && is_wanted && was != Was::Nothing => self.backoff.failed_for_once(now),
            _ => {
                let at = self.backoff.failed(now, loss.pace, Duration::ZERO, &self.timings);
                // One door with a visitor is no herd: a picture that is missed is worth an attempt every
                // few seconds, far below what the service allows an address.
                if is_wanted { self.backoff.sooner(now, at, &self.timings) } else { at }
            }
        }
    }

    pub(super) fn end_socket(&mut self, now: Instant, ending: Ending, next: Next) {
        let until = now + self.timings.close;
        self.drop_successor();
        self.forget_retired();
        if let State::Live(live) =
            std::mem::replace(&mut self.state, State::Closing { until, next })
        {
            live.end(&mut self.desk);
        }
        match ending {
            Ending::Bye(code) => self.desk.outputs.push_back(Output::Close(code)),
            Ending::Cut => {
                self.desk.outputs.push_back(Output::Drop);
                self.after_closing(now);
            }
            Ending::Gone => self.after_closing(now),
        }
    }

    pub(super) fn after_closing(&mut self, now: Instant) {
        let State::Closing { next, .. } = self.state else {
            return;
        };
        match next {
            Next::At(until) => self.state = State::Waiting { until },
            Next::Stop => {
                self.state = State::Stopped;
                self.desk.outputs.push_back(Output::Stopped);
            }
            // Somebody may have pressed while the old socket was closing.
            Next::Rest if self.is_socket_wanted() => self.open(now),
            Next::Rest => self.state = State::Idle,
        }
    }
}
