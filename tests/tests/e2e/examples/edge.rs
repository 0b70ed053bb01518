//! `edge-nat.cfg`: a phone whose addresses lead nowhere registers, is called, and is hung up on.

use std::{fs, net::UdpSocket};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{WorkDir, topology::Relay};

use super::{PATIENCE, Stage, example, receive};

/// A header's value in a message.
fn value<'m>(message: &'m str, name: &str) -> Result<&'m str> {
    let found = message
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.with_context(|| format!("no {name} in {message}"))
}

/// All values of a header, as a Route has them in the other direction.
fn reversed(message: &str, name: &str) -> String {
    let lines = message.lines().filter_map(|line| line.strip_prefix(name));
    let values: Vec<&str> = lines.filter_map(|line| line.strip_prefix(": ")).collect();
    values
        .iter()
        .rev()
        .map(|value| format!("Route: {value}\r\n"))
        .collect()
}

fn text(socket: &UdpSocket) -> Result<String> {
    Ok(String::from_utf8(receive(socket)?)?)
}

fn request(method: &str, uri: &str, via: &str, headers: &str, to_tag: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bK{method}\r\n{headers}\
         From: <sip:a@example.com>;tag=f\r\nTo: <sip:phone@example.com>{to_tag}\r\nCall-ID: x\r\n\
         CSeq: 1 {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

#[test]
fn phones_behind_nats_are_reached_by_path_and_alias() -> Result<()> {
    let work = WorkDir::new()?;
    let config = fs::read_to_string(example("edge-nat.cfg"))?
        .replace("10.0.3.1", "10.0.1.1")
        .replace("10.0.4.1", "10.0.2.1")
        .replace("10.0.4.2", "10.0.2.2");
    let stage = Stage::of(&work.write("edge-nat.cfg", config)?, |_| Ok(()))?;
    let server = stage.relay.uas.udp(Relay::UAS.sip())?;
    server.set_read_timeout(Some(PATIENCE))?;
    let edge = Relay::CORE_SIDE.sip();

    // The phone takes its own address for 192.168.9.9.
    let contact = "Contact: <sip:phone@192.168.9.9:5062>\r\n";
    let via = "192.168.9.9:5062";
    stage.send(request("REGISTER", "sip:example.com", via, contact, "").as_bytes())?;
    let register = text(&server).with_context(|| stage.corex.log())?;
    let path = value(&register, "Path")?.to_owned();
    ensure!(
        path == "<sip:10.0.2.1;lr;received=sip:10.0.1.2:5060>",
        "{register}"
    );
    ensure!(register.contains(contact), "{register}");
    ensure!(register.contains(";rport=5060") && register.contains(";received=10.0.1.2"));

    // It is called by what the registrar has.
    let headers = format!("Route: {path}\r\nContact: <sip:a@10.0.2.2>\r\n");
    let invite = request(
        "INVITE",
        "sip:phone@192.168.9.9:5062",
        "10.0.2.2",
        &headers,
        "",
    );
    server.send_to(invite.as_bytes(), edge)?;
    let invite = text(&stage.caller).with_context(|| stage.corex.log())?;
    ensure!(!invite.contains("\r\nRoute: "), "{invite}");
    ensure!(
        value(&invite, "Record-Route")? == "<sip:10.0.1.1;r2=on;lr;ftag=f>",
        "{invite}"
    );
    let (_, rest) = invite.split_once("\r\n").context("no line")?;
    let answer = format!("SIP/2.0 200 OK\r\n{rest}")
        .replace("Contact: <sip:a@10.0.2.2>\r\n", contact)
        .replace(
            "To: <sip:phone@example.com>",
            "To: <sip:phone@example.com>;tag=t",
        );
    stage.send(answer.as_bytes())?;
    let answer = text(&server).with_context(|| stage.corex.log())?;
    ensure!(answer.starts_with("SIP/2.0 200 OK\r\n"), "{answer}");
    let target = value(&answer, "Contact")?
        .trim_matches(['<', '>'])
        .to_owned();
    ensure!(
        target == "sip:phone@192.168.9.9:5062;alias=10.0.1.2~5060~1",
        "{answer}"
    );

    // Hung up on by the route of the dialog.
    let routes = reversed(&answer, "Record-Route");
    let bye = request("BYE", &target, "10.0.2.2", &routes, ";tag=t");
    server.send_to(bye.as_bytes(), edge)?;
    let bye = text(&stage.caller).with_context(|| stage.corex.log())?;
    ensure!(
        bye.starts_with("BYE sip:phone@192.168.9.9:5062 SIP/2.0\r\n") && !bye.contains("Route: "),
        "{bye}"
    );

    // What a phone names as its Route doesn't lead past the server.
    let elsewhere = "Route: <sip:10.0.1.1;lr>, <sip:10.0.1.2:5080;lr>\r\n";
    stage.send(request("MESSAGE", "sip:a@example.com", via, elsewhere, "").as_bytes())?;
    let message = text(&server).with_context(|| stage.corex.log())?;
    ensure!(
        message.starts_with("MESSAGE sip:a@example.com SIP/2.0\r\n"),
        "{message}"
    );

    // Without either the edge knows nobody.
    let invite = request("INVITE", "sip:phone@192.168.9.9:5062", "10.0.2.2", "", "");
    server.send_to(invite.as_bytes(), edge)?;
    let reply = text(&server).with_context(|| stage.corex.log())?;
    ensure!(reply.starts_with("SIP/2.0 404 Nobody here\r\n"), "{reply}");
    stage.stop().map(drop)
}
