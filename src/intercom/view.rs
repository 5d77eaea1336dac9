//! The heart as `status` shows it: values read off at one moment.

use std::time::Instant;

use super::{CallId, CallState, DoorState, Intercom, Part, PeerKey, Stance, VideoMode};

/// What happened that nobody asked for; shown by `status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls begun.
    pub calls: u64,
    /// Presses in quiet hours.
    pub hushed: u64,
    /// Proofs that were wrong.
    pub wrong_proofs: u64,
    /// Times that something was found that must not be.
    pub violations: u64,
    /// Inputs that meant nothing at their time.
    pub ignored: u64,
    /// Links built again.
    pub rebuilds: u64,
    /// Leave-and-joins.
    pub rejoins: u64,
    /// Peers given up.
    pub given_up: u64,
    /// Long presses of the button.
    pub long_presses: u64,
    /// Releases of the door.
    pub openings: u64,
    /// Requests to open that were refused.
    pub refusals: u64,
    /// Times the button got stuck or its line was lost.
    pub button_faults: u64,
    /// Times the camera was lost.
    pub camera_faults: u64,
    /// Times a line was down for long.
    pub line_faults: u64,
}

/// One peer as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerView {
    /// Who.
    pub key: PeerKey,
    /// The present link's generation.
    pub generation: Option<u32>,
    /// The link's state in one word.
    pub link: &'static str,
    /// What the person decided.
    pub stance: Stance,
    /// How much of the picture it gets.
    pub video: VideoMode,
}

/// The heart's state as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The call's state.
    pub state: CallState,
    /// The present call and when it began.
    pub call: Option<(CallId, Instant)>,
    /// Everybody in view.
    pub peers: Vec<PeerView>,
    /// The door release.
    pub door: DoorState,
    /// What is out of order.
    pub faults: Vec<Part>,
    /// What happened that nobody asked for.
    pub counters: Counters,
}

impl Intercom {
    /// Everything `status` shows.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            state: self.call.state(),
            call: self.call.current().map(|(id, since)| (id.clone(), since)),
            peers: self
                .peers
                .iter()
                .map(|(key, peer)| PeerView {
                    key: key.clone(),
                    generation: peer.generation(),
                    link: peer.link_state(),
                    stance: peer.stance(),
                    video: peer.video(),
                })
                .collect(),
            door: self.door.state(),
            faults: self.faults.list(),
            counters: self.counters,
        }
    }
}
