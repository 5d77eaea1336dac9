//! A frame of the signalling side, and what a peer sends in it.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| intercomd::signalling::promises::service_frame(text));
