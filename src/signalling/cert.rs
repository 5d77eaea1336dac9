//! The hub's secrets at rest: the key pages must know and the certificate for HTTPS, both made at
//! the first start and kept in the state directory.
//!
//! Blocking file work, meant for a blocking thread. It decides nothing about listening, nor when to look again.

use std::fs::{self, Permissions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::lan::{LanError, TlsFiles};
use crate::config::names::EARLIEST_CLOCK;
use crate::config::whole_file;

/// The hub key's file in the state directory.
pub const KEY_FILE: &str = "lan.key";
/// The own certificate and its private key in the state directory: in one file, so that no write leaves half a pair.
pub const PAIR_FILE: &str = "tls.pem";
/// Where earlier versions kept the two, each by itself.
const EARLIER: [&str; 2] = ["tls-cert.pem", "tls-key.pem"];

/// Start of every hub key this program makes.
const KEY_PREFIX: &str = "lan_";
/// Characters after the prefix: 6 random bits each, 192 in all.
const KEY_LENGTH: usize = 32;
/// Shortest key taken from a file an owner wrote by hand.
const SHORTEST_KEY: usize = 16;
/// The URL-safe alphabet of RFC 4648 section 5; 64 letters, so a masked random byte is unbiased.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const DAY: Duration = Duration::from_secs(86_400);
/// Life of an own certificate. Apple's systems refuse one over 825 days even when its owner has
/// chosen to trust it.
const LIFE: Duration = Duration::from_secs(820 * 86_400);
/// An own certificate with less than this left is made anew.
const RENEW_BEFORE: Duration = Duration::from_secs(60 * 86_400);
/// A certificate made before the network has set the clock must not be over by then.
const EARLIEST: Duration = Duration::from_secs(EARLIEST_CLOCK as u64);

/// The hub key: read from `state_dir`, made and kept there if there is none yet.
///
/// # Errors
/// When the file cannot be read or written, or the system gives no random numbers.
pub fn hub_key(state_dir: &Path) -> Result<String, LanError> {
    let path = state_dir.join(KEY_FILE);
    match fs::read_to_string(&path) {
        Ok(text) if is_key(text.trim()) => {
            tighten(&path)?;
            return Ok(text.trim().to_owned());
        }
        Ok(_) => {
            tracing::warn!(path = %path.display(), "the hub key cannot be used and is made anew; pages need the new address");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!(path = %path.display(), "the hub key is not text and is made anew; pages need the new address");
        }
        Err(source) => return Err(state("read", path, source)),
    }
    let key = make_key()?;
    write_private(&path, format!("{key}\n").as_bytes())?;
    Ok(key)
}

fn is_key(text: &str) -> bool {
    text.len() >= SHORTEST_KEY && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn make_key() -> Result<String, LanError> {
    let mut random = [0_u8; KEY_LENGTH];
    getrandom::fill(&mut random).map_err(|source| LanError::Random { source })?;
    let letters = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)]));
    Ok(KEY_PREFIX.chars().chain(letters).collect())
}

/// HTTPS with the owner's certificate.
///
/// # Errors
/// When a file cannot be read, holds no certificate or key, or the two do not belong together.
pub fn from_files(files: &TlsFiles) -> Result<Arc<ServerConfig>, LanError> {
    let (chain, key) = (read_chain(&files.cert)?, read_key(&files.key)?);
    server_config(chain, key).map_err(|error| certificate(&files.cert, error))
}

/// Where the own certificate and its key lie, or would.
pub fn own_files(state_dir: &Path) -> TlsFiles {
    let pair = state_dir.join(PAIR_FILE);
    let [cert, key] = EARLIER.map(|name| state_dir.join(name));
    match !pair.exists() && cert.exists() {
        true => TlsFiles { cert, key },
        false => TlsFiles { cert: pair.clone(), key: pair },
    }
}

/// What to do where no good certificate is kept and a new one cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwritable {
    /// Hold the new one in memory: a door with a broken card still rings.
    Hold,
    /// Refuse: one is in use already, which browsers know.
    Refuse,
}

/// Where the certificate in use comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It was kept, and is good for long.
    Kept,
    /// It was kept and ends soon, and could not be replaced.
    Due,
    /// It is new.
    Made,
    /// It is new and in memory only.
    Held,
}

/// HTTPS with an own certificate for `names` and `addresses`: the kept one if it can still be
/// used at `now`, else a new one. One that ends soon is used on where it cannot be replaced.
///
/// New interface addresses are no reason for a new certificate: a browser that was told to trust
/// the old one would ask again, and it asks per address anyway.
///
/// # Errors
/// When the making fails, or nothing good is kept, the state directory cannot be written and that is to be refused.
pub fn own(
    state_dir: &Path,
    names: &[String],
    addresses: &[IpAddr],
    now: SystemTime,
    unwritable: Unwritable,
) -> Result<Arc<ServerConfig>, LanError> {
    settle(state_dir, names, addresses, now, unwritable).map(|(config, _)| config)
}

fn settle(
    state_dir: &Path,
    names: &[String],
    addresses: &[IpAddr],
    now: SystemTime,
    unwritable: Unwritable,
) -> Result<(Arc<ServerConfig>, Origin), LanError> {
    let files = own_files(state_dir);
    let due = match kept(&files, now) {
        Ok(Kept::Good(config)) => return Ok((config, Origin::Kept)),
        Ok(Kept::Due(config)) => Some(config),
        Err(_) if !files.cert.exists() => {
            tracing::info!(
                "making the certificate for the LAN page; browsers ask once to trust it"
            );
            None
        }
        Err(why) => {
            tracing::warn!(%why, "the kept LAN certificate is replaced; browsers ask again to trust it");
            None
        }
    };
    let pair = state_dir.join(PAIR_FILE);
    let (made, why) = match fresh(&pair, names, addresses, now) {
        Ok((config, pem)) => match write_private(&pair, &pem) {
            Ok(()) => {
                if due.is_some() {
                    tracing::warn!(
                        "the LAN certificate was about to end and is replaced; browsers ask again to trust it"
                    );
                }
                // A key that nobody uses any more.
                for name in EARLIER {
                    let _ = fs::remove_file(state_dir.join(name));
                }
                return Ok((config, Origin::Made));
            }
            Err(why) => (Some(config), why),
        },
        Err(why) => (None, why),
    };
    match (due, made, unwritable) {
        (Some(kept), ..) => {
            tracing::warn!(%why, "the LAN certificate ends within 60 days and cannot be replaced; it stays in use until then");
            Ok((kept, Origin::Due))
        }
        (None, Some(made), Unwritable::Hold) => {
            tracing::warn!(%why, "the LAN certificate cannot be kept; browsers ask again to trust it after each start");
            Ok((made, Origin::Held))
        }
        (None, ..) => Err(why),
    }
}

/// A new certificate that fits its key, and both as they go into `pair`.
fn fresh(
    pair: &Path,
    names: &[String],
    addresses: &[IpAddr],
    now: SystemTime,
) -> Result<(Arc<ServerConfig>, Vec<u8>), LanError> {
    let pem = make(names, addresses, now)
        .map_err(|error| LanError::MakeCertificate { problem: error.to_string() })?;
    let config = server_config(chain_in(pair, &pem)?, key_in(pair, &pem)?)
        .map_err(|error| certificate(pair, error))?;
    Ok((config, pem))
}

/// A certificate that is kept, fits its key and is valid.
enum Kept {
    /// For long.
    Good(Arc<ServerConfig>),
    /// Not for long.
    Due(Arc<ServerConfig>),
}

fn kept(files: &TlsFiles, now: SystemTime) -> Result<Kept, LanError> {
    let (cert, now) = (&files.cert, since_epoch(now));
    let chain = read_chain(cert)?;
    let ends = chain.first().and_then(ends_at);
    let ends = ends.ok_or_else(|| certificate(cert, "is not an X.509 certificate"))?;
    if now >= ends {
        return Err(certificate(cert, "has ended"));
    }
    // Made while the clock was years ahead. A clock that was never set says nothing.
    let begins = chain.first().and_then(begins_at).unwrap_or_default();
    if now >= EARLIEST && begins > now {
        return Err(certificate(cert, "is not valid yet"));
    }
    let key = read_key(&files.key)?;
    let config = server_config(chain, key).map_err(|error| certificate(cert, error))?;
    // A card that takes no new mode takes no new pair either.
    if let Err(why) = tighten(&files.key) {
        tracing::warn!(%why, "others may be able to read the key of the LAN certificate");
    }
    Ok(match now + RENEW_BEFORE > ends {
        true => Kept::Due(config),
        false => Kept::Good(config),
    })
}

/// When a certificate ends, since the Unix epoch.
fn ends_at(cert: &CertificateDer<'_>) -> Option<Duration> {
    let (_, parsed) = X509Certificate::from_der(cert.as_ref()).ok()?;
    let ends = parsed.validity().not_after.timestamp();
    Some(Duration::from_secs(u64::try_from(ends).ok()?))
}

/// Where a certificate stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// It begins so much later.
    NotYet(Duration),
    /// It has so much left.
    Left(Duration),
    /// It ended so long ago.
    Over(Duration),
}

/// Where this certificate, which has to fit its key, stands in its life at `now`.
///
/// # Errors
/// When a file cannot be read, holds no certificate or key, or the two do not belong together.
pub fn validity(files: &TlsFiles, now: SystemTime) -> Result<Validity, LanError> {
    let chain = read_chain(&files.cert)?;
    let first = chain.first().and_then(|first| Some((begins_at(first)?, ends_at(first)?)));
    let (begins, ends) =
        first.ok_or_else(|| certificate(&files.cert, "is not an X.509 certificate"))?;
    server_config(chain, read_key(&files.key)?).map_err(|error| certificate(&files.cert, error))?;
    let now = since_epoch(now);
    Ok(match (begins.checked_sub(now), ends.checked_sub(now)) {
        (Some(wait), _) if !wait.is_zero() => Validity::NotYet(wait),
        (_, Some(left)) if !left.is_zero() => Validity::Left(left),
        _ => Validity::Over(now.saturating_sub(ends)),
    })
}

/// When a certificate begins, since the Unix epoch.
fn begins_at(cert: &CertificateDer<'_>) -> Option<Duration> {
    let (_, parsed) = X509Certificate::from_der(cert.as_ref()).ok()?;
    let begins = parsed.validity().not_before.timestamp();
    // One that began before 1970 has begun.
    Some(Duration::from_secs(u64::try_from(begins).unwrap_or(0)))
}

/// A certificate and its key, as PEM.
fn make(names: &[String], addresses: &[IpAddr], now: SystemTime) -> Result<Vec<u8>, rcgen::Error> {
    let from = since_epoch(now).max(EARLIEST) - DAY;
    let mut wanted = vec!["localhost".to_owned()];
    wanted.extend(names.iter().cloned());
    wanted.extend(addresses.iter().map(IpAddr::to_string));
    wanted.dedup();
    let common = names.first().map_or("intercomd", String::as_str).to_owned();

    let mut params = CertificateParams::new(wanted)?;
    params.not_before = OffsetDateTime::UNIX_EPOCH + from;
    params.not_after = OffsetDateTime::UNIX_EPOCH + from + LIFE;
    params.distinguished_name.push(DnType::CommonName, common);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let cert = params.self_signed(&key)?;
    Ok((cert.pem() + &key.serialize_pem()).into_bytes())
}

fn since_epoch(now: SystemTime) -> Duration {
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, LanError> {
    chain_in(path, &fs::read(path).map_err(|error| certificate(path, error))?)
}

fn chain_in(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, LanError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(certificate(path, "holds no certificate")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(certificate(path, error)),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, LanError> {
    key_in(path, &fs::read(path).map_err(|error| certificate(path, error))?)
}

fn key_in(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, LanError> {
    // The parser's error is not shown: it may quote the key.
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| certificate(path, "holds no private key"))
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificate(path: &Path, problem: impl ToString) -> LanError {
    LanError::Certificate { path: path.to_owned(), problem: problem.to_string() }
}

fn state(action: &'static str, path: PathBuf, source: io::Error) -> LanError {
    LanError::State { action, path, source }
}

fn write_private(path: &Path, content: &[u8]) -> Result<(), LanError> {
    whole_file::write_private(path, content)
        .map_err(|source| state("write", path.to_owned(), source))
}

/// Takes everybody else's access from a file that an owner or a restored backup left open.
fn tighten(path: &Path) -> Result<(), LanError> {
    let tighten = || -> io::Result<()> {
        let mode = fs::metadata(path)?.permissions().mode();
        if mode & 0o077 == 0 {
            return Ok(());
        }
        tracing::warn!(path = %path.display(), "others could read this secret; its mode is now 0600");
        fs::set_permissions(path, Permissions::from_mode(0o600))
    };
    tighten().map_err(|source| state("protect", path.to_owned(), source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("the file is there").permissions().mode() & 0o777
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder for the test")
    }

    fn settle_at(dir: &Path, now: SystemTime, unwritable: Unwritable) -> Result<Origin, LanError> {
        let names = ["door".to_owned(), "door.local".to_owned()];
        let addresses = ["192.0.2.7".parse().expect("an address")];
        settle(dir, &names, &addresses, now, unwritable).map(|(_, origin)| origin)
    }

    fn own_at(dir: &Path, now: SystemTime) -> Vec<u8> {
        settle_at(dir, now, Unwritable::Refuse).expect("a certificate");
        fs::read(dir.join(PAIR_FILE)).expect("the certificate was kept")
    }

    /// As good as a full card, and for root too: the draft cannot be made.
    fn fill_card(dir: &Path) {
        fs::create_dir(dir.join(format!("{PAIR_FILE}.new"))).expect("a folder in the way");
    }

    /// The certificate of one pair with the key of another.
    fn crossed(cert: &[u8], key: &[u8]) -> Vec<u8> {
        const KEY: &str = "-----BEGIN PRIVATE KEY-----";
        let [cert, key] = [cert, key].map(|pem| std::str::from_utf8(pem).expect("PEM is text"));
        let (cert, _) = cert.split_once(KEY).expect("a key behind it");
        let (_, key) = key.split_once(KEY).expect("a key");
        format!("{cert}{KEY}{key}").into_bytes()
    }

    fn in_days(days: u64) -> SystemTime {
        UNIX_EPOCH + EARLIEST + Duration::from_secs(days * 86_400)
    }

    #[test]
    fn a_hub_key_is_made_once_and_is_private() {
        let dir = folder();
        let first = hub_key(dir.path()).expect("a key");
        assert!(first.starts_with("lan_") && first.len() == 36, "length {}", first.len());
        assert!(first.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        assert_eq!(mode(&dir.path().join(KEY_FILE)), 0o600);
        assert_eq!(hub_key(dir.path()).expect("the same key"), first);
        assert_ne!(hub_key(folder().path()).expect("another door's key"), first);
    }

    #[test]
    fn an_owners_own_key_is_taken_and_its_file_closed_to_others() {
        let dir = folder();
        let path = dir.path().join(KEY_FILE);
        fs::write(&path, "my-own-long-enough-key\n").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("opened to all");
        assert_eq!(hub_key(dir.path()).expect("the key"), "my-own-long-enough-key");
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn an_empty_or_broken_hub_key_is_made_anew() {
        for content in [&b""[..], b"short", b"has spaces in the middle of it", b"\xff\xfe\xff"] {
            let dir = folder();
            fs::write(dir.path().join(KEY_FILE), content).expect("written");
            assert!(hub_key(dir.path()).expect("a key").starts_with("lan_"));
        }
    }

    #[test]
    fn a_state_directory_that_cannot_be_used_is_named_in_the_error() {
        let dir = folder();
        let file = dir.path().join("file");
        fs::write(&file, "").expect("written");
        let error = hub_key(&file).expect_err("a file is no folder").to_string();
        assert!(error.contains("lan.key"), "{error}");
    }

    #[test]
    fn the_certificate_is_kept_until_it_is_about_to_expire() {
        let dir = folder();
        let first = own_at(dir.path(), in_days(0));
        assert_eq!(mode(&dir.path().join(PAIR_FILE)), 0o600);
        assert_eq!(own_at(dir.path(), in_days(700)), first);
        assert_ne!(own_at(dir.path(), in_days(800)), first);
    }

    #[test]
    fn a_certificate_or_key_that_cannot_be_read_is_replaced() {
        let dir = folder();
        let first = own_at(dir.path(), in_days(0));
        let text = std::str::from_utf8(&first).expect("PEM is text");
        let (cert, key) = text.split_at(text.find("-----BEGIN PRIVATE").expect("a key"));
        for broken in ["", "-----BEGIN NONSENSE-----", cert, key] {
            fs::write(dir.path().join(PAIR_FILE), broken).expect("written");
            let next = settle_at(dir.path(), in_days(1), Unwritable::Refuse);
            assert_eq!(next.expect("made anew"), Origin::Made, "{} bytes", broken.len());
        }
    }

    #[test]
    fn a_certificate_with_the_key_of_another_is_replaced() {
        let (dir, other) = (folder(), folder());
        let first = own_at(dir.path(), in_days(0));
        let mixed = crossed(&first, &own_at(other.path(), in_days(0)));
        fs::write(dir.path().join(PAIR_FILE), &mixed).expect("written");
        let next = own_at(dir.path(), in_days(1));
        assert!(next != mixed && next != first);
    }

    #[test]
    fn a_certificate_that_ends_soon_and_cannot_be_replaced_stays_in_use_and_stays_whole() {
        let dir = folder();
        let first = own_at(dir.path(), in_days(0));
        fill_card(dir.path());
        for unwritable in [Unwritable::Hold, Unwritable::Refuse] {
            let origin = settle_at(dir.path(), in_days(800), unwritable).expect("the old one");
            assert_eq!(origin, Origin::Due);
        }
        assert_eq!(fs::read(dir.path().join(PAIR_FILE)).expect("there"), first);
        // When the card takes something again, the new one is kept.
        fs::remove_dir(dir.path().join(format!("{PAIR_FILE}.new"))).expect("out of the way");
        assert_ne!(own_at(dir.path(), in_days(800)), first);
    }

    #[test]
    fn without_a_good_certificate_and_without_a_card_a_new_one_is_held_in_memory_at_a_start() {
        for ended in [false, true] {
            let dir = folder();
            if ended {
                own_at(dir.path(), in_days(0));
            }
            fill_card(dir.path());
            let at_start = settle_at(dir.path(), in_days(830), Unwritable::Hold);
            assert_eq!(at_start.expect("one in memory"), Origin::Held);
            // A daily look would give browsers another one each day.
            let later = settle_at(dir.path(), in_days(830), Unwritable::Refuse);
            let why = later.expect_err("nothing can be kept").to_string();
            assert!(why.contains(PAIR_FILE), "{why}");
        }
    }

    #[test]
    fn a_pair_of_two_files_is_used_on_until_it_is_due() {
        let dir = folder();
        let pair = own_at(dir.path(), in_days(0));
        for name in EARLIER {
            fs::write(dir.path().join(name), &pair).expect("written");
        }
        fs::remove_file(dir.path().join(PAIR_FILE)).expect("removed");
        let origin = settle_at(dir.path(), in_days(700), Unwritable::Refuse);
        assert_eq!(origin.expect("the two files"), Origin::Kept);
        assert_ne!(own_at(dir.path(), in_days(800)), pair);
        assert!(EARLIER.iter().all(|name| !dir.path().join(name).exists()));
    }

    #[test]
    fn a_certificate_made_before_the_clock_was_set_lasts_until_after() {
        let dir = folder();
        let first = own_at(dir.path(), UNIX_EPOCH);
        assert_eq!(own_at(dir.path(), in_days(365)), first);
    }

    #[test]
    fn an_owners_certificate_that_is_missing_is_named_in_the_error() {
        let files =
            TlsFiles { cert: "/nonexistent/cert.pem".into(), key: "/nonexistent/key".into() };
        let error = from_files(&files).expect_err("no such files").to_string();
        assert!(error.contains("/nonexistent/cert.pem"), "{error}");
    }
}
