//! The second socket: opened beside the first, it takes its place when it is greeted, so that the door is
//! never without one (protocol.md sections 2.6, 3.2, 6.3 and 7).
//!
//! Pure. Four reasons lead here: the service said that it goes away, the token nears its end, so do the credentials of
//! the relays, or a visitor pressed and the socket says nothing. When the first is lost meanwhile, the second becomes the attempt.

use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::super::advice::Pass;
use super::super::desk::{Ending, Loss, Output, Problem, Proof, Ticket, Wire};
use super::super::greeted::{Going, Greeted};
use super::super::message::HubFrame;
use super::welcome::Welcome;
use super::{Session, State};

/// Why a second socket is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The service announced that it closes the first.
    GoingAway,
    /// The token nears its end.
    Renewal,
    /// The credentials of the relays near their end, and only a welcome brings new ones.
    Relays,
    /// Somebody pressed, and the first says nothing.
    Doubt,
}

/// The second socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Successor {
    /// The one socket will do.
    None,
    /// It is to be opened then.
    Due { at: Instant, why: Why },
    /// It is being opened; the welcome is due by then.
    Opening { until: Instant, why: Why },
    /// It is open; the welcome is due by then.
    Greeting { until: Instant, why: Why },
}

/// The socket that has been replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retired {
    /// It is gone.
    Gone,
    /// It closes.
    Closing { until: Instant },
    /// It closes, and only then the channel is entered on the new one: both have the same id, and a
    /// service that counts members by id would take a late `unsubscribe` for ours.
    ClosingFirst { until: Instant },
}

impl Session {
    pub(super) fn succession_deadline(&self) -> Option<Instant> {
        let successor = match self.successor {
            Successor::None => None,
            Successor::Due { at, why } => self.permitted(at, why),
            Successor::Opening { until, .. } | Successor::Greeting { until, .. } => Some(until),
        };
        let retired = match self.retired {
            Retired::Gone => None,
            Retired::Closing { until } | Retired::ClosingFirst { until } => Some(until),
        };
        [successor, retired].into_iter().flatten().min()
    }

    /// When a second socket may be opened, as things are.
    ///
    /// During a call a new id would take the door away from everybody who talks with it, so with a key the
    /// first socket is used to its end; with a token the id stays, and only the renewal waits, as long
    /// as it can.
    fn permitted(&self, at: Instant, why: Why) -> Option<Instant> {
        let in_call = self.desk.membership.is_wanted() || self.desk.membership.has_ties();
        match (why, self.tickets.pass()) {
            (Why::GoingAway, Pass::Key) if in_call => None,
            // Links over a relay hold on to what they have, and the next call finds new credentials. A token is replaced
            // in time all the same, which brings both.
            (Why::Renewal | Why::Relays, _) if in_call => {
                self.tickets.last_renewal(&self.timings).map(|last| last.max(at))
            }
            (Why::GoingAway | Why::Renewal | Why::Relays | Why::Doubt, _) => Some(at),
        }
    }

    /// Looks again for what a second socket is wanted for.
    pub(super) fn plan_succession(&mut self, now: Instant) {
        let State::Live(live) = &mut self.state else {
            return;
        };
        if let Going::Told(hint) = live.going {
            live.going = Going::Planned(now + self.backoff.spread(hint, &self.timings));
        }
        let renewal = self.tickets.renewal().map(|at| (at, Why::Renewal));
        let relays = self.relays_due.map(|at| (at, Why::Relays));
        let next = renewal.into_iter().chain(relays).min_by_key(|(at, _)| *at);
        self.successor = match (live.going, next) {
            (Going::Planned(at), _) => Successor::Due { at, why: Why::GoingAway },
            (_, Some((at, why))) => Successor::Due { at, why },
            (_, None) => Successor::None,
        };
    }

    /// A frame of the first socket may have said that it will close.
    pub(super) fn heed_going_away(&mut self, now: Instant) {
        let State::Live(live) = &self.state else {
            return;
        };
        let is_news = matches!(live.going, Going::Told(_));
        if is_news && matches!(self.successor, Successor::None | Successor::Due { .. }) {
            self.plan_succession(now);
        }
    }

    /// The first socket gave a sign of life: a second one opened out of doubt is not wanted any more.
    pub(super) fn heed_life(&mut self, now: Instant) {
        if let Successor::Due { why: Why::Doubt, .. }
        | Successor::Opening { why: Why::Doubt, .. }
        | Successor::Greeting { why: Why::Doubt, .. } = self.successor
        {
            self.drop_successor();
            self.plan_succession(now);
        }
    }

    /// The first socket says nothing to a question that a visitor waits for.
    pub(super) fn doubt(&mut self, now: Instant) {
        if matches!(self.successor, Successor::None | Successor::Due { .. }) {
            info!("the signalling side says nothing; a second socket is opened");
            self.open_successor(now, Why::Doubt);
        }
    }

    /// The channel is to be entered: with a key, a second socket would take the door away from whoever it rings at.
    pub(super) fn heed_join(&mut self, now: Instant) {
        if let Successor::Opening { why: Why::Relays, .. }
        | Successor::Greeting { why: Why::Relays, .. } = self.successor
        {
            self.drop_successor();
            self.plan_succession(now);
        }
    }

    fn open_successor(&mut self, now: Instant, why: Why) {
        self.desk.counters.connects += 1;
        let ticket = match why {
            Why::Renewal => Ticket::Fresh,
            Why::GoingAway | Why::Relays | Why::Doubt => self.tickets.next(now, &self.timings),
        };
        self.successor = Successor::Opening { until: now + self.patience(ticket), why };
        self.desk.outputs.push_back(Output::OpenSuccessor(ticket));
    }

    /// Ends the second socket, if there is one.
    pub(super) fn drop_successor(&mut self) {
        if let Successor::Opening { .. } | Successor::Greeting { .. } = self.successor {
            self.desk.outputs.push_back(Output::DropSuccessor);
        }
        self.successor = Successor::None;
    }

    pub(super) fn tick_succession(&mut self, now: Instant) {
        match self.retired {
            Retired::Closing { until } | Retired::ClosingFirst { until } if until <= now => {
                self.desk.outputs.push_back(Output::DropRetired);
                self.retired(now);
            }
            Retired::Gone | Retired::Closing { .. } | Retired::ClosingFirst { .. } => {}
        }
        match self.successor {
            Successor::Due { at, why } if self.permitted(at, why).is_some_and(|at| at <= now) => {
                self.open_successor(now, why);
            }
            Successor::Opening { until, .. } | Successor::Greeting { until, .. }
                if until <= now =>
            {
                self.desk.outputs.push_back(Output::DropSuccessor);
                let text = "a second socket was not greeted in time";
                self.successor_failed(now, &Loss::usual(text, Ending::Gone));
            }
            Successor::None
            | Successor::Due { .. }
            | Successor::Opening { .. }
            | Successor::Greeting { .. } => {}
        }
    }

    /// The second socket did something.
    pub(super) fn successor(&mut self, now: Instant, wire: Wire) {
        let pass = self.tickets.pass();
        match (self.successor, wire) {
            (Successor::Opening { until, why }, Wire::Opened) => {
                self.successor = Successor::Greeting { until, why };
            }
            (Successor::Opening { .. }, Wire::OpenFailed { http, reason }) => {
                let loss = match http {
                    Some(status) => Loss::of_http(status, pass),
                    None => Loss::usual(&reason, Ending::Gone),
                };
                self.successor_failed(now, &loss);
            }
            (Successor::Greeting { why, .. }, Wire::Text(text)) => {
                if let Some(HubFrame::Welcome {
                    peer_id,
                    expires_at,
                    server_time,
                    max_message_size,
                    metadata,
                }) = self.desk.read(&text)
                {
                    let welcome =
                        Welcome { peer_id, expires_at, server_time, max_message_size, metadata };
                    self.succeed(now, why, welcome);
                }
            }
            (Successor::Greeting { .. }, Wire::Closed { code }) => {
                self.successor_failed(now, &Loss::of_close(code, pass));
            }
            (Successor::Greeting { .. }, Wire::TooBig) => {
                self.desk.outputs.push_back(Output::DropSuccessor);
                let text = "the signalling side sent a frame larger than 1 MiB";
                self.successor_failed(now, &Loss::usual(text, Ending::Gone));
            }
            (_, _) => {}
        }
    }

    /// The first socket still works: no hurry, but worth knowing.
    fn successor_failed(&mut self, now: Instant, loss: &Loss) {
        let (Successor::Opening { why, .. } | Successor::Greeting { why, .. }) = self.successor
        else {
            return;
        };
        self.successions_failed = self.successions_failed.saturating_add(1);
        let doubled = 2u32.saturating_pow((self.successions_failed - 1).min(5));
        let wait =
            self.timings.renew_again.saturating_mul(doubled).min(2 * self.timings.backoff_cap);
        let wait = self.backoff.spread(wait, &self.timings);
        warn!(?why, wait_s = wait.as_secs_f32(), "no second socket: {}", loss.text);
        if self.desk.problem.is_none() {
            self.desk.problem = Some(Problem { text: loss.text.clone(), until: Proof::Welcome });
        }
        self.successor = Successor::Due { at: now + wait, why };
    }

    /// The second socket is greeted: the first one goes.
    fn succeed(&mut self, now: Instant, why: Why, welcome: Welcome) {
        self.successor = Successor::None;
        let until = now + self.timings.close;
        if let State::Live(live) = std::mem::replace(&mut self.state, State::Idle) {
            let same_id = self.tickets.pass() == Pass::Token;
            self.retired = if why == Why::Doubt {
                self.desk.outputs.push_back(Output::Drop);
                Retired::Gone
            } else {
                let enters_later = same_id && self.desk.membership.has_ties();
                Greeted::farewell(&mut self.desk);
                self.desk.outputs.push_back(Output::Close(1000));
                if enters_later {
                    Retired::ClosingFirst { until }
                } else {
                    Retired::Closing { until }
                }
            };
            live.end(&mut self.desk);
        }
        self.desk.outputs.push_back(Output::Promote);
        debug!(?why, "the second socket takes over");
        self.welcome(now, welcome);
    }

    /// The first socket is lost and the second under way: it is the next attempt. Whether there was one.
    pub(super) fn take_over(&mut self, now: Instant, ending: Ending) -> bool {
        let next = match self.successor {
            Successor::Opening { until, .. } => State::Opening { until },
            Successor::Greeting { until, .. } => State::Greeting { until },
            Successor::None | Successor::Due { .. } => return false,
        };
        self.successor = Successor::None;
        self.retired = Retired::Gone;
        match ending {
            Ending::Bye(code) => {
                self.desk.outputs.push_back(Output::Close(code));
                self.retired = Retired::Closing { until: now + self.timings.close };
            }
            Ending::Cut => self.desk.outputs.push_back(Output::Drop),
            Ending::Gone => {}
        }
        if let State::Live(live) = std::mem::replace(&mut self.state, next) {
            live.end(&mut self.desk);
        }
        self.desk.outputs.push_back(Output::Promote);
        true
    }

    /// The retired socket is gone.
    pub(super) fn retired(&mut self, now: Instant) {
        let was = std::mem::replace(&mut self.retired, Retired::Gone);
        if matches!((was, &self.state), (Retired::ClosingFirst { .. }, State::Live(_))) {
            self.desk.membership.up(now);
        }
    }

    /// Whether the channel may be entered as soon as a socket is greeted.
    pub(super) fn may_enter(&self) -> bool {
        !matches!(self.retired, Retired::ClosingFirst { .. })
    }

    /// The socket is lost: the next greeted one enters the channel by itself.
    pub(super) fn forget_retired(&mut self) {
        if let Retired::ClosingFirst { until } = self.retired {
            self.retired = Retired::Closing { until };
        }
    }
}

/// The least age of an attempt before a change of the board's addresses leads to another.
pub(super) const OLD_ATTEMPT: Duration = Duration::from_secs(3);
