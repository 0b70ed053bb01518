//! The tool chain for the eBPF object: finds it, and makes the command that builds with it.
//!
//! Included by `corex-user/build.rs` as well, hence only `std`. Two compilers will do:
//! rustup's nightly with rust-src, and Debian's rustc-web, whose unstable features
//! `RUSTC_BOOTSTRAP=1` opens. Beside one of them it takes a `bpf-linker` built for the same
//! LLVM, which [`Toolchain::find`] tries rather than guesses from version numbers.

// The build script and xtask each use a part of it.
#![allow(dead_code)]

pub mod installed;

use std::{
    env,
    ffi::OsString,
    fmt,
    io::Write as _,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
};

use installed::{Compiler, compilers, linkers};

/// The target that the object is compiled for.
pub const TARGET: &str = "bpfel-unknown-none";

/// An empty crate, enough to see whether compiler and linker understand each other.
const PROBE: &str = "#![feature(no_core)]\n#![no_core]\n#![no_main]\n";

/// A compiler for the eBPF target with the source of `core`, and a linker that works with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// Makes the programs.
    pub compiler: Compiler,
    /// Links them.
    pub bpf_linker: PathBuf,
}

/// What keeps the object from being built. Displayed as one sentence with the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No compiler with the source of `core`.
    Compiler,
    /// A compiler, but no bpf-linker.
    Linker,
    /// Both, but the linker can't link what the compiler makes.
    Mismatch {
        /// The compiler tried last.
        rustc: PathBuf,
        /// The linker tried last.
        bpf_linker: PathBuf,
        /// The first line of the error.
        reason: String,
    },
}

impl Missing {
    /// What is wrong, without the remedy.
    pub fn reason(&self) -> String {
        const WHAT: &str = "the eBPF programs can't be built";
        match self {
            Self::Compiler => format!(
                "{WHAT}: a compiler for {TARGET} with the source of core is missing (Debian's \
                 rustc-web, cargo-web and rust-web-src, or rustup's nightly with rust-src)"
            ),
            Self::Linker => format!("{WHAT}: bpf-linker is missing"),
            Self::Mismatch {
                rustc,
                bpf_linker,
                reason,
            } => format!(
                "{WHAT}: {} can't link what {} compiles ({reason})",
                bpf_linker.display(),
                rustc.display(),
            ),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; run `cargo xtask setup`, which installs it",
            self.reason()
        )
    }
}

impl std::error::Error for Missing {}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} and {}",
            self.compiler.rustc.display(),
            self.bpf_linker.display()
        )
    }
}

impl Toolchain {
    /// Finds a compiler and a linker that work together.
    ///
    /// # Errors
    /// What is missing.
    pub fn find() -> Result<Self, Missing> {
        let compilers = compilers();
        let linkers = linkers();
        if compilers.is_empty() {
            return Err(Missing::Compiler);
        }
        let mut missing = Missing::Linker;
        for compiler in compilers {
            for bpf_linker in &linkers {
                let toolchain = Self {
                    compiler: compiler.clone(),
                    bpf_linker: bpf_linker.clone(),
                };
                match toolchain.probe() {
                    Ok(()) => return Ok(toolchain),
                    Err(reason) => {
                        missing = Missing::Mismatch {
                            rustc: compiler.rustc.clone(),
                            bpf_linker: bpf_linker.clone(),
                            reason,
                        }
                    }
                }
            }
        }
        Err(missing)
    }

    /// Builds all programs of package corex-ebpf, in the workspace at `workspace`, into
    /// `target_dir`, and returns their paths. `target_dir` must not be the one of an outer cargo,
    /// which holds its lock. What the compiler says goes to stderr as it is.
    ///
    /// # Errors
    /// One sentence, after what the compiler said.
    pub fn build(&self, workspace: &Path, target_dir: &Path) -> Result<Vec<PathBuf>, String> {
        let mut flags = OsString::from("-Cdebuginfo=2\x1f-Clink-arg=--btf\x1f-Clinker=");
        flags.push(&self.bpf_linker);
        flags.push(format!("\x1f--cfg=bpf_target_arch=\"{}\"", host_arch()));

        let built = self
            .command(&self.compiler.cargo)
            .current_dir(workspace)
            .args(["build", "--quiet", "--package", "corex-ebpf", "--bins"])
            .args(["--release", "-Z", "build-std=core", "--target", TARGET])
            .arg("--message-format=json-render-diagnostics")
            .arg("--target-dir")
            .arg(target_dir)
            .env("CARGO_ENCODED_RUSTFLAGS", flags)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("{} can't be run: {error}", self.compiler.cargo.display()))?;
        if !built.status.success() {
            return Err(format!("the eBPF programs did not build with {self}"));
        }
        Ok(executables(&String::from_utf8_lossy(&built.stdout)))
    }

    /// A command in the environment of this tool chain, without what an outer cargo or
    /// rustup put there for themselves.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(set_by_outer_cargo) {
                command.env_remove(name);
            }
        }
        let directories = self
            .compiler
            .rustc
            .parent()
            .map(Path::to_path_buf)
            .into_iter();
        let path = env::var_os("PATH").unwrap_or_default();
        if let Ok(path) = env::join_paths(directories.chain(env::split_paths(&path))) {
            command.env("PATH", path);
        }
        command.env("RUSTC", &self.compiler.rustc);
        if self.compiler.bootstrap {
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }

    /// Compiles and links an empty crate; the error is the first line that says why not.
    fn probe(&self) -> Result<(), String> {
        let output = env::temp_dir().join(format!("corex-toolchain-{}.o", process::id()));
        let result = self.probe_into(&output);
        // Absent when the probe failed.
        let _ = std::fs::remove_file(&output);
        result
    }

    fn probe_into(&self, output: &Path) -> Result<(), String> {
        let mut linker = OsString::from("-Clinker=");
        linker.push(&self.bpf_linker);
        let mut child = self
            .command(&self.compiler.rustc)
            .args(["--crate-name", "probe", "--crate-type", "bin"])
            .args(["--target", TARGET, "-Cpanic=abort", "-Clink-arg=--btf"])
            .arg(linker)
            .arg("-o")
            .arg(output)
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        if let Some(mut stdin) = child.stdin.take() {
            // A compiler that doesn't read says why on stderr.
            let _ = stdin.write_all(PROBE.as_bytes());
        }
        let done = child
            .wait_with_output()
            .map_err(|error| error.to_string())?;
        if done.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&done.stderr);
        let reason = text
            .lines()
            .map(str::trim)
            .find(|line| line.contains("error"))
            .or_else(|| text.lines().next());
        Err(reason.unwrap_or("no reason given").to_owned())
    }
}

/// The executables that cargo's messages (`--message-format=json…`, one object a line) name.
pub fn executables(messages: &str) -> Vec<PathBuf> {
    messages
        .lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once("\"executable\":\"")?;
            let (path, _) = rest.split_once('"')?;
            Some(PathBuf::from(path))
        })
        .collect()
}

/// The architecture whose registers and calling convention the programs may ask for.
fn host_arch() -> String {
    env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_else(|_| env::consts::ARCH.to_owned())
}

/// Whether an environment variable comes from an outer cargo, its compiler wrapper or
/// rustup, rather than from the user. How cargo reaches the network stays.
fn set_by_outer_cargo(name: &str) -> bool {
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_HTTPS_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    const OTHERS: [&str; 20] = [
        "CARGO",
        "DEBUG",
        "HOST",
        "LD_LIBRARY_PATH",
        "MAKEFLAGS",
        "MFLAGS",
        "NUM_JOBS",
        "OPT_LEVEL",
        "OUT_DIR",
        "PROFILE",
        "RUSTC",
        "RUSTC_BOOTSTRAP",
        "RUSTC_LINKER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTDOC",
        "RUSTDOCFLAGS",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "TARGET",
    ];
    OTHERS.contains(&name)
        || (name.starts_with("CARGO_") && !KEPT.iter().any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_taken_from_artifact_messages_only() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","filenames":["/t/liba.rlib"],"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","executable":"/t/corex-ebpf","fresh":true}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executables(messages), [PathBuf::from("/t/corex-ebpf")]);
    }

    #[test]
    fn what_the_user_says_about_the_network_reaches_the_inner_cargo() {
        for name in [
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_X_INDEX",
        ] {
            assert!(!set_by_outer_cargo(name), "{name}");
        }
    }

    #[test]
    fn what_the_outer_cargo_says_to_its_build_scripts_does_not() {
        for name in [
            "CARGO",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_MANIFEST_DIR",
            "CARGO_TARGET_DIR",
            "RUSTC_WRAPPER",
            "RUSTUP_TOOLCHAIN",
        ] {
            assert!(set_by_outer_cargo(name), "{name}");
        }
    }

    #[test]
    fn every_lack_names_the_remedy_in_one_line() {
        let mismatch = Missing::Mismatch {
            rustc: "/usr/bin/rustc".into(),
            bpf_linker: "/opt/bpf-linker".into(),
            reason: "error: unknown attribute".into(),
        };
        for missing in [Missing::Compiler, Missing::Linker, mismatch] {
            let text = missing.to_string();
            assert!(text.contains("run `cargo xtask setup`"), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }

    #[test]
    fn a_stable_compiler_is_named_and_its_unstable_features_are_opened() {
        let toolchain = Toolchain {
            compiler: Compiler {
                cargo: "/usr/bin/cargo".into(),
                rustc: "/usr/bin/rustc".into(),
                bootstrap: true,
            },
            bpf_linker: "/opt/bpf-linker".into(),
        };
        let command = toolchain.command(&toolchain.compiler.cargo);
        let value = |name: &str| {
            command
                .get_envs()
                .find(|(key, _)| *key == name)
                .and_then(|(_, value)| value)
                .map(|value| value.to_string_lossy().into_owned())
        };
        assert_eq!(value("RUSTC").as_deref(), Some("/usr/bin/rustc"));
        assert_eq!(value("RUSTC_BOOTSTRAP").as_deref(), Some("1"));
    }
}
