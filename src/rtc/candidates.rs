//! Which of our candidates a peer gets to see (RFC 8839 section 5.1).
//!
//! Pure.

use std::net::IpAddr;

use crate::config::names::IcePolicy;

/// The candidate as the peer may see it, without `a=`; `None`: it is none of the peer's business.
pub fn shown(candidate: &str, policy: IcePolicy) -> Option<String> {
    let words: Vec<&str> = candidate.split_ascii_whitespace().collect();
    // foundation component transport priority address port "typ" type …
    let address: Option<IpAddr> = words.get(4)?.parse().ok();
    // A network without addresses of one family is bound to as a whole; nobody can send there.
    if address.is_some_and(|address| address.is_unspecified()) {
        return None;
    }
    match policy {
        IcePolicy::All => Some(candidate.to_owned()),
        IcePolicy::Relay if words.get(6..8) == Some(&["typ", "relay"]) => {
            Some(without_base(&words))
        }
        IcePolicy::Relay => None,
    }
}

/// A description with the candidates a peer may see.
pub fn shown_in(sdp: &str, policy: IcePolicy) -> String {
    let mut result = String::with_capacity(sdp.len());
    for line in sdp.split_inclusive('\n') {
        match line.strip_prefix("a=candidate:") {
            None => result.push_str(line),
            Some(_) => {
                let candidate = line.trim_start_matches("a=").trim_end();
                if let Some(candidate) = shown(candidate, policy) {
                    result.push_str("a=");
                    result.push_str(&candidate);
                    result.push_str("\r\n");
                }
            }
        }
    }
    result
}

/// Whoever allows relays only does not tell where he is (RFC 8828 section 5.2, mode 4).
fn without_base(words: &[&str]) -> String {
    let mut words = words.to_vec();
    // Behind the type only: before it each word has its own meaning.
    for index in 9..words.len() {
        match words[index - 1] {
            "raddr" => words[index] = if words[index].contains(':') { "::" } else { "0.0.0.0" },
            "rport" => words[index] = "0",
            _ => {}
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "candidate:1 1 udp 2130706431 192.0.2.7 40000 typ host";
    const RELAY: &str =
        "candidate:2 1 udp 16777215 198.51.100.1 50000 typ relay raddr 192.0.2.7 rport 40000";

    #[test]
    fn a_relay_only_link_shows_relays_without_their_base() {
        assert_eq!(shown(HOST, IcePolicy::Relay), None);
        let relay = shown(RELAY, IcePolicy::Relay).expect("a relay is shown");
        assert!(relay.ends_with("typ relay raddr 0.0.0.0 rport 0"), "{relay}");
        assert_eq!(shown(RELAY, IcePolicy::All).as_deref(), Some(RELAY));
    }

    #[test]
    fn a_relay_is_known_by_its_type_and_not_by_a_word_in_its_place() {
        let odd = "candidate:2 1 udp 16777215 198.51.100.1 500 rport relay raddr 192.0.2.7";
        assert_eq!(shown(odd, IcePolicy::Relay), None);
        let named = RELAY.replace("candidate:2", "candidate:raddr");
        assert!(
            shown(&named, IcePolicy::Relay).is_some_and(|it| it.contains("candidate:raddr 1 udp"))
        );
    }

    #[test]
    fn an_address_nobody_can_reach_is_not_shown() {
        for address in ["0.0.0.0", "::"] {
            assert_eq!(shown(&HOST.replace("192.0.2.7", address), IcePolicy::All), None);
        }
        assert!(shown(&HOST.replace("192.0.2.7", "abc.local"), IcePolicy::All).is_some());
    }

    #[test]
    fn a_description_keeps_all_its_other_lines() {
        let sdp = format!("v=0\r\nm=audio 9 x\r\na={HOST}\r\na={RELAY}\r\na=end-of-candidates\r\n");
        assert_eq!(shown_in(&sdp, IcePolicy::All), sdp);
        let relay = shown_in(&sdp, IcePolicy::Relay);
        assert!(!relay.contains("192.0.2.7") && relay.contains("198.51.100.1"), "{relay}");
        assert_eq!(relay.lines().count(), 4);
    }
}
