//! Dialogues with set-up, and what lies in its folder after them.

use std::cell::{Cell, RefCell};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use super::*;
use crate::media::found::{Camera, SoundCard};

const KEY: &str = "pk_live_test";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// What comes of a dialogue, and what was asked.
fn talk(
    args: &SetupArgs,
    folder: &Path,
    answers: &str,
    probe: &Probe,
) -> (Result<Loaded, SetupError>, String) {
    let mut questions = Vec::new();
    let mut talk = Talk { answers: answers.as_bytes(), questions: &mut questions, asks: !args.yes };
    let outcome = talk.whole(args, &folder.join("config.toml"), &|| probe.clone());
    (outcome, String::from_utf8(questions).expect("text"))
}

fn machine() -> Probe {
    let camera = |name: &str| Camera {
        name: name.to_owned(),
        path: format!("/dev/{name}"),
        links: vec![format!("/dev/v4l/by-id/usb-{name}")],
        ..Camera::default()
    };
    let card = |id: &str, records| SoundCard {
        id: id.to_owned(),
        name: format!("Card {id}"),
        records,
        plays: true,
        ..SoundCard::default()
    };
    Probe {
        cameras: vec![camera("porch"), camera("yard")],
        sound_cards: vec![card("panel", true), card("hdmi", false)],
        ..Probe::default()
    }
}

fn files(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder)
        .expect("there")
        .map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
    let mut files: Vec<String> = files.collect();
    files.sort();
    files
}

#[test]
fn a_few_answers_make_a_configuration_and_a_key_nobody_else_reads() {
    let folder = folder();
    let answers = format!("yard-door\n{KEY}\n2\n\n");
    let (outcome, questions) = talk(&SetupArgs::default(), folder.path(), &answers, &machine());
    let Loaded { settings, .. } = outcome.unwrap_or_else(|why| panic!("{why}\n{questions}"));
    assert_eq!(settings.channel, "yard-door");
    assert!(settings.uplink.is_some());
    assert_eq!(files(folder.path()), ["channel.key", "config.toml"], "no draft stays");
    let key = folder.path().join("channel.key");
    assert_eq!(fs::read_to_string(&key).expect("there").trim(), KEY);
    assert_eq!(fs::metadata(&key).expect("there").permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(folder.path().join("config.toml")).expect("there");
    assert!(text.contains("source = \"/dev/v4l/by-id/usb-yard\""), "{text}");
    assert!(text.contains("# The channel the door enters"), "the comments stay");
    assert!(
        questions.contains("more than one camera") && questions.contains("more than one speaker")
    );
    assert!(!questions.contains("more than one microphone"), "{questions}");
    assert!(!questions.contains(KEY), "the key is not repeated");
}

#[test]
fn a_wrong_answer_is_asked_again_with_the_reason() {
    let folder = folder();
    let answers = format!("_metered/x\nfront\nsk_live_test\nhello\n{KEY}\n9\n1\n1\n");
    let (outcome, questions) = talk(&SetupArgs::default(), folder.path(), &answers, &machine());
    assert_eq!(outcome.expect("at last").settings.channel, "front");
    for why in ["cannot be a channel", "a secret key", "no publishable key", "none of the numbers"]
    {
        assert!(questions.contains(why), "{why}: {questions}");
    }
}

#[test]
fn who_stops_answering_changes_nothing() {
    let folder = folder();
    let (outcome, _) = talk(&SetupArgs::default(), folder.path(), "front\n", &machine());
    assert!(matches!(outcome, Err(SetupError::NoAnswer)));
    assert!(files(folder.path()).is_empty());
}

#[test]
fn flags_ask_nothing_and_what_was_there_is_kept() {
    let folder = folder();
    let path = folder.path().join("config.toml");
    let before = "# mine\nchannel = \"old\"\n[call]\nno_answer = \"45s\"\n";
    fs::write(&path, before).expect("written");
    let key = folder.path().join("key");
    fs::write(&key, KEY).expect("written");
    let args = SetupArgs {
        channel: Some("new".to_owned()),
        key_file: Some(key),
        camera: Some("off".to_owned()),
        language: Some("de".to_owned()),
        yes: true,
        ..SetupArgs::default()
    };
    let (outcome, questions) = talk(&args, folder.path(), "", &machine());
    let Loaded { settings, .. } = outcome.unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(settings.rules.no_answer, Duration::from_secs(45));
    assert!(!questions.contains('?'), "{questions}");
    assert_eq!(fs::read_to_string(folder.path().join("config.toml.old")).expect("kept"), before);
    let text = fs::read_to_string(&path).expect("there");
    assert!(text.starts_with("# mine\nchannel = \"new\"\n"), "{text}");
}

#[test]
fn a_key_that_lies_there_is_used_and_a_closed_configuration_stays_closed() {
    let folder = folder();
    let path = folder.path().join("config.toml");
    fs::write(&path, "channel = \"d\"\n#[uplink]\n").expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
    // Only root can give files away.
    let _ = chown(&path, None, Some(4711));
    let group = fs::metadata(&path).expect("there").gid();
    whole_file::write_private(&folder.path().join("channel.key"), KEY.as_bytes()).expect("written");
    let args = SetupArgs { yes: true, ..SetupArgs::default() };
    let (outcome, _) = talk(&args, folder.path(), "", &machine());
    assert!(outcome.unwrap_or_else(|why| panic!("{why}")).settings.uplink.is_some());
    for file in ["config.toml", "config.toml.old"] {
        let found = fs::metadata(folder.path().join(file)).expect("there");
        assert_eq!((found.mode() & 0o777, found.gid()), (0o640, group), "{file}");
    }
}

#[test]
fn what_makes_no_good_configuration_is_refused_in_the_words_of_the_check() {
    let folder = folder();
    let path = folder.path().join("config.toml");
    let before = "channel = \"old\"\n[call]\nno_answer = \"1s\"\n";
    fs::write(&path, before).expect("written");
    let args = SetupArgs { yes: true, ..SetupArgs::default() };
    let (outcome, _) = talk(&args, folder.path(), "", &machine());
    let why = outcome.expect_err("refused").to_string();
    assert!(why.contains("config.toml:3: call.no_answer: "), "{why}");
    assert_eq!(fs::read_to_string(&path).expect("there"), before);
    assert_eq!(files(folder.path()), ["config.toml"]);
}

#[test]
fn to_do_without_the_service_takes_a_hand_where_it_is_in_use() {
    let folder = folder();
    fs::write(folder.path().join("config.toml"), "channel = \"a\"\n[uplink]\n").expect("written");
    let args = SetupArgs { yes: true, local_only: true, ..SetupArgs::default() };
    let (outcome, _) = talk(&args, folder.path(), "", &machine());
    assert!(matches!(outcome, Err(SetupError::Wrong(why)) if why.contains("[uplink]")));
}

#[test]
fn a_door_that_gets_in_by_a_way_of_its_own_keeps_it() {
    for way in ["token_command = [\"/bin/door-token\"]", "key_file = \"credential:mine\""] {
        let folder = folder();
        let path = folder.path().join("config.toml");
        fs::write(&path, format!("channel = \"d\"\n[uplink]\n{way}\n")).expect("written");
        whole_file::write_private(&folder.path().join(KEY_FILE), KEY.as_bytes()).expect("written");
        let args = SetupArgs { yes: true, ..SetupArgs::default() };
        let (outcome, _) = talk(&args, folder.path(), "", &machine());
        assert!(outcome.unwrap_or_else(|why| panic!("{why}")).settings.uplink.is_some());
        let text = fs::read_to_string(&path).expect("there");
        assert!(text.contains(way) && !text.contains(KEY_FILE), "{text}");
    }
}

#[test]
fn secrets_that_systemd_hands_over_are_no_reason_to_refuse() {
    let folder = folder();
    let key = folder.path().join("key");
    fs::write(&key, KEY).expect("written");
    let text = "channel = \"d\"\n[[ice.servers]]\nurls = [\"turn:turn.example\"]\nusername = \"u\"\ncredential_file = \"credential:turn.password\"\n\
        [[hooks.webhook]]\nurl = \"https://owner.example/door\"\nsecret_file = \"credential:hook\"\n\
        ca_file = \"credential:authority\"\n";
    fs::write(folder.path().join("config.toml"), text).expect("written");
    let args = SetupArgs { yes: true, key_file: Some(key), ..SetupArgs::default() };
    let (outcome, _) = talk(&args, folder.path(), "", &machine());
    let loaded = outcome.unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(loaded.settings.ice.servers.len(), 1);
    assert!(loaded.warnings.iter().any(|line| line.contains("the secret turn.password ")));
    assert_eq!(files(folder.path()), ["channel.key", "config.toml", "config.toml.old", "key"]);
}

#[test]
fn the_keys_own_credential_has_no_stand_in() {
    let folder = folder();
    let text = "channel = \"d\"\n[uplink]\nkey_file = \"credential:channel-key\"\n";
    fs::write(folder.path().join("config.toml"), text).expect("written");
    let args = SetupArgs { yes: true, ..SetupArgs::default() };
    let (outcome, _) = talk(&args, folder.path(), "", &machine());
    assert!(matches!(outcome, Err(SetupError::Refused(why)) if why.contains("is not there")));
}

/// A machine with systemd, as far as set-up sees it.
struct Machine {
    runs: Cell<bool>,
    /// What systemctl does not do.
    refuses: &'static str,
    /// What the self-test finds.
    is_well: bool,
    service: Vec<Verdict>,
    told: RefCell<Vec<String>>,
    /// Whether the door ran when it was tried; empty when nothing was tried.
    tried: Cell<Option<bool>>,
}

impl Machine {
    fn new(runs: bool, is_well: bool) -> Self {
        Self {
            runs: Cell::new(runs),
            refuses: "nothing",
            is_well,
            service: Vec::new(),
            told: RefCell::default(),
            tried: Cell::new(None),
        }
    }

    /// One whose service does not take the key.
    fn refused(runs: bool) -> Self {
        let known = Verdict::good("the service is reached with TLS");
        let unknown = Verdict::bad("the service closed the connection", "copy the key again");
        Self { service: vec![known, unknown], ..Self::new(runs, false) }
    }

    fn systemctl(&self, words: &[&str]) -> Result<(), String> {
        let order = words[0];
        self.told.borrow_mut().push(order.to_owned());
        if order == self.refuses {
            return Err(format!("systemctl {order} failed"));
        }
        match order {
            "is-active" if !self.runs.get() => return Err("inactive".to_owned()),
            "stop" => self.runs.set(false),
            "start" | "restart" => self.runs.set(true),
            _ => {}
        }
        Ok(())
    }

    /// What comes of the last part of set-up, and what was said.
    fn finish(&self, args: &SetupArgs, answers: &str) -> (Result<(), SetupError>, String) {
        let folder = folder();
        let flags = SetupArgs { yes: true, ..SetupArgs::default() };
        let loaded = talk(&flags, folder.path(), "", &Probe::default()).0.expect("written");
        let systemctl = |words: &[&str]| self.systemctl(words);
        let hands = Hands {
            systemctl: Some(&systemctl),
            mind_signals: &|| {},
            try_all: &|_| {
                self.tried.set(Some(self.runs.get()));
                self.is_well
            },
            try_service: &|_| self.service.clone(),
        };
        let mut said = Vec::new();
        let mut talk = Talk { answers: answers.as_bytes(), questions: &mut said, asks: !args.yes };
        let outcome = talk.finish(args, &loaded, &hands);
        (outcome, String::from_utf8(said).expect("text"))
    }

    fn was_told(&self, order: &str) -> bool {
        self.told.borrow().iter().any(|told| told == order)
    }
}

#[test]
fn a_door_that_runs_rests_while_it_is_tried_and_runs_again_on_every_way_out() {
    let script = SetupArgs { yes: true, ..SetupArgs::default() };
    let no_start = SetupArgs { no_start: true, ..script.clone() };
    for (machine, args, good) in [
        (Machine::new(true, true), &script, true),
        (Machine::new(true, true), &no_start, true),
        (Machine::new(true, false), &script, true),
        (Machine::refused(true), &script, false),
        (Machine::refused(true), &no_start, false),
        (Machine { refuses: "restart", ..Machine::new(true, true) }, &script, false),
    ] {
        let (outcome, said) = machine.finish(args, "");
        assert_eq!(outcome.is_ok(), good, "{said}");
        assert!(said.contains("it is stopped while"), "{said}");
        assert_eq!(machine.tried.get(), Some(false), "tried at rest");
        assert!(machine.runs.get(), "{:?}", machine.told.borrow());
    }
}

#[test]
fn a_door_that_does_not_run_is_not_stopped_and_without_tests_none_is() {
    let script = SetupArgs { yes: true, ..SetupArgs::default() };
    let machine = Machine::new(false, true);
    machine.finish(&script, "").0.expect("set up");
    assert_eq!(*machine.told.borrow(), ["is-active", "enable", "restart"]);
    assert_eq!(machine.tried.get(), Some(false));
    let machine = Machine::new(true, true);
    machine.finish(&SetupArgs { no_test: true, ..script }, "").0.expect("set up");
    assert_eq!(*machine.told.borrow(), ["enable", "restart"]);
    assert_eq!(machine.tried.get(), None);
}

#[test]
fn a_door_that_cannot_be_stopped_is_not_tried() {
    let machine = Machine { refuses: "stop", ..Machine::new(true, true) };
    let (outcome, _) = machine.finish(&SetupArgs { yes: true, ..SetupArgs::default() }, "");
    let why = outcome.expect_err("it goes on").to_string();
    assert!(why.contains("systemctl stop failed") && why.contains("as root"), "{why}");
    assert_eq!(machine.tried.get(), None);
    assert!(machine.was_told("start"), "a stop that is only late is made up for");
}

#[test]
fn a_key_the_service_refuses_is_no_success_and_is_told_with_what_to_do() {
    let machine = Machine::refused(false);
    let (outcome, said) = machine.finish(&SetupArgs { yes: true, ..SetupArgs::default() }, "");
    assert!(matches!(outcome, Err(SetupError::NotLetIn)), "{said}");
    for words in ["does not get in", "the service closed the connection", "copy the key again"] {
        assert!(said.contains(words), "{said}");
    }
    assert!(!said.contains("The door runs"), "{said}");
    assert!(!said.contains("is reached"), "only what is bad: {said}");
    assert!(!machine.was_told("restart"));
}

#[test]
fn who_is_asked_may_go_on_without_the_service() {
    for (answers, good) in [("perhaps\nyes\n", true), ("\n", false), ("no\n", false), ("", false)] {
        let machine = Machine::refused(false);
        let (outcome, said) = machine.finish(&SetupArgs::default(), answers);
        assert!(said.contains("all the same"), "{said}");
        assert_eq!(outcome.is_ok(), good, "{answers:?}: {said}");
        assert_eq!(machine.was_told("restart"), good);
    }
}

#[test]
fn a_camera_that_is_not_there_yet_is_told_and_is_no_reason_not_to_start() {
    let machine = Machine::new(false, false);
    let (outcome, said) = machine.finish(&SetupArgs::default(), "");
    outcome.expect("set up");
    assert!(said.contains("Not all is well") && said.contains("The door runs"), "{said}");
}

#[test]
fn an_order_that_fails_or_is_not_done_in_time_is_told() {
    let long = Duration::from_secs(60);
    assert_eq!(unit::order("true", &[], long), Ok(()));
    let why = unit::order("false", &["x"], long).expect_err("it fails");
    assert!(why.contains("`false x` failed"), "{why}");
    let begun = std::time::Instant::now();
    let why = unit::order("sleep", &["60"], Duration::from_millis(50)).expect_err("it sleeps");
    assert!(why.contains("was not done"), "{why}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}
