//! One output line that is off whenever nobody is in control of it, and timed pulses on it.
//!
//! Off at claim, off at close, off when dropped, off when anything panics. What the line is (relay,
//! lamp, chime) and how it is driven belong to others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::warn;

/// How many records `status` can show; the oldest go first.
const KEPT_RECORDS: usize = 32;

/// How long an emergency waits in all for outputs that other threads are busy with: much longer than any of them takes
/// to drive a line, and short beside a relay left on.
const EMERGENCY: Duration = Duration::from_millis(50);

/// A claimed line of some back-end.
pub(crate) trait Drive: Send {
    /// Makes the line active or inactive.
    fn drive(&mut self, on: bool) -> Result<(), String>;
}

/// Something an output was told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputRecord {
    /// Which output: `relay`, `lamp` or `chime`.
    pub output: &'static str,
    /// `on`, `off`, or the lamp's pattern.
    pub value: &'static str,
    /// When.
    pub at: SystemTime,
}

/// The last things outputs were told, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records(Arc<Mutex<VecDeque<OutputRecord>>>);

impl Records {
    pub(crate) fn add(&self, output: &'static str, value: &'static str) {
        let mut records = lock(&self.0);
        if records.len() == KEPT_RECORDS {
            records.pop_front();
        }
        let at = SystemTime::now();
        records.push_back(OutputRecord { output, value, at });
    }

    pub(crate) fn list(&self) -> Vec<OutputRecord> {
        lock(&self.0).iter().cloned().collect()
    }
}

/// A line is claimed until it is closed; a closed one stays off.
enum Hold {
    Claimed(Box<dyn Drive>),
    Closed,
}

struct State {
    name: &'static str,
    hold: Hold,
    on: bool,
    /// Why the line did not do what it was told last, if it did not.
    fault: Option<String>,
    /// Where changes are recorded. The lamp's blinking is not worth it.
    records: Option<Records>,
}

impl State {
    fn set(&mut self, on: bool) {
        let Hold::Claimed(line) = &mut self.hold else {
            return;
        };
        match line.drive(on) {
            Err(why) => {
                // Once: a lamp blinks four times a second.
                if self.fault.is_none() {
                    warn!("the {} does not follow: {why}", self.name);
                }
                self.fault = Some(why);
            }
            Ok(()) => self.fault = None,
        }
        if self.on != on
            && let Some(records) = &self.records
        {
            records.add(self.name, if on { "on" } else { "off" });
        }
        self.on = on;
    }

    fn close(&mut self) {
        self.set(false);
        self.hold = Hold::Closed;
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.close();
    }
}

/// A shared handle on one output.
#[derive(Clone)]
pub(crate) struct Output(Arc<Mutex<State>>);

impl Output {
    /// Takes a line over and switches it off, whatever it was before.
    pub(crate) fn new(name: &'static str, line: Box<dyn Drive>, records: Option<Records>) -> Self {
        let mut state = State { name, hold: Hold::Claimed(line), on: false, fault: None, records };
        state.set(false);
        Self(Arc::new(Mutex::new(state)))
    }

    /// Also switched off by [`all_outputs_off`], and when any thread panics.
    pub(crate) fn guarded(self) -> Self {
        GUARDED.watch(&self);
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let earlier = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                // With `panic = "abort"` no destructor runs after this.
                all_outputs_off();
                earlier(info);
            }));
        });
        self
    }

    /// On or off. Does nothing once the output is closed.
    pub(crate) fn set(&self, on: bool) {
        lock(&self.0).set(on);
    }

    /// Off for good.
    pub(crate) fn close(&self) {
        lock(&self.0).close();
    }

    pub(crate) fn is_on(&self) -> bool {
        lock(&self.0).on
    }

    /// Why the line did not do what it was told last, if it did not.
    pub(crate) fn fault(&self) -> Option<String> {
        lock(&self.0).fault.clone()
    }
}

/// The outputs to switch off in an emergency.
struct Guarded(Mutex<Vec<Weak<Mutex<State>>>>);

static GUARDED: Guarded = Guarded(Mutex::new(Vec::new()));

impl Guarded {
    fn watch(&self, output: &Output) {
        let mut outputs = lock(&self.0);
        outputs.retain(|output| output.strong_count() > 0);
        outputs.push(Arc::downgrade(&output.0));
    }

    /// Waits no longer than `patience`: the panicking thread may itself hold one of the locks.
    fn off(&self, patience: Duration) {
        let begun = Instant::now();
        while !self.off_if_free() && begun.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Switches off what nobody else is busy with. Whether that was all.
    fn off_if_free(&self) -> bool {
        let outputs = match self.0.try_lock() {
            Ok(outputs) => outputs,
            Err(std::sync::TryLockError::Poisoned(outputs)) => outputs.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return false,
        };
        let mut all = true;
        for output in outputs.iter().filter_map(Weak::upgrade) {
            match output.try_lock() {
                Ok(mut state) => state.close(),
                Err(std::sync::TryLockError::Poisoned(state)) => state.into_inner().close(),
                Err(std::sync::TryLockError::WouldBlock) => all = false,
            };
        }
        all
    }
}

/// Switches every real output off, for good. For ends that run no destructors, such as
/// `std::process::exit`; a panic calls it by itself.
pub fn all_outputs_off() {
    GUARDED.off(EMERGENCY);
}

/// Timed pulses on one output, given by a task of its own.
pub(crate) struct Pulses {
    output: Output,
    ask: mpsc::Sender<Duration>,
    task: AbortHandle,
}

impl Pulses {
    /// No pulse is ever longer than `longest`. Must be called inside a tokio runtime.
    pub(crate) fn new(output: Output, longest: Duration) -> Self {
        // One place: a pulse asked for while another runs is not wanted, see `play`.
        let (ask, asked) = mpsc::channel(1);
        let task = tokio::spawn(play(output.clone(), asked, longest)).abort_handle();
        Self { output, ask, task }
    }

    /// Starts a pulse. One that is asked for while the output is on is dropped: two joined pulses
    /// would keep a door open for longer than either.
    pub(crate) fn fire(&self, length: Duration) {
        if self.ask.try_send(length).is_err() {
            tracing::debug!("a pulse was dropped: the output is busy");
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.output.is_on()
    }

    /// Why the line did not do what it was told last, if it did not.
    pub(crate) fn fault(&self) -> Option<String> {
        self.output.fault()
    }
}

impl Drop for Pulses {
    fn drop(&mut self) {
        self.task.abort();
        self.output.close();
    }
}

async fn play(output: Output, mut asked: mpsc::Receiver<Duration>, longest: Duration) {
    while let Some(length) = asked.recv().await {
        output.set(true);
        tokio::time::sleep(length.min(longest)).await;
        output.set(false);
        // A line that did not take that is told again, for as long as it needs: the strike is under power.
        let mut pause = Duration::from_millis(100);
        while output.fault().is_some() {
            tokio::time::sleep(pause).await;
            output.set(false);
            pause = (pause * 2).min(Duration::from_secs(2));
        }
        while asked.try_recv().is_ok() {}
    }
}

/// A poisoned lock still guards a line that must be switched off.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::sim::SimLine;
    use super::*;

    fn values(records: &Records) -> Vec<&'static str> {
        records.list().iter().map(|record| record.value).collect()
    }

    #[test]
    fn an_output_is_off_from_the_claim_on_and_off_for_good_after_close() {
        let line = SimLine::new(true);
        let output = Output::new("relay", Box::new(line.clone()), None);
        assert!(!line.is_on());
        output.set(true);
        assert!(line.is_on());
        let other = output.clone();
        output.close();
        assert!(!line.is_on());
        other.set(true);
        assert!(!line.is_on());
    }

    #[test]
    fn a_dropped_output_is_off() {
        let line = SimLine::new(false);
        let output = Output::new("relay", Box::new(line.clone()), None);
        output.set(true);
        drop(output);
        assert!(!line.is_on());
    }

    #[test]
    fn an_emergency_switches_every_guarded_output_off() {
        let line = SimLine::new(false);
        let output = Output::new("relay", Box::new(line.clone()), None);
        let guarded = Guarded(Mutex::new(Vec::new()));
        guarded.watch(&output);
        output.set(true);
        guarded.off(EMERGENCY);
        assert!(!line.is_on());
        output.set(true);
        assert!(!line.is_on());
    }

    #[test]
    fn an_output_another_thread_is_busy_with_is_switched_off_all_the_same() {
        let (line, other) = (SimLine::new(false), SimLine::new(false));
        let output = Output::new("relay", Box::new(line.clone()), None);
        let second = Output::new("chime", Box::new(other.clone()), None);
        let guarded = Guarded(Mutex::new(Vec::new()));
        guarded.watch(&output);
        guarded.watch(&second);
        output.set(true);
        second.set(true);
        std::thread::scope(|scope| {
            let busy = lock(&output.0);
            // So patient that a slow machine changes nothing.
            let emergency = scope.spawn(|| guarded.off(Duration::from_secs(60)));
            std::thread::sleep(Duration::from_millis(10));
            drop(busy);
            emergency.join().expect("no panic");
        });
        assert!(!line.is_on());
        assert!(!other.is_on());
    }

    #[test]
    fn an_emergency_does_not_wait_for_ever_and_leaves_no_free_output_on() {
        let (line, other) = (SimLine::new(false), SimLine::new(false));
        let output = Output::new("relay", Box::new(line.clone()), None);
        let second = Output::new("chime", Box::new(other.clone()), None);
        let guarded = Guarded(Mutex::new(Vec::new()));
        guarded.watch(&output);
        guarded.watch(&second);
        second.set(true);
        let busy = lock(&output.0);
        let begun = Instant::now();
        guarded.off(EMERGENCY);
        assert!(begun.elapsed() >= EMERGENCY);
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        drop(busy);
        assert!(!other.is_on());
    }

    #[test]
    fn a_panic_switches_guarded_outputs_off() {
        let line = SimLine::new(false);
        let output = Output::new("relay", Box::new(line.clone()), None).guarded();
        output.set(true);
        let thread = std::thread::spawn(|| panic!("a panic this test wants"));
        assert!(thread.join().is_err());
        assert!(!line.is_on());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pulse_is_never_longer_than_the_longest() {
        let line = SimLine::new(false);
        let records = Records::default();
        let output = Output::new("relay", Box::new(line.clone()), Some(records.clone()));
        let pulses = Pulses::new(output, Duration::from_secs(10));
        pulses.fire(Duration::from_secs(3_600));
        let mut on = Duration::ZERO;
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if line.is_on() {
                on += Duration::from_millis(100);
                // Impatient people press the opener again and again.
                pulses.fire(Duration::from_secs(3_600));
            } else {
                break;
            }
        }
        assert!(on <= Duration::from_secs(10), "{on:?}");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(values(&records), ["on", "off"]);
        assert!(!pulses.is_on());
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_pulses_in_the_middle_of_one_switches_off() {
        let line = SimLine::new(false);
        let output = Output::new("relay", Box::new(line.clone()), None);
        let pulses = Pulses::new(output, Duration::from_secs(10));
        pulses.fire(Duration::from_secs(3));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(line.is_on());
        drop(pulses);
        assert!(!line.is_on());
    }

    #[test]
    fn only_the_last_records_are_kept() {
        let records = Records::default();
        for _ in 0..100 {
            records.add("chime", "on");
        }
        records.add("chime", "off");
        let list = records.list();
        assert_eq!(list.len(), KEPT_RECORDS);
        assert_eq!(list.last().map(|record| record.value), Some("off"));
    }
}
