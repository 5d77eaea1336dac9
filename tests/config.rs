//! The configuration as its owner meets it: files in, settings or a list of faults out.
//!
//! `data/config/` holds one bad configuration per file; each begins with `# expect: ` lines, one for
//! every line that has to be printed and no more.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use intercomd::config::names::{IcePolicy, IceServer};
use intercomd::config::{
    Active, Bias, ButtonTimes, ChimeSound, Credential, HookEvent, HooksSettings, IceSettings, Idle,
    IdleLamp, LampPort, LampWiring, Language, LineName, LoadArgs, Loaded, LogSettings, NativeH264,
    Outputs, OwnMessage, PanelKind, Problems, QuietHours, Rotation, Secret, Source, Surroundings,
    UplinkSettings, Warm, load_board_within, load_within, outputs_within,
};
use intercomd::intercom::Rules;
use proptest::prelude::*;
use tempfile::TempDir;

const KEY: &str = "pk_live_test";

/// A machine of its own: a folder for its files, no environment, no device tree.
struct Machine {
    dir: TempDir,
    around: Surroundings,
    args: LoadArgs,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let around = Surroundings {
            variables: BTreeMap::new(),
            config_file: dir.path().join("config.toml"),
            board_dirs: vec![dir.path().join("etc"), dir.path().join("usr")],
            device_tree: dir.path().join("compatible"),
        };
        Self { dir, around, args: LoadArgs::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        let folder = path.parent().expect("a file lies in a folder");
        fs::create_dir_all(folder).expect("the folder can be made");
        fs::write(&path, content).expect("the file can be written");
        path
    }

    fn key_file(&self, name: &str, content: &str) {
        let path = self.file(name, content);
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("mode can be set");
    }

    fn set(&mut self, name: &str, value: &str) {
        self.around.variables.insert(name.to_owned(), value.to_owned());
    }

    fn device_tree(&self, names: &str) {
        self.file("compatible", names);
    }

    fn load(&self) -> Result<Loaded, Problems> {
        load_within(&self.args, &self.around)
    }

    fn with(&self, config: &str) -> Loaded {
        self.file("config.toml", config);
        self.load().unwrap_or_else(|problems| panic!("{config}\n{problems}"))
    }

    fn faults(&self, config: &str) -> String {
        self.file("config.toml", config);
        match self.load() {
            Ok(_) => panic!("should be refused:\n{config}"),
            Err(problems) => problems.to_string(),
        }
    }
}

// ---- the folder of bad configurations

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config")
}

fn bad_configurations() -> Vec<PathBuf> {
    let entries = fs::read_dir(data()).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    files
}

/// The publishable key of an uplink that has one.
fn key_of(uplink: &UplinkSettings) -> &Secret {
    match &uplink.credential {
        Credential::Key(key) => key,
        other => panic!("{other:?} is no key"),
    }
}

#[test]
fn every_bad_configuration_prints_what_it_expects_and_nothing_else() {
    let files = bad_configurations();
    assert!(files.len() > 30, "the folder is not empty");
    let folder = format!("{}/", data().display());
    let mut failed = String::new();
    for path in files {
        let text = fs::read_to_string(&path).expect("the file can be read");
        let expected: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# expect: ")).collect();
        let args = LoadArgs { config: Some(path.clone()), ..LoadArgs::default() };
        let printed = match load_within(&args, &Surroundings::default()) {
            Ok(_) => String::new(),
            Err(problems) => problems.to_string().replace(&folder, ""),
        };
        let matches = printed.lines().count() == expected.len()
            && printed
                .lines()
                .zip(&expected)
                .all(|(line, expected)| !expected.is_empty() && line.contains(expected));
        if !matches {
            failed += &format!("=== {}\n{printed}\n", path.display());
        }
        assert!(!printed.contains("never-show-this"), "{printed}");
    }
    assert!(failed.is_empty(), "printed in place of the expected:\n{failed}");
}

#[test]
fn every_problem_names_file_key_fault_and_remedy() {
    for path in bad_configurations() {
        let args = LoadArgs { config: Some(path.clone()), ..LoadArgs::default() };
        let problems = load_within(&args, &Surroundings::default())
            .expect_err("every file of the folder is bad");
        assert!(!problems.0.is_empty(), "{}", path.display());
        for problem in &problems.0 {
            assert!(!problem.file.is_empty(), "{problem}");
            assert!(!problem.what.is_empty(), "{problem}");
            assert!(!problem.fix.is_empty(), "{problem}");
            assert_eq!(problem.to_string().lines().count(), 1, "{problem}");
            let of_the_whole_file = problem.what.starts_with("is not TOML");
            assert!(of_the_whole_file || !problem.key.is_empty(), "{problem}");
        }
    }
}

// ---- defaults and the reference

#[test]
fn a_channel_is_enough() {
    let machine = Machine::new();
    let loaded = machine.with("channel = \"front-door\"");
    let settings = &loaded.settings;
    assert_eq!(settings.channel, "front-door");
    assert_eq!(settings.uplink, None);
    assert_eq!(settings.rules, Rules::default());
    assert_eq!(settings.board.name, "sim");
    assert_eq!(settings.state_dir, Path::new("/var/lib/intercomd"));
    assert_eq!(settings.socket, Path::new("/run/intercomd/control.sock"));
    let lan = settings.lan.as_ref().expect("the hub is on by itself");
    assert_eq!(lan.listen.to_string(), "[::]:8443");
    assert_eq!(lan.web_dir, Path::new("/usr/share/intercomd/web"));
    assert_eq!(lan.door_peer_id, "-door");
    assert_eq!(lan.tls, None);
    assert_eq!(loaded.sources, [machine.path("config.toml")]);
}

#[test]
fn the_simulated_board_needs_no_hardware() {
    let board = Machine::new().with("channel = \"d\"\nboard = \"sim\"").settings.board;
    assert_eq!(board.panel, PanelKind::Sim);
    assert_eq!(board.camera.source, Source::Test);
    assert_eq!((board.camera.width, board.camera.height), (640, 480));
    assert_eq!(board.camera.rate, 30);
    assert_eq!(board.microphone.source, Source::Test);
    assert_eq!(board.speaker.source, Source::Auto);
    assert_eq!(board.display.source, Source::Auto);
    assert!(board.lamp.is_some() && board.relay.is_some(), "recorded, so that a test can see them");
}

const REFERENCE: &str = include_str!("../docs/config.toml");

/// A profile that says nothing, so that the built-in defaults show.
const BLANK_BOARD: &str = "compatible = [\"acme,blank\"]\n[panel]\nkind = \"sim\"\n";

/// The reference with every setting switched on: settings are commented without a space.
fn reference_in_full() -> String {
    REFERENCE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn machine_with_blank_board() -> Machine {
    let mut machine = Machine::new();
    machine.file("etc/blank.toml", BLANK_BOARD);
    machine.device_tree("acme,blank\0");
    machine.key_file("credentials/channel-key", KEY);
    let credentials = machine.path("credentials").display().to_string();
    machine.set("CREDENTIALS_DIRECTORY", &credentials);
    machine
}

#[test]
fn the_reference_as_installed_is_the_defaults_with_a_channel() {
    let machine = machine_with_blank_board();
    let bare = machine.with("channel = \"front-door\"");
    let reference = machine.with(REFERENCE);
    assert_eq!(reference.settings, bare.settings);
    assert_eq!(reference.settings.board.name, "blank");
}

#[test]
fn every_value_shown_in_the_reference_is_the_built_in_default() {
    let machine = machine_with_blank_board();
    let least = r#"
        channel = "front-door"
        [uplink]
        [button]
        line = "GPIO17"
        [relay]
        line = "GPIO27"
        safe = "off"
        pulse = "3s"
        max_pulse = "10s"
        [lamp]
        line = "GPIO22"
        [chime]
        line = "GPIO23"
    "#;
    let bare = machine.with(least);
    let reference = machine.with(&reference_in_full());
    assert_eq!(reference.settings, bare.settings);
    let uplink = reference.settings.uplink.expect("the uplink is switched on");
    assert_eq!(uplink.origin, "wss://rms.metered.ca");
    assert_eq!(key_of(&uplink).expose(), KEY);
    assert!(uplink.arm);
}

#[test]
fn the_reference_switched_on_has_more_settings_than_as_installed() {
    let shown = |text: &str| text.lines().filter(|line| line.contains(" = ")).count();
    let settings = |text: String| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        shown(&lines.collect::<Vec<_>>().join("\n"))
    };
    assert_eq!(settings(REFERENCE.to_owned()), 1);
    assert!(settings(reference_in_full()) > 30);
}

// ---- the order of sources

#[test]
fn the_file_overrides_the_profile_key_by_key() {
    let machine = Machine::new();
    let config = r#"
        channel = "d"
        board = "rpi4"
        [button]
        debounce = "80ms"
        [camera]
        rate = 15
        [speaker]
        source = "plughw:CARD=panel"
    "#;
    let board = machine.with(config).settings.board;
    let button = board.button.expect("the profile wires the button");
    assert_eq!(button.times.debounce, Duration::from_millis(80));
    assert_eq!(button.line.line, LineName::Name("GPIO17".to_owned()));
    assert_eq!(button.line.active, Active::Low);
    assert_eq!(button.bias, Bias::PullUp);
    assert_eq!((board.camera.width, board.camera.rate), (1280, 15));
    let card = Source::Device("plughw:CARD=panel".to_owned());
    assert_eq!(board.speaker.source, card);
    assert_eq!(board.microphone.source, Source::Auto);
}

#[test]
fn a_fragment_in_the_file_replaces_the_source_of_the_profile() {
    let config =
        "channel = \"d\"\nboard = \"sim\"\n[camera]\npipeline = \"videotestsrc pattern=ball\"";
    let board = Machine::new().with(config).settings.board;
    let fragment = Source::Pipeline("videotestsrc pattern=ball".to_owned());
    assert_eq!(board.camera.source, fragment);
}

/// The name of the line or LED of a lamp.
fn line_of(lamp: &LampWiring) -> String {
    match &lamp.port {
        LampPort::Line(line) => line.line.to_string(),
        LampPort::Led(name) => format!("led {name}"),
    }
}

#[test]
fn the_lamp_of_the_later_document_wins_whether_line_or_led() {
    let machine = Machine::new();
    let lamp = |config: &str| {
        let board = machine.with(&format!("channel = \"d\"\n{config}")).settings.board;
        board.lamp.expect("a lamp is wired")
    };
    assert_eq!(line_of(&lamp("board = \"rpi4\"\nlamp.sysfs = \"ACT\"")), "led ACT");
    machine.file("led.toml", "[panel]\nkind = \"sim\"\n[lamp]\nsysfs = \"ACT\"\nidle = \"on\"\n");
    let kept = lamp("board = \"led.toml\"");
    assert_eq!((line_of(&kept).as_str(), kept.idle), ("led ACT", IdleLamp::Lit));
    let moved = lamp("board = \"led.toml\"\nlamp.line = \"GPIO5\"");
    assert_eq!((line_of(&moved).as_str(), moved.idle), ("GPIO5", IdleLamp::Lit));
    // An LED takes no GPIO line, so the profile's is free for something else.
    let config = "board = \"rpi4\"\nlamp.sysfs = \"ACT\"\nchime.line = \"GPIO22\"";
    assert_eq!(line_of(&lamp(config)), "led ACT");
}

#[test]
fn the_button_has_times_of_its_own_and_a_long_press_can_be_off() {
    let machine = Machine::new();
    let times = |keys: &str| {
        let config = format!("channel = \"d\"\nboard = \"rpi4\"\n[button]\n{keys}");
        machine.with(&config).settings.board.button.expect("the profile wires it").times
    };
    assert_eq!(times(""), ButtonTimes::default());
    let own = times("cooldown = \"0s\"\nlong_press = \"30s\"");
    assert_eq!((own.cooldown, own.long_press), (Duration::ZERO, Some(Duration::from_secs(30))));
    assert_eq!(times("long_press = \"off\"").long_press, None);
}

// ---- the outputs alone, for the moment after the daemon

fn outputs(machine: &Machine) -> (Outputs, String) {
    let (outputs, problems) = outputs_within(&machine.args, &machine.around);
    (outputs, problems.to_string())
}

#[test]
fn the_outputs_are_those_of_the_whole_configuration() {
    let machine = Machine::new();
    let config = "channel = \"d\"\nboard = \"rpi4\"\nrelay.line = \"GPIO5\"\nlamp.sysfs = \"ACT\"";
    let board = machine.with(config).settings.board;
    let (outputs, problems) = outputs(&machine);
    assert_eq!(problems, "");
    assert_eq!(outputs.panel, PanelKind::Gpio);
    assert_eq!(outputs.relay, board.relay.map(|relay| relay.line));
    assert_eq!(outputs.lamp, board.lamp.map(|lamp| lamp.port));
    assert_eq!(outputs.chime, None);
}

#[test]
fn the_outputs_are_found_in_a_configuration_that_is_broken_elsewhere() {
    let machine = Machine::new();
    let config = r#"
        board = "rpi4"
        [uplink]
        key_file = "/nowhere"
        [camera]
        rate = 99
        [relay]
        line = "GPIO5"
        pulse = "1h"
        max_pulse = "no time"
        [button]
        active = "sideways"
    "#;
    machine.faults(config);
    let (outputs, problems) = outputs(&machine);
    let relay = outputs.relay.expect("its line is written well").line;
    assert_eq!(relay, LineName::Name("GPIO5".to_owned()));
    assert!(problems.lines().all(|line| line.contains("relay.")), "{problems}");
}

#[test]
fn a_file_that_is_not_toml_leaves_the_outputs_of_the_profile_and_says_so() {
    let machine = Machine::new();
    machine.device_tree("raspberrypi,4-model-b\0");
    machine.file("config.toml", "channel = \"d\"\n[relay\n");
    let (outputs, problems) = outputs(&machine);
    assert!(outputs.relay.is_some() && outputs.panel == PanelKind::Gpio);
    assert!(problems.contains("config.toml:2: is not TOML"), "{problems}");
}

#[test]
fn what_stands_before_a_syntax_error_counts_for_the_outputs() {
    let machine = Machine::new();
    let config =
        "board = \"rpi4\"\n[relay]\nline = \"GPIO5\"\n[lamp]\nsysfs = \"ACT\n[chime]\nline = 4";
    machine.file("config.toml", config);
    let (outputs, problems) = outputs(&machine);
    assert_eq!(outputs.panel, PanelKind::Gpio);
    let relay = outputs.relay.expect("the configuration names a line").line;
    assert_eq!(relay, LineName::Name("GPIO5".to_owned()));
    assert!(problems.contains("config.toml:5: is not TOML"), "{problems}");
}

#[test]
fn outputs_of_a_board_nobody_knows_are_told_as_not_known() {
    let machine = Machine::new();
    machine.file("config.toml", "board = \"rpi44\"\nrelay.line = \"GPIO5\"");
    let (outputs, problems) = outputs(&machine);
    assert!(problems.contains("rpi44"), "{problems}");
    let relay = outputs.relay.expect("the configuration names a line").line;
    assert_eq!(relay, LineName::Name("GPIO5".to_owned()));
    assert_eq!(outputs.lamp, None);
}

#[test]
fn off_takes_away_what_the_profile_wires() {
    let config = "channel = \"d\"\nboard = \"rpi4\"\nrelay.line = \"off\"\nlamp.line = \"GPIO27\"";
    let board = Machine::new().with(config).settings.board;
    assert_eq!(board.relay, None);
    let lamp = board.lamp.expect("the lamp took over the line");
    assert_eq!(line_of(&lamp), "GPIO27");
}

#[test]
fn an_active_high_button_is_held_low_unless_told_otherwise() {
    let machine = Machine::new();
    let config = "channel = \"d\"\nboard = \"pc\"\n[button]\nline = 4\nactive = \"high\"\n";
    let button = machine.with(config).settings.board.button;
    let button = button.expect("the button is wired");
    assert_eq!(button.bias, Bias::PullDown);
    assert_eq!(button.line.line, LineName::Offset(4));
    assert_eq!(button.line.chip, None);
    let warnings = machine.with(config).warnings.join("\n");
    assert!(warnings.contains("config.toml:4: button.line: a number without `chip`"));
    let loaded = machine.with(&format!("{config}bias = \"pull-up\""));
    assert!(loaded.warnings.join("\n").contains("ring by itself"));
}

#[test]
fn the_environment_overrides_the_file() {
    let mut machine = Machine::new();
    machine.key_file("key", KEY);
    let key_file = machine.path("key").display().to_string();
    machine.set("INTERCOMD_CHANNEL", "from-outside");
    machine.set("INTERCOMD_BOARD", "pc");
    machine.set("INTERCOMD_LAN_LISTEN", "127.0.0.1:0");
    machine.set("INTERCOMD_UPLINK_URL", "ws://127.0.0.1:8480");
    machine.set("INTERCOMD_UPLINK_KEY_FILE", &key_file);
    let config = r#"
        channel = "from-file"
        board = "rpi4"
        [lan]
        listen = "off"
        [uplink]
        url = "wss://rms.metered.ca"
        key_file = "nowhere"
    "#;
    let settings = machine.with(config).settings;
    assert_eq!(settings.channel, "from-outside");
    assert_eq!(settings.board.name, "pc");
    let lan = settings.lan.expect("switched on from outside");
    assert_eq!(lan.listen.to_string(), "127.0.0.1:0");
    let uplink = settings.uplink.expect("configured from outside");
    assert_eq!(uplink.origin, "ws://127.0.0.1:8480");
    assert_eq!(key_of(&uplink).expose(), KEY);
}

#[test]
fn the_environment_alone_is_enough_for_a_container() {
    let mut machine = Machine::new();
    machine.key_file("key", KEY);
    let key_file = machine.path("key").display().to_string();
    machine.set("INTERCOMD_CHANNEL", "front-door");
    machine.set("INTERCOMD_UPLINK_KEY_FILE", &key_file);
    let loaded = machine.load().expect("no file is needed");
    assert_eq!(loaded.sources, Vec::<PathBuf>::new());
    let uplink = loaded.settings.uplink.expect("the key file asks for it");
    assert_eq!(uplink.origin, "wss://rms.metered.ca");
}

#[test]
fn empty_variables_count_as_not_set() {
    let mut machine = Machine::new();
    for name in [
        "INTERCOMD_CHANNEL",
        "INTERCOMD_BOARD",
        "INTERCOMD_LAN_LISTEN",
        "INTERCOMD_UPLINK_URL",
        "INTERCOMD_UPLINK_KEY_FILE",
        "CREDENTIALS_DIRECTORY",
        "STATE_DIRECTORY",
        "RUNTIME_DIRECTORY",
    ] {
        machine.set(name, "");
    }
    let loaded = machine.with("channel = \"d\"");
    assert_eq!(loaded.settings, Machine::new().with("channel = \"d\"").settings);
}

#[test]
fn a_bad_variable_is_named() {
    let mut machine = Machine::new();
    machine.set("INTERCOMD_LAN_LISTEN", "8443");
    machine.set("INTERCOMD_CHANNEL", "_system/x");
    machine.set("INTERCOMD_BOARD", "rpi44");
    let text = machine.faults("");
    for name in ["INTERCOMD_LAN_LISTEN", "INTERCOMD_CHANNEL", "INTERCOMD_BOARD"] {
        assert!(text.contains(&format!("environment: {name}: ")), "{text}");
    }
}

#[test]
fn the_command_line_has_the_last_word_on_the_board() {
    let mut machine = Machine::new();
    machine.set("INTERCOMD_BOARD", "rpi4");
    machine.args.board = Some("rpi5".to_owned());
    let settings = machine.with("channel = \"d\"\nboard = \"pc\"").settings;
    assert_eq!(settings.board.name, "rpi5");
    machine.args.board = Some("zero".to_owned());
    assert!(machine.faults("channel = \"d\"").contains("command line: --board: "));
}

#[test]
fn folders_come_from_the_service_manager_and_the_command_line() {
    let mut machine = Machine::new();
    machine.set("STATE_DIRECTORY", "/state/one:/state/two");
    machine.set("RUNTIME_DIRECTORY", "/run/elsewhere");
    let settings = machine.with("channel = \"d\"").settings;
    assert_eq!(settings.state_dir, Path::new("/state/one"));
    assert_eq!(settings.socket, Path::new("/run/elsewhere/control.sock"));
    machine.args.socket = Some(PathBuf::from("/tmp/x.sock"));
    let settings = machine.with("channel = \"d\"\nstate_dir = \"state\"").settings;
    assert_eq!(settings.state_dir, machine.path("state"));
    assert_eq!(settings.socket, Path::new("/tmp/x.sock"));
}

// ---- files

#[test]
fn a_file_that_was_asked_for_has_to_be_there() {
    let mut machine = Machine::new();
    machine.set("INTERCOMD_CHANNEL", "d");
    machine.args.config = Some(machine.path("mine.toml"));
    let text = machine.load().expect_err("it is not there").to_string();
    assert!(text.contains("mine.toml: cannot be read"), "{text}");
}

#[test]
fn a_missing_usual_file_leaves_the_channel_missing() {
    let machine = Machine::new();
    let text = machine.load().expect_err("nobody names a channel").to_string();
    assert!(text.contains("config.toml: channel: is missing"), "{text}");
}

#[test]
fn what_is_no_text_file_is_refused() {
    let mut machine = Machine::new();
    machine.args.config = Some(machine.path(""));
    assert!(machine.load().is_err(), "a folder");
    machine.args.config = None;
    fs::write(machine.path("config.toml"), [0xff, 0xfe, 0x00]).expect("the file can be written");
    let text = machine.load().expect_err("not UTF-8").to_string();
    assert!(text.contains("cannot be read"), "{text}");
    machine.file("config.toml", &"#\n".repeat(600 * 1024));
    let text = machine.load().expect_err("too large").to_string();
    assert!(text.contains("larger than 1 MiB"), "{text}");
}

// ---- boards

const DOOR_A: &str = "compatible = [\"acme,door-a\", \"acme,soc\"]\n[panel]\nkind = \"sim\"\n";

#[test]
fn auto_takes_the_board_the_device_tree_names() {
    for (names, expected) in [
        ("raspberrypi,4-model-b\0brcm,bcm2711\0", "rpi4"),
        ("raspberrypi,5-model-b\0brcm,bcm2712\0", "rpi5"),
        ("raspberrypi,3-model-b-plus\0brcm,bcm2837\0", "rpi3"),
        ("raspberrypi,model-zero-2-w\0brcm,bcm2837\0", "zero2w"),
    ] {
        let machine = Machine::new();
        machine.device_tree(names);
        let loaded = machine.with("channel = \"d\"");
        assert_eq!(loaded.settings.board.name, expected);
        let about_board = loaded.warnings.iter().any(|line| line.contains("board"));
        assert!(!about_board, "{:?}", loaded.warnings);
    }
}

#[test]
fn the_machine_s_own_name_counts_more_than_its_chip_family() {
    let machine = Machine::new();
    machine.file("etc/a.toml", DOOR_A);
    let door_b = DOOR_A.replace("door-a\", \"acme,soc", "door-b");
    machine.file("etc/b.toml", &door_b);
    machine.device_tree("acme,door-b\0acme,soc\0");
    assert_eq!(machine.with("channel = \"d\"").settings.board.name, "b");
    machine.device_tree("acme,door-c\0acme,soc\0");
    assert_eq!(machine.with("channel = \"d\"").settings.board.name, "a");
}

#[test]
fn a_pc_gets_the_simulated_board_and_is_told() {
    let loaded = Machine::new().with("channel = \"d\"\nboard = \"auto\"");
    assert_eq!(loaded.settings.board.name, "sim");
    let warnings = loaded.warnings.join("\n");
    assert!(warnings.contains("config.toml:2: board: this machine has no device tree"));
    assert!(warnings.contains("simulated board"), "{warnings}");
}

#[test]
fn an_unknown_machine_gets_the_simulated_board_and_is_told_its_own_name() {
    let machine = Machine::new();
    machine.device_tree("acme,toaster\0acme,soc\0");
    let loaded = machine.with("channel = \"d\"");
    assert_eq!(loaded.settings.board.name, "sim");
    let warnings = loaded.warnings.join("\n");
    assert!(warnings.contains("acme,toaster or acme,soc"), "{warnings}");
}

#[test]
fn a_profile_of_the_owner_hides_the_one_that_was_shipped() {
    let machine = Machine::new();
    let own = "name = \"mine\"\ncompatible = [\"raspberrypi,4-model-b\"]\n[panel]\nkind = \"sim\"";
    machine.file("usr/rpi4.toml", &own.replace("mine", "theirs"));
    let path = machine.file("etc/rpi4.toml", own);
    let loaded = machine.with("channel = \"d\"\nboard = \"rpi4\"");
    assert_eq!(loaded.settings.board.name, "mine");
    assert_eq!(loaded.sources, [path, machine.path("config.toml")]);
    machine.device_tree("raspberrypi,4-model-b\0");
    assert_eq!(machine.with("channel = \"d\"").settings.board.name, "mine");
}

#[test]
fn a_broken_profile_stops_auto_because_it_may_be_the_one_meant() {
    let machine = Machine::new();
    machine.file("etc/door.toml", "compatible = [\"raspberrypi,4-model-b\"\n");
    machine.device_tree("raspberrypi,4-model-b\0");
    let text = machine.faults("channel = \"d\"");
    assert!(text.contains("door.toml:"), "{text}");
    assert!(text.contains("is not TOML"), "{text}");
}

#[test]
fn a_profile_file_is_found_beside_the_configuration() {
    let machine = Machine::new();
    machine.file("door.toml", DOOR_A);
    machine.file("more/other.toml", DOOR_A);
    let name = |config: &str| machine.with(config).settings.board.name;
    assert_eq!(name("channel = \"d\"\nboard = \"door.toml\""), "door");
    assert_eq!(name("channel = \"d\"\nboard = \"more/other.toml\""), "other");
    let path = machine.path("door.toml").display().to_string();
    assert_eq!(name(&format!("channel = \"d\"\nboard = \"{path}\"")), "door");
}

#[test]
fn a_panel_without_a_button_is_warned_of() {
    let machine = Machine::new();
    machine.file("door.toml", "[panel]\nkind = \"gpio\"\n");
    let loaded = machine.with("channel = \"d\"\nboard = \"door.toml\"");
    let warnings = loaded.warnings.join("\n");
    assert!(warnings.contains("door.toml:2: panel.kind: no button is wired"), "{warnings}");
}

#[test]
fn two_chips_may_use_the_same_number() {
    let config = r#"
        channel = "d"
        board = "pc"
        [button]
        chip = "expander-a"
        line = 3
        [lamp]
        chip = "expander-b"
        line = 3
    "#;
    assert!(Machine::new().with(config).settings.board.lamp.is_some());
}

#[test]
fn a_slow_camera_is_fine_when_there_is_another_encoder() {
    let config = "channel = \"d\"\nboard = \"pc\"\n[camera]\nrate = 5\n[encoder]\ntry = [\"v4l2h264enc\", \"x264enc\"]";
    assert_eq!(Machine::new().with(config).settings.board.camera.rate, 5);
}

#[test]
fn a_slow_camera_before_the_pis_encoder_is_warned_of() {
    let config = "channel = \"d\"\nboard = \"rpi4\"\n[camera]\nrate = 5";
    let warnings = Machine::new().with(config).warnings.join("\n");
    assert!(warnings.contains("config.toml:4: camera.rate: "), "{warnings}");
    assert!(warnings.contains("sent twice"), "{warnings}");
}

#[test]
fn controls_of_the_camera_are_taken_from_profile_and_file_key_by_key() {
    let machine = Machine::new();
    let profile = "[panel]\nkind = \"sim\"\n[camera]\nnative_h264 = \"off\"\n[camera.controls]\n\
                   gain = 3\nauto_exposure = 1\n";
    machine.file("own.toml", profile);
    let config = r#"
        channel = "d"
        board = "./own.toml"
        [camera.controls]
        gain = -7
        focus_automatic_continuous = true
        privacy = false
    "#;
    let camera = machine.with(config).settings.board.camera;
    assert_eq!(camera.native_h264, NativeH264::Off);
    let controls: Vec<_> = camera.controls.iter().map(|(name, value)| (&**name, *value)).collect();
    assert_eq!(
        controls,
        [("auto_exposure", 1), ("focus_automatic_continuous", 1), ("gain", -7), ("privacy", 0)]
    );
}

#[test]
fn the_board_can_be_had_alone_whatever_else_is_wrong() {
    let machine = Machine::new();
    let load = |config: &str| {
        machine.file("config.toml", config);
        load_board_within(&machine.args, &machine.around)
    };
    let board = load(
        "board = \"pc\"\nnonsense = 1\n[uplink]\nkey_file = \"/nonexistent\"\n[camera]\nrate = 12",
    )
    .expect("the board is good");
    assert_eq!((board.name.as_str(), board.camera.rate), ("pc", 12));
    let problems =
        load("channel = \"d\"\nboard = \"pc\"\n[camera]\nrate = 99").expect_err("it is not");
    assert!(problems.to_string().contains("config.toml:4: camera.rate: is 99"), "{problems}");
}

#[test]
fn bounds_themselves_are_allowed() {
    let config = r#"
        channel = "d"
        board = "pc"
        [call]
        no_answer = "5s"
        longest_talk = "4h"
        linger = "0s"
        join_timeout = "1min"
        press_ends_call = true
        press_cancels_ring = true
        second_speaker = true
        max_peers = 16
        [quiet]
        from = "22:30"
        to = "07:00"
        chime = false
        [look_in]
        allowed = true
        longest = "90s"
        [log]
        entries = 1000
        age = "366days"
        pictures = false
        [camera]
        size = [1920, 1080]
        rate = 30
        [encoder]
        bitrate_kbps = 8000
        keyframe_interval = "1s"
    "#;
    let settings = Machine::new().with(config).settings;
    let expected = Rules {
        no_answer: Duration::from_secs(5),
        longest_talk: Duration::from_secs(4 * 3600),
        linger: Duration::ZERO,
        join_timeout: Duration::from_secs(60),
        press_ends_call: true,
        press_cancels_ring: true,
        second_speaker: true,
        quiet_chime: false,
        texts: settings.rules.texts,
        max_peers: 16,
        longest_look: Duration::from_secs(90),
    };
    assert_eq!(settings.rules, expected);
    assert!(settings.look_in);
    assert_eq!(settings.quiet, Some(QuietHours { from: 22 * 60 + 30, to: 7 * 60 }));
    let age = Duration::from_secs(366 * 86_400);
    assert_eq!(settings.log, LogSettings { entries: 1000, age, pictures: false });
    assert_eq!(settings.board.camera.height, 1080);
    assert_eq!(settings.board.encoder.bitrate_kbps, 8000);
}

#[test]
fn phones_are_woken_only_with_somebody_to_write_to() {
    let config = |rest: &str| format!("channel = \"d\"\n[hooks.web_push]\n{rest}\n");
    let settings = Machine::new().with(&config("contact = \"mailto:a@b.example\"")).settings;
    let hook = settings.hooks.web_push.expect("it is wanted");
    assert_eq!(hook.on, [HookEvent::Ring, HookEvent::Answered, HookEvent::Missed].into());
    assert_eq!((hook.contact.as_str(), hook.ca_file), ("mailto:a@b.example", None));
    for (wrong, place) in [
        ("on = [\"ring\"]", "config.toml:2: hooks.web_push.contact: "),
        ("contact = \"a@b.example\"", "config.toml:3: hooks.web_push.contact: is neither"),
        ("contact = \"mailto:\"", "config.toml:3: hooks.web_push.contact: is neither"),
        ("contact = \"https://b.example\"\non = [\"picture\"]", "config.toml:4: hooks.web_push.on"),
    ] {
        let problems = Machine::new().faults(&config(wrong));
        assert!(problems.contains(place), "{wrong}: {problems}");
    }
}

#[test]
fn a_camera_that_runs_unasked_is_shown_by_the_lamp_or_warned_of() {
    let door = |more: &str| {
        Machine::new()
            .with(&format!("channel = \"d\"\nboard = \"pc\"\n[display]\nsource = \"off\"\n{more}"))
    };
    let lamp = "[lamp]\nline = 4\nchip = \"gpiochip0\"\n";
    let warned =
        |loaded: &Loaded| loaded.warnings.join("\n").contains("lets the camera run unasked");
    let warm = "[camera]\nwarm = \"camera\"\n";
    let loaded = door(&format!("{lamp}{warm}"));
    assert_eq!(loaded.settings.board.camera.warm, Warm::Camera);
    assert_eq!(loaded.settings.board.lamp.as_ref().map(|lamp| lamp.idle), Some(IdleLamp::Lit));
    assert!(!warned(&loaded), "{:?}", loaded.warnings);
    for unasked in [warm, "[look_in]\nallowed = true\n"] {
        assert!(warned(&door(unasked)));
    }
    assert!(!warned(&door("[look_in]\nallowed = false\n")));
}

#[test]
fn looking_in_needs_room_for_the_name_of_its_channel() {
    let look_in = |channel: &str| format!("channel = \"{channel}\"\n[look_in]\nallowed = true\n");
    assert!(Machine::new().with(&look_in(&"c".repeat(251))).settings.look_in);
    let problems = Machine::new().faults(&look_in(&"c".repeat(252)));
    assert!(problems.contains("config.toml:3: look_in.allowed: "), "{problems}");
}

#[test]
fn texts_are_offered_only_where_a_screen_can_show_them() {
    let texts = |config: &str| {
        let config = format!("channel = \"d\"\nboard = \"pc\"\n{config}");
        Machine::new().with(&config).settings.rules.texts
    };
    assert!(texts("[display]\nsource = \"auto\""));
    assert!(!texts("[display]\nsource = \"off\""));
    assert!(!texts("[display]\npipeline = \"fakesink\""), "an own pipeline shows no slates");
}

#[test]
fn what_the_owner_says_to_visitors_lies_in_a_folder_beside_the_configuration() {
    let machine = Machine::new();
    machine.file("messages/no-answer.txt", "Parcels: ring at number 9, please\n");
    machine.file("messages/no-answer.wav", "RIFF");
    machine.file("messages/quiet.txt", "Back at seven");
    machine.file("messages/.quiet.txt.swp", "an editor's");
    let messages = machine.with("channel = \"d\"\nboard = \"pc\"").settings.messages;
    let no_answer = OwnMessage {
        text: Some("Parcels: ring at number 9, please".to_owned()),
        sound: Some(machine.path("messages/no-answer.wav")),
    };
    assert_eq!(messages.get("no-answer"), Some(&no_answer));
    let quiet = OwnMessage { text: Some("Back at seven".to_owned()), sound: None };
    assert_eq!(messages.get("quiet"), Some(&quiet));
    assert_eq!(messages.len(), 2);

    machine.file("messages/declined.txt", "one line\nand another");
    machine.file("messages/welcome.wav", "RIFF");
    machine.file("messages/quiet.mp3", "ID3");
    let loaded = machine.with("channel = \"d\"\nboard = \"pc\"\n[messages]\nfolder = \"messages\"");
    assert_eq!(loaded.settings.messages.len(), 2, "what is good stays");
    let warnings = loaded.warnings.join("\n");
    for (file, why) in [
        ("declined.txt", "not one line"),
        ("welcome.wav", "the message for nothing"),
        ("quiet.mp3", "neither a .txt nor a .wav"),
    ] {
        let line = warnings.lines().find(|line| line.contains(file)).expect(&warnings);
        assert!(line.contains("config.toml:4: messages.folder: ") && line.contains(why), "{line}");
    }
    let none = "channel = \"d\"\nboard = \"pc\"\n[messages]\nfolder = \"none\"";
    let warnings = Machine::new().with(none).warnings.join("\n");
    assert!(warnings.contains("config.toml:4: messages.folder: names "), "{warnings}");
}

#[test]
fn pictures_that_are_to_be_sent_but_are_not_taken_are_warned_of() {
    let hooks = "[[hooks.webhook]]\nurl = \"https://owner.example/door\"\npicture = true\n";
    let start = "channel = \"d\"\nboard = \"pc\"\n";
    let kept = Machine::new().with(&format!("{start}{hooks}")).warnings.join("\n");
    assert!(!kept.contains("picture"), "{kept}");
    for log in ["pictures = false", "entries = 0"] {
        let warnings = Machine::new().with(&format!("{start}{hooks}[log]\n{log}\n")).warnings;
        assert!(warnings.join("\n").contains("config.toml:5: "), "{warnings:?}");
        assert!(warnings.join("\n").contains("picture: is true, but [log]"), "{warnings:?}");
    }
}

#[test]
fn a_media_server_is_told_by_an_address_that_keeps_its_token() {
    let start = "channel = \"d\"\nboard = \"pc\"\n[publish]\n";
    let machine = Machine::new();
    machine.key_file("publish.token", "a-bearer");
    let publish = |lines: &str| machine.with(&format!("{start}{lines}")).settings.publish;
    assert_eq!(publish(""), None, "as the reference has it");
    let lines = "whip = \"https://media.example/whip/x\"\ntoken_file = \"publish.token\"\n";
    let settings = publish(lines).expect("a server");
    assert_eq!(settings.whip, Secret::new("https://media.example/whip/x"));
    assert_eq!(settings.token, Some(Secret::new("a-bearer")));
    assert!(!format!("{settings:?}").contains("whip/x"), "an address can be a password");
    assert!(publish("whip = \"http://127.0.0.1:8889/door/whip\"\n").is_some());
    for (lines, wanted) in [
        ("whip = \"http://media.example/whip\"", "leads to media.example without TLS"),
        ("whip = \"media.example\"", "is no address of a server"),
        ("whip = \"https://a:b@media.example/whip\"", "holds a user name; use token_file"),
        ("token_file = \"publish.token\"", "stands without whip"),
        ("whip = \"https://media.example/w\"\ntoken = \"x\"", "everybody can read this file"),
    ] {
        let faults = machine.faults(&format!("{start}{lines}\n"));
        assert!(faults.contains(wanted) && faults.contains("publish."), "{lines}: {faults}");
    }
}

#[test]
fn names_that_change_by_themselves_are_warned_of() {
    let config = "channel = \"d\"\nboard = \"pc\"\n[camera]\nsource = \"/dev/video0\"\n[speaker]\nsource = \"hw:1,0\"";
    let warnings = Machine::new().with(config).warnings.join("\n");
    assert!(warnings.contains("config.toml:4: camera.source: "), "{warnings}");
    assert!(warnings.contains("config.toml:6: speaker.source: "), "{warnings}");
}

#[test]
fn a_chime_may_be_heard_without_a_buzzer_being_wired() {
    let bare = "channel = \"d\"\nboard = \"pc\"\n[chime]\nsound = \"off\"\nringback = false";
    let board = Machine::new().with(bare).settings.board;
    assert_eq!(board.chime, None);
    assert_eq!(board.sounds.chime, ChimeSound::Off);
    assert!(!board.sounds.ringback);
    let wired = "channel = \"d\"\nboard = \"sim\"\n[chime]\nvolume = 20";
    let board = Machine::new().with(wired).settings.board;
    assert!(board.chime.is_some(), "the profile's wiring stays");
    assert_eq!(board.sounds.volume, 20);
    let lost = "channel = \"d\"\nboard = \"pc\"\n[chime]\nsound = \"/nowhere/chime.wav\"";
    let loaded = Machine::new().with(lost);
    assert!(loaded.warnings.join("\n").contains("/nowhere/chime.wav"), "{:?}", loaded.warnings);
}

// ---- the uplink and its key

#[test]
fn the_key_file_lies_beside_the_configuration() {
    let machine = Machine::new();
    machine.key_file("channel.key", &format!("{KEY}\n"));
    let config = "channel = \"d\"\n[uplink]\nkey_file = \"channel.key\"\narm = false\nurl = \"WSS://RMS.metered.ca/\"";
    let uplink = machine.with(config).settings.uplink;
    let uplink = uplink.expect("there is an uplink");
    assert_eq!(key_of(&uplink).expose(), KEY);
    assert_eq!(uplink.origin, "wss://rms.metered.ca");
    assert!(!uplink.arm);
}

#[test]
fn a_credential_is_taken_without_being_named_and_with_any_mode() {
    let mut machine = Machine::new();
    let path = machine.file("credentials/channel-key", KEY);
    fs::set_permissions(path, fs::Permissions::from_mode(0o440)).expect("mode can be set");
    let credentials = machine.path("credentials").display().to_string();
    machine.set("CREDENTIALS_DIRECTORY", &credentials);
    for table in ["[uplink]", "[uplink]\nkey_file = \"credential:channel-key\""] {
        let uplink = machine.with(&format!("channel = \"d\"\n{table}")).settings.uplink;
        assert_eq!(key_of(&uplink.expect("there is an uplink")).expose(), KEY);
    }
}

#[test]
fn an_unprovisioned_door_says_so() {
    let mut machine = Machine::new();
    machine.file("credentials/channel-key", "unset");
    let credentials = machine.path("credentials").display().to_string();
    machine.set("CREDENTIALS_DIRECTORY", &credentials);
    let text = machine.faults("channel = \"d\"\n[uplink]");
    assert!(text.contains("config.toml:2: uplink.key_file: the door is not provisioned"));
}

#[test]
fn an_open_key_file_is_refused_where_it_is_named() {
    let machine = Machine::new();
    let path = machine.file("channel.key", KEY);
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("mode can be set");
    let text = machine.faults("channel = \"d\"\n[uplink]\nkey_file = \"channel.key\"");
    assert!(text.contains("config.toml:3: uplink.key_file: "), "{text}");
    assert!(text.contains("chmod 600"), "{text}");
}

// ---- tokens in place of a key

#[test]
fn a_command_for_tokens_replaces_the_key_even_where_a_credential_was_handed_over() {
    let mut machine = Machine::new();
    machine.file("credentials/channel-key", "unset");
    let credentials = machine.path("credentials").display().to_string();
    machine.set("CREDENTIALS_DIRECTORY", &credentials);
    let program = machine.file("door-token", "");
    let config = format!("channel = \"d\"\n[uplink]\ntoken_command = [{program:?}, \"front\"]");
    let loaded = machine.with(&config);
    let words = vec![program.display().to_string(), "front".to_owned()];
    let uplink = loaded.settings.uplink.expect("there is an uplink");
    assert_eq!(uplink.credential, Credential::Command(words));
    assert_eq!(loaded.warnings.iter().filter(|line| line.contains("token")).count(), 0);
}

#[test]
fn a_program_that_is_not_there_yet_is_warned_of() {
    let config = "channel = \"d\"\n[uplink]\ntoken_command = [\"/nowhere/door-token\"]";
    let warnings = Machine::new().with(config).warnings.join("\n");
    assert!(warnings.contains("config.toml:3: uplink.token_command: "), "{warnings}");
}

#[test]
fn an_address_for_tokens_may_have_a_bearer_in_a_closed_file() {
    let machine = Machine::new();
    machine.key_file("token.bearer", "hunter2\n");
    let url = "https://owner.example/door?site=1";
    for (bearer, expected) in
        [("", None), ("token_bearer_file = \"token.bearer\"", Some(Secret::new("hunter2")))]
    {
        let config = format!("channel = \"d\"\n[uplink]\ntoken_url = \"{url}\"\n{bearer}");
        let loaded = machine.with(&config);
        let uplink = loaded.settings.uplink.clone().expect("there is an uplink");
        assert_eq!(uplink.credential, Credential::Url { url: url.to_owned(), bearer: expected });
        let shown = format!("{loaded:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("site=1"), "{shown}");
    }
}

#[test]
fn an_open_bearer_file_is_refused_where_it_is_named() {
    let machine = Machine::new();
    let path = machine.file("token.bearer", "hunter2");
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("mode can be set");
    let text = machine.faults(
        "channel = \"d\"\n[uplink]\ntoken_url = \"https://a.example\"\ntoken_bearer_file = \"token.bearer\"",
    );
    assert!(text.contains("config.toml:4: uplink.token_bearer_file: "), "{text}");
    assert!(text.contains("chmod 600") && !text.contains("hunter2"), "{text}");
}

// ---- ways through the network

#[test]
fn without_an_ice_table_every_way_is_tried_and_no_server_is_our_own() {
    let ice = Machine::new().with("channel = \"d\"").settings.ice;
    assert_eq!(ice, IceSettings { policy: IcePolicy::All, servers: vec![] });
}

#[test]
fn ice_servers_come_with_the_password_of_their_file() {
    let machine = Machine::new();
    machine.key_file("turn.key", "hunter2\n");
    let config = r#"
        channel = "d"
        [ice]
        policy = "relay"
        [[ice.servers]]
        urls = "stun:s.example"
        [[ice.servers]]
        urls = ["turn:t.example", "turns:t.example:443?transport=tcp"]
        username = "door"
        credential_file = "turn.key"
    "#;
    let loaded = machine.with(config);
    let ice = &loaded.settings.ice;
    assert_eq!(ice.policy, IcePolicy::Relay);
    let turn = ["turn:t.example", "turns:t.example:443?transport=tcp"].map(str::to_owned);
    let expected = [
        IceServer { urls: vec!["stun:s.example".into()], username: None, credential: None },
        IceServer {
            urls: turn.to_vec(),
            username: Some("door".into()),
            credential: Some("hunter2".into()),
        },
    ];
    assert_eq!(ice.servers, expected);
    assert!(!format!("{loaded:?}").contains("hunter2"));
    assert!(!loaded.warnings.iter().any(|line| line.contains(": ice.")));
}

#[test]
fn a_relay_that_nobody_gives_is_warned_of() {
    let warnings =
        Machine::new().with("channel = \"d\"\n[ice]\npolicy = \"relay\"").warnings.join("\n");
    assert!(warnings.contains("config.toml:3: ice.policy: "), "{warnings}");
}

#[test]
fn seventeen_ice_servers_are_one_too_many() {
    let server = "[[ice.servers]]\nurls = \"stun:s.example\"\n";
    let config = |count: usize| format!("channel = \"d\"\n{}", server.repeat(count));
    assert_eq!(Machine::new().with(&config(16)).settings.ice.servers.len(), 16);
    let text = Machine::new().faults(&config(17));
    assert!(text.contains("config.toml:34: ice.servers: "), "{text}");
}

#[test]
fn settings_can_be_logged_without_showing_the_key() {
    let machine = Machine::new();
    machine.key_file("channel.key", KEY);
    let loaded = machine.with("channel = \"d\"\n[uplink]\nkey_file = \"channel.key\"");
    assert!(!format!("{loaded:?}").contains(KEY));
}

// ---- the hub

#[test]
fn the_hub_can_be_off_when_there_is_an_uplink() {
    let machine = Machine::new();
    machine.key_file("channel.key", KEY);
    let config = "channel = \"d\"\n[uplink]\nkey_file = \"channel.key\"\n[lan]\nlisten = \"off\"";
    assert_eq!(machine.with(config).settings.lan, None);
}

#[test]
fn a_certificate_of_one_s_own_is_taken_from_beside_the_configuration() {
    let machine = Machine::new();
    machine.file("door.crt", "");
    machine.key_file("door.key", "");
    let config = "channel = \"d\"\n[lan]\ntls_cert = \"door.crt\"\ntls_key = \"door.key\"";
    let lan = machine.with(config).settings.lan.expect("the hub is on");
    let tls = lan.tls.expect("it has a certificate");
    assert_eq!(tls.cert, machine.path("door.crt"));
    assert_eq!(tls.key, machine.path("door.key"));
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(machine.path("door.key"), open).expect("mode can be set");
    assert!(machine.faults(config).contains("config.toml:4: lan.tls_key: "));
}

#[test]
fn a_page_that_is_not_there_is_warned_of_and_one_that_is_there_is_not() {
    let machine = Machine::new();
    let config = "channel = \"d\"\n[lan]\nweb_dir = \"web\"";
    let place = "config.toml:3: lan.web_dir: ";
    assert!(machine.with(config).warnings.join("\n").contains(place));
    machine.file("web/index.html", "");
    let loaded = machine.with(config);
    assert!(!loaded.warnings.join("\n").contains("web_dir"));
    let lan = loaded.settings.lan.expect("the hub is on");
    assert_eq!(lan.web_dir, machine.path("web"));
}

#[test]
fn an_id_that_makes_the_door_impolite_is_allowed_with_a_warning() {
    let config = "channel = \"d\"\n[lan]\ndoor_peer_id = \"~door\"";
    let loaded = Machine::new().with(config);
    assert!(loaded.warnings.join("\n").contains("polite"));
    let lan = loaded.settings.lan.expect("the hub is on");
    assert_eq!(lan.door_peer_id, "~door");
}

// ---- whatever is thrown at it

fn judged(config: &str) -> Result<Loaded, Problems> {
    let machine = Machine::new();
    machine.file("config.toml", config);
    machine.load()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        drop(judged(&text));
    }

    #[test]
    fn no_change_to_the_reference_makes_the_reader_panic(
        at in 0usize..8000, cut in 0usize..40, put in "[\\[\\]=\"#.a-z0-9\n ]{0,8}",
    ) {
        let full = reference_in_full();
        let letters: Vec<char> = full.chars().collect();
        let at = at.min(letters.len());
        let end = (at + cut).min(letters.len());
        let changed: String = letters[..at].iter().copied().chain(put.chars())
            .chain(letters[end..].iter().copied()).collect();
        if let Err(problems) = judged(&changed) {
            prop_assert!(!problems.0.is_empty());
            for problem in &problems.0 {
                prop_assert_eq!(problem.to_string().lines().count(), 1);
            }
        }
    }

    #[test]
    fn a_key_is_never_shown_whatever_is_wrong_with_it(
        secret in "[a-z0-9]{12,20}", before in "(pk_live_|sk_live_|)", after in "(| x|\n\ny|\u{1})",
        mode in prop::sample::select(vec![0o600u32, 0o644, 0o400]),
    ) {
        let machine = Machine::new();
        let path = machine.file("channel.key", &format!("{before}{secret}{after}"));
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode can be set");
        machine.file("config.toml", "channel = \"d\"\n[uplink]\nkey_file = \"channel.key\"");
        let shown = match machine.load() {
            Ok(loaded) => format!("{loaded:?}"),
            Err(problems) => format!("{problems} {problems:?}"),
        };
        prop_assert!(!shown.contains(&secret), "{}", shown);
    }
}

// ---- the screen

#[test]
fn a_named_connector_is_a_screen_and_a_later_document_may_choose_another() {
    let mut machine = Machine::new();
    machine.file(
        "etc/panel.toml",
        "[panel]\nkind = \"sim\"\n[display]\nconnector = \"DSI-1\"\nrotation = 90\nidle = \"off\"\n",
    );
    machine.set("INTERCOMD_BOARD", "panel");
    let display = machine.with("channel = \"d\"").settings.board.display;
    assert_eq!(display.source, Source::Device("DSI-1".to_owned()));
    assert_eq!((display.rotation, display.idle), (Rotation::Right, Idle::Off));
    let display =
        machine.with("channel = \"d\"\n[display]\nlanguage = \"de\"").settings.board.display;
    assert_eq!(display.source, Source::Device("DSI-1".to_owned()));
    assert_eq!(display.language, Language::De);
    let display =
        machine.with("channel = \"d\"\n[display]\nsource = \"auto\"").settings.board.display;
    assert_eq!((display.source, display.slates), (Source::Auto, true));
    let refused = machine.faults("channel = \"d\"\n[display]\nconnector = \"card1-HDMI-A-1\"");
    assert!(refused.contains("write \"HDMI-A-1\""), "{refused}");
}

#[test]
fn an_own_pipeline_has_slates_only_when_asked_for() {
    let machine = Machine::new();
    let own = "channel = \"d\"\n[display]\npipeline = \"fakesink\"\n";
    assert!(!machine.with(own).settings.board.display.slates);
    assert!(machine.with(&format!("{own}slates = true")).settings.board.display.slates);
}

// ---- who is told

#[test]
fn without_hooks_nobody_is_told() {
    let machine = Machine::new();
    assert_eq!(machine.with("channel = \"d\"").settings.hooks, HooksSettings::default());
    assert_eq!(machine.with("channel = \"d\"\n[hooks]").settings.hooks, HooksSettings::default());
}

#[test]
fn hooks_come_with_their_secrets_and_defaults() {
    let machine = Machine::new();
    machine.key_file("webhook.secret", "0123456789abcdef");
    machine.key_file("mqtt.password", "hunter2");
    machine.key_file("ntfy.token", "tk_test");
    let config = r#"
        channel = "haus/tür"
        [[hooks.command]]
        on = ["ring", "open-refused"]
        run = ["/bin/sh", "-c", "true"]
        [[hooks.webhook]]
        url = "https://owner.example/door?x=1#gone"
        secret_file = "webhook.secret"
        picture = true
        [hooks.push]
        url = "https://ntfy.sh/topic"
        token_file = "ntfy.token"
        [hooks.mqtt]
        url = "mqtts://broker.example"
        username = "door"
        password_file = "mqtt.password"
        allow_open = true
    "#;
    let loaded = machine.with(config);
    let hooks = &loaded.settings.hooks;
    let command = &hooks.commands[0];
    assert_eq!(command.on, [HookEvent::Ring, HookEvent::OpenRefused].into());
    assert_eq!((command.run.len(), command.timeout), (3, Duration::from_secs(10)));
    let webhook = &hooks.webhooks[0];
    assert_eq!(webhook.url.expose(), "https://owner.example/door?x=1");
    assert_eq!(webhook.on, HookEvent::ALL.into());
    assert_eq!(webhook.secret, Some(Secret::new("0123456789abcdef")));
    let push = hooks.push.as_ref().expect("it is written");
    assert_eq!(push.on, [HookEvent::Ring, HookEvent::Missed].into());
    assert_eq!((&push.token, &push.click), (&Some(Secret::new("tk_test")), &None));
    let mqtt = hooks.mqtt.as_ref().expect("it is written");
    assert_eq!((mqtt.host.as_str(), mqtt.port, mqtt.tls), ("broker.example", 8883, true));
    assert_eq!(
        (mqtt.base.as_str(), mqtt.discovery_prefix.as_str()),
        ("intercomd", "homeassistant")
    );
    assert_eq!((mqtt.node.as_str(), mqtt.picture), ("haus_t_r", true));
    assert_eq!(mqtt.open, Some(Secret::new("OPEN")));
    let shown = format!("{hooks:?}");
    for hidden in ["0123456789abcdef", "hunter2", "tk_test", "ntfy.sh", "owner.example"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
    assert!(!loaded.warnings.iter().any(|line| line.contains(": hooks.")), "{:?}", loaded.warnings);
}

#[test]
fn unprotected_ways_within_the_house_are_allowed_and_noted() {
    let config = r#"
        channel = "d"
        [[hooks.webhook]]
        url = "http://homeassistant.local:8123/api/webhook/x"
        [hooks.push]
        url = "http://192.168.1.2/topic"
        click = "https://door.example/#channel=d&key=pk_live_test"
        [hooks.mqtt]
        url = "mqtt://[::1]:1884"
        allow_open = true
    "#;
    let loaded = Machine::new().with(config);
    let mqtt = loaded.settings.hooks.mqtt.expect("it is written");
    assert_eq!((mqtt.host.as_str(), mqtt.port, mqtt.tls), ("[::1]", 1884, false));
    let notes = loaded.warnings.join("\n");
    for expected in [
        "config.toml:4: hooks.webhook.url: is plain http",
        "config.toml:6: hooks.push.url: is plain http",
        "config.toml:7: hooks.push.click: holds a key",
        "config.toml:9: hooks.mqtt.url: is unprotected",
        "config.toml:10: hooks.mqtt.allow_open: is true and the door has no password",
    ] {
        assert!(notes.contains(expected), "{expected} in:\n{notes}");
    }
    assert!(!notes.contains("pk_live_test"), "{notes}");
}

#[test]
fn secrets_of_hooks_are_closed_to_others_and_long_enough() {
    let machine = Machine::new();
    for name in ["a", "b", "c"] {
        machine.file(name, "never-show-this-to-anybody");
        let path = machine.path(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("mode can be set");
    }
    machine.key_file("short", "never-show-this");
    let config = r#"
        channel = "d"
        [[hooks.webhook]]
        url = "https://owner.example/"
        secret_file = "a"
        [[hooks.webhook]]
        url = "https://owner.example/"
        secret_file = "short"
        [hooks.push]
        url = "https://ntfy.sh/topic"
        token_file = "b"
        [hooks.mqtt]
        url = "mqtts://broker.example"
        username = "door"
        password_file = "c"
    "#;
    let text = machine.faults(config);
    let rows = [
        (5, "webhook.secret_file", "chmod 600"),
        (8, "webhook.secret_file", "shorter than 16 characters; make one"),
        (11, "push.token_file", "chmod 600"),
        (15, "mqtt.password_file", "chmod 600"),
    ];
    assert_eq!(text.lines().count(), rows.len(), "{text}");
    for (line, (number, key, fix)) in text.lines().zip(rows) {
        assert!(line.contains(&format!("config.toml:{number}: hooks.{key}: ")), "{line}");
        assert!(line.contains(fix) && !line.contains("never-show-this"), "{line}");
    }
}

#[test]
fn nine_programs_are_one_too_many() {
    let hook = "[[hooks.command]]\non = [\"ring\"]\nrun = [\"/bin/true\"]\n";
    let config = |count: usize| format!("channel = \"d\"\n{}", hook.repeat(count));
    assert_eq!(Machine::new().with(&config(8)).settings.hooks.commands.len(), 8);
    let text = Machine::new().faults(&config(9));
    assert!(
        text.contains("config.toml:26: hooks.command: is one too many, 8 are the most"),
        "{text}"
    );
}
