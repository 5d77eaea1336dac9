//! Looks at the kernel's displays: which connectors there are, what is plugged in, and what its own mode is.
//!
//! Opens the card that the screen's pipeline then draws on; which connector is taken is decided in
//! `plan_display.rs`.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use drm::Device as _;
use drm::control::{Device as _, ModeTypeFlags, connector};

use super::plan_display::{Connector, pick};

/// A card, open as long as its screen is.
#[derive(Debug)]
pub(super) struct Card(File);

impl AsFd for Card {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl drm::Device for Card {}
impl drm::control::Device for Card {}

/// The connector to show pictures on, and the card it belongs to.
#[derive(Debug)]
pub(super) struct Found {
    card: Card,
    /// The connector; it has a mode.
    pub(super) connector: Connector,
    /// The card's driver, such as `vc4`.
    pub(super) driver: String,
    status: PathBuf,
}

/// Finds the wanted connector, or the first that has a display, below `/dev/dri` and `/sys/class/drm`.
///
/// # Errors
/// Why there is none, in words.
pub(super) fn find(wanted: Option<&str>) -> Result<Found, String> {
    let mut all = Vec::new();
    let mut cards = Vec::new();
    let mut refused = None;
    for path in nodes(Path::new("/dev/dri")) {
        match open(&path) {
            Ok((card, driver, connectors)) => {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                cards.push((card, driver, name.to_owned(), connectors.clone()));
                all.extend(connectors);
            }
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                refused = Some(format!(
                    "{} may not be opened; put the user into the group video",
                    path.display()
                ));
            }
            // A card that only computes has no connectors to ask for.
            Err(error) => tracing::debug!(path = %path.display(), %error, "no card with displays"),
        }
    }
    let connector = pick(&all, wanted).map_err(|why| refused.unwrap_or(why))?.clone();
    let owner = cards.into_iter().find(|(_, _, _, connectors)| connectors.contains(&connector));
    let (card, driver, name, _) = owner.ok_or("the card of the connector is gone")?;
    let status = PathBuf::from(format!("/sys/class/drm/{name}-{}/status", connector.name));
    Ok(Found { card, connector, driver, status })
}

impl Found {
    /// The open card's descriptor, valid as long as this value lives.
    pub(super) fn descriptor(&self) -> i32 {
        self.card.as_fd().as_raw_fd()
    }

    /// Whether the display is plugged in still, as far as the kernel tells.
    pub(super) fn is_plugged(&self) -> bool {
        is_plugged(&self.status)
    }
}

/// What cannot be read is no reason to take a screen down.
fn is_plugged(status: &Path) -> bool {
    std::fs::read_to_string(status).map_or(true, |words| words.trim() != "disconnected")
}

fn nodes(folder: &Path) -> Vec<PathBuf> {
    let mut nodes: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with("card"))
        })
        .collect();
    nodes.sort();
    nodes
}

fn open(path: &Path) -> std::io::Result<(Card, String, Vec<Connector>)> {
    let card = Card(OpenOptions::new().read(true).write(true).open(path)?);
    let driver = card.get_driver()?.name().to_string_lossy().into_owned();
    let mut connectors = Vec::new();
    for handle in card.resource_handles()?.connectors() {
        let info = card.get_connector(*handle, true)?;
        let modes = info.modes();
        let preferred = modes
            .iter()
            .find(|mode| mode.mode_type().contains(ModeTypeFlags::PREFERRED))
            .or_else(|| modes.first());
        connectors.push(Connector {
            name: format!("{}-{}", info.interface().as_str(), info.interface_id()),
            id: u32::from(info.handle()),
            // Panels soldered to the board often cannot tell; the kernel lists their modes all the same.
            connected: info.state() != connector::State::Disconnected && !modes.is_empty(),
            mode: preferred.map(|mode| [u32::from(mode.size().0), u32::from(mode.size().1)]),
        });
    }
    Ok((card, driver, connectors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn cards_are_looked_at_in_their_order_and_other_nodes_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["renderD128", "card1", "card0", "by-path"] {
            fs::write(folder.path().join(name), "").expect("a node");
        }
        assert_eq!(nodes(folder.path()), ["card0", "card1"].map(|name| folder.path().join(name)));
        assert!(nodes(Path::new("/nonexistent")).is_empty());
    }

    #[test]
    fn a_display_counts_as_plugged_in_until_the_kernel_says_otherwise() {
        let folder = tempfile::tempdir().expect("a folder");
        let status = folder.path().join("status");
        assert!(is_plugged(&status));
        for (words, plugged) in
            [("connected\n", true), ("unknown\n", true), ("disconnected\n", false)]
        {
            fs::write(&status, words).expect("the status");
            assert_eq!(is_plugged(&status), plugged, "{words}");
        }
    }

    #[test]
    fn a_file_that_is_no_card_is_no_trouble() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert!(open(file.path()).is_err());
    }
}
