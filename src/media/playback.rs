//! Plays remote tracks: each picture gets a branch of its own, from RTP packets to the display; all sound is mixed
//! into the one speaker.
//!
//! The work is done by the threads in `playback_stage.rs` and `speaker_stage.rs`; this is what the rest of the house holds. What a branch is
//! built of is decided in `plan_playback.rs`; which track is played at all, by the caller.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gst::prelude::ClockExt;
use gstreamer as gst;
use gstreamer_app as gst_app;
use tokio::sync::watch;

use super::arrival::Arrivals;
use super::bell::{Bell, lock};
use super::echo::EchoReference;
use super::jitter;
use super::plan_playback::RemoteStream;
use super::playback_stage::Stage;
use super::rate::KeyframeGate;
use super::scene::Scene;
use super::screen::Screen;
use super::speaker::{Line, Sound, SpeakerDesk};
use super::speaker_stage::SpeakerStage;
use super::tones::Tone;
use super::{backlight, plan_display};
use crate::config::Board;

/// How many packets wait while a branch is being built: some half a second of video.
const WAITING: usize = 256;
/// How long `stop` waits for devices to be closed.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// The fixed part of an RTP header, in bytes (RFC 3550 section 5.1).
const RTP_HEADER: usize = 12;

/// The playback as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlaybackStatus {
    /// Pictures given to the display since the daemon started.
    pub video_frames: u64,
    /// Pieces of sound given to the speaker since the daemon started.
    pub audio_buffers: u64,
    /// The display in words, or why there is none.
    pub display: String,
    /// The speaker in words, or why there is none.
    pub speaker: String,
    /// Times the speaker was opened since the daemon started.
    pub speaker_opened: u64,
    /// Pieces of sound of 10 ms that went to the speaker, silence included, since the daemon started.
    pub mixed: u64,
    /// The door's own sounds begun since the daemon started.
    pub sounds: u64,
    /// Tracks being played or waiting for their device.
    pub tracks: usize,
    /// Branches built since the daemon started.
    pub branches_built: u64,
    /// Packets that were no RTP.
    pub refused_packets: u64,
    /// Slates drawn since the daemon started.
    pub slates_drawn: u64,
    /// Slates and pictures that reached a screen which stays open, since the daemon started.
    pub screen_frames: u64,
    /// The text the visitor can read at present.
    pub note: Option<String>,
    /// The last thing that went wrong, in words; empty when nothing did.
    pub trouble: String,
}

/// Asks the peer for a keyframe.
pub(super) type NeedKeyframe = Arc<dyn Fn() + Send + Sync>;

/// Display and speaker. Clones are the same playback; when the last is dropped, it ends.
#[derive(Debug, Clone)]
pub struct Playback {
    owner: Arc<Owner>,
}

#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    /// Of the threads for pictures and for sound.
    ended: [watch::Receiver<Life>; 2],
    /// `None` where pictures are only counted, or go straight into the owner's own pipeline.
    screen: Option<Screen>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Ended,
}

/// What this side and the thread both hold.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) bell: Bell,
    pub(super) speaker: Arc<SpeakerDesk>,
    pub(super) origin: Instant,
    /// The tracks to be played; the thread makes it so. Bounded by the number of `RtpInput`s.
    wanted: Mutex<Wanted>,
    pub(super) words: Mutex<Words>,
    pub(super) video_frames: Arc<AtomicU64>,
    pub(super) audio_buffers: Arc<AtomicU64>,
    pub(super) branches_built: AtomicU64,
    refused_packets: AtomicU64,
}

#[derive(Debug)]
enum Wanted {
    Tracks { by_id: BTreeMap<u64, Arc<Track>>, next: u64 },
    End,
}

/// The texts of the status.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) display: String,
    pub(super) speaker: String,
    trouble: String,
}

/// One remote track.
pub(super) struct Track {
    pub(super) stream: RemoteStream,
    /// Packets taken so far.
    pub(super) fed: AtomicU64,
    inlet: Mutex<Inlet>,
    pub(super) gate: Mutex<KeyframeGate>,
    arrivals: Mutex<Arrivals>,
    need_keyframe: NeedKeyframe,
}

impl fmt::Debug for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Track").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// Where a track's packets go.
pub(super) enum Inlet {
    /// Nowhere yet; with when each came. Full: the oldest is dropped.
    Waiting(VecDeque<(Bytes, Instant)>),
    /// Into the branch. Full: its appsrc drops the oldest.
    Open(gst_app::AppSrc),
    /// Nowhere any more.
    Closed,
}

impl Playback {
    /// A playback for this board. A screen that shows slates is opened at once, everything else when there is a
    /// track.
    pub fn new(board: &Board) -> Self {
        Self::with_backlights(board, Path::new(backlight::FOLDER))
    }

    /// The same with the kernel's folder of backlights elsewhere.
    pub fn with_backlights(board: &Board, backlights: &Path) -> Self {
        let shared = Arc::new(Shared {
            bell: Bell::default(),
            speaker: Arc::default(),
            origin: Instant::now(),
            wanted: Mutex::new(Wanted::Tracks { by_id: BTreeMap::new(), next: 0 }),
            words: Mutex::default(),
            video_frames: Arc::default(),
            audio_buffers: Arc::default(),
            branches_built: AtomicU64::new(0),
            refused_packets: AtomicU64::new(0),
        });
        let screen = plan_display::may_have_screen(&board.display).then(|| {
            // Weak, because the screen's thread may outlive a playback that was dropped.
            let shared = Arc::downgrade(&shared);
            let tell = move |words| {
                if let Some(shared) = shared.upgrade() {
                    lock(&shared.words).display = words;
                }
            };
            Screen::start(&board.display, backlights, Box::new(tell))
        });
        let stage =
            Stage::new(board.clone(), Arc::clone(&shared), screen.as_ref().map(Screen::shared));
        let pictures = shared.spawn("playback", move || stage.run());
        let stage = SpeakerStage::new(board.clone(), Arc::clone(&shared));
        let sound = shared.spawn("speaker", move || stage.run());
        Self { owner: Arc::new(Owner { shared, ended: [pictures, sound], screen }) }
    }

    /// Begins to play a track; returns at once. `need_keyframe` is called from media threads whenever the decoder
    /// cannot go on without a keyframe, at most every 500 ms; it must not block.
    pub fn open(&self, stream: RemoteStream, need_keyframe: NeedKeyframe) -> RtpInput {
        let shared = &self.owner.shared;
        let track = Arc::new(Track::new(stream, need_keyframe));
        let id = match &mut *lock(&shared.wanted) {
            Wanted::Tracks { by_id, next } => {
                let id = *next;
                *next += 1;
                by_id.insert(id, Arc::clone(&track));
                id
            }
            Wanted::End => {
                track.set_inlet(Inlet::Closed);
                u64::MAX
            }
        };
        shared.ring();
        RtpInput { id, track, shared: Arc::clone(shared) }
    }

    /// Says where things stand, for the screen. Returns at once; the last word counts. Without a screen that shows
    /// slates nothing happens.
    pub fn show_scene(&self, scene: Scene) {
        if let Some(screen) = &self.owner.screen {
            screen.show(scene);
        }
    }

    /// Shows a text to the visitor, or no more of it; returns at once. Without a screen that shows slates nothing
    /// happens.
    pub fn note(&self, note: Option<String>) {
        if let Some(screen) = &self.owner.screen {
            screen.note(note);
        }
    }

    /// Shows an address as a QR code between calls, or no more of it; returns at once. Without a screen that shows
    /// slates nothing happens.
    pub fn code(&self, code: Option<String>) {
        if let Some(screen) = &self.owner.screen {
            screen.code(code);
        }
    }

    /// Plays a WAV file at the door, 10 s of it at most; returns at once.
    pub fn say(&self, file: PathBuf) {
        self.owner.shared.speaker.sound(Sound::File(file));
    }

    /// Plays the chime at the door, as the board says; returns at once. Needs no call.
    pub fn chime(&self) {
        self.owner.shared.speaker.sound(Sound::Tone(Tone::Chime));
    }

    /// Tells the visitor by a tone that nobody came or can be reached; returns at once.
    pub fn sorry(&self) {
        self.owner.shared.speaker.sound(Sound::Tone(Tone::Sorry));
    }

    /// Says what the visitor's end of the line does from now on; returns at once.
    pub fn set_line(&self, line: Line) {
        self.owner.shared.speaker.set_line(line);
    }

    /// What is played, for the capture's echo canceller.
    pub fn echo(&self) -> EchoReference {
        self.owner.shared.speaker.echo.clone()
    }

    /// How it is now. Never blocks.
    pub fn status(&self) -> PlaybackStatus {
        let shared = &self.owner.shared;
        let (slates_drawn, screen_frames) =
            self.owner.screen.as_ref().map_or((0, 0), Screen::counts);
        let words = lock(&shared.words);
        PlaybackStatus {
            video_frames: shared.video_frames.load(Ordering::Relaxed),
            audio_buffers: shared.audio_buffers.load(Ordering::Relaxed),
            display: words.display.clone(),
            speaker: words.speaker.clone(),
            speaker_opened: shared.speaker.counts.opened.load(Ordering::Relaxed),
            mixed: shared.speaker.counts.mixed.load(Ordering::Relaxed),
            sounds: shared.speaker.counts.sounds.load(Ordering::Relaxed),
            tracks: match &*lock(&shared.wanted) {
                Wanted::Tracks { by_id, .. } => by_id.len(),
                Wanted::End => 0,
            },
            branches_built: shared.branches_built.load(Ordering::Relaxed),
            refused_packets: shared.refused_packets.load(Ordering::Relaxed),
            slates_drawn,
            screen_frames,
            note: self.owner.screen.as_ref().and_then(Screen::noted),
            trouble: words.trouble.clone(),
        }
    }

    /// Ends for good and waits until the devices are closed, at most 5 s. Inputs still held swallow what they get.
    pub async fn stop(&self) {
        self.owner.shared.end();
        let wait = async {
            for mut ended in self.owner.ended.clone() {
                // A thread that is gone has ended too.
                let _ = ended.wait_for(|life| *life == Life::Ended).await;
            }
        };
        let branches = tokio::time::timeout(STOP_LIMIT, wait);
        let stuck = match &self.owner.screen {
            Some(screen) => {
                let (branches, screen) = tokio::join!(branches, screen.stop(STOP_LIMIT));
                branches.is_err() || screen.is_err()
            }
            None => branches.await.is_err(),
        };
        if stuck {
            tracing::warn!(
                "a display or sound driver does not let go; leaving it to the end of the process"
            );
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// Takes one track's RTP packets. Dropping it stops the branch, in the background.
#[derive(Debug)]
pub struct RtpInput {
    id: u64,
    track: Arc<Track>,
    shared: Arc<Shared>,
}

impl RtpInput {
    /// One whole RTP packet. Never blocks; when the branch cannot keep up, the oldest packets are dropped.
    pub fn push(&self, packet: Bytes) {
        let is_rtp = packet.len() >= RTP_HEADER && packet[0] >> 6 == 2;
        if !is_rtp {
            self.shared.refused_packets.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.track.fed.fetch_add(1, Ordering::Relaxed);
        match &mut *lock(&self.track.inlet) {
            Inlet::Waiting(packets) => {
                if packets.len() >= WAITING {
                    packets.pop_front();
                }
                packets.push_back((packet, Instant::now()));
            }
            // Refused only while the branch is being taken down.
            Inlet::Open(source) => {
                let _ = source.push_buffer(self.track.stamped(packet, Instant::now()));
            }
            Inlet::Closed => {}
        }
    }

    /// The next packet comes after a hole: what is missing before it will not come. A branch of pictures waits for none
    /// of it.
    pub fn after_a_hole(&self) {
        if self.track.stream.kind == super::Kind::Video {
            self.track.begin_after_a_hole();
        }
    }
}

impl Drop for RtpInput {
    fn drop(&mut self) {
        self.track.set_inlet(Inlet::Closed);
        if let Wanted::Tracks { by_id, .. } = &mut *lock(&self.shared.wanted) {
            by_id.remove(&self.id);
        }
        self.shared.ring();
    }
}

impl Track {
    /// A track whose packets wait for a branch.
    pub(super) fn new(stream: RemoteStream, need_keyframe: NeedKeyframe) -> Self {
        let arrivals = Mutex::new(Arrivals::new(stream.clock_rate));
        Self {
            stream,
            fed: AtomicU64::new(0),
            inlet: Mutex::new(Inlet::Waiting(VecDeque::new())),
            gate: Mutex::new(KeyframeGate::new()),
            arrivals,
            need_keyframe,
        }
    }

    pub(super) fn set_inlet(&self, inlet: Inlet) {
        let old = std::mem::replace(&mut *lock(&self.inlet), inlet);
        // Outside the lock: the last reference to an element may go here.
        drop(old);
    }

    /// Sends what waited into the branch, and everything from now on.
    pub(super) fn open_inlet(&self, source: gst_app::AppSrc) {
        let mut inlet = lock(&self.inlet);
        match &mut *inlet {
            Inlet::Closed => return,
            Inlet::Open(_) => {}
            Inlet::Waiting(packets) => {
                for (packet, came) in packets.drain(..) {
                    let _ = source.push_buffer(self.stamped(packet, came));
                }
            }
        }
        *inlet = Inlet::Open(source);
    }

    /// A packet with the time at which it was due. What waited for the speaker to open, or in the network, would else seem to
    /// have come at once, and the jitter buffer hold everything back by as much as that, for seconds. Pictures pass it at
    /// once anyway, and their pipeline counts its own time.
    fn stamped(&self, packet: Bytes, came: Instant) -> gst::Buffer {
        let stamp = packet.get(4..8).and_then(|it| it.try_into().ok()).map(u32::from_be_bytes);
        let mut buffer = gst::Buffer::from_slice(packet);
        if self.stream.kind == super::Kind::Audio
            && let (Some(buffer), Some(stamp)) = (buffer.get_mut(), stamp)
        {
            let ago = u64::try_from(came.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let now = gst::SystemClock::obtain().time().nseconds();
            let due = lock(&self.arrivals).due(stamp, now.saturating_sub(ago));
            let due = gst::ClockTime::from_nseconds(due);
            buffer.set_pts(due);
            buffer.set_dts(due);
        }
        buffer
    }

    /// Keeps packets while the branch is being built again.
    pub(super) fn close_inlet_for_now(&self) {
        let mut inlet = lock(&self.inlet);
        if let Inlet::Open(_) = &*inlet {
            *inlet = Inlet::Waiting(VecDeque::new());
        }
    }

    /// What comes now comes after a hole.
    fn begin_after_a_hole(&self) {
        match &mut *lock(&self.inlet) {
            Inlet::Open(source) => jitter::forget(source),
            // What waited is from before it.
            Inlet::Waiting(packets) => packets.clear(),
            Inlet::Closed => {}
        }
    }

    /// Passes the decoder's wish on, unless one has just been passed on.
    pub(super) fn ask(&self, now: Duration) {
        if lock(&self.gate).take(now) {
            (self.need_keyframe)();
        }
    }
}

impl Shared {
    fn end(&self) {
        *lock(&self.wanted) = Wanted::End;
        self.ring();
    }

    fn ring(&self) {
        self.bell.ring();
        self.speaker.bell.ring();
    }

    /// A thread of this name; what is returned tells when it has ended.
    fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> watch::Receiver<Life> {
        let (life, ended) = watch::channel(Life::Running);
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            work();
            life.send_replace(Life::Ended);
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for the {name}");
            self.trouble(format!(
                "no thread for the {name}: {error}; raise the system's limit on threads"
            ));
        }
        ended
    }

    pub(super) fn trouble(&self, words: String) {
        lock(&self.words).trouble = words;
    }

    pub(super) fn tracks(&self) -> Option<BTreeMap<u64, Arc<Track>>> {
        match &*lock(&self.wanted) {
            Wanted::Tracks { by_id, .. } => Some(by_id.clone()),
            Wanted::End => None,
        }
    }
}

#[cfg(test)]
impl Playback {
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.owner.shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use crate::media::{Capture, Kind, Unit, VideoUnit};
    use ::rtc::rtp::Packet;
    use ::rtc::rtp::header::Header;
    use ::rtc::shared::marshal::Marshal;
    use gst::prelude::*;
    use tokio::sync::Notify;

    const LIMIT: Duration = Duration::from_secs(20);

    fn board() -> Board {
        let mut board =
            crate::config::built_in_board("sim").expect("the simulated board is built in");
        (board.camera.width, board.camera.height) = (160, 120);
        board.display.source = Source::Off;
        board.speaker.source = Source::Off;
        board
    }

    fn stream(kind: Kind, encoding: &str) -> RemoteStream {
        RemoteStream {
            kind,
            encoding: encoding.to_owned(),
            payload_type: 96,
            clock_rate: if kind == Kind::Audio { 48_000 } else { 90_000 },
        }
    }

    fn nobody() -> NeedKeyframe {
        Arc::new(|| {})
    }

    /// What a link does: payloads into packets.
    struct Line {
        input: RtpInput,
        header: Header,
    }

    impl Line {
        fn open(playback: &Playback, kind: Kind, encoding: &str, need: NeedKeyframe) -> Self {
            let header = Header { version: 2, payload_type: 96, ssrc: 7, ..Header::default() };
            let input = playback.open(stream(kind, encoding), need);
            Self { input, header }
        }

        fn send(&mut self, payload: Bytes, time: u32, marker: bool) {
            self.header.sequence_number = self.header.sequence_number.wrapping_add(1);
            self.header.timestamp = time;
            self.header.marker = marker;
            let packet = Packet { header: self.header.clone(), payload };
            self.input.push(packet.marshal().expect("a packet").freeze());
        }

        fn send_picture(&mut self, unit: &VideoUnit) {
            let last = unit.payloads.len() - 1;
            for (i, payload) in unit.payloads.iter().enumerate() {
                self.send(payload.clone(), unit.rtp_time, i == last);
            }
        }
    }

    /// Plays what the capture delivers until the status is as wanted.
    async fn play(
        capture: &Capture,
        playback: &Playback,
        mut lines: [Option<&mut Line>; 2],
        wanted: impl Fn(&PlaybackStatus) -> bool,
    ) {
        let mut feed = capture.fanout().feed();
        let work = async {
            while !wanted(&playback.status()) {
                let unit = feed.next().await.expect("the capture lives");
                match (&unit, &mut lines) {
                    (Unit::Video(unit), [Some(line), _]) => line.send_picture(unit),
                    (Unit::Audio(unit), [_, Some(line)]) => {
                        line.send(unit.payload.clone(), unit.rtp_time, false);
                    }
                    _ => {}
                }
            }
        };
        let done = tokio::time::timeout(LIMIT, work).await;
        done.unwrap_or_else(|_| panic!("{:?} {:?}", playback.status(), capture.status()));
    }

    #[tokio::test]
    async fn what_the_capture_delivers_is_seen_and_heard() {
        let capture = Capture::new(&board());
        let playback = Playback::new(&board());
        let mut video = Line::open(&playback, Kind::Video, "H264", nobody());
        let mut audio = Line::open(&playback, Kind::Audio, "OPUS", nobody());
        capture.set(true);
        play(&capture, &playback, [Some(&mut video), Some(&mut audio)], |s| {
            s.video_frames >= 20 && s.audio_buffers >= 30
        })
        .await;
        let (status, sent) = (playback.status(), capture.status());
        assert_eq!((status.branches_built, status.tracks), (2, 2), "{status:?}");
        assert_eq!(status.trouble, "");
        assert!(status.display.contains("counted"), "{status:?}");
        assert!(sent.keyframes <= 2, "the first was enough: {sent:?}");
        assert!(sent.sounds < 2 * status.audio_buffers, "little is lost: {sent:?} {status:?}");
        drop(video);
        assert_eq!(playback.status().tracks, 1);
        playback.stop().await;
        audio.input.push(Bytes::from_static(&[0x80; 20]));
        capture.stop().await;
    }

    #[tokio::test]
    async fn a_decoder_that_cannot_begin_keeps_asking_for_a_keyframe() {
        let capture = Capture::new(&board());
        let playback = Playback::new(&board());
        let asked = Arc::new(Notify::new());
        let bell = Arc::clone(&asked);
        let need: NeedKeyframe = Arc::new(move || bell.notify_one());
        let mut video = Line::open(&playback, Kind::Video, "H264", need);
        capture.set(true);
        let mut feed = capture.fanout().feed();
        let mid_stream = async {
            loop {
                if let Some(Unit::Video(unit)) = feed.next().await
                    && !unit.keyframe
                {
                    video.send_picture(&unit);
                }
            }
        };
        let asked = async {
            asked.notified().await;
            asked.notified().await;
        };
        tokio::select! {
            () = asked => {}
            () = mid_stream => {}
            () = tokio::time::sleep(LIMIT) => panic!("nobody asked: {:?}", playback.status()),
        }
        assert_eq!(playback.status().video_frames, 0);
        play(&capture, &playback, [Some(&mut video), None], |s| s.video_frames >= 3).await;
        playback.stop().await;
        capture.stop().await;
    }

    #[tokio::test]
    async fn garbage_is_survived() {
        let capture = Capture::new(&board());
        let playback = Playback::new(&board());
        let mut video = Line::open(&playback, Kind::Video, "H264", nobody());
        let mut audio = Line::open(&playback, Kind::Audio, "OPUS", nobody());
        for n in 0..500_u32 {
            let noise = (0..(n % 300)).map(|i| (i.wrapping_mul(n).wrapping_mul(31) >> 3) as u8);
            let noise: Bytes = noise.collect();
            video.send(noise.clone(), n * 90, n % 3 == 0);
            audio.send(noise.clone(), n * 90, n % 3 == 0);
            video.input.push(noise);
        }
        assert!(playback.status().refused_packets > 0);
        capture.set(true);
        let before = playback.status();
        play(&capture, &playback, [Some(&mut video), Some(&mut audio)], |s| {
            s.video_frames >= before.video_frames + 5 && s.audio_buffers >= before.audio_buffers + 5
        })
        .await;
        playback.stop().await;
        capture.stop().await;
    }

    #[tokio::test]
    async fn a_branch_whose_sink_fails_is_built_again() {
        let mut board = board();
        board.display.source =
            Source::Pipeline("identity error-after=3 ! fakesink sync=false".to_owned());
        board.display.slates = false;
        let capture = Capture::new(&board);
        let playback = Playback::new(&board);
        let fanout = capture.fanout();
        let need: NeedKeyframe = Arc::new(move || fanout.request_keyframe());
        let mut video = Line::open(&playback, Kind::Video, "H264", need);
        capture.set(true);
        play(&capture, &playback, [Some(&mut video), None], |s| s.branches_built >= 3).await;
        assert_ne!(playback.status().trouble, "");
        playback.stop().await;
        capture.stop().await;
    }

    #[tokio::test]
    async fn a_screen_shows_what_comes_once_somebody_talks_and_waits_before_and_after() {
        let mut board = board();
        board.display.source = Source::Pipeline("fakesink sync=false".to_owned());
        (board.display.idle, board.display.size) = (crate::config::Idle::Text, [320, 240]);
        let capture = Capture::new(&board);
        let playback = Playback::with_backlights(&board, Path::new("/nonexistent"));
        let fanout = capture.fanout();
        let need: NeedKeyframe = Arc::new(move || fanout.request_keyframe());
        let mut video = Line::open(&playback, Kind::Video, "H264", need);
        capture.set(true);
        playback.show_scene(Scene::Ringing);
        play(&capture, &playback, [Some(&mut video), None], |s| {
            s.video_frames >= 10 && s.slates_drawn >= 1
        })
        .await;
        let before = playback.status();
        assert_eq!(before.screen_frames, before.slates_drawn, "nobody has answered: {before:?}");
        assert_eq!(before.display, "own pipeline (320x240)");
        playback.show_scene(Scene::Talking { name: Some("Anna".to_owned()) });
        play(&capture, &playback, [Some(&mut video), None], |s| {
            s.screen_frames >= before.screen_frames + 20
        })
        .await;
        assert_eq!(playback.status().branches_built, 1, "{:?}", playback.status());
        playback.show_scene(Scene::Idle);
        play(&capture, &playback, [Some(&mut video), None], |s| {
            s.slates_drawn > before.slates_drawn
        })
        .await;
        let after = playback.status();
        play(&capture, &playback, [Some(&mut video), None], |s| {
            s.video_frames >= after.video_frames + 10
        })
        .await;
        let last = playback.status();
        // The slate itself may have been on its way still.
        assert!(last.screen_frames <= after.screen_frames + 2, "{after:?} {last:?}");
        assert_eq!(last.trouble, "");
        playback.stop().await;
        capture.stop().await;
    }

    #[tokio::test]
    async fn vp8_is_played() {
        crate::media::init().expect("GStreamer starts");
        let playback = Playback::new(&board());
        let input = playback.open(stream(Kind::Video, "VP8"), nobody());
        let text = "videotestsrc is-live=true num-buffers=600 ! video/x-raw,width=160,height=120,framerate=30/1 \
            ! vp8enc deadline=1 ! rtpvp8pay pt=96 mtu=1200 ! appsink name=out sync=false";
        let pipeline = gst::parse::launch(text).expect("a sender");
        let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
        let out = pipeline.by_name("out").and_then(|out| out.downcast::<gst_app::AppSink>().ok());
        let shown = Arc::new(Notify::new());
        let (bell, watched) = (Arc::clone(&shown), playback.clone());
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let buffer = sample.buffer().ok_or(gst::FlowError::Error)?;
            let map = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
            input.push(Bytes::copy_from_slice(&map));
            if watched.status().video_frames >= 10 {
                bell.notify_one();
            }
            Ok(gst::FlowSuccess::Ok)
        });
        out.expect("a sink").set_callbacks(callbacks.build());
        pipeline.set_state(gst::State::Playing).expect("it starts");
        let done = tokio::time::timeout(LIMIT, shown.notified()).await;
        done.unwrap_or_else(|_| panic!("{:?}", playback.status()));
        pipeline.set_state(gst::State::Null).expect("it stops");
        playback.stop().await;
    }

    #[tokio::test]
    async fn what_cannot_be_decoded_is_told() {
        let playback = Playback::new(&board());
        let input = playback.open(stream(Kind::Video, "AV1"), nobody());
        input.push(Bytes::from_static(&[0x80; 20]));
        let told = async {
            while playback.status().trouble.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, told).await.expect("it is told");
        playback.stop().await;
        drop(input);
    }
}
