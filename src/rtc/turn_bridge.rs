//! Lets a TURN client that speaks UDP only use a server over TCP or TLS (media.md trap 2).
//!
//! A bridge takes the client's datagrams on a loopback port. Each client socket gets one connection of its
//! own, because an allocation belongs to its 5-tuple (RFC 8656 section 2.2). It is a datagram service:
//! what the network does not take is dropped, never piled up. Passwords and media pass through unread.
//!
//! Loopback is open to every user of the machine, so a bridge serves only sockets of its own user: the
//! kernel's table of sockets says whose they are.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, warn};

use super::turn_dial::{Dial, Stream};
use super::turn_frames::{self, NotTurn, Splitter};
use super::turn_url::ServerUrl;

/// Client sockets at a time. A client has one per network address; the rest are remains of sockets that
/// an ICE restart replaced. When full, the one that has been silent for longest goes.
const CLIENTS: usize = 16;
/// Datagrams of one client that wait for the network: about half a second of media. When full, the newest
/// is dropped.
const QUEUE: usize = 128;
/// How long a connection may take to open.
const OPENING: Duration = Duration::from_secs(10);
/// How long the network may refuse to take anything before the connection counts as dead.
const STUCK: Duration = Duration::from_secs(10);
/// A client refreshes its allocation more often than this (RFC 8656 section 3.2: 10 minutes).
const SILENCE: Duration = Duration::from_secs(11 * 60);
/// How long a connection stays after its allocation was given back.
const FAREWELL: Duration = Duration::from_secs(2);
/// The pause after a failed attempt, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// Requests remembered so that their repetitions are not sent (RFC 8656 section 2.1: a stream loses none).
const REMEMBERED: usize = 16;

/// One bridge. It ends when dropped, its connections with it.
#[derive(Debug)]
pub struct Bridge {
    address: SocketAddr,
    task: AbortHandle,
}

impl Bridge {
    /// Opens the loopback side; connections to the server are opened when a client asks for them.
    ///
    /// # Errors
    ///
    /// When no loopback port can be bound.
    pub async fn open(server: ServerUrl, dial: Dial) -> io::Result<Self> {
        let socket = match UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await {
            Ok(socket) => socket,
            Err(_) => UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await?,
        };
        let address = socket.local_addr()?;
        let desk = Desk {
            socket: Arc::new(socket),
            address,
            server: Arc::new(server),
            dial,
            clients: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        Ok(Self { address, task: tokio::spawn(desk.run()).abort_handle() })
    }

    /// Where the client finds the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Desk {
    socket: Arc<UdpSocket>,
    address: SocketAddr,
    server: Arc<ServerUrl>,
    dial: Dial,
    clients: BTreeMap<SocketAddr, Client>,
    /// One task per client; they end with the desk.
    tasks: JoinSet<()>,
}

struct Client {
    queue: mpsc::Sender<Bytes>,
    heard: Instant,
}

impl Desk {
    async fn run(mut self) {
        let mut buffer = vec![0; 65_536];
        loop {
            match self.socket.recv_from(&mut buffer).await {
                Ok((length, client)) => self.datagram(client, &buffer[..length]).await,
                Err(error) => {
                    debug!("a bridge to {} cannot read: {error}", self.server.place());
                    sleep(FIRST_PAUSE).await;
                }
            }
            while self.tasks.try_join_next().is_some() {}
        }
    }

    async fn datagram(&mut self, from: SocketAddr, datagram: &[u8]) {
        let known = self.clients.get(&from).is_some_and(|client| !client.queue.is_closed());
        if !known && !self.admit(from, datagram).await {
            return;
        }
        if let Some(client) = self.clients.get_mut(&from) {
            client.heard = Instant::now();
            if client.queue.try_send(Bytes::copy_from_slice(datagram)).is_err() {
                debug!("the way to {} is full; a datagram is lost", self.server.place());
            }
        }
    }

    async fn admit(&mut self, from: SocketAddr, datagram: &[u8]) -> bool {
        if !turn_frames::asks_for_allocation(datagram) {
            return false;
        }
        if !ours(from, self.address).await {
            warn!("a socket of another user ({from}) knocks at a TURN bridge; it is not served");
            return false;
        }
        self.clients.retain(|_, client| !client.queue.is_closed());
        if self.clients.len() >= CLIENTS {
            let oldest = self.clients.iter().min_by_key(|(_, client)| client.heard);
            if let Some(address) = oldest.map(|(address, _)| *address) {
                self.clients.remove(&address);
            }
        }
        let (queue, datagrams) = mpsc::channel(QUEUE);
        let flow = Flow {
            client: from,
            socket: Arc::clone(&self.socket),
            server: Arc::clone(&self.server),
            dial: self.dial.clone(),
            datagrams,
        };
        self.tasks.spawn(flow.run());
        self.clients.insert(from, Client { queue, heard: Instant::now() });
        true
    }
}

/// Whether the socket at this address belongs to the user who owns ours. Without the kernel's table there
/// is nobody to ask, and the TURN server still wants a password.
async fn ours(client: SocketAddr, own: SocketAddr) -> bool {
    let path = if own.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
    match tokio::fs::read_to_string(path).await {
        Ok(table) => match owner(&table, own) {
            Some(we) => owner(&table, client) == Some(we),
            None => true,
        },
        Err(_) => true,
    }
}

/// The user whose UDP socket is bound to this address (proc(5): /proc/net/udp).
fn owner(table: &str, address: SocketAddr) -> Option<u32> {
    let exact = place(address);
    // A socket bound to all addresses sends from any.
    let wildcard = match address.ip() {
        IpAddr::V4(_) => place(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port())),
        IpAddr::V6(_) => place(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port())),
    };
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let local = words.next()?;
        if local != exact && local != wildcard {
            return None;
        }
        // After the local address: remote, state, queues, timer, retransmissions, user.
        words.nth(5)?.parse().ok()
    })
}

/// An address as the kernel writes it: words of four bytes in the machine's own order.
fn place(address: SocketAddr) -> String {
    let octets: Vec<u8> = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut text = String::new();
    for word in octets.chunks_exact(4) {
        let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
        text.push_str(&format!("{word:08X}"));
    }
    format!("{text}:{:04X}", address.port())
}

/// One client socket and its connection.
struct Flow {
    client: SocketAddr,
    socket: Arc<UdpSocket>,
    server: Arc<ServerUrl>,
    dial: Dial,
    datagrams: mpsc::Receiver<Bytes>,
}

/// Why a connection is over.
enum Over {
    /// The client is gone for good.
    Client,
    /// The connection broke.
    Broken(io::Error),
}

impl Flow {
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        // A client in its silence has given up; its queue closes with this task.
        while let Ok(Some(first)) = timeout(SILENCE, self.datagrams.recv()).await {
            if turn_frames::releases(&first) {
                // What was allocated ended with the connection.
                return;
            }
            let opened = Instant::now();
            let error = match timeout(OPENING, self.dial.open(&self.server)).await {
                Ok(Ok(stream)) => {
                    debug!("connected to the TURN server {}", self.server.place());
                    match self.carry(stream, first).await {
                        Over::Client => return,
                        Over::Broken(error) => error,
                    }
                }
                Ok(Err(error)) => error,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            if opened.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            warn!("TURN server {}: {error}", self.server.place());
            if !self.rest(pause).await {
                return;
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Waits, dropping what the client sends meanwhile. `false`: the client is gone.
    async fn rest(&mut self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        loop {
            tokio::select! {
                datagram = self.datagrams.recv() => match datagram {
                    Some(datagram) if !turn_frames::releases(&datagram) => {}
                    _ => return false,
                },
                () = sleep_until(end) => return true,
            }
        }
    }

    async fn carry(&mut self, stream: Box<dyn Stream>, first: Bytes) -> Over {
        let (reader, writer) = tokio::io::split(stream);
        let (socket, client, server) = (&self.socket, self.client, &self.server);
        tokio::select! {
            over = send(&mut self.datagrams, writer, first) => over,
            over = receive(reader, socket, client, server) => over,
        }
    }
}

/// From the client to the server.
async fn send(
    datagrams: &mut mpsc::Receiver<Bytes>,
    mut writer: WriteHalf<Box<dyn Stream>>,
    first: Bytes,
) -> Over {
    let mut sent = Requests::default();
    let mut next = first;
    let mut out = BytesMut::new();
    loop {
        let mut farewell = false;
        // All that waits goes in one write.
        loop {
            if sent.is_new(&next) {
                turn_frames::append(&next, &mut out);
                farewell |= turn_frames::releases(&next);
            }
            match datagrams.try_recv() {
                Ok(datagram) => next = datagram,
                Err(_) => break,
            }
        }
        let writing = async {
            writer.write_all(&out).await?;
            writer.flush().await
        };
        match timeout(STUCK, writing).await {
            Ok(Ok(())) => out.clear(),
            Ok(Err(error)) => return Over::Broken(error),
            Err(_) => return Over::Broken(io::ErrorKind::TimedOut.into()),
        }
        let patience = if farewell { FAREWELL } else { SILENCE };
        match timeout(patience, datagrams.recv()).await {
            Ok(Some(datagram)) => next = datagram,
            Ok(None) | Err(_) => {
                let _ = timeout(FAREWELL, writer.shutdown()).await;
                return Over::Client;
            }
        }
    }
}

/// From the server to the client, until the connection ends.
async fn receive(
    mut reader: ReadHalf<Box<dyn Stream>>,
    socket: &UdpSocket,
    client: SocketAddr,
    server: &ServerUrl,
) -> Over {
    let mut splitter = Splitter::default();
    let mut buffer = vec![0; 16 * 1024];
    let mut refused = None;
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => return Over::Broken(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => splitter.push(&buffer[..length]),
            Err(error) => return Over::Broken(error),
        }
        loop {
            match splitter.next() {
                Ok(Some(message)) => {
                    let refusal = turn_frames::refusal(&message);
                    if let (Some(error), Some(_)) = (refusal, refused) {
                        let place = server.place();
                        warn!(
                            "TURN server {place} refuses to relay (error {error}); are user name and password right?"
                        );
                    }
                    // The first refusal is how a server asks for the password.
                    refused = refusal.or(refused);
                    if let Err(error) = socket.send_to(&message, client).await {
                        debug!("a client of the TURN server {} is away: {error}", server.place());
                    }
                }
                Ok(None) => break,
                Err(NotTurn) => return Over::Broken(io::Error::other(NotTurn)),
            }
        }
    }
}

/// The requests sent last on one connection.
#[derive(Default)]
struct Requests {
    ids: [Option<[u8; 12]>; REMEMBERED],
    next: usize,
}

impl Requests {
    /// Whether this datagram is no repetition.
    fn is_new(&mut self, datagram: &[u8]) -> bool {
        let Some(id) = turn_frames::request(datagram) else { return true };
        if self.ids.contains(&Some(id)) {
            return false;
        }
        self.ids[self.next] = Some(id);
        self.next = (self.next + 1) % REMEMBERED;
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::super::names::Names;
    use super::super::turn_url::{Host, Service};
    use super::*;

    /// Nothing here takes as long unless it hangs.
    async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
        match timeout(Duration::from_secs(30), future).await {
            Ok(done) => done,
            Err(_) => panic!("still waiting for {what}"),
        }
    }

    async fn bridge_and_server() -> (Bridge, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let place = listener.local_addr().expect("bound");
        let server = ServerUrl {
            service: Service::TurnTcp,
            host: Host::Literal(place.ip()),
            port: place.port(),
        };
        let dial = Dial::new(Names::default(), Vec::new());
        (Bridge::open(server, dial).await.expect("a loopback port"), listener)
    }

    async fn client(bridge: &Bridge) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
        socket.connect(bridge.address()).await.expect("loopback");
        socket
    }

    async fn accept(listener: &TcpListener) -> TcpStream {
        soon("a connection", listener.accept()).await.expect("accepted").0
    }

    async fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        soon("bytes on the stream", stream.read_exact(&mut bytes)).await.expect("whole");
        bytes
    }

    fn allocate(id: u8) -> Vec<u8> {
        let mut message = vec![0, 3, 0, 0, 0x21, 0x12, 0xA4, 0x42];
        message.extend([id; 12]);
        message
    }

    #[tokio::test]
    async fn each_client_socket_has_a_connection_of_its_own() {
        let (bridge, listener) = bridge_and_server().await;
        let (a, b) = (client(&bridge).await, client(&bridge).await);
        a.send(&allocate(1)).await.expect("sent");
        let mut to_a = accept(&listener).await;
        b.send(&allocate(2)).await.expect("sent");
        let mut to_b = accept(&listener).await;
        assert_eq!(read(&mut to_a, 20).await, allocate(1));
        assert_eq!(read(&mut to_b, 20).await, allocate(2));
        to_b.write_all(&[0x40, 0, 0, 1, b'x', 0, 0, 0]).await.expect("written");
        let mut buffer = [0; 100];
        let length = soon("an answer", b.recv(&mut buffer)).await.expect("received");
        assert_eq!(buffer[..length], [0x40, 0, 0, 1, b'x']);
        a.send(&[0x40, 0, 0, 2, b'h', b'i']).await.expect("sent");
        assert_eq!(read(&mut to_a, 8).await, [0x40, 0, 0, 2, b'h', b'i', 0, 0]);
    }

    #[tokio::test]
    async fn what_is_not_turn_and_what_was_sent_before_stays_here() {
        let (bridge, listener) = bridge_and_server().await;
        let socket = client(&bridge).await;
        socket.send(&[0x40, 0, 0, 0]).await.expect("sent");
        socket.send(b"GET / HTTP/1.1").await.expect("sent");
        socket.send(&allocate(1)).await.expect("sent");
        let mut stream = accept(&listener).await;
        socket.send(&allocate(1)).await.expect("sent");
        socket.send(b"GET / HTTP/1.1").await.expect("sent");
        socket.send(&allocate(2)).await.expect("sent");
        assert_eq!(read(&mut stream, 40).await, [allocate(1), allocate(2)].concat());
    }

    #[tokio::test]
    async fn a_broken_connection_is_opened_again_by_a_later_datagram() {
        let (bridge, listener) = bridge_and_server().await;
        let socket = client(&bridge).await;
        socket.send(&allocate(1)).await.expect("sent");
        let mut garbled = accept(&listener).await;
        garbled.write_all(b"\xFF no TURN").await.expect("written");
        // Repeated as a client does, until one falls behind the pause.
        let again = async {
            loop {
                socket.send(&allocate(2)).await.expect("sent");
                tokio::select! {
                    accepted = listener.accept() => break accepted.expect("accepted").0,
                    () = tokio::time::sleep(Duration::from_millis(50)) => {}
                }
            }
        };
        let mut stream = soon("the second connection", again).await;
        assert_eq!(read(&mut stream, 20).await, allocate(2));
    }

    #[tokio::test]
    async fn connections_end_with_their_bridge_and_with_their_allocation() {
        let (bridge, listener) = bridge_and_server().await;
        let (a, b) = (client(&bridge).await, client(&bridge).await);
        a.send(&allocate(1)).await.expect("sent");
        let mut to_a = accept(&listener).await;
        b.send(&allocate(2)).await.expect("sent");
        let mut to_b = accept(&listener).await;
        let mut release = allocate(3);
        release[1] = 4;
        release[3] = 8;
        release.extend([0, 0x0D, 0, 4, 0, 0, 0, 0]);
        a.send(&release).await.expect("sent");
        let mut rest = Vec::new();
        soon("the farewell", to_a.read_to_end(&mut rest)).await.expect("ends in order");
        assert_eq!(rest, [allocate(1), release].concat());
        drop(bridge);
        assert_eq!(read(&mut to_b, 20).await, allocate(2));
        soon("the end", to_b.read_to_end(&mut rest)).await.expect("ends");
    }

    #[tokio::test]
    async fn our_own_sockets_are_known_as_ours() {
        let (bridge, _listener) = bridge_and_server().await;
        let socket = client(&bridge).await;
        let address = socket.local_addr().expect("bound");
        assert!(ours(address, bridge.address()).await);
        drop(socket);
        assert!(!ours(address, bridge.address()).await, "nobody owns it now");
    }

    #[test]
    fn the_owner_of_a_socket_is_read_from_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             1: 0100007F:0050 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 9 2 0 0\n\
             2: 00000000:0051 00000000:0000 07 00000000:00000000 00:00000000 00000000    33        0 9 2 0 0\n";
        let owner_of = |text: &str| owner(table, text.parse().expect("an address"));
        if cfg!(target_endian = "little") {
            assert_eq!(owner_of("127.0.0.1:80"), Some(1000));
        }
        assert_eq!(owner_of("127.0.0.1:81"), Some(33));
        assert_eq!(owner_of("127.0.0.1:82"), None);
    }
}
