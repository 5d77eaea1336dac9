//! The door's own sounds while they are played, and those that a slow machine played for nobody.

use std::time::{Duration, Instant};

use super::speaker::Sound;
use super::speaker_line::Strand;
use super::tones::Tone;

/// A sound that was played too late to be heard is begun so often again.
const TRIES: u8 = 3;
/// And not when it is older than this.
const TOO_OLD: Duration = Duration::from_secs(10);

/// A sound of the door's own that is being played.
#[derive(Debug)]
pub(super) struct Sounding {
    pub(super) strand: Strand,
    pub(super) what: Wanted,
    pub(super) until: Instant,
}

/// A sound that is to be begun.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) sound: Sound,
    /// How often it was begun before, and not heard.
    tries: u8,
    since: Instant,
}

impl Wanted {
    pub(super) fn new(sound: Sound) -> Self {
        Self { sound, tries: 0, since: Instant::now() }
    }

    /// Whether it says nothing any more.
    pub(super) fn is_too_old(&self) -> bool {
        self.since.elapsed() >= TOO_OLD
    }
}

impl Sounding {
    /// Whether it is the tone of ringing, which ends with the ringing.
    pub(super) fn rings(&self) -> bool {
        self.what.sound == Sound::Tone(Tone::RingBack)
    }

    /// The sound, if it is to be begun again as nobody heard it.
    pub(super) fn unheard(self) -> Option<Wanted> {
        let again = !self.rings() && self.what.tries < TRIES;
        again.then(|| Wanted { tries: self.what.tries + 1, ..self.what })
    }
}
