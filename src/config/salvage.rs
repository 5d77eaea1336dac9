//! The secrets of a configuration that is no use: what has to be taken out of a report although nothing could be
//! loaded.
//!
//! Reads the text as far as it goes and judges nothing; rather a file too many than a secret in a report.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::secret::{Secret, read_small, resolve};
use super::{LoadArgs, Surroundings};

/// More than any configuration.
const LONGEST: u64 = 1024 * 1024;
/// Where systemd puts the credentials of the unit; the variable that says so is the daemon's alone.
const CREDENTIALS: &str = "/run/credentials/intercomd.service";
/// What the unit hands over as the service's key.
const CHANNEL_KEY: &str = "/etc/intercomd/channel.key";

/// What could be had of a configuration, whatever is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvage {
    /// Where things that outlive a restart are kept, as far as it is known.
    pub state_dir: PathBuf,
    /// What stands in the files that are named for secrets and can be read.
    pub secrets: Vec<Secret>,
}

/// Reads what is left of the configuration of this process.
pub fn salvage(args: &LoadArgs) -> Salvage {
    salvage_within(args, &Surroundings::of_this_process())
}

/// The same with the given surroundings.
pub fn salvage_within(args: &LoadArgs, around: &Surroundings) -> Salvage {
    let path = args.config.as_ref().unwrap_or(&around.config_file);
    let base = path.parent().unwrap_or(Path::new(""));
    let text = read(path).unwrap_or_default();
    let written = quoted_values(&text);
    let state_dir = written.iter().find(|(key, _)| *key == "state_dir");
    let named = written.iter().filter(|(key, _)| key.ends_with("_file") && *key != "ca_file");
    let mut files = vec![PathBuf::from(CHANNEL_KEY)];
    files.extend(
        around.plain("INTERCOMD_UPLINK_KEY_FILE").map(|file| place(file, Path::new(""), around)),
    );
    files.extend(named.map(|(_, file)| place(file, base, around)));
    Salvage {
        state_dir: state_dir.map_or_else(|| around.state_dir(), |(_, folder)| base.join(folder)),
        secrets: files.iter().filter_map(|file| word(file)).collect(),
    }
}

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Every `key = "value"` of a text that is no comment, in inline tables too.
fn quoted_values(text: &str) -> Vec<(&str, &str)> {
    let value = |(at, _): (usize, &str)| {
        let line = text[..at].rsplit('\n').next()?;
        if line.trim_start().starts_with('#') {
            return None;
        }
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
        let before = line.trim_end().trim_end_matches(['"', '\'']);
        let key = before.rsplit(|letter: char| !is_name(letter)).next()?;
        let after = text[at + 1..].trim_start_matches([' ', '\t']);
        let quote = after.chars().next().filter(|letter| "\"'".contains(*letter))?;
        // A quote that was never closed ends with its line.
        let value = after[1..].lines().next()?.split(quote).next()?;
        Some((key, value))
    };
    text.match_indices('=').filter_map(value).collect()
}

/// The file of a secret, where the daemon would look for it.
fn place(file: &str, base: &Path, around: &Surroundings) -> PathBuf {
    let credentials = around.credentials().unwrap_or(Path::new(CREDENTIALS));
    resolve(file, base, Some(credentials)).unwrap_or_default()
}

fn word(file: &Path) -> Option<Secret> {
    let (bytes, _) = read_small(file).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let word = text.trim();
    (!word.is_empty()).then(|| Secret::new(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn salvaged(config: &str, variables: &[(&str, &str)]) -> (tempfile::TempDir, Salvage) {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["hook.secret", "turn.key", "channel-key", "other.key", "ca.pem"] {
            std::fs::write(dir.path().join(name), format!("inside-{name}\n")).expect("written");
        }
        let path = dir.path().join("config.toml");
        std::fs::write(&path, config).expect("written");
        let folder = dir.path().to_str().expect("a plain name");
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.replace("HERE", folder)));
        let around = Surroundings { variables: variables.collect(), ..Surroundings::default() };
        let args = LoadArgs { config: Some(path), ..LoadArgs::default() };
        let salvage = salvage_within(&args, &around);
        (dir, salvage)
    }

    fn has(salvage: &Salvage, word: &str) -> bool {
        salvage.secrets.iter().any(|secret| secret.expose() == word)
    }

    #[test]
    fn of_a_text_that_is_no_toml_the_state_folder_and_the_secrets_it_names_are_known() {
        let (dir, salvage) = salvaged(
            "channel = \n#state_dir = \"/var/lib/intercomd\"\nstate_dir = 'kept'\n[ice\nservers = [{ urls = \"turn:a?b=c\", \
             credential_file = \"turn.key\" }]\n[[hooks.webhook]]\nsecret_file=\"hook.secret\"\n\
             ca_file = \"ca.pem\"\ntoken_file = \"missing\"\n\"password_file\" = \"other.key",
            &[],
        );
        assert_eq!(salvage.state_dir, dir.path().join("kept"));
        assert!(has(&salvage, "inside-hook.secret") && has(&salvage, "inside-turn.key"));
        assert!(!has(&salvage, "inside-ca.pem"), "a certificate is no secret");
        assert!(has(&salvage, "inside-other.key"), "though its quote is not closed");
    }

    #[test]
    fn a_credential_and_a_key_file_of_the_environment_are_looked_for_where_they_lie() {
        let (_dir, salvage) = salvaged(
            "key_file = \"credential:channel-key\"\n",
            &[
                ("CREDENTIALS_DIRECTORY", "HERE"),
                ("INTERCOMD_UPLINK_KEY_FILE", "HERE/other.key"),
                ("STATE_DIRECTORY", "/var/lib/elsewhere"),
            ],
        );
        assert!(has(&salvage, "inside-channel-key") && has(&salvage, "inside-other.key"));
        assert_eq!(salvage.state_dir, Path::new("/var/lib/elsewhere"));
    }

    #[test]
    fn a_configuration_that_is_not_there_leaves_the_usual_places() {
        let args = LoadArgs { config: Some("/nonexistent/x.toml".into()), ..LoadArgs::default() };
        let salvage = salvage_within(&args, &Surroundings::default());
        assert_eq!(salvage.state_dir, Path::new("/var/lib/intercomd"));
    }
}
