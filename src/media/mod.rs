//! The media room: camera and microphone in, remote picture and sound out. The only room with GStreamer.
//!
//! One capture pipeline encodes once for everybody and heals itself; a fan-out hands its units to the links;
//! remote pictures are played by a branch each, and all sound by the one speaker. Talks to no network and decides nothing about calls.

pub mod allocator;
mod arrival;
mod backlight;
pub mod bandwidth;
mod behind;
mod bell;
mod camera_feed;
pub mod capture;
mod capture_engine;
mod capture_notice;
mod capture_part;
mod card_limits;
mod chime;
pub mod controls;
pub mod devices;
mod devices_video;
mod draw;
pub mod echo;
pub mod fanout;
pub mod found;
pub mod found_video;
mod hearing;
mod jitter;
mod kms;
pub mod packetise;
pub mod plan;
pub mod plan_camera;
pub mod plan_display;
pub mod plan_encoder;
pub mod plan_notice;
pub mod plan_playback;
pub mod plan_sound;
pub mod playback;
mod playback_stage;
pub mod portrait;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod promises;
pub mod rate;
pub mod room;
pub mod scene;
mod screen;
mod screen_stage;
pub mod selftest;
pub mod slate;
mod sounding;
mod speaker;
mod speaker_line;
mod speaker_stage;
pub mod speed;
pub mod tones;
mod volume;

pub use allocator::Party;
pub use bandwidth::{Bandwidth, Share};
pub use capture::{Aim, Capture, CaptureState, CaptureStatus, Sight};
pub use echo::EchoReference;
pub use fanout::{Fanout, FanoutCounts, Feed};
pub use packetise::{AudioUnit, LARGEST_PAYLOAD, Unit, VideoUnit};
pub use plan_playback::{Kind, RemoteStream};
pub use playback::{Playback, PlaybackStatus, RtpInput};
pub use scene::Scene;
pub use screen_stage::minute_of_day;
pub use speaker::Line;

use gstreamer as gst;

/// What can go wrong in this room. Trouble with devices is no error: it is healed and shown in the status.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// GStreamer itself does not start.
    #[error("GStreamer does not start: {0}; check that its core library and plugins are installed")]
    Gstreamer(String),
    /// An encoder's output makes no sense.
    #[error("the encoder delivered {0}; try another encoder in the board's list")]
    Bitstream(String),
}

/// Starts GStreamer. May be called again; only the first call does anything.
///
/// # Errors
/// [`MediaError::Gstreamer`] when the libraries are broken or too old.
pub fn init() -> Result<(), MediaError> {
    gst::init().map_err(|error| MediaError::Gstreamer(error.to_string()))?;
    // A door is idle nearly always; GLib would keep some threads of the last call for later.
    gst::glib::ThreadPool::set_max_unused_threads(Some(0));
    Ok(())
}
