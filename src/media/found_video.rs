//! What was found of video nodes: cameras with what they offer, and the many nodes that are something else.
//!
//! Pure: the words only. `devices_video.rs` does the looking, `plan_camera.rs` the choosing. The texts that sizes
//! and rates are written as are those of `intercomd devices --json` and of the recorded probes in the tests.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a video node is. Most nodes of a Raspberry Pi are no cameras.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// Delivers pictures by itself.
    Camera,
    /// The raw end of a CSI receiver: Bayer data, or nothing before a media graph is set up. libcamera's.
    BareSensor,
    /// Data about pictures, such as a UVC camera's second node.
    Metadata,
    /// A hardware decoder.
    Decoder,
    /// A hardware encoder.
    Encoder,
    /// Scales, converts or develops pictures that a program puts in.
    ImageProcessor,
    /// Takes pictures out of the machine.
    Output,
    /// It could not be asked; `VideoNode::trouble` says why.
    Unreadable,
    /// None of these.
    #[default]
    Other,
}

impl NodeKind {
    /// In words, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Camera => "camera",
            Self::BareSensor => "bare sensor, driven by libcamera",
            Self::Metadata => "metadata of a camera",
            Self::Decoder => "hardware decoder",
            Self::Encoder => "hardware encoder",
            Self::ImageProcessor => "image processor",
            Self::Output => "video output",
            Self::Unreadable => "cannot be asked",
            Self::Other => "no camera",
        }
    }
}

/// What a node says it can do (V4L2's device capabilities), as far as it matters here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeAbility {
    /// Delivers pictures, in one plane or several.
    pub captures: bool,
    /// Takes pictures.
    pub takes: bool,
    /// Memory to memory.
    pub converts: bool,
    /// Delivers or takes metadata.
    pub metadata: bool,
}

/// Receivers of CSI buses whose nodes carry what the sensor sends, as kernel 6.1 to 6.18 and the Raspberry Pi's
/// kernel call their drivers.
const RECEIVERS: &[&str] = &[
    "unicam",
    "rp1-cfe",
    "rkcif",
    "rkisp1",
    "rkisp",
    "j721e-csi2rx",
    "ti-csi2rx",
    "mxc-isi",
    "mx6s-csi",
    "imx7-csi",
    "sun6i-csi",
    "sun4i-csi",
    "qcom-camss",
    "ipu3-cio2",
    "isys",
    "intel-ipu6-isys",
    "stm32-dcmi",
];

/// Picture processors whose capture nodes deliver nothing unless a program feeds them.
const PROCESSORS: &[&str] = &[
    "bcm2835-isp",
    "pispbe",
    "rockchip-rga",
    "rga",
    "sun8i-rotate",
    "sun8i-di",
    "j721e-vpe",
    "vpe",
    "imx-pxp",
    "pxp",
    "ipu3-imgu",
    "vsp1",
    "hantro-vpu-g1-pp",
    "deinterlace",
];

/// Tells what a node is from its driver, its name and what it can do.
pub fn classify(driver: &str, name: &str, ability: NodeAbility) -> NodeKind {
    let driver = driver.to_ascii_lowercase();
    // "codec" says neither what it codes nor which way.
    let both = format!("{driver} {}", name.to_ascii_lowercase()).replace("codec", "");
    let says = |words: &[&str]| words.iter().any(|word| both.contains(word));
    if ability.metadata && !ability.captures && !ability.takes && !ability.converts {
        return NodeKind::Metadata;
    }
    if ability.converts {
        // The Raspberry Pi calls its nodes bcm2835-codec-decode, -encode, -isp, -image_fx, -encode_image.
        let image = ["encode_image", "jpeg", "jpgenc", "isp", "image_fx", "rga", "rotate"];
        return if says(&image) || says(&["deinterlace", "scaler", "csc", "pxp"]) {
            NodeKind::ImageProcessor
        } else if says(&["enc"]) {
            NodeKind::Encoder
        } else if says(&["dec"]) {
            NodeKind::Decoder
        } else {
            NodeKind::Other
        };
    }
    if PROCESSORS.iter().any(|known| driver == *known) {
        return NodeKind::ImageProcessor;
    }
    if RECEIVERS.iter().any(|known| driver == *known) && (ability.captures || ability.metadata) {
        return if ability.captures { NodeKind::BareSensor } else { NodeKind::Metadata };
    }
    match ability {
        NodeAbility { captures: true, .. } => NodeKind::Camera,
        NodeAbility { takes: true, .. } => NodeKind::Output,
        NodeAbility { metadata: true, .. } => NodeKind::Metadata,
        _ => NodeKind::Other,
    }
}

/// A video node of any kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VideoNode {
    /// Its node, such as `/dev/video11`.
    pub path: String,
    /// What it is.
    pub kind: NodeKind,
    /// The name the kernel gives it, such as `bcm2835-codec-encode`.
    pub name: String,
    /// Its driver; empty when it could not be asked.
    pub driver: String,
    /// Why it could not be asked, with the remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// A camera: a node that delivers pictures by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Camera {
    /// The name the kernel gives it, such as `UVC Camera (046d:0825)`.
    pub name: String,
    /// Its node, such as `/dev/video0`. Changes with the order of plugging.
    pub path: String,
    /// Stable links to the node, below `/dev/v4l/by-id` and `/dev/v4l/by-path`, and the board's own.
    pub links: Vec<String>,
    /// Its driver, such as `uvcvideo`.
    pub driver: String,
    /// Where it is plugged in, such as `usb-0000:01:00.0-1.3`.
    pub bus: String,
    /// What it delivers.
    pub formats: Vec<CameraFormat>,
    /// What can be set on it. Only looked for by `intercomd devices`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<CameraControl>,
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

    /// What to write into a profile: the name that stays, if it has one.
    pub fn stable_name(&self) -> &str {
        self.links.first().unwrap_or(&self.path)
    }
}

/// One pixel format of a camera.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CameraFormat {
    /// Four letters, such as `YUYV` or `MJPG` (Linux media API, "Image Formats").
    pub fourcc: String,
    /// Picture sizes; empty when the driver does not tell.
    pub sizes: Vec<SizeOffer>,
}

/// A picture size, or a range of them, with the rates it comes at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeOffer {
    /// The size.
    pub size: PictureSize,
    /// The rates; empty when the driver does not tell.
    #[serde(default)]
    pub rates: Vec<RateOffer>,
}

/// A picture size, or a range of them, in pixels. Written `640x480` or `160x120..1280x720`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
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
    /// The size of this offer that is nearest to the wanted one.
    pub(super) fn nearest(self, wanted: (u32, u32)) -> (u32, u32) {
        match self {
            Self::Exact { width, height } => (width, height),
            Self::Range { least, most } => {
                let within =
                    |value: u32, least: u32, most: u32| value.max(least).min(most.max(least));
                (within(wanted.0, least.0, most.0), within(wanted.1, least.1, most.1))
            }
        }
    }
}

/// Pictures per second, as the fraction that drivers and pipelines want. Written `30` or `30000/1001`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Rate {
    /// So many pictures
    pub pictures: u32,
    /// in so many seconds; not 0.
    pub seconds: u32,
}

impl Rate {
    /// A whole number of pictures per second.
    pub const fn whole(pictures: u32) -> Self {
        Self { pictures, seconds: 1 }
    }

    /// In thousandths of a picture per second.
    pub fn thousandths(self) -> u64 {
        u64::from(self.pictures) * 1000 / u64::from(self.seconds.max(1))
    }

    /// Whether it is as fast as this many pictures per second. Television's 29.97 counts as 30.
    pub(super) fn reaches(self, wanted: u32) -> bool {
        self.thousandths() + 50 >= u64::from(wanted) * 1000
    }
}

/// A rate, or a range of them. Written `30` or `1..60`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum RateOffer {
    /// Just this one.
    Exact(Rate),
    /// Any between the two.
    Range {
        /// The slowest.
        least: Rate,
        /// The fastest.
        most: Rate,
    },
}

impl RateOffer {
    /// The rate of this offer that suits a wanted one best: as fast, or else the fastest.
    pub(super) fn nearest(self, wanted: u32) -> Rate {
        match self {
            Self::Exact(rate) => rate,
            Self::Range { least, most } => {
                let wanted = Rate::whole(wanted);
                if wanted.thousandths() >= most.thousandths() {
                    most
                } else if wanted.thousandths() <= least.thousandths() {
                    least
                } else {
                    wanted
                }
            }
        }
    }
}

/// Something that can be set on a camera.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CameraControl {
    /// Its name as `[camera.controls]` wants it, such as `exposure_dynamic_framerate`.
    pub name: String,
    /// The driver's number for it (V4L2's control id).
    pub id: u32,
    /// What it takes.
    pub kind: ControlKind,
    /// Smallest value.
    pub least: i64,
    /// Largest value.
    pub most: i64,
    /// Distance of the values.
    pub step: u64,
    /// What it is after the camera was plugged in.
    pub default: i64,
    /// What it is now; `None` when the driver does not tell.
    pub value: Option<i64>,
    /// It cannot be set, or not now: another control, such as an automatic, decides.
    pub inactive: bool,
    /// The values of a menu, with their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub menu: Vec<MenuEntry>,
}

/// What a control takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlKind {
    /// A number.
    #[default]
    Number,
    /// 0 or 1.
    Switch,
    /// One of `CameraControl::menu`.
    Menu,
    /// Does something when it is written.
    Button,
    /// Neither; cannot be set here.
    Other,
}

/// One value of a menu.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MenuEntry {
    /// What to write.
    pub value: i64,
    /// What it means.
    pub name: String,
}

/// A control's name the way `v4l2-ctl` shows it: small letters and digits, one underscore for what is between.
pub fn control_name(shown: &str) -> String {
    let mut name = String::with_capacity(shown.len());
    for letter in shown.chars() {
        if letter.is_ascii_alphanumeric() {
            name.push(letter.to_ascii_lowercase());
        } else if !name.ends_with('_') && !name.is_empty() {
            name.push('_');
        }
    }
    name.truncate(name.trim_end_matches('_').len());
    name
}

impl fmt::Display for PictureSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact { width, height } => write!(f, "{width}x{height}"),
            Self::Range { least, most } => {
                write!(f, "{}x{}..{}x{}", least.0, least.1, most.0, most.1)
            }
        }
    }
}

impl FromStr for PictureSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pair = |text: &str| {
            let (width, height) = text.split_once('x')?;
            Some((width.parse().ok()?, height.parse().ok()?))
        };
        let size = match text.split_once("..") {
            Some((least, most)) => {
                pair(least).zip(pair(most)).map(|(least, most)| Self::Range { least, most })
            }
            None => pair(text).map(|(width, height)| Self::Exact { width, height }),
        };
        size.ok_or_else(|| {
            format!("\"{text}\" is no picture size; write 640x480 or 160x120..1280x720")
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds {
            1 => write!(f, "{}", self.pictures),
            seconds => write!(f, "{}/{seconds}", self.pictures),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (pictures, seconds) = text.split_once('/').unwrap_or((text, "1"));
        match (pictures.parse(), seconds.parse()) {
            (Ok(pictures), Ok(seconds)) if seconds > 0 => Ok(Self { pictures, seconds }),
            _ => Err(format!("\"{text}\" is no rate; write 30 or 30000/1001")),
        }
    }
}

impl fmt::Display for RateOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(rate) => rate.fmt(f),
            Self::Range { least, most } => write!(f, "{least}..{most}"),
        }
    }
}

impl FromStr for RateOffer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("..") {
            Some((least, most)) => Ok(Self::Range { least: least.parse()?, most: most.parse()? }),
            None => text.parse().map(Self::Exact),
        }
    }
}

macro_rules! written_as_text {
    ($($kind:ty),*) => {$(
        impl From<$kind> for String {
            fn from(value: $kind) -> Self {
                value.to_string()
            }
        }

        impl TryFrom<String> for $kind {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
    )*};
}
written_as_text!(PictureSize, Rate, RateOffer);

#[cfg(test)]
mod tests {
    use super::*;

    const CODEC: NodeAbility =
        NodeAbility { captures: false, takes: false, converts: true, metadata: false };
    const CAPTURE: NodeAbility =
        NodeAbility { captures: true, takes: false, converts: false, metadata: false };

    #[test]
    fn the_nodes_of_a_raspberry_pi_are_told_apart() {
        let codec = "bcm2835-codec";
        for (driver, name, ability, kind) in [
            (codec, "bcm2835-codec-decode", CODEC, NodeKind::Decoder),
            (codec, "bcm2835-codec-encode", CODEC, NodeKind::Encoder),
            (codec, "bcm2835-codec-isp", CODEC, NodeKind::ImageProcessor),
            (codec, "bcm2835-codec-image_fx", CODEC, NodeKind::ImageProcessor),
            (codec, "bcm2835-codec-encode_image", CODEC, NodeKind::ImageProcessor),
            ("rpi-hevc-dec", "rpi-hevc-dec", CODEC, NodeKind::Decoder),
            ("unicam", "unicam-image", CAPTURE, NodeKind::BareSensor),
            ("rp1-cfe", "rp1-cfe-csi2_ch0", CAPTURE, NodeKind::BareSensor),
            ("bcm2835-isp", "bcm2835-isp-capture0", CAPTURE, NodeKind::ImageProcessor),
            ("pispbe", "pispbe-output0", CAPTURE, NodeKind::ImageProcessor),
            ("uvcvideo", "UVC Camera (046d:0825)", CAPTURE, NodeKind::Camera),
            ("vivid", "vivid-000-vid-cap", CAPTURE, NodeKind::Camera),
        ] {
            assert_eq!(classify(driver, name, ability), kind, "{name}");
        }
        let metadata = NodeAbility { metadata: true, ..NodeAbility::default() };
        assert_eq!(classify("uvcvideo", "UVC Camera", metadata), NodeKind::Metadata);
        assert_eq!(classify("vicodec", "stateful-encoder", CODEC), NodeKind::Encoder);
        assert_eq!(classify("hantro-vpu", "rockchip,rk3568-vpu-dec", CODEC), NodeKind::Decoder);
    }

    #[test]
    fn sizes_and_rates_read_what_they_write() {
        for text in ["640x480", "160x120..1280x720"] {
            assert_eq!(text.parse::<PictureSize>().map(String::from).as_deref(), Ok(text));
        }
        for text in ["30", "30000/1001", "1..60", "15/2..30"] {
            assert_eq!(text.parse::<RateOffer>().map(String::from).as_deref(), Ok(text));
        }
        for bad in ["", "640", "640x", "axb", "1x1..", "..2x2"] {
            assert!(bad.parse::<PictureSize>().is_err(), "{bad}");
        }
        for bad in ["", "30/0", "x", "-1", "1..", "1.5"] {
            assert!(bad.parse::<RateOffer>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_range_gives_the_size_and_the_rate_next_to_what_is_wanted() {
        let range = PictureSize::Range { least: (160, 120), most: (1280, 720) };
        assert_eq!(range.nearest((640, 480)), (640, 480));
        assert_eq!(range.nearest((1920, 1080)), (1280, 720));
        let rates =
            RateOffer::Range { least: Rate::whole(5), most: Rate { pictures: 50, seconds: 2 } };
        assert_eq!(rates.nearest(15), Rate::whole(15));
        assert_eq!(rates.nearest(30), Rate { pictures: 50, seconds: 2 });
        assert_eq!(rates.nearest(1), Rate::whole(5));
    }

    #[test]
    fn television_rates_count_as_the_whole_number_they_are_meant_for() {
        assert!(Rate { pictures: 30_000, seconds: 1001 }.reaches(30));
        assert!(!Rate { pictures: 15, seconds: 2 }.reaches(8));
    }

    #[test]
    fn controls_are_called_what_v4l2_ctl_calls_them() {
        for (shown, name) in [
            ("Exposure, Dynamic Framerate", "exposure_dynamic_framerate"),
            ("White Balance, Automatic", "white_balance_automatic"),
            ("Brightness", "brightness"),
            (" Zoom (Absolute) ", "zoom_absolute"),
        ] {
            assert_eq!(control_name(shown), name);
        }
    }
}
