//! libFuzzer's way into [`corex_fuzz::lua_pattern`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corex_fuzz::lua_pattern(data));
