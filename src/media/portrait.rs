//! A picture of the visitor: the best of the first second after the press, as a small JPEG.
//!
//! Made of what the encoder sends anyway, so that it is the same for every camera: a feed like any phone's, and a thread
//! that may take its time. Of that second only keyframes are decoded, three at most: a small board has a chime to play
//! and phones to call just then.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;
use tokio::time::Instant;

use super::fanout::Fanout;
use super::init;
use super::packetise::{Unit, VIDEO_CLOCK, VideoUnit};

/// The most bytes a picture may have.
pub const LARGEST: usize = 40_000;
/// How long the camera may take to its first picture.
const FIRST: Duration = Duration::from_secs(8);
/// Pictures are looked at for so long from the first one on.
const LOOK: Duration = Duration::from_millis(1200);
/// So long after one keyframe the next is suggested.
const PAUSE: Duration = Duration::from_millis(500);
/// The most pictures looked at.
const MOST: usize = 3;
/// How long one picture may take through the decoder or the encoder of pictures.
const LIMIT: gst::ClockTime = gst::ClockTime::from_seconds(5);
/// Widths that are tried until it is small enough.
const WIDTHS: [i32; 6] = [640, 480, 400, 320, 240, 160];
/// Decoders in the order in which they are tried; `avdec_h264` first, as it decodes whatever there is.
const DECODERS: [&str; 3] = ["avdec_h264", "openh264dec", "v4l2h264dec"];
/// Any number: this stream has one payload type.
const PAYLOAD_TYPE: u8 = 96;

/// Waits for the first second of pictures and makes a JPEG of the best of them, at most [`LARGEST`] bytes.
///
/// # Errors
/// A sentence saying why there is none: no camera, no decoder, or nothing but darkness.
pub async fn take(fanout: &Fanout) -> Result<Vec<u8>, String> {
    let pictures = gather(fanout).await;
    if pictures.is_empty() {
        return Err("the camera sent no picture".to_owned());
    }
    // Bounded by the limits on each step.
    tokio::task::spawn_blocking(move || best_of(&pictures))
        .await
        .map_err(|_| "looking at the pictures broke off".to_owned())?
}

async fn gather(fanout: &Fanout) -> Vec<Arc<VideoUnit>> {
    // No phone waits for its first picture because of this one.
    let mut feed = fanout.feed_of_what_comes();
    fanout.suggest_keyframe();
    let mut pictures = Vec::new();
    let mut deadline = Instant::now() + FIRST;
    let mut next = deadline;
    while pictures.len() < MOST {
        let unit = tokio::select! {
            unit = tokio::time::timeout_at(deadline, feed.next()) => unit,
            () = tokio::time::sleep_until(next) => {
                fanout.suggest_keyframe();
                next = deadline;
                continue;
            }
        };
        match unit {
            Ok(Some(Unit::Video(unit))) if unit.keyframe => {
                if pictures.is_empty() {
                    deadline = Instant::now() + LOOK;
                }
                next = Instant::now() + PAUSE;
                pictures.push(unit);
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
    pictures
}

/// How much there is to see in a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Look {
    /// Mean brightness, 0 to 255.
    pub(super) mean: f64,
    /// Mean difference between neighbours: more when sharp and full of things, little when dark or blurred.
    pub(super) detail: f64,
}

impl Look {
    /// Nothing can be made out.
    pub(super) fn is_dark(self) -> bool {
        self.mean < 24.0 && self.detail < 1.5
    }
}

/// Looks at each picture, and how much it differs from the one before (mean difference of brightness, 0 to 255).
///
/// # Errors
/// A sentence saying why nothing can be seen: no decoder, or a broken stream.
pub(super) fn looks(pictures: &[Arc<VideoUnit>]) -> Result<Vec<(Look, f64)>, String> {
    let mut seen = Vec::new();
    let mut before: Vec<u8> = Vec::new();
    decode(pictures, |sample| {
        let Some((look, values)) = look_at(&sample) else { return };
        let differences =
            before.iter().zip(&values).map(|(one, other)| f64::from(one.abs_diff(*other)));
        let change = differences.sum::<f64>() / values.len().max(1) as f64;
        before = values;
        seen.push((look, change));
    })?;
    Ok(seen)
}

fn best_of(pictures: &[Arc<VideoUnit>]) -> Result<Vec<u8>, String> {
    let mut best: Option<(Look, gst::Sample)> = None;
    decode(pictures, |sample| {
        let Some((look, _)) = look_at(&sample) else { return };
        if best.as_ref().is_none_or(|(before, _)| look.detail > before.detail) {
            best = Some((look, sample));
        }
    })?;
    match best {
        Some((look, _)) if look.is_dark() => Err("it was too dark to see anybody".to_owned()),
        Some((_, sample)) => jpeg(&sample),
        None => Err("no picture could be decoded".to_owned()),
    }
}

/// Hands out each picture that can be decoded.
fn decode(pictures: &[Arc<VideoUnit>], each: impl FnMut(gst::Sample)) -> Result<(), String> {
    init().map_err(|error| error.to_string())?;
    let decoder = DECODERS
        .into_iter()
        .find(|name| gst::ElementFactory::find(name).is_some())
        .ok_or("there is no decoder for H.264")?;
    let text = format!(
        "appsrc name=in format=time caps=application/x-rtp,media=video,clock-rate={VIDEO_CLOCK},\
         encoding-name=H264,payload={PAYLOAD_TYPE} ! rtph264depay ! h264parse ! {decoder} ! videoconvert \
         ! video/x-raw,format=I420 ! appsink name=out sync=false max-buffers=2"
    );
    let pipeline = gst::parse::launch(&text)
        .map_err(|error| error.message().to_owned())?
        .downcast::<gst::Pipeline>()
        .map_err(|_| "the decoder cannot be built".to_owned())?;
    let done = look_through(&pipeline, pictures, each);
    if let Err(error) = pipeline.set_state(gst::State::Null) {
        tracing::debug!(%error, "looking at pictures did not stop cleanly");
    }
    done
}

fn look_through(
    pipeline: &gst::Pipeline,
    pictures: &[Arc<VideoUnit>],
    mut each: impl FnMut(gst::Sample),
) -> Result<(), String> {
    let source =
        pipeline.by_name("in").and_then(|source| source.downcast::<gst_app::AppSrc>().ok());
    let sink = pipeline.by_name("out").and_then(|sink| sink.downcast::<gst_app::AppSink>().ok());
    let (source, sink) = source.zip(sink).ok_or("the decoder cannot be built")?;
    pipeline.set_state(gst::State::Playing).map_err(|_| "the decoder does not start".to_owned())?;
    for packet in packets(pictures) {
        if source.push_buffer(gst::Buffer::from_slice(packet)).is_err() {
            break;
        }
    }
    let _ = source.end_of_stream();
    while let Some(sample) = sink.try_pull_sample(LIMIT) {
        each(sample);
    }
    Ok(())
}

/// The pictures as RTP packets (RFC 3550 section 5.1), as a link would send them.
fn packets(pictures: &[Arc<VideoUnit>]) -> impl Iterator<Item = bytes::Bytes> {
    let mut sequence = 0_u16;
    pictures.iter().flat_map(move |unit| {
        let last = unit.payloads.len().saturating_sub(1);
        let packets: Vec<bytes::Bytes> = unit
            .payloads
            .iter()
            .enumerate()
            .map(|(index, payload)| {
                sequence = sequence.wrapping_add(1);
                let mut packet = BytesMut::with_capacity(12 + payload.len());
                packet.put_u8(0x80);
                packet.put_u8(PAYLOAD_TYPE | if index == last { 0x80 } else { 0 });
                packet.put_u16(sequence);
                packet.put_u32(unit.rtp_time);
                packet.put_u32(1);
                packet.put_slice(payload);
                packet.freeze()
            })
            .collect();
        packets
    })
}

/// What there is to see, and the brightness of the pixels that were looked at.
fn look_at(sample: &gst::Sample) -> Option<(Look, Vec<u8>)> {
    let info = gst_video::VideoInfo::from_caps(sample.caps()?).ok()?;
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(sample.buffer()?, &info).ok()?;
    let stride = usize::try_from(*frame.plane_stride().first()?).ok()?;
    let (width, height) = (info.width() as usize, info.height() as usize);
    let plane = frame.plane_data(0).ok()?;
    // Each fourth pixel of each fourth line tells enough.
    let (mut sum, mut differences) = (0_u64, 0_u64);
    let mut values = Vec::new();
    for row in plane.chunks(stride).take(height).step_by(4) {
        let mut before = None;
        for value in row.iter().take(width).step_by(4) {
            sum += u64::from(*value);
            differences += u64::from(before.map_or(0, |before: u8| before.abs_diff(*value)));
            before = Some(*value);
            values.push(*value);
        }
    }
    let count = values.len() as f64;
    let look = Look { mean: sum as f64 / count, detail: differences as f64 / count };
    (count > 0.0).then_some((look, values))
}

fn jpeg(sample: &gst::Sample) -> Result<Vec<u8>, String> {
    let info = sample
        .caps()
        .and_then(|caps| gst_video::VideoInfo::from_caps(caps).ok())
        .ok_or("the picture has no size")?;
    let (width, height) = (i64::from(info.width()), i64::from(info.height()));
    for wanted in WIDTHS {
        let wide = i64::from(wanted).min(width);
        // Even, as the picture's colours are.
        let high = (wide * height / width.max(1) / 2 * 2).max(2);
        let caps = gst::Caps::builder("image/jpeg")
            .field("width", i32::try_from(wide).unwrap_or(wanted))
            .field("height", i32::try_from(high).unwrap_or(wanted))
            .build();
        let small = gst_video::convert_sample(sample, &caps, Some(LIMIT))
            .map_err(|error| format!("no JPEG can be made: {}", error.message()))?;
        let bytes = small.buffer().and_then(|buffer| buffer.map_readable().ok());
        if let Some(bytes) = bytes.filter(|bytes| bytes.len() <= LARGEST) {
            return Ok(bytes.to_vec());
        }
    }
    Err("no JPEG of it is small enough".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::packetise::Packetiser;
    use super::*;

    /// What a camera and an encoder make of a test pattern.
    fn encoded(source: &str, size: [u32; 2], frames: u32) -> Vec<Arc<VideoUnit>> {
        init().expect("GStreamer starts");
        let [width, height] = size;
        let text = format!(
            "videotestsrc num-buffers={frames} {source} ! video/x-raw,width={width},height={height},framerate=30/1 \
             ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=1 \
             ! video/x-h264,stream-format=byte-stream,alignment=au,profile=constrained-baseline ! appsink name=out sync=false"
        );
        let pipeline = gst::parse::launch(&text).expect("a pipeline");
        let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
        let sink = pipeline
            .by_name("out")
            .expect("a sink")
            .downcast::<gst_app::AppSink>()
            .expect("a sink");
        pipeline.set_state(gst::State::Playing).expect("it plays");
        let mut packetiser = Packetiser::new();
        let mut units = Vec::new();
        while let Some(sample) = sink.try_pull_sample(LIMIT) {
            let buffer = sample.buffer().expect("a buffer");
            let map = buffer.map_readable().expect("readable");
            let time = u32::try_from(units.len()).expect("few") * 3000;
            units.push(Arc::new(unit(&mut packetiser, &map, time)));
        }
        pipeline.set_state(gst::State::Null).expect("it stops");
        units
    }

    fn unit(packetiser: &mut Packetiser, bytes: &[u8], rtp_time: u32) -> VideoUnit {
        let bytes = bytes::Bytes::copy_from_slice(bytes);
        packetiser.video(&bytes, rtp_time).expect("it can be packetised")
    }

    fn size_of(jpeg: &[u8]) -> (i32, i32) {
        let sample = decoded(jpeg);
        let caps = sample.caps().expect("caps");
        let info = gst_video::VideoInfo::from_caps(caps).expect("a picture");
        (info.width() as i32, info.height() as i32)
    }

    #[test]
    fn the_picture_is_a_small_jpeg_whatever_the_camera_shows() {
        for (pattern, size) in [("pattern=smpte", [640, 480]), ("pattern=snow", [1280, 720])] {
            let jpeg = best_of(&encoded(pattern, size, 10)).expect("a picture");
            assert!(jpeg.len() <= LARGEST, "{pattern}: {} bytes", jpeg.len());
            let (width, height) = size_of(&jpeg);
            assert!((160..=640).contains(&width), "{pattern}: {width}");
            let ratio = f64::from(width) / f64::from(height);
            assert!(
                (ratio - f64::from(size[0]) / f64::from(size[1])).abs() < 0.05,
                "{pattern}: {ratio}"
            );
        }
    }

    #[test]
    fn a_camera_that_opens_in_the_dark_gives_the_first_picture_one_can_see() {
        let mut units = encoded("pattern=black", [640, 480], 5);
        units.extend(encoded("pattern=smpte", [640, 480], 3));
        let jpeg = best_of(&units).expect("a picture");
        let (bright, _) = look_at(&decoded(&jpeg)).expect("a look");
        assert!(bright.mean > 60.0, "{bright:?}");
    }

    #[test]
    fn darkness_is_no_picture() {
        let error = best_of(&encoded("pattern=black", [320, 240], 5)).expect_err("nothing to see");
        assert!(error.contains("dark"), "{error}");
    }

    fn decoded(jpeg: &[u8]) -> gst::Sample {
        let text = "appsrc name=in caps=image/jpeg ! jpegdec ! videoconvert ! video/x-raw,format=I420 \
                    ! appsink name=out sync=false";
        let pipeline = gst::parse::launch(text).expect("a pipeline");
        let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
        let source = pipeline.by_name("in").expect("there").downcast::<gst_app::AppSrc>();
        let sink = pipeline.by_name("out").expect("there").downcast::<gst_app::AppSink>();
        pipeline.set_state(gst::State::Playing).expect("it plays");
        let source = source.expect("a source");
        source.push_buffer(gst::Buffer::from_slice(jpeg.to_vec())).expect("it takes it");
        source.end_of_stream().expect("it ends");
        let sample = sink.expect("a sink").try_pull_sample(LIMIT).expect("it is a JPEG");
        pipeline.set_state(gst::State::Null).expect("it stops");
        sample
    }
}
