//! Hosts with several queues, several NICs, and a firewall.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Namespace, WorkDir, config, corex::CorexOptions, namespace::veth, process::of_every_thread,
    sipp::SippOptions, topology::Inline, wait,
};
use serde_json::Value;

use super::pair::{LIMIT, Pair};

/// Adds these.
const HOOK: &str = r#"if (is_incoming()) $avp(msg) = $mb + "+in"; else $avp(msg) = $mb + "+out";"#;
const MESSAGE: &[u8] = b"OPTIONS sip:x@y SIP/2.0\r\nCall-ID: 1\r\n\r\n";

/// One message there and back.
fn exchange(client: &UdpSocket, server: &UdpSocket, to: SocketAddr) -> Result<()> {
    let mut buffer = [0; 2048];
    client.send_to(MESSAGE, to)?;
    let (len, from) = server.recv_from(&mut buffer).context("nothing came in")?;
    ensure!(buffer[..len] == [MESSAGE, b"+in"].concat());
    ensure!(from == client.local_addr()?);
    server.send_to(MESSAGE, from)?;
    let (len, from) = client.recv_from(&mut buffer).context("nothing went out")?;
    ensure!(buffer[..len] == [MESSAGE, b"+out"].concat());
    ensure!(from == to);
    Ok(())
}

#[test]
fn each_queue_of_a_nic_has_a_worker_and_all_of_them_serve() -> Result<()> {
    let (net, work) = (Inline::with_queues(2)?, WorkDir::new()?);
    let to = Inline::SERVER.sip();
    let path = work.write("edge.cfg", config::inline(&[to], "", HOOK))?;
    let corex =
        CorexOptions::new(&path)
            .interface("eth0")
            .start(&net.server, work.path(), "edge")?;
    let server = net.server.udp(to)?;
    // Straight from the router, which spreads its own flows; those that it forwards it doesn't.
    let router = IpAddr::from([10, 0, 2, 254]);
    let clients = (0..64)
        .map(|number| net.internet.udp(SocketAddr::new(router, 6000 + number)))
        .collect::<Result<Vec<_>>>()?;
    for client in &clients {
        client.send_to(MESSAGE, to)?;
    }
    let mut buffer = [0; 2048];
    for _ in &clients {
        let (len, from) = server.recv_from(&mut buffer).context("nothing came in")?;
        ensure!(buffer[..len] == [MESSAGE, b"+in"].concat());
        server.send_to(MESSAGE, from)?;
    }
    for client in &clients {
        let (len, from) = client.recv_from(&mut buffer).context("nothing went out")?;
        ensure!(buffer[..len] == [MESSAGE, b"+out"].concat() && from == to);
    }
    // A worker publishes its counters after a batch: it may have sent, and not have come to it yet.
    wait::until("both workers have delivered and sent", LIMIT, || {
        let dump = corex.beside(&[
            "bpftool",
            "-j",
            "map",
            "dump",
            "pinned",
            "/sys/fs/bpf/corex/edge/WORKERS",
        ])?;
        let workers: Value = serde_json::from_str(&dump)?;
        let of = |worker: usize, counter: &str| {
            let counter = &workers[worker]["formatted"]["value"][counter];
            counter.as_u64().context("a counter")
        };
        for worker in 0..2 {
            if of(worker, "delivered")? == 0 || of(worker, "sent")? == 0 {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("user.delivered") == 64, "{:#}", books.0);
    ensure!(books.get("user.sent") == 64, "{:#}", books.0);
    Ok(())
}

#[test]
fn two_nics_have_a_detour_each() -> Result<()> {
    let (net, work) = (Inline::new()?, WorkDir::new()?);
    let other = Namespace::new("oth")?;
    veth((&net.server, "eth1"), (&other, "eth0"))?;
    net.server.address("eth1", "10.0.9.1/24")?;
    other.address("eth0", "10.0.9.2/24")?;
    let first = Inline::SERVER.sip();
    let second = SocketAddr::new(IpAddr::from([10, 0, 9, 1]), 5060);
    let parameters = "modparam(\"corex\", \"interface\", \"eth0\")\n\
        modparam(\"corex\", \"interface\", \"eth1\")";
    let path = work.write(
        "edge.cfg",
        config::inline(&[first, second], parameters, HOOK),
    )?;
    let corex = CorexOptions::new(&path).start(&net.server, work.path(), "edge")?;
    let (one, two) = (net.server.udp(first)?, net.server.udp(second)?);
    exchange(&net.device.udp(Inline::DEVICE.sip())?, &one, first)?;
    let from = SocketAddr::new(IpAddr::from([10, 0, 9, 2]), 5060);
    exchange(&other.udp(from)?, &two, second)?;
    let links = net.server.ip("-brief link show")?;
    ensure!(
        links.contains("cx-edge-0") && links.contains("cx-edge-1"),
        "{links}"
    );
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("user.delivered") == 2, "{:#}", books.0);
    ensure!(books.get("user.sent") == 2, "{:#}", books.0);
    let links = net.server.ip("-brief link show")?;
    ensure!(!links.contains("cx-"), "{links}");
    Ok(())
}

/// Connection tracking sees plain SIP on the NIC, both ways, and nothing on corex's own devices.
const RULES: &str = r#"table inet seen {
    counter own {}
    counter begun {}
    counter came {}
    counter left {}
    counter invalid {}
    chain input {
        type filter hook input priority 0; policy drop;
        iifname "cx-*" counter name own
        ct state invalid counter name invalid
        iifname "eth0" udp dport 5060 ct state new counter name begun accept
        iifname "eth0" udp dport 5060 ct state established counter name came accept
        meta l4proto icmpv6 accept
    }
    chain output {
        type filter hook output priority 0; policy accept;
        oifname "eth0" udp sport 5060 ct state established counter name left
        oifname "cx-*" counter name own
    }
    chain forward { type filter hook forward priority 0; counter name own; }
}"#;

#[test]
fn a_firewall_with_connection_tracking_sees_one_consistent_picture() -> Result<()> {
    let pair = Pair::new("", config::GZIP)?;
    let rules = pair.work.write("rules.nft", RULES)?;
    let path = rules.to_str().context("a path")?;
    pair.net.server.exec("nft", &["-f", path])?;
    let calls = 20;
    let uas =
        SippOptions::uas(Inline::SERVER.sip()).start(&pair.net.server, pair.work.path(), "uas")?;
    SippOptions::uac(Inline::DEVICE.sip(), Inline::SERVER.sip(), calls, 50)
        .start(&pair.net.device, pair.work.path(), "uac")?
        .finish(LIMIT + Duration::from_secs(1))?
        .check(calls)?;
    uas.stop()?.check(calls)?;
    let text = pair.net.server.exec("nft", &["-j", "list", "counters"])?;
    let listed: Value = serde_json::from_str(&text)?;
    let count = |name: &str| -> Result<u64> {
        let counters = listed["nftables"].as_array().context("a list")?;
        let counter = counters.iter().find(|one| one["counter"]["name"] == name);
        counter
            .and_then(|one| one["counter"]["packets"].as_u64())
            .with_context(|| format!("no counter {name}: {text}"))
    };
    // The caller's port is one flow: new with the first INVITE, established from the first reply on.
    ensure!(count("begun")? >= 1, "{text}");
    ensure!(count("begun")? + count("came")? == 3 * calls, "{text}");
    ensure!(count("left")? == 3 * calls, "{text}");
    ensure!(count("own")? == 0 && count("invalid")? == 0, "{text}");
    pair.stop()?;
    Ok(())
}

#[test]
fn once_it_runs_only_the_thread_for_the_network_has_a_privilege_and_only_that_for_it() -> Result<()>
{
    check_privileges("modparam(\"corex\", \"reattach\", 0)", 0)
}

#[test]
fn beside_it_only_the_thread_that_keeps_nics_has_privileges_and_only_those_for_it() -> Result<()> {
    // CAP_NET_ADMIN, CAP_NET_RAW and CAP_IPC_LOCK.
    check_privileges("", 1 << 12 | 1 << 13 | 1 << 14)
}

/// Looks what privileges the threads have, of which `corex-nics` may have `kept`.
fn check_privileges(parameters: &str, kept: u64) -> Result<()> {
    let pair = Pair::new(parameters, config::GZIP)?;
    for field in ["CapEff:", "CapPrm:"] {
        for (thread, capabilities) in of_every_thread(pair.server.process.pid(), field)? {
            // CAP_NET_ADMIN is the twelfth.
            let wanted = match &*thread {
                "corex-net" => 1 << 12,
                "corex-nics" => kept,
                _ => 0,
            };
            let found = u64::from_str_radix(&capabilities, 16)?;
            ensure!(found == wanted, "{thread}: {field} {capabilities}");
        }
    }
    pair.stop()?;
    Ok(())
}
