//! Our place in the channel: asking to be let in, who else is there, leaving (protocol.md section 3).
//!
//! Pure. It sees presence and answers only, never sockets or request ids, and it outlives sockets: what is
//! wanted is asked for again on the next one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::time::{Duration, Instant};

use crate::intercom::{PeerId, Signal, UplinkEvent};

/// Most peers of one channel taken notice of (protocol.md section 5.1).
pub const MAX_PEERS: usize = 256;
/// Most candidates taken from one peer after one description (protocol.md section 4.2).
pub const MAX_CANDIDATES: u16 = 200;
/// Most signals kept from peers that were quicker than the answer to our `subscribe`.
const MAX_EARLY: usize = 64;

/// The times a [`Membership`] keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipTimes {
    /// After this long without an ack, `subscribe` is sent again.
    pub again: Duration,
    /// How often it is sent again on one socket for one `Join`.
    pub repeats: u8,
    /// How long the ack to the last one may take.
    pub ack: Duration,
    /// How long the snapshot may take after the ack before the channel counts as empty.
    pub snapshot: Duration,
}

impl Default for MembershipTimes {
    fn default() -> Self {
        Self {
            again: Duration::from_secs(2),
            repeats: 3,
            ack: Duration::from_secs(15),
            snapshot: Duration::from_secs(2),
        }
    }
}

/// What the session is to do.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Subscribe,
    Unsubscribe,
    /// The signalling side does not let us in and does not say why; a new socket may help.
    Exhausted,
    Event(UplinkEvent),
}

#[derive(Debug, Default)]
enum Phase {
    /// No socket to ask on.
    #[default]
    Offline,
    /// A socket, and nothing asked.
    Out,
    /// `subscribe` was sent and not answered.
    Asking(Asking),
    /// In the channel.
    In(Inside),
    /// `unsubscribe` was sent and not answered.
    Leaving { until: Instant },
}

#[derive(Debug)]
struct Asking {
    repeats_left: u8,
    next: Instant,
    /// Presence that came before the ack; the order of the two is not promised.
    early: Option<BTreeSet<PeerId>>,
    signals: Vec<(PeerId, Signal)>,
}

#[derive(Debug)]
struct Inside {
    roster: BTreeSet<PeerId>,
    list: List,
    /// Candidates per peer since its last description.
    candidates: BTreeMap<PeerId, u16>,
    /// Who sent a description although presence never named them: for each the list is asked for once.
    strangers: BTreeSet<PeerId>,
}

/// How to read the next presence frame.
#[derive(Debug, PartialEq, Eq)]
enum List {
    /// As the first snapshot, if it comes in time.
    First { until: Instant, lack: Lack },
    /// As a new snapshot, after a repeated subscribe, if it comes in time.
    Renewed { until: Instant },
    /// As a change.
    Known,
}

/// What to do when the first snapshot does not come: it may be lost, or nobody is there and the server sends
/// none (protocol.md section 3.1).
#[derive(Debug, PartialEq, Eq)]
enum Lack {
    /// Ask once more.
    AskAgain,
    /// Nobody is there.
    IsEmpty,
}

#[derive(Debug)]
pub(super) struct Membership {
    times: MembershipTimes,
    wanted: bool,
    phase: Phase,
    steps: VecDeque<Step>,
}

impl Membership {
    pub(super) fn new(times: MembershipTimes) -> Self {
        Self { times, wanted: false, phase: Phase::Offline, steps: VecDeque::new() }
    }

    /// Whether being in the channel is wanted.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether we are in the channel.
    pub(super) fn is_in(&self) -> bool {
        matches!(self.phase, Phase::In(_))
    }

    /// Whether the signalling side may still count us as a member.
    pub(super) fn has_ties(&self) -> bool {
        matches!(self.phase, Phase::Asking(_) | Phase::In(_) | Phase::Leaving { .. })
    }

    /// What to do next; drain after every call.
    pub(super) fn step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    fn tell(&mut self, event: UplinkEvent) {
        self.steps.push_back(Step::Event(event));
    }

    fn ask(&mut self, now: Instant) {
        self.steps.push_back(Step::Subscribe);
        self.phase = Phase::Asking(Asking {
            repeats_left: self.times.repeats,
            next: now + if self.times.repeats == 0 { self.times.ack } else { self.times.again },
            early: None,
            signals: Vec::new(),
        });
    }

    /// Be in the channel from now on. Inside already, it asks for a new snapshot.
    pub(super) fn join(&mut self, now: Instant) {
        self.wanted = true;
        match self.phase {
            Phase::Out => self.ask(now),
            Phase::In(_) => {
                self.steps.push_back(Step::Subscribe);
                self.tell(UplinkEvent::Joined);
            }
            Phase::Offline | Phase::Asking(_) | Phase::Leaving { .. } => {}
        }
    }

    /// Be out of the channel; `Left` always follows.
    pub(super) fn leave(&mut self, now: Instant) {
        self.wanted = false;
        match self.phase {
            Phase::Offline | Phase::Out => self.tell(UplinkEvent::Left),
            Phase::Asking(_) | Phase::In(_) => {
                self.steps.push_back(Step::Unsubscribe);
                self.phase = Phase::Leaving { until: now + self.times.again };
            }
            Phase::Leaving { .. } => {}
        }
    }

    /// There is a socket to ask on.
    pub(super) fn up(&mut self, now: Instant) {
        self.phase = Phase::Out;
        if self.wanted {
            self.ask(now);
        }
    }

    /// The socket is gone, and with it our place.
    pub(super) fn down(&mut self) {
        if let Phase::Leaving { .. } = mem::take(&mut self.phase) {
            self.tell(UplinkEvent::Left);
        }
    }

    /// We are refused for good; the wish is dropped.
    pub(super) fn give_up(&mut self) {
        if mem::take(&mut self.wanted) {
            self.tell(UplinkEvent::JoinRefused);
        }
    }

    /// A `subscribe` was acknowledged.
    pub(super) fn subscribed(&mut self, now: Instant) {
        let until = now + self.times.snapshot;
        match mem::take(&mut self.phase) {
            Phase::Asking(asking) => {
                self.phase = Phase::In(Inside {
                    roster: BTreeSet::new(),
                    list: List::First { until, lack: Lack::AskAgain },
                    candidates: BTreeMap::new(),
                    strangers: BTreeSet::new(),
                });
                self.tell(UplinkEvent::Joined);
                if let Some(early) = asking.early {
                    self.presence(early.into_iter().collect(), Vec::new());
                }
                for (from, signal) in asking.signals {
                    self.signal(from, signal);
                }
            }
            Phase::In(mut inside) => {
                if inside.list == List::Known {
                    inside.list = List::Renewed { until };
                }
                self.phase = Phase::In(inside);
            }
            other => self.phase = other,
        }
    }

    /// A `subscribe` failed in a way that may pass.
    pub(super) fn not_now(&mut self) {
        if let Phase::Asking(Asking { repeats_left: 0, .. }) = self.phase {
            self.steps.push_back(Step::Exhausted);
        }
    }

    /// An `unsubscribe` was answered, either way: we are not in the channel any more.
    pub(super) fn unsubscribed(&mut self, now: Instant) {
        if let Phase::Leaving { .. } = self.phase {
            self.phase = Phase::Out;
            self.tell(UplinkEvent::Left);
            if self.wanted {
                self.ask(now);
            }
        }
    }

    /// Who came and who went, without ourselves.
    pub(super) fn presence(&mut self, joined: Vec<PeerId>, left: Vec<PeerId>) {
        let inside = match &mut self.phase {
            Phase::In(inside) => inside,
            Phase::Asking(asking) => {
                let early = asking.early.get_or_insert_default();
                early.extend(joined);
                early.retain(|peer| !left.contains(peer));
                while early.len() > MAX_PEERS {
                    early.pop_last();
                }
                return;
            }
            Phase::Offline | Phase::Out | Phase::Leaving { .. } => return,
        };
        // A snapshot names nobody who left; whatever does is a change that was quicker than the snapshot.
        let is_list = match inside.list {
            List::First { .. } => true,
            // A notice of somebody who comes looks the same, but names nobody we know.
            List::Renewed { .. } => {
                let knows = joined.iter().any(|peer| inside.roster.contains(peer));
                left.is_empty() && (knows || inside.roster.is_empty())
            }
            List::Known => false,
        };
        if is_list {
            let mut list: BTreeSet<PeerId> = joined.into_iter().take(MAX_PEERS).collect();
            list.retain(|peer| !left.contains(peer));
            inside.candidates.retain(|peer, _| list.contains(peer));
            inside.roster = list.clone();
            inside.list = List::Known;
            self.tell(UplinkEvent::Snapshot(list.into_iter().collect()));
            return;
        }
        let mut events = Vec::new();
        for peer in joined {
            if inside.roster.len() < MAX_PEERS && inside.roster.insert(peer.clone()) {
                events.push(UplinkEvent::Came(peer));
            }
        }
        for peer in left {
            inside.candidates.remove(&peer);
            if inside.roster.remove(&peer) {
                events.push(UplinkEvent::Gone(peer));
            }
        }
        events.into_iter().for_each(|event| self.tell(event));
    }

    /// A peer sent us something. Returns whether it was taken.
    ///
    /// Signals of a peer that presence has not named yet are passed on, since the SDK does not repeat them
    /// (protocol.md section 5.7); words of a page are not, since they may end a call.
    pub(super) fn signal(&mut self, from: PeerId, signal: Signal) -> bool {
        let inside = match &mut self.phase {
            Phase::In(inside) => inside,
            Phase::Asking(asking) => {
                let has_room = asking.signals.len() < MAX_EARLY;
                if has_room {
                    asking.signals.push((from, signal));
                }
                return has_room;
            }
            Phase::Offline | Phase::Out | Phase::Leaving { .. } => return false,
        };
        if matches!(signal, Signal::Page(_)) {
            if !inside.roster.contains(&from) {
                return false;
            }
        } else {
            let is_stranger = inside.list == List::Known
                && matches!(signal, Signal::Description(_))
                && !inside.roster.contains(&from)
                && inside.strangers.len() < MAX_PEERS;
            if is_stranger && inside.strangers.insert(from.clone()) {
                // The notice of its coming may be lost; a new list tells whether it is one of us.
                self.steps.push_back(Step::Subscribe);
            }
            if !inside.candidates.contains_key(&from) && inside.candidates.len() >= 2 * MAX_PEERS {
                return false;
            }
            let count = inside.candidates.entry(from.clone()).or_default();
            match signal {
                Signal::Description(_) => *count = 0,
                Signal::Candidate(_) if *count >= MAX_CANDIDATES => return false,
                Signal::Candidate(_) => *count += 1,
                Signal::EndOfCandidates | Signal::Page(_) => {}
            }
        }
        self.tell(UplinkEvent::Signal { from, signal });
        true
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Asking(asking) => Some(asking.next),
            Phase::In(inside) => match inside.list {
                List::First { until, .. } | List::Renewed { until } => Some(until),
                List::Known => None,
            },
            Phase::Leaving { until } => Some(*until),
            Phase::Offline | Phase::Out => None,
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Asking(asking) if asking.next <= now => {
                let Some(left) = asking.repeats_left.checked_sub(1) else {
                    self.steps.push_back(Step::Exhausted);
                    // The session ends the socket on this; should it not, the step comes again, not at once.
                    asking.next = now + self.times.ack;
                    return;
                };
                asking.repeats_left = left;
                asking.next = now + if left == 0 { self.times.ack } else { self.times.again };
                self.steps.push_back(Step::Subscribe);
            }
            Phase::In(inside) => match inside.list {
                List::First { until, lack: Lack::AskAgain } if until <= now => {
                    let until = now + self.times.snapshot;
                    inside.list = List::First { until, lack: Lack::IsEmpty };
                    self.steps.push_back(Step::Subscribe);
                }
                List::First { until, lack: Lack::IsEmpty } if until <= now => {
                    inside.list = List::Known;
                    self.tell(UplinkEvent::Snapshot(Vec::new()));
                }
                // Not every server lists members again; what we know stays.
                List::Renewed { until } if until <= now => inside.list = List::Known,
                List::First { .. } | List::Renewed { .. } | List::Known => {}
            },
            Phase::Leaving { until } if *until <= now => self.unsubscribed(now),
            Phase::Offline | Phase::Out | Phase::Asking(_) | Phase::Leaving { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant as Clock;

    use super::*;
    use crate::intercom::{Candidate, Description, DescriptionKind, PageMessage};

    struct Desk {
        now: Instant,
        member: Membership,
    }

    impl Desk {
        fn new() -> Self {
            Self { now: Clock::now(), member: Membership::new(MembershipTimes::default()) }
        }

        /// Asked, acknowledged, told who is there.
        fn inside(peers: &[&str]) -> Self {
            let mut desk = Self::new();
            desk.member.up(desk.now);
            desk.member.join(desk.now);
            desk.member.subscribed(desk.now);
            desk.member.presence(ids(peers), vec![]);
            desk.steps();
            desk
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
            self.member.tick(self.now);
        }

        fn steps(&mut self) -> Vec<Step> {
            std::iter::from_fn(|| self.member.step()).collect()
        }
    }

    fn ids(names: &[&str]) -> Vec<PeerId> {
        names.iter().map(|name| PeerId::from(*name)).collect()
    }

    fn came(name: &str) -> Step {
        Step::Event(UplinkEvent::Came(name.into()))
    }

    fn gone(name: &str) -> Step {
        Step::Event(UplinkEvent::Gone(name.into()))
    }

    fn snapshot(names: &[&str]) -> Step {
        Step::Event(UplinkEvent::Snapshot(ids(names)))
    }

    fn joined() -> Step {
        Step::Event(UplinkEvent::Joined)
    }

    fn left() -> Step {
        Step::Event(UplinkEvent::Left)
    }

    fn offer() -> Signal {
        Signal::Description(Description { kind: DescriptionKind::Offer, sdp: "v=0".into() })
    }

    fn candidate() -> Signal {
        Signal::Candidate(Candidate {
            candidate: "candidate:1".into(),
            sdp_mid: None,
            sdp_mline_index: None,
            username_fragment: None,
        })
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn joining_asks_then_reports_then_lists() {
        let mut desk = Desk::new();
        desk.member.join(desk.now);
        assert_eq!(desk.steps(), [], "nothing to ask on yet");
        desk.member.up(desk.now);
        assert_eq!(desk.steps(), [Step::Subscribe]);
        desk.member.subscribed(desk.now);
        assert_eq!(desk.steps(), [joined()]);
        desk.member.presence(ids(&["b", "a"]), vec![]);
        assert_eq!(desk.steps(), [snapshot(&["a", "b"])]);
        desk.member.presence(ids(&["c", "a"]), ids(&["b", "x"]));
        assert_eq!(desk.steps(), [came("c"), gone("b")]);
    }

    #[test]
    fn a_missing_snapshot_counts_as_an_empty_channel_and_a_late_one_as_arrivals() {
        let mut desk = Desk::new();
        desk.member.up(desk.now);
        desk.member.join(desk.now);
        desk.member.subscribed(desk.now);
        desk.steps();
        desk.pass(2 * SECOND);
        assert_eq!(desk.steps(), [Step::Subscribe], "it may only be lost");
        desk.member.subscribed(desk.now);
        desk.pass(2 * SECOND);
        assert_eq!(desk.steps(), [snapshot(&[])]);
        desk.member.presence(ids(&["a"]), vec![]);
        assert_eq!(desk.steps(), [came("a")]);
    }

    #[test]
    fn a_lost_snapshot_is_asked_for_again() {
        let mut desk = Desk::new();
        desk.member.up(desk.now);
        desk.member.join(desk.now);
        desk.member.subscribed(desk.now);
        desk.steps();
        desk.pass(2 * SECOND);
        assert_eq!(desk.steps(), [Step::Subscribe]);
        desk.member.subscribed(desk.now);
        desk.member.presence(ids(&["a"]), vec![]);
        assert_eq!(desk.steps(), [snapshot(&["a"])]);
    }

    #[test]
    fn a_description_of_a_stranger_asks_for_the_list_once() {
        let mut desk = Desk::inside(&["a"]);
        for _ in 0..2 {
            let offer = Description { kind: DescriptionKind::Offer, sdp: "v=0".to_owned() };
            desk.member.signal("b".into(), Signal::Description(offer));
        }
        let asked = desk.steps().into_iter().filter(|step| *step == Step::Subscribe).count();
        assert_eq!(asked, 1);
        desk.member.subscribed(desk.now);
        desk.member.presence(ids(&["a", "b"]), vec![]);
        assert_eq!(desk.steps(), [snapshot(&["a", "b"])]);
    }

    #[test]
    fn somebody_who_comes_and_goes_in_one_frame_is_gone() {
        let mut desk = Desk::inside(&[]);
        desk.member.presence(ids(&["a"]), ids(&["a"]));
        assert_eq!(desk.steps(), [came("a"), gone("a")]);
    }

    #[test]
    fn a_subscribe_without_an_answer_is_repeated_three_times() {
        let mut desk = Desk::new();
        desk.member.up(desk.now);
        desk.member.join(desk.now);
        assert_eq!(desk.steps(), [Step::Subscribe]);
        for _ in 0..3 {
            desk.pass(2 * SECOND);
            assert_eq!(desk.steps(), [Step::Subscribe]);
        }
        desk.pass(14 * SECOND);
        assert_eq!(desk.steps(), []);
        desk.pass(SECOND);
        assert_eq!(desk.steps(), [Step::Exhausted]);
    }

    #[test]
    fn a_repeated_subscribe_brings_a_new_snapshot() {
        let mut desk = Desk::inside(&["a", "b"]);
        desk.member.join(desk.now);
        assert_eq!(desk.steps(), [Step::Subscribe, joined()], "whoever asks hears that we are in");
        desk.member.subscribed(desk.now);
        desk.member.presence(ids(&["c"]), ids(&["b"]));
        assert_eq!(desk.steps(), [came("c"), gone("b")], "a change, not the list");
        desk.member.presence(ids(&["c", "d"]), vec![]);
        assert_eq!(desk.steps(), [snapshot(&["c", "d"])]);
    }

    #[test]
    fn a_notice_of_somebody_new_is_not_taken_for_the_list() {
        let mut desk = Desk::inside(&["a", "b"]);
        desk.member.join(desk.now);
        desk.steps();
        desk.member.subscribed(desk.now);
        desk.member.presence(ids(&["x"]), vec![]);
        assert_eq!(desk.steps(), [came("x")]);
        desk.member.presence(ids(&["a", "x"]), vec![]);
        assert_eq!(desk.steps(), [snapshot(&["a", "x"])]);
    }

    #[test]
    fn a_server_that_does_not_list_again_takes_nobody_away() {
        let mut desk = Desk::inside(&["a"]);
        desk.member.join(desk.now);
        desk.member.subscribed(desk.now);
        desk.pass(2 * SECOND);
        desk.steps();
        desk.member.presence(ids(&["b"]), vec![]);
        assert_eq!(desk.steps(), [came("b")]);
    }

    #[test]
    fn presence_and_signals_quicker_than_the_ack_are_kept() {
        let mut desk = Desk::new();
        desk.member.up(desk.now);
        desk.member.join(desk.now);
        desk.member.presence(ids(&["a"]), vec![]);
        assert!(desk.member.signal("a".into(), offer()));
        assert_eq!(desk.steps(), [Step::Subscribe]);
        desk.member.subscribed(desk.now);
        let signal = Step::Event(UplinkEvent::Signal { from: "a".into(), signal: offer() });
        assert_eq!(desk.steps(), [joined(), snapshot(&["a"]), signal]);
    }

    #[test]
    fn leaving_ends_with_left_whatever_happens() {
        let mut desk = Desk::inside(&["a"]);
        desk.member.leave(desk.now);
        assert_eq!(desk.steps(), [Step::Unsubscribe]);
        desk.member.presence(ids(&["b"]), vec![]);
        assert!(!desk.member.signal("a".into(), offer()));
        assert_eq!(desk.steps(), []);
        desk.member.unsubscribed(desk.now);
        assert_eq!(desk.steps(), [left()]);

        let mut desk = Desk::inside(&[]);
        desk.member.leave(desk.now);
        desk.pass(2 * SECOND);
        assert_eq!(desk.steps(), [Step::Unsubscribe, left()], "no answer");

        let mut desk = Desk::inside(&[]);
        desk.member.leave(desk.now);
        desk.member.down();
        assert_eq!(desk.steps(), [Step::Unsubscribe, left()], "socket lost");

        let mut desk = Desk::new();
        desk.member.leave(desk.now);
        assert_eq!(desk.steps(), [left()], "never in");
    }

    #[test]
    fn joining_again_while_leaving_waits_for_the_answer() {
        let mut desk = Desk::inside(&["a"]);
        desk.member.leave(desk.now);
        desk.member.join(desk.now);
        assert_eq!(desk.steps(), [Step::Unsubscribe]);
        desk.member.unsubscribed(desk.now);
        assert_eq!(desk.steps(), [left(), Step::Subscribe]);
    }

    #[test]
    fn a_new_socket_asks_again_only_while_wanted() {
        let mut desk = Desk::inside(&["a"]);
        desk.member.down();
        desk.member.up(desk.now);
        assert_eq!(desk.steps(), [Step::Subscribe]);
        desk.member.give_up();
        desk.member.down();
        desk.member.up(desk.now);
        assert_eq!(desk.steps(), [Step::Event(UplinkEvent::JoinRefused)]);
    }

    #[test]
    fn more_than_two_hundred_candidates_are_dropped_until_the_next_description() {
        let mut desk = Desk::inside(&["a"]);
        let take = |desk: &mut Desk| {
            (0..250).filter(|_| desk.member.signal("a".into(), candidate())).count()
        };
        assert_eq!(take(&mut desk), 200);
        assert!(desk.member.signal("a".into(), Signal::EndOfCandidates));
        assert!(desk.member.signal("a".into(), offer()));
        assert_eq!(take(&mut desk), 200);
    }

    #[test]
    fn strangers_may_signal_but_not_speak_as_a_page() {
        let mut desk = Desk::inside(&["a"]);
        assert!(desk.member.signal("b".into(), offer()));
        assert!(!desk.member.signal("b".into(), Signal::Page(PageMessage::Hangup(None))));
        assert!(desk.member.signal("a".into(), Signal::Page(PageMessage::Hangup(None))));
    }

    #[test]
    fn a_crowded_channel_is_cut_at_256_peers() {
        let crowd: Vec<PeerId> = (0..300).map(|number| PeerId::new(format!("p{number}"))).collect();
        let mut desk = Desk::inside(&[]);
        desk.member.presence(crowd, vec![]);
        assert_eq!(desk.steps().len(), MAX_PEERS);
    }
}
