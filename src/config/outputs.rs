//! The outputs alone, read as far as anything can be read: for the moment after the daemon, when a relay
//! must be released whatever is wrong with the rest of the configuration.

use std::io;
use std::path::PathBuf;

use super::board::{LampPort, Line, PanelKind};
use super::document::Document;
use super::notes::{Kind, Notes};
use super::parts::Draft;
use super::problem::{At, Place, Problems, wrong};
use super::reader::Reader;
use super::{LoadArgs, Surroundings, board_wish, profile};

/// What is to be off when nobody is in control.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outputs {
    /// How they are driven.
    pub panel: PanelKind,
    /// The door release contact.
    pub relay: Option<Line>,
    /// The lamp.
    pub lamp: Option<LampPort>,
    /// The buzzer.
    pub chime: Option<Line>,
}

/// Reads the outputs of this process's configuration; the problems say what could not be read.
pub fn outputs(args: &LoadArgs) -> (Outputs, Problems) {
    outputs_within(args, &Surroundings::of_this_process())
}

/// Reads the outputs as [`outputs`] does, with the given surroundings.
pub fn outputs_within(args: &LoadArgs, around: &Surroundings) -> (Outputs, Problems) {
    let notes = Notes::default();
    let mut draft = Draft::default();
    let document = open(args, around, &notes);
    // A guess from a file with a syntax error is better than a relay that stays on.
    let (table, _) = document.recover(&notes);
    let mut root = Reader::new(&document, &table, &notes);

    let written = root.text("board");
    let wish = around
        .variable("INTERCOMD_BOARD")
        .or(written)
        .unwrap_or_else(|| At { value: "auto".to_owned(), place: document.spot(None, "board") });
    let (wish, base) = board_wish(args, &wish, document.dir());
    let search = profile::Search { folders: &around.board_dirs, device_tree: &around.device_tree };
    if let Some(profile) = search.pick(&wish, base, &notes) {
        profile.read(&mut draft, &notes);
    }
    draft.read_outputs(&mut root);
    let outputs = draft.outputs(&notes);
    (outputs, notes.finish().err().unwrap_or_else(|| Problems(Vec::new())))
}

/// The configuration file, or an empty one in its place.
fn open(args: &LoadArgs, around: &Surroundings, notes: &Notes) -> Document {
    let path = args.config.as_ref().unwrap_or(&around.config_file);
    let name = path.display().to_string();
    match Document::open(Kind::Config, path) {
        Ok(document) => return document,
        Err(error) if error.kind() == io::ErrorKind::NotFound && args.config.is_none() => {}
        Err(error) => {
            let place = Place::new(name.as_str().into(), None, "");
            let fix = "name a readable configuration with --config";
            notes.problem(&place, wrong(format!("cannot be read: {error}"), fix));
        }
    }
    Document::new(Kind::Config, &name, PathBuf::new(), String::new())
}
