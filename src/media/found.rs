//! What was found on this machine, and which of it the owner means by a name.
//!
//! Pure: the words only; `devices.rs` does the looking and the plans do the choosing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use super::found_video::{
    Camera, CameraControl, CameraFormat, ControlKind, MenuEntry, NodeKind, PictureSize, Rate,
    RateOffer, SizeOffer, VideoNode,
};

/// What was found on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probe {
    /// GStreamer's version: major, minor, patch.
    pub gst_version: (u32, u32, u32),
    /// Which of [`ELEMENTS`] exist.
    pub elements: BTreeSet<String>,
    /// How many macroblocks (16 by 16 pixels) `x264enc` encodes in a second on one core at its fastest preset,
    /// where that was measured.
    pub software_speed: Option<u32>,
    /// Processor cores; 0 when nobody looked.
    pub cores: u32,
    /// Cameras, in the kernel's order.
    pub cameras: Vec<Camera>,
    /// All video nodes, cameras too, with what each is.
    pub video_nodes: Vec<VideoNode>,
    /// What libcamera calls its cameras. Only looked for by `intercomd devices`.
    pub libcamera: Vec<String>,
    /// Sound cards, in the kernel's order.
    pub sound_cards: Vec<SoundCard>,
    /// What sound cards do by themselves, where they could be asked.
    pub sound_limits: SoundLimits,
    /// Display connectors.
    pub screens: Vec<Screen>,
    /// Whether a window can be opened (X11 or Wayland).
    pub windows: bool,
    /// What could not be looked at, and why.
    pub trouble: Vec<String>,
}

/// The elements a plan may choose between; a [`Probe`] says which exist.
pub const ELEMENTS: &[&str] = &[
    "v4l2h264enc",
    "vah264enc",
    "vah264lpenc",
    "mpph264enc",
    "x264enc",
    "openh264enc",
    "v4l2slh264dec",
    "v4l2h264dec",
    "vah264dec",
    "h264parse",
    "avdec_h264",
    "openh264dec",
    "vp8dec",
    "v4l2convert",
    "opusenc",
    "opusdec",
    "timeoverlay",
    "clockoverlay",
    "textoverlay",
    "libcamerasrc",
    "jpegdec",
    "webrtcdsp",
    "alsasrc",
    "alsasink",
    "autovideosink",
    "kmssink",
    "fbdevsink",
    "fakevideosink",
    "videoconvertscale",
    "textoverlay",
    "audiomixer",
    "webrtcdsp",
    "webrtcechoprobe",
];

/// A sound card.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SoundCard {
    /// ALSA's short id, such as `Headphones`; stands after `CARD=`.
    pub id: String,
    /// The long name.
    pub name: String,
    /// It records.
    pub records: bool,
    /// It plays.
    pub plays: bool,
    /// Its mixer. Only looked for by `intercomd devices`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mixer: Vec<MixerControl>,
}

/// One knob of a sound card (ALSA's "simple element").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MixerControl {
    /// Its name, such as `PCM` or `Mic`.
    pub name: String,
    /// Tells several of one name apart; 0 for the first.
    pub index: u32,
    /// What it does to the played sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub playback: Option<Knob>,
    /// What it does to the recorded sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture: Option<Knob>,
}

/// What a knob can do in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Knob {
    /// Smallest and largest volume in the card's own steps.
    pub volume: Option<(i64, i64)>,
    /// The same in hundredths of a decibel, where the card tells.
    pub millibels: Option<(i64, i64)>,
    /// It can be switched on and off.
    pub switch: bool,
}

/// What sound cards do by themselves, by the cards' ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SoundLimits {
    /// When they play.
    pub plays: BTreeMap<String, PcmLimits>,
    /// When they record.
    pub records: BTreeMap<String, PcmLimits>,
}

/// What one direction of a sound card does by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PcmLimits {
    /// It has a sample format GStreamer knows.
    pub usable: bool,
    /// The usual rates it takes, in Hz.
    pub rates: Vec<u32>,
    /// The rate it has that is nearest to 48000 Hz.
    pub nearest: u32,
}

/// A display connector.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Screen {
    /// Such as `HDMI-A-1`.
    pub connector: String,
    /// A display is plugged in.
    pub connected: bool,
    /// The kernel's number for it, where the kernel tells.
    pub id: Option<u32>,
    /// The driver of the device it hangs on, such as `vc4-drm`, or that of its bus, such as `virtio-pci`. Empty when
    /// the kernel does not tell.
    pub driver: String,
    /// Its card, such as `card1`. Changes with the order of loading.
    pub card: String,
    /// Picture sizes, the preferred first.
    pub modes: Vec<PictureSize>,
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
    /// A machine that has these elements and nothing else.
    #[cfg(test)]
    pub(super) fn with_elements(elements: &[&str]) -> Self {
        let elements = elements.iter().map(|name| (*name).to_owned()).collect();
        Self { elements, ..Self::default() }
    }

    /// Whether an element exists. Always `false` for names outside [`ELEMENTS`].
    pub fn has(&self, element: &str) -> bool {
        self.elements.contains(element)
    }

    /// Whether one of the video nodes is of this kind.
    pub fn has_node(&self, kind: NodeKind) -> bool {
        self.video_nodes.iter().any(|node| node.kind == kind)
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
}
