//! Looks which way a link takes and whether the peer has closed it.
//!
//! The crate reports neither, so the link looks from time to time; a look costs one lock.

use std::net::IpAddr;
use std::sync::Arc;

use rtc::peer_connection::transport::{
    RTCDtlsTransportState, RTCIceCandidate, RTCIceCandidateType, RTCIceProtocol,
};
use webrtc::rtp_transceiver::RtpSender;

use crate::intercom::Path;

/// The name of our kind of candidate where media goes over TCP without a relay (RFC 6544).
pub const TCP: &str = "host-tcp";

/// A way, and what kinds of candidates make it (RFC 8445 section 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// What the heart wants to know of it.
    pub path: Path,
    /// The kind of our candidate.
    pub local: &'static str,
    /// The kind of the peer's.
    pub remote: &'static str,
}

/// What a look shows.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// No pair is chosen.
    Nothing,
    /// This one is.
    Way(Way),
    /// The peer has said that it closes (RFC 5246 section 7.2.1).
    PeerClosed,
}

/// Looks at the transport that all media share.
pub async fn look(sender: &Arc<dyn RtpSender>) -> Look {
    let Ok(Some(transport)) = sender.transport().await else { return Look::Nothing };
    if matches!(transport.state().await, Ok(RTCDtlsTransportState::Closed)) {
        return Look::PeerClosed;
    }
    match transport.ice_transport().get_selected_candidate_pair().await {
        Ok(Some(pair)) => Look::Way(way(pair.local(), pair.remote())),
        _ => Look::Nothing,
    }
}

fn way(local: &RTCIceCandidate, remote: &RTCIceCandidate) -> Way {
    let relay = |candidate: &RTCIceCandidate| candidate.typ == RTCIceCandidateType::Relay;
    // A reflexive candidate lies on a router; its base is ours (RFC 8445 section 4).
    let own = match local.typ {
        RTCIceCandidateType::Relay => None,
        RTCIceCandidateType::Host => local.address.parse().ok(),
        _ => local.related_address.parse().ok().or_else(|| local.address.parse().ok()),
    };
    let own = own.filter(|address: &IpAddr| !address.is_unspecified());
    Way {
        path: Path { local: own, relayed: relay(local) || relay(remote) },
        local: kind(local),
        remote: kind(remote),
    }
}

fn kind(candidate: &RTCIceCandidate) -> &'static str {
    match candidate.typ {
        // RFC 6544; a relay and the address a router gives us are reached over UDP always.
        RTCIceCandidateType::Host if candidate.protocol == RTCIceProtocol::Tcp => TCP,
        RTCIceCandidateType::Host => "host",
        RTCIceCandidateType::Srflx => "srflx",
        RTCIceCandidateType::Prflx => "prflx",
        RTCIceCandidateType::Relay => "relay",
        _ => "unknown",
    }
}
