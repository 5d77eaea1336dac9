//! The table `[hooks]`: who outside is told what happens at the door: programs, web addresses, phones by
//! push, a home automation by MQTT.
//!
//! Nothing is resolved or reached. No secret and no address, which may hold one, appears in any message.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::Desk;
use super::hooks_address::{click_address, web_address};
use super::hooks_mqtt::{self, MqttHook};
use super::hooks_web_push::{self, WebPushHook};
use super::notes::nearest;
use super::problem::{At, Place, Wrong, wrong};
use super::reader::Reader;
use super::secret::{Secret, read_word};

/// Most programs, and most web addresses.
const MOST: usize = 8;
/// How long a program may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Fewer characters can be guessed from one signed delivery.
const SHORTEST_SECRET: usize = 16;

/// Who outside is told what happens at the door.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HooksSettings {
    /// Programs, 8 at most.
    pub commands: Vec<CommandHook>,
    /// Web addresses, 8 at most.
    pub webhooks: Vec<WebHook>,
    /// Phones, by way of an ntfy server.
    pub push: Option<PushHook>,
    /// Browsers that sleep, by the push services of their makers.
    pub web_push: Option<WebPushHook>,
    /// A home automation.
    pub mqtt: Option<MqttHook>,
}

/// A sort of event at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookEvent {
    /// Somebody pressed the doorbell.
    Ring,
    /// Somebody answered.
    Answered,
    /// The call is over and nobody has answered it.
    Missed,
    /// The call is over and somebody has answered it.
    Ended,
    /// The door was opened.
    Opened,
    /// The door was not opened for somebody who asked.
    OpenRefused,
    /// A person looks through the camera although nobody rang.
    LookIn,
    /// A part of the door is out of order, or well again.
    Fault,
    /// There is a picture of the visitor.
    Picture,
}

impl HookEvent {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Ring,
        Self::Answered,
        Self::Missed,
        Self::Ended,
        Self::Opened,
        Self::OpenRefused,
        Self::LookIn,
        Self::Fault,
        Self::Picture,
    ];

    /// The name used in `on` and in the JSON of the event.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Answered => "answered",
            Self::Missed => "missed",
            Self::Ended => "ended",
            Self::Opened => "opened",
            Self::OpenRefused => "open-refused",
            Self::LookIn => "look-in",
            Self::Fault => "fault",
            Self::Picture => "picture",
        }
    }
}

/// A program that is run at events. Its `Debug` shows no argument: one as short as a PIN is taken out of no report.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandHook {
    /// At which events.
    pub on: BTreeSet<HookEvent>,
    /// Its whole path and its arguments; not empty. Run without a shell.
    pub run: Vec<String>,
    /// How long it may take, 1 s to 60 s.
    pub timeout: Duration,
}

impl std::fmt::Debug for CommandHook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CommandHook({:?} ..., {:?}, {:?})", self.run.first(), self.on, self.timeout)
    }
}

/// A web address that is sent events as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebHook {
    /// `https`, or `http` in the own network. Hidden, since such addresses often hold a secret.
    pub url: Secret,
    /// Which events.
    pub on: BTreeSet<HookEvent>,
    /// What deliveries are signed with, at least 16 characters.
    pub secret: Option<Secret>,
    /// Whether pictures go along.
    pub picture: bool,
    /// Certificates trusted in place of the machine's. Could be opened when the settings were made.
    pub ca_file: Option<PathBuf>,
}

/// An ntfy server that tells phones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushHook {
    /// `https`, or `http` in the own network. Its path is the topic, which is a password.
    pub url: Secret,
    /// Which events.
    pub on: BTreeSet<HookEvent>,
    /// The access token.
    pub token: Option<Secret>,
    /// What a tap on the message opens.
    pub click: Option<Secret>,
    /// Whether the picture of the visitor is sent.
    pub picture: bool,
    /// Certificates trusted in place of the machine's. Could be opened when the settings were made.
    pub ca_file: Option<PathBuf>,
}

/// What the table says.
pub(super) struct Wishes {
    commands: Vec<CommandWishes>,
    webhooks: Vec<WebWishes>,
    push: Option<PushWishes>,
    web_push: Option<hooks_web_push::Wishes>,
    mqtt: Option<hooks_mqtt::Wishes>,
    /// The first of each list there is no room for.
    too_many: Vec<Place>,
}

/// A key that has to be written.
pub(super) enum Needed<T> {
    Written(At<T>),
    Missing(Place),
    /// Written, and of the wrong type; that was reported already.
    Broken,
}

impl<T> Needed<T> {
    /// What a reader made of a key.
    pub(super) fn of(found: Option<At<T>>, table: &Reader<'_>, key: &str) -> Self {
        match found {
            Some(at) => Self::Written(at),
            None if table.wrote(key) => Self::Broken,
            None => Self::Missing(table.missing(key)),
        }
    }

    /// The value; its absence is a problem with this remedy.
    pub(super) fn take(self, desk: &Desk<'_>, fix: &str) -> Option<At<T>> {
        match self {
            Self::Written(at) => Some(at),
            Self::Missing(place) => desk.refused(&place, wrong("is missing", fix)),
            Self::Broken => None,
        }
    }
}

pub(super) type Kinds = At<Vec<At<String>>>;

struct CommandWishes {
    on: Needed<Vec<At<String>>>,
    run: Needed<Vec<At<String>>>,
    timeout: Duration,
}

struct WebWishes {
    url: Needed<String>,
    on: Option<Kinds>,
    secret_file: Option<At<String>>,
    picture: Option<At<bool>>,
    ca_file: Option<At<String>>,
}

struct PushWishes {
    url: Needed<String>,
    on: Option<Kinds>,
    token_file: Option<At<String>>,
    click: Option<At<String>>,
    picture: Option<At<bool>>,
    ca_file: Option<At<String>>,
}

pub(super) fn read(mut table: Reader<'_>) -> Wishes {
    let present = |reader: &Reader<'_>| reader.present();
    let mut too_many = Vec::new();
    let mut beyond = |tables: &[Reader<'_>]| too_many.extend(tables.get(MOST).and_then(present));
    let commands = table.tables("command");
    beyond(&commands);
    let webhooks = table.tables("webhook");
    beyond(&webhooks);
    let wishes = Wishes {
        commands: commands.into_iter().filter_map(read_command).collect(),
        webhooks: webhooks.into_iter().filter_map(read_webhook).collect(),
        push: read_push(table.table("push")),
        web_push: hooks_web_push::read(table.table("web_push")),
        mqtt: hooks_mqtt::read(table.table("mqtt")),
        too_many,
    };
    table.finish();
    wishes
}

/// Refuses a secret that stands in the configuration itself.
pub(super) fn refuse_secret(table: &mut Reader<'_>, key: &'static str, file_key: &str) {
    table.refuse(
        key,
        wrong(
            "does not belong here, everybody can read this file",
            format!("put it into a file of mode 600 and name that with {file_key}"),
        ),
    );
}

fn read_command(mut table: Reader<'_>) -> Option<CommandWishes> {
    let on = table.texts("on");
    let run = table.texts("run");
    let longest = Duration::from_secs(1)..=Duration::from_secs(60);
    let timeout = table.duration("timeout", longest).map_or(TIMEOUT, |at| at.value);
    let is_there = table.present().is_some();
    let wishes = CommandWishes {
        on: Needed::of(on, &table, "on"),
        run: Needed::of(run, &table, "run"),
        timeout,
    };
    table.finish();
    is_there.then_some(wishes)
}

fn read_webhook(mut table: Reader<'_>) -> Option<WebWishes> {
    refuse_secret(&mut table, "secret", "secret_file");
    let url = table.text("url");
    let wishes = WebWishes {
        on: table.texts("on"),
        secret_file: table.text("secret_file"),
        picture: table.flag("picture").filter(|at| at.value),
        ca_file: table.text("ca_file"),
        url: Needed::of(url, &table, "url"),
    };
    let is_there = table.present().is_some();
    table.finish();
    is_there.then_some(wishes)
}

fn read_push(mut table: Reader<'_>) -> Option<PushWishes> {
    refuse_secret(&mut table, "token", "token_file");
    let url = table.text("url");
    let wishes = PushWishes {
        on: table.texts("on"),
        token_file: table.text("token_file"),
        click: table.text("click"),
        picture: table.flag("picture").filter(|at| at.value),
        ca_file: table.text("ca_file"),
        url: Needed::of(url, &table, "url"),
    };
    let is_there = table.present().is_some();
    table.finish();
    is_there.then_some(wishes)
}

impl Wishes {
    /// `channel`: what the door is called where it has no other name. `pictures`: whether the log keeps any.
    pub(super) fn settle(
        self,
        desk: &Desk<'_>,
        channel: Option<&str>,
        pictures: bool,
    ) -> Option<HooksSettings> {
        if !pictures {
            let of_web = self.webhooks.iter().filter_map(|hook| hook.picture.as_ref());
            let of_push = self.push.as_ref().and_then(|hook| hook.picture.as_ref());
            let of_mqtt = self.mqtt.as_ref().and_then(hooks_mqtt::Wishes::wants_pictures);
            for wish in of_web.chain(of_push).chain(of_mqtt) {
                let text = "is true, but [log] takes no pictures of visitors: none will be sent";
                desk.notes.warn(&wish.place, text);
            }
        }
        for place in &self.too_many {
            let what = format!("is one too many, {MOST} are the most");
            desk.notes.problem(place, wrong(what, "delete some"));
        }
        // All of them are settled, so that everything that is wrong is told at once.
        let commands = every(self.commands, |hook| hook.settle(desk));
        let webhooks = every(self.webhooks, |hook| hook.settle(desk));
        let push = optional(self.push, |push| push.settle(desk));
        let web_push = optional(self.web_push, |web_push| web_push.settle(desk));
        let mqtt = optional(self.mqtt, |mqtt| mqtt.settle(desk, channel));
        Some(HooksSettings {
            commands: commands?,
            webhooks: webhooks?,
            push: push?,
            web_push: web_push?,
            mqtt: mqtt?,
        })
    }
}

/// All of a list, or nothing where one was refused.
fn every<W, T>(wishes: Vec<W>, settle: impl FnMut(W) -> Option<T>) -> Option<Vec<T>> {
    let settled: Vec<Option<T>> = wishes.into_iter().map(settle).collect();
    settled.into_iter().collect()
}

impl CommandWishes {
    fn settle(self, desk: &Desk<'_>) -> Option<CommandHook> {
        let on = self.on.take(desk, "write on = [\"ring\"]").and_then(|on| kinds(desk, &on, &[]));
        let fix = "write the whole path and the arguments, such as \
                   run = [\"/usr/local/bin/ring-a-bell\", \"loud\"]";
        let run = self.run.take(desk, fix).and_then(|run| program(desk, run, fix));
        Some(CommandHook { on: on?, run: run?, timeout: self.timeout })
    }
}

fn program(desk: &Desk<'_>, words: At<Vec<At<String>>>, fix: &str) -> Option<Vec<String>> {
    let Some(program) = words.value.first() else {
        return desk.refused(&words.place, wrong("is an empty list", fix));
    };
    if !program.value.starts_with('/') {
        let what = "does not begin with the whole path of a program";
        return desk.refused(&program.place, wrong(what, fix));
    }
    if !Path::new(&program.value).is_file() {
        let text = format!("{} is not there, so it will not be run", program.value);
        desk.notes.warn(&program.place, &text);
    }
    Some(words.value.into_iter().map(|at| at.value).collect())
}

impl WebWishes {
    fn settle(self, desk: &Desk<'_>) -> Option<WebHook> {
        let fix = "write url = \"https://owner.example/door\"";
        let url = self.url.take(desk, fix).and_then(|url| web_address(desk, &url, fix));
        let on = match &self.on {
            Some(on) => kinds(desk, on, &[]),
            None => Some(without_picture(HookEvent::ALL)),
        };
        let secret = optional(self.secret_file, |file| {
            let secret = word(desk, &file, "secret")?;
            if secret.expose().len() < SHORTEST_SECRET {
                let what = format!("names a secret shorter than {SHORTEST_SECRET} characters");
                let fix = "make one: openssl rand -hex 32";
                return desk.refused(&file.place, wrong(what, fix));
            }
            Some(secret)
        });
        let ca_file = optional(self.ca_file, |file| ca_file(desk, &file));
        let mut on = on?;
        if self.picture.is_some() {
            on.insert(HookEvent::Picture);
        }
        let url = Secret::new(String::from(url?));
        Some(WebHook {
            url,
            on,
            secret: secret?,
            picture: self.picture.is_some(),
            ca_file: ca_file?,
        })
    }
}

impl PushWishes {
    fn settle(self, desk: &Desk<'_>) -> Option<PushHook> {
        let fix = "write url = \"https://ntfy.sh/TOPIC\", with a TOPIC nobody can guess";
        let url = self.url.take(desk, fix).and_then(|at| {
            let url = web_address(desk, &at, fix)?;
            if url.path().trim_matches('/').is_empty() {
                return desk.refused(&at.place, wrong("names no topic", fix));
            }
            Some(url)
        });
        let pictures = (HookEvent::Picture, "write picture = true to have it sent");
        let on = match &self.on {
            Some(on) => kinds(desk, on, &[pictures]),
            None => Some(BTreeSet::from([HookEvent::Ring, HookEvent::Missed])),
        };
        let token = optional(self.token_file, |file| word(desk, &file, "token"));
        let click = optional(self.click, |click| click_address(desk, &click));
        let ca_file = optional(self.ca_file, |file| ca_file(desk, &file));
        let mut on = on?;
        if self.picture.is_some() {
            on.insert(HookEvent::Picture);
        }
        Some(PushHook {
            url: Secret::new(String::from(url?)),
            on,
            token: token?,
            click: click?,
            picture: self.picture.is_some(),
            ca_file: ca_file?,
        })
    }
}

/// What comes of something that may be absent: nothing in the outer `Option` when it was refused.
pub(super) fn optional<W, T>(
    wish: Option<W>,
    settle: impl FnOnce(W) -> Option<T>,
) -> Option<Option<T>> {
    match wish {
        Some(wish) => settle(wish).map(Some),
        None => Some(None),
    }
}

/// A secret in a file of its own.
pub(super) fn word(desk: &Desk<'_>, file: &At<String>, noun: &'static str) -> Option<Secret> {
    let read = desk.path(file).and_then(|path| read_word(&path, desk.around.credentials(), noun));
    match read {
        Ok(word) => Some(word),
        Err(fault) => desk.refused(&file.place, fault),
    }
}

/// A file with certificates.
pub(super) fn ca_file(desk: &Desk<'_>, file: &At<String>) -> Option<PathBuf> {
    let path = match desk.path(file) {
        Ok(path) => path,
        Err(fault) => return desk.refused(&file.place, fault),
    };
    let fix = "name a PEM file with the certificate of the authority, which intercomd may read";
    match std::fs::read_to_string(&path) {
        Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => Some(path),
        Ok(_) => {
            let what = format!("{} holds no certificate", path.display());
            desk.refused(&file.place, wrong(what, fix))
        }
        Err(error) => {
            let what = format!("{} cannot be read: {error}", path.display());
            desk.refused(&file.place, wrong(what, fix))
        }
    }
}

fn without_picture(all: [HookEvent; 9]) -> BTreeSet<HookEvent> {
    all.into_iter().filter(|kind| *kind != HookEvent::Picture).collect()
}

/// The events of a list `on`, apart from those that have no place in it and a remedy of their own.
pub(super) fn kinds(
    desk: &Desk<'_>,
    on: &Kinds,
    elsewhere: &[(HookEvent, &str)],
) -> Option<BTreeSet<HookEvent>> {
    if on.value.is_empty() {
        return desk.refused(&on.place, wrong("is an empty list", "write on = [\"ring\"]"));
    }
    let mut kinds = BTreeSet::new();
    let mut good = true;
    for word in &on.value {
        let found = HookEvent::ALL.into_iter().find(|kind| kind.name() == word.value);
        let apart = elsewhere.iter().find(|(kind, _)| Some(*kind) == found);
        let fault = match (found, apart) {
            (Some(_), Some((_, fix))) => wrong(format!("holds \"{}\"", word.value), *fix),
            (Some(kind), None) => {
                kinds.insert(kind);
                continue;
            }
            (None, _) => unknown(&word.value),
        };
        desk.notes.problem(&word.place, fault);
        good = false;
    }
    good.then_some(kinds)
}

fn unknown(word: &str) -> Wrong {
    let names = HookEvent::ALL.map(HookEvent::name);
    let all = names.map(|name| format!("\"{name}\"")).join(", ");
    let fix = match nearest(word, names) {
        Some(near) => format!("did you mean \"{near}\"? There are {all}"),
        None => format!("there are {all}"),
    };
    let shown: String = word.chars().take(40).collect();
    wrong(format!("holds \"{shown}\", which is no event"), fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_argument_of_a_program_is_shown_however_short_it_is() {
        let run = ["/usr/bin/open", "1234", "s3"].map(str::to_owned).to_vec();
        let hook = CommandHook { on: BTreeSet::from([HookEvent::Ring]), run, timeout: TIMEOUT };
        let hooks = HooksSettings { commands: vec![hook], ..HooksSettings::default() };
        for shown in [format!("{hooks:?}"), format!("{hooks:#?}")] {
            assert!(shown.contains("/usr/bin/open") && shown.contains("Ring"), "{shown}");
            assert!(!shown.contains("1234") && !shown.contains("s3"), "{shown}");
        }
    }

    #[test]
    fn no_two_events_share_a_name() {
        let names: BTreeSet<_> = HookEvent::ALL.map(HookEvent::name).into_iter().collect();
        assert_eq!(names.len(), HookEvent::ALL.len());
    }
}
