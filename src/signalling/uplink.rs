//! The task that owns one uplink's socket: WebSocket on one side, the session on the other.
//!
//! It decides nothing. It sleeps until something arrives or the session's next deadline, so an idle uplink
//! costs one wake-up per keepalive.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt, StreamExt};
use tokio::sync::{Mutex, Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tracing::{Instrument, debug, error, info_span, trace};

use super::advice::Pass;
use super::connect::{Credential, OwnAddress, Socket, is_ours, open};
pub use super::connect::{Key, PipeMaker, Transport};
use super::error::SignallingError;
use super::session::{Input, Output, Session, Setup, Ticket, Wire};
use super::status::UplinkStatus;
use super::timings::Timings;
use super::token::Token;
pub use super::token::TokenSource;
use crate::intercom::{self, UplinkCommand, UplinkEvent, UplinkId};

/// Commands waiting for the task. Full means that the task is stuck; `try_command` then hands the command
/// back, and its sender treats it as undelivered.
const COMMANDS: usize = 1024;
/// How long `stop` waits for the task, which itself closes within `Timings::close`.
const STOP: Duration = Duration::from_secs(2);

/// How the door is let in.
#[derive(Debug, Clone)]
pub enum Login {
    /// By a publishable key.
    Key(Key),
    /// By tokens of this source.
    Tokens(TokenSource),
}

impl Login {
    fn pass(&self) -> Pass {
        match self {
            Self::Key(_) => Pass::Key,
            Self::Tokens(_) => Pass::Token,
        }
    }
}

/// The owner's end of an uplink. Dropping it stops the uplink in the background.
#[derive(Debug)]
pub struct UplinkHandle {
    id: UplinkId,
    commands: mpsc::Sender<UplinkCommand>,
    status: watch::Receiver<UplinkStatus>,
    /// Holds one word at most; more changes before the task listens mean the same.
    network: Arc<Notify>,
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

    /// The board's own addresses changed: an uplink that waits tries at once, one that is up asks for a
    /// sign of life.
    pub fn network_changed(&self) {
        self.network.notify_one();
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
    login: Login,
    /// The token of the last attempt.
    token: Arc<Mutex<Option<Token>>>,
    session: Session,
    line: Line,
    /// The second socket, which is to take the first one's place.
    successor: Line,
    /// The one that was replaced; what it still says interests nobody.
    retired: Line,
    network: Arc<Notify>,
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
        login: Login,
        channel: String,
        arm: bool,
        inbox: mpsc::Sender<intercom::Input>,
    ) -> UplinkHandle {
        Self::spawn_timed(Timings::default(), id, transport, login, channel, arm, inbox)
    }

    /// Like [`Uplink::spawn`] with other times, for tests.
    pub fn spawn_timed(
        timings: Timings,
        id: UplinkId,
        transport: Transport,
        login: Login,
        channel: String,
        arm: bool,
        inbox: mpsc::Sender<intercom::Input>,
    ) -> UplinkHandle {
        // The first to come installs it; all of this program uses the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let setup = Setup {
            name: id.name(),
            channel,
            pass: login.pass(),
            arm,
            request_prefix: uuid::Uuid::new_v4().simple().to_string(),
            luck: Box::new(luck),
            device_clock: Box::new(unix_seconds),
            timings,
        };
        let session = Session::new(Instant::now().into_std(), setup);
        let (commands_in, commands) = mpsc::channel(COMMANDS);
        let (status, status_out) = watch::channel(session.status());
        let (stop, stopped) = oneshot::channel();
        let network = Arc::new(Notify::new());
        let uplink = Self {
            id,
            transport,
            login,
            token: Arc::default(),
            session,
            line: Line::Cut,
            successor: Line::Cut,
            retired: Line::Cut,
            network: Arc::clone(&network),
            inbox,
            commands,
            status,
        };
        let span = info_span!("uplink", name = id.name());
        let task = tokio::spawn(uplink.run(stopped).instrument(span));
        UplinkHandle { id, commands: commands_in, status: status_out, network, stop, task }
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
                wire = self.line.next() => Input::Wire(wire),
                wire = self.successor.next() => Input::Successor(wire),
                () = self.retired.end() => Input::Retired,
                () = self.network.notified() => Input::NetworkChanged,
            };
            if matches!(input, Input::NetworkChanged) {
                let now = Instant::now().into_std();
                // The second first: it would be taken for the next attempt if the first were lost before it.
                if let Some(lost) = self.successor.cut_if_stranded() {
                    self.session.handle(now, Input::Successor(lost));
                }
                if let Some(lost) = self.line.cut_if_stranded() {
                    self.session.handle(now, Input::Wire(lost));
                }
            }
            self.session.handle(Instant::now().into_std(), input);
        }
    }

    /// Does what the session wants. `false` ends the task.
    async fn carry_out(&mut self) -> bool {
        let mut events = Vec::new();
        let mut goes_on = true;
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Open(ticket) => self.line = self.attempt(ticket),
                Output::OpenSuccessor(ticket) => self.successor = self.attempt(ticket),
                Output::DropSuccessor => self.successor = Line::Cut,
                Output::Promote => {
                    let successor = mem::replace(&mut self.successor, Line::Cut);
                    self.retired = mem::replace(&mut self.line, successor);
                }
                Output::DropRetired => self.retired = Line::Cut,
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

    fn attempt(&self, ticket: Ticket) -> Line {
        let transport = self.transport.clone();
        let (login, token) = (self.login.clone(), Arc::clone(&self.token));
        let from = OwnAddress::default();
        let known = Arc::clone(&from);
        let attempt = Box::pin(async move {
            let credential = match login {
                Login::Key(key) => Credential::Key(key),
                Login::Tokens(source) => Credential::Token(pick(&source, &token, ticket).await?),
            };
            open(transport, credential, known).await
        });
        Line::Opening(attempt, from)
    }

    /// Waits for room in the inbox without a deadline of its own: the daemon's loop never waits for a task,
    /// and its watchdog ends a loop that hangs.
    async fn tell(&mut self, event: UplinkEvent) -> bool {
        trace!(?event, "tells the daemon");
        self.inbox.send(intercom::Input::Uplink(self.id, event)).await.is_ok()
    }
}

/// The token to show: the last one if it may be shown again, else a new one.
async fn pick(
    source: &TokenSource,
    last: &Mutex<Option<Token>>,
    ticket: Ticket,
) -> Result<Token, SignallingError> {
    let mut last = last.lock().await;
    if let (Ticket::Kept, Some(token)) = (ticket, last.as_ref()) {
        return Ok(token.clone());
    }
    let token = source.fetch().await?;
    *last = Some(token.clone());
    Ok(token)
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

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

type Attempt = Pin<Box<dyn Future<Output = Result<Socket, SignallingError>> + Send>>;

/// The socket, or what there is of it.
enum Line {
    Cut,
    Opening(Attempt, OwnAddress),
    Open(Box<OpenLine>),
}

struct OpenLine {
    socket: Socket,
    from: OwnAddress,
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

    /// Ends a line whose address is gone from this board: what becomes of it.
    fn cut_if_stranded(&mut self) -> Option<Wire> {
        if !self.is_stranded() {
            return None;
        }
        let reason = "the address of this board that the socket went out by is gone";
        debug!("{reason}");
        Some(match mem::replace(self, Self::Cut) {
            Self::Opening(..) => Wire::OpenFailed { http: None, reason: reason.to_owned() },
            Self::Open(_) | Self::Cut => Wire::Closed { code: None },
        })
    }

    /// Whether what comes to it can reach this board no more: nobody would ever say so.
    fn is_stranded(&self) -> bool {
        let from = match self {
            Self::Open(line) => &line.from,
            Self::Opening(_, from) => from,
            Self::Cut => return false,
        };
        from.get().is_some_and(|from| !is_ours(*from))
    }

    /// Sends what is left and waits for the end; may be dropped and called again at any time.
    async fn end(&mut self) {
        match self {
            Self::Cut => pending().await,
            Self::Opening(..) | Self::Open(_) => {
                while !matches!(self.next().await, Wire::Closed { .. } | Wire::OpenFailed { .. }) {}
            }
        }
    }

    /// The next thing that happens; may be dropped and called again at any time.
    async fn next(&mut self) -> Wire {
        match self {
            Self::Cut => pending().await,
            Self::Opening(attempt, from) => match attempt.await {
                Ok(socket) => {
                    let from = Arc::clone(from);
                    let queue = VecDeque::new();
                    *self = Self::Open(Box::new(OpenLine {
                        socket,
                        from,
                        queue,
                        needs_flush: false,
                        is_deaf: false,
                    }));
                    Wire::Opened
                }
                Err(error) => {
                    *self = Self::Cut;
                    let http = match &error {
                        SignallingError::Http { status, .. } => Some(*status),
                        _ => None,
                    };
                    Wire::OpenFailed { http, reason: error.to_string() }
                }
            },
            Self::Open(line) => {
                let wire = poll_fn(|cx| line.poll(cx)).await;
                if matches!(wire, Wire::Closed { .. }) {
                    *self = Self::Cut;
                }
                wire
            }
        }
    }
}

impl OpenLine {
    /// Writes what can be written, then reads.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Wire> {
        if let Err(error) = self.write(cx) {
            debug!(%error, "writing failed");
            return Poll::Ready(Wire::Closed { code: None });
        }
        if self.is_deaf {
            return Poll::Pending;
        }
        let message = match self.socket.poll_next_unpin(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(message) => message,
        };
        Poll::Ready(match message {
            Some(Ok(Message::Text(text))) => Wire::Text(text.to_string()),
            Some(Ok(Message::Binary(_))) => Wire::Binary,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Wire::Life,
            Some(Ok(Message::Close(frame))) => {
                // Lets the answer to the close leave if it can; nobody depends on it.
                let _ = self.socket.poll_flush_unpin(cx);
                Wire::Closed { code: frame.map(|frame| frame.code.into()) }
            }
            Some(Err(WsError::Capacity(_))) => {
                self.is_deaf = true;
                Wire::TooBig
            }
            Some(Err(error)) => {
                debug!(%error, "reading failed");
                Wire::Closed { code: None }
            }
            None => Wire::Closed { code: None },
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
