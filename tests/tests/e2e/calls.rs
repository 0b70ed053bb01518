//! Real SIP calls through corex: none fails, nothing is sent twice, and the books balance.

use std::time::Duration;

use anyhow::{Result, ensure};
use corex_lab::{
    Capture, ObservedBooks, WorkDir,
    capture::{Tshark, write_pcap},
    config::{self, Family},
    corex::CorexOptions,
    sipp::SippOptions,
    topology::{Chain, Relay},
};

/// INVITE, 180, 200, ACK, BYE, 200.
const MESSAGES: u64 = 6;
const LIMIT: Duration = Duration::from_secs(90);

/// Calls through one corex with `hook`; returns its books.
fn relay_calls(
    family: Family,
    hook: &str,
    calls: u64,
    adapt: impl FnOnce(CorexOptions) -> CorexOptions,
) -> Result<ObservedBooks> {
    let work = WorkDir::new()?;
    let relay = Relay::new()?;
    let config = work.write("corex.cfg", config::relay(family, "", hook))?;
    let options = adapt(
        CorexOptions::new(&config)
            .interface("user")
            .interface("core"),
    );
    let corex = options.start(&relay.corex, work.path(), "corex")?;
    let [uac, user_side, uas] = match family {
        Family::V4 => [Relay::UAC, Relay::USER_SIDE, Relay::UAS].map(|host| host.sip()),
        Family::V6 => [Relay::UAC, Relay::USER_SIDE, Relay::UAS].map(|host| host.sip6()),
    };
    let answerer = SippOptions::uas(uas).start(&relay.uas, work.path(), "uas")?;
    SippOptions::uac(uac, user_side, calls, 200)
        .start(&relay.uac, work.path(), "uac")?
        .finish(LIMIT)?
        .check(calls)?;
    answerer.stop()?.check(calls)?;
    let books = corex.stop()?;
    books.check_balance()?;
    ensure!(books.get("user.sent") == calls * MESSAGES, "{:#}", books.0);
    Ok(books)
}

#[test]
fn a_thousand_calls_pass_through_af_xdp_with_the_hook_on() -> Result<()> {
    let books = relay_calls(Family::V4, config::COPY, 1000, |o| o.engine("xdp"))?;
    ensure!(books.get("kernel.steered") == 6000, "{:#}", books.0);
    ensure!(books.get("user.hook_in") == 6000, "{:#}", books.0);
    ensure!(books.get("user.hook_out") == 6000, "{:#}", books.0);
    // The first message to each side asks for the neighbour; some more may follow at once.
    ensure!(books.get("user.out_xdp") > 5900, "{:#}", books.0);
    Ok(())
}

#[test]
fn a_thousand_calls_pass_through_kernel_sockets_with_the_hook_on() -> Result<()> {
    let books = relay_calls(Family::V4, config::COPY, 1000, |o| o.engine("socket"))?;
    ensure!(books.get("user.socket_in") == 6000, "{:#}", books.0);
    ensure!(books.get("user.hook_in") == 6000, "{:#}", books.0);
    Ok(())
}

#[test]
fn calls_pass_through_generic_xdp() -> Result<()> {
    let books = relay_calls(Family::V4, config::COPY, 100, |o| {
        o.engine("xdp").xdp_mode("skb")
    })?;
    ensure!(books.get("kernel.steered") == 600, "{:#}", books.0);
    Ok(())
}

#[test]
fn ipv6_calls_pass_through_af_xdp() -> Result<()> {
    let books = relay_calls(Family::V6, config::COPY, 200, |o| o.engine("xdp"))?;
    ensure!(books.get("kernel.steered") == 1200, "{:#}", books.0);
    Ok(())
}

#[test]
fn ipv6_calls_pass_through_kernel_sockets() -> Result<()> {
    relay_calls(Family::V6, config::COPY, 200, |o| o.engine("socket")).map(drop)
}

#[test]
fn messages_that_no_hook_touches_leave_in_the_frame_that_they_came_in() -> Result<()> {
    // Until the neighbours are known the kernel sends: on a busy machine that is some hundred messages.
    let books = relay_calls(Family::V4, "", 300, |o| o.engine("xdp"))?;
    ensure!(books.get("user.out_in_place") > 500, "{:#}", books.0);
    Ok(())
}

/// Both engines of the demonstration's two corexes.
fn compressed_calls(engine: &str) -> Result<()> {
    let work = WorkDir::new()?;
    let chain = Chain::new()?;
    let mut corexes = Vec::new();
    for (name, host) in [("a", &chain.a), ("b", &chain.b)] {
        // Else two messages that leave by one call cross the cable, and are seen there, as one frame.
        host.offload("wire", "tx-udp-segmentation", false)?;
        let file = format!("{}/demo/{name}.cfg", env!("CARGO_MANIFEST_DIR"));
        let options = CorexOptions::new(file.as_ref())
            .interface("user")
            .interface("wire")
            .engine(engine);
        corexes.push(options.start(host, work.path(), name)?);
    }
    let wire = Capture::start(&chain.internet, "a")?;
    let uas = SippOptions::uas(Chain::UAS.sip()).start(&chain.uas, work.path(), "uas")?;
    SippOptions::uac(Chain::UAC.sip(), Chain::A_USER.sip(), 200, 100)
        .start(&chain.uac, work.path(), "uac")?
        .finish(LIMIT)?
        .check(200)?;
    uas.stop()?.check(200)?;
    let frames = wire.stop()?;
    let messages: Vec<_> = frames
        .iter()
        .filter_map(|captured| captured.frame.udp())
        .collect();
    ensure!(messages.len() == 1200, "{} on the wire", messages.len());
    for message in messages {
        ensure!(message.payload.starts_with(&[0x1f, 0x8b]), "{message:?}");
    }
    for corex in corexes {
        corex.stop()?.check_balance()?;
    }
    Ok(())
}

#[test]
fn calls_are_compressed_between_two_corexes_by_af_xdp() -> Result<()> {
    compressed_calls("xdp")
}

#[test]
fn calls_are_compressed_between_two_corexes_by_kernel_sockets() -> Result<()> {
    compressed_calls("socket")
}

#[test]
fn tshark_finds_every_checksum_that_corex_wrote_right() -> Result<()> {
    let work = WorkDir::new()?;
    for (family, status) in [
        (
            Family::V4,
            &["ip.checksum.status", "udp.checksum.status"][..],
        ),
        (Family::V6, &["udp.checksum.status"][..]),
    ] {
        let relay = Relay::new()?;
        // One way in place, the other way in a fresh frame.
        let uac = family.of(Relay::UAC);
        let hook = format!("if (is_incoming() && $si == \"{uac}\") {{ $avp(msg) = $mb; }}");
        let config = work.write("corex.cfg", config::relay(family, "", &hook))?;
        let corex = CorexOptions::new(&config)
            .interface("user")
            .interface("core")
            .engine("xdp")
            .start(&relay.corex, work.path(), "corex")?;
        let captures = [
            Capture::start(&relay.uac, "eth0")?,
            Capture::start(&relay.uas, "eth0")?,
        ];
        let [uac, user_side, uas] = match family {
            Family::V4 => [Relay::UAC, Relay::USER_SIDE, Relay::UAS].map(|host| host.sip()),
            Family::V6 => [Relay::UAC, Relay::USER_SIDE, Relay::UAS].map(|host| host.sip6()),
        };
        let answerer = SippOptions::uas(uas).start(&relay.uas, work.path(), "uas")?;
        SippOptions::uac(uac, user_side, 50, 100)
            .start(&relay.uac, work.path(), "uac")?
            .finish(LIMIT)?
            .check(50)?;
        answerer.stop()?;
        for capture in captures {
            let mut frames = capture.stop()?;
            // What a kernel socket sent has its checksum left to the NIC.
            frames.retain(|c| !c.frame.outgoing && !c.frame.checksum_pending);
            let file = work.join("leaving.pcap");
            write_pcap(&frames, &file)?;
            let rows = Tshark::open(&file)?.fields("sip", status)?;
            ensure!(rows.len() > 100, "only {} messages captured", rows.len());
            ensure!(
                rows.iter().flatten().all(|status| status == "1"),
                "{rows:?}"
            );
        }
        corex.stop()?.check_balance()?;
    }
    Ok(())
}
