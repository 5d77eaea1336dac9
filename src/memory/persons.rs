//! The persons who may open the door: their names, and of each secret what cannot be used in its place.
//!
//! One small file, `persons.json`. Who can write it can let anybody in, so its mode is 0600.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::MemoryError;
use super::proof::{self, Bond, KEY, SECRET};
use crate::config::whole_file;
use crate::intercom::Name;

/// The file's name in the state directory.
pub const FILE: &str = "persons.json";
/// Most persons one door knows.
pub const MOST: usize = 64;

/// All persons this door knows.
#[derive(Debug)]
pub struct Persons {
    path: PathBuf,
    known: Vec<Person>,
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
    /// `persons.json.broken`: then nobody can open the door from a page, and the log says so.
    ///
    /// # Errors
    /// The file is there but cannot be read.
    pub fn open(state_dir: &Path) -> Result<Self, MemoryError> {
        let path = state_dir.join(FILE);
        let known = match fs::read(&path) {
            Ok(text) => match read(&text) {
                Some(persons) => persons,
                None => {
                    let aside = path.with_extension("json.broken");
                    tracing::error!(
                        path = %path.display(), aside = %aside.display(),
                        "this file holds no persons and is set aside: nobody can open the door from a page; add the persons again"
                    );
                    fs::rename(&path, &aside).map_err(|source| MemoryError::File {
                        action: "set aside",
                        path: path.clone(),
                        source,
                    })?;
                    Vec::new()
                }
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(MemoryError::File { action: "read", path, source }),
        };
        Ok(Self { path, known })
    }

    /// Everybody, in the order of their coming.
    pub fn list(&self) -> &[Person] {
        &self.known
    }

    /// Adds a person and returns its secret, which is kept nowhere.
    ///
    /// # Errors
    /// The name cannot be one or is taken, there are too many persons, or the file cannot be written: then nobody
    /// was added.
    pub fn add(&mut self, name: &str) -> Result<[u8; SECRET], MemoryError> {
        let name = Name::new(name).ok_or(MemoryError::Name)?;
        if self.known.iter().any(|person| person.name == name.as_str()) {
            return Err(MemoryError::Known(name.to_string()));
        }
        if self.known.len() >= MOST {
            return Err(MemoryError::Full(MOST));
        }
        let mut secret = [0; SECRET];
        getrandom::fill(&mut secret).map_err(MemoryError::Random)?;
        let added = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let mut known = self.known.clone();
        known.push(Person {
            name: name.to_string(),
            stored_key: proof::stored_key(&secret),
            added,
        });
        self.keep(known)?;
        Ok(secret)
    }

    /// Removes a person: its secret opens nothing from now on.
    ///
    /// # Errors
    /// There is no such person, or the file cannot be written: then the person is still there.
    pub fn remove(&mut self, name: &str) -> Result<(), MemoryError> {
        let rest: Vec<Person> =
            self.known.iter().filter(|person| person.name != name).cloned().collect();
        if rest.len() == self.known.len() {
            return Err(MemoryError::Unknown(name.to_owned()));
        }
        self.keep(rest)
    }

    /// Whose proof this is, if it is good. Takes as long for a person who is not known.
    pub fn check(&self, proof: &[u8; KEY], bond: Bond<'_>) -> Option<Name> {
        const NOBODY: [u8; KEY] = [0; KEY];
        let person = self.known.iter().find(|person| person.name == bond.person.as_str());
        let good = proof::is_good(person.map_or(&NOBODY, |person| &person.stored_key), proof, bond);
        (good && person.is_some()).then(|| bond.person.clone())
    }

    fn keep(&mut self, persons: Vec<Person>) -> Result<(), MemoryError> {
        let text = write(persons.clone());
        whole_file::write_private(&self.path, &text).map_err(|source| MemoryError::File {
            action: "write",
            path: self.path.clone(),
            source,
        })?;
        self.known = persons;
        Ok(())
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
        let mut persons = Persons::open(folder.path()).expect("opened");
        let secret = persons.add("Anna").expect("added");
        let other = persons.add("Jörg Müller").expect("added");
        assert_ne!(secret, other);
        let file = fs::read_to_string(folder.path().join(FILE)).expect("there");
        assert!(!file.contains(&hex::encode(secret)), "the secret itself is not kept");
        let mut again = Persons::open(folder.path()).expect("opened");
        assert_eq!(proof_of(&secret, "Anna", &again).as_ref().map(Name::as_str), Some("Anna"));
        assert!(proof_of(&other, "Anna", &again).is_none(), "not with another's secret");
        assert!(proof_of(&secret, "Nobody", &again).is_none());
        again.remove("Anna").expect("removed");
        assert!(proof_of(&secret, "Anna", &again).is_none());
        let names: Vec<_> = Persons::open(folder.path()).expect("opened").known;
        assert_eq!(names.iter().map(|person| &*person.name).collect::<Vec<_>>(), ["Jörg Müller"]);
    }

    #[test]
    fn names_are_unique_and_bounded_in_length_and_number() {
        let folder = folder();
        let mut persons = Persons::open(folder.path()).expect("opened");
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
        let persons = Persons::open(folder.path()).expect("opened");
        assert!(persons.list().is_empty());
        assert!(folder.path().join("persons.json.broken").exists(), "nothing is lost");
    }

    #[test]
    fn a_person_who_cannot_be_kept_is_not_added() {
        let folder = folder();
        let mut persons = Persons::open(folder.path()).expect("opened");
        fs::create_dir(folder.path().join("persons.json.new")).expect("a folder in the way");
        assert!(matches!(persons.add("Anna"), Err(MemoryError::File { .. })));
        assert!(persons.list().is_empty());
    }
}
