//! The table `[hooks.mqtt]`: the broker, and under which names the door stands there.

use std::path::PathBuf;

use url::{Host, Url};

use super::file::Desk;
use super::hooks::{Needed, ca_file, optional, refuse_secret, word};
use super::hooks_address::is_private;
use super::problem::{At, wrong};
use super::reader::Reader;
use super::secret::Secret;

const BASE: &str = "intercomd";
const DISCOVERY_PREFIX: &str = "homeassistant";
const OPEN_PAYLOAD: &str = "OPEN";
/// Longest prefix of topics, in bytes.
const LONGEST_PREFIX: usize = 128;
/// Longest name of the door in topics, in characters.
const LONGEST_NODE: usize = 64;

/// A home automation behind an MQTT broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttHook {
    /// The broker's name or address; IPv6 in brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the way there is protected by TLS.
    pub tls: bool,
    /// Certificates trusted in place of the machine's. Could be opened when the settings were made.
    pub ca_file: Option<PathBuf>,
    /// The user there.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// What all topics of doors begin with; a legal topic without wildcards.
    pub base: String,
    /// What topics for discovery begin with; a legal topic without wildcards.
    pub discovery_prefix: String,
    /// The name of this door in topics: letters, digits, `_` and `-`, 1 to 64.
    pub node: String,
    /// Whether pictures of visitors are published.
    pub picture: bool,
    /// What has to be sent to open the door; `None`: nobody can by MQTT.
    pub open: Option<Secret>,
}

/// What the table says.
pub(super) struct Wishes {
    url: Needed<String>,
    username: Option<At<String>>,
    password_file: Option<At<String>>,
    ca_file: Option<At<String>>,
    base: Option<At<String>>,
    discovery_prefix: Option<At<String>>,
    node: Option<At<String>>,
    picture: Option<At<bool>>,
    allow_open: Option<At<bool>>,
    open_payload: Option<At<String>>,
}

pub(super) fn read(mut table: Reader<'_>) -> Option<Wishes> {
    refuse_secret(&mut table, "password", "password_file");
    let url = table.text("url");
    let wishes = Wishes {
        username: table.text("username"),
        password_file: table.text("password_file"),
        ca_file: table.text("ca_file"),
        base: table.text("base"),
        discovery_prefix: table.text("discovery_prefix"),
        node: table.text("node"),
        picture: table.flag("picture"),
        allow_open: table.flag("allow_open"),
        open_payload: table.text("open_payload"),
        url: Needed::of(url, &table, "url"),
    };
    let is_there = table.present().is_some();
    table.finish();
    is_there.then_some(wishes)
}

/// Where the broker is.
struct Broker {
    host: String,
    port: u16,
    tls: bool,
}

impl Wishes {
    /// Where pictures are asked for in so many words.
    pub(super) fn wants_pictures(&self) -> Option<&At<bool>> {
        self.picture.as_ref().filter(|at| at.value)
    }

    pub(super) fn settle(self, desk: &Desk<'_>, channel: Option<&str>) -> Option<MqttHook> {
        let fix = "write url = \"mqtts://broker.example:8883\"";
        let broker = self.url.take(desk, fix).and_then(|url| broker(desk, &url, fix));
        if let Some(file) = &self.password_file
            && self.username.is_none()
        {
            let fix = "add username = \"...\" or delete the line";
            desk.notes.problem(&file.place, wrong("stands without username", fix));
        }
        let has_password = self.password_file.is_some();
        let password = optional(self.password_file, |file| word(desk, &file, "password"));
        let ca_place = self.ca_file.as_ref().map(|at| at.place.clone());
        let ca_file = optional(self.ca_file, |file| ca_file(desk, &file));
        let base = prefix(desk, self.base, BASE);
        let discovery_prefix = prefix(desk, self.discovery_prefix, DISCOVERY_PREFIX);
        let node = match (self.node, channel) {
            (Some(node), _) => check_node(desk, node),
            (None, Some(channel)) => Some(node_of(channel)),
            // A bad channel is a problem of its own.
            (None, None) => None,
        };
        let allowed = self.allow_open.filter(|at| at.value);
        if let Some(payload) = &self.open_payload
            && allowed.is_none()
        {
            let fix = "add allow_open = true or delete the line";
            desk.notes.problem(&payload.place, wrong("stands without allow_open", fix));
        }
        if let Some(allowed) = &allowed
            && !has_password
        {
            let text = "is true and the door has no password at the broker: whoever may write there \
                        opens it";
            desk.notes.warn(&allowed.place, text);
        }
        let payload = self.open_payload.map_or_else(|| OPEN_PAYLOAD.to_owned(), |at| at.value);
        let broker = broker?;
        if let Some(place) = ca_place
            && !broker.tls
        {
            desk.notes.warn(&place, "is not used, since url begins with mqtt://");
        }
        Some(MqttHook {
            host: broker.host,
            port: broker.port,
            tls: broker.tls,
            ca_file: ca_file?,
            username: self.username.map(|at| at.value),
            password: password?,
            base: base?,
            discovery_prefix: discovery_prefix?,
            node: node?,
            picture: self.picture.is_none_or(|at| at.value),
            open: allowed.map(|_| Secret::new(payload)),
        })
    }
}

fn broker(desk: &Desk<'_>, at: &At<String>, fix: &str) -> Option<Broker> {
    let refused = |what: &str, fix: &str| desk.refused(&at.place, wrong(what, fix));
    let Ok(url) = Url::parse(&at.value) else { return refused("is not an address", fix) };
    let tls = match url.scheme() {
        "mqtts" => true,
        "mqtt" => false,
        _ => return refused("does not begin with mqtts:// or mqtt://", fix),
    };
    let Some(name) = url.host_str().filter(|name| !name.is_empty()) else {
        return refused("names no host", fix);
    };
    // A scheme the crate does not know leaves addresses as plain text.
    let Ok(host) = Host::parse(name) else { return refused("names no host", fix) };
    if !url.username().is_empty() || url.password().is_some() {
        return refused("holds a user name", "use username and password_file");
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return refused("holds more than host and port", fix);
    }
    let borrowed = match &host {
        Host::Domain(name) => Host::Domain(name.as_str()),
        Host::Ipv4(ip) => Host::Ipv4(*ip),
        Host::Ipv6(ip) => Host::Ipv6(*ip),
    };
    if !tls && !is_private(&borrowed) {
        return refused("is unprotected and leads out of this network", "write it with mqtts://");
    }
    if !tls {
        let text = "is unprotected: whoever listens in this network sees the password and all else";
        desk.notes.warn(&at.place, text);
    }
    if tls && matches!(host, Host::Ipv6(_)) {
        return refused("is a bare IPv6 address", "write the name that stands in its certificate");
    }
    let port = url.port().unwrap_or(if tls { 8883 } else { 1883 });
    Some(Broker { host: host.to_string(), port, tls })
}

fn prefix(desk: &Desk<'_>, written: Option<At<String>>, default: &str) -> Option<String> {
    let Some(at) = written else { return Some(default.to_owned()) };
    let bad = at.value.contains(['+', '#'])
        || at.value.starts_with(['$', '/'])
        || at.value.ends_with('/')
        || at.value.len() > LONGEST_PREFIX;
    if bad {
        let what = "cannot begin a topic";
        let fix = format!(
            "write 1 to {LONGEST_PREFIX} bytes without + and #, no / or $ in front, no / behind, such as \"{default}\""
        );
        return desk.refused(&at.place, wrong(what, fix));
    }
    Some(at.value)
}

fn fits(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')
}

fn check_node(desk: &Desk<'_>, node: At<String>) -> Option<String> {
    if node.value.chars().all(fits) && node.value.len() <= LONGEST_NODE {
        return Some(node.value);
    }
    let what = "is no name for a door in topics";
    let fix = format!("write 1 to {LONGEST_NODE} letters (a to z), digits, _ and -");
    desk.refused(&node.place, wrong(what, fix))
}

/// A channel as a name in topics; two channels may come to the same, then one wants a `node`.
fn node_of(channel: &str) -> String {
    channel.chars().take(LONGEST_NODE).map(|c| if fits(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_becomes_a_name_that_topics_and_home_assistant_take() {
        assert_eq!(node_of("front-door"), "front-door");
        assert_eq!(node_of("haus/tür 1"), "haus_t_r_1");
        assert_eq!(node_of(&"x".repeat(100)).len(), 64);
    }
}
