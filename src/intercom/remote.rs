//! What the heart reads of a peer's description: which connection of the peer's wrote it, and when.

/// What tells one description of the peer from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) origin: Option<Origin>,
    pub(super) ufrag: Option<String>,
    pub(super) fingerprint: Option<String>,
    pub(super) has_candidates: bool,
    pub(super) audio: bool,
    pub(super) video: bool,
}

impl Remote {
    pub(super) fn of(sdp: &str) -> Self {
        let first = |prefix: &str| {
            sdp.lines()
                .find_map(|line| line.strip_prefix(prefix))
                .map(|rest| rest.trim().to_owned())
        };
        let section = |kind: &str| {
            sdp.lines()
                .filter_map(|line| line.strip_prefix(kind))
                .any(|rest| !rest.starts_with("0 "))
        };
        Self {
            origin: first("o=").as_deref().and_then(Origin::read),
            ufrag: first("a=ice-ufrag:"),
            fingerprint: first("a=fingerprint:").map(|value| value.to_ascii_lowercase()),
            has_candidates: sdp.lines().any(|line| line.starts_with("a=candidate:")),
            audio: section("m=audio "),
            video: section("m=video "),
        }
    }
}

impl Remote {
    /// Whether one connection of the peer's wrote both.
    pub(super) fn is_of_one_connection_with(&self, other: &Self) -> bool {
        let session = |remote: &Self| remote.origin.as_ref().map(|origin| origin.session.clone());
        self.fingerprint == other.fingerprint && session(self) == session(other)
    }
}

/// Which session of the peer a description belongs to, and its place there (RFC 8866 section 5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    session: String,
    version: u64,
}

impl Origin {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace().skip(1);
        let session = words.next()?.to_owned();
        Some(Self { session, version: words.next()?.parse().ok()? })
    }

    /// Whether this was written before the other: each description of a session has a higher version.
    pub(super) fn is_older_than(&self, other: &Self) -> bool {
        self.session == other.session && self.version < other.version
    }
}
