//! The panel: the doorbell button, the lamp, the chime and the door relay of this board.
//!
//! It reports debounced presses and does what it is told; what a press means and which lamp is shown
//! when is the heart's business. The rest of the daemon does not know which back-end drives the lines:
//!
//! - `rpi.rs`: the header of a Raspberry Pi that crate `rppal` knows (feature `rpi`);
//! - `chardev.rs`: the GPIO character device, everywhere else;
//! - `sim.rs`: no lines at all.
//!
//! `backend.rs` chooses among them; a lamp may also be an LED of the kernel (`led.rs`). `debounce.rs` is
//! the pure judgement of the button, `button.rs` its task, `output.rs` what makes outputs safe, `lamps.rs`
//! the lamp's patterns. Without a panel: `list.rs` shows what there is, `off.rs` switches outputs off.

mod backend;
mod button;
mod chardev;
pub mod debounce;
mod lamps;
mod led;
mod list;
mod off;
mod output;
#[cfg(feature = "rpi")]
mod rpi;
mod sim;
pub mod trial;

pub use button::ButtonState;
pub use list::{Hold, ListedChip, ListedLine, Way, list};
pub use off::{SwitchedOff, switch_off};
pub use output::{OutputRecord, all_outputs_off};

use crate::config::{Active, Bias, Board, ButtonTimes, ButtonWiring, LampPort, Line, LineName};
use crate::intercom::Lamp;
use backend::Backend;
use button::Edges;
use lamps::Lamps;
use output::{Drive, Output, Pulses, Records};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tracing::{info, warn};

/// How long the chime's line is on. The sounder itself makes the tune.
const CHIME: Duration = Duration::from_millis(300);

/// What somebody did with the doorbell button, debounced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ButtonEvent {
    /// A press that counts.
    Press,
    /// It is held for long; its press came before.
    LongPress,
}

/// Why the panel could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum HardwareError {
    /// A line that the door cannot do without.
    #[error("board profile {board:?}: {key} = {line}: {why}")]
    Line {
        /// The profile's name.
        board: String,
        /// The key path in the profile.
        key: &'static str,
        /// The line as written there.
        line: String,
        /// What was wrong, and what to do.
        why: LineError,
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
    /// No LED has this name.
    #[error("no LED of the kernel is called so; below /sys/class/leds there are: {known}")]
    NoSuchLed {
        /// Those there are.
        known: String,
    },
    /// We may not write to the LED.
    #[error("no right to write to {0}; systemd/README.md says how to hand an LED to intercomd")]
    LedPermission(String),
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

/// The lines of a board, those of its LEDs apart.
fn lines(board: &Board) -> Vec<&Line> {
    let button = board.button.iter().map(|wiring| &wiring.line);
    let relay = board.relay.iter().map(|wiring| &wiring.line);
    let lamp = board.lamp.iter().filter_map(|wiring| match &wiring.port {
        LampPort::Line(line) => Some(line),
        LampPort::Led(_) => None,
    });
    let chime = board.chime.iter().map(|wiring| &wiring.line);
    button.chain(relay).chain(lamp).chain(chime).collect()
}

/// A button somebody looks at: its task, and on a simulated panel the keys that press it.
struct Watched {
    state: watch::Receiver<ButtonState>,
    keys: Option<mpsc::Sender<sim::Key>>,
    task: AbortHandle,
}

impl Watched {
    fn new(
        edges: impl Edges,
        active: bool,
        times: ButtonTimes,
        events: mpsc::Sender<ButtonEvent>,
    ) -> Self {
        let (tell, state) = watch::channel(ButtonState::Released);
        let task = tokio::spawn(button::watch(edges, active, times, events, tell)).abort_handle();
        Self { state, keys: None, task }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
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
    relay: Part<Pulses>,
    lamp: Part<Lamps>,
    chime: Part<Pulses>,
    records: Records,
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
    /// Presses are handed on without waiting: when `events` is full, earlier ones still wait to be
    /// handled and the new one is dropped.
    ///
    /// # Errors
    /// A wired relay, or a button marked `required`, that cannot be claimed. Any other missing part
    /// is one warning and shows in [`Panel::status`].
    pub fn open(board: &Board, events: mpsc::Sender<ButtonEvent>) -> Result<Self, HardwareError> {
        let backend = Backend::choose(board.panel, &lines(board));
        let records = Records::default();
        let guarded = |name, line: Box<dyn Drive>, records: Option<Records>| {
            let output = Output::new(name, line, records);
            match backend {
                Backend::Sim => output,
                _ => output.guarded(),
            }
        };

        // The relay first: its line must be safe even if the rest of the panel is not there.
        // "Off" cannot be promised for a relay whose line we do not hold, hence required.
        let relay = match &board.relay {
            None => Part::NotWired,
            Some(wiring) => {
                let line = describe(&wiring.line);
                part(board, "relay.line", line, Need::Required, || {
                    let line = backend.output(&wiring.line)?;
                    let output = guarded("relay", line, Some(records.clone()));
                    Ok(Pulses::new(output, wiring.max_pulse))
                })?
            }
        };
        let lamp = match &board.lamp {
            None => Part::NotWired,
            Some(wiring) => {
                let (key, place) = match &wiring.port {
                    LampPort::Line(line) => ("lamp.line", describe(line)),
                    LampPort::Led(name) => ("lamp.sysfs", name.clone()),
                };
                part(board, key, place, Need::Optional, || {
                    let line = match &wiring.port {
                        LampPort::Line(line) => backend.output(line)?,
                        LampPort::Led(name) => backend.led(name)?,
                    };
                    Ok(Lamps::new(guarded("lamp", line, None), wiring.idle))
                })?
            }
        };
        let chime = match &board.chime {
            None => Part::NotWired,
            Some(wiring) => {
                let line = describe(&wiring.line);
                part(board, "chime.line", line, Need::Optional, || {
                    let line = backend.output(&wiring.line)?;
                    Ok(Pulses::new(guarded("chime", line, Some(records.clone())), CHIME))
                })?
            }
        };
        // A simulated panel has its keys whatever is wired.
        let keys = matches!(backend, Backend::Sim).then(keys_for_a_button);
        let button = match board.button.as_ref().or(keys.as_ref()) {
            None => Part::NotWired,
            Some(wiring) => {
                let need = match wiring.required {
                    true => Need::Required,
                    false => Need::Optional,
                };
                part(board, "button.line", describe(&wiring.line), need, || {
                    backend.button(wiring, events)
                })?
            }
        };
        let panel = Self { kind: backend.name(), button, relay, lamp, chime, records };
        info!("panel {:?} is open ({})", board.name, panel.kind);
        Ok(panel)
    }

    /// On a simulated panel: Enter on standard input presses the doorbell from now on, if standard
    /// input is a terminal or a pipe. On a real panel nothing happens.
    pub fn listen_to_keys(&self) {
        if let Some(keys) = self.button.working().and_then(|button| button.keys.clone()) {
            sim::listen_to_keys(keys);
        }
    }

    /// What the button does, now and at every change; `None` when there is none.
    pub fn watch_button(&self) -> Option<watch::Receiver<ButtonState>> {
        self.button.working().map(|button| button.state.clone())
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

    /// One pulse of the door relay, so long and never longer than the profile's `max_pulse`.
    /// A pulse that runs already is not made longer. Who may ask is not decided here.
    pub fn release(&self, length: Duration) -> Release {
        match self.relay.working() {
            Some(relay) => {
                relay.fire(length);
                Release::Pulsing
            }
            None => Release::NoRelay,
        }
    }

    /// The panel for `ctl status`.
    pub fn status(&self) -> PanelStatus {
        let level =
            |pulses: &Pulses| followed(if pulses.is_on() { "on" } else { "off" }, pulses.fault());
        PanelStatus {
            kind: self.kind,
            button: self.button.text(|button| button.state.borrow().to_string()),
            relay: self.relay.text(level),
            lamp: self.lamp.text(|lamps| followed(lamps.shown().name(), lamps.fault())),
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

/// The button that a simulated panel has by itself.
fn keys_for_a_button() -> ButtonWiring {
    ButtonWiring {
        line: Line { chip: None, line: LineName::Name("keys".to_owned()), active: Active::High },
        bias: Bias::Off,
        times: ButtonTimes::default(),
        required: false,
    }
}

/// What an output was told, and whether it did it.
fn followed(told: &str, fault: Option<String>) -> String {
    match fault {
        None => told.to_owned(),
        Some(why) => format!("{told}, but it does not follow: {why}"),
    }
}

/// Claims one part of the panel and decides what a failure means.
fn part<T>(
    board: &Board,
    key: &'static str,
    text: String,
    need: Need,
    claim: impl FnOnce() -> Result<T, LineError>,
) -> Result<Part<T>, HardwareError> {
    match claim() {
        Ok(part) => Ok(Part::Works { line: text, part }),
        Err(why) if need == Need::Optional => {
            warn!("board profile {:?}: {key} = {text}: {why}", board.name);
            Ok(Part::Missing { line: text, why })
        }
        Err(why) => Err(HardwareError::Line { board: board.name.clone(), key, line: text, why }),
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
    use crate::config::{IdleLamp, LampWiring, OutputWiring, PanelKind, RelayWiring};

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
                times: ButtonTimes::default(),
                required,
            }),
            relay: None,
            lamp: Some(LampWiring { port: LampPort::Line(line("LAMP")), idle: IdleLamp::Dark }),
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
        assert_eq!(panel.release(Duration::from_secs(3)), Release::Pulsing);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(panel.status().relay, "no-such-chip/DOOR: on");
        tokio::time::sleep(Duration::from_secs(3)).await;
        panel.lamp(Lamp::Idle);
        assert_eq!(
            told(&panel),
            [
                ("lamp", "calling"),
                ("chime", "on"),
                ("chime", "off"),
                ("relay", "on"),
                ("relay", "off"),
                ("lamp", "idle"),
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn closing_the_panel_in_the_middle_of_a_pulse_locks_the_door() {
        let (presses, _kept) = mpsc::channel(1);
        let mut board = board(PanelKind::Sim, true);
        board.relay = relay();
        let panel = Panel::open(&board, presses).expect("a simulated panel opens anywhere");
        panel.release(Duration::from_secs(3));
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
        assert_eq!(panel.release(Duration::from_secs(3)), Release::NoRelay);
        let status = panel.status();
        assert_eq!(status.relay, "not wired");
        assert!(status.lamp.starts_with("no-such-chip/LAMP: missing: "));
        assert!(status.button.contains("missing"), "{}", status.button);
        assert_eq!(status.outputs, []);
    }
}
