//! Looks what this machine has: cameras, sound cards, screens, GStreamer elements.
//!
//! Changes nothing on them and chooses nothing; the plans choose. Everything answers "none" where the kernel
//! offers no such devices.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Once;

use alsa::Direction;
use alsa::ctl::{Ctl, DeviceIter};
use alsa::mixer::{MilliBel, Mixer, Selem};
use gstreamer as gst;

use super::found::{
    ELEMENTS, Knob, MixerControl, NodeKind, PictureSize, Probe, Screen, SoundCard, VideoNode,
};
use super::{card_limits, controls, devices_video, plan, speed};
use crate::config::{Board, Source};

pub use super::controls::apply_controls;

// What ALSA says when a user may not open a card.
const EPERM: i32 = 1;
const EACCES: i32 = 13;

/// Looks at everything a plan may ask for. Opens devices, so it can take tens of milliseconds: not for an
/// async task.
pub fn probe() -> Probe {
    let (video_nodes, cameras) = devices_video::nodes();
    look_for_late_codecs(&video_nodes);
    Probe {
        software_speed: None,
        cameras,
        video_nodes,
        screens: screens(Path::new("/sys/class/drm")),
        windows: has_windows(),
        ..sound_probe()
    }
}

/// Looks at what a screen and its decoders need, and leaves cameras and sound alone.
pub fn screen_probe() -> Probe {
    let (major, minor, patch, _) = gst::version();
    Probe {
        gst_version: (major, minor, patch),
        elements: elements(),
        screens: screens(Path::new("/sys/class/drm")),
        windows: has_windows(),
        ..Probe::default()
    }
}

fn elements() -> BTreeSet<String> {
    let found = ELEMENTS.iter().filter(|name| gst::ElementFactory::find(name).is_some());
    found.map(|name| (*name).to_owned()).collect()
}

/// Whether a window can be opened.
fn has_windows() -> bool {
    let named = ["WAYLAND_DISPLAY", "DISPLAY"];
    named.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Looks at what sound needs, and leaves cameras and screens alone.
pub(super) fn sound_probe() -> Probe {
    let mut trouble = Vec::new();
    let sound_cards = sound_cards(&mut trouble);
    let (major, minor, patch, _) = gst::version();
    Probe {
        gst_version: (major, minor, patch),
        elements: elements(),
        cores: std::thread::available_parallelism()
            .ok()
            .and_then(|cores| u32::try_from(cores.get()).ok())
            .unwrap_or(0),
        sound_limits: card_limits::limits(&sound_cards),
        sound_cards,
        trouble,
        ..Probe::default()
    }
}

/// As [`probe`], and measures how fast this machine encodes where the plan for this board would use that: once
/// per process, for 0.1 to 0.6 s.
pub fn probe_for(board: &Board, broken: &BTreeSet<String>) -> Probe {
    let mut probe = probe();
    if let Source::Device(wanted) = &board.camera.source {
        devices_video::know_by(&mut probe.cameras, wanted);
    }
    if plan::asks_for_speed(board, &probe, broken) {
        probe.software_speed = speed::software_speed();
    }
    probe
}

/// Looks at what only an owner asks for, too: controls, mixers, libcamera's names. Takes up to some seconds.
pub fn probe_all() -> Probe {
    let mut probe = probe();
    for camera in &mut probe.cameras {
        match controls::controls(&camera.path) {
            Ok(list) => camera.controls = list,
            Err(why) => probe.trouble.push(format!("controls of {}: {why}", camera.path)),
        }
    }
    for card in &mut probe.sound_cards {
        match mixer(&card.id) {
            Ok(knobs) => card.mixer = knobs,
            Err(error) => probe.trouble.push(format!("mixer of {}: {error}", card.id)),
        }
    }
    if probe.has("libcamerasrc") {
        probe.libcamera = devices_video::libcamera_names();
    }
    probe
}

/// GStreamer makes its codec elements from the nodes that were there when it looked; a driver that was loaded
/// later has none. It is told to look again, once.
fn look_for_late_codecs(nodes: &[VideoNode]) {
    static LOOKED: Once = Once::new();
    // Codecs of other pictures than H.264.
    const OTHERS: &[&str] = &["rpi-hevc-dec", "rpivid", "vicodec"];
    let missing = [(NodeKind::Encoder, "v4l2h264enc"), (NodeKind::Decoder, "v4l2h264dec")]
        .into_iter()
        .filter(|(kind, element)| {
            nodes.iter().any(|node| node.kind == *kind && !OTHERS.contains(&node.driver.as_str()))
                && gst::ElementFactory::find(element).is_none()
        });
    for (_, element) in missing {
        LOOKED.call_once(|| {
            let outcome = gst::Registry::update();
            tracing::debug!(element, ?outcome, "a codec node without its element: looked again");
        });
    }
}

/// The sound cards, with what they can do. What cannot be asked is told to `trouble`.
fn sound_cards(trouble: &mut Vec<String>) -> Vec<SoundCard> {
    alsa::card::Iter::new()
        .map_while(Result::ok)
        .filter_map(|card| match sound_card(&card) {
            Ok(card) => Some(card),
            Err(error) => {
                let hint = match error.errno() {
                    EACCES | EPERM => "; run as root or join the group audio",
                    _ => "",
                };
                trouble.push(format!("sound card {}: {error}{hint}", card.get_index()));
                None
            }
        })
        .collect()
}

/// The knobs of a card.
fn mixer(card: &str) -> alsa::Result<Vec<MixerControl>> {
    let mixer = Mixer::new(&format!("hw:CARD={card}"), false)?;
    let knobs = mixer.iter().filter_map(Selem::new).filter_map(|knob| {
        let id = knob.get_id();
        let playback = (knob.has_playback_volume() || knob.has_playback_switch()).then(|| Knob {
            volume: knob.has_playback_volume().then(|| knob.get_playback_volume_range()),
            millibels: decibels(knob.has_playback_volume(), || knob.get_playback_db_range()),
            switch: knob.has_playback_switch(),
        });
        let capture = (knob.has_capture_volume() || knob.has_capture_switch()).then(|| Knob {
            volume: knob.has_capture_volume().then(|| knob.get_capture_volume_range()),
            millibels: decibels(knob.has_capture_volume(), || knob.get_capture_db_range()),
            switch: knob.has_capture_switch(),
        });
        (playback.is_some() || capture.is_some()).then_some(MixerControl {
            name: id.get_name().unwrap_or_default().to_owned(),
            index: id.get_index(),
            playback,
            capture,
        })
    });
    Ok(knobs.collect())
}

/// A range in hundredths of a decibel. The crate says 0 to 0 for a card that does not tell.
fn decibels(has: bool, range: impl FnOnce() -> (MilliBel, MilliBel)) -> Option<(i64, i64)> {
    let (least, most) = has.then(range)?;
    (least != most).then_some((least.0, most.0))
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
        mixer: Vec::new(),
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
            let (card, connector) = name.split_once('-')?;
            let id = fs::read_to_string(entry.path().join("connector_id")).ok();
            // A connector lies below its card, and the card's device names its driver.
            let driver = fs::canonicalize(entry.path().join("device/device/driver")).ok();
            let modes = fs::read_to_string(entry.path().join("modes")).unwrap_or_default();
            Some(Screen {
                connector: connector.to_owned(),
                // Panels soldered to the board often cannot tell.
                connected: status.trim() != "disconnected",
                id: id.and_then(|id| id.trim().parse().ok()),
                driver: driver
                    .and_then(|path| Some(path.file_name()?.to_str()?.to_owned()))
                    .unwrap_or_default(),
                card: card.to_owned(),
                modes: modes_of(&modes),
            })
        })
        .collect();
    screens.sort_by(|a, b| a.connector.cmp(&b.connector));
    screens
}

/// The sizes in a connector's list of modes, each once. Interlaced ones (`1920x1080i`) are left out.
fn modes_of(text: &str) -> Vec<PictureSize> {
    let mut modes = Vec::new();
    for mode in text.lines().filter_map(|line| line.trim().parse().ok()) {
        if !modes.contains(&mode) {
            modes.push(mode);
        }
    }
    modes
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_machine_without_devices_is_no_trouble() {
        super::super::init().expect("GStreamer starts");
        let found = probe();
        assert!(found.has("x264enc") || found.has("openh264enc"));
        assert!(screens(Path::new("/nonexistent")).is_empty());
        assert!(devices_video::links(&[Path::new("/nonexistent")]).is_empty());
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
                fs::write(path.join("modes"), "1920x1080\n1920x1080\n1920x1080i\n1280x720\n")
                    .expect("its modes");
            }
            symlink("../card1", path.join("device")).expect("its card");
        }
        let card = folder.path().join("card1");
        fs::create_dir_all(folder.path().join("drivers/vc4")).expect("the driver");
        fs::create_dir_all(card.join("device")).expect("the card itself");
        symlink("../../drivers/vc4", card.join("device/driver")).expect("its driver");
        let exact = |width, height| PictureSize::Exact { width, height };
        let screen = |connector: &str, connected, id, modes| Screen {
            connector: connector.to_owned(),
            connected,
            id,
            driver: "vc4".to_owned(),
            card: "card1".to_owned(),
            modes,
        };
        assert_eq!(
            screens(folder.path()),
            [
                screen("HDMI-A-1", true, Some(33), vec![exact(1920, 1080), exact(1280, 720)]),
                screen("HDMI-A-2", false, None, Vec::new()),
            ]
        );
    }
}
