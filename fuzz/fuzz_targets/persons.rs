//! A file of persons.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| intercomd::memory::promises::persons(bytes));
