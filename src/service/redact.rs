//! Takes out of a text what must not be given away: keys, passwords, tokens, and addresses that hold them.
//!
//! Pure. Rather too much than too little: what it takes out is shown by [`HIDDEN`], so that a reader sees that
//! something was there.

/// What stands in a secret's place.
pub const HIDDEN: &str = "[hidden]";
/// Shorter words are too common to be looked for: what may hold one has to hide it itself (`Debug` of its type).
const SHORTEST: usize = 6;
/// How keys and tokens begin: of the service, of our own hub, and JSON web tokens.
const BEGINNINGS: [&str; 5] = ["pk_", "sk_", "lan_", "tk_", "eyJ"];
/// What stands before a secret in addresses, headers and settings.
const NAMES: [&str; 11] = [
    "key=",
    "token=",
    "secret=",
    "credential=",
    "password=",
    "passwd=",
    "pass=",
    "pw=",
    "auth=",
    "bearer ",
    "basic ",
];

/// The text without these secrets, and without anything that looks like one.
pub fn redact(text: &str, secrets: &[String]) -> String {
    let mut text = text.to_owned();
    let secrets = secrets.iter().map(|secret| secret.trim());
    // Also as a debug print quotes them.
    let mut known: Vec<String> = secrets
        .filter(|secret| secret.len() >= SHORTEST)
        .flat_map(|secret| [secret.to_owned(), secret.escape_debug().to_string()])
        .collect();
    // Longer ones first: one may be part of another.
    known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    known.dedup();
    for secret in known {
        text = text.replace(&secret, HIDDEN);
    }
    let lines: Vec<String> = text.lines().map(line).collect();
    let mut redacted = lines.join("\n");
    if text.ends_with('\n') {
        redacted.push('\n');
    }
    redacted
}

fn line(text: &str) -> String {
    after_names(&beginnings(&addresses(text)))
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.".contains(c)
}

/// Of web addresses, host and port stay: a path can be a password, too.
fn addresses(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let ends = |c: char| c.is_whitespace() || "\"'<>(){}[],;\\".contains(c);
        // An IPv6 address stands in brackets.
        let from =
            if after.starts_with('[') { after.find(']').map_or(0, |end| end + 1) } else { 0 };
        let end = after[from..].find(ends).map_or(after.len(), |end| from + end);
        let address = &after[..end];
        // A password may hold a slash; but what stands behind a whole host and its slash is a path, whatever is in it.
        let head = address.find(['/', '?', '#']).map_or(address, |at| &address[..at]);
        let address = match address.rsplit_once('@').filter(|_| !is_place(head)) {
            Some((_, place)) => {
                out.push_str(HIDDEN);
                out.push('@');
                place
            }
            None => address,
        };
        let place_end = address.find(['/', '?', '#']).unwrap_or(address.len());
        let (place, path) = address.split_at(place_end);
        out.push_str(place);
        if path.len() > 1 {
            out.push('/');
            out.push_str(HIDDEN);
        } else {
            out.push_str(path);
        }
        rest = &after[end..];
    }
    out.push_str(rest);
    out
}

/// Whether this is a host, with or without a port, and no user before it.
fn is_place(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains('[') || host.ends_with(']') => (host, port),
        _ => (text, ""),
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let letters = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_host = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(letters),
    };
    is_host && port.chars().all(|c| c.is_ascii_digit())
}

fn beginnings(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let inside = out.chars().next_back().is_some_and(is_part);
        let begins = BEGINNINGS.iter().find(|beginning| !inside && rest.starts_with(**beginning));
        if let Some(beginning) = begins {
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            if end >= beginning.len() + SHORTEST {
                out.push_str(HIDDEN);
                rest = &rest[end..];
                continue;
            }
        }
        let first = rest.chars().next().map_or(0, char::len_utf8);
        out.push_str(&rest[..first]);
        rest = &rest[first..];
    }
    out
}

fn after_names(text: &str) -> String {
    // Letters that are not ASCII may change their length, so only those are changed.
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    while done < text.len() {
        let next = NAMES
            .iter()
            .filter_map(|name| Some((done + lower[done..].find(name)?, name.len())))
            .min();
        let Some((at, length)) = next else { break };
        let value = at + length;
        out.push_str(&text[done..value]);
        let quoted = text[value..].starts_with('"');
        let start = value + usize::from(quoted);
        let ends = |c: char| match quoted {
            true => c == '"',
            false => c.is_whitespace() || "&\"',;)}]#".contains(c),
        };
        let end = text[start..].find(ends).map_or(text.len(), |end| start + end);
        out.push_str(&text[value..start]);
        if end > start && !text[start..end].starts_with(HIDDEN.trim_end_matches(']')) {
            out.push_str(HIDDEN);
            done = end;
        } else {
            done = start;
        }
    }
    out.push_str(&text[done..]);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_secrets_are_taken_out_wherever_they_stand() {
        let secrets = ["open sesame".to_owned(), "sesame".to_owned(), "abc".to_owned()];
        assert_eq!(
            redact("it said open sesame, then sesame! abc\n", &secrets),
            "it said [hidden], then [hidden]! abc\n"
        );
    }

    #[test]
    fn known_secrets_are_taken_out_as_a_debug_print_shows_them() {
        let secret = "say \"open\" \\o/".to_owned();
        let text = format!("raw {secret}, shown {secret:?}");
        assert_eq!(redact(&text, &[secret]), "raw [hidden], shown \"[hidden]\"");
    }

    #[test]
    fn what_looks_like_a_key_is_taken_out() {
        for (text, wanted) in [
            ("key pk_live_test-1 is", "key [hidden] is"),
            ("(lan_0123456789)", "([hidden])"),
            ("eyJhbGciOi.eyJzdWIi.x-y", "[hidden]"),
            ("risk_of_rain, pk_, lan_1", "risk_of_rain, pk_, lan_1"),
            ("token=abc&x=1", "token=[hidden]&x=1"),
            ("Authorization: Bearer abcdef", "Authorization: Bearer [hidden]"),
            ("password=\"two words\" next", "password=\"[hidden]\" next"),
            ("KEY=x", "KEY=[hidden]"),
            ("user=a pw=b passwd=c;pass=d", "user=a pw=[hidden] passwd=[hidden];pass=[hidden]"),
        ] {
            assert_eq!(redact(text, &[]), wanted);
        }
    }

    #[test]
    fn of_addresses_only_the_host_stays() {
        for (text, wanted) in [
            ("https://door:8443/#channel=a&key=b", "https://door:8443/[hidden]"),
            ("(wss://rms.example)", "(wss://rms.example)"),
            ("http://u:p@h.example:80/x?y", "http://[hidden]@h.example:80/[hidden]"),
            ("\"https://ntfy.example/topic\", next", "\"https://ntfy.example/[hidden]\", next"),
            ("https://[2001:db8::1]:8443/#k", "https://[2001:db8::1]:8443/[hidden]"),
            ("turn:t.example:443?transport=tcp", "turn:t.example:443?transport=tcp"),
            ("https://hooks.example/T0/abc@tail", "https://hooks.example/[hidden]"),
            ("https://hooks.example:8443?user=@name", "https://hooks.example:8443/[hidden]"),
            ("rtsp://u:p/w@cam.example/live", "rtsp://[hidden]@cam.example/[hidden]"),
            ("https://a/ https://b?q", "https://a/ https://b/[hidden]"),
        ] {
            assert_eq!(redact(text, &[]), wanted);
        }
    }

    proptest! {
        #[test]
        fn nothing_known_survives_and_doing_it_twice_changes_nothing(
            before in "\\PC{0,40}",
            secret in "[a-zA-Z0-9]{8,20}",
            after in "(\\PC|key=|://|pk_|\"){0,20}",
        ) {
            let text = format!("{before}{secret}{after}");
            let once = redact(&text, std::slice::from_ref(&secret));
            prop_assert!(!once.contains(&secret), "{}", once);
            prop_assert_eq!(redact(&once, std::slice::from_ref(&secret)), once);
        }
    }
}
