//! Which wrong keys at the LAN hub are told at once and which are only counted: whoever guesses is to be seen in the log,
//! and not to fill it.
//!
//! Pure: the clock, any that only moves forward, is given by the caller.

use std::collections::BTreeMap;
use std::time::Duration;

/// So long an address is only counted after it was told.
const MINUTE: Duration = Duration::from_secs(60);
/// Addresses counted each by itself; those beyond are counted together.
const CALLERS: usize = 64;
/// What those beyond are called.
const OTHERS: &str = "others";

/// The wrong keys of the last minute.
#[derive(Debug, Default)]
pub struct WrongKeys {
    callers: BTreeMap<String, Tally>,
    others: u32,
}

#[derive(Debug)]
struct Tally {
    told: Duration,
    more: u32,
}

impl WrongKeys {
    /// Counts one. Whether it is to be told at once.
    pub fn note(&mut self, now: Duration, who: &str) -> bool {
        if let Some(tally) = self.callers.get_mut(who) {
            tally.more = tally.more.saturating_add(1);
            return false;
        }
        if self.callers.len() >= CALLERS {
            self.others = self.others.saturating_add(1);
            return false;
        }
        self.callers.insert(who.to_owned(), Tally { told: now, more: 0 });
        true
    }

    /// Who was only counted, and how often, of those whose minute is over; their next one is told at once again.
    pub fn over(&mut self, now: Duration) -> Vec<(String, u32)> {
        let mut counted = Vec::new();
        self.callers.retain(|who, tally| {
            let is_over = tally.told + MINUTE <= now;
            if is_over && tally.more > 0 {
                counted.push((who.clone(), tally.more));
            }
            !is_over
        });
        if self.others > 0 {
            counted.push((OTHERS.to_owned(), std::mem::take(&mut self.others)));
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn of_an_address_the_first_is_told_and_the_others_of_its_minute_are_counted() {
        let mut keys = WrongKeys::default();
        let told = (0..60).filter(|at| keys.note(s(*at), "192.0.2.7")).count();
        assert_eq!(told, 1);
        assert!(keys.note(s(30), "192.0.2.8"), "another address");
        assert!(keys.over(s(59)).is_empty());
        assert_eq!(keys.over(s(60)), [("192.0.2.7".to_owned(), 59)]);
        assert!(keys.over(s(90)).is_empty(), "once is nothing to count");
        assert!(keys.note(s(91), "192.0.2.7"), "told again in another minute");
    }

    #[test]
    fn of_however_many_addresses_few_are_told_few_are_kept_and_all_are_counted() {
        let mut keys = WrongKeys::default();
        let told = (0..10_000).filter(|number| keys.note(s(0), &format!("2001:db8::{number}")));
        assert_eq!(told.count(), CALLERS);
        assert_eq!(keys.callers.len(), CALLERS);
        let rest = u32::try_from(10_000 - CALLERS).expect("a small number");
        assert_eq!(keys.over(s(60)), [(OTHERS.to_owned(), rest)]);
        assert!(keys.callers.is_empty() && keys.note(s(61), "192.0.2.7"));
    }
}
