//! The one capture pipeline: camera and microphone to H.264 and Opus, on demand, healing itself.
//!
//! The work is done by the thread in `capture_engine.rs`; this is what the rest of the house holds. Which elements
//! are used is decided in `plan.rs`; who gets the result, in `fanout.rs`. Picture and sound are two parts of one pipeline: when one
//! fails it is taken out and put back later, and the other goes on undisturbed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::bandwidth::Bandwidth;
use super::bell::{Bell, lock};
use super::capture_engine::Engine;
use super::capture_part::{Counts, Outlet};
use super::echo::EchoReference;
use super::fanout::{self, Fanout};
use super::playback::Playback;
use crate::config::Board;

/// How long a part may deliver nothing before it counts as broken.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long `stop` waits for devices to be closed.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Where the capture stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptureState {
    /// Not wanted; no device is open.
    Off,
    /// Wanted; nothing was delivered yet.
    Starting,
    /// Picture or sound or both are being delivered; the status says which.
    Running,
    /// Nothing can be delivered now. It is tried again by itself.
    Broken {
        /// What is wrong and what to do.
        reason: String,
    },
}

/// Whether the camera works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Nobody wants a picture, or none has come yet.
    Unknown,
    /// It delivers.
    Works,
    /// It is wanted and fails. It is tried again by itself.
    Away,
}

/// The capture as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureStatus {
    /// Where it stands.
    pub state: CaptureState,
    /// Whether the camera works.
    pub sight: Sight,
    /// The picture's source in words, or why there is none.
    pub camera: String,
    /// The encoder's element name; empty while there is none.
    pub encoder: String,
    /// The sound's source in words, or why there is none.
    pub microphone: String,
    /// The rate the encoder is to keep now, in kbit/s: what the narrowest path can take that is shown all of it.
    pub bitrate_kbps: u32,
    /// Pictures encoded since the daemon started.
    pub frames: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// Pieces of sound (20 ms each) encoded since the daemon started.
    pub sounds: u64,
    /// Encoder outputs that made no sense and were left out.
    pub bad_units: u64,
    /// Pipelines built since the daemon started.
    pub pipelines_built: u64,
    /// Times that a part failed since the daemon started.
    pub failures: u64,
    /// profile_idc, constraint flags and level_idc of the stream, once a keyframe was made (RFC 6184 section 8.1).
    pub profile_level_id: Option<[u8; 3]>,
    /// What was picked and why.
    pub reasons: Vec<String>,
}

impl CaptureStatus {
    fn off() -> Self {
        Self {
            state: CaptureState::Off,
            sight: Sight::Unknown,
            camera: String::new(),
            encoder: String::new(),
            microphone: String::new(),
            bitrate_kbps: 0,
            frames: 0,
            keyframes: 0,
            sounds: 0,
            bad_units: 0,
            pipelines_built: 0,
            failures: 0,
            profile_level_id: None,
            reasons: Vec::new(),
        }
    }
}

/// What is wanted of camera and microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// No device is open.
    Nothing,
    /// The camera, and its encoder; the microphone is closed.
    Camera,
    /// Camera and microphone.
    All,
}

/// What the thread is asked to do. The last wish counts, so nothing can queue up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    Aim(Aim),
    End,
}

/// What this side and the thread both hold.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) want: Mutex<Want>,
    pub(super) bell: Arc<Bell>,
    pub(super) counts: Arc<Counts>,
    /// Since when the thread has been inside a call that opens or closes devices.
    pub(super) blocked_since: Mutex<Option<Instant>>,
}

/// Camera, microphone and encoder. Dropping it ends it in the background; [`stop`](Self::stop) also waits.
#[derive(Debug)]
pub struct Capture {
    shared: Arc<Shared>,
    fanout: Fanout,
    bandwidth: Bandwidth,
    status: watch::Receiver<CaptureStatus>,
    ended: Option<oneshot::Receiver<()>>,
}

impl Capture {
    /// A capture for this board, switched off. Opens no device.
    pub fn new(board: &Board) -> Self {
        Self::with_patience(board, PATIENCE, None)
    }

    /// The same, with the echo of what is played cancelled where the plan says so.
    pub fn beside(board: &Board, playback: &Playback) -> Self {
        Self::with_patience(board, PATIENCE, Some(playback.echo()))
    }

    fn with_patience(board: &Board, patience: Duration, echo: Option<EchoReference>) -> Self {
        let bell = Arc::new(Bell::default());
        let counts = Arc::new(Counts::default());
        let (writer, fanout) = fanout::fanout(Arc::clone(&bell));
        let bandwidth =
            Bandwidth::new(board.encoder.bitrate_kbps.saturating_mul(1000), Arc::clone(&bell));
        let shared = Arc::new(Shared {
            want: Mutex::new(Want::Aim(Aim::Nothing)),
            bell: Arc::clone(&bell),
            counts: Arc::clone(&counts),
            blocked_since: Mutex::new(None),
        });
        let (status_out, status) = watch::channel(CaptureStatus::off());
        let (end, ended) = oneshot::channel();
        let engine = Engine::new(
            board.clone(),
            patience,
            Arc::clone(&shared),
            fanout.clone(),
            bandwidth.clone(),
            Arc::new(Outlet { writer, bell, counts, echo }),
            status_out.clone(),
        );
        let spawned = std::thread::Builder::new().name("capture".to_owned()).spawn(move || {
            engine.run();
            // Nobody waits when the capture was dropped rather than stopped.
            let _ = end.send(());
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for the capture");
            let reason =
                format!("no thread for the capture: {error}; raise the system's limit on threads");
            status_out.send_modify(|status| status.state = CaptureState::Broken { reason });
        }
        Self { shared, fanout, bandwidth, status, ended: Some(ended) }
    }

    /// Switches camera and microphone on or off. Returns at once; the status follows.
    pub fn set(&self, on: bool) {
        self.aim(if on { Aim::All } else { Aim::Nothing });
    }

    /// Opens what is wanted and closes what is not. Returns at once; the status follows.
    pub fn aim(&self, aim: Aim) {
        self.want(Want::Aim(aim));
    }

    /// The place to open feeds at; can be cloned.
    pub fn fanout(&self) -> Fanout {
        self.fanout.clone()
    }

    /// The place to share the encoder's rate at; can be cloned.
    pub fn bandwidth(&self) -> Bandwidth {
        self.bandwidth.clone()
    }

    /// How it is now. Never blocks.
    pub fn status(&self) -> CaptureStatus {
        let counts = &self.shared.counts;
        let mut status = self.status.borrow().clone();
        status.bitrate_kbps = self.bandwidth.bitrate() / 1000;
        status.frames = counts.frames.load(Ordering::Relaxed);
        status.keyframes = counts.keyframes.load(Ordering::Relaxed);
        status.sounds = counts.sounds.load(Ordering::Relaxed);
        status.bad_units = counts.bad_units.load(Ordering::Relaxed);
        status.profile_level_id = *lock(&counts.profile);
        if let Some(since) = *lock(&self.shared.blocked_since)
            && since.elapsed() > PATIENCE
        {
            let reason = format!(
                "a device driver has not answered for {} s; unplug the device or restart the board",
                since.elapsed().as_secs()
            );
            status.state = CaptureState::Broken { reason };
        }
        status
    }

    /// Tells of changes of the status. Its counters are as old as the last such change.
    pub fn watch(&self) -> watch::Receiver<CaptureStatus> {
        self.status.clone()
    }

    /// Switches off for good and waits until the devices are closed, at most 5 s. All feeds end.
    pub async fn stop(mut self) {
        self.want(Want::End);
        if let Some(ended) = self.ended.take()
            && tokio::time::timeout(STOP_LIMIT, ended).await.is_err()
        {
            tracing::warn!("a device driver does not let go; leaving it to the end of the process");
        }
    }

    fn want(&self, want: Want) {
        *lock(&self.shared.want) = want;
        self.shared.bell.ring();
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.want(Want::End);
    }
}

#[cfg(test)]
mod tests {
    use gstreamer::prelude::*;

    use super::*;
    use crate::config::Source;
    use crate::media::{Feed, Unit, VideoUnit, init, plan_sound};

    const LIMIT: Duration = Duration::from_secs(20);
    const SMALL: &str =
        "videotestsrc is-live=true pattern=ball ! video/x-raw,width=160,height=120,framerate=30/1";

    fn board(camera: Source, microphone: Source) -> Board {
        let mut board =
            crate::config::built_in_board("sim").expect("the simulated board is built in");
        (board.camera.width, board.camera.height) = (160, 120);
        board.camera.source = camera;
        board.microphone.source = microphone;
        board.encoder.keyframe_interval = Duration::from_secs(60);
        board
    }

    async fn until(
        capture: &Capture,
        what: &str,
        wanted: impl Fn(&CaptureStatus) -> bool,
    ) -> CaptureStatus {
        let mut status = capture.watch();
        let found = tokio::time::timeout(LIMIT, status.wait_for(wanted)).await;
        match found {
            Ok(status) => status.expect("the capture lives").clone(),
            Err(_) => panic!("never {what}: {:?}", capture.status()),
        }
    }

    fn running(status: &CaptureStatus) -> bool {
        status.state == CaptureState::Running
    }

    async fn next(feed: &mut Feed) -> Unit {
        let unit = tokio::time::timeout(LIMIT, feed.next()).await;
        unit.expect("something comes").expect("the capture lives")
    }

    async fn next_video(feed: &mut Feed) -> Arc<VideoUnit> {
        loop {
            if let Unit::Video(unit) = next(feed).await {
                return unit;
            }
        }
    }

    #[tokio::test]
    async fn two_feeds_share_one_pipeline_and_a_late_one_begins_at_a_keyframe() {
        let capture = Capture::new(&board(Source::Test, Source::Test));
        let mut early = capture.fanout().feed();
        capture.set(true);
        assert!(next_video(&mut early).await.keyframe);
        for _ in 0..5 {
            assert!(!next_video(&mut early).await.keyframe);
        }
        let mut late = capture.fanout().feed();
        assert!(next_video(&mut late).await.keyframe, "made for it, as the interval is a minute");
        let (mut pictures, mut sounds) = (Vec::new(), Vec::new());
        while pictures.len() < 5 || sounds.len() < 5 {
            match next(&mut late).await {
                Unit::Video(unit) => pictures.push(unit),
                Unit::Audio(unit) => sounds.push(unit),
            }
        }
        assert!(pictures.iter().all(|unit| unit.payloads.iter().all(|p| p.len() <= 1160)));
        for pair in pictures.windows(2) {
            let step = pair[1].rtp_time.wrapping_sub(pair[0].rtp_time);
            assert!((1_000..90_000).contains(&step), "{step}");
        }
        assert!(sounds.iter().all(|unit| !unit.payload.is_empty()));
        for pair in sounds.windows(2) {
            assert_eq!(pair[1].rtp_time.wrapping_sub(pair[0].rtp_time) % 960, 0);
        }
        until(&capture, "running", running).await;
        let status = capture.status();
        assert_eq!(status.pipelines_built, 1, "{status:?}");
        assert_eq!(status.failures, 0, "{status:?}");
        assert_eq!(status.bad_units, 0, "{status:?}");
        let profile = status.profile_level_id.expect("a keyframe was made");
        assert_eq!(profile[0], 0x42, "baseline");
        assert_eq!(profile[1] & 0x40, 0x40, "constrained");
        assert!(profile[2] <= 31, "level 3.1 at most");
        capture.stop().await;
        assert!(early_end(&mut late).await);
    }

    async fn early_end(feed: &mut Feed) -> bool {
        let drained = async { while feed.next().await.is_some() {} };
        tokio::time::timeout(LIMIT, drained).await.is_ok()
    }

    #[tokio::test]
    async fn a_keyframe_request_yields_one_and_many_yield_few() {
        let capture = Capture::new(&board(Source::Pipeline(SMALL.to_owned()), Source::Off));
        let fanout = capture.fanout();
        let mut feed = fanout.feed();
        capture.set(true);
        assert!(next_video(&mut feed).await.keyframe);
        let first = capture.status().keyframes;
        for _ in 0..1000 {
            fanout.request_keyframe();
        }
        while !next_video(&mut feed).await.keyframe {}
        assert!(capture.status().keyframes - first <= 2, "{:?}", capture.status());
        capture.stop().await;
    }

    #[tokio::test]
    async fn who_sees_nothing_yet_does_not_wait_for_the_pause_after_a_keyframe_for_others() {
        let capture = Capture::new(&board(Source::Pipeline(SMALL.to_owned()), Source::Off));
        let fanout = capture.fanout();
        let mut early = fanout.feed();
        capture.set(true);
        assert!(next_video(&mut early).await.keyframe);
        for ask in [Fanout::suggest_keyframe as fn(&Fanout), Fanout::request_keyframe] {
            ask(&fanout);
            while !next_video(&mut early).await.keyframe {}
            let _late = fanout.feed();
            let mut passed = 0;
            while !next_video(&mut early).await.keyframe {
                passed += 1;
            }
            // Half a second is 15 pictures.
            assert!(passed < 10, "{passed} pictures after a keyframe for others");
        }
        capture.stop().await;
    }

    #[tokio::test]
    async fn a_feed_that_falls_behind_the_encoder_resumes_at_a_keyframe() {
        let capture = Capture::new(&board(Source::Pipeline(SMALL.to_owned()), Source::Test));
        let fanout = capture.fanout();
        let (mut slow, mut quick) = (fanout.feed(), fanout.feed());
        capture.set(true);
        assert!(next_video(&mut slow).await.keyframe);
        for _ in 0..80 {
            next(&mut quick).await;
        }
        assert!(next_video(&mut slow).await.keyframe);
        assert_eq!(fanout.counts().lags, 1);
        capture.stop().await;
    }

    /// Bits per second of the next pictures, by their own time.
    async fn rate(feed: &mut Feed, pictures: usize) -> f64 {
        let first = next_video(feed).await.rtp_time;
        let (mut bytes, mut last) = (0, first);
        for _ in 0..pictures {
            let unit = next_video(feed).await;
            bytes += unit.payloads.iter().map(bytes::Bytes::len).sum::<usize>();
            last = unit.rtp_time;
        }
        bytes as f64 * 8.0 * 90_000.0 / f64::from(last.wrapping_sub(first))
    }

    /// The first of some rates that is as wanted.
    async fn settled(feed: &mut Feed, wanted: impl Fn(f64) -> bool) -> f64 {
        let mut seen = Vec::new();
        for _ in 0..12 {
            let rate = rate(feed, 30).await;
            if wanted(rate) {
                return rate;
            }
            seen.push(rate.round());
        }
        panic!("never: {seen:?} bit/s");
    }

    #[tokio::test]
    async fn the_running_encoder_keeps_the_rate_the_links_have_room_for() {
        init().expect("GStreamer starts");
        for encoder in ["x264enc", "openh264enc"] {
            if gstreamer::ElementFactory::find(encoder).is_none() {
                continue;
            }
            let busy = "videotestsrc is-live=true pattern=zone-plate kx2=20 ky2=20 kt=2 \
                ! video/x-raw,width=160,height=120,framerate=30/1";
            let mut board = board(Source::Pipeline(busy.to_owned()), Source::Off);
            board.encoder.try_ = vec![encoder.to_owned()];
            board.encoder.bitrate_kbps = 1200;
            let capture = Capture::new(&board);
            let share = capture.bandwidth().join();
            let mut feed = capture.fanout().feed();
            capture.set(true);
            // An encoder needs some pictures to come to a new rate, and a busy machine makes pictures harder.
            let low = 1.2 * 300_000.0;
            settled(&mut feed, |rate| rate > 1.2 * low).await;
            assert_eq!(capture.status().bitrate_kbps, 1200);
            share.tell(300_000);
            assert_eq!(capture.status().bitrate_kbps, 300);
            settled(&mut feed, |rate| rate < low).await;
            drop(share);
            assert_eq!(capture.status().bitrate_kbps, 1200);
            settled(&mut feed, |rate| rate > 1.2 * low).await;
            let status = capture.status();
            assert_eq!((status.pipelines_built, status.failures), (1, 0), "{status:?}");
            assert_eq!(status.encoder, encoder);
            capture.stop().await;
        }
    }

    /// Waits until pieces of the voice carry a copy of the one before, or none of a second's does.
    async fn voice_settles(feed: &mut Feed, with_copies: bool) {
        let wanted = if with_copies { 3 } else { 50 };
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            let mut pieces = 0;
            while pieces < wanted {
                let Some(Unit::Audio(unit)) = feed.next().await else { continue };
                // RFC 6716: a configuration below 16 has a part of SILK (section 3.1), whose second bit says that a copy
                // of the piece before is in it (section 4.2.3).
                let has_copy = unit.payload[0] >> 3 < 16 && unit.payload[1] & 0x40 != 0;
                pieces = match has_copy == with_copies {
                    true => pieces + 1,
                    // SILK makes no copy of what it takes for noise.
                    false if with_copies => pieces,
                    false => 0,
                };
            }
        });
        waited.await.expect("the voice changes");
    }

    #[tokio::test]
    async fn the_running_voice_carries_its_own_correction_while_a_link_may_need_it() {
        let voice = "audiotestsrc is-live=true wave=sine freq=300 samplesperbuffer=480";
        let mut board = board(Source::Off, Source::Pipeline(voice.to_owned()));
        // A steady tone is noise to it.
        board.microphone.noise_suppression = false;
        let capture = Capture::new(&board);
        let share = capture.bandwidth().join();
        let mut feed = capture.fanout().feed();
        capture.set(true);
        voice_settles(&mut feed, true).await;
        share.correct(false);
        voice_settles(&mut feed, false).await;
        let another = capture.bandwidth().join();
        voice_settles(&mut feed, true).await;
        drop(another);
        voice_settles(&mut feed, false).await;
        assert_eq!(capture.status().pipelines_built, 1);
        capture.stop().await;
    }

    /// How loud a tone of a second is behind encoder and decoder, against what went in.
    fn through_opus(hertz: u32) -> f64 {
        init().expect("GStreamer starts");
        let (caps, opus) = (plan_sound::CAPS, plan_sound::OPUS);
        let text = format!(
            "audiotestsrc num-buffers=100 samplesperbuffer=480 wave=sine freq={hertz} volume=0.3 ! {caps} ! {opus} \
             ! opusdec ! {caps} ! appsink name=out sync=false"
        );
        let pipeline = gstreamer::parse::launch(&text).expect("all parts are there");
        let sink = pipeline.downcast_ref::<gstreamer::Bin>().and_then(|bin| bin.by_name("out"));
        let sink =
            sink.and_then(|sink| sink.downcast::<gstreamer_app::AppSink>().ok()).expect("a sink");
        pipeline.set_state(gstreamer::State::Playing).expect("it plays");
        let mut samples = Vec::new();
        while let Ok(sample) = sink.pull_sample() {
            let map =
                sample.buffer().expect("sound").map_readable().expect("it can be read").to_vec();
            samples.extend(
                map.chunks_exact(2)
                    .map(|two| f64::from(i16::from_le_bytes([two[0], two[1]])) / 32_768.0),
            );
        }
        pipeline.set_state(gstreamer::State::Null).expect("it stops");
        let last = &samples[samples.len() / 2..];
        let power = last.iter().map(|one| one * one).sum::<f64>() / last.len() as f64;
        (power / (0.3 * 0.3 / 2.0)).sqrt()
    }

    #[test]
    fn a_voice_is_coded_without_its_rumble() {
        let (rumble, voice) = (through_opus(25), through_opus(300));
        assert!(rumble < 0.25 && voice > 0.7, "of 25 Hz {rumble}, of 300 Hz {voice}");
    }

    #[tokio::test]
    async fn a_camera_that_ends_is_started_again_and_time_runs_on() {
        let ends = "videotestsrc is-live=true num-buffers=5 \
            ! video/x-raw,width=160,height=120,framerate=30/1";
        let capture = Capture::new(&board(Source::Pipeline(ends.to_owned()), Source::Off));
        let mut feed = capture.fanout().feed();
        capture.set(true);
        let mut last = None;
        let mut keyframes = 0;
        while keyframes < 5 {
            let unit = next_video(&mut feed).await;
            keyframes += u32::from(unit.keyframe);
            if let Some(last) = last {
                assert!(unit.rtp_time.wrapping_sub(last) < 90_000 * 60, "time went back");
            }
            last = Some(unit.rtp_time);
        }
        let status = until(&capture, "started three times", |s| s.failures >= 2).await;
        assert_eq!(status.pipelines_built, 1, "the notice between two starts keeps it alive");
        capture.stop().await;
    }

    #[tokio::test]
    async fn while_the_camera_is_away_a_notice_is_sent_and_the_sound_goes_on() {
        let ends = "videotestsrc is-live=true num-buffers=5 ! video/x-raw,width=160,height=120,framerate=30/1";
        let capture = Capture::new(&board(Source::Pipeline(ends.to_owned()), Source::Test));
        let mut feed = capture.fanout().feed();
        capture.set(true);
        for round in 1..=2 {
            let away = |s: &CaptureStatus| {
                s.failures >= round && s.camera.ends_with("; phones see a notice")
            };
            let status = until(&capture, "showed a notice", away).await;
            assert!(running(&status), "the sound goes on: {status:?}");
            let back = |s: &CaptureStatus| s.camera == "own pipeline";
            until(&capture, "had the camera back", back).await;
        }
        // What came in all that time: two pieces of the camera, notices between them, and sound throughout.
        let (mut pictures, mut sounds) = (0, 0);
        while pictures < 20 || sounds < 20 {
            match next(&mut feed).await {
                Unit::Video(_) => pictures += 1,
                Unit::Audio(_) => sounds += 1,
            }
        }
        assert!(capture.status().keyframes >= 4, "each part begins with one");
        capture.stop().await;
    }

    #[tokio::test]
    async fn without_a_working_microphone_the_picture_goes_on_undisturbed() {
        let bad = "filesrc location=/nonexistent/file ! decodebin";
        let board = board(Source::Pipeline(SMALL.to_owned()), Source::Pipeline(bad.to_owned()));
        let capture = Capture::new(&board);
        let mut feed = capture.fanout().feed();
        capture.set(true);
        assert!(next_video(&mut feed).await.keyframe);
        let status = until(&capture, "retried", |s| running(s) && s.failures >= 3).await;
        assert!(status.microphone.starts_with("none (own pipeline"), "{status:?}");
        assert_eq!(status.pipelines_built, 1);
        assert_eq!(capture.status().keyframes, 1, "the retries did not restart the picture");
        capture.stop().await;
    }

    #[tokio::test]
    async fn without_a_working_camera_there_is_still_sound() {
        let capture =
            Capture::new(&board(Source::Device("/dev/nonexistent".to_owned()), Source::Test));
        let mut feed = capture.fanout().feed();
        capture.set(true);
        while !matches!(next(&mut feed).await, Unit::Audio(_)) {}
        let away = |s: &CaptureStatus| running(s) && s.sight == Sight::Away;
        let status = until(&capture, "camera missed", away).await;
        assert!(status.camera.contains("/dev/nonexistent"), "{status:?}");
        capture.stop().await;
    }

    #[tokio::test]
    async fn the_microphone_opens_and_closes_beside_a_camera_that_stays_on() {
        let capture = Capture::new(&board(Source::Test, Source::Test));
        let mut feed = capture.fanout().feed();
        capture.aim(Aim::Camera);
        for _ in 0..10 {
            next_video(&mut feed).await;
        }
        let status = until(&capture, "running", running).await;
        assert_eq!((status.microphone.as_str(), capture.status().sounds), ("off", 0));
        capture.aim(Aim::All);
        while !matches!(next(&mut feed).await, Unit::Audio(_)) {}
        capture.aim(Aim::Camera);
        until(&capture, "closed", |s| running(s) && s.microphone == "off").await;
        // What was on its way has come by the next pictures.
        for _ in 0..5 {
            next_video(&mut feed).await;
        }
        let sounds = capture.status().sounds;
        for _ in 0..10 {
            next_video(&mut feed).await;
        }
        let status = capture.status();
        assert_eq!((status.sounds, status.pipelines_built, status.failures), (sounds, 1, 0));
        capture.aim(Aim::Nothing);
        until(&capture, "off", |s| s.state == CaptureState::Off).await;
        capture.stop().await;
    }

    #[tokio::test]
    async fn a_source_that_hangs_is_noticed() {
        let hangs = "videotestsrc is-live=true ! valve drop=true";
        let board = board(Source::Pipeline(hangs.to_owned()), Source::Off);
        let capture = Capture::with_patience(&board, Duration::from_millis(300), None);
        capture.set(true);
        let status =
            until(&capture, "noticed", |s| matches!(s.state, CaptureState::Broken { .. })).await;
        assert!(status.camera.contains("nothing came"), "{status:?}");
        capture.stop().await;
    }

    #[tokio::test]
    async fn nonsense_from_the_board_is_told_and_does_no_harm() {
        let capture =
            Capture::new(&board(Source::Pipeline("nosuchelement ! ! x".to_owned()), Source::Off));
        capture.set(true);
        let status =
            until(&capture, "told", |s| matches!(s.state, CaptureState::Broken { .. })).await;
        assert!(status.camera.contains("cannot be built"), "{status:?}");
        capture.set(false);
        until(&capture, "off", |s| s.state == CaptureState::Off).await;
        capture.stop().await;
    }
}
