//! What is asked of the speaker: remote voices to play, and the door's own sounds.
//!
//! The work is done by the thread in `speaker_stage.rs`: one pipeline mixes all there is to hear, so that a card is
//! opened once and the echo canceller hears the same as the room. What it ends in is decided in `plan_sound.rs`.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use super::bell::{Bell, lock};
use super::echo::EchoReference;
use super::tones::Tone;

/// Sounds that may wait for the speaker; the oldest is dropped.
const WAITING: usize = 4;
/// A sound that waited for longer would be heard when nobody expects it any more. A slow card takes seconds to open, and the
/// chime tells even then that it rings.
const STALE: Duration = Duration::from_secs(5);

/// What the callers and the thread both hold.
#[derive(Debug, Default)]
pub(super) struct SpeakerDesk {
    pub(super) bell: Bell,
    pub(super) echo: EchoReference,
    pub(super) counts: SpeakerCounts,
    asked: Mutex<Asked>,
}

/// What the visitor's end of the line does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// There is no call: the speaker is open only while something is heard.
    #[default]
    Idle,
    /// There is one: the speaker stays open, so that a voice is heard from its first word on.
    Open,
    /// And it rings inside, of which the visitor hears a tone.
    Ringing,
}

/// Counted since the daemon started.
#[derive(Debug, Default)]
pub(super) struct SpeakerCounts {
    /// Times the speaker was opened.
    pub(super) opened: AtomicU64,
    /// Pieces of 10 ms that left the mixer.
    pub(super) mixed: AtomicU64,
    /// The door's own sounds that were begun.
    pub(super) sounds: AtomicU64,
}

/// A sound of the door itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sound {
    /// One that is worked out.
    Tone(Tone),
    /// A WAV file of the owner's.
    File(PathBuf),
}

#[derive(Debug, Default)]
struct Asked {
    sounds: VecDeque<(Sound, Instant)>,
    line: LineSince,
}

/// The same, with since when it rings.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineSince {
    #[default]
    Idle,
    Open,
    Ringing(Instant),
}

impl SpeakerDesk {
    /// Asks for a sound, once. Never blocks for longer than noting it takes.
    pub(super) fn sound(&self, sound: Sound) {
        let mut asked = lock(&self.asked);
        if asked.sounds.len() >= WAITING {
            asked.sounds.pop_front();
        }
        asked.sounds.push_back((sound, Instant::now()));
        drop(asked);
        self.bell.ring();
    }

    /// Says what the line does from now on.
    pub(super) fn set_line(&self, line: Line) {
        let mut asked = lock(&self.asked);
        asked.line = match (asked.line, line) {
            (LineSince::Ringing(since), Line::Ringing) => LineSince::Ringing(since),
            (_, Line::Ringing) => LineSince::Ringing(Instant::now()),
            (_, Line::Open) => LineSince::Open,
            (_, Line::Idle) => LineSince::Idle,
        };
        drop(asked);
        self.bell.ring();
    }

    /// The next sound that is not stale.
    pub(super) fn take_sound(&self) -> Option<Sound> {
        let mut asked = lock(&self.asked);
        while let Some((sound, at)) = asked.sounds.pop_front() {
            if at.elapsed() < STALE {
                return Some(sound);
            }
        }
        None
    }

    /// Whether a sound waits, stale ones apart.
    pub(super) fn has_sound(&self) -> bool {
        let mut asked = lock(&self.asked);
        asked.sounds.retain(|(_, at)| at.elapsed() < STALE);
        !asked.sounds.is_empty()
    }

    pub(super) fn line(&self) -> LineSince {
        lock(&self.asked).line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_sounds_the_oldest_are_dropped() {
        let desk = SpeakerDesk::default();
        desk.sound(Sound::Tone(Tone::Sorry));
        for _ in 0..WAITING {
            desk.sound(Sound::Tone(Tone::Chime));
        }
        let taken: Vec<Sound> = std::iter::from_fn(|| desk.take_sound()).collect();
        assert_eq!(taken, vec![Sound::Tone(Tone::Chime); WAITING]);
        assert!(!desk.has_sound());
    }

    #[test]
    fn ringing_keeps_its_beginning_until_it_ends() {
        let desk = SpeakerDesk::default();
        assert_eq!(desk.line(), LineSince::Idle);
        desk.set_line(Line::Ringing);
        let since = desk.line();
        assert!(matches!(since, LineSince::Ringing(_)));
        desk.set_line(Line::Ringing);
        assert_eq!(desk.line(), since);
        desk.set_line(Line::Open);
        assert_eq!(desk.line(), LineSince::Open);
    }
}
