//! `cargo xtask attach` and `detach`: corex on an interface.

use std::{
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Command, ExitCode, ExitStatus},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use corex_lab::sys;

use crate::{
    compile::{self, Profile},
    privilege, setup, ui, xdp,
};

/// Build corex, attach it to an interface and run it.
///
/// Runs in the foreground until Ctrl-C or SIGTERM; other signals reach corex as well (SIGUSR1
/// writes the books). Afterwards nothing of corex is left on the interface, and the exit
/// status is corex's. Even if it is killed, its XDP program goes with it and traffic
/// continues by the kernel. In inline mode the programs stay when it is killed, and with
/// on_failure "closed" when it is stopped, too; then this says so.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask attach --interface eth0 --config edge.cfg
  cargo xtask attach --interface eth0 --interface eth1 --config edge.cfg -- --books /tmp/books.json

Needs root, or CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON, CAP_NET_RAW and CAP_IPC_LOCK. Options
after `--` go to `corex run`; `corex run --help` lists them.")]
pub struct AttachArgs {
    /// The interface; may be repeated
    #[arg(long = "interface", short, value_name = "IF", required = true)]
    interfaces: Vec<String>,
    /// Configuration file, in Kamailio's syntax
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// Options for `corex run`
    #[arg(last = true, value_name = "OPTIONS")]
    options: Vec<String>,
}

/// Take corex's XDP program off an interface.
///
/// Only needed after a crash, and in proxy mode hardly then: the kernel removes the program with
/// its process. In inline mode programs and veth pairs outlive a corex that was killed, and with
/// on_failure "closed" also one that was stopped: this removes them. Says what it found. Programs
/// of others are left alone, and so is corex while it runs.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cargo xtask detach --interface eth0")]
pub struct DetachArgs {
    /// The interface
    #[arg(long, short, value_name = "IF")]
    interface: String,
}

/// `cargo xtask attach`
pub fn attach(args: &AttachArgs) -> Result<ExitCode> {
    privilege::require_xdp_capabilities()?;
    for interface in &args.interfaces {
        require_interface(interface)?;
    }
    if !args.config.is_file() {
        bail!("there is no configuration file {}", args.config.display());
    }
    setup::ensure_toolchain()?;
    let binary = compile::corex_to_run(Profile::Release)?;

    let mut command = Command::new(binary);
    command.arg("run").arg("--config").arg(&args.config);
    for interface in &args.interfaces {
        command.args(["--interface", interface]);
    }
    command.args(&args.options);
    let status = sys::supervise(&mut command).context("run corex")?;

    for interface in &args.interfaces {
        for program in xdp::programs(interface)? {
            if program.is_inline() {
                ui::say(&format!(
                    "corex's programs stay on {interface}: with on_failure \"open\" they let \
                     everything pass, with \"closed\" they drop the server's SIP; \
                     `cargo xtask detach --interface {interface}` takes them off"
                ));
            } else if program.is_corex() {
                ui::say(&format!(
                    "corex left its program {} on {interface}; removing it",
                    program.id
                ));
                xdp::remove(interface, &program)?;
            }
        }
    }
    Ok(exit_code(status))
}

/// As a shell would report it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

fn require_interface(interface: &str) -> Result<()> {
    if !xdp::interface_exists(interface) {
        bail!("there is no interface {interface} here; `ip -brief link` lists them");
    }
    Ok(())
}

/// `cargo xtask detach`
pub fn detach(args: &DetachArgs) -> Result<()> {
    let interface = args.interface.as_str();
    require_interface(interface)?;
    let programs = xdp::programs(interface)?;
    if programs.is_empty() {
        ui::say(&format!("{interface} has no XDP program: nothing to do"));
    }
    for program in programs {
        if !program.is_corex() {
            ui::say(&format!(
                "{interface} has the XDP program {:?} ({}), which isn't corex's: left alone",
                program.name, program.id
            ));
            continue;
        }
        privilege::require_xdp_capabilities()?;
        if program.is_inline() {
            detach_instance(interface)?;
            continue;
        }
        xdp::remove(interface, &program)?;
        ui::say(&format!(
            "removed corex's XDP program {} from {interface}",
            program.id
        ));
    }
    Ok(())
}

/// Lets corex itself take off what an instance in inline mode has left on an interface.
fn detach_instance(interface: &str) -> Result<()> {
    let Some(instance) = xdp::instance_on(interface) else {
        bail!(
            "corex's program on {interface} isn't pinned in this mount namespace: it belongs to a \
             corex that runs elsewhere; stop that one, or run this where it was started"
        );
    };
    let mut command = Command::new(compile::corex_to_run(Profile::Release)?);
    let status = command.args(["detach", &instance]).status();
    if !status.context("run corex detach")?.success() {
        bail!("corex could not take off what {instance} left on {interface}; its reason is above");
    }
    Ok(())
}
