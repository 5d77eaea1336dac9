//! GPIO lines of a Raspberry Pi's header (crate `rppal`).
//!
//! Only the header of a board the crate knows; anything else is `chardev.rs`. Thin on purpose;
//! nothing here decides anything.

use super::LineError;
use super::button::{Edge, Edges, Stamp};
use super::output::Drive;
use crate::config::{Active, Bias, ButtonWiring, Line, LineName};
use rppal::gpio::{Error, Event, Gpio, InputPin, Level, OutputPin, Trigger};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

/// The header's registers: up to the Pi 4, and on the Pi 5.
const REGISTERS: [&str; 2] = ["/dev/gpiomem", "/dev/gpiomem0"];

/// How many edges wait for the button's task at most, more than any hand makes while a stalled task stands still. What
/// comes when they are so many is lost, and made up for by a look at the level.
const ROOM: usize = 256;

/// How long the crate's thread may take until it sees edges. The crate does not tell.
const READY: Duration = Duration::from_millis(200);

/// A level that lasts so long is one: longer than the kernel's debounce time, so that its change was an edge, too.
const STEADY: Duration = Duration::from_millis(15);

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
        let input = Input::listening(pin, active, debounce).map_err(fault)?;
        let now = is_active(active, input.pin.level());
        Ok((input, now))
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

/// A pin that can be listened to: the crate's, or a test's.
pub(super) trait Listened: Send + 'static {
    /// How it is now.
    fn level(&self) -> Level;

    /// Starts a thread that tells of each edge. It sees them some time later.
    fn listen(
        &mut self,
        debounce: Option<Duration>,
        tell: impl FnMut(Event) + Send + 'static,
    ) -> Result<(), Error>;

    /// Ends that thread. An error says why it had ended already.
    fn end(&mut self) -> Result<(), Error>;
}

impl Listened for InputPin {
    fn level(&self) -> Level {
        self.read()
    }

    fn listen(
        &mut self,
        debounce: Option<Duration>,
        tell: impl FnMut(Event) + Send + 'static,
    ) -> Result<(), Error> {
        self.set_async_interrupt(Trigger::Both, debounce, tell)
    }

    fn end(&mut self) -> Result<(), Error> {
        self.clear_async_interrupt()
    }
}

/// What the crate's thread tells of a line.
struct Wire {
    edges: mpsc::Receiver<Edge>,
    /// There were more edges than found room.
    lost: Arc<AtomicBool>,
}

impl Wire {
    fn listen<P: Listened>(
        pin: &mut P,
        active: Active,
        debounce: Option<Duration>,
    ) -> Result<Self, Error> {
        let (tell, edges) = mpsc::channel(ROOM);
        let lost = Arc::new(AtomicBool::new(false));
        let full = Arc::clone(&lost);
        pin.listen(debounce, move |event| {
            let level = match event.trigger {
                Trigger::RisingEdge => Level::High,
                _ => Level::Low,
            };
            let edge = Edge { at: Stamp::At(event.timestamp), active: is_active(active, level) };
            if tell.try_send(edge).is_err() {
                full.store(true, Ordering::Release);
            }
        })?;
        Ok(Self { edges, lost })
    }
}

/// A claimed input with both edges, read by the crate's own thread.
pub(super) struct Input<P: Listened = InputPin> {
    pin: P,
    active: Active,
    debounce: Option<Duration>,
    wire: Wire,
    /// When to look at the level, as edges may have been lost until then.
    look: Option<Instant>,
}

impl<P: Listened> Input<P> {
    fn listening(mut pin: P, active: Active, debounce: Option<Duration>) -> Result<Self, Error> {
        let wire = Wire::listen(&mut pin, active, debounce)?;
        Ok(Self { pin, active, debounce, wire, look: Some(Instant::now() + READY) })
    }

    fn listen_again(&mut self) -> Result<(), Error> {
        self.wire = Wire::listen(&mut self.pin, self.active, self.debounce)?;
        self.look = Some(Instant::now() + READY);
        Ok(())
    }

    /// What is to be told next; `None` when the crate's thread has ended.
    async fn seen(&mut self) -> Option<Edge> {
        loop {
            if self.wire.lost.swap(false, Ordering::AcqRel) {
                self.look = Some(Instant::now());
            }
            let Some(at) = self.look else {
                return self.wire.edges.recv().await;
            };
            if let Ok(seen) = timeout_at(at, self.wire.edges.recv()).await {
                return seen;
            }
            match self.wire.edges.try_recv() {
                // They were before what is seen now.
                Ok(edge) => return Some(edge),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) => {}
            }
            let level = self.pin.level();
            sleep(STEADY).await;
            if self.pin.level() == level {
                self.look = None;
                return Some(Edge { at: Stamp::Unseen, active: is_active(self.active, level) });
            }
        }
    }
}

impl<P: Listened> Edges for Input<P> {
    async fn next(&mut self) -> Result<Edge, String> {
        loop {
            if let Some(edge) = self.seen().await {
                return Ok(edge);
            }
            // The crate's thread ends when a signal (even a stop and continue) interrupts its wait,
            // and tells why only now.
            match self.pin.end() {
                Err(Error::Io(why)) if why.kind() == ErrorKind::Interrupted => {
                    self.listen_again().map_err(|why| why.to_string())?;
                }
                Err(why) => return Err(why.to_string()),
                Ok(()) => return Err("the kernel gives no more edges for its line".to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::lock;
    use super::*;
    use std::collections::VecDeque;
    use std::sync::Mutex;

    /// What a test does to a pin.
    struct Bench {
        level: Level,
        /// What it is for so many looks before that.
        glitches: VecDeque<Level>,
        tell: Option<Box<dyn FnMut(Event) + Send>>,
        stamps: u64,
    }

    #[derive(Clone)]
    struct BenchPin(Arc<Mutex<Bench>>);

    impl BenchPin {
        fn new() -> Self {
            let (glitches, tell) = (VecDeque::new(), None);
            Self(Arc::new(Mutex::new(Bench { level: Level::Low, glitches, tell, stamps: 0 })))
        }

        /// The level changes, and the crate's thread sees it.
        fn change(&self, level: Level) {
            let mut bench = lock(&self.0);
            bench.level = level;
            bench.stamps += 1;
            let trigger = match level {
                Level::High => Trigger::RisingEdge,
                Level::Low => Trigger::FallingEdge,
            };
            let timestamp = Duration::from_millis(bench.stamps);
            let tell = bench.tell.as_mut().expect("somebody listens");
            tell(Event { timestamp, seqno: 0, trigger });
        }

        /// A signal ends the crate's thread, and the level changes while nobody listens.
        fn interrupt(&self, level: Level) {
            let mut bench = lock(&self.0);
            (bench.level, bench.tell) = (level, None);
        }
    }

    impl Listened for BenchPin {
        fn level(&self) -> Level {
            let mut bench = lock(&self.0);
            bench.glitches.pop_front().unwrap_or(bench.level)
        }

        fn listen(
            &mut self,
            _: Option<Duration>,
            tell: impl FnMut(Event) + Send + 'static,
        ) -> Result<(), Error> {
            lock(&self.0).tell = Some(Box::new(tell));
            Ok(())
        }

        fn end(&mut self) -> Result<(), Error> {
            Err(Error::Io(ErrorKind::Interrupted.into()))
        }
    }

    fn input(pin: &BenchPin) -> Input<BenchPin> {
        Input::listening(pin.clone(), Active::High, None).expect("a bench can be listened to")
    }

    const fn unseen(active: bool) -> Edge {
        Edge { at: Stamp::Unseen, active }
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_lost_while_a_signal_interrupted_is_told_by_the_level() {
        let pin = BenchPin::new();
        let mut input = input(&pin);
        assert_eq!(input.next().await, Ok(unseen(false)), "looked at once the thread is ready");
        pin.change(Level::High);
        let pressed = Edge { at: Stamp::At(Duration::from_millis(1)), active: true };
        assert_eq!(input.next().await, Ok(pressed));
        pin.interrupt(Level::Low);
        let begun = Instant::now();
        assert_eq!(input.next().await, Ok(unseen(false)));
        assert!(begun.elapsed() >= READY, "no edge is lost between the look and the listening");
        pin.change(Level::High);
        let pressed = Edge { at: Stamp::At(Duration::from_millis(2)), active: true };
        assert_eq!(input.next().await, Ok(pressed));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_of_too_many_edges_is_told_by_the_level_after_those_that_found_room() {
        let pin = BenchPin::new();
        let mut input = input(&pin);
        assert_eq!(input.next().await, Ok(unseen(false)));
        for n in 0..=ROOM {
            pin.change(Level::from(n % 2 == 0));
        }
        for n in 0..ROOM {
            let edge = input.next().await.expect("the line is there");
            assert_eq!((edge.at == Stamp::Unseen, edge.active), (false, n % 2 == 0), "edge {n}");
        }
        assert_eq!(input.next().await, Ok(unseen(true)), "the one without room");
    }

    #[tokio::test(start_paused = true)]
    async fn a_glitch_at_the_moment_of_the_look_is_no_press() {
        let pin = BenchPin::new();
        lock(&pin.0).glitches = [Level::High].into();
        let mut input = input(&pin);
        assert_eq!(input.next().await, Ok(unseen(false)));
        assert!(lock(&pin.0).glitches.is_empty(), "it was looked at");
    }

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
