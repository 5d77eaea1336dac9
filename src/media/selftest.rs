//! The self-test's hands: plays the programme through the board's speaker while its microphone records, and takes a
//! few pictures.
//!
//! Built of the same plans as a call. What the recording says is worked out in `room.rs`.

use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::bell::lock;
use super::echo::on_the_system_s_time;
use super::plan::Part;
use super::plan_display::{self, Device, Surface};
use super::plan_sound::{self, CAPS, VOICE_PROCESSOR};
use super::portrait::{self, Look};
use super::room::{self, Findings, Programme, Recording};
use super::speaker::SpeakerDesk;
use super::speaker_line::SpeakerLine;
use super::tones::RATE;
use super::{Capture, Unit, devices, init, volume};
use crate::config::verdict::{Grade, Verdict};
use crate::config::{Board, Source};

/// How long a microphone may take until it delivers.
const FIRST_SOUND: Duration = Duration::from_secs(10);
/// How much longer than the programme the recording may take.
const GRACE: Duration = Duration::from_secs(15);
/// How long a camera may take until it delivers.
const FIRST_PICTURE: Duration = Duration::from_secs(10);
/// For how long pictures are counted, in ticks of 90 kHz.
const PICTURES: u32 = 2 * 90_000;
/// What a device is recorded for after the programme has been played, for its own delay.
const TAIL: usize = RATE as usize;

/// What came of one part of the self-test.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PartReport {
    /// The devices, and what was planned with them and why.
    pub used: Vec<String>,
    /// What the sound measured, where it got that far.
    pub findings: Option<Findings>,
    /// Pictures a second, where it got that far.
    pub pictures_per_second: Option<f64>,
    /// The judgement; never empty.
    pub verdicts: Vec<Verdict>,
}

impl PartReport {
    fn failed(mut self, words: impl Into<String>, remedy: impl Into<String>) -> Self {
        self.verdicts.push(Verdict::new(Grade::Bad, words, remedy));
        self
    }
}

/// One recording while it goes on.
#[derive(Debug, Default)]
struct Track {
    /// The time of the first sample, on the system's clock.
    begin: Option<gst::ClockTime>,
    samples: Vec<f64>,
}

impl Track {
    fn take(&mut self, time: gst::ClockTime, bytes: &[u8]) {
        let begin = *self.begin.get_or_insert(time);
        let expected = self.samples.len();
        let place = time.saturating_sub(begin).nseconds() * u64::from(RATE) / 1_000_000_000;
        // What was lost on the way is silence; else all that follows would be early.
        let place = usize::try_from(place).unwrap_or(expected);
        if place > expected + RATE as usize / 50 {
            self.samples.resize(place, 0.0);
        }
        let pairs = bytes.chunks_exact(2);
        self.samples
            .extend(pairs.map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0));
    }
}

type Shelf = Arc<Mutex<Track>>;

/// Tests speaker, microphone and echo canceller. Takes some 12 s and is heard. Blocks.
pub fn sound(board: &Board) -> PartReport {
    let mut report = PartReport::default();
    if let Err(error) = init() {
        return report.failed(error.to_string(), "install GStreamer");
    }
    let found = devices::sound_probe();
    let source = match plan_sound::microphone_source(board, &found, &mut report.used) {
        Ok(source) => source,
        Err(Part::Missing(why)) => {
            return report.failed(
                format!("no microphone: {why}"),
                "plug it in, or name another in [microphone] source",
            );
        }
        Err(_) => {
            report
                .verdicts
                .push(Verdict::good("no microphone, as the board says; sound is not tested"));
            return report;
        }
    };
    let speaker = plan_sound::speaker(board, &found);
    report.used.push(format!("microphone: {}", source.label));
    report.used.push(format!("speaker: {}", speaker.label));
    if !speaker.is_real || !source.is_real {
        let words = "no real speaker and microphone; sound is not tested";
        return match speaker.stands_in {
            true => report.failed(
                format!("no speaker: {}", speaker.label),
                "plug it in, or name another in [speaker] source",
            ),
            false => {
                report.verdicts.push(Verdict::good(words));
                report
            }
        };
    }
    let loudness = [volume::of_speaker(board, &speaker), volume::of_microphone(board, &source)];
    report.used.extend(loudness.into_iter().flatten());
    let voice = plan_sound::voice(board, &found, &source);
    report.used.extend(voice.reasons);
    let programme = room::programme();
    match record(&programme, &source.text, voice.text.as_deref(), &speaker) {
        Err(Fault { words, remedy }) => report.failed(words, remedy),
        Ok(recording) => {
            let findings = room::analyse(&programme, &recording);
            report.verdicts = room::judge(&findings);
            report.findings = Some(findings);
            report
        }
    }
}

struct Fault {
    words: String,
    remedy: &'static str,
}

const MICROPHONE_REMEDY: &str = "check [microphone]; a card in use by another program cannot be opened (is the daemon running?)";
const SPEAKER_REMEDY: &str =
    "check [speaker]; a card in use by another program cannot be opened (is the daemon running?)";

/// Plays the programme and records it.
fn record(
    programme: &Programme,
    source: &str,
    voice: Option<&str>,
    speaker: &plan_sound::SpeakerPlan,
) -> Result<Recording, Fault> {
    let ear = |words: String| Fault { words, remedy: MICROPHONE_REMEDY };
    let mouth = |words: String| Fault { words, remedy: SPEAKER_REMEDY };
    let desk = Arc::new(SpeakerDesk::default());
    let cancels = voice.is_some_and(|voice| voice.contains("echo-cancel=true"));
    let processed = match voice {
        Some(voice) if cancels => {
            format!("both. ! queue ! {voice} ! appsink name=processed sync=false both.")
        }
        _ => "both.".to_owned(),
    };
    let text = format!(
        "{source} ! queue max-size-time=2000000000 max-size-bytes=0 max-size-buffers=0 ! audioconvert \
         ! audioresample ! {CAPS} ! tee name=both {processed} ! queue ! appsink name=raw sync=false"
    );
    let microphone = gst::parse::launch(&text)
        .map_err(|error| ear(format!("the microphone cannot be built: {}", error.message())))?
        .downcast::<gst::Pipeline>()
        .map_err(|_| ear("the microphone cannot be built".to_owned()))?;
    on_the_system_s_time(&microphone);
    if let Some(processor) = microphone.by_name(VOICE_PROCESSOR) {
        desk.echo.tie(&processor);
        // It would make up for what the canceller takes away.
        processor.set_property("gain-control", false);
    }
    let (tell, told) = mpsc::sync_channel(1);
    let raw = shelf(&microphone, "raw", Some(tell));
    let clean = shelf(&microphone, "processed", None);
    let result = play(programme, &microphone, &raw, &told, &desk, speaker, &ear, &mouth);
    if let Err(error) = microphone.set_state(gst::State::Null) {
        tracing::warn!(%error, "the microphone did not stop cleanly");
    }
    let heard_from = result?;
    let raw = std::mem::take(&mut *lock(&raw));
    let clean = std::mem::take(&mut *lock(&clean));
    let offset = |track: &Track| {
        let begin = track.begin.unwrap_or(gst::ClockTime::ZERO).nseconds() as i128;
        let late = i128::from(heard_from.nseconds()) - begin;
        i64::try_from(late * i128::from(RATE) / 1_000_000_000).unwrap_or(i64::MAX)
    };
    let begin = offset(&raw);
    // Both are to begin with the same moment.
    let early = usize::try_from(offset(&clean) - begin).unwrap_or(0).min(clean.samples.len());
    let late = usize::try_from(begin - offset(&clean)).unwrap_or(0);
    let processed = match clean.begin {
        Some(_) => {
            let silence = std::iter::repeat_n(0.0, late);
            silence.chain(clean.samples[early..].iter().copied()).collect()
        }
        None => Vec::new(),
    };
    Ok(Recording { raw: raw.samples, processed, begin })
}

/// Plays the programme while the microphone is on. Returns when its first sample is to be heard.
#[expect(clippy::too_many_arguments, reason = "the halves of one pair of pipelines")]
fn play(
    programme: &Programme,
    microphone: &gst::Pipeline,
    raw: &Shelf,
    told: &mpsc::Receiver<()>,
    desk: &Arc<SpeakerDesk>,
    speaker: &plan_sound::SpeakerPlan,
    ear: &impl Fn(String) -> Fault,
    mouth: &impl Fn(String) -> Fault,
) -> Result<gst::ClockTime, Fault> {
    let complaint = || match microphone.bus()?.pop_filtered(&[gst::MessageType::Error])?.view() {
        gst::MessageView::Error(error) => Some(error.error().message().to_owned()),
        _ => None,
    };
    let started = microphone.set_state(gst::State::Playing);
    let heard = started.is_ok() && told.recv_timeout(FIRST_SOUND).is_ok();
    if !heard {
        let why = complaint().unwrap_or_else(|| "nothing comes from it".to_owned());
        return Err(ear(format!("the microphone does not work: {why}")));
    }
    let line = SpeakerLine::open(speaker, desk, desk.echo.probe()).map_err(mouth)?;
    let deadline = Instant::now() + GRACE;
    // What is mixed before the card plays is not heard.
    while !line.is_playing() {
        let _ = told.recv_timeout(Duration::from_millis(50));
        let why = match line.read_bus() {
            Some(why) => why,
            None if Instant::now() >= deadline => "it is not ready in time".to_owned(),
            None => continue,
        };
        line.close();
        return Err(mouth(format!("the speaker does not work: {why}")));
    }
    let samples = programme.samples.iter().map(|sample| (sample * 32_767.0) as i16).collect();
    let strand = line.add_sound(samples).inspect_err(|_| line.close()).map_err(mouth)?;
    let deadline = Instant::now() + super::tones::duration(programme.samples.len()) + GRACE;
    let outcome = loop {
        let _ = told.recv_timeout(Duration::from_millis(200));
        if let Some(why) = line.read_bus() {
            break Err(mouth(format!("the speaker does not work: {why}")));
        }
        if let Some(why) = complaint() {
            break Err(ear(format!("the microphone does not work: {why}")));
        }
        let heard_from = strand.begins() + line.delay();
        let end = heard_from
            + gst::ClockTime::from_nseconds(
                super::tones::duration(programme.samples.len() + TAIL).as_nanos() as u64,
            );
        let track = lock(raw);
        let recorded = super::tones::duration(track.samples.len()).as_nanos() as u64;
        if track.begin.is_some_and(|begin| begin + gst::ClockTime::from_nseconds(recorded) >= end) {
            break Ok(heard_from);
        }
        if Instant::now() >= deadline {
            break Err(ear("the microphone stopped in the middle of the test".to_owned()));
        }
    };
    line.remove(&strand);
    line.close();
    outcome
}

/// Has an appsink write into a recording, and ring at each piece if somebody waits.
fn shelf(pipeline: &gst::Pipeline, name: &str, tell: Option<mpsc::SyncSender<()>>) -> Shelf {
    let shelf = Shelf::default();
    let sink = pipeline.by_name(name).and_then(|sink| sink.downcast::<gst_app::AppSink>().ok());
    let Some(sink) = sink else { return shelf };
    let kept = Arc::clone(&shelf);
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let buffer = sample.buffer().ok_or(gst::FlowError::Error)?;
        let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
        let time = buffer.pts().and_then(|pts| segment?.to_running_time(pts));
        let map = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
        if let Some(time) = time {
            lock(&kept).take(time, &map);
        }
        if let Some(tell) = &tell {
            // Full: somebody is about to look anyway.
            let _ = tell.try_send(());
        }
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
    shelf
}

/// Where the phone's picture would go. Nothing is shown.
pub fn display(board: &Board) -> PartReport {
    let mut report = PartReport::default();
    let probe = devices::screen_probe();
    let connect =
        "connect a display, or name it under [display]; `intercomd devices` shows what is there";
    report.verdicts.push(match plan_display::surface(&board.display, &probe) {
        Surface::Counted(_) if board.display.source == Source::Off => {
            Verdict::good("no display, as the board says")
        }
        Surface::Counted(sink) => Verdict::fair(format!("no display: {}", sink.label), connect),
        Surface::Direct(sink) => Verdict::good(format!("the display is: {}", sink.label)),
        Surface::Screen(Device::Kms { connector })
            if plan_display::is_unplugged(&probe.screens, connector.as_deref()) =>
        {
            let place = connector.as_deref().unwrap_or("any connector");
            Verdict::fair(format!("no display is plugged in at {place}"), connect)
        }
        Surface::Screen(device) => Verdict::good(match device {
            Device::Kms { connector: Some(place) } => format!("the display is at {place}"),
            Device::Kms { connector: None } => {
                "the display is at the first connector that has one".to_owned()
            }
            Device::Window => "the display is a window".to_owned(),
            Device::Framebuffer(node) => format!("the display is {node}"),
            Device::Own(_) => "the display is the board's own pipeline".to_owned(),
        }),
    });
    report
}

/// Tests camera and encoder: whether pictures arrive, and how many a second. Takes some 3 s.
pub async fn picture(board: &Board) -> PartReport {
    let mut report = PartReport::default();
    if board.camera.source == Source::Off {
        report.verdicts.push(Verdict::good("no camera, as the board says"));
        return report;
    }
    let mut silent = board.clone();
    silent.microphone.source = Source::Off;
    let capture = Capture::new(&silent);
    let mut feed = capture.fanout().feed();
    capture.set(true);
    let mut taken = Vec::new();
    let count = async {
        let mut first = None;
        while let Some(unit) = feed.next().await {
            let Unit::Video(unit) = unit else { continue };
            let passed = unit.rtp_time.wrapping_sub(*first.get_or_insert(unit.rtp_time));
            if passed >= PICTURES {
                return Some(taken.len() as f64 * 90_000.0 / f64::from(passed));
            }
            taken.push(unit);
        }
        None
    };
    let rate = tokio::time::timeout(FIRST_PICTURE, count).await.ok().flatten();
    let status = capture.status();
    capture.stop().await;
    report.used.push(format!("camera: {}", status.camera));
    report.used.push(format!("encoder: {}", status.encoder));
    report.used.extend(status.reasons);
    report.pictures_per_second = rate;
    let wanted = f64::from(board.camera.rate);
    let Some(rate) = rate else {
        return report.failed(
            format!("no pictures: {:?}, camera {}", status.state, status.camera),
            "check [camera]; `intercomd devices` shows what is there",
        );
    };
    report.verdicts.push(match rate < wanted * 0.7 {
        true => Verdict::fair(
            format!("{rate:.0} pictures a second, {wanted:.0} are wanted"),
            "give the camera more light, or lower [camera] size or rate",
        ),
        false => Verdict::good(format!("{rate:.0} pictures a second")),
    });
    report.verdicts.push(match taken.iter().any(|unit| unit.keyframe) {
        true => Verdict::good(format!("the encoder {} works", status.encoder)),
        false => Verdict::bad(
            format!(
                "the encoder {} sends no keyframe: no phone could begin to show it",
                status.encoder
            ),
            "name another in [encoder], or delete the line",
        ),
    });
    // A decoder and a thread that may take its time; bounded by the limits of each step.
    let seen = tokio::task::spawn_blocking(move || portrait::looks(&taken)).await;
    match seen.unwrap_or_else(|_| Err("looking at the pictures broke off".to_owned())) {
        Ok(seen) => report.verdicts.extend(judge_pictures(&seen)),
        Err(why) => report.verdicts.push(Verdict::fair(
            format!("the pictures were not looked at: {why}"),
            "install gstreamer1.0-libav",
        )),
    }
    report
}

/// What pictures in a row show, each with how much it differs from the one before.
fn judge_pictures(seen: &[(Look, f64)]) -> Vec<Verdict> {
    if seen.len() < 2 {
        return vec![Verdict::bad(
            "what the encoder sends cannot be decoded",
            "name another in [encoder], or delete the line",
        )];
    }
    let count = seen.len() as f64;
    let mean = seen.iter().map(|(look, _)| look.mean).sum::<f64>() / count;
    let detail = seen.iter().map(|(look, _)| look.detail).sum::<f64>() / count;
    let dark = seen.iter().all(|(look, _)| look.is_dark());
    let bright = format!("mean brightness {mean:.0} of 255");
    let picture = if dark {
        Verdict::fair(
            format!("the picture is dark ({bright})"),
            "take the cap off, or give the door a light; by night this is what a visitor looks like",
        )
    } else if mean > 240.0 {
        Verdict::fair(
            format!("the picture is white ({bright})"),
            "turn the camera out of the light, or lower exposure in [camera.controls]",
        )
    } else if detail < 0.5 {
        Verdict::fair(
            format!("the picture shows one colour ({bright})"),
            "see whether something covers the camera, and whether it is in focus",
        )
    } else {
        Verdict::good(format!("the picture shows something ({bright})"))
    };
    // The first has none before it.
    let moved = seen[1..].iter().any(|(_, change)| *change > 0.0);
    let movement = match moved {
        true => Verdict::good("the picture moves"),
        false => Verdict::fair(
            "all pictures are the same",
            "wave before the camera and test again; if it stays so, the camera hangs: take its power away",
        ),
    };
    vec![picture, movement]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grades(pictures: &[(f64, f64, f64)]) -> Vec<Grade> {
        let seen: Vec<(Look, f64)> = pictures
            .iter()
            .map(|(mean, detail, change)| (Look { mean: *mean, detail: *detail }, *change))
            .collect();
        judge_pictures(&seen).iter().map(|verdict| verdict.grade).collect()
    }

    #[test]
    fn a_picture_that_shows_something_and_moves_is_good() {
        assert_eq!(grades(&[(120.0, 6.0, 0.0), (121.0, 6.0, 0.3)]), [Grade::Good, Grade::Good]);
    }

    #[test]
    fn dark_white_covered_and_frozen_pictures_are_told_apart() {
        for (mean, detail) in [(9.0, 0.4), (250.0, 3.0), (120.0, 0.1)] {
            let seen = [(mean, detail, 0.0), (mean, detail, 1.0)];
            assert_eq!(grades(&seen), [Grade::Fair, Grade::Good], "{mean} {detail}");
        }
        assert_eq!(grades(&[(120.0, 6.0, 0.0), (120.0, 6.0, 0.0)]), [Grade::Good, Grade::Fair]);
        assert_eq!(grades(&[]), [Grade::Bad]);
    }
}
