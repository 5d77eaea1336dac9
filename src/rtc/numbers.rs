//! The numbers a peer's browser knows of us, kept for the next link to the same browser.
//!
//! A link that is built anew offers to a connection of the browser that may be old. Chromium refuses an offer
//! that gives the number of a header extension of that connection to another ("RTP extension ID reassignment
//! not supported"; RFC 8285 section 6). And it goes on counting our packets where the link before ended: those
//! with a number it has had are reported on with the arrival of the old one, which looks like heavy loss at
//! first and like a queue of seconds then. It knows no calls.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::atomic::AtomicU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::intercom::PeerKey;

/// Peers remembered. More than can be in a channel's call; the one unheard of for longest goes.
const MOST: usize = 64;

/// Numbers 1 to 14, those of one-byte headers, by extension (RFC 8285 section 4.2).
pub type Extensions = BTreeMap<u16, String>;

/// The numbers of one-byte headers (RFC 8285 section 4.2).
pub const RANGE: RangeInclusive<u16> = 1..=14;

/// What Chromium calls the extensions we use: a browser that offers later finds its own numbers.
const USUAL: [(u16, &str); 5] = [
    (3, "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"),
    (4, "urn:ietf:params:rtp-hdrext:sdes:mid"),
    (5, super::engine::PLAYOUT_DELAY),
    (10, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"),
    (11, "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"),
];

/// The numbers by peer. Clones share them.
#[derive(Clone, Default)]
pub struct Numbers(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    peers: BTreeMap<PeerKey, Theirs>,
    /// Grows with every description and every link, so that the peer unheard of for longest can be told.
    clock: u64,
}

#[derive(Default)]
struct Theirs {
    /// Ours among their extensions.
    ours: Extensions,
    /// All numbers they use.
    taken: BTreeSet<u16>,
    /// The number after that of the last packet sent to it.
    next: Arc<AtomicU16>,
    at: u64,
}

impl Numbers {
    /// The numbers an offer to this peer is to use.
    pub fn of(&self, peer: &PeerKey) -> Extensions {
        let known = self.lock();
        let nobody = Theirs::default();
        let theirs = known.peers.get(peer).unwrap_or(&nobody);
        let mut numbers = Extensions::new();
        for (usual, uri) in USUAL {
            let own = theirs.ours.iter().find(|(_, known)| *known == uri).map(|(own, _)| *own);
            let is_free = |number: &u16| {
                let reserved = theirs.taken.contains(number) && own != Some(*number);
                !reserved && !numbers.contains_key(number)
            };
            let free = || [usual].into_iter().chain(RANGE).find(is_free);
            if let Some(number) = own.or_else(free) {
                numbers.insert(number, uri.to_owned());
            }
        }
        numbers
    }

    /// The peer's newest description uses these. What does not fit a one-byte header is not for us.
    pub fn learn(&self, peer: &PeerKey, numbers: Extensions) {
        let mut known = self.lock();
        let theirs = known.meet(peer);
        for (number, uri) in numbers.into_iter().filter(|(number, _)| RANGE.contains(number)) {
            theirs.taken.insert(number);
            if USUAL.iter().any(|(_, usual)| *usual == uri) {
                theirs.ours.insert(number, uri);
            }
        }
    }

    /// The number the next packet to this peer is to have; whoever sends one counts on.
    pub fn packets(&self, peer: &PeerKey) -> Arc<AtomicU16> {
        Arc::clone(&self.lock().meet(peer).next)
    }

    // The state is valid between any two statements, also after a panic elsewhere.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn meet(&mut self, peer: &PeerKey) -> &mut Theirs {
        if self.peers.len() >= MOST && !self.peers.contains_key(peer) {
            let oldest = self.peers.iter().min_by_key(|(_, theirs)| theirs.at);
            if let Some(peer) = oldest.map(|(peer, _)| peer.clone()) {
                self.peers.remove(&peer);
            }
        }
        self.clock += 1;
        let theirs = self.peers.entry(peer.clone()).or_default();
        theirs.at = self.clock;
        theirs
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::intercom::{PeerId, UplinkId};

    fn peer(id: &str) -> PeerKey {
        PeerKey { uplink: UplinkId::Lan, id: PeerId::from(id) }
    }

    #[test]
    fn a_browser_finds_its_own_numbers_again() {
        let numbers = Numbers::default();
        assert_eq!(numbers.of(&peer("a"))[&5], USUAL[2].1);
        let own = [(7, USUAL[0].1), (3, "urn:of-another-kind")];
        let own = own.map(|(number, uri)| (number, uri.to_owned()));
        numbers.learn(&peer("a"), Extensions::from(own));
        let mine = numbers.of(&peer("a"));
        assert_eq!(mine[&7], USUAL[0].1);
        assert_eq!(mine.get(&3), None, "a number of its own is not given to another");
        assert_eq!(mine.len(), USUAL.len());
        assert_eq!(numbers.of(&peer("b"))[&3], USUAL[0].1, "each browser has its own");
    }

    #[test]
    fn numbers_beyond_a_one_byte_header_are_not_used() {
        let numbers = Numbers::default();
        numbers.learn(&peer("a"), Extensions::from([(20, USUAL[2].1.to_owned())]));
        assert_eq!(numbers.of(&peer("a"))[&5], USUAL[2].1);
    }

    #[test]
    fn the_peer_unheard_of_for_longest_is_forgotten() {
        let numbers = Numbers::default();
        let moved = || Extensions::from([(7, USUAL[0].1.to_owned())]);
        for number in 0..MOST {
            numbers.learn(&peer(&format!("z{number}")), moved());
        }
        numbers.packets(&peer("z1")).fetch_add(7, Ordering::Relaxed);
        numbers.learn(&peer("a"), moved());
        assert_eq!(numbers.of(&peer("a"))[&7], USUAL[0].1);
        assert_eq!(numbers.of(&peer("z0"))[&3], USUAL[0].1);
        assert_eq!(numbers.of(&peer("z1"))[&7], USUAL[0].1);
        assert_eq!(
            numbers.packets(&peer("z1")).load(Ordering::Relaxed),
            7,
            "the next link goes on from there"
        );
        assert_eq!(numbers.packets(&peer("z0")).load(Ordering::Relaxed), 0);
    }
}
