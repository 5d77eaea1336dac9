//! The table `[ice]`: which ways to a phone are tried, and STUN and TURN servers of the owner's.
//!
//! The rules for servers are those for the ones the signalling side gives (protocol.md section 1.4), but
//! each fault is told instead of spoiling the list in silence.

use super::IceSettings;
use super::file::Desk;
use super::names::{
    IcePolicy, IceScheme, IceServer, MAX_ICE_SERVERS, MAX_ICE_URL, MAX_ICE_WORD, ice_scheme,
};
use super::problem::{At, Place, wrong};
use super::reader::Reader;
use super::secret::read_word;

/// What the table says.
pub(super) struct Wishes {
    policy: Option<At<IcePolicy>>,
    servers: Vec<ServerWishes>,
    /// The first server there is no room for.
    too_many: Option<Place>,
}

struct ServerWishes {
    place: Place,
    missing_urls: Place,
    missing_username: Place,
    missing_credential: Place,
    urls: Option<At<Vec<At<String>>>>,
    /// `urls` was written but is no text or list; that was reported already.
    urls_broken: bool,
    username: Option<At<String>>,
    credential_file: Option<At<String>>,
}

pub(super) fn read(mut table: Reader<'_>) -> Wishes {
    let policy = table.word("policy", &[("all", IcePolicy::All), ("relay", IcePolicy::Relay)]);
    let servers: Vec<ServerWishes> =
        table.tables("servers").into_iter().filter_map(read_server).collect();
    table.finish();
    let too_many = servers.get(MAX_ICE_SERVERS).map(|server| server.place.clone());
    Wishes { policy, servers, too_many }
}

fn read_server(mut table: Reader<'_>) -> Option<ServerWishes> {
    for key in ["credential", "password"] {
        table.refuse(
            key,
            wrong(
                "does not belong here, everybody can read this file",
                "put the password into a file of mode 600 and name that with credential_file",
            ),
        );
    }
    let urls = table.text_or_texts("urls");
    let server = ServerWishes {
        place: table.present().unwrap_or_else(|| table.missing("urls")),
        missing_urls: table.missing("urls"),
        missing_username: table.missing("username"),
        missing_credential: table.missing("credential_file"),
        urls_broken: urls.is_none() && table.wrote("urls"),
        urls,
        username: table.text("username"),
        credential_file: table.text("credential_file"),
    };
    let is_there = table.present().is_some();
    table.finish();
    is_there.then_some(server)
}

impl Wishes {
    /// `has_uplink`: the service may give servers too.
    pub(super) fn settle(self, desk: &Desk<'_>, has_uplink: bool) -> Option<IceSettings> {
        if let Some(place) = self.too_many {
            let what = format!("is one too many, {MAX_ICE_SERVERS} servers are the most");
            return desk.refused(&place, wrong(what, "delete some"));
        }
        let count = self.servers.len();
        let servers: Vec<IceServer> =
            self.servers.into_iter().filter_map(|server| server.settle(desk)).collect();
        if servers.len() < count {
            return None;
        }
        let relays = servers.iter().flat_map(|server| &server.urls);
        let has_relay = relays.into_iter().any(|url| ice_scheme(url) == Some(IceScheme::Turn));
        if let Some(policy) = &self.policy
            && policy.value == IcePolicy::Relay
            && !has_relay
            && !has_uplink
        {
            desk.notes.warn(
                &policy.place,
                "is \"relay\" and no server here is a TURN server, so no call can be set up",
            );
        }
        let policy = self.policy.map_or_else(IcePolicy::default, |at| at.value);
        Some(IceSettings { policy, servers })
    }
}

impl ServerWishes {
    fn settle(self, desk: &Desk<'_>) -> Option<IceServer> {
        if self.urls_broken {
            return None;
        }
        let fix = "write urls = \"turn:turn.example:3478\", or a list of such";
        let Some(urls) = self.urls else {
            return desk.refused(&self.missing_urls, wrong("is missing", fix));
        };
        if urls.value.is_empty() {
            return desk.refused(&urls.place, wrong("is an empty list", fix));
        }
        let mut schemes = Vec::new();
        for url in &urls.value {
            match ice_scheme(&url.value) {
                Some(scheme) => schemes.push(scheme),
                None => {
                    let what = format!(
                        "holds \"{}\", which is no address of a STUN or TURN server",
                        url.value.chars().take(80).collect::<String>().escape_debug()
                    );
                    let fix = format!(
                        "begin it with stun:, stuns:, turn: or turns:, {MAX_ICE_URL} characters at most"
                    );
                    desk.notes.problem(&url.place, wrong(what, fix));
                }
            }
        }
        if schemes.len() < urls.value.len() {
            return None;
        }
        if schemes.contains(&IceScheme::Turn) {
            let fix = "write username = \"...\" and credential_file = \"/etc/intercomd/turn.key\"";
            let what = "is missing, a TURN server wants a name and a password";
            for (place, is_missing) in [
                (&self.missing_username, self.username.is_none()),
                (&self.missing_credential, self.credential_file.is_none()),
            ] {
                if is_missing {
                    return desk.refused(place, wrong(what, fix));
                }
            }
        }
        let credential = match self.credential_file {
            None => None,
            Some(file) => {
                let read = desk
                    .path(&file)
                    .and_then(|path| read_word(&path, desk.around.credentials(), "password"));
                let password = match read {
                    Ok(password) => password.expose().to_owned(),
                    Err(fault) => return desk.refused(&file.place, fault),
                };
                if password.len() > MAX_ICE_WORD {
                    let what = format!("names a password longer than {MAX_ICE_WORD} characters");
                    return desk.refused(&file.place, wrong(what, "give the server a shorter one"));
                }
                Some(password)
            }
        };
        if let Some(username) = &self.username
            && username.value.chars().count() > MAX_ICE_WORD
        {
            let what = format!("is longer than {MAX_ICE_WORD} characters");
            return desk.refused(&username.place, wrong(what, "give the server a shorter one"));
        }
        let urls = urls.value.into_iter().map(|url| url.value).collect();
        Some(IceServer { urls, username: self.username.map(|at| at.value), credential })
    }
}
