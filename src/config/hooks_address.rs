//! Which addresses those who are told may have.
//!
//! Nothing is resolved or reached, and no message repeats an address, which may hold a secret.

use url::{Host, Url};

use super::file::Desk;
use super::problem::{At, wrong};
use super::secret::Secret;

/// An address that is sent events: protected, or within the house. `fix`: what to write.
pub(super) fn web_address(desk: &Desk<'_>, at: &At<String>, fix: &str) -> Option<Url> {
    let no_address = || wrong("is not an address", fix);
    let Ok(mut url) = Url::parse(&at.value) else {
        return desk.refused(&at.place, no_address());
    };
    let Some(host) = url.host() else { return desk.refused(&at.place, no_address()) };
    match url.scheme() {
        "https" => {}
        "http" if is_private(&host) => desk.notes.warn(
            &at.place,
            "is plain http: whoever listens in this network sees what is sent, pictures and tokens too",
        ),
        "http" => {
            let what = "is plain http and leads out of this network";
            return desk.refused(&at.place, wrong(what, "write it with https://"));
        }
        _ => return desk.refused(&at.place, no_address()),
    }
    if !url.username().is_empty() || url.password().is_some() {
        let what = "holds a user name, which is easily seen";
        let fix = "remove it, and use secret_file (webhook) or token_file (push)";
        return desk.refused(&at.place, wrong(what, fix));
    }
    url.set_fragment(None);
    Some(url)
}

/// Whether a host is this machine or lies in a network that belongs to the house, as far as its name
/// tells: loopback, private and link-local addresses, names without a dot and those that are never public.
pub(super) fn is_private(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Host::Ipv6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            !name.contains('.')
                || [".local", ".lan", ".home.arpa", ".internal", ".localhost"]
                    .iter()
                    .any(|end| name.ends_with(end))
        }
    }
}

/// What a tap on a push opens.
pub(super) fn click_address(desk: &Desk<'_>, click: &At<String>) -> Option<Secret> {
    let Ok(url) = Url::parse(&click.value) else {
        let fix = "write click = \"https://door.example/\"";
        return desk.refused(&click.place, wrong("is not an address", fix));
    };
    let behind = [url.query(), url.fragment()].into_iter().flatten();
    let mut words = behind.flat_map(|text| text.split('&'));
    if words.any(|word| word.starts_with("key=") || word.starts_with("secret=")) {
        desk.notes.warn(
            &click.place,
            "holds a key: whoever reads a push, the push server first, can then answer this door",
        );
    }
    Some(Secret::new(click.value.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn private(address: &str) -> bool {
        let url = Url::parse(address).expect("the test writes addresses");
        is_private(&url.host().expect("with a host"))
    }

    #[test]
    fn hosts_of_the_house_are_told_from_those_outside() {
        for inside in [
            "http://localhost",
            "http://127.0.0.2",
            "http://10.1.2.3",
            "http://172.31.0.1",
            "http://192.168.1.2",
            "http://169.254.1.1",
            "http://[::1]",
            "http://[fd00::1]",
            "http://[fe80::1]",
            "http://homeassistant",
            "http://homeassistant.local",
            "http://box.home.arpa",
        ] {
            assert!(private(inside), "{inside}");
        }
        for outside in [
            "http://ntfy.sh",
            "http://172.32.0.1",
            "http://1.1.1.1",
            "http://[2001:db8::1]",
            "http://local.example",
            "http://notlocal.example.",
        ] {
            assert!(!private(outside), "{outside}");
        }
    }
}
