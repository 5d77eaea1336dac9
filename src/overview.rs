//! Everything `status` shows, read off the hands and the heart at one moment.
//!
//! Reads only; carries nothing out.

use std::time::{Instant, SystemTime};

use crate::hands::Hands;
use crate::hooks::OutletStatus;
use crate::intercom::{LinkId, PeerView, Snapshot, Stance};
use crate::media::CaptureState;
use crate::publisher::Publisher;
use crate::rtc::LinkHandle;
use crate::service::control::{
    CallStatus, HookStatus, MediaStatus, OutputStatus, PanelStatus, PeerStatus, Status,
    UplinkStatus,
};
use crate::service::health::{self, Health};
use crate::service::server::unix_seconds;
use crate::signalling::uplink::UplinkHandle;

impl Hands {
    /// Everything `status` shows.
    pub fn status(&self, heart: &Snapshot) -> Status {
        let now = Instant::now();
        let capture = self.capture.status();
        let playback = self.playback.status();
        let panel = self.panel.status();
        let counters = heart.counters;
        let mut status = Status {
            health: Health::default(),
            state: heart.state.into(),
            call: heart.call.as_ref().map(|(id, since)| CallStatus {
                id: id.to_string(),
                since: unix_seconds(SystemTime::now() - now.saturating_duration_since(*since)),
                budget: self.clerk.budget(),
            }),
            uplinks: self.uplinks.values().map(uplink_status).collect(),
            door: heart.door.name().to_owned(),
            faults: heart.faults.iter().map(ToString::to_string).collect(),
            peers: heart.peers.iter().map(|peer| self.peer_status(peer)).collect(),
            publish: self.publisher.as_ref().map(Publisher::status),
            hooks: self.herald.status().into_iter().map(hook_status).collect(),
            media: MediaStatus {
                camera: capture.camera,
                encoder: capture.encoder,
                microphone: capture.microphone,
                capture: match capture.state {
                    CaptureState::Off => "off".to_owned(),
                    CaptureState::Starting => "starting".to_owned(),
                    CaptureState::Running => "running".to_owned(),
                    CaptureState::Broken { reason } => format!("broken: {reason}"),
                },
                frames: capture.frames,
                bitrate_kbps: capture.bitrate_kbps,
                pipelines_built: capture.pipelines_built,
                display: playback.display,
                speaker: playback.speaker,
                frames_shown: playback.video_frames,
                audio_played: playback.audio_buffers,
                display_text: playback.note,
            },
            panel: PanelStatus {
                kind: panel.kind.to_owned(),
                button: panel.button,
                relay: panel.relay,
                lamp: panel.lamp,
                chime: panel.chime,
                outputs: panel
                    .outputs
                    .into_iter()
                    .map(|record| OutputStatus {
                        output: record.output.to_owned(),
                        value: record.value.to_owned(),
                        at: unix_seconds(record.at),
                    })
                    .collect(),
            },
            counters: [
                ("calls", counters.calls),
                ("presses_in_quiet_hours", counters.hushed),
                ("openings", counters.openings),
                ("wrong_proofs", counters.wrong_proofs),
                ("openings_refused", counters.refusals),
                ("long_presses", counters.long_presses),
                ("button_faults", counters.button_faults),
                ("camera_faults", counters.camera_faults),
                ("line_faults", counters.line_faults),
                ("violations", counters.violations),
                ("ignored_inputs", counters.ignored),
                ("link_rebuilds", counters.rebuilds),
                ("rejoins", counters.rejoins),
                ("peers_given_up", counters.given_up),
                ("capture_failures", capture.failures),
                ("links_open", self.open.len() as u64),
            ]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address: self.address.clone(),
            uptime_s: self.started.elapsed().as_secs(),
        };
        status.health = health::of(&status);
        status
    }

    fn peer_status(&self, peer: &PeerView) -> PeerStatus {
        let generation = peer.generation.unwrap_or(0);
        let link = LinkId { peer: peer.key.clone(), generation };
        let reading = self.open.get(&link).map(LinkHandle::reading).unwrap_or_default();
        let uplink = self.uplinks.get(&peer.key.uplink).map(UplinkHandle::status);
        let metadata = uplink
            .and_then(|status| status.borrow().peer_metadata.get(peer.key.id.as_str()).cloned());
        PeerStatus {
            id: peer.key.id.to_string(),
            uplink: peer.key.uplink.to_string(),
            link: peer.link.to_owned(),
            generation,
            answered: matches!(peer.stance, Stance::Answered(_)),
            heard: self.heard.contains(&link),
            frames_sent: reading.frames_sent,
            frames_received: reading.frames_received,
            audio_sent: reading.audio_sent,
            audio_received: reading.audio_received,
            path: reading
                .path
                .map(|local| format!("{local}-{}", reading.path_remote.unwrap_or("unknown"))),
            picture: peer.video.name().to_owned(),
            metadata,
            loss_percent: reading.loss_percent,
            estimate_kbps: reading.estimate_kbps,
            video_codec: reading.video_codec.map(str::to_owned),
        }
    }
}

fn hook_status(outlet: OutletStatus) -> HookStatus {
    let failing =
        outlet.last_failure.is_some_and(|at| outlet.last_success.is_none_or(|was| was < at));
    HookStatus {
        name: outlet.name,
        last_success: outlet.last_success,
        error: outlet.last_error.filter(|_| failing),
        sent: outlet.sent,
        failed: outlet.failed,
        dropped: outlet.dropped,
        waiting: outlet.waiting as u64,
    }
}

fn uplink_status(uplink: &UplinkHandle) -> UplinkStatus {
    let status = uplink.status();
    let status = status.borrow();
    UplinkStatus {
        name: status.name.to_owned(),
        state: status.state.name().to_owned(),
        peer_id: status.peer_id.as_ref().map(ToString::to_string),
        advice: status.problem.clone(),
        clock_ahead_s: status.clock_ahead,
        metadata: status.own_metadata.as_deref().cloned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Board, Source, built_in_board};
    use crate::media::{Capture, Playback};
    use crate::service::health::Grade;

    const LIMIT: Duration = Duration::from_secs(20);

    fn board(change: impl FnOnce(&mut Board)) -> Board {
        let mut board = built_in_board("sim").expect("the simulated board is built in");
        board.camera.source = Source::Off;
        board.microphone.source = Source::Off;
        board.display.source = Source::Off;
        board.speaker.source = Source::Off;
        change(&mut board);
        board
    }

    /// How the door is when one of its parts says this of itself.
    async fn grade_at(words: &str, mut said: impl FnMut() -> MediaStatus) -> Grade {
        let waiting = async {
            loop {
                let media = said();
                let all = [&media.microphone, &media.speaker, &media.display];
                if all.iter().any(|part| part.contains(words)) {
                    return health::of(&Status { media, ..Status::default() }).word;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let grade = tokio::time::timeout(LIMIT, waiting).await;
        grade.unwrap_or_else(|_| panic!("never {words}: {:?}", said()))
    }

    async fn played(words: &str, change: impl FnOnce(&mut Board)) -> Grade {
        let playback = Playback::new(&board(change));
        playback.chime();
        let said = || {
            let status = playback.status();
            MediaStatus {
                speaker: status.speaker,
                display: status.display,
                ..MediaStatus::default()
            }
        };
        let grade = grade_at(words, said).await;
        playback.stop().await;
        grade
    }

    async fn heard(words: &str, change: impl FnOnce(&mut Board)) -> Grade {
        let capture = Capture::new(&board(change));
        capture.set(true);
        let said =
            || MediaStatus { microphone: capture.status().microphone, ..MediaStatus::default() };
        let grade = grade_at(words, said).await;
        capture.stop().await;
        grade
    }

    #[tokio::test]
    async fn health_knows_by_what_the_media_say_whether_a_part_fails_or_is_off() {
        let nowhere = || Source::Pipeline("no-such-element-anywhere".to_owned());
        let card = || Source::Device("no such card".to_owned());
        let off = "off, as the board says";
        assert_eq!(played(off, |_| {}).await, Grade::Good);
        assert_eq!(heard(off, |_| {}).await, Grade::Good);
        let speaker = played("not playing", |board| board.speaker.source = nowhere()).await;
        assert_eq!(speaker, Grade::Degraded);
        let speaker =
            played("the named card does not exist", |board| board.speaker.source = card()).await;
        assert_eq!(speaker, Grade::Degraded);
        let display = played("trying again", |board| {
            (board.display.source, board.display.slates) = (nowhere(), true);
        });
        assert_eq!(display.await, Grade::Degraded);
        let microphone = heard("no sound card called", |board| board.microphone.source = card());
        assert_eq!(microphone.await, Grade::Degraded);
        let microphone = heard("none (own pipeline", |board| board.microphone.source = nowhere());
        assert_eq!(microphone.await, Grade::Degraded);
    }
}
