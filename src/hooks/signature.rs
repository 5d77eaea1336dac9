//! The signature of a delivery: it tells the receiver who sent it, and when.
//!
//! Pure.

use std::fmt::Write;

use ring::hmac;

/// `v1=` and HMAC-SHA-256 of the timestamp, a dot and the body, as lower-case hex.
pub(super) fn sign(secret: &str, timestamp: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{timestamp}.").as_bytes());
    context.update(body);
    let mut text = "v1=".to_owned();
    for byte in context.sign().as_ref() {
        write!(text, "{byte:02x}").expect("a text takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_other_programs_come_to() {
        // printf '1795690000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef
        let expected = "v1=30798af6651ebb6f27102c7ca9938b62a62eec00492df39981ec2c824b43db5f";
        assert_eq!(sign("0123456789abcdef", 1_795_690_000, br#"{"a":1}"#), expected);
    }
}
