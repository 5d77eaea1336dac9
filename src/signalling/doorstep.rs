//! Who stands before the LAN hub and is no member yet: how many at once, how many of one address, and how fast an
//! address may come again. Each place here costs a socket, a task and for a while a TLS handshake.
//!
//! It is told the time and accepts no sockets; `lan.rs` does.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::bucket::{Bucket, Flow};

/// Callers that are not members (yet). When all places are taken, further ones wait in the kernel's queue until one
/// is free, which the times of a visit bound.
pub const STRANGERS: usize = 64;
/// Places one address may take: five browsers with six connections each, behind a proxy or on one machine. No address
/// can take more than half of all; a device has many in IPv6, and takes all there are if it means to.
pub const OF_ONE_ADDRESS: usize = 32;
/// Connections an address may open, the places apart. A handshake costs a small board some milliseconds.
pub const VISITS: Flow = Flow { burst: 200.0, rate: 20.0 };
/// Addresses remembered; beyond it those are forgotten that could open a full burst again anyway, or else the one
/// nearest to that.
const ADDRESSES: usize = 256;

/// All places, shared by whoever takes one.
#[derive(Debug, Clone)]
pub struct Doorstep {
    places: Arc<Semaphore>,
    book: Arc<Mutex<Book>>,
}

impl Default for Doorstep {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(STRANGERS)), book: Arc::default() }
    }
}

impl Doorstep {
    /// Waits until there is a place for one more, whoever it will be.
    pub async fn vacancy(&self) -> OwnedSemaphorePermit {
        let places = Arc::clone(&self.places);
        places.acquire_owned().await.expect("the semaphore of strangers is never closed")
    }

    /// A caller of this address came. Gives the vacancy back when it may not stay. `now` is the time since any
    /// fixed moment.
    ///
    /// # Errors
    /// The vacancy, for the next caller.
    pub fn admit(
        &self,
        vacancy: OwnedSemaphorePermit,
        now: Duration,
        from: IpAddr,
    ) -> Result<Place, OwnedSemaphorePermit> {
        let from = from.to_canonical();
        // Nothing can panic while it is locked; if it does, nobody is shut out for that.
        let admitted = self.book.lock().map_or(true, |mut book| book.admit(now, from));
        match admitted {
            true => Ok(Place { book: Arc::clone(&self.book), from, _permit: vacancy }),
            false => Err(vacancy),
        }
    }
}

/// One caller's place; free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    book: Arc<Mutex<Book>>,
    from: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Ok(mut book) = self.book.lock() {
            book.gone(self.from);
        }
    }
}

#[derive(Debug, Default)]
struct Book(BTreeMap<IpAddr, Caller>);

#[derive(Debug)]
struct Caller {
    here: usize,
    visits: Bucket,
}

impl Book {
    fn admit(&mut self, now: Duration, from: IpAddr) -> bool {
        if !self.0.contains_key(&from) && self.0.len() >= ADDRESSES {
            self.forget(now);
        }
        let new = || Caller { here: 0, visits: Bucket::full(VISITS, now) };
        let caller = self.0.entry(from).or_insert_with(new);
        let welcome = caller.here < OF_ONE_ADDRESS && caller.visits.take(now);
        if welcome {
            caller.here += 1;
        }
        welcome
    }

    fn gone(&mut self, from: IpAddr) {
        if let Some(caller) = self.0.get_mut(&from) {
            caller.here = caller.here.saturating_sub(1);
        }
    }

    fn forget(&mut self, now: Duration) {
        self.0.retain(|_, caller| caller.here > 0 || caller.visits.left(now) < VISITS.burst);
        if self.0.len() >= ADDRESSES {
            // At most STRANGERS are here, so there is one that is not.
            let absent = self.0.iter_mut().filter(|(_, caller)| caller.here == 0);
            let left = absent.map(|(from, caller)| (*from, caller.visits.left(now)));
            if let Some((quietest, _)) = left.max_by(|(_, one), (_, other)| one.total_cmp(other)) {
                self.0.remove(&quietest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn admitted(book: &mut Book, now: Duration, from: IpAddr) -> usize {
        (0..1_000).take_while(|_| book.admit(now, from)).count()
    }

    #[test]
    fn one_address_takes_some_places_and_leaves_the_others() {
        let mut book = Book::default();
        assert_eq!(admitted(&mut book, s(0), ip(1)), OF_ONE_ADDRESS);
        assert_eq!(admitted(&mut book, s(0), ip(2)), OF_ONE_ADDRESS);
        book.gone(ip(1));
        assert_eq!(admitted(&mut book, s(0), ip(1)), 1);
        const { assert!(OF_ONE_ADDRESS * 2 <= STRANGERS) };
    }

    #[test]
    fn an_address_that_comes_and_goes_all_the_time_is_slowed_down() {
        let mut book = Book::default();
        let mut cycles = |now| {
            let one = |book: &mut Book| {
                book.admit(now, ip(1)) && {
                    book.gone(ip(1));
                    true
                }
            };
            (0..1_000).take_while(|_| one(&mut book)).count()
        };
        assert_eq!(cycles(s(0)), 200);
        assert_eq!(cycles(s(1)), 20);
        assert_eq!(cycles(s(1)), 0);
        assert_eq!(cycles(s(3_600)), 200);
    }

    #[test]
    fn the_book_is_bounded_and_never_forgets_who_is_here() {
        let mut book = Book::default();
        assert!(book.admit(s(0), ip(1)));
        for number in 0..2_000_u32 {
            let from = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            assert!(book.admit(s(0), from));
            book.gone(from);
            assert!(book.0.len() <= ADDRESSES);
        }
        assert_eq!(book.0[&ip(1)].here, 1);
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_its_caller_is_gone() {
        let doorstep = Doorstep::default();
        let vacancy = doorstep.vacancy().await;
        let place = doorstep.admit(vacancy, s(0), ip(1)).expect("room for one");
        assert_eq!(doorstep.places.available_permits(), STRANGERS - 1);
        drop(place);
        assert_eq!(doorstep.places.available_permits(), STRANGERS);
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().expect("an address");
        let mut places = Vec::new();
        for from in [ip(1), mapped].into_iter().cycle().take(OF_ONE_ADDRESS) {
            places.push(doorstep.admit(doorstep.vacancy().await, s(0), from).expect("room"));
        }
        let vacancy = doorstep.vacancy().await;
        assert!(doorstep.admit(vacancy, s(0), mapped).is_err(), "the same address");
    }
}
