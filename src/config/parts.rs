//! The tables a board profile and `config.toml` share: button, relay, lamp, chime, camera, encoder,
//! microphone, speaker, display.
//!
//! Both documents are read into one draft, the board first, so that the later one overrides key by
//! key. Rules that need more than one key are in `check`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::board::{
    Active, Bias, Board, ButtonTimes, ButtonWiring, CameraSettings, EncoderSettings, IdleLamp,
    LampPort, LampWiring, Line, LineName, NativeH264, OutputWiring, PanelKind, RelayWiring, Source,
    Warm,
};
use super::check;
use super::display::DisplayDraft;
use super::notes::Notes;
use super::outputs::Outputs;
use super::problem::{At, Place, wrong};
use super::reader::Reader;
use super::sound;

/// Bit rates the encoders and browsers at hand do well, in kbit/s.
const BITRATES: std::ops::RangeInclusive<u32> = 100..=8000;

/// What the documents say about the board so far. `None`: nothing yet, the default holds.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) panel: Option<At<PanelKind>>,
    pub(super) button: ButtonDraft,
    pub(super) relay: RelayDraft,
    pub(super) lamp: LampDraft,
    pub(super) chime: LineDraft,
    pub(super) camera: Option<At<Source>>,
    pub(super) size: Option<At<[u32; 2]>>,
    pub(super) rate: Option<At<u32>>,
    pub(super) native_h264: Option<At<NativeH264>>,
    pub(super) warm: Option<At<Warm>>,
    /// Later documents add to it, and win where they name the same.
    pub(super) controls: BTreeMap<String, i64>,
    pub(super) encoders: Option<At<Vec<String>>>,
    pub(super) bitrate: Option<At<u32>>,
    pub(super) keyframes: Option<At<Duration>>,
    pub(super) microphone: sound::MicrophoneDraft,
    pub(super) speaker: sound::SpeakerDraft,
    pub(super) sounds: sound::ChimeDraft,
    pub(super) display: DisplayDraft,
}

/// A GPIO line as far as it is known.
#[derive(Default)]
pub(super) struct LineDraft {
    /// Where a missing `line` is to be reported; `None` when no document has the table.
    pub(super) missing: Option<Place>,
    /// `line` was written but is no line; that was reported already.
    refused: bool,
    pub(super) line: Option<At<WrittenLine>>,
    pub(super) chip: Option<At<String>>,
    pub(super) active: Option<At<Active>>,
}

/// What `line` may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WrittenLine {
    /// Not wired, although the board profile says so.
    Off,
    /// This one.
    Line(LineName),
}

#[derive(Default)]
pub(super) struct ButtonDraft {
    pub(super) line: LineDraft,
    pub(super) bias: Option<At<Bias>>,
    debounce: Option<At<Duration>>,
    cooldown: Option<At<Duration>>,
    long_press: Option<At<Option<Duration>>>,
    pub(super) required: Option<At<bool>>,
}

#[derive(Default)]
pub(super) struct LampDraft {
    line: LineDraft,
    /// An LED of the kernel in place of the line.
    led: Option<At<String>>,
    idle: Option<At<IdleLamp>>,
}

#[derive(Default)]
pub(super) struct RelayDraft {
    pub(super) line: LineDraft,
    pub(super) pulse: Option<At<Duration>>,
    pub(super) max_pulse: Option<At<Duration>>,
    pub(super) safe: Option<At<()>>,
    /// Keys somebody wrote, good or bad.
    pub(super) written: BTreeSet<&'static str>,
}

/// The later document wins, where it says something.
pub(super) fn lay<T>(slot: &mut Option<At<T>>, newer: Option<At<T>>) {
    if newer.is_some() {
        *slot = newer;
    }
}

impl Draft {
    /// Takes over what a document says in the shared tables.
    pub(super) fn read(&mut self, root: &mut Reader<'_>) {
        self.read_button(root.table("button"));
        self.read_outputs(root);
        self.read_camera(root.table("camera"));
        self.read_encoder(root.table("encoder"));
        self.microphone.read(root.table("microphone"));
        self.speaker.read(root.table("speaker"));
        self.display.read(root.table("display"));
        root.refuse(
            "audio",
            wrong("is not a table that exists", "sound is set in [microphone] and [speaker]"),
        );
        root.refuse(
            "door",
            wrong("is not a table that exists", "the door release is set in [relay]"),
        );
    }

    /// Takes over what a document says of the outputs.
    pub(super) fn read_outputs(&mut self, root: &mut Reader<'_>) {
        self.read_relay(root.table("relay"));
        self.lamp.read(root.table("lamp"));
        self.read_chime(root.table("chime"));
    }

    fn read_button(&mut self, mut table: Reader<'_>) {
        let button = &mut self.button;
        button.line.read(&mut table);
        let words = [("pull-up", Bias::PullUp), ("pull-down", Bias::PullDown), ("off", Bias::Off)];
        lay(&mut button.bias, table.word("bias", &words));
        let range = Duration::ZERO..=Duration::from_secs(1);
        lay(&mut button.debounce, table.duration("debounce", range));
        let range = Duration::ZERO..=Duration::from_secs(10);
        lay(&mut button.cooldown, table.duration("cooldown", range));
        let range = Duration::from_secs(1)..=Duration::from_secs(30);
        lay(&mut button.long_press, table.duration_or_off("long_press", range));
        lay(&mut button.required, table.flag("required"));
        table.finish();
    }

    fn read_relay(&mut self, mut table: Reader<'_>) {
        let relay = &mut self.relay;
        relay.line.read(&mut table);
        let range = Duration::from_millis(100)..=Duration::from_secs(60);
        lay(&mut relay.pulse, table.duration("pulse", range.clone()));
        lay(&mut relay.max_pulse, table.duration("max_pulse", range));
        lay(&mut relay.safe, table.word("safe", &[("off", ())]));
        for key in ["pulse", "max_pulse", "safe"] {
            if table.wrote(key) {
                relay.written.insert(key);
            }
        }
        table.finish();
    }

    /// The table holds the sound of a press too, so that a door without a buzzer has no `line` in it.
    fn read_chime(&mut self, mut table: Reader<'_>) {
        let is_wired = self.chime.missing.is_some();
        let sounds = self.sounds.read(&mut table);
        let wires = ["line", "chip", "active"].iter().any(|key| table.wrote(key));
        self.chime.read(&mut table);
        table.refuse(
            "sysfs",
            wrong("is for the lamp only", "wire the buzzer to a GPIO line and name it with `line`"),
        );
        table.finish();
        if sounds && !wires && !is_wired {
            self.chime.missing = None;
        }
    }

    fn read_camera(&mut self, mut table: Reader<'_>) {
        let ranges = [160..=1920, 120..=1080];
        lay(&mut self.size, table.pair("size", ranges, "[640, 480]"));
        lay(&mut self.rate, table.whole("rate", 5..=30));
        let words = [("auto", NativeH264::Auto), ("on", NativeH264::On), ("off", NativeH264::Off)];
        lay(&mut self.native_h264, table.word("native_h264", &words));
        lay(&mut self.warm, table.word("warm", &[("off", Warm::Off), ("camera", Warm::Camera)]));
        let written = table.numbers("controls");
        self.controls.extend(check::controls(written, table.notes()));
        for (key, example) in [("width", "[640, 480]"), ("height", "[640, 480]")] {
            let fault = wrong(
                "is not a key that exists",
                format!("write both numbers as size = {example}"),
            );
            table.refuse(key, fault);
        }
        lay(&mut self.camera, read_source(table));
    }

    fn read_encoder(&mut self, mut table: Reader<'_>) {
        let encoders = table.texts("try");
        lay(&mut self.encoders, encoders.and_then(|list| check::encoders(list, table.notes())));
        lay(&mut self.bitrate, read_bitrate(&mut table));
        let range = Duration::from_secs(1)..=Duration::from_secs(60);
        lay(&mut self.keyframes, table.duration("keyframe_interval", range));
        table.finish();
    }

    /// What is to be off when nobody is in control. Faults that concern nothing but the limits of a
    /// release are none here.
    pub(super) fn outputs(self, notes: &Notes) -> Outputs {
        Outputs {
            panel: self.panel.map(|panel| panel.value).unwrap_or_default(),
            relay: self.relay.line.settle(Active::High, notes),
            lamp: self.lamp.settle(notes).map(|lamp| lamp.port),
            chime: self.chime.settle(Active::High, notes),
        }
    }

    /// Puts the board together. Faults go to the notes; what cannot be built is left out then.
    pub(super) fn settle(self, name: String, compatible: Vec<String>, notes: &Notes) -> Board {
        check::wiring(&self, notes);
        check::picture(&self, notes);
        let camera = CameraSettings::default();
        let [width, height] = self.size.map_or([camera.width, camera.height], |size| size.value);
        let warm = self.warm.map_or(camera.warm, |word| word.value);
        let encoder = EncoderSettings::default();
        Board {
            name,
            compatible,
            panel: self.panel.map_or(PanelKind::Sim, |panel| panel.value),
            button: self.button.settle(notes),
            relay: self.relay.settle(notes),
            lamp: self.lamp.settle(notes).map(|lamp| lamp.beside(warm)),
            chime: self.chime.settle(Active::High, notes).map(|line| OutputWiring { line }),
            camera: CameraSettings {
                source: self.camera.map_or(camera.source, |source| source.value),
                width,
                height,
                rate: self.rate.map_or(camera.rate, |rate| rate.value),
                native_h264: self.native_h264.map_or(camera.native_h264, |word| word.value),
                warm,
                controls: self.controls,
            },
            encoder: EncoderSettings {
                try_: self.encoders.map_or(encoder.try_, |list| list.value),
                bitrate_kbps: self.bitrate.map_or(encoder.bitrate_kbps, |rate| rate.value),
                keyframe_interval: self
                    .keyframes
                    .map_or(encoder.keyframe_interval, |time| time.value),
            },
            microphone: self.microphone.settle(),
            speaker: self.speaker.settle(),
            sounds: self.sounds.settle(notes),
            display: self.display.settle(),
        }
    }
}

impl LineDraft {
    fn read(&mut self, table: &mut Reader<'_>) {
        if table.present().is_some() {
            self.missing = Some(table.missing("line"));
        }
        let line = table.text_or_whole("line", 0..=1023).map(|at| {
            at.map(|written| match written {
                Ok(word) if word == "off" => WrittenLine::Off,
                Ok(name) => WrittenLine::Line(LineName::Name(name)),
                Err(offset) => WrittenLine::Line(LineName::Offset(offset)),
            })
        });
        self.refused |= line.is_none() && table.wrote("line");
        lay(&mut self.line, line);
        lay(&mut self.chip, table.text("chip"));
        let words = [("high", Active::High), ("low", Active::Low)];
        lay(&mut self.active, table.word("active", &words));
    }

    /// Whether the line is wired, or ought to be.
    pub(super) fn wanted(&self) -> bool {
        let off = matches!(&self.line, Some(at) if at.value == WrittenLine::Off);
        self.missing.is_some() && !off
    }

    fn settle(self, active: Active, notes: &Notes) -> Option<Line> {
        let missing = self.missing?;
        let Some(written) = self.line else {
            if !self.refused {
                let fix = "write line = \"GPIO17\" with the line it is wired to, or line = \"off\"";
                notes.problem(&missing, wrong("is missing", fix));
            }
            return None;
        };
        let WrittenLine::Line(line) = written.value else {
            return None;
        };
        Some(Line {
            chip: self.chip.map(|chip| chip.value),
            line,
            active: self.active.map_or(active, |active| active.value),
        })
    }
}

impl LampDraft {
    fn read(&mut self, mut table: Reader<'_>) {
        let wrote_line = table.wrote("line");
        self.line.read(&mut table);
        let led = table.text("sysfs").and_then(|led| check::led(led, table.notes()));
        match (led, wrote_line) {
            (Some(led), true) => table
                .notes()
                .problem(&led.place, wrong("stands beside `line`", "keep one of the two")),
            // The later document wins, whichever of the two it writes.
            (Some(led), false) => self.led = Some(led),
            (None, true) => self.led = None,
            (None, false) => {}
        }
        let words = [("off", IdleLamp::Dark), ("on", IdleLamp::Lit)];
        lay(&mut self.idle, table.word("idle", &words));
        table.finish();
    }

    /// The line it hangs on, unless it is an LED.
    pub(super) fn line(&self) -> Option<&LineDraft> {
        self.led.is_none().then_some(&self.line)
    }

    fn settle(self, notes: &Notes) -> Option<LampWiring> {
        let port = match self.led {
            Some(led) => LampPort::Led(led.value),
            None => LampPort::Line(self.line.settle(Active::High, notes)?),
        };
        Some(LampWiring { port, idle: self.idle.map(|idle| idle.value).unwrap_or_default() })
    }
}

impl ButtonDraft {
    fn settle(self, notes: &Notes) -> Option<ButtonWiring> {
        let line = self.line.settle(Active::Low, notes)?;
        // The resistor has to hold the line on the side that is not "pressed".
        let bias = match line.active {
            Active::Low => Bias::PullUp,
            Active::High => Bias::PullDown,
        };
        let times = ButtonTimes::default();
        Some(ButtonWiring {
            line,
            bias: self.bias.map_or(bias, |bias| bias.value),
            times: ButtonTimes {
                debounce: self.debounce.map_or(times.debounce, |time| time.value),
                cooldown: self.cooldown.map_or(times.cooldown, |time| time.value),
                long_press: self.long_press.map_or(times.long_press, |time| time.value),
            },
            required: self.required.is_none_or(|required| required.value),
        })
    }
}

impl RelayDraft {
    fn settle(self, notes: &Notes) -> Option<RelayWiring> {
        let line = self.line.settle(Active::High, notes)?;
        Some(RelayWiring { line, pulse: self.pulse?.value, max_pulse: self.max_pulse?.value })
    }
}

/// Reads the keys of a table that has no others, and ends it.
pub(super) fn read_source(mut table: Reader<'_>) -> Option<At<Source>> {
    let source = source_of(&mut table);
    table.finish();
    source
}

/// Reads `source` or `pipeline`.
pub(super) fn source_of(table: &mut Reader<'_>) -> Option<At<Source>> {
    let source = table.text("source");
    let pipeline = table.text("pipeline");
    let notes = table.notes();
    match (source, pipeline) {
        (Some(_), Some(pipeline)) => {
            notes.problem(&pipeline.place, wrong("stands beside `source`", "keep one of the two"));
            None
        }
        (None, Some(pipeline)) => check::fragment(pipeline, notes),
        (Some(source), None) => check::source(source, notes),
        (None, None) => None,
    }
}

fn read_bitrate(table: &mut Reader<'_>) -> Option<At<u32>> {
    let text = table.text("bitrate");
    let number = table.whole("bitrate_kbps", BITRATES);
    let notes = table.notes();
    let Some(text) = text else { return number };
    if number.is_some() {
        notes.problem(&text.place, wrong("stands beside `bitrate_kbps`", "keep one of the two"));
        return None;
    }
    match kbps(&text.value).filter(|value| BITRATES.contains(value)) {
        Some(value) => Some(text.map(|_| value)),
        None => {
            let what = format!("is \"{}\"", text.value);
            let fix = "write bits per second with k or M, from \"100k\" to \"8M\"";
            notes.problem(&text.place, wrong(what, fix));
            None
        }
    }
}

/// Reads "1200k" or "1.2M" as kbit/s.
fn kbps(text: &str) -> Option<u32> {
    let (number, factor) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1.0),
        None => (text.strip_suffix('M')?, 1000.0),
    };
    let plain = number.chars().all(|letter| letter.is_ascii_digit() || letter == '.');
    let value = number.parse::<f64>().ok().filter(|_| plain)? * factor;
    // Far above every allowed rate, and small enough for the conversion to be exact.
    (value <= 1_000_000.0).then_some(value.round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bit_rates_are_read_with_their_unit() {
        assert_eq!(kbps("1200k"), Some(1200));
        assert_eq!(kbps("1200K"), Some(1200));
        assert_eq!(kbps("2M"), Some(2000));
        assert_eq!(kbps("1.2M"), Some(1200));
    }

    #[test]
    fn bit_rates_without_unit_or_sense_are_not_read() {
        for text in ["1200", "k", "", "-5k", "1e3k", "infM", "NaNk", "1.2.3M", "9999999M"] {
            assert_eq!(kbps(text), None, "{text}");
        }
    }
}
