//! The crate's UDP sockets, with an ear for its handshake and its nominations.
//!
//! All else is the crate's own runtime. See `early`, `flights` and `nudges` for why.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};
use tracing::debug;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    TokioRuntime, Transmit,
};

use super::early::Early;
use super::flights::{self, Flights};
use super::nudges::{self, Nudges};

/// Where a datagram goes: the socket it leaves by, and its destination.
type To = (Arc<dyn AsyncUdpSocket>, SocketAddr);

/// Whether a connection's ICE has chosen a pair, once.
#[derive(Debug, Default)]
pub struct Choice {
    is_made: AtomicBool,
    /// The newest reader of each socket that keeps something until then, by the socket's number.
    waiting: Mutex<BTreeMap<u64, Waker>>,
    sockets: AtomicU64,
}

impl Choice {
    /// It has. Wakes the readers.
    pub fn make(&self) {
        self.is_made.store(true, Ordering::Release);
        for waker in std::mem::take(&mut *lock(&self.waiting)).into_values() {
            waker.wake();
        }
    }

    pub(super) fn is_made(&self) -> bool {
        self.is_made.load(Ordering::Acquire)
    }

    /// Whether it has by now; if not, the reader is woken then.
    fn is_made_or_wakes(&self, socket: u64, reader: &Waker) -> bool {
        if !self.is_made() {
            lock(&self.waiting).insert(socket, reader.clone());
        }
        self.is_made()
    }
}

/// The runtime of one connection: its sockets share one handshake.
#[derive(Debug)]
pub struct Sockets {
    runtime: TokioRuntime,
    ear: Arc<Mutex<Ear>>,
    choice: Arc<Choice>,
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

impl Sockets {
    /// Sockets of a connection whose ICE makes this choice.
    pub fn new(choice: Arc<Choice>) -> Self {
        Self { runtime: TokioRuntime, ear: Arc::default(), choice }
    }
}

struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    ear: Arc<Mutex<Ear>>,
    choice: Arc<Choice>,
    number: u64,
    early: Mutex<Early<RecvMeta>>,
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
            if !self.choice.is_made() {
                lock(&self.early).goes(transmit.destination, datagram);
            }
            if let Some(part) = flights::part(datagram) {
                lock(&self.ear).flights.sends(Instant::now(), to(), (datagram, part));
            } else if let Some(nudge) = nudges::after(datagram) {
                lock(&self.ear).nudges.nominates(Instant::now(), to(), nudge);
            }
        }
    }

    fn heard(&self, datagrams: &[u8], meta: &RecvMeta) {
        for datagram in datagrams.chunks(meta.stride.max(1)) {
            let Some(part) = flights::part(datagram) else { continue };
            lock(&self.early).comes(meta.addr, *meta, datagram);
            let mut ear = lock(&self.ear);
            ear.flights.hears(Instant::now(), part);
            ear.nudges.hears();
        }
    }

    /// Hands over what came before ICE had chosen, if it has by now.
    fn came_early(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Option<usize> {
        let mut early = lock(&self.early);
        let is_made = match early.waits() {
            true => self.choice.is_made_or_wakes(self.number, cx.waker()),
            false => self.choice.is_made(),
        };
        if is_made {
            early.chosen();
        }
        let (buffer, meta) = (bufs.first_mut()?, metas.first_mut()?);
        let (from, datagram) = early.take()?;
        *meta = from;
        // A buffer that took it once has room for it again.
        let length = datagram.len().min(buffer.len());
        (meta.len, meta.stride) = (length, length);
        buffer[..length].copy_from_slice(&datagram[..length]);
        debug!("a handshake that began before ICE had chosen goes on");
        Some(1)
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
        if let Some(count) = self.came_early(cx, bufs, meta) {
            return Poll::Ready(Ok(count));
        }
        let received = self.inner.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(count)) = received {
            for (buffer, meta) in bufs.iter().zip(meta.iter()).take(count) {
                if let Some(datagrams) = buffer.get(..meta.len) {
                    self.heard(datagrams, meta);
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
        let (ear, choice) = (Arc::clone(&self.ear), Arc::clone(&self.choice));
        let (alarm, early) = (Mutex::default(), Mutex::default());
        let number = choice.sockets.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Socket { inner, ear, choice, number, early, alarm }))
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);
    const HELLO: [u8; 20] = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7];

    async fn read(socket: &Arc<dyn AsyncUdpSocket>) -> (Vec<u8>, SocketAddr) {
        let mut space = [0; 1_500];
        let mut meta = [RecvMeta::default()];
        let reading =
            poll_fn(|cx| socket.poll_recv(cx, &mut [IoSliceMut::new(&mut space)], &mut meta));
        assert_eq!(timeout(LIMIT, reading).await.expect("in time").expect("it is read"), 1);
        (space[..meta[0].len].to_vec(), meta[0].addr)
    }

    #[tokio::test]
    async fn a_hello_that_comes_before_ice_has_chosen_is_read_again_when_it_has() {
        let local = |what| UdpSocket::bind("127.0.0.1:0").unwrap_or_else(|_| panic!("{what}"));
        let (own, peer) = (local("own"), local("peer"));
        let to = own.local_addr().expect("an address");
        let from = peer.local_addr().expect("an address");
        let choice = Arc::new(Choice::default());
        let sockets = Sockets::new(Arc::clone(&choice));
        own.set_nonblocking(true).expect("it does not block");
        let socket = sockets.wrap_udp_socket(own).expect("it is wrapped");
        // A check of the peer's is answered.
        let answer = [1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let (ecn, segment_size, src_ip) = (None, None, None);
        let transmit = Transmit { destination: from, ecn, contents: &answer, segment_size, src_ip };
        poll_fn(|cx| socket.poll_send(cx, &transmit)).await.expect("it is sent");
        local("a stranger").send_to(&HELLO, to).expect("it is sent");
        assert_ne!(read(&socket).await.1, from);
        peer.send_to(&HELLO, to).expect("it is sent");
        peer.send_to(b"media", to).expect("it is sent");
        assert_eq!(read(&socket).await, (HELLO.to_vec(), from));
        assert_eq!(read(&socket).await, (b"media".to_vec(), from));
        // Whoever reads meanwhile is woken by the choice.
        let reader = tokio::spawn({
            let socket = Arc::clone(&socket);
            async move { read(&socket).await }
        });
        tokio::task::yield_now().await;
        choice.make();
        assert_eq!(reader.await.expect("it reads"), (HELLO.to_vec(), from));
        peer.send_to(&HELLO, to).expect("it is sent");
        assert_eq!(read(&socket).await, (HELLO.to_vec(), from));
        peer.send_to(b"more", to).expect("it is sent");
        assert_eq!(read(&socket).await, (b"more".to_vec(), from), "once only");
    }
}
