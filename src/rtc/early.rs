//! What a peer says of its handshake before ICE has chosen a pair here.
//!
//! A peer may send as soon as it has a pair that works, which is before ours knows: our answer to its check was heard there, and
//! ours is still to come or to be nominated. The crate drops what comes before that, and a peer says its first words again when it
//! misses an answer: browsers after 50 ms and then 100, others after a second (RFC 6347 section 4.2.4.1). So it is kept here, and handed to the
//! crate when ICE has chosen (media.md trap 20).
//!
//! Pure: the sockets tell what comes, and ask for it again.

use std::collections::VecDeque;

/// Datagrams that are kept; of more the oldest are dropped. A hello makes one or two.
const MOST: usize = 8;

/// What came early at one socket. `From` is whatever its receiver wants to know of it besides.
#[derive(Debug)]
pub struct Early<From> {
    state: State<From>,
}

#[derive(Debug)]
enum State<From> {
    /// ICE has not chosen.
    Keeping(VecDeque<(From, Vec<u8>)>),
    /// It has, and this is not handed over yet.
    Handing(VecDeque<(From, Vec<u8>)>),
    /// Nothing is early any more.
    Over,
}

impl<From> Default for Early<From> {
    fn default() -> Self {
        Self { state: State::Keeping(VecDeque::new()) }
    }
}

impl<From> Early<From> {
    /// A datagram of a handshake has come.
    pub fn comes(&mut self, from: From, datagram: &[u8]) {
        let State::Keeping(kept) = &mut self.state else { return };
        if kept.len() >= MOST {
            kept.pop_front();
        }
        kept.push_back((from, datagram.to_vec()));
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
        let taken = kept.pop_front();
        if taken.is_none() {
            self.state = State::Over;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_before_ice_has_chosen_is_handed_over_after_in_its_order() {
        let mut early = Early::default();
        assert!(!early.waits());
        early.comes('a', b"hello");
        early.comes('b', b"again");
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
    fn what_comes_after_is_nobodys_business_here() {
        let mut early = Early::default();
        early.chosen();
        early.comes((), b"hello");
        assert_eq!(early.take(), None);
        early.comes((), b"hello");
        assert_eq!(early.take(), None);
        assert!(!early.waits());
    }

    #[test]
    fn of_more_than_is_kept_the_newest_stay() {
        let mut early = Early::default();
        for n in 0..=MOST {
            early.comes(n, &[]);
        }
        early.chosen();
        let kept: Vec<usize> = std::iter::from_fn(|| early.take()).map(|(n, _)| n).collect();
        assert_eq!(kept, (1..=MOST).collect::<Vec<_>>());
    }
}
