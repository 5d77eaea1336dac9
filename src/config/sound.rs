//! The tables of sound: `[microphone]`, `[speaker]`, and what of `[chime]` is heard rather than wired.
//!
//! As with the tables in `parts`, board and file are read into one draft, key by key.

use std::path::PathBuf;

use super::board::{
    ChimeSound, DoorSounds, EchoCancel, MicrophoneSettings, Source, SpeakerSettings,
};
use super::notes::{Notes, nearest};
use super::parts::{lay, source_of};
use super::problem::{At, wrong};
use super::reader::Reader;

/// The words that `sound` takes beside a file.
const SOUNDS: [&str; 2] = ["ding-dong", "off"];

#[derive(Default)]
pub(super) struct MicrophoneDraft {
    source: Option<At<Source>>,
    echo_cancel: Option<At<EchoCancel>>,
    noise_suppression: Option<At<bool>>,
    gain_control: Option<At<bool>>,
    high_pass: Option<At<bool>>,
    listen_in: Option<At<bool>>,
    gain: Option<At<u32>>,
    control: Option<At<String>>,
}

impl MicrophoneDraft {
    /// Takes over what a document says.
    pub(super) fn read(&mut self, mut table: Reader<'_>) {
        lay(&mut self.source, source_of(&mut table));
        let words = [("auto", EchoCancel::Auto), ("off", EchoCancel::Off)];
        lay(&mut self.echo_cancel, table.word("echo_cancel", &words));
        lay(&mut self.noise_suppression, table.flag("noise_suppression"));
        lay(&mut self.gain_control, table.flag("gain_control"));
        lay(&mut self.high_pass, table.flag("high_pass"));
        lay(&mut self.listen_in, table.flag("listen_in"));
        lay(&mut self.gain, table.whole("gain", 0..=100));
        lay(&mut self.control, table.text("control"));
        table.refuse(
            "volume",
            wrong("is not a key that exists", "the microphone's loudness is set with `gain`"),
        );
        table.finish();
    }

    pub(super) fn settle(self) -> MicrophoneSettings {
        let default = MicrophoneSettings::default();
        let flag = |written: Option<At<bool>>, default| written.map_or(default, |at| at.value);
        MicrophoneSettings {
            source: self.source.map_or(default.source, |at| at.value),
            echo_cancel: self.echo_cancel.map_or(default.echo_cancel, |at| at.value),
            noise_suppression: flag(self.noise_suppression, default.noise_suppression),
            gain_control: flag(self.gain_control, default.gain_control),
            high_pass: flag(self.high_pass, default.high_pass),
            listen_in: flag(self.listen_in, default.listen_in),
            gain: self.gain.map(percent),
            control: self.control.and_then(control),
        }
    }
}

#[derive(Default)]
pub(super) struct SpeakerDraft {
    source: Option<At<Source>>,
    volume: Option<At<u32>>,
    control: Option<At<String>>,
}

impl SpeakerDraft {
    /// Takes over what a document says.
    pub(super) fn read(&mut self, mut table: Reader<'_>) {
        lay(&mut self.source, source_of(&mut table));
        lay(&mut self.volume, table.whole("volume", 0..=100));
        lay(&mut self.control, table.text("control"));
        table.finish();
    }

    pub(super) fn settle(self) -> SpeakerSettings {
        SpeakerSettings {
            source: self.source.map_or(Source::Auto, |at| at.value),
            volume: self.volume.map(percent),
            control: self.control.and_then(control),
        }
    }
}

#[derive(Default)]
pub(super) struct ChimeDraft {
    sound: Option<At<String>>,
    volume: Option<At<u32>>,
    ringback: Option<At<bool>>,
}

impl ChimeDraft {
    /// Takes over what a document says; `true` if it says anything of sound. Leaves the table open.
    pub(super) fn read(&mut self, table: &mut Reader<'_>) -> bool {
        lay(&mut self.sound, table.text("sound"));
        lay(&mut self.volume, table.whole("volume", 0..=100));
        lay(&mut self.ringback, table.flag("ringback"));
        ["sound", "volume", "ringback"].iter().any(|key| table.wrote(key))
    }

    pub(super) fn settle(self, notes: &Notes) -> DoorSounds {
        let default = DoorSounds::default();
        DoorSounds {
            chime: self.sound.and_then(|at| sound(at, notes)).unwrap_or(default.chime),
            volume: self.volume.map_or(default.volume, percent),
            ringback: self.ringback.map_or(default.ringback, |at| at.value),
        }
    }
}

fn sound(written: At<String>, notes: &Notes) -> Option<ChimeSound> {
    match written.value.as_str() {
        "ding-dong" => Some(ChimeSound::DingDong),
        "off" => Some(ChimeSound::Off),
        path if path.starts_with('/') => {
            let path = PathBuf::from(path);
            if !path.is_file() {
                notes.warn(
                    &written.place,
                    &format!(
                        "{} is not there now; a press sounds like \"ding-dong\"",
                        path.display()
                    ),
                );
            }
            Some(ChimeSound::File(path))
        }
        word => {
            let fix = match nearest(word, SOUNDS) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "write \"ding-dong\", \"off\" or the whole path of a WAV file, such as \
                         \"/etc/intercomd/chime.wav\""
                    .to_owned(),
            };
            notes.problem(&written.place, wrong(format!("is \"{word}\""), fix));
            None
        }
    }
}

/// The reader's range is 0 to 100.
fn percent(written: At<u32>) -> u8 {
    u8::try_from(written.value).unwrap_or(100)
}

fn control(written: At<String>) -> Option<String> {
    (written.value != "auto").then_some(written.value)
}
