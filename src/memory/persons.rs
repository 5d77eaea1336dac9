//! The persons who may open the door: their names, and of each secret what cannot be used in its place.
//!
//! One small file, `persons.json`. Who can write it can let anybody in, so its mode is 0600.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::proof::{self, Bond, KEY, SECRET};
use super::{MemoryError, set_aside};
use crate::config::whole_file;
use crate::intercom::Name;

/// The file's name in the state directory.
pub const FILE: &str = "persons.json";
/// Most persons one door knows.
pub const MOST: usize = 64;

/// All persons this door knows. Clones know the same.
#[derive(Debug, Clone)]
pub struct Persons {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    known: Mutex<Vec<Person>>,
    /// Held by whoever changes the file, for as long as that takes.
    pen: Mutex<Pen>,
}

/// Whether the file may be written.
#[derive(Debug)]
enum Pen {
    Ready,
    /// There is a file that could not be read: writing would lose it.
    Dry(String),
}

/// One person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// How the person is called.
    pub name: String,
    #[serde(with = "hex::serde")]
    stored_key: [u8; KEY],
    /// When the person was added, in unix seconds by the door's clock.
    pub added: u64,
}

#[derive(Serialize, Deserialize)]
struct Book {
    version: u32,
    persons: Vec<Person>,
}

const VERSION: u32 = 1;

/// The persons of a file. `None`: it holds none, or is of another version.
pub(super) fn read(text: &[u8]) -> Option<Vec<Person>> {
    let book: Book = serde_json::from_slice(text).ok()?;
    (book.version == VERSION).then_some(book.persons)
}

/// A file of these persons.
pub(super) fn write(persons: Vec<Person>) -> Vec<u8> {
    // Strings and numbers: this cannot fail.
    serde_json::to_vec_pretty(&Book { version: VERSION, persons }).unwrap_or_default()
}

impl Persons {
    /// Those of this state directory; nobody if there is no file. A file that holds no persons is set aside as
    /// `persons.json.broken`. One that cannot be read stays, and nobody is known: a door that rings and opens for
    /// nobody is better than none.
    pub fn open(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let (known, pen) = match open_file(&path) {
            Ok(known) => (known, Pen::Ready),
            Err(why) => {
                let why = why.to_string();
                tracing::error!("nobody can open the door from a page: {why}");
                (Vec::new(), Pen::Dry(why))
            }
        };
        Self { inner: Arc::new(Inner { path, known: Mutex::new(known), pen: Mutex::new(pen) }) }
    }

    /// Everybody, in the order of their coming.
    pub fn list(&self) -> Vec<Person> {
        self.known().clone()
    }

    /// Whether they could be read: nobody is known of a file that could not, and that is no word on who there is.
    pub fn are_known(&self) -> bool {
        let pen = self.inner.pen.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*pen, Pen::Ready)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.known().len()
    }

    /// Adds a person and returns its secret, which is kept nowhere. Blocks until it is on the disk.
    ///
    /// # Errors
    /// The name cannot be one or is taken, there are too many persons, or the file cannot be written: then nobody
    /// was added.
    pub fn add(&self, name: &str) -> Result<[u8; SECRET], MemoryError> {
        let name = Name::new(name).ok_or(MemoryError::Name)?;
        let pen = self.take_pen()?;
        let mut known = self.list();
        if known.iter().any(|person| person.name == name.as_str()) {
            return Err(MemoryError::Known(name.to_string()));
        }
        if known.len() >= MOST {
            return Err(MemoryError::Full(MOST));
        }
        let mut secret = [0; SECRET];
        getrandom::fill(&mut secret).map_err(MemoryError::Random)?;
        let added = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let stored_key = proof::stored_key(&secret);
        known.push(Person { name: name.to_string(), stored_key, added });
        self.keep(known, &pen)?;
        Ok(secret)
    }

    /// Removes a person: its secret opens nothing from now on. Blocks until it is on the disk.
    ///
    /// # Errors
    /// There is no such person, or the file cannot be written: then the person is still there.
    pub fn remove(&self, name: &str) -> Result<(), MemoryError> {
        let pen = self.take_pen()?;
        let known = self.list();
        let rest: Vec<Person> =
            known.iter().filter(|person| person.name != name).cloned().collect();
        if rest.len() == known.len() {
            return Err(MemoryError::Unknown(name.to_owned()));
        }
        self.keep(rest, &pen)
    }

    /// Whose proof this is, if it is good. Takes as long for a person who is not known. Never waits for the disk.
    pub fn check(&self, proof: &[u8; KEY], bond: Bond<'_>) -> Option<Name> {
        const NOBODY: [u8; KEY] = [0; KEY];
        let known = self.known();
        let person = known.iter().find(|person| person.name == bond.person.as_str());
        let good = proof::is_good(person.map_or(&NOBODY, |person| &person.stored_key), proof, bond);
        (good && person.is_some()).then(|| bond.person.clone())
    }

    fn known(&self) -> MutexGuard<'_, Vec<Person>> {
        // The list is replaced in one step, so it is valid after a panic elsewhere, too.
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_pen(&self) -> Result<MutexGuard<'_, Pen>, MemoryError> {
        let pen = self.inner.pen.lock().unwrap_or_else(PoisonError::into_inner);
        match &*pen {
            Pen::Ready => Ok(pen),
            Pen::Dry(why) => Err(MemoryError::Unread(why.clone())),
        }
    }

    fn keep(&self, persons: Vec<Person>, _pen: &MutexGuard<'_, Pen>) -> Result<(), MemoryError> {
        let text = write(persons.clone());
        let path = &self.inner.path;
        whole_file::write_private(path, &text).map_err(|source| MemoryError::File {
            action: "write",
            path: path.clone(),
            source,
        })?;
        *self.known() = persons;
        Ok(())
    }
}

fn open_file(path: &Path) -> Result<Vec<Person>, MemoryError> {
    let failed = |action, source| MemoryError::File { action, path: path.to_owned(), source };
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed("read", source)),
    };
    match read(&text) {
        Some(persons) => Ok(persons),
        None => {
            let aside = set_aside(path).map_err(|source| failed("set aside", source))?;
            tracing::error!(
                path = %path.display(), aside = %aside.display(),
                "this file holds no persons and is set aside: nobody can open the door from a page; add the persons again"
            );
            Ok(Vec::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intercom::{CallId, Nonce, PeerId, Purpose};

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    fn proof_of(secret: &[u8; SECRET], person: &str, persons: &Persons) -> Option<Name> {
        let person = Name::new(person).expect("a name");
        let (call, peer) = (CallId("c-1".into()), PeerId::from("page"));
        let bond = Bond {
            purpose: Purpose::Open,
            call: &call,
            nonce: Nonce([3; 32]),
            peer: &peer,
            person: &person,
        };
        persons.check(&proof::prove(secret, bond), bond)
    }

    #[test]
    fn a_person_is_known_across_restarts_until_removed_and_its_secret_is_nowhere() {
        let folder = folder();
        let persons = Persons::open(folder.path());
        let secret = persons.add("Anna").expect("added");
        let other = persons.add("Jörg Müller").expect("added");
        assert_ne!(secret, other);
        let file = fs::read_to_string(folder.path().join(FILE)).expect("there");
        assert!(!file.contains(&hex::encode(secret)), "the secret itself is not kept");
        let again = Persons::open(folder.path());
        assert_eq!(proof_of(&secret, "Anna", &again).as_ref().map(Name::as_str), Some("Anna"));
        assert!(proof_of(&other, "Anna", &again).is_none(), "not with another's secret");
        assert!(proof_of(&secret, "Nobody", &again).is_none());
        again.remove("Anna").expect("removed");
        assert!(proof_of(&secret, "Anna", &again).is_none());
        let names: Vec<_> = Persons::open(folder.path()).list();
        assert_eq!(names.iter().map(|person| &*person.name).collect::<Vec<_>>(), ["Jörg Müller"]);
    }

    #[test]
    fn names_are_unique_and_bounded_in_length_and_number() {
        let folder = folder();
        let persons = Persons::open(folder.path());
        persons.add("Anna").expect("added");
        assert!(matches!(persons.add("Anna"), Err(MemoryError::Known(_))));
        for bad in ["", " Anna", "a\nb", &"x".repeat(33)] {
            assert!(matches!(persons.add(bad), Err(MemoryError::Name)), "{bad:?}");
        }
        assert!(matches!(persons.remove("Ben"), Err(MemoryError::Unknown(_))));
        for number in 1..MOST {
            persons.add(&format!("person {number}")).expect("added");
        }
        assert!(matches!(persons.add("one more"), Err(MemoryError::Full(MOST))));
    }

    #[test]
    fn a_broken_file_is_set_aside_and_nobody_is_let_in() {
        let folder = folder();
        fs::write(folder.path().join(FILE), "{\"version\":1,\"persons\":[").expect("written");
        let persons = Persons::open(folder.path());
        assert!(persons.list().is_empty());
        assert!(folder.path().join("persons.json.broken").exists(), "nothing is lost");
    }

    #[test]
    fn a_person_who_cannot_be_kept_is_not_added() {
        let folder = folder();
        let persons = Persons::open(folder.path());
        fs::create_dir(folder.path().join("persons.json.new")).expect("a folder in the way");
        assert!(matches!(persons.add("Anna"), Err(MemoryError::File { .. })));
        assert!(persons.list().is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_read_lets_nobody_in_and_is_not_written_over() {
        let folder = folder();
        // As good as an unreadable file, for root too.
        fs::create_dir(folder.path().join(FILE)).expect("a folder in its place");
        assert!(Persons::open(folder.path().join("new").as_path()).are_known());
        let persons = Persons::open(folder.path());
        assert!(!persons.are_known());
        assert_eq!(persons.count(), 0);
        assert!(matches!(persons.add("Anna"), Err(MemoryError::Unread(_))));
        assert!(matches!(persons.remove("Anna"), Err(MemoryError::Unread(_))));
        assert!(folder.path().join(FILE).is_dir());
    }
}
