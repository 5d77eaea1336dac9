//! What the hub makes of members that do anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| intercomd::signalling::promises::hub(text));
