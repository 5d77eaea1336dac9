//! What is out of order at this door: a camera, a button, a line that has been down for too long.
//!
//! Says each fault once and its end once. It mends nothing; the lamp, the log and `status` show it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use super::indicator::Trouble;
use super::{Intercom, Report, UplinkId};

/// A line that is down for so long is a fault; a router that starts again is not.
pub const LINE_PATIENCE: Duration = Duration::from_secs(120);

/// Something of the door that may be out of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The camera gives no picture.
    Camera,
    /// The button is stuck, or its line tells nothing any more.
    Button,
    /// An uplink that ought to be up has been down for long.
    Line(UplinkId),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Camera => f.write_str("camera"),
            Self::Button => f.write_str("button"),
            Self::Line(uplink) => write!(f, "line {uplink}"),
        }
    }
}

/// A line somebody relies on, also while nobody rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Not up since the start, whose time is not known yet.
    New,
    Up,
    Down {
        fault_at: Instant,
    },
    /// Down, and told to be.
    Out,
}

/// The faults of the moment.
#[derive(Debug, Default)]
pub(super) struct Faults {
    told: BTreeSet<Part>,
    lines: BTreeMap<UplinkId, Line>,
}

impl Faults {
    /// Whether the fault is new.
    fn begin(&mut self, part: Part) -> bool {
        self.told.insert(part)
    }

    /// Whether there was such a fault.
    fn end(&mut self, part: Part) -> bool {
        self.told.remove(&part)
    }

    /// Whether that ends a fault.
    fn line_up(&mut self, uplink: UplinkId) -> bool {
        let Some(line) = self.lines.get_mut(&uplink) else { return false };
        *line = Line::Up;
        self.end(Part::Line(uplink))
    }

    fn line_down(&mut self, now: Instant, uplink: UplinkId) {
        if let Some(line) = self.lines.get_mut(&uplink)
            && *line == Line::Up
        {
            *line = Line::Down { fault_at: now + LINE_PATIENCE };
        }
    }

    /// The lines that have become a fault by now.
    fn tick(&mut self, now: Instant) -> Vec<Part> {
        let mut new = Vec::new();
        for (uplink, line) in &mut self.lines {
            match *line {
                Line::New => *line = Line::Down { fault_at: now + LINE_PATIENCE },
                Line::Down { fault_at } if fault_at <= now => {
                    *line = Line::Out;
                    new.push(Part::Line(*uplink));
                }
                Line::Down { .. } | Line::Up | Line::Out => {}
            }
        }
        new
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = self.lines.values().filter_map(|line| match line {
            Line::Down { fault_at } => Some(*fault_at),
            Line::New | Line::Up | Line::Out => None,
        });
        due.min()
    }

    /// What the faults mean to a visitor, if there are any.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        if self.told.is_empty() {
            return None;
        }
        let alone = !self.lines.is_empty() && self.lines.values().all(|line| *line == Line::Out);
        Some(match (alone, self.told.contains(&Part::Button)) {
            (true, _) => Trouble::Alone,
            (false, true) => Trouble::Deaf,
            (false, false) => Trouble::Bearable,
        })
    }

    pub(super) fn list(&self) -> Vec<Part> {
        self.told.iter().copied().collect()
    }
}

impl Intercom {
    /// Takes these uplinks for lines that ought to be up at all times, so that one that is not becomes a
    /// fault. To be said before the first input, whose time begins the watch.
    pub fn watch_lines(&mut self, uplinks: &[UplinkId]) {
        self.faults.lines = uplinks.iter().map(|id| (*id, Line::New)).collect();
    }

    pub(super) fn broken(&mut self, part: Part) {
        if self.faults.begin(part) {
            match part {
                Part::Camera => self.counters.camera_faults += 1,
                Part::Button => self.counters.button_faults += 1,
                Part::Line(_) => self.counters.line_faults += 1,
            }
            self.report(Report::Broken(part));
        }
    }

    pub(super) fn mended(&mut self, part: Part) {
        if self.faults.end(part) {
            self.report(Report::Mended(part));
        }
    }

    pub(super) fn line_up(&mut self, uplink: UplinkId) {
        if self.faults.line_up(uplink) {
            self.report(Report::Mended(Part::Line(uplink)));
        }
    }

    pub(super) fn line_down(&mut self, now: Instant, uplink: UplinkId) {
        self.faults.line_down(now, uplink);
    }

    pub(super) fn watch_over_lines(&mut self, now: Instant) {
        for part in self.faults.tick(now) {
            self.broken(part);
        }
    }
}
