//! What the door takes on many machines, planned from the probes in tests/data/probes, and `intercomd devices`
//! itself on the machine that runs the tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use intercomd::config::{self, Board, NativeH264, Source};
use intercomd::devices::Listing;
use intercomd::hardware::{Hold, ListedChip, ListedLine, Way};
use intercomd::media::found::Probe;
use intercomd::media::plan::{self, CapturePlan, Fragment, Part};
use intercomd::media::plan_camera::Wish;

const PROBES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/probes");

fn probe(name: &str) -> Probe {
    let path = Path::new(PROBES).join(format!("{name}.json"));
    let text = fs::read_to_string(&path).expect("the probe is there");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn all_probes() -> Vec<(String, Probe)> {
    let names = fs::read_dir(PROBES).expect("the folder").flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_suffix(".json").map(str::to_owned)
    });
    let mut probes: Vec<_> = names.map(|name| (name.clone(), probe(&name))).collect();
    probes.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(probes.len() >= 11, "{}", probes.len());
    probes
}

fn board(name: &str) -> Board {
    config::built_in_board(name).expect("a built-in board")
}

fn with(name: &str, change: impl FnOnce(&mut Board)) -> Board {
    let mut board = board(name);
    change(&mut board);
    board
}

fn plan_for(board: &Board, probe: &Probe) -> CapturePlan {
    plan::capture(board, probe, &BTreeSet::new())
}

fn camera(plan: &CapturePlan) -> &Fragment {
    match &plan.camera {
        Part::Ready(fragment) => fragment,
        other => panic!("no camera: {other:?}, {:#?}", plan.reasons),
    }
}

fn missing(part: &Part) -> &str {
    match part {
        Part::Missing(why) => why,
        other => panic!("not missing: {other:?}"),
    }
}

/// The node the door reads by itself.
fn read_from(fragment: &Fragment) -> &str {
    &fragment.feed.as_ref().expect("the door reads it").path
}

fn has(text: &str, wanted: &str) {
    assert!(text.contains(wanted), "{wanted:?} is not in {text}");
}

fn lacks(text: &str, unwanted: &str) {
    assert!(!text.contains(unwanted), "{unwanted:?} is in {text}");
}

#[test]
fn a_probe_reads_what_it_writes() {
    for (name, probe) in all_probes() {
        let text = serde_json::to_string(&probe).expect("it can be written");
        assert_eq!(serde_json::from_str::<Probe>(&text).expect("and read"), probe, "{name}");
    }
}

#[test]
fn on_no_machine_is_anything_but_a_camera_opened_as_one() {
    for (name, probe) in all_probes() {
        for profile in ["rpi3", "rpi4", "rpi5", "zero2w", "pc"] {
            let plan = plan_for(&board(profile), &probe);
            assert!(!plan.reasons.is_empty(), "{name}: no reasons");
            let Part::Ready(fragment) = &plan.camera else { continue };
            if let Some(feed) = &fragment.feed {
                let known = probe.cameras.iter().any(|camera| camera.path == feed.path);
                assert!(known, "{name}: {}", feed.path);
            }
            if let Some(rest) = fragment.text.strip_prefix("v4l2src device=\"") {
                let node = rest.split('"').next().expect("a node");
                assert!(probe.cameras.iter().any(|camera| camera.path == node), "{name}: {node}");
            }
            assert!(fragment.text.ends_with("max-buffers=1"), "{name}: {}", fragment.text);
            let encoder = fragment.encoder.as_str();
            assert!(
                encoder == "camera" || probe.has(encoder),
                "{name}: {encoder} does not exist there"
            );
        }
    }
}

#[test]
fn a_pi_3_takes_jpeg_of_a_usb_camera_at_720p_and_holds_its_rate_in_the_dark() {
    let probe = probe("raspberry-pi-3b-plus-usb-camera");
    let door = with("rpi3", |board| {
        (board.camera.width, board.camera.height, board.camera.rate) = (1280, 720, 30);
    });
    let plan = plan_for(&door, &probe);
    let text = &camera(&plan).text;
    has(text, "image/jpeg,width=1280,height=720,framerate=30/1\" ! jpegdec");
    has(text, "v4l2h264enc name=encoder");
    has(text, "repeat_sequence_header=1");
    has(text, "level=(string)3.1");
    has(text, "format=(string){NV12,I420},width=1280,height=720");
    has(text, "videorate skip-to-first=true max-duplication-time=500000000");
    has(text, "framerate=30/1 ! v4l2h264enc");
    let controls = plan.controls.as_ref().expect("controls");
    assert_eq!(controls.path, "/dev/video0");
    assert_eq!(controls.in_order(), [("exposure_dynamic_framerate", Wish::Plan(0))]);
    has(&plan.reasons.join("\n"), "as YUYV of the wanted size comes at 15/2 only");
}

#[test]
fn raw_pictures_are_taken_where_the_camera_has_them_fast_enough() {
    let probe = probe("raspberry-pi-3b-plus-usb-camera");
    let door = with("rpi3", |board| {
        (board.camera.width, board.camera.height, board.camera.rate) = (640, 480, 25);
    });
    let plan = plan_for(&door, &probe);
    has(
        &camera(&plan).text,
        "video/x-raw,format=(string)YUY2,width=640,height=480,framerate=25/1\" !",
    );
}

#[test]
fn without_jpeg_a_moving_picture_counts_more_than_a_large_one() {
    let mut probe = probe("raspberry-pi-3b-plus-usb-camera");
    probe.elements.remove("jpegdec");
    let door = with("rpi3", |board| {
        (board.camera.width, board.camera.height, board.camera.rate) = (1280, 720, 30);
    });
    let plan = plan_for(&door, &probe);
    let reasons = plan.reasons.join("\n");
    has(&camera(&plan).text, "format=(string)YUY2,width=640,height=480,framerate=30/1");
    has(&reasons, "scaled to 1280x720");
}

#[test]
fn the_owner_decides_about_the_rate_in_the_dark_and_automatics_are_set_first() {
    let probe = probe("raspberry-pi-3b-plus-usb-camera");
    let door = with("rpi3", |board| {
        board.camera.controls = [
            ("exposure_auto_priority".to_owned(), 1),
            ("exposure_time_absolute".to_owned(), 300),
            ("auto_exposure".to_owned(), 1),
        ]
        .into();
    });
    let controls = plan_for(&door, &probe).controls.expect("controls");
    let order: Vec<&str> = controls.in_order().iter().map(|(name, _)| *name).collect();
    assert_eq!(order, ["auto_exposure", "exposure_auto_priority", "exposure_time_absolute"]);
    assert!(controls.wishes.values().all(|wish| matches!(wish, Wish::Owner(_))));
}

#[test]
fn a_pi_4_drives_its_csi_camera_through_libcamera() {
    let probe = probe("raspberry-pi-4b-csi-camera");
    let plan = plan_for(&board("rpi4"), &probe);
    let text = &camera(&plan).text;
    assert!(
        text.starts_with("libcamerasrc ! video/x-raw,format=(string)NV12,width=1280"),
        "{text}"
    );
    has(text, "framerate=30/1,colorimetry=(string)bt709,interlace-mode=(string)progressive");
    has(text, "v4l2h264enc");
    assert_eq!(plan.controls, None);
    has(missing(&plan.microphone), "no card records; cards: Headphones, vc4hdmi0, vc4hdmi1");
    let named = |name: &str| {
        let door = with("rpi4", |board| board.camera.source = Source::Device(name.to_owned()));
        plan_for(&door, &probe)
    };
    has(
        &camera(&named("libcamera:/base/soc/i2c0mux/i2c@1/imx219@10")).text,
        "libcamerasrc camera-name=\"/base/soc/i2c0mux/i2c@1/imx219@10\" !",
    );
    has(missing(&named("libcamera:other").camera), "imx219@10");
    has(missing(&named("/dev/video0").camera), "source = \"libcamera\"");
    has(missing(&named("/dev/video11").camera), "hardware encoder");
}

#[test]
fn a_node_that_is_not_there_is_missing_and_not_opened_unseen() {
    for (name, probe) in all_probes() {
        let door = with("pc", |board| board.camera.source = Source::Device("/dev/front".into()));
        let plan = plan_for(&door, &probe);
        assert!(missing(&plan.camera).contains("no camera called \"/dev/front\""), "{name}");
    }
}

#[test]
fn a_csi_camera_without_libcamera_says_what_to_install() {
    let mut probe = probe("raspberry-pi-4b-csi-camera");
    probe.elements.remove("libcamerasrc");
    has(missing(&plan_for(&board("rpi4"), &probe).camera), "gstreamer1.0-libcamera");
}

#[test]
fn an_encoder_without_its_driver_is_replaced_by_software_with_the_reason() {
    let mut probe = probe("raspberry-pi-4b-csi-camera");
    probe.elements.remove("v4l2h264enc");
    let plan = plan_for(&board("rpi4"), &probe);
    assert_eq!(camera(&plan).encoder, "x264enc");
    let reasons = plan.reasons.join("\n");
    has(&reasons, "v4l2h264enc does not exist here");
    has(&reasons, "preset ultrafast");
}

#[test]
fn small_boards_stay_at_the_fastest_preset_and_a_pc_spends_what_it_has() {
    for (machine, profile, preset) in [
        ("raspberry-pi-5-csi-camera", "rpi5", "ultrafast"),
        ("beagleplay-usb-camera", "pc", "ultrafast"),
        ("pc-usb-camera", "pc", "fast"),
    ] {
        let mut probe = probe(machine);
        probe.elements.remove("vah264enc");
        let plan = plan_for(&board(profile), &probe);
        assert_eq!(camera(&plan).encoder, "x264enc", "{machine}");
        has(&camera(&plan).text, &format!("speed-preset={preset} "));
    }
    let mut unmeasured = probe("pc-usb-camera");
    unmeasured.software_speed = None;
    let door = board("pc");
    has(&camera(&plan_for(&door, &unmeasured)).text, "speed-preset=ultrafast");
    assert!(plan::asks_for_speed(&door, &unmeasured, &BTreeSet::new()));
    let pi = probe("raspberry-pi-3b-plus-usb-camera");
    assert!(!plan::asks_for_speed(&board("rpi3"), &pi, &BTreeSet::new()));
}

#[test]
fn h264_of_the_cameras_own_is_used_only_when_asked_for_or_nothing_else_keeps_up() {
    let fast = probe("raspberry-pi-5-camera-with-h264");
    let choose = |probe: &Probe, native| {
        plan_for(&with("rpi5", |board| board.camera.native_h264 = native), probe)
    };
    for native in [NativeH264::Auto, NativeH264::Off] {
        let plan = choose(&fast, native);
        assert_eq!(camera(&plan).encoder, "x264enc");
        has(&camera(&plan).text, "image/jpeg,width=1280,height=720,framerate=30/1\" ! jpegdec");
    }
    let plan = choose(&fast, NativeH264::On);
    let own = camera(&plan);
    assert_eq!(own.encoder, "camera");
    has(
        &own.text,
        "v4l2src device=\"/dev/video0\" ! video/x-h264,width=1280,height=720,framerate=30/1",
    );
    has(&own.text, " ! h264parse");
    lacks(&own.text, "x264enc");
    let mut slow = fast.clone();
    slow.software_speed = Some(30_000);
    assert_eq!(camera(&choose(&slow, NativeH264::Auto)).encoder, "camera");
    assert_eq!(camera(&choose(&slow, NativeH264::Off)).encoder, "x264enc");
    has(&choose(&slow, NativeH264::Off).reasons.join("\n"), "too much for this machine");
}

#[test]
fn h264_on_a_second_node_of_the_same_camera_is_found() {
    let probe = probe("pc-slow-camera-with-h264-on-a-second-node");
    let door = with("pc", |board| {
        (board.camera.width, board.camera.height) = (1280, 720);
    });
    let plan = plan_for(&door, &probe);
    assert_eq!(camera(&plan).encoder, "camera", "{:#?}", plan.reasons);
    has(
        &camera(&plan).text,
        "device=\"/dev/video2\" ! video/x-h264,width=1280,height=720,framerate=30/1",
    );
    assert_eq!(read_from(camera(&plan_for(&board("pc"), &probe))), "/dev/video0");
}

#[test]
fn a_camera_without_h264_at_this_size_is_encoded_here_whatever_was_asked_for() {
    let door = with("rpi5", |board| {
        board.camera.native_h264 = NativeH264::On;
        (board.camera.width, board.camera.height) = (800, 600);
    });
    let plan = plan_for(&door, &probe("raspberry-pi-5-camera-with-h264"));
    assert_eq!(camera(&plan).encoder, "x264enc");
    has(&plan.reasons.join("\n"), "no H.264 of its own at 800x600");
}

#[test]
fn the_hardware_encoder_is_never_run_below_its_floor() {
    let probe = probe("raspberry-pi-3b-plus-usb-camera");
    let door = with("rpi3", |board| board.camera.rate = 5);
    let plan = plan_for(&door, &probe);
    has(&camera(&plan).text, "framerate=10/1 ! v4l2h264enc");
    has(&plan.reasons.join("\n"), "hangs at 5 pictures per second");
}

#[test]
fn a_board_may_name_encoders_of_other_makers() {
    let mut probe = probe("radxa-rock-5b-usb-camera");
    let door = with("pc", |board| {
        board.encoder.try_ = ["mpph264enc", "x264enc"].map(str::to_owned).to_vec();
    });
    let plan = plan_for(&door, &probe);
    assert_eq!(camera(&plan).encoder, "x264enc", "not there with Debian's kernel");
    assert_eq!(read_from(camera(&plan)), "/dev/video12");
    probe.elements.insert("mpph264enc".to_owned());
    let text = camera(&plan_for(&door, &probe)).text.clone();
    has(&text, "mpph264enc name=encoder profile=baseline");
    has(&text, "header-mode=each-idr");
}

#[test]
fn a_camera_with_many_formats_is_asked_for_the_one_the_encoder_takes_as_it_is() {
    let mut probe = probe("virtual-machine-vivid");
    let text = |probe: &Probe| {
        let door = with("pc", |board| {
            board.encoder.try_ = ["vah264enc", "x264enc"].map(str::to_owned).to_vec();
        });
        camera(&plan_for(&door, probe)).text.clone()
    };
    has(
        &text(&probe),
        "caps=\"video/x-raw,format=(string)I420,width=640,height=480,framerate=30/1",
    );
    probe.elements.insert("vah264enc".to_owned());
    has(
        &text(&probe),
        "caps=\"video/x-raw,format=(string)NV12,width=640,height=480,framerate=30/1",
    );
}

#[test]
fn a_user_without_rights_is_told_so() {
    let probe = probe("no-permission");
    has(missing(&plan_for(&board("pc"), &probe).camera), "join the group video");
    let text = Listing::new(Ok(board("pc")), probe, &[]).text();
    has(&text, "join the group audio");
    has(&text, "/dev/video0");
}

#[test]
fn the_listing_has_the_words_a_profile_wants() {
    let line = |offset: u32, name: &str, hold| ListedLine {
        offset,
        name: Some(name.to_owned()),
        way: Way::Input,
        hold,
    };
    let chip = ListedChip {
        name: "gpiochip0".to_owned(),
        label: "pinctrl-bcm2835".to_owned(),
        path: "/dev/gpiochip0".to_owned(),
        lines: vec![
            line(17, "GPIO17", Hold::Free),
            line(22, "GPIO22", Hold::Held("led".to_owned())),
        ],
        fault: None,
    };
    let listing =
        Listing::new(Ok(board("rpi3")), probe("raspberry-pi-3b-plus-usb-camera"), &[chip]);
    let text = listing.text();
    for words in [
        "source = \"/dev/v4l/by-id/usb-046d_0825_7B6C5A10-video-index0\"",
        "exposure_dynamic_framerate = 1",
        "power_line_frequency = 2  # 0 Disabled, 1 50 Hz, 2 60 Hz",
        "source = \"plughw:CARD=Device\"",
        "mixer \"Mic\", capture: -12.0 to 23.0 dB, switch",
        "/dev/video11  bcm2835-codec-encode (hardware encoder)",
        "HDMI-A-1",
        "chip = \"pinctrl-bcm2835\"",
        "GPIO17 GPIO22",
        "GPIO22 is held by led",
        "encoded by v4l2h264enc",
        "because    encoder: v4l2h264enc",
    ] {
        has(&text, words);
    }
    let json: serde_json::Value =
        serde_json::from_str(&listing.json().expect("JSON")).expect("good JSON");
    assert_eq!(json["choices"]["camera"]["state"], "taken");
    assert_eq!(json["choices"]["camera"]["encoder"], "v4l2h264enc");
    assert_eq!(json["gpio"][0]["lines"][1]["held_by"], "led");
    assert_eq!(json["probe"]["cameras"][0]["formats"][0]["sizes"][0]["size"], "640x480");
    let again: Probe = serde_json::from_value(json["probe"].clone()).expect("a probe");
    assert_eq!(again, listing.probe);
}

/// Runs the program without a configuration of this machine's.
fn devices(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_intercomd"))
        .arg("devices")
        .args(arguments)
        .env_remove("INTERCOMD_BOARD")
        .output()
        .expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("text");
    (output.status.success(), text)
}

#[test]
fn the_command_lists_this_machine_in_both_forms() {
    let (good, text) = devices(&["--board", "sim"]);
    assert!(good, "{text}");
    for heading in ["The door, as board \"sim\"", "Cameras", "Sound cards", "Displays", "GPIO"] {
        has(&text, heading);
    }
    has(&text, "test picture, encoded by");
    let (good, text) = devices(&["--board", "sim", "--json"]);
    assert!(good, "{text}");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["board"], "sim");
    let probe: Probe = serde_json::from_value(json["probe"].clone()).expect("a probe");
    assert!(probe.gst_version >= (1, 20, 0), "{:?}", probe.gst_version);
    assert_eq!(probe.software_speed.is_some(), probe.has("x264enc"));
}

#[test]
fn the_command_needs_no_channel_and_names_what_is_wrong_with_the_board() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    fs::write(&file, "board = \"pc\"\n[camera]\nsource = \"test\"\n").expect("written");
    let path = file.to_str().expect("a path");
    let (good, text) = devices(&["--config", path]);
    assert!(good, "{text}");
    has(&text, "as board \"pc\"");
    has(&text, "test picture");
    fs::write(&file, "board = \"pc\"\n[camera]\nrate = 99\n").expect("written");
    let (good, text) = devices(&["--config", path]);
    assert!(good, "{text}");
    has(&text, "camera.rate");
}

#[test]
fn the_half_that_asks_for_controls_says_in_one_line_why_it_cannot() {
    let (good, text) = devices(&["--controls", "/nonexistent/video7"]);
    assert!(!good);
    has(&text, "cannot be opened");
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
}
