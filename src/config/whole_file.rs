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
    const LENGTH: usize = 64 * 1024;
    /// What a file is made, filled, kept and named with, and what would make it less than whole.
    const STEPS: &str = "openat,write,pwrite64,writev,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,mkdir,\
                         fchmod,fchown,ftruncate,close";

    #[test]
    #[ignore = "runs inside another test, which kills it"]
    fn writes_once() {
        let Some(path) = std::env::var_os(TO_BE_KILLED) else { return };
        // More calls of each kind than any other thread makes: `strace` is told the number of a call and not its thread.
        for _ in 0..500 {
            let mut nowhere =
                OpenOptions::new().write(true).open("/dev/null").expect("it is there");
            nowhere.write_all(b"x").expect("it takes anything");
        }
        write_private(Path::new(&path), &[b'b'; LENGTH]).expect("written");
    }

    /// Runs the write under `strace`, which kills it in place of the system call of that name and number. The calls
    /// of the thread that writes, one a line.
    fn trace(path: &Path, killed_at: Option<(&str, usize)>) -> Vec<String> {
        let exe = std::env::current_exe().expect("a test is a program");
        let logs = tempfile::tempdir().expect("a folder");
        let mut strace = std::process::Command::new("timeout");
        strace.args(["--kill-after=5", "60", "strace"]);
        // A log for each thread, as each thread counts its own calls.
        strace.arg("-ff").arg("-o").arg(logs.path().join("log"));
        strace.args(["-y", "-s", "16", "-e", &format!("trace={STEPS}")]);
        if let Some((call, number)) = killed_at {
            strace.args(["-e", &format!("inject={call}:signal=SIGKILL:when={number}")]);
        }
        strace.arg(exe).args(["--exact", "config::whole_file::tests::writes_once", "--ignored"]);
        strace.env(TO_BE_KILLED, path);
        strace.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let ended = strace.status().expect("every Debian has it");
        assert_ne!(ended.code(), Some(127), "the package strace is missing: tools/setup.sh test");
        let folder = path.parent().and_then(Path::to_str).expect("a name");
        let log =
            |file: io::Result<fs::DirEntry>| fs::read_to_string(file.expect("a log").path()).ok();
        let mut all = fs::read_dir(logs.path()).expect("there").filter_map(log);
        let ours = all.find(|log| log.contains(folder)).unwrap_or_default();
        ours.lines().filter(|line| line.contains('(')).map(str::to_owned).collect()
    }

    /// The disk's own promise, that what was synchronised is there after a power cut, cannot be tried here; that the
    /// program asks for it in the right order can.
    #[test]
    fn a_file_is_on_the_disk_before_it_takes_the_place_of_the_old_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let calls = trace(&folder.path().join("file.json"), None);
        let place = |from: usize, call: &str, what: &str| {
            let is_it = |line: &String| line.starts_with(call) && line.contains(what);
            let found = calls.iter().skip(from).position(is_it);
            from + found.unwrap_or_else(|| panic!("no {call} of {what} after {from}: {calls:#?}"))
        };
        let written = place(0, "write(", "file.json.new");
        let kept = place(written, "fsync(", "file.json.new");
        let named = place(kept, "rename", "file.json\"");
        assert!(
            calls[named..]
                .iter()
                .all(|line| !line.starts_with("write(") || !line.contains("file.json"))
        );
        let name = folder.path().file_name().and_then(|name| name.to_str()).expect("a name");
        place(named, "fsync(", &format!("{name}>"));
    }

    #[test]
    fn a_program_that_is_killed_anywhere_in_a_write_leaves_the_old_or_the_new_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file.json");
        let old = || fs::write(&path, [b'a'; LENGTH]).expect("written");
        old();
        let calls = trace(&path, None);
        let place = folder.path().to_str().expect("a name").to_owned();
        let ours = |line: &str| line.contains(&place);
        let name = |line: &str| line.split('(').next().unwrap_or_default().to_owned();
        let mut left = Vec::new();
        for (at, line) in calls.iter().enumerate().filter(|(_, line)| ours(line)) {
            let call = name(line);
            let number = calls[..=at].iter().filter(|line| name(line) == call).count();
            old();
            let seen = trace(&path, Some((&call, number)));
            assert!(
                seen.last().is_some_and(|last| name(last) == call),
                "killed at {line}: {seen:?}"
            );
            let content = fs::read(&path).expect("there is always a file");
            assert_eq!(content.len(), LENGTH, "killed at {line}");
            assert!(content.iter().all(|byte| *byte == content[0]), "half and half at {line}");
            left.push(content[0]);
            // What a killed run leaves beside it is in nobody's way.
            write_private(&path, b"whole").expect("written");
            assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 1);
        }
        let renewed =
            left.iter().position(|content| *content == b'b').expect("in the end it is new");
        assert!(renewed >= 4 && left[renewed..].iter().all(|content| *content == b'b'), "{left:?}");
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
