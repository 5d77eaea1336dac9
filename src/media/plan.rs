//! What the capture is built of: board settings and what was found on the machine become pipeline text, with
//! reasons.
//!
//! Pure: looks at nothing itself and builds nothing. `devices.rs` does the looking, `capture.rs` the building;
//! `plan_playback.rs` is the same for the other direction.

use std::collections::BTreeSet;

use super::found::{Camera, CameraFormat, Probe, quoted};
use super::plan_sound;
use crate::config::{Board, Source};

/// One half of the capture: the picture or the sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The board does without it.
    Off,
    /// It is wanted and cannot be had now; says why.
    Missing(String),
    /// It can be built.
    Ready(Fragment),
}

/// Text of a part that can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Pipeline text from the source to an appsink called `out`. The encoder is called `encoder`.
    pub text: String,
    /// The source in words.
    pub source: String,
    /// The encoder's element name.
    pub encoder: String,
    /// The rate the text asks of a video encoder, in bit/s; 0 for sound.
    pub bitrate: u32,
}

/// What the capture pipeline is made of, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturePlan {
    /// The picture.
    pub camera: Part,
    /// The sound.
    pub microphone: Part,
    /// What was picked and why, in sentences for `status` and the log.
    pub reasons: Vec<String>,
}

const ENCODERS: &[&str] = &["v4l2h264enc", "x264enc", "openh264enc"];

/// Plans the capture. Encoders named in `broken` failed on this machine before and come last.
pub fn capture(board: &Board, probe: &Probe, broken: &BTreeSet<String>) -> CapturePlan {
    let mut reasons = Vec::new();
    let camera = match camera_source(board, probe, &mut reasons) {
        Err(part) => part,
        Ok((source, text)) => match video_encoder(board, probe, broken, &mut reasons) {
            Err(why) => Part::Missing(why),
            Ok((encoder, encode)) => Part::Ready(Fragment {
                text: format!(
                    "{text} ! {} ! {encode} ! {}",
                    to_encoder(board, &encoder),
                    AFTER_VIDEO
                ),
                source,
                encoder,
                bitrate: full_bitrate(board),
            }),
        },
    };
    let microphone = plan_sound::microphone(board, probe, &mut reasons);
    for (what, part) in [("camera", &camera), ("microphone", &microphone)] {
        match part {
            Part::Off => reasons.push(format!("{what}: off, as the board says")),
            Part::Missing(why) => reasons.push(format!("{what}: {why}")),
            Part::Ready(_) => {}
        }
    }
    CapturePlan { camera, microphone, reasons }
}

// h264parse repeats the parameter sets before each IDR picture. The appsink hands over in the encoder's
// own thread, so nothing waits behind the encoder.
const AFTER_VIDEO: &str = "h264parse config-interval=-1 \
    ! video/x-h264,stream-format=byte-stream,alignment=au \
    ! appsink name=out sync=false qos=false enable-last-sample=false max-buffers=1";

/// Where a part of the capture ends.
pub(super) const OUT: &str =
    "appsink name=out sync=false qos=false enable-last-sample=false max-buffers=1";

/// From the source to the encoder. The queue holds two pictures and drops the oldest, so that a slow encoder
/// costs pictures and never delay.
fn to_encoder(board: &Board, encoder: &str) -> String {
    let camera = &board.camera;
    let format = match encoder {
        "v4l2h264enc" => "{I420,NV12}",
        _ => "I420",
    };
    format!(
        "queue name=camera-queue leaky=downstream max-size-buffers=2 max-size-bytes=0 max-size-time=0 \
         ! videoconvert ! videoscale ! videorate drop-only=true skip-to-first=true max-rate={} \
         ! video/x-raw,format=(string){format},width={},height={},pixel-aspect-ratio=1/1",
        camera.rate.max(1),
        camera.width,
        camera.height
    )
}

fn camera_source(
    board: &Board,
    probe: &Probe,
    reasons: &mut Vec<String>,
) -> Result<(String, String), Part> {
    match &board.camera.source {
        Source::Off => Err(Part::Off),
        Source::Test => Ok(test_picture(board, probe)),
        Source::Pipeline(fragment) => {
            reasons.push("camera: the board's own pipeline".to_owned());
            Ok(("own pipeline".to_owned(), fragment.trim().to_owned()))
        }
        Source::Device(wanted) => {
            let found = probe.cameras.iter().find(|camera| camera.answers_to(wanted));
            match found {
                Some(camera) => v4l2(board, probe, camera).map_err(Part::Missing),
                None if wanted.starts_with("/dev/") => {
                    Ok((wanted.clone(), format!("v4l2src device={}", quoted(wanted))))
                }
                None => Err(Part::Missing(format!(
                    "no camera called \"{wanted}\"; {}",
                    found_cameras(probe)
                ))),
            }
        }
        Source::Auto => {
            let mut why_not = Vec::new();
            for camera in &probe.cameras {
                match v4l2(board, probe, camera) {
                    Ok(planned) => {
                        reasons.push(format!("camera: {} is the first that fits", planned.0));
                        return Ok(planned);
                    }
                    Err(why) => why_not.push(why),
                }
            }
            if !probe.cameras.is_empty() && probe.has("libcamerasrc") {
                reasons.push("camera: only bare sensors, so libcamera drives them".to_owned());
                return Ok(("libcamera".to_owned(), "libcamerasrc".to_owned()));
            }
            if board.name == "sim" {
                reasons.push("camera: none found, so the test picture".to_owned());
                return Ok(test_picture(board, probe));
            }
            why_not.insert(0, "none found".to_owned());
            Err(Part::Missing(why_not.join("; ")))
        }
    }
}

/// An orange ball on dark blue with a running clock: nothing a camera would show by accident.
fn test_picture(board: &Board, probe: &Probe) -> (String, String) {
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
    ("test picture".to_owned(), text)
}

/// Raw pictures of the wanted size if there are any, else JPEG of that size, else raw of any size.
fn v4l2(board: &Board, probe: &Probe, camera: &Camera) -> Result<(String, String), String> {
    let wanted = (board.camera.width, board.camera.height);
    let offers = |format: &CameraFormat| format.sizes.iter().any(|size| size.offers(wanted));
    let raw = |format: &&CameraFormat| RAW_FORMATS.contains(&format.fourcc.as_str());
    let jpeg = |format: &&CameraFormat| {
        matches!(format.fourcc.as_str(), "MJPG" | "JPEG") && probe.has("jpegdec")
    };
    let size = format!("width={},height={}", wanted.0, wanted.1);
    let formats = || camera.formats.iter();
    let tail = if formats().filter(raw).any(offers) {
        format!(" ! video/x-raw,{size}")
    } else if formats().filter(jpeg).any(offers) {
        format!(" ! image/jpeg,{size} ! jpegdec")
    } else if formats().any(|format| raw(&format)) {
        " ! video/x-raw".to_owned()
    } else if formats().any(|format| jpeg(&format)) {
        " ! image/jpeg ! jpegdec".to_owned()
    } else {
        return Err(format!(
            "{} ({}) offers no format this door can use",
            camera.name, camera.path
        ));
    };
    Ok((
        format!("{} ({})", camera.name, camera.path),
        format!("v4l2src device={}{tail}", quoted(&camera.path)),
    ))
}

const RAW_FORMATS: &[&str] = &[
    "YUYV", "UYVY", "YVYU", "VYUY", "NV12", "NV21", "NV16", "YU12", "YV12", "422P", "RGB3", "BGR3",
    "BX24", "XR24", "GREY",
];

fn found_cameras(probe: &Probe) -> String {
    if probe.cameras.is_empty() {
        return "none is there at all".to_owned();
    }
    let names = probe.cameras.iter().map(|camera| {
        let link = camera.links.first().unwrap_or(&camera.path);
        format!("{} ({link})", camera.name)
    });
    format!("found: {}", names.collect::<Vec<_>>().join(", "))
}

fn video_encoder(
    board: &Board,
    probe: &Probe,
    broken: &BTreeSet<String>,
    reasons: &mut Vec<String>,
) -> Result<(String, String), String> {
    let asked = board.encoder.try_.iter().map(String::as_str);
    let mut order: Vec<&str> = Vec::new();
    for name in asked.chain(ENCODERS.iter().copied()) {
        if !order.contains(&name) {
            order.push(name);
        }
    }
    order.sort_by_key(|name| broken.contains(*name));
    for name in order {
        match encoder_text(name, board) {
            None => reasons.push(format!("encoder: {name} is not one this door knows")),
            Some(_) if !probe.has(name) => {
                reasons.push(format!("encoder: {name} does not exist here"))
            }
            Some(text) => {
                let why =
                    match (broken.contains(name), board.encoder.try_.iter().any(|n| n == name)) {
                        (true, _) => "the others are missing or failed too",
                        (false, true) => "the first in the board's list that exists and works",
                        (false, false) => "none of the board's list exists or works",
                    };
                reasons.push(format!("encoder: {name}, {why}"));
                return Ok((name.to_owned(), text));
            }
        }
    }
    Err(
        "no H.264 encoder exists; install the x264 plugin (gst-plugins-ugly) or the board's codec driver"
            .to_owned(),
    )
}

fn encoder_text(name: &str, board: &Board) -> Option<String> {
    let (camera, encoder) = (&board.camera, &board.encoder);
    let bitrate = full_bitrate(board);
    let kbps = bitrate / 1000;
    let distance =
        (f64::from(camera.rate.max(1)) * encoder.keyframe_interval.as_secs_f64()).round().max(1.0);
    let blocks = camera.width.div_ceil(16) * camera.height.div_ceil(16);
    let blocks_per_second = blocks * camera.rate.max(1);
    let text = match name {
        // One thread encodes without delay; two add the delay of one picture and are only taken where
        // one core of a small board would not do (more than 720p at 15 pictures per second).
        "x264enc" => format!(
            "x264enc name=encoder tune=zerolatency speed-preset=ultrafast bframes=0 sliced-threads=false \
             threads={} key-int-max={distance} bitrate={kbps} vbv-buf-capacity=250 byte-stream=true aud=false \
             ! video/x-h264,profile=constrained-baseline",
            if blocks_per_second > 54_000 { 2 } else { 1 }
        ),
        // The driver of the Raspberry Pi refuses to start without a level in the caps.
        "v4l2h264enc" => format!(
            "v4l2h264enc name=encoder extra-controls=\"controls,video_bitrate={},h264_i_frame_period={distance},\
             repeat_sequence_header=1\" ! video/x-h264,profile=(string)constrained-baseline,level=(string){}",
            hardware_bitrate(bitrate),
            if blocks <= 3_600 && blocks_per_second <= 108_000 { "3.1" } else { "4" }
        ),
        "openh264enc" => format!(
            "openh264enc name=encoder usage-type=camera complexity=low rate-control=bitrate multi-thread=1 \
             gop-size={distance} bitrate={} ! video/x-h264,profile=constrained-baseline",
            bitrate
        ),
        _ => return None,
    };
    Some(text)
}

/// How an encoder is told another rate while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitrateSetting {
    /// The property `bitrate`, in the encoder's own unit.
    Number(u32),
    /// The driver's control `video_bitrate` in bit/s, through the property `extra-controls`.
    Control(i32),
}

/// The setting for a rate in bit/s; `None` for an encoder that is not known.
pub fn bitrate_setting(encoder: &str, bitrate: u32) -> Option<BitrateSetting> {
    match encoder {
        "x264enc" => Some(BitrateSetting::Number((bitrate / 1000).max(1))),
        "openh264enc" => Some(BitrateSetting::Number(bitrate)),
        "v4l2h264enc" => i32::try_from(hardware_bitrate(bitrate)).ok().map(BitrateSetting::Control),
        _ => None,
    }
}

fn full_bitrate(board: &Board) -> u32 {
    board.encoder.bitrate_kbps.clamp(50, 1_000_000) * 1000
}

/// The Raspberry Pi's encoder takes steps of 25,000 bit/s.
fn hardware_bitrate(bitrate: u32) -> u32 {
    bitrate.div_ceil(25_000) * 25_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::found::{PictureSize, SoundCard};

    fn machine() -> Probe {
        Probe {
            elements: super::super::found::ELEMENTS
                .iter()
                .filter(|name| !["v4l2h264enc", "libcamerasrc"].contains(name))
                .map(|name| (*name).to_owned())
                .collect(),
            ..Probe::default()
        }
    }

    fn webcam(formats: &[(&str, &[(u32, u32)])]) -> Camera {
        Camera {
            name: "UVC Camera".to_owned(),
            path: "/dev/video2".to_owned(),
            links: vec!["/dev/v4l/by-id/usb-Acme_Cam-video-index0".to_owned()],
            formats: formats
                .iter()
                .map(|(fourcc, sizes)| CameraFormat {
                    fourcc: (*fourcc).to_owned(),
                    sizes: sizes
                        .iter()
                        .map(|(width, height)| PictureSize::Exact {
                            width: *width,
                            height: *height,
                        })
                        .collect(),
                })
                .collect(),
        }
    }

    fn board(name: &str, source: Source) -> Board {
        let mut board = Board {
            name: name.to_owned(),
            ..crate::config::built_in_board("sim").expect("the simulated board is built in")
        };
        board.camera.source = source.clone();
        board.microphone.source = source;
        board.encoder.bitrate_kbps = 800;
        board.encoder.keyframe_interval = std::time::Duration::from_secs(2);
        board
    }

    fn plan(board: &Board, probe: &Probe) -> CapturePlan {
        capture(board, probe, &BTreeSet::new())
    }

    fn fragment(part: &Part) -> &Fragment {
        match part {
            Part::Ready(fragment) => fragment,
            other => panic!("not ready: {other:?}"),
        }
    }

    fn why(part: &Part) -> &str {
        match part {
            Part::Missing(why) => why,
            other => panic!("not missing: {other:?}"),
        }
    }

    #[test]
    fn a_test_board_gets_a_moving_picture_and_a_tone() {
        let plan = plan(&board("sim", Source::Test), &machine());
        let camera = fragment(&plan.camera);
        assert!(camera.text.starts_with("videotestsrc is-live=true pattern=ball"));
        assert!(camera.text.contains("timeoverlay"));
        assert_eq!(camera.encoder, "x264enc");
        assert!(fragment(&plan.microphone).text.starts_with("audiotestsrc is-live=true"));
        let bare = Probe {
            elements: ["x264enc", "opusenc"].map(str::to_owned).into(),
            ..Probe::default()
        };
        let plan = super::capture(&board("sim", Source::Test), &bare, &BTreeSet::new());
        assert!(!fragment(&plan.camera).text.contains("overlay"));
    }

    #[test]
    fn auto_takes_the_first_camera_that_fits_and_says_so() {
        let mut probe = machine();
        probe.cameras = vec![
            Camera {
                path: "/dev/video0".to_owned(),
                name: "sensor".to_owned(),
                ..webcam(&[("RG10", &[(640, 480)])])
            },
            webcam(&[("YUYV", &[(640, 480)]), ("MJPG", &[(1280, 720)])]),
        ];
        let plan = plan(&board("door", Source::Auto), &probe);
        let camera = fragment(&plan.camera);
        assert!(camera.text.starts_with(
            "v4l2src device=\"/dev/video2\" ! video/x-raw,width=640,height=480 ! queue"
        ));
        assert!(plan.reasons.iter().any(|r| r.contains("UVC Camera")), "{:?}", plan.reasons);
    }

    #[test]
    fn jpeg_is_taken_when_only_jpeg_has_the_wanted_size() {
        let mut probe = machine();
        probe.cameras = vec![webcam(&[("YUYV", &[(320, 240)]), ("MJPG", &[(640, 480)])])];
        let door = board("door", Source::Auto);
        let text = &fragment(&plan(&door, &probe).camera).text.clone();
        assert!(text.contains("image/jpeg,width=640,height=480 ! jpegdec"), "{text}");
        probe.elements.remove("jpegdec");
        let text = &fragment(&plan(&door, &probe).camera).text.clone();
        assert!(text.contains("\" ! video/x-raw ! queue"), "scaled instead: {text}");
    }

    #[test]
    fn auto_without_a_camera_means_sound_only_except_on_the_sim_board() {
        let door = plan(&board("door", Source::Auto), &machine());
        assert!(why(&door.camera).contains("none found"));
        assert!(why(&door.microphone).contains("no sound card"));
        let sim = plan(&board("sim", Source::Auto), &machine());
        assert_eq!(fragment(&sim.camera).source, "test picture");
        assert_eq!(fragment(&sim.microphone).source, "test tone");
    }

    #[test]
    fn bare_sensors_are_left_to_libcamera_if_it_is_there() {
        let mut probe = machine();
        probe.cameras = vec![webcam(&[("RG10", &[(640, 480)])])];
        let door = board("door", Source::Auto);
        assert!(why(&plan(&door, &probe).camera).contains("no format"));
        probe.elements.insert("libcamerasrc".to_owned());
        assert!(fragment(&plan(&door, &probe).camera).text.starts_with("libcamerasrc ! queue"));
    }

    #[test]
    fn a_named_device_is_found_by_link_path_or_name_and_never_replaced_by_another() {
        let mut probe = machine();
        probe.cameras = vec![webcam(&[("YUYV", &[(640, 480)])])];
        probe.sound_cards = vec![SoundCard {
            id: "panel".to_owned(),
            name: "Door Panel".to_owned(),
            records: true,
            plays: true,
        }];
        for name in [
            "usb-Acme_Cam-video-index0",
            "/dev/v4l/by-id/usb-Acme_Cam-video-index0",
            "/dev/video2",
            "UVC Camera",
        ] {
            let plan = plan(&board("door", Source::Device(name.to_owned())), &probe);
            assert!(fragment(&plan.camera).text.contains("device=\"/dev/video2\""), "{name}");
        }
        for name in ["panel", "Door Panel", "plughw:CARD=panel"] {
            let plan = plan(&board("door", Source::Device(name.to_owned())), &probe);
            let text = &fragment(&plan.microphone).text;
            assert!(text.starts_with("alsasrc device=\"plughw:CARD=panel\""), "{text}");
        }
        let other = plan(&board("door", Source::Device("usb-Other".to_owned())), &probe);
        assert!(why(&other.camera).contains("usb-Other"));
        assert!(why(&other.camera).contains("usb-Acme_Cam"), "what there is instead");
        assert!(why(&other.microphone).contains("panel"));
    }

    #[test]
    fn the_owners_pipeline_is_used_as_it_is() {
        let own = " rtspsrc location=\"rtsp://cam/1\" ! decodebin ";
        let plan = plan(&board("door", Source::Pipeline(own.to_owned())), &machine());
        assert!(fragment(&plan.camera).text.starts_with(&format!("{} ! queue", own.trim())));
    }

    #[test]
    fn off_stays_off() {
        let plan = plan(&board("door", Source::Off), &machine());
        assert_eq!((plan.camera, plan.microphone), (Part::Off, Part::Off));
    }

    #[test]
    fn encoders_are_tried_in_the_boards_order_and_broken_ones_last() {
        let mut sim = board("sim", Source::Test);
        let mut probe = machine();
        probe.elements.insert("v4l2h264enc".to_owned());
        sim.encoder.try_ = ["nosuchenc", "v4l2h264enc", "openh264enc"].map(str::to_owned).into();
        let encoder = |broken: &[&str]| {
            let broken = broken.iter().map(|name| (*name).to_owned()).collect();
            let plan = capture(&sim, &probe, &broken);
            (fragment(&plan.camera).encoder.clone(), plan.reasons.join("\n"))
        };
        let (name, reasons) = encoder(&[]);
        assert_eq!(name, "v4l2h264enc");
        assert!(reasons.contains("nosuchenc"), "{reasons}");
        assert_eq!(encoder(&["v4l2h264enc"]).0, "openh264enc");
        assert_eq!(encoder(&["v4l2h264enc", "openh264enc"]).0, "x264enc");
        assert_eq!(encoder(&["v4l2h264enc", "openh264enc", "x264enc"]).0, "v4l2h264enc");
    }

    #[test]
    fn without_any_encoder_the_reason_says_what_to_install() {
        let mut probe = machine();
        probe.elements.retain(|name| !name.ends_with("enc"));
        let plan = plan(&board("sim", Source::Test), &probe);
        assert!(why(&plan.camera).contains("install"));
        assert!(why(&plan.microphone).contains("opusenc"));
    }

    #[test]
    fn the_hardware_encoder_is_told_a_level_and_a_whole_bitrate_step() {
        let mut sim = board("sim", Source::Test);
        let mut probe = machine();
        probe.elements.insert("v4l2h264enc".to_owned());
        sim.encoder.try_ = vec!["v4l2h264enc".to_owned()];
        sim.encoder.bitrate_kbps = 810;
        let text = fragment(&plan(&sim, &probe).camera).text.clone();
        assert!(text.contains("level=(string)3.1"), "{text}");
        assert!(text.contains("video_bitrate=825000"), "{text}");
        assert!(text.contains("h264_i_frame_period=60"), "{text}");
        (sim.camera.width, sim.camera.height) = (1920, 1080);
        assert!(fragment(&plan(&sim, &probe).camera).text.contains("level=(string)4"));
    }
}
