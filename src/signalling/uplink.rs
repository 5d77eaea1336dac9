//! The task that owns one uplink's socket: WebSocket on one side, the session on the other.
//!
//! It decides nothing. It sleeps until something arrives or the session's next deadline, so an idle uplink
//! costs one wake-up per keepalive.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tracing::{Instrument, debug, error, info_span, trace};

pub use super::connect::{Key, PipeMaker, Transport};
use super::connect::{Socket, open};
use super::error::SignallingError;
use super::session::{Input, Output, Session, Setup};
use super::status::UplinkStatus;
use super::timings::Timings;
use crate::intercom::{self, UplinkCommand, UplinkEvent, UplinkId};

/// Commands waiting for the task. Full means that the task is stuck; `try_command` then hands the command
/// back, and its sender treats it as undelivered.
const COMMANDS: usize = 64;
/// How long `stop` waits for the task, which itself closes within `Timings::close`.
const STOP: Duration = Duration::from_secs(2);

/// The owner's end of an uplink. Dropping it stops the uplink in the background.
#[derive(Debug)]
pub struct UplinkHandle {
    id: UplinkId,
    commands: mpsc::Sender<UplinkCommand>,
    status: watch::Receiver<UplinkStatus>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl UplinkHandle {
    /// Which uplink this is.
    pub fn id(&self) -> UplinkId {
        self.id
    }

    /// Asks the uplink for something, without waiting.
    ///
    /// # Errors
    /// Hands the command back when the uplink takes none: treat it as undelivered.
    pub fn try_command(&self, command: UplinkCommand) -> Result<(), UplinkCommand> {
        self.commands.try_send(command).map_err(|refused| refused.into_inner())
    }

    /// What the uplink shows of itself; current before each event that it sends.
    pub fn status(&self) -> watch::Receiver<UplinkStatus> {
        self.status.clone()
    }

    /// Leaves the channel, closes the socket and waits for both, at most 2 s.
    pub async fn stop(self) {
        let Self { id, stop, mut task, .. } = self;
        // A task that has ended already needs no word.
        let _ = stop.send(());
        match timeout(STOP, &mut task).await {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => error!(uplink = %id, "the uplink task failed: {panic}"),
            Err(_) => {
                debug!(uplink = %id, "the uplink task did not stop in time");
                task.abort();
            }
        }
    }
}

/// One uplink's task.
pub struct Uplink {
    id: UplinkId,
    transport: Transport,
    key: Key,
    session: Session,
    line: Line,
    inbox: mpsc::Sender<intercom::Input>,
    commands: mpsc::Receiver<UplinkCommand>,
    status: watch::Sender<UplinkStatus>,
}

impl Uplink {
    /// Starts an uplink. `channel` and the transport's origin have passed the checks of `config::names`.
    /// Without `arm` it connects only while `Join` is wanted. Must be called inside a tokio runtime.
    ///
    /// Events go to `inbox`; while it is full the uplink waits, and reads no further frames meanwhile.
    pub fn spawn(
        id: UplinkId,
        transport: Transport,
        key: Key,
        channel: String,
        arm: bool,
        inbox: mpsc::Sender<intercom::Input>,
    ) -> UplinkHandle {
        Self::spawn_timed(Timings::default(), id, transport, key, channel, arm, inbox)
    }

    /// Like [`Uplink::spawn`] with other times, for tests.
    pub fn spawn_timed(
        timings: Timings,
        id: UplinkId,
        transport: Transport,
        key: Key,
        channel: String,
        arm: bool,
        inbox: mpsc::Sender<intercom::Input>,
    ) -> UplinkHandle {
        // The first to come installs it; all of this program uses the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let setup = Setup {
            name: id.name(),
            channel,
            arm,
            request_prefix: uuid::Uuid::new_v4().simple().to_string(),
            luck: Box::new(luck),
            timings,
        };
        let session = Session::new(Instant::now().into_std(), setup);
        let (commands_in, commands) = mpsc::channel(COMMANDS);
        let (status, status_out) = watch::channel(session.status());
        let (stop, stopped) = oneshot::channel();
        let line = Line::Cut;
        let uplink = Self { id, transport, key, session, line, inbox, commands, status };
        let span = info_span!("uplink", name = id.name());
        let task = tokio::spawn(uplink.run(stopped).instrument(span));
        UplinkHandle { id, commands: commands_in, status: status_out, stop, task }
    }

    async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut is_stopping = false;
        while self.carry_out().await {
            let deadline = self.session.poll_timeout().map(Instant::from_std);
            let input = tokio::select! {
                biased;
                // Also when the handle was dropped.
                _ = &mut stop, if !is_stopping => {
                    is_stopping = true;
                    Input::Stop
                }
                () = wait(deadline) => Input::Tick,
                Some(command) = self.commands.recv() => Input::Command(command),
                input = self.line.next() => input,
            };
            self.session.handle(Instant::now().into_std(), input);
        }
    }

    /// Does what the session wants. `false` ends the task.
    async fn carry_out(&mut self) -> bool {
        let mut events = Vec::new();
        let mut goes_on = true;
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Open => {
                    let attempt = open(self.transport.clone(), self.key.clone());
                    self.line = Line::Opening(Box::pin(attempt));
                }
                Output::Frame(text) => self.line.send(Message::text(text)),
                Output::Close(code) => {
                    let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
                    self.line.send(Message::Close(Some(frame)));
                }
                Output::Drop => self.line = Line::Cut,
                Output::Event(event) => events.push(event),
                Output::Stopped => goes_on = false,
            }
        }
        let status = self.session.status();
        self.status.send_if_modified(|shown| {
            let is_new = *shown != status;
            *shown = status;
            is_new
        });
        for event in events {
            goes_on &= self.tell(event).await;
        }
        goes_on
    }

    /// Waits for room in the inbox without a deadline of its own: the daemon's loop never waits for a task,
    /// and its watchdog ends a loop that hangs.
    async fn tell(&mut self, event: UplinkEvent) -> bool {
        trace!(?event, "tells the daemon");
        self.inbox.send(intercom::Input::Uplink(self.id, event)).await.is_ok()
    }
}

async fn wait(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// A random number from 0 to 1.
fn luck() -> f64 {
    // Without randomness all doors of a power cut come back in step, which is only impolite.
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

type Attempt = Pin<Box<dyn Future<Output = Result<Socket, SignallingError>> + Send>>;

/// The socket, or what there is of it.
enum Line {
    Cut,
    Opening(Attempt),
    Open(Box<OpenLine>),
}

struct OpenLine {
    socket: Socket,
    /// Frames not handed to the socket yet. Bounded by the session, which keeps at most 512 requests open
    /// and gives up a socket that answers nothing.
    queue: VecDeque<Message>,
    needs_flush: bool,
    /// A frame too big to read lies in the way; only our close leaves after that.
    is_deaf: bool,
}

impl Line {
    /// Queues a frame; without a socket it is lost, and the session knows.
    fn send(&mut self, message: Message) {
        if let Self::Open(line) = self {
            line.queue.push_back(message);
        }
    }

    /// The next thing that happens; may be dropped and called again at any time.
    async fn next(&mut self) -> Input {
        match self {
            Self::Cut => pending().await,
            Self::Opening(attempt) => match attempt.await {
                Ok(socket) => {
                    let queue = VecDeque::new();
                    *self = Self::Open(Box::new(OpenLine {
                        socket,
                        queue,
                        needs_flush: false,
                        is_deaf: false,
                    }));
                    Input::Opened
                }
                Err(error) => {
                    *self = Self::Cut;
                    let http = match &error {
                        SignallingError::Http { status, .. } => Some(*status),
                        _ => None,
                    };
                    Input::OpenFailed { http, reason: error.to_string() }
                }
            },
            Self::Open(line) => {
                let input = poll_fn(|cx| line.poll(cx)).await;
                if matches!(input, Input::Closed { .. }) {
                    *self = Self::Cut;
                }
                input
            }
        }
    }
}

impl OpenLine {
    /// Writes what can be written, then reads.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        if let Err(error) = self.write(cx) {
            debug!(%error, "writing failed");
            return Poll::Ready(Input::Closed { code: None });
        }
        if self.is_deaf {
            return Poll::Pending;
        }
        let message = match self.socket.poll_next_unpin(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(message) => message,
        };
        Poll::Ready(match message {
            Some(Ok(Message::Text(text))) => Input::Text(text.to_string()),
            Some(Ok(Message::Binary(_))) => Input::Binary,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Input::Life,
            Some(Ok(Message::Close(frame))) => {
                // Lets the answer to the close leave if it can; nobody depends on it.
                let _ = self.socket.poll_flush_unpin(cx);
                Input::Closed { code: frame.map(|frame| frame.code.into()) }
            }
            Some(Err(WsError::Capacity(_))) => {
                self.is_deaf = true;
                Input::TooBig
            }
            Some(Err(error)) => {
                debug!(%error, "reading failed");
                Input::Closed { code: None }
            }
            None => Input::Closed { code: None },
        })
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), WsError> {
        while !self.queue.is_empty() {
            match self.socket.poll_ready_unpin(cx)? {
                Poll::Pending => return Ok(()),
                Poll::Ready(()) => {}
            }
            if let Some(message) = self.queue.pop_front() {
                self.needs_flush = true;
                self.socket.start_send_unpin(message)?;
            }
        }
        if self.needs_flush && self.socket.poll_flush_unpin(cx)?.is_ready() {
            self.needs_flush = false;
        }
        Ok(())
    }
}
