//! Interfaces that stand on others: which roads messages take by a bridge, its port, a macvlan and
//! what it stands on, and what the log says about it. (Bonds and VLAN devices aren't in every
//! kernel; docs/devices.md has what was seen there.)

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{Namespace, WorkDir, corex::CorexOptions, namespace::veth, wait};

const LIMIT: Duration = Duration::from_secs(30);
const ROUNDS: u64 = 20;

const fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 7, host)), port)
}

/// The address is on `upper`, made by `commands` on a veth end `nic`; corex listens on it, with XDP
/// on `interface`. Returns what it says at start, messages that came and left by AF_XDP, and its
/// XDP program's mode.
fn roads(
    commands: &[&str],
    upper: &str,
    interface: &str,
    sends_by_xdp: bool,
) -> Result<(String, u64, u64)> {
    let (corex, peer, work) = (
        Namespace::new("corex")?,
        Namespace::new("peer")?,
        WorkDir::new()?,
    );
    veth((&corex, "nic"), (&peer, "eth0"))?;
    for command in commands {
        corex.ip(command)?;
    }
    corex.ip(&format!("link set dev {upper} up"))?;
    corex.address(upper, "10.0.7.1/24")?;
    peer.address("eth0", "10.0.7.2/24")?;
    let text = format!(
        "listen=udp:{}\nloadmodule \"corex.so\"\nrequest_route {{ send(\"10.0.7.2:7000\"); }}\n",
        address(1, 5060)
    );
    let file = work.write("corex.cfg", text)?;
    let running = CorexOptions::new(&file)
        .engine("xdp")
        .interface(interface)
        .start(&corex, work.path(), "corex")?;
    let sender = peer.udp(address(2, 6000))?;
    let arrived = peer.udp(address(2, 7000))?;
    arrived.set_read_timeout(Some(Duration::from_millis(200)))?;
    let request =
        b"OPTIONS sip:a@10.0.7.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.7.2:6000;branch=z9hG4bK1\
        \r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n";
    let mut buffer = [0; 2048];
    // A bridge's port may not forward yet.
    wait::until("a message arrives", LIMIT, || {
        sender.send_to(request, address(1, 5060))?;
        Ok(arrived.recv(&mut buffer).ok())
    })?;
    arrived.set_read_timeout(Some(LIMIT))?;
    for round in 0..ROUNDS {
        sender.send_to(request, address(1, 5060))?;
        arrived
            .recv(&mut buffer)
            .with_context(|| format!("message {round}: {}", running.log()))?;
    }
    if sends_by_xdp {
        wait::until("the next hop is known", LIMIT, || {
            sender.send_to(request, address(1, 5060))?;
            arrived.recv(&mut buffer)?;
            Ok((running.books()?.get("user.out_xdp") > 0).then_some(()))
        })?;
    }
    let log = running.log();
    let books = running.stop()?;
    books.check_balance()?;
    ensure!(books.get("user.sent") > ROUNDS, "{:#}", books.0);
    Ok((log, books.get("user.xdp_in"), books.get("user.out_xdp")))
}

const BRIDGE: [&str; 3] = [
    "link add name br0 type bridge forward_delay 0",
    "link set dev nic master br0",
    "link set dev nic up",
];
const MACVLAN: [&str; 1] = ["link add link nic name mac0 type macvlan mode bridge"];

#[test]
fn messages_come_and_leave_by_xdp_on_a_bridge() -> Result<()> {
    let (log, received, sent) = roads(&BRIDGE, "br0", "br0", true)?;
    let says = "br0 is a bridge: XDP on it is generic";
    ensure!(
        log.contains(says) && log.contains("--interface nic"),
        "{log}"
    );
    ensure!(received > ROUNDS / 2 && sent > 0, "{received} {sent} {log}");
    Ok(())
}

#[test]
fn xdp_for_a_macvlan_is_on_what_it_stands_on() -> Result<()> {
    let (log, received, sent) = roads(&MACVLAN, "mac0", "mac0", false)?;
    ensure!(log.contains("mac0 stands on nic: XDP is there"), "{log}");
    ensure!(log.contains("nic: XDP attached (native mode)"), "{log}");
    ensure!(
        received > ROUNDS / 2 && sent == 0,
        "{received} {sent} {log}"
    );
    Ok(())
}

#[test]
fn messages_come_by_xdp_on_what_carries_others_and_leave_by_kernel_sockets() -> Result<()> {
    for (commands, upper) in [(&BRIDGE[..], "br0"), (&MACVLAN, "mac0")] {
        let (log, received, sent) = roads(commands, upper, "nic", false)?;
        ensure!(log.contains(&format!("nic carries {upper}")), "{log}");
        ensure!(log.contains("native mode"), "{log}");
        ensure!(received > ROUNDS / 2, "{received} {log}");
        ensure!(sent == 0, "{sent} {log}");
    }
    Ok(())
}

#[test]
fn where_another_program_is_attached_it_is_said_whose_and_it_stays() -> Result<()> {
    let (corex, peer, work) = (
        Namespace::new("corex")?,
        Namespace::new("peer")?,
        WorkDir::new()?,
    );
    veth((&corex, "nic"), (&peer, "eth0"))?;
    corex.address("nic", "10.0.7.1/24")?;
    let options = |port: u16| -> Result<CorexOptions> {
        let text = format!("listen=udp:10.0.7.1:{port}\nrequest_route {{ drop; }}\n");
        let file = work.write(&format!("corex{port}.cfg"), text)?;
        Ok(CorexOptions::new(&file).engine("xdp").interface("nic"))
    };
    let first = options(5060)?.start(&corex, work.path(), "first")?;
    let program = corex.xdp_program("nic")?;
    let binary = corex_lab::corex::binary()?;
    let second = options(5070)?.spawn(corex.command(binary), work.path(), "second")?;
    ensure!(!second.process.wait(LIMIT)?.success());
    let log = second.log();
    let holder = format!("corex ({})", first.process.pid());
    for part in [
        "another XDP program is attached",
        "`corex_ingress`, loaded",
        &holder,
    ] {
        ensure!(log.contains(part), "{part}: {log}");
    }
    ensure!(program.is_some() && corex.xdp_program("nic")? == program);
    first.stop()?.check_balance()
}
