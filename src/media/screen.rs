//! The screen at the door, as the rest of this room holds it: it is told the scene, and given the phone's pictures.
//!
//! One pipeline holds the device, as only one can; slates and pictures go into the same one, so that changing
//! between them opens nothing. The work is done by the thread in `screen_stage.rs`; what is shown is decided in
//! `scene.rs`.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer_app as gst_app;
use tokio::sync::watch;

use super::bell::{Bell, lock};
use super::scene::Scene;
use super::screen_stage::ScreenStage;
use crate::config::DisplaySettings;

type Tell = Box<dyn Fn(String) + Send + Sync>;

/// The screen. When it is dropped, its thread ends and the device is closed.
#[derive(Debug)]
pub(super) struct Screen {
    shared: Arc<Shared>,
    ended: watch::Receiver<Life>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Ended,
}

/// What the thread, the branch of the phone's picture and the owner hold together.
pub(super) struct Shared {
    pub(super) bell: Bell,
    desk: Mutex<Desk>,
    tell: Tell,
    /// Slates drawn so far.
    pub(super) slates: AtomicU64,
    /// Slates and pictures that reached the screen so far.
    pub(super) shown: Arc<AtomicU64>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

struct Desk {
    wish: Wish,
    /// A text for the visitor.
    note: Option<String>,
    /// An address for the camera of a phone.
    code: Option<String>,
    /// The latest picture of this call.
    last: Option<gst::Sample>,
    flow: Flow,
}

enum Wish {
    Scene { scene: Scene, since: Instant },
    End,
}

/// Where pictures go.
enum Flow {
    /// Nowhere: a slate is shown, or nothing is.
    Held,
    /// Onto the screen.
    Through(Outlet),
}

/// What the thread is to show.
pub(super) struct Task {
    pub(super) scene: Scene,
    /// How long ago the scene began.
    pub(super) age: Duration,
    pub(super) has_picture: bool,
    /// A text for the visitor.
    pub(super) note: Option<String>,
    /// An address for the camera of a phone.
    pub(super) code: Option<String>,
}

impl Screen {
    /// A screen that is idle. `backlights` is the kernel's folder of them; `tell` gets the words for the status.
    pub(super) fn start(settings: &DisplaySettings, backlights: &Path, tell: Tell) -> Self {
        let shared = Arc::new(Shared {
            bell: Bell::default(),
            desk: Mutex::new(Desk {
                wish: Wish::Scene { scene: Scene::Idle, since: Instant::now() },
                note: None,
                code: None,
                last: None,
                flow: Flow::Held,
            }),
            tell,
            slates: AtomicU64::new(0),
            shown: Arc::default(),
        });
        let (life, ended) = watch::channel(Life::Running);
        let stage = ScreenStage::new(settings.clone(), backlights, Arc::clone(&shared));
        let spawned = std::thread::Builder::new().name("screen".to_owned()).spawn(move || {
            stage.run();
            life.send_replace(Life::Ended);
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for the screen");
            shared.tell(format!("none: no thread: {error}; raise the system's limit on threads"));
        }
        Self { shared, ended }
    }

    /// What the branch of the phone's picture gives its pictures to.
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Says where things stand. Returns at once; the last word counts.
    pub(super) fn show(&self, scene: Scene) {
        {
            let mut desk = lock(&self.shared.desk);
            let Wish::Scene { scene: now, since } = &mut desk.wish else { return };
            if *now == scene {
                return;
            }
            // A picture can come before the news that somebody answered, but not stay for the next visitor.
            let keeps = scene.may_keep_picture();
            (*now, *since) = (scene, Instant::now());
            if !keeps {
                desk.last = None;
            }
        }
        self.shared.bell.ring();
    }

    /// Shows a text to the visitor, or no more of it. Returns at once; the last word counts.
    pub(super) fn note(&self, note: Option<String>) {
        lock(&self.shared.desk).note = note;
        self.shared.bell.ring();
    }

    /// Shows an address as a QR code between calls, or no more of it. Returns at once; the last word counts.
    pub(super) fn code(&self, code: Option<String>) {
        lock(&self.shared.desk).code = code;
        self.shared.bell.ring();
    }

    /// The text that is shown to the visitor.
    pub(super) fn noted(&self) -> Option<String> {
        lock(&self.shared.desk).note.clone()
    }

    /// Ends for good and waits until the device is closed, at most for `limit`.
    ///
    /// # Errors
    /// The driver does not let go.
    pub(super) async fn stop(&self, limit: Duration) -> Result<(), tokio::time::error::Elapsed> {
        self.shared.end();
        let mut ended = self.ended.clone();
        tokio::time::timeout(limit, ended.wait_for(|life| *life == Life::Ended)).await.map(|_| ())
    }

    /// Slates drawn, and slates and pictures that reached the screen.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.shared.slates.load(Ordering::Relaxed), self.shared.shown.load(Ordering::Relaxed))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl Shared {
    fn end(&self) {
        lock(&self.desk).wish = Wish::End;
        self.bell.ring();
    }

    pub(super) fn tell(&self, words: String) {
        (self.tell)(words);
    }

    /// What to show now; `None` at the end.
    pub(super) fn task(&self) -> Option<Task> {
        let desk = lock(&self.desk);
        match &desk.wish {
            Wish::Scene { scene, since } => Some(Task {
                scene: scene.clone(),
                age: since.elapsed(),
                has_picture: desk.last.is_some(),
                note: desk.note.clone(),
                code: desk.code.clone(),
            }),
            Wish::End => None,
        }
    }

    /// A picture of the phone's. Never blocks: while another waits to be shown, the older of them is dropped.
    pub(super) fn picture(&self, sample: gst::Sample) {
        let is_first = {
            let mut desk = lock(&self.desk);
            let wanted = match &desk.wish {
                Wish::Scene { scene, .. } => scene.may_keep_picture(),
                Wish::End => false,
            };
            if !wanted {
                return;
            }
            if let Flow::Through(outlet) = &mut desk.flow {
                outlet.push(&sample);
            }
            desk.last.replace(sample).is_none()
        };
        if is_first {
            self.bell.ring();
        }
    }

    /// The branch that gives pictures is about to be taken down: what is kept of it must not hold its decoder.
    pub(super) fn let_go(&self) {
        let mut desk = lock(&self.desk);
        if let Some(sample) = desk.last.take() {
            desk.last = own_copy(&sample);
        }
    }

    /// Pictures go to the outlet from now on, the latest at once.
    pub(super) fn open(&self, mut outlet: Outlet) {
        let mut desk = lock(&self.desk);
        if let Some(sample) = &desk.last {
            outlet.push(sample);
        }
        desk.flow = Flow::Through(outlet);
    }

    /// Pictures go nowhere from now on; the still goes to the screen after the last of them.
    pub(super) fn hold(&self, still: Option<(&mut Outlet, &gst::Sample)>) {
        let mut desk = lock(&self.desk);
        desk.flow = Flow::Held;
        if let Some((outlet, sample)) = still {
            outlet.push(sample);
        }
    }
}

fn own_copy(sample: &gst::Sample) -> Option<gst::Sample> {
    let copy = sample.buffer()?.copy_deep().ok()?;
    Some(gst::Sample::builder().buffer(&copy).caps_if_some(sample.caps_owned().as_ref()).build())
}

/// The way into the screen's pipeline.
#[derive(Debug, Clone)]
pub(super) struct Outlet {
    source: gst_app::AppSrc,
    /// Whether colours are converted on the way anyway, so that their kind may differ from picture to picture.
    keeps_colours: bool,
    /// The caps of the latest picture, and what they are for the screen.
    caps: Option<(gst::Caps, gst::Caps)>,
}

impl Outlet {
    /// Into this source.
    pub(super) fn new(source: gst_app::AppSrc, keeps_colours: bool) -> Self {
        Self { source, keeps_colours, caps: None }
    }

    /// Shares the picture's memory with the pipeline. Refused only while that is being taken down.
    fn push(&mut self, sample: &gst::Sample) {
        let (Some(buffer), Some(caps)) = (sample.buffer_owned(), sample.caps_owned()) else {
            return;
        };
        let known = self.caps.take().filter(|(from, _)| *from == caps);
        let (_, plain) = self.caps.insert(known.unwrap_or_else(|| {
            let plain = plain(&caps, self.keeps_colours);
            (caps, plain)
        }));
        let mut buffer = buffer;
        let fresh = buffer.make_mut();
        // The times of another pipeline mean nothing here.
        fresh.set_pts(None);
        fresh.set_dts(None);
        fresh.set_duration(None);
        let sample = gst::Sample::builder().buffer(&buffer).caps(plain).build();
        let _ = self.source.push_sample(&sample);
    }
}

/// The caps of a picture without what does not matter to a screen: a screen sets itself up anew for any difference.
fn plain(caps: &gst::Caps, keeps_colours: bool) -> gst::Caps {
    let mut plain = caps.copy();
    if let Some(fields) = plain.make_mut().structure_mut(0) {
        fields.remove_fields([
            "interlace-mode",
            "multiview-mode",
            "multiview-flags",
            "field-order",
        ]);
        if !keeps_colours {
            fields.remove_fields(["colorimetry", "chroma-site"]);
        }
        fields.set("framerate", gst::Fraction::new(0, 1));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::slate::{Slate, dark};
    use super::super::{draw, init};
    use super::*;
    use crate::config::{Idle, Language, Source};
    use std::path::PathBuf;
    use tempfile::TempDir;

    const LIMIT: Duration = Duration::from_secs(20);
    const SIZE: [u32; 2] = [320, 240];
    const RED: u32 = 0xc0_2020;
    const GREEN: u32 = 0x20_c020;

    /// A screen whose frames become files.
    struct Bench {
        folder: TempDir,
        screen: Screen,
        words: Arc<Mutex<Vec<String>>>,
    }

    impl Bench {
        fn new(change: impl FnOnce(&mut DisplaySettings)) -> Self {
            init().expect("GStreamer starts");
            let folder = tempfile::tempdir().expect("a folder");
            let fragment = format!(
                "videoconvert ! video/x-raw,format=RGB ! multifilesink location={}/%d.rgb",
                folder.path().display()
            );
            let mut settings = DisplaySettings {
                source: Source::Pipeline(fragment),
                size: SIZE,
                idle: Idle::Text,
                ..DisplaySettings::default()
            };
            change(&mut settings);
            let words = Arc::new(Mutex::new(Vec::new()));
            let told = Arc::clone(&words);
            let tell = Box::new(move |word| lock(&told).push(word));
            let screen = Screen::start(&settings, &folder.path().join("backlight"), tell);
            Self { folder, screen, words }
        }

        /// Waits until so many frames were shown.
        fn wait(&self, frames: u64) {
            let deadline = Instant::now() + LIMIT;
            let file = self.file(frames - 1);
            let whole = u64::from(SIZE[0] * SIZE[1] * 3);
            while std::fs::metadata(&file).map_or(0, |data| data.len()) < whole {
                assert!(
                    Instant::now() < deadline,
                    "{:?}: {:?}",
                    self.screen.counts(),
                    lock(&self.words)
                );
                std::thread::yield_now();
            }
        }

        fn file(&self, number: u64) -> PathBuf {
            self.folder.path().join(format!("{number}.rgb"))
        }

        fn frame(&self, number: u64) -> Frame {
            Frame(std::fs::read(self.file(number)).expect("the frame"))
        }

        fn picture(&self, colour: u32, size: [u32; 2]) {
            let slate = Slate { ground: colour, ..dark(size) };
            let (sample, _) = draw::draw(&slate).expect("it is drawn");
            self.screen.shared.picture(sample);
        }

        /// Waits for something that must not come.
        fn assert_rests(&self, frames: u64) {
            let deadline = Instant::now() + Duration::from_secs(3);
            while Instant::now() < deadline {
                assert_eq!(self.screen.counts().1, frames, "something was shown");
                std::thread::park_timeout(Duration::from_millis(50));
            }
        }
    }

    struct Frame(Vec<u8>);

    impl Frame {
        fn at(&self, x: u32, y: u32) -> [u8; 3] {
            let start = ((y * SIZE[0] + x) * 3) as usize;
            [self.0[start], self.0[start + 1], self.0[start + 2]]
        }

        fn is(&self, x: u32, y: u32, colour: u32) -> bool {
            let wanted = colour.to_be_bytes();
            self.at(x, y).iter().zip(&wanted[1..]).all(|(is, wanted)| is.abs_diff(*wanted) < 24)
        }

        /// How many pixels of a part are as bright as letters.
        fn written(&self, across: std::ops::Range<u32>, down: std::ops::Range<u32>) -> usize {
            let bright = |x, y| self.at(x, y).iter().all(|part| *part > 180);
            down.map(|y| across.clone().filter(|x| bright(*x, y)).count()).sum()
        }
    }

    #[test]
    fn an_idle_screen_is_drawn_once_and_then_rests() {
        let bench = Bench::new(|_| {});
        bench.wait(1);
        assert!(bench.frame(0).written(0..320, 0..240) > 100, "a text is on it");
        bench.assert_rests(1);
        bench.screen.show(Scene::Idle);
        bench.assert_rests(1);
        assert_eq!(bench.screen.counts(), (1, 1));
        assert_eq!(*lock(&bench.words), ["own pipeline (320x240)"]);
    }

    #[test]
    fn each_state_is_one_frame_of_its_own() {
        let bench = Bench::new(|settings| settings.language = Language::De);
        bench.wait(1);
        let scenes = [
            Scene::Calling,
            Scene::Ringing,
            Scene::NobodyAnswered { words: None },
            Scene::LineDown { words: None },
            Scene::Fault,
        ];
        let mut seen = vec![bench.frame(0).0];
        for (number, scene) in (1..).zip(scenes) {
            bench.screen.show(scene.clone());
            bench.wait(number + 1);
            let frame = bench.frame(number).0;
            assert!(!seen.contains(&frame), "{scene:?} looks like another");
            seen.push(frame);
        }
        assert_eq!(bench.screen.counts(), (6, 6));
    }

    #[test]
    fn the_picture_replaces_the_slate_with_its_first_frame_and_carries_the_name() {
        let bench = Bench::new(|_| {});
        bench.wait(1);
        bench.screen.show(Scene::Ringing);
        bench.wait(2);
        // It may come before the news that somebody answered.
        bench.picture(RED, [640, 480]);
        bench.screen.show(Scene::Talking { name: Some("Anna".to_owned()) });
        bench.wait(3);
        let frame = bench.frame(2);
        assert!(frame.is(300, 20, RED) && frame.is(160, 120, RED), "{:?}", frame.at(160, 120));
        assert!(frame.written(0..160, 190..240) > 40, "the name is in the lower left corner");
        assert_eq!(frame.written(0..320, 0..180), 0, "and nowhere else");
        bench.picture(GREEN, [640, 480]);
        bench.wait(4);
        assert!(bench.frame(3).is(300, 20, GREEN));
        assert_eq!(bench.screen.counts(), (2, 4), "a frame for each slate and picture");
        bench.screen.show(Scene::Idle);
        bench.wait(5);
        bench.picture(RED, [640, 480]);
        assert_eq!(bench.frame(4).0, bench.frame(0).0, "as before the call");
        bench.screen.show(Scene::Talking { name: None });
        bench.wait(6);
        let frame = bench.frame(5);
        assert!(!frame.is(300, 20, RED), "the next visitor does not see the last call");
    }

    #[test]
    fn a_broken_line_is_told_over_the_last_picture_which_outlives_its_branch() {
        let bench = Bench::new(|_| {});
        bench.wait(1);
        bench.screen.show(Scene::Talking { name: None });
        bench.wait(2);
        assert!(bench.frame(1).written(0..320, 0..240) > 100, "a slate until the picture is there");
        bench.picture(RED, [640, 480]);
        bench.wait(3);
        bench.screen.shared.let_go();
        bench.screen.show(Scene::Reconnecting);
        bench.wait(4);
        let frame = bench.frame(3);
        assert!(frame.is(10, 10, RED) && frame.is(310, 230, RED), "{:?}", frame.at(10, 10));
        assert!(frame.written(0..320, 90..150) > 100, "the words are across the middle");
        bench.screen.show(Scene::Talking { name: None });
        bench.wait(5);
        assert_eq!(bench.frame(4).written(0..320, 0..240), 0, "and go with the trouble");
    }

    #[test]
    fn a_picture_of_another_shape_is_shown_whole_between_black_bars() {
        let bench = Bench::new(|_| {});
        bench.wait(1);
        bench.screen.show(Scene::Talking { name: None });
        bench.wait(2);
        bench.picture(RED, [240, 480]);
        bench.wait(3);
        let frame = bench.frame(2);
        assert!(frame.is(160, 5, RED) && frame.is(160, 235, RED), "its whole height");
        assert!(frame.is(60, 120, 0) && frame.is(260, 120, 0), "bars beside it");
        bench.picture(GREEN, [640, 160]);
        bench.wait(4);
        let frame = bench.frame(3);
        assert!(frame.is(5, 120, GREEN) && frame.is(315, 120, GREEN), "its whole width");
        assert!(frame.is(160, 40, 0) && frame.is(160, 200, 0), "bars above and below");
    }

    #[test]
    fn an_idle_panel_goes_dark_and_lights_up_at_a_press() {
        let light = |bench: &Bench, words: &str| {
            let path = bench.folder.path().join("backlight/panel/bl_power");
            let deadline = Instant::now() + LIMIT;
            while std::fs::read_to_string(&path).map_or(true, |now| now.trim() != words) {
                assert!(Instant::now() < deadline, "the backlight is not {words}");
                std::thread::yield_now();
            }
        };
        let bench = Bench::new(|settings| settings.idle = Idle::Off);
        bench.wait(1);
        let panel = bench.folder.path().join("backlight/panel");
        std::fs::create_dir_all(&panel).expect("a backlight");
        std::fs::write(panel.join("bl_power"), "0").expect("its switch");
        assert!(bench.frame(0).0.iter().all(|part| *part < 4), "black");
        bench.screen.show(Scene::Calling);
        bench.wait(2);
        bench.screen.show(Scene::Idle);
        light(&bench, "4");
        bench.screen.show(Scene::Calling);
        light(&bench, "0");
        bench.wait(4);
        assert!(bench.frame(3).written(0..320, 0..240) > 100);
    }

    #[test]
    fn a_screen_that_fails_is_opened_again_and_shows_the_same() {
        let bench = Bench::new(|settings| {
            let Source::Pipeline(fragment) = &mut settings.source else { return };
            // The first frame passes and the second breaks it, each time it is built.
            *fragment = format!("identity error-after=2 ! {fragment}");
        });
        bench.wait(1);
        let first = bench.frame(0).0;
        bench.screen.show(Scene::Calling);
        let deadline = Instant::now() + LIMIT;
        while bench.screen.counts().0 < 3 {
            assert!(Instant::now() < deadline, "{:?}", lock(&bench.words));
            std::thread::yield_now();
        }
        let words = lock(&bench.words).clone();
        assert!(words.iter().any(|words| words.ends_with("trying again")), "{words:?}");
        let deadline = Instant::now() + LIMIT;
        while bench.frame(0).0.len() != first.len() || bench.frame(0).0 == first {
            assert!(Instant::now() < deadline, "the slate of the call is not shown");
            std::thread::yield_now();
        }
    }

    #[tokio::test]
    async fn a_machine_without_a_screen_says_so_and_ends_at_once() {
        init().expect("GStreamer starts");
        let settings = DisplaySettings {
            source: Source::Device("HDMI-A-9".to_owned()),
            ..DisplaySettings::default()
        };
        let (send, mut told) = watch::channel(String::new());
        let tell = Box::new(move |words| {
            send.send_replace(words);
        });
        let screen = Screen::start(&settings, Path::new("/nonexistent"), tell);
        let words = tokio::time::timeout(LIMIT, told.wait_for(|words| !words.is_empty())).await;
        let words = words.expect("in time").expect("the screen lives").clone();
        assert!(words.starts_with("none"), "{words}");
        screen.stop(LIMIT).await.expect("it ends");
    }
}
