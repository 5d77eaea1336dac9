//! The DTLS handshake's last words, said again where the crate has forgotten to.
//!
//! The crate stops its retransmission timer when any part of the peer's next flight arrives, and does not answer a
//! flight that is repeated (media.md trap 16). Both mean that the peer lacks something of ours: it repeats itself for
//! no other reason (RFC 6347 section 4.2.4), or the rest of its flight was lost and will be repeated. So what we sent
//! last is kept, and goes out again when the peer speaks and the crate says nothing to it. What arrives twice is
//! dropped by the peer as a replay (RFC 6347 section 4.1.2.6).
//!
//! Pure: the sockets tell what they carry, and ask again after [`PAUSE`].

use std::time::Duration;

/// How long the crate may take to answer; it answers in the turn in which it reads.
pub const PAUSE: Duration = Duration::from_millis(25);

/// Datagrams of one flight; longer ones are not repeated. Certificates of browsers make two or three.
const LONGEST: usize = 8;
/// How often flights are repeated for one connection. The peer's own timer doubles, so these are enough for minutes.
const MOST: u32 = 20;

/// DTLS content types (RFC 5246 section 6.2.1, RFC 6347 section 4.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
/// First byte of the version of DTLS 1.0 and 1.2.
const DTLS: u8 = 254;
/// Of a DTLS record's header.
const RECORD_HEADER: usize = 13;

/// First bytes of ChannelData (RFC 8656 section 12.4), and the length of its header.
const CHANNEL_DATA: std::ops::RangeInclusive<u8> = 0x40..=0x4f;
const CHANNEL_HEADER: usize = 4;
/// STUN (RFC 8489 section 5), the indications of TURN that carry data, and the attribute they carry it in (RFC 8656
/// sections 17 and 18).
const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const STUN_HEADER: usize = 20;
const INDICATIONS: [[u8; 2]; 2] = [[0x00, 0x16], [0x00, 0x17]];
const DATA: [u8; 2] = [0x00, 0x13];

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// We have spoken last.
    Peer,
    /// The peer has, and the crate may still answer.
    Ours,
}

/// The handshake of one connection. `To` is where a datagram goes.
#[derive(Debug)]
pub struct Flights<To> {
    sent: Vec<(To, Vec<u8>)>,
    turn: Turn,
    repeated: u32,
}

impl<To> Default for Flights<To> {
    fn default() -> Self {
        Self { sent: Vec::new(), turn: Turn::Ours, repeated: 0 }
    }
}

impl<To: Clone> Flights<To> {
    /// We send a datagram of a handshake.
    pub fn sends(&mut self, to: To, datagram: &[u8]) {
        if self.turn == Turn::Ours {
            self.sent.clear();
            self.turn = Turn::Peer;
        }
        if self.sent.len() < LONGEST {
            self.sent.push((to, datagram.to_vec()));
        }
    }

    /// A datagram of a handshake has come. Whether [`repeat`](Self::repeat) is to be asked after [`PAUSE`].
    pub fn hears(&mut self) -> bool {
        let first = self.turn == Turn::Peer;
        self.turn = Turn::Ours;
        first && self.repeated < MOST
    }

    /// What to send again: all of our last flight, if nothing was sent since the peer spoke.
    pub fn repeat(&mut self) -> Vec<(To, Vec<u8>)> {
        if self.turn == Turn::Peer {
            return Vec::new();
        }
        // The next word of the peer asks anew.
        self.turn = Turn::Peer;
        self.repeated += 1;
        self.sent.clone()
    }
}

/// Whether a datagram carries a handshake, by itself or through a TURN server.
pub fn is_handshake(datagram: &[u8]) -> bool {
    let record = match datagram {
        [first, ..] if CHANNEL_DATA.contains(first) => datagram.get(CHANNEL_HEADER..),
        [a, b, _, _, cookie @ ..]
            if INDICATIONS.contains(&[*a, *b]) && cookie.starts_with(&STUN_COOKIE) =>
        {
            data_of(datagram)
        }
        _ => Some(datagram),
    };
    record.is_some_and(|record| {
        matches!(record, [HANDSHAKE | CHANGE_CIPHER_SPEC, DTLS, ..])
            && record.len() >= RECORD_HEADER
    })
}

/// What an indication carries.
fn data_of(message: &[u8]) -> Option<&[u8]> {
    let mut rest = message.get(STUN_HEADER..)?;
    while let [a, b, c, d, value @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        if [*a, *b] == DATA {
            return value.get(..length);
        }
        rest = value.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: [u8; 20] = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7];

    fn repeated(flights: &mut Flights<u8>) -> Vec<u8> {
        flights.repeat().into_iter().map(|(to, _)| to).collect()
    }

    #[test]
    fn a_flight_is_said_again_when_the_peer_speaks_and_gets_no_answer() {
        let mut flights = Flights::default();
        assert!(!flights.hears(), "there is nothing to say again");
        flights.sends(1, &HELLO);
        flights.sends(2, &HELLO);
        assert!(flights.hears());
        assert!(!flights.hears(), "one question at a time");
        assert_eq!(repeated(&mut flights), [1, 2]);
        assert!(flights.hears(), "the peer speaks again");
        assert_eq!(repeated(&mut flights), [1, 2]);
    }

    #[test]
    fn an_answer_of_the_crate_is_the_next_flight_and_nothing_is_repeated() {
        let mut flights = Flights::default();
        flights.sends(1, &HELLO);
        assert!(flights.hears());
        flights.sends(3, &HELLO);
        assert_eq!(repeated(&mut flights), [0; 0]);
        assert!(flights.hears());
        assert_eq!(repeated(&mut flights), [3]);
    }

    #[test]
    fn a_peer_that_never_stops_is_answered_a_few_times_only() {
        let mut flights = Flights::default();
        for number in 0..100 {
            flights.sends(number, &HELLO);
        }
        let mut said = 0;
        for _ in 0..100 {
            if flights.hears() {
                assert!(repeated(&mut flights).len() <= LONGEST);
                said += 1;
            }
        }
        assert_eq!(said, MOST);
    }

    #[test]
    fn a_handshake_is_known_also_on_its_way_through_a_relay() {
        assert!(is_handshake(&HELLO));
        let finished = [&[20, 254, 253][..], &[0; 11]].concat();
        assert!(is_handshake(&finished));
        let channel = [&[0x40, 1, 0, 20][..], &HELLO].concat();
        assert!(is_handshake(&channel));
        for kind in INDICATIONS {
            let attributes = [&[0, 0x12, 0, 8][..], &[0; 8], &[0, 0x13, 0, 20], &HELLO].concat();
            let message = [&kind[..], &[0, 36], &STUN_COOKIE, &[7; 12], &attributes].concat();
            assert!(is_handshake(&message));
        }
    }

    #[test]
    fn media_and_what_is_cut_short_is_no_handshake() {
        let alert = [&[21, 254, 253][..], &[0; 12]].concat();
        let sound = [&[0x80, 111][..], &[0; 40]].concat();
        let through = [&[0x40, 1, 0, 42][..], &sound].concat();
        for datagram in
            [&alert[..], &sound, &through, &HELLO[..12], &[], &[22], &[0x40], &[0x40, 1, 0, 1]]
        {
            assert!(!is_handshake(datagram), "{datagram:?}");
        }
        let attributes = [&[0, 0x13, 0, 200][..], &HELLO].concat();
        for length in 0..attributes.len() {
            let message =
                [&[0, 0x17, 0, 24][..], &STUN_COOKIE, &[7; 12], &attributes[..length]].concat();
            assert!(!is_handshake(&message));
        }
    }
}
