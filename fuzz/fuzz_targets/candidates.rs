//! One candidate.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| intercomd::rtc::promises::candidate(text));
