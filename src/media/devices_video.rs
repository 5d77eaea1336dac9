//! Looks at the video nodes: asks each what it is, and a camera what it offers.
//!
//! Changes nothing on them. What the answers mean is in `found_video.rs`; controls are in `controls.rs`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gst::prelude::*;
use gstreamer as gst;
use v4l::capability::Flags;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture as _;

use super::camera_feed;
use super::found::{
    Camera, CameraFormat, NodeKind, PictureSize, Rate, RateOffer, SizeOffer, VideoNode,
};
use super::found_video::{NodeAbility, classify};
use super::plan_camera;

/// All video nodes in the kernel's order, and the cameras among them. A raw CSI receiver is no camera here.
pub(super) fn nodes() -> (Vec<VideoNode>, Vec<Camera>) {
    let links = links(&[Path::new("/dev/v4l/by-id"), Path::new("/dev/v4l/by-path")]);
    let mut numbered: Vec<(u32, PathBuf)> = v4l::context::enum_devices()
        .iter()
        .filter_map(|node| {
            let path = node.path();
            let number = path.file_name()?.to_str()?.strip_prefix("video")?;
            Some((number.parse().ok()?, path.to_owned()))
        })
        .collect();
    numbered.sort();
    let mut cameras = Vec::new();
    let nodes = numbered.into_iter().map(|(number, path)| match ask(number, &path, &links) {
        Ok((node, camera)) => {
            cameras.extend(camera);
            node
        }
        Err(node) => node,
    });
    (nodes.collect(), cameras)
}

fn ask(
    number: u32,
    path: &Path,
    links: &[(PathBuf, String)],
) -> Result<(VideoNode, Option<Camera>), VideoNode> {
    let unreadable = |name: &str, why: String| {
        tracing::debug!(path = %path.display(), why, "a video node that cannot be asked");
        VideoNode {
            path: path.to_string_lossy().into_owned(),
            kind: NodeKind::Unreadable,
            name: name.to_owned(),
            driver: String::new(),
            trouble: Some(why),
        }
    };
    if camera_feed::is_stuck(path) {
        return Err(unreadable("", camera_feed::STUCK.to_owned()));
    }
    // The v4l crate panics on a card name that is not UTF-8; sysfs shows the same name and lets us look first.
    let name = fs::read_to_string(format!("/sys/class/video4linux/video{number}/name"))
        .map_err(|error| unreadable("", format!("its name cannot be read ({error})")))?;
    let name = name.trim().to_owned();
    let device = v4l::Device::with_path(path)
        .map_err(|error| unreadable(&name, not_opened(&error, "video")))?;
    let caps = device
        .query_caps()
        .map_err(|error| unreadable(&name, format!("tells nothing ({error})")))?;
    let has = |any: Flags| caps.capabilities.intersects(any);
    let ability = NodeAbility {
        captures: has(Flags::VIDEO_CAPTURE | Flags::VIDEO_CAPTURE_MPLANE),
        takes: has(Flags::VIDEO_OUTPUT | Flags::VIDEO_OUTPUT_MPLANE),
        converts: has(Flags::VIDEO_M2M | Flags::VIDEO_M2M_MPLANE),
        metadata: has(Flags::META_CAPTURE | Flags::META_OUTPUT),
    };
    let kind = classify(&caps.driver, &name, ability);
    let path_text = path.to_string_lossy().into_owned();
    let camera = (kind == NodeKind::Camera).then(|| Camera {
        name: name.clone(),
        path: path_text.clone(),
        links: links
            .iter()
            .filter(|(target, _)| target == path)
            .map(|(_, link)| link.clone())
            .collect(),
        driver: caps.driver.clone(),
        bus: caps.bus.clone(),
        formats: formats(&device),
        controls: Vec::new(),
    });
    Ok((VideoNode { path: path_text, kind, name, driver: caps.driver, trouble: None }, camera))
}

/// Why a device could not be opened, with the remedy.
pub(super) fn not_opened(error: &io::Error, group: &str) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("no permission to open it; run as root or join the group {group}")
        }
        _ => format!("cannot be opened ({error})"),
    }
}

fn formats(device: &v4l::Device) -> Vec<CameraFormat> {
    let formats = device.enum_formats().unwrap_or_default();
    let formats = formats.iter().map(|format| {
        let fourcc = format.fourcc.to_string();
        // A camera may have a hundred formats no door asks for; their rates would be thousands of questions.
        let useful = plan_camera::knows(&fourcc);
        let sizes = device.enum_framesizes(format.fourcc).unwrap_or_default();
        let sizes = sizes.into_iter().map(|size| {
            let size = picture_size(&size.size);
            let most = match size {
                PictureSize::Exact { width, height } => (width, height),
                PictureSize::Range { most, .. } => most,
            };
            let rates = if useful { rates(device, format.fourcc, most) } else { Vec::new() };
            SizeOffer { size, rates }
        });
        CameraFormat { fourcc, sizes: sizes.collect() }
    });
    // A fourcc of a big-endian format is no text; no door asks for one.
    formats.filter(|format| !format.fourcc.is_empty()).collect()
}

/// The rates of a format at a size. Of a range of sizes the largest is asked for: what comes at that rate
/// comes at smaller sizes too.
fn rates(device: &v4l::Device, fourcc: v4l::FourCC, size: (u32, u32)) -> Vec<RateOffer> {
    // The kernel tells the time between pictures, which is the rate upside down.
    let rate = |interval: &v4l::Fraction| {
        let (pictures, seconds) = (interval.denominator, interval.numerator);
        (pictures > 0 && seconds > 0).then_some(Rate { pictures, seconds })
    };
    let intervals = device.enum_frameintervals(fourcc, size.0, size.1).unwrap_or_default();
    let offers = intervals.iter().filter_map(|interval| match &interval.interval {
        FrameIntervalEnum::Discrete(interval) => rate(interval).map(RateOffer::Exact),
        FrameIntervalEnum::Stepwise(step) => {
            Some(RateOffer::Range { least: rate(&step.max)?, most: rate(&step.min)? })
        }
    });
    offers.collect()
}

fn picture_size(size: &FrameSizeEnum) -> PictureSize {
    match size {
        FrameSizeEnum::Discrete(size) => {
            PictureSize::Exact { width: size.width, height: size.height }
        }
        FrameSizeEnum::Stepwise(size) => PictureSize::Range {
            least: (size.min_width, size.min_height),
            most: (size.max_width, size.max_height),
        },
    }
}

/// A name the owner's own udev rule gives to one of these cameras.
pub(super) fn know_by(cameras: &mut [Camera], wanted: &str) {
    let Ok(target) = fs::canonicalize(wanted) else { return };
    for camera in cameras.iter_mut().filter(|camera| Path::new(&camera.path) == target) {
        if !camera.answers_to(wanted) {
            camera.links.push(wanted.to_owned());
        }
    }
}

/// The symbolic links in these folders: where each leads, and its own path.
pub(super) fn links(folders: &[&Path]) -> Vec<(PathBuf, String)> {
    let mut links: Vec<(PathBuf, String)> = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let target = fs::canonicalize(entry.path()).ok()?;
            Some((target, entry.path().to_string_lossy().into_owned()))
        })
        .collect();
    links.sort();
    links
}

/// What libcamera calls the cameras it drives. Starts libcamera, which takes a moment and opens media devices.
pub(super) fn libcamera_names() -> Vec<String> {
    let Some(provider) = gst::DeviceProviderFactory::by_name("libcameraprovider") else {
        return Vec::new();
    };
    if let Err(error) = provider.start() {
        tracing::debug!(%error, "libcamera lists no cameras");
        return Vec::new();
    }
    let mut names: Vec<String> =
        provider.devices().iter().map(|device| device.display_name().to_string()).collect();
    provider.stop();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_answers_to_the_name_of_an_owner_s_own_link() {
        let dir = tempfile::tempdir().expect("a folder");
        let node = fs::canonicalize(dir.path()).expect("it is there").join("video7");
        fs::write(&node, "").expect("written");
        let link = dir.path().join("cams-door");
        std::os::unix::fs::symlink(&node, &link).expect("linked");
        let path = node.to_string_lossy().into_owned();
        let mut cameras = [Camera { path, ..Camera::default() }, Camera::default()];
        let wanted = link.to_string_lossy().into_owned();
        for _ in 0..2 {
            know_by(&mut cameras, &wanted);
        }
        assert_eq!(cameras[0].links, std::slice::from_ref(&wanted));
        assert!(cameras[0].answers_to(&wanted) && cameras[1].links.is_empty());
        know_by(&mut cameras, "/dev/nonexistent");
        assert_eq!(cameras[0].links.len(), 1);
    }
}
