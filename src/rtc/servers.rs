//! Makes the servers of a link ready for the crate: names become addresses, and TURN over TCP or TLS
//! becomes TURN over UDP to a bridge (media.md traps 1 and 2).
//!
//! It knows no call. A server that cannot be used is left out; it never stops a link.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};

use super::names::Names;
use super::turn_bridge::Bridge;
use super::turn_dial::Dial;
use super::turn_url::{Host, ServerUrl, Service};
use super::{IceServer, Network};

/// How long a new link waits for a name nobody has asked for yet. A later one uses the answer.
const PATIENCE: Duration = Duration::from_millis(400);
/// Addresses of servers used at a time. Each costs a request on each network address of the board.
const MOST: usize = 16;

/// One server as the crate takes it: a literal address, reached over UDP.
#[derive(Clone, PartialEq, Eq)]
pub struct Ready {
    /// `stun:` or `turn:` with an address and a port.
    pub url: String,
    /// TURN user name.
    pub username: String,
    /// TURN password.
    pub credential: String,
    /// The server's own host and port, for a person; `None` for STUN.
    relay: Option<String>,
}

impl Ready {
    /// Whether it is a TURN server.
    pub fn relays(&self) -> bool {
        self.relay.is_some()
    }
}

/// What all links of a daemon share.
#[derive(Clone)]
pub struct Kit {
    /// The names looked up.
    pub names: Names,
    /// Opens connections to TURN servers.
    pub dial: Dial,
    /// The owner's choices.
    pub network: Arc<Network>,
}

impl Kit {
    /// Begins to look up the names of these servers and of those of the configuration.
    pub fn warm(&self, servers: &[IceServer]) {
        let all = servers.iter().chain(&self.network.extra_servers);
        for url in all.flat_map(|server| &server.urls).take(MOST) {
            if let Ok(ServerUrl { host: Host::Name(name), .. }) = ServerUrl::parse(url) {
                self.names.warm(&name);
            }
        }
    }
}

/// The servers of one link and its bridges.
pub struct Servers {
    kit: Kit,
    given: Vec<IceServer>,
    /// By server and by how often it is named: two entries for one server can hold two passwords. They
    /// stay as long as the link, because media may still flow over one that is not named any more.
    bridges: BTreeMap<(ServerUrl, usize), Bridge>,
}

impl Servers {
    /// The servers of a link that has been given these.
    pub fn new(kit: Kit, given: Vec<IceServer>) -> Self {
        Self { kit, given, bridges: BTreeMap::new() }
    }

    /// Replaces what was given.
    pub fn give(&mut self, given: Vec<IceServer>) {
        self.given = given;
    }

    /// All servers that can be used now, in the order in which they were named. The same server has the
    /// same address each time, as long as it can: by that the crate knows that only a password is new.
    pub async fn ready(&mut self) -> Vec<Ready> {
        let wanted = self.wanted();
        // All names at once: they share one wait.
        self.kit.warm(&self.given);
        let mut ready = Vec::new();
        let mut named: BTreeMap<ServerUrl, usize> = BTreeMap::new();
        let patience = tokio::time::Instant::now() + PATIENCE;
        for (url, server) in wanted {
            let turn = named.entry(url.clone()).or_default();
            let nth = *turn;
            *turn += 1;
            let addresses = match url.service {
                Service::TurnTcp | Service::TurnTls => self.bridge(&url, nth).await,
                Service::Stun | Service::TurnUdp => {
                    let left = patience.saturating_duration_since(tokio::time::Instant::now());
                    self.addresses(&url, left).await
                }
            };
            ready.extend(addresses.into_iter().map(|address| Ready {
                url: match url.relays() {
                    true => format!("turn:{address}?transport=udp"),
                    false => format!("stun:{address}"),
                },
                username: server.username.clone(),
                credential: server.credential.clone(),
                relay: url.relays().then(|| url.place()),
            }));
        }
        ready
    }

    fn wanted(&self) -> Vec<(ServerUrl, IceServer)> {
        let mut wanted = Vec::new();
        for server in self.given.iter().chain(&self.kit.network.extra_servers) {
            for text in &server.urls {
                let url = match ServerUrl::parse(text) {
                    Ok(url) => url,
                    Err(problem) => {
                        debug!("a server is left out: {text:?} {problem}");
                        continue;
                    }
                };
                if url.relays() && (server.username.is_empty() || server.credential.is_empty()) {
                    debug!("{} is left out: no user name or password came with it", url.place());
                } else if wanted.len() == MOST {
                    debug!("{} is left out: {MOST} servers are enough", url.place());
                } else {
                    wanted.push((url, server.clone()));
                }
            }
        }
        wanted
    }

    async fn bridge(&mut self, url: &ServerUrl, nth: usize) -> Vec<SocketAddr> {
        let key = (url.clone(), nth);
        if let Some(bridge) = self.bridges.get(&key) {
            return vec![bridge.address()];
        }
        match Bridge::open(url.clone(), self.kit.dial.clone()).await {
            Ok(bridge) => {
                let address = bridge.address();
                self.bridges.insert(key, bridge);
                vec![address]
            }
            Err(error) => {
                warn!("{} cannot be used: no loopback port ({error})", url.place());
                Vec::new()
            }
        }
    }

    /// One address of each family: the crate takes the one that fits each of its sockets.
    async fn addresses(&self, url: &ServerUrl, patience: Duration) -> Vec<SocketAddr> {
        let found = match &url.host {
            Host::Literal(address) => vec![*address],
            Host::Name(name) => self.kit.names.addresses(name, patience).await,
        };
        if found.is_empty() {
            warn!("{} is left out for now: its name is not known yet", url.place());
        }
        let first = |v6: bool| found.iter().find(move |address| address.is_ipv6() == v6);
        let both: [Option<&IpAddr>; 2] = [first(false), first(true)];
        both.into_iter().flatten().map(|address| SocketAddr::new(*address, url.port)).collect()
    }
}

/// A server's address in a form the crate's own writing of it can be compared in.
pub fn key(url: &str) -> String {
    url.replace(['[', ']'], "")
}

/// The relays that gave us no address, by the keys of those that did.
pub fn silent(ready: &[Ready], heard: &BTreeSet<String>) -> BTreeSet<String> {
    let relays = |wanted: bool| {
        ready
            .iter()
            .filter(move |server| heard.contains(&key(&server.url)) == wanted)
            .filter_map(|server| server.relay.clone())
    };
    let speaking: BTreeSet<String> = relays(true).collect();
    relays(false).filter(|place| !speaking.contains(place)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kit(extra_servers: Vec<IceServer>) -> Kit {
        let names = Names::default();
        let dial = Dial::new(names.clone(), Vec::new());
        Kit { names, dial, network: Arc::new(Network { extra_servers, ..Network::default() }) }
    }

    fn server(urls: &[&str], username: &str) -> IceServer {
        let urls = urls.iter().map(|url| (*url).to_owned()).collect();
        IceServer { urls, username: username.to_owned(), credential: username.to_owned() }
    }

    fn urls(ready: &[Ready]) -> Vec<&str> {
        ready.iter().map(|server| &*server.url).collect()
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_left_out_and_the_rest_stays() {
        let given = vec![
            server(&["stuns:192.0.2.1", "nonsense", "stun:192.0.2.2", "stun:nowhere.invalid"], ""),
            server(&["turn:192.0.2.3"], ""),
            server(&["turn:[2001:db8::1]:80?transport=udp"], "alice"),
        ];
        let extra = vec![server(&["stun:192.0.2.9:99"], "")];
        let mut servers = Servers::new(kit(extra), given);
        let ready = servers.ready().await;
        let expected =
            ["stun:192.0.2.2:3478", "turn:[2001:db8::1]:80?transport=udp", "stun:192.0.2.9:99"];
        assert_eq!(urls(&ready), expected);
    }

    #[tokio::test]
    async fn a_server_on_a_stream_keeps_its_bridge_when_its_password_changes() {
        let url = "turns:relay.example:443";
        let mut servers = Servers::new(kit(Vec::new()), vec![server(&[url], "alice")]);
        let before = servers.ready().await;
        servers.give(vec![server(&[url], "bob"), server(&[url], "carol")]);
        let after = servers.ready().await;
        assert!(before[0].url.starts_with("turn:127.0.0.1:"));
        assert_eq!(before[0].url, after[0].url);
        assert_ne!(after[0].url, after[1].url, "two passwords need two ways");
        assert_eq!(after[0].username, "bob");
    }

    #[tokio::test]
    async fn no_more_servers_are_used_than_a_call_can_bear() {
        let many: Vec<String> = (0..40).map(|n| format!("stun:192.0.2.1:{}", 1000 + n)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let mut servers = Servers::new(kit(Vec::new()), vec![server(&many, "")]);
        assert_eq!(servers.ready().await.len(), MOST);
    }

    #[test]
    fn a_relay_that_answers_on_one_family_is_not_called_silent() {
        let ready = |url: &str, relay: Option<&str>| Ready {
            url: url.to_owned(),
            username: String::new(),
            credential: String::new(),
            relay: relay.map(str::to_owned),
        };
        let all = [
            ready("stun:a", None),
            ready("turn:a4", Some("a.example:3478")),
            ready("turn:a6", Some("a.example:3478")),
            ready("turn:b", Some("b.example:443")),
        ];
        let heard = BTreeSet::from(["turn:a4".to_owned()]);
        assert_eq!(silent(&all, &heard), BTreeSet::from(["b.example:443".to_owned()]));
    }
}
