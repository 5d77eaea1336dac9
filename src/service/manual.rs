//! Man pages and shell completions, made from the command line's own description.
//!
//! For whoever packages intercomd: the pages cannot say anything the program does not do. Touches nothing
//! but the folder it is given. The page of the configuration is not made here, but by `tools/config-manual.py`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap_complete::aot::{self, Shell};

/// The shells completions are made for.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// What the command line does not know of itself: the end of `intercomd.1`, in the language of man pages.
const TAIL: &str = r#".SH FILES
.TP
/etc/intercomd/config.toml
The configuration: intercomd.toml(5).
.TP
/etc/intercomd/channel.key
The publishable key of the signalling service, mode 0600, owner root. systemd hands a copy to the daemon.
.TP
/etc/intercomd/board/
Board profiles of your own.
.TP
/run/intercomd/control.sock
The control socket. Root, the user and the group intercomd may use it.
.SH EXIT STATUS
Each command tells its own. 2 is wrong usage, with every command.
.SH SEE ALSO
intercomd.toml(5), systemctl(1), journalctl(1), /usr/share/doc/intercomd/
"#;

/// Why the pages could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ManualError {
    /// The folder, or a file in it, cannot be written.
    #[error("{}: {cause}; name a folder that can be written", .place.display())]
    Unwritable {
        /// The folder.
        place: PathBuf,
        /// What the kernel says.
        cause: io::Error,
    },
}

/// Writes `intercomd.1`, one page for each command (`intercomd-ctl.1`), and the completions of bash
/// (`intercomd.bash`), zsh (`_intercomd`) and fish (`intercomd.fish`) into `folder`, which is made if it is
/// missing. Hidden commands have no page.
///
/// # Errors
/// When something cannot be written.
pub fn write(command: clap::Command, folder: &Path) -> Result<(), ManualError> {
    // The generators name no file when they fail.
    let unwritable = |cause| ManualError::Unwritable { place: folder.to_owned(), cause };
    fs::create_dir_all(folder).map_err(unwritable)?;
    clap_mangen::generate_to(command.clone().disable_help_subcommand(true), folder)
        .map_err(unwritable)?;
    let mut page =
        OpenOptions::new().append(true).open(folder.join("intercomd.1")).map_err(unwritable)?;
    page.write_all(TAIL.as_bytes()).map_err(unwritable)?;
    for shell in SHELLS {
        aot::generate_to(shell, &mut command.clone(), "intercomd", folder).map_err(unwritable)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> clap::Command {
        let shown = clap::Command::new("shown").about("Does what is told");
        let hidden = clap::Command::new("concealed").hide(true);
        clap::Command::new("intercomd").version("1.2.3").subcommand(shown).subcommand(hidden)
    }

    #[test]
    fn pages_and_completions_name_every_command_and_no_page_a_hidden_one() {
        let folder = tempfile::tempdir().expect("a folder");
        write(command(), &folder.path().join("new")).expect("they are written");
        let read = |name: &str| fs::read_to_string(folder.path().join("new").join(name));
        for name in ["intercomd.1", "intercomd.bash", "_intercomd", "intercomd.fish"] {
            let text = read(name).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert!(text.contains("shown"), "{name} does not name the command");
            let page = name.ends_with(".1");
            assert!(!page || !text.contains("concealed"), "{name} names what is hidden");
        }
        let page = read("intercomd-shown.1").expect("a page of its own");
        assert!(page.contains("Does what is told"), "{page}");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("a file");
        let why = write(command(), &file).expect_err("a file is no folder").to_string();
        assert!(why.starts_with(&file.display().to_string()), "{why}");
    }
}
