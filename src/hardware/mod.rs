//! The panel: the doorbell button, the lamp, the chime and the door relay of this board.
//!
//! It reports debounced presses and does what it is told; what a press means and which lamp is shown
//! when is the heart's business. The rest of the daemon does not know which back-end drives the lines:
//!
//! - `rpi.rs`: the header of a Raspberry Pi that crate `rppal` knows (feature `rpi`);
//! - `chardev.rs`: the GPIO character device, everywhere else;
//! - `sim.rs`: no lines at all.
//!
//! `debounce.rs` is the pure judgement of the button, `button.rs` its task, `output.rs` what makes
//! outputs safe, `lamps.rs` the lamp's patterns.

mod button;
mod chardev;
pub mod debounce;
mod lamps;
mod list;
mod output;
#[cfg(feature = "rpi")]
mod rpi;
mod sim;

pub use list::{Hold, ListedChip, ListedLine, Way, list};
pub use output::{OutputRecord, all_outputs_off};

use crate::config::{Board, ButtonWiring, Line, LineName, PanelKind};
use crate::intercom::Lamp;
use button::{ButtonState, Edges};
use lamps::Lamps;
use output::{Drive, Output, Pulses, Records};
use sim::SimLine;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tracing::{info, warn};

/// How long the chime's line is on. The sounder itself makes the tune.
const CHIME: Duration = Duration::from_millis(300);

/// A debounced press of the doorbell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Press;

/// Why the panel could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum HardwareError {
    /// A line that the door cannot do without.
    #[error("board profile {board:?}: {key} = {line}: {source}")]
    Line {
        /// The profile's name.
        board: String,
        /// The key path in the profile.
        key: &'static str,
        /// The line as written there.
        line: String,
        /// What was wrong, and what to do.
        source: LineError,
    },
}

/// Why a line could not be claimed. Each text ends with what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The kernel shows no GPIO chip.
    #[error(
        "this machine has no GPIO chip; choose the profile of this board, or `panel = \"sim\"` to run without wires"
    )]
    NoChips,
    /// No chip has this label or name.
    #[error("no GPIO chip is called {0:?}; `gpiodetect` lists the names and labels")]
    NoSuchChip(String),
    /// No such line.
    #[error("no GPIO line is called so; `gpioinfo` lists them, and `panel = \"sim\"` needs none")]
    NoSuchLine,
    /// An offset says nothing without its chip.
    #[error("a line given by its number needs `chip`, the label that `gpiodetect` shows")]
    NeedsChip,
    /// Somebody else has the line.
    #[error("the line is taken by {0:?}; remove that overlay or program, or use another line")]
    Busy(String),
    /// We may not open the chip.
    #[error("no right to open {0}; run as a member of the group that owns it (`gpio`)")]
    Permission(String),
    /// The kernel refused for another reason.
    #[error("the kernel refused the line: {0}; check `bias` and the wiring in the profile")]
    Refused(String),
}

/// The panel for `ctl status`. Texts are for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanelStatus {
    /// `rpi`, `chardev` or `sim`.
    pub kind: &'static str,
    /// The button's line and what it does.
    pub button: String,
    /// The relay's line and level.
    pub relay: String,
    /// The lamp's line and pattern.
    pub lamp: String,
    /// The chime's line and level.
    pub chime: String,
    /// What the outputs were last told, oldest first; at most 32.
    pub outputs: Vec<OutputRecord>,
}

/// Who drives the lines.
enum Backend {
    #[cfg(feature = "rpi")]
    Rpi(rpi::Header),
    Chardev,
    Sim,
}

impl Backend {
    fn choose(board: &Board) -> Self {
        match board.panel {
            PanelKind::Sim => Self::Sim,
            PanelKind::Gpio => Self::gpio(board),
        }
    }

    #[cfg(feature = "rpi")]
    fn gpio(board: &Board) -> Self {
        let mut lines = lines(board);
        if !lines.all(|line| rpi::header_number(line).is_some()) {
            return Self::Chardev;
        }
        match rpi::Header::open() {
            Ok(Some(header)) => Self::Rpi(header),
            Ok(None) => Self::Chardev,
            Err(why) => {
                info!("the Raspberry Pi header is left to the GPIO character device: {why}");
                Self::Chardev
            }
        }
    }

    #[cfg(not(feature = "rpi"))]
    fn gpio(_board: &Board) -> Self {
        Self::Chardev
    }

    fn name(&self) -> &'static str {
        match self {
            #[cfg(feature = "rpi")]
            Self::Rpi(_) => "rpi",
            Self::Chardev => "chardev",
            Self::Sim => "sim",
        }
    }

    fn output(&self, line: &Line) -> Result<Box<dyn Drive>, LineError> {
        match self {
            #[cfg(feature = "rpi")]
            Self::Rpi(header) => header.output(line),
            Self::Chardev => chardev::output(line),
            Self::Sim => Ok(Box::new(SimLine::new(false))),
        }
    }

    fn button(
        &self,
        wiring: &ButtonWiring,
        presses: mpsc::Sender<Press>,
    ) -> Result<Watched, LineError> {
        match self {
            #[cfg(feature = "rpi")]
            Self::Rpi(header) => {
                let (edges, active) = header.button(wiring)?;
                Ok(Watched::new(edges, active, wiring.debounce, presses))
            }
            Self::Chardev => {
                let (edges, active) = chardev::button(wiring)?;
                Ok(Watched::new(edges, active, wiring.debounce, presses))
            }
            Self::Sim => Ok(Watched::Sim),
        }
    }
}

#[cfg(feature = "rpi")]
fn lines(board: &Board) -> impl Iterator<Item = &Line> {
    let button = board.button.iter().map(|wiring| &wiring.line);
    let relay = board.relay.iter().map(|wiring| &wiring.line);
    let lamp = board.lamp.iter().map(|wiring| &wiring.line);
    let chime = board.chime.iter().map(|wiring| &wiring.line);
    button.chain(relay).chain(lamp).chain(chime)
}

/// A button somebody looks at.
enum Watched {
    /// The button's task.
    Line { state: watch::Receiver<ButtonState>, task: AbortHandle },
    /// Keys and `ctl press` only.
    Sim,
}

impl Watched {
    fn new(
        edges: impl Edges,
        active: bool,
        debounce: Duration,
        presses: mpsc::Sender<Press>,
    ) -> Self {
        let (tell, state) = watch::channel(ButtonState::Released);
        let task = tokio::spawn(button::watch(edges, active, debounce, presses, tell));
        let task = task.abort_handle();
        Self::Line { state, task }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Self::Line { task, .. } = self {
            task.abort();
        }
    }
}

/// A thing that a profile may or may not wire, and that may or may not be there.
enum Part<T> {
    NotWired,
    Missing { line: String, why: LineError },
    Works { line: String, part: T },
}

impl<T> Part<T> {
    fn working(&self) -> Option<&T> {
        match self {
            Self::Works { part, .. } => Some(part),
            Self::NotWired | Self::Missing { .. } => None,
        }
    }

    fn text(&self, doing: impl FnOnce(&T) -> String) -> String {
        match self {
            Self::NotWired => "not wired".to_owned(),
            Self::Missing { line, why } => format!("{line}: missing: {why}"),
            Self::Works { line, part } => format!("{line}: {}", doing(part)),
        }
    }
}

/// Whether the door can do without a part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    Optional,
}

/// The open panel. Dropping it makes its outputs safe, as `close` does.
pub struct Panel {
    kind: &'static str,
    button: Part<Watched>,
    relay: Part<Relay>,
    lamp: Part<Lamps>,
    chime: Part<Pulses>,
    records: Records,
    presses: mpsc::Sender<Press>,
}

struct Relay {
    pulses: Pulses,
    pulse: Duration,
}

/// What happened to an order for a pulse of the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The relay pulses, or did already.
    Pulsing,
    /// This board has no relay, or it is missing.
    NoRelay,
}

impl Panel {
    /// Claims the profile's lines, outputs off. Must be called inside a tokio runtime, which carries
    /// the small tasks of the button, the lamp and the pulses until the panel is closed.
    ///
    /// Presses are handed on without waiting: when `presses` is full, earlier ones still wait to be
    /// handled and the new one is dropped.
    ///
    /// # Errors
    /// A wired relay, or a button marked `required`, that cannot be claimed. Any other missing part
    /// is one warning and shows in [`Panel::status`].
    pub fn open(board: &Board, presses: mpsc::Sender<Press>) -> Result<Self, HardwareError> {
        let backend = Backend::choose(board);
        let records = Records::default();
        let output = |name, line: &Line, records: Option<Records>| {
            let output = Output::new(name, backend.output(line)?, records);
            Ok(match backend {
                Backend::Sim => output,
                _ => output.guarded(),
            })
        };

        // The relay first: its line must be safe even if the rest of the panel is not there.
        // "Off" cannot be promised for a relay whose line we do not hold, hence required.
        let relay = board.relay.as_ref().map(|wiring| &wiring.line);
        let relay = part(board, "relay.line", relay, Need::Required, |line| {
            let wiring = board.relay.as_ref().ok_or(LineError::NoSuchLine)?;
            let output = output("relay", line, Some(records.clone()))?;
            Ok(Relay { pulses: Pulses::new(output, wiring.max_pulse), pulse: wiring.pulse })
        })?;
        let lamp = board.lamp.as_ref().map(|wiring| &wiring.line);
        let lamp = part(board, "lamp.line", lamp, Need::Optional, |line| {
            Ok(Lamps::new(output("lamp", line, None)?))
        })?;
        let chime = board.chime.as_ref().map(|wiring| &wiring.line);
        let chime = part(board, "chime.line", chime, Need::Optional, |line| {
            let output = output("chime", line, Some(records.clone()))?;
            Ok(Pulses::new(output, CHIME))
        })?;
        let button = match &board.button {
            None => Part::NotWired,
            Some(wiring) => {
                let need = match wiring.required {
                    true => Need::Required,
                    false => Need::Optional,
                };
                part(board, "button.line", Some(&wiring.line), need, |_| {
                    backend.button(wiring, presses.clone())
                })?
            }
        };
        let panel = Self { kind: backend.name(), button, relay, lamp, chime, records, presses };
        info!("panel {:?} is open ({})", board.name, panel.kind);
        Ok(panel)
    }

    /// On a simulated panel: Enter on standard input presses the doorbell from now on, if standard
    /// input is a terminal or a pipe. On a real panel nothing happens.
    pub fn listen_to_keys(&self) {
        if self.kind == Backend::Sim.name() {
            sim::listen_to_keys(self.presses.clone());
        }
    }

    /// What the lamp tells the visitor from now on.
    pub fn lamp(&self, lamp: Lamp) {
        if let Some(lamps) = self.lamp.working()
            && lamps.show(lamp)
        {
            self.records.add("lamp", lamp.name());
        }
    }

    /// One chime at the door, if one is wired. A chime that plays already goes on alone.
    pub fn chime(&self) {
        if let Some(chime) = self.chime.working() {
            chime.fire(CHIME);
        }
    }

    /// One pulse of the door relay, of the profile's length and never longer than its `max_pulse`.
    /// A pulse that runs already is not made longer. Who may ask is not decided here.
    pub fn release(&self) -> Release {
        match self.relay.working() {
            Some(relay) => {
                relay.pulses.fire(relay.pulse);
                Release::Pulsing
            }
            None => Release::NoRelay,
        }
    }

    /// The panel for `ctl status`.
    pub fn status(&self) -> PanelStatus {
        let level = |pulses: &Pulses| if pulses.is_on() { "on" } else { "off" }.to_owned();
        PanelStatus {
            kind: self.kind,
            button: self.button.text(|button| match button {
                Watched::Line { state, .. } => state.borrow().to_string(),
                Watched::Sim => "simulated".to_owned(),
            }),
            relay: self.relay.text(|relay| level(&relay.pulses)),
            lamp: self.lamp.text(|lamps| lamps.shown().name().to_owned()),
            chime: self.chime.text(level),
            outputs: self.records.list(),
        }
    }

    /// Makes every output safe (off, for good), ends the panel's tasks and gives the lines back
    /// (the button's within ten seconds).
    pub fn close(self) {
        drop(self);
    }
}

/// Claims one part of the panel and decides what a failure means.
fn part<T>(
    board: &Board,
    key: &'static str,
    line: Option<&Line>,
    need: Need,
    claim: impl FnOnce(&Line) -> Result<T, LineError>,
) -> Result<Part<T>, HardwareError> {
    let Some(line) = line else {
        return Ok(Part::NotWired);
    };
    let text = describe(line);
    match claim(line) {
        Ok(part) => Ok(Part::Works { line: text, part }),
        Err(why) if need == Need::Optional => {
            warn!("board profile {:?}: {key} = {text}: {why}", board.name);
            Ok(Part::Missing { line: text, why })
        }
        Err(source) => {
            Err(HardwareError::Line { board: board.name.clone(), key, line: text, source })
        }
    }
}

fn describe(line: &Line) -> String {
    let name = match &line.line {
        LineName::Name(name) => name.clone(),
        LineName::Offset(offset) => offset.to_string(),
    };
    match &line.chip {
        Some(chip) => format!("{chip}/{name}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Active, Bias, LampWiring, OutputWiring, RelayWiring};

    /// No machine has a chip of this name, so claiming a real line always fails.
    fn line(name: &str) -> Line {
        Line {
            chip: Some("no-such-chip".to_owned()),
            line: LineName::Name(name.to_owned()),
            active: Active::High,
        }
    }

    fn board(panel: PanelKind, required: bool) -> Board {
        Board {
            name: "test-panel".to_owned(),
            panel,
            button: Some(ButtonWiring {
                line: line("BUTTON"),
                bias: Bias::PullUp,
                debounce: Duration::from_millis(30),
                required,
            }),
            relay: None,
            lamp: Some(LampWiring { line: line("LAMP") }),
            chime: Some(OutputWiring { line: line("CHIME") }),
            ..Board::default()
        }
    }

    fn relay() -> Option<RelayWiring> {
        Some(RelayWiring {
            line: line("DOOR"),
            pulse: Duration::from_secs(3),
            max_pulse: Duration::from_secs(10),
        })
    }

    fn told(panel: &Panel) -> Vec<(&'static str, &'static str)> {
        let outputs = panel.status().outputs;
        outputs.iter().map(|out| (out.output, out.value)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_simulated_panel_records_what_it_is_told() {
        let (presses, _kept) = mpsc::channel(1);
        let mut board = board(PanelKind::Sim, true);
        board.relay = relay();
        let panel = Panel::open(&board, presses).expect("a simulated panel opens anywhere");
        assert_eq!(panel.status().kind, "sim");
        assert_eq!(told(&panel), []);

        panel.lamp(Lamp::Calling);
        panel.lamp(Lamp::Calling);
        panel.chime();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(panel.release(), Release::Pulsing);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(panel.status().relay, "no-such-chip/DOOR: on");
        tokio::time::sleep(Duration::from_secs(3)).await;
        panel.lamp(Lamp::Off);
        assert_eq!(
            told(&panel),
            [
                ("lamp", "calling"),
                ("chime", "on"),
                ("chime", "off"),
                ("relay", "on"),
                ("relay", "off"),
                ("lamp", "off"),
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn closing_the_panel_in_the_middle_of_a_pulse_locks_the_door() {
        let (presses, _kept) = mpsc::channel(1);
        let mut board = board(PanelKind::Sim, true);
        board.relay = relay();
        let panel = Panel::open(&board, presses).expect("a simulated panel opens anywhere");
        panel.release();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let records = panel.records.clone();
        panel.close();
        let last = records.list().pop().map(|out| (out.output, out.value));
        assert_eq!(last, Some(("relay", "off")));
    }

    #[tokio::test]
    async fn a_missing_required_button_stops_the_start_and_names_its_key() {
        let (presses, _kept) = mpsc::channel(1);
        let error = Panel::open(&board(PanelKind::Gpio, true), presses)
            .err()
            .expect("there is no such line");
        let text = error.to_string();
        assert!(
            text.starts_with("board profile \"test-panel\": button.line = no-such-chip/BUTTON: "),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_missing_relay_stops_the_start() {
        let (presses, _kept) = mpsc::channel(1);
        let mut board = board(PanelKind::Gpio, false);
        board.relay = relay();
        let error = Panel::open(&board, presses).err().expect("no such line");
        assert!(error.to_string().contains("relay.line"), "{error}");
    }

    #[tokio::test]
    async fn missing_optional_parts_are_shown_and_harmless() {
        let (presses, _kept) = mpsc::channel(1);
        let panel =
            Panel::open(&board(PanelKind::Gpio, false), presses).expect("nothing here is required");
        panel.lamp(Lamp::Calling);
        panel.chime();
        panel.listen_to_keys();
        assert_eq!(panel.release(), Release::NoRelay);
        let status = panel.status();
        assert_eq!(status.relay, "not wired");
        assert!(status.lamp.starts_with("no-such-chip/LAMP: missing: "));
        assert!(status.button.contains("missing"), "{}", status.button);
        assert_eq!(status.outputs, []);
    }
}
