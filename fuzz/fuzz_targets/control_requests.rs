//! A line on the control socket.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| intercomd::service::promises::request(bytes));
