//! Where the time of a call goes: when each phone got how far, counted from the press.
//!
//! Pure. The heart tells what is reached and after what time; here it is put in order and into words.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::intercom::{Milestone, PeerKey};

/// Most phones remembered of one call.
const MOST_PHONES: usize = 16;

/// Where the time of one call went. All times are whole milliseconds since the press; `None`: not reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Budget {
    /// The door is in the channel.
    pub entered_ms: Option<u64>,
    /// The phones, the one that came furthest soonest first; 16 at most.
    pub phones: Vec<PhoneBudget>,
}

/// One phone's way to the picture. Each stage needs those before it, so the times never fall.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PhoneBudget {
    /// Its id on its uplink; the newest, if it came back under another.
    pub id: String,
    /// The uplink it was met on.
    pub uplink: String,
    /// The door's first offer or answer went out.
    pub described_ms: Option<u64>,
    /// ICE found a way.
    pub ice_ms: Option<u64>,
    /// DTLS agreed on keys.
    pub dtls_ms: Option<u64>,
    /// The first packet of sound or picture went out.
    pub rtp_ms: Option<u64>,
    /// The last packet of the first keyframe went out.
    pub keyframe_ms: Option<u64>,
    /// The door heard that the page shows the picture. Pages that do not speak the door protocol never say so.
    pub shown_ms: Option<u64>,
}

impl Budget {
    /// Something was reached so long after the press, by this phone or, without one, by the door itself. What was
    /// reached before stays as it is.
    pub fn note(&mut self, peer: Option<&PeerKey>, what: Milestone, after: Duration) {
        let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let Some(peer) = peer else {
            if what == Milestone::Entered {
                self.entered_ms.get_or_insert(after);
            }
            return;
        };
        let known = self.phones.iter().position(|phone| phone.is(peer));
        let Some(index) = known.or_else(|| self.add(peer)) else { return };
        if let Some(time) = self.phones[index].time(what) {
            time.get_or_insert(after);
        }
        self.sort();
    }

    /// A phone came back under another id.
    pub fn came_back(&mut self, was: &PeerKey, now: &PeerKey) {
        let Some(index) = self.phones.iter().position(|phone| phone.is(was)) else { return };
        let mut before = self.phones.remove(index);
        match self.phones.iter_mut().find(|phone| phone.is(now)) {
            Some(phone) => phone.inherit(before),
            None => {
                before.id = now.id.to_string();
                before.uplink = now.uplink.to_string();
                self.phones.push(before);
            }
        }
        self.sort();
    }

    fn add(&mut self, peer: &PeerKey) -> Option<usize> {
        if self.phones.len() >= MOST_PHONES {
            return None;
        }
        self.phones.push(PhoneBudget {
            id: peer.id.to_string(),
            uplink: peer.uplink.to_string(),
            ..PhoneBudget::default()
        });
        Some(self.phones.len() - 1)
    }

    fn sort(&mut self) {
        self.phones.sort_by_key(|phone| {
            let latest_first = phone.times().map(|(_, time)| time.unwrap_or(u64::MAX));
            [5, 4, 3, 2, 1, 0].map(|stage: usize| latest_first[stage])
        });
    }
}

impl PhoneBudget {
    fn is(&self, peer: &PeerKey) -> bool {
        self.id == peer.id.as_str() && self.uplink == peer.uplink.name()
    }

    fn time(&mut self, what: Milestone) -> Option<&mut Option<u64>> {
        Some(match what {
            Milestone::Entered => return None,
            Milestone::Described => &mut self.described_ms,
            Milestone::Ice => &mut self.ice_ms,
            Milestone::Dtls => &mut self.dtls_ms,
            Milestone::Rtp => &mut self.rtp_ms,
            Milestone::Keyframe => &mut self.keyframe_ms,
            Milestone::Shown => &mut self.shown_ms,
        })
    }

    fn times(&self) -> [(&'static str, Option<u64>); 6] {
        [
            ("described_ms", self.described_ms),
            ("ice_ms", self.ice_ms),
            ("dtls_ms", self.dtls_ms),
            ("rtp_ms", self.rtp_ms),
            ("keyframe_ms", self.keyframe_ms),
            ("shown_ms", self.shown_ms),
        ]
    }

    /// Takes what it had reached under an earlier id, which was sooner.
    fn inherit(&mut self, before: Self) {
        let Self { id: _, uplink: _, described_ms, ice_ms, dtls_ms, rtp_ms, keyframe_ms, shown_ms } =
            before;
        self.described_ms = described_ms.or(self.described_ms);
        self.ice_ms = ice_ms.or(self.ice_ms);
        self.dtls_ms = dtls_ms.or(self.dtls_ms);
        self.rtp_ms = rtp_ms.or(self.rtp_ms);
        self.keyframe_ms = keyframe_ms.or(self.keyframe_ms);
        self.shown_ms = shown_ms.or(self.shown_ms);
    }
}

/// One line with every field, those of the first phone; `-` stands for what was not reached.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |time: Option<u64>| time.map_or_else(|| "-".to_owned(), |ms| ms.to_string());
        write!(f, "entered_ms={}", text(self.entered_ms))?;
        let nobody = PhoneBudget::default();
        let first = self.phones.first();
        for (name, time) in first.unwrap_or(&nobody).times() {
            write!(f, " {name}={}", text(time))?;
        }
        match first {
            Some(phone) => write!(f, " first={}/{}", phone.uplink, phone.id)?,
            None => f.write_str(" first=-")?,
        }
        write!(f, " phones={}", self.phones.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intercom::{PeerId, UplinkId};

    fn phone(id: &str) -> PeerKey {
        PeerKey { uplink: UplinkId::Lan, id: PeerId::from(id) }
    }

    fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    /// A phone that gets all the way, a stage each 10 ms from `start` on.
    fn run(budget: &mut Budget, id: &str, start: u64) {
        use Milestone as M;
        let stages = [M::Described, M::Ice, M::Dtls, M::Rtp, M::Keyframe, M::Shown];
        for (stage, at) in stages.into_iter().zip((start..).step_by(10)) {
            budget.note(Some(&phone(id)), stage, ms(at));
        }
    }

    #[test]
    fn the_line_has_every_stage_of_the_phone_that_showed_the_visitor_first() {
        let mut budget = Budget::default();
        budget.note(None, Milestone::Entered, ms(12));
        run(&mut budget, "slow", 30);
        run(&mut budget, "quick", 20);
        assert_eq!(
            budget.to_string(),
            "entered_ms=12 described_ms=20 ice_ms=30 dtls_ms=40 rtp_ms=50 keyframe_ms=60 shown_ms=70 \
             first=lan/quick phones=2"
        );
    }

    #[test]
    fn what_was_not_reached_is_told_as_such() {
        let mut budget = Budget::default();
        assert!(budget.to_string().ends_with("shown_ms=- first=- phones=0"));
        budget.note(Some(&phone("a")), Milestone::Described, ms(20));
        budget.note(Some(&phone("b")), Milestone::Described, ms(25));
        budget.note(Some(&phone("b")), Milestone::Ice, ms(40));
        let line = budget.to_string();
        assert!(line.contains("described_ms=25 ice_ms=40 dtls_ms=- "), "{line}");
        assert!(line.ends_with("first=lan/b phones=2"), "who came further goes first: {line}");
    }

    #[test]
    fn a_stage_that_is_reached_again_keeps_its_first_time() {
        let mut budget = Budget::default();
        run(&mut budget, "a", 20);
        let before = budget.clone();
        run(&mut budget, "a", 90_000);
        budget.note(None, Milestone::Entered, ms(5));
        budget.note(None, Milestone::Entered, ms(90_000));
        assert_eq!(budget.phones, before.phones);
        assert_eq!(budget.entered_ms, Some(5));
    }

    #[test]
    fn a_phone_that_comes_back_under_another_id_is_one_phone() {
        let mut budget = Budget::default();
        run(&mut budget, "old", 20);
        budget.came_back(&phone("old"), &phone("new"));
        assert_eq!(budget.phones.len(), 1);
        assert_eq!((&*budget.phones[0].id, budget.phones[0].shown_ms), ("new", Some(70)));

        let mut budget = Budget::default();
        budget.note(Some(&phone("old")), Milestone::Described, ms(20));
        run(&mut budget, "new", 5_000);
        budget.came_back(&phone("old"), &phone("new"));
        assert_eq!(budget.phones.len(), 1);
        assert_eq!(budget.phones[0].described_ms, Some(20), "its first self was described sooner");
        assert_eq!(budget.phones[0].ice_ms, Some(5_010));
    }

    #[test]
    fn a_crowd_of_ids_does_not_fill_the_log() {
        let mut budget = Budget::default();
        for number in 0..100 {
            budget.note(Some(&phone(&format!("p{number}"))), Milestone::Described, ms(number));
        }
        assert_eq!(budget.phones.len(), MOST_PHONES);
        assert_eq!(budget.phones[0].described_ms, Some(0));
    }
}
