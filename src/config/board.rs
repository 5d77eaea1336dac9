//! What a board is to the rest of the house: its wiring, its camera, its sound, its screen.
//!
//! Plain values; how they are written in TOML is the business of `parts`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::display::DisplaySettings;

/// One hardware, put together from built-in defaults, its profile and the configuration file. The
/// default has nothing wired and takes what camera, sound and screen it finds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Board {
    /// Name of the profile.
    pub name: String,
    /// Device-tree names this profile is for. Empty: never chosen by itself.
    pub compatible: Vec<String>,
    /// How button and outputs are driven.
    pub panel: PanelKind,
    /// The doorbell button.
    pub button: Option<ButtonWiring>,
    /// The door release contact.
    pub relay: Option<RelayWiring>,
    /// The lamp for the visitor.
    pub lamp: Option<LampWiring>,
    /// The buzzer for the visitor.
    pub chime: Option<OutputWiring>,
    /// The picture at the door.
    pub camera: CameraSettings,
    /// How the picture is encoded.
    pub encoder: EncoderSettings,
    /// The voice at the door.
    pub microphone: MicrophoneSettings,
    /// Where the far voice is heard.
    pub speaker: SpeakerSettings,
    /// What the visitor hears from the door itself.
    pub sounds: DoorSounds,
    /// Where the far picture is seen.
    pub display: DisplaySettings,
}

/// How button and outputs are driven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PanelKind {
    /// GPIO lines of this machine.
    #[default]
    Gpio,
    /// No hardware: keys or `ctl press` press the button, outputs are recorded.
    Sim,
}

/// One GPIO line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Label ("pinctrl-bcm2711") or name ("gpiochip0") of the chip. `None`: the line's name is searched
    /// on all chips; a number counts on gpiochip0, which was warned of.
    pub chip: Option<String>,
    /// Which line of the chip.
    pub line: LineName,
    /// Which level means "on" (outputs) or "pressed" (the button).
    pub active: Active,
}

/// Which line of a chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineName {
    /// The name the kernel gives it, such as "GPIO17". Stays the same across kernels.
    Name(String),
    /// Its number on the chip, 0 to 1023.
    Offset(u32),
}

impl fmt::Display for LineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Offset(offset) => write!(f, "{offset}"),
        }
    }
}

/// Which level counts as active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Active {
    /// High level.
    High,
    /// Low level.
    Low,
}

/// The resistor inside the chip that holds an input while nobody presses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bias {
    /// Towards high level.
    PullUp,
    /// Towards low level.
    PullDown,
    /// None; the wiring has its own.
    Off,
}

/// The doorbell button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ButtonWiring {
    /// Its line.
    pub line: Line,
    /// Its resistor.
    pub bias: Bias,
    /// The times by which it is judged.
    pub times: ButtonTimes,
    /// Whether intercomd refuses to start without it.
    pub required: bool,
}

/// The times by which the button is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ButtonTimes {
    /// How long the level must hold before a press counts. 0 s to 1 s.
    pub debounce: Duration,
    /// The shortest time between two presses that count. 0 s to 10 s.
    pub cooldown: Duration,
    /// Held for so long is a long press, 1 s to 30 s; `None`: there are none.
    pub long_press: Option<Duration>,
}

impl Default for ButtonTimes {
    fn default() -> Self {
        Self {
            debounce: Duration::from_millis(30),
            cooldown: Duration::from_secs(1),
            long_press: Some(Duration::from_secs(5)),
        }
    }
}

/// The door release contact. Its safe state is off, always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayWiring {
    /// Its line.
    pub line: Line,
    /// How long one release lasts. 100 ms to `max_pulse`.
    pub pulse: Duration,
    /// The longest a release may ever last, whoever asks. 100 ms to 60 s.
    pub max_pulse: Duration,
}

/// The lamp for the visitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LampWiring {
    /// What it hangs on.
    pub port: LampPort,
    /// What it shows while the door waits.
    pub idle: IdleLamp,
}

/// What a lamp hangs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LampPort {
    /// A GPIO line.
    Line(Line),
    /// An LED of the kernel, by its name below /sys/class/leds.
    Led(String),
}

/// What the lamp shows while the door waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IdleLamp {
    /// Nothing.
    #[default]
    Dark,
    /// Light, so that the button is found at night.
    Lit,
}

/// An output that is on or off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputWiring {
    /// Its line.
    pub line: Line,
}

/// Where a picture or sound comes from or goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The best that is there.
    Auto,
    /// None.
    Off,
    /// A test picture or tone; for a screen, a window if there can be one, else counted frames.
    Test,
    /// A device by a stable name: by-id name, /dev path, or ALSA name such as `plughw:CARD=panel`.
    Device(String),
    /// A GStreamer fragment, with elements joined by `!`.
    Pipeline(String),
}

/// The picture at the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraSettings {
    /// Which camera.
    pub source: Source,
    /// Width in pixels, even, 160 to 1920.
    pub width: u32,
    /// Height in pixels, even, 120 to 1080.
    pub height: u32,
    /// Pictures per second, 5 to 30.
    pub rate: u32,
    /// Whether H.264 of the camera's own is used.
    pub native_h264: NativeH264,
    /// Whether it is on all the time.
    pub warm: Warm,
    /// What is set on the camera before it starts, by the names `v4l2-ctl` and `intercomd devices` show.
    pub controls: BTreeMap<String, i64>,
}

/// Whether H.264 of the camera's own is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NativeH264 {
    /// Only where no encoder of this machine is fast enough.
    #[default]
    Auto,
    /// Whenever the camera has it.
    On,
    /// Never.
    Off,
}

impl LampWiring {
    /// The lamp of a door with this on: the visitor is to know of a camera that is.
    pub(super) fn beside(self, warm: Warm) -> Self {
        match warm {
            Warm::Off => self,
            Warm::Camera => Self { idle: IdleLamp::Lit, ..self },
        }
    }
}

/// What of the door is on while nobody rings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Warm {
    /// Nothing: camera and microphone are closed.
    #[default]
    Off,
    /// The camera, with its encoder; the lamp is lit for it.
    Camera,
}

impl Default for CameraSettings {
    fn default() -> Self {
        Self {
            source: Source::Auto,
            width: 640,
            height: 480,
            rate: 30,
            native_h264: NativeH264::Auto,
            warm: Warm::Off,
            controls: BTreeMap::new(),
        }
    }
}

/// How the picture is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderSettings {
    /// GStreamer elements that encode H.264, in the order in which they are tried. Never empty.
    pub try_: Vec<String>,
    /// Bit rate in kbit/s, 100 to 8000.
    pub bitrate_kbps: u32,
    /// Longest time between keyframes, 1 s to 60 s. Keyframes on request come at once.
    pub keyframe_interval: Duration,
}

impl Default for EncoderSettings {
    fn default() -> Self {
        Self {
            try_: ["v4l2h264enc", "x264enc", "openh264enc"].map(str::to_owned).to_vec(),
            bitrate_kbps: 1200,
            keyframe_interval: Duration::from_secs(10),
        }
    }
}

/// The voice at the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MicrophoneSettings {
    /// Which one.
    pub source: Source,
    /// Whether what the speaker plays is taken out of what the microphone hears.
    pub echo_cancel: EchoCancel,
    /// Whether steady noise, such as traffic and wind, is taken out.
    pub noise_suppression: bool,
    /// Whether quiet and loud voices are brought to one level.
    pub gain_control: bool,
    /// Whether rumble below some 80 Hz is taken out.
    pub high_pass: bool,
    /// Whether phones hear the door before they have answered.
    pub listen_in: bool,
    /// Per cent of the sound card's own range, 0 to 100. `None`: as the card is set.
    pub gain: Option<u8>,
    /// The card's mixer control for `gain`. `None`: the first that is known for this.
    pub control: Option<String>,
}

impl Default for MicrophoneSettings {
    fn default() -> Self {
        Self {
            source: Source::Auto,
            echo_cancel: EchoCancel::Auto,
            noise_suppression: true,
            gain_control: true,
            high_pass: true,
            listen_in: true,
            gain: None,
            control: None,
        }
    }
}

/// When the echo of the speaker is cancelled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EchoCancel {
    /// Where there is a real speaker and a real microphone.
    #[default]
    Auto,
    /// Never; for panels with an echo canceller of their own.
    Off,
}

/// Where the far voice is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpeakerSettings {
    /// Which one.
    pub source: Source,
    /// Per cent of the sound card's own range, 0 to 100. `None`: as the card is set.
    pub volume: Option<u8>,
    /// The card's mixer control for `volume`. `None`: the first that is known for this.
    pub control: Option<String>,
}

impl Default for SpeakerSettings {
    fn default() -> Self {
        Self { source: Source::Auto, volume: None, control: None }
    }
}

/// What the visitor hears from the door itself, through the speaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorSounds {
    /// What a press sounds like.
    pub chime: ChimeSound,
    /// Loudness of the door's own sounds, in per cent of full scale, 0 to 100.
    pub volume: u8,
    /// Whether a quiet tone tells the visitor that it rings inside.
    pub ringback: bool,
}

impl Default for DoorSounds {
    fn default() -> Self {
        Self { chime: ChimeSound::DingDong, volume: 70, ringback: true }
    }
}

/// What a press sounds like at the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChimeSound {
    /// Nothing.
    Off,
    /// Two tones, made by intercomd.
    DingDong,
    /// A WAV file; its first 10 s.
    File(PathBuf),
}
