//! Where the certificate of the LAN page comes from, and when it is looked at again: a door runs for years, and no
//! certificate is good for so long.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::address::{host_names, interface_addresses};
use super::cert::{self, Unwritable};
use super::lan::{LanError, TlsFiles};

/// Between two looks. Certificates are replaced weeks before they end.
pub const LOOK: Duration = Duration::from_secs(24 * 3600);

/// For the files to be read, or made.
const PATIENCE: Duration = Duration::from_secs(60);

/// The owner's files, or the door's own in its state directory.
#[derive(Debug, Clone)]
pub struct Papers {
    /// The owner's, if there are any.
    pub files: Option<TlsFiles>,
    /// Where the door keeps its own.
    pub state_dir: PathBuf,
}

impl Papers {
    /// What HTTPS needs, as it lies on the disk now. An own certificate that ends soon is made anew; `unwritable` is
    /// what to do where that cannot be kept and there is no other.
    ///
    /// # Errors
    /// When a file of the owner's cannot be read or holds no certificate with its key, or no own one can be had.
    pub async fn read(self, unwritable: Unwritable) -> Result<Arc<ServerConfig>, LanError> {
        let reading = spawn_blocking(move || match &self.files {
            Some(files) => cert::from_files(files),
            None => {
                let (names, addresses) = (host_names(), interface_addresses());
                cert::own(&self.state_dir, &names, &addresses, SystemTime::now(), unwritable)
            }
        });
        let failed = |problem: String| LanError::MakeCertificate { problem };
        let read = timeout(PATIENCE, reading)
            .await
            .map_err(|_| failed("the disk does not give the files".to_owned()))?;
        read.map_err(|error| failed(error.to_string()))?
    }
}
