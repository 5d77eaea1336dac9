//! The table `[uplink]`: where the managed service is, and how the door is let in there: by a key in a
//! file, or by tokens from a command or an address. Exactly one of the three.
//!
//! No credential appears in any message.

use super::file::Desk;
use super::names::{check_origin, check_token_url};
use super::problem::{At, Place, wrong};
use super::reader::Reader;
use super::secret::{looks_like_a_key, read_key, read_word};
use super::{Credential, Surroundings, UplinkSettings};

/// The managed service.
const SERVICE: &str = "wss://rms.metered.ca";
/// The credential the unit file hands over.
const KEY_CREDENTIAL: &str = "credential:channel-key";

/// What the table and the environment say.
pub(super) struct Wishes {
    /// The table, or the variable that stands in for it.
    present: Option<Place>,
    /// Where a missing key is to be reported.
    missing_key: Place,
    url: Option<At<String>>,
    ways: Vec<Way>,
    bearer_file: Option<At<String>>,
    /// One of the ways in was written but has the wrong type; that was reported already.
    is_broken: bool,
    arm: bool,
}

/// A way in, as written.
enum Way {
    KeyFile(At<String>),
    Command(At<Vec<At<String>>>),
    Url(At<String>),
}

impl Way {
    fn place(&self) -> &Place {
        match self {
            Self::KeyFile(at) | Self::Url(at) => &at.place,
            Self::Command(at) => &at.place,
        }
    }

    fn key(&self) -> &'static str {
        match self {
            Self::KeyFile(_) => "key_file",
            Self::Command(_) => "token_command",
            Self::Url(_) => "token_url",
        }
    }
}

pub(super) fn read(mut table: Reader<'_>, around: &Surroundings) -> Wishes {
    for key in ["key", "token", "secret"] {
        table.refuse(
            key,
            wrong(
                "does not belong here, everybody can read this file",
                "put the publishable key into a file of mode 600 and name that with key_file",
            ),
        );
    }
    table.refuse(
        "token_bearer",
        wrong(
            "does not belong here, everybody can read this file",
            "put the bearer into a file of mode 600 and name that with token_bearer_file",
        ),
    );
    let url = table.text("url");
    let url = around.variable("INTERCOMD_UPLINK_URL").or(url);
    let written = table.text("key_file");
    let from_outside = around.variable("INTERCOMD_UPLINK_KEY_FILE");
    let mut is_broken = written.is_none() && table.wrote("key_file") && from_outside.is_none();
    let key_file = from_outside.or(written);
    let command = table.texts("token_command");
    let token_url = table.text("token_url");
    is_broken |= command.is_none() && table.wrote("token_command");
    is_broken |= token_url.is_none() && table.wrote("token_url");
    let bearer_file = table.text("token_bearer_file");
    is_broken |= bearer_file.is_none() && table.wrote("token_bearer_file");
    let present =
        table.present().or_else(|| url.as_ref().or(key_file.as_ref()).map(|at| at.place.clone()));
    let ways = [key_file.map(Way::KeyFile), command.map(Way::Command), token_url.map(Way::Url)];
    let wishes = Wishes {
        present,
        missing_key: table.missing("key_file"),
        url,
        ways: ways.into_iter().flatten().collect(),
        bearer_file,
        is_broken,
        arm: table.flag("arm").is_none_or(|arm| arm.value),
    };
    table.finish();
    wishes
}

impl Wishes {
    /// Whether there is to be an uplink.
    pub(super) fn is_present(&self) -> bool {
        self.present.is_some()
    }

    pub(super) fn settle(self, desk: &Desk<'_>) -> Option<UplinkSettings> {
        self.present.as_ref()?;
        let arm = self.arm;
        let origin = self.origin(desk);
        let credential = self.credential(desk);
        Some(UplinkSettings { origin: origin?, credential: credential?, arm })
    }

    fn origin(&self, desk: &Desk<'_>) -> Option<String> {
        let (address, place) = match &self.url {
            Some(url) => (url.value.as_str(), url.place.clone()),
            None => (SERVICE, self.missing_key.sibling("url")),
        };
        match check_origin(address) {
            Ok(origin) => Some(origin),
            Err(fault) => {
                let fix = format!("write host and port only, such as url = \"{SERVICE}\"");
                desk.refused(&place, wrong(fault.to_string(), fix))
            }
        }
    }

    fn credential(self, desk: &Desk<'_>) -> Option<Credential> {
        let mut ways = self.ways.into_iter();
        let way = match (ways.next(), ways.next()) {
            (Some(first), Some(second)) => {
                let what = format!("stands beside {}, the door needs one way in", first.key());
                let fix = "write one of key_file, token_command and token_url";
                return desk.refused(second.place(), wrong(what, fix));
            }
            (way, _) => way,
        };
        if let Some(bearer) = &self.bearer_file
            && !matches!(way, Some(Way::Url(_)))
        {
            let what = "stands without token_url, which would send it";
            return desk.refused(&bearer.place, wrong(what, "add token_url or delete the line"));
        }
        if self.is_broken {
            return None;
        }
        match way {
            Some(Way::KeyFile(file)) => key(desk, &file),
            Some(Way::Command(words)) => command(desk, words),
            Some(Way::Url(url)) => token_url(desk, &url, self.bearer_file.as_ref()),
            None if desk.around.credentials().is_some() => {
                let file = At { value: KEY_CREDENTIAL.to_owned(), place: self.missing_key };
                key(desk, &file)
            }
            None => {
                let fault = wrong(
                    "is missing, the service wants a key",
                    "write key_file = \"/etc/intercomd/channel.key\" (or token_command or token_url), \
                     or delete [uplink] to work in the local network only",
                );
                desk.refused(&self.missing_key, fault)
            }
        }
    }
}

fn key(desk: &Desk<'_>, file: &At<String>) -> Option<Credential> {
    if looks_like_a_key(&file.value) {
        let fault = wrong(
            "holds what looks like the key itself, everybody can read this file",
            "put the key into a file of mode 600 and write the name of that file here",
        );
        return desk.refused(&file.place, fault);
    }
    let key = desk.path(file).and_then(|path| read_key(&path, desk.around.credentials()));
    match key {
        Ok(key) => Some(Credential::Key(key)),
        Err(fault) => desk.refused(&file.place, fault),
    }
}

fn command(desk: &Desk<'_>, words: At<Vec<At<String>>>) -> Option<Credential> {
    let fix = "write the whole path and the arguments, such as \
               token_command = [\"/usr/local/bin/door-token\", \"front\"]";
    let Some(program) = words.value.first() else {
        return desk.refused(&words.place, wrong("is an empty list", fix));
    };
    if !program.value.starts_with('/') {
        let what = "does not begin with the whole path of a program";
        return desk.refused(&program.place, wrong(what, fix));
    }
    if !std::path::Path::new(&program.value).is_file() {
        let text = format!("{} is not there, so there are no tokens yet", program.value);
        desk.notes.warn(&program.place, &text);
    }
    Some(Credential::Command(words.value.into_iter().map(|at| at.value).collect()))
}

fn token_url(
    desk: &Desk<'_>,
    url: &At<String>,
    bearer_file: Option<&At<String>>,
) -> Option<Credential> {
    let checked = match check_token_url(&url.value) {
        Ok(checked) => checked,
        Err(fault) => {
            let fix = "write token_url = \"https://owner.example/door-token\"";
            return desk.refused(&url.place, wrong(fault.to_string(), fix));
        }
    };
    let bearer = match bearer_file {
        None => None,
        Some(file) => {
            let read = desk
                .path(file)
                .and_then(|path| read_word(&path, desk.around.credentials(), "bearer"));
            match read {
                Ok(bearer) => Some(bearer),
                Err(fault) => return desk.refused(&file.place, fault),
            }
        }
    };
    Some(Credential::Url { url: checked, bearer })
}
