//! The backlight of a panel, where the kernel has a switch for it.
//!
//! Knows nothing of what is shown. Where no switch may be used, nothing happens: the screen is black all the same.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel shows backlights.
pub(super) const FOLDER: &str = "/sys/class/backlight";

/// All backlights below a folder.
#[derive(Debug)]
pub(super) struct Backlight {
    folder: PathBuf,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    On,
    /// Off, and what each `brightness` was that had to be taken down for it.
    Off(Vec<(PathBuf, String)>),
}

impl Backlight {
    /// The backlights below this folder, taken for on.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), state: State::On }
    }

    /// Switches them on.
    pub(super) fn on(&mut self) {
        let State::Off(dimmed) = std::mem::replace(&mut self.state, State::On) else { return };
        for light in self.lights() {
            // One that has no such switch was taken down by its brightness.
            let _ = write(&light.join("bl_power"), "0");
        }
        for (path, was) in dimmed {
            if let Err(error) = fs::write(&path, was) {
                tracing::warn!(path = %path.display(), %error, "a backlight stays dark");
            }
        }
    }

    /// Switches them off: by the power switch, else by taking the brightness to 0.
    pub(super) fn off(&mut self) {
        if self.state != State::On {
            return;
        }
        let mut dimmed = Vec::new();
        for light in self.lights() {
            // 4 is FB_BLANK_POWERDOWN (the kernel's Documentation/ABI/stable/sysfs-class-backlight).
            let Err(error) = write(&light.join("bl_power"), "4") else { continue };
            let path = light.join("brightness");
            let was = fs::read_to_string(&path);
            match was.and_then(|was| write(&path, "0").map(|()| was)) {
                Ok(was) => dimmed.push((path, lit(&light, was.trim()))),
                Err(_) => {
                    tracing::info!(
                        light = %light.display(), %error,
                        "the backlight cannot be switched; make bl_power writable for the service"
                    );
                }
            }
        }
        self.state = State::Off(dimmed);
    }

    fn lights(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }
}

/// The brightness to come back to. A panel that is dark already was left so by a daemon that was killed.
fn lit(light: &Path, was: &str) -> String {
    let most = || fs::read_to_string(light.join("max_brightness"));
    match was {
        "0" => most().map_or_else(|_| was.to_owned(), |most| most.trim().to_owned()),
        _ => was.to_owned(),
    }
}

/// Nobody sees a panel that was left dark.
impl Drop for Backlight {
    fn drop(&mut self) {
        self.on();
    }
}

/// Writes to a file that is there already; the kernel's are never made.
fn write(path: &Path, words: &str) -> std::io::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new().write(true).truncate(true).open(path)?.write_all(words.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn light(folder: &Path, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let light = folder.join(name);
        fs::create_dir(&light).expect("a backlight");
        for (file, words) in files {
            fs::write(light.join(file), words).expect("its file");
        }
        light
    }

    fn says(light: &Path, file: &str) -> String {
        fs::read_to_string(light.join(file)).expect("its file").trim().to_owned()
    }

    #[test]
    fn the_power_switch_is_used_and_the_brightness_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let panel =
            light(folder.path(), "10-0045", &[("bl_power", "0\n"), ("brightness", "180\n")]);
        let mut backlight = Backlight::new(folder.path());
        backlight.off();
        assert_eq!(
            (says(&panel, "bl_power"), says(&panel, "brightness")),
            ("4".into(), "180".into())
        );
        backlight.on();
        assert_eq!(
            (says(&panel, "bl_power"), says(&panel, "brightness")),
            ("0".into(), "180".into())
        );
    }

    #[test]
    fn without_a_power_switch_the_brightness_goes_down_and_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let panel = light(folder.path(), "pwm", &[("brightness", "180\n")]);
        let mut backlight = Backlight::new(folder.path());
        backlight.off();
        backlight.off();
        assert_eq!(says(&panel, "brightness"), "0");
        drop(backlight);
        assert_eq!(says(&panel, "brightness"), "180", "no panel is left dark");
    }

    #[test]
    fn a_machine_without_a_backlight_is_no_trouble() {
        let mut backlight = Backlight::new(Path::new("/nonexistent"));
        backlight.off();
        backlight.on();
        let folder = tempfile::tempdir().expect("a folder");
        let bare = light(folder.path(), "bare", &[]);
        let mut backlight = Backlight::new(folder.path());
        backlight.off();
        drop(backlight);
        assert!(!bare.join("bl_power").exists(), "the kernel's files are never made");
    }
}
