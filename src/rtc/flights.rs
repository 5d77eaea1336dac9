//! The DTLS handshake's last words, said again where the crate has forgotten to.
//!
//! The crate stops its retransmission timer when any part of the peer's next flight arrives, and does not answer a
//! flight that is repeated (media.md trap 16). Both mean that the peer lacks something of ours: it repeats itself for
//! no other reason (RFC 6347 section 4.2.4), or the rest of its flight was lost and will be repeated. So what we sent
//! last is kept, and goes out again when the peer speaks and the crate says nothing to it, or when both are silent.
//! What arrives twice is dropped by the peer as a replay (RFC 6347 section 4.1.2.6).
//!
//! Pure: the sockets tell what they carry and when, and ask again when something is due.

use std::time::{Duration, Instant};

/// How long the crate may take to answer; it answers in the turn in which it reads.
const PAUSE: Duration = Duration::from_millis(25);
/// How long both may be silent. The crate's own timer, where it still runs, is set to 1 s.
const SILENCE: Duration = Duration::from_millis(1300);
/// What is sent within so long is one flight.
const FLIGHT: Duration = Duration::from_millis(100);

/// Datagrams of one flight; longer ones are not repeated. Certificates of browsers make two or three.
const LONGEST: usize = 8;
/// How often flights are repeated for one connection: in silence for longer than any link may take to connect.
const MOST: u32 = 20;

/// DTLS content types (RFC 5246 section 6.2.1, RFC 6347 section 4.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
/// First byte of the version of DTLS 1.0 and 1.2.
const DTLS: u8 = 254;
/// Of a DTLS record's header.
const RECORD_HEADER: usize = 13;

/// First bytes of ChannelData (RFC 8656 section 12.4), and the length of its header.
pub(super) const CHANNEL_DATA: std::ops::RangeInclusive<u8> = 0x40..=0x4f;
pub(super) const CHANNEL_HEADER: usize = 4;
/// STUN (RFC 8489 section 5), the indications of TURN that carry data, and the attribute they carry it in (RFC 8656
/// sections 17 and 18).
pub(super) const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
pub(super) const STUN_HEADER: usize = 20;
const INDICATIONS: [[u8; 2]; 2] = [[0x00, 0x16], [0x00, 0x17]];
const DATA: [u8; 2] = [0x00, 0x13];

/// The handshake of one connection. `To` is where a datagram goes.
#[derive(Debug)]
pub struct Flights<To> {
    /// Our last flight, and when the last of it went out.
    sent: Vec<(To, Vec<u8>)>,
    sent_at: Option<Instant>,
    /// The peer has spoken since.
    heard: bool,
    /// When it is to be said again.
    due: Option<Instant>,
    /// Whether either side has said its *Finished*, the only part that is encrypted.
    we_finished: bool,
    they_finished: bool,
    repeated: u32,
}

impl<To> Default for Flights<To> {
    fn default() -> Self {
        Self {
            sent: Vec::new(),
            sent_at: None,
            heard: false,
            due: None,
            we_finished: false,
            they_finished: false,
            repeated: 0,
        }
    }
}

impl<To: Clone> Flights<To> {
    /// We send a datagram of a handshake.
    pub fn sends(&mut self, now: Instant, to: To, (datagram, part): (&[u8], Part)) {
        let old = self.sent_at.is_none_or(|at| now.saturating_duration_since(at) > FLIGHT);
        if self.heard || old {
            self.sent.clear();
        }
        if self.sent.len() < LONGEST {
            self.sent.push((to, datagram.to_vec()));
        }
        self.we_finished |= part == Part::Encrypted;
        (self.sent_at, self.heard) = (Some(now), false);
        self.wait(now, SILENCE);
    }

    /// A datagram of a handshake has come.
    pub fn hears(&mut self, now: Instant, part: Part) {
        self.they_finished |= part == Part::Encrypted;
        self.heard = true;
        if !self.sent.is_empty() {
            self.wait(now, PAUSE);
        }
    }

    /// When [`repeat`](Self::repeat) is to be asked.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What to send again now: all of our last flight.
    pub fn repeat(&mut self, now: Instant) -> Vec<(To, Vec<u8>)> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        let again = self.sent.clone();
        self.repeated += 1;
        self.wait(now, SILENCE);
        again
    }

    /// A peer that lacks our *Finished* after it has said its own is answered by the crate itself.
    fn wait(&mut self, now: Instant, time: Duration) {
        let over = self.we_finished && self.they_finished || self.repeated >= MOST;
        self.due = (!over).then(|| now + time);
        if over {
            // What is kept holds sockets open.
            self.sent.clear();
        }
    }
}

/// Which part of a handshake a datagram carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What all can read.
    Plain,
    /// *Finished*.
    Encrypted,
}

/// What a datagram carries of a handshake, by itself or through a TURN server.
pub fn part(datagram: &[u8]) -> Option<Part> {
    let mut rest = carried(datagram)?;
    let mut part = None;
    // A datagram may carry several records.
    while let [HANDSHAKE | CHANGE_CIPHER_SPEC, DTLS, _, epoch @ ..] = rest
        && rest.len() >= RECORD_HEADER
    {
        if rest[0] == HANDSHAKE && !epoch.starts_with(&[0, 0]) {
            return Some(Part::Encrypted);
        }
        part = Some(Part::Plain);
        let length = usize::from(u16::from_be_bytes([rest[11], rest[12]]));
        rest = rest.get(RECORD_HEADER + length..).unwrap_or_default();
    }
    part
}

/// What goes to the peer or came from it: the datagram, or what it carries through a TURN server.
pub(super) fn carried(datagram: &[u8]) -> Option<&[u8]> {
    match datagram {
        [first, ..] if CHANNEL_DATA.contains(first) => datagram.get(CHANNEL_HEADER..),
        [a, b, _, _, cookie @ ..]
            if INDICATIONS.contains(&[*a, *b]) && cookie.starts_with(&STUN_COOKIE) =>
        {
            attribute(datagram, DATA)
        }
        _ => Some(datagram),
    }
}

/// The STUN message of this type (RFC 8489 section 5) that goes to the peer, if it is one.
pub(super) fn stun(datagram: &[u8], kind: [u8; 2]) -> Option<&[u8]> {
    carried(datagram)
        .filter(|message| message.starts_with(&kind) && message.get(4..8) == Some(&STUN_COOKIE))
}

/// The value of a STUN message's first attribute of that type (RFC 8489 section 14).
pub(super) fn attribute(message: &[u8], name: [u8; 2]) -> Option<&[u8]> {
    let mut rest = message.get(STUN_HEADER..)?;
    while let [a, b, c, d, value @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        if [*a, *b] == name {
            return value.get(..length);
        }
        rest = value.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const HELLO: [u8; 20] = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7];
    const FINISHED: [u8; 16] = [22, 254, 253, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3];

    /// A handshake and its time.
    struct Talk {
        flights: Flights<u8>,
        now: Instant,
    }

    impl Talk {
        fn new() -> Self {
            Self { flights: Flights::default(), now: Instant::now() }
        }

        fn sends(&mut self, to: u8, part: Part) {
            self.flights.sends(self.now, to, (&HELLO, part));
        }

        fn hears(&mut self, part: Part) {
            self.flights.hears(self.now, part);
        }

        fn repeated_after(&mut self, time: Duration) -> Vec<u8> {
            self.now += time;
            self.flights.repeat(self.now).into_iter().map(|(to, _)| to).collect()
        }
    }

    #[test]
    fn a_flight_is_said_again_when_the_peer_speaks_and_gets_no_answer() {
        let mut talk = Talk::new();
        talk.hears(Part::Plain);
        assert_eq!(talk.flights.due(), None, "there is nothing to say again");
        talk.sends(1, Part::Plain);
        talk.sends(2, Part::Plain);
        for _ in 0..2 {
            talk.hears(Part::Plain);
            assert_eq!(talk.repeated_after(10 * MS), [0; 0], "the crate may still answer");
            assert_eq!(talk.repeated_after(20 * MS), [1, 2]);
        }
    }

    #[test]
    fn an_answer_of_the_crate_is_the_next_flight_and_nothing_is_repeated() {
        let mut talk = Talk::new();
        talk.sends(1, Part::Plain);
        talk.now += 50 * MS;
        talk.hears(Part::Plain);
        talk.sends(3, Part::Plain);
        assert_eq!(talk.repeated_after(30 * MS), [0; 0]);
        talk.hears(Part::Plain);
        assert_eq!(talk.repeated_after(30 * MS), [3]);
    }

    #[test]
    fn two_who_are_silent_begin_again_and_a_repetition_of_the_crate_is_no_longer_flight() {
        let mut talk = Talk::new();
        talk.sends(1, Part::Plain);
        talk.sends(2, Part::Plain);
        talk.now += 1000 * MS;
        talk.sends(1, Part::Plain);
        talk.sends(2, Part::Plain);
        assert_eq!(talk.repeated_after(1200 * MS), [0; 0]);
        assert_eq!(talk.repeated_after(200 * MS), [1, 2]);
        assert_eq!(talk.repeated_after(1400 * MS), [1, 2]);
    }

    #[test]
    fn a_handshake_that_is_over_is_left_alone() {
        let mut talk = Talk::new();
        talk.sends(1, Part::Encrypted);
        talk.hears(Part::Plain);
        assert!(talk.flights.due().is_some());
        talk.hears(Part::Encrypted);
        assert_eq!(talk.flights.due(), None);
        talk.sends(1, Part::Encrypted);
        assert_eq!(talk.repeated_after(60_000 * MS), [0; 0]);
    }

    #[test]
    fn a_peer_that_never_stops_is_answered_a_few_times_only() {
        let mut talk = Talk::new();
        for number in 0..100 {
            talk.sends(number, Part::Plain);
        }
        let mut said = 0;
        for _ in 0..100 {
            talk.hears(Part::Plain);
            let again = talk.repeated_after(30 * MS);
            assert!(again.len() <= LONGEST);
            said += u32::from(!again.is_empty());
        }
        assert_eq!(said, MOST);
    }

    #[test]
    fn a_handshake_is_known_also_on_its_way_through_a_relay() {
        let change = [&[20, 254, 253][..], &[0; 8], &[0, 1, 1]].concat();
        let last = [&change[..], &FINISHED].concat();
        let flights = [
            (&HELLO[..], Part::Plain),
            (&change, Part::Plain),
            (&FINISHED, Part::Encrypted),
            (&last, Part::Encrypted),
        ];
        for (record, expected) in flights {
            let length = record.len() as u8;
            assert_eq!(part(record), Some(expected));
            let channel = [&[0x40, 1, 0, length][..], record].concat();
            assert_eq!(part(&channel), Some(expected));
            for kind in INDICATIONS {
                let peer = [&[0, 0x12, 0, 8][..], &[0; 8]].concat();
                let padding = [0; 3];
                let data = [&[0, 0x13, 0, length][..], record, &padding].concat();
                let message = [&kind[..], &[0, 99], &STUN_COOKIE, &[7; 12], &peer, &data].concat();
                assert_eq!(part(&message), Some(expected));
            }
        }
    }

    #[test]
    fn media_and_what_is_cut_short_is_no_handshake() {
        let alert = [&[21, 254, 253][..], &[0; 12]].concat();
        let sound = [&[0x80, 111][..], &[0; 40]].concat();
        let through = [&[0x40, 1, 0, 42][..], &sound].concat();
        let others: [&[u8]; 8] =
            [&alert, &sound, &through, &HELLO[..12], &[], &[22], &[0x40], &[0x40, 1, 0, 1]];
        for datagram in others {
            assert_eq!(part(datagram), None, "{datagram:?}");
        }
        let attributes = [&[0, 0x13, 0, 200][..], &HELLO].concat();
        for length in 0..attributes.len() {
            let data = &attributes[..length];
            let message = [&[0, 0x17, 0, 24][..], &STUN_COOKIE, &[7; 12], data].concat();
            assert_eq!(part(&message), None);
        }
    }
}
