//! The numbers a peer's browser knows our header extensions by, kept for the next link to the same browser.
//!
//! A link that is built anew offers to a connection of the browser that may be old, and Chromium refuses an
//! offer that gives a number of that connection to another extension ("RTP extension ID reassignment not
//! supported"; RFC 8285 section 6). It knows no calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::intercom::PeerKey;

/// Peers remembered. More than can be in a channel's call; the first in order goes.
const MOST: usize = 64;

/// Numbers 1 to 14, those of one-byte headers, by extension (RFC 8285 section 4.2).
pub type Extensions = BTreeMap<u16, String>;

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
pub struct Numbers(Arc<Mutex<BTreeMap<PeerKey, Extensions>>>);

impl Numbers {
    /// The numbers an offer to this peer is to use.
    pub fn of(&self, peer: &PeerKey) -> Extensions {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = known.get(peer).cloned().unwrap_or_default();
        let mut numbers = Extensions::new();
        for (usual, uri) in USUAL {
            let own = theirs.iter().find(|(_, known)| *known == uri).map(|(number, _)| *number);
            let is_free =
                |number: &u16| !theirs.contains_key(number) && !numbers.contains_key(number);
            let free = || [usual].into_iter().chain(1..=14).find(is_free);
            if let Some(number) = own.or_else(free) {
                numbers.insert(number, uri.to_owned());
            }
        }
        numbers
    }

    /// The peer's newest description uses these.
    pub fn learn(&self, peer: &PeerKey, numbers: Extensions) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(peer.clone()).or_default().extend(numbers);
        if known.len() > MOST {
            known.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
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
}
