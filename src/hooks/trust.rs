//! The certificates a receiver is checked with. Read anew each time: events are rare, and certificates may
//! have been renewed.

use std::path::{Path, PathBuf};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::error::HookError;

/// TLS with the certificates of this file, or else with those this machine trusts.
pub(super) async fn config(ca_file: Option<&Path>) -> Result<ClientConfig, HookError> {
    let file = ca_file.map(Path::to_owned);
    let loaded = tokio::task::spawn_blocking(move || roots(file)).await;
    let roots = loaded.map_err(|error| HookError::Certificates { why: error.to_string() })??;
    Ok(with(roots))
}

/// TLS that trusts nobody, for connections that have none.
pub(super) fn none() -> ClientConfig {
    with(RootCertStore::empty())
}

fn with(roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}

fn roots(file: Option<PathBuf>) -> Result<RootCertStore, HookError> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let why = "there are no CA certificates on this machine; install them".to_owned();
            return Err(HookError::Certificates { why });
        }
        return Ok(roots);
    };
    let bad = |fault: String| {
        let why = format!("ca_file {}: {fault}; correct it", file.display());
        HookError::Certificates { why }
    };
    let all = CertificateDer::pem_file_iter(&file).map_err(|error| bad(error.to_string()))?;
    for certificate in all {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("it holds no certificate".to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_holds_no_certificate_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        for content in ["", "-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&path, content).expect("it can be written");
            let error = config(Some(&path)).await.expect_err("it holds none").to_string();
            assert!(error.contains("ca.pem") && error.contains("correct it"), "{error}");
        }
        std::fs::remove_file(&path).expect("it is there");
        let error = config(Some(&path)).await.expect_err("it is gone").to_string();
        assert!(error.contains("ca.pem"), "{error}");
    }
}
