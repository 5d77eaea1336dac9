//! The simulated panel: keys press the button, lines are remembered instead of driven.
//!
//! For a PC, a test or a board with no wires yet. `ctl press` presses any panel and is not here.

use super::Press;
use super::button::ring;
use super::output::Drive;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

/// A line that only remembers its level.
#[derive(Debug, Clone)]
pub(crate) struct SimLine(watch::Sender<bool>);

impl SimLine {
    pub(crate) fn new(on: bool) -> Self {
        Self(watch::Sender::new(on))
    }
}

impl Drive for SimLine {
    fn drive(&mut self, on: bool) -> Result<(), String> {
        self.0.send_replace(on);
        Ok(())
    }
}

#[cfg(test)]
impl SimLine {
    pub(crate) fn is_on(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) async fn until(&self, on: bool) {
        let mut level = self.0.subscribe();
        let seen = level.wait_for(|level| *level == on).await;
        seen.expect("the test holds the sender");
    }
}

/// Lets Enter on standard input press the button, if standard input is something a person or a
/// script can type into: a terminal or a pipe.
///
/// The thread is left to itself: it ends with its input, and a blocked read does not keep the process.
pub(crate) fn listen_to_keys(presses: mpsc::Sender<Press>) {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() && !is_pipe(&stdin) {
        debug!("standard input is neither a terminal nor a pipe: no keys");
        return;
    }
    let thread = std::thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || press_by_lines(BufReader::new(stdin), &presses));
    match thread {
        Ok(_) => info!("simulated panel: Enter presses the doorbell"),
        Err(why) => warn!("no keys: {why}; press with `intercomd ctl press`"),
    }
}

fn is_pipe(stdin: &std::io::Stdin) -> bool {
    let Ok(copy) = stdin.as_fd().try_clone_to_owned() else {
        return false;
    };
    let metadata = File::from(copy).metadata();
    metadata.is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// Every line is a press, until the input ends or nobody takes presses any more.
fn press_by_lines(mut input: impl BufRead, presses: &mpsc::Sender<Press>) {
    let mut line = Vec::new();
    while !presses.is_closed() {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(1..) => ring(presses),
            Ok(0) | Err(_) => break,
        }
    }
    debug!("keys have ended");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_enter_presses_and_the_end_of_the_input_only_ends_the_reader() {
        let (press, mut presses) = mpsc::channel(8);
        press_by_lines(&b"\nhello\n\xff\n"[..], &press);
        for _ in 0..3 {
            assert_eq!(presses.try_recv(), Ok(Press));
        }
        assert_eq!(presses.try_recv(), Err(mpsc::error::TryRecvError::Empty));
    }
}
