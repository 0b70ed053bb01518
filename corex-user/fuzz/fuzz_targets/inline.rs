//! libFuzzer's way into [`corex_fuzz::inline`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corex_fuzz::inline(data));
