//! What a peer wants done, what it needs to decide it, and what its person has decided.
//!
//! Values only; `peer` fills them, `Intercom` carries them out.

use std::time::Instant;

use super::{LinkCommand, Outgoing, VideoMode, Why};

/// What the person at the other end has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stance {
    /// Sees the door, has not answered.
    Watching,
    /// Talks with the visitor; the number orders those who answered.
    Answered(u64),
    /// Wants the call, which somebody else has, or has taken over.
    Elsewhere,
    /// Does not want this call.
    Declined,
}

/// What a peer wants done.
#[derive(Debug, PartialEq)]
pub enum Act {
    /// Open the link of this generation.
    Open(u32),
    /// Close the link of this generation.
    Close(u32),
    /// Run this on the link of this generation.
    Link(u32, LinkCommand),
    /// Give the link of this generation the newest ICE servers.
    Configure(u32),
    /// Send to the peer.
    Send(Outgoing),
    /// Leave the channel and join it again.
    Rejoin,
    /// The link was thrown away and the one of this generation opened.
    Rebuilt(u32, Why),
    /// The peer is out of reach for now.
    GaveUp,
    /// Try the peer that was given up afresh, if there is room.
    Retry,
    /// The peer gets this much of the picture.
    Picture(VideoMode),
    /// An input came at a time when it means nothing.
    Ignored,
}

/// What a peer needs from outside to act.
#[derive(Debug)]
pub struct Context<'a> {
    /// The time of this input.
    pub now: Instant,
    /// Counts every link ever built, so that no two share a number.
    pub generations: &'a mut u32,
    /// What the peer wants done, in order.
    pub acts: &'a mut Vec<Act>,
}
