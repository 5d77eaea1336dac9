//! The self-test of the machine itself: its clock, its disk, how hot it is and whether it gets enough power.
//!
//! It looks at files of the kernel below a root, which is `/` but in tests, and writes one small file into the state
//! directory.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::statvfs::statvfs;

use crate::config::names::EARLIEST_CLOCK;
use crate::config::verdict::Verdict;
use crate::config::whole_file;

/// This program did not exist before it.
const EARLIEST: Duration = Duration::from_secs(EARLIEST_CLOCK as u64);
/// What systemd's time service writes once it has heard the time.
const SYNCHRONISED: &str = "run/systemd/timesync/synchronized";
/// The file that is written and removed again.
const PROBE: &str = ".selftest";
const MEBIBYTE: u64 = 1024 * 1024;
/// With less the call log and its pictures soon find no room.
const LITTLE: u64 = 64 * MEBIBYTE;
const TOO_LITTLE: u64 = 4 * MEBIBYTE;
const FEW_FILES: u64 = 64;
/// From 80 °C on a Raspberry Pi slows down.
const HOT: i64 = 80_000;
const WARM: i64 = 70_000;
/// Where the Raspberry Pi's firmware tells of power and heat.
const THROTTLED: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";

/// Whether the time of day can be right.
pub fn clock(now: SystemTime, root: &Path) -> Verdict {
    let remedy = "let the board set its clock by the network (systemd-timesyncd or chrony), or give it a battery clock";
    if now.duration_since(UNIX_EPOCH).unwrap_or_default() < EARLIEST {
        let words = "the clock stands before 2026: certificates of the service seem not valid yet";
        return Verdict::bad(words, remedy);
    }
    let synchronised = root.join(SYNCHRONISED);
    // Without that service nobody says; another one may keep the time.
    if synchronised.parent().is_some_and(Path::is_dir) && !synchronised.exists() {
        return Verdict::fair("the clock was not set by the network yet", remedy);
    }
    Verdict::good("the clock shows a time that can be right")
}

/// Whether the state directory can be written, and room for what is kept there.
pub fn disk(state_dir: &Path) -> Verdict {
    let shown = state_dir.display();
    let probe = state_dir.join(PROBE);
    let written = whole_file::write_private(&probe, b"a line of the self-test\n")
        .and_then(|()| fs::remove_file(&probe));
    if let Err(error) = written {
        let remedy = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "make room on the disk, or shorten [log]"
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                "the disk is read-only: a worn card goes that way; look at dmesg, and replace it"
            }
            _ => "let the daemon's user write it; run this test as that user or as root",
        };
        return Verdict::bad(format!("{shown} cannot be written: {error}"), remedy);
    }
    match statvfs(state_dir) {
        Err(error) => Verdict::fair(
            format!("{shown} can be written, but its free space is not told: {error}"),
            "see `df`",
        ),
        Ok(disk) => {
            // The kernel's numbers are shorter on boards of 32 bits.
            #[allow(clippy::unnecessary_cast, reason = "u64 on this machine only")]
            let free = disk.blocks_available() as u64 * disk.fragment_size() as u64;
            // Some file systems have no limit and say 0 of 0.
            #[allow(clippy::unnecessary_cast, reason = "u64 on this machine only")]
            let files = (disk.files() > 0).then(|| disk.files_available() as u64);
            room(&shown.to_string(), free, files)
        }
    }
}

/// `free` bytes, and files that may still be made where that has a limit.
fn room(shown: &str, free: u64, files: Option<u64>) -> Verdict {
    let words = format!("{shown} can be written, {} MiB are free", free / MEBIBYTE);
    let remedy = "make room on the disk, or shorten [log]";
    if files.is_some_and(|files| files < FEW_FILES) {
        return Verdict::bad(format!("{words}, but hardly a file more can be made"), remedy);
    }
    match free {
        0..TOO_LITTLE => Verdict::bad(words, remedy),
        TOO_LITTLE..LITTLE => Verdict::fair(words, remedy),
        LITTLE.. => Verdict::good(words),
    }
}

/// How hot the machine is and whether its power is good, where the kernel says so.
pub fn heat_and_power(root: &Path) -> Vec<Verdict> {
    let mut verdicts = vec![match hottest(root) {
        None => Verdict::good("this machine does not tell its temperature"),
        Some(heat) => {
            let words = format!("{:.0} °C inside", heat as f64 / 1000.0);
            let remedy = "give it shade, air or a heat sink; a hot board slows down and ages";
            match heat {
                HOT.. => Verdict::bad(words, remedy),
                WARM..HOT => Verdict::fair(words, remedy),
                _ => Verdict::good(words),
            }
        }
    }];
    let flags = fs::read_to_string(root.join(THROTTLED)).ok().and_then(|text| {
        let digits = text.trim().trim_start_matches("0x").to_owned();
        u32::from_str_radix(&digits, 16).ok()
    });
    if let Some(flags) = flags {
        verdicts.push(throttling(flags));
    }
    verdicts
}

/// The hottest zone, in thousandths of a degree Celsius.
fn hottest(root: &Path) -> Option<i64> {
    let zones = fs::read_dir(root.join("sys/class/thermal")).ok()?;
    zones
        .filter_map(Result::ok)
        .filter(|zone| zone.file_name().to_string_lossy().starts_with("thermal_zone"))
        .filter_map(|zone| fs::read_to_string(zone.path().join("temp")).ok()?.trim().parse().ok())
        // A zone that is switched off tells nonsense.
        .filter(|heat| (-60_000..200_000).contains(heat))
        .max()
}

/// What the firmware's bits mean (`vcgencmd get_throttled`): the low ones now, from 16 on since the start.
fn throttling(flags: u32) -> Verdict {
    let power = "use the board's own power supply and a short, thick cable";
    let air = "give it shade, air or a heat sink";
    if flags & 0x1 != 0 {
        Verdict::bad("the board gets too little power now", power)
    } else if flags & 0xe != 0 {
        Verdict::bad("the board slows down now, as it is too hot", air)
    } else if flags & 0x1_0000 != 0 {
        Verdict::fair("the board got too little power at times since it was started", power)
    } else if flags & 0xe_0000 != 0 {
        Verdict::fair("the board slowed down at times since it was started, as it was too hot", air)
    } else {
        Verdict::good("the board's power is good, and nothing slowed it down")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::verdict::Grade;

    #[test]
    fn a_clock_before_this_program_is_wrong_and_one_that_nobody_set_is_doubtful() {
        let root = tempfile::tempdir().expect("a folder");
        let now = UNIX_EPOCH + EARLIEST;
        assert_eq!(clock(UNIX_EPOCH, root.path()).grade, Grade::Bad);
        assert_eq!(clock(now, root.path()).grade, Grade::Good);
        let told = root.path().join(SYNCHRONISED);
        fs::create_dir_all(told.parent().expect("a folder")).expect("made");
        assert_eq!(clock(now, root.path()).grade, Grade::Fair);
        fs::write(told, "").expect("written");
        assert_eq!(clock(now, root.path()).grade, Grade::Good);
    }

    #[test]
    fn a_state_directory_that_cannot_be_written_is_bad_and_the_probe_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let verdict = disk(folder.path());
        assert_ne!(verdict.grade, Grade::Bad, "{verdict:?}");
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 0);
        // A file in the folder's place cannot hold one, whoever asks.
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        let verdict = disk(&file);
        assert_eq!(verdict.grade, Grade::Bad, "{verdict:?}");
        assert!(!verdict.remedy.is_empty());
    }

    #[test]
    fn little_room_is_told_before_there_is_none() {
        assert_eq!(room("/x", 200 * MEBIBYTE, Some(9_999)).grade, Grade::Good);
        assert_eq!(room("/x", 20 * MEBIBYTE, None).grade, Grade::Fair);
        assert_eq!(room("/x", MEBIBYTE, None).grade, Grade::Bad);
        assert_eq!(room("/x", 200 * MEBIBYTE, Some(3)).grade, Grade::Bad);
    }

    #[test]
    fn the_hottest_zone_counts_and_nonsense_does_not() {
        let root = tempfile::tempdir().expect("a folder");
        assert_eq!(heat_and_power(root.path()).len(), 1);
        for (zone, heat) in
            [("thermal_zone0", "48312"), ("thermal_zone1", "-274000"), ("cooling", "9")]
        {
            let folder = root.path().join("sys/class/thermal").join(zone);
            fs::create_dir_all(&folder).expect("made");
            fs::write(folder.join("temp"), heat).expect("written");
        }
        assert_eq!(heat_and_power(root.path())[0], Verdict::good("48 °C inside"));
        let hot = root.path().join("sys/class/thermal/thermal_zone1/temp");
        for (heat, grade) in [("75000\n", Grade::Fair), ("83000\n", Grade::Bad)] {
            fs::write(&hot, heat).expect("written");
            assert_eq!(heat_and_power(root.path())[0].grade, grade);
        }
    }

    #[test]
    fn the_firmware_s_bits_tell_power_from_heat_and_now_from_then() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join(THROTTLED);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        for (flags, grade, word) in [
            ("0\n", Grade::Good, "good"),
            ("0x0\n", Grade::Good, "good"),
            ("50005\n", Grade::Bad, "power"),
            ("e0008\n", Grade::Bad, "hot"),
            ("50000\n", Grade::Fair, "power at times"),
            ("80000\n", Grade::Fair, "hot"),
        ] {
            fs::write(&path, flags).expect("written");
            let verdict = heat_and_power(root.path()).pop().expect("one of power");
            assert_eq!(verdict.grade, grade, "{flags}");
            assert!(verdict.words.contains(word), "{flags}: {}", verdict.words);
        }
        fs::write(&path, "nonsense").expect("written");
        assert_eq!(heat_and_power(root.path()).len(), 1);
    }
}
