//! What the door knows of people: who may open it, who was there, and what the visitor looks like.
//!
//! Ties the memory room to the heart's reports and to the control socket. Decides nothing: the heart says when a
//! proof is asked for and what a good one is worth.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tracing::error;

use crate::config::Settings;
use crate::household::Household;
use crate::intercom::{CallId, LogLine, Name, Nonce, PeerKey, Proof, Report};
use crate::memory::budget::Budget;
use crate::memory::call_log::{CallLog, Keeper};
use crate::memory::calls::{News, Scribe, was_cut_off};
use crate::memory::proof::Bond;
use crate::service::control::{KnownPerson, Reply};

/// How many calls a page is told of at most.
const LINES: usize = 50;

/// See the file's head.
pub struct Clerk {
    household: Household,
    log: CallLog,
    scribe: Scribe,
    /// Of the call that goes on.
    portrait: Option<(CallId, Arc<str>)>,
    started: Instant,
}

impl Clerk {
    /// Reads what is remembered. The keeper's task writes the log.
    pub fn open(settings: &Settings) -> (Self, Keeper) {
        let household = Household::open(settings);
        let (log, keeper) = CallLog::open(&settings.state_dir, settings.log, clock());
        let (scribe, portrait, started) = (Scribe::default(), None, Instant::now());
        (Self { household, log, scribe, portrait, started }, keeper)
    }

    /// How many persons may open the door from a page.
    pub fn count(&self) -> usize {
        self.household.persons().count()
    }

    /// Whether somebody waits at the door whose ring ended with the daemon before.
    pub fn was_cut_off(&self) -> bool {
        was_cut_off(self.log.latest(2), clock())
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
        self.household.persons().check(&proof.proof, bond)
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
        let persons = self.household.persons().list().into_iter();
        let known = persons.map(|person| KnownPerson { name: person.name, added: person.added });
        Reply { persons: Some(known.collect()), ..Reply::done() }
    }

    /// The persons, to be changed where the disk may be waited for.
    pub fn household(&self) -> &Household {
        &self.household
    }
}

/// The time of day, in unix seconds.
pub fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
