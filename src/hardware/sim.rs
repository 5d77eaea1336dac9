//! The simulated panel: keys press the button, lines are remembered instead of driven.
//!
//! For a PC, a test or a board with no wires yet. `ctl press` presses any panel and is not here.

use super::button::{Edge, Edges, Stamp};
use super::output::Drive;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
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

/// How long a finger taps.
const TAP: Duration = Duration::from_millis(100);

/// What a line of text does to the button.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// Press and let go.
    Tap,
    /// Press, and let go at the next key.
    Hold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finger {
    Away,
    Taps { until: Instant },
    Holds,
}

/// The button of a simulated panel: edges as a wire would give them.
pub(super) struct Fingers {
    keys: mpsc::Receiver<Key>,
    start: Instant,
    finger: Finger,
}

/// A button for keys, and where they go. A key waits until the one before it was taken.
pub(super) fn keys() -> (mpsc::Sender<Key>, Fingers) {
    let (press, keys) = mpsc::channel(1);
    (press, Fingers { keys, start: Instant::now(), finger: Finger::Away })
}

impl Edges for Fingers {
    async fn next(&mut self) -> Result<Edge, String> {
        let active = match self.finger {
            Finger::Away => {
                self.finger = match self.keys.recv().await {
                    Some(Key::Tap) => Finger::Taps { until: Instant::now() + TAP },
                    Some(Key::Hold) => Finger::Holds,
                    // Nobody types any more; `ctl press` still works.
                    None => std::future::pending().await,
                };
                true
            }
            Finger::Taps { until } => {
                tokio::time::sleep_until(until).await;
                self.finger = Finger::Away;
                false
            }
            Finger::Holds => {
                self.keys.recv().await;
                self.finger = Finger::Away;
                false
            }
        };
        Ok(Edge { at: Stamp::At(self.start.elapsed()), active })
    }
}

/// Lets Enter on standard input press the button, if standard input is something a person or a
/// script can type into: a terminal or a pipe. The word `hold` holds it until the next line.
///
/// The thread is left to itself: it ends with its input, and a blocked read does not keep the process.
pub(super) fn listen_to_keys(keys: mpsc::Sender<Key>) {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() && !is_pipe(&stdin) {
        debug!("standard input is neither a terminal nor a pipe: no keys");
        return;
    }
    let thread = std::thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || press_by_lines(BufReader::new(stdin), &keys));
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

/// Every line is a key, until the input ends or nobody takes keys any more.
fn press_by_lines(mut input: impl BufRead, keys: &mpsc::Sender<Key>) {
    let mut line = Vec::new();
    while !keys.is_closed() {
        line.clear();
        let key = match input.read_until(b'\n', &mut line) {
            Ok(1..) if line.trim_ascii() == b"hold" => Key::Hold,
            Ok(1..) => Key::Tap,
            Ok(0) | Err(_) => break,
        };
        if keys.blocking_send(key).is_err() {
            break;
        }
    }
    debug!("keys have ended");
}

#[cfg(test)]
mod tests {
    use super::super::button::{self, ButtonState};
    use super::super::{ButtonEvent, ButtonTimes};
    use super::*;

    #[test]
    fn every_line_is_a_key_and_the_end_of_the_input_only_ends_the_reader() {
        let (press, mut keys) = mpsc::channel(8);
        press_by_lines(&b"\nhello\n\xff\nhold\r\n"[..], &press);
        for key in [Key::Tap, Key::Tap, Key::Tap, Key::Hold] {
            assert_eq!(keys.try_recv(), Ok(key));
        }
        assert_eq!(keys.try_recv(), Err(mpsc::error::TryRecvError::Empty));
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_judged_like_a_wire() {
        let (press, edges) = keys();
        let (tell, mut events) = mpsc::channel(8);
        let (state_in, mut state) = watch::channel(ButtonState::Released);
        tokio::spawn(button::watch(edges, false, ButtonTimes::default(), tell, state_in));
        for key in [Key::Tap, Key::Tap, Key::Hold] {
            press.send(key).await.expect("the button listens");
        }
        // The second tap and the hold's press fall into the cool-down.
        assert_eq!(events.recv().await, Some(ButtonEvent::Press));
        assert_eq!(events.recv().await, Some(ButtonEvent::LongPress));
        let stuck = state.wait_for(|state| *state == ButtonState::Stuck).await;
        drop(stuck.expect("the button is watched"));
        press.send(Key::Tap).await.expect("the button listens");
        let free = state.wait_for(|state| *state == ButtonState::Released).await;
        drop(free.expect("the button is watched"));
        assert!(events.try_recv().is_err());
    }
}
