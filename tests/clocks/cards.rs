//! The cards: doubles of the hardware below an ALSA element, with clocks that are off.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, Once};

use gst::glib;
use gst::prelude::*;
use gstreamer as gst;

/// What a microphone's card holds for whoever is late, in samples.
const HELD: f64 = 48.0 * 60.0;
const NS_PER_SAMPLE: f64 = 1e9 / 48_000.0;
/// From here a sample is part of a sound, in steps of 16 bits; and so many below that come before one.
pub const LOUD: u16 = 500;
const QUIET: u32 = 4_800;

/// A microphone hears a tick at each whole multiple of this on the system's clock, in milliseconds.
pub const TICK_MS: f64 = 500.0;

/// When sounds began, in nanoseconds of the system's clock.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// By the sound's time stamp at the mixer; of a microphone, in the air.
    pub inside: Vec<f64>,
    /// At the ear.
    pub outside: Vec<f64>,
    /// How many samples of sound were given to the card.
    pub loud: usize,
    /// How often the card was closed.
    pub closed: usize,
    /// How often it was to be opened.
    pub prepared: usize,
}

static SEEN: LazyLock<Mutex<HashMap<String, Seen>>> = LazyLock::new(Mutex::default);

pub fn seen(name: &str) -> Seen {
    SEEN.lock().expect("no test broke it").get(name).cloned().unwrap_or_default()
}

fn note(name: &str, change: impl FnOnce(&mut Seen)) {
    change(SEEN.lock().expect("no test broke it").entry(name.to_owned()).or_default());
}

pub fn system_ns() -> f64 {
    gst::SystemClock::obtain().time().nseconds() as f64
}

pub fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        intercomd::media::init().expect("GStreamer starts");
        let rank = gst::Rank::NONE;
        gst::Element::register(None, "driftingsink", rank, sink::Drifting::static_type())
            .expect("a sink");
        gst::Element::register(None, "driftingsrc", rank, source::Drifting::static_type())
            .expect("a source");
    });
}

fn is_loud(pair: &[u8]) -> bool {
    i16::from_le_bytes([pair[0], pair[1]]).unsigned_abs() >= LOUD
}

fn loud(bytes: &[u8]) -> usize {
    bytes.chunks_exact(2).filter(|pair| is_loud(pair)).count()
}

/// Finds where sounds begin.
pub struct Ear {
    quiet: u32,
}

impl Default for Ear {
    fn default() -> Self {
        Self { quiet: QUIET }
    }
}

impl Ear {
    /// At which sample a sound begins in this piece, if one does.
    pub fn beginning(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut found = None;
        for (at, pair) in bytes.chunks_exact(2).enumerate() {
            if !is_loud(pair) {
                self.quiet = self.quiet.saturating_add(1);
            } else {
                if self.quiet >= QUIET {
                    found = Some(at);
                }
                self.quiet = 0;
            }
        }
        found
    }
}

/// What a room's air carries from speakers to microphones, by its name.
static AIR: LazyLock<Mutex<HashMap<String, Air>>> = LazyLock::new(Mutex::default);
/// How long it takes, in samples, and what is left of it: 12 dB less.
const AIR_DELAY: i64 = 240;
const AIR_GAIN: f64 = 0.25;

/// Sound in the air, its first sample at this one of the system's clock.
#[derive(Default)]
struct Air {
    begins: i64,
    samples: Vec<i16>,
}

impl Air {
    /// A card plays this, from this moment on.
    fn carry(&mut self, when: f64, bytes: &[u8]) {
        let at = (when / NS_PER_SAMPLE).round() as i64;
        if self.samples.is_empty() {
            self.begins = at;
        }
        let silent = at - self.begins - self.samples.len() as i64;
        // A sample more or less is rounding.
        if silent > 1 {
            self.samples.resize((at - self.begins) as usize, 0);
        }
        let pairs = bytes.chunks_exact(2);
        self.samples.extend(pairs.map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
    }

    fn heard(&self, when: f64) -> i16 {
        let at = (when / NS_PER_SAMPLE).round() as i64 - AIR_DELAY - self.begins;
        let played = usize::try_from(at).ok().and_then(|at| self.samples.get(at));
        (f64::from(played.copied().unwrap_or(0)) * AIR_GAIN) as i16
    }
}

/// A card's own clock: sample 0 at `origin`, `done` samples taken from or given to the program.
struct Crystal {
    origin: f64,
    done: f64,
    pace: f64,
}

impl Crystal {
    fn starting(pace: f64) -> Self {
        Self { origin: system_ns(), done: 0.0, pace }
    }

    fn passed(&self) -> f64 {
        (system_ns() - self.origin) / NS_PER_SAMPLE * self.pace
    }

    fn when(&self, sample: f64) -> f64 {
        self.origin + sample * NS_PER_SAMPLE / self.pace
    }

    fn wait_for(&self, sample: f64) {
        let left = self.when(sample) - system_ns();
        if left > 0.0 {
            std::thread::sleep(std::time::Duration::from_nanos(left as u64));
        }
    }
}

fn caps() -> gst::Caps {
    let caps =
        gst::Caps::builder("audio/x-raw").field("format", "S16LE").field("layout", "interleaved");
    caps.field("rate", 48_000).field("channels", 1).build()
}

fn template(name: &str, direction: gst::PadDirection) -> gst::PadTemplate {
    gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps()).expect("a template")
}

static DETAILS: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
    gst::subclass::ElementMetadata::new(
        "Drifting card",
        "Audio",
        "A card whose clock is off",
        "intercomd",
    )
});

/// Lets go what is mixed in the pipeline of this element so many milliseconds after its time, and no earlier.
fn hold_back(element: &gst::Element, late: u64) {
    let mut top: gst::Object = element.clone().upcast();
    while let Some(parent) = top.parent() {
        top = parent;
    }
    let mixer = top.downcast::<gst::Bin>().ok().and_then(|top| top.by_name("mixer"));
    let pad = mixer.and_then(|mixer| mixer.static_pad("src")).expect("a mixer");
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let due = info
            .buffer()
            .and_then(|piece| piece.pts())
            .map(|pts| pts.nseconds() + late * 1_000_000);
        let early = due.map_or(0.0, |due| due as f64 - system_ns());
        if early > 0.0 {
            std::thread::sleep(std::time::Duration::from_nanos(early as u64));
        }
        gst::PadProbeReturn::Ok
    });
}

mod sink {
    use super::*;
    use gstreamer_audio::subclass::prelude::*;

    #[derive(Default, glib::Properties)]
    #[properties(wrapper_type = Drifting)]
    pub struct Inner {
        #[property(get, set)]
        pace: Mutex<f64>,
        #[property(get, set)]
        called: Mutex<String>,
        /// How long the card takes to be opened, in milliseconds.
        #[property(get, set)]
        slow: Mutex<u64>,
        /// How often it cannot be opened at first.
        #[property(get, set)]
        fails: Mutex<u64>,
        /// The air it plays into, if any.
        #[property(get, set)]
        air: Mutex<String>,
        /// How late the mixer before it is let do its work, in milliseconds: a machine that is behind.
        #[property(get, set)]
        late: Mutex<u64>,
        ears: Mutex<(Ear, Ear)>,
        crystal: Mutex<Option<Crystal>>,
        /// As ALSA does: as much as the element in front of it has room for, in samples.
        held: Mutex<f64>,
    }

    glib::wrapper! {
        pub struct Drifting(ObjectSubclass<Inner>)
            @extends gstreamer_audio::AudioSink, gstreamer_audio::AudioBaseSink, gstreamer_base::BaseSink, gst::Element, gst::Object;
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Inner {
        const NAME: &'static str = "DriftingSink";
        type Type = Drifting;
        type ParentType = gstreamer_audio::AudioSink;
    }

    #[glib::derived_properties]
    impl ObjectImpl for Inner {}
    impl GstObjectImpl for Inner {}

    impl ElementImpl for Inner {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            Some(&DETAILS)
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static PADS: LazyLock<Vec<gst::PadTemplate>> =
                LazyLock::new(|| vec![template("sink", gst::PadDirection::Sink)]);
            &PADS
        }
    }

    impl BaseSinkImpl for Inner {
        fn render(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
            let map = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
            let found = self.ears.lock().expect("one thread").0.beginning(&map);
            if let (Some(at), Some(pts)) = (found, buffer.pts()) {
                let when = pts.nseconds() as f64 + at as f64 * NS_PER_SAMPLE;
                note(&self.obj().called(), |seen| seen.inside.push(when));
            }
            drop(map);
            self.parent_render(buffer)
        }
    }

    impl AudioBaseSinkImpl for Inner {}

    impl AudioSinkImpl for Inner {
        fn open(&self) -> Result<(), gst::LoggableError> {
            Ok(())
        }

        fn close(&self) -> Result<(), gst::LoggableError> {
            Ok(())
        }

        fn prepare(
            &self,
            spec: &mut gstreamer_audio::AudioRingBufferSpec,
        ) -> Result<(), gst::LoggableError> {
            *self.held.lock().expect("not broken") =
                f64::from(spec.segsize() * spec.segtotal() / 2);
            std::thread::sleep(std::time::Duration::from_millis(self.obj().slow()));
            let name = self.obj().called();
            if self.obj().late() > 0 {
                hold_back(self.obj().upcast_ref(), self.obj().late());
            }
            note(&name, |seen| seen.prepared += 1);
            if seen(&name).prepared as u64 <= self.obj().fails() {
                return Err(gst::loggable_error!(gst::CAT_RUST, "a card that cannot be opened"));
            }
            Ok(())
        }

        fn unprepare(&self) -> Result<(), gst::LoggableError> {
            *self.crystal.lock().expect("not broken") = None;
            note(&self.obj().called(), |seen| seen.closed += 1);
            Ok(())
        }

        fn reset(&self) {}

        fn write(&self, bytes: &[u8]) -> Result<i32, gst::LoggableError> {
            let pace = self.obj().pace();
            let found = self.ears.lock().expect("one thread").1.beginning(bytes);
            let loud = loud(bytes);
            note(&self.obj().called(), |seen| seen.loud += loud);
            let (count, held) = ((bytes.len() / 2) as f64, *self.held.lock().expect("not broken"));
            let room = {
                let mut crystal = self.crystal.lock().expect("not broken");
                let crystal = crystal.get_or_insert_with(|| Crystal::starting(pace));
                // A card that runs dry stands still until there is more.
                let dry = crystal.passed() - crystal.done;
                if dry > 0.0 {
                    crystal.origin += dry * NS_PER_SAMPLE / pace;
                }
                Crystal { ..*crystal }
            };
            // What a card has no room for yet is not in it, and no part of its delay.
            room.wait_for(room.done + count - held);
            if let Some(crystal) = self.crystal.lock().expect("not broken").as_mut() {
                if let Some(at) = found {
                    let heard = crystal.when(crystal.done + at as f64);
                    note(&self.obj().called(), |seen| seen.outside.push(heard));
                }
                let air = self.obj().air();
                if !air.is_empty() {
                    let mut rooms = AIR.lock().expect("not broken");
                    rooms.entry(air).or_default().carry(crystal.when(crystal.done), bytes);
                }
                crystal.done += count;
            }
            Ok(bytes.len() as i32)
        }

        fn delay(&self) -> u32 {
            let crystal = self.crystal.lock().expect("not broken");
            crystal.as_ref().map_or(0, |crystal| (crystal.done - crystal.passed()).max(0.0) as u32)
        }
    }
}

mod source {
    use super::*;
    use gstreamer_audio::subclass::prelude::*;
    const TICK: f64 = TICK_MS * 1e6;
    const LONG: f64 = 0.03e9;

    #[derive(Default, glib::Properties)]
    #[properties(wrapper_type = Drifting)]
    pub struct Inner {
        #[property(get, set)]
        pace: Mutex<f64>,
        #[property(get, set)]
        called: Mutex<String>,
        /// Whether the card tells when it took a sample, as ALSA's do.
        #[property(get, set)]
        tells: Mutex<bool>,
        /// The air it hears instead of ticks, if any.
        #[property(get, set)]
        air: Mutex<String>,
        crystal: Mutex<Option<Crystal>>,
    }

    glib::wrapper! {
        pub struct Drifting(ObjectSubclass<Inner>)
            @extends gstreamer_audio::AudioSrc, gstreamer_audio::AudioBaseSrc, gstreamer_base::PushSrc, gstreamer_base::BaseSrc, gst::Element, gst::Object;
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Inner {
        const NAME: &'static str = "DriftingSrc";
        type Type = Drifting;
        type ParentType = gstreamer_audio::AudioSrc;
    }

    #[glib::derived_properties]
    impl ObjectImpl for Inner {}
    impl GstObjectImpl for Inner {}

    impl ElementImpl for Inner {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            Some(&DETAILS)
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static PADS: LazyLock<Vec<gst::PadTemplate>> =
                LazyLock::new(|| vec![template("src", gst::PadDirection::Src)]);
            &PADS
        }
    }

    impl BaseSrcImpl for Inner {}

    impl AudioBaseSrcImpl for Inner {}

    impl AudioSrcImpl for Inner {
        fn open(&self) -> Result<(), gst::LoggableError> {
            Ok(())
        }

        fn close(&self) -> Result<(), gst::LoggableError> {
            Ok(())
        }

        fn prepare(
            &self,
            _: &mut gstreamer_audio::AudioRingBufferSpec,
        ) -> Result<(), gst::LoggableError> {
            Ok(())
        }

        fn unprepare(&self) -> Result<(), gst::LoggableError> {
            *self.crystal.lock().expect("not broken") = None;
            Ok(())
        }

        fn reset(&self) {}

        fn read(
            &self,
            bytes: &mut [u8],
        ) -> Result<(u32, Option<gst::ClockTime>), gst::LoggableError> {
            let pace = self.obj().pace();
            let count = (bytes.len() / 2) as f64;
            let piece = {
                let mut crystal = self.crystal.lock().expect("not broken");
                let crystal = crystal.get_or_insert_with(|| Crystal::starting(pace));
                // What nobody fetches in time is lost.
                let lost = crystal.passed() - crystal.done - HELD;
                if lost > 0.0 {
                    crystal.done += lost.ceil();
                }
                let piece = Crystal { ..*crystal };
                crystal.done += count;
                piece
            };
            piece.wait_for(piece.done + count);
            let taken = gst::ClockTime::from_nseconds(piece.when(piece.done) as u64);
            let result = Ok((bytes.len() as u32, self.obj().tells().then_some(taken)));
            let air = self.obj().air();
            if !air.is_empty() {
                let rooms = AIR.lock().expect("not broken");
                for (at, pair) in bytes.chunks_exact_mut(2).enumerate() {
                    let when = piece.when(piece.done + at as f64);
                    let sample = rooms.get(&air).map_or(0, |air| air.heard(when));
                    pair.copy_from_slice(&sample.to_le_bytes());
                }
                return result;
            }
            let mut before = piece.when(piece.done - 1.0) % TICK;
            for (at, pair) in bytes.chunks_exact_mut(2).enumerate() {
                let when = piece.when(piece.done + at as f64);
                let into = when % TICK;
                if into < before {
                    note(&self.obj().called(), |seen| seen.inside.push(when));
                }
                before = into;
                let wave = (into / 1e9 * 1_000.0 * std::f64::consts::TAU).cos();
                let sample = if into < LONG { (wave * 16_000.0) as i16 } else { 0 };
                pair.copy_from_slice(&sample.to_le_bytes());
            }
            result
        }

        fn delay(&self) -> u32 {
            let crystal = self.crystal.lock().expect("not broken");
            crystal.as_ref().map_or(0, |crystal| (crystal.passed() - crystal.done).max(0.0) as u32)
        }
    }
}
