//! Tells the daemon when the board's own addresses change, so that calls and uplinks need not find out by
//! waiting (a cable pulled, Wi-Fi back, a new lease).
//!
//! The kernel wakes it (rtnetlink(7)); it never asks by the clock. What the kernel says is only a reason to
//! look: the addresses are listed anew and compared, so nothing here reads netlink messages.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket,
};
use tokio::net::UnixDatagram;
use tokio::sync::mpsc;
use tracing::{debug, info};

use crate::intercom::{Input, NetworkChange};

/// How long changes are collected: an address comes in several steps, and its route a moment later.
const SETTLE: Duration = Duration::from_millis(300);
/// The kernel's groups for links and for IPv4 and IPv6 addresses, as bits (rtnetlink(7)).
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// Why changes of the network are not noticed. The door goes on without.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel gives no netlink socket.
    #[error(
        "changes of the network are noticed late: the kernel does not tell them ({source}); allow \
         AF_NETLINK in RestrictAddressFamilies= of the unit"
    )]
    Netlink {
        /// What the system said.
        source: io::Error,
    },
}

/// An address and the interface that has it.
type Place = (String, IpAddr);

/// Reports every change of the board's addresses as [`Input::Network`], loopback and link-local ones left
/// out, until nobody listens at `inbox`. While that is full it waits, and changes add up meanwhile.
///
/// # Errors
/// When the kernel gives no netlink socket or takes it away: worth one warning.
pub async fn watch(inbox: mpsc::Sender<Input>) -> Result<(), NetworkError> {
    let failed = |source: io::Error| NetworkError::Netlink { source };
    let events = open().map_err(failed)?;
    // After the socket, so that no change falls between the two.
    let mut known = addresses().unwrap_or_default();
    debug!(?known, "watches the addresses of this board");
    loop {
        tokio::select! {
            event = next(&events) => event.map_err(failed)?,
            () = inbox.closed() => return Ok(()),
        }
        tokio::time::sleep(SETTLE).await;
        let Some(present) = addresses() else { continue };
        let Some(change) = difference(&known, &present) else {
            continue;
        };
        info!(came = ?change.came, gone = ?change.gone, "the addresses of this board changed");
        known = present;
        if inbox.send(Input::Network(change)).await.is_err() {
            return Ok(());
        }
    }
}

/// A netlink socket. What is received from one is a datagram like any other, and that is all the type is
/// used for: the runtime's own wrapper for any descriptor cannot be had without `unsafe`.
fn open() -> io::Result<UnixDatagram> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
    UnixDatagram::from_std(socket.into())
}

/// Waits for the kernel to say anything, and forgets it.
async fn next(events: &UnixDatagram) -> io::Result<()> {
    loop {
        events.readable().await?;
        let mut heard = false;
        loop {
            match events.try_recv(&mut [0; 4096]) {
                Ok(_) => heard = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // More was said than the kernel keeps: a change all the same.
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => heard = true,
                Err(error) => return Err(error),
            }
        }
        if heard {
            return Ok(());
        }
    }
}

/// The addresses others can reach, on interfaces that are up and have a carrier.
///
/// `None`: the kernel does not say now, which is no news of the network.
fn addresses() -> Option<BTreeSet<Place>> {
    let interfaces = getifaddrs().ok()?;
    let works = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    let places = interfaces
        .filter(|interface| {
            interface.flags.contains(works)
                && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)
        })
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|at| IpAddr::V4(at.ip()));
            let ip = v4.or_else(|| address.as_sockaddr_in6().map(|at| IpAddr::V6(at.ip())))?;
            is_of_use(&ip).then_some((interface.interface_name, ip))
        })
        .collect();
    Some(places)
}

fn is_of_use(ip: &IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => Ipv6Addr::is_unicast_link_local(ip),
    };
    !is_link_local && !ip.is_loopback() && !ip.is_unspecified()
}

/// What came and what went. An address that moved to another interface did both.
fn difference(before: &BTreeSet<Place>, after: &BTreeSet<Place>) -> Option<NetworkChange> {
    let only = |one: &BTreeSet<Place>, other: &BTreeSet<Place>| -> Vec<IpAddr> {
        let ips: BTreeSet<IpAddr> = one.difference(other).map(|(_, ip)| *ip).collect();
        ips.into_iter().collect()
    };
    let change = NetworkChange { came: only(after, before), gone: only(before, after) };
    (change != NetworkChange::default()).then_some(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(list: &[(&str, &str)]) -> BTreeSet<Place> {
        let place =
            |(name, ip): &(&str, &str)| ((*name).to_owned(), ip.parse().expect("an address"));
        list.iter().map(place).collect()
    }

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|ip| ip.parse().expect("an address")).collect()
    }

    #[test]
    fn the_same_addresses_in_another_order_are_no_change() {
        let before = places(&[("eth0", "192.0.2.1"), ("wlan0", "192.0.2.2")]);
        let after = places(&[("wlan0", "192.0.2.2"), ("eth0", "192.0.2.1")]);
        assert_eq!(difference(&before, &after), None);
    }

    #[test]
    fn what_came_and_what_went_is_told_together() {
        let before = places(&[("eth0", "192.0.2.1"), ("eth0", "2001:db8::1")]);
        let after = places(&[("wlan0", "192.0.2.9"), ("eth0", "2001:db8::1")]);
        let change = difference(&before, &after).expect("a change");
        assert_eq!((change.came, change.gone), (ips(&["192.0.2.9"]), ips(&["192.0.2.1"])));
    }

    #[test]
    fn an_address_that_moved_to_another_interface_came_and_went() {
        let before = places(&[("eth0", "192.0.2.1")]);
        let after = places(&[("wlan0", "192.0.2.1")]);
        let change = difference(&before, &after).expect("a change");
        assert_eq!((change.came, change.gone), (ips(&["192.0.2.1"]), ips(&["192.0.2.1"])));
    }

    #[test]
    fn addresses_nobody_else_can_use_are_left_out() {
        for ip in ips(&["127.0.0.1", "::1", "169.254.3.4", "fe80::1", "0.0.0.0", "::"]) {
            assert!(!is_of_use(&ip), "{ip}");
        }
        for ip in ips(&["192.168.1.2", "10.0.0.1", "2001:db8::1", "fd00::1"]) {
            assert!(is_of_use(&ip), "{ip}");
        }
        let present = addresses().expect("the kernel says");
        assert!(present.iter().all(|(_, ip)| is_of_use(ip)));
    }

    #[tokio::test]
    async fn the_kernel_gives_the_socket_and_the_watch_ends_with_its_listener() {
        let (inbox, listener) = mpsc::channel(1);
        let watch = tokio::spawn(watch(inbox));
        drop(listener);
        let ended = tokio::time::timeout(Duration::from_secs(30), watch).await;
        ended.expect("it ends").expect("no panic").expect("netlink is there");
    }
}
