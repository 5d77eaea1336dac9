//! When a link sends for the first time: any packet, and a whole keyframe.
//!
//! The senders tell each packet that went out; what is new goes to the link as an event.

use std::time::Instant;

use tokio::sync::mpsc;

use super::events::Event;
use crate::intercom::Milestone;

/// What has gone out on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Nothing,
    Packets,
    /// A whole keyframe; nothing more is watched for.
    Keyframe,
}

/// Watches for the first packets of one link.
pub struct Firsts {
    told: mpsc::Sender<Event>,
    sent: Sent,
    /// Sequence number of the last packet of the newest keyframe on its way.
    keyframe_ends: Option<u16>,
}

impl Firsts {
    /// For a link that has sent nothing; `told` hears of it.
    pub fn new(told: mpsc::Sender<Event>) -> Self {
        Self { told, sent: Sent::Nothing, keyframe_ends: None }
    }

    /// A keyframe will go out whose last packet has this sequence number.
    pub fn keyframe(&mut self, last: u16) {
        self.keyframe_ends = Some(last);
    }

    /// A packet of sound went out.
    pub fn sound(&mut self) {
        if self.sent == Sent::Nothing {
            self.sent = Sent::Packets;
            self.tell(Milestone::Rtp);
        }
    }

    /// The packet of a picture with this sequence number went out.
    pub fn picture(&mut self, sequence: u16) {
        self.sound();
        if self.sent == Sent::Packets && self.keyframe_ends == Some(sequence) {
            self.sent = Sent::Keyframe;
            self.tell(Milestone::Keyframe);
        }
    }

    fn tell(&self, what: Milestone) {
        // A link that is stuck has other worries than its log.
        let _ = self.told.try_send(Event::Reached(what, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(events: &mut mpsc::Receiver<Event>) -> Vec<Milestone> {
        let mut told = Vec::new();
        while let Ok(Event::Reached(what, _)) = events.try_recv() {
            told.push(what);
        }
        told
    }

    #[test]
    fn the_first_packet_and_the_end_of_the_first_keyframe_are_told_once() {
        let (sender, mut events) = mpsc::channel(8);
        let mut firsts = Firsts::new(sender);
        firsts.sound();
        assert_eq!(told(&mut events), [Milestone::Rtp]);
        firsts.keyframe(7);
        firsts.picture(6);
        assert_eq!(told(&mut events), [], "half a keyframe is no picture");
        firsts.picture(7);
        assert_eq!(told(&mut events), [Milestone::Keyframe]);
        firsts.keyframe(9);
        firsts.picture(9);
        firsts.sound();
        assert_eq!(told(&mut events), []);
    }

    #[test]
    fn a_keyframe_that_was_left_out_gives_way_to_the_next() {
        let (sender, mut events) = mpsc::channel(8);
        let mut firsts = Firsts::new(sender);
        firsts.keyframe(u16::MAX);
        firsts.keyframe(3);
        for sequence in 0..=3 {
            firsts.picture(sequence);
        }
        assert_eq!(told(&mut events), [Milestone::Rtp, Milestone::Keyframe]);
    }
}
