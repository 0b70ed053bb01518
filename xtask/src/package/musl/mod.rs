//! A binary that needs nothing of the system, with musl as its libc, in an archive.

mod chroot;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use corex_lab::process::output_of;

use super::{debian, notices, tree};
use crate::{compile, setup, toolchain::Toolchain, ui};

pub use chroot::test;

/// Where the static binary and what belongs to it are built.
const FOLDER: &str = "target/static";

/// The target, as in x86_64-unknown-linux-musl.
fn target() -> String {
    format!("{}-unknown-linux-musl", env::consts::ARCH)
}

/// Builds corex statically, optimised, and returns its path.
///
/// Debian has musl, but no Rust for it: the standard library is built from the source that the eBPF
/// tool chain brings, for which unstable features of cargo are what that tool chain uses as well.
///
/// # Errors
/// Tools are missing, or the build failed.
pub fn build() -> Result<PathBuf> {
    setup::ensure_tools(&setup::FOR_STATIC)?;
    let toolchain = Toolchain::find()?;
    let unwinder = setup::ensure_unwinder(&toolchain)?;
    let libraries = libraries(&unwinder)?;
    ui::step("Building corex with musl");
    let flags = [
        "-Clinker=musl-gcc".to_owned(),
        "-Clink-self-contained=no".to_owned(),
        "-Ctarget-feature=+crt-static".to_owned(),
        // musl-gcc links a program whose addresses aren't fixed with the dynamic loader.
        "-Crelocation-model=static".to_owned(),
        format!("-Lnative={}", libraries.display()),
    ];
    let mut command = toolchain.command(&toolchain.compiler.cargo);
    command
        .args([
            "build",
            "--locked",
            "--package",
            "corex-user",
            "--bin",
            "corex",
        ])
        .args(["--release", "-Zbuild-std=std,panic_unwind"])
        .args(["--target", &target(), "--target-dir", FOLDER])
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // LuaJIT's build links a program, too, by what the compiler has for glibc.
        .env(
            "TARGET_LD",
            format!("musl-gcc -static -B{}/", libraries.display()),
        )
        .current_dir(compile::workspace());
    compile::build_by(command, "corex")
}

/// A folder with the library that unwinds the stack, complete for musl.
fn libraries(unwinder: &Path) -> Result<PathBuf> {
    let folder = compile::workspace().join(FOLDER).join("libraries");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let (source, object) = (folder.join("fortify.c"), folder.join("fortify.o"));
    fs::write(&source, include_str!("fortify.c")).context("write fortify.c")?;
    output_of(
        Command::new("musl-gcc")
            .args(["-O2", "-fPIC", "-Wall", "-Werror", "-c"])
            .arg(&source)
            .arg("-o")
            .arg(&object),
    )?;
    let library = folder.join("libunwind.a");
    fs::copy(unwinder, &library).with_context(|| format!("copy {}", unwinder.display()))?;
    output_of(Command::new("ar").arg("r").arg(&library).arg(&object))?;
    // The compiler's own has the same functions, made for glibc alone, and is linked by this name.
    fs::copy(&library, folder.join("libgcc_eh.a")).context("copy libunwind.a")?;
    Ok(folder)
}

/// Makes the archive; returns its path.
///
/// # Errors
/// Files can't be written, or a licence is missing.
pub fn archive(corex: &Path, version: &str) -> Result<PathBuf> {
    let name = format!("corex-{version}-{}-linux-musl", env::consts::ARCH);
    let packages = compile::workspace().join("target/package");
    let folder = packages.join(&name);
    debian::remove(&folder)?;
    tree::archive(&folder, corex)?;
    let mut text = notices::document(&notices::of_what_is_linked(&target())?);
    let unwinder = setup::unwinder_package(&Toolchain::find()?)?;
    for package in ["musl", &unwinder] {
        text += &format!("\n{}\n{}\n", "-".repeat(72), notices::of_debian(package)?);
    }
    fs::write(folder.join("NOTICES"), text).context("write NOTICES")?;
    let archive = packages.join(format!("{name}.tar.gz"));
    output_of(
        Command::new("tar")
            // The same source makes the same archive.
            .args([
                "--create",
                "--sort=name",
                "--owner=0",
                "--group=0",
                "--numeric-owner",
            ])
            .arg(format!("--mtime={}", tree::day()?))
            .args(["--use-compress-program=gzip --no-name", "--file"])
            .arg(&archive)
            .arg("--directory")
            .arg(&packages)
            .arg(&name),
    )?;
    debian::remove(&folder)?;
    Ok(archive)
}
