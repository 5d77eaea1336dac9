//! Finds the board profile: by name, by file, or by what the device tree calls this machine.
//!
//! What stands in a profile is read by `parts`; this file only picks one.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::board::{Board, PanelKind};
use super::document::Document;
use super::notes::{Kind, Notes, nearest};
use super::parts::Draft;
use super::problem::{At, Place, wrong};
use super::reader::Reader;

/// The profile of a machine without any of our hardware.
const SIMULATED: &str = "sim";

/// The profiles of board/, compiled in so that a lone binary works.
const BUILT_IN: &[(&str, &str)] = &[
    ("generic", include_str!("../../board/generic.toml")),
    ("pc", include_str!("../../board/pc.toml")),
    ("rpi3", include_str!("../../board/rpi3.toml")),
    ("rpi4", include_str!("../../board/rpi4.toml")),
    ("rpi5", include_str!("../../board/rpi5.toml")),
    (SIMULATED, include_str!("../../board/sim.toml")),
    ("zero2w", include_str!("../../board/zero2w.toml")),
    ("zero3", include_str!("../../board/zero3.toml")),
];

/// A profile that was picked, not yet read.
pub(super) struct Profile {
    /// The text.
    pub(super) document: Document,
    /// The file, unless it is compiled in.
    pub(super) file: Option<PathBuf>,
    name: String,
}

impl Profile {
    fn built_in(name: &str, text: &str) -> Self {
        let shown = format!("built-in board/{name}.toml");
        Self {
            document: Document::new(Kind::Board, &shown, PathBuf::new(), text.to_owned()),
            file: None,
            name: name.to_owned(),
        }
    }

    fn open(path: &Path) -> io::Result<Self> {
        let name =
            path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Ok(Self {
            document: Document::open(Kind::Board, path)?,
            file: Some(path.to_path_buf()),
            name,
        })
    }

    /// Reads the profile into the draft. Its name and the device-tree names it is for are returned
    /// unless it is not TOML.
    pub(super) fn read(&self, draft: &mut Draft, notes: &Notes) -> Option<(String, Vec<String>)> {
        let table = self.document.parse(notes)?;
        let mut root = Reader::new(&self.document, &table, notes);
        let name = root.text("name").map(|name| name.value);
        let compatible = root.texts("compatible").map_or_else(Vec::new, plain);
        let mut panel = root.table("panel");
        let words = [("gpio", PanelKind::Gpio), ("sim", PanelKind::Sim)];
        draft.panel = panel.word("kind", &words);
        if draft.panel.is_none() && !panel.wrote("kind") {
            notes.problem(
                &panel.missing("kind"),
                wrong("is missing", "write [panel] and below it kind = \"gpio\" or kind = \"sim\""),
            );
        }
        panel.finish();
        draft.read(&mut root);
        root.finish();
        Some((name.unwrap_or_else(|| self.name.clone()), compatible))
    }

    /// The device-tree names the profile is for. Faults are noted; they count because the profile
    /// might have been meant for this very machine.
    fn compatible(&self, notes: &Notes) -> Vec<String> {
        self.document
            .parse(notes)
            .and_then(|table| {
                Reader::new(&self.document, &table, notes).texts("compatible").map(plain)
            })
            .unwrap_or_default()
    }
}

fn plain(list: At<Vec<At<String>>>) -> Vec<String> {
    list.value.into_iter().map(|at| at.value).collect()
}

/// Where to look for profiles.
pub(super) struct Search<'a> {
    /// Folders in order; the first that has a name wins over later ones and the built-in profiles.
    pub(super) folders: &'a [PathBuf],
    /// The device tree's list of names for this machine, most particular first, each ended by NUL.
    pub(super) device_tree: &'a Path,
}

impl Search<'_> {
    /// Picks the profile that is wished for. A relative file counts from `base`. Faults go to the notes.
    pub(super) fn pick(&self, wish: &At<String>, base: &Path, notes: &Notes) -> Option<Profile> {
        let word = wish.value.as_str();
        if word == "auto" {
            return self.auto(&wish.place, notes);
        }
        if word.contains('/') || word.ends_with(".toml") {
            return self.by_file(&base.join(word), &wish.place, notes);
        }
        for folder in self.folders {
            let path = folder.join(format!("{word}.toml"));
            match Profile::open(&path) {
                Ok(profile) => return Some(profile),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return unreadable(&path, &error, &wish.place, notes),
            }
        }
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == word) {
            return Some(Profile::built_in(name, text));
        }
        let names = self.names();
        let known = names.iter().map(String::as_str);
        let fix = match nearest(word, known.chain(["auto"])) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                format!("use one of {}, or \"auto\", or the path of a .toml file", names.join(", "))
            }
        };
        let what = format!("names the board \"{word}\", which is not known");
        notes.problem(&wish.place, wrong(what, fix));
        None
    }

    fn by_file(&self, path: &Path, place: &Place, notes: &Notes) -> Option<Profile> {
        match Profile::open(path) {
            Ok(profile) => Some(profile),
            Err(error) => unreadable(path, &error, place, notes),
        }
    }

    fn auto(&self, place: &Place, notes: &Notes) -> Option<Profile> {
        let machine = self.machine();
        let mut profiles = self.all(place, notes)?;
        let lists: Vec<Vec<String>> =
            profiles.iter().map(|profile| profile.compatible(notes)).collect();
        // By the machine's own order, so that the board wins over the chip family it belongs to.
        let best =
            machine.iter().find_map(|name| lists.iter().position(|list| list.contains(name)));
        if let Some(best) = best {
            return Some(profiles.swap_remove(best));
        }
        let why = if machine.is_empty() {
            "this machine has no device tree, as usual on a PC".to_owned()
        } else {
            format!("no board profile is for {}", machine.join(" or "))
        };
        notes.warn(
            place,
            &format!("{why}: taking the simulated board \"{SIMULATED}\", which shows a test picture; name a board or add one (board/README.md)"),
        );
        let sim = profiles.iter().position(|board| board.name == SIMULATED)?;
        Some(profiles.swap_remove(sim))
    }

    /// What the device tree calls this machine, most particular first.
    fn machine(&self) -> Vec<String> {
        let bytes = fs::read(self.device_tree).unwrap_or_default();
        String::from_utf8_lossy(&bytes)
            .split('\0')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Every profile there is, without those that an earlier one of the same name hides.
    fn all(&self, place: &Place, notes: &Notes) -> Option<Vec<Profile>> {
        let mut profiles: Vec<Profile> = Vec::new();
        for folder in self.folders {
            for path in profile_files(folder) {
                match Profile::open(&path) {
                    Ok(profile) => profiles.push(profile),
                    Err(error) => return unreadable(&path, &error, place, notes),
                }
            }
        }
        let built_in = BUILT_IN.iter();
        profiles.extend(built_in.map(|(name, text)| Profile::built_in(name, text)));
        let mut seen = BTreeSet::new();
        profiles.retain(|profile| seen.insert(profile.name.clone()));
        Some(profiles)
    }

    fn names(&self) -> BTreeSet<String> {
        let files = self.folders.iter().flat_map(|folder| profile_files(folder));
        files
            .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
            .chain(BUILT_IN.iter().map(|(name, _)| (*name).to_owned()))
            .collect()
    }
}

/// The profiles in a folder, by name. A folder that is not there has none.
fn profile_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    files
}

fn unreadable<T>(path: &Path, error: &io::Error, place: &Place, notes: &Notes) -> Option<T> {
    notes.problem(
        place,
        wrong(
            format!("cannot read the board profile {}: {error}", path.display()),
            "name a board or a profile file that is there and readable",
        ),
    );
    None
}

/// The compiled-in board `name`, for tests and tools that need a board without any file.
///
/// # Errors
/// All that is wrong with the profile, or that there is none of this name.
pub fn built_in_board(name: &str) -> Result<Board, super::Problems> {
    let notes = Notes::default();
    let wish = At { value: name.to_owned(), place: Place::option("--board") };
    let search = Search { folders: &[], device_tree: Path::new("") };
    let mut draft = Draft::default();
    let board = search
        .pick(&wish, Path::new(""), &notes)
        .and_then(|profile| profile.read(&mut draft, &notes))
        .map(|(name, compatible)| draft.settle(name, compatible, &notes));
    notes.finish()?;
    board.ok_or_else(|| super::Problems(Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_in_the_board_folder_is_compiled_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("board");
        let files: Vec<String> = profile_files(&folder)
            .iter()
            .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
            .collect();
        let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, files);
    }

    #[test]
    fn every_compiled_in_profile_is_sound_and_carries_its_file_name() {
        for (name, _) in BUILT_IN {
            let board = built_in_board(name).unwrap_or_else(|problems| panic!("{problems}"));
            assert_eq!(board.name, *name);
        }
    }

    #[test]
    fn no_two_compiled_in_profiles_claim_the_same_machine() {
        let mut seen = BTreeSet::new();
        for (name, _) in BUILT_IN {
            let board = built_in_board(name).unwrap_or_else(|problems| panic!("{problems}"));
            for machine in board.compatible {
                assert!(seen.insert(machine.clone()), "{machine} is claimed twice");
            }
        }
    }

    #[test]
    fn real_boards_have_a_button_a_lamp_and_a_bounded_release() {
        for name in ["rpi3", "rpi4", "rpi5", "zero2w", "zero3"] {
            let board = built_in_board(name).unwrap_or_else(|problems| panic!("{problems}"));
            assert_eq!(board.panel, PanelKind::Gpio, "{name}");
            assert!(board.button.is_some_and(|button| button.required), "{name}");
            assert!(board.lamp.is_some(), "{name}");
            assert!(board.relay.is_some_and(|relay| relay.pulse <= relay.max_pulse));
            assert!(!board.compatible.is_empty(), "{name}");
        }
    }
}
