//! Files that are the old or the new one, never half: what outlives a restart outlives a power cut, too.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

/// Writes a file only its owner can read, and its folder if there is none: complete or not at all, also across a
/// power cut. What a run that was cut off left beside it is overwritten.
///
/// # Errors
/// What the system says; the file is then as it was.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    write(path, content, |_| Ok(()))
}

/// The same for a file with the owner, the group and the rights of another, or for everybody to read if there is none:
/// it has them from its first moment at its place.
///
/// # Errors
/// What the system says; the file is then as it was.
pub fn write_like(path: &Path, content: &[u8], model: &Path) -> io::Result<()> {
    let model = match fs::metadata(model) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    write(path, content, |file| match model {
        None => file.set_permissions(Permissions::from_mode(0o644)),
        Some(model) => {
            let own = file.metadata()?;
            if (own.uid(), own.gid()) != (model.uid(), model.gid()) {
                fchown(file, Some(model.uid()), Some(model.gid()))?;
            }
            file.set_permissions(Permissions::from_mode(model.mode() & 0o777))
        }
    })
}

fn write(
    path: &Path,
    content: &[u8],
    dress: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let draft = path.with_file_name(name);
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written =
        file.write_all(content).and_then(|()| dress(&file)).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // A full disk is no fuller for it.
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deeper/file.json");
        fs::create_dir(folder.path().join("deeper")).expect("a folder");
        fs::write(folder.path().join("deeper/file.json.new"), "a draft of a run that was cut off")
            .expect("a draft");
        for content in ["one", "two"] {
            write_private(&path, content.as_bytes()).expect("written");
            assert_eq!(fs::read_to_string(&path).expect("there"), content);
        }
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path().join("deeper")).expect("there").count(), 1);
    }

    #[test]
    fn a_file_like_another_has_its_owner_its_group_and_its_rights() {
        let folder = tempfile::tempdir().expect("a folder");
        let [path, model] = ["file", "model"].map(|name| folder.path().join(name));
        write_like(&path, b"one", &model).expect("written");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o644, "nothing to be like");
        write_private(&model, b"").expect("written");
        fs::set_permissions(&model, Permissions::from_mode(0o640)).expect("set");
        // Only root can give files away.
        let _ = chown(&model, Some(4711), Some(4712));
        let like = fs::metadata(&model).expect("there");
        write_like(&path, b"two", &model).expect("written");
        let now = fs::metadata(&path).expect("there");
        assert_eq!((now.uid(), now.gid(), now.mode()), (like.uid(), like.gid(), like.mode()));
        assert_eq!(fs::read(&path).expect("there"), b"two");
    }

    /// Where the program that is to be killed writes.
    const TO_BE_KILLED: &str = "INTERCOM_TEST_WRITES_TO";
    const CONTENTS: [u8; 2] = [b'a', b'b'];
    const LENGTH: usize = 64 * 1024;
    const ROUNDS: u32 = 40;

    #[test]
    #[ignore = "runs inside another test, which kills it"]
    fn writes_until_it_is_killed() {
        let Some(path) = std::env::var_os(TO_BE_KILLED) else { return };
        // Nobody kills it when its test was.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while std::time::Instant::now() < end {
            for content in CONTENTS {
                write_private(Path::new(&path), &[content; LENGTH]).expect("written");
            }
        }
    }

    /// The disk's own promise, that what was synchronised is there after a power cut, cannot be tried here; that the
    /// program asks for it in the right order, wherever it ends, can.
    #[test]
    fn a_program_that_is_killed_anywhere_in_a_write_leaves_the_old_or_the_new_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file.json");
        let exe = std::env::current_exe().expect("a test is a program");
        let mut seen = std::collections::BTreeSet::new();
        for round in 0..ROUNDS {
            let mut program = std::process::Command::new(&exe)
                .args([
                    "--exact",
                    "config::whole_file::tests::writes_until_it_is_killed",
                    "--ignored",
                ])
                .env(TO_BE_KILLED, &path)
                .stdout(std::process::Stdio::null())
                .spawn()
                .expect("it starts");
            // It has written once when the file is another one than before; every second program writes twice, so that
            // both contents are there to be replaced, however long this disk takes.
            let age = |path: &Path| fs::metadata(path).map(|file| file.ino()).ok();
            let mut write = std::time::Duration::ZERO;
            for _ in 0..=round % 2 {
                let (before, began) = (age(&path), std::time::Instant::now());
                while age(&path) == before && program.try_wait().expect("it is ours").is_none() {
                    std::thread::yield_now();
                }
                write = began.elapsed();
            }
            // Somewhere in the next write: each round a little later, by what the last one took.
            let wait = write.min(std::time::Duration::from_millis(50)) * round / ROUNDS;
            let end = std::time::Instant::now() + wait;
            while std::time::Instant::now() < end {
                std::hint::spin_loop();
            }
            program.kill().expect("it is killed");
            program.wait().expect("it has ended");
            let content = fs::read(&path).expect("there is always a file");
            assert_eq!(content.len(), LENGTH, "round {round}");
            assert!(content.iter().all(|byte| *byte == content[0]), "round {round}: half and half");
            seen.insert(content[0]);
        }
        assert!(seen.len() == 2, "it was killed at one place only");
        // What a killed run leaves beside it is in nobody's way.
        write_private(&path, b"whole").expect("written");
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 1);
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file.json");
        write_private(&path, b"old").expect("written");
        // A folder in the draft's place cannot be removed as a file.
        fs::create_dir(folder.path().join("file.json.new")).expect("a folder");
        assert!(write_private(&path, b"new").is_err());
        assert_eq!(fs::read(&path).expect("there"), b"old");
    }
}
