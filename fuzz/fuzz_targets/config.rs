//! A configuration.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    // A configuration may name files, and those of this machine are not to be read: only relative ones, which
    // lead nowhere.
    if !text.contains("\"/") && !text.contains("'/") && !text.contains('\\') {
        intercomd::config::promises::config(text);
    }
});
