//! One member's place at the LAN hub: its WebSocket on one side, the routing task on the other.
//!
//! Here are time, tasks and queues; every decision about frames is [`Hub`]'s. It accepts no
//! sockets, see `lan.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite;

use super::doorstep::Place;
use super::hub::{Action, CloseCode, Credentials, Hub, Identity, MemberId};
use super::message::MAX_FRAME;
use super::papers;

/// Longest WebSocket message read at all. Above [`MAX_FRAME`], so that the usual slightly too
/// long frame is read to its end and its sender hears 1009 instead of a broken pipe.
pub const READ_LIMIT: usize = 4 * MAX_FRAME;
/// Frames from all members that wait for the hub. When full, members are read more slowly.
pub const INBOX: usize = 64;
/// Frames that wait for one member, about one call set-up of eight pages at once. When full, the
/// member is dropped: it can come back and ask for a snapshot, the others cannot wait for it.
const OUTBOX_FRAMES: usize = 256;
/// Bytes that wait for one member; keeps 256 long frames from filling a small board's memory.
const OUTBOX_BYTES: usize = 1_048_576;
/// Close code for a member that does not read fast enough (RFC 6455 registry: try again later).
const TOO_SLOW: u16 = 1013;

/// The times of one seat.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// Between two WebSocket pings (protocol.md section 8).
    pub ping: Duration,
    /// Without any sign of life for this long the member is gone: one ping and its grace.
    pub silence: Duration,
    /// For one frame to be taken by the member's socket.
    pub write: Duration,
    /// For the member's answer to our close.
    pub goodbye: Duration,
    /// Between two looks at the certificate.
    pub papers: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            ping: Duration::from_secs(30),
            silence: Duration::from_secs(40),
            write: Duration::from_secs(10),
            goodbye: Duration::from_secs(1),
            papers: papers::LOOK,
        }
    }
}

/// What a seat tells the routing task.
pub enum ToHub {
    /// A socket was accepted.
    Open {
        /// Its number.
        member: MemberId,
        /// What it brought.
        credentials: Credentials,
        /// Who it is.
        identity: Identity,
        /// Where its frames go.
        outbox: Outbox,
    },
    /// A text frame.
    Text(MemberId, String),
    /// A binary frame's length in bytes.
    Binary(MemberId, usize),
    /// The socket is gone.
    Closed(MemberId),
}

enum Out {
    Frame(Arc<str>),
    Close(CloseCode, &'static str),
}

/// The routing task's end of a member's queue.
pub struct Outbox {
    queue: mpsc::Sender<Out>,
    waiting: Arc<AtomicUsize>,
}

impl Outbox {
    /// `false`: the member is gone or too slow.
    fn push(&self, frame: Arc<str>) -> bool {
        let length = frame.len();
        // A single frame always fits, however long its envelope made it.
        let before = self.waiting.fetch_add(length, Ordering::Relaxed);
        (before == 0 || before + length <= OUTBOX_BYTES)
            && self.queue.try_send(Out::Frame(frame)).is_ok()
    }
}

/// The seat's end of a member's queue.
struct Queue {
    queue: mpsc::Receiver<Out>,
    waiting: Arc<AtomicUsize>,
}

impl Queue {
    async fn next(&mut self) -> Option<Out> {
        let out = self.queue.recv().await;
        if let Some(Out::Frame(frame)) = &out {
            self.waiting.fetch_sub(frame.len(), Ordering::Relaxed);
        }
        out
    }
}

fn outbox() -> (Outbox, Queue) {
    let (sender, receiver) = mpsc::channel(OUTBOX_FRAMES);
    let waiting = Arc::new(AtomicUsize::new(0));
    (Outbox { queue: sender, waiting: Arc::clone(&waiting) }, Queue { queue: receiver, waiting })
}

/// The routing task: owns the hub and never waits for a member. Ends when `stop` turns true, or
/// with its last sender.
pub async fn route(
    mut hub: Hub,
    mut inbox: mpsc::Receiver<ToHub>,
    mut stop: watch::Receiver<bool>,
) {
    let mut outboxes: BTreeMap<MemberId, Outbox> = BTreeMap::new();
    let started = Instant::now();
    loop {
        let event = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => None,
            event = inbox.recv() => event,
        };
        let now = started.elapsed();
        match event {
            None => {
                hub.shutdown();
                carry_out(&mut hub, &mut outboxes);
                return;
            }
            Some(ToHub::Open { member, credentials, identity, outbox }) => {
                outboxes.insert(member, outbox);
                hub.open(now, unix_seconds(), member, &credentials, identity);
            }
            Some(ToHub::Text(member, text)) => hub.text(now, member, &text),
            Some(ToHub::Binary(member, length)) => hub.binary(now, member, length),
            Some(ToHub::Closed(member)) => {
                outboxes.remove(&member);
                hub.closed(member);
            }
        }
        carry_out(&mut hub, &mut outboxes);
    }
}

fn carry_out(hub: &mut Hub, outboxes: &mut BTreeMap<MemberId, Outbox>) {
    while let Some(action) = hub.poll_action() {
        match action {
            Action::Deliver { to, frame } => {
                tracing::trace!(to = to.0, bytes = frame.len(), "frame out");
                if outboxes.get(&to).is_some_and(|outbox| !outbox.push(frame)) {
                    // The seat sees its queue end without a close and says why.
                    outboxes.remove(&to);
                    hub.closed(to);
                }
            }
            Action::Close { member, code, reason } => {
                if let Some(outbox) = outboxes.remove(&member) {
                    // When full, the seat closes with TOO_SLOW instead, which is as true.
                    drop(outbox.queue.try_send(Out::Close(code, reason)));
                }
            }
        }
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// How a seat ends.
enum End {
    /// Close with this code and reason.
    Close(u16, &'static str),
    /// Nothing can be sent any more; the text is for the log.
    Gone(&'static str),
}

/// Who is behind a socket.
pub struct Visitor {
    /// The socket's number.
    pub member: MemberId,
    /// Who it is to the hub.
    pub identity: Identity,
    /// Where it comes from, for the log.
    pub who: String,
    /// Its place among the strangers; given back when the hub has greeted it and counts it itself.
    pub place: Option<Place>,
}

/// How a visit went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// There is nothing to tell of it.
    Over,
    /// It was turned away for its key; the text says what was wrong.
    WrongKey(&'static str),
}

/// Serves one WebSocket until it ends.
pub async fn sit(
    socket: WebSocket,
    credentials: Credentials,
    visitor: Visitor,
    hub: mpsc::Sender<ToHub>,
    timings: Timings,
) -> Visit {
    let Visitor { member, identity, who, mut place } = visitor;
    let (outbox, mut queue) = outbox();
    let open = ToHub::Open { member, credentials, identity, outbox };
    if hub.send(open).await.is_err() {
        return Visit::Over;
    }
    let (mut sink, mut stream) = socket.split();
    // Two halves that do not wait for each other: a member that writes much and reads late must
    // not stop us both.
    let end = tokio::select! {
        end = talk(&mut sink, &mut queue, &mut place, timings) => end,
        end = listen(&mut stream, member, &hub, timings) => end,
    };
    // Fails only when the hub has ended before us.
    drop(hub.send(ToHub::Closed(member)).await);
    match end {
        End::Gone(why) => {
            tracing::debug!(member = member.0, who, why, "member gone");
            Visit::Over
        }
        End::Close(code, reason) => {
            tracing::debug!(member = member.0, who, code, reason, "closing a member's socket");
            farewell(&mut sink, &mut stream, code, reason, timings).await;
            match code == CloseCode::BadKey.code() {
                true => Visit::WrongKey(reason),
                false => Visit::Over,
            }
        }
    }
}

/// Hub to member, and the pings.
async fn talk(
    sink: &mut SplitSink<WebSocket, Message>,
    queue: &mut Queue,
    place: &mut Option<Place>,
    timings: Timings,
) -> End {
    let mut pings = interval(timings.ping);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.reset();
    loop {
        let message = tokio::select! {
            out = queue.next() => match out {
                Some(Out::Frame(frame)) => {
                    drop(place.take());
                    Message::text(&*frame)
                }
                Some(Out::Close(code, reason)) => return End::Close(code.code(), reason),
                None => return End::Close(TOO_SLOW, "too slow"),
            },
            _ = pings.tick() => Message::Ping(Bytes::new()),
        };
        match timeout(timings.write, sink.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return End::Gone("its socket broke"),
            Err(_) => return End::Gone("it does not read"),
        }
    }
}

/// Member to hub. Pings are answered by the WebSocket layer; every frame is a sign of life.
async fn listen(
    stream: &mut SplitStream<WebSocket>,
    member: MemberId,
    hub: &mpsc::Sender<ToHub>,
    timings: Timings,
) -> End {
    loop {
        let event = match timeout(timings.silence, stream.next()).await {
            Err(_) => return End::Gone("no sign of life"),
            Ok(None) => return End::Gone("it left"),
            Ok(Some(Err(error))) => return why_unreadable(error),
            Ok(Some(Ok(Message::Text(text)))) => {
                tracing::trace!(from = member.0, bytes = text.len(), "frame in");
                ToHub::Text(member, text.as_str().to_owned())
            }
            Ok(Some(Ok(Message::Binary(bytes)))) => ToHub::Binary(member, bytes.len()),
            // They mean nothing to the hub, but count: each costs us a frame, too.
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => ToHub::Binary(member, 0),
            // After a close the next read sends our half of it and then ends.
            Ok(Some(Ok(Message::Close(_)))) => continue,
        };
        if hub.send(event).await.is_err() {
            return End::Close(CloseCode::GoingAway.code(), "the door station stops");
        }
    }
}

/// What RFC 6455 section 7.4.1 wants said to a member whose frame could not be read.
fn why_unreadable(error: axum::Error) -> End {
    match error.into_inner().downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => {
            End::Close(CloseCode::TooBig.code(), "frame over 65536 bytes")
        }
        Some(tungstenite::Error::Utf8(_)) => End::Close(1007, "text is not UTF-8"),
        Some(tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        )) => End::Gone("its socket broke"),
        Some(tungstenite::Error::Protocol(_)) => End::Close(1002, "not a WebSocket frame"),
        _ => End::Gone("its socket broke"),
    }
}

/// Sends the close and waits a moment for the member's, so that the close is not overtaken by the
/// end of the byte stream.
async fn farewell(
    sink: &mut SplitSink<WebSocket, Message>,
    stream: &mut SplitStream<WebSocket>,
    code: u16,
    reason: &'static str,
    timings: Timings,
) {
    let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    let goodbye = async {
        if sink.send(close).await.is_ok() {
            while let Some(Ok(_)) = stream.next().await {}
        }
    };
    // A member that does not answer in time is cut off.
    drop(timeout(timings.goodbye, goodbye).await);
}
