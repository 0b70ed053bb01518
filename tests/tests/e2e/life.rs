//! Start, stop, death, and a life without privileges.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use corex_lab::{
    Corex, Mounts, Namespace, WorkDir,
    config::{self, Family},
    corex::{self, CorexOptions},
    process::of_every_thread,
    sipp::{self, SippOptions},
    topology::Relay,
};

const INTERFACES: [&str; 2] = ["user", "core"];
const LIMIT: Duration = Duration::from_secs(30);

fn options(work: &WorkDir) -> Result<CorexOptions> {
    let text = config::relay(Family::V4, "", config::COPY);
    Ok(CorexOptions::new(&work.write("corex.cfg", text)?))
}

fn start(relay: &Relay, work: &WorkDir) -> Result<Corex> {
    options(work)?
        .interface("user")
        .interface("core")
        .engine("xdp")
        .start(&relay.corex, work.path(), "corex")
}

fn call(relay: &Relay, work: &WorkDir, calls: u64) -> Result<()> {
    sipp::call_through(relay, work.path(), calls)
}

fn programs(host: &Namespace) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for interface in INTERFACES {
        names.extend(host.xdp_program(interface)?.map(|(name, _)| name));
    }
    Ok(names)
}

#[test]
fn a_stopped_corex_leaves_no_program_on_any_interface() -> Result<()> {
    let (work, relay) = (WorkDir::new()?, Relay::new()?);
    let corex = start(&relay, &work)?;
    ensure!(programs(&relay.corex)? == ["corex_ingress", "corex_ingress"]);
    corex.stop()?;
    ensure!(programs(&relay.corex)?.is_empty());
    Ok(())
}

#[test]
fn a_killed_corex_leaves_no_program_and_traffic_goes_to_the_kernel() -> Result<()> {
    let (work, relay) = (WorkDir::new()?, Relay::new()?);
    let corex = start(&relay, &work)?;
    let uas = SippOptions::uas(Relay::UAS.sip()).start(&relay.uas, work.path(), "uas")?;
    let uac = SippOptions::uac(Relay::UAC.sip(), Relay::USER_SIDE.sip(), 1000, 200).start(
        &relay.uac,
        work.path(),
        "uac",
    )?;
    thread::sleep(Duration::from_secs(2));
    ensure!(!uac.ended()?, "no traffic: {}", uac.diagnosis());
    corex.kill()?;
    ensure!(programs(&relay.corex)?.is_empty());
    // sipp is still at it: what it sends now reaches an ordinary socket on that address.
    let heir = relay.corex.udp(Relay::USER_SIDE.sip())?;
    let mut buffer = [0; 2048];
    let (len, from) = heir.recv_from(&mut buffer)?;
    ensure!(from == Relay::UAC.sip() && len > 32);
    drop((heir, uac, uas));

    let corex = start(&relay, &work)?;
    call(&relay, &work, 20)?;
    corex.stop()?.check_balance()
}

#[test]
fn sigusr1_writes_the_books_while_it_runs() -> Result<()> {
    let (work, relay) = (WorkDir::new()?, Relay::new()?);
    let corex = start(&relay, &work)?;
    call(&relay, &work, 10)?;
    let now = corex.books()?;
    now.check_balance()?;
    ensure!(now.get("user.sent") == 60, "{:#}", now.0);
    ensure!(corex.stop()?.get("user.sent") == 60);
    Ok(())
}

/// corex as a user without any capability; the binary is copied to where that user may read.
fn unprivileged(relay: &Relay, work: &WorkDir) -> Result<Command> {
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777));
    let binary: PathBuf = work.join("corex-binary");
    corex::copy_binary(&binary)?;
    open(&binary)?;
    open(work.path())?;
    let mut command = relay.corex.command("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"])
        .arg(&binary);
    Ok(command)
}

#[test]
fn without_privileges_calls_pass_through_kernel_sockets() -> Result<()> {
    for engine in ["socket", "auto"] {
        let (work, relay) = (WorkDir::new()?, Relay::new()?);
        let command = unprivileged(&relay, &work)?;
        let corex = options(&work)?
            .engine(engine)
            .spawn(command, work.path(), "corex")?;
        corex.process.wait_for_output("ready:", LIMIT)?;
        call(&relay, &work, 50)?;
        if engine == "auto" {
            ensure!(corex.log().contains("CAP_NET_ADMIN"), "{}", corex.log());
        }
        let books = corex.stop()?;
        books.check_balance()?;
        ensure!(books.get("user.socket_in") == 300, "{:#}", books.0);
    }
    Ok(())
}

#[test]
fn without_privileges_af_xdp_is_refused_with_the_capabilities_that_are_missing() -> Result<()> {
    let (work, relay) = (WorkDir::new()?, Relay::new()?);
    let corex = options(&work)?.engine("xdp").interface("user").spawn(
        unprivileged(&relay, &work)?,
        work.path(),
        "corex",
    )?;
    let status = corex.process.wait(LIMIT)?;
    ensure!(status.code() == Some(3), "{status}: {}", corex.log());
    ensure!(corex.log().contains("CAP_BPF"), "{}", corex.log());
    Ok(())
}

#[test]
fn a_configuration_with_errors_is_refused_with_the_place() -> Result<()> {
    let work = WorkDir::new()?;
    let config = work.write(
        "broken.cfg",
        "listen=udp:127.0.0.1:5060\nrequest_route { send(; }\n",
    )?;
    let output = Command::new(corex::binary()?)
        .args(["check", "--config"])
        .arg(&config)
        .output()?;
    let report = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{report}");
    ensure!(report.contains("broken.cfg:2:"), "{report}");
    Ok(())
}

#[test]
fn a_refused_native_attachment_is_explained_and_generic_xdp_carries_the_calls() -> Result<()> {
    let (work, relay) = (WorkDir::new()?, Relay::new()?);
    // veth refuses XDP in the driver when a packet may exceed a page.
    relay.corex.ip("link set dev user mtu 9000")?;
    relay.uac.ip("link set dev eth0 mtu 9000")?;
    let corex = start(&relay, &work)?;
    let log = corex.log();
    for words in [
        "attach to user (native): ",
        "MTU",
        "ip link set dev user mtu 1500",
        "falling back to skb mode",
        "user: XDP attached (skb mode)",
        "core: XDP attached (native mode)",
    ] {
        ensure!(log.contains(words), "no {words:?} in:\n{log}");
    }
    call(&relay, &work, 20)?;
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("user.xdp_in") > 0, "{:#}", books.0);
    Ok(())
}

#[test]
fn a_second_corex_on_the_same_port_says_who_has_it() -> Result<()> {
    let (work, relay) = (WorkDir::new()?, Relay::new()?);
    let first = start(&relay, &work)?;
    let second = options(&work)?.engine("socket").spawn(
        relay.corex.command(corex::binary()?),
        work.path(),
        "second",
    )?;
    let status = second.process.wait(LIMIT)?;
    ensure!(status.code() == Some(3), "{status}");
    let log = second.log();
    ensure!(
        log.contains("another process has the port: `ss -lunp"),
        "{log}"
    );
    first.stop()?;
    Ok(())
}

#[test]
fn once_it_runs_no_thread_and_no_child_has_any_privilege() -> Result<()> {
    // Bit masks of capabilities.
    check_privileges("modparam(\"corex\", \"reattach\", 0)", "0000000000000000")
}

#[test]
fn only_the_thread_that_keeps_nics_has_the_privileges_for_it() -> Result<()> {
    // CAP_NET_ADMIN is the twelfth, then CAP_NET_RAW and CAP_IPC_LOCK.
    check_privileges("", "0000000000007000")
}

/// Looks what privileges the threads have, of which `corex-nics` may have `kept`.
fn check_privileges(parameters: &str, kept: &str) -> Result<()> {
    let (work, relay) = (WorkDir::new()?, Relay::new()?);
    let script = work.write("script.pl", "1;")?;
    let text = config::relay(
        Family::V4,
        &format!(
            "loadmodule \"app_perl.so\"\nmodparam(\"app_perl\", \"filename\", \"{}\")\n{parameters}",
            script.display()
        ),
        config::COPY,
    );
    let corex = CorexOptions::new(&work.write("corex.cfg", text)?)
        .interface("user")
        .interface("core")
        .engine("xdp")
        .start(&relay.corex, work.path(), "corex")?;
    let check = || -> Result<usize> {
        let pid = corex.process.pid();
        for (field, wanted) in [
            ("CapEff:", "0000000000000000"),
            ("CapPrm:", "0000000000000000"),
            ("CapAmb:", "0000000000000000"),
            ("NoNewPrivs:", "1"),
        ] {
            let threads = of_every_thread(pid, field)?;
            let other: Vec<_> = threads
                .iter()
                .filter(|(thread, value)| {
                    let may_keep =
                        thread == "corex-nics" && ["CapEff:", "CapPrm:"].contains(&field);
                    value != if may_keep { kept } else { wanted }
                })
                .collect();
            ensure!(other.is_empty(), "{field} {other:?}");
        }
        Ok(of_every_thread(pid, "Name:")?.len())
    };
    ensure!(check()? >= 6);
    call(&relay, &work, 20)?;
    corex.process.signal(libc::SIGHUP)?;
    corex
        .process
        .wait_for_output("the configuration was read again", LIMIT)?;
    call(&relay, &work, 20)?;
    check()?;
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("user.sent") == 240, "{:#}", books.0);
    ensure!(programs(&relay.corex)?.is_empty());
    Ok(())
}

#[test]
fn a_service_manager_hears_when_corex_is_ready_reloads_lives_and_stops() -> Result<()> {
    let (work, relay) = (WorkDir::new()?, Relay::new()?);
    let path = work.join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path)?;
    manager.set_read_timeout(Some(LIMIT))?;
    let heard = |wanted: &str| -> Result<()> {
        let mut buffer = [0; 4096];
        loop {
            let len = manager.recv(&mut buffer)?;
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            if text.lines().any(|line| line == wanted) {
                return Ok(());
            }
        }
    };
    let mut command = relay.corex.command("env");
    command
        .arg(format!("NOTIFY_SOCKET={}", path.display()))
        .arg("WATCHDOG_USEC=3000000")
        .arg(corex::binary()?);
    let corex = options(&work)?
        .interface("user")
        .interface("core")
        .engine("xdp")
        .spawn(command, work.path(), "corex")?;
    heard("READY=1")?;
    corex.process.signal(libc::SIGHUP)?;
    heard("RELOADING=1")?;
    heard("READY=1")?;
    heard("WATCHDOG=1")?;
    corex.process.signal(libc::SIGTERM)?;
    heard("STOPPING=1")?;
    ensure!(corex.process.wait(LIMIT)?.success(), "{}", corex.log());
    Ok(())
}

/// A test that runs with no other beside it: where others keep the kernel from giving up the queue of
/// the predecessor that has ended, its successor finds the queue taken.
mod alone {
    use super::*;

    #[test]
    fn another_corex_takes_over_and_calls_go_on() -> Result<()> {
        let (work, relay) = (WorkDir::new()?, Relay::new()?);
        let mounts = Mounts::new(&relay.corex, work.path())?;
        let options = options(&work)?
            .interface("user")
            .interface("core")
            .engine("xdp");
        let first = options.start_in(&mounts, work.path(), "first")?;
        call(&relay, &work, 10)?;
        let second =
            options
                .clone()
                .argument("--take-over")
                .start_in(&mounts, work.path(), "second")?;
        first.succeeded()?.check_balance()?;
        call(&relay, &work, 10)?;
        let books = second.stop()?;
        books.check_balance()?;
        ensure!(books.get("user.sent") == 60, "{:#}", books.0);
        Ok(())
    }
}
