//! A byte stream of a TURN server.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| intercomd::rtc::promises::turn_stream(bytes));
