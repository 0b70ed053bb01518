//! libFuzzer's way into [`corex_fuzz::json`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corex_fuzz::json(data));
