//! libFuzzer's way into [`corex_fuzz::device`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corex_fuzz::device(data));
