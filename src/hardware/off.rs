//! Switches a board's outputs off and lets them go: for the moment after the daemon, however it ended.
//!
//! A line keeps its level, or falls back to an input, when its owner is killed; which of the two is the
//! chip's choice. Whoever claims it next can make sure.

use super::backend::Backend;
use super::{Drive, LineError, describe};
use crate::config::{LampPort, Line, Outputs};

/// One output, and whether it is off.
#[derive(Debug)]
pub struct SwitchedOff {
    /// `relay`, `lamp` or `chime`.
    pub output: &'static str,
    /// Its line or LED.
    pub place: String,
    /// Why it may still be on.
    pub outcome: Result<(), LineError>,
}

/// Switches these outputs off, the relay first, and gives them back. Nothing happens on a simulated panel.
/// Needs no runtime and takes a few milliseconds.
pub fn switch_off(outputs: &Outputs) -> Vec<SwitchedOff> {
    let line = match &outputs.lamp {
        Some(LampPort::Line(line)) => Some(line),
        Some(LampPort::Led(_)) | None => None,
    };
    let lines: Vec<&Line> = outputs.relay.iter().chain(line).chain(outputs.chime.iter()).collect();
    let backend = Backend::choose(outputs.panel, &lines);
    let mut done = Vec::new();
    if let Backend::Sim = backend {
        return done;
    }
    let mut off = |output, place, line: Result<Box<dyn Drive>, LineError>| {
        let outcome = line.and_then(|mut line| line.drive(false).map_err(LineError::Refused));
        done.push(SwitchedOff { output, place, outcome });
    };
    if let Some(line) = &outputs.relay {
        off("relay", describe(line), backend.output(line));
    }
    match &outputs.lamp {
        Some(LampPort::Line(line)) => off("lamp", describe(line), backend.output(line)),
        Some(LampPort::Led(name)) => off("lamp", name.clone(), backend.led(name)),
        None => {}
    }
    if let Some(line) = &outputs.chime {
        off("chime", describe(line), backend.output(line));
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Active, LineName, PanelKind};

    fn line() -> Option<Line> {
        let chip = Some("no-such-chip".to_owned());
        Some(Line { chip, line: LineName::Name("DOOR".to_owned()), active: Active::High })
    }

    #[test]
    fn every_output_is_tried_and_what_could_not_be_done_is_told() {
        let lamp = Some(LampPort::Led("no-such-led".to_owned()));
        let outputs = Outputs { panel: PanelKind::Gpio, relay: line(), lamp, chime: line() };
        let done = switch_off(&outputs);
        let tried: Vec<_> = done.iter().map(|off| (off.output, off.place.as_str())).collect();
        assert_eq!(
            tried,
            [
                ("relay", "no-such-chip/DOOR"),
                ("lamp", "no-such-led"),
                ("chime", "no-such-chip/DOOR")
            ]
        );
        assert!(done.iter().all(|off| off.outcome.is_err()), "{done:?}");
    }

    #[test]
    fn a_simulated_panel_has_nothing_to_switch_off() {
        let outputs = Outputs { panel: PanelKind::Sim, relay: line(), ..Outputs::default() };
        assert!(switch_off(&outputs).is_empty());
    }
}
