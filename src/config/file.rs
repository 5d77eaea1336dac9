//! The tables that stand in `config.toml` only: the channel, the local network, the call; `uplink`,
//! `ice` and `hooks` read theirs.
//!
//! Reads them and the environment variables that override them, and settles them into the values
//! the rooms use. The tables shared with board profiles are in `parts`.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::names::{check_channel, look_channel};
use super::notes::Notes;
use super::problem::{At, Place, Wrong, wrong};
use super::reader::Reader;
use super::secret::resolve;
use super::{
    HooksSettings, IceSettings, LanSettings, LogSettings, Messages, PublishSettings, QuietHours,
    Surroundings, TlsFiles, UplinkSettings, hooks, house, ice, metrics, publish, uplink,
};
use crate::intercom::Rules;

/// All addresses of the door, IPv4 too.
const LISTEN: &str = "[::]:8443";
/// Where the package puts the page.
const WEB_DIR: &str = "/usr/share/intercomd/web";
/// Sorts before every id a hub or a person gives out, which keeps the door the polite side.
const DOOR_PEER_ID: &str = "-door";
/// Longest peer id (protocol.md section 2.1).
const LONGEST_PEER_ID: usize = 128;

/// What `config.toml` and the environment say, apart from the board.
pub(super) struct Wishes {
    pub(super) board: At<String>,
    channel: Channel,
    state_dir: Option<At<String>>,
    uplink: uplink::Wishes,
    ice: ice::Wishes,
    lan: LanWishes,
    hooks: hooks::Wishes,
    metrics: metrics::Wishes,
    publish: publish::Wishes,
    pub(super) rules: Rules,
    pub(super) log: LogSettings,
    quiet: house::QuietWishes,
    look_in: house::LookInWishes,
    messages: house::MessagesWishes,
}

/// How far the channel got.
enum Channel {
    Named(At<String>),
    /// Nobody wrote it; it should stand here.
    Missing(Place),
    /// It was written and is no text, which was reported already.
    Refused,
}

struct LanWishes {
    listen: At<String>,
    web_dir: At<String>,
    tls_cert: Option<At<String>>,
    tls_key: Option<At<String>>,
    door_peer_id: At<String>,
}

/// Reads everything but the board tables.
pub(super) fn read(root: &mut Reader<'_>, around: &Surroundings) -> Wishes {
    let written_channel = root.text("channel");
    let channel = match around.variable("INTERCOMD_CHANNEL").or(written_channel) {
        Some(channel) => Channel::Named(channel),
        None if root.wrote("channel") => Channel::Refused,
        None => Channel::Missing(root.missing("channel")),
    };
    let written_board = root.text("board");
    let messages = house::read_messages(root.table("messages"));
    let quiet = house::read_quiet(root.table("quiet"));
    let look_in = house::read_look_in(root.table("look_in"));
    let default_board = At { value: "auto".to_owned(), place: root.missing("board") };
    Wishes {
        board: around.variable("INTERCOMD_BOARD").or(written_board).unwrap_or(default_board),
        channel,
        state_dir: root.text("state_dir"),
        uplink: uplink::read(root.table("uplink"), around),
        ice: ice::read(root.table("ice")),
        lan: read_lan(root.table("lan"), around),
        rules: Rules {
            quiet_chime: quiet.chime,
            longest_look: look_in.longest,
            ..read_rules(root.table("call"))
        },
        look_in,
        log: house::read_log(root.table("log")),
        quiet,
        messages,
        hooks: hooks::read(root.table("hooks")),
        metrics: metrics::read(root.table("metrics")),
        publish: publish::read(root.table("publish")),
    }
}

fn read_lan(mut table: Reader<'_>, around: &Surroundings) -> LanWishes {
    let mut text = |key: &'static str, default: &str| {
        table
            .text(key)
            .unwrap_or_else(|| At { value: default.to_owned(), place: table.missing(key) })
    };
    let listen = text("listen", LISTEN);
    let web_dir = text("web_dir", WEB_DIR);
    let door_peer_id = text("door_peer_id", DOOR_PEER_ID);
    let wishes = LanWishes {
        listen: around.variable("INTERCOMD_LAN_LISTEN").unwrap_or(listen),
        web_dir,
        tls_cert: table.text("tls_cert"),
        tls_key: table.text("tls_key"),
        door_peer_id,
    };
    table.finish();
    wishes
}

fn read_rules(mut table: Reader<'_>) -> Rules {
    let default = Rules::default();
    let mut time = |key: &'static str, from: u64, to: u64, default: Duration| {
        table
            .duration(key, Duration::from_secs(from)..=Duration::from_secs(to))
            .map_or(default, |time| time.value)
    };
    let rules = Rules {
        no_answer: time("no_answer", 5, 600, default.no_answer),
        longest_talk: time("longest_talk", 10, 4 * 3600, default.longest_talk),
        linger: time("linger", 0, 60, default.linger),
        join_timeout: time("join_timeout", 1, 60, default.join_timeout),
        press_ends_call: flag(&mut table, "press_ends_call", default.press_ends_call),
        press_cancels_ring: flag(&mut table, "press_cancels_ring", default.press_cancels_ring),
        second_speaker: flag(&mut table, "second_speaker", default.second_speaker),
        max_peers: table.whole("max_peers", 1..=16).map_or(default.max_peers, |at| at.value),
        // Of other tables.
        quiet_chime: default.quiet_chime,
        texts: default.texts,
        longest_look: default.longest_look,
    };
    table.finish();
    rules
}

fn flag(table: &mut Reader<'_>, key: &'static str, default: bool) -> bool {
    table.flag(key).map_or(default, |flag| flag.value)
}

/// What the wishes come to. Fields are missing where a problem was noted.
pub(super) struct Settled {
    pub(super) channel: Option<String>,
    pub(super) uplink: Option<UplinkSettings>,
    pub(super) ice: Option<IceSettings>,
    pub(super) lan: Option<LanSettings>,
    pub(super) hooks: Option<HooksSettings>,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) publish: Option<Option<PublishSettings>>,
    pub(super) state_dir: PathBuf,
    pub(super) quiet: Option<QuietHours>,
    pub(super) look_in: Option<Place>,
    pub(super) messages: Messages,
}

impl Wishes {
    /// Checks what needs more than one key or a look at the disk. `base` is the folder of the file.
    pub(super) fn settle(self, base: &Path, around: &Surroundings, notes: &Notes) -> Settled {
        let listens = self.lan.listen.value != "off";
        let has_uplink = self.uplink.is_present();
        if !listens && !has_uplink {
            notes.problem(
                &self.lan.listen.place,
                wrong(
                    "is \"off\" and there is no [uplink], so nobody could ever answer",
                    "let the door listen, such as listen = \"[::]:8443\", or add [uplink]",
                ),
            );
        }
        let desk = Desk { base, around, notes };
        let channel = desk.channel(self.channel);
        let pictures = self.log.pictures && self.log.entries > 0;
        let channel_fits =
            channel.as_deref().is_none_or(|channel| check_channel(&look_channel(channel)).is_ok());
        Settled {
            hooks: self.hooks.settle(&desk, channel.as_deref(), pictures),
            channel,
            uplink: self.uplink.settle(&desk),
            metrics: self.metrics.settle(&desk),
            publish: self.publish.settle(&desk),
            ice: self.ice.settle(&desk, has_uplink),
            lan: if listens { desk.lan(self.lan) } else { None },
            quiet: self.quiet.settle(&desk),
            look_in: self.look_in.settle(&desk, channel_fits),
            messages: house::settle_messages(&self.messages, &desk),
            state_dir: self
                .state_dir
                .map_or_else(|| around.state_dir(), |at| desk.base_of(&at).join(&at.value)),
        }
    }
}

/// What settling needs at hand.
pub(super) struct Desk<'a> {
    pub(super) base: &'a Path,
    pub(super) around: &'a Surroundings,
    pub(super) notes: &'a Notes,
}

impl Desk<'_> {
    pub(super) fn refused<T>(&self, place: &Place, fault: Wrong) -> Option<T> {
        self.notes.problem(place, fault);
        None
    }

    /// A relative path counts from the file that holds it; in a variable, from the working folder.
    pub(super) fn base_of<T>(&self, at: &At<T>) -> &Path {
        if at.place.line().is_some() { self.base } else { Path::new("") }
    }

    pub(super) fn path(&self, at: &At<String>) -> Result<PathBuf, Wrong> {
        resolve(&at.value, self.base_of(at), self.around.credentials())
    }

    fn channel(&self, channel: Channel) -> Option<String> {
        let channel = match channel {
            Channel::Named(channel) => channel,
            Channel::Missing(place) => {
                let fault = wrong(
                    "is missing",
                    "write channel = \"front-door\" above the first [table], \
                     the same name the page uses",
                );
                return self.refused(&place, fault);
            }
            Channel::Refused => return None,
        };
        match check_channel(&channel.value) {
            Ok(()) => Some(channel.value),
            Err(fault) => {
                let fix = "write 1 to 256 bytes, such as channel = \"front-door\"";
                self.refused(&channel.place, wrong(fault.to_string(), fix))
            }
        }
    }

    fn lan(&self, wishes: LanWishes) -> Option<LanSettings> {
        let listen = self.listen(&wishes.listen);
        let web_dir = self.base_of(&wishes.web_dir).join(&wishes.web_dir.value);
        if !web_dir.is_dir() {
            self.notes.warn(
                &wishes.web_dir.place,
                &format!(
                    "{} is not there, so the door has no page of its own to show",
                    web_dir.display()
                ),
            );
        }
        let tls = self.tls(wishes.tls_cert, wishes.tls_key);
        let door_peer_id = self.door_peer_id(wishes.door_peer_id);
        Some(LanSettings { listen: listen?, web_dir, tls, door_peer_id: door_peer_id? })
    }

    fn listen(&self, written: &At<String>) -> Option<SocketAddr> {
        if let Ok(address) = written.value.parse() {
            return Some(address);
        }
        let what = format!("is \"{}\", which is not an address with a port", written.value);
        let fix = "write \"[::]:8443\" for all addresses, \"127.0.0.1:8480\" for this machine only, \
                   or \"off\"";
        self.refused(&written.place, wrong(what, fix))
    }

    fn tls(&self, cert: Option<At<String>>, key: Option<At<String>>) -> Option<TlsFiles> {
        let (cert, key) = match (cert, key) {
            (None, None) => return None,
            (Some(cert), Some(key)) => (cert, key),
            (Some(lone), None) => return self.lone(&lone, "tls_key"),
            (None, Some(lone)) => return self.lone(&lone, "tls_cert"),
        };
        let cert = self.tls_file(&cert);
        let key_path = self.tls_file(&key);
        if let Some(path) = &key_path
            && path.metadata().is_ok_and(|file| file.mode() & 0o007 != 0)
        {
            let what = format!("{} can be used by every user", path.display());
            let fix = format!("run: chmod o= {}", path.display());
            return self.refused(&key.place, wrong(what, fix));
        }
        Some(TlsFiles { cert: cert?, key: key_path? })
    }

    fn lone<T>(&self, there: &At<String>, missing: &str) -> Option<T> {
        let what = format!("stands without {missing}");
        let fix = "write both, or neither to let intercomd make a certificate of its own";
        self.refused(&there.place, wrong(what, fix))
    }

    fn tls_file(&self, at: &At<String>) -> Option<PathBuf> {
        let path = match self.path(at) {
            Ok(path) => path,
            Err(fault) => return self.refused(&at.place, fault),
        };
        match std::fs::File::open(&path) {
            Ok(_) => Some(path),
            Err(error) => {
                let what = format!("{} cannot be opened: {error}", path.display());
                self.refused(&at.place, wrong(what, "name a PEM file that intercomd may read"))
            }
        }
    }

    fn door_peer_id(&self, written: At<String>) -> Option<String> {
        let id = &written.value;
        let printable = id.chars().all(|letter| letter == ' ' || letter.is_ascii_graphic());
        if !printable || id.len() > LONGEST_PEER_ID {
            let what = format!("must be 1 to {LONGEST_PEER_ID} printable ASCII characters");
            let fix = format!("write door_peer_id = \"{DOOR_PEER_ID}\" or delete the line");
            return self.refused(&written.place, wrong(what, fix));
        }
        if id.as_str() >= "0" {
            self.notes.warn(
                &written.place,
                "does not sort before \"0\", so the door is not always the polite side; \
                 only for tests",
            );
        }
        Some(written.value)
    }
}
