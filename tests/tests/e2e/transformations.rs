//! The tables of transformations, asked of the real Kamailio and of corex: the same configuration,
//! the same answers.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use corex_lab::{Kamailio, Process, WorkDir, corex::CorexOptions, topology::Relay};

#[path = "../../../corex-user/script/src/run/transform/tests/cases/mod.rs"]
mod cases;

use cases::{Cases, TABLES};

/// How long either may take to answer all that a configuration asks.
const PATIENCE: Duration = Duration::from_secs(20);

/// Cases in one configuration: Kamailio has all memory that it parses with from the start.
const CONFIG_LEN: usize = 150;

const REQUEST: &str = "OPTIONS sip:x@10.0.2.2 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 10.0.1.2:5060;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
    From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: one\r\nCSeq: 1 OPTIONS\r\n\
    Content-Length: 0\r\n\r\n";

/// A table without the classes of modules that corex has no part of.
fn shared(table: Cases) -> Vec<(&'static str, &'static str, &'static str)> {
    let elsewhere = |transformations: &str| {
        transformations.starts_with("{sql.") || transformations.starts_with("{url.")
    };
    table
        .iter()
        .copied()
        .filter(|(_, transformations, _)| !elsewhere(transformations))
        .collect()
}

/// A configuration that writes one line for each case.
///
/// `+` adds to an integer and appends to a string, so the lengths tell which of them it is.
fn config(table: &[(&str, &str, &str)]) -> String {
    let mut questions = String::new();
    for (case, (input, transformations, _)) in table.iter().enumerate() {
        questions.push_str(&format!(
            r#"    $(avp(x)[*]) = $null;
    $(avp(o)[*]) = $null;
    $avp(x) = {input};
    $avp(o) = $(avp(x){transformations});
    if ($avp(o) == $null) {{
        xlog("@{case}:null@\n");
    }} else {{
        $var(more) = $avp(o) + "0";
        xlog("@{case}:$(avp(o){{s.encode.hexa}}):$(avp(o){{s.len}}):$(var(more){{s.len}})@\n");
    }}
"#
        ));
    }
    format!(
        r#"#!KAMAILIO
listen=udp:{address}
children=1
debug=1
loadmodule "pv.so"
loadmodule "xlog.so"
{textops}
request_route {{
    $var(i) = 1;
    $var(n) = -1;
    $var(a) = "a";
    $var(s) = ",";
    $var(t) = "2";
{questions}    xlog("@end@\n");
    exit;
}}
"#,
        address = Relay::USER_SIDE.sip(),
        textops = if table
            .iter()
            .any(|(_, transformations, _)| transformations.contains("{re."))
        {
            "loadmodule \"textops.so\""
        } else {
            ""
        },
    )
}

/// The answers in a log, each as the tables write it.
fn answers(log: &str, count: usize) -> Result<Vec<String>> {
    let mut answers = vec![None; count];
    for answer in log.split('@') {
        let Some((case, value)) = answer.split_once(':') else {
            continue;
        };
        let place = case.parse::<usize>().ok();
        if let Some(place) = place.and_then(|case| answers.get_mut(case)) {
            *place = Some(written(value).with_context(|| format!("answer {answer}"))?);
        }
    }
    let missing = |case| move || format!("no answer to case {case}:\n{log}");
    let all = answers.into_iter().enumerate();
    all.map(|(case, answer)| answer.with_context(missing(case)))
        .collect()
}

/// `null`, or the value in hexadecimal, its length and its length with a zero added.
fn written(value: &str) -> Result<String> {
    if value == "null" {
        return Ok("$null".to_owned());
    }
    let mut fields = value.split(':');
    let mut field = || fields.next().context("a field");
    let (hexa, len, more) = (field()?, field()?, field()?);
    let digits = hexa.as_bytes().chunks(2);
    let bytes = digits
        .map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?))
        .collect::<Result<Vec<u8>>>()?;
    if len == more {
        return Ok(String::from_utf8(bytes)?);
    }
    let mut text = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(char::from(byte)),
            byte => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    Ok(text)
}

/// Sends the request that makes `process` answer, and waits for the last answer.
fn ask(relay: &Relay, process: &Process, count: usize) -> Result<Vec<String>> {
    let caller = relay.uac.udp(Relay::UAC.sip())?;
    caller.send_to(REQUEST.as_bytes(), Relay::USER_SIDE.sip())?;
    process.wait_for_output("@end@", PATIENCE)?;
    answers(&process.log(), count)
}

fn of_kamailio(relay: &Relay, work: &WorkDir, text: &str, count: usize) -> Result<Vec<String>> {
    let kamailio = Kamailio::start(&relay.corex, work.path(), "kamailio", text, 5060)?;
    let answers = ask(relay, &kamailio.process, count);
    kamailio.stop();
    answers
}

/// The differences between two rows of answers.
fn differences<'a>(
    table: &[(&str, &str, &str)],
    left: impl Iterator<Item = &'a str>,
    right: impl Iterator<Item = &'a str>,
) -> Vec<String> {
    let pairs = table.iter().zip(left.zip(right));
    pairs
        .filter(|(_, (left, right))| left != right)
        .map(|((input, transformations, _), (left, right))| {
            format!("{input} {transformations}: {left} and {right}")
        })
        .collect()
}

#[test]
fn kamailio_still_answers_as_the_tables_say() -> Result<()> {
    for table in TABLES {
        // Times are written in the machine's zone, in the tables in UTC.
        let mut table = shared(table);
        table.retain(|(_, transformations, _)| !transformations.starts_with("{s.ftime"));
        for part in table.chunks(CONFIG_LEN) {
            let (relay, work) = (Relay::new()?, WorkDir::new()?);
            let theirs = of_kamailio(&relay, &work, &config(part), part.len())?;
            let expected = part.iter().map(|(_, _, expected)| *expected);
            let wrong = differences(part, theirs.iter().map(String::as_str), expected);
            ensure!(wrong.is_empty(), "Kamailio, table:\n{}", wrong.join("\n"));
        }
    }
    Ok(())
}

#[test]
fn corex_answers_as_kamailio_does() -> Result<()> {
    for part in TABLES.iter().flat_map(|table| table.chunks(CONFIG_LEN)) {
        let table = shared(part);
        let text = config(&table);
        let (relay, work) = (Relay::new()?, WorkDir::new()?);
        let theirs = of_kamailio(&relay, &work, &text, table.len())?;

        let file = work.write("corex.cfg", text)?;
        let corex = CorexOptions::new(&file)
            .interface("user")
            .interface("core")
            .engine("xdp")
            .start(&relay.corex, work.path(), "corex")?;
        let ours = ask(&relay, &corex.process, table.len());
        corex.stop()?.check_balance()?;
        let wrong = differences(
            &table,
            ours?.iter().map(String::as_str),
            theirs.iter().map(String::as_str),
        );
        ensure!(wrong.is_empty(), "corex, Kamailio:\n{}", wrong.join("\n"));
    }
    Ok(())
}
