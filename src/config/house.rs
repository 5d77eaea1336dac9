//! The tables of the house's own habits: `[log]`, what is remembered of calls, `[quiet]`, when nobody is called, and
//! `[messages]`, what the owner has to say to a visitor nobody answers.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::Desk;
use super::problem::{At, Place, wrong};
use super::reader::Reader;

/// What is remembered of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// How many calls, 0 to 1000; 0 remembers nothing.
    pub entries: usize,
    /// For how long, 1 hour to 366 days.
    pub age: Duration,
    /// Whether pictures of visitors are taken, shown to phones and kept.
    pub pictures: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { entries: 200, age: Duration::from_secs(30 * 86_400), pictures: true }
    }
}

/// A span of the day in which nobody is called; it may go over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    /// Its first minute, counted from midnight, by the local clock.
    pub from: u16,
    /// The first minute after it.
    pub to: u16,
}

impl QuietHours {
    /// Whether a minute of the day lies within.
    pub fn contains(&self, minute: u16) -> bool {
        match self.from <= self.to {
            true => (self.from..self.to).contains(&minute),
            false => minute >= self.from || minute < self.to,
        }
    }
}

/// What the owner has to say to visitors, by the name of the cause a call ended by.
pub type Messages = BTreeMap<String, OwnMessage>;

/// Words of the owner's in place of the door's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnMessage {
    /// For the screen: 1 to 120 characters, one line.
    pub text: Option<String>,
    /// For the speaker: a WAV file, of which 10 s are played.
    pub sound: Option<PathBuf>,
}

/// The causes there can be a message for.
const CAUSES: [&str; 4] = ["no-answer", "declined", "cannot-join", "quiet"];
/// The folder unless the configuration says another; counted from the folder of the configuration.
const FOLDER: &str = "messages";
/// A larger text file is something else.
const LARGEST_TEXT: u64 = 1024;

/// What `[messages]` says.
pub(super) struct MessagesWishes {
    folder: Option<At<String>>,
    missing: Place,
}

pub(super) fn read_messages(mut table: Reader<'_>) -> MessagesWishes {
    let missing = table.missing("folder");
    let folder = table.text("folder");
    table.finish();
    MessagesWishes { folder, missing }
}

/// The files of the folder: `CAUSE.txt` and `CAUSE.wav`. Without a folder there are no messages; a warning says so if
/// one was named. A file that is no message is no reason for a door not to start, either.
pub(super) fn settle_messages(wishes: &MessagesWishes, desk: &Desk<'_>) -> Messages {
    let (path, place) = match &wishes.folder {
        Some(folder) => (desk.base_of(folder).join(&folder.value), &folder.place),
        None => (desk.base.join(FOLDER), &wishes.missing),
    };
    let mut messages = Messages::new();
    let files = match fs::read_dir(&path) {
        Ok(files) => files,
        Err(error) => {
            let expected = error.kind() == ErrorKind::NotFound && wishes.folder.is_none();
            if !expected {
                let path = path.display();
                desk.notes.warn(place, &format!(
                    "names {path}, which cannot be read: {error}; make the folder, or leave the key out"
                ));
            }
            return messages;
        }
    };
    let mut files: Vec<PathBuf> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    files.sort();
    for file in files {
        if let Err(what) = take_message(&file, &mut messages) {
            desk.notes.warn(place, &format!(
                "holds {}, {what}, so it is not used; name files no-answer, declined, cannot-join or quiet with .txt \
                 or .wav, or take others away",
                file.display()
            ));
        }
    }
    messages
}

fn take_message(file: &Path, messages: &mut Messages) -> Result<(), String> {
    let part = |part: Option<&std::ffi::OsStr>| {
        part.and_then(|part| part.to_str()).unwrap_or("").to_owned()
    };
    let (cause, kind) = (part(file.file_stem()), part(file.extension()));
    // Editors leave hidden files behind.
    if cause.starts_with('.') {
        return Ok(());
    }
    if !CAUSES.contains(&&*cause) {
        return Err("which is the message for nothing".to_owned());
    }
    match &*kind {
        "wav" => messages.entry(cause).or_default().sound = Some(file.to_owned()),
        "txt" => {
            let length = fs::metadata(file).map_err(|error| error.to_string())?.len();
            let text = match length {
                0..=LARGEST_TEXT => fs::read_to_string(file).map_err(|error| error.to_string())?,
                _ => return Err("which is too long for a screen".to_owned()),
            };
            let note = crate::intercom::Note::new(text.trim());
            let note = note.ok_or("which is not one line of 1 to 120 characters")?;
            messages.entry(cause).or_default().text = Some(note.as_str().to_owned());
        }
        _ => return Err("which is neither a .txt nor a .wav file".to_owned()),
    }
    Ok(())
}

pub(super) fn read_log(mut table: Reader<'_>) -> LogSettings {
    let default = LogSettings::default();
    let age = Duration::from_secs(3600)..=Duration::from_secs(366 * 86_400);
    let settings = LogSettings {
        entries: table
            .whole("entries", 0..=1000)
            .map_or(default.entries, |at| usize::try_from(at.value).unwrap_or(default.entries)),
        age: table.duration("age", age).map_or(default.age, |at| at.value),
        pictures: table.flag("pictures").map_or(default.pictures, |at| at.value),
    };
    table.finish();
    settings
}

/// What `[look_in]` says.
pub(super) struct LookInWishes {
    allowed: Option<At<bool>>,
    pub(super) longest: Duration,
}

pub(super) fn read_look_in(mut table: Reader<'_>) -> LookInWishes {
    let span = Duration::from_secs(5)..=Duration::from_secs(600);
    let default = crate::intercom::Rules::default().longest_look;
    let wishes = LookInWishes {
        allowed: table.flag("allowed"),
        longest: table.duration("longest", span).map_or(default, |at| at.value),
    };
    table.finish();
    wishes
}

impl LookInWishes {
    /// Where it was allowed, if it was. `channel_fits`: whether the channel's name leaves room for that of those who
    /// look.
    pub(super) fn settle(self, desk: &Desk<'_>, channel_fits: bool) -> Option<Place> {
        let allowed = self.allowed.filter(|allowed| allowed.value)?;
        if !channel_fits {
            let what = "needs a channel of its own, whose name would be too long";
            let fix = "shorten `channel` by five letters, or write allowed = false";
            return desk.refused(&allowed.place, wrong(what, fix));
        }
        Some(allowed.place)
    }
}

/// What `[quiet]` says.
pub(super) struct QuietWishes {
    from: Option<At<String>>,
    to: Option<At<String>>,
    missing_from: Place,
    missing_to: Place,
    pub(super) chime: bool,
}

pub(super) fn read_quiet(mut table: Reader<'_>) -> QuietWishes {
    let wishes = QuietWishes {
        missing_from: table.missing("from"),
        missing_to: table.missing("to"),
        from: table.text("from"),
        to: table.text("to"),
        chime: table.flag("chime").is_none_or(|at| at.value),
    };
    table.finish();
    wishes
}

impl QuietWishes {
    /// `None`: there are no quiet hours, or what was written was wrong and is noted.
    pub(super) fn settle(self, desk: &Desk<'_>) -> Option<QuietHours> {
        let missing = |place: &Place| {
            let what = "is missing, but the other end of the quiet hours is there";
            desk.refused(
                place,
                wrong(what, "write both, such as from = \"22:00\" and to = \"07:00\""),
            )
        };
        let (from, to) = match (self.from, self.to) {
            (None, None) => return None,
            (None, Some(_)) => return missing(&self.missing_from),
            (Some(_), None) => return missing(&self.missing_to),
            (Some(from), Some(to)) => (from, to),
        };
        let (first, after) = (minute(desk, &from), minute(desk, &to));
        let hours = QuietHours { from: first?, to: after? };
        if hours.from == hours.to {
            let what = "is the same time as `from`, so it is never or always quiet";
            return desk.refused(&to.place, wrong(what, "write another time, or leave both out"));
        }
        Some(hours)
    }
}

fn minute(desk: &Desk<'_>, at: &At<String>) -> Option<u16> {
    let parsed = at.value.split_once(':').and_then(|(hours, minutes)| {
        let two = |text: &str| {
            (text.len() == 2 && text.bytes().all(|c| c.is_ascii_digit())).then(|| text.parse().ok())
        };
        let (hours, minutes): (u16, u16) = (two(hours)??, two(minutes)??);
        (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
    });
    if parsed.is_none() {
        let what = format!("is \"{}\", which is no time of day", at.value);
        return desk.refused(&at.place, wrong(what, "write hours and minutes, such as \"22:00\""));
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_may_go_over_midnight() {
        let night = QuietHours { from: 22 * 60, to: 7 * 60 };
        for (minute, quiet) in [(0, true), (419, true), (420, false), (1319, false), (1320, true)] {
            assert_eq!(night.contains(minute), quiet, "{minute}");
        }
        let noon = QuietHours { from: 12 * 60, to: 14 * 60 };
        for (minute, quiet) in [(719, false), (720, true), (839, true), (840, false), (0, false)] {
            assert_eq!(noon.contains(minute), quiet, "{minute}");
        }
    }
}
