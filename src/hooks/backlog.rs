//! What waits at one outlet: what has not been tried yet, in order, and what is to be tried again.
//!
//! Pure: it is told the time. New things go first, so that one that fails again and again holds up no
//! ring.

use std::collections::VecDeque;
use std::time::Instant;

/// Something to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item<T> {
    /// Counts all that was ever put in.
    number: u64,
    /// When it was put in.
    pub(super) told: Instant,
    /// How often sending has failed.
    pub(super) failures: u32,
    /// What it is.
    pub(super) what: T,
}

/// What waits, `limit` items at most.
#[derive(Debug)]
pub(super) struct Backlog<T> {
    fresh: VecDeque<Item<T>>,
    again: Vec<(Instant, Item<T>)>,
    limit: usize,
    next: u64,
    dropped: u64,
}

impl<T> Backlog<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { fresh: VecDeque::new(), again: Vec::new(), limit, next: 0, dropped: 0 }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.again.len()
    }

    /// How many were dropped because there was no room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Puts one in. The oldest goes if there is no room.
    pub(super) fn put(&mut self, now: Instant, what: T) {
        self.fresh.push_back(Item { number: self.next, told: now, failures: 0, what });
        self.next += 1;
        self.make_room();
    }

    /// Puts one back that failed, to be tried again at `at`.
    pub(super) fn put_back(&mut self, mut item: Item<T>, at: Instant) {
        item.failures += 1;
        self.again.push((at, item));
        self.make_room();
    }

    /// Takes one that was never tried.
    pub(super) fn take_fresh(&mut self) -> Option<Item<T>> {
        self.fresh.pop_front()
    }

    /// Takes the next: one that was never tried, else the one whose time came first.
    pub(super) fn take(&mut self, now: Instant) -> Option<Item<T>> {
        if let Some(item) = self.take_fresh() {
            return Some(item);
        }
        let due = self.again.iter().enumerate().filter(|(_, (at, _))| *at <= now);
        let (place, _) = due.min_by_key(|(_, (at, item))| (*at, item.number))?;
        Some(self.again.swap_remove(place).1)
    }

    /// When something is to be tried again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.again.iter().map(|(at, _)| *at).min()
    }

    fn make_room(&mut self) {
        while self.len() > self.limit {
            let fresh = self.fresh.front().map(|item| item.number);
            let again = self.again.iter().enumerate().min_by_key(|(_, (_, item))| item.number);
            match (fresh, again) {
                (Some(fresh), Some((place, (_, item)))) if item.number < fresh => {
                    self.again.swap_remove(place);
                }
                (None, Some((place, _))) => {
                    self.again.swap_remove(place);
                }
                _ => {
                    self.fresh.pop_front();
                }
            }
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn taken(backlog: &mut Backlog<u32>, now: Instant) -> Option<u32> {
        backlog.take(now).map(|item| item.what)
    }

    #[test]
    fn the_oldest_is_dropped_and_counted_when_there_is_no_room() {
        let now = Instant::now();
        let mut backlog = Backlog::new(3);
        (0..10).for_each(|what| backlog.put(now, what));
        assert_eq!((backlog.len(), backlog.dropped()), (3, 7));
        let left: Vec<u32> = std::iter::from_fn(|| taken(&mut backlog, now)).collect();
        assert_eq!(left, [7, 8, 9]);
    }

    #[test]
    fn one_that_failed_waits_for_its_time_and_holds_up_nothing() {
        let now = Instant::now();
        let mut backlog = Backlog::new(3);
        backlog.put(now, 1);
        let item = backlog.take(now).expect("there is one");
        backlog.put_back(item, now + S);
        backlog.put(now, 2);
        assert_eq!(backlog.due(), Some(now + S));
        assert_eq!(taken(&mut backlog, now), Some(2));
        assert_eq!(taken(&mut backlog, now), None);
        let again = backlog.take(now + S).expect("its time has come");
        assert_eq!((again.what, again.failures, again.told), (1, 1, now));
        assert_eq!(backlog.due(), None);
    }

    #[test]
    fn of_those_to_be_tried_again_the_one_whose_time_came_first_goes_first() {
        let now = Instant::now();
        let mut backlog = Backlog::new(3);
        for (what, wait) in [(1, 9), (2, 3), (3, 6)] {
            backlog.put(now, what);
            let item = backlog.take(now).expect("there is one");
            backlog.put_back(item, now + S * wait);
        }
        let order: Vec<_> = (0..3).map(|_| taken(&mut backlog, now + S * 10)).collect();
        assert_eq!(order, [Some(2), Some(3), Some(1)]);
    }

    #[test]
    fn one_that_failed_is_dropped_before_younger_ones() {
        let now = Instant::now();
        let mut backlog = Backlog::new(2);
        backlog.put(now, 1);
        let oldest = backlog.take(now).expect("there is one");
        backlog.put(now, 2);
        backlog.put(now, 3);
        backlog.put_back(oldest, now);
        assert_eq!((backlog.len(), backlog.dropped(), backlog.due()), (2, 1, None));
        assert_eq!(taken(&mut backlog, now), Some(2));
    }
}
