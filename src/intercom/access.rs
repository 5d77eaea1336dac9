//! Who may open the door or read the log: challenges, proofs and what comes of wrong ones.
//!
//! Part of `Intercom`. Nothing here knows a secret or makes a random number: both are asked for by commands. What is
//! decided here is who may ask, when, and how often. A page that is in the channel has no right by that
//! (docs/security.md).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::door::Opener;
use super::settle::is_here;
use super::{
    CallState, Checked, Command, Denial, DoorState, Intercom, Name, Nonce, Outgoing, PeerKey,
    Proof, Purpose, PushAddress, Refusal, Report,
};

/// How long a number is good.
pub const CHALLENGE: Duration = Duration::from_secs(30);
/// So many wrong proofs, and a peer is not listened to for the rest of the call.
pub const TRIES: u32 = 3;
/// So many wrong proofs of all peers within [`WINDOW`], and nobody is listened to for [`LOCK`].
pub const TRIES_OF_ALL: usize = 10;
/// The time over which wrong proofs of all peers are counted.
pub const WINDOW: Duration = Duration::from_secs(300);
/// How long nobody is listened to then.
pub const LOCK: Duration = Duration::from_secs(60);
/// Most peers whose wrong proofs are remembered during a call.
const MOST_PEERS: usize = 256;

/// What is known of those who ask.
#[derive(Debug, Default)]
pub(super) struct Access {
    persons: usize,
    /// At most one number is out for each peer in view and each purpose.
    challenges: BTreeMap<(PeerKey, Purpose), (Nonce, Instant)>,
    /// Where peers in view want to be woken, until they have proved their right.
    addresses: BTreeMap<PeerKey, PushAddress>,
    /// Wrong proofs of this call.
    wrong: BTreeMap<(PeerKey, Purpose), u32>,
    /// Refusals of this call that were reported: the same is not worth a second word.
    reported: BTreeSet<(PeerKey, Purpose, Denial)>,
    /// Wrong proofs of all peers, for each purpose by itself: who guesses at the log keeps nobody from the door.
    all: BTreeMap<Purpose, Guesses>,
}

/// Wrong proofs of all peers for one purpose.
#[derive(Debug, Default)]
struct Guesses {
    /// When the latest came.
    lately: VecDeque<Instant>,
    locked_until: Option<Instant>,
}

impl Access {
    pub(super) fn set_persons(&mut self, count: usize) {
        self.persons = count;
    }

    pub(super) fn persons(&self) -> usize {
        self.persons
    }

    pub(super) fn has_persons(&self) -> bool {
        self.persons > 0
    }

    /// The peer is gone; its numbers with it.
    pub(super) fn left(&mut self, key: &PeerKey) {
        self.challenges.retain(|(peer, _), _| peer != key);
        self.addresses.remove(key);
    }

    /// This number is out for the peer.
    pub(super) fn give(&mut self, now: Instant, key: &PeerKey, purpose: Purpose, nonce: Nonce) {
        self.challenges.insert((key.clone(), purpose), (nonce, now + CHALLENGE));
    }

    pub(super) fn call_is_over(&mut self) {
        self.challenges.clear();
        self.addresses.clear();
        self.wrong.clear();
        self.reported.clear();
    }

    pub(super) fn is_locked(&self, now: Instant, key: &PeerKey, purpose: Purpose) -> bool {
        let peer = self.wrong.get(&(key.clone(), purpose)).is_some_and(|count| *count >= TRIES);
        let all = self.all.get(&purpose).and_then(|all| all.locked_until);
        peer || all.is_some_and(|until| now < until)
    }

    /// Takes the number that is out for the peer, if it is this one. Whether it was still good.
    pub(super) fn redeem(&mut self, now: Instant, key: &PeerKey, proof: &Proof) -> bool {
        let place = (key.clone(), proof.purpose);
        if self.challenges.get(&place).is_none_or(|(nonce, _)| *nonce != proof.nonce) {
            return false;
        }
        self.challenges.remove(&place).is_some_and(|(_, until)| now < until)
    }

    /// Counts a wrong proof. Who is locked out by it: this peer, or (`Some(None)`) everybody.
    fn count_wrong(
        &mut self,
        now: Instant,
        key: &PeerKey,
        purpose: Purpose,
    ) -> Option<Option<PeerKey>> {
        if self.wrong.len() >= MOST_PEERS {
            self.wrong.pop_first();
        }
        let count = self.wrong.entry((key.clone(), purpose)).or_default();
        *count += 1;
        let peer = *count == TRIES;
        let all = self.all.entry(purpose).or_default();
        all.lately.push_back(now);
        while all.lately.front().is_some_and(|at| now.saturating_duration_since(*at) > WINDOW) {
            all.lately.pop_front();
        }
        if all.lately.len() >= TRIES_OF_ALL {
            all.lately.clear();
            all.locked_until = Some(now + LOCK);
            return Some(None);
        }
        peer.then(|| Some(key.clone()))
    }

    /// Whether this refusal is worth a report.
    fn is_news(&mut self, key: &PeerKey, purpose: Purpose, why: Denial) -> bool {
        self.reported.len() < MOST_PEERS && self.reported.insert((key.clone(), purpose, why))
    }
}

impl Intercom {
    /// A page asks for something that needs a proof.
    pub(super) fn ask(&mut self, now: Instant, key: &PeerKey, purpose: Purpose) {
        match self.may_ask(now, key, purpose) {
            Ok(()) => self.command(Command::Challenge(key.clone(), purpose)),
            Err(why) => self.deny(key, purpose, None, why),
        }
    }

    /// A page gives the address at which its browser can be woken.
    pub(super) fn ask_to_wake(&mut self, now: Instant, key: &PeerKey, address: PushAddress) {
        self.access.addresses.insert(key.clone(), address);
        self.ask(now, key, Purpose::Wake);
    }

    /// The browser will be woken.
    pub(super) fn wake_kept(&mut self, key: &PeerKey) {
        let Some((call, _)) = self.call.current() else { return };
        let call = call.clone();
        if self.peers.contains_key(key) {
            self.send(key, Outgoing::WillWake(call));
        }
    }

    /// The number for a proof is drawn.
    pub(super) fn challenge(
        &mut self,
        now: Instant,
        key: &PeerKey,
        purpose: Purpose,
        nonce: Nonce,
    ) {
        if purpose == Purpose::Look {
            return self.look_challenge(now, key, nonce);
        }
        let Some((call, _)) = self.call.current() else { return };
        if !self.peers.contains_key(key) {
            return;
        }
        let call = call.clone();
        self.access.give(now, key, purpose, nonce);
        self.send(key, Outgoing::Challenge(call, purpose, nonce));
    }

    /// A proof comes. Its number is used up by it, right or wrong.
    pub(super) fn proof(&mut self, now: Instant, key: &PeerKey, proof: Proof) {
        let purpose = proof.purpose;
        let redeemed = self.access.redeem(now, key, &proof);
        if let Err(why) = self.may_ask(now, key, purpose) {
            return self.deny(key, purpose, Some(proof.person), why);
        }
        if !redeemed || !self.is_present(&proof.call) {
            return self.deny(key, purpose, Some(proof.person), Denial::Expired);
        }
        self.command(Command::Verify(key.clone(), proof));
    }

    /// A proof has been checked.
    pub(super) fn verified(
        &mut self,
        now: Instant,
        key: &PeerKey,
        purpose: Purpose,
        checked: Checked,
    ) {
        let person = match checked {
            Checked::Right(person) => person,
            Checked::Wrong(claimed) => {
                self.counters.wrong_proofs += 1;
                if let Some(who) = self.access.count_wrong(now, key, purpose) {
                    self.report(Report::ProofsLocked(who));
                }
                // Each has cost a number, so they cannot be many.
                self.report_denial(key, purpose, Some(claimed), Denial::Wrong);
                return self.send_denial(key, purpose, Denial::Wrong);
            }
        };
        // The peer may have hung up meanwhile.
        let may = match purpose {
            Purpose::Look => self.may_look(now, key),
            Purpose::Open | Purpose::Log | Purpose::Wake => self.may_ask(now, key, purpose),
        };
        if let Err(why) = may {
            return self.deny(key, purpose, Some(person), why);
        }
        match purpose {
            Purpose::Look => self.look_in(now, key, person),
            Purpose::Log => {
                if let Some((call, _)) = self.call.current() {
                    let call = call.clone();
                    self.command(Command::TellLog(key.clone(), call));
                }
            }
            Purpose::Wake => {
                if let Some(address) = self.access.addresses.remove(key) {
                    self.command(Command::KeepAddress(key.clone(), person, address));
                }
            }
            Purpose::Open => self.open_for(now, key, person),
        }
    }

    fn open_for(&mut self, now: Instant, key: &PeerKey, person: Name) {
        let by = Opener::Person { name: person.clone(), peer: key.clone() };
        match self.release(now, by, None) {
            Ok(length) => {
                let Some((call, _)) = self.call.current() else { return };
                let opened = Outgoing::Opened(call.clone(), length, person);
                for peer in self.peers.keys().cloned().collect::<Vec<_>>() {
                    self.send(&peer, opened.clone());
                }
            }
            Err(why) => {
                self.send_denial(key, Purpose::Open, why.denial().unwrap_or(Denial::Resting));
            }
        }
    }

    fn may_ask(&self, now: Instant, key: &PeerKey, purpose: Purpose) -> Result<(), Denial> {
        let Some(peer) = self.peers.get(key) else { return Err(Denial::Expired) };
        if purpose == Purpose::Open && self.door.state() == DoorState::NotWired {
            return Err(Denial::NotWired);
        }
        if !self.access.has_persons() {
            return Err(Denial::Nobody);
        }
        if self.access.is_locked(now, key, purpose) {
            return Err(Denial::LockedOut);
        }
        let talks = self.call.state() == CallState::Talking && is_here(peer);
        if purpose == Purpose::Open && !talks {
            return Err(Denial::NotTalking);
        }
        Ok(())
    }

    /// What was asked for is not done. The page hears it each time, the owner once.
    pub(super) fn deny(
        &mut self,
        key: &PeerKey,
        purpose: Purpose,
        person: Option<Name>,
        why: Denial,
    ) {
        if self.access.is_news(key, purpose, why) {
            self.report_denial(key, purpose, person, why);
        }
        self.send_denial(key, purpose, why);
    }

    fn report_denial(
        &mut self,
        key: &PeerKey,
        purpose: Purpose,
        claims: Option<Name>,
        why: Denial,
    ) {
        let by = Opener::Page { claims, peer: key.clone() };
        match purpose {
            Purpose::Open => {
                self.counters.refusals += 1;
                self.report(Report::OpenRefused { by, why: Refusal::Denied(why) });
            }
            Purpose::Log => self.report(Report::LogRefused { by, why }),
            // As with the log: somebody wanted to know what goes on here.
            Purpose::Wake => self.report(Report::LogRefused { by, why }),
            Purpose::Look => self.report(Report::LookRefused { by, why }),
        }
    }

    fn send_denial(&mut self, key: &PeerKey, purpose: Purpose, why: Denial) {
        if purpose == Purpose::Look {
            return self.refuse_look(key, why);
        }
        let Some((call, _)) = self.call.current() else { return };
        let call = call.clone();
        if self.peers.contains_key(key) {
            self.send(key, Outgoing::Refused(call, purpose, why));
        }
    }
}
