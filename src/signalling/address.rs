//! Where the LAN page can be reached: this machine's addresses and names.
//!
//! Asks the kernel only; nothing is sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use url::form_urlencoded;

/// The page's address with channel and key behind the `#`, where no server and no log sees them.
pub fn page_address(secure: bool, at: SocketAddr, channel: &str, key: &str) -> String {
    let scheme = if secure { "https" } else { "http" };
    let mut rest = form_urlencoded::Serializer::new(String::new());
    rest.append_pair("channel", channel).append_pair("key", key);
    format!("{scheme}://{at}/#{}", rest.finish())
}

/// The address a phone can use: for a wildcard, one of this machine's own.
pub fn reachable(local: SocketAddr) -> SocketAddr {
    if !local.ip().is_unspecified() {
        return local;
    }
    let own = interface_addresses();
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let ip = outward().or_else(|| own.iter().copied().find(IpAddr::is_ipv4));
    SocketAddr::new(ip.or(own.first().copied()).unwrap_or(loopback), local.port())
}

/// The address of the interface that leads out. Connecting a UDP socket sends nothing; it only asks
/// the routing table. The target is of the documentation range (RFC 5737).
fn outward() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

/// This machine's addresses that others can use: no loopback, no link-local.
pub fn interface_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let mut found: Vec<IpAddr> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|at| IpAddr::V4(at.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|at| IpAddr::V6(at.ip())))
        })
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified() && !is_link_local(ip))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => Ipv6Addr::is_unicast_link_local(ip),
    }
}

/// The names this machine may be called by: its host name, and that name in `.local` (RFC 6762).
pub fn host_names() -> Vec<String> {
    let Ok(name) = std::fs::read_to_string("/proc/sys/kernel/hostname") else {
        return Vec::new();
    };
    let name = name.trim().to_ascii_lowercase();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if name.is_empty() || name == "localhost" || !name.bytes().all(fits) {
        return Vec::new();
    }
    let first = name.split('.').next().unwrap_or(&name);
    let local = format!("{first}.local");
    if local == name { vec![name] } else { vec![name, local] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn channel_and_key_are_behind_the_hash_and_escaped() {
        let address = page_address(true, at("[2001:db8::1]:7443"), "a b/#&=\u{fc}", "lan_-_");
        let expected = "https://[2001:db8::1]:7443/#channel=a+b%2F%23%26%3D%C3%BC&key=lan_-_";
        assert_eq!(address, expected);
    }

    #[test]
    fn a_given_address_is_kept_and_a_wildcard_becomes_one_a_phone_can_use() {
        assert_eq!(reachable(at("192.0.2.7:80")), at("192.0.2.7:80"));
        for wildcard in ["0.0.0.0:80", "[::]:80"] {
            let found = reachable(at(wildcard));
            assert!(!found.ip().is_unspecified() && found.port() == 80, "{found}");
        }
    }

    #[test]
    fn own_addresses_are_ones_others_can_use() {
        for ip in interface_addresses() {
            assert!(!ip.is_loopback() && !is_link_local(&ip), "{ip}");
        }
    }

    #[test]
    fn the_names_fit_into_a_certificate() {
        for name in host_names() {
            assert!(rcgen::CertificateParams::new([name.clone()]).is_ok(), "{name}");
        }
    }
}
