//! The task that feeds the debounce machine of one button and hands on its presses.
//!
//! The judgement is `debounce.rs`; the edges come from a back-end. Between edges the task sleeps
//! until the machine's next deadline, or for ever when it has none.

use super::ButtonEvent;
use super::debounce::{Debounce, Told};
use crate::config::ButtonTimes as Times;
use std::fmt;
use std::future::Future;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

/// When a line changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// By the kernel's monotonic clock. Only differences of it are used.
    At(Duration),
    /// Nobody saw it change, only how it is after that: it counts from when it is read.
    #[cfg_attr(
        not(any(feature = "rpi", test)),
        expect(dead_code, reason = "only the Raspberry Pi's way of reading loses edges")
    )]
    Unseen,
}

/// One change of a line, stamped by whoever saw it first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    /// When.
    pub(crate) at: Stamp,
    /// Whether the line is now in its active state.
    pub(crate) active: bool,
}

/// Where edges come from.
pub(crate) trait Edges: Send + 'static {
    /// The next edge; an error is final. Must be cancel safe: a dropped wait loses no edge.
    fn next(&mut self) -> impl Future<Output = Result<Edge, String>> + Send;
}

/// What the button does at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ButtonState {
    /// Nobody presses.
    Released,
    /// Somebody presses, or did a moment ago.
    Pressed,
    /// Held since before the door was there: no press.
    Held,
    /// Held for over a minute, which no finger does.
    Stuck,
    /// The line gives no edges any more.
    Broken(String),
}

impl ButtonState {
    /// Whether somebody has to look after it.
    pub fn is_fault(&self) -> bool {
        match self {
            Self::Stuck | Self::Broken(_) => true,
            Self::Released | Self::Pressed | Self::Held => false,
        }
    }
}

impl fmt::Display for ButtonState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Released => f.write_str("released"),
            Self::Pressed => f.write_str("pressed"),
            Self::Held => f.write_str("held since before the start"),
            Self::Stuck => f.write_str("stuck: held for over a minute"),
            Self::Broken(why) => write!(f, "broken: {why}"),
        }
    }
}

/// Brings the line's own clock and ours together.
///
/// An edge is judged by the kernel's stamp, because the reader may come late. What the line's clock
/// shows now is the last stamp plus the time since that edge was read, which is never ahead of the
/// truth: a late reader makes a press late, but never makes one out of a glitch.
struct LineClock {
    /// The last edge: its stamp, and what our machine was told for it.
    anchor: Option<(Duration, Duration)>,
    /// When `machine` was true.
    read: Instant,
    machine: Duration,
}

impl LineClock {
    fn new() -> Self {
        Self { anchor: None, read: Instant::now(), machine: Duration::ZERO }
    }

    fn now(&self) -> Duration {
        self.machine + self.read.elapsed()
    }

    fn stamp(&mut self, edge: Edge) -> Duration {
        let machine = match (edge.at, self.anchor) {
            (Stamp::At(at), Some((stamp, machine))) => machine + at.saturating_sub(stamp),
            (Stamp::At(_), None) | (Stamp::Unseen, _) => self.now(),
        };
        if let Stamp::At(at) = edge.at {
            self.anchor = Some((at, machine));
        }
        self.machine = machine;
        self.read = Instant::now();
        machine
    }

    fn sleep_until(&self, due: Duration) -> Instant {
        self.read + due.saturating_sub(self.machine)
    }
}

/// Runs until the edges end. `active` is the line's level when it was claimed.
pub(crate) async fn watch<E: Edges>(
    mut edges: E,
    active: bool,
    times: Times,
    events: mpsc::Sender<ButtonEvent>,
    state: watch::Sender<ButtonState>,
) {
    let mut clock = LineClock::new();
    let mut machine = Debounce::new(times, active, clock.now());
    if active {
        info!("the button is held already; this does not ring");
        state.send_replace(ButtonState::Held);
    }
    loop {
        let due = machine.deadline().map(|due| clock.sleep_until(due));
        let told = tokio::select! {
            // Edges that wait already come first: they may undo what the deadline would tell.
            biased;
            edge = edges.next() => match edge {
                Ok(edge) => machine.edge(clock.stamp(edge), edge.active),
                Err(why) => {
                    error!("the doorbell button does not work any more: {why}");
                    state.send_replace(ButtonState::Broken(why));
                    return;
                }
            },
            () = sleep_until(due) => machine.tick(clock.now()),
        };
        for told in told {
            match told {
                Told::Press => {
                    state.send_replace(ButtonState::Pressed);
                    tell(&events, ButtonEvent::Press);
                }
                Told::TooSoon => {
                    state.send_replace(ButtonState::Pressed);
                    debug!("a press so soon after the last one does not count");
                }
                Told::Long => tell(&events, ButtonEvent::LongPress),
                Told::Stuck => {
                    warn!(
                        "the button has been held for over a minute; look for a jammed button or a short in its wire"
                    );
                    state.send_replace(ButtonState::Stuck);
                }
                Told::Released => {
                    state.send_replace(ButtonState::Released);
                }
            }
        }
    }
}

/// Hands on what was done. Never waits: if earlier presses were not taken yet, this one adds nothing.
fn tell(events: &mpsc::Sender<ButtonEvent>, event: ButtonEvent) {
    match events.try_send(event) {
        Ok(()) => debug!("button: {event:?}"),
        Err(mpsc::error::TrySendError::Full(_)) => {
            warn!("a press was dropped: earlier presses have not been handled yet");
        }
        Err(mpsc::error::TrySendError::Closed(_)) => debug!("a press after the end was ignored"),
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBOUNCE: Duration = Duration::from_millis(30);
    const TIMES: Times = Times {
        debounce: DEBOUNCE,
        cooldown: Duration::from_millis(500),
        long_press: Some(Duration::from_secs(5)),
    };
    const PRESS: Option<ButtonEvent> = Some(ButtonEvent::Press);

    struct Fake(mpsc::Receiver<Edge>);

    impl Edges for Fake {
        async fn next(&mut self) -> Result<Edge, String> {
            self.0.recv().await.ok_or_else(|| "unplugged".to_owned())
        }
    }

    struct World {
        edges: mpsc::Sender<Edge>,
        presses: mpsc::Receiver<ButtonEvent>,
        state: watch::Receiver<ButtonState>,
    }

    fn world(active: bool) -> World {
        let (edges, fake) = mpsc::channel(16);
        let (press, presses) = mpsc::channel(4);
        let (tell, state) = watch::channel(ButtonState::Released);
        tokio::spawn(watch(Fake(fake), active, TIMES, press, tell));
        World { edges, presses, state }
    }

    impl World {
        async fn edge(&self, at_ms: u64, active: bool) {
            // An offset far from zero, as a kernel that is up for a day would stamp.
            let at = Duration::from_secs(86_400) + Duration::from_millis(at_ms);
            self.told(Edge { at: Stamp::At(at), active }).await;
        }

        /// The level was looked at, as after edges were lost.
        async fn level(&self, active: bool) {
            self.told(Edge { at: Stamp::Unseen, active }).await;
        }

        async fn told(&self, edge: Edge) {
            self.edges.send(edge).await.expect("the button task runs");
        }

        async fn until(&mut self, wanted: ButtonState) {
            let seen = self.state.wait_for(|state| *state == wanted).await;
            seen.expect("the button task runs");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_press_comes_through_when_the_line_stays_active() {
        let mut world = world(false);
        let start = Instant::now();
        world.edge(0, true).await;
        assert_eq!(world.presses.recv().await, PRESS);
        assert_eq!(start.elapsed(), DEBOUNCE);
        world.edge(400, false).await;
        world.until(ButtonState::Released).await;
        assert!(world.presses.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_glitch_read_late_is_still_a_glitch() {
        let mut world = world(false);
        world.edge(0, true).await;
        world.edge(5, false).await;
        world.edge(1_000, true).await;
        assert_eq!(world.presses.recv().await, PRESS);
        assert!(world.presses.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_press_and_release_read_late_still_ring() {
        let mut world = world(false);
        world.edge(0, true).await;
        world.edge(90, false).await;
        assert_eq!(world.presses.recv().await, PRESS);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_lost_release_the_level_frees_the_button_and_the_next_press_rings() {
        let mut world = world(false);
        world.edge(0, true).await;
        assert_eq!(world.presses.recv().await, PRESS);
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.level(false).await;
        world.until(ButtonState::Released).await;
        world.edge(10_000, true).await;
        assert_eq!(world.presses.recv().await, PRESS);
        world.edge(10_400, false).await;
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(*world.state.borrow(), ButtonState::Released, "and it is not called stuck");
        assert!(world.presses.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_level_read_before_any_edge_does_not_set_the_clock_of_those_that_follow() {
        let mut world = world(false);
        world.level(false).await;
        world.edge(0, true).await;
        world.edge(5, false).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.level(true).await;
        assert_eq!(world.presses.recv().await, PRESS, "one that was seen by its level alone");
        world.edge(1_400, false).await;
        world.until(ButtonState::Released).await;
        assert!(world.presses.try_recv().is_err(), "the glitch before it rang nobody");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_hold_is_a_press_then_a_long_press_then_stuck() {
        let mut world = world(false);
        let start = Instant::now();
        world.edge(0, true).await;
        assert_eq!(world.presses.recv().await, PRESS);
        assert_eq!(world.presses.recv().await, Some(ButtonEvent::LongPress));
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        world.until(ButtonState::Stuck).await;
        assert!(world.state.borrow().is_fault());
        world.edge(70_000, false).await;
        world.until(ButtonState::Released).await;
        assert!(!world.state.borrow().is_fault());
    }

    #[tokio::test(start_paused = true)]
    async fn a_jumpy_finger_rings_once() {
        let mut world = world(false);
        for at in [0, 150, 300, 450, 600] {
            world.edge(at, true).await;
            world.edge(at + 70, false).await;
        }
        assert_eq!(world.presses.recv().await, PRESS);
        assert_eq!(world.presses.recv().await, PRESS, "the cool-down is over after half a second");
        world.until(ButtonState::Released).await;
        assert!(world.presses.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_button_jammed_since_before_the_start_is_told_but_does_not_ring() {
        let mut world = world(true);
        world.until(ButtonState::Stuck).await;
        assert!(world.presses.try_recv().is_err());
        world.edge(0, false).await;
        world.until(ButtonState::Released).await;
        world.edge(2_000, true).await;
        assert_eq!(world.presses.recv().await, PRESS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_line_is_told_as_broken() {
        let World { edges, mut state, .. } = world(false);
        drop(edges);
        let broken = ButtonState::Broken("unplugged".to_owned());
        state.wait_for(|state| *state == broken).await.expect("told before the end");
    }

    #[tokio::test]
    async fn presses_nobody_takes_are_dropped_and_never_block() {
        let (press, mut presses) = mpsc::channel(1);
        tell(&press, ButtonEvent::Press);
        tell(&press, ButtonEvent::LongPress);
        assert_eq!(presses.recv().await, PRESS);
        assert!(presses.try_recv().is_err());
        drop(presses);
        tell(&press, ButtonEvent::Press);
    }
}
