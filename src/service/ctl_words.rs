//! What `intercomd ctl` tells a person: events, the status and the log in words.
//!
//! Values in, text out.

use std::time::{Duration, UNIX_EPOCH};

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use super::control::{Status, UplinkStatus};
use super::happenings::{Event, Happening, PeerChange, Who};
use crate::memory::calls::Entry;

/// A text as a QR code for a terminal with dark ground; empty if the text is too long for one.
pub(super) fn qr_code(text: &str) -> String {
    QrCode::new(text).map_or_else(
        |_| String::new(),
        |code| {
            // Readers want dark on light, and a terminal is mostly light on dark.
            let (dark, light) = (Dense1x2::Light, Dense1x2::Dark);
            code.render::<Dense1x2>().dark_color(dark).light_color(light).build()
        },
    )
}

/// One call of the log.
pub(super) fn log_line(entry: &Entry) -> String {
    let at = UNIX_EPOCH + Duration::from_secs(entry.at);
    let mut line = format!("{} {}", humantime::format_rfc3339_seconds(at), entry.outcome);
    if !entry.answered_by.is_empty() {
        line.push_str(&format!(", answered by {}", entry.answered_by.join(", ")));
        line.push_str(&format!(", talked {}", whole_seconds(Duration::from_secs(entry.talk_s))));
    }
    if !entry.opened_by.is_empty() {
        line.push_str(&format!(", opened by {}", entry.opened_by.join(", ")));
    }
    if entry.refused > 0 {
        line.push_str(&format!(", {} tries to open refused", entry.refused));
    }
    if entry.rings > 1 {
        line.push_str(&format!(", rang {} times", entry.rings));
    }
    let picture = if entry.picture { ", with a picture" } else { "" };
    format!("{line}{picture} ({})", entry.call)
}

fn who(by: &Who) -> String {
    match by {
        Who::Control { user } => format!("user {user} by control"),
        Who::Person { person, id } => format!("{person} from {id}"),
        Who::Page { claims: Some(name), id } => format!("somebody from {id} who says to be {name}"),
        Who::Page { claims: None, id } => format!("somebody from {id}"),
        Who::Automation => "the home automation".to_owned(),
    }
}

/// An event for a person.
pub(super) fn sentence(event: &Event) -> String {
    let what = match &event.what {
        Happening::State { state } => format!("the door is {}", state.name()),
        Happening::Rang { call, again: false } => format!("the doorbell rang (call {call})"),
        Happening::Rang { call, again: true } => {
            format!("the doorbell rang again (call {call})")
        }
        Happening::PressIgnored { state } => {
            format!("a press changed nothing: the door is {}", state.name())
        }
        Happening::LongPress => "the button is held for long".to_owned(),
        Happening::Opened { by, for_ms } => {
            let time = humantime::format_duration(Duration::from_millis(*for_ms));
            format!("the door was opened for {time} ({})", who(by))
        }
        Happening::OpenRefused { by, why } => {
            format!("the door was not opened: {why} ({})", who(by))
        }
        Happening::LogRefused { by, why } => {
            format!("the log was not told: {why} ({})", who(by))
        }
        Happening::LooksIn { person, id, uplink, .. } => {
            format!("{person} looks through the camera ({id} by {uplink})")
        }
        Happening::LookOver { .. } => "nobody looks through the camera any more".to_owned(),
        Happening::LookRefused { by, why } => {
            format!("the camera was not shown: {why} ({})", who(by))
        }
        Happening::RingingAt { pages } => format!("it rings at {pages} pages"),
        Happening::Seen { id, uplink, after_ms } => {
            format!("{id} saw the visitor after {after_ms} ms (by {uplink})")
        }
        Happening::Reached { id, what, after_ms, .. } => {
            format!("{} after {after_ms} ms: {what}", id.as_deref().unwrap_or("the door"))
        }
        Happening::ProofsLocked { id: Some(id) } => {
            format!("{id} proved wrongly too often and is not listened to in this call")
        }
        Happening::ProofsLocked { id: None } => {
            "too many wrong proofs: nobody can open the door from a page for a minute".to_owned()
        }
        Happening::Fault { part, over: false } => format!("out of order: {part}"),
        Happening::Fault { part, over: true } => format!("in order again: {part}"),
        Happening::Answered { id, uplink, name } => match name {
            Some(name) => format!("{name} answered ({id} by {uplink})"),
            None => format!("{id} answered (by {uplink})"),
        },
        Happening::Ended { call, cause } => format!("call {call} has ended: {cause}"),
        Happening::Peer { id, uplink, change } => {
            let change = match change {
                PeerChange::Came => "came into view",
                PeerChange::Left => "left",
                PeerChange::Rebuilt => "is being reached anew",
                PeerChange::GivenUp => "could not be reached",
                PeerChange::CameBack => "came back under this id",
                PeerChange::Waits => "waits, the door is full",
                PeerChange::TurnedAway => "sent too much and is turned away",
                PeerChange::OtherDoor => "is another door and is left alone",
                PeerChange::PictureFull => "gets the whole picture",
                PeerChange::PictureStills => "gets stills only, its network is slow",
                PeerChange::PicturePaused => "gets sound only, its network is too slow",
            };
            format!("{id} {change} (by {uplink})")
        }
        Happening::Uplink { name, state } => format!("uplink {name}: {state}"),
        Happening::Stopping => "the daemon is stopping".to_owned(),
    };
    let at = UNIX_EPOCH + Duration::try_from_secs_f64(event.at).unwrap_or_default();
    format!("{} {what}", humantime::format_rfc3339_millis(at))
}

/// The status for a person. `now` is the time since 1970.
pub(super) fn describe(status: &Status, now: Duration) -> String {
    let mut page = Page::default();
    page.row("state", || match &status.call {
        Some(call) => {
            let since = Duration::try_from_secs_f64(call.since).unwrap_or_default();
            let lasts = whole_seconds(now.saturating_sub(since));
            format!("{} (call {}, for {lasts})", status.state.name(), call.id)
        }
        None => status.state.name().to_owned(),
    });
    page.row("health", || status.health.word.name().to_owned());
    for reason in &status.health.reasons {
        page.row("", || format!("→ {reason}"));
    }
    if let Some(budget) = status.call.as_ref().and_then(|call| call.budget.as_ref()) {
        page.row("so far", || budget.to_string());
    }
    page.row("faults", || status.faults.join(", "));
    for uplink in &status.uplinks {
        page.row("uplink", || uplink_line(uplink));
        if let Some(advice) = &uplink.advice {
            page.row("", || format!("→ {advice}"));
        }
        if let Some(ahead) = uplink.clock_ahead_s {
            page.row("", || {
                let side = if ahead < 0 { "behind" } else { "ahead" };
                format!("→ the door's clock is {} s {side}; the door allows for it", ahead.abs())
            });
        }
    }
    for peer in &status.peers {
        page.row("peer", || {
            let answered = if peer.answered { ", answered" } else { "" };
            let codec = peer.video_codec.as_deref().unwrap_or("no video");
            let way = peer.path.as_deref().map(|path| format!(" {path}")).unwrap_or_default();
            let picture = match peer.picture.as_str() {
                "keyframes" => ", stills only: its network is slow",
                "paused" => ", sound only: its network is too slow",
                _ => "",
            };
            format!(
                "{} by {}: {}{way} (link {}{answered}), frames sent {}, received {} ({codec}{picture})",
                peer.id,
                peer.uplink,
                peer.link,
                peer.generation,
                peer.frames_sent,
                peer.frames_received
            )
        });
    }
    for hook in &status.hooks {
        page.row("hook", || {
            let trouble = hook.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            let lost = hook.failed + hook.dropped;
            format!(
                "{}, told {}, lost {lost}, waiting {}{trouble}",
                hook.name, hook.sent, hook.waiting
            )
        });
    }
    let media = &status.media;
    page.row("camera", || media.camera.clone());
    page.row("encoder", || match media.bitrate_kbps {
        0 => media.encoder.clone(),
        rate => format!("{} at {rate} kbit/s", media.encoder),
    });
    page.row("microphone", || media.microphone.clone());
    page.row("capture", || {
        format!(
            "{}, frames {}, pipelines built {}",
            media.capture, media.frames, media.pipelines_built
        )
    });
    page.row("display", || format!("{}, frames shown {}", media.display, media.frames_shown));
    page.row("text", || media.display_text.clone().unwrap_or_default());
    page.row("speaker", || format!("{}, buffers played {}", media.speaker, media.audio_played));
    let panel = &status.panel;
    page.row("panel", || panel.kind.clone());
    page.row("button", || panel.button.clone());
    page.row("lamp", || panel.lamp.clone());
    page.row("chime", || panel.chime.clone());
    page.row("relay", || panel.relay.clone());
    page.row("door", || status.door.replace('_', " "));
    let counters: Vec<String> = status
        .counters
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if !counters.is_empty() {
        page.row("counters", || counters.join(", "));
    }
    page.row("page", || match &status.address {
        Some(address) => address.clone(),
        None => "not served here".to_owned(),
    });
    page.row("version", || {
        let up = whole_seconds(Duration::from_secs(status.uptime_s));
        format!("{}, up for {up}", status.version)
    });
    page.0
}

fn uplink_line(uplink: &UplinkStatus) -> String {
    match &uplink.peer_id {
        Some(id) => format!("{}: {} as {id}", uplink.name, uplink.state),
        None => format!("{}: {}", uplink.name, uplink.state),
    }
}

fn whole_seconds(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

/// Rows of a name and a text; rows without a text are left out.
#[derive(Default)]
struct Page(String);

impl Page {
    fn row(&mut self, name: &str, text: impl FnOnce() -> String) {
        let text = text();
        if !text.is_empty() {
            self.0.push_str(&format!("{name:<11} {text}\n"));
        }
    }
}
