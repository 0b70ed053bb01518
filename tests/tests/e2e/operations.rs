//! What comes with corex for those who operate it, read by the programs that it is for.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Result, ensure};
use corex_lab::{
    WorkDir, corex::CorexOptions, crowdsec::Crowdsec, process::output_of, topology::Relay, wait,
};

const LIMIT: Duration = Duration::from_secs(60);

fn document(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name)
}

#[test]
fn promtool_takes_the_rules_for_alerts() -> Result<()> {
    let rules = document("prometheus-alerts.yml");
    let said = output_of(Command::new("promtool").args(["check", "rules"]).arg(rules))?;
    ensure!(said.contains("6 rules found"), "{said}");
    Ok(())
}

/// What corex logs when a script blocks 10.0.1.2, which has written into its User-Agent what corex
/// would write if it blocked 198.51.100.7.
fn log_of_who_was_blocked(work: &WorkDir) -> Result<String> {
    let relay = Relay::new()?;
    let text = format!(
        "listen=udp:{}\nloadmodule \"corex.so\"\nloadmodule \"xlog.so\"\n\
         modparam(\"corex\", \"guard\", 1)\n\
         request_route {{ xlog(\"L_INFO\", \"agent: $ua\\n\"); guard_block(\"$si\", 60); drop; }}\n",
        Relay::USER_SIDE.sip()
    );
    let corex = CorexOptions::new(&work.write("corex.cfg", text)?)
        .engine("socket")
        .start(&relay.corex, work.path(), "corex")?;
    let socket = relay.uac.udp(Relay::UAC.sip())?;
    let forged = "guard: blocked: script source=198.51.100.7 len=32 held_back=0";
    let message = format!(
        "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.2;branch=z9hG4bK1\r\nTo: <sip:x>\r\n\
         From: <sip:y>;tag=1\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nUser-Agent: {forged}\r\n\
         Content-Length: 0\r\n\r\n"
    );
    wait::until("the log says who was blocked", LIMIT, || {
        socket.send_to(message.as_bytes(), Relay::USER_SIDE.sip())?;
        std::thread::sleep(Duration::from_millis(100));
        let log = corex.log();
        Ok((log.contains("source=10.0.1.2 ") && log.contains(forged)).then_some(()))
    })?;
    let log = corex.log();
    corex.stop()?.check_balance()?;
    Ok(log)
}

#[test]
fn fail2ban_reads_whom_the_guard_has_blocked_and_nothing_that_others_wrote() -> Result<()> {
    let work = WorkDir::new()?;
    let log = work.write("corex.log.copy", log_of_who_was_blocked(&work)?)?;
    let filter = document("fail2ban/filter.conf");
    let said = output_of(
        Command::new("fail2ban-regex")
            .args(["--out", "ip"])
            .arg(log)
            .arg(filter),
    )?;
    let mut found: Vec<&str> = said.split_whitespace().collect();
    found.dedup();
    ensure!(found == ["10.0.1.2"], "{said}");
    // The unit is a template: its instances log, and nothing of the plain name.
    let jail = std::fs::read_to_string(document("fail2ban/jail.conf"))?;
    ensure!(document("systemd/corex@.service").exists());
    ensure!(jail.contains("_SYSTEMD_UNIT=corex@edge.service"), "{jail}");
    Ok(())
}

#[test]
fn fail2ban_takes_the_jail_and_whole_addresses_of_both_families() -> Result<()> {
    let work = WorkDir::new()?;
    let lines = [
        "guard: blocked: above its rates time and again source=192.0.2.7 len=32 held_back=0",
        "guard: blocked: above its rates time and again source=2001:db8::7 len=128 held_back=3",
        "guard: blocked: above its rates time and again source=2001:db8:1:: len=64 held_back=0",
        "guard: blocked: above its rates time and again source=198.51.100.0 len=24 held_back=0",
    ];
    let log = work.write(
        "some.log",
        lines.map(|line| format!("INFO {line}\n")).concat(),
    )?;
    let said = output_of(
        Command::new("fail2ban-regex")
            .args(["--out", "ip"])
            .arg(log)
            .arg(document("fail2ban/filter.conf")),
    )?;
    let found: Vec<&str> = said.split_whitespace().collect();
    ensure!(found == ["192.0.2.7", "2001:db8::7"], "{said}");
    // Debian's own configuration, with ours as the only jail.
    let folder = work.join("fail2ban");
    output_of(
        Command::new("cp")
            .arg("-a")
            .arg("/etc/fail2ban")
            .arg(&folder),
    )?;
    std::fs::remove_dir_all(folder.join("jail.d"))?;
    std::fs::create_dir(folder.join("jail.d"))?;
    for (from, to) in [
        ("filter", "filter.d/corex.conf"),
        ("jail", "jail.d/corex.conf"),
    ] {
        std::fs::copy(document(&format!("fail2ban/{from}.conf")), folder.join(to))?;
    }
    let said = output_of(
        Command::new("fail2ban-client")
            .arg("-c")
            .arg(&folder)
            .arg("-d"),
    )?;
    for part in [
        "['add', 'corex', 'systemd']",
        "_SYSTEMD_UNIT=corex@edge.service",
        "nftables",
        "'start', 'corex'",
    ] {
        ensure!(said.contains(part), "no {part} in {said}");
    }
    Ok(())
}

#[test]
fn crowdsec_bans_whom_the_guard_has_blocked_and_nobody_of_whom_others_wrote() -> Result<()> {
    let work = WorkDir::new()?;
    let log = log_of_who_was_blocked(&work)?;
    // As it is, and as the journal has it beside what other programs say.
    let line = |program: &str, line: &str| format!("Nov 30 12:00:00 edge {program}[42]: {line}\n");
    let mut journal: String = log.lines().map(|text| line("corex", text)).collect();
    let foreign = "guard: blocked: script source=198.51.100.8 len=32 held_back=0";
    journal.push_str(&line("other", foreign));
    for (kind, text) in [("corex", log), ("syslog", journal)] {
        let crowdsec = Crowdsec::new(
            &document("crowdsec/parser.yaml"),
            &document("crowdsec/scenario.yaml"),
        )?;
        let banned = crowdsec.banned_after(&text, kind)?;
        ensure!(banned == ["10.0.1.2"], "{kind}: {banned:?}");
    }
    Ok(())
}
