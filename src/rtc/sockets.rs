//! The crate's UDP sockets, with an ear for its handshake and its nominations.
//!
//! All else is the crate's own runtime. See `flights` and `nudges` for why.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};
use tracing::debug;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    TokioRuntime, Transmit,
};

use super::flights::{self, Flights};
use super::nudges::{self, Nudges};

/// Where a datagram goes: the socket it leaves by, and its destination.
type To = (Arc<dyn AsyncUdpSocket>, SocketAddr);

/// The runtime of one connection: its sockets share one handshake.
#[derive(Debug)]
pub struct Sockets {
    runtime: TokioRuntime,
    ear: Arc<Mutex<Ear>>,
}

/// What is said besides what the crate says.
#[derive(Debug, Default)]
struct Ear {
    flights: Flights<To>,
    nudges: Nudges<To>,
}

impl Ear {
    fn due(&self) -> Option<Instant> {
        self.flights.due().into_iter().chain(self.nudges.due()).min()
    }

    fn take(&mut self, now: Instant) -> Vec<(To, Vec<u8>)> {
        let mut taken = self.flights.repeat(now);
        if !taken.is_empty() {
            debug!("a handshake stands still: {} datagrams are sent again", taken.len());
        }
        taken.extend(self.nudges.take(now));
        taken
    }
}

impl Default for Sockets {
    fn default() -> Self {
        Self { runtime: TokioRuntime, ear: Arc::default() }
    }
}

struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    ear: Arc<Mutex<Ear>>,
    /// When to look again; none before there is something to say.
    alarm: Mutex<Option<Pin<Box<Sleep>>>>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

// The state is valid between any two statements, also after a panic elsewhere.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Socket {
    fn sent(&self, transmit: &Transmit<'_>) {
        let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        let to = || (Arc::clone(&self.inner), transmit.destination);
        for datagram in transmit.contents.chunks(size) {
            if let Some(part) = flights::part(datagram) {
                lock(&self.ear).flights.sends(Instant::now(), to(), (datagram, part));
            } else if let Some(nudge) = nudges::after(datagram) {
                lock(&self.ear).nudges.nominates(Instant::now(), to(), nudge);
            }
        }
    }

    fn heard(&self, datagrams: &[u8], stride: usize) {
        for part in datagrams.chunks(stride.max(1)).filter_map(flights::part) {
            let mut ear = lock(&self.ear);
            ear.flights.hears(Instant::now(), part);
            ear.nudges.hears();
        }
    }

    /// Says what is due. Also sees to it that the reader is woken when it will be.
    fn look_at_the_clock(&self, cx: &mut Context<'_>) {
        let Some(due) = lock(&self.ear).due() else { return };
        let mut alarm = lock(&self.alarm);
        let alarm = alarm.get_or_insert_with(|| Box::pin(sleep_until(due.into())));
        if alarm.deadline() != due.into() {
            alarm.as_mut().reset(due.into());
        }
        if alarm.as_mut().poll(cx).is_pending() {
            return;
        }
        let now_due = lock(&self.ear).take(Instant::now());
        for ((socket, destination), contents) in &now_due {
            let (contents, destination) = (contents.as_slice(), *destination);
            let (ecn, segment_size, src_ip) = (None, None, None);
            let transmit = Transmit { destination, ecn, contents, segment_size, src_ip };
            // What does not go out now may do so in the next round.
            let _ = socket.poll_send(cx, &transmit);
        }
        if let Some(due) = lock(&self.ear).due() {
            alarm.as_mut().reset(due.into());
            let _ = alarm.as_mut().poll(cx);
        }
    }
}

impl AsyncUdpSocket for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let sent = self.inner.poll_send(cx, transmit);
        if matches!(sent, Poll::Ready(Ok(_))) {
            self.sent(transmit);
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.look_at_the_clock(cx);
        let received = self.inner.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(count)) = received {
            for (buffer, meta) in bufs.iter().zip(meta.iter()).take(count) {
                if let Some(datagrams) = buffer.get(..meta.len) {
                    self.heard(datagrams, meta.stride);
                }
            }
        }
        received
    }

    fn max_gso_segments(&self) -> usize {
        self.inner.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments()
    }
}

type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Runtime for Sockets {
    fn spawn(&self, future: Later<'static, ()>) -> Box<dyn JoinHandle> {
        self.runtime.spawn(future)
    }

    fn spawn_reactor(&self, size: usize, future: Later<'static, ()>) -> Box<dyn JoinHandle> {
        self.runtime.spawn_reactor(size, future)
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let inner = self.runtime.wrap_udp_socket(socket)?;
        let ear = Arc::clone(&self.ear);
        Ok(Arc::new(Socket { inner, ear, alarm: Mutex::default() }))
    }

    fn wrap_tcp_listener(&self, listener: TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.runtime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote: SocketAddr,
    ) -> Later<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        self.runtime.connect_tcp(remote)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Later<'a, io::Result<Vec<SocketAddr>>> {
        self.runtime.resolve_host(host)
    }

    fn now(&self) -> Instant {
        self.runtime.now()
    }

    fn sleep(&self, duration: Duration) -> Later<'static, ()> {
        self.runtime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.runtime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.runtime.block_on(future);
    }

    fn yield_now(&self) -> Later<'static, ()> {
        self.runtime.yield_now()
    }

    fn name(&self) -> &'static str {
        self.runtime.name()
    }
}
