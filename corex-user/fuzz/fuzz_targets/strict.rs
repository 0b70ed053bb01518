//! libFuzzer's way into [`corex_fuzz::strict`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corex_fuzz::strict(data));
