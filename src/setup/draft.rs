//! The configuration that the answers make, tried before anything of it stays.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{CREDENTIAL, KEY_FILE, SetupError, file};
use crate::config::{self, LoadArgs, Loaded, Surroundings, edit, whole_file};

/// In the place of what only systemd hands over, and set-up need not know: long enough for any secret, and of the look of
/// certificates where some are asked for.
const STAND_IN: &[u8] = b"stand-in-for-a-secret-that-systemd-hands-over";
const STAND_IN_AUTHORITY: &[u8] = b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";

/// The key, if it can be one; else why not, without repeating it.
pub fn good_key(text: &str) -> Result<String, String> {
    if text.starts_with("sk_") {
        return Err("this is a secret key (sk_...), which must never be in a device; use a publishable one (pk_...)".to_owned());
    }
    let good = text.starts_with("pk_")
        && text.len() >= 8
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    if good {
        Ok(text.to_owned())
    } else {
        Err("this is no publishable key: they begin with pk_ and have no blanks".to_owned())
    }
}

/// Whether the configuration says how the door gets in at the service in another way than set-up would.
pub fn has_own_way(text: &str, folder: &Path) -> bool {
    let table = text.parse::<toml::Table>().ok();
    let uplink = table.as_ref().and_then(|table| table.get("uplink")?.as_table());
    uplink.is_some_and(|uplink| {
        let key_file = uplink.get("key_file").and_then(toml::Value::as_str);
        key_file
            .is_some_and(|name| name != CREDENTIAL && folder.join(name) != folder.join(KEY_FILE))
            || ["token_command", "token_url"].iter().any(|way| uplink.contains_key(*way))
    })
}

/// Reads the text as the daemon will, before anything of it stays: beside where it will lie, with the key and all
/// other secrets as systemd hands them over.
pub fn check(text: &str, key: Option<&str>, folder: &Path) -> Result<Loaded, SetupError> {
    let draft = private_folder(folder).map_err(|source| file("write in", folder, source))?;
    let path = folder.join(format!("{}.toml", draft.file_name().unwrap_or_default().display()));
    let outcome = check_in(&draft, &path, text, key, folder);
    let _ = fs::remove_file(&path);
    let _ = fs::remove_dir_all(&draft);
    outcome
}

fn check_in(
    draft: &Path,
    path: &Path,
    text: &str,
    key: Option<&str>,
    folder: &Path,
) -> Result<Loaded, SetupError> {
    let mut text = text.to_owned();
    if key.is_some() {
        text = edit::set(&text, Some("uplink"), "key_file", &edit::quoted(CREDENTIAL));
    }
    let present = fs::read_to_string(folder.join(KEY_FILE)).ok();
    let key = key.map(str::to_owned).or(present);
    let own = CREDENTIAL.split_once(':').map_or(CREDENTIAL, |(_, name)| name);
    let mut others = credentials(&text);
    others.retain(|(name, _)| name != own);
    let stand_in = |authority: bool| if authority { STAND_IN_AUTHORITY } else { STAND_IN };
    let stand_ins = others.iter().map(|(name, authority)| (name.as_str(), stand_in(*authority)));
    for (name, secret) in stand_ins.chain(key.iter().map(|key| (own, key.as_bytes()))) {
        let path = draft.join(name);
        whole_file::write_private(&path, secret).map_err(|source| file("write", &path, source))?;
    }
    whole_file::write_private(path, text.as_bytes())
        .map_err(|source| file("write", path, source))?;
    let mut around = Surroundings::of_this_process();
    around.variables.insert("CREDENTIALS_DIRECTORY".to_owned(), draft.display().to_string());
    let args = LoadArgs { config: Some(path.to_owned()), ..LoadArgs::default() };
    // The draft's name means nothing to anybody.
    let named = |text: String| text.replace(&path.display().to_string(), "config.toml");
    match config::load_within(&args, &around) {
        Ok(mut loaded) => {
            loaded.warnings = loaded.warnings.into_iter().map(named).collect();
            loaded.warnings.extend(others.iter().map(|(name, _)| {
                format!(
                    "the secret {name} is handed over by systemd alone: what needs it is tried in vain here"
                )
            }));
            Ok(loaded)
        }
        Err(problems) => Err(SetupError::Refused(named(problems.to_string()))),
    }
}

/// The names of the credentials a configuration asks for, and whether they are to hold certificates.
fn credentials(text: &str) -> Vec<(String, bool)> {
    fn collect(key: &str, value: &toml::Value, names: &mut Vec<(String, bool)>) {
        match value {
            toml::Value::String(text) => {
                let name = text.strip_prefix("credential:");
                let plain = |name: &&str| !["", ".", ".."].contains(name) && !name.contains('/');
                names.extend(name.filter(plain).map(|name| (name.to_owned(), key == "ca_file")));
            }
            toml::Value::Array(values) => {
                values.iter().for_each(|value| collect(key, value, names));
            }
            toml::Value::Table(table) => {
                table.iter().for_each(|(key, value)| collect(key, value, names));
            }
            _ => {}
        }
    }
    let mut names = Vec::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        collect("", &toml::Value::Table(table), &mut names);
    }
    names
}

/// A new folder only we can read.
fn private_folder(folder: &Path) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    let path = folder.join(format!(".setup-{}", uuid::Uuid::new_v4().simple()));
    DirBuilder::new().mode(0o700).create(&path)?;
    Ok(path)
}
