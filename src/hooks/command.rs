//! Programs that are run at events: without a shell, with an environment of their own, the event as JSON
//! on standard input, and an end after their timeout, for all they have started too.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::info;

use super::body;
use super::error::HookError;
use super::event::Told;
use super::outbox::{Closing, Outbox, Parcel};
use crate::config::CommandHook;

/// Where a program finds others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Bytes of what a program complains of that are kept, and characters that are shown.
const COMPLAINT: usize = 4096;
const SHOWN: usize = 200;
/// How long is listened for last words after a program has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs one program at its events until the hooks are closed. `programs`: how many may run at once, of all.
pub(super) async fn run(
    hook: CommandHook,
    outbox: Arc<Outbox>,
    programs: Arc<Semaphore>,
    mut closing: Closing,
) {
    let mut running = FuturesUnordered::new();
    let mut in_hand: Option<Parcel> = None;
    let mut is_open = true;
    loop {
        tokio::select! {
            next = outbox.next(&mut closing), if is_open && in_hand.is_none() => match next {
                Some(item) => in_hand = Some(item.what),
                None => is_open = false,
            },
            // The room is never closed, so there is always a place some day.
            Ok(place) = programs.clone().acquire_owned(), if in_hand.is_some() => {
                if let Some(parcel) = in_hand.take() {
                    running.push(async {
                        let _place = place;
                        let ended = once(&hook, &parcel.told).await;
                        (parcel, ended)
                    });
                }
            }
            Some((parcel, ended)) = running.next(), if !running.is_empty() => {
                let (parcel, ended): (Parcel, Result<String, HookError>) = (parcel, ended);
                match ended {
                    Ok(complaint) => {
                        if !complaint.is_empty() {
                            info!("{} says: {complaint}", outbox.name());
                        }
                        outbox.sent(&parcel.told);
                    }
                    Err(error) => {
                        outbox.trouble(&error);
                        outbox.gave_up(&parcel.told);
                    }
                }
            }
            else => return,
        }
    }
}

/// Runs it once. The first line of its complaints, which may come with success.
async fn once(hook: &CommandHook, told: &Told) -> Result<String, HookError> {
    let (program, arguments) = hook
        .run
        .split_first()
        .ok_or_else(|| HookError::NoStart { why: "it has no name".to_owned() })?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .envs(body::environment(told))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .process_group(0)
        .spawn()
        .map_err(|error| HookError::NoStart { why: error.to_string() })?;
    let family = Family::of(&child);
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let words = Mutex::new(Vec::new());
    let complaint = || first_line(&words.lock().unwrap_or_else(PoisonError::into_inner));
    let mut talking =
        Box::pin(async { tokio::join!(feed(stdin, body::json(told)), listen(stderr, &words)) });
    let waiting = async {
        let mut has_talked = false;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                _ = &mut talking, if !has_talked => has_talked = true,
            }
        };
        // What it has left behind ends here, and lets go of the pipe.
        drop(family);
        if !has_talked {
            // Something that has left the family may hold the pipe for ever.
            let _ = timeout(LAST_WORDS, &mut talking).await;
        }
        status
    };
    match timeout(hook.timeout, waiting).await {
        Ok(Ok(status)) if status.success() => Ok(complaint()),
        Ok(Ok(status)) => {
            Err(HookError::Failed { status: status.to_string(), complaint: complaint() })
        }
        Ok(Err(error)) => {
            Err(HookError::Failed { status: error.to_string(), complaint: complaint() })
        }
        Err(_) => Err(HookError::Ended { after: hook.timeout, complaint: complaint() }),
    }
}

/// The program and all it has started, which end with this.
struct Family(Option<Pid>);

impl Family {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // All gone already is the usual case.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

async fn feed(stdin: Option<ChildStdin>, json: String) {
    if let Some(mut stdin) = stdin {
        // A program need not read.
        let _ = stdin.write_all(format!("{json}\n").as_bytes()).await;
    }
}

/// Keeps the beginning and reads on to the end, so that the program never waits for us.
async fn listen(stderr: Option<ChildStderr>, words: &Mutex<Vec<u8>>) {
    let Some(mut stderr) = stderr else { return };
    let mut chunk = vec![0; COMPLAINT];
    while let Ok(count @ 1..) = stderr.read(&mut chunk).await {
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        let room = COMPLAINT.saturating_sub(words.len()).min(count);
        words.extend_from_slice(&chunk[..room]);
    }
}

fn first_line(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().chars().filter(|letter| !letter.is_control()).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_program_says_one_short_line_is_shown() {
        assert_eq!(first_line(b"\n  no \x1b[31mred\xff\r\nmore"), "no [31mred\u{fffd}");
        assert_eq!(first_line("ü".repeat(3000).as_bytes()).chars().count(), 200);
        assert_eq!(first_line(b""), "");
    }
}
