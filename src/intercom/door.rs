//! The door release: one bounded pulse for somebody who may open, then a short lock-out.
//!
//! ```text
//!         a request that is granted        pulse over              LOCK_OUT over
//! Locked ──────────────────────────► Open ────────────► LockedOut ──────────────► Locked
//! ```
//! Nothing but [`Intercom::unlock`] and a person's proof (`access`) leads to a pulse: no press, no other message, no
//! reconnect, no start.
//! Whoever asks at another time is told why not.

use std::fmt;
use std::time::{Duration, Instant};

use super::{Command, Denial, Intercom, Name, PeerKey, Report};

/// How long the lock rests between two pulses: a strike gets warm, and a stuttering request must not
/// hold a door open by many pulses.
pub const LOCK_OUT: Duration = Duration::from_secs(2);

/// The shortest pulse that moves a strike.
pub const SHORTEST_PULSE: Duration = Duration::from_millis(100);

/// The limits of the door release, from the `[relay]` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseRules {
    /// How long one release lasts unless its asker says otherwise. 100 ms to `max_pulse`.
    pub pulse: Duration,
    /// The longest a release may ever last, whoever asks. 100 ms to 60 s.
    pub max_pulse: Duration,
}

/// Who asks for the door to be opened. Being in the channel gives nobody this right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opener {
    /// A user of this machine who may use the control socket.
    Control {
        /// The user's number.
        uid: u32,
    },
    /// A person who has proved who it is, from the page it talks with.
    Person {
        /// Who.
        name: Name,
        /// From where.
        peer: PeerKey,
    },
    /// A page that has proved nothing.
    Page {
        /// Who it says it is, if it said so.
        claims: Option<Name>,
        /// From where.
        peer: PeerKey,
    },
    /// The owner's home automation, which the configuration lets open.
    Automation,
}

impl fmt::Display for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control { uid } => write!(f, "user {uid} through the control socket"),
            Self::Person { name, peer } => write!(f, "{name} from {peer}"),
            Self::Page { claims: Some(name), peer } => {
                write!(f, "somebody who says to be {name}, from {peer}")
            }
            Self::Page { claims: None, peer } => write!(f, "somebody from {peer}"),
            Self::Automation => f.write_str("the home automation"),
        }
    }
}

impl Opener {
    /// Who it is in a word, for logs and messages that people read. A page's word proves nothing.
    pub fn who(&self) -> String {
        match self {
            Self::Control { uid } => format!("user {uid}"),
            Self::Person { name, .. } | Self::Page { claims: Some(name), .. } => name.to_string(),
            Self::Page { claims: None, .. } => "somebody".to_owned(),
            Self::Automation => "automation".to_owned(),
        }
    }
}

/// Why the door stays locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No relay belongs to this door.
    NotWired,
    /// It is open already; no pulse is made longer.
    Open,
    /// It was open a moment ago.
    LockedOut,
    /// The length asked for is shorter or longer than a release may be.
    Length {
        /// The longest release of this door.
        longest: Duration,
    },
    /// The daemon is stopping.
    Stopping,
    /// Whoever asks has no right to.
    Denied(Denial),
}

impl Refusal {
    /// The name used in events.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotWired => "not_wired",
            Self::Open => "open",
            Self::LockedOut => "locked_out",
            Self::Length { .. } => "length",
            Self::Stopping => "stopping",
            Self::Denied(why) => why.name(),
        }
    }

    /// The same as the door protocol has it; `None` for a wrong length, which no page can ask for.
    pub fn denial(self) -> Option<Denial> {
        match self {
            Self::NotWired => Some(Denial::NotWired),
            Self::Open => Some(Denial::Open),
            Self::LockedOut => Some(Denial::Resting),
            Self::Length { .. } => None,
            Self::Stopping => Some(Denial::Stopping),
            Self::Denied(why) => Some(why),
        }
    }
}

/// The door release as the outside knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoorState {
    /// No relay belongs to this door.
    NotWired,
    /// The relay is off.
    Locked,
    /// The relay is on.
    Open,
    /// The relay is off and rests for a moment.
    LockedOut,
}

impl DoorState {
    /// The name used in `status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotWired => "not_wired",
            Self::Locked => "locked",
            Self::Open => "open",
            Self::LockedOut => "locked_out",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Locked,
    /// The relay is on.
    Open {
        since: Instant,
        until: Instant,
    },
    LockedOut {
        until: Instant,
    },
    /// The daemon is stopping: no pulse may begin that nobody would end.
    Shut,
}

/// The release machine of one door.
#[derive(Debug)]
pub(super) enum Door {
    /// No relay belongs to this door.
    NotWired,
    /// A relay, and where it stands.
    Wired(Release),
}

#[derive(Debug)]
pub(super) struct Release {
    rules: ReleaseRules,
    phase: Phase,
}

impl Door {
    pub(super) fn wired(rules: ReleaseRules) -> Self {
        Self::Wired(Release { rules, phase: Phase::Locked })
    }

    /// Grants one pulse, `asked` long or as long as the rules say.
    pub(super) fn request(
        &mut self,
        now: Instant,
        by: &Opener,
        asked: Option<Duration>,
    ) -> Result<Duration, Refusal> {
        let Self::Wired(release) = self else { return Err(Refusal::NotWired) };
        release.tick(now);
        match by {
            // Who may use the control socket may open: its file's owner and group say who that is. A person has
            // proved it, and the automation is the owner's own.
            Opener::Control { .. } | Opener::Person { .. } | Opener::Automation => {}
            Opener::Page { .. } => return Err(Refusal::Denied(Denial::Wrong)),
        }
        match release.phase {
            Phase::Shut => return Err(Refusal::Stopping),
            Phase::Open { .. } => return Err(Refusal::Open),
            Phase::LockedOut { .. } => return Err(Refusal::LockedOut),
            Phase::Locked => {}
        }
        let ReleaseRules { pulse, max_pulse } = release.rules;
        let length = asked.unwrap_or(pulse);
        if length < SHORTEST_PULSE || length > max_pulse {
            return Err(Refusal::Length { longest: max_pulse });
        }
        release.phase = Phase::Open { since: now, until: now + length };
        Ok(length)
    }

    pub(super) fn tick(&mut self, now: Instant) {
        if let Self::Wired(release) = self {
            release.tick(now);
        }
    }

    /// Nothing is granted from now on.
    pub(super) fn shut(&mut self) {
        if let Self::Wired(release) = self {
            release.phase = Phase::Shut;
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Wired(Release { phase: Phase::Open { until, .. }, .. })
            | Self::Wired(Release { phase: Phase::LockedOut { until }, .. }) => Some(*until),
            Self::NotWired | Self::Wired(_) => None,
        }
    }

    pub(super) fn state(&self) -> DoorState {
        match self {
            Self::NotWired => DoorState::NotWired,
            Self::Wired(release) => match release.phase {
                Phase::Locked | Phase::Shut => DoorState::Locked,
                Phase::Open { .. } => DoorState::Open,
                Phase::LockedOut { .. } => DoorState::LockedOut,
            },
        }
    }

    /// Whether a pulse goes on that is longer than any may be.
    pub(super) fn is_over_long(&self) -> bool {
        match self {
            Self::Wired(Release { rules, phase: Phase::Open { since, until } }) => {
                until.saturating_duration_since(*since) > rules.max_pulse
            }
            Self::NotWired | Self::Wired(_) => false,
        }
    }
}

impl Release {
    fn tick(&mut self, now: Instant) {
        if let Phase::Open { until, .. } = self.phase
            && until <= now
        {
            // Counted from now, should the clock have come late: the relay was on until now at most.
            self.phase = Phase::LockedOut { until: now + LOCK_OUT };
        }
        if let Phase::LockedOut { until } = self.phase
            && until <= now
        {
            self.phase = Phase::Locked;
        }
    }
}

impl Intercom {
    /// Gives the door a release. To be said before the first input; without it every request is refused.
    pub fn wire_release(&mut self, rules: ReleaseRules) {
        self.door = Door::wired(rules);
    }

    /// Somebody asks to open the door, for so long or as long as the rules say. The one question whose
    /// answer is waited for, hence no `Input`; commands follow as after `handle`.
    ///
    /// # Errors
    ///
    /// Why the door stays locked.
    pub fn unlock(
        &mut self,
        now: Instant,
        by: Opener,
        asked: Option<Duration>,
    ) -> Result<Duration, Refusal> {
        let verdict = self.release(now, by, asked);
        self.settle(now);
        verdict
    }

    /// The one way to a pulse.
    pub(super) fn release(
        &mut self,
        now: Instant,
        by: Opener,
        asked: Option<Duration>,
    ) -> Result<Duration, Refusal> {
        let verdict = self.door.request(now, &by, asked);
        match verdict {
            Ok(length) => {
                self.counters.openings += 1;
                self.command(Command::Release(length));
                self.report(Report::Opened { by, length });
            }
            Err(why) => {
                self.counters.refusals += 1;
                self.report(Report::OpenRefused { by, why });
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY: Opener = Opener::Control { uid: 1000 };
    const RULES: ReleaseRules =
        ReleaseRules { pulse: Duration::from_secs(3), max_pulse: Duration::from_secs(10) };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_request_opens_for_the_time_of_the_rules_and_the_door_locks_by_itself() {
        let (start, mut door) = (Instant::now(), Door::wired(RULES));
        assert_eq!(door.state(), DoorState::Locked);
        assert_eq!(door.request(start, &BY, None), Ok(ms(3_000)));
        assert_eq!((door.state(), door.deadline()), (DoorState::Open, Some(start + ms(3_000))));
        door.tick(start + ms(2_999));
        assert_eq!(door.state(), DoorState::Open);
        door.tick(start + ms(3_000));
        assert_eq!(door.state(), DoorState::LockedOut);
        assert_eq!(door.deadline(), Some(start + ms(5_000)));
        door.tick(start + ms(5_000));
        assert_eq!((door.state(), door.deadline()), (DoorState::Locked, None));
    }

    #[test]
    fn a_request_at_a_wrong_time_is_refused_with_its_reason_and_lengthens_nothing() {
        let (start, mut door) = (Instant::now(), Door::wired(RULES));
        assert_eq!(door.request(start, &BY, Some(ms(1_000))), Ok(ms(1_000)));
        assert_eq!(door.request(start + ms(999), &BY, None), Err(Refusal::Open));
        assert_eq!(door.deadline(), Some(start + ms(1_000)));
        assert_eq!(door.request(start + ms(1_000), &BY, None), Err(Refusal::LockedOut));
        assert_eq!(door.request(start + ms(2_999), &BY, None), Err(Refusal::LockedOut));
        assert_eq!(door.request(start + ms(3_000), &BY, None), Ok(ms(3_000)));
    }

    #[test]
    fn no_length_beyond_the_longest_or_below_the_shortest_is_granted() {
        let (start, mut door) = (Instant::now(), Door::wired(RULES));
        let refused = Err(Refusal::Length { longest: RULES.max_pulse });
        for asked in [ms(10_001), ms(99), Duration::ZERO, Duration::MAX] {
            assert_eq!(door.request(start, &BY, Some(asked)), refused, "{asked:?}");
            assert_eq!(door.state(), DoorState::Locked);
        }
        assert_eq!(door.request(start, &BY, Some(ms(10_000))), Ok(ms(10_000)));
        assert!(!door.is_over_long());
    }

    #[test]
    fn a_door_without_a_relay_and_a_stopping_one_open_for_nobody() {
        let start = Instant::now();
        assert_eq!(Door::NotWired.request(start, &BY, None), Err(Refusal::NotWired));
        let mut door = Door::wired(RULES);
        assert_eq!(door.request(start, &BY, None), Ok(RULES.pulse));
        door.shut();
        assert_eq!(door.request(start + ms(60_000), &BY, None), Err(Refusal::Stopping));
        assert_eq!(door.deadline(), None);
    }

    #[test]
    fn a_clock_that_comes_late_lengthens_the_rest_and_not_the_pulse() {
        let (start, mut door) = (Instant::now(), Door::wired(RULES));
        assert_eq!(door.request(start, &BY, None), Ok(RULES.pulse));
        door.tick(start + ms(8_000));
        assert_eq!(door.deadline(), Some(start + ms(10_000)));
    }
}
