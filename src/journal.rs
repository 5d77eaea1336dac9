//! What an owner reads in the journal of what happens at the door, and `systemctl status` of how it stands.

use tracing::{debug, error, info, warn};

use crate::intercom::{CallState, Report};
use crate::memory::calls::{Entry, News};
use crate::service::notify;

/// Writes a report of the heart's down. `news`: what it did to the log of calls.
pub fn write(report: &Report, news: &News) {
    match report {
        Report::State(state) => {
            debug!("the call is {}", state.name());
            notify::status(in_words(*state));
        }
        Report::Rang { call, again: false } => info!("the doorbell rang (call {call})"),
        Report::Rang { call, again: true } => info!("the doorbell rang again (call {call})"),
        Report::PressIgnored(state) => {
            info!("the doorbell was pressed while {}; nothing to do", state.name());
        }
        Report::LongPress => info!("the doorbell button is held for long"),
        Report::Opened { by, length } => info!("the door is opened for {length:?} by {by}"),
        Report::OpenRefused { by, why } => {
            warn!("the door is not opened for {by}: {}", why.name());
        }
        Report::LooksIn { by, peer, .. } => info!("{by} looks through the camera from {peer}"),
        Report::LookOver(_) => info!("nobody looks through the camera any more"),
        Report::LookRefused { by, why } => {
            warn!("the camera is not shown to {by}: {}", why.name());
        }
        Report::Violated(what) => {
            error!(
                "this must not be: {what}; the door goes on; please report it with `intercomd ctl diagnose`"
            );
        }
        Report::Broken(part) => warn!("out of order: {part}"),
        Report::Mended(part) => info!("in order again: {part}"),
        Report::Answered { peer, name } => match name {
            Some(name) => info!("answered by {peer} ({name})"),
            None => info!("answered by {peer}"),
        },
        Report::RingingAt(pages) => debug!("it rings at {pages} pages"),
        Report::Reached { peer: Some(peer), what, after } => {
            debug!("{peer} after {after:?}: {}", what.name());
        }
        Report::Reached { peer: None, what, after } => {
            debug!("{} after {after:?}", what.name())
        }
        Report::Seen(peer, after) => info!("{peer} saw the visitor after {after:?}"),
        Report::ProofsLocked(Some(peer)) => {
            warn!("{peer} proved wrongly too often and is not listened to in this call");
        }
        Report::ProofsLocked(None) => {
            warn!("too many wrong proofs: nobody can open the door from a page for a while");
        }
        Report::Ended { call, cause } => {
            info!("call {call} ended: {}", cause.name());
            if let News::Ended(Entry { budget: Some(budget), .. }) = news {
                info!("call {call} since the press: {budget}");
            }
            if let News::Ended(entry) = news
                && let Ok(record) = serde_json::to_string(entry)
            {
                info!("{record}");
            }
        }
        Report::PeerCame(peer) => debug!("{peer} is in the channel"),
        Report::PeerLeft(peer) => debug!("{peer} is gone"),
        Report::Rebuilt(link, why) => debug!("link {link} replaces an earlier one: {why:?}"),
        Report::GaveUp(peer) => warn!("{peer} cannot be reached and is given up"),
        Report::CameBack { was, now } => {
            info!("{was} is back as {now}");
        }
        Report::LogRefused { by, why } => {
            warn!("the log is not told to {by}: {}", why.name());
        }
        Report::Waits(peer) => warn!("{peer} waits: the door serves `max_peers` already"),
        Report::TurnedAway(peer) => {
            warn!("{peer} sent far more than a call needs and is turned away");
        }
        Report::OtherDoor(peer) => info!("{peer} is another door and is left alone"),
        Report::Picture(peer, mode) => {
            info!("{peer} gets the picture {}: so much its network takes", mode.name());
        }
    }
}

/// What the door is doing, for `systemctl status`.
fn in_words(state: CallState) -> &'static str {
    match state {
        CallState::Idle => "waiting for the doorbell",
        CallState::Looking => "somebody looks through the camera",
        CallState::Joining | CallState::Ringing => "somebody is at the door, and the phones ring",
        CallState::Talking => "somebody at the door is being talked to",
        CallState::Ending => "a call has just ended",
    }
}
