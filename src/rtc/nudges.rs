//! A word on the pair that was nominated, so that the peer sends its handshake there.
//!
//! A browser that is the controlled side sends over the pair on which data came last, when its nominations are worth
//! the same. To a link that takes the place of another in one of the browser's connections it therefore says nothing
//! before the old pair has been silent for seconds, if it is the one who begins the handshake (media.md trap 18). So
//! each nomination of ours is followed by a packet that carries nothing, until the handshake is heard: the keepalive of
//! RFC 6263 section 4.6, of a payload type that was never agreed to.
//!
//! Pure: the sockets tell what they carry and when, and ask again when something is due.

use std::time::{Duration, Instant};

use super::flights::{CHANNEL_DATA, CHANNEL_HEADER, STUN_HEADER, attribute, stun};

/// Between two nudges: the peer may have had no answer of ours on that pair yet, and heeds none before.
const PAUSE: Duration = Duration::from_millis(100);
/// By then the peer has noticed the silence on the old pair by itself.
const MOST: u32 = 40;

/// An RTP header (RFC 3550 section 5.1) of version 2 and payload type 127, all else zero.
const NUDGE: [u8; 12] = [0x80, 127, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A Binding request (RFC 8489 section 5) and what makes a nomination of it (RFC 8445 section 16.1).
const BINDING_REQUEST: [u8; 2] = [0, 1];
const USE_CANDIDATE: [u8; 2] = [0, 0x25];
/// Attributes of TURN (RFC 8656 section 18).
const XOR_PEER_ADDRESS: [u8; 2] = [0, 0x12];
const DATA: [u8; 2] = [0, 0x13];

/// The nudges of one connection. `To` is where a datagram goes.
#[derive(Debug)]
pub struct Nudges<To> {
    state: State<To>,
}

#[derive(Debug)]
enum State<To> {
    /// Nothing was nominated yet.
    Idle,
    /// Where the next goes, and when.
    Nudging { to: To, datagram: Vec<u8>, due: Instant, left: u32 },
    /// The peer was heard, or does not care.
    Over,
}

impl<To> Default for Nudges<To> {
    fn default() -> Self {
        Self { state: State::Idle }
    }
}

impl<To: Clone> Nudges<To> {
    /// We nominate a pair; `datagram` is what [`after`] says to that.
    pub fn nominates(&mut self, now: Instant, to: To, datagram: Vec<u8>) {
        let (due, left) = match self.state {
            State::Idle => (now, MOST),
            State::Nudging { due, left, .. } => (due, left),
            State::Over => return,
        };
        self.state = State::Nudging { to, datagram, due, left };
    }

    /// The peer has said something of its handshake.
    pub fn hears(&mut self) {
        // What is kept holds a socket open.
        self.state = State::Over;
    }

    /// When [`take`](Self::take) is to be asked.
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Nudging { due, .. } => Some(due),
            State::Idle | State::Over => None,
        }
    }

    /// What is to be sent now.
    pub fn take(&mut self, now: Instant) -> Option<(To, Vec<u8>)> {
        let State::Nudging { to, datagram, due, left } = &mut self.state else { return None };
        if now < *due {
            return None;
        }
        let taken = (to.clone(), datagram.clone());
        *due = now + PAUSE;
        *left -= 1;
        if *left == 0 {
            self.state = State::Over;
        }
        Some(taken)
    }
}

/// The nudge that goes the way of a datagram, if that nominates a pair, by itself or through a TURN server.
pub fn after(datagram: &[u8]) -> Option<Vec<u8>> {
    attribute(stun(datagram, BINDING_REQUEST)?, USE_CANDIDATE)?;
    Some(wrapped_like(datagram))
}

/// A nudge that goes the way of that datagram.
fn wrapped_like(datagram: &[u8]) -> Vec<u8> {
    let length = (NUDGE.len() as u16).to_be_bytes();
    if datagram.first().is_some_and(|first| CHANNEL_DATA.contains(first)) {
        let (channel, _) = datagram.split_at(CHANNEL_HEADER / 2);
        return [channel, &length, &NUDGE].concat();
    }
    // Only indications carry a peer's address. It is masked with the identification of the message, which therefore
    // stays; indications are not answered.
    let Some(peer) = attribute(datagram, XOR_PEER_ADDRESS) else { return NUDGE.to_vec() };
    let peer = [&XOR_PEER_ADDRESS[..], &(peer.len() as u16).to_be_bytes(), peer].concat();
    let data = [&DATA[..], &length, &NUDGE].concat();
    let size = ((peer.len() + data.len()) as u16).to_be_bytes();
    [&datagram[..2], &size, &datagram[4..STUN_HEADER], &peer, &data].concat()
}

#[cfg(test)]
mod tests {
    use super::super::flights::{STUN_COOKIE, carried};
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn message(kind: [u8; 2], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in attributes {
            body.extend(name.to_be_bytes());
            body.extend((value.len() as u16).to_be_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let length = (body.len() as u16).to_be_bytes();
        [&kind[..], &length, &STUN_COOKIE, &[7; 12], &body].concat()
    }

    fn check() -> Vec<u8> {
        message(BINDING_REQUEST, &[(0x06, b"them:us")])
    }

    fn nomination() -> Vec<u8> {
        message(BINDING_REQUEST, &[(0x06, b"them:us"), (0x25, b""), (0x24, &[0; 4])])
    }

    #[test]
    fn a_nomination_is_followed_by_nudges_until_the_handshake_is_heard() {
        let (mut nudges, start) = (Nudges::default(), Instant::now());
        let nudge = || after(&nomination()).expect("this is one");
        nudges.nominates(start, 1, nudge());
        assert_eq!(nudges.take(start), Some((1, NUDGE.to_vec())));
        assert_eq!(nudges.take(start + 50 * MS), None);
        // The crate nominates again until it is answered; that is no reason to nudge more often.
        nudges.nominates(start + 30 * MS, 2, nudge());
        assert_eq!(nudges.due(), Some(start + PAUSE));
        assert_eq!(nudges.take(start + PAUSE), Some((2, NUDGE.to_vec())));
        nudges.hears();
        assert_eq!(nudges.due(), None);
        nudges.nominates(start + 300 * MS, 2, nudge());
        assert_eq!(nudges.take(start + 400 * MS), None, "keys are made once");
    }

    #[test]
    fn a_peer_that_does_not_care_is_left_alone_after_some_seconds() {
        let (mut nudges, mut now) = (Nudges::default(), Instant::now());
        nudges.nominates(now, 1, NUDGE.to_vec());
        let mut said = 0;
        for _ in 0..100 {
            said += u32::from(nudges.take(now).is_some());
            now += PAUSE;
            nudges.nominates(now, 1, NUDGE.to_vec());
        }
        assert_eq!(said, MOST);
    }

    #[test]
    fn a_nudge_goes_through_the_relay_when_the_nomination_did() {
        let nomination = nomination();
        let length = (nomination.len() as u16).to_be_bytes();
        let channel = [&[0x40, 1][..], &length, &nomination].concat();
        assert_eq!(after(&channel), Some([&[0x40, 1, 0, 12][..], &NUDGE].concat()));

        let peer = [0, 1, 9, 9, 8, 8, 8, 8];
        let send = message([0, 0x16], &[(0x12, &peer), (0x13, &nomination), (0x8022, b"it")]);
        let expected = message([0, 0x16], &[(0x12, &peer), (0x13, &NUDGE)]);
        assert_eq!(after(&send).as_ref(), Some(&expected));
        assert_eq!(carried(&expected), Some(&NUDGE[..]));
    }

    #[test]
    fn media_answers_and_what_is_cut_short_nominate_nothing() {
        let nomination = nomination();
        let whole = nomination.len();
        // The last attribute is the one behind USE-CANDIDATE.
        for length in 0..whole - 12 {
            assert_eq!(after(&nomination[..length]), None, "{length}");
        }
        let answer = message([1, 1], &[(0x25, b"")]);
        let media = [&[0x80, 111][..], &[0; 40]].concat();
        for datagram in [&answer[..], &media, &check(), &[0x40], &[0x40, 1, 0, 1]] {
            assert_eq!(after(datagram), None, "{datagram:?}");
        }
    }
}
