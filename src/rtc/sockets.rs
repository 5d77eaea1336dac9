//! The crate's UDP sockets, with an ear for its handshake.
//!
//! All else is the crate's own runtime. See `flights` for why.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep};
use tracing::debug;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    TokioRuntime, Transmit,
};

use super::flights::{self, Flights, PAUSE};

/// Where a datagram goes: the socket it leaves by, and its destination.
type To = (Arc<dyn AsyncUdpSocket>, SocketAddr);

/// The runtime of one connection: its sockets share one handshake.
#[derive(Debug)]
pub struct Sockets {
    runtime: TokioRuntime,
    flights: Arc<Mutex<Flights<To>>>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { runtime: TokioRuntime, flights: Arc::default() }
    }
}

struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    flights: Arc<Mutex<Flights<To>>>,
    /// Runs while the crate may still answer what came here.
    pause: Mutex<Option<Pin<Box<Sleep>>>>,
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
        for datagram in transmit.contents.chunks(size) {
            if flights::is_handshake(datagram) {
                let to = (Arc::clone(&self.inner), transmit.destination);
                lock(&self.flights).sends(to, datagram);
            }
        }
    }

    fn heard(&self, datagrams: &[u8], stride: usize) {
        let handshake = datagrams.chunks(stride.max(1)).any(flights::is_handshake);
        if handshake && lock(&self.flights).hears() {
            *lock(&self.pause) = Some(Box::pin(sleep(PAUSE)));
        }
    }

    /// Says the last flight again if the pause is over. Also sees to it that the reader is woken when it will be.
    fn look_at_the_pause(&self, cx: &mut Context<'_>) {
        let mut pause = lock(&self.pause);
        let over = pause.as_mut().is_some_and(|pause| pause.as_mut().poll(cx).is_ready());
        if !over {
            return;
        }
        *pause = None;
        drop(pause);
        let again = lock(&self.flights).repeat();
        if !again.is_empty() {
            debug!("a handshake stands still: {} datagrams are sent again", again.len());
        }
        for ((socket, destination), contents) in &again {
            let (ecn, segment_size, src_ip) = (None, None, None);
            let contents = contents.as_slice();
            let destination = *destination;
            // What does not go out now, the peer asks for again.
            let _ = socket
                .poll_send(cx, &Transmit { destination, ecn, contents, segment_size, src_ip });
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
        self.look_at_the_pause(cx);
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
        let flights = Arc::clone(&self.flights);
        Ok(Arc::new(Socket { inner, flights, pause: Mutex::default() }))
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
