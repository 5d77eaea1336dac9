//! `intercomd devices`: what this machine has, in the words a profile wants, and what the door would take of it
//! and why.
//!
//! Outside the rooms because it asks two of them, media and hardware. Claims no line, starts no pipeline but the
//! one that measures the encoder, and changes nothing.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use crate::config::{self, Board, LoadArgs, Problems};
use crate::hardware::{self, Hold, ListedChip, Way};
use crate::media::found::{Camera, Knob, MixerControl, NodeKind, PictureSize, Probe, SoundCard};
use crate::media::plan::{CapturePlan, Part};
use crate::media::plan_playback::{Kind, RemoteStream};
use crate::media::{
    self, MediaError, controls, devices, plan, plan_display, plan_encoder, plan_playback,
    plan_sound, speed,
};

/// Everything `intercomd devices` tells. Its JSON is described in docs/exit-codes-and-control.md.
#[derive(Debug, Serialize)]
pub struct Listing {
    /// Version of this program.
    pub version: &'static str,
    /// Name of the profile the choices are made with.
    pub board: String,
    /// What is wrong with the configuration's board tables; the choices are then those of a board that takes what
    /// it finds.
    pub configuration_problems: Vec<String>,
    /// What the door would take now, and why.
    pub choices: Choices,
    /// What the media room found.
    pub probe: Probe,
    /// The GPIO chips.
    pub gpio: Vec<Chip>,
}

/// What the door would take now.
#[derive(Debug, Serialize)]
pub struct Choices {
    /// The picture at the door.
    pub camera: Choice,
    /// The voice at the door.
    pub microphone: Choice,
    /// Where the far voice is heard, in words.
    pub speaker: String,
    /// Where the far picture is seen, in words.
    pub display: String,
    /// What decodes the far picture: H.264 and VP8, each an element or why there is none.
    pub decoders: [String; 2],
    /// Sentences on all of it.
    pub reasons: Vec<String>,
}

/// A part of the capture.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Choice {
    /// The board does without.
    Off,
    /// It cannot be had.
    Missing {
        /// Why, and what to do.
        why: String,
    },
    /// It would be taken.
    Taken {
        /// In words.
        source: String,
        /// The element that encodes, or `camera`.
        encoder: String,
        /// The pipeline, as `gst-launch-1.0` would run it up to its `appsink`.
        pipeline: String,
    },
}

/// A GPIO chip.
#[derive(Debug, Serialize)]
pub struct Chip {
    /// Its label, which `chip` in a profile should say.
    pub label: String,
    /// Its name, which changes between kernels.
    pub name: String,
    /// Its lines.
    pub lines: Vec<ChipLine>,
    /// Why it could not be asked.
    pub trouble: Option<String>,
}

/// A line of a GPIO chip.
#[derive(Debug, Serialize)]
pub struct ChipLine {
    /// Its number on the chip.
    pub offset: u32,
    /// Its name, which `line` in a profile should say.
    pub name: Option<String>,
    /// `input` or `output`.
    pub way: &'static str,
    /// Who has it; `null` when it is free.
    pub held_by: Option<String>,
}

/// Looks at this machine and plans for the configured board. Takes up to some seconds.
///
/// # Errors
/// [`MediaError::Gstreamer`] when GStreamer does not start.
pub fn list(args: &LoadArgs) -> Result<Listing, MediaError> {
    media::init()?;
    let board = config::load_board(args);
    let mut probe = devices::probe_all();
    // Told even where this board would not use it: it says what the machine is good for.
    if probe.has("x264enc") {
        probe.software_speed = speed::software_speed();
    }
    Ok(Listing::new(board, probe, &hardware::list()))
}

/// The child's half of reading a camera's controls: prints them as JSON, or why not.
///
/// # Errors
/// A sentence.
pub fn controls_of(path: &str) -> Result<String, String> {
    let list = controls::controls_here(path)?;
    serde_json::to_string(&list).map_err(|error| format!("cannot be written down ({error})"))
}

impl Listing {
    /// Makes the choices for a board on a machine.
    pub fn new(board: Result<Board, Problems>, probe: Probe, chips: &[ListedChip]) -> Self {
        let (board, configuration_problems) = match board {
            Ok(board) => (board, Vec::new()),
            Err(problems) => {
                let unknown = Board { name: "none".to_owned(), ..Board::default() };
                (unknown, problems.0.iter().map(ToString::to_string).collect())
            }
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            choices: Choices::new(&board, &probe),
            board: board.name,
            configuration_problems,
            probe,
            gpio: chips.iter().map(Chip::new).collect(),
        }
    }

    /// As one JSON object.
    ///
    /// # Errors
    /// Never for what a probe can hold.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let probe = &self.probe;
        writeln!(out, "The door, as board \"{}\", would take now", self.board)?;
        let choices = &self.choices;
        for (what, choice) in [("camera", &choices.camera), ("microphone", &choices.microphone)] {
            writeln!(out, "  {what:<11}{}", choice.words())?;
        }
        writeln!(out, "  {:<11}{}", "speaker", choices.speaker)?;
        writeln!(out, "  {:<11}{}", "display", choices.display)?;
        writeln!(out, "  {:<11}{}", "decoders", choices.decoders.join(", "))?;
        for reason in &choices.reasons {
            writeln!(out, "  because    {reason}")?;
        }
        for problem in &self.configuration_problems {
            writeln!(out, "  not used   {problem}")?;
        }

        writeln!(out, "\nCameras")?;
        probe.cameras.iter().try_for_each(|camera| write_camera(out, camera))?;
        let bare = probe.has_node(NodeKind::BareSensor);
        if bare || !probe.libcamera.is_empty() {
            writeln!(out, "  CSI camera\n    source = \"libcamera\"")?;
            for name in &probe.libcamera {
                writeln!(out, "    source = \"libcamera:{name}\"")?;
            }
        }
        if probe.cameras.is_empty() && !bare {
            writeln!(out, "  none")?;
        }
        let others = || probe.video_nodes.iter().filter(|node| node.kind != NodeKind::Camera);
        if others().next().is_some() {
            writeln!(out, "\nOther video nodes")?;
        }
        for node in others() {
            let why = node.trouble.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            writeln!(out, "  {:<14}{} ({}){why}", node.path, node.name, node.kind.words())?;
        }

        let (major, minor, patch) = probe.gst_version;
        writeln!(out, "\nEncoders and decoders (GStreamer {major}.{minor}.{patch})")?;
        let codecs = |what: &str| {
            let names =
                probe.elements.iter().filter(|name| name.contains("264") && name.contains(what));
            names.map(String::as_str).collect::<Vec<_>>().join(", ")
        };
        writeln!(out, "  H.264 encoders  {}", or_none(&codecs("enc")))?;
        writeln!(out, "  H.264 decoders  {}", or_none(&codecs("dec")))?;
        if let Some(speed) = probe.software_speed {
            writeln!(
                out,
                "  x264 at its fastest, on one of {} cores: {speed} blocks a second, as 640x480 at {}",
                probe.cores,
                speed / plan_encoder::blocks_per_second(640, 480, 1)
            )?;
        }

        writeln!(out, "\nSound cards")?;
        probe.sound_cards.iter().try_for_each(|card| write_card(out, card))?;
        if probe.sound_cards.is_empty() {
            writeln!(out, "  none")?;
        }

        writeln!(out, "\nDisplays")?;
        for screen in &probe.screens {
            let plugged = if screen.connected { "plugged in" } else { "nothing plugged in" };
            let mode = screen.modes.first().map(|mode| format!(", {mode}")).unwrap_or_default();
            let driver = or_none(&screen.driver).to_owned();
            writeln!(out, "  {:<14}{plugged}{mode} (driver {driver})", screen.connector)?;
        }
        if probe.screens.is_empty() {
            writeln!(out, "  none")?;
        }

        writeln!(out, "\nGPIO")?;
        self.gpio.iter().try_for_each(|chip| write_chip(out, chip))?;
        if self.gpio.is_empty() {
            writeln!(out, "  none")?;
        }
        if !probe.trouble.is_empty() {
            writeln!(out, "\nNot seen")?;
        }
        probe.trouble.iter().try_for_each(|trouble| writeln!(out, "  {trouble}"))
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn write_camera(out: &mut String, camera: &Camera) -> std::fmt::Result {
    writeln!(out, "  {} ({}, {})", camera.name, camera.driver, camera.path)?;
    writeln!(out, "    source = \"{}\"", camera.stable_name())?;
    for format in &camera.formats {
        let sizes = format.sizes.iter().map(|offer| {
            let rates: Vec<String> = offer.rates.iter().map(ToString::to_string).collect();
            match (offer.size, rates.as_slice()) {
                (size @ PictureSize::Range { .. }, _) => size.to_string(),
                (size, []) => size.to_string(),
                (size, rates) => format!("{size}@{}", rates.join("|")),
            }
        });
        let sizes: Vec<String> = sizes.collect();
        writeln!(out, "    {} {}", format.fourcc, sizes.join(" "))?;
    }
    if !camera.controls.is_empty() {
        writeln!(out, "    [camera.controls]")?;
    }
    for control in &camera.controls {
        let value = control.value.map_or_else(|| "?".to_owned(), |value| value.to_string());
        let takes = if control.menu.is_empty() {
            format!("{} to {}", control.least, control.most)
        } else {
            let entries =
                control.menu.iter().map(|entry| format!("{} {}", entry.value, entry.name));
            entries.collect::<Vec<_>>().join(", ")
        };
        let held = if control.inactive { ", held by another" } else { "" };
        writeln!(out, "    {} = {value}  # {takes}{held}", control.name)?;
    }
    Ok(())
}

fn write_card(out: &mut String, card: &SoundCard) -> std::fmt::Result {
    let can = match (card.records, card.plays) {
        (true, true) => "records and plays",
        (true, false) => "records",
        (false, true) => "plays",
        (false, false) => "neither records nor plays",
    };
    writeln!(out, "  {} ({can})\n    source = \"plughw:CARD={}\"", card.name, card.id)?;
    for MixerControl { name, index, playback, capture } in &card.mixer {
        let index = if *index > 0 { format!(",{index}") } else { String::new() };
        for (way, knob) in [("playback", playback), ("capture", capture)] {
            if let Some(knob) = knob {
                writeln!(out, "    mixer \"{name}\"{index}, {way}: {}", knob_words(knob))?;
            }
        }
    }
    Ok(())
}

fn knob_words(knob: &Knob) -> String {
    let decibel = |hundredths: i64| format!("{:.1}", hundredths as f64 / 100.0);
    let volume = match (knob.millibels, knob.volume) {
        (Some((least, most)), _) => Some(format!("{} to {} dB", decibel(least), decibel(most))),
        (None, Some((least, most))) => Some(format!("{least} to {most} steps")),
        (None, None) => None,
    };
    let switch = knob.switch.then(|| "switch".to_owned());
    volume.into_iter().chain(switch).collect::<Vec<_>>().join(", ")
}

fn write_chip(out: &mut String, chip: &Chip) -> std::fmt::Result {
    writeln!(out, "  chip = \"{}\"  # {}", chip.label, chip.name)?;
    if let Some(trouble) = &chip.trouble {
        return writeln!(out, "    {trouble}");
    }
    let named: Vec<&str> = chip.lines.iter().filter_map(|line| line.name.as_deref()).collect();
    match named.as_slice() {
        [] => writeln!(out, "    {} lines without names", chip.lines.len())?,
        names => writeln!(out, "    {}", names.join(" "))?,
    }
    for line in &chip.lines {
        if let Some(holder) = &line.held_by {
            let name = line.name.clone().unwrap_or_else(|| line.offset.to_string());
            writeln!(out, "    {name} is held by {}", or_none(holder))?;
        }
    }
    Ok(())
}

impl Choices {
    fn new(board: &Board, probe: &Probe) -> Self {
        let CapturePlan { camera, microphone, reasons, .. } =
            plan::capture(board, probe, &BTreeSet::new());
        let decoder = |encoding: &str| {
            let stream = RemoteStream {
                kind: Kind::Video,
                encoding: encoding.to_owned(),
                payload_type: 96,
                clock_rate: 90_000,
            };
            let branch = plan_playback::playback(&stream, board, probe, &BTreeSet::new());
            branch.map_or_else(|why| why, |branch| branch.decoder)
        };
        Self {
            camera: Choice::new(camera),
            microphone: Choice::new(microphone),
            speaker: plan_sound::speaker(board, probe).label,
            display: plan_display::surface(&board.display, probe).words(),
            decoders: [decoder("H264"), decoder("VP8")],
            reasons,
        }
    }
}

impl Choice {
    fn new(part: Part) -> Self {
        match part {
            Part::Off => Self::Off,
            Part::Missing(why) => Self::Missing { why },
            Part::Ready(fragment) => Self::Taken {
                source: fragment.source,
                encoder: fragment.encoder,
                pipeline: fragment.text,
            },
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Off => "off".to_owned(),
            Self::Missing { why } => format!("nothing: {why}"),
            Self::Taken { source, encoder, .. } => format!("{source}, encoded by {encoder}"),
        }
    }
}

impl Chip {
    fn new(chip: &ListedChip) -> Self {
        let lines = chip.lines.iter().map(|line| ChipLine {
            offset: line.offset,
            name: line.name.clone(),
            way: match line.way {
                Way::Input => "input",
                Way::Output => "output",
            },
            held_by: match &line.hold {
                Hold::Free => None,
                Hold::Held(by) => Some(by.clone()),
            },
        });
        Self {
            label: chip.label.clone(),
            name: chip.name.clone(),
            lines: lines.collect(),
            trouble: chip.fault.clone(),
        }
    }
}
