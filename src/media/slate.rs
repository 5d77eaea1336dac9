//! The texts of the slates, and how large they are written on a screen of any size.
//!
//! Pure: words and numbers only; `draw.rs` makes pictures of them. A further language is a further [`Words`] here
//! and a further `Language` in the configuration.

use super::scene::{Caption, Message};
use crate::config::Language;

/// What a slate is painted on, as 0xRRGGBB: dark, so that a panel at night does not light up the street.
pub const GROUND: u32 = 0x0d_1319;

const BRIGHT: &str = "#ffffff";
const SOFT: &str = "#b9c7d4";
/// Words of a note that are wider than the screen at this share of its short side are broken.
const NOTE: f64 = 0.07;
const WARNING: &str = "#ffc35c";

/// All texts in one language. `|` parts the title from the line below it.
struct Words {
    press: &'static str,
    calling: &'static str,
    ringing: &'static str,
    seen: &'static str,
    quiet: &'static str,
    answered: &'static str,
    reconnecting: &'static str,
    nobody: &'static str,
    looking: &'static str,
    line_down: &'static str,
    fault: &'static str,
}

const EN: Words = Words {
    press: "Press to ring",
    calling: "Calling …|One moment, please",
    ringing: "Calling …|Please wait",
    seen: "It rings inside|Please wait",
    quiet: "Quiet hours|Nobody is called now",
    answered: "Please speak",
    reconnecting: "Reconnecting …|Please stay",
    nobody: "Nobody answered|Press to ring again",
    looking: "The camera is on|Press to ring",
    line_down: "The line is down|The bell still rings inside",
    fault: "Out of order|Please knock",
};

const DE: Words = Words {
    press: "Zum Klingeln drücken",
    calling: "Rufe an …|Einen Moment bitte",
    ringing: "Rufe an …|Bitte warten",
    seen: "Es klingelt innen|Bitte warten",
    quiet: "Ruhezeit|Jetzt wird niemand gerufen",
    answered: "Bitte sprechen",
    reconnecting: "Neu verbinden …|Bitte bleiben Sie",
    nobody: "Niemand hat geantwortet|Noch einmal klingeln?",
    looking: "Die Kamera ist an|Zum Klingeln drücken",
    line_down: "Leitung gestört|Die Klingel innen läutet trotzdem",
    fault: "Außer Betrieb|Bitte klopfen",
};

fn words(language: Language) -> &'static Words {
    match language {
        Language::En => &EN,
        Language::De => &DE,
    }
}

/// A text of one size and colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The lines, broken so that each fits.
    pub lines: Vec<String>,
    /// Size of the letters in pixels.
    pub pixels: u32,
    /// Whether they are bold.
    pub bold: bool,
    /// Their colour, as `#rrggbb`.
    pub colour: &'static str,
}

/// A slate ready to be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slate {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// From top to bottom, together in the middle. Empty: nothing but the ground.
    pub blocks: Vec<Block>,
    /// What it is painted on, as 0xRRGGBB.
    pub ground: u32,
    /// In place of all that: an address as a QR code, as large as fits.
    pub code: Option<String>,
}

/// The height of a line in sizes of its letters, and the widths of letters: those of DejaVu Sans, which is wider
/// than most.
const LINE: f64 = 1.2;
const WIDE: f64 = 0.66;
const WIDE_BOLD: f64 = 0.74;

/// Lays a message out on a screen of this size.
pub fn slate(message: &Message, language: Language, [width, height]: [u32; 2]) -> Slate {
    if let Message::Code(code) = message {
        return Slate { code: Some(code.clone()), ..dark([width, height]) };
    }
    let words = words(language);
    let (title, below, colour) = match message {
        Message::Code(_) => (String::new(), None, BRIGHT),
        Message::Clock(time) => (time.clone(), Some(words.press.to_owned()), BRIGHT),
        Message::Answered(Some(name)) => (name.clone(), Some(words.answered.to_owned()), BRIGHT),
        Message::Press => split(words.press, BRIGHT),
        Message::Calling => split(words.calling, BRIGHT),
        Message::Ringing => split(words.ringing, BRIGHT),
        Message::Seen => split(words.seen, BRIGHT),
        Message::Quiet => split(words.quiet, BRIGHT),
        Message::Note(text) => {
            let room = Room::within(width, height);
            (hyphened(text, f64::from(height.min(width)) * NOTE, room), None, BRIGHT)
        }
        Message::Answered(None) => split(words.answered, BRIGHT),
        Message::Reconnecting => split(words.reconnecting, BRIGHT),
        Message::NobodyAnswered => split(words.nobody, BRIGHT),
        Message::Looking => split(words.looking, BRIGHT),
        Message::LineDown => split(words.line_down, WARNING),
        Message::Fault => split(words.fault, WARNING),
    };
    // A clock is read from further away than a sentence.
    let (share, broken) = match message {
        Message::Clock(_) => (0.34, false),
        _ => (0.17, true),
    };
    let room = Room::within(width, height);
    let largest = f64::from(height.min(width)) * share;
    let mut pixels = if broken { largest } else { largest.max(f64::from(height) * 0.25) };
    let blocks = loop {
        let mut blocks = vec![block(&title, pixels, true, colour, room)];
        if let Some(below) = &below {
            // Small letters cannot be read on a small panel, however large the title is.
            let small = if broken { pixels * 0.55 } else { pixels * 0.28 };
            let least = f64::from(height.min(width)) * 0.07;
            blocks.push(block(below, small.max(least).max(16.0), false, SOFT, room));
        }
        let fits = blocks.iter().all(|block| block.width() <= room.width)
            && blocks.iter().map(Block::height).sum::<f64>() <= room.height;
        if fits || pixels <= 12.0 {
            break blocks;
        }
        pixels -= (pixels * 0.04).max(1.0);
    };
    Slate { width, height, blocks, ground: GROUND, code: None }
}

/// A screen with nothing on it.
pub fn dark([width, height]: [u32; 2]) -> Slate {
    Slate { width, height, blocks: Vec::new(), ground: 0, code: None }
}

fn split(text: &str, colour: &'static str) -> (String, Option<String>, &'static str) {
    match text.split_once('|') {
        Some((title, below)) => (title.to_owned(), Some(below.to_owned()), colour),
        None => (text.to_owned(), None, colour),
    }
}

/// The part of the screen that is written on.
#[derive(Debug, Clone, Copy)]
struct Room {
    width: f64,
    height: f64,
}

impl Room {
    fn within(width: u32, height: u32) -> Self {
        let margin = f64::from(width.min(height)) * 0.05;
        Self { width: f64::from(width) - 2.0 * margin, height: f64::from(height) - 2.0 * margin }
    }
}

impl Block {
    /// The widest it can become, in pixels.
    fn width(&self) -> f64 {
        let longest = self.lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        count(longest) * f64::from(self.pixels) * per_letter(self.bold)
    }

    fn height(&self) -> f64 {
        count(self.lines.len()) * f64::from(self.pixels) * LINE
    }
}

fn per_letter(bold: bool) -> f64 {
    if bold { WIDE_BOLD } else { WIDE }
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

fn block(text: &str, pixels: f64, bold: bool, colour: &'static str, room: Room) -> Block {
    let most = (room.width / (pixels * per_letter(bold))).floor();
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if count(line.chars().count() + 1 + word.chars().count()) <= most => {
                line.push(' ');
                line.push_str(word);
            }
            // A lone sign of punctuation does not begin a line.
            Some(line) if word == "…" => line.push_str(word),
            _ => lines.push(word.to_owned()),
        }
    }
    Block { lines, pixels: pixels as u32, bold, colour }
}

/// A caption ready to be laid over the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// One line of text.
    pub text: String,
    /// Size of the letters in pixels.
    pub pixels: u32,
    /// Distance from the edges in pixels.
    pub margin: u32,
    /// Across the middle; else in the lower left corner.
    pub central: bool,
}

/// Lays a caption out on a screen of this size; what does not fit is cut off.
pub fn label(caption: &Caption, language: Language, [width, height]: [u32; 2]) -> Label {
    if let Caption::Note(note) = caption {
        return note_label(note, [width, height]);
    }
    let (text, share, central) = match caption {
        Caption::Note(note) => (note.as_str(), 0.06, false),
        Caption::Name(name) => (name.as_str(), 0.06, false),
        Caption::Reconnecting => {
            let text = words(language).reconnecting;
            (text.split_once('|').map_or(text, |(title, _)| title), 0.09, true)
        }
    };
    let side = f64::from(width.min(height));
    let margin = side * 0.05;
    let room = (f64::from(width) - 2.0 * margin) / WIDE_BOLD;
    // Smaller letters first; below a size one can read, fewer of them.
    let pixels = (side * share).min(room / count(text.chars().count())).max(18.0);
    let most = (room / pixels).floor();
    let text = if count(text.chars().count()) <= most {
        text.to_owned()
    } else {
        let kept = text.chars().take((most as usize).saturating_sub(1));
        kept.chain(['…']).collect()
    };
    Label { text, pixels: pixels as u32, margin: margin as u32, central }
}

/// The text with words that are wider than the room broken into parts that are not.
fn hyphened(text: &str, pixels: f64, room: Room) -> String {
    let most = ((room.width / (pixels * WIDE_BOLD)).floor() as usize).max(4);
    let words = text.split(' ').map(|word| {
        let letters: Vec<char> = word.chars().collect();
        let parts = letters.chunks(most - 1).map(|part| part.iter().collect::<String>());
        match letters.len() > most {
            true => parts.collect::<Vec<_>>().join("- "),
            false => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The share of the picture's height that a note may cover.
const COVERED: f64 = 0.5;

/// A text over the lower part of the picture, in as many lines as it needs.
fn note_label(note: &str, [width, height]: [u32; 2]) -> Label {
    let side = f64::from(width.min(height));
    let margin = side * 0.05;
    let room = Room { width: f64::from(width) - 2.0 * margin, height: f64::from(height) * COVERED };
    let mut pixels = side * 0.09;
    let lines = loop {
        let block = match pixels <= 18.0 {
            true => block(&hyphened(note, pixels, room), pixels, true, BRIGHT, room),
            false => block(note, pixels, true, BRIGHT, room),
        };
        let whole = block.width() <= room.width && block.height() <= room.height;
        // A word longer than the panel is wide is broken in letters one can read, and not before.
        let broken = pixels <= 18.0 && block.height() <= room.height;
        if whole || broken || pixels <= 14.0 {
            break block.lines;
        }
        pixels -= 1.0;
    };
    Label { text: lines.join("\n"), pixels: pixels as u32, margin: margin as u32, central: false }
}

impl Slate {
    /// The text as Pango markup; `None` when there is none.
    pub fn markup(&self) -> Option<String> {
        let blocks = self
            .blocks
            .iter()
            .map(|block| markup(&block.lines.join("\n"), block.pixels, block.bold, block.colour));
        let all: Vec<String> = blocks.collect();
        (!all.is_empty()).then(|| all.join("\n"))
    }
}

impl Label {
    /// The text as Pango markup.
    pub fn markup(&self) -> String {
        markup(&self.text, self.pixels, true, BRIGHT)
    }
}

fn markup(text: &str, pixels: u32, bold: bool, colour: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let bold = if bold { " Bold" } else { "" };
    format!("<span font_desc=\"Sans{bold} {pixels}px\" foreground=\"{colour}\">{text}</span>")
}

/// Every message there is, for tests that look at all of them.
#[cfg(test)]
pub(super) fn every_message() -> Vec<Message> {
    vec![
        Message::Clock("20:58".to_owned()),
        Message::Press,
        Message::Calling,
        Message::Ringing,
        Message::Seen,
        Message::Quiet,
        Message::Looking,
        Message::Answered(None),
        Message::Answered(Some("Hannelore Wagenknecht-Großmann".to_owned())),
        Message::Reconnecting,
        Message::NobodyAnswered,
        Message::LineDown,
        Message::Fault,
    ]
}

/// Panels people mount at doors, and both ways round.
#[cfg(test)]
pub(super) const SIZES: [[u32; 2]; 8] = [
    [480, 320],
    [320, 480],
    [640, 480],
    [800, 480],
    [480, 800],
    [1024, 600],
    [1280, 720],
    [1920, 1080],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_fits_every_panel_in_letters_one_can_read() {
        for size in SIZES {
            for language in [Language::En, Language::De] {
                for message in every_message() {
                    let slate = slate(&message, language, size);
                    let room = Room::within(size[0], size[1]);
                    let height: f64 = slate.blocks.iter().map(Block::height).sum();
                    assert!(height <= room.height, "{message:?} {size:?}: {height}");
                    for block in &slate.blocks {
                        assert!(block.width() <= room.width, "{message:?} {size:?}: {block:?}");
                        assert!(block.pixels >= 16, "{message:?} {size:?}: {block:?}");
                    }
                    let title = slate.blocks[0].pixels * 100 / size[0].min(size[1]);
                    assert!(title >= 5, "{message:?} {size:?}: only {title} % of the short side");
                }
            }
        }
    }

    #[test]
    fn no_text_is_forgotten_in_a_language() {
        for message in every_message() {
            let [en, de] = [Language::En, Language::De]
                .map(|language| slate(&message, language, [800, 480]).markup());
            assert!(en.is_some() && de.is_some() && en != de, "{message:?}");
        }
    }

    #[test]
    fn names_cannot_break_out_of_the_markup() {
        let evil = Message::Answered(Some("<b>&\"</span>".to_owned()));
        let markup = slate(&evil, Language::En, [800, 480]).markup().expect("a text");
        assert!(markup.contains("&lt;b&gt;&amp;\"&lt;/span&gt;"), "{markup}");
    }

    #[test]
    fn the_longest_text_for_a_visitor_fits_every_panel_and_half_of_every_picture() {
        let words = "Leave the parcel with the neighbour at number nine, please, and ring twice ";
        let longest: String = words.chars().cycle().take(120).collect();
        let wide = "Donaudampfschifffahrtsgesellschaftskapitän".to_owned();
        for size in SIZES {
            for note in [&longest, &wide] {
                let slate = slate(&Message::Note(note.clone()), Language::En, size);
                let room = Room::within(size[0], size[1]);
                let height: f64 = slate.blocks.iter().map(Block::height).sum();
                assert!(height <= room.height, "{size:?}: {height}");
                assert!(slate.blocks.iter().all(|block| block.width() <= room.width), "{size:?}");
                let label = super::label(&Caption::Note(note.clone()), Language::En, size);
                let lines: Vec<&str> = label.text.split('\n').collect();
                let said: String = lines.join(" ").replace("- ", "");
                assert_eq!(said, note.trim_end(), "nothing is cut");
                let high = count(lines.len()) * f64::from(label.pixels) * LINE;
                assert!(high <= f64::from(size[1]) * COVERED, "{size:?}: {high}");
            }
        }
    }

    #[test]
    fn a_caption_too_long_for_the_screen_is_cut() {
        let name = Caption::Name("x".repeat(40));
        let label = label(&name, Language::En, [320, 480]);
        assert!(label.text.ends_with('…') && label.text.chars().count() < 40, "{label:?}");
        let fits = super::label(&Caption::Name("Anna".to_owned()), Language::En, [320, 480]);
        assert_eq!((fits.text.as_str(), fits.central), ("Anna", false));
        let middle = super::label(&Caption::Reconnecting, Language::De, [320, 480]);
        assert_eq!((middle.text.as_str(), middle.central), ("Neu verbinden …", true));
    }
}
