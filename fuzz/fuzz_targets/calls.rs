//! A file of calls.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| intercomd::memory::promises::calls(bytes));
