//! `cargo xtask setup`: what building and testing need.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use corex_lab::process::{output_of, which};

use crate::{
    apt,
    toolchain::{Missing, Toolchain, installed},
    ui::{self, Style},
};

/// The release of bpf-linker that is installed when there is none.
const BPF_LINKER: &str = "0.13.0";

/// Debian's compiler with the source of `core`, recent enough also in Debian 12.
const DEBIAN_COMPILER: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// A program that the build, the demonstration or the tests run.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// `None`: what the package brings is no program in PATH.
    command: Option<&'static str>,
    package: &'static str,
    purpose: &'static str,
}

const fn tool(command: &'static str, package: &'static str, purpose: &'static str) -> Tool {
    Tool {
        command: Some(command),
        package,
        purpose,
    }
}

const fn files(package: &'static str, purpose: &'static str) -> Tool {
    Tool {
        command: None,
        package,
        purpose,
    }
}

impl Tool {
    fn is_there(&self) -> bool {
        match self.command {
            Some(command) => which(command).is_some(),
            None => apt::not_installed(&[self.package]).is_empty(),
        }
    }
}

/// What building takes beside Rust and the eBPF tool chain.
const FOR_BUILD: [Tool; 2] = [
    tool("cc", "gcc", "LuaJIT, which is written in C"),
    tool("make", "make", "LuaJIT's build"),
];

const IP: Tool = tool("ip", "iproute2", "namespaces and cables");
const SIPP: Tool = tool("sipp", "sip-tester", "SIP calls");

/// What the demonstration needs.
pub const FOR_DEMO: [Tool; 2] = [IP, SIPP];

const KAMAILIO: Tool = tool(
    "kamailio",
    "kamailio",
    "the SIP server to stand in front of",
);
const BARESIP: Tool = tool("baresip", "baresip-core", "a phone");
const NFT: Tool = tool("nft", "nftables", "a firewall, and packets led elsewhere");
const TSHARK: Tool = tool("tshark", "tshark", "an independent look at packets");

/// What the demonstration of inline mode needs.
pub const FOR_INLINE_DEMO: [Tool; 5] = [IP, SIPP, KAMAILIO, BARESIP, TSHARK];

/// What the demonstration of keys that phones bring needs.
pub const FOR_SECURE_DEMO: [Tool; 6] = [IP, SIPP, KAMAILIO, BARESIP, TSHARK, NFT];

/// What the benchmark needs.
pub const FOR_BENCH: [Tool; 9] = [
    IP,
    tool("taskset", "util-linux", "a CPU for each side"),
    tool("chrt", "util-linux", "priority for what receives"),
    tool("ethtool", "ethtool", "offloads of interfaces"),
    tool("bpftool", "bpftool", "packets for a program alone"),
    tool("kamailio", "kamailio", "the SIP server to compare with"),
    files(
        "kamailio-perl-modules",
        "Kamailio's app_perl, to compare with",
    ),
    files(
        "kamailio-lua-modules",
        "Kamailio's app_lua, to compare with",
    ),
    tool("perl", "perl", "scripts in Perl"),
];

/// What counting instructions needs.
pub const FOR_INSTRUCTIONS: [Tool; 3] = [
    IP,
    tool("ethtool", "ethtool", "offloads of interfaces"),
    tool("valgrind", "valgrind", "counted instructions"),
];

/// What fuzzing needs.
pub const FOR_FUZZ: [Tool; 1] = [tool("c++", "g++", "libFuzzer, which is written in C++")];

/// What the soak test needs.
pub const FOR_SOAK: [Tool; 6] = [
    IP,
    SIPP,
    tool("ethtool", "ethtool", "offloads of interfaces"),
    tool("kamcmd", "kamailio", "Kamailio's control program"),
    tool("perl", "perl", "scripts in Perl"),
    tool("tmux", "tmux", "a terminal for `corex top`"),
];

/// What making a Debian package needs.
pub const FOR_PACKAGE: [Tool; 3] = [
    tool("dh", "debhelper", "the package's parts"),
    tool("dpkg-buildpackage", "dpkg-dev", "the package"),
    tool("lintian", "lintian", "what Debian thinks of it"),
];

/// What trying the package needs.
pub const FOR_PACKAGE_TEST: [Tool; 3] = [
    IP,
    tool("debootstrap", "debootstrap", "a fresh Debian"),
    tool(
        "systemd-nspawn",
        "systemd-container",
        "a fresh Debian that boots",
    ),
];

/// What trying a static binary needs.
pub const FOR_STATIC_TEST: [Tool; 1] = [IP];

/// What a static binary needs, beside the [unwinder](ensure_unwinder).
pub const FOR_STATIC: [Tool; 2] = [
    tool("musl-gcc", "musl-tools", "a libc that is linked statically"),
    tool("ar", "binutils", "libraries for it"),
];

/// What guests with other kernels need.
pub const FOR_KERNELS: [Tool; 7] = [
    tool(
        "qemu-system-x86_64",
        "qemu-system-x86",
        "machines with other kernels",
    ),
    tool("busybox", "busybox-static", "what starts them"),
    tool("cpio", "cpio", "what they start from"),
    tool("modprobe", "kmod", "their modules"),
    tool("xz", "xz-utils", "their modules"),
    ZSTD,
    files("debian-archive-keyring", "the kernels' signatures"),
];

/// What the unit tests talk to.
pub const FOR_UNIT_TESTS: [Tool; 8] = [
    tool("perl", "perl", "scripts in Perl"),
    tool("kamcmd", "kamailio", "Kamailio's control program"),
    tool("kamcli", "kamcli", "Kamailio's client of JSON-RPC"),
    tool("curl", "curl", "a client of HTTP"),
    ZSTD,
    OPENSSL,
    PYTHON,
    CRYPTOGRAPHY,
];

const ZSTD: Tool = tool("zstd", "zstd", "zstd, to compare with");
const OPENSSL: Tool = tool("openssl", "openssl", "key derivation, to compare with");
const PYTHON: Tool = tool("python3", "python3", "zlib and base64, to compare with");
const CRYPTOGRAPHY: Tool = files("python3-cryptography", "ciphers, to compare with");

const CROWDSEC: &str = "crowdsec";
/// With something in this file, its package doesn't register this machine at CrowdSec's central API
/// (README.Debian).
const CROWDSEC_CREDENTIALS: &str = "/etc/crowdsec/online_api_credentials.yaml";

/// What all tests together need.
pub const PEERS: [Tool; 31] = [
    IP,
    SIPP,
    tool("sipsak", "sipsak", "single SIP messages"),
    tool("turnutils_natdiscovery", "coturn", "a STUN client"),
    tool("svmap", "sipvicious", "a scanner of SIP"),
    tool("kamailio", "kamailio", "the SIP server to compare with"),
    tool("kamcmd", "kamailio", "its control program"),
    files(
        "kamailio-perl-modules",
        "Kamailio's app_perl, to compare with",
    ),
    files(
        "kamailio-lua-modules",
        "Kamailio's app_lua, to compare with",
    ),
    files(
        "kamailio-sqlite-modules",
        "a database for Kamailio's sipcapture, a collector of HEP",
    ),
    tool("sqlite3", "sqlite3", "what that collector has got"),
    tool("perl", "perl", "scripts in Perl"),
    tool("kamcli", "kamcli", "Kamailio's client of JSON-RPC"),
    tool("curl", "curl", "a client of HTTP"),
    tool("promtool", "prometheus", "an independent look at metrics"),
    tool(
        "fail2ban-regex",
        "fail2ban",
        "who reads what the guard says in the log",
    ),
    tool("crowdsec", CROWDSEC, "who reads it, too"),
    tool(
        "redis-server",
        "redis-server",
        "a keystore that instances share",
    ),
    tool("memcached", "memcached", "another one"),
    tool(
        "openssl",
        "openssl",
        "certificates for a keystore within TLS",
    ),
    files("libcryptx-perl", "encryption in an example's Perl"),
    ZSTD,
    OPENSSL,
    PYTHON,
    CRYPTOGRAPHY,
    TSHARK,
    BARESIP,
    tool("bpftool", "bpftool", "an independent look at eBPF maps"),
    tool("ethtool", "ethtool", "offloads of interfaces"),
    NFT,
    tool("tmux", "tmux", "a terminal for `corex top`"),
];

/// What the benchmark of the guard needs beside it.
pub const FOR_GUARD_BENCH: [Tool; 5] = [
    IP,
    SIPP,
    KAMAILIO,
    NFT,
    tool("svwar", "sipvicious", "a scanner of extensions"),
];

/// Find or install what building corex needs.
///
/// corex's XDP programs are compiled for the eBPF virtual machine. That takes, beside the
/// Rust that compiles the rest: a compiler with the source of `core` (rustup's nightly with
/// rust-src if it is there, else Debian's rustc-web, cargo-web and rust-web-src) and
/// bpf-linker, built for the same LLVM (Debian's llvm-NN-dev). What is missing is installed
/// by apt-get and `cargo install`, and by nothing else; what is there stays as it is. Run it
/// as often as you like.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask setup            what `cargo build` needs
  cargo xtask setup --peers    and what the end-to-end tests need

Installing packages needs root. Services that come with packages are not started; Kamailio's
and Prometheus's are switched off.")]
pub struct SetupArgs {
    /// Install what the tests talk to as well: sipp, sipsak, baresip, Kamailio with kamcmd and its
    /// modules for Perl and Lua, Perl, Python, Prometheus, curl, openssl, zstd, tshark, bpftool, ethtool, iproute2, nftables,
    /// tmux, fail2ban, CrowdSec
    #[arg(long)]
    peers: bool,
}

/// `cargo xtask setup`
pub fn run(args: &SetupArgs) -> Result<()> {
    ui::step("eBPF tool chain");
    let toolchain = ensure_toolchain()?;
    found("compiler", &toolchain.compiler.rustc);
    found("bpf-linker", &toolchain.bpf_linker);
    if args.peers {
        ui::step("Peers for the tests");
        ensure_tools(&PEERS)?;
        for tool in PEERS {
            if let Some(command) = tool.command
                && let Some(path) = which(command)
            {
                found(command, &path);
            }
        }
    }
    Ok(())
}

fn found(what: &str, path: &Path) {
    let path = ui::paint(Style::Dim, &path.display().to_string());
    ui::say(&format!("  {what:<11}{path}"));
}

/// Makes sure that corex can be built. Silent when nothing is missing.
///
/// # Errors
/// What could not be installed, and why.
pub fn ensure_toolchain() -> Result<Toolchain> {
    ensure_tools(&FOR_BUILD)?;
    let missing = match Toolchain::find() {
        Ok(toolchain) => return Ok(toolchain),
        Err(missing) => missing,
    };
    apt::refresh();
    let llvm = match installed::compilers()
        .iter()
        .filter_map(installed::Compiler::llvm)
        .find(|llvm| apt::is_available(&llvm_package(*llvm)))
    {
        Some(llvm) => llvm,
        None => install_debian_compiler()?,
    };
    // A compiler alone may have been what was missing.
    if let Ok(toolchain) = Toolchain::find() {
        return Ok(toolchain);
    }
    let package = llvm_package(llvm);
    if !apt::not_installed(&[&package]).is_empty() {
        apt::install(&[&package], "the LLVM that bpf-linker is built on")?;
    }
    install_linker(llvm, matches!(missing, Missing::Mismatch { .. }))?;
    Toolchain::find()
        .map_err(|missing| anyhow::anyhow!("after everything was installed, still: {missing}"))
}

fn llvm_package(llvm: u32) -> String {
    format!("llvm-{llvm}-dev")
}

/// The package with the library that unwinds the stack of what a tool chain compiles.
///
/// # Errors
/// The compiler doesn't say which LLVM it has.
pub fn unwinder_package(toolchain: &Toolchain) -> Result<String> {
    let llvm = toolchain.compiler.llvm();
    let llvm = llvm.context("the compiler doesn't say which LLVM it has")?;
    Ok(format!("libunwind-{llvm}-dev"))
}

/// Makes sure that this library is there, for static linking; returns its path.
///
/// # Errors
/// It could not be installed, and why.
pub fn ensure_unwinder(toolchain: &Toolchain) -> Result<PathBuf> {
    let package = unwinder_package(toolchain)?;
    if !apt::not_installed(&[&package]).is_empty() {
        apt::install(&[&package], "unwinding the stack of a static binary")?;
    }
    let files = output_of(Command::new("dpkg").args(["--listfiles", &package]))?;
    let library = files
        .lines()
        .find(|path| path.ends_with("/lib/libunwind.a"));
    library
        .map(PathBuf::from)
        .with_context(|| format!("package {package} has no libunwind.a"))
}

/// Returns the compiler's LLVM version.
fn install_debian_compiler() -> Result<u32> {
    // One that is there and too old is brought up to date by the same command.
    if !installed::has_debian() {
        apt::install(
            &DEBIAN_COMPILER,
            "a compiler for the eBPF target, with the source of core",
        )?;
    }
    installed::compilers()
        .iter()
        .find_map(installed::Compiler::llvm)
        .context(
            "Debian's rustc-web is installed, but /usr/bin/rustc is too old or doesn't have \
             the source of core; `rustup toolchain install nightly --component rust-src` is \
             another way",
        )
}

/// Builds bpf-linker from crates.io into cargo's directory of programs.
fn install_linker(llvm: u32, replace: bool) -> Result<()> {
    ui::step(&format!(
        "Building bpf-linker {BPF_LINKER} for LLVM {llvm}: it links the eBPF object \
         (a minute or two)"
    ));
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["install", "bpf-linker", "--version", BPF_LINKER, "--locked"])
        .args(["--no-default-features", "--features"])
        .arg(format!("llvm-{llvm}"));
    if replace {
        command.arg("--force");
    }
    // Its build script looks for llvm-config there.
    let llvm_bin = PathBuf::from(format!("/usr/lib/llvm-{llvm}/bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    command.env(
        "PATH",
        env::join_paths([llvm_bin].into_iter().chain(env::split_paths(&path)))?,
    );
    if !command.status().context("run cargo install")?.success() {
        bail!("cargo could not install bpf-linker; its reason is above (is this machine online?)");
    }
    Ok(())
}

/// Makes sure that these programs are there. Silent when none is missing.
///
/// # Errors
/// What could not be installed, and why.
pub fn ensure_tools(tools: &[Tool]) -> Result<()> {
    let missing: Vec<Tool> = tools
        .iter()
        .copied()
        .filter(|tool| !tool.is_there())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    if packages.contains(&CROWDSEC) {
        keep_unregistered().context("keep crowdsec from registering this machine")?;
    }
    let purposes: Vec<&str> = missing.iter().map(|tool| tool.purpose).collect();
    apt::install(&packages, &purposes.join(", "))?;
    for service in ["kamailio", "prometheus", "fail2ban", CROWDSEC] {
        if packages.contains(&service) {
            disable_service(service);
        }
    }
    for tool in missing {
        if !tool.is_there() {
            bail!(
                "package {} is installed, but there is no program {} in PATH",
                tool.package,
                tool.command.unwrap_or_default()
            );
        }
    }
    Ok(())
}

fn keep_unregistered() -> std::io::Result<()> {
    let file = Path::new(CROWDSEC_CREDENTIALS);
    if file.exists() || !crate::privilege::is_root() {
        return Ok(());
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, "# Not registered: the tests speak to nobody.\n")
}

/// Keeps a service that just came with its package from starting at the next boot.
fn disable_service(name: &str) {
    let Some(systemctl) = which("systemctl") else {
        return;
    };
    let done = Command::new(systemctl)
        .args(["--quiet", "disable", name])
        .status();
    ui::say(&match done {
        Ok(status) if status.success() => format!(
            "The service {name} was not started and is switched off; `systemctl enable {name}` \
             would change that."
        ),
        _ => format!("The service {name} was not started, but may start at the next boot."),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_parts_need_is_among_what_the_tests_need() {
        for tool in FOR_DEMO
            .iter()
            .chain(&FOR_INLINE_DEMO)
            .chain(&FOR_SECURE_DEMO)
            .chain(&FOR_UNIT_TESTS)
            .chain(&FOR_SOAK)
        {
            assert!(PEERS.iter().any(|peer| peer.command == tool.command));
        }
    }
}
