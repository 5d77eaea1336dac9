//! What was found on this machine, and which of it the owner means by a name.
//!
//! Pure: the words only; `devices.rs` does the looking and the plans do the choosing.

use std::collections::{BTreeMap, BTreeSet};

/// What was found on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probe {
    /// Which of [`ELEMENTS`] exist.
    pub elements: BTreeSet<String>,
    /// Cameras, in the kernel's order.
    pub cameras: Vec<Camera>,
    /// Sound cards, in the kernel's order.
    pub sound_cards: Vec<SoundCard>,
    /// What sound cards do by themselves, where they could be asked.
    pub sound_limits: SoundLimits,
    /// Display connectors.
    pub screens: Vec<Screen>,
    /// Whether a window can be opened (X11 or Wayland).
    pub windows: bool,
}

/// The elements a plan may choose between; a [`Probe`] says which exist.
pub const ELEMENTS: &[&str] = &[
    "v4l2h264enc",
    "x264enc",
    "openh264enc",
    "avdec_h264",
    "openh264dec",
    "vp8dec",
    "opusenc",
    "opusdec",
    "timeoverlay",
    "clockoverlay",
    "libcamerasrc",
    "jpegdec",
    "alsasrc",
    "alsasink",
    "autovideosink",
    "kmssink",
    "fbdevsink",
    "fakevideosink",
    "audiomixer",
    "webrtcdsp",
    "webrtcechoprobe",
];

/// A video capture node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Camera {
    /// The name the kernel gives it, such as `UVC Camera (046d:0825)`.
    pub name: String,
    /// Its node, such as `/dev/video0`. Changes with the order of plugging.
    pub path: String,
    /// Stable links to the node, below `/dev/v4l/by-id` and `/dev/v4l/by-path`.
    pub links: Vec<String>,
    /// What it delivers.
    pub formats: Vec<CameraFormat>,
}

/// One pixel format of a camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraFormat {
    /// Four letters, such as `YUYV` or `MJPG` (Linux media API, "Image Formats").
    pub fourcc: String,
    /// Picture sizes; empty when the driver does not tell.
    pub sizes: Vec<PictureSize>,
}

/// A picture size, or a range of them, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureSize {
    /// Just this one.
    Exact {
        /// Width.
        width: u32,
        /// Height.
        height: u32,
    },
    /// Any size between the two.
    Range {
        /// Smallest width and height.
        least: (u32, u32),
        /// Largest width and height.
        most: (u32, u32),
    },
}

impl PictureSize {
    /// Whether pictures of this width and height can be had.
    pub(super) fn offers(self, wanted: (u32, u32)) -> bool {
        match self {
            Self::Exact { width, height } => (width, height) == wanted,
            Self::Range { least, most } => {
                (least.0..=most.0).contains(&wanted.0) && (least.1..=most.1).contains(&wanted.1)
            }
        }
    }
}

/// A sound card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoundCard {
    /// ALSA's short id, such as `Headphones`; stands after `CARD=`.
    pub id: String,
    /// The long name.
    pub name: String,
    /// It records.
    pub records: bool,
    /// It plays.
    pub plays: bool,
}

/// What sound cards do by themselves, by the cards' ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SoundLimits {
    /// When they play.
    pub plays: BTreeMap<String, PcmLimits>,
    /// When they record.
    pub records: BTreeMap<String, PcmLimits>,
}

/// What one direction of a sound card does by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PcmLimits {
    /// It has a sample format GStreamer knows.
    pub usable: bool,
    /// The usual rates it takes, in Hz.
    pub rates: Vec<u32>,
    /// The rate it has that is nearest to 48000 Hz.
    pub nearest: u32,
}

/// A display connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screen {
    /// Such as `HDMI-A-1`.
    pub connector: String,
    /// A display is plugged in.
    pub connected: bool,
    /// The kernel's number for it, where the kernel tells.
    pub id: Option<u32>,
}

impl Camera {
    /// Whether the owner means this one.
    pub(super) fn answers_to(&self, wanted: &str) -> bool {
        self.path == wanted
            || self.name == wanted
            || self.links.iter().any(|link| {
                link == wanted || link.rsplit('/').next().is_some_and(|name| name == wanted)
            })
    }
}

impl SoundCard {
    /// Whether the owner means this one.
    pub(super) fn answers_to(&self, wanted: &str) -> bool {
        self.id == wanted || self.name == wanted
    }

    /// Whether it is the sound half of an HDMI socket.
    pub(super) fn is_hdmi(&self) -> bool {
        self.id.to_ascii_lowercase().contains("hdmi")
    }
}

impl Probe {
    /// Whether an element exists. Always `false` for names outside [`ELEMENTS`].
    pub fn has(&self, element: &str) -> bool {
        self.elements.contains(element)
    }
}

/// The ALSA name of a card, with format conversion.
pub(super) fn plughw(card: &SoundCard) -> String {
    format!("plughw:CARD={}", card.id)
}

/// ALSA's own names go through as they are; a card's id or name becomes one of those.
pub(super) fn alsa_name(wanted: &str, probe: &Probe) -> Option<String> {
    let card = probe.sound_cards.iter().find(|card| card.answers_to(wanted));
    match card {
        Some(card) => Some(plughw(card)),
        None if wanted.contains(':') || matches!(wanted, "default" | "pulse" | "pipewire") => {
            Some(wanted.to_owned())
        }
        None => None,
    }
}

/// The cards there are, in words.
pub(super) fn found_cards(probe: &Probe) -> String {
    if probe.sound_cards.is_empty() {
        return "no sound card is there at all".to_owned();
    }
    let ids = probe.sound_cards.iter().map(|card| card.id.as_str());
    format!("cards: {}", ids.collect::<Vec<_>>().join(", "))
}

/// What to say when an element is missing.
pub(super) fn missing_element(name: &str) -> String {
    format!("the element {name} does not exist here; install the plugin that holds it")
}

/// A value as pipeline text wants it, whatever is in it.
pub(super) fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_break_out_of_the_pipeline_text() {
        assert_eq!(quoted(r#"a" ! b\"#), r#""a\" ! b\\""#);
    }

    #[test]
    fn alsa_names_go_through_and_unknown_words_do_not() {
        let none = Probe::default();
        assert_eq!(alsa_name("hw:1,0", &none).as_deref(), Some("hw:1,0"));
        assert_eq!(alsa_name("default", &none).as_deref(), Some("default"));
        assert_eq!(alsa_name("panel", &none), None);
    }

    #[test]
    fn a_range_of_sizes_offers_what_lies_inside() {
        let range = PictureSize::Range { least: (160, 120), most: (1280, 720) };
        assert!(range.offers((640, 480)));
        assert!(!range.offers((1920, 1080)));
        assert!(!range.offers((1280, 960)));
    }
}
