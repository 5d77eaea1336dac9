//! The picture a phone sees while the camera is away: a word on a dark ground, encoded slowly and small.
//!
//! Pure: makes pipeline text only. When it is sent is decided by the capture.

use super::found::{Probe, quoted};
use super::plan::{AFTER_VIDEO, Fragment};
use super::plan_encoder::{SOFTWARE, level, level_name};
use crate::config::Board;

/// Pictures per second: enough that a phone which joins sees it soon, and no more work than that.
const RATE: u32 = 10;
/// In bit/s. A picture that stands still needs hardly any of it.
const BITRATE: u32 = 200_000;

/// A still picture of the camera's size with a short text, or without it where GStreamer cannot write. `None`
/// without a software encoder: the board's own may be what hangs.
pub fn notice(board: &Board, probe: &Probe, text: &str) -> Option<Fragment> {
    let encoder = SOFTWARE.iter().find(|name| probe.has(name))?;
    let (width, height) = (board.camera.width, board.camera.height);
    let words = if probe.has("textoverlay") {
        // The element takes markup, and shows nothing at all when that is wrong.
        let plain = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        format!(
            " ! textoverlay text={} valignment=center halignment=center \
             line-alignment=center wrap-mode=word font-desc=\"Sans 24\"",
            quoted(&plain)
        )
    } else {
        String::new()
    };
    let encode = match *encoder {
        "x264enc" => format!(
            "x264enc name=encoder tune=zerolatency speed-preset=ultrafast bframes=0 sliced-threads=false \
             threads=1 key-int-max={} bitrate={} vbv-buf-capacity=1000 byte-stream=true aud=false",
            RATE * 2,
            BITRATE / 1000
        ),
        _ => format!(
            "openh264enc name=encoder usage-type=camera complexity=low rate-control=bitrate multi-thread=1 \
             gop-size={} bitrate={BITRATE}",
            RATE * 2
        ),
    };
    Some(Fragment {
        text: format!(
            "videotestsrc is-live=true pattern=solid-color foreground-color=0xff1e3a5f \
             ! video/x-raw,format=I420,width={width},height={height},framerate={RATE}/1,pixel-aspect-ratio=1/1{words} \
             ! {encode} ! video/x-h264,profile=constrained-baseline,level=(string){} ! {AFTER_VIDEO}",
            level_name(level(width, height, RATE, BITRATE))
        ),
        source: format!("notice \"{text}\""),
        encoder: (*encoder).to_owned(),
        bitrate: BITRATE,
        feed: None,
    })
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use gst::prelude::*;
    use gstreamer as gst;
    use gstreamer_app as gst_app;

    use super::*;

    fn board(width: u32, height: u32) -> Board {
        let mut board =
            crate::config::built_in_board("sim").expect("the simulated board is built in");
        (board.camera.width, board.camera.height) = (width, height);
        board
    }

    #[test]
    fn without_a_software_encoder_there_is_no_notice() {
        assert_eq!(notice(&board(640, 480), &Probe::with_elements(&["v4l2h264enc"]), "x"), None);
    }

    #[test]
    fn the_words_are_left_out_where_nothing_can_write_them() {
        let plain =
            notice(&board(640, 480), &Probe::with_elements(&["openh264enc"]), "Camera away")
                .expect("one");
        assert!(!plain.text.contains("textoverlay"), "{}", plain.text);
        assert_eq!(plain.encoder, "openh264enc");
    }

    /// Runs a notice, and tells the bytes of each of its first pictures.
    fn run(plan: &Fragment) -> Vec<usize> {
        let pipeline = gst::parse::launch(&plan.text)
            .expect("it can be built")
            .downcast::<gst::Pipeline>()
            .expect("a pipeline");
        let sink = pipeline
            .by_name("out")
            .and_then(|out| out.downcast::<gst_app::AppSink>().ok())
            .expect("the appsink");
        let wanted =
            gst::Caps::from_str("video/x-h264,width=320,height=240,framerate=10/1").expect("caps");
        pipeline.set_state(gst::State::Playing).expect("it starts");
        let sizes = (0..10).map(|number| {
            let sample =
                sink.try_pull_sample(gst::ClockTime::from_seconds(30)).expect("a picture in time");
            let buffer = sample.buffer().expect("bytes");
            let delta = buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
            assert_eq!(delta, number > 0, "{}: picture {number}", plan.encoder);
            assert!(sample.caps().expect("caps").can_intersect(&wanted), "{:?}", sample.caps());
            buffer.size()
        });
        let sizes = sizes.collect();
        pipeline.set_state(gst::State::Null).expect("it stops");
        sizes
    }

    #[test]
    fn the_running_notice_is_small_and_legible_whatever_it_says() {
        crate::media::init().expect("GStreamer starts");
        for encoder in SOFTWARE.iter().filter(|name| gst::ElementFactory::find(name).is_some()) {
            let words = "Camera \"a\" <away> & back soon";
            let plan = |elements: &[&str]| {
                notice(&board(320, 240), &Probe::with_elements(elements), words)
            };
            let blank = run(&plan(&[encoder]).expect("one"));
            let written = run(&plan(&[encoder, "textoverlay"]).expect("one"));
            let all: usize = written.iter().sum();
            assert!(all < 25_000, "{encoder}: {all} bytes in a second");
            assert!(written[0] > blank[0] * 2, "{encoder}: no words, {written:?}, {blank:?}");
        }
    }
}
