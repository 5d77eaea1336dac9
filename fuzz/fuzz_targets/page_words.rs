//! What a page says in the door protocol, and its WebRTC signals.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| intercomd::signalling::promises::page_words(text));
