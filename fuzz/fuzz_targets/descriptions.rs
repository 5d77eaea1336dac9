//! An SDP description, as far as the daemon reads and changes it itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| intercomd::rtc::promises::description(text));
