//! libFuzzer's way into [`corex_fuzz::chain_text`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corex_fuzz::chain_text(data));
