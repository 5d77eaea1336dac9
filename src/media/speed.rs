//! How fast this machine encodes in software: measured once, so that the plan can spend what is left over.
//!
//! Encodes a few generated pictures as fast as it goes. What follows from the figure is in `plan_encoder.rs`.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

/// Pictures that are encoded; the first, a keyframe and the start of everything, is not counted.
const PICTURES: u32 = 48;
const WIDTH: u32 = 640;
const HEIGHT: u32 = 360;
/// It never takes longer: what was done by then is the figure.
const TIME: Duration = Duration::from_millis(600);
/// How long the first picture may take; then there is no figure.
const FIRST: Duration = Duration::from_secs(3);
/// Fewer pictures say nothing.
const FEWEST: u32 = 6;

/// Macroblocks a second that `x264enc` encodes on one core at its fastest preset; `None` where it does not exist
/// or did not run. The first call of a process measures for 0.1 to 0.6 s, and keeps a core busy with it; further
/// calls know. Not for an async task.
pub fn software_speed() -> Option<u32> {
    static MEASURED: OnceLock<Option<u32>> = OnceLock::new();
    *MEASURED.get_or_init(|| match measure() {
        Ok(speed) => {
            tracing::debug!(speed, "software encoding measured");
            Some(speed)
        }
        Err(why) => {
            tracing::debug!(why, "software encoding not measured");
            None
        }
    })
}

/// Encodes pictures with some detail and movement, made before the clock runs.
fn measure() -> Result<u32, String> {
    let text = format!(
        "appsrc name=in format=time max-buffers={PICTURES} block=false \
         caps=\"video/x-raw,format=(string)I420,width=(int){WIDTH},height=(int){HEIGHT},\
         framerate=(fraction)30/1\" \
         ! x264enc tune=zerolatency speed-preset=ultrafast bframes=0 sliced-threads=false threads=1 \
         key-int-max=300 bitrate=1200 vbv-buf-capacity=250 ! video/x-h264,profile=constrained-baseline \
         ! appsink name=out sync=false max-buffers={PICTURES}"
    );
    let pipeline = gst::parse::launch(&text)
        .map_err(|error| error.message().to_owned())?
        .downcast::<gst::Pipeline>()
        .map_err(|_| "no pipeline".to_owned())?;
    let outcome = run(&pipeline);
    if pipeline.set_state(gst::State::Null).is_err() {
        tracing::debug!("the measuring pipeline did not stop cleanly");
    }
    outcome
}

fn run(pipeline: &gst::Pipeline) -> Result<u32, String> {
    let source = pipeline
        .by_name("in")
        .and_then(|element| element.downcast::<gst_app::AppSrc>().ok())
        .ok_or("no source")?;
    let sink = pipeline
        .by_name("out")
        .and_then(|element| element.downcast::<gst_app::AppSink>().ok())
        .ok_or("no sink")?;
    let pictures: Vec<gst::Buffer> = (0..PICTURES).map(picture).collect();
    pipeline.set_state(gst::State::Playing).map_err(|error| error.to_string())?;
    for picture in pictures {
        source.push_buffer(picture).map_err(|error| error.to_string())?;
    }
    source.end_of_stream().map_err(|error| error.to_string())?;
    let wait = |time: Duration| {
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        sink.try_pull_sample(gst::ClockTime::from_mseconds(time))
    };
    wait(FIRST).ok_or("the first picture did not come in time")?;
    let begin = Instant::now();
    let mut done: u32 = 0;
    let mut took = Duration::ZERO;
    while let Some(rest) = TIME.checked_sub(begin.elapsed()) {
        if wait(rest).is_none() {
            break;
        }
        done += 1;
        took = begin.elapsed();
    }
    if done < FEWEST {
        return Err(format!("{done} pictures in {} ms are too few", TIME.as_millis()));
    }
    let blocks = u64::from(done * WIDTH.div_ceil(16) * HEIGHT.div_ceil(16));
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    u32::try_from(blocks.saturating_mul(1_000_000) / micros)
        .map_err(|_| "too fast to tell".to_owned())
}

/// A textured picture that moves sideways, with a little noise as every camera has.
fn picture(number: u32) -> gst::Buffer {
    let luma = (WIDTH * HEIGHT) as usize;
    let mut bytes = vec![128_u8; luma + luma / 2];
    let mut chance = number.wrapping_mul(0x9e37_79b9) | 1;
    for (place, byte) in (0..WIDTH * HEIGHT).zip(&mut bytes) {
        let (column, row) = (place % WIDTH + number * 3, place / WIDTH);
        // A shift register's noise: the same on each machine, and cheap.
        chance ^= chance << 13;
        chance ^= chance >> 17;
        chance ^= chance << 5;
        let texture = (column * row / 97 + column / 5) & 0x7f;
        *byte = u8::try_from(48 + texture + (chance & 7)).unwrap_or(u8::MAX);
    }
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    let time = gst::ClockTime::from_mseconds(u64::from(number) * 33);
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(time);
        buffer.set_duration(gst::ClockTime::from_mseconds(33));
    }
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_measured_once_and_by_a_figure_that_can_be() {
        crate::media::init().expect("GStreamer starts");
        if gst::ElementFactory::find("x264enc").is_none() {
            assert_eq!(software_speed(), None);
            return;
        }
        let speed = software_speed().expect("x264 encodes");
        // From a loaded core of the smallest board to several times the fastest there is.
        assert!((1_000..20_000_000).contains(&speed), "{speed}");
        assert_eq!(software_speed(), Some(speed));
    }
}
