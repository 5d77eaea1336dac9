//! TURN messages on a byte stream and as datagrams (RFC 8656 sections 2.1 and 12.5).
//!
//! Pure. Over UDP a datagram is one message. On a stream messages follow each other: a STUN message
//! says its own length, and ChannelData is filled up to a multiple of four bytes. Nothing here checks
//! a password or an address; that is the client's and the server's business.

use bytes::{Buf, Bytes, BytesMut};

/// Before the attributes of a STUN message (RFC 8489 section 5).
const STUN_HEADER: usize = 20;
/// Before the data of ChannelData.
const CHANNEL_HEADER: usize = 4;
/// In every STUN message since RFC 5389.
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const ALLOCATE_REQUEST: u16 = 0x0003;
const ALLOCATE_ERROR: u16 = 0x0113;
const REFRESH_REQUEST: u16 = 0x0004;
const LIFETIME: u16 = 0x000D;
const ERROR_CODE: u16 = 0x0009;

/// The stream holds something else than TURN: it cannot be read on from here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server sends something else than TURN")]
pub struct NotTurn;

/// Cuts a stream into messages.
#[derive(Debug, Default)]
pub struct Splitter {
    bytes: BytesMut,
}

impl Splitter {
    /// Takes what was read. The memory it holds is bounded by one message and one read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, ChannelData without its filling.
    ///
    /// # Errors
    ///
    /// [`NotTurn`] when the stream is out of step.
    pub fn next(&mut self) -> Result<Option<Bytes>, NotTurn> {
        let Some((length, filled)) = lengths(&self.bytes)? else { return Ok(None) };
        if self.bytes.len() < filled {
            return Ok(None);
        }
        let mut message = self.bytes.split_to(filled);
        message.truncate(length);
        Ok(Some(message.freeze()))
    }
}

/// Length of the message that begins here, without and with its filling; `None`: too few bytes to say.
fn lengths(bytes: &[u8]) -> Result<Option<(usize, usize)>, NotTurn> {
    let Some(first) = bytes.first() else { return Ok(None) };
    let Some(length) = bytes.get(2..4) else {
        return if *first < 0x80 { Ok(None) } else { Err(NotTurn) };
    };
    let body = usize::from(u16::from_be_bytes([length[0], length[1]]));
    match first >> 6 {
        0b00 => {
            let cookie = &bytes[4..bytes.len().min(8)];
            if body % 4 != 0 || !MAGIC_COOKIE.starts_with(cookie) {
                return Err(NotTurn);
            }
            Ok(Some((STUN_HEADER + body, STUN_HEADER + body)))
        }
        0b01 => {
            let length = CHANNEL_HEADER + body;
            Ok(Some((length, length.next_multiple_of(4))))
        }
        _ => Err(NotTurn),
    }
}

/// Writes one datagram of the client on the stream. `false`: it is no TURN message and is left out.
pub fn append(datagram: &[u8], stream: &mut BytesMut) -> bool {
    let Ok(Some((length, filled))) = lengths(datagram) else { return false };
    // A client may fill ChannelData up over UDP too (RFC 8656 section 12.5).
    let fits = datagram.len() == length || datagram.len() == filled;
    if !fits || datagram.len() < CHANNEL_HEADER {
        return false;
    }
    stream.extend_from_slice(&datagram[..length]);
    stream.resize(stream.len() + filled - length, 0);
    true
}

/// The transaction of a STUN request, by which a repetition of it is known (RFC 8489 section 6.3.1).
pub fn request(datagram: &[u8]) -> Option<[u8; 12]> {
    let kind = stun_type(datagram)?;
    // The two class bits (RFC 8489 section 5): both clear in a request.
    if kind & 0x0110 != 0 {
        return None;
    }
    datagram.get(8..STUN_HEADER)?.try_into().ok()
}

/// Whether a client begins with this datagram: it asks for an allocation.
pub fn asks_for_allocation(datagram: &[u8]) -> bool {
    stun_type(datagram) == Some(ALLOCATE_REQUEST)
}

/// Whether the client gives its allocation back with this datagram (RFC 8656 section 8: lifetime 0).
pub fn releases(datagram: &[u8]) -> bool {
    stun_type(datagram) == Some(REFRESH_REQUEST)
        && attribute(datagram, LIFETIME).is_some_and(|lifetime| lifetime == [0; 4])
}

/// The error with which the server refuses an allocation for good; a first refusal only asks for
/// the password, another says that its nonce is too old (RFC 8489 section 9.2.4).
pub fn refusal(datagram: &[u8]) -> Option<u16> {
    if stun_type(datagram) != Some(ALLOCATE_ERROR) {
        return None;
    }
    let value = attribute(datagram, ERROR_CODE)?;
    let (class, number) = (value.get(2)? & 0x07, value.get(3)?);
    Some(u16::from(class) * 100 + u16::from(*number))
}

fn stun_type(datagram: &[u8]) -> Option<u16> {
    let header = datagram.get(..STUN_HEADER)?;
    let stun = header[0] < 0x40 && header[4..8] == MAGIC_COOKIE;
    stun.then(|| u16::from_be_bytes([header[0], header[1]]))
}

fn attribute(datagram: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = datagram.get(STUN_HEADER..)?;
    while rest.len() >= 4 {
        let kind = u16::from_be_bytes([rest[0], rest[1]]);
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        rest.advance(4);
        if kind == wanted {
            return rest.get(..length);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stun(kind: u16, attributes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(attributes.len()).expect("short");
        let mut message = kind.to_be_bytes().to_vec();
        message.extend(length.to_be_bytes());
        message.extend(MAGIC_COOKIE);
        message.extend([7; 12]);
        message.extend(attributes);
        message
    }

    fn channel_data(data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len()).expect("short");
        let mut message = vec![0x40, 0x01];
        message.extend(length.to_be_bytes());
        message.extend(data);
        message
    }

    fn drain(splitter: &mut Splitter) -> Vec<Bytes> {
        let mut messages = Vec::new();
        while let Some(message) = splitter.next().expect("TURN") {
            messages.push(message);
        }
        messages
    }

    #[test]
    fn messages_come_out_whole_however_the_stream_is_cut() {
        let messages: Vec<Vec<u8>> = vec![
            stun(0x0103, &[0; 8]),
            channel_data(b""),
            channel_data(b"a"),
            channel_data(b"abcd"),
            stun(0x0001, &[]),
            channel_data(&[9; 1201]),
        ];
        let mut stream = BytesMut::new();
        for message in &messages {
            assert!(append(message, &mut stream));
        }
        assert_eq!(stream.len() % 4, 0);
        for size in [1, 2, 3, 5, 19, 21, stream.len()] {
            let mut splitter = Splitter::default();
            let mut out = Vec::new();
            for piece in stream.chunks(size) {
                splitter.push(piece);
                out.extend(drain(&mut splitter));
            }
            assert_eq!(out, messages, "in pieces of {size}");
        }
    }

    #[test]
    fn channel_data_is_filled_up_with_zeros_on_the_stream_only() {
        let mut stream = BytesMut::new();
        assert!(append(&channel_data(b"abcde"), &mut stream));
        assert_eq!(&stream[..], [0x40, 1, 0, 5, b'a', b'b', b'c', b'd', b'e', 0, 0, 0]);
        let mut filled = channel_data(b"abcde");
        filled.extend([1, 2, 3]);
        let mut again = BytesMut::new();
        assert!(append(&filled, &mut again));
        assert_eq!(again, stream);
    }

    #[test]
    fn the_largest_message_passes() {
        let mut stream = BytesMut::new();
        assert!(append(&channel_data(&vec![5; 65_535]), &mut stream));
        let mut splitter = Splitter::default();
        splitter.push(&stream);
        assert_eq!(drain(&mut splitter)[0].len(), 65_539);
    }

    #[test]
    fn what_is_not_turn_stops_the_stream() {
        for garbage in [&b"HTTP/1.1 400 Bad Request\r\n"[..], &[0x80], &[0xFF; 40]] {
            let mut splitter = Splitter::default();
            splitter.push(garbage);
            // The H of HTTP reads as ChannelData of 21584 bytes: more must come before it shows.
            let first = splitter.next();
            assert!(first.is_err() || garbage[0] == b'H', "{garbage:?}");
        }
        let mut odd = stun(0x0001, &[0; 4]);
        odd[3] = 3;
        let mut cookieless = stun(0x0001, &[]);
        cookieless[5] = 0;
        for message in [odd, cookieless] {
            let mut splitter = Splitter::default();
            splitter.push(&message);
            assert_eq!(splitter.next(), Err(NotTurn));
        }
    }

    #[test]
    fn datagrams_that_are_no_turn_message_are_left_out() {
        let mut stream = BytesMut::new();
        let mut short = stun(0x0001, &[0; 8]);
        short.pop();
        let mut long = channel_data(b"abcd");
        long.push(0);
        for datagram in [&[][..], &[0x40], &[0x16, 0xFE, 0xFD, 0, 0, 0, 0], &short, &long] {
            assert!(!append(datagram, &mut stream), "{datagram:?}");
        }
        assert!(stream.is_empty());
    }

    #[test]
    fn the_life_of_an_allocation_is_read_from_its_messages() {
        let ask = stun(ALLOCATE_REQUEST, &[0, 0x19, 0, 4, 17, 0, 0, 0]);
        assert!(asks_for_allocation(&ask) && !releases(&ask));
        assert_eq!(request(&ask), Some([7; 12]));
        let refresh = stun(REFRESH_REQUEST, &[0, 0x0D, 0, 4, 0, 0, 2, 0x58]);
        assert!(!releases(&refresh));
        let release =
            stun(REFRESH_REQUEST, &[0, 6, 0, 1, b'u', 0, 0, 0, 0, 0x0D, 0, 4, 0, 0, 0, 0]);
        assert!(releases(&release));
        let refused = stun(ALLOCATE_ERROR, &[0, 9, 0, 4, 0, 0, 4, 86]);
        assert_eq!((refusal(&refused), request(&refused)), (Some(486), None));
        assert_eq!(refusal(&ask), None);
        assert_eq!(refusal(&stun(ALLOCATE_ERROR, &[0, 9, 0, 200, 0, 0, 4, 86])), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_stumble(pieces: Vec<Vec<u8>>) {
            let mut splitter = Splitter::default();
            let mut stream = BytesMut::new();
            for piece in pieces {
                splitter.push(&piece);
                while let Ok(Some(message)) = splitter.next() {
                    assert!(append(&message, &mut stream), "what comes out can go in");
                }
                let _ = (request(&piece), releases(&piece), refusal(&piece));
                append(&piece, &mut stream);
            }
        }

        #[test]
        fn attributes_of_any_shape_are_survived(kind: u16, attributes: Vec<u8>) {
            let message = stun(kind, &attributes);
            let _ = (request(&message), releases(&message), refusal(&message));
        }
    }
}
