//! The log of calls and the pictures of visitors, kept in the state directory within limits of number and age.
//!
//! What is read stands in the working memory; a task of its own writes, as a slow card must not hold up a ring.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::calls::Entry;
use super::set_aside;
use crate::config::names::EARLIEST_CLOCK;
use crate::config::{LogSettings, whole_file};
use crate::intercom::CallId;

/// The log's file in the state directory.
pub const FILE: &str = "calls.json";
/// The folder of the pictures there.
pub const PICTURES: &str = "pictures";
/// Pictures that may wait for the disk, some 100 kB each. Full: what comes then is not kept.
const WAITING: usize = 8;
/// After this long in one write the disk counts as hanging.
const SLOW: Duration = Duration::from_secs(30);
const VERSION: u32 = 1;

/// The log as it is read. Writing goes to the [`Keeper`].
#[derive(Debug)]
pub struct CallLog {
    limits: LogSettings,
    /// Oldest first.
    entries: VecDeque<Entry>,
    folder: PathBuf,
    /// The whole log as it is to be written; a younger one takes the place of one that still waits.
    book: watch::Sender<Vec<Entry>>,
    pictures: mpsc::Sender<Picture>,
    /// The latest call whose picture found no room.
    unkept: Option<String>,
}

#[derive(Debug)]
struct Picture {
    call: String,
    jpeg: Arc<[u8]>,
}

#[derive(Debug)]
enum Job {
    Entries(Vec<Entry>),
    Picture(Picture),
}

/// Writes what the log is told.
#[derive(Debug)]
pub struct Keeper {
    folder: PathBuf,
    book: watch::Receiver<Vec<Entry>>,
    pictures: mpsc::Receiver<Picture>,
}

#[derive(Serialize, Deserialize)]
struct Book {
    version: u32,
    calls: Vec<Entry>,
}

/// The calls of a file. `None`: it holds none, or is of another version.
pub(super) fn read(text: &[u8]) -> Option<Vec<Entry>> {
    let book: Book = serde_json::from_slice(text).ok()?;
    (book.version == VERSION).then_some(book.calls)
}

/// A file of these calls.
pub(super) fn write(calls: Vec<Entry>) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Book { version: VERSION, calls })
}

impl CallLog {
    /// The log of this state directory; an empty one if there is none. One that cannot be read is set aside as
    /// `calls.json.broken`, and an empty one begins: the door matters more than its diary.
    pub fn open(state_dir: &Path, limits: LogSettings, clock: u64) -> (Self, Keeper) {
        let path = state_dir.join(FILE);
        let entries = match fs::read(&path) {
            Ok(text) => {
                read(&text).map(VecDeque::from).ok_or("it holds no log of calls".to_owned())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(VecDeque::new()),
            Err(error) => Err(error.to_string()),
        };
        let entries = entries.unwrap_or_else(|why| {
            match set_aside(&path) {
                Ok(aside) => tracing::warn!(path = %path.display(), aside = %aside.display(), why, "the log of calls cannot be read and is set aside; a new one begins"),
                Err(error) => tracing::warn!(path = %path.display(), why, %error, "the log of calls can neither be read nor set aside and will be overwritten"),
            }
            VecDeque::new()
        });
        // What it begins with counts as written.
        let (book, to_write) = watch::channel(Vec::new());
        let (pictures, waiting) = mpsc::channel(WAITING);
        let folder = state_dir.to_owned();
        let mut log =
            Self { limits, entries, folder: folder.clone(), book, pictures, unkept: None };
        let before = log.entries.len();
        log.prune(clock);
        // An owner who turned the log or its pictures off wants them gone.
        let pictures = log.entries.iter().any(|entry| entry.picture);
        if !log.limits.pictures {
            log.entries.iter_mut().for_each(|entry| entry.picture = false);
        }
        if log.entries.len() != before || pictures && !log.limits.pictures {
            log.write();
        }
        (log, Keeper { folder, book: to_write, pictures: waiting })
    }

    /// Whether pictures of visitors are wanted at all.
    pub fn keeps_pictures(&self) -> bool {
        self.limits.pictures && self.limits.entries > 0
    }

    /// Remembers a call, or what has become of it. `clock` is the time of day in unix seconds.
    pub fn note(&mut self, mut entry: Entry, clock: u64) {
        if self.unkept.as_ref() == Some(&entry.call) {
            entry.picture = false;
        }
        match self.entries.iter_mut().rev().find(|known| known.call == entry.call) {
            Some(known) => *known = entry,
            None => self.entries.push_back(entry),
        }
        self.prune(clock);
        self.write();
    }

    /// Keeps the picture of a call's visitor. On a disk that hangs there may be no room for it; whatever is noted of
    /// the call afterwards then says that there is none.
    pub fn keep_picture(&mut self, call: &str, jpeg: Arc<[u8]>) {
        if !self.keeps_pictures() {
            return;
        }
        if self.pictures.try_send(Picture { call: call.to_owned(), jpeg }).is_err() {
            tracing::warn!(
                call,
                "the disk does not get on with the pictures of visitors; this one is not kept"
            );
            self.unkept = Some(call.to_owned());
        }
    }

    /// The latest calls, newest first.
    pub fn latest(&self, count: usize) -> impl Iterator<Item = &Entry> {
        self.entries.iter().rev().take(count)
    }

    /// Where the picture of a call lies once it is kept.
    pub fn picture_path(&self, call: &str) -> PathBuf {
        picture_path(&self.folder, call)
    }

    /// Forgets every call and every picture.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.write();
    }

    fn prune(&mut self, clock: u64) {
        let oldest = clock.saturating_sub(self.limits.age.as_secs());
        // An entry from the future is one from before the clock was set back; one from long ago is of a clock not
        // set yet. Neither is old for that; they go by number.
        let unknown = |at: u64| at > clock || at < EARLIEST_CLOCK as u64;
        self.entries.retain(|entry| entry.at >= oldest || unknown(entry.at));
        while self.entries.len() > self.limits.entries {
            self.entries.pop_front();
        }
    }

    fn write(&self) {
        self.book.send_replace(self.entries.iter().cloned().collect());
    }
}

impl Keeper {
    /// Writes until the log is dropped, and all that still waits then. Tells `kept` of each picture that is on the
    /// disk; who does not take that in time does without.
    pub async fn run(mut self, kept: mpsc::Sender<CallId>) {
        let mut failing = false;
        while let Some(job) = self.next().await {
            let folder = self.folder.clone();
            let picture = match &job {
                Job::Picture(picture) => Some(CallId(picture.call.as_str().into())),
                Job::Entries(_) => None,
            };
            // A card can take seconds; ended with the process if it never comes back.
            let mut writing = tokio::task::spawn_blocking(move || carry_out(&folder, job));
            let done = match tokio::time::timeout(SLOW, &mut writing).await {
                Ok(done) => done,
                Err(_) => {
                    tracing::warn!(folder = %self.folder.display(), "the disk does not get on with the log of calls; check it");
                    writing.await
                }
            };
            match done {
                Ok(Ok(())) => {
                    failing = false;
                    if let Some(call) = picture {
                        let _ = kept.try_send(call);
                    }
                }
                Ok(Err(error)) if !failing => {
                    failing = true;
                    tracing::warn!(folder = %self.folder.display(), %error, "the log of calls cannot be written; check the disk");
                }
                Ok(Err(_)) => {}
                Err(error) => tracing::error!(%error, "the writer of the log of calls broke off"),
            }
        }
    }

    /// What to write next; `None` when the log is gone and nothing waits. Pictures first: the calls, which say what is
    /// kept, then take those away again that were forgotten while they waited.
    async fn next(&mut self) -> Option<Job> {
        tokio::select! {
            biased;
            Some(picture) = self.pictures.recv() => Some(Job::Picture(picture)),
            Ok(()) = self.book.changed() => {
                let calls = self.book.borrow_and_update().clone();
                Some(Job::Entries(calls))
            }
            else => None,
        }
    }
}

fn carry_out(folder: &Path, job: Job) -> io::Result<()> {
    match job {
        Job::Picture(Picture { call, jpeg }) => {
            whole_file::write_private(&picture_path(folder, &call), &jpeg)
        }
        Job::Entries(calls) => {
            let with_picture = calls.iter().filter(|entry| entry.picture);
            let kept: BTreeSet<PathBuf> =
                with_picture.map(|entry| picture_path(folder, &entry.call)).collect();
            let text = write(calls)?;
            whole_file::write_private(&folder.join(FILE), &text)?;
            forget_pictures(&folder.join(PICTURES), &kept)
        }
    }
}

/// Removes the pictures of calls that are not remembered any more, and what else has no place there.
fn forget_pictures(folder: &Path, kept: &BTreeSet<PathBuf>) -> io::Result<()> {
    let files = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        files => files?,
    };
    for file in files {
        let path = file?.path();
        if !kept.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Call ids are our own, of letters, digits and dashes; anything else would be no file of ours.
pub(super) fn picture_path(folder: &Path, call: &str) -> PathBuf {
    let plain: String =
        call.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(80).collect();
    folder.join(PICTURES).join(format!("{plain}.jpg"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: u64 = 1_795_690_000;
    const DAY: u64 = 86_400;

    fn limits(entries: usize) -> LogSettings {
        LogSettings { entries, age: Duration::from_secs(30 * DAY), pictures: true }
    }

    fn pictured(call: &str, at: u64) -> Entry {
        Entry { picture: true, ..entry(call, at) }
    }

    fn entry(call: &str, at: u64) -> Entry {
        Entry { call: call.into(), at, outcome: "no-answer".into(), ..Entry::default() }
    }

    /// Writes all there is, and says whose pictures were kept.
    async fn run(keeper: Keeper) -> Vec<String> {
        let (kept, mut told) = mpsc::channel(8);
        keeper.run(kept).await;
        let mut calls = Vec::new();
        while let Some(call) = told.recv().await {
            calls.push(call.to_string());
        }
        calls
    }

    fn calls(log: &CallLog) -> Vec<&str> {
        log.latest(usize::MAX).map(|entry| &*entry.call).collect()
    }

    #[tokio::test]
    async fn calls_and_pictures_are_there_after_a_restart_and_go_together() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut log, keeper) = CallLog::open(folder.path(), limits(2), CLOCK);
        log.note(pictured("c-1", CLOCK), CLOCK);
        log.keep_picture("c-1", Arc::from(&b"jpeg one"[..]));
        log.note(Entry { outcome: "hung-up".into(), ..pictured("c-1", CLOCK) }, CLOCK);
        log.note(pictured("c-2", CLOCK + 1), CLOCK + 1);
        log.keep_picture("c-2", Arc::from(&b"jpeg two"[..]));
        let first = log.picture_path("c-1");
        drop(log);
        assert_eq!(run(keeper).await, ["c-1", "c-2"]);
        assert_eq!(fs::read(&first).expect("kept"), b"jpeg one");

        let (mut log, keeper) = CallLog::open(folder.path(), limits(2), CLOCK + 2);
        assert_eq!(calls(&log), ["c-2", "c-1"]);
        assert_eq!(log.latest(2).last().map(|entry| &*entry.outcome), Some("hung-up"));
        log.note(entry("c-3", CLOCK + 3), CLOCK + 3);
        drop(log);
        run(keeper).await;
        assert!(!first.exists(), "the picture goes with its call");
        let (log, _keeper) = CallLog::open(folder.path(), limits(2), CLOCK + 4);
        assert_eq!(calls(&log), ["c-3", "c-2"]);
        assert!(log.picture_path("c-2").exists());
    }

    #[tokio::test]
    async fn old_calls_are_forgotten_but_not_because_the_clock_is_not_set_yet() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut log, keeper) = CallLog::open(folder.path(), limits(100), CLOCK);
        log.note(entry("old", CLOCK), CLOCK);
        log.note(entry("new", CLOCK + 20 * DAY), CLOCK + 20 * DAY);
        // A board without a battery clock starts in 1970.
        log.note(entry("unset", 40), 40);
        assert_eq!(calls(&log), ["unset", "new", "old"]);
        log.note(entry("later", CLOCK + 31 * DAY), CLOCK + 31 * DAY);
        assert_eq!(calls(&log), ["later", "unset", "new"]);
        drop(log);
        run(keeper).await;
    }

    #[tokio::test]
    async fn a_log_that_is_turned_off_is_emptied() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut log, keeper) = CallLog::open(folder.path(), limits(10), CLOCK);
        log.note(pictured("c-1", CLOCK), CLOCK);
        log.keep_picture("c-1", Arc::from(&b"jpeg"[..]));
        let picture = log.picture_path("c-1");
        drop(log);
        run(keeper).await;
        let (mut log, keeper) = CallLog::open(folder.path(), limits(0), CLOCK);
        log.note(entry("c-2", CLOCK), CLOCK);
        log.keep_picture("c-2", Arc::from(&b"jpeg"[..]));
        drop(log);
        run(keeper).await;
        assert!(!picture.exists());
        assert_eq!(fs::read_dir(folder.path().join(PICTURES)).expect("there").count(), 0);
        let text = fs::read_to_string(folder.path().join(FILE)).expect("there");
        assert!(!text.contains("c-1") && !text.contains("c-2"), "{text}");
    }

    #[tokio::test]
    async fn pictures_that_are_turned_off_are_gone_at_the_next_start_and_the_calls_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut log, keeper) = CallLog::open(folder.path(), limits(10), CLOCK);
        log.note(pictured("c-1", CLOCK), CLOCK);
        log.keep_picture("c-1", Arc::from(&b"jpeg"[..]));
        let picture = log.picture_path("c-1");
        drop(log);
        run(keeper).await;
        assert!(picture.exists());
        let off = LogSettings { pictures: false, ..limits(10) };
        let (log, keeper) = CallLog::open(folder.path(), off, CLOCK);
        assert!(log.latest(1).all(|entry| !entry.picture));
        assert_eq!(calls(&log), ["c-1"]);
        drop(log);
        run(keeper).await;
        assert!(!picture.exists());
    }

    #[tokio::test]
    async fn a_broken_log_is_set_aside_and_a_full_disk_costs_the_log_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(FILE), "{").expect("written");
        let (mut log, keeper) = CallLog::open(folder.path(), limits(10), CLOCK);
        assert!(folder.path().join("calls.json.broken").exists());
        // As good as a full disk: the draft cannot be made.
        fs::create_dir(folder.path().join("calls.json.new")).expect("a folder in the way");
        log.note(entry("c-1", CLOCK), CLOCK);
        assert_eq!(calls(&log), ["c-1"], "it is still read from the working memory");
        drop(log);
        run(keeper).await;
    }

    #[tokio::test]
    async fn all_calls_of_a_time_in_which_the_card_hung_are_written_when_it_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut log, keeper) = CallLog::open(folder.path(), limits(100), CLOCK);
        // As good as a card that hangs: nobody writes yet.
        let names: Vec<String> = (0..40).map(|number| format!("c-{number}")).collect();
        for (name, at) in names.iter().zip(CLOCK..) {
            log.note(entry(name, at), at);
            log.keep_picture(name, Arc::from(name.as_bytes()));
            // Noted twice, as a call is that begins and ends.
            log.note(pictured(name, at), at);
            log.note(Entry { outcome: "hung-up".into(), ..pictured(name, at) }, at);
        }
        drop(log);
        assert_eq!(run(keeper).await, names[..WAITING], "no more than there is room for");
        let (log, _keeper) = CallLog::open(folder.path(), limits(100), CLOCK);
        assert_eq!(calls(&log).len(), names.len(), "{:?}", calls(&log));
        assert!(log.latest(usize::MAX).all(|entry| entry.outcome == "hung-up"));
        for entry in log.latest(usize::MAX) {
            let path = log.picture_path(&entry.call);
            assert_eq!(entry.picture, path.exists(), "{}", path.display());
        }
        let kept = log.latest(usize::MAX).filter(|entry| entry.picture).count();
        assert_eq!(kept, WAITING);
    }

    #[tokio::test]
    async fn a_picture_that_waited_while_its_call_was_forgotten_is_not_left_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut log, keeper) = CallLog::open(folder.path(), limits(10), CLOCK);
        log.keep_picture("c-1", Arc::from(&b"jpeg"[..]));
        log.note(pictured("c-1", CLOCK), CLOCK);
        log.clear();
        let picture = log.picture_path("c-1");
        drop(log);
        run(keeper).await;
        assert!(!picture.exists());
    }

    #[tokio::test]
    async fn a_log_the_disk_does_not_give_is_set_aside_too() {
        let folder = tempfile::tempdir().expect("a folder");
        // As good as a broken disk: it cannot be read as a file.
        fs::create_dir(folder.path().join(FILE)).expect("a folder in the way");
        let (log, _) = CallLog::open(folder.path(), limits(10), CLOCK);
        assert_eq!(calls(&log), Vec::<&str>::new());
        assert!(folder.path().join("calls.json.broken").is_dir());
    }

    #[test]
    fn no_call_id_leads_out_of_the_folder() {
        let path = picture_path(Path::new("/state"), "../../etc/passwd");
        assert_eq!(path, Path::new("/state/pictures/etcpasswd.jpg"));
    }
}
