//! An address of a STUN or TURN server.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| intercomd::rtc::promises::server_url(text));
