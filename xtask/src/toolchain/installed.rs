//! Compilers and linkers that are installed here.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Oldest compiler that the workspace's `rust-version` admits.
const MINIMUM_RUSTC: (u32, u32) = (1, 88);

/// A compiler for the eBPF target with the source of `core`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// The cargo that belongs to `rustc`.
    pub cargo: PathBuf,
    /// The compiler itself, not rustup's proxy.
    pub rustc: PathBuf,
    /// Whether unstable features need `RUSTC_BOOTSTRAP=1` (a stable compiler).
    pub bootstrap: bool,
}

impl Compiler {
    /// Major version of the LLVM in it, which bpf-linker must share.
    pub fn llvm(&self) -> Option<u32> {
        let text = answer(&self.rustc, &["--version", "--verbose"])?;
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix("LLVM version: "))?;
        version.split('.').next()?.parse().ok()
    }
}

/// Where `cargo install` puts programs.
fn cargo_bin() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))?;
    Some(home.join("bin"))
}

/// The first program of that name in PATH.
fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

/// Compilers with the source of `core`, the preferred one first.
pub fn compilers() -> Vec<Compiler> {
    let mut found = rustup_nightlies();
    found.extend(debian());
    found
}

/// Whether Debian's compiler is there, with the source of `core`.
pub fn has_debian() -> bool {
    debian().is_some()
}

fn debian() -> Option<Compiler> {
    let compiler = Compiler {
        cargo: PathBuf::from("/usr/bin/cargo"),
        rustc: PathBuf::from("/usr/bin/rustc"),
        bootstrap: true,
    };
    let complete = compiler.cargo.is_file()
        && new_enough(&compiler.rustc)
        && sysroot(&compiler.rustc).is_some_and(|sysroot| has_source(&sysroot));
    complete.then_some(compiler)
}

/// Nightlies are found by their directories: asking rustup could make it download one.
fn rustup_nightlies() -> Vec<Compiler> {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".rustup")));
    let Some(entries) = home.and_then(|h| std::fs::read_dir(h.join("toolchains")).ok()) else {
        return Vec::new();
    };
    let mut sysroots: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("nightly"))
        })
        .filter(|path| has_source(path))
        .collect();
    // `nightly-x86_64-…` before `nightly-2026-…`, newer dates before older ones.
    sysroots.sort();
    sysroots.reverse();
    sysroots
        .into_iter()
        .map(|sysroot| Compiler {
            cargo: sysroot.join("bin/cargo"),
            rustc: sysroot.join("bin/rustc"),
            bootstrap: false,
        })
        .filter(|compiler| compiler.cargo.is_file() && compiler.rustc.is_file())
        .collect()
}

fn has_source(sysroot: &Path) -> bool {
    sysroot
        .join("lib/rustlib/src/rust/library/core/src/lib.rs")
        .is_file()
}

fn sysroot(rustc: &Path) -> Option<PathBuf> {
    Some(PathBuf::from(answer(rustc, &["--print", "sysroot"])?))
}

/// Whether `rustc --version` answers with [`MINIMUM_RUSTC`] or newer.
fn new_enough(rustc: &Path) -> bool {
    let Some(text) = answer(rustc, &["--version"]) else {
        return false;
    };
    let mut numbers = text
        .split_whitespace()
        .nth(1)
        .unwrap_or_default()
        .split('.')
        .filter_map(|part| part.parse::<u32>().ok());
    matches!(
        (numbers.next(), numbers.next()),
        (Some(major), Some(minor)) if (major, minor) >= MINIMUM_RUSTC
    )
}

fn answer(program: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("LD_LIBRARY_PATH");
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// bpf-linkers, the one of `cargo install` first.
pub fn linkers() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = cargo_bin()
        .map(|directory| directory.join("bpf-linker"))
        .into_iter()
        .filter(|candidate| candidate.is_file())
        .chain(in_path("bpf-linker"))
        .collect();
    found.dedup();
    found
}
