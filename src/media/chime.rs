//! Reads a WAV file into samples the speaker's mixer takes.
//!
//! By GStreamer, once and ahead of the first press; blocks meanwhile.

use std::path::Path;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::found::quoted;
use super::plan_sound::CAPS;
use super::tones::RATE;

/// How much of a file is read: 10 s.
const LONGEST: usize = 10 * RATE as usize;
/// How long reading may take; a file on a dead network drive must not stop the speaker.
const LIMIT: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// The file at this loudness (per cent of what it holds), at most 10 s of it.
///
/// # Errors
/// A sentence saying why it cannot be played.
pub(super) fn read(path: &Path, percent: u8) -> Result<Vec<i16>, String> {
    let text = format!(
        "filesrc location={} ! wavparse ! audioconvert ! audioresample ! {CAPS} \
         ! appsink name=out sync=false max-buffers=8",
        quoted(&path.to_string_lossy())
    );
    let pipeline = gst::parse::launch(&text).map_err(|error| error.message().to_owned())?;
    let pipeline =
        pipeline.downcast::<gst::Pipeline>().map_err(|_| "it cannot be read".to_owned())?;
    let out = pipeline.by_name("out").and_then(|out| out.downcast::<gst_app::AppSink>().ok());
    let out = out.ok_or("it cannot be read")?;
    let samples = pull(&pipeline, &out, f64::from(percent.min(100)) / 100.0);
    if let Err(error) = pipeline.set_state(gst::State::Null) {
        tracing::debug!(%error, "reading the chime did not stop cleanly");
    }
    samples
}

fn pull(
    pipeline: &gst::Pipeline,
    out: &gst_app::AppSink,
    loudness: f64,
) -> Result<Vec<i16>, String> {
    let refused = || {
        let error = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
        match error.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => error.error().message().to_owned(),
            _ => "it holds no sound".to_owned(),
        }
    };
    pipeline.set_state(gst::State::Playing).map_err(|_| refused())?;
    let mut samples = Vec::new();
    while samples.len() < LONGEST {
        let Some(sample) = out.try_pull_sample(LIMIT) else { break };
        let Some(map) = sample.buffer().and_then(|buffer| buffer.map_readable().ok()) else {
            break;
        };
        samples.extend(
            map.chunks_exact(2)
                .map(|pair| (f64::from(i16::from_le_bytes([pair[0], pair[1]])) * loudness) as i16),
        );
    }
    samples.truncate(LONGEST);
    if samples.is_empty() { Err(refused()) } else { Ok(samples) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wav_file_of_another_rate_is_read_at_ours_and_its_loudness_set() {
        crate::media::init().expect("GStreamer starts");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a \"chime\".wav");
        let text = format!(
            "audiotestsrc num-buffers=10 samplesperbuffer=1600 volume=0.5 \
             ! audio/x-raw,format=S16LE,rate=16000,channels=2 ! wavenc ! filesink location={}",
            quoted(&path.to_string_lossy())
        );
        let writer = gst::parse::launch(&text).expect("a writer");
        writer.set_state(gst::State::Playing).expect("it starts");
        let bus = writer.bus().expect("a bus");
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let end =
            bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &kinds).expect("it ends");
        assert_eq!(end.type_(), gst::MessageType::Eos);
        writer.set_state(gst::State::Null).expect("it stops");
        let samples = read(&path, 50).expect("it is read");
        assert!((47_900..=48_100).contains(&samples.len()), "{}", samples.len());
        let peak = samples.iter().map(|sample| sample.unsigned_abs()).max().expect("samples");
        assert!((7_500..8_700).contains(&peak), "{peak}");
    }

    #[test]
    fn what_is_no_wav_file_is_refused_with_a_reason() {
        crate::media::init().expect("GStreamer starts");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("noise.wav");
        std::fs::write(&path, [7; 4000]).expect("a file");
        assert!(read(&path, 100).is_err_and(|why| !why.is_empty()));
        assert!(read(&folder.path().join("none.wav"), 100).is_err_and(|why| !why.is_empty()));
    }
}
