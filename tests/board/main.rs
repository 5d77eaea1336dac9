//! The folder of boards as their owners meet it: device trees pick a profile whose lines they have, the wiring
//! notes say what the profiles say, overlays compile and fit, the rules of udev name groups that exist.
//!
//! `data/dt/` holds what matters of each board's device tree. The tools are those of the package
//! device-tree-compiler.

mod overlays;
mod tree;
mod udev;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use intercomd::config::{LoadArgs, Loaded, PanelKind, Surroundings, load_within};

use tree::Blob;

/// What the kernel's driver calls the chip of a controller (drivers/pinctrl, drivers/gpio/gpio-rockchip.c).
const CHIP_LABELS: &[(&str, &str)] = &[
    ("brcm,bcm2835-gpio", "pinctrl-bcm2835"),
    ("brcm,bcm2711-gpio", "pinctrl-bcm2711"),
    ("raspberrypi,rp1-gpio", "pinctrl-rp1"),
    ("rockchip,gpio-bank", "gpio3"),
];

/// Header pins of the Raspberry Pi's lines we use (Raspberry Pi documentation, "GPIO and the 40-pin header").
const HEADER: &[(&str, u32)] = &[("GPIO17", 11), ("GPIO27", 13), ("GPIO22", 15), ("GPIO23", 16)];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of the files in a folder that end so, without the ending.
fn stems(folder: &str, ending: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).expect("the folder is there");
    let names = entries.map(|entry| entry.expect("it can be listed").file_name());
    let mut stems: Vec<String> =
        names.filter_map(|name| Some(name.to_str()?.strip_suffix(ending)?.to_owned())).collect();
    stems.sort();
    stems
}

// ---- profiles

struct Wire {
    chip: String,
    line: String,
}

/// The lines of a profile by part; those it proposes in comments (`# [chime]`) count too.
fn wiring(board: &str) -> BTreeMap<String, Wire> {
    let profile: toml::Table = proposed(board).parse().expect("tidy and config read it before us");
    let text = |table: &toml::Table, key: &str| {
        table.get(key).and_then(toml::Value::as_str).map(str::to_owned)
    };
    let parts = profile.iter().filter_map(|(part, value)| {
        let table = value.as_table()?;
        let line = text(table, "line")?;
        Some((part.clone(), Wire { chip: text(table, "chip").unwrap_or_default(), line }))
    });
    parts.collect()
}

/// The text of a profile with the tables it proposes in comments switched on.
fn proposed(board: &str) -> String {
    let mut inside = false;
    let lines = read(&format!("board/{board}.toml"));
    let lines = lines.lines().map(|line| {
        let bare = line.strip_prefix("# ").unwrap_or("");
        inside = bare.starts_with('[') || inside && bare.contains(" = ");
        if inside { bare } else { line }
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// What the daemon makes of this configuration on a machine of its own.
fn load(config: &str, board: Option<&Path>, device_tree: &[String]) -> Loaded {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("config.toml"), config).expect("it can be written");
    fs::write(at("compatible"), device_tree.join("\0") + "\0").expect("it can be written");
    let around = Surroundings {
        variables: BTreeMap::new(),
        config_file: at("config.toml"),
        board_dirs: Vec::new(),
        device_tree: at("compatible"),
    };
    let board = board.map(|path| path.to_str().expect("a plain path").to_owned());
    let args = LoadArgs { board, ..LoadArgs::default() };
    let mut loaded =
        load_within(&args, &around).unwrap_or_else(|problems| panic!("{config}\n{problems}"));
    // The page is built elsewhere.
    loaded.warnings.retain(|warning| !warning.contains("lan.web_dir"));
    loaded
}

/// Boards that the device tree can pick: those with a base of their own.
fn real_boards() -> Vec<String> {
    stems("tests/data/dt", ".dts")
}

#[test]
fn each_device_tree_picks_its_profile() {
    for board in real_boards() {
        let names = Blob::base(&board).texts("/", "compatible");
        let loaded = load("channel = \"front-door\"\n", None, &names);
        assert_eq!(loaded.settings.board.name, board, "{names:?}");
        assert_eq!(loaded.settings.board.panel, PanelKind::Gpio);
    }
}

#[test]
fn every_profile_with_a_device_tree_name_has_a_device_tree_to_try_it_on() {
    let with_names = stems("board", ".toml").into_iter().filter(|board| {
        let profile: toml::Table =
            read(&format!("board/{board}.toml")).parse().expect("it is TOML");
        profile.contains_key("compatible")
    });
    assert_eq!(with_names.collect::<Vec<_>>(), real_boards());
}

#[test]
fn every_line_of_a_profile_is_on_the_chip_the_profile_names() {
    for board in real_boards() {
        let base = Blob::base(&board);
        for (part, wire) in wiring(&board) {
            let label = wire.chip.strip_prefix("pinctrl-").map_or(&*wire.chip, |_| "gpio");
            let node = base.labelled(label);
            let driver = base.text(&node, "compatible");
            let chip = CHIP_LABELS.iter().find(|(name, _)| *name == driver).map(|(_, chip)| *chip);
            assert_eq!(chip, Some(&*wire.chip), "{board}: [{part}] chip, driver {driver}");
            let lines = base.texts(&node, "gpio-line-names");
            assert!(
                lines.contains(&wire.line),
                "{board}: [{part}] {} is not in {lines:?}",
                wire.line
            );
        }
    }
}

#[test]
fn what_a_profile_proposes_in_comments_can_be_switched_on() {
    for board in real_boards() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join(format!("{board}.toml"));
        fs::write(&file, proposed(&board)).expect("it can be written");
        // Loading refuses a line that is used twice.
        let loaded = load("channel = \"front-door\"\n", Some(&file), &[]);
        assert!(loaded.settings.board.chime.is_some(), "{board} proposes a buzzer");
        assert_eq!(loaded.warnings, Vec::<String>::new(), "{board}");
    }
}

// ---- the wiring notes

#[test]
fn the_pin_table_says_what_the_profiles_say() {
    let readme = read("board/README.md");
    for board in real_boards() {
        for (part, wire) in wiring(&board) {
            let of_header = HEADER.iter().find(|(name, _)| *name == wire.line).map(|(_, pin)| *pin);
            let in_name = || wire.line.strip_prefix("pin-")?.split(' ').next()?.parse().ok();
            let pin = of_header.or_else(in_name).expect("the header pin of a line is known");
            let row = readme
                .lines()
                .find(|line| line.starts_with(&format!("| {part} |")))
                .unwrap_or_else(|| panic!("board/README.md has no row for the {part}"));
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            assert_eq!(cells[2], pin.to_string(), "{board}: header pin of the {part}");
            let line = format!("`{}`", wire.line);
            assert!(cells.contains(&&*line), "{board}: the row of the {part} lacks {line}");
        }
    }
}

#[test]
fn the_example_for_any_other_board_loads_and_has_a_button_and_a_bounded_release() {
    let readme = read("board/README.md");
    let example = readme
        .split("```toml\n")
        .skip(1)
        .filter_map(|block| block.split("```").next())
        .find(|block| block.contains("board = \"generic\""))
        .expect("board/README.md shows the generic profile");
    let loaded = load(example, None, &[]);
    let board = loaded.settings.board;
    assert_eq!((&*board.name, board.panel), ("generic", PanelKind::Gpio));
    assert!(board.button.is_some_and(|button| button.required));
    assert!(board.relay.is_some_and(|relay| relay.pulse <= relay.max_pulse));
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn the_generic_profile_rings_for_nobody_until_it_is_wired_and_says_so() {
    let loaded = load("channel = \"front-door\"\nboard = \"generic\"\n", None, &[]);
    assert!(loaded.settings.board.button.is_none());
    assert!(loaded.warnings.iter().any(|warning| warning.contains("no button is wired")));
}

#[test]
fn the_reference_names_every_profile() {
    let reference = read("docs/config.toml");
    let start = reference.find("Else the name of a profile (").expect("the list of profiles");
    let list = &reference[start..];
    let list = &list[..list.find("or one of your own").expect("the end of the list")];
    let words: BTreeSet<&str> = list.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    for board in stems("board", ".toml") {
        assert!(words.contains(&*board), "docs/config.toml does not name {board}");
    }
}
