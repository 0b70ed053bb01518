//! Builds the eBPF programs from source; `kernel::object` embeds those of corex, the package
//! corex-bench those of the benchmark.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

// Shared with `cargo xtask setup`, so that both mean the same by "the tool chain is there".
#[path = "../xtask/src/toolchain/mod.rs"]
mod toolchain;

/// What the object is made of, relative to the workspace.
const SOURCES: [&str; 6] = [
    "Cargo.toml",
    "corex-common/Cargo.toml",
    "corex-common/src",
    "corex-ebpf/Cargo.toml",
    "corex-ebpf/src",
    "xtask/src/toolchain",
];

/// What only the benchmark loads.
const BENCH: &str = "corex-ebpf-bench";

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("{sentence}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let workspace = variable("CARGO_MANIFEST_DIR")?
        .parent()
        .map(Path::to_path_buf)
        .ok_or("corex-user is not inside its workspace")?;
    for source in SOURCES {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(source).display()
        );
    }
    let tools = toolchain::Toolchain::find().map_err(|missing| missing.to_string())?;
    // One directory for all profiles of user space: the object is always built for release.
    let built = tools.build(&workspace, &workspace.join("target/ebpf"))?;
    if built.is_empty() {
        return Err("the build of corex-ebpf gave no program".to_owned());
    }
    let out_dir = variable("OUT_DIR")?;
    for object in built {
        let name = object.file_name().ok_or("an eBPF program without a name")?;
        let copy = out_dir.join(name);
        fs::copy(&object, &copy)
            .map_err(|error| format!("{} could not be copied: {error}", object.display()))?;
        if name == BENCH {
            // corex-bench's build script reads it.
            println!("cargo::metadata=BENCH_OBJECT={}", copy.display());
        }
    }
    Ok(())
}

/// A variable that cargo sets for build scripts.
fn variable(name: &str) -> Result<PathBuf, String> {
    env::var_os(name)
        .map(PathBuf::from)
        .ok_or_else(|| format!("{name} is not set: this is a build script, run by cargo"))
}
