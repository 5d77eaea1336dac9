//! Which messages to the broker are on their way, and which events are told when they have arrived.
//!
//! Pure. The crate below numbers a message when it sends it; messages are sent in the order in which they
//! were handed over.

use std::collections::{BTreeMap, VecDeque};

/// The messages of one connection.
#[derive(Debug)]
pub(super) struct Ledger<T> {
    /// Handed over, not sent: the event each belongs to, if any.
    queued: VecDeque<Option<u64>>,
    /// Sent, not confirmed.
    flying: BTreeMap<u16, Option<u64>>,
    /// Events and how many of their messages are not confirmed.
    events: BTreeMap<u64, (T, usize)>,
    next: u64,
}

impl<T> Ledger<T> {
    pub(super) fn new() -> Self {
        Self { queued: VecDeque::new(), flying: BTreeMap::new(), events: BTreeMap::new(), next: 0 }
    }

    /// Messages that are not confirmed.
    pub(super) fn len(&self) -> usize {
        self.queued.len() + self.flying.len()
    }

    /// So many messages were handed over that belong to no event.
    pub(super) fn hand_over(&mut self, messages: usize) {
        self.queued.extend(std::iter::repeat_n(None, messages));
    }

    /// So many messages of an event were handed over; at least one.
    pub(super) fn hand_over_for(&mut self, event: T, messages: usize) {
        self.queued.extend(std::iter::repeat_n(Some(self.next), messages));
        self.events.insert(self.next, (event, messages));
        self.next += 1;
    }

    /// The next message was sent under this number.
    pub(super) fn sent(&mut self, number: u16) {
        if let Some(event) = self.queued.pop_front() {
            self.flying.insert(number, event);
        }
    }

    /// The message of this number has arrived. The event, if that was its last one.
    pub(super) fn arrived(&mut self, number: u16) -> Option<T> {
        let event = self.flying.remove(&number)??;
        let (_, left) = self.events.get_mut(&event)?;
        *left -= 1;
        if *left > 0 {
            return None;
        }
        self.events.remove(&event).map(|(event, _)| event)
    }

    /// The connection is lost: the events that may not have arrived, in order.
    pub(super) fn lost(self) -> impl Iterator<Item = T> {
        self.events.into_values().map(|(event, _)| event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_told_when_all_its_messages_have_arrived() {
        let mut ledger = Ledger::new();
        ledger.hand_over(1);
        ledger.hand_over_for("ring", 2);
        [7, 8, 9].into_iter().for_each(|number| ledger.sent(number));
        assert_eq!(ledger.arrived(9), None);
        assert_eq!(ledger.arrived(7), None);
        assert_eq!(ledger.len(), 1);
        assert_eq!(ledger.arrived(8), Some("ring"));
        assert_eq!(ledger.len(), 0);
    }

    #[test]
    fn what_may_not_have_arrived_comes_back_in_order() {
        let mut ledger = Ledger::new();
        for event in ["one", "two", "three"] {
            ledger.hand_over_for(event, 1);
        }
        ledger.sent(1);
        ledger.sent(2);
        assert_eq!(ledger.arrived(1), Some("one"));
        assert_eq!(ledger.lost().collect::<Vec<_>>(), ["two", "three"]);
    }

    #[test]
    fn a_confirmation_of_something_never_sent_means_nothing() {
        let mut ledger = Ledger::new();
        ledger.sent(1);
        ledger.hand_over_for("ring", 1);
        assert_eq!(ledger.arrived(1), None);
        assert_eq!(ledger.arrived(2), None);
        assert_eq!(ledger.len(), 1);
    }
}
