//! What the capture is built of: board settings and what was found on the machine become pipeline text, with
//! reasons.
//!
//! Pure: looks at nothing itself and builds nothing. `devices.rs` does the looking, `capture.rs` the building. The
//! choices themselves are made in `plan_camera.rs`, `plan_encoder.rs` and `plan_sound.rs`; `plan_playback.rs` is
//! the same for the other direction.

use std::collections::BTreeSet;

use super::found::Probe;
use super::plan_camera::{self, CameraFeed, ControlsPlan, NATIVE, Purpose};
use super::plan_encoder::{self, SOFTWARE, blocks_per_second, floor, full_bitrate, layouts};
use super::plan_sound;
use crate::config::{Board, NativeH264};

pub use super::plan_encoder::{
    BitrateSetting, KeyframeSetting, bitrate_setting, keyframe_setting, level, preset,
};
pub use super::plan_notice::notice;

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
    /// The encoder's element name, or `camera` when the camera itself encodes.
    pub encoder: String,
    /// The rate the text asks of a video encoder, in bit/s; 0 for sound.
    pub bitrate: u32,
    /// The camera that has to be read beside the text, if any.
    pub feed: Option<Box<CameraFeed>>,
}

/// What the capture pipeline is made of, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturePlan {
    /// The picture.
    pub camera: Part,
    /// What is to be set on the camera before it starts.
    pub controls: Option<ControlsPlan>,
    /// The sound.
    pub microphone: Part,
    /// What was picked and why, in sentences for `status` and the log.
    pub reasons: Vec<String>,
}

/// Plans the capture. Encoders named in `broken` failed on this machine before and come last.
pub fn capture(board: &Board, probe: &Probe, broken: &BTreeSet<String>) -> CapturePlan {
    let mut reasons = Vec::new();
    let (camera, controls) = match camera(board, probe, broken, &mut reasons) {
        Ok((fragment, controls)) => (Part::Ready(fragment), controls),
        Err(part) => (part, None),
    };
    let microphone = plan_sound::microphone(board, probe, &mut reasons);
    for (what, part) in [("camera", &camera), ("microphone", &microphone)] {
        match part {
            Part::Off => reasons.push(format!("{what}: off, as the board says")),
            Part::Missing(why) => reasons.push(format!("{what}: {why}")),
            Part::Ready(_) => {}
        }
    }
    CapturePlan { camera, controls, microphone, reasons }
}

/// level_idc of the pictures this board sends, at their full rate (H.264 table A-1).
pub fn level_of(board: &Board) -> u8 {
    let camera = &board.camera;
    level(camera.width, camera.height, camera.rate, full_bitrate(board))
}

/// Whether this encoder needs no device.
pub fn is_software(encoder: &str) -> bool {
    SOFTWARE.contains(&encoder)
}

/// Whether the plan could come to use the software encoder, whose speed it then wants to know.
pub fn asks_for_speed(board: &Board, probe: &Probe, broken: &BTreeSet<String>) -> bool {
    let mut unread = Vec::new();
    probe.software_speed.is_none()
        && plan_encoder::choose(board, probe, broken, &mut unread)
            .is_ok_and(|chosen| chosen.name == "x264enc")
}

fn camera(
    board: &Board,
    probe: &Probe,
    broken: &BTreeSet<String>,
    reasons: &mut Vec<String>,
) -> Result<(Fragment, Option<ControlsPlan>), Part> {
    let mut about_encoder = Vec::new();
    let chosen = plan_encoder::choose(board, probe, broken, &mut about_encoder);
    let camera = &board.camera;
    let wanted = match camera.native_h264 {
        NativeH264::On => true,
        NativeH264::Off => false,
        // Nobody can ask such a camera for a keyframe or another rate, nor know its profile before it runs.
        NativeH264::Auto => match &chosen {
            Err(_) => true,
            Ok(chosen) => {
                let blocks = blocks_per_second(camera.width, camera.height, camera.rate);
                SOFTWARE.contains(&chosen.name.as_str()) && !plan_encoder::keeps_up(probe, blocks)
            }
        },
    };
    let encoder = chosen.as_ref().map_or("", |chosen| chosen.name.as_str());
    let purpose = Purpose { coded: wanted, layouts: layouts(encoder, camera.width) };
    let picture = plan_camera::choose(board, probe, purpose, reasons)?;
    if picture.coded {
        let controls = plan_camera::controls(board, &picture, NATIVE, reasons);
        let fragment = Fragment {
            text: format!("{} ! {AFTER_VIDEO}", picture.text),
            source: picture.source,
            encoder: NATIVE.to_owned(),
            bitrate: full_bitrate(board),
            feed: None,
        };
        return Ok((fragment, controls));
    }
    reasons.append(&mut about_encoder);
    let chosen = chosen.map_err(Part::Missing)?;
    let controls = plan_camera::controls(board, &picture, &chosen.name, reasons);
    let fragment = Fragment {
        text: format!(
            "{} ! {} ! {} ! {AFTER_VIDEO}",
            picture.text,
            to_encoder(board, &chosen.name),
            chosen.text
        ),
        source: picture.source,
        encoder: chosen.name,
        bitrate: full_bitrate(board),
        feed: picture.feed,
    };
    Ok((fragment, controls))
}

/// From an encoder to the fan-out. h264parse repeats the parameter sets before each IDR picture. The appsink
/// hands over in the encoder's own thread, so nothing waits behind the encoder.
pub(super) const AFTER_VIDEO: &str = "h264parse config-interval=-1 \
    ! video/x-h264,stream-format=byte-stream,alignment=au \
    ! appsink name=out sync=false qos=false enable-last-sample=false max-buffers=1";

/// Where a part of the capture ends.
pub(super) const OUT: &str =
    "appsink name=out sync=false qos=false enable-last-sample=false max-buffers=1";

/// From the source to the encoder. The queue holds two pictures and drops the oldest, so that a slow encoder
/// costs pictures and never delay.
fn to_encoder(board: &Board, encoder: &str) -> String {
    let camera = &board.camera;
    let (rate, fixed) = match floor(encoder) {
        // Pictures of a camera that is slower, as in the dark, are sent twice. Not those of one that stood
        // still: they would come all at once.
        Some(floor) => {
            let rate = camera.rate.max(floor);
            (
                "videorate skip-to-first=true max-duplication-time=500000000".to_owned(),
                format!(",framerate={rate}/1"),
            )
        }
        None => (
            format!("videorate drop-only=true skip-to-first=true max-rate={}", camera.rate.max(1)),
            String::new(),
        ),
    };
    format!(
        "queue name=camera-queue leaky=downstream max-size-buffers=2 max-size-bytes=0 max-size-time=0 \
         ! videoconvert ! videoscale ! {rate} \
         ! video/x-raw,format=(string){},width={},height={},pixel-aspect-ratio=1/1{fixed}",
        layouts(encoder, camera.width),
        camera.width,
        camera.height
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use crate::media::found::{Camera, CameraFormat, PictureSize, SizeOffer, SoundCard};

    fn machine() -> Probe {
        Probe {
            elements: super::super::found::ELEMENTS
                .iter()
                .filter(|name| {
                    !["libcamerasrc"].contains(name)
                        && !["v4l2", "va", "mpp"].iter().any(|kind| name.starts_with(kind))
                })
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
            driver: "uvcvideo".to_owned(),
            bus: "usb-1".to_owned(),
            formats: formats
                .iter()
                .map(|(fourcc, sizes)| CameraFormat {
                    fourcc: (*fourcc).to_owned(),
                    sizes: sizes
                        .iter()
                        .map(|(width, height)| SizeOffer {
                            size: PictureSize::Exact { width: *width, height: *height },
                            rates: Vec::new(),
                        })
                        .collect(),
                })
                .collect(),
            controls: Vec::new(),
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
        assert!(camera.text.starts_with("appsrc name=camera-feed "));
        let feed = camera.feed.as_ref().expect("the door reads it");
        let size = (feed.width, feed.height, feed.row);
        assert_eq!((feed.path.as_str(), size), ("/dev/video2", (640, 480, Some(1280))));
        assert!(plan.reasons.iter().any(|r| r.contains("UVC Camera")), "{:?}", plan.reasons);
    }

    #[test]
    fn jpeg_is_taken_when_only_jpeg_has_the_wanted_size() {
        let mut probe = machine();
        probe.cameras = vec![webcam(&[("YUYV", &[(320, 240)]), ("MJPG", &[(640, 480)])])];
        let door = board("door", Source::Auto);
        let text = &fragment(&plan(&door, &probe).camera).text.clone();
        assert!(text.contains("image/jpeg,width=640,height=480\" ! jpegdec"), "{text}");
        probe.elements.remove("jpegdec");
        let text = &fragment(&plan(&door, &probe).camera).text.clone();
        assert!(
            text.contains("format=(string)YUY2,width=320,height=240\" ! queue"),
            "scaled: {text}"
        );
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
        assert!(
            fragment(&plan(&door, &probe).camera).text.starts_with("libcamerasrc ! video/x-raw")
        );
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
            ..SoundCard::default()
        }];
        for name in [
            "usb-Acme_Cam-video-index0",
            "/dev/v4l/by-id/usb-Acme_Cam-video-index0",
            "/dev/video2",
            "UVC Camera",
        ] {
            let plan = plan(&board("door", Source::Device(name.to_owned())), &probe);
            let feed = fragment(&plan.camera).feed.as_ref().expect("the door reads it");
            assert_eq!(feed.path, "/dev/video2", "{name}");
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
