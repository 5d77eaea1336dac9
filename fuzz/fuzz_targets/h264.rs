//! The byte stream of an encoder.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| intercomd::media::promises::h264(bytes));
