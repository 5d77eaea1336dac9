//! What a peer says of its handshake before ICE has chosen a pair here.
//!
//! A peer may send as soon as it has a pair that works, which is before ours knows: our answer to its check was heard there, and
//! ours is still to come or to be nominated. The crate drops what comes before that, and a peer says its first words again when it
//! misses an answer: browsers after 50 ms and then 100, others after a second (RFC 6347 section 4.2.4.1). So it is kept here, and handed to the
//! crate when ICE has chosen (media.md trap 20).
//!
//! Anybody may send a hello, and a second handshake beside the peer's would spoil that. So only what comes from where we
//! answered a check is handed over: only who has our description's password gets an answer (RFC 8445 section 7.3).
//!
//! Pure: the sockets tell what comes and goes, and ask for it again.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::flights;

/// Datagrams that are kept; of more the oldest are dropped. A hello makes one or two.
const MOST: usize = 8;
/// Addresses that checks were answered to; of more the oldest are forgotten. A peer has some five.
const ADDRESSES: usize = 32;

/// The answer to a check (RFC 8489 section 5).
const BINDING_SUCCESS: [u8; 2] = [1, 1];

/// What came early at one socket. `From` is whatever its receiver wants to know of it besides.
#[derive(Debug)]
pub struct Early<From> {
    state: State<From>,
    answered: VecDeque<SocketAddr>,
}

/// A datagram and who sent it, or the TURN server it came through.
type Kept<From> = (SocketAddr, From, Vec<u8>);

#[derive(Debug)]
enum State<From> {
    /// ICE has not chosen.
    Keeping(VecDeque<Kept<From>>),
    /// It has, and this is not handed over yet.
    Handing(VecDeque<Kept<From>>),
    /// Nothing is early any more.
    Over,
}

impl<From> Default for Early<From> {
    fn default() -> Self {
        Self { state: State::Keeping(VecDeque::new()), answered: VecDeque::new() }
    }
}

impl<From> Early<From> {
    /// A datagram of a handshake has come.
    pub fn comes(&mut self, sender: SocketAddr, from: From, datagram: &[u8]) {
        let State::Keeping(kept) = &mut self.state else { return };
        if kept.len() >= MOST {
            kept.pop_front();
        }
        kept.push_back((sender, from, datagram.to_vec()));
    }

    /// Something was sent there.
    pub fn goes(&mut self, receiver: SocketAddr, datagram: &[u8]) {
        let is_answer = flights::stun(datagram, BINDING_SUCCESS).is_some();
        if !matches!(self.state, State::Keeping(_)) || !is_answer {
            return;
        }
        if !self.answered.contains(&receiver) {
            if self.answered.len() >= ADDRESSES {
                self.answered.pop_front();
            }
            self.answered.push_back(receiver);
        }
    }

    /// Whether something is kept until ICE has chosen.
    pub fn waits(&self) -> bool {
        matches!(&self.state, State::Keeping(kept) if !kept.is_empty())
    }

    /// ICE has chosen.
    pub fn chosen(&mut self) {
        if let State::Keeping(kept) = &mut self.state {
            self.state = State::Handing(std::mem::take(kept));
        }
    }

    /// The next that the crate is to be handed, once ICE has chosen.
    pub fn take(&mut self) -> Option<(From, Vec<u8>)> {
        let State::Handing(kept) = &mut self.state else { return None };
        while let Some((sender, from, datagram)) = kept.pop_front() {
            if self.answered.contains(&sender) {
                return Some((from, datagram));
            }
        }
        self.state = State::Over;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of an answer to a check; nobody reads more of it.
    const ANSWER: [u8; 20] =
        [1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    /// A peer that has been answered at port 1.
    fn met<From>() -> Early<From> {
        let mut early = Early::default();
        early.goes(at(1), &ANSWER);
        early
    }

    #[test]
    fn what_comes_before_ice_has_chosen_is_handed_over_after_in_its_order() {
        let mut early = met();
        assert!(!early.waits());
        early.comes(at(1), 'a', b"hello");
        early.comes(at(1), 'b', b"again");
        assert!(early.waits());
        assert_eq!(early.take(), None, "nobody would listen");
        early.chosen();
        early.chosen();
        assert!(!early.waits());
        assert_eq!(early.take(), Some(('a', b"hello".to_vec())));
        assert_eq!(early.take(), Some(('b', b"again".to_vec())));
        assert_eq!(early.take(), None);
    }

    #[test]
    fn what_comes_from_where_no_check_was_answered_to_is_nobodys_hello() {
        let mut early = met();
        early.comes(at(2), "a stranger", b"hello");
        early.comes(at(1), "the peer", b"hello");
        early.comes(at(3), "whom we asked", b"hello");
        // A question is no answer, and neither is what only begins like one.
        early.goes(at(3), &[&[0, 1], &ANSWER[2..]].concat());
        early.goes(at(2), &ANSWER[..6]);
        early.goes(at(2), b"\x01\x01 media");
        early.chosen();
        early.goes(at(2), &ANSWER);
        assert_eq!(early.take(), Some(("the peer", b"hello".to_vec())));
        assert_eq!(early.take(), None);
    }

    #[test]
    fn through_a_turn_server_the_answer_goes_as_its_data() {
        let mut early = Early::default();
        early.goes(at(1), &[&[0x40, 0, 0, 20], &ANSWER[..]].concat());
        early.comes(at(1), (), b"hello");
        early.chosen();
        assert_eq!(early.take(), Some(((), b"hello".to_vec())));
    }

    #[test]
    fn what_comes_after_is_nobodys_business_here() {
        let mut early = met();
        early.chosen();
        early.comes(at(1), (), b"hello");
        assert_eq!(early.take(), None);
        early.comes(at(1), (), b"hello");
        assert_eq!(early.take(), None);
        assert!(!early.waits());
    }

    #[test]
    fn of_more_than_is_kept_the_newest_stay() {
        let mut early = met();
        for n in 0..=MOST {
            early.comes(at(1), n, &[]);
        }
        for port in 2..=ADDRESSES as u16 {
            early.goes(at(port), &ANSWER);
        }
        assert_eq!(early.answered.len(), ADDRESSES);
        early.chosen();
        let kept: Vec<usize> = std::iter::from_fn(|| early.take()).map(|(n, _)| n).collect();
        assert_eq!(kept, (1..=MOST).collect::<Vec<_>>());
        let mut many = met::<()>();
        for port in 2..100 {
            many.goes(at(port), &ANSWER);
        }
        assert_eq!(many.answered.len(), ADDRESSES);
        assert!(!many.answered.contains(&at(1)) && many.answered.contains(&at(99)));
    }
}
