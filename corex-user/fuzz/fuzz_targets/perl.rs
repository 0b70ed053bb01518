//! libFuzzer's way into [`corex_fuzz::perl`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corex_fuzz::perl(data));
