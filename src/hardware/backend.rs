//! Who drives the panel's lines, and what happens where the first choice does not do.
//!
//! The Raspberry Pi crate is taken for the header of a board it knows, and is never the only way: a
//! board it does not know, registers it may not map (/dev/gpiomem missing), or a single line it
//! cannot claim go to the GPIO character device.

#[cfg(feature = "rpi")]
use super::rpi;
use super::{LineError, Watched, chardev, led, output::Drive, sim};
use crate::config::{ButtonWiring, Line, PanelKind};
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;
#[cfg(feature = "rpi")]
use tracing::info;

/// The part of the debounce time that the kernel takes over, where it can: enough to spare us the
/// storm of edges of a bouncing contact, little enough to be no delay anybody notices.
const KERNEL_DEBOUNCE: Duration = Duration::from_millis(10);

/// Who drives the lines.
pub(super) enum Backend {
    #[cfg(feature = "rpi")]
    Rpi(rpi::Header),
    Chardev,
    Sim,
}

impl Backend {
    /// Chooses for these lines.
    pub(super) fn choose(panel: PanelKind, lines: &[&Line]) -> Self {
        match panel {
            PanelKind::Sim => Self::Sim,
            PanelKind::Gpio => Self::gpio(lines),
        }
    }

    #[cfg(feature = "rpi")]
    fn gpio(lines: &[&Line]) -> Self {
        if !lines.iter().all(|line| rpi::header_number(line).is_some()) {
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
    fn gpio(_lines: &[&Line]) -> Self {
        Self::Chardev
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            #[cfg(feature = "rpi")]
            Self::Rpi(_) => "rpi",
            Self::Chardev => "chardev",
            Self::Sim => "sim",
        }
    }

    /// Claims an output, inactive from the first moment.
    pub(super) fn output(&self, line: &Line) -> Result<Box<dyn Drive>, LineError> {
        match self {
            #[cfg(feature = "rpi")]
            Self::Rpi(header) => {
                not_held(line)?;
                header.output(line).or_else(|why| {
                    left_to_chardev(line, &why);
                    chardev::output(line)
                })
            }
            Self::Chardev => chardev::output(line),
            Self::Sim => Ok(Box::new(sim::SimLine::new(false))),
        }
    }

    /// Claims an LED of the kernel, dark from the first moment.
    pub(super) fn led(&self, name: &str) -> Result<Box<dyn Drive>, LineError> {
        match self {
            Self::Sim => Ok(Box::new(sim::SimLine::new(false))),
            _ => Ok(Box::new(led::Led::claim(Path::new(led::LEDS), name)?)),
        }
    }

    /// Claims the button and begins to listen.
    pub(super) fn button(
        &self,
        wiring: &ButtonWiring,
        events: mpsc::Sender<super::ButtonEvent>,
    ) -> Result<Watched, LineError> {
        let times = wiring.times;
        let debounce = Some(KERNEL_DEBOUNCE.min(times.debounce / 2)).filter(|time| !time.is_zero());
        match self {
            #[cfg(feature = "rpi")]
            Self::Rpi(header) => {
                not_held(&wiring.line)?;
                match header.button(wiring, debounce) {
                    Ok((edges, active)) => Ok(Watched::new(edges, active, times, events)),
                    Err(why) => {
                        left_to_chardev(&wiring.line, &why);
                        let (edges, active) = chardev::button(wiring, debounce)?;
                        Ok(Watched::new(edges, active, times, events))
                    }
                }
            }
            Self::Chardev => {
                let (edges, active) = chardev::button(wiring, debounce)?;
                Ok(Watched::new(edges, active, times, events))
            }
            Self::Sim => {
                let (keys, edges) = sim::keys();
                let mut watched = Watched::new(edges, false, times, events);
                watched.keys = Some(keys);
                Ok(watched)
            }
        }
    }
}

/// The crate drives its lines past the kernel and would not notice that an overlay has one.
#[cfg(feature = "rpi")]
fn not_held(line: &Line) -> Result<(), LineError> {
    match chardev::holder(line) {
        Some(who) => Err(LineError::Busy(who)),
        None => Ok(()),
    }
}

#[cfg(feature = "rpi")]
fn left_to_chardev(line: &Line, why: &LineError) {
    info!("{} is left to the GPIO character device: {why}", super::describe(line));
}
