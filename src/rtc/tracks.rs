//! What flows over a link once it is up: the fan-out's units out as RTP, the peer's RTP into playback.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::media_stream::MediaStreamTrack;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RTCRtpRtxParameters,
    RtpCodecKind,
};
use rtc::shared::marshal::{Marshal, MarshalSize};
use tokio::sync::{Notify, mpsc, watch};
use tracing::{debug, trace};
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_local::{TrackLocal, TrackLocalEvent};
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};

use super::bandwidth::Gauge;
use super::firsts::Firsts;
use super::order::{Order, Place};
use super::pace::Lane;
use super::{Ears, LinkStats, Picture, engine, sdp};
use crate::config::names::{AUDIO_TRACK, MEDIA_STREAM, VIDEO_TRACK};
use crate::intercom::VideoMode;
use crate::media::{
    AudioUnit, Fanout, Kind, Party, Playback, RemoteStream, RtpInput, Unit, VideoUnit,
};

/// How long one packet may wait for the connection's driver before it is dropped.
const WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// How long after a packet of the voice its copy goes out: what swallowed the one may be over by then, and
/// half of the packet's own time is left.
const COPY_DELAY: Duration = Duration::from_millis(10);

/// Where a track begins to number its packets: in the lower half. A receiver that misses the turn from 65535 to 0 at the
/// very beginning decrypts nothing of the track any more, as it counts the turns itself (RFC 3711 section 3.3.1).
fn first_number(random: u16) -> u16 {
    random >> 1
}

/// The payload types the peer takes our media under; none until negotiated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Targets {
    /// For Opus.
    pub audio: Option<u8>,
    /// For H.264.
    pub video: Option<u8>,
    /// The id of the playout-delay header extension.
    pub playout_delay: Option<u8>,
}

/// One of our two tracks on one link.
pub struct Outgoing {
    /// The track as the connection knows it.
    pub track: Arc<TrackLocalStaticRTP>,
    ssrc: u32,
    sequence: u16,
    /// Added to the fan-out's time: RTP time begins anywhere (RFC 3550 section 5.1).
    offset: u32,
}

impl Outgoing {
    /// A track of this kind with fresh random numbers.
    pub fn new(kind: Kind, picture: Picture) -> Self {
        let random = uuid::Uuid::new_v4().as_u128();
        let ssrc = (random as u32) | 1;
        let (codec, codec_kind, id, rtx) = match kind {
            Kind::Audio => (engine::opus(), RtpCodecKind::Audio, AUDIO_TRACK, None),
            Kind::Video => {
                let rtx = RTCRtpRtxParameters { ssrc: ssrc ^ 0x5555_5554 };
                (engine::h264(picture), RtpCodecKind::Video, VIDEO_TRACK, Some(rtx))
            }
        };
        Self {
            track: Arc::new(TrackLocalStaticRTP::new(track(codec, codec_kind, id, ssrc, rtx))),
            ssrc,
            sequence: first_number((random >> 32) as u16),
            offset: (random >> 96) as u32,
        }
    }

    fn packet(
        &mut self,
        payload_type: u8,
        rtp_time: u32,
        marker: bool,
        payload: Bytes,
    ) -> rtp::Packet {
        self.sequence = self.sequence.wrapping_add(1);
        rtp::Packet {
            header: rtp::header::Header {
                version: 2,
                marker,
                payload_type,
                sequence_number: self.sequence,
                timestamp: rtp_time.wrapping_add(self.offset),
                ssrc: self.ssrc,
                ..Default::default()
            },
            payload,
        }
    }
}

impl Outgoing {
    /// The packets of one picture, for a peer that takes video.
    fn picture(&mut self, unit: &VideoUnit, targets: Targets) -> Vec<rtp::Packet> {
        let Some(payload_type) = targets.video else { return Vec::new() };
        let last = unit.payloads.len().saturating_sub(1);
        let packets = unit.payloads.iter().enumerate().map(|(index, payload)| {
            let mut packet =
                self.packet(payload_type, unit.rtp_time, index == last, payload.clone());
            // Ids differ from peer to peer: the offerer chooses them (RFC 8285 section 6). A packet
            // without the extension is as good, only shown a little later.
            if let Some(id) = targets.playout_delay {
                let _ = packet.header.set_extension(id, engine::no_playout_delay());
            }
            packet
        });
        packets.collect()
    }
}

fn track(
    codec: RTCRtpCodec,
    kind: RtpCodecKind,
    id: &str,
    ssrc: u32,
    rtx: Option<RTCRtpRtxParameters>,
) -> MediaStreamTrack {
    let coding = RTCRtpCodingParameters { ssrc: Some(ssrc), rtx, ..Default::default() };
    MediaStreamTrack::new(
        MEDIA_STREAM.to_owned(),
        id.to_owned(),
        id.to_owned(),
        kind,
        vec![RTCRtpEncodingParameters {
            rtp_coding_parameters: coding,
            codec,
            ..Default::default()
        }],
    )
}

/// What a sender needs to know.
pub struct Sending {
    /// Where the units come from.
    pub fanout: Fanout,
    /// The payload types the peer takes.
    pub targets: watch::Receiver<Targets>,
    /// Where it is counted.
    pub stats: Arc<LinkStats>,
    /// What the path takes.
    pub gauge: Arc<Gauge>,
    /// Who hears the microphone.
    pub ears: Ears,
    /// Whether the peer is one who has answered.
    pub played: watch::Receiver<Played>,
    /// What has been sent for the first time.
    pub firsts: Firsts,
}

/// Sends the fan-out's units to the peer until the feed ends: sound at once, pictures as the path allows.
pub async fn send(sending: Sending, mut audio: Outgoing, mut video: Outgoing) {
    let Sending { fanout, targets, stats, gauge, ears, played, mut firsts } = sending;
    let mut feed = fanout.feed();
    let mut lane: Lane<rtp::Packet> = Lane::default();
    let mut copy = None;
    loop {
        let road = gauge.road();
        let mut pace = road.pace;
        // A keyframe tried on a path for the voice only is not worth a pause of the voice.
        if road.congested && road.mode != VideoMode::Full {
            lane.clear();
        }
        while let Some(packet) = lane.next(gauge.now(), pace) {
            let sequence = packet.header.sequence_number;
            if write(&video.track, packet, &stats).await {
                firsts.picture(sequence);
            }
            pace = gauge.road().pace;
        }
        if copy.as_ref().is_some_and(|(due, _)| *due <= gauge.now()) {
            say_again(&mut copy, &mut audio, &targets, &stats).await;
        }
        let due = lane.due(pace).into_iter().chain(copy.as_ref().map(|(due, _)| *due)).min();
        let rest = due.map(|due| due.saturating_sub(gauge.now()));
        let unit = tokio::select! {
            biased;
            unit = feed.next() => unit,
            () = tokio::time::sleep(rest.unwrap_or_default()), if rest.is_some() => continue,
        };
        let present = *targets.borrow();
        match unit {
            None => return,
            Some(Unit::Audio(unit)) => {
                let Some(payload_type) = present.audio else { continue };
                if ears == Ears::Answered && !played.borrow().voice {
                    continue;
                }
                say_again(&mut copy, &mut audio, &targets, &stats).await;
                let packet = audio.packet(payload_type, unit.rtp_time, false, unit.payload.clone());
                if write(&audio.track, packet, &stats).await {
                    firsts.sound();
                }
                stats.audio_sent.fetch_add(1, Ordering::Relaxed);
                if gauge.wants_copies() {
                    copy = Some((gauge.now() + COPY_DELAY, unit));
                }
            }
            Some(Unit::Video(unit)) => {
                if present.video.is_none() {
                    continue;
                }
                let (now, road) = (gauge.now(), gauge.road());
                if lane.admits(unit.keyframe, now, road) {
                    for packet in video.picture(&unit, present) {
                        let size = packet.marshal_size();
                        lane.push(packet, size);
                    }
                    if unit.keyframe {
                        firsts.keyframe(video.sequence);
                    }
                    stats.frames_sent.fetch_add(1, Ordering::Relaxed);
                } else {
                    stats.frames_dropped.fetch_add(1, Ordering::Relaxed);
                }
                if lane.wants_keyframe(now, road) {
                    fanout.request_keyframe();
                }
            }
        }
    }
}

/// Sends the copy of a piece of sound if one waits. It is a packet of its own with the same time, as one
/// number must not be encrypted twice with different headers; the receiver takes whichever comes first.
async fn say_again(
    copy: &mut Option<(Duration, Arc<AudioUnit>)>,
    audio: &mut Outgoing,
    targets: &watch::Receiver<Targets>,
    stats: &LinkStats,
) {
    let payload_type = targets.borrow().audio;
    if let (Some((_, unit)), Some(payload_type)) = (copy.take(), payload_type) {
        let packet = audio.packet(payload_type, unit.rtp_time, false, unit.payload.clone());
        write(&audio.track, packet, stats).await;
    }
}

/// Hands a packet to the connection. Whether it took it.
async fn write(track: &TrackLocalStaticRTP, packet: rtp::Packet, stats: &LinkStats) -> bool {
    let writing = track.write_rtp(packet);
    // The crate's write errors print the payload: they are counted, never shown.
    let taken = matches!(tokio::time::timeout(WRITE_TIMEOUT, writing).await, Ok(Ok(())));
    if !taken {
        stats.write_errors.fetch_add(1, Ordering::Relaxed);
    }
    taken
}

/// Passes the peer's requests for a keyframe on, until the connection closes. Not those that could not be
/// answered now: the others would pay for them, and the sender asks by itself as soon as there is room.
pub async fn answer_keyframe_requests(
    track: Arc<TrackLocalStaticRTP>,
    fanout: Fanout,
    gauge: Arc<Gauge>,
    party: Party,
) {
    let mut asked: Option<Instant> = None;
    // When a request is passed on that came too soon: it is that of another viewer, who sees nothing until then.
    let mut due: Option<Instant> = None;
    loop {
        tokio::select! {
            event = track.poll() => match event {
                Some(TrackLocalEvent::OnRtcpPacket(_)) => {}
                Some(_) => continue,
                None => return,
            },
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => due = None,
        }
        let road = gauge.road();
        trace!(?road, "the peer asks for a keyframe");
        if party == Party::Audience
            && let Some(at) = asked
            && at.elapsed() < AUDIENCE_PATIENCE
        {
            // A viewer repeats itself until the keyframe is there.
            if at.elapsed() > KEYFRAME_COMES {
                due = Some(at + AUDIENCE_PATIENCE);
            }
        } else if road.mode == VideoMode::Full && !road.congested {
            asked = Some(Instant::now());
            fanout.request_keyframe();
        }
    }
}

/// So often an audience may have a keyframe made: each costs all phones some of their picture, and people come and go.
const AUDIENCE_PATIENCE: Duration = Duration::from_secs(3);
/// A keyframe that was asked for has come by then.
const KEYFRAME_COMES: Duration = Duration::from_millis(500);

/// What a receiver needs to know.
#[derive(Clone)]
pub struct Receiving {
    /// What the door plays of this peer.
    pub played: watch::Receiver<Played>,
    /// The payload types we have assigned.
    pub codecs: watch::Receiver<BTreeMap<u8, sdp::Codec>>,
    /// Where it is played.
    pub playback: Playback,
    /// Where it is counted.
    pub stats: Arc<LinkStats>,
    /// What the path takes; it hears that the peer is heard.
    pub gauge: Arc<Gauge>,
    /// Asked for a keyframe when the peer is heard again after a silence.
    pub fanout: Fanout,
    /// Tells all tracks of the link that the peer is heard again after a silence: whichever of them it was heard on,
    /// its picture goes on with a keyframe.
    pub heard_again: Arc<Notify>,
}

/// What the door plays of a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Played {
    /// Its picture is on the display.
    pub picture: bool,
    /// Its voice is in the mix.
    pub voice: bool,
}

impl Played {
    fn has(self, kind: Kind) -> bool {
        match kind {
            Kind::Audio => self.voice,
            Kind::Video => self.picture,
        }
    }
}

/// A track whose packets stopped for so long has lost pictures: the next can only be shown after a keyframe.
const STOPPED: Duration = Duration::from_secs(1);

/// Reads one of the peer's tracks until it ends; plays it while the door plays that of this peer.
pub async fn receive(track: Arc<dyn TrackRemote>, mut receiving: Receiving) {
    let kind = match track.kind().await {
        RtpCodecKind::Audio => Kind::Audio,
        RtpCodecKind::Video => Kind::Video,
        _ => return,
    };
    // 1: a second request before the first is sent asks for the same thing.
    let (ask, mut asked) = mpsc::channel(1);
    let mut playing: Option<(u8, RtpInput)> = None;
    let mut media_ssrc = 0;
    let mut last = Instant::now();
    let mut order = Order::default();
    let notify = Arc::clone(&receiving.heard_again);
    let mut heard_again = pin!(notify.notified());
    loop {
        tokio::select! {
            event = track.poll() => match event {
                Some(TrackRemoteEvent::OnRtpPacket(packet)) => {
                    media_ssrc = packet.header.ssrc;
                    count(kind, &packet, &receiving.stats);
                    if receiving.gauge.peer_heard() {
                        receiving.fanout.request_keyframe();
                        receiving.heard_again.notify_waiters();
                    }
                    let stopped = last.elapsed() >= STOPPED;
                    last = Instant::now();
                    let place = match kind {
                        Kind::Video => order.place(packet.header.timestamp),
                        Kind::Audio => Place::Next,
                    };
                    if stopped
                        && kind == Kind::Video
                        && let Some((_, input)) = &playing
                    {
                        input.after_a_hole();
                        let _ = ask.try_send(());
                    } else if let (Place::Jump, Some((_, input))) = (place, &playing) {
                        input.after_a_hole();
                    }
                    if place != Place::Stale && receiving.played.borrow().has(kind) {
                        play(kind, packet, &receiving, &ask, &mut playing);
                    }
                }
                Some(TrackRemoteEvent::OnEnded) | None => break,
                Some(_) => {}
            },
            changed = receiving.played.changed() => {
                if changed.is_err() {
                    break;
                }
                if !receiving.played.borrow().has(kind) {
                    playing = None;
                }
            }
            () = &mut heard_again => {
                heard_again.set(notify.notified());
                if kind == Kind::Video && playing.is_some() {
                    let _ = ask.try_send(());
                }
            }
            Some(()) = asked.recv(), if media_ssrc != 0 => {
                let request = PictureLossIndication { sender_ssrc: 0, media_ssrc };
                if track.write_rtcp(vec![Box::new(request)]).await.is_err() {
                    debug!("cannot ask the peer for a keyframe: its connection is gone");
                }
            }
        }
    }
}

fn count(kind: Kind, packet: &rtp::Packet, stats: &LinkStats) {
    match kind {
        Kind::Audio => stats.audio_received.fetch_add(1, Ordering::Relaxed),
        Kind::Video => {
            stats.frames_received.fetch_add(u64::from(packet.header.marker), Ordering::Relaxed)
        }
    };
}

fn play(
    kind: Kind,
    packet: rtp::Packet,
    receiving: &Receiving,
    ask: &mpsc::Sender<()>,
    playing: &mut Option<(u8, RtpInput)>,
) {
    let payload_type = packet.header.payload_type;
    if playing.as_ref().is_none_or(|(current, _)| *current != payload_type) {
        let codec = receiving.codecs.borrow().get(&payload_type).cloned();
        // Padding probes and comfort noise come under payload types of their own.
        let Some(codec) = codec.filter(|codec| matches!(&*codec.encoding, "H264" | "VP8" | "OPUS"))
        else {
            return;
        };
        let stream = RemoteStream {
            kind,
            encoding: codec.encoding,
            payload_type,
            clock_rate: codec.clock_rate,
        };
        let asking = ask.clone();
        let need_keyframe = Arc::new(move || {
            let _ = asking.try_send(());
        });
        *playing = Some((payload_type, receiving.playback.open(stream, need_keyframe)));
        if kind == Kind::Video {
            // We come in the middle of the stream.
            let _ = ask.try_send(());
        }
    }
    if let (Some((_, input)), Ok(bytes)) = (playing.as_ref(), packet.marshal()) {
        input.push(bytes.freeze());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_that_is_lost_costs_no_turn_of_the_packet_numbers() {
        let track = || Outgoing::new(Kind::Video, Picture::default()).sequence;
        let begun: Vec<u16> = (0..200).map(|_| track()).collect();
        assert!(begun.iter().all(|number| *number < 0x8000), "{begun:?}");
        assert!(begun.iter().any(|number| *number > 0x4000), "they are not the same each time");
        assert_eq!(first_number(u16::MAX), 0x7fff);
    }
}
