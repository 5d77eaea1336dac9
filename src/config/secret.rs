//! The service key: read from a file that only the daemon can read, and never shown again.
//!
//! The key itself appears in no message of this file, whatever is wrong with it.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::problem::{Wrong, wrong};

/// Far more than any key; a longer file is something else.
const LONGEST_KEY: u64 = 4096;

/// What the unit file hands over while nobody has provisioned the door (`SetCredential=`).
const PLACEHOLDER: &str = "unset";

/// Marks a path that names a systemd credential.
const CREDENTIAL: &str = "credential:";

/// What a file of this sort holds, as messages call it.
const KEY: &str = "publishable key";

/// A text that must not be seen: `Debug` prints dots, there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Only for the place that sends it; never for a log or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(......)")
    }
}

/// Whether a text looks like a key rather than like the name of a file.
pub(super) fn looks_like_a_key(text: &str) -> bool {
    ["pk_", "sk_"].iter().any(|prefix| text.trim_start().starts_with(prefix))
}

/// Turns what stands in a configuration into a path: `credential:NAME` lies in the credentials
/// directory, a relative path counts from `base`.
pub(super) fn resolve(
    text: &str,
    base: &Path,
    credentials: Option<&Path>,
) -> Result<PathBuf, Wrong> {
    let Some(name) = text.strip_prefix(CREDENTIAL) else {
        return Ok(base.join(text));
    };
    let plain = !name.is_empty() && name != "." && name != ".." && !name.contains('/');
    if !plain {
        return Err(wrong(
            "names no credential",
            "write \"credential:NAME\" with the NAME of LoadCredential= in the unit",
        ));
    }
    match credentials {
        Some(directory) => Ok(directory.join(name)),
        None => Err(wrong(
            format!("asks for the systemd credential {name}, but no credentials were handed over"),
            format!(
                "start intercomd from its unit with LoadCredential={name}:/etc/intercomd/channel.key, or name a file"
            ),
        )),
    }
}

/// Reads and checks the service key.
///
/// A file outside the credentials directory must be closed to group and others. Whose it is decides the system:
/// only its owner and root can read it then.
pub(super) fn read_key(path: &Path, credentials: Option<&Path>) -> Result<Secret, Wrong> {
    let text = read_closed(path, credentials, KEY)?;
    check_key(text.trim(), path)
}

/// Reads another secret of one line, such as a password, under the same rules; `noun` is what messages
/// call it.
pub(super) fn read_word(
    path: &Path,
    credentials: Option<&Path>,
    noun: &'static str,
) -> Result<Secret, Wrong> {
    let text = read_closed(path, credentials, noun)?;
    let word = text.trim();
    if word.is_empty() {
        return Err(wrong(
            format!("{} is empty", path.display()),
            format!("put the {noun} into it"),
        ));
    }
    if word.starts_with("sk_") {
        return Err(secret_key(path, noun));
    }
    if !word.chars().all(|letter| letter.is_ascii_graphic()) {
        return Err(not_a_word(path, noun));
    }
    Ok(Secret::new(word))
}

fn read_closed(
    path: &Path,
    credentials: Option<&Path>,
    noun: &'static str,
) -> Result<String, Wrong> {
    let shown = path.display();
    let (text, mode) = read_small(path).map_err(|error| unreadable(path, &error, noun))?;
    if !lies_in(path, credentials) {
        let rights = mode & 0o7777;
        if rights & 0o077 != 0 {
            return Err(wrong(
                format!("{shown} can be read by other users (mode {rights:04o})"),
                format!("run: chmod 600 {shown}"),
            ));
        }
    }
    String::from_utf8(text).map_err(|_| not_a_word(path, noun))
}

fn check_key(key: &str, path: &Path) -> Result<Secret, Wrong> {
    let shown = path.display();
    if key.is_empty() {
        return Err(wrong(
            format!("{shown} is empty"),
            "put the publishable key of this door into it",
        ));
    }
    if key == PLACEHOLDER {
        return Err(wrong(
            "the door is not provisioned: there is no key in it yet",
            "put the publishable key into /etc/intercomd/channel.key (mode 600) and restart, \
             or delete [uplink] to work in the local network only",
        ));
    }
    if key.starts_with("sk_") {
        return Err(secret_key(path, KEY));
    }
    if !key.chars().all(|letter| letter.is_ascii_graphic()) {
        return Err(not_a_word(path, KEY));
    }
    Ok(Secret::new(key))
}

fn secret_key(path: &Path, noun: &'static str) -> Wrong {
    let example = if noun == KEY { " (pk_...)" } else { "" };
    wrong(
        format!("{} holds a secret key, which never belongs on a device", path.display()),
        format!(
            "delete it here, revoke it in the dashboard if this device was out of your hands, \
             and use a {noun}{example}"
        ),
    )
}

fn not_a_word(path: &Path, noun: &'static str) -> Wrong {
    let short = noun.rsplit(' ').next().unwrap_or(noun);
    wrong(
        format!("{} holds spaces, several lines or characters no {short} has", path.display()),
        format!("put the {noun} into it and nothing else"),
    )
}

/// The bytes of a file of a secret's size, and its rights.
pub(super) fn read_small(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    // Asked before opening: opening a named pipe would wait for a writer for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let file = File::open(path)?;
    // From the open file, so that the rights judged are those of the bytes read.
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(LONGEST_KEY + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_KEY {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
    }
    Ok((bytes, metadata.mode()))
}

fn unreadable(path: &Path, error: &io::Error, noun: &'static str) -> Wrong {
    let shown = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => wrong(
            format!("{shown} is not there"),
            format!(
                "make it: install -m 600 /dev/null {shown}, then put the {noun} into it with an editor"
            ),
        ),
        io::ErrorKind::PermissionDenied => wrong(
            format!("{shown} cannot be read by the user intercomd runs as"),
            "give the file to that user, or hand it over with LoadCredential= in the unit",
        ),
        _ => wrong(
            format!("{shown} cannot be read: {error}"),
            format!("name a small text file with the {noun} in it"),
        ),
    }
}

fn lies_in(path: &Path, directory: Option<&Path>) -> bool {
    let Some(directory) = directory else {
        return false;
    };
    match (path.canonicalize(), directory.canonicalize()) {
        (Ok(path), Ok(directory)) => path.starts_with(directory),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const GIVEN: &str = "pk_live_test";

    fn write(dir: &Path, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, content).expect("the file can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode can be set");
        path
    }

    fn refusal(path: &Path, credentials: Option<&Path>) -> String {
        let fault = read_key(path, credentials).expect_err("this key is refused");
        let place = super::super::problem::Place::variable("KEY");
        place.problem(fault).to_string()
    }

    #[test]
    fn a_closed_file_gives_its_key_without_the_line_end() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = write(dir.path(), "key", &format!("  {GIVEN}\r\n"), 0o600);
        let key = read_key(&path, None).expect("the key is good");
        assert_eq!(key.expose(), GIVEN);
    }

    #[test]
    fn a_read_only_file_is_good_too() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = write(dir.path(), "key", GIVEN, 0o400);
        assert!(read_key(&path, None).is_ok());
    }

    #[test]
    fn a_file_open_to_others_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for mode in [0o644, 0o640, 0o604, 0o620, 0o610] {
            let path = write(dir.path(), "key", GIVEN, mode);
            let text = refusal(&path, None);
            assert!(text.contains("chmod 600"), "{text}");
            assert!(!text.contains(GIVEN), "{text}");
        }
    }

    #[test]
    fn a_credential_may_have_any_mode() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = write(dir.path(), "channel-key", GIVEN, 0o440);
        assert!(read_key(&path, Some(dir.path())).is_ok());
    }

    #[test]
    fn a_path_that_only_passes_through_the_credentials_directory_is_no_credential() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let credentials = dir.path().join("credentials");
        fs::create_dir(&credentials).expect("a directory");
        write(dir.path(), "key", GIVEN, 0o644);
        let around = credentials.join("../key");
        assert!(refusal(&around, Some(&credentials)).contains("chmod 600"));
    }

    #[test]
    fn what_cannot_be_a_key_is_refused_without_being_shown() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let cases = [
            ("", "is empty"),
            (" \n\t\n", "is empty"),
            ("unset\n", "not provisioned"),
            ("sk_live_test", "never belongs on a device"),
            ("pk_live_one two", "spaces"),
            ("pk_live_one\npk_live_two", "spaces"),
            ("pk_live_\u{7}", "characters no key has"),
            ("\u{feff}pk_live_x", "characters no key has"),
        ];
        for (content, expected) in cases {
            let path = write(dir.path(), "key", content, 0o600);
            let text = refusal(&path, None);
            assert!(text.contains(expected), "{content:?}: {text}");
            assert!(!text.contains("_live_"), "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = write(dir.path(), "key", "", 0o600);
        fs::write(&path, [0xff, 0xfe, 0x00]).expect("the file can be written");
        assert!(refusal(&path, None).contains("characters no key has"));
    }

    #[test]
    fn a_missing_file_is_told_how_to_make_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let text = refusal(&dir.path().join("channel.key"), None);
        assert!(text.contains("is not there"), "{text}");
        assert!(text.contains("install -m 600 /dev/null"), "{text}");
    }

    #[test]
    fn a_directory_and_a_huge_file_are_no_keys() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert!(refusal(dir.path(), None).contains("it is not a file"));
        let path = write(dir.path(), "key", &"x".repeat(5000), 0o600);
        assert!(refusal(&path, None).contains("too large"));
    }

    #[test]
    fn credential_names_lie_in_the_credentials_directory() {
        let run = Path::new("/run/credentials/intercomd");
        let path = resolve("credential:channel-key", Path::new("/etc"), Some(run));
        assert_eq!(path, Ok(run.join("channel-key")));
        assert!(resolve("credential:channel-key", Path::new("/etc"), None).is_err());
        for bad in ["credential:", "credential:..", "credential:../x", "credential:/x"] {
            assert!(resolve(bad, Path::new("/etc"), Some(run)).is_err(), "{bad}");
        }
    }

    #[test]
    fn relative_paths_count_from_the_configuration() {
        let base = Path::new("/etc/intercomd");
        let path = resolve("channel.key", base, None);
        assert_eq!(path, Ok(base.join("channel.key")));
        let path = resolve("/run/key", base, None);
        assert_eq!(path, Ok(PathBuf::from("/run/key")));
    }

    #[test]
    fn another_secret_is_held_to_the_same_rules_under_its_own_name() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let read = |path: &Path| read_word(path, None, "password");
        let path = write(dir.path(), "good", "hunter2\n", 0o600);
        assert_eq!(read(&path), Ok(Secret::new("hunter2")));
        for (content, mode, expected) in [
            ("hunter2", 0o644, "chmod 600"),
            (" \n", 0o600, "put the password into it"),
            ("two words", 0o600, "no password has"),
            ("sk_live_test", 0o600, "never belongs on a device"),
        ] {
            let path = write(dir.path(), "bad", content, mode);
            let fault = read(&path).expect_err("it is refused");
            let text = super::super::problem::Place::variable("X").problem(fault).to_string();
            assert!(text.contains(expected) && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn debug_prints_dots() {
        assert_eq!(format!("{:?}", Secret::new(GIVEN)), "Secret(......)");
    }
}
