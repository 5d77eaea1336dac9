//! The door as systemd runs it: at rest while set-up tries what it holds, and started again on every way out.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The door's unit.
pub const UNIT: &str = "intercomd.service";
/// How long systemd may take over one order: the unit has 15 s to stop and 60 s to start (systemd/intercomd.service).
const ORDER: Duration = Duration::from_secs(90);
/// Pause between two looks at an order that is carried out.
const LOOK: Duration = Duration::from_millis(50);
/// The exit code of a program ended by Ctrl-C, as shells have it.
const BROKEN_OFF: i32 = 130;

/// Gives systemd an order, in the words after `systemctl`. An error is a sentence.
pub type Systemctl<'a> = &'a dyn Fn(&[&str]) -> Result<(), String>;

/// Whether the door runs.
pub fn runs(systemctl: Systemctl<'_>) -> bool {
    systemctl(&["is-active", "--quiet", UNIT]).is_ok()
}

/// Has systemd start the door, now and at every boot.
///
/// # Errors
/// A sentence.
pub fn start(systemctl: Systemctl<'_>) -> Result<(), String> {
    systemctl(&["enable", UNIT])?;
    systemctl(&["restart", UNIT])
}

/// A door that ran and is at rest. It is started again when this is dropped.
pub struct Rest<'a>(Systemctl<'a>);

impl<'a> Rest<'a> {
    /// Stops the door.
    ///
    /// # Errors
    /// A sentence. A stop that was only late is made up for.
    pub fn begin(systemctl: Systemctl<'a>) -> Result<Self, String> {
        let rest = Self(systemctl);
        systemctl(&["stop", UNIT])?;
        Ok(rest)
    }
}

impl Drop for Rest<'_> {
    #[expect(clippy::print_stderr, reason = "the answer of a command line tool")]
    fn drop(&mut self) {
        if let Err(why) = (self.0)(&["start", UNIT]) {
            eprintln!(
                "intercomd setup: the door was stopped for its tests and does not start again: {why}; \
                 as root: systemctl start intercomd"
            );
        }
    }
}

/// The program systemctl itself.
///
/// # Errors
/// A sentence: it failed, or was not done in time.
pub fn systemctl(words: &[&str]) -> Result<(), String> {
    order("systemctl", words, ORDER)
}

/// Runs a program to its end, for so long at most.
pub(super) fn order(program: &str, words: &[&str], limit: Duration) -> Result<(), String> {
    let told = format!("`{program} {}`", words.join(" "));
    let child = Command::new(program).args(words).spawn();
    let mut child = child.map_err(|error| format!("{told} does not start ({error})"))?;
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("{told} failed ({status})")),
            Ok(None) if begun.elapsed() < limit => std::thread::sleep(LOOK.min(limit)),
            Ok(None) => {
                // What it ordered goes on without it. Reaped with this program, which ends soon.
                let _ = child.kill();
                return Err(format!("{told} was not done in {} s", limit.as_secs()));
            }
            Err(error) => return Err(format!("{told} is lost ({error})")),
        }
    }
}

/// From now on, whoever breaks this program off gets the door back first.
#[expect(clippy::print_stderr, reason = "the answer of a command line tool")]
pub fn start_when_broken_off() {
    if let Err(why) = listen() {
        eprintln!("intercomd setup: do not break it off now, the door would stay stopped ({why})");
    }
}

fn listen() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listening = runtime.enter();
    let interrupt = signal(SignalKind::interrupt())?;
    let terminate = signal(SignalKind::terminate())?;
    let hangup = signal(SignalKind::hangup())?;
    drop(listening);
    std::thread::Builder::new().name("break-off".to_owned()).spawn(move || {
        runtime.block_on(any(interrupt, terminate, hangup));
        // The lines first, which the door is about to claim.
        crate::hardware::all_outputs_off();
        // Without waiting for it: the door gets its devices when this program has ended.
        let _ = systemctl(&["--no-block", "start", UNIT]);
        std::process::exit(BROKEN_OFF);
    })?;
    Ok(())
}

async fn any(mut interrupt: Signal, mut terminate: Signal, mut hangup: Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
