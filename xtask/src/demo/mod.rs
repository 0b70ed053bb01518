//! `cargo xtask demo`: the main job, on a machine without a SIP network.

mod inline;
mod report;
mod secure;
mod wire;

use std::{
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args;
use corex_lab::{
    Capture, Corex, Namespace, ObservedBooks, Sipp, SippReport, WorkDir, corex::CorexOptions,
    sipp::SippOptions, topology::Chain,
};

use self::wire::Traffic;
use crate::{
    compile::{self, Profile},
    privilege, setup,
    ui::{self, Style},
};

/// Show corex at work.
///
/// Makes five network namespaces, with a caller, a corex, a router, another corex and an
/// answering side, and runs SIP calls through: the first corex compresses what it sends to
/// the second, which decompresses; and the same for the replies. Then it shows what
/// happened, and removes everything. It installs what it needs first, as `setup` does; the
/// first time that and the build take some minutes.
///
/// With --inline, corex stands in front of servers that know nothing of it: a phone (baresip)
/// registers with a stock Kamailio and calls, and many more after it, while the wire between
/// their hosts carries nothing but encoded bytes.
///
/// With --secure, `corex client` stands in front of the phone instead. It brings a key of the
/// phone's own to the server's side with the first message; what is on the wire from then on is
/// compressed, sealed, and looks like HTTP.
#[derive(Debug, Args)]
#[command(after_help = "\
The configurations are in tests/demo: a.cfg and b.cfg; with --inline kamailio/registrar.cfg,
inline-device.cfg and inline-server.cfg; with --secure that one of Kamailio's and secure-server.cfg.

corex is built with the profile `demo`: optimised a little, and sooner built than a release; speeds
are for `cargo xtask bench`. With --release the release build is shown, with COREX_BIN set that
binary.

Needs root, for the namespaces and XDP. No interface of the machine is touched.")]
pub struct DemoArgs {
    /// corex in front of an unmodified server, and of an unmodified phone
    #[arg(long)]
    inline: bool,
    /// corex in front of an unmodified server, and `corex client` in front of an unmodified phone
    #[arg(long, conflicts_with = "inline")]
    secure: bool,
    /// Show the release build, as bench measures and attach runs it
    #[arg(long)]
    release: bool,
    /// How many calls
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    calls: u64,
    /// Calls begun each second
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=5_000))]
    rate: u64,
}

/// What the demonstration counted.
#[derive(Debug)]
pub struct Outcome {
    /// What the caller counted.
    pub calls: SippReport,
    /// From the first call to the last.
    pub took: Duration,
    /// Messages between the caller and A.
    pub plain: Traffic,
    /// Messages between A and B.
    pub wire: Traffic,
    /// The books of A and B.
    pub books: [ObservedBooks; 2],
}

/// `cargo xtask demo`
pub fn run(args: &DemoArgs) -> Result<ExitCode> {
    privilege::require_root(
        "the demonstration, which makes network namespaces and attaches XDP programs,",
    )?;
    if args.inline {
        setup::ensure_tools(&setup::FOR_INLINE_DEMO)?;
    } else if args.secure {
        setup::ensure_tools(&setup::FOR_SECURE_DEMO)?;
    } else {
        setup::ensure_tools(&setup::FOR_DEMO)?;
    }
    setup::ensure_toolchain()?;
    let binary = compile::corex_to_run(if args.release {
        Profile::Release
    } else {
        Profile::Demo
    })?;
    for name in corex_lab::sweep()? {
        ui::say(&format!("removed {name}, left by a run that was killed"));
    }
    let (table, complaints) = if args.inline {
        inline::run(args, &binary)?
    } else if args.secure {
        secure::run(args, &binary)?
    } else {
        let outcome = calls(args, &binary)?;
        let complaints = report::complaints(&outcome, args.calls);
        (report::table(&outcome), complaints)
    };
    ui::say("");
    ui::say(&table);
    for complaint in &complaints {
        ui::say(&ui::paint(Style::Bad, complaint));
    }
    Ok(if complaints.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn calls(args: &DemoArgs, binary: &Path) -> Result<Outcome> {
    ui::step("Making the network");
    let work = WorkDir::new()?;
    let chain = Chain::new()?;

    ui::step("Starting corex A and corex B");
    let b = start(binary, &chain.b, &work, "b")?;
    let a = start(binary, &chain.a, &work, "a")?;
    let uas =
        SippOptions::uas(Chain::UAS.sip())
            .resending()
            .start(&chain.uas, work.path(), "uas")?;
    let plain = Capture::start(&chain.uac, "eth0")?;
    let wire = Capture::start(&chain.internet, "a")?;

    ui::step(&format!(
        "Calling: {} calls, {} a second",
        args.calls, args.rate
    ));
    let begin = Instant::now();
    let uac = SippOptions::uac(Chain::UAC.sip(), Chain::A_USER.sip(), args.calls, args.rate)
        .resending()
        .start(&chain.uac, work.path(), "uac")?;
    let calls = watch(uac, args, begin)
        .with_context(|| format!("log of corex A:\n{}\nlog of corex B:\n{}", a.log(), b.log()))?;
    let took = begin.elapsed();
    uas.stop()?;
    let (plain, wire) = (plain.stop()?, wire.stop()?);
    let books = [a.stop()?, b.stop()?];

    ui::step("Removing the network");
    Ok(Outcome {
        calls,
        took,
        plain: Traffic::of(&plain),
        wire: Traffic::of(&wire),
        books,
    })
}

fn start(binary: &Path, host: &Namespace, work: &WorkDir, name: &str) -> Result<Corex> {
    let config = compile::workspace()
        .join("tests/demo")
        .join(format!("{name}.cfg"));
    CorexOptions::new(&config)
        .interface("user")
        .interface("wire")
        .engine("xdp")
        .binary(binary)
        .start(host, work.path(), name)
}

/// Waits for the calls to end, and shows how far they are.
fn watch(uac: Sipp, args: &DemoArgs, begin: Instant) -> Result<SippReport> {
    let expected = Duration::from_secs(args.calls / args.rate);
    let limit = expected + Duration::from_secs(60);
    while !uac.ended()? && begin.elapsed() < limit {
        let so_far = uac.so_far();
        ui::progress(&format!(
            "  {} of {} calls completed, {} failed",
            so_far.successful, args.calls, so_far.failed
        ));
        thread::sleep(Duration::from_millis(200));
    }
    ui::end_progress();
    uac.finish(Duration::from_secs(1))
}
