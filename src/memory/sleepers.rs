//! The browsers that want to be woken when it rings (Web Push), and the key by which their push services know this door.
//!
//! Two small files: `web-push.json`, the addresses, each with the person who gave it, and `web-push.key`. Who has an
//! address can be woken by the key alone, so both have mode 0600.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde::{Deserialize, Serialize};

use super::{MemoryError, set_aside};
use crate::config::whole_file;
use crate::intercom::{Name, PushAddress};

/// The addresses' file in the state directory.
pub const FILE: &str = "web-push.json";
/// The key's file in the state directory: PKCS #8.
pub const KEY_FILE: &str = "web-push.key";
/// Most addresses one door keeps; a further one takes the place of the oldest.
pub const MOST: usize = 64;

/// All browsers this door wakes. Clones know the same.
#[derive(Debug, Clone)]
pub struct Sleepers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    known: Mutex<Vec<Sleeper>>,
    /// Held by whoever changes the file, for as long as that takes.
    pen: Mutex<()>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sleeper {
    person: String,
    address: PushAddress,
}

#[derive(Serialize, Deserialize)]
struct Row {
    person: String,
    endpoint: String,
    key: String,
    auth: String,
}

#[derive(Serialize, Deserialize)]
struct Book {
    version: u32,
    sleepers: Vec<Row>,
}

const VERSION: u32 = 1;

fn read(text: &[u8]) -> Option<Vec<Sleeper>> {
    let book: Book = serde_json::from_slice(text).ok()?;
    let rows = book.sleepers.into_iter().take(MOST);
    // A row that is none wakes nobody; the others still do.
    let sleepers = rows.filter_map(|row| {
        let address = PushAddress::read(&row.endpoint, &row.key, &row.auth)?;
        Some(Sleeper { person: row.person, address })
    });
    (book.version == VERSION).then(|| sleepers.collect())
}

fn write(sleepers: &[Sleeper]) -> Vec<u8> {
    let rows = sleepers.iter().map(|sleeper| Row {
        person: sleeper.person.clone(),
        endpoint: sleeper.address.endpoint().to_owned(),
        key: URL_SAFE_NO_PAD.encode(sleeper.address.key()),
        auth: URL_SAFE_NO_PAD.encode(sleeper.address.auth()),
    });
    // Strings and numbers: this cannot fail.
    serde_json::to_vec_pretty(&Book { version: VERSION, sleepers: rows.collect() })
        .unwrap_or_default()
}

impl Sleepers {
    /// Those of this state directory; nobody if there is no file. One that holds none is set aside as
    /// `web-push.json.broken`.
    pub fn open(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let known = match fs::read(&path) {
            Ok(text) => read(&text).unwrap_or_else(|| {
                let aside = set_aside(&path).map(|aside| aside.display().to_string());
                tracing::error!(
                    path = %path.display(), ?aside,
                    "this file holds no addresses and is set aside: sleeping phones are not woken until they call again"
                );
                Vec::new()
            }),
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    tracing::error!(path = %path.display(), %error, "no sleeping phone can be woken");
                }
                Vec::new()
            }
        };
        Self { inner: Arc::new(Inner { path, known: Mutex::new(known), pen: Mutex::new(()) }) }
    }

    /// Everybody's addresses, the oldest first.
    pub fn list(&self) -> Vec<PushAddress> {
        self.known().iter().map(|sleeper| sleeper.address.clone()).collect()
    }

    /// Wakes nobody but browsers of these persons. Blocks until it is on the disk.
    ///
    /// # Errors
    /// The file cannot be written: then nothing has changed.
    pub fn keep_those_of(&self, persons: &[String]) -> Result<(), MemoryError> {
        self.change(|known| known.retain(|sleeper| persons.contains(&sleeper.person)))
    }

    /// Wakes this browser of a person's, too. Blocks until it is on the disk.
    ///
    /// # Errors
    /// The file cannot be written: then nothing has changed.
    pub fn add(&self, person: &Name, address: PushAddress) -> Result<(), MemoryError> {
        let row = Sleeper { person: person.to_string(), address };
        self.change(|known| {
            // Pages say so in each call.
            if known.contains(&row) {
                return;
            }
            known.retain(|sleeper| sleeper.address.endpoint() != row.address.endpoint());
            if known.len() >= MOST {
                known.remove(0);
            }
            known.push(row);
        })
    }

    /// Wakes this browser no more: its push service knows it no more. Blocks until it is on the disk.
    ///
    /// # Errors
    /// The file cannot be written: then nothing has changed.
    pub fn forget(&self, endpoint: &str) -> Result<(), MemoryError> {
        self.change(|known| known.retain(|sleeper| sleeper.address.endpoint() != endpoint))
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Sleeper>)) -> Result<(), MemoryError> {
        let _pen = self.inner.pen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.known().clone();
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return Ok(());
        }
        let path = &self.inner.path;
        whole_file::write_private(path, &write(&after)).map_err(|source| MemoryError::File {
            action: "write",
            path: path.clone(),
            source,
        })?;
        *self.known() = after;
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Vec<Sleeper>> {
        // The list is replaced in one step, so it is valid after a panic elsewhere, too.
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The door's own key, made at the first time. Addresses were given for this key only: with another one all of them
/// would be dead.
///
/// # Errors
/// The file cannot be read or written, holds no key, or the system gives no random numbers.
pub fn own_key(state_dir: &Path) -> Result<Vec<u8>, MemoryError> {
    let path = state_dir.join(KEY_FILE);
    let failed =
        |action, source| MemoryError::File { action, path: state_dir.join(KEY_FILE), source };
    match fs::read(&path) {
        Ok(key) if is_key(&key) => return Ok(key),
        Ok(_) => {
            let aside = set_aside(&path).map_err(|source| failed("set aside", source))?;
            tracing::error!(aside = %aside.display(), "this file held no key; a new one is made, and phones have to be told of it");
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(source) => return Err(failed("read", source)),
    }
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    let made = made.map_err(|_| failed("make", io::Error::other("no random numbers")))?;
    whole_file::write_private(&path, made.as_ref()).map_err(|source| failed("write", source))?;
    Ok(made.as_ref().to_vec())
}

fn is_key(pkcs8: &[u8]) -> bool {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new()).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn address(n: u8) -> PushAddress {
        let mut key = [n; 65];
        key[0] = 4;
        let endpoint = format!("https://push.example/{n}");
        PushAddress::new(&endpoint, key, [n; 16]).expect("an address")
    }

    fn anna() -> Name {
        Name::new("Anna").expect("a name")
    }

    #[test]
    fn a_browser_is_woken_across_restarts_until_its_service_or_its_person_is_gone() {
        let dir = tempfile::tempdir().expect("a folder");
        let sleepers = Sleepers::open(dir.path());
        for n in 0..3 {
            sleepers.add(&anna(), address(n)).expect("it is kept");
        }
        sleepers.add(&Name::new("Ben").expect("a name"), address(1)).expect("another's now");
        let mode = fs::metadata(dir.path().join(FILE)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = Sleepers::open(dir.path());
        assert_eq!(again.list(), [address(0), address(2), address(1)]);
        again.forget(address(0).endpoint()).expect("it is forgotten");
        again.add(&anna(), address(2)).expect("it is there already");
        assert_eq!(again.list(), [address(2), address(1)], "and its place is kept");
        again.keep_those_of(&["Ben".to_owned()]).expect("Anna is gone");
        assert_eq!(again.list(), [address(1)]);
        again.add(&anna(), address(2)).expect("it is kept");
        again.keep_those_of(&["Ben".to_owned()]).expect("it is forgotten");
        assert_eq!(Sleepers::open(dir.path()).list(), [address(1)]);
    }

    #[test]
    fn of_too_many_the_oldest_goes() {
        let dir = tempfile::tempdir().expect("a folder");
        let sleepers = Sleepers::open(dir.path());
        for n in 0..=u8::try_from(MOST).expect("few") {
            sleepers.add(&anna(), address(n)).expect("it is kept");
        }
        let list = sleepers.list();
        assert_eq!((list.len(), list[0].endpoint()), (MOST, address(1).endpoint()));
    }

    #[test]
    fn a_file_of_something_else_is_set_aside_and_a_full_disk_loses_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join(FILE), "{}").expect("written");
        let sleepers = Sleepers::open(dir.path());
        assert!(sleepers.list().is_empty());
        assert!(dir.path().join("web-push.json.broken").exists());
        sleepers.add(&anna(), address(1)).expect("it is kept");
        fs::remove_file(dir.path().join(FILE)).expect("it was there");
        fs::create_dir(dir.path().join(FILE)).expect("in its place");
        assert!(sleepers.add(&anna(), address(2)).is_err());
        assert_eq!(sleepers.list(), [address(1)]);
    }

    #[test]
    fn the_key_stays_the_same_and_what_is_none_is_replaced() {
        let dir = tempfile::tempdir().expect("a folder");
        let key = own_key(dir.path()).expect("a key");
        assert_eq!(own_key(dir.path()).expect("a key"), key);
        fs::write(dir.path().join(KEY_FILE), "nonsense").expect("written");
        let other = own_key(dir.path()).expect("a key");
        assert!(is_key(&other) && other != key);
    }
}
