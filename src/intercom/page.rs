//! The words of the door protocol (docs/door-protocol.md): what pages tell the door and the door tells pages.
//!
//! Plain values only; how they are written as JSON is the signalling's business.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{CallId, Cause, PeerKey};

/// What the door and a page tell each other beside WebRTC (docs/door-protocol.md).
/// Pages that speak none of it, such as the tutorial's, still make a normal call.
/// A message that names a call means that one only; without a name it means the present one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageMessage {
    /// Which page this is, whatever peer id it has at present, and how its person wants to be called.
    Hello(PageId, Option<Name>),
    /// The page rings: somebody can see or hear it.
    Ringing(CallId),
    /// The person takes the call.
    Answer(Option<CallId>),
    /// The person ends or declines the call.
    Hangup(Option<CallId>),
    /// The person takes the call over from whoever has it.
    Take(CallId),
    /// The person talks beside whoever has the call.
    Join(CallId),
    /// Something for the visitor to read.
    Text(CallId, Note),
    /// The first picture of the call was shown so long after the page heard of the call.
    Seen(CallId, Duration),
    /// The person wants something that needs a proof of who it is.
    Ask(CallId, Purpose),
    /// The proof.
    Proof(Proof),
    /// The browser wants to be woken there from now on; a proof follows.
    Wake(CallId, PushAddress),
    /// The person wants to look through the camera although nobody rang.
    Look,
    /// It speaks of a call of its own: it is no page but another door.
    OtherDoor,
}

/// Where a browser can be woken, and how to write so that it alone can read (RFC 8030, RFC 8291).
#[derive(Clone, PartialEq, Eq)]
pub struct PushAddress {
    endpoint: Arc<str>,
    key: [u8; 65],
    auth: [u8; 16],
}

impl PushAddress {
    /// Longest address of a push service taken, in bytes.
    pub const LONGEST: usize = 1024;

    /// An address, if it can be one: `https:`, and a key that is an uncompressed point.
    pub fn new(endpoint: &str, key: [u8; 65], auth: [u8; 16]) -> Option<Self> {
        let fits = endpoint.len() <= Self::LONGEST
            && endpoint.strip_prefix("https://").is_some_and(|rest| rest.len() > 3)
            && endpoint.bytes().all(|byte| byte.is_ascii_graphic());
        (fits && key[0] == 4).then(|| Self { endpoint: Arc::from(endpoint), key, auth })
    }

    /// The same of texts, key and secret in base64url without padding, as browsers give them.
    pub fn read(endpoint: &str, key: &str, auth: &str) -> Option<Self> {
        Self::new(endpoint, decode(key)?, decode(auth)?)
    }

    /// The push service's address of the browser. Whoever has it and the door's key can wake the phone.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The browser's public key, an uncompressed point of P-256.
    pub fn key(&self) -> &[u8; 65] {
        &self.key
    }

    /// The secret that both share.
    pub fn auth(&self) -> &[u8; 16] {
        &self.auth
    }
}

impl fmt::Debug for PushAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushAddress(...)")
    }
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Longer ones are no key, and are not worth decoding.
    let text = text.trim_end_matches('=');
    (text.len() <= 2 * N).then(|| URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok())?
}

/// What a person has to prove a right for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// To open the door.
    Open,
    /// To read who was there.
    Log,
    /// To look through the camera although nobody rang.
    Look,
    /// To be woken when it rings.
    Wake,
}

impl Purpose {
    /// The name used in the door protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Log => "log",
            Self::Look => "look",
            Self::Wake => "wake",
        }
    }

    /// The purpose of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Open, Self::Log, Self::Look, Self::Wake]
            .into_iter()
            .find(|purpose| purpose.name() == name)
    }
}

/// A number that is good for one proof. Unpredictable; chosen outside the heart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce(pub [u8; 32]);

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(...)")
    }
}

/// What a page sends to prove that its person knows a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    /// The call it is meant for.
    pub call: CallId,
    /// What it is meant for.
    pub purpose: Purpose,
    /// The number it answers.
    pub nonce: Nonce,
    /// Who it says it is.
    pub person: Name,
    /// The proof itself.
    pub proof: [u8; 32],
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proof({} for {})", self.person, self.purpose.name())
    }
}

/// What a proof turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// This person's.
    Right(Name),
    /// Nobody's; it claimed to be this person's.
    Wrong(Name),
}

/// How a person is called: 1 to 32 characters, no control characters, no blanks at the ends. Proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// Wraps a name, if it can be one.
    pub fn new(name: &str) -> Option<Self> {
        let fits = !name.is_empty()
            && name.chars().count() <= 32
            && name.trim() == name
            && !name.chars().any(char::is_control);
        fits.then(|| Self(Arc::from(name)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something for the visitor to read: 1 to 120 characters, one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note(Arc<str>);

impl Note {
    /// Wraps a text, if it is one.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits =
            !text.is_empty() && text.chars().count() <= 120 && !text.chars().any(char::is_control);
        fits.then(|| Self(Arc::from(text)))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name a page gives itself, the same after each of its reconnects: 1 to 64 characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageId(Arc<str>);

impl PageId {
    /// Wraps a name, if it has a length a name may have.
    pub fn new(name: &str) -> Option<Self> {
        let fits = !name.is_empty() && name.chars().count() <= 64;
        fits.then(|| Self(Arc::from(name)))
    }
}

/// Whoever knows the name can take the page's place in a call, so it is never shown.
impl fmt::Debug for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageId(...)")
    }
}

/// What the door tells a page about the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallNotice {
    /// Which call.
    pub call: CallId,
    /// Grows with every change of this call, from 1.
    pub seq: u64,
    /// Where it stands.
    pub stage: Stage,
    /// How long ago the button was pressed.
    pub age: Duration,
    /// How many pages ring.
    pub ringing_at: u32,
    /// The peer whose picture is at the door, if any.
    pub answered_by: Option<PeerKey>,
    /// How its person is called, if it said so.
    pub answered_name: Option<Name>,
    /// What a page may do besides answering.
    pub may: Vec<Right>,
}

/// What a page may do besides answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Open the door, with a proof.
    Open,
    /// Take the call over.
    Take,
    /// Talk beside whoever has the call.
    Join,
    /// Send the visitor a text.
    Text,
    /// Look through the camera between calls, with a proof.
    Look,
}

impl Right {
    /// The name used in the door protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Take => "take",
            Self::Join => "join",
            Self::Text => "text",
            Self::Look => "look",
        }
    }
}

/// The stages of a call that pages are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The visitor waits for somebody to answer.
    Ringing,
    /// Somebody talks with the visitor.
    Talking,
    /// The call is over.
    Ended(Cause),
}

/// Why a page does not get what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denial {
    /// No relay belongs to this door.
    NotWired,
    /// No person is known who could prove anything.
    Nobody,
    /// Only whoever talks with the visitor may ask.
    NotTalking,
    /// No such person, or not this secret.
    Wrong,
    /// The number was used, is too old, or belongs to something else.
    Expired,
    /// Too many wrong tries.
    LockedOut,
    /// The door is open already.
    Open,
    /// The door was open a moment ago.
    Resting,
    /// There is a call, or as many look in as the door can serve.
    Busy,
    /// The daemon is stopping.
    Stopping,
}

impl Denial {
    /// The name used in the door protocol and in events.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotWired => "not-wired",
            Self::Nobody => "nobody",
            Self::NotTalking => "not-talking",
            Self::Wrong => "wrong",
            Self::Expired => "expired",
            Self::LockedOut => "locked-out",
            Self::Open => "open",
            Self::Resting => "resting",
            Self::Busy => "busy",
            Self::Stopping => "stopping",
        }
    }
}

/// One call as a page reads it in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Which call.
    pub call: String,
    /// When the button was pressed, in unix seconds by the door's clock.
    pub at: u64,
    /// The name of its cause.
    pub outcome: String,
    /// Who answered first, if that is known.
    pub answered_by: Option<String>,
    /// Who opened the door first.
    pub opened_by: Option<String>,
    /// How long somebody talked with the visitor, in seconds.
    pub talk_s: u64,
}
