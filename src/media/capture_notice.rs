//! What phones see while the camera is away: a still picture that says so, in the camera's place.
//!
//! Part of the capture's thread. Two parts never write pictures at the same time: the notice goes before the camera
//! is started, and comes when the camera rests.

use std::sync::Arc;

use gstreamer as gst;

use super::capture_part::{LivePart, Outlet};
use super::found::Probe;
use super::plan;
use super::plan_playback::Kind;
use crate::config::Board;

/// What the picture says.
const TEXT: &str = "No picture: the camera is away.\nSound goes on.";

/// Whether the notice is shown.
#[derive(Debug)]
pub(super) enum Notice {
    /// Nothing is shown.
    Hidden,
    /// In the pipeline.
    Shown(Box<LivePart>),
    /// This machine cannot make one; it is tried again after the camera worked.
    Impossible,
}

impl Notice {
    /// Shows it, unless it is shown.
    pub(super) fn show(
        &mut self,
        board: &Board,
        probe: &Probe,
        pipeline: &gst::Pipeline,
        outlet: &Arc<Outlet>,
    ) {
        if !matches!(self, Self::Hidden) {
            return;
        }
        let built = plan::notice(board, probe, TEXT)
            .ok_or_else(|| "no software encoder exists here".to_owned())
            .and_then(|fragment| LivePart::build(Kind::Video, &fragment, outlet, 0))
            .and_then(|mut part| match part.start(pipeline) {
                Ok(()) => Ok(part),
                Err(why) => {
                    part.stop(pipeline);
                    Err(why)
                }
            });
        *self = match built {
            Ok(part) => Self::Shown(Box::new(part)),
            Err(why) => {
                tracing::debug!(why, "phones are shown no notice in the camera's place");
                Self::Impossible
            }
        };
    }

    /// Takes it away; what could not be made may be tried anew.
    pub(super) fn hide(&mut self, pipeline: Option<&gst::Pipeline>) {
        if let (Self::Shown(part), Some(pipeline)) =
            (std::mem::replace(self, Self::Hidden), pipeline)
        {
            part.stop(pipeline);
        }
    }

    /// It failed: it is taken away and not tried again for now.
    pub(super) fn fail(&mut self, pipeline: &gst::Pipeline) {
        self.hide(Some(pipeline));
        *self = Self::Impossible;
    }

    /// The part that makes it, while it is shown.
    pub(super) fn live(&self) -> Option<&LivePart> {
        match self {
            Self::Shown(part) => Some(part),
            Self::Hidden | Self::Impossible => None,
        }
    }
}
