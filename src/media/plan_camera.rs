//! Where the picture comes from: which camera, in which format, size and rate, and what is set on it.
//!
//! Pure: looks at nothing itself. `devices_video.rs` does the looking, `controls.rs` the setting.

use std::collections::BTreeMap;

use super::found::{Camera, CameraFormat, NodeKind, Probe, Rate, quoted};
use super::plan::Part;
use super::plan_encoder::floor;
use crate::config::{Board, Source};

/// Stands for the encoder's name when the camera encodes by itself.
pub const NATIVE: &str = "camera";

/// A camera of this name is libcamera's; one of its names may follow after a colon.
const LIBCAMERA: &str = "libcamera";

/// A rate at which a picture still looks like a moving one.
const STEADY: u32 = 15;

/// What is to be set on a camera before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlsPlan {
    /// Its node.
    pub path: String,
    /// By the controls' names.
    pub wishes: BTreeMap<String, Wish>,
}

/// A value for a control, and whose wish it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The owner's, from `[camera.controls]`.
    Owner(i64),
    /// The plan's own: nobody is told when the camera has no such control.
    Plan(i64),
}

impl Wish {
    /// The value.
    pub fn value(self) -> i64 {
        match self {
            Self::Owner(value) | Self::Plan(value) => value,
        }
    }
}

impl ControlsPlan {
    /// The wishes in the order in which they can be fulfilled: an automatic holds what it decides on.
    pub fn in_order(&self) -> Vec<(&str, Wish)> {
        let mut order: Vec<(&str, Wish)> =
            self.wishes.iter().map(|(name, wish)| (name.as_str(), *wish)).collect();
        order.sort_by_key(|(name, _)| !name.contains("auto"));
        order
    }
}

/// A V4L2 camera that the door reads by itself, into an appsrc called [`FEED`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraFeed {
    /// Its node.
    pub path: String,
    /// Its pixel format.
    pub fourcc: [u8; 4],
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bytes in a row of its first plane without padding; `None` for coded pictures.
    pub row: Option<u32>,
    /// So many pictures in so many seconds; `None`: as the camera likes.
    pub rate: Option<(u32, u32)>,
}

/// The name of the appsrc such a camera's pictures go to.
pub const FEED: &str = "camera-feed";

/// Where the picture comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Picture {
    /// In words.
    pub(super) source: String,
    /// Pipeline text.
    pub(super) text: String,
    /// The camera's node, if controls can be set there.
    pub(super) node: Option<String>,
    /// It is H.264 already.
    pub(super) coded: bool,
    /// Who reads it, if not an element of the text.
    pub(super) feed: Option<Box<CameraFeed>>,
}

/// What the picture is wanted for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Purpose {
    /// H.264 of the camera's own is wanted, if it has any.
    pub(super) coded: bool,
    /// GStreamer's names of the layouts the encoder takes as they are.
    pub(super) layouts: &'static str,
}

/// Chooses the source.
pub(super) fn choose(
    board: &Board,
    probe: &Probe,
    purpose: Purpose,
    reasons: &mut Vec<String>,
) -> Result<Picture, Part> {
    let missing = |why: String| Err(Part::Missing(why));
    match &board.camera.source {
        Source::Off => Err(Part::Off),
        Source::Test => Ok(test_picture(board, probe)),
        Source::Pipeline(fragment) => {
            reasons.push("camera: the board's own pipeline".to_owned());
            let (source, text) = ("own pipeline".to_owned(), fragment.trim().to_owned());
            Ok(Picture { source, text, ..Picture::default() })
        }
        Source::Device(wanted) => {
            let name = wanted.strip_prefix(LIBCAMERA);
            if let Some(name) = name.filter(|name| name.is_empty() || name.starts_with(':')) {
                return libcamera(board, probe, name.strip_prefix(':')).map_err(Part::Missing);
            }
            if let Some(camera) = probe.cameras.iter().find(|camera| camera.answers_to(wanted)) {
                return v4l2(board, probe, camera, purpose, reasons).map_err(Part::Missing);
            }
            match probe.video_nodes.iter().find(|node| node.path == *wanted) {
                Some(node) if node.kind == NodeKind::BareSensor => missing(format!(
                    "{wanted} is a {}; write source = \"{LIBCAMERA}\"",
                    node.kind.words()
                )),
                Some(node) => {
                    let why = node.trouble.as_deref().unwrap_or(node.kind.words());
                    missing(format!("{wanted} ({}) is no camera to use: {why}", node.name))
                }
                // Not tried unseen: it may be there a moment later, and `v4l2src` would never let go of it.
                None => missing(format!("no camera called \"{wanted}\"; {}", found(probe))),
            }
        }
        Source::Auto => auto(board, probe, purpose, reasons),
    }
}

fn auto(
    board: &Board,
    probe: &Probe,
    purpose: Purpose,
    reasons: &mut Vec<String>,
) -> Result<Picture, Part> {
    let mut why_not = Vec::new();
    for camera in &probe.cameras {
        let mut formats = Vec::new();
        match v4l2(board, probe, camera, purpose, &mut formats) {
            Ok(planned) => {
                reasons.push(format!("camera: {} is the first that fits", planned.source));
                reasons.append(&mut formats);
                return Ok(planned);
            }
            Err(why) => why_not.push(why),
        }
    }
    if probe.has_node(NodeKind::BareSensor) || !probe.cameras.is_empty() {
        match libcamera(board, probe, None) {
            Ok(planned) => {
                reasons.push("camera: only bare sensors, so libcamera drives them".to_owned());
                return Ok(planned);
            }
            Err(why) => why_not.push(why),
        }
    }
    if board.name == "sim" {
        reasons.push("camera: none found, so the test picture".to_owned());
        return Ok(test_picture(board, probe));
    }
    for node in probe.video_nodes.iter().filter(|node| node.kind == NodeKind::Unreadable) {
        why_not.push(format!("{}: {}", node.path, node.trouble.as_deref().unwrap_or_default()));
    }
    why_not.insert(0, "none found".to_owned());
    Err(Part::Missing(why_not.join("; ")))
}

/// What is to be set on the chosen camera for this encoder.
pub(super) fn controls(
    board: &Board,
    picture: &Picture,
    encoder: &str,
    reasons: &mut Vec<String>,
) -> Option<ControlsPlan> {
    let owner = &board.camera.controls;
    let Some(path) = picture.node.clone() else {
        if !owner.is_empty() {
            reasons.push(format!(
                "camera: [camera.controls] is not used, as {} is no V4L2 camera known here",
                picture.source
            ));
        }
        return None;
    };
    let mut wishes: BTreeMap<String, Wish> =
        owner.iter().map(|(name, value)| (name.clone(), Wish::Owner(*value))).collect();
    // The two names are those of new and old kernels.
    let named = ["exposure_dynamic_framerate", "exposure_auto_priority"];
    if floor(encoder).is_some() && named.iter().all(|name| !owner.contains_key(*name)) {
        // In the dark a camera halves its rate to expose longer.
        wishes.insert(named[0].to_owned(), Wish::Plan(0));
        reasons
            .push(format!("camera: its rate is held in the dark, as {encoder} stops at a low one"));
    }
    (!wishes.is_empty()).then_some(ControlsPlan { path, wishes })
}

/// An orange ball on dark blue with a running clock: nothing a camera would show by accident.
fn test_picture(board: &Board, probe: &Probe) -> Picture {
    let camera = &board.camera;
    let mut text = format!(
        "videotestsrc is-live=true pattern=ball animation-mode=running-time motion=sweep \
         background-color=0xff1e3a5f foreground-color=0xffff9020 \
         ! video/x-raw,format=I420,width={},height={},framerate={}/1",
        camera.width,
        camera.height,
        camera.rate.max(1)
    );
    if probe.has("timeoverlay") {
        text.push_str(" ! timeoverlay halignment=center valignment=bottom");
    } else if probe.has("clockoverlay") {
        text.push_str(" ! clockoverlay halignment=center valignment=bottom");
    }
    Picture { source: "test picture".to_owned(), text, ..Picture::default() }
}

/// A CSI camera. With rate and colours said in full, the Pi's encoder takes the pictures as they are.
fn libcamera(board: &Board, probe: &Probe, name: Option<&str>) -> Result<Picture, String> {
    if !probe.has("libcamerasrc") {
        return Err(
            "a CSI camera needs the element libcamerasrc, which does not exist here; install \
             gstreamer1.0-libcamera (Raspberry Pi OS has it)"
                .to_owned(),
        );
    }
    if let Some(name) = name
        && !probe.libcamera.is_empty()
        && !probe.libcamera.iter().any(|known| known == name)
    {
        return Err(format!(
            "libcamera knows no camera called \"{name}\"; it has {}",
            probe.libcamera.join(", ")
        ));
    }
    let camera = &board.camera;
    let named = name.map_or_else(String::new, |name| format!(" camera-name={}", quoted(name)));
    let text = format!(
        "libcamerasrc{named} ! video/x-raw,format=(string)NV12,width={},height={},framerate={}/1,\
         colorimetry=(string)bt709,interlace-mode=(string)progressive",
        camera.width,
        camera.height,
        camera.rate.max(1)
    );
    let source = name.map_or_else(|| LIBCAMERA.to_owned(), |name| format!("{LIBCAMERA} {name}"));
    Ok(Picture { source, text, ..Picture::default() })
}

/// The formats a door can use: fourcc, GStreamer's name, and what it costs to make it fit for an encoder that
/// does not take it as it is.
const RAW_FORMATS: &[(&str, &str, u8)] = &[
    ("NV12", "NV12", 1),
    ("YU12", "I420", 1),
    ("YV12", "YV12", 1),
    ("YUYV", "YUY2", 1),
    ("UYVY", "UYVY", 1),
    ("YVYU", "YVYU", 1),
    ("VYUY", "VYUY", 1),
    ("NV21", "NV21", 1),
    ("NV16", "NV16", 1),
    ("422P", "Y42B", 1),
    ("GREY", "GRAY8", 1),
    ("RGB3", "RGB", 2),
    ("BGR3", "BGR", 2),
    ("XR24", "BGRx", 2),
    ("BX24", "xRGB", 2),
];
const JPEG_COST: u8 = 3;

/// Whether this door can make anything of a format, so that its rates are worth a question.
pub(super) fn knows(fourcc: &str) -> bool {
    matches!(fourcc, "MJPG" | "JPEG" | "H264")
        || RAW_FORMATS.iter().any(|(known, ..)| *known == fourcc)
}

/// One way to have pictures of a camera.
#[derive(Debug, Clone)]
struct Offer<'a> {
    path: &'a str,
    fourcc: &'a str,
    /// GStreamer's name for the raw layout; `None` for JPEG and H.264.
    layout: Option<&'static str>,
    cost: u8,
    /// `None` when the driver does not tell.
    size: Option<(u32, u32)>,
    rate: Option<Rate>,
}

impl Offer<'_> {
    /// Better offers are greater: a picture that moves, of the wanted size, as fast as wanted, and last the
    /// one that is least work.
    fn merit(&self, board: &Board) -> (bool, u8, bool, i64, i64) {
        let camera = &board.camera;
        let reaches = |wanted| self.rate.is_none_or(|rate| rate.reaches(wanted));
        let wanted = (camera.width, camera.height);
        let area = |(width, height): (u32, u32)| i64::from(width) * i64::from(height);
        let (rank, distance) = match self.size {
            None => (0, 0),
            Some(size) => {
                let distance = (area(size) - area(wanted)).abs();
                let covers = size.0 >= wanted.0 && size.1 >= wanted.1;
                // More than one and a half times as wide costs more to scale than it shows.
                let near = area(size) * 4 <= area(wanted) * 9;
                let same_shape = u64::from(size.0) * u64::from(wanted.1)
                    == u64::from(size.1) * u64::from(wanted.0);
                let rank = match (size == wanted, covers && near, same_shape) {
                    (true, ..) => 3,
                    (false, true, true) => 2,
                    (false, true, false) => 1,
                    (false, false, _) => 0,
                };
                (rank, distance)
            }
        };
        let steady = reaches(STEADY.min(camera.rate));
        (steady, rank, reaches(camera.rate), -distance, -i64::from(self.cost))
    }

    fn words(&self) -> String {
        let size =
            self.size.map_or_else(String::new, |(width, height)| format!(" {width}x{height}"));
        let rate = self.rate.map_or_else(String::new, |rate| format!(" at {rate} a second"));
        format!("{}{size}{rate}", self.fourcc)
    }

    fn text(&self) -> String {
        let mut caps = match (self.layout, self.fourcc) {
            (Some(layout), _) => format!("video/x-raw,format=(string){layout}"),
            (None, "H264") => "video/x-h264".to_owned(),
            (None, _) => "image/jpeg".to_owned(),
        };
        if let Some((width, height)) = self.size {
            caps.push_str(&format!(",width={width},height={height}"));
        }
        if let Some(rate) = self.rate {
            caps.push_str(&format!(",framerate={}/{}", rate.pictures, rate.seconds));
        }
        let decoder = if caps.starts_with("image/jpeg") { " ! jpegdec" } else { "" };
        match self.feed() {
            Some(_) => format!(
                "appsrc name={FEED} is-live=true format=time block=false max-buffers=2 max-bytes=0 \
                 leaky-type=downstream caps=\"{caps}\"{decoder}"
            ),
            None => format!("v4l2src device={} ! {caps}{decoder}", quoted(self.path)),
        }
    }

    /// What the door has to read by itself: all but the camera's own H.264, whose caps only `v4l2src` knows, and
    /// pictures of unknown size.
    fn feed(&self) -> Option<Box<CameraFeed>> {
        let (width, height) = self.size?;
        let fourcc = <[u8; 4]>::try_from(self.fourcc.as_bytes()).ok()?;
        let row = match (self.layout, self.fourcc) {
            (None, "H264") => return None,
            (None, _) => None,
            (Some("NV12" | "NV21" | "NV16" | "I420" | "YV12" | "Y42B" | "GRAY8"), _) => Some(width),
            (Some("RGB" | "BGR"), _) => Some(width * 3),
            (Some("BGRx" | "xRGB"), _) => Some(width * 4),
            (Some(_), _) => Some(width * 2),
        };
        let rate = self.rate.map(|rate| (rate.pictures, rate.seconds));
        let path = self.path.to_owned();
        Some(Box::new(CameraFeed { path, fourcc, width, height, row, rate }))
    }
}

fn offers<'a>(
    board: &Board,
    path: &'a str,
    format: &'a CameraFormat,
    layout: Option<&'static str>,
    cost: u8,
) -> Vec<Offer<'a>> {
    let camera = &board.camera;
    let offer = |size, rate| Offer { path, fourcc: &format.fourcc, layout, cost, size, rate };
    if format.sizes.is_empty() {
        return vec![offer(None, None)];
    }
    let each = format.sizes.iter().map(|offered| {
        let size = offered.size.nearest((camera.width, camera.height));
        let rates = offered.rates.iter().map(|rate| rate.nearest(camera.rate));
        // The slowest that reaches the wanted rate, else the fastest.
        let rate = rates.min_by_key(|rate| {
            let speed = rate.thousandths();
            if rate.reaches(camera.rate) { (0, speed) } else { (1, u64::MAX - speed) }
        });
        offer(Some(size), rate)
    });
    each.collect()
}

fn v4l2(
    board: &Board,
    probe: &Probe,
    camera: &Camera,
    purpose: Purpose,
    reasons: &mut Vec<String>,
) -> Result<Picture, String> {
    let source = format!("{} ({})", camera.name, camera.path);
    if purpose.coded {
        match coded_offer(board, probe, camera) {
            Some(offer) => {
                reasons.push(format!("camera: it encodes by itself, {}", offer.words()));
                let (text, node) = (offer.text(), Some(offer.path.to_owned()));
                return Ok(Picture { source, text, node, coded: true, feed: None });
            }
            None => reasons.push(format!(
                "camera: {} has no H.264 of its own at {}x{}",
                camera.name, board.camera.width, board.camera.height
            )),
        }
    }
    let all: Vec<Offer<'_>> = camera
        .formats
        .iter()
        .flat_map(|format| {
            let raw = RAW_FORMATS.iter().find(|(fourcc, ..)| *fourcc == format.fourcc);
            match (raw, format.fourcc.as_str()) {
                (Some((_, layout, cost)), _) => {
                    let cost = if purpose.layouts.contains(layout) { 0 } else { *cost };
                    offers(board, &camera.path, format, Some(layout), cost)
                }
                (None, "MJPG" | "JPEG") if probe.has("jpegdec") => {
                    offers(board, &camera.path, format, None, JPEG_COST)
                }
                _ => Vec::new(),
            }
        })
        .collect();
    // Of equals the first, as the driver lists what it does best first.
    let best = all.iter().rev().max_by_key(|offer| offer.merit(board));
    let Some(best) = best else {
        return Err(format!("{source} offers no format this door can use"));
    };
    reasons.push(format!("camera: {}{}", best.words(), why(board, best, &all)));
    let node = Some(camera.path.clone());
    Ok(Picture { source, text: best.text(), node, coded: false, feed: best.feed() })
}

/// Why it is this offer, where that is not plain.
fn why(board: &Board, best: &Offer<'_>, all: &[Offer<'_>]) -> String {
    let camera = &board.camera;
    let wanted = (camera.width, camera.height);
    let mut words = String::new();
    let passed_over = all
        .iter()
        .filter(|offer| offer.size == Some(wanted) && offer.cost < best.cost)
        .find_map(|offer| offer.rate.map(|rate| (offer.fourcc, rate)));
    if let Some((fourcc, rate)) = passed_over {
        words.push_str(&format!(", as {fourcc} of the wanted size comes at {rate} only"));
    }
    if best.size.is_some_and(|size| size != wanted) {
        words.push_str(&format!(", scaled to {}x{}", wanted.0, wanted.1));
    }
    if best.rate.is_some_and(|rate| !rate.reaches(camera.rate)) {
        words.push_str(&format!("; it has nothing at {}", camera.rate));
    }
    words
}

/// The camera's own H.264 of exactly the wanted size, on this node or on another of the same camera.
fn coded_offer<'a>(board: &Board, probe: &'a Probe, camera: &'a Camera) -> Option<Offer<'a>> {
    let of_it = |other: &&Camera| {
        other.path == camera.path || (!other.bus.is_empty() && other.bus == camera.bus)
    };
    let wanted = (board.camera.width, board.camera.height);
    probe
        .cameras
        .iter()
        .filter(of_it)
        .flat_map(|camera| camera.formats.iter().map(move |format| (camera, format)))
        .filter(|(_, format)| format.fourcc == "H264")
        .flat_map(|(camera, format)| offers(board, &camera.path, format, None, 0))
        .filter(|offer| offer.size == Some(wanted))
        .find(|offer| offer.rate.is_none_or(|rate| rate.reaches(STEADY.min(board.camera.rate))))
}

fn found(probe: &Probe) -> String {
    if probe.cameras.is_empty() {
        return "none is there at all".to_owned();
    }
    let names =
        probe.cameras.iter().map(|camera| format!("{} ({})", camera.name, camera.stable_name()));
    format!("found: {}", names.collect::<Vec<_>>().join(", "))
}
