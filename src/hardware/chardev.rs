//! GPIO lines by the kernel's character device (crate `gpiocdev`), on any board.
//!
//! Lines are found by name over all chips, or by chip label and offset: chip numbers change between
//! kernels, names and labels do not. Thin on purpose; nothing here decides anything.

use super::LineError;
use super::button::{Edge, Edges, Stamp};
use super::list::{Hold, ListedChip, ListedLine, Way};
use super::output::Drive;
use crate::config::{Active, Bias, ButtonWiring, Line, LineName};
use gpiocdev::line::{Direction, EdgeDetection, EdgeKind, EventClock, Offset, Value};
use gpiocdev::request::{Builder, Request};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::debug;

/// The name the kernel shows for our lines (`gpioinfo`).
const CONSUMER: &str = "intercomd";

/// Where a line is.
struct Place {
    chip: PathBuf,
    offset: Offset,
}

/// The board's chips that we may open.
fn chips() -> Result<Vec<gpiocdev::Chip>, LineError> {
    let paths = gpiocdev::chip::chips().unwrap_or_default();
    if paths.is_empty() {
        return Err(LineError::NoChips);
    }
    // Asked first, since the crate's own error does not tell a missing right from other faults.
    let mut refused = None;
    let mut open = Vec::new();
    for path in paths {
        match File::open(&path) {
            Ok(_) => open.extend(gpiocdev::Chip::from_path(&path)),
            Err(why) if why.kind() == ErrorKind::PermissionDenied => refused = Some(path),
            Err(_) => {}
        }
    }
    match refused {
        Some(path) if open.is_empty() => Err(LineError::Permission(path.display().to_string())),
        _ => Ok(open),
    }
}

/// Every chip and line, claimed or not.
pub(super) fn list() -> Vec<ListedChip> {
    let paths = gpiocdev::chip::chips().unwrap_or_default();
    paths.into_iter().map(|path| list_chip(&path)).collect()
}

fn list_chip(path: &Path) -> ListedChip {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let shown = path.display().to_string();
    let mut listed =
        ListedChip { name, label: String::new(), path: shown, lines: Vec::new(), fault: None };
    match read_chip(path) {
        Ok((label, lines)) => (listed.label, listed.lines) = (label, lines),
        Err(fault) => listed.fault = Some(fault),
    }
    listed
}

fn read_chip(path: &Path) -> Result<(String, Vec<ListedLine>), String> {
    if let Err(why) = File::open(path) {
        return Err(match why.kind() {
            ErrorKind::PermissionDenied => {
                LineError::Permission(path.display().to_string()).to_string()
            }
            _ => why.to_string(),
        });
    }
    let told = |why: gpiocdev::Error| why.to_string();
    let chip = gpiocdev::Chip::from_path(path).map_err(told)?;
    let label = chip.info().map_err(told)?.label;
    let infos = chip.line_info_iter().map_err(told)?;
    let lines = infos.map(|info| info.map(listed_line).map_err(told)).collect::<Result<_, _>>()?;
    Ok((label, lines))
}

fn listed_line(info: gpiocdev::line::Info) -> ListedLine {
    ListedLine {
        offset: info.offset,
        name: (!info.name.is_empty()).then_some(info.name),
        way: match info.direction {
            Direction::Input => Way::Input,
            Direction::Output => Way::Output,
        },
        hold: if info.used { Hold::Held(info.consumer) } else { Hold::Free },
    }
}

fn find(line: &Line) -> Result<Place, LineError> {
    let mut chips = chips()?;
    if let Some(wanted) = &line.chip {
        chips.retain(|chip| {
            let label = chip.info().map(|info| info.label).unwrap_or_default();
            let path = chip.path().display().to_string();
            [label, chip.name(), path].contains(wanted)
        });
        if chips.is_empty() {
            return Err(LineError::NoSuchChip(wanted.clone()));
        }
    }
    let (chip, info) = match &line.line {
        LineName::Name(name) => chips
            .iter()
            .find_map(|chip| Some((chip, chip.find_line_info(name)?)))
            .ok_or(LineError::NoSuchLine)?,
        LineName::Offset(offset) => {
            if line.chip.is_none() {
                return Err(LineError::NeedsChip);
            }
            let chip = chips.first().ok_or(LineError::NoSuchLine)?;
            let info = chip.line_info(*offset).map_err(|_| LineError::NoSuchLine)?;
            (chip, info)
        }
    };
    if info.used {
        return Err(LineError::Busy(info.consumer));
    }
    Ok(Place { chip: chip.path().to_owned(), offset: info.offset })
}

fn builder(place: &Place, active: Active) -> Builder {
    let mut builder = Request::builder();
    builder.with_consumer(CONSUMER).on_chip(&place.chip).with_line(place.offset);
    match active {
        Active::High => builder.as_active_high(),
        Active::Low => builder.as_active_low(),
    };
    builder
}

/// A claimed output.
struct Output(Request);

impl Drive for Output {
    fn drive(&mut self, on: bool) -> Result<(), String> {
        let value = if on { Value::Active } else { Value::Inactive };
        self.0.set_lone_value(value).map_err(|why| why.to_string())
    }
}

/// Claims an output, inactive from the first moment.
///
/// Many chips turn a line into an input again when its owner is gone, dead or not. Then the resistor
/// inside the chip decides, so it is asked to pull towards "off", where chip and kernel can do that.
pub(super) fn output(line: &Line) -> Result<Box<dyn Drive>, LineError> {
    let place = find(line)?;
    let off = match line.active {
        Active::High => gpiocdev::line::Bias::PullDown,
        Active::Low => gpiocdev::line::Bias::PullUp,
    };
    let mut plain = builder(&place, line.active);
    plain.as_output(Value::Inactive);
    let mut held = plain.clone();
    held.with_bias(off);
    let request = held.request().or_else(|why| {
        debug!("no resistor holds the line {:?} off by itself: {why}", line.line);
        plain.request()
    });
    let request = request.map_err(|why| LineError::Refused(why.to_string()))?;
    Ok(Box::new(Output(request)))
}

/// Who has the line, if the kernel knows of somebody.
#[cfg(feature = "rpi")]
pub(super) fn holder(line: &Line) -> Option<String> {
    match find(line) {
        Err(LineError::Busy(who)) => Some(who),
        Ok(_) | Err(_) => None,
    }
}

/// How long the button's thread waits at a stretch. Only its end needs this: it looks whether anybody
/// still listens, and gives the line back if not.
const STRETCH: Duration = Duration::from_secs(10);

/// How many waits in a row may fail on a line that can still be read.
const FAULTS: u32 = 16;

/// A claimed input with both edges, read by a thread that blocks in the kernel.
pub(super) struct Input(mpsc::Receiver<Edge>);

/// Claims the button's line, debounced by the kernel if it can; also says whether it is active now.
pub(super) fn button(
    wiring: &ButtonWiring,
    debounce: Option<Duration>,
) -> Result<(Input, bool), LineError> {
    let refused = |why: gpiocdev::Error| LineError::Refused(why.to_string());
    let place = find(&wiring.line)?;
    let mut builder = builder(&place, wiring.line.active);
    builder
        .as_input()
        .with_bias(match wiring.bias {
            Bias::PullUp => gpiocdev::line::Bias::PullUp,
            Bias::PullDown => gpiocdev::line::Bias::PullDown,
            Bias::Off => gpiocdev::line::Bias::Disabled,
        })
        .with_edge_detection(EdgeDetection::BothEdges)
        .with_event_clock(EventClock::Monotonic);
    let mut debounced = builder.clone();
    if let Some(time) = debounce {
        debounced.with_debounce_period(time);
    }
    let request = debounced.request().or_else(|why| {
        debug!("the kernel does not debounce the button: {why}");
        builder.request()
    });
    let request = request.map_err(refused)?;
    let active = request.lone_value().map_err(refused)? == Value::Active;
    // When full, the thread waits; the kernel keeps the newest edges meanwhile.
    let (tell, edges) = mpsc::channel(64);
    std::thread::Builder::new()
        .name("button".to_owned())
        .spawn(move || {
            if let Err(why) = read(&request, &tell) {
                debug!("the button's thread has ended: {why}");
            }
        })
        .map_err(|why| LineError::Refused(why.to_string()))?;
    Ok((Input(edges), active))
}

/// Reads edges until nobody listens or the line is gone.
fn read(request: &Request, tell: &mpsc::Sender<Edge>) -> gpiocdev::Result<()> {
    let mut faults = 0;
    while !tell.is_closed() {
        match read_one(request) {
            Ok(Some(edge)) => {
                faults = 0;
                let _ = tell.blocking_send(edge);
            }
            Ok(None) => faults = 0,
            // A signal ends any wait with an error. The line is gone if it cannot be read either.
            Err(_) if faults < FAULTS && request.lone_value().is_ok() => faults += 1,
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

fn read_one(request: &Request) -> gpiocdev::Result<Option<Edge>> {
    if !request.wait_edge_event(STRETCH)? {
        return Ok(None);
    }
    let event = request.read_edge_event()?;
    Ok(Some(Edge {
        at: Stamp::At(Duration::from_nanos(event.timestamp_ns)),
        // The kernel turns the edges of an active-low line round.
        active: event.kind == EdgeKind::Rising,
    }))
}

impl Edges for Input {
    async fn next(&mut self) -> Result<Edge, String> {
        let edge = self.0.recv().await;
        edge.ok_or_else(|| "the kernel gives no more edges for its line".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_that_cannot_be_asked_is_listed_with_its_fault() {
        for (path, name) in [("/dev/null", "null"), ("/dev/no-such-chip", "no-such-chip")] {
            let chip = list_chip(Path::new(path));
            assert_eq!((chip.name.as_str(), chip.path.as_str()), (name, path));
            assert_eq!((chip.label.as_str(), chip.lines.len()), ("", 0));
            assert!(chip.fault.is_some_and(|fault| !fault.is_empty()), "{path}");
        }
    }
}
