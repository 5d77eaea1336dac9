//! GPIO lines of a Raspberry Pi's header (crate `rppal`).
//!
//! Only the header of a board the crate knows; anything else is `chardev.rs`. Thin on purpose;
//! nothing here decides anything.

use super::LineError;
use super::button::{Edge, Edges};
use super::output::Drive;
use crate::config::{Active, Bias, ButtonWiring, Line, LineName};
use rppal::gpio::{Error, Gpio, InputPin, Level, OutputPin, Trigger};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::debug;

/// The header's registers: up to the Pi 4, and on the Pi 5.
const REGISTERS: [&str; 2] = ["/dev/gpiomem", "/dev/gpiomem0"];

/// The header of this board.
pub(super) struct Header(Gpio);

impl Header {
    /// `None` if this is no Raspberry Pi that the crate knows.
    ///
    /// Without the header's own memory device the crate would map all of the machine's memory, where
    /// it runs as root. The character device is the better way then.
    pub(super) fn open() -> Result<Option<Self>, LineError> {
        if !REGISTERS.iter().any(|path| Path::new(path).exists()) {
            return Err(LineError::Refused(format!("there is no {}", REGISTERS.join(", no "))));
        }
        match Gpio::new() {
            Ok(gpio) => Ok(Some(Self(gpio))),
            Err(Error::UnknownModel) => Ok(None),
            Err(why) => Err(fault(why)),
        }
    }

    /// Claims an output, inactive from the first moment.
    pub(super) fn output(&self, line: &Line) -> Result<Box<dyn Drive>, LineError> {
        let pin = self.pin(line)?;
        let mut pin = match level(line.active, false) {
            Level::Low => pin.into_output_low(),
            Level::High => pin.into_output_high(),
        };
        // Turned back into an input, a line floats, and a relay board may take that for "on".
        pin.set_reset_on_drop(false);
        let active = line.active;
        Ok(Box::new(Output { pin, active }))
    }

    /// Claims the button's line, debounced by the kernel if it can; also says whether it is active now.
    pub(super) fn button(
        &self,
        wiring: &ButtonWiring,
        debounce: Option<Duration>,
    ) -> Result<(Input, bool), LineError> {
        let pin = self.pin(&wiring.line)?;
        let mut pin = match wiring.bias {
            Bias::PullUp => pin.into_input_pullup(),
            Bias::PullDown => pin.into_input_pulldown(),
            Bias::Off => pin.into_input(),
        };
        // A trial: the crate's thread below would report a line that is taken only when it is stopped.
        let debounce = match pin.set_interrupt(Trigger::Both, debounce) {
            Ok(()) => debounce,
            Err(why) if debounce.is_some() => {
                debug!("the kernel does not debounce the button: {why}");
                pin.set_interrupt(Trigger::Both, None).map_err(fault)?;
                None
            }
            Err(why) => return Err(fault(why)),
        };
        let active = wiring.line.active;
        let edges = listen(&mut pin, active, debounce).map_err(fault)?;
        let now = is_active(active, pin.read());
        Ok((Input { pin, active, debounce, edges }, now))
    }

    fn pin(&self, line: &Line) -> Result<rppal::gpio::Pin, LineError> {
        let number = header_number(line).ok_or(LineError::NoSuchLine)?;
        self.0.get(number).map_err(fault)
    }
}

/// The BCM number of a line, if it is one of the header's.
pub(super) fn header_number(line: &Line) -> Option<u8> {
    if line.chip.as_ref().is_some_and(|chip| !chip.starts_with("pinctrl-")) {
        return None;
    }
    let number = match &line.line {
        LineName::Name(name) => name.strip_prefix("GPIO")?.parse().ok()?,
        LineName::Offset(offset) => u8::try_from(*offset).ok()?,
    };
    (number < 28).then_some(number)
}

fn level(active: Active, on: bool) -> Level {
    match active {
        Active::High => Level::from(on),
        Active::Low => Level::from(!on),
    }
}

fn is_active(active: Active, seen: Level) -> bool {
    seen == level(active, true)
}

fn fault(why: Error) -> LineError {
    match why {
        Error::PinUsed(_) => LineError::Busy("another part of this board profile".to_owned()),
        Error::PinNotAvailable(_) => LineError::NoSuchLine,
        Error::PermissionDenied(path) => LineError::Permission(path),
        Error::UnknownModel | Error::Io(_) | Error::ThreadPanic => {
            LineError::Refused(why.to_string())
        }
    }
}

/// A claimed output.
struct Output {
    pin: OutputPin,
    active: Active,
}

impl Drive for Output {
    fn drive(&mut self, on: bool) -> Result<(), String> {
        self.pin.write(level(self.active, on));
        Ok(())
    }
}

/// A claimed input with both edges, read by the crate's own thread.
pub(super) struct Input {
    pin: InputPin,
    active: Active,
    debounce: Option<Duration>,
    edges: mpsc::Receiver<Edge>,
}

/// Starts the crate's thread on a line.
fn listen(
    pin: &mut InputPin,
    active: Active,
    debounce: Option<Duration>,
) -> Result<mpsc::Receiver<Edge>, Error> {
    // When full, edges are lost until the button task has caught up; 256 are more than any hand
    // makes in the time a stalled task may take.
    let (tell, edges) = mpsc::channel(256);
    pin.set_async_interrupt(Trigger::Both, debounce, move |event| {
        let level = match event.trigger {
            Trigger::RisingEdge => Level::High,
            _ => Level::Low,
        };
        let _ = tell.try_send(Edge { at: event.timestamp, active: is_active(active, level) });
    })?;
    Ok(edges)
}

impl Edges for Input {
    async fn next(&mut self) -> Result<Edge, String> {
        loop {
            if let Some(edge) = self.edges.recv().await {
                return Ok(edge);
            }
            // The crate's thread ends when a signal (even a stop and continue) interrupts its wait,
            // and tells why only now.
            match self.pin.clear_async_interrupt() {
                Err(Error::Io(why)) if why.kind() == ErrorKind::Interrupted => {
                    let again = listen(&mut self.pin, self.active, self.debounce);
                    self.edges = again.map_err(|why| why.to_string())?;
                }
                Err(why) => return Err(why.to_string()),
                Ok(()) => return Err("the kernel gives no more edges for its line".to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(chip: Option<&str>, line: LineName) -> Line {
        Line { chip: chip.map(str::to_owned), line, active: Active::High }
    }

    #[test]
    fn only_lines_of_the_header_are_taken() {
        let named = |name: &str| LineName::Name(name.to_owned());
        assert_eq!(header_number(&line(None, named("GPIO17"))), Some(17));
        assert_eq!(header_number(&line(None, LineName::Offset(4))), Some(4));
        assert_eq!(header_number(&line(Some("pinctrl-rp1"), LineName::Offset(22))), Some(22));
        assert_eq!(header_number(&line(None, named("GPIO44"))), None);
        assert_eq!(header_number(&line(None, named("BUTTON"))), None);
        assert_eq!(header_number(&line(Some("gpio-sim.0"), LineName::Offset(1))), None);
    }

    #[test]
    fn a_line_that_is_active_low_is_off_when_high() {
        assert_eq!(level(Active::Low, false), Level::High);
        assert_eq!(level(Active::High, false), Level::Low);
        assert!(is_active(Active::Low, Level::Low));
    }
}
