//! `cargo xtask demo --secure`: an unmodified phone behind `corex client`, an unmodified server
//! behind a corex inline, and between them what nobody else can read.

use std::path::Path;

use anyhow::{Context as _, Result};
use corex_lab::{Secure, SippReport, baresip::PhoneReport, secure::Sealed};

use super::{
    DemoArgs,
    inline::{of_phones, phones, ring, side},
    report::{grouped, heading, line, row},
};
use crate::ui;

/// Shows it; returns a table of what happened, and what wasn't as it should be.
pub fn run(args: &DemoArgs, binary: &Path) -> Result<(String, Vec<String>)> {
    ui::step(
        "Making the network; starting Kamailio, corex inline in front of it, and corex client",
    );
    let scene = Secure::start(Some(binary))?;
    let (phone, calls) = ring(args, &scene.stage).with_context(|| scene.logs())?;
    ui::step("Removing the network");
    let seen = scene.finish()?;
    let complaints = complaints(&phone, &calls, &seen, args.calls);
    Ok((table(&phone, &calls, &seen), complaints))
}

fn table(phone: &PhoneReport, calls: &SippReport, seen: &Sealed) -> String {
    let mut out = String::new();
    phones(&mut out, phone, calls);

    heading(&mut out, "Messages", &["messages", "bytes", "SIP (tshark)"]);
    side(&mut out, "handed to Kamailio's socket", &seen.stack);
    side(&mut out, "on the wire, both ways", &seen.wire);
    let sum = |names: [&str; 2]| -> u64 {
        let count = |name| seen.books.get(&format!("user.codec_{name}"));
        names.into_iter().map(count).sum()
    };
    let plain = sum(["in_after", "out_before"]);
    let percent = (sum(["in_before", "out_after"]) * 100)
        .checked_div(plain)
        .unwrap_or(0);
    let text = format!(
        "  compressed, sealed, and within HTTP: {percent} % of the plain messages' {} bytes",
        grouped(plain)
    );
    line(&mut out, &text);
    line(&mut out, "");

    heading(&mut out, "A message on the wire begins", &[]);
    for text in seen.head.lines() {
        line(&mut out, &format!("  {text}"));
    }
    line(&mut out, "");

    heading(&mut out, "Keys, and roads of the server's host", &[]);
    for (label, path) in [
        ("devices that brought a key", "keys.enrolled"),
        ("packets seen by XDP", "kernel.seen"),
        ("opened for the server", "user.delivered"),
        ("sealed for it", "user.sent"),
        ("audio and others, untouched", "kernel.passed.no_socket"),
        ("dropped in user space", "user.dropped"),
    ] {
        let count = seen.books.get(path).max(seen.books.sum(path));
        row(&mut out, label, [grouped(count)]);
    }
    let balance = match seen.books.check_balance() {
        Ok(()) => "balanced",
        Err(_) => "NOT BALANCED",
    };
    row(&mut out, "books", [balance.to_owned()]);
    out.trim_end().to_owned()
}

/// What isn't as the demonstration claims; nothing, normally.
fn complaints(phone: &PhoneReport, calls: &SippReport, seen: &Sealed, wanted: u64) -> Vec<String> {
    let mut complaints = of_phones(phone, calls, &seen.wire, wanted);
    if seen.books.get("keys.enrolled") == 0 {
        complaints.push(format!(
            "No device brought a key; the client said:\n{}",
            seen.client
        ));
    }
    if let Err(error) = seen.books.check_balance() {
        complaints.push(format!("The books don't balance: {error}"));
    }
    complaints
}
