//! The configuration room: from files and environment to the plain settings every other room is given.
//!
//! Order, later wins: built-in defaults, board profile, `config.toml`, a few environment variables.
//! All faults are reported at once, each with file, line, key and remedy; the one exception is a file
//! that is not TOML, whose syntax errors are reported alone.
//!
//! It must not open devices, sockets or logs, and it does not watch its files: a change needs a
//! restart.

mod board;
mod check;
mod display;
mod document;
pub mod edit;
mod file;
mod hooks;
mod hooks_address;
mod hooks_mqtt;
mod hooks_web_push;
mod house;
mod ice;
mod metrics;
pub mod names;
mod notes;
mod outputs;
mod parts;
mod problem;
mod profile;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod promises;
mod publish;
mod reader;
mod salvage;
mod secret;
mod sound;
mod uplink;
pub mod verdict;
pub mod whole_file;

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use board::{
    Active, Bias, Board, ButtonTimes, ButtonWiring, CameraSettings, ChimeSound, DoorSounds,
    EchoCancel, EncoderSettings, IdleLamp, LampPort, LampWiring, Line, LineName,
    MicrophoneSettings, NativeH264, OutputWiring, PanelKind, RelayWiring, Source, SpeakerSettings,
    Warm,
};
pub use display::{DisplaySettings, Idle, Language, Rotation};
pub use hooks::{CommandHook, HookEvent, HooksSettings, PushHook, WebHook};
pub use hooks_mqtt::MqttHook;
pub use hooks_web_push::WebPushHook;
pub use house::{LogSettings, Messages, OwnMessage, QuietHours};
pub use outputs::{Outputs, outputs, outputs_within};
pub use problem::{Problem, Problems};
pub use profile::built_in_board;
pub use publish::PublishSettings;
pub use salvage::{Salvage, salvage, salvage_within};
pub use secret::Secret;

use crate::intercom::Rules;
use document::Document;
use names::{IcePolicy, IceServer};
use notes::{Kind, Notes};
use parts::Draft;
use problem::{At, Place, wrong};
use reader::Reader;

/// Where the configuration lies unless the command line says otherwise.
pub const CONFIG_FILE: &str = "/etc/intercomd/config.toml";

/// How the device tree names this machine. /proc/device-tree is hidden from the sandboxed service.
const DEVICE_TREE: &str = "/sys/firmware/devicetree/base/compatible";
const BOARD_DIRS: [&str; 2] = ["/etc/intercomd/board", "/usr/share/intercomd/board"];
const STATE_DIR: &str = "/var/lib/intercomd";
const RUNTIME_DIR: &str = "/run/intercomd";
const SOCKET: &str = "control.sock";

/// The environment variables that mean something to the configuration.
const VARIABLES: [&str; 9] = [
    "INTERCOMD_CHANNEL",
    "INTERCOMD_UPLINK_URL",
    "INTERCOMD_UPLINK_KEY_FILE",
    "INTERCOMD_LAN_LISTEN",
    "INTERCOMD_BOARD",
    "INTERCOMD_BOARD_DIR",
    "CREDENTIALS_DIRECTORY",
    "STATE_DIRECTORY",
    "RUNTIME_DIRECTORY",
];

/// Everything the daemon needs to know before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The channel the door enters when somebody rings (protocol.md section 2.1).
    pub channel: String,
    /// The managed service; `None` when only the local network is used.
    pub uplink: Option<UplinkSettings>,
    /// How links find their way.
    pub ice: IceSettings,
    /// The embedded hub; `None` when it is off.
    pub lan: Option<LanSettings>,
    /// Times and choices of the call.
    pub rules: Rules,
    /// What is remembered of calls.
    pub log: LogSettings,
    /// When nobody is called; `None`: at no time.
    pub quiet: Option<QuietHours>,
    /// Whether a person who proves it may look through the camera although nobody rang.
    pub look_in: bool,
    /// What the owner has to say to visitors nobody answers.
    pub messages: Messages,
    /// Who outside is told what happens at the door.
    pub hooks: HooksSettings,
    /// Where numbers for programs that watch the door are served; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// A media server that gets what phones get; `None`: none.
    pub publish: Option<PublishSettings>,
    /// The hardware.
    pub board: Board,
    /// Where things that outlive a restart are kept. Not checked to exist.
    pub state_dir: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
}

/// How the managed service is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UplinkSettings {
    /// `wss://host[:port]`, no path (protocol.md section 1.1).
    pub origin: String,
    /// How the door is let in.
    pub credential: Credential,
    /// Whether the idle door keeps its socket to the service open.
    pub arm: bool,
}

/// How the door is let in to the managed service (protocol.md sections 1.1 and 7).
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A publishable key.
    Key(Secret),
    /// Tokens from a program and its arguments, run without a shell.
    Command(Vec<String>),
    /// Tokens from an address, `https` or on this machine.
    Url {
        /// The address; its query may hold a secret.
        url: String,
        /// Sent along as `Authorization: Bearer`.
        bearer: Option<Secret>,
    },
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.debug_tuple("Key").field(key).finish(),
            // Arguments may be secrets, as may the rest of an address.
            Self::Command(words) => write!(f, "Command({:?} ...)", words.first()),
            Self::Url { .. } => f.write_str("Url(...)"),
        }
    }
}

/// How links find their way through the network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IceSettings {
    /// Which ways are tried.
    pub policy: IcePolicy,
    /// Servers of the owner's, beside those the signalling side gives; 16 at most.
    pub servers: Vec<IceServer>,
}

/// How the embedded hub is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanSettings {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder with the page. May be missing, which was warned of.
    pub web_dir: PathBuf,
    /// Certificate and key; `None`: the hub decides by itself.
    pub tls: Option<TlsFiles>,
    /// The door's own id in the hub: 1 to 128 printable ASCII characters.
    pub door_peer_id: String,
}

/// A certificate and its key, both PEM and readable when the settings were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadArgs {
    /// The configuration file; `None`: [`CONFIG_FILE`], which may then be missing.
    pub config: Option<PathBuf>,
    /// The board, as `board` in the file; wins over file and environment.
    pub board: Option<String>,
    /// The control socket; `None`: [`default_socket`].
    pub socket: Option<PathBuf>,
}

/// Settings, and what is worth saying about where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Allowed, but probably not meant; one line each, in the look of problems.
    pub warnings: Vec<String>,
    /// The files that were read, in the order in which they apply.
    pub sources: Vec<PathBuf>,
}

/// What the configuration can see of the machine. Tests make their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Environment variables; empty ones count as not set.
    pub variables: BTreeMap<String, String>,
    /// The file taken when the command line names none.
    pub config_file: PathBuf,
    /// Folders with board profiles, the first wins.
    pub board_dirs: Vec<PathBuf>,
    /// The device tree's names for this machine, each ended by NUL.
    pub device_tree: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        let variables: BTreeMap<String, String> = VARIABLES
            .iter()
            .filter_map(|name| {
                let value = env::var_os(name)?.to_string_lossy().into_owned();
                Some(((*name).to_owned(), value))
            })
            .collect();
        let own = variables
            .get("INTERCOMD_BOARD_DIR")
            .filter(|folder| !folder.is_empty())
            .map(PathBuf::from);
        Self {
            config_file: PathBuf::from(CONFIG_FILE),
            board_dirs: own.into_iter().chain(BOARD_DIRS.map(PathBuf::from)).collect(),
            device_tree: PathBuf::from(DEVICE_TREE),
            variables,
        }
    }

    fn plain(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name)?;
        (!value.is_empty()).then_some(value)
    }

    fn variable(&self, name: &str) -> Option<At<String>> {
        Some(At { value: self.plain(name)?.to_owned(), place: Place::variable(name) })
    }

    fn credentials(&self) -> Option<&Path> {
        self.plain("CREDENTIALS_DIRECTORY").map(Path::new)
    }

    fn state_dir(&self) -> PathBuf {
        self.folder("STATE_DIRECTORY", STATE_DIR)
    }

    /// systemd separates several folders by colons; ours is the first.
    fn folder(&self, name: &str, default: &str) -> PathBuf {
        let first = self.plain(name).and_then(|list| list.split(':').next());
        PathBuf::from(first.unwrap_or(default))
    }

    fn socket(&self) -> PathBuf {
        self.folder("RUNTIME_DIRECTORY", RUNTIME_DIR).join(SOCKET)
    }
}

/// The control socket when the command line names none: `$RUNTIME_DIRECTORY/control.sock`, else
/// `/run/intercomd/control.sock`. The daemon and `ctl` agree on it.
pub fn default_socket() -> PathBuf {
    Surroundings::of_this_process().socket()
}

/// Loads the configuration of this process.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(args: &LoadArgs) -> Result<Loaded, Problems> {
    load_within(args, &Surroundings::of_this_process())
}

/// Loads the configuration as [`load`] does, with the given surroundings.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_within(args: &LoadArgs, around: &Surroundings) -> Result<Loaded, Problems> {
    let notes = Notes::default();
    let loaded = gather(args, around, &notes);
    let warnings = notes.finish()?;
    match loaded {
        Some((settings, sources)) => Ok(Loaded { settings, warnings, sources }),
        // Every way to come out with nothing notes a problem first.
        None => Err(Problems(Vec::new())),
    }
}

/// Loads the board as [`load`] does, whatever may be wrong with the rest of the configuration: for looking at
/// the hardware before the channel is chosen, or as a user who may not read the keys.
///
/// # Errors
/// What is wrong with the tables of the board.
pub fn load_board(args: &LoadArgs) -> Result<Board, Problems> {
    load_board_within(args, &Surroundings::of_this_process())
}

/// Loads the board as [`load_board`] does, with the given surroundings.
///
/// # Errors
/// What is wrong with the tables of the board.
pub fn load_board_within(args: &LoadArgs, around: &Surroundings) -> Result<Board, Problems> {
    let notes = Notes::default();
    let board = gather_board(args, around, &notes);
    notes.finish()?;
    board.ok_or_else(|| Problems(Vec::new()))
}

fn gather_board(args: &LoadArgs, around: &Surroundings, notes: &Notes) -> Option<Board> {
    let document = open(args, around, &mut Vec::new(), notes)?;
    let table = document.parse(notes)?;
    let unread = Notes::default();
    let wishes = file::read(&mut Reader::new(&document, &table, &unread), around);
    let mut draft = Draft::default();
    let (wish, base) = board_wish(args, &wishes.board, document.dir());
    let search = profile::Search { folders: &around.board_dirs, device_tree: &around.device_tree };
    let (name, compatible) = search.pick(&wish, base, notes)?.read(&mut draft, notes)?;
    draft.read(&mut Reader::new(&document, &table, notes));
    Some(draft.settle(name, compatible, notes))
}

/// Opens the configuration file; an absent one that nobody asked for reads as empty.
fn open(
    args: &LoadArgs,
    around: &Surroundings,
    sources: &mut Vec<PathBuf>,
    notes: &Notes,
) -> Option<Document> {
    let path = args.config.as_ref().unwrap_or(&around.config_file);
    let name = path.display().to_string();
    match Document::open(Kind::Config, path) {
        Ok(document) => {
            sources.push(path.clone());
            Some(document)
        }
        // A container may be set up by its environment alone.
        Err(error) if error.kind() == io::ErrorKind::NotFound && args.config.is_none() => {
            Some(Document::new(Kind::Config, &name, PathBuf::new(), String::new()))
        }
        Err(error) => {
            let place = Place::new(name.into(), None, "");
            let what = format!("cannot be read: {error}");
            let fix = "name a readable configuration with --config";
            notes.problem(&place, wrong(what, fix));
            None
        }
    }
}

fn gather(
    args: &LoadArgs,
    around: &Surroundings,
    notes: &Notes,
) -> Option<(Settings, Vec<PathBuf>)> {
    let mut sources = Vec::new();
    let document = open(args, around, &mut sources, notes)?;
    let settings = settle(&document, args, around, &mut sources, notes)?;
    Some((settings, sources))
}

/// What this document says, on top of the board it names, whose file goes before the other sources.
fn settle(
    document: &Document,
    args: &LoadArgs,
    around: &Surroundings,
    sources: &mut Vec<PathBuf>,
    notes: &Notes,
) -> Option<Settings> {
    let table = document.parse(notes)?;
    let mut root = Reader::new(document, &table, notes);
    let wishes = file::read(&mut root, around);

    let mut draft = Draft::default();
    let (wish, base) = board_wish(args, &wishes.board, document.dir());
    let search = profile::Search { folders: &around.board_dirs, device_tree: &around.device_tree };
    let known = search.pick(&wish, base, notes).and_then(|profile| {
        if let Some(file) = &profile.file {
            sources.insert(0, file.clone());
        }
        profile.read(&mut draft, notes)
    });
    draft.read(&mut root);
    root.finish();

    let (mut rules, log) = (wishes.rules.clone(), wishes.log);
    let settled = wishes.settle(document.dir(), around, notes);
    // Without a profile the wiring is not known, and whatever seems missing may well stand there.
    let (name, compatible) = known?;
    let warm = draft.warm.as_ref().filter(|warm| warm.value == Warm::Camera);
    let (warm, look_in) = (warm.map(|warm| warm.place.clone()), settled.look_in.clone());
    let board = draft.settle(name, compatible, notes);
    rules.texts = board.display.slates && board.display.source != Source::Off;
    let by_token = |uplink: &UplinkSettings| !matches!(uplink.credential, Credential::Key(_));
    if let Some(place) = look_in.as_ref().filter(|_| settled.uplink.as_ref().is_some_and(by_token))
    {
        let text = "holds in the local network only: to the service a door with tokens has one name, \
                    and cannot be in two places; use a key there, or leave it so";
        notes.warn(place, text);
    }
    // The screen shows who looks in; of a camera that is on all day it says nothing.
    let unseen = [(warm, board.lamp.is_none()), (look_in, board.lamp.is_none() && !rules.texts)];
    for place in unseen.into_iter().filter_map(|(place, unseen)| place.filter(|_| unseen)) {
        let text =
            "lets the camera run unasked, and nothing at the door tells the visitor; wire a lamp";
        notes.warn(&place, text);
    }
    Some(Settings {
        channel: settled.channel?,
        uplink: settled.uplink,
        ice: settled.ice?,
        lan: settled.lan,
        rules,
        log,
        quiet: settled.quiet,
        look_in: settled.look_in.is_some(),
        messages: settled.messages,
        hooks: settled.hooks?,
        metrics: settled.metrics,
        publish: settled.publish?,
        board,
        state_dir: settled.state_dir,
        socket: args.socket.clone().unwrap_or_else(|| around.socket()),
    })
}

/// The board to look for, and the folder its relative path counts from.
fn board_wish<'a>(args: &LoadArgs, written: &At<String>, dir: &'a Path) -> (At<String>, &'a Path) {
    if let Some(board) = &args.board {
        let wish = At { value: board.clone(), place: Place::option("--board") };
        return (wish, Path::new(""));
    }
    let base = match written.place.line() {
        Some(_) => dir,
        None => Path::new(""),
    };
    (written.clone(), base)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every table of the reference, with the lines that follow its header.
    fn sections(text: &str) -> BTreeMap<String, String> {
        let mut sections = BTreeMap::new();
        let mut table = String::new();
        for line in text.lines() {
            let bare = line.trim_start_matches('#').trim_start();
            if let Some(header) = bare.strip_prefix('[').and_then(|end| end.strip_suffix(']')) {
                let inner = header.strip_prefix('[').and_then(|end| end.strip_suffix(']'));
                table = inner.unwrap_or(header).to_owned();
            }
            let section: &mut String = sections.entry(table.clone()).or_default();
            section.push_str(bare);
            section.push('\n');
        }
        sections
    }

    #[test]
    fn the_reference_shows_every_key_there_is() {
        let reference = include_str!("../../docs/config.toml");
        let sections = sections(reference);
        let notes = Notes::default();
        let document = Document::new(Kind::Config, "x", PathBuf::new(), String::new());
        let table = document.parse(&notes).expect("nothing is TOML");
        let mut root = Reader::new(&document, &table, &notes);
        file::read(&mut root, &Surroundings::default());
        Draft::default().read(&mut root);
        let keys = notes.known_keys(Kind::Config);
        assert!(keys.len() > 40, "{keys:?}");
        for key in keys {
            let (table, name) = key.rsplit_once('.').unwrap_or(("", &key));
            // The chip is the same for all wiring and explained once above it.
            if name == "chip" || sections.contains_key(key.as_str()) {
                continue;
            }
            let shown =
                sections.get(table).is_some_and(|section| section.contains(&format!("{name} = ")));
            assert!(shown, "docs/config.toml does not show {key}");
        }
    }

    #[test]
    fn this_process_has_the_usual_places() {
        let around = Surroundings::of_this_process();
        assert_eq!(around.config_file, Path::new(CONFIG_FILE));
        assert!(around.board_dirs.ends_with(&BOARD_DIRS.map(PathBuf::from)));
        assert!(around.device_tree.starts_with("/sys/firmware/devicetree"));
    }
}
