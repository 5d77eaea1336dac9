//! The table `[display]`: the screen at the door, and what it shows while there is no picture.
//!
//! Which device that is on a machine, the media room finds out.

use super::board::Source;
use super::parts::{lay, read_source};
use super::problem::{At, wrong};
use super::reader::Reader;

/// The screen at the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplaySettings {
    /// Which one. `Test`: a window if there can be one, else counted; `Off`: counted only.
    pub source: Source,
    /// How the panel is mounted.
    pub rotation: Rotation,
    /// Width and height in pixels of a window or of what an own pipeline gets; other screens have a size of their
    /// own. 160 to 3840 by 120 to 2160.
    pub size: [u32; 2],
    /// What it shows between calls.
    pub idle: Idle,
    /// The language of its texts.
    pub language: Language,
    /// Whether it shows anything beside the phone's picture.
    pub slates: bool,
}

impl Default for DisplaySettings {
    fn default() -> Self {
        Self {
            source: Source::Auto,
            rotation: Rotation::None,
            size: [800, 480],
            idle: Idle::Clock,
            language: Language::En,
            slates: true,
        }
    }
}

/// By how much a panel is turned clockwise from the way the kernel sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rotation {
    /// Not at all.
    #[default]
    None,
    /// A quarter.
    Right,
    /// Upside down.
    Half,
    /// Three quarters.
    Left,
}

/// What the screen shows between calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Idle {
    /// The time, and that the button rings.
    #[default]
    Clock,
    /// That the button rings.
    Text,
    /// Nothing, with the backlight off where it can be switched.
    Off,
}

/// A language the screen speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    En,
    /// German.
    De,
}

/// What the documents say about the display so far.
#[derive(Default)]
pub(super) struct DisplayDraft {
    source: Option<At<Source>>,
    connector: Option<At<String>>,
    rotation: Option<At<Rotation>>,
    size: Option<At<[u32; 2]>>,
    idle: Option<At<Idle>>,
    language: Option<At<Language>>,
    slates: Option<At<bool>>,
}

impl DisplayDraft {
    /// Takes over what a document says.
    pub(super) fn read(&mut self, mut table: Reader<'_>) {
        let connector = table.text("connector");
        lay(&mut self.size, table.pair("size", [160..=3840, 120..=2160], "[800, 480]"));
        let idle = [("clock", Idle::Clock), ("text", Idle::Text), ("off", Idle::Off)];
        lay(&mut self.idle, table.word("idle", &idle));
        lay(
            &mut self.language,
            table.word("language", &[("en", Language::En), ("de", Language::De)]),
        );
        lay(&mut self.slates, table.flag("slates"));
        lay(&mut self.rotation, read_rotation(&mut table));
        let notes = table.notes();
        let source = read_source(table);
        if let (Some(connector), Some(source)) = (&connector, &source)
            && source.value != Source::Auto
        {
            let fix = "keep one of the two; `connector` goes with source = \"auto\"";
            notes.problem(&connector.place, wrong("stands beside another screen", fix));
        }
        // A document that chooses a screen of its own takes the connector of an earlier one away.
        if source.is_some() && connector.is_none() {
            self.connector = None;
        }
        lay(&mut self.source, source);
        if let Some(at) = connector {
            match at.value.split_once('-') {
                Some((card, rest)) if card.starts_with("card") => {
                    let what = format!("is \"{}\", and cards change their numbers", at.value);
                    notes.problem(&at.place, wrong(what, format!("write \"{rest}\"")));
                }
                _ => {
                    self.source = None;
                    self.connector = Some(at);
                }
            }
        }
    }

    /// Puts the settings together.
    pub(super) fn settle(self) -> DisplaySettings {
        let plain = DisplaySettings::default();
        let source = match (self.connector, self.source) {
            (Some(connector), _) => Source::Device(connector.value),
            (None, source) => source.map_or(plain.source, |at| at.value),
        };
        let own = matches!(source, Source::Pipeline(_));
        DisplaySettings {
            source,
            rotation: self.rotation.map_or(plain.rotation, |at| at.value),
            size: self.size.map_or(plain.size, |at| at.value),
            idle: self.idle.map_or(plain.idle, |at| at.value),
            language: self.language.map_or(plain.language, |at| at.value),
            slates: self.slates.map_or(!own, |at| at.value),
        }
    }
}

fn read_rotation(table: &mut Reader<'_>) -> Option<At<Rotation>> {
    let at = table.whole("rotation", 0..=270)?;
    let rotation = match at.value {
        0 => Rotation::None,
        90 => Rotation::Right,
        180 => Rotation::Half,
        270 => Rotation::Left,
        other => {
            let what = format!("is {other}");
            table.notes().problem(&at.place, wrong(what, "write 0, 90, 180 or 270"));
            return None;
        }
    };
    Some(at.map(|_| rotation))
}
