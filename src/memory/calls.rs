//! One call as it is remembered, put together from what the heart reports.
//!
//! Pure: the caller tells both times, the one that can be wrong (of day) and the one that cannot (of the stopwatch).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::budget::Budget;
use crate::intercom::{Cause, LogLine, Report};

/// What is remembered of a call whose end nobody saw: the daemon ended before.
pub const INTERRUPTED: &str = "interrupted";

/// Most openings remembered of one call.
const MOST_OPENINGS: usize = 16;
/// Names kept of who answered: a call handed over again and again is still one entry.
const MOST_ANSWERERS: usize = 16;

/// One call. Readers must ignore keys they do not know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Which call.
    pub call: String,
    /// When the button was pressed, in unix seconds by the door's clock.
    pub at: u64,
    /// Why it ended, as in the door protocol; [`INTERRUPTED`] until it has.
    pub outcome: String,
    /// How often the visitor rang.
    pub rings: u32,
    /// At how many pages it rang at the same time, at most.
    pub ringing_at: u32,
    /// Who answered, in the order of answering: a name, else the id of the page.
    pub answered_by: Vec<String>,
    /// How long the visitor waited for the first answer, in milliseconds.
    pub answered_after_ms: Option<u64>,
    /// How long somebody talked with the visitor, in seconds.
    pub talk_s: u64,
    /// Who opened the door, in order.
    pub opened_by: Vec<String>,
    /// Tries to open that were refused.
    pub refused: u32,
    /// How long after it heard of the call the quickest page showed a picture, in milliseconds.
    pub first_picture_ms: Option<u64>,
    /// Whether there is a picture of the visitor.
    pub picture: bool,
    /// Where the time went, if the door got anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

impl Entry {
    /// As a page reads it.
    pub fn line(&self) -> LogLine {
        LogLine {
            call: self.call.clone(),
            at: self.at,
            outcome: self.outcome.clone(),
            answered_by: self.answered_by.first().cloned(),
            opened_by: self.opened_by.first().cloned(),
            talk_s: self.talk_s,
        }
    }
}

/// A call that was cut off is rung on with when the button was pressed at most so many seconds ago: longer, and whoever
/// pressed may be gone.
const STILL_THERE: u64 = 60;

/// Whether the newest call was cut off by the end of the daemon a moment ago, so that somebody waits at the door and phones
/// that rang have fallen silent. Not twice in a row: what ends the daemon may be the ringing. `newest`: the log, newest
/// first; `clock` in unix seconds.
pub fn was_cut_off<'e>(newest: impl IntoIterator<Item = &'e Entry>, clock: u64) -> bool {
    let cut_off = |entry: &Entry| {
        let age = clock.checked_sub(entry.at);
        entry.outcome == INTERRUPTED && age.is_some_and(|age| age <= STILL_THERE)
    };
    let mut newest = newest.into_iter();
    newest.next().is_some_and(cut_off) && !newest.next().is_some_and(cut_off)
}

/// What a report did to the call that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    Nothing,
    /// A call began: remember it, as it may end with the power.
    Began(Entry),
    /// Somebody answered, the first to do so.
    Answered,
    /// The call ended.
    Ended(Entry),
}

/// Puts the call that goes on together.
#[derive(Debug, Default)]
pub struct Scribe {
    draft: Option<Draft>,
}

#[derive(Debug)]
struct Draft {
    entry: Entry,
    began: Duration,
    answered: Option<Duration>,
}

impl Scribe {
    /// Takes a report in. `clock` is the time of day in unix seconds, `now` the time on a stopwatch.
    pub fn take(&mut self, report: &Report, clock: u64, now: Duration) -> News {
        match report {
            Report::Rang { call, again: false } => {
                let entry = Entry {
                    call: call.to_string(),
                    at: clock,
                    outcome: INTERRUPTED.to_owned(),
                    rings: 1,
                    ..Entry::default()
                };
                self.draft = Some(Draft { entry: entry.clone(), began: now, answered: None });
                News::Began(entry)
            }
            Report::Ended { call, cause } => {
                // A call that rang nowhere is remembered, too: somebody was at the door.
                let mut draft = self.draft.take().unwrap_or_else(|| Draft {
                    entry: Entry {
                        call: call.to_string(),
                        at: clock,
                        rings: 1,
                        ..Entry::default()
                    },
                    began: now,
                    answered: None,
                });
                cause.name().clone_into(&mut draft.entry.outcome);
                if let Some(at) = draft.answered.filter(|_| *cause != Cause::Unreached) {
                    draft.entry.talk_s = now.saturating_sub(at).as_secs();
                }
                News::Ended(draft.entry)
            }
            report => self.draft.as_mut().map_or(News::Nothing, |draft| draft.note(report, now)),
        }
    }

    /// There is a picture of this call's visitor. Whether it is the call that goes on.
    pub fn picture(&mut self, call: &str) -> bool {
        let draft = self.draft.as_mut().filter(|draft| draft.entry.call == call);
        draft.is_some_and(|draft| {
            draft.entry.picture = true;
            true
        })
    }

    /// The call that goes on, as far as it is known.
    pub fn draft(&self) -> Option<&Entry> {
        self.draft.as_ref().map(|draft| &draft.entry)
    }
}

impl Draft {
    fn note(&mut self, report: &Report, now: Duration) -> News {
        let entry = &mut self.entry;
        match report {
            Report::Rang { again: true, .. } => entry.rings = entry.rings.saturating_add(1),
            Report::RingingAt(count) => entry.ringing_at = entry.ringing_at.max(*count),
            Report::Answered { peer, name } => {
                let who = name.as_ref().map_or_else(|| peer.id.to_string(), ToString::to_string);
                let room = entry.answered_by.len() < MOST_ANSWERERS;
                if room && !entry.answered_by.contains(&who) {
                    entry.answered_by.push(who);
                }
                if self.answered.is_none() {
                    self.answered = Some(now);
                    entry.answered_after_ms = Some(millis(now.saturating_sub(self.began)));
                    return News::Answered;
                }
            }
            Report::Opened { by, .. } if entry.opened_by.len() < MOST_OPENINGS => {
                entry.opened_by.push(by.who());
            }
            Report::OpenRefused { .. } => entry.refused = entry.refused.saturating_add(1),
            Report::Seen(_, after) => {
                let after = millis(*after);
                entry.first_picture_ms =
                    Some(entry.first_picture_ms.map_or(after, |before| before.min(after)));
            }
            Report::Reached { peer, what, after } => {
                entry.budget.get_or_insert_default().note(peer.as_ref(), *what, *after);
            }
            Report::CameBack { was, now } => {
                if let Some(budget) = &mut entry.budget {
                    budget.came_back(was, now);
                }
            }
            _ => {}
        }
        News::Nothing
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intercom::{
        CallId, Cause, Milestone, Name, Opener, PeerId, PeerKey, Refusal, UplinkId,
    };
    use crate::memory::budget::PhoneBudget;

    const CLOCK: u64 = 1_795_690_000;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn call() -> CallId {
        CallId("c-1".into())
    }

    fn peer() -> PeerKey {
        PeerKey { uplink: UplinkId::Lan, id: PeerId::from("phone") }
    }

    #[test]
    fn a_ring_cut_off_a_moment_ago_is_rung_on_with_but_not_twice_in_a_row() {
        let entry = |outcome: &str, ago: u64| Entry {
            at: CLOCK - ago,
            outcome: outcome.to_owned(),
            ..Entry::default()
        };
        let judge = |entries: &[Entry]| was_cut_off(entries, CLOCK);
        assert!(judge(&[entry(INTERRUPTED, 3)]));
        assert!(judge(&[entry(INTERRUPTED, 60), entry(INTERRUPTED, 300)]));
        assert!(!judge(&[entry(INTERRUPTED, 61)]), "too long ago");
        assert!(!judge(&[entry(INTERRUPTED, 3), entry(INTERRUPTED, 9)]), "it may be the cause");
        assert!(!judge(&[entry("hung-up", 3), entry(INTERRUPTED, 9)]));
        assert!(!judge(&[]));
        let later = Entry { at: CLOCK + 5, ..entry(INTERRUPTED, 0) };
        assert!(!was_cut_off([&later], CLOCK), "the clock was set back: nobody knows when it was");
    }

    #[test]
    fn an_entry_does_not_grow_with_those_who_come_back_under_other_ids() {
        let mut scribe = Scribe::default();
        scribe.take(&Report::Rang { call: call(), again: false }, CLOCK, s(0));
        for number in 0..100 {
            let id = PeerId::from(format!("phone-{number}").as_str());
            let peer = PeerKey { uplink: UplinkId::Lan, id };
            scribe.take(&Report::Answered { peer, name: None }, CLOCK, s(1));
        }
        let entry = scribe.draft().expect("it goes on");
        assert_eq!(entry.answered_by.len(), MOST_ANSWERERS);
        assert_eq!(entry.answered_by[0], "phone-0", "who answered first is known");
    }

    #[test]
    fn a_call_is_remembered_from_its_ring_to_its_end() {
        let mut scribe = Scribe::default();
        let mut at = |report: Report, second| scribe.take(&report, CLOCK + second, s(second));
        let began = at(Report::Rang { call: call(), again: false }, 0);
        let News::Began(entry) = began else { panic!("{began:?}") };
        assert_eq!((entry.at, &*entry.outcome, entry.rings), (CLOCK, INTERRUPTED, 1));
        let (peer_there, after) = (Some(peer()), Duration::from_millis(90));
        at(Report::Reached { peer: peer_there, what: Milestone::Keyframe, after }, 1);
        let back = PeerKey { uplink: UplinkId::Lan, id: PeerId::from("phone again") };
        at(Report::CameBack { was: peer(), now: back }, 1);
        at(Report::RingingAt(2), 1);
        at(Report::Rang { call: call(), again: true }, 4);
        at(Report::RingingAt(1), 4);
        at(Report::Seen(peer(), Duration::from_millis(420)), 5);
        at(Report::Seen(peer(), Duration::from_millis(310)), 5);
        let anna = Name::new("Anna");
        at(Report::Answered { peer: peer(), name: anna.clone() }, 7);
        at(Report::Answered { peer: peer(), name: None }, 9);
        let control = Opener::Control { uid: 0 };
        at(Report::OpenRefused { by: control, why: Refusal::LockedOut }, 10);
        let by = Opener::Person { name: anna.expect("a name"), peer: peer() };
        at(Report::Opened { by, length: s(3) }, 11);
        let ended = at(Report::Ended { call: call(), cause: Cause::HungUp }, 27);
        let News::Ended(entry) = ended else { panic!("{ended:?}") };
        assert_eq!(
            entry,
            Entry {
                call: "c-1".into(),
                at: CLOCK,
                outcome: "hung-up".into(),
                rings: 2,
                ringing_at: 2,
                answered_by: vec!["Anna".into(), "phone".into()],
                answered_after_ms: Some(7_000),
                talk_s: 20,
                opened_by: vec!["Anna".into()],
                refused: 1,
                first_picture_ms: Some(310),
                picture: false,
                budget: Some(Budget {
                    entered_ms: None,
                    phones: vec![PhoneBudget {
                        id: "phone again".into(),
                        uplink: "lan".into(),
                        keyframe_ms: Some(90),
                        ..PhoneBudget::default()
                    }],
                }),
            }
        );
        assert_eq!(at(Report::RingingAt(1), 28), News::Nothing);
    }

    #[test]
    fn a_press_that_reached_nobody_is_remembered_too() {
        let ended = Scribe::default().take(
            &Report::Ended { call: call(), cause: Cause::CannotJoin },
            CLOCK,
            s(10),
        );
        let News::Ended(entry) = ended else { panic!("{ended:?}") };
        assert_eq!((&*entry.call, &*entry.outcome, entry.talk_s), ("c-1", "cannot-join", 0));
    }

    #[test]
    fn a_picture_belongs_to_its_own_call_only() {
        let mut scribe = Scribe::default();
        assert!(!scribe.picture("c-1"));
        scribe.take(&Report::Rang { call: call(), again: false }, CLOCK, s(0));
        assert!(!scribe.picture("c-0"));
        assert!(scribe.picture("c-1"));
        assert!(scribe.draft().is_some_and(|entry| entry.picture));
    }

    #[test]
    fn an_entry_of_a_newer_version_is_read_as_far_as_it_is_known() {
        let text = r#"{"call":"c-9","at":5,"outcome":"hung-up","weather":"rain"}"#;
        let entry: Entry = serde_json::from_str(text).expect("readable");
        assert_eq!((&*entry.call, entry.at, entry.rings), ("c-9", 5, 0));
    }
}
