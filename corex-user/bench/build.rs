//! Passes on where corex-user's build script put the benchmark's eBPF programs.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    // From `links` and `cargo::metadata` of corex-user.
    let Some(object) = env::var_os("DEP_COREX_EBPF_BENCH_OBJECT") else {
        eprintln!("corex-user's build script doesn't say where the benchmark's programs are");
        return ExitCode::FAILURE;
    };
    println!("cargo::rustc-env=BENCH_OBJECT={}", object.display());
    ExitCode::SUCCESS
}
