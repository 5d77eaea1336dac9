//! What GPIO this machine has, as plain values: for `intercomd devices` and for error texts.
//!
//! Looks only: no line is claimed and none changes. Nothing here knows the profile.

use super::chardev;

/// A GPIO chip as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedChip {
    /// Its name, such as `gpiochip0`. Changes between kernels.
    pub name: String,
    /// Its label, such as `pinctrl-bcm2711`. Stays; this is what `chip` in a profile should say.
    /// Empty when the chip could not be asked.
    pub label: String,
    /// Its node, such as `/dev/gpiochip0`.
    pub path: String,
    /// Its lines in the order of their numbers. Empty when the chip could not be asked.
    pub lines: Vec<ListedLine>,
    /// Why the chip could not be asked, and what to do.
    pub fault: Option<String>,
}

/// A line of a chip as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedLine {
    /// Its number on the chip.
    pub offset: u32,
    /// Its name, such as `GPIO17`; many chips name none of their lines.
    pub name: Option<String>,
    /// Which way it works at present.
    pub way: Way,
    /// Whether somebody has it.
    pub hold: Hold,
}

/// Which way a line works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is read.
    Input,
    /// It is driven.
    Output,
}

/// Whether a line can be claimed.
///
/// The Raspberry Pi crate drives its lines past the kernel: a line it holds as an output is shown as
/// free. Its button is shown as held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// Nobody has it, as far as the kernel knows.
    Free,
    /// Somebody has it: the name it gave itself, which may be empty.
    Held(String),
}

/// Every GPIO chip of this machine with its lines, by the numbers of the chips. Empty where there is
/// none. A chip that may not be opened is listed with its fault.
pub fn list() -> Vec<ListedChip> {
    chardev::list()
}
