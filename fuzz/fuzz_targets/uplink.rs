//! What the machine of an uplink makes of a service that does anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| intercomd::signalling::promises::uplink(text));
