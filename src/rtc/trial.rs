//! The self-test of STUN and TURN servers: each is asked the way a call asks it.
//!
//! A STUN server is asked for our address, a TURN server for an allocation by a link that may use nothing else. It
//! judges; what is done about it is a person's business.

use std::net::SocketAddr;
use std::time::Duration;

use ::rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, TransactionId};
use ::rtc::stun::xoraddr::XorMappedAddress;
use futures_util::future::join_all;
use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::turn_url::{Host, ServerUrl, Service};
use super::{IceServer, Links, Network, Picture};
use crate::config::names::IcePolicy;
use crate::config::verdict::Verdict;
use crate::config::{Board, Source};
use crate::intercom::{
    Input, LinkCommand, LinkEvent, LinkId, OpId, Outcome, PeerId, PeerKey, UplinkId,
};
use crate::media::{Capture, Playback};

/// Addresses tried, as many as a link uses.
const MOST: usize = 16;
/// Between two requests to a STUN server, and how many: a datagram may be lost.
const REPEAT: Duration = Duration::from_millis(500);
const REQUESTS: u32 = 6;
/// For an allocation, its connection and its TLS handshake.
const ALLOCATION: Duration = Duration::from_secs(12);
/// For a name.
const NAME: Duration = Duration::from_secs(5);

/// Tries every address of these servers at once. `extra_roots` are certificate authorities beside the system's, in
/// DER. Takes 12 s at most.
pub async fn servers(servers: &[IceServer], extra_roots: &[Vec<u8>]) -> Vec<Verdict> {
    let addresses: Vec<(&IceServer, &String)> = servers
        .iter()
        .flat_map(|server| server.urls.iter().map(move |url| (server, url)))
        .take(MOST)
        .collect();
    if addresses.is_empty() {
        return vec![Verdict::fair(
            "no STUN or TURN server is known: phones outside the own network are not reached",
            "use [uplink], whose service gives some, or name one in [[ice.servers]]",
        )];
    }
    join_all(addresses.into_iter().map(|(server, url)| one(server, url, extra_roots))).await
}

async fn one(server: &IceServer, text: &str, extra_roots: &[Vec<u8>]) -> Verdict {
    let url = match ServerUrl::parse(text) {
        Ok(url) => url,
        Err(problem) => {
            return Verdict::fair(
                format!("{text:?} {problem}; calls leave it out"),
                "correct it where it comes from: [[ice.servers]], or the service",
            );
        }
    };
    let (way, remedy) = match url.service {
        Service::Stun => ("STUN", "see whether the firewall lets UDP out to this port"),
        Service::TurnUdp => ("TURN over UDP", "see whether the firewall lets UDP out to this port"),
        Service::TurnTcp => ("TURN over TCP", "see whether the firewall lets TCP out to this port"),
        Service::TurnTls => (
            "TURN over TLS",
            "see whether the firewall lets TCP out to this port, and whether the door's clock is right",
        ),
    };
    let name = format!("{way} at {}", url.place());
    let tried = match url.service {
        Service::Stun => binding(&url).await.map(|address| format!("sees us as {address}")),
        _ if server.username.is_empty() || server.credential.is_empty() => {
            return Verdict::fair(
                format!("{name}: no user name or password came with it; calls leave it out"),
                "add them to [[ice.servers]], or correct the account of the service",
            );
        }
        _ => allocation(server, text, extra_roots).await.map(|()| "relays for us".to_owned()),
    };
    match tried {
        Ok(words) => Verdict::good(format!("{name} {words}")),
        Err(why) => Verdict::bad(format!("{name}: {why}"), remedy),
    }
}

/// Our address as a STUN server sees it.
async fn binding(url: &ServerUrl) -> Result<SocketAddr, String> {
    let found = match &url.host {
        Host::Literal(address) => vec![SocketAddr::from((*address, url.port))],
        Host::Name(name) => timeout(NAME, lookup_host((name.as_str(), url.port)))
            .await
            .map_err(|_| "its name was not found in time".to_owned())?
            .map_err(|error| format!("its name was not found: {error}"))?
            .collect(),
    };
    let mut why = "its name has no address".to_owned();
    for server in found {
        match ask(server).await {
            Ok(address) => return Ok(address),
            Err(this) => why = this,
        }
    }
    Err(why)
}

async fn ask(server: SocketAddr) -> Result<SocketAddr, String> {
    let from = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let words = |error: std::io::Error| error.to_string();
    let socket = UdpSocket::bind(from).await.map_err(words)?;
    socket.connect(server).await.map_err(words)?;
    let mut request = Message::new();
    request
        .build(&[Box::new(TransactionId::new()), Box::new(BINDING_REQUEST)])
        .map_err(|error| error.to_string())?;
    let mut datagram = [0; 1500];
    for _ in 0..REQUESTS {
        socket.send(&request.raw).await.map_err(words)?;
        let Ok(received) = timeout(REPEAT, socket.recv(&mut datagram)).await else { continue };
        let length = received.map_err(|error| format!("it refuses: {error}"))?;
        let mut answer = Message::new();
        if answer.unmarshal_binary(&datagram[..length]).is_err()
            || answer.transaction_id != request.transaction_id
            || answer.typ != BINDING_SUCCESS
        {
            continue;
        }
        let mut mapped = XorMappedAddress::default();
        if mapped.get_from(&answer).is_ok() {
            return Ok(SocketAddr::from((mapped.ip, mapped.port)));
        }
    }
    Err("no answer".to_owned())
}

/// A link that may use this address only gathers a relayed candidate.
async fn allocation(server: &IceServer, url: &str, extra_roots: &[Vec<u8>]) -> Result<(), String> {
    let mut board: Board =
        crate::config::built_in_board("sim").map_err(|problems| problems.to_string())?;
    for source in [
        &mut board.camera.source,
        &mut board.microphone.source,
        &mut board.speaker.source,
        &mut board.display.source,
    ] {
        *source = Source::Off;
    }
    let capture = Capture::new(&board);
    let playback = Playback::new(&board);
    let (events, mut inbox) = mpsc::channel(256);
    let network = Network {
        policy: IcePolicy::Relay,
        extra_servers: Vec::new(),
        extra_roots: extra_roots.to_vec(),
    };
    let (fanout, bandwidth) = (capture.fanout(), capture.bandwidth());
    let links =
        Links::new(fanout, bandwidth, playback.clone(), events, network, Picture::default());
    let peer = PeerKey { uplink: UplinkId::Lan, id: PeerId::from("selftest") };
    let only = IceServer { urls: vec![url.to_owned()], ..server.clone() };
    let (link, task) = links.open(LinkId { peer, generation: 1 }, vec![only]);
    let running = tokio::spawn(task);
    let offer = LinkCommand::MakeOffer { op: OpId(1), restart: false };
    let outcome = match link.order(offer) {
        Err(_) => Err("the link takes no orders".to_owned()),
        Ok(()) => timeout(ALLOCATION, relayed(&mut inbox))
            .await
            .unwrap_or_else(|_| Err("no allocation in time".to_owned())),
    };
    // Gives the allocation back.
    drop(link);
    inbox.close();
    let _ = timeout(Duration::from_secs(2), running).await;
    capture.stop().await;
    playback.stop().await;
    outcome
}

async fn relayed(inbox: &mut mpsc::Receiver<Input>) -> Result<(), String> {
    while let Some(input) = inbox.recv().await {
        let Input::Link(_, event) = input else { continue };
        match event {
            LinkEvent::Candidate(candidate) if candidate.candidate.contains(" typ relay") => {
                return Ok(());
            }
            LinkEvent::Done { outcome: Outcome::Made(made), .. }
                if made.sdp.contains(" typ relay") =>
            {
                return Ok(());
            }
            LinkEvent::Done { outcome: Outcome::Failed(why), .. } => return Err(why),
            LinkEvent::EndOfCandidates => {
                return Err("it gives no allocation: it cannot be reached, or does not know the \
                            user name and password"
                    .to_owned());
            }
            LinkEvent::Closed => break,
            _ => {}
        }
    }
    Err("the link ended".to_owned())
}
