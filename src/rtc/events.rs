//! What happens to a connection, as its link hears of it.
//!
//! It decides nothing: the crate awaits callbacks on its driver, where waiting stops media (media.md
//! trap 1).

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tracing::debug;
use webrtc::data_channel::DataChannel;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    PeerConnectionEventHandler, RTCIceConnectionState, RTCIceGatheringState,
    RTCPeerConnectionIceEvent, RTCPeerConnectionState,
};

use super::sockets::Choice;
use crate::intercom::Milestone;

/// What the connection's callbacks hand over. They run on its driver and must not wait.
pub enum Event {
    /// One of ours, and the server it comes from.
    Candidate(String, String),
    /// No more will come.
    Gathered,
    /// Health of the whole.
    State(RTCPeerConnectionState),
    /// It came so far, at this time.
    Reached(Milestone, Instant),
    /// One of the peer's.
    Track(Arc<dyn TrackRemote>),
    /// One that the peer has opened.
    DataChannel(Arc<dyn DataChannel>),
    /// The connection's driver has stopped by itself: it had no socket left.
    Stopped,
}

/// Hands events over; what does not fit is dropped.
pub struct Handler {
    pub events: mpsc::Sender<Event>,
    /// Told at once, as the sockets keep what came before.
    pub choice: Arc<Choice>,
}

impl Handler {
    fn hand_over(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            debug!("a link that is closing or stuck drops an event of its connection");
        }
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Ok(init) = event.candidate.to_json() {
            self.hand_over(Event::Candidate(init.candidate, event.url));
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.hand_over(Event::Gathered);
        }
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        if matches!(state, RTCIceConnectionState::Connected | RTCIceConnectionState::Completed) {
            self.choice.make();
            self.hand_over(Event::Reached(Milestone::Ice, Instant::now()));
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            self.hand_over(Event::Reached(Milestone::Dtls, Instant::now()));
        }
        self.hand_over(Event::State(state));
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        self.hand_over(Event::DataChannel(channel));
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        self.hand_over(Event::Track(track));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_sockets_are_told_that_ice_has_chosen_when_it_has_and_not_before() {
        let (events, _kept) = mpsc::channel(8);
        let choice = Arc::new(Choice::default());
        let handler = Handler { events, choice: Arc::clone(&choice) };
        handler.on_ice_connection_state_change(RTCIceConnectionState::Checking).await;
        assert!(!choice.is_made());
        handler.on_ice_connection_state_change(RTCIceConnectionState::Connected).await;
        assert!(choice.is_made());
    }
}
