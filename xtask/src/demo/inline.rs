//! `cargo xtask demo --inline`: an unmodified phone and an unmodified server, and corex on both
//! their hosts.

use std::{path::Path, time::Instant};

use anyhow::{Context as _, Result};
use corex_lab::{
    ObservedBooks, Registrar, SippReport, Stage, baresip::PhoneReport, registrar::Seen, stage::Side,
};

use super::{
    DemoArgs,
    report::{grouped, heading, line, row},
    watch,
};
use crate::ui::{self, Style};

/// Shows it; returns a table of what happened, and what wasn't as it should be.
pub fn run(args: &DemoArgs, binary: &Path) -> Result<(String, Vec<String>)> {
    ui::step("Making the network; starting Kamailio, and corex inline on two hosts");
    let scene = Registrar::start(Some(binary))?;
    let (phone, calls) = ring(args, &scene.stage).with_context(|| scene.logs())?;
    ui::step("Removing the network");
    let seen = scene.finish()?;
    let complaints = complaints(&phone, &calls, &seen, args.calls);
    Ok((table(&phone, &calls, &seen), complaints))
}

/// Has the phone register and call, and many more after it.
pub(super) fn ring(args: &DemoArgs, stage: &Stage) -> Result<(PhoneReport, SippReport)> {
    ui::step("A phone registers with Kamailio, calls, and hangs up");
    let phone = stage.phone()?;
    ui::step(&format!(
        "More phones: {} registrations and calls, {} a second",
        args.calls, args.rate
    ));
    let sipp = stage.calls(args.calls, args.rate)?;
    Ok((phone, watch(sipp, args, Instant::now())?))
}

fn table(phone: &PhoneReport, calls: &SippReport, seen: &Seen) -> String {
    let mut out = String::new();
    phones(&mut out, phone, calls);

    heading(&mut out, "Messages", &["messages", "bytes", "SIP (tshark)"]);
    side(&mut out, "handed to Kamailio's socket", &seen.stack);
    side(&mut out, "on the wire, both ways", &seen.wire);
    line(&mut out, "");

    heading(&mut out, "Roads", &["phone's host", "server's host"]);
    for (label, path) in [
        ("packets seen by XDP", "kernel.seen"),
        ("steered to the hook, coming in", "kernel.steered"),
        ("led to the hook, going out", "inline.egress.detoured"),
        ("handed to the server's socket", "user.delivered"),
        ("sent for the server", "user.sent"),
        ("audio and others, untouched: in", "kernel.passed.no_socket"),
        (
            "audio and others, untouched: out",
            "inline.egress.passed.no_socket",
        ),
        ("dropped in user space", "user.dropped"),
    ] {
        let count = |books: &ObservedBooks| grouped(books.get(path).max(books.sum(path)));
        row(&mut out, label, seen.books.iter().map(count));
    }
    let balance = |books: &ObservedBooks| match books.check_balance() {
        Ok(()) => "balanced".to_owned(),
        Err(_) => "NOT BALANCED".to_owned(),
    };
    row(&mut out, "books", seen.books.iter().map(balance));
    out.trim_end().to_owned()
}

/// What became of the phone and of those after it.
pub(super) fn phones(out: &mut String, phone: &PhoneReport, calls: &SippReport) {
    heading(
        out,
        "Phone and server, neither of which knows of corex",
        &[],
    );
    let word = |good: bool, text: &str| {
        let (style, text) = if good {
            (Style::Good, text.to_owned())
        } else {
            (Style::Bad, format!("NOT {text}"))
        };
        ui::paint(style, &text)
    };
    let text = format!(
        "  baresip: {}, call {}, {}",
        word(phone.registered, "registered"),
        word(phone.established, "established"),
        word(phone.terminated, "ended"),
    );
    line(out, &text);
    let is_fine = calls.failed == 0 && calls.successful > 0;
    let style = if is_fine { Style::Good } else { Style::Bad };
    let text = format!(
        "  more phones: {} registered and called, {} failed",
        calls.successful, calls.failed
    );
    line(out, &ui::paint(style, &text));
    line(out, "");
}

pub(super) fn side(out: &mut String, label: &str, side: &Side) {
    row(
        out,
        label,
        [side.messages, side.bytes, side.sip].map(grouped),
    );
}

/// What isn't as it should be with the phones and the wire.
pub(super) fn of_phones(
    phone: &PhoneReport,
    calls: &SippReport,
    wire: &Side,
    wanted: u64,
) -> Vec<String> {
    let mut complaints = Vec::new();
    if !(phone.registered && phone.established && phone.terminated) {
        complaints.push(format!("The phone failed; it said:\n{}", phone.log));
    }
    if calls.successful != wanted || calls.failed > 0 {
        complaints.push(format!("Not every call succeeded: {calls}"));
    }
    if wire.sip > 0 || wire.messages == 0 {
        complaints.push(format!(
            "On the wire, {} of {} messages can be read as SIP.",
            wire.sip, wire.messages
        ));
    }
    complaints
}

/// What isn't as the demonstration claims; nothing, normally.
fn complaints(phone: &PhoneReport, calls: &SippReport, seen: &Seen, wanted: u64) -> Vec<String> {
    let mut complaints = of_phones(phone, calls, &seen.wire, wanted);
    if seen.stack.sip < seen.stack.messages || seen.stack.messages == 0 {
        complaints.push("Not every message at Kamailio's socket was SIP.".to_owned());
    }
    for (name, books) in ["phone", "server"].iter().zip(&seen.books) {
        if let Err(error) = books.check_balance() {
            complaints.push(format!(
                "The books on the {name}'s host don't balance: {error}"
            ));
        }
    }
    complaints
}
