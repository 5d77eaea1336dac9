//! What this room promises of any line on the control socket: a request, or a refusal of one short line. Each promise
//! takes any bytes and breaks off when it is not kept.
//!
//! Built for tests and for the fuzz targets only (docs/fuzzing.md), which share them.

use super::control::{MAX_REQUEST, line, parse_request};

/// A line is a request that can be written and read again, or is refused by one line.
pub fn request(bytes: &[u8]) {
    match parse_request(bytes) {
        Ok(request) => {
            let again = line(&request);
            assert_eq!(parse_request(again.trim_end().as_bytes()).ok(), Some(request));
        }
        Err(reply) => {
            let refusal = line(&reply);
            assert!(!reply.ok && reply.error.is_some() && reply.fix.is_some());
            assert_eq!(refusal.matches('\n').count(), 1);
            // An unknown word is repeated, and a character of it may take six in JSON.
            assert!(
                refusal.len() <= 6 * bytes.len().min(MAX_REQUEST) + 1024
                    || bytes.len() > MAX_REQUEST
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_line_is_a_request_or_a_refusal(
            text in "\\{\"do\":\"(press|hangup|unlock|status|log|add_person|watch|\\PC{0,6})\"(,\"(for_ms|count|name|x)\":(-?[0-9]{1,21}|null|\"\\PC{0,8}\")){0,3}\\}|\\PC{0,60}",
        ) {
            request(text.as_bytes());
        }

        #[test]
        fn any_bytes_are_a_request_or_a_refusal(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            request(&bytes);
        }
    }
}
