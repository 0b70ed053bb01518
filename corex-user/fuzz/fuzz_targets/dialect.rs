//! libFuzzer's way into [`corex_fuzz::dialect`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corex_fuzz::dialect(data));
