//! Looks what this machine has: cameras, sound cards, screens, GStreamer elements.
//!
//! Changes nothing on them and chooses nothing; the plans choose. Everything answers "none" where the kernel
//! offers no such devices.

use std::fs;
use std::path::{Path, PathBuf};

use alsa::Direction;
use alsa::ctl::{Ctl, DeviceIter};
use gstreamer as gst;
use v4l::capability::Flags;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture as _;

use super::card_limits;
use super::found::{Camera, CameraFormat, ELEMENTS, PictureSize, Probe, Screen, SoundCard};

/// Looks at everything a plan may ask for. Opens devices, so it can take tens of milliseconds: not for an
/// async task.
pub fn probe() -> Probe {
    Probe {
        cameras: cameras(),
        screens: screens(Path::new("/sys/class/drm")),
        windows: ["WAYLAND_DISPLAY", "DISPLAY"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())),
        ..sound_probe()
    }
}

/// Looks at what sound needs, and leaves cameras and screens alone.
pub(super) fn sound_probe() -> Probe {
    let sound_cards = sound_cards();
    Probe {
        elements: ELEMENTS
            .iter()
            .filter(|name| gst::ElementFactory::find(name).is_some())
            .map(|name| (*name).to_owned())
            .collect(),
        sound_limits: card_limits::limits(&sound_cards),
        sound_cards,
        ..Probe::default()
    }
}

/// The nodes that capture pictures. Codecs, image processors and metadata nodes are left out.
pub fn cameras() -> Vec<Camera> {
    let links = links(&[Path::new("/dev/v4l/by-id"), Path::new("/dev/v4l/by-path")]);
    let mut nodes: Vec<(u32, PathBuf)> = v4l::context::enum_devices()
        .iter()
        .filter_map(|node| {
            let path = node.path();
            let number = path.file_name()?.to_str()?.strip_prefix("video")?;
            Some((number.parse().ok()?, path.to_owned()))
        })
        .collect();
    nodes.sort();
    nodes.into_iter().filter_map(|(number, path)| camera(number, &path, &links)).collect()
}

fn camera(number: u32, path: &Path, links: &[(PathBuf, String)]) -> Option<Camera> {
    // The v4l crate panics on a card name that is not UTF-8; sysfs shows the same name and lets us look first.
    let name = fs::read_to_string(format!("/sys/class/video4linux/video{number}/name"));
    let name = match name {
        Ok(name) => name.trim().to_owned(),
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "no readable name: left out");
            return None;
        }
    };
    let device = match v4l::Device::with_path(path) {
        Ok(device) => device,
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "a video node that cannot be opened");
            return None;
        }
    };
    let flags = device.query_caps().ok()?.capabilities;
    if !flags.contains(Flags::VIDEO_CAPTURE) || flags.contains(Flags::VIDEO_M2M) {
        return None;
    }
    let formats = device.enum_formats().unwrap_or_default();
    let formats = formats.iter().map(|format| CameraFormat {
        fourcc: format.fourcc.to_string(),
        sizes: device
            .enum_framesizes(format.fourcc)
            .unwrap_or_default()
            .into_iter()
            .map(|size| picture_size(&size.size))
            .collect(),
    });
    Some(Camera {
        name,
        path: path.to_string_lossy().into_owned(),
        links: links
            .iter()
            .filter(|(target, _)| target == path)
            .map(|(_, link)| link.clone())
            .collect(),
        formats: formats.collect(),
    })
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

/// The symbolic links in these folders: where each leads, and its own path.
fn links(folders: &[&Path]) -> Vec<(PathBuf, String)> {
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

/// The sound cards, with what they can do.
pub fn sound_cards() -> Vec<SoundCard> {
    alsa::card::Iter::new()
        .map_while(Result::ok)
        .filter_map(|card| match sound_card(&card) {
            Ok(card) => Some(card),
            Err(error) => {
                tracing::debug!(card = card.get_index(), %error, "a sound card that cannot be asked");
                None
            }
        })
        .collect()
}

fn sound_card(card: &alsa::Card) -> alsa::Result<SoundCard> {
    let ctl = Ctl::from_card(card, true)?;
    let info = ctl.card_info()?;
    let devices: Vec<u32> =
        DeviceIter::new(&ctl).filter_map(|device| u32::try_from(device).ok()).collect();
    let can = |direction| devices.iter().any(|device| ctl.pcm_info(*device, 0, direction).is_ok());
    Ok(SoundCard {
        id: info.get_id()?.to_owned(),
        name: info.get_name()?.to_owned(),
        records: can(Direction::Capture),
        plays: can(Direction::Playback),
    })
}

/// The display connectors below this folder (the kernel's `/sys/class/drm`), in the order of their names.
pub fn screens(folder: &Path) -> Vec<Screen> {
    let mut screens: Vec<Screen> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            let name = entry.file_name().to_str()?.to_owned();
            let (_card, connector) = name.split_once('-')?;
            let id = fs::read_to_string(entry.path().join("connector_id")).ok();
            Some(Screen {
                connector: connector.to_owned(),
                connected: status.trim() == "connected",
                id: id.and_then(|id| id.trim().parse().ok()),
            })
        })
        .collect();
    screens.sort_by(|a, b| a.connector.cmp(&b.connector));
    screens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_devices_is_no_trouble() {
        super::super::init().expect("GStreamer starts");
        let found = probe();
        assert!(found.has("x264enc") || found.has("openh264enc"));
        assert!(screens(Path::new("/nonexistent")).is_empty());
        assert!(links(&[Path::new("/nonexistent")]).is_empty());
    }

    #[test]
    fn screens_are_read_from_the_kernels_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, status, id) in [
            ("card1-HDMI-A-2", "disconnected\n", None),
            ("card1-HDMI-A-1", "connected\n", Some("33\n")),
        ] {
            let path = folder.path().join(name);
            fs::create_dir(&path).expect("a connector");
            fs::write(path.join("status"), status).expect("its status");
            if let Some(id) = id {
                fs::write(path.join("connector_id"), id).expect("its number");
            }
        }
        fs::create_dir(folder.path().join("card1")).expect("the card itself");
        assert_eq!(
            screens(folder.path()),
            [
                Screen { connector: "HDMI-A-1".to_owned(), connected: true, id: Some(33) },
                Screen { connector: "HDMI-A-2".to_owned(), connected: false, id: None },
            ]
        );
    }
}
