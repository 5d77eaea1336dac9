//! What this room promises of any file that lies in its place: read whole or not at all, and what was read can be
//! written and read again. Each promise takes any bytes and breaks off when it is not kept.
//!
//! Built for tests and for the fuzz targets only (docs/fuzzing.md), which share them.

use super::{call_log, persons};

/// A file of persons.
pub fn persons(bytes: &[u8]) {
    if let Some(known) = persons::read(bytes) {
        assert_eq!(persons::read(&persons::write(known.clone())), Some(known));
    }
}

/// A file of calls. No name of a call leads to a picture outside the folder.
pub fn calls(bytes: &[u8]) {
    let Some(calls) = call_log::read(bytes) else { return };
    let folder = std::path::Path::new("/state");
    for call in &calls {
        let picture = call_log::picture_path(folder, &call.call);
        assert_eq!(picture.parent(), Some(folder.join(call_log::PICTURES).as_path()));
        let _ = call.line();
    }
    let written = call_log::write(calls.clone()).expect("calls can be written");
    assert_eq!(call_log::read(&written), Some(calls));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bent(whole: &'static str) -> impl Strategy<Value = Vec<u8>> {
        let place = any::<prop::sample::Index>();
        (place, "[\\PC\"{}\\[\\],:0-9]{0,4}", 0..6_usize).prop_map(move |(at, with, cut)| {
            let mut text = whole.as_bytes().to_vec();
            let start = at.index(text.len());
            text.splice(start..(start + cut).min(whole.len()), with.bytes());
            text
        })
    }

    const PERSONS: &str = r#"{"version":1,"persons":[{"name":"Anna","stored_key":"0101010101010101010101010101010101010101010101010101010101010101","added":1795690000}]}"#;
    const CALLS: &str = r#"{"version":1,"calls":[{"call":"c-1","at":1795690000,"outcome":"hung-up","rings":2,"ringing_at":1,"answered_by":["Anna"],"answered_after_ms":7000,"talk_s":20,"opened_by":[],"refused":0,"first_picture_ms":null,"picture":true}]}"#;

    #[test]
    fn the_files_of_these_tests_are_whole_before_they_are_bent() {
        assert_eq!(persons::read(PERSONS.as_bytes()).map(|known| known.len()), Some(1));
        assert_eq!(call_log::read(CALLS.as_bytes()).map(|calls| calls.len()), Some(1));
    }

    proptest! {
        #[test]
        fn a_bent_file_of_persons_is_read_whole_or_not_at_all(bytes in bent(PERSONS)) {
            persons(&bytes);
        }

        #[test]
        fn a_bent_file_of_calls_is_read_whole_or_not_at_all(bytes in bent(CALLS)) {
            calls(&bytes);
        }

        #[test]
        fn any_bytes_at_all_are_read_or_not(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            persons(&bytes);
            calls(&bytes);
        }
    }
}
