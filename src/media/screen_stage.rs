//! The screen's thread: opens the device, draws slates when they change, sees to it when the device fails.
//!
//! Blocks while the device is opened and closed, which is why it is a thread. Between two changes it sleeps, and no
//! picture is touched. What is shown is decided in `scene.rs`, on what device in `plan_display.rs`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::backlight::Backlight;
use super::bell::ring_on_news;
use super::kms;
use super::plan_display::{self, Device, Surface};
use super::rate::pause;
use super::scene::{self, Caption, Shown};
use super::screen::{Outlet, Shared};
use super::slate;
use super::{devices, draw, init};
use crate::config::DisplaySettings;
use crate::config::names::EARLIEST_CLOCK;

/// How long the thread sleeps when nothing is wanted of it.
const IDLE: Duration = Duration::from_secs(600);
/// How often it is looked whether a display is plugged in still. The sink itself does not notice.
const LOOK: Duration = Duration::from_secs(5);
/// How often a machine that has no screen is asked again.
const NO_SCREEN: Duration = Duration::from_secs(60);
/// After this time of showing, the screen's failures are forgotten.
const GOOD_AGE: Duration = Duration::from_secs(10);

/// The thread's own state.
#[derive(Debug)]
pub(super) struct ScreenStage {
    settings: DisplaySettings,
    shared: Arc<Shared>,
    backlight: Backlight,
    seat: Seat,
}

#[derive(Debug)]
enum Seat {
    Open(Box<Open>),
    Resting { until: Instant, attempt: u32 },
}

/// An open screen.
#[derive(Debug)]
struct Open {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    /// The size slates are drawn in.
    size: [u32; 2],
    label: String,
    display: Option<kms::Found>,
    since: Instant,
    attempt: u32,
    on_it: Option<Shown>,
}

/// Why a screen did not open.
enum Refusal {
    /// This machine has none, or not yet.
    None(String),
    /// It has one which does not work.
    Failed(String),
}

impl ScreenStage {
    /// A stage that does nothing yet.
    pub(super) fn new(settings: DisplaySettings, backlights: &Path, shared: Arc<Shared>) -> Self {
        Self {
            settings,
            shared,
            backlight: Backlight::new(backlights),
            seat: Seat::Resting { until: Instant::now(), attempt: 0 },
        }
    }

    /// The thread's whole life: until the screen ends.
    pub(super) fn run(mut self) {
        if let Err(error) = init() {
            return self.shared.tell(format!("none: {error}"));
        }
        while let Some(task) = self.shared.task() {
            let (clock, to_next_minute) = time_of_day();
            let now = scene::Moment {
                scene: &task.scene,
                age: task.age,
                has_picture: task.has_picture,
                note: task.note.as_deref(),
                code: task.code.as_deref(),
                clock: &clock,
            };
            let shown = scene::shown(&now, &self.settings);
            self.tend(&shown);
            let change = scene::changes_in(&task.scene, task.age, to_next_minute, &self.settings);
            let rest = self.until_next(&shown).min(change.unwrap_or(IDLE));
            self.shared.bell.wait(rest);
        }
        self.shared.hold(None);
        if let Seat::Open(open) = &self.seat {
            take_down(&open.pipeline);
        }
    }

    fn tend(&mut self, shown: &Shown) {
        if let Seat::Open(open) = &self.seat
            && let Some(words) = open.trouble()
        {
            self.fail(&words);
        }
        match &self.seat {
            Seat::Open(open) if *shown == Shown::Closed => {
                self.shared.hold(None);
                take_down(&open.pipeline);
                self.seat = Seat::Resting { until: Instant::now(), attempt: 0 };
                self.shared.tell("closed until there is a picture".to_owned());
            }
            Seat::Resting { until, attempt } if *until <= Instant::now() => {
                let attempt = *attempt;
                self.open(attempt, shown);
            }
            Seat::Open(_) | Seat::Resting { .. } => {}
        }
        if let Seat::Open(open) = &mut self.seat
            && open.on_it.as_ref() != Some(shown)
            && let Err(words) =
                open.present(shown, &self.settings, &self.shared, &mut self.backlight)
        {
            self.fail(&words);
        }
    }

    fn until_next(&self, shown: &Shown) -> Duration {
        match &self.seat {
            Seat::Open(open) if open.display.is_some() => LOOK,
            Seat::Open(_) => IDLE,
            Seat::Resting { .. } if *shown == Shown::Closed => IDLE,
            Seat::Resting { until, .. } => until.saturating_duration_since(Instant::now()),
        }
    }

    fn open(&mut self, attempt: u32, shown: &Shown) {
        let probe = devices::screen_probe();
        let opened = match plan_display::surface(&self.settings, &probe) {
            Surface::Screen(_) if *shown == Shown::Closed => {
                return self.shared.tell("closed until there is a picture".to_owned());
            }
            // Most doors have sockets and no display. Until the kernel says otherwise no device is touched for it.
            Surface::Screen(Device::Kms { connector })
                if plan_display::is_unplugged(&probe.screens, connector.as_deref()) =>
            {
                let place = connector.map(|name| format!("to {name}")).unwrap_or_default();
                self.shared.tell(format!("none (no display is plugged in{place})"));
                self.seat = Seat::Resting { until: Instant::now() + LOOK, attempt: 0 };
                return;
            }
            Surface::Screen(device) => {
                Open::build(&device, &self.settings, &probe, &self.shared, attempt)
                    .map_err(|words| Refusal::Failed(format!("{}: {words}", name(&device))))
            }
            Surface::Counted(sink) | Surface::Direct(sink) => Err(Refusal::None(sink.label)),
        };
        match opened {
            Ok(open) => {
                tracing::info!(screen = open.label, "the screen is open");
                self.shared.tell(open.label.clone());
                self.seat = Seat::Open(Box::new(open));
            }
            Err(Refusal::None(words)) => {
                self.shared.tell(words);
                self.seat = Seat::Resting { until: Instant::now() + NO_SCREEN, attempt: 0 };
            }
            Err(Refusal::Failed(words)) => self.rest(attempt, &words),
        }
    }

    /// Takes the screen down, to be opened again later.
    fn fail(&mut self, words: &str) {
        let Seat::Open(open) = &self.seat else { return };
        let attempt = if open.since.elapsed() >= GOOD_AGE { 0 } else { open.attempt };
        let words = format!("{}: {words}", open.label);
        self.shared.hold(None);
        take_down(&open.pipeline);
        self.rest(attempt, &words);
    }

    fn rest(&mut self, attempt: u32, words: &str) {
        let pause = pause(attempt);
        match attempt {
            0 => tracing::warn!(words, ?pause, "the screen shows nothing; trying again"),
            _ => tracing::debug!(words, ?pause, attempt, "the screen still shows nothing"),
        }
        self.shared.tell(format!("none: {words}; trying again"));
        self.seat =
            Seat::Resting { until: Instant::now() + pause, attempt: attempt.saturating_add(1) };
    }
}

fn name(device: &Device) -> String {
    match device {
        Device::Kms { connector } => connector.clone().unwrap_or_else(|| "screen".to_owned()),
        Device::Window => "window".to_owned(),
        Device::Framebuffer(node) => node.clone(),
        Device::Own(_) => "own pipeline".to_owned(),
    }
}

impl Open {
    fn build(
        device: &Device,
        settings: &DisplaySettings,
        probe: &super::found::Probe,
        shared: &Arc<Shared>,
        attempt: u32,
    ) -> Result<Self, String> {
        let (panel, display) = match device {
            Device::Kms { connector } => {
                let found = kms::find(connector.as_deref())?;
                (found.connector.mode.ok_or("it has no mode")?, Some(found))
            }
            Device::Window | Device::Own(_) => (settings.size, None),
            Device::Framebuffer(node) => {
                (framebuffer_size(Path::new("/sys/class/graphics"), node)?, None)
            }
        };
        let [width, height] = panel;
        let label = match &display {
            Some(found) => {
                format!("screen on {} ({}, {width}x{height})", found.connector.name, found.driver)
            }
            None => format!("{} ({width}x{height})", name(device)),
        };
        let connector = display.as_ref().map_or(0, |found| found.connector.id);
        let text = plan_display::screen(device, connector, panel, settings, probe);
        let pipeline = gst::parse::launch(&text)
            .map_err(|error| format!("it cannot be built: {}", error.message()))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| "it cannot be built: no sink".to_owned())?;
        let source =
            pipeline.by_name("in").and_then(|source| source.downcast::<gst_app::AppSrc>().ok());
        let source = source.ok_or("the board's pipeline uses the name \"in\" itself")?;
        if let (Some(found), Some(sink)) = (&display, pipeline.by_name("screen-sink"))
            && sink.has_property("fd")
        {
            sink.set_property("fd", found.descriptor());
        }
        if let Some(pad) = pipeline.by_name("screen-size").and_then(|size| size.static_pad("src")) {
            let counter = Arc::clone(&shared.shown);
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                counter.fetch_add(1, Ordering::Relaxed);
                gst::PadProbeReturn::Ok
            });
        }
        ring_on_news(&pipeline, shared, |shared| &shared.bell);
        let open = Self {
            pipeline,
            source,
            size: plan_display::upright(turned(device, settings), panel),
            label,
            display,
            since: Instant::now(),
            attempt,
            on_it: None,
        };
        if let Err(error) = open.pipeline.set_state(gst::State::Playing) {
            let words = open.error().unwrap_or_else(|| error.to_string());
            take_down(&open.pipeline);
            return Err(words);
        }
        Ok(open)
    }

    /// What is wrong with it, if anything.
    fn trouble(&self) -> Option<String> {
        let unplugged = || self.display.as_ref().is_some_and(|display| !display.is_plugged());
        self.error().or_else(|| unplugged().then(|| "the display was unplugged".to_owned()))
    }

    fn error(&self) -> Option<String> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else { return None };
        tracing::debug!(detail = ?error.debug(), "the screen reports an error");
        Some(error.error().message().to_owned())
    }

    /// Puts it on the screen. A slate that is out of date by the time it is drawn is left out.
    fn present(
        &mut self,
        shown: &Shown,
        settings: &DisplaySettings,
        shared: &Shared,
        backlight: &mut Backlight,
    ) -> Result<(), String> {
        let slate = match shown {
            Shown::Closed => return Ok(()),
            Shown::Picture(caption) => {
                self.caption(caption.as_ref(), settings);
                shared.open(Outlet::new(self.source.clone(), self.keep_format()));
                backlight.on();
                self.on_it = Some(shown.clone());
                return Ok(());
            }
            Shown::Slate(message) => slate::slate(message, settings.language, self.size),
            Shown::Dark => slate::dark(self.size),
        };
        // Pictures of a call that is over do not run on while its slate is being drawn.
        shared.hold(None);
        let (sample, missing) = draw::draw(&slate)?;
        if let Some(words) = missing {
            shared.tell(format!("{}; {words}", self.label));
        }
        shared.slates.fetch_add(1, Ordering::Relaxed);
        self.caption(None, settings);
        let mut outlet = Outlet::new(self.source.clone(), self.keep_format());
        shared.hold(Some((&mut outlet, &sample)));
        match shown {
            Shown::Dark => backlight.off(),
            _ => backlight.on(),
        }
        self.on_it = Some(shown.clone());
        Ok(())
    }

    fn caption(&self, caption: Option<&Caption>, settings: &DisplaySettings) {
        let Some(element) = self.pipeline.by_name("screen-caption") else { return };
        let Some(caption) = caption else {
            return element.set_property("silent", true);
        };
        let label = slate::label(caption, settings.language, self.size);
        let (across, down) = if label.central { ("center", "center") } else { ("left", "bottom") };
        element.set_property_from_str("halignment", across);
        element.set_property_from_str("valignment", down);
        let margin = i32::try_from(label.margin).unwrap_or(0);
        element.set_property("xpad", margin);
        element.set_property("ypad", margin);
        element.set_property("text", label.markup());
        element.set_property("silent", false);
    }

    /// Holds the screen to the pixel format of what it showed first: a sink sets the whole device up anew for
    /// another one, which is seen. Returns whether colours are converted for that format anyway.
    fn keep_format(&self) -> bool {
        let size = self.pipeline.by_name("screen-size");
        let caps = size.as_ref().and_then(|size| size.static_pad("src")?.current_caps());
        let (Some(size), Some(caps)) = (size, caps) else { return true };
        let Ok(info) = gst_video::VideoInfo::from_caps(&caps) else { return true };
        let held = gst_video::VideoCapsBuilder::new()
            .format(info.format())
            .width(i32::try_from(info.width()).unwrap_or(i32::MAX))
            .height(i32::try_from(info.height()).unwrap_or(i32::MAX))
            .pixel_aspect_ratio(gst::Fraction::new(1, 1))
            .build();
        if size.property::<gst::Caps>("caps") != held {
            size.set_property("caps", held);
        }
        info.is_rgb()
    }
}

fn turned(device: &Device, settings: &DisplaySettings) -> crate::config::Rotation {
    match device {
        Device::Own(_) => crate::config::Rotation::None,
        Device::Kms { .. } | Device::Window | Device::Framebuffer(_) => settings.rotation,
    }
}

/// The minute of the day at this place, counted from midnight; `None` where the clock has never been set.
pub fn minute_of_day() -> Option<u16> {
    let now = gst::glib::DateTime::now_local().ok()?;
    if now.to_unix() < EARLIEST_CLOCK {
        return None;
    }
    u16::try_from(now.hour() * 60 + now.minute()).ok()
}

/// The time of day at this place, as `HH:MM`, and what is left of the minute.
fn time_of_day() -> (String, Duration) {
    match gst::glib::DateTime::now_local() {
        Ok(now) => {
            let past = Duration::try_from_secs_f64(now.seconds()).unwrap_or_default();
            let left = Duration::from_secs(60).saturating_sub(past) + Duration::from_millis(20);
            (format!("{:02}:{:02}", now.hour(), now.minute()), left)
        }
        Err(error) => {
            tracing::debug!(%error, "the time of day is not known");
            ("--:--".to_owned(), Duration::from_secs(60))
        }
    }
}

/// The size of a frame buffer such as `/dev/fb0`, from the kernel's folder of them.
fn framebuffer_size(folder: &Path, node: &str) -> Result<[u32; 2], String> {
    let name = Path::new(node).file_name().unwrap_or_default();
    let path = folder.join(name).join("virtual_size");
    let words = std::fs::read_to_string(&path)
        .map_err(|error| format!("its size cannot be read from {}: {error}", path.display()))?;
    let numbers = words.trim().split_once(',').and_then(|(width, height)| {
        Some([width.parse::<u32>().ok()?, height.parse::<u32>().ok()?])
    });
    numbers
        .filter(|size| size.iter().all(|side| (16..=8192).contains(side)))
        .ok_or_else(|| format!("{} says \"{}\", which is no size", path.display(), words.trim()))
}

fn take_down(pipeline: &gst::Pipeline) {
    if let Some(bus) = pipeline.bus() {
        bus.unset_sync_handler();
    }
    if let Err(error) = pipeline.set_state(gst::State::Null) {
        tracing::warn!(%error, "the screen did not close cleanly");
    }
}
