//! What every link is built from: codecs, header extensions, interceptors, ICE settings.
//!
//! Knows no peer and no call.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::Slot;
use rtc::peer_connection::configuration::interceptor_registry::{
    configure_rtcp_reports, configure_simulcast_extension_headers, configure_twcc_receiver_only,
};
use rtc::peer_connection::transport::RTCDtlsRole;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use tracing::debug;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCConfiguration, RTCConfigurationBuilder, RTCIceServer, RTCIceTransportPolicy, Registry,
    SettingEngineBuilder,
};

use super::bandwidth::{self, Gauge};
use super::keyframes::KeyframeRequests;
use super::numbers::Extensions;
use super::reports::Reports;
use super::servers::Ready;
use super::sockets::{Choice, Sockets};
use super::{Picture, RtcError};
use crate::config::names::IcePolicy;

const OPUS_FMTP: &str = "minptime=10;useinbandfec=1";
/// Place of our interceptor: behind all of the crate's own.
const LAST: usize = 14_000;

/// The audio codec of our microphone.
pub fn opus() -> RTCRtpCodec {
    codec("audio/opus", 48_000, 2, OPUS_FMTP, &[("transport-cc", "")])
}

/// The video codec of our camera: constrained baseline in one packetization mode, up to level 3.1 or the camera's own
/// if that is higher (RFC 6184 section 8.1). Phones count on 3.1 at least, whatever the camera.
pub fn h264(picture: Picture) -> RTCRtpCodec {
    let level = picture.level.max(LEVEL_3_1);
    let fmtp =
        format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e0{level:02x}");
    codec("video/H264", 90_000, 0, &fmtp, VIDEO_FEEDBACK)
}

/// level_idc of level 3.1 (H.264 Annex A): 1280x720 at 30 pictures a second.
const LEVEL_3_1: u8 = 31;

const VIDEO_FEEDBACK: &[(&str, &str)] =
    &[("ccm", "fir"), ("nack", ""), ("nack", "pli"), ("transport-cc", "")];

/// The header extension by which a sender sets the receiver's playout delay.
pub const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

/// Tells the phone to show frames as they come instead of smoothing them (media.md trap 12).
pub fn no_playout_delay() -> Bytes {
    // Two 12-bit fields, shortest and longest delay in units of 10 ms, both 0.
    Bytes::from_static(&[0, 0, 0])
}

fn codec(
    mime_type: &str,
    clock_rate: u32,
    channels: u16,
    fmtp: &str,
    feedback: &[(&str, &str)],
) -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: mime_type.to_owned(),
        clock_rate,
        channels,
        sdp_fmtp_line: fmtp.to_owned(),
        rtcp_feedback: feedback
            .iter()
            .map(|(typ, parameter)| RTCPFeedback {
                typ: (*typ).to_owned(),
                parameter: (*parameter).to_owned(),
            })
            .collect(),
    }
}

/// Builds one peer connection with its sockets bound.
///
/// A network without IPv4, without IPv6 or without multicast is no reason to fail: the connection is then
/// built without.
///
/// # Errors
///
/// When no UDP socket can be bound on any interface.
pub async fn build(
    servers: &[Ready],
    policy: IcePolicy,
    (handler, choice): (Arc<dyn PeerConnectionEventHandler>, Arc<Choice>),
    (gauge, picture): (&Arc<Gauge>, Picture),
    numbers: &Extensions,
) -> Result<Arc<dyn PeerConnection>, RtcError> {
    let names = [MulticastDnsMode::QueryOnly, MulticastDnsMode::Disabled];
    let addresses: [&[&'static str]; 3] = [&["0.0.0.0:0", "[::]:0"], &["0.0.0.0:0"], &["[::]:0"]];
    let mut first = None;
    for mdns in names {
        for addresses in addresses {
            let configuration = configuration(servers, policy);
            // TCP for networks without UDP (RFC 6544); UDP has the higher priority.
            let tcp = if policy == IcePolicy::All { addresses } else { &[] };
            let handler = Arc::clone(&handler);
            let media = media(gauge, picture, numbers).map_err(RtcError::build)?;
            let sockets = Sockets::new(Arc::clone(&choice));
            match build_with(configuration, (handler, sockets), media, addresses, tcp, mdns).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    debug!("no peer connection with {addresses:?} and mDNS {mdns:?}: {error}");
                    first.get_or_insert(error);
                }
            }
        }
    }
    Err(first.unwrap_or(RtcError::TimedOut("building the connection")))
}

/// What a connection is built with, and what later replaces it.
pub fn configuration(servers: &[Ready], policy: IcePolicy) -> RTCConfiguration {
    let ice_servers = servers
        .iter()
        .map(|server| RTCIceServer {
            urls: vec![server.url.clone()],
            username: server.username.clone(),
            credential: server.credential.clone(),
        })
        .collect();
    let policy = match policy {
        IcePolicy::All => RTCIceTransportPolicy::All,
        IcePolicy::Relay => RTCIceTransportPolicy::Relay,
    };
    RTCConfigurationBuilder::new()
        .with_ice_servers(ice_servers)
        .with_ice_transport_policy(policy)
        .build()
}

async fn build_with(
    configuration: RTCConfiguration,
    (handler, sockets): (Arc<dyn PeerConnectionEventHandler>, Sockets),
    (media_engine, registry): (MediaEngine, Registry),
    udp: &[&'static str],
    tcp: &[&'static str],
    mdns: MulticastDnsMode,
) -> Result<Arc<dyn PeerConnection>, RtcError> {
    let settings = SettingEngineBuilder::new()
        // Keepalives each second: a hole in the network is over for us as soon as it is over, because
        // any packet of the peer's revives a `disconnected` pair. A `failed` one sends none, and when to
        // give up is the heart's decision.
        .with_ice_timeouts(
            Some(Duration::from_secs(5)),
            Some(Duration::from_secs(300)),
            Some(Duration::from_secs(1)),
        )
        // A browser that answers our offer takes the active part, and its later offers must find us
        // in the same role (RFC 8842 section 5.5); the crate would answer `active` each time.
        .with_answering_dtls_role(RTCDtlsRole::Server)
        // The crate nominates a pair at its next check only, so the pause between checks is paid in
        // full by every call. A pair that has failed is never tried again, so 500 checks keep all of
        // them alive for 15 s: a network that comes back in that time is found at once.
        .with_ice_connection_attempts(Some(Duration::from_millis(30)), Some(500))
        // The defaults wait up to 2 s for better pairs before a relay is taken (media.md trap 10).
        .with_srflx_acceptance_min_wait(Some(Duration::from_millis(100)))
        .with_prflx_acceptance_min_wait(Some(Duration::from_millis(100)))
        .with_relay_acceptance_min_wait(Some(Duration::from_millis(400)))
        // An allocation whose refresh meets a stale nonce is asked for again only at the next one (media.md trap 19).
        .with_turn_allocation_refresh_interval_cap(Duration::from_secs(60))
        // A restart binds anew: only so it finds the addresses of a network that has changed. Media
        // pauses during a restart either way.
        .with_discard_local_candidates_during_ice_restart(true)
        .with_multicast_dns_mode(mdns)
        .build();
    let connection = PeerConnectionBuilder::new()
        .with_configuration(configuration)
        .with_media_engine(media_engine)
        .with_interceptor_registry(registry)
        .with_setting_engine(settings)
        .with_runtime(Arc::new(sockets))
        .with_handler(handler)
        .with_udp_addrs(udp.to_vec())
        .with_tcp_addrs(tcp.to_vec())
        .build()
        .await
        .map_err(RtcError::build)?;
    Ok(Arc::new(connection))
}

/// The codecs and interceptors of a link that sends such a picture, and whose path `gauge` watches.
///
/// # Errors
///
/// When the crate refuses one of them, which it does not.
pub fn media(
    gauge: &Arc<Gauge>,
    picture: Picture,
    numbers: &Extensions,
) -> Result<(MediaEngine, Registry), webrtc::error::Error> {
    let mut engine = MediaEngine::default();
    // The crate numbers extensions in the order of their registration; one of no kind is never offered.
    for number in 1..=numbers.keys().next_back().copied().unwrap_or(0) {
        let gap = || format!("urn:x-intercomd:unused:{number}");
        let uri = numbers.get(&number).cloned().unwrap_or_else(gap);
        engine.register_header_extension(
            RTCRtpHeaderExtensionCapability { uri },
            RtpCodecKind::Unspecified,
            None,
        )?;
    }
    let audio = RTCRtpCodecParameters { rtp_codec: opus(), payload_type: 111 };
    engine.register_codec(audio, RtpCodecKind::Audio)?;
    // H.264 first: it is what we send. VP8 is what browsers like to send (protocol.md trap 11).
    let vp8 = codec("video/VP8", 90_000, 0, "", VIDEO_FEEDBACK);
    for (rtp_codec, payload_type) in
        [(h264(picture), 102), (rtx(102), 103), (vp8, 96), (rtx(96), 97)]
    {
        let video = RTCRtpCodecParameters { rtp_codec, payload_type };
        engine.register_codec(video, RtpCodecKind::Video)?;
    }
    engine.register_header_extension(
        RTCRtpHeaderExtensionCapability { uri: PLAYOUT_DELAY.to_owned() },
        RtpCodecKind::Video,
        None,
    )?;
    configure_simulcast_extension_headers(&mut engine)?;
    // Only what it says in descriptions is of use: its reports are made by `Reports`.
    configure_twcc_receiver_only(Registry::new(), &mut engine)?;
    let registry = Registry::new().with(Slot::TwccReceiver, Reports::default());
    let registry = bandwidth::register(configure_rtcp_reports(registry), gauge);
    Ok((engine, registry.with(Slot::from(LAST), KeyframeRequests::default())))
}

/// Retransmission for a codec (RFC 4588).
fn rtx(payload_type: u8) -> RTCRtpCodec {
    codec("video/rtx", 90_000, 0, &format!("apt={payload_type}"), &[])
}
