//! A lamp that the kernel shows as an LED, below /sys/class/leds.
//!
//! Takes the LED away from its trigger (heartbeat, disk, ...) and gives it back at the end. Thin on
//! purpose; nothing here decides anything.

use super::LineError;
use super::output::Drive;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use tracing::debug;

/// Where the kernel shows its LEDs.
pub(super) const LEDS: &str = "/sys/class/leds";

/// No trigger: only who writes `brightness` decides.
const NO_TRIGGER: &str = "none";

/// A claimed LED. Dropping it gives it back to the trigger it had.
pub(super) struct Led {
    folder: PathBuf,
    /// What "on" is: the brightest this LED can be.
    on: u32,
    /// The trigger it had when it was claimed, if any.
    trigger: Option<String>,
}

impl Led {
    /// Claims the LED called `name` in the folder `leds`, and switches it off.
    pub(super) fn claim(leds: &Path, name: &str) -> Result<Self, LineError> {
        let folder = leds.join(name);
        let most = match fs::read_to_string(folder.join("max_brightness")) {
            Ok(text) => text,
            Err(why) if why.kind() == ErrorKind::NotFound => {
                return Err(LineError::NoSuchLed { known: names(leds) });
            }
            Err(why) => return Err(fault(&folder.join("max_brightness"), &why)),
        };
        // The kernel's own LEDs say 1 or more; 255 is what its interface assumes otherwise.
        let on = most.trim().parse().unwrap_or(255).max(1);
        let path = folder.join("trigger");
        let trigger = match fs::read_to_string(&path) {
            Ok(text) => chosen(&text),
            Err(why) if why.kind() == ErrorKind::NotFound => None,
            Err(why) => return Err(fault(&path, &why)),
        };
        if trigger.is_some() {
            fs::write(&path, NO_TRIGGER).map_err(|why| fault(&path, &why))?;
        }
        let led = Self { folder, on, trigger };
        led.write(0).map_err(|why| fault(&led.folder.join("brightness"), &why))?;
        Ok(led)
    }

    fn write(&self, brightness: u32) -> io::Result<()> {
        fs::write(self.folder.join("brightness"), brightness.to_string())
    }
}

impl Drive for Led {
    fn drive(&mut self, on: bool) -> Result<(), String> {
        self.write(if on { self.on } else { 0 }).map_err(|why| why.to_string())
    }
}

impl Drop for Led {
    fn drop(&mut self) {
        let Some(trigger) = &self.trigger else { return };
        if let Err(why) = fs::write(self.folder.join("trigger"), trigger) {
            debug!("{} does not get its trigger {trigger} back: {why}", self.folder.display());
        }
    }
}

/// The trigger in brackets of `none [heartbeat] timer`; `None` when that is none.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    let (word, _) = rest.split_once(']')?;
    (word != NO_TRIGGER).then(|| word.to_owned())
}

/// The LEDs there are, for the text that says a name is none of them.
fn names(leds: &Path) -> String {
    let entries = fs::read_dir(leds).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    if names.is_empty() { "there are none".to_owned() } else { names.join(", ") }
}

fn fault(path: &Path, why: &io::Error) -> LineError {
    let path = path.display();
    match why.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            LineError::LedPermission(format!("{path} ({why})"))
        }
        _ => LineError::Refused(format!("{path}: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::Output;
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    /// A folder of LEDs as the kernel shows it, with one LED.
    struct Leds(TempDir);

    impl Leds {
        fn with(name: &str, most: &str, trigger: &str) -> Self {
            let leds = Self(tempfile::tempdir().expect("a place for files"));
            fs::create_dir(leds.0.path().join(name)).expect("a fresh place");
            for (file, text) in
                [("max_brightness", most), ("brightness", "1\n"), ("trigger", trigger)]
            {
                fs::write(leds.path(name, file), text).expect("a fresh place");
            }
            leds
        }

        fn path(&self, name: &str, file: &str) -> PathBuf {
            self.0.path().join(name).join(file)
        }

        fn says(&self, name: &str, file: &str) -> String {
            fs::read_to_string(self.path(name, file)).expect("it is there")
        }

        fn claim(&self, name: &str) -> Result<Led, LineError> {
            Led::claim(self.0.path(), name)
        }
    }

    #[test]
    fn an_led_is_off_when_claimed_as_bright_as_it_can_be_when_on_and_off_at_the_end() {
        let leds = Leds::with("door", "127\n", "[none] timer heartbeat\n");
        let led = leds.claim("door").expect("it is there");
        assert_eq!(leds.says("door", "brightness"), "0");
        let output = Output::new("lamp", Box::new(led), None);
        output.set(true);
        assert_eq!(leds.says("door", "brightness"), "127");
        output.set(false);
        assert_eq!(leds.says("door", "brightness"), "0");
        output.set(true);
        output.close();
        assert_eq!(leds.says("door", "brightness"), "0");
        assert_eq!(leds.says("door", "trigger"), "[none] timer heartbeat\n", "left alone");
    }

    #[test]
    fn the_trigger_is_taken_away_and_given_back() {
        let leds = Leds::with("ACT", "1", "none timer [mmc0] heartbeat\n");
        let led = leds.claim("ACT").expect("it is there");
        assert_eq!(leds.says("ACT", "trigger"), "none");
        drop(led);
        assert_eq!(leds.says("ACT", "trigger"), "mmc0");
    }

    #[test]
    fn a_name_that_is_no_led_is_answered_with_those_there_are() {
        let leds = Leds::with("ACT", "1", "[none]");
        fs::create_dir(leds.0.path().join("PWR")).expect("a fresh place");
        let why = leds.claim("DOOR").err().expect("there is none");
        assert_eq!(why, LineError::NoSuchLed { known: "ACT, PWR".to_owned() });
        let why = Led::claim(Path::new("/no/such/folder"), "ACT").err().expect("none at all");
        assert!(why.to_string().contains("there are none"), "{why}");
    }

    #[test]
    fn an_led_that_cannot_be_written_is_refused_with_its_file() {
        let leds = Leds::with("ACT", "1", "[none]");
        // A folder in place of the file: refused to everybody, root too.
        fs::remove_file(leds.path("ACT", "brightness")).expect("made above");
        fs::create_dir(leds.path("ACT", "brightness")).expect("a fresh place");
        let why = leds.claim("ACT").err().expect("it cannot be written");
        assert!(why.to_string().contains("brightness"), "{why}");
        let denied = fault(Path::new("/x"), &io::Error::from(ErrorKind::ReadOnlyFilesystem));
        assert!(matches!(denied, LineError::LedPermission(_)), "{denied}");
    }

    #[test]
    fn an_led_without_a_trigger_of_its_own_works() {
        let leds = Leds::with("door", "1", "");
        fs::remove_file(leds.path("door", "trigger")).expect("made above");
        let open = fs::Permissions::from_mode(0o600);
        fs::set_permissions(leds.path("door", "brightness"), open).expect("our file");
        drop(leds.claim("door").expect("it is there"));
        assert!(!leds.path("door", "trigger").exists());
    }
}
