//! What the door knows of people: who may open it, who was there, and what the visitor looks like.
//!
//! Ties the memory room to the heart's reports and to the control socket. Decides nothing: the heart says when a
//! proof is asked for and what a good one is worth.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tracing::{error, info, warn};

use crate::config::Settings;
use crate::intercom::{CallId, LogLine, Name, Nonce, PeerKey, Proof, Report};
use crate::memory::MemoryError;
use crate::memory::budget::Budget;
use crate::memory::call_log::{CallLog, Keeper};
use crate::memory::calls::{News, Scribe};
use crate::memory::persons::Persons;
use crate::memory::proof::Bond;
use crate::service::control::{KnownPerson, NewPerson, Reply};

/// How many calls a page is told of at most.
const LINES: usize = 50;

/// See the file's head.
pub struct Clerk {
    persons: Persons,
    log: CallLog,
    scribe: Scribe,
    /// Of the call that goes on.
    portrait: Option<(CallId, Arc<str>)>,
    started: Instant,
    look_in: bool,
}

impl Clerk {
    /// Reads what is remembered. The keeper's task writes the log.
    pub fn open(settings: &Settings) -> (Self, Keeper) {
        let persons = Persons::open(&settings.state_dir);
        let (log, keeper) = CallLog::open(&settings.state_dir, settings.log, clock());
        let (scribe, portrait, started) = (Scribe::default(), None, Instant::now());
        let look_in = settings.look_in;
        (Self { persons, log, scribe, portrait, started, look_in }, keeper)
    }

    /// How many persons may open the door from a page.
    pub fn count(&self) -> usize {
        self.persons.count()
    }

    /// Whether persons may look through the camera although nobody rang.
    pub fn lets_look(&self) -> bool {
        self.look_in
    }

    /// Whether the visitor's picture is wanted.
    pub fn wants_portraits(&self) -> bool {
        self.log.keeps_pictures()
    }

    /// Takes a report of the heart's into the log, and says what it did to it.
    pub fn report(&mut self, report: &Report) -> News {
        let clock = clock();
        let news = self.scribe.take(report, clock, self.started.elapsed());
        if let News::Began(entry) | News::Ended(entry) = &news {
            self.portrait = None;
            self.log.note(entry.clone(), clock);
        }
        news
    }

    /// Where the picture of a call lies once it is kept.
    pub fn picture_path(&self, call: &CallId) -> PathBuf {
        self.log.picture_path(&call.0)
    }

    /// Keeps the picture of this call's visitor. Whether it is still that call.
    pub fn portrait(&mut self, call: &CallId, jpeg: Vec<u8>) -> bool {
        if !self.scribe.picture(&call.0) {
            return false;
        }
        self.portrait = Some((call.clone(), STANDARD.encode(&jpeg).into()));
        self.log.keep_picture(&call.0, jpeg.into());
        if let Some(entry) = self.scribe.draft() {
            self.log.note(entry.clone(), clock());
        }
        true
    }

    /// The picture of the call that goes on, in base64.
    pub fn portrait_now(&self) -> Option<(CallId, Arc<str>)> {
        self.portrait.clone()
    }

    /// A number for a proof; `None` when the system gives none, and nobody can prove anything.
    pub fn nonce(&self) -> Option<Nonce> {
        let mut bytes = [0; 32];
        match getrandom::fill(&mut bytes) {
            Ok(()) => Some(Nonce(bytes)),
            Err(why) => {
                error!("the system gives no random numbers, so nobody can open from a page: {why}");
                None
            }
        }
    }

    /// Whose proof this is, if it is good.
    pub fn check(&self, peer: &PeerKey, proof: &Proof) -> Option<Name> {
        let bond = Bond {
            purpose: proof.purpose,
            call: &proof.call,
            nonce: proof.nonce,
            peer: &peer.id,
            person: &proof.person,
        };
        self.persons.check(&proof.proof, bond)
    }

    /// The latest calls as a page reads them, the present one apart.
    pub fn lines(&self) -> Vec<LogLine> {
        let present = self.scribe.draft().map(|entry| entry.call.clone());
        let past =
            self.log.latest(usize::MAX).filter(|entry| Some(&entry.call) != present.as_ref());
        past.take(LINES).map(|entry| entry.line()).collect()
    }

    /// Where the time of the call that goes on went so far.
    pub fn budget(&self) -> Option<Budget> {
        self.scribe.draft()?.budget.clone()
    }

    /// The latest calls, newest first, as the control socket shows them.
    pub fn log(&self, count: usize) -> Reply {
        Reply { log: Some(self.log.latest(count).cloned().collect()), ..Reply::done() }
    }

    /// Forgets all calls.
    pub fn clear_log(&mut self) -> Reply {
        self.log.clear();
        Reply::done()
    }

    /// Who is known, without any secret.
    pub fn known(&self) -> Reply {
        let persons = self.persons.list().into_iter();
        let known = persons.map(|person| KnownPerson { name: person.name, added: person.added });
        Reply { persons: Some(known.collect()), ..Reply::done() }
    }

    /// The persons, to be changed where the disk may be waited for.
    pub fn persons(&self) -> Persons {
        self.persons.clone()
    }
}

/// What is to become of whom.
#[derive(Debug)]
pub enum Change {
    /// May open the door from a page.
    Add(String),
    /// May do so no more.
    Remove(String),
}

/// Adds or removes a person, as user `uid` asks. Blocks until it is on the disk. `address` is that of the LAN page;
/// `look_in`: whether persons may look in, which their pages are told.
pub fn change(
    persons: &Persons,
    what: &Change,
    uid: u32,
    address: Option<&str>,
    look_in: bool,
) -> Reply {
    let outcome = match what {
        Change::Add(name) => persons.add(name).map(|secret| {
            info!("user {uid} lets {name:?} open the door from a page");
            let secret = URL_SAFE_NO_PAD.encode(secret);
            let mut words = url::form_urlencoded::Serializer::new(String::new());
            words.append_pair("person", name).append_pair("secret", &secret);
            if look_in {
                words.append_pair("look", "1");
            }
            let fragment = words.finish();
            let link = address.map(|address| format!("{address}&{fragment}"));
            let person = NewPerson { name: name.clone(), secret, fragment, link };
            Reply { person: Some(Box::new(person)), ..Reply::done() }
        }),
        Change::Remove(name) => persons.remove(name).map(|()| {
            info!("user {uid} lets {name:?} open the door no more");
            Reply::done()
        }),
    };
    outcome.unwrap_or_else(|why| refused(&why))
}

fn refused(why: &MemoryError) -> Reply {
    if let MemoryError::File { .. } | MemoryError::Unread(_) = why {
        warn!("{why}");
    }
    let text = why.to_string();
    let (what, fix) = text.split_once("; ").unwrap_or((&text, "see `intercomd ctl person list`"));
    Reply::refused(what, fix)
}

/// The time of day, in unix seconds.
pub fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
