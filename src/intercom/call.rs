//! The call: Idle → Joining → Ringing → Talking → Ending, as a person at the door would tell it.
//!
//! ```text
//!        press            in the channel        somebody answers
//! Idle ────────► Joining ───────────────► Ringing ──────────────► Talking ⟲ linger
//!  ▲                │ join_timeout           │ no_answer, declined   │ hung up, left, too long
//!  └──── freed ─── Ending ◄──────────────────┴───────────────────────┘
//!                                                  nobody was ever met
//! ```
//! Beside it there is Looking: somebody with the right to it sees through the camera until time is up, or a press.
//! It knows no peers and no links, only what they amount to; `Intercom` tells it and carries out
//! its effects. Every (phase, input) pair has its answer in `handle`.

use std::mem;
use std::time::{Duration, Instant};

use super::{CallId, CallState, Cause, Rules};

/// How long saying goodbye and freeing everything may take.
pub const ENDING_TIMEOUT: Duration = Duration::from_secs(2);

/// A visitor who presses again within this time is in a hurry, and calls nothing off.
pub const STUTTER: Duration = Duration::from_secs(3);

/// How long whoever answered may take until pictures and sound can go. Until then the phones of the others are silent,
/// and the visitor talks to nobody.
pub const UNREACHED: Duration = Duration::from_secs(25);

/// What the call is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallInput {
    /// The doorbell; the id is for the call it may begin.
    Press(CallId),
    /// Somebody with the right to it ends the call.
    End(Cause),
    /// A person with the right to it looks through the camera; the id is for the look it may begin.
    Look(CallId),
    /// Nobody looks any more.
    Unwatched,
    /// An uplink let us into the channel.
    Entered,
    /// At least one person has answered, and no link to any of them is connected now.
    Accompanied,
    /// At least one person who answered can be seen and heard.
    Met,
    /// Nobody who answered is within reach any more.
    Alone,
    /// Somebody else has come in, or the line back: who was not met yet has all the time again.
    Renewed,
    /// Somebody came into the channel, perhaps the one who is waited for.
    Came,
    /// Every link is closed and every channel left.
    Freed,
    /// Time passed.
    Wakeup,
}

/// What the call wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Camera on, enter the channel.
    Begin,
    /// Tell everybody that it rings; `again` for a further press.
    Ring {
        /// A further press during the same ring.
        again: bool,
    },
    /// Somebody talks with the visitor now.
    Talk,
    /// Say goodbye and free everything.
    End(Cause),
    /// The door waits again.
    Rest,
    /// A press that changes nothing.
    PressIgnored,
    /// Camera on for those who look.
    Look,
    /// Camera off for those who look.
    LookOver(CallId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Company {
    /// Somebody answered who was never seen or heard; that may take until then.
    Expected(Instant),
    Here,
    /// The last one left; it may come back until then.
    Awaited(Instant),
    /// The last one left and was never seen or heard; it may come back until the first, and be met until the second.
    Missed(Instant, Instant),
}

impl Company {
    /// The company after one of the inputs that tell of it.
    fn after(self, now: Instant, input: &CallInput, linger: Duration) -> Self {
        use CallInput as In;
        match (self, input) {
            (_, In::Met) => Self::Here,
            (Self::Here, In::Alone) => Self::Awaited(now + linger),
            (Self::Expected(met), In::Alone) => Self::Missed(now + linger, met),
            (Self::Awaited(_), In::Accompanied) => Self::Here,
            // A phone whose socket breaks again and again is back each time under another id, and each time needs a
            // moment for its link.
            (Self::Awaited(_), In::Came) => Self::Awaited(now + linger),
            // Whoever comes back without having been met has no more time than before.
            (Self::Missed(_, met), In::Accompanied) => Self::Expected(met),
            (Self::Expected(_), In::Renewed) => Self::Expected(now + UNREACHED),
            (Self::Missed(back, _), In::Renewed) => Self::Missed(back, now + UNREACHED),
            (company, _) => company,
        }
    }

    /// Whether those who answered were never met, and their time is up.
    fn is_given_up(&self, now: Instant) -> bool {
        match self {
            Self::Expected(met) => *met <= now,
            Self::Missed(back, met) => *back.min(met) <= now,
            Self::Here | Self::Awaited(_) => false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Idle,
    /// Nobody rang. Not a call: it joins nothing, and a press goes before it.
    Looking {
        call: CallId,
        since: Instant,
        until: Instant,
    },
    Joining {
        call: CallId,
        since: Instant,
        until: Instant,
    },
    Ringing {
        call: CallId,
        since: Instant,
        until: Instant,
    },
    Talking {
        call: CallId,
        since: Instant,
        until: Instant,
        company: Company,
    },
    Ending {
        call: CallId,
        since: Instant,
        until: Instant,
        next: Option<CallId>,
    },
}

/// The call machine.
#[derive(Debug)]
pub struct Call {
    rules: Rules,
    phase: Phase,
}

impl Call {
    /// A door that waits.
    pub fn new(rules: Rules) -> Self {
        Self { rules, phase: Phase::Idle }
    }

    /// The state as the outside knows it.
    pub fn state(&self) -> CallState {
        match self.phase {
            Phase::Idle => CallState::Idle,
            Phase::Looking { .. } => CallState::Looking,
            Phase::Joining { .. } => CallState::Joining,
            Phase::Ringing { .. } => CallState::Ringing,
            Phase::Talking { .. } => CallState::Talking,
            Phase::Ending { .. } => CallState::Ending,
        }
    }

    /// The present call or look, and when it began.
    pub fn current(&self) -> Option<(&CallId, Instant)> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Looking { call, since, .. }
            | Phase::Joining { call, since, .. }
            | Phase::Ringing { call, since, .. }
            | Phase::Talking { call, since, .. }
            | Phase::Ending { call, since, .. } => Some((call, *since)),
        }
    }

    /// The times and choices of the call.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether peers and channels are wanted.
    pub fn is_live(&self) -> bool {
        !matches!(self.phase, Phase::Idle | Phase::Looking { .. } | Phase::Ending { .. })
    }

    /// When `Wakeup` is due.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Looking { until, .. }
            | Phase::Joining { until, .. }
            | Phase::Ringing { until, .. }
            | Phase::Ending { until, .. }
            | Phase::Talking { until, company: Company::Here, .. } => Some(*until),
            Phase::Talking {
                until, company: Company::Expected(at) | Company::Awaited(at), ..
            } => Some((*until).min(*at)),
            Phase::Talking { until, company: Company::Missed(back, met), .. } => {
                Some((*until).min(*back).min(*met))
            }
        }
    }

    /// One step of the machine.
    pub fn handle(&mut self, now: Instant, input: CallInput) -> Vec<Effect> {
        use CallInput as In;
        let mut effects = Vec::new();
        let rules = &self.rules;
        self.phase = match (mem::replace(&mut self.phase, Phase::Idle), input) {
            (Phase::Idle, In::Press(call)) => {
                effects.push(Effect::Begin);
                Phase::Joining { call, since: now, until: now + rules.join_timeout }
            }
            (Phase::Idle, In::Look(call)) => {
                effects.push(Effect::Look);
                Phase::Looking { call, since: now, until: now + rules.longest_look }
            }
            // Nothing to end, nobody expected: late reports of a call that is over.
            (
                Phase::Idle,
                In::End(_)
                | In::Unwatched
                | In::Entered
                | In::Accompanied
                | In::Met
                | In::Alone
                | In::Renewed
                | In::Came
                | In::Freed
                | In::Wakeup,
            ) => Phase::Idle,

            // The visitor first. The camera is on already, and stays so.
            (Phase::Looking { call: look, .. }, In::Press(call)) => {
                effects.extend([Effect::Begin, Effect::LookOver(look)]);
                Phase::Joining { call, since: now, until: now + rules.join_timeout }
            }
            (Phase::Looking { call, since, .. }, In::Look(_)) => {
                Phase::Looking { call, since, until: now + rules.longest_look }
            }
            (Phase::Looking { call, .. }, In::End(_) | In::Unwatched) => {
                effects.push(Effect::LookOver(call));
                Phase::Idle
            }
            (Phase::Looking { call, until, .. }, In::Wakeup) if until <= now => {
                effects.push(Effect::LookOver(call));
                Phase::Idle
            }
            // Who looks is no company, and a call before it was freed long ago.
            (
                phase @ Phase::Looking { .. },
                In::Entered
                | In::Accompanied
                | In::Met
                | In::Alone
                | In::Renewed
                | In::Came
                | In::Freed
                | In::Wakeup,
            ) => phase,

            // Whoever wants to look while there is a call has been refused, or was just a moment slower.
            (phase, In::Look(_) | In::Unwatched) => phase,

            (Phase::Joining { call, since, .. }, In::Entered) => {
                effects.push(Effect::Ring { again: false });
                Phase::Ringing { call, since, until: now + rules.no_answer }
            }
            (Phase::Joining { call, since, .. }, In::End(cause)) => {
                end(now, call, since, cause, &mut effects)
            }
            (Phase::Joining { call, since, until }, In::Wakeup) if until <= now => {
                end(now, call, since, Cause::CannotJoin, &mut effects)
            }
            // The first press is being acted on.
            (phase @ Phase::Joining { .. }, In::Press(_)) => {
                effects.push(Effect::PressIgnored);
                phase
            }
            // Nobody can be met before the channel is entered, and nothing is being freed.
            (
                phase @ Phase::Joining { .. },
                In::Accompanied
                | In::Met
                | In::Alone
                | In::Renewed
                | In::Came
                | In::Freed
                | In::Wakeup,
            ) => phase,

            (Phase::Ringing { call, since, .. }, In::Press(_))
                if rules.press_cancels_ring && now >= since + STUTTER =>
            {
                end(now, call, since, Cause::Visitor, &mut effects)
            }
            (Phase::Ringing { call, since, .. }, In::Press(_)) => {
                effects.push(Effect::Ring { again: true });
                Phase::Ringing { call, since, until: now + rules.no_answer }
            }
            (Phase::Ringing { call, since, .. }, input @ (In::Accompanied | In::Met)) => {
                effects.push(Effect::Talk);
                let company = match input {
                    In::Met => Company::Here,
                    _ => Company::Expected(now + UNREACHED),
                };
                Phase::Talking { call, since, until: now + rules.longest_talk, company }
            }
            (Phase::Ringing { call, since, .. }, In::End(cause)) => {
                end(now, call, since, cause, &mut effects)
            }
            (Phase::Ringing { call, since, until }, In::Wakeup) if until <= now => {
                end(now, call, since, Cause::NoAnswer, &mut effects)
            }
            // A second uplink entered; nobody had answered; nothing is being freed.
            (
                phase @ Phase::Ringing { .. },
                In::Entered | In::Alone | In::Renewed | In::Came | In::Freed | In::Wakeup,
            ) => phase,

            (Phase::Talking { call, since, .. }, In::Press(_)) if rules.press_ends_call => {
                end(now, call, since, Cause::Visitor, &mut effects)
            }
            (phase @ Phase::Talking { .. }, In::Press(_)) => {
                effects.push(Effect::PressIgnored);
                phase
            }
            (Phase::Talking { call, since, .. }, In::End(cause)) => {
                end(now, call, since, cause, &mut effects)
            }
            (
                Phase::Talking { call, since, until, company },
                input @ (In::Alone | In::Accompanied | In::Met | In::Renewed | In::Came),
            ) => {
                let company = company.after(now, &input, rules.linger);
                Phase::Talking { call, since, until, company }
            }
            (Phase::Talking { call, since, until, .. }, In::Wakeup) if until <= now => {
                end(now, call, since, Cause::TooLong, &mut effects)
            }
            (Phase::Talking { call, since, company, .. }, In::Wakeup)
                if company.is_given_up(now) =>
            {
                end(now, call, since, Cause::Unreached, &mut effects)
            }
            (Phase::Talking { call, since, company: Company::Awaited(at), .. }, In::Wakeup)
                if at <= now =>
            {
                end(now, call, since, Cause::PeerGone, &mut effects)
            }
            // A further uplink entered; nothing is being freed.
            (phase @ Phase::Talking { .. }, In::Entered | In::Freed | In::Wakeup) => phase,

            // The visitor does not wait for our clean-up: the press counts as soon as it is done.
            (Phase::Ending { call, since, until, .. }, In::Press(next)) => {
                Phase::Ending { call, since, until, next: Some(next) }
            }
            (Phase::Ending { call, since, until, .. }, In::End(Cause::Shutdown)) => {
                Phase::Ending { call, since, until, next: None }
            }
            (Phase::Ending { next, .. }, In::Freed) => rest(now, next, rules, &mut effects),
            (Phase::Ending { until, next, .. }, In::Wakeup) if until <= now => {
                rest(now, next, rules, &mut effects)
            }
            // It is ending already, and who comes or goes no longer matters.
            (
                phase @ Phase::Ending { .. },
                In::End(_)
                | In::Entered
                | In::Accompanied
                | In::Met
                | In::Alone
                | In::Renewed
                | In::Came
                | In::Wakeup,
            ) => phase,
        };
        effects
    }
}

fn end(
    now: Instant,
    call: CallId,
    since: Instant,
    cause: Cause,
    effects: &mut Vec<Effect>,
) -> Phase {
    effects.push(Effect::End(cause));
    Phase::Ending { call, since, until: now + ENDING_TIMEOUT, next: None }
}

fn rest(now: Instant, next: Option<CallId>, rules: &Rules, effects: &mut Vec<Effect>) -> Phase {
    effects.push(Effect::Rest);
    match next {
        None => Phase::Idle,
        Some(call) => {
            effects.push(Effect::Begin);
            Phase::Joining { call, since: now, until: now + rules.join_timeout }
        }
    }
}
