//! `intercomd setup`: a short dialogue from a fresh installation to a door that works, or the same by flags for
//! scripts.
//!
//! Asks, writes configuration and key, and hands over to what exists already: the check of the configuration, the
//! self-test, systemd. Nothing is written before everything has been answered and the result has passed the check; the
//! configuration that was there before is kept beside it.

mod draft;
mod unit;

use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc;

use crate::config::names::check_channel;
use crate::config::verdict::{Grade, Verdict};
use crate::config::{CONFIG_FILE, Loaded, Settings, edit, whole_file};
use crate::hardware::{ButtonEvent, Panel};
use crate::lines::login;
use crate::media::devices;
use crate::media::found::Probe;
use crate::selftest::Asks;
use crate::signalling::trial;
use unit::{Rest, Systemctl};

/// The configuration as installed, for a machine that has none.
const REFERENCE: &str = include_str!("../docs/config.toml");
/// How long a press is waited for.
const PRESS: Duration = Duration::from_secs(30);
/// How often a wrong answer may be given.
const TRIES: usize = 5;
/// The key's file beside the configuration.
const KEY_FILE: &str = "channel.key";
/// How the installed configuration names it: the unit hands it over (systemd/intercomd.service).
const CREDENTIAL: &str = "credential:channel-key";

/// Arguments of `intercomd setup`. What is given here is not asked.
#[derive(Debug, Clone, Default, Args)]
pub struct SetupArgs {
    /// The configuration file [default: /etc/intercomd/config.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The channel, as in the page that answers
    #[arg(long)]
    pub channel: Option<String>,
    /// A file with the service's publishable key, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "local_only")]
    pub key_file: Option<PathBuf>,
    /// Do without the service: phones in the local network only
    #[arg(long)]
    pub local_only: bool,
    /// The camera: auto, off, test, or a name that `intercomd devices` shows
    #[arg(long, value_name = "SOURCE")]
    pub camera: Option<String>,
    /// The microphone, likewise
    #[arg(long, value_name = "SOURCE")]
    pub microphone: Option<String>,
    /// The speaker, likewise
    #[arg(long, value_name = "SOURCE")]
    pub speaker: Option<String>,
    /// The language of the door's screen
    #[arg(long, value_parser = ["en", "de"])]
    pub language: Option<String>,
    /// Take the default for everything that is not given, and ask nothing
    #[arg(long)]
    pub yes: bool,
    /// Try neither the button nor camera and sound
    #[arg(long)]
    pub no_test: bool,
    /// Do not start the door
    #[arg(long)]
    pub no_start: bool,
}

/// Why the set-up ended early. Nothing was written unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The answers ended.
    #[error(
        "nobody answers any more; nothing was changed. Give the answers as flags (`intercomd setup --help`)"
    )]
    NoAnswer,
    /// An answer was wrong too often, or as a flag.
    #[error("{0}; nothing was changed")]
    Wrong(String),
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {source}; run this as root, or name another --config")]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What was answered makes no configuration.
    #[error("with these answers the configuration would not be good; nothing was changed:\n{0}")]
    Refused(String),
    /// The screen is gone.
    #[error("cannot write the questions: {0}")]
    Output(io::Error),
    /// The service does not let the door in.
    #[error(
        "the door does not get in at the service; the configuration is written. Correct what stands above, and run \
         `intercomd setup` again"
    )]
    NotLetIn,
    /// systemd does not do what is asked of it.
    #[error(
        "{0}; the configuration is written. Run this as root; `journalctl -u intercomd` says what the door says"
    )]
    Systemd(String),
}

/// What set-up does beside asking and writing. A test does something else.
struct Hands<'a> {
    /// `None` where no systemd runs.
    systemctl: Option<Systemctl<'a>>,
    /// Has the door started even if a person breaks set-up off.
    mind_signals: &'a dyn Fn(),
    /// Tries the button, and all the self-test does, which tells what it finds. Whether nothing is bad.
    try_all: &'a dyn Fn(&Loaded) -> bool,
    /// Tries to get in at the service.
    try_service: &'a dyn Fn(&Settings) -> Vec<Verdict>,
}

/// Runs the dialogue on standard input and output. Exit codes: 0 set up, 1 not.
#[expect(clippy::print_stderr, reason = "the answer of a command line tool")]
pub fn run(args: &SetupArgs) -> ExitCode {
    let path = args.config.clone().unwrap_or_else(|| CONFIG_FILE.into());
    let systemctl: Systemctl<'_> = &unit::systemctl;
    let hands = Hands {
        systemctl: Path::new("/run/systemd/system").exists().then_some(systemctl),
        mind_signals: &unit::start_when_broken_off,
        try_all: &try_all,
        try_service: &try_service,
    };
    // Standard output is not locked: the tests say something, too.
    let mut talk = Talk { answers: io::stdin().lock(), questions: io::stdout(), asks: !args.yes };
    let written = talk.whole(args, &path, &probe);
    match written.and_then(|loaded| talk.finish(args, &loaded, &hands)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("intercomd setup: {why}");
            ExitCode::FAILURE
        }
    }
}

fn probe() -> Probe {
    match crate::media::init() {
        Ok(()) => devices::probe_all(),
        Err(_) => Probe::default(),
    }
}

struct Talk<A, Q> {
    answers: A,
    questions: Q,
    asks: bool,
}

impl<A: BufRead, Q: Write> Talk<A, Q> {
    /// From the first question to the written files.
    fn whole(
        &mut self,
        args: &SetupArgs,
        path: &Path,
        probe: &dyn Fn() -> Probe,
    ) -> Result<Loaded, SetupError> {
        let before = match fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(file("read", path, source)),
        };
        let mut text = before.clone().unwrap_or_else(|| REFERENCE.to_owned());
        let folder = path.parent().unwrap_or(Path::new("."));

        let channel = self.channel(args, &text)?;
        text = edit::set(&text, None, "channel", &edit::quoted(&channel));
        let key = self.key(args, &text, folder)?;
        if key.is_some() {
            // The unit hands over what lies beside the installed configuration.
            let name = if path == Path::new(CONFIG_FILE) { CREDENTIAL } else { KEY_FILE };
            text = edit::set(&text, Some("uplink"), "key_file", &edit::quoted(name));
        }
        text = self.devices(args, text, probe)?;
        if let Some(language) = &args.language {
            text = edit::set(&text, Some("display"), "language", &edit::quoted(language));
        }
        let loaded = draft::check(&text, key.as_deref(), folder)?;
        if let Some(key) = &key {
            let path = folder.join(KEY_FILE);
            // One that lies there already keeps its owner.
            let lies_there = fs::read_to_string(&path).is_ok_and(|text| text.trim() == key);
            if !lies_there {
                whole_file::write_private(&path, format!("{key}\n").as_bytes())
                    .map_err(|source| file("write", &path, source))?;
            }
        }
        self.keep(path, before.as_deref(), &text)?;
        Ok(loaded)
    }

    fn channel(&mut self, args: &SetupArgs, text: &str) -> Result<String, SetupError> {
        let present = text.parse::<toml::Table>().ok();
        let present = present.and_then(|table| table.get("channel")?.as_str().map(str::to_owned));
        let default = present.unwrap_or_else(|| "front-door".to_owned());
        let check = |name: &str| match check_channel(name) {
            Ok(()) => Ok(name.to_owned()),
            Err(why) => Err(format!("\"{name}\" cannot be a channel: {why}")),
        };
        if let Some(channel) = &args.channel {
            return check(channel).map_err(SetupError::Wrong);
        }
        let question = "The channel of this door; the page that answers has the same";
        self.ask(question, &default, |answer| check(answer))
    }

    /// The service's key, if it is wanted.
    fn key(
        &mut self,
        args: &SetupArgs,
        text: &str,
        folder: &Path,
    ) -> Result<Option<String>, SetupError> {
        if args.local_only {
            let uses_it = text.lines().any(|line| line.trim_end() == "[uplink]");
            let why = "the configuration has a table [uplink]; take it out by hand to do without the service";
            return if uses_it { Err(SetupError::Wrong(why.to_owned())) } else { Ok(None) };
        }
        if let Some(path) = &args.key_file {
            let text = if path == Path::new("-") {
                let mut line = String::new();
                self.answers.read_line(&mut line).map_err(|source| file("read", path, source))?;
                line
            } else {
                fs::read_to_string(path).map_err(|source| file("read", path, source))?
            };
            return draft::good_key(text.trim()).map(Some).map_err(SetupError::Wrong);
        }
        let own_way = draft::has_own_way(text, folder);
        // A key that lies there is one to be used, unless the door gets in by other means.
        if !own_way && let Ok(text) = fs::read_to_string(folder.join(KEY_FILE)) {
            return draft::good_key(text.trim()).map(Some).map_err(SetupError::Wrong);
        }
        if own_way || !self.asks {
            return Ok(None);
        }
        let question =
            "The service's publishable key (pk_...), or Enter for phones in the local network only";
        let key = self.ask(question, "", |answer| match answer {
            "" => Ok(None),
            key => draft::good_key(key).map(Some),
        })?;
        Ok(key)
    }

    fn devices(
        &mut self,
        args: &SetupArgs,
        mut text: String,
        probe: &dyn Fn() -> Probe,
    ) -> Result<String, SetupError> {
        let given = [
            ("camera", &args.camera),
            ("microphone", &args.microphone),
            ("speaker", &args.speaker),
        ];
        let asked = self.asks && given.iter().any(|(_, value)| value.is_none());
        let found = if asked { probe() } else { Probe::default() };
        for (table, value) in given {
            let choices = match table {
                "camera" => cameras(&found),
                "microphone" => cards(&found, |card| card.records),
                _ => cards(&found, |card| card.plays),
            };
            let source = match value {
                Some(value) => value.clone(),
                // One is found by itself.
                None if choices.len() < 2 || !self.asks => continue,
                None => self.choose(table, &choices)?,
            };
            text = edit::set(&text, Some(table), "source", &edit::quoted(&source));
        }
        Ok(text)
    }

    fn choose(&mut self, what: &str, choices: &[(String, String)]) -> Result<String, SetupError> {
        self.say(&format!("\nThis machine has more than one {what}:"))?;
        for (number, (name, words)) in choices.iter().enumerate() {
            self.say(&format!("  {}  {words} ({name})", number + 1))?;
        }
        self.ask("Which one? A number, or Enter for the best", "auto", |answer| match answer {
            "auto" => Ok("auto".to_owned()),
            number => number
                .parse::<usize>()
                .ok()
                .and_then(|number| choices.get(number.checked_sub(1)?))
                .map(|(name, _)| name.clone())
                .ok_or_else(|| format!("\"{number}\" is none of the numbers above")),
        })
    }

    /// Asks until the answer is good, some times at most. An empty answer is the default.
    fn ask<T>(
        &mut self,
        question: &str,
        default: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, SetupError> {
        if !self.asks {
            return read(default).map_err(SetupError::Wrong);
        }
        let mut wrong = String::new();
        for _ in 0..TRIES {
            let shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
            write!(self.questions, "{question}{shown}: ")
                .and_then(|()| self.questions.flush())
                .map_err(SetupError::Output)?;
            let mut line = String::new();
            match self.answers.read_line(&mut line) {
                Ok(0) | Err(_) => return Err(SetupError::NoAnswer),
                Ok(_) => {}
            }
            let answer = line.trim();
            match read(if answer.is_empty() { default } else { answer }) {
                Ok(value) => return Ok(value),
                Err(why) => {
                    self.say(&why)?;
                    wrong = why;
                }
            }
        }
        Err(SetupError::Wrong(wrong))
    }

    fn say(&mut self, text: &str) -> Result<(), SetupError> {
        writeln!(self.questions, "{text}").map_err(SetupError::Output)
    }

    /// Writes the configuration; the one before stays beside it.
    fn keep(&mut self, path: &Path, before: Option<&str>, text: &str) -> Result<(), SetupError> {
        if before == Some(text) {
            return self.say(&format!("{} is as it was", path.display()));
        }
        if let Some(before) = before {
            let old = path.with_extension("toml.old");
            whole_file::write_like(&old, before.as_bytes(), path)
                .map_err(|source| file("write", &old, source))?;
            self.say(&format!("The configuration so far is kept as {}", old.display()))?;
        }
        whole_file::write_like(path, text.as_bytes(), path)
            .map_err(|source| file("write", path, source))?;
        self.say(&format!("Wrote {}", path.display()))
    }

    /// Tries what was written, with the door at rest meanwhile, and starts it.
    fn finish(
        &mut self,
        args: &SetupArgs,
        loaded: &Loaded,
        hands: &Hands<'_>,
    ) -> Result<(), SetupError> {
        // A door that ran is back whichever way this ends.
        let mut rest = None;
        if !args.no_test {
            if let Some(systemctl) = hands.systemctl.filter(|systemctl| unit::runs(*systemctl)) {
                self.say("\nThe door runs and holds camera and sound cards; it is stopped while they are tried.")?;
                (hands.mind_signals)();
                rest = Some(Rest::begin(systemctl).map_err(SetupError::Systemd)?);
            }
            if !(hands.try_all)(loaded) {
                self.tell_what_is_wrong(&(hands.try_service)(&loaded.settings))?;
            }
        }
        if args.no_start {
            return Ok(());
        }
        let Some(systemctl) = hands.systemctl else {
            return self.say("Start the door with: intercomd run");
        };
        unit::start(systemctl).map_err(SetupError::Systemd)?;
        drop(rest);
        self.say("The door runs. Pair a phone with: sudo intercomd ctl pair")
    }

    /// After a self-test that found something bad: a camera that is not there yet is no reason not to start the door; a
    /// service that does not let it in is one, unless somebody wants it so.
    fn tell_what_is_wrong(&mut self, service: &[Verdict]) -> Result<(), SetupError> {
        self.say("\nNot all is well: see the lines above marked \"bad\", each with what to do.")?;
        let mut bad = service.iter().filter(|verdict| verdict.grade == Grade::Bad).peekable();
        if bad.peek().is_none() {
            return Ok(());
        }
        self.say("The door does not get in at the service:")?;
        for verdict in bad {
            self.say(&format!("  bad  {}", verdict.words))?;
            if !verdict.remedy.is_empty() {
                self.say(&format!("       → {}", verdict.remedy))?;
            }
        }
        let question = "Go on all the same, with phones in the local network only? yes or no";
        let wanted = self.asks
            && self
                .ask(question, "no", |answer| match answer {
                    "yes" => Ok(true),
                    "no" => Ok(false),
                    other => Err(format!("\"{other}\" is neither yes nor no")),
                })
                .unwrap_or(false);
        if wanted { Ok(()) } else { Err(SetupError::NotLetIn) }
    }
}

/// Names and words of the cameras.
fn cameras(probe: &Probe) -> Vec<(String, String)> {
    let cameras = probe.cameras.iter().map(|camera| {
        let name = camera.links.first().unwrap_or(&camera.path);
        (name.clone(), camera.name.clone())
    });
    cameras.collect()
}

fn cards(
    probe: &Probe,
    fits: impl Fn(&crate::media::found::SoundCard) -> bool,
) -> Vec<(String, String)> {
    let cards = probe.sound_cards.iter().filter(|card| fits(card));
    cards.map(|card| (format!("plughw:CARD={}", card.id), card.name.clone())).collect()
}

fn file(action: &'static str, path: &Path, source: io::Error) -> SetupError {
    SetupError::File { action, path: path.to_owned(), source }
}

/// Tries the button and what the self-test tries. Whether nothing is bad.
fn try_all(loaded: &Loaded) -> bool {
    try_button(&loaded.settings);
    crate::selftest::run_loaded(loaded, false, Asks::Nobody) == ExitCode::SUCCESS
}

/// What the service says to this door.
fn try_service(settings: &Settings) -> Vec<Verdict> {
    let Some(uplink) = &settings.uplink else { return Vec::new() };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => {
            return vec![Verdict::bad(format!("the kernel gives no threads: {why}"), "try again")];
        }
    };
    let login = login(&uplink.credential);
    let tried = runtime.block_on(trial::service(&uplink.origin, &login, &settings.channel));
    runtime.shutdown_background();
    tried.verdicts
}

/// Waits for a press of the button this board has.
fn try_button(settings: &Settings) {
    if settings.board.button.is_none() {
        return say(
            "No button is wired in this board's profile; docs/wiring.md says how to add one.",
        );
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return say(&format!("The button cannot be tried: {why}")),
    };
    runtime.block_on(async {
        let (events, mut presses) = mpsc::channel(4);
        let panel = match Panel::open(&settings.board, events) {
            Ok(panel) => panel,
            Err(why) => return say(&format!("The button cannot be tried: {why}")),
        };
        say(&format!("Press the doorbell button now (within {} s) ...", PRESS.as_secs()));
        match tokio::time::timeout(PRESS, presses.recv()).await {
            Ok(Some(ButtonEvent::Press | ButtonEvent::LongPress)) => say("The button works."),
            Ok(None) | Err(_) => say("No press was noticed. docs/wiring.md has the pins; `intercomd setup` can be run again."),
        }
        panel.close();
    });
}

/// Tells the person. One whose terminal is gone may not end setup in the middle, with the door stopped.
fn say(words: &str) {
    let _ = writeln!(io::stdout(), "{words}");
}

#[cfg(test)]
mod tests;
