//! libFuzzer's way into [`corex_fuzz::netlink`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corex_fuzz::netlink(data));
