//! The documentation's examples 1.1 to 1.13.

use std::fs;

use anyhow::{Result, ensure};
use corex_lab::{WorkDir, topology::Relay};

use super::{PATIENCE, Stage, example, receive, request};

#[test]
fn sub_domains_are_myself() -> Result<()> {
    let mut stage = Stage::new("01-alias-subdomains.cfg")?;
    for (host, status) in [
        ("kamailio.org", "200 Mine"),
        ("any.kamailio.org", "200 Mine"),
        ("a.b.KAMAILIO.org:5099", "200 Mine"),
        ("evilkamailio.org", "404 Not mine"),
        ("pbx.sip-router.org", "200 Mine"),
        ("pbx.sip-router.org:5061", "404 Not mine"),
        ("10.0.1.1", "200 Mine"),
    ] {
        let seen = stage.status("OPTIONS", &format!("sip:u@{host}"))?;
        ensure!(seen == status, "{host}: {seen}");
    }
    stage.stop().map(drop)
}

#[test]
fn the_hook_sees_both_ways() -> Result<()> {
    let mut stage = Stage::new("02-network-io-intercept.cfg")?;
    let reply = stage.ask("OPTIONS", "sip:u@10.0.1.1")?;
    ensure!(reply.starts_with("SIP/2.0 200 Seen\r\n"), "{reply}");
    let request = request("OPTIONS", "sip:u@10.0.1.1", Relay::UAC.sip(), 1);
    stage.logged(&format!(
        "{} bytes from 10.0.1.2:5060 to 10.0.1.1:5060",
        request.len()
    ))?;
    stage.logged(&format!(
        "{} bytes from 10.0.1.1:5060 to 10.0.1.2:5060",
        reply.len()
    ))?;
    stage.stop().map(drop)
}

#[test]
fn short_messages_skip_the_hook() -> Result<()> {
    let mut stage = Stage::new("03-min-msg-len.cfg")?;
    stage.send(&[b'x'; 31])?;
    stage.send(&[b'x'; 32])?;
    stage.logged("hook on 32 bytes")?;
    ensure!(stage.status("OPTIONS", "sip:u@10.0.1.1")? == "200 OK");
    ensure!(!stage.corex.log().contains("hook on 31 bytes"));
    let books = stage.stop()?;
    ensure!(books.get("kernel.dropped.probe") == 1, "{:#}", books.0);
    Ok(())
}

#[test]
fn the_avp_replaces_the_message() -> Result<()> {
    let mut stage = Stage::new("04-msg-avp.cfg")?;
    let reply = stage.ask("OPTIONS", "sip:u@old.example")?;
    ensure!(
        reply.starts_with("SIP/2.0 200 This is new.example\r\n"),
        "{reply}"
    );
    ensure!(
        reply.contains("From: <sip:a@new.example>;tag=1\r\n"),
        "{reply}"
    );
    stage.stop().map(drop)
}

#[test]
fn branches_are_listed_or_forked_to() -> Result<()> {
    let mut stage = Stage::new("05-append-branch.cfg")?;
    let reply = stage.ask("OPTIONS", "sip:bob@10.0.1.1")?;
    ensure!(
        reply.starts_with("SIP/2.0 300 Multiple Choices\r\n"),
        "{reply}"
    );
    let contacts: Vec<&str> = reply
        .lines()
        .filter(|line| line.starts_with("Contact"))
        .collect();
    let [contacts] = contacts[..] else {
        anyhow::bail!("{reply}")
    };
    ensure!(contacts.contains("<sip:bob@10.0.2.2>"), "{contacts}");
    ensure!(
        contacts.contains("<sip:bob@10.0.2.2:5070>;q=0.5"),
        "{contacts}"
    );
    let places = [5060, 5070].map(|port| stage.relay.uas.udp(([10, 0, 2, 2], port).into()));
    let [first, second] = places;
    let (first, second) = (first?, second?);
    stage.send(&request("INVITE", "sip:bob@10.0.1.1", Relay::UAC.sip(), 99))?;
    for (socket, line) in [
        (&first, "INVITE sip:bob@10.0.2.2 SIP/2.0"),
        (&second, "INVITE sip:bob@10.0.2.2:5070 SIP/2.0"),
    ] {
        let text = String::from_utf8_lossy(&receive(socket)?).into_owned();
        ensure!(text.starts_with(line), "{text}");
    }
    stage.stop().map(drop)
}

#[test]
fn a_message_is_sent_to_each_destination_as_it_came() -> Result<()> {
    let stage = Stage::of(&example("06-send.cfg"), |relay| {
        relay.uas.address("eth0", "10.20.15.10/32")?;
        relay
            .corex
            .ip("route add 10.20.15.10/32 via 10.0.2.2 dev core")?;
        relay.corex.hosts("10.0.2.2 sip.example.com\n")
    })?;
    let places = [
        "10.0.2.2:5080",
        "10.20.15.10:5060",
        "10.0.2.2:5070",
        "10.0.2.2:5090",
    ];
    let mut sockets = Vec::new();
    for place in places {
        sockets.push(stage.relay.uas.udp(place.parse()?)?);
    }
    let message = request("OPTIONS", "sip:u@10.0.1.1", Relay::UAC.sip(), 1);
    stage.send(&message)?;
    for (place, socket) in places.iter().zip(&sockets) {
        ensure!(receive(socket)? == message, "{place}");
    }
    stage.stop().map(drop)
}

#[test]
fn data_goes_by_sctp_or_else_by_udp() -> Result<()> {
    let mut stage = Stage::of(&example("07-send-data.cfg"), |relay| {
        relay.corex.hosts("10.0.2.2 example.com\n")
    })?;
    let told = stage.relay.uas.udp("10.0.2.2:5070".parse()?)?;
    ensure!(stage.status("OPTIONS", "sip:u@10.0.1.1")? == "200 Told");
    // A kernel with SCTP takes it, and nobody listens: then nothing comes by UDP.
    if fs::read_to_string("/proc/net/protocols")?.contains("SCTP") {
        return stage.stop().map(drop);
    }
    let text = String::from_utf8(receive(&told)?)?;
    let time = text.strip_prefix("Message at ").unwrap_or_default();
    ensure!(time.parse::<u64>().is_ok(), "{text}");
    stage.logged("SCTP")?;
    stage.stop().map(drop)
}

#[test]
fn what_came_and_what_goes_are_told_apart() -> Result<()> {
    let mut stage = Stage::new("08-is-incoming.cfg")?;
    ensure!(stage.status("OPTIONS", "sip:u@10.0.1.1")? == "200 Logged");
    stage.logged("Received message 'OPTIONS sip:u@10.0.1.1 SIP/2.0")?;
    stage.logged("Sending message 'SIP/2.0 200 Logged")?;
    stage.stop().map(drop)
}

#[test]
fn internal_flags_are_set_reset_and_tested() -> Result<()> {
    let uri = "sip:u@10.0.1.1";
    let mut stage = Stage::new("09-msg-iflag-set.cfg")?;
    ensure!(stage.status("OPTIONS", uri)? == "200 Set");
    stage.stop()?;
    let mut stage = Stage::new("10-msg-iflag-reset.cfg")?;
    ensure!(stage.status("OPTIONS", uri)? == "200 Reset");
    stage.stop()?;
    let mut stage = Stage::new("11-msg-iflag-is-set.cfg")?;
    ensure!(stage.status("OPTIONS", uri)? == "404 Not set");
    ensure!(stage.status("REGISTER", uri)? == "200 Set");
    ensure!(stage.status("OPTIONS", uri)? == "404 Not set");
    stage.stop().map(drop)
}

/// The example with its file in the test's own directory: `/tmp/data.txt` may be somebody's.
fn with_own_file(name: &str, work: &WorkDir) -> Result<std::path::PathBuf> {
    let text = fs::read_to_string(example(name))?;
    ensure!(text.contains("\"/tmp/data.txt\""), "{name}");
    // Beside the configuration nothing can be written.
    let folder = work.join("data");
    fs::create_dir_all(&folder)?;
    let folder = folder.to_string_lossy();
    let text = text.replace("/tmp/data.txt", &format!("{folder}/data.txt"));
    work.write(name, text.replace("\"/tmp\"", &format!("\"{folder}\"")))
}

#[test]
fn files_are_read_and_written() -> Result<()> {
    let (work, uri) = (WorkDir::new()?, "sip:bob@10.0.1.1");
    let mut stage = Stage::of(&with_own_file("12-file-read.cfg", &work)?, |_| Ok(()))?;
    ensure!(stage.status("OPTIONS", uri)? == "404 No such file");
    work.write("data/data.txt", "from the file")?;
    corex_lab::wait::until("the file is seen", PATIENCE, || {
        Ok((stage.status("OPTIONS", uri)? == "200 from the file").then_some(()))
    })?;
    stage.stop()?;
    let mut stage = Stage::of(&with_own_file("13-file-write.cfg", &work)?, |_| Ok(()))?;
    ensure!(stage.status("OPTIONS", uri)? == "200 Written");
    // A slow disk writes after the reply.
    corex_lab::wait::until("the file is written", PATIENCE, || {
        Ok((fs::read_to_string(work.join("data/data.txt"))? == "Data is: bob").then_some(()))
    })?;
    stage.stop().map(drop)
}
