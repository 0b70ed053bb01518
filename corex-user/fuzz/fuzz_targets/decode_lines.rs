//! libFuzzer's way into [`corex_fuzz::decode_lines`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corex_fuzz::decode_lines(data));
