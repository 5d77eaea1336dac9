//! Which encoder makes the picture of it, and what it is told.
//!
//! Pure: looks at nothing itself. `plan.rs` puts the text behind that of the camera; `speed.rs` measures what is
//! decided on here.

use std::collections::BTreeSet;

use super::found::Probe;
use crate::config::Board;

/// Encoders in the order in which they are tried when none of the board's list can be had.
pub const ENCODERS: &[&str] = &["v4l2h264enc", "vah264enc", "x264enc", "openh264enc"];

/// Encoders that work in the processor: for the notice, and where a board's own fails.
pub const SOFTWARE: &[&str] = &["x264enc", "openh264enc"];

/// A chosen encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Its element.
    pub(super) name: String,
    /// Its pipeline text, the element being called `encoder`.
    pub(super) text: String,
}

/// Takes the first of the board's encoders that exists; those named in `broken` come last.
pub(super) fn choose(
    board: &Board,
    probe: &Probe,
    broken: &BTreeSet<String>,
    reasons: &mut Vec<String>,
) -> Result<Chosen, String> {
    let asked = board.encoder.try_.iter().map(String::as_str);
    let mut order: Vec<&str> = Vec::new();
    for name in asked.chain(ENCODERS.iter().copied()) {
        if !order.contains(&name) {
            order.push(name);
        }
    }
    order.sort_by_key(|name| broken.contains(*name));
    for name in order {
        let listed = board.encoder.try_.iter().any(|asked| asked == name);
        match text(name, board, probe) {
            None => reasons.push(format!("encoder: {name} is not one this door knows")),
            Some(_) if !probe.has(name) => {
                if listed {
                    reasons.push(format!("encoder: {name} does not exist here"));
                }
            }
            Some(text) => {
                let why = match (broken.contains(name), listed) {
                    (true, _) => "the others are missing or failed too",
                    (false, true) => "the first in the board's list that exists and works",
                    (false, false) => "none of the board's list exists or works",
                };
                reasons.push(format!("encoder: {name}, {why}"));
                if name == "x264enc" {
                    reasons.push(preset_reason(board, probe));
                }
                if floor(name).is_some_and(|floor| board.camera.rate < floor) {
                    reasons.push(format!(
                        "encoder: {name} hangs at {} pictures per second, so some are sent twice",
                        board.camera.rate
                    ));
                }
                return Ok(Chosen { name: name.to_owned(), text });
            }
        }
    }
    Err(
        "no H.264 encoder exists; install the x264 plugin (gst-plugins-ugly) or the board's codec driver"
            .to_owned(),
    )
}

/// Below this many pictures per second the encoder stops delivering.
pub fn floor(encoder: &str) -> Option<u32> {
    (encoder == "v4l2h264enc").then_some(10)
}

/// What the encoder is given: the layouts it takes without a copy of its own.
pub(super) fn layouts(encoder: &str, width: u32) -> &'static str {
    match encoder {
        // The Pi's encoder wants lines of a multiple of 32 bytes in NV12 and of 64 in I420.
        "v4l2h264enc" if width.is_multiple_of(64) => "{NV12,I420}",
        "v4l2h264enc" | "vah264enc" | "vah264lpenc" | "mpph264enc" => "NV12",
        _ => "I420",
    }
}

fn text(name: &str, board: &Board, probe: &Probe) -> Option<String> {
    let (camera, encoder) = (&board.camera, &board.encoder);
    let bitrate = full_bitrate(board);
    let kbps = bitrate / 1000;
    let distance =
        (f64::from(camera.rate.max(1)) * encoder.keyframe_interval.as_secs_f64()).round().max(1.0);
    let blocks = blocks_per_second(camera.width, camera.height, camera.rate);
    let text = match name {
        // One thread encodes without delay; two add the delay of one picture and are only taken where
        // one core of a small board would not do (more than 720p at 15 pictures per second).
        "x264enc" => format!(
            "x264enc name=encoder tune=zerolatency speed-preset={} bframes=0 sliced-threads=false \
             threads={} key-int-max={distance} bitrate={kbps} vbv-buf-capacity=250 byte-stream=true aud=false \
             ! video/x-h264,profile=constrained-baseline",
            preset(probe.software_speed.unwrap_or(0), blocks),
            threads(blocks),
        ),
        // The driver of the Raspberry Pi refuses to start without a level in the caps; a free one may be settled
        // too low, and then nothing comes.
        "v4l2h264enc" => format!(
            "v4l2h264enc name=encoder extra-controls=\"controls,video_bitrate={},h264_i_frame_period={distance},\
             repeat_sequence_header=1\" ! video/x-h264,profile=(string)constrained-baseline,level=(string){}",
            hardware_bitrate(bitrate),
            level_name(level(camera.width, camera.height, camera.rate, bitrate))
        ),
        "openh264enc" => format!(
            "openh264enc name=encoder usage-type=camera complexity=low rate-control=bitrate multi-thread=1 \
             gop-size={distance} bitrate={bitrate} ! video/x-h264,profile=constrained-baseline"
        ),
        "vah264enc" | "vah264lpenc" => format!(
            "{name} name=encoder rate-control=cbr b-frames=0 ref-frames=1 key-int-max={distance} bitrate={kbps} \
             ! video/x-h264,profile=constrained-baseline"
        ),
        // Of the Rockchip kernels, which have it, none is packaged by Debian.
        "mpph264enc" => format!(
            "mpph264enc name=encoder profile=baseline rc-mode=cbr header-mode=each-idr gop={distance} \
             bps={bitrate} ! video/x-h264"
        ),
        _ => return None,
    };
    Some(text)
}

/// Macroblocks (16 by 16 pixels) in a second.
pub fn blocks_per_second(width: u32, height: u32, rate: u32) -> u32 {
    width.div_ceil(16) * height.div_ceil(16) * rate.max(1)
}

fn threads(blocks_per_second: u32) -> u32 {
    if blocks_per_second > 54_000 { 2 } else { 1 }
}

/// What each of x264's presets costs, the fastest being 1, in tenths. From measurements: docs/media.md.
const PRESETS: &[(&str, u32)] =
    &[("fast", 55), ("faster", 45), ("veryfast", 25), ("superfast", 15), ("ultrafast", 10)];

/// The share of a core the encoder may take at most, in percent: so much is also the delay it adds to a picture. The
/// rest is for sound, packets, the peer's picture, and pictures that are harder than the measured ones.
const SHARE: u64 = 15;

/// The best of x264's presets that a machine has time for. `speed` is what it encodes at the fastest preset on
/// one core, in macroblocks per second, 0 if nobody measured; `blocks_per_second` is what is asked of it.
pub fn preset(speed: u32, blocks_per_second: u32) -> &'static str {
    let share = u64::from(speed) * SHARE / 100;
    let asked = u64::from(blocks_per_second.max(1));
    let fits = |cost: u32| asked * u64::from(cost) <= share * 10;
    PRESETS.iter().find(|(_, cost)| fits(*cost)).map_or("ultrafast", |(name, _)| name)
}

/// Whether a software encoder of this speed keeps up at all. Unmeasured machines are trusted.
pub(super) fn keeps_up(probe: &Probe, blocks_per_second: u32) -> bool {
    let cores = u64::from(threads(blocks_per_second).min(probe.cores.max(1)));
    probe.software_speed.is_none_or(|speed| {
        // Nine tenths: at the full speed of all its cores nothing is left for anything else.
        u64::from(speed) * cores * 9 / 10 >= u64::from(blocks_per_second)
    })
}

fn preset_reason(board: &Board, probe: &Probe) -> String {
    let camera = &board.camera;
    let blocks = blocks_per_second(camera.width, camera.height, camera.rate);
    match probe.software_speed {
        None => "encoder: x264 at its fastest preset, as nobody measured this machine".to_owned(),
        Some(speed) if !keeps_up(probe, blocks) => format!(
            "encoder: {blocks} blocks a second are too much for this machine ({speed} a core); lower camera.size \
             or camera.rate"
        ),
        Some(speed) => format!(
            "encoder: x264 at preset {}, as a core does {speed} blocks a second and {blocks} are wanted",
            preset(speed, blocks)
        ),
    }
}

/// H.264 table A-1, for the baseline profiles: level_idc, macroblocks in a second and in a picture, kbit/s.
const LEVELS: &[(u8, u32, u32, u32)] = &[
    (10, 1_485, 99, 64),
    (11, 3_000, 396, 192),
    (12, 6_000, 396, 384),
    (13, 11_880, 396, 768),
    (20, 11_880, 396, 2_000),
    (21, 19_800, 792, 4_000),
    (22, 20_250, 1_620, 4_000),
    (30, 40_500, 1_620, 10_000),
    (31, 108_000, 3_600, 14_000),
    (32, 216_000, 5_120, 20_000),
    (40, 245_760, 8_192, 20_000),
    (41, 245_760, 8_192, 50_000),
    (42, 522_240, 8_704, 50_000),
    (50, 589_824, 22_080, 135_000),
    (51, 983_040, 36_864, 240_000),
];

/// The least level that such a picture fits, as `level_idc` of H.264 table A-1 (31 is level 3.1). Not below 3.1,
/// which every phone takes and our offers name; `bitrate` in bit/s.
pub fn level(width: u32, height: u32, rate: u32, bitrate: u32) -> u8 {
    let (columns, rows) = (width.div_ceil(16), height.div_ceil(16));
    let (blocks, each_second) = (columns * rows, blocks_per_second(width, height, rate));
    let fits = |(idc, most_each_second, most, kbps): &(u8, u32, u32, u32)| {
        // A side may be no longer than the root of eight times the blocks (A.3.1 f and g).
        let side = u64::from(columns.max(rows));
        *idc >= 31
            && blocks <= *most
            && each_second <= *most_each_second
            && side * side <= u64::from(*most) * 8
            && bitrate.div_ceil(1000) <= *kbps
    };
    LEVELS.iter().find(|row| fits(row)).map_or(51, |(idc, ..)| *idc)
}

/// A level as pipeline text has it: 31 is `3.1`, 40 is `4`.
pub(super) fn level_name(level_idc: u8) -> String {
    match (level_idc / 10, level_idc % 10) {
        (whole, 0) => whole.to_string(),
        (whole, tenth) => format!("{whole}.{tenth}"),
    }
}

/// How an encoder is asked for a keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyframeSetting {
    /// An upstream event of GStreamer, "force key unit".
    Event,
    /// The driver's button `force_key_frame`, through the property `extra-controls`.
    Control,
    /// It cannot be asked; the next one comes by itself.
    None,
}

/// How this encoder is asked for a keyframe under this version of GStreamer (major, minor, patch). Before 1.26
/// GStreamer's V4L2 encoders do not hear the event.
pub fn keyframe_setting(encoder: &str, version: (u32, u32, u32)) -> KeyframeSetting {
    match encoder {
        "v4l2h264enc" if (version.0, version.1) < (1, 26) => KeyframeSetting::Control,
        super::plan_camera::NATIVE => KeyframeSetting::None,
        _ => KeyframeSetting::Event,
    }
}

/// How an encoder is told another rate while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitrateSetting {
    /// The property `bitrate`, in the encoder's own unit.
    Number(u32),
    /// The driver's control `video_bitrate` in bit/s, through the property `extra-controls`.
    Control(i32),
}

/// The setting for a rate in bit/s; `None` for an encoder that is not known or keeps its rate.
pub fn bitrate_setting(encoder: &str, bitrate: u32) -> Option<BitrateSetting> {
    match encoder {
        "x264enc" | "vah264enc" | "vah264lpenc" => {
            Some(BitrateSetting::Number((bitrate / 1000).max(1)))
        }
        "openh264enc" => Some(BitrateSetting::Number(bitrate)),
        "v4l2h264enc" => i32::try_from(hardware_bitrate(bitrate)).ok().map(BitrateSetting::Control),
        _ => None,
    }
}

pub(super) fn full_bitrate(board: &Board) -> u32 {
    board.encoder.bitrate_kbps.clamp(50, 1_000_000) * 1000
}

/// The Raspberry Pi's encoder takes steps of 25,000 bit/s.
fn hardware_bitrate(bitrate: u32) -> u32 {
    bitrate.div_ceil(25_000) * 25_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_table_a_1() {
        for (width, height, rate, kbps, idc) in [
            (640, 480, 30, 1200, 31),
            (1280, 720, 30, 2000, 31),
            (1280, 720, 31, 2000, 32),
            (1280, 736, 15, 2000, 32),
            (1280, 720, 30, 14_001, 32),
            (1920, 1080, 25, 4000, 40),
            (1920, 1080, 30, 4000, 40),
            (1920, 1080, 31, 4000, 42),
            (1080, 1920, 30, 4000, 40),
            (1920, 1080, 30, 20_001, 41),
        ] {
            assert_eq!(
                level(width, height, rate, kbps * 1000),
                idc,
                "{width}x{height} {rate} {kbps}"
            );
        }
        assert_eq!(level_name(31), "3.1");
        assert_eq!(level_name(40), "4");
    }

    #[test]
    fn a_picture_that_is_too_long_for_its_blocks_needs_a_higher_level() {
        // 170 columns of 3.1's 3600 blocks: longer than the root of 28,800.
        assert_eq!(level(2720, 160, 10, 1_000_000), 32);
    }

    #[test]
    fn a_slow_or_unmeasured_machine_gets_the_fastest_preset() {
        let wanted = blocks_per_second(1280, 720, 30);
        assert_eq!(wanted, 108_000);
        for speed in [0, 40_000, 108_000, 270_000] {
            assert_eq!(preset(speed, wanted), "ultrafast", "{speed}");
        }
    }

    #[test]
    fn headroom_is_spent_on_a_better_preset_and_never_takes_it_back() {
        let wanted = blocks_per_second(640, 480, 30);
        let mut seen = vec!["ultrafast"];
        for speed in (0..2_000_000).step_by(10_000) {
            let name = preset(speed, wanted);
            if seen.last() != Some(&name) {
                seen.push(name);
            }
        }
        assert_eq!(seen, ["ultrafast", "superfast", "veryfast", "faster", "fast"]);
    }

    #[test]
    fn whether_software_keeps_up_counts_the_cores_it_may_use() {
        let machine = |speed, cores| Probe { software_speed: speed, cores, ..Probe::default() };
        assert!(keeps_up(&machine(None, 1), 1_000_000));
        assert!(keeps_up(&machine(Some(70_000), 4), 108_000));
        assert!(!keeps_up(&machine(Some(70_000), 1), 108_000));
        assert!(!keeps_up(&machine(Some(30_000), 4), 108_000));
    }

    #[test]
    fn old_gstreamer_asks_the_pi_for_a_keyframe_through_the_driver() {
        use KeyframeSetting::{Control, Event};
        assert_eq!(keyframe_setting("v4l2h264enc", (1, 22, 0)), Control);
        assert_eq!(keyframe_setting("v4l2h264enc", (1, 26, 2)), Event);
        assert_eq!(keyframe_setting("v4l2h264enc", (2, 0, 0)), Event);
        assert_eq!(keyframe_setting("x264enc", (1, 22, 0)), Event);
        assert_eq!(keyframe_setting("camera", (1, 22, 0)), KeyframeSetting::None);
    }
}
