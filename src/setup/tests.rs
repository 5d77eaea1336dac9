//! Dialogues with set-up, and what lies in its folder after them.

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
