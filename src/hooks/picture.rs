//! Reads a picture that is to be sent.

use std::path::Path;

use bytes::Bytes;
use tokio::io::AsyncReadExt;

use super::error::HookError;

/// Largest picture that is sent, in bytes.
pub(super) const LARGEST: u64 = 1024 * 1024;
/// How a JPEG begins.
const JPEG: &[u8] = &[0xff, 0xd8, 0xff];

/// The picture, if it is one and not too large.
pub(super) async fn read(path: &Path) -> Result<Bytes, HookError> {
    let bad = |why: String| HookError::NoPicture { path: path.to_owned(), why };
    let file = tokio::fs::File::open(path).await.map_err(|error| bad(error.to_string()))?;
    let mut bytes = Vec::new();
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes).await;
    read.map_err(|error| bad(error.to_string()))?;
    if bytes.len() as u64 > LARGEST {
        return Err(bad(format!("it is larger than {LARGEST} bytes")));
    }
    if !bytes.starts_with(JPEG) {
        return Err(bad("it is no JPEG".to_owned()));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_jpeg_of_a_fair_size_is_sent() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.jpg");
        let mut jpeg = JPEG.to_vec();
        std::fs::write(&path, &jpeg).expect("it can be written");
        assert_eq!(read(&path).await, Ok(Bytes::from_static(JPEG)));
        jpeg.resize(LARGEST as usize + 1, 0);
        std::fs::write(&path, &jpeg).expect("it can be written");
        let error = read(&path).await.expect_err("it is too large").to_string();
        assert!(error.contains("larger") && error.contains("x.jpg"), "{error}");
        std::fs::write(&path, "pk_live_test").expect("it can be written");
        let error = read(&path).await.expect_err("it is something else").to_string();
        assert!(error.contains("no JPEG"), "{error}");
    }
}
