//! Asking the crate's peer connection, with a deadline and without its words about SDP.

use std::sync::Arc;
use std::time::Duration;

use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpParameters};
use tokio::time::timeout;
use webrtc::peer_connection::PeerConnection;
use webrtc::rtp_transceiver::RtpSender;

use super::tracks::Outgoing;
use super::{RtcError, numbers};

/// How long one operation on the peer connection may take.
pub(super) const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn add(
    connection: &Arc<dyn PeerConnection>,
    outgoing: &Outgoing,
) -> Result<Arc<dyn RtpSender>, RtcError> {
    operation("adding a track", connection.add_track(outgoing.track.clone())).await
}

pub(super) async fn parameters(sender: &Arc<dyn RtpSender>) -> Option<RTCRtpParameters> {
    let reading = operation("reading what was negotiated", sender.get_parameters()).await;
    reading.ok().map(|parameters| parameters.rtp_parameters)
}

pub(super) fn payload_type(
    parameters: &RTCRtpParameters,
    mime_type: &str,
    fmtp: &str,
) -> Option<u8> {
    let fits = |codec: &RTCRtpCodec| {
        codec.mime_type.eq_ignore_ascii_case(mime_type) && codec.sdp_fmtp_line.contains(fmtp)
    };
    let codec = parameters.codecs.iter().find(|codec| fits(&codec.rtp_codec))?;
    Some(codec.payload_type)
}

pub(super) fn extension(parameters: &RTCRtpParameters, uri: &str) -> Option<u8> {
    let extension = parameters.header_extensions.iter().find(|extension| extension.uri == uri)?;
    // Beyond that the crate writes numbers that mean something else.
    u8::try_from(extension.id).ok().filter(|id| numbers::RANGE.contains(&u16::from(*id)))
}

pub(super) async fn operation<T>(
    name: &'static str,
    future: impl Future<Output = Result<T, webrtc::error::Error>>,
) -> Result<T, RtcError> {
    bounded(name, future).await?.map_err(|error| failed(name, &error))
}

pub(super) async fn bounded<T>(
    name: &'static str,
    future: impl Future<Output = T>,
) -> Result<T, RtcError> {
    timeout(OPERATION_TIMEOUT, future).await.map_err(|_| RtcError::TimedOut(name))
}

/// Some of the crate's errors quote what they could not parse; only the first words are kept.
pub(super) fn failed(operation: &'static str, error: &webrtc::error::Error) -> RtcError {
    let text = error.to_string();
    let reason = text.split([':', '\n', '"']).next().unwrap_or("").chars().take(80).collect();
    RtcError::Operation { operation, reason }
}
