//! An encoder that breaks down in a running call, as a driver's does: it says so, delivers nothing more, and another takes
//! its place. A stand-in that does that on command is registered under the name of an encoder no test machine has, so
//! nothing else may run in this process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;
use intercomd::config::Source;
use intercomd::media::{Capture, CaptureStatus, Feed, Sight, Unit};

const LIMIT: Duration = Duration::from_secs(20);
/// Whether the stand-in works no more.
static BROKEN: AtomicBool = AtomicBool::new(false);

mod stand_in {
    use std::sync::Mutex;

    use super::*;

    /// x264enc, and what the plan sets on the encoder whose name it has.
    #[derive(Default, glib::Properties)]
    #[properties(wrapper_type = super::StandIn)]
    pub struct StandIn {
        /// Of the plan; not looked at.
        #[property(get, set)]
        profile: Mutex<String>,
        /// As `profile`.
        #[property(name = "rc-mode", get, set)]
        rc_mode: Mutex<String>,
        /// As `profile`.
        #[property(name = "header-mode", get, set)]
        header_mode: Mutex<String>,
        /// As `profile`.
        #[property(get, set)]
        gop: Mutex<u32>,
        /// As `profile`.
        #[property(get, set)]
        bps: Mutex<u32>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for StandIn {
        const NAME: &'static str = "StandInEncoder";
        type Type = super::StandIn;
        type ParentType = gst::Bin;
    }

    #[glib::derived_properties]
    impl ObjectImpl for StandIn {
        fn constructed(&self) {
            self.parent_constructed();
            let bin = self.obj();
            let encoder = gst::ElementFactory::make("x264enc").build().expect("x264enc is there");
            encoder.set_property_from_str("tune", "zerolatency");
            encoder.set_property("key-int-max", 30_u32);
            bin.add(&encoder).expect("it is added");
            for name in ["sink", "src"] {
                let inside = encoder.static_pad(name).expect("it has both");
                let pad = gst::GhostPad::with_target(&inside).expect("a pad");
                pad.set_active(true).expect("it is active");
                bin.add_pad(&pad).expect("it is added");
            }
            let weak = bin.downgrade();
            let inside = encoder.static_pad("src").expect("it has one");
            inside.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                if !BROKEN.load(Ordering::Acquire) {
                    return gst::PadProbeReturn::Ok;
                }
                if let Some(bin) = weak.upgrade() {
                    gst::element_error!(bin, gst::StreamError::Encode, ["the driver is gone"]);
                }
                gst::PadProbeReturn::Drop
            });
        }
    }

    impl GstObjectImpl for StandIn {}

    impl ElementImpl for StandIn {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static DATA: std::sync::LazyLock<gst::subclass::ElementMetadata> =
                std::sync::LazyLock::new(|| {
                    let (kind, words) = ("Encoder/Video", "breaks down on command");
                    gst::subclass::ElementMetadata::new("Stand-in", kind, words, "intercomd")
                });
            Some(&DATA)
        }
    }

    impl BinImpl for StandIn {}
}

glib::wrapper! {
    /// The stand-in.
    pub struct StandIn(ObjectSubclass<stand_in::StandIn>) @extends gst::Bin, gst::Element, gst::Object;
}

async fn next_picture(feed: &mut Feed) {
    loop {
        let unit = tokio::time::timeout(LIMIT, feed.next()).await;
        if let Unit::Video(_) = unit.expect("in time").expect("the capture lives") {
            return;
        }
    }
}

async fn until(capture: &Capture, wanted: impl Fn(&CaptureStatus) -> bool) -> CaptureStatus {
    let mut status = capture.watch();
    let found = tokio::time::timeout(LIMIT, status.wait_for(wanted)).await;
    match found {
        Ok(status) => status.expect("the capture lives").clone(),
        Err(_) => panic!("{:?}", capture.status()),
    }
}

#[tokio::test]
async fn an_encoder_that_breaks_down_in_a_call_is_replaced_and_the_picture_and_the_sound_go_on() {
    intercomd::media::init().expect("GStreamer starts");
    gst::Element::register(None, "mpph264enc", gst::Rank::NONE, StandIn::static_type())
        .expect("it is registered");
    let mut board = intercomd::config::built_in_board("sim").expect("it is built in");
    (board.camera.width, board.camera.height) = (160, 120);
    board.camera.source = Source::Test;
    board.microphone.source = Source::Test;
    board.encoder.try_ = vec!["mpph264enc".to_owned(), "x264enc".to_owned()];
    let capture = Capture::new(&board);
    let mut feed = capture.fanout().feed();
    capture.set(true);
    next_picture(&mut feed).await;
    let before = until(&capture, |status| status.encoder == "mpph264enc").await;

    BROKEN.store(true, Ordering::Release);
    let after = until(&capture, |status| status.encoder == "x264enc").await;
    for _ in 0..5 {
        next_picture(&mut feed).await;
    }
    assert_eq!(after.pipelines_built, before.pipelines_built, "the sound was not touched");
    assert_eq!(after.failures, before.failures + 1);
    assert_ne!(after.sight, Sight::Away, "the camera is well, and nobody is told otherwise");
    let works = until(&capture, |status| status.sight == Sight::Works).await;
    assert!(works.microphone.contains("test"), "{works:?}");
    capture.stop().await;
}
