//! permissions, ratelimit, secfilter and pike beside the real Kamailio: the same files, the same
//! configuration, the same requests and commands, and what functions return and commands print.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use corex_lab::process::output_of;
use corex_lab::{Kamailio, WorkDir, corex::CorexOptions, topology::Relay};

const PATIENCE: Duration = Duration::from_secs(60);
const ENGINES: [&str; 2] = ["xdp", "socket"];

/// One request: the call that its route makes, how often it is sent, and lines that it has otherwise.
#[derive(Clone, Copy)]
struct Case {
    call: &'static str,
    times: usize,
    from: &'static str,
    agent: &'static str,
    method: &'static str,
    contact: &'static str,
}

const fn case(call: &'static str) -> Case {
    Case {
        call,
        times: 1,
        from: "\"Alice\" <sip:alice@home.example>",
        agent: "phone/1",
        method: "OPTIONS",
        contact: "<sip:alice@10.0.1.2:5060>",
    }
}

fn request(user: &str, case: &Case, number: usize) -> String {
    let Case {
        from,
        agent,
        method,
        contact,
        ..
    } = case;
    format!(
        "{method} sip:{user}@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.2:5060;branch=z9hG4bK{number}\r\n\
         Max-Forwards: 70\r\nFrom: {from};tag=1\r\nTo: <sip:bob@away.example>\r\nCall-ID: {user}-{number}\r\n\
         CSeq: 1 {method}\r\nContact: {contact}\r\nUser-Agent: {agent}\r\nContent-Length: 0\r\n\r\n"
    )
}

/// A configuration that answers a request to `tN` with what call N returns, and any other one.
fn config(work: &Path, name: &str, before: &str, cases: &[Case]) -> String {
    let mut routes = String::new();
    for (number, case) in cases.iter().enumerate() {
        routes += &format!(
            "    if ($rU == \"t{number}\") {{\n        {};\n        $var(rc) = $rc;\n\
             \x20       sl_send_reply(\"200\", \"returned $var(rc)\");\n        exit;\n    }}\n",
            case.call
        );
    }
    format!(
        "#!KAMAILIO\nlisten=udp:10.0.1.1:5060\nchildren=1\ndebug=1\nloadmodule \"pv.so\"\n\
         loadmodule \"sl.so\"\nloadmodule \"ctl.so\"\nloadmodule \"corex.so\"\n\
         modparam(\"ctl\", \"binrpc\", \"unix:{}\")\n{before}\n\
         request_route {{\n{routes}    sl_send_reply(\"200\", \"after\");\n}}\n",
        work.join(format!("{name}.ctl")).display()
    )
}

/// The reason of each reply; `nothing` where there was none before that of the request which follows.
fn ask(relay: &Relay, cases: &[Case]) -> Result<Vec<String>> {
    ask_by(&caller(relay)?, cases)
}

fn caller(relay: &Relay) -> Result<UdpSocket> {
    let caller = relay.uac.udp(Relay::UAC.sip())?;
    caller.set_read_timeout(Some(PATIENCE))?;
    Ok(caller)
}

fn ask_by(caller: &UdpSocket, cases: &[Case]) -> Result<Vec<String>> {
    let to = Relay::USER_SIDE.sip();
    let mut reasons = Vec::new();
    let mut number = 0;
    for (at, case) in cases.iter().enumerate() {
        for _ in 0..case.times {
            number += 1;
            caller.send_to(request(&format!("t{at}"), case, number).as_bytes(), to)?;
            reasons.push(reason(caller, to, number)?);
        }
    }
    Ok(reasons)
}

fn reason(caller: &UdpSocket, to: SocketAddr, number: usize) -> Result<String> {
    caller.send_to(request("after", &case(""), number).as_bytes(), to)?;
    let mut found = "nothing".to_owned();
    let mut buffer = [0; 4096];
    loop {
        let len = caller.recv(&mut buffer).context("no reply")?;
        let text = String::from_utf8_lossy(buffer.get(..len).unwrap_or_default()).into_owned();
        let line = text.lines().next().unwrap_or_default();
        if text.contains(&format!("Call-ID: after-{number}\r\n")) {
            return Ok(found);
        }
        found = line.trim_start_matches("SIP/2.0 200 ").to_owned();
    }
}

/// What commands print, in order.
fn commands(work: &Path, name: &str, all: &[&str]) -> Result<Vec<String>> {
    let socket = format!("unix:{}", work.join(format!("{name}.ctl")).display());
    let one = |command: &&str| {
        let words: Vec<&str> = command.split(' ').collect();
        let said = output_of(Command::new("kamcmd").args(["-s", &socket]).args(words));
        Ok(match said {
            Ok(said) => said,
            Err(error) => format!("{error:#}"),
        })
    };
    all.iter().map(one).collect()
}

/// What both were asked, and what each has that the other hasn't.
struct Stage<'a> {
    before: &'a str,
    kamailio_only: &'a str,
    corex_only: &'a str,
    cases: &'a [Case],
    /// Asked after the requests.
    commands: &'a [&'a str],
}

/// Runs both, corex by both engines, and compares. Returns what functions returned.
fn compare(work: &WorkDir, stage: &Stage<'_>) -> Result<Vec<String>> {
    let relay = Relay::new()?;
    let before = format!("{}\n{}", stage.kamailio_only, stage.before);
    let text = config(work.path(), "kamailio", &before, stage.cases);
    let kamailio = Kamailio::start(&relay.corex, work.path(), "kamailio", &text, 5060)?;
    let theirs = ask(&relay, stage.cases)?;
    let they_say = commands(work.path(), "kamailio", stage.commands)?;
    kamailio.stop();
    for engine in ENGINES {
        let before = format!("{}\n{}", stage.corex_only, stage.before);
        let text = config(work.path(), engine, &before, stage.cases);
        let file = work.write(&format!("{engine}.cfg"), text)?;
        let corex = CorexOptions::new(&file)
            .interface("user")
            .engine(engine)
            .start(&relay.corex, work.path(), engine)?;
        let ours = ask(&relay, stage.cases)?;
        let calls = stage
            .cases
            .iter()
            .flat_map(|case| vec![case.call; case.times]);
        for (call, (theirs, ours)) in calls.zip(theirs.iter().zip(&ours)) {
            ensure!(
                theirs == ours,
                "{call} by {engine}: Kamailio {theirs:?}, corex {ours:?}\n{}",
                corex.log()
            );
        }
        let we_say = commands(work.path(), engine, stage.commands)?;
        for (command, (theirs, ours)) in stage.commands.iter().zip(they_say.iter().zip(&we_say)) {
            let theirs = theirs.replace("kamailio.ctl", &format!("{engine}.ctl"));
            ensure!(
                theirs == *ours,
                "{command} by {engine}: Kamailio\n{theirs}\ncorex\n{ours}"
            );
        }
        corex.stop()?;
    }
    Ok(theirs)
}

#[test]
fn permissions_decide_as_kamailios_do() -> Result<()> {
    let work = WorkDir::new()?;
    work.write(
        "address.list",
        "# comment\n1 10.0.1.0 24\n2 10.0.1.2 32 5060 office\n2 10.0.1.2 32 5061\n3 10.0.1.2 0 0 \n\
         \t4 192.0.2.0 25 5070 net # more\n5 2001:db8::1\n6 2001:db8:1:: 48 0 v6\n7 sip.example.com 0 5060\n\
         1 10.0.9.9 32 0\n1 127.0.0.1\n",
    )?;
    work.write("permissions.allow", "ALL : \"^sip:t5@\"\n")?;
    work.write(
        "permissions.deny",
        "# nobody but\n\"^sip:alice@\" : \"^sip:t[0-9]+@\" EXCEPT \"^sip:t6@\"\nALL : \"@denied.example$\"\n",
    )?;
    work.write("register.allow", "ALL : \"^sip:alice@10\\.0\\.1\\.2$\"\n")?;
    work.write("register.deny", "ALL : ALL\n")?;
    let register = |contact| Case {
        method: "REGISTER",
        contact,
        ..case("allow_register(\"register\")")
    };
    let cases = [
        case("allow_source_address()"),
        case("allow_source_address(\"2\")"),
        case("allow_source_address(\"9\")"),
        case("allow_source_address_group()"),
        case("allow_routing()"),
        case("allow_routing()"),
        case("allow_routing()"),
        case("allow_address(\"4\", \"192.0.2.127\", \"5070\")"),
        case("allow_address(\"4\", \"192.0.2.128\", \"5070\")"),
        case("allow_address(\"4\", \"192.0.2.1\", \"5071\")"),
        case("allow_address(\"5\", \"2001:db8::1\", \"1\")"),
        case("allow_address(\"6\", \"2001:db8:1:2::3\", \"1\")"),
        case("allow_address(\"7\", \"sip.example.com\", \"5060\")"),
        case("allow_address(\"7\", \"sip.example.com\", \"5061\")"),
        case("allow_address_group(\"10.0.1.2\", \"5060\")"),
        case("allow_address_group(\"10.0.1.2\", \"5061\")"),
        case("allow_address_group(\"10.0.1.77\", \"5061\")"),
        case("allow_address_group(\"172.16.0.1\", \"5061\")"),
        case("allow_uri(\"permissions\", \"$ru\")"),
        case("allow_uri(\"permissions\", \"$fu\")"),
        case("append_branch(\"sip:x@denied.example\"); allow_routing(\"permissions\")"),
        case("append_branch(\"sip:x@good.example\"); $ru = \"sip:t6@x\"; allow_routing()"),
        register("<sip:alice@10.0.1.2:5060>"),
        register("<sip:alice@10.0.1.2>, <sip:alice@10.0.1.3>"),
        register("*"),
        Case {
            from: "<sip:bob@home.example>",
            ..case("allow_routing()")
        },
    ];
    let stage = Stage {
        before: "loadmodule \"permissions.so\"\n\
                 modparam(\"permissions\", \"address_file\", \"address.list\")\n\
                 modparam(\"permissions\", \"reload_delta\", 600)",
        kamailio_only: "",
        corex_only: "",
        cases: &cases,
        commands: &[
            "permissions.subnetDump",
            "permissions.domainDump",
            "permissions.testUri register sip:a@b sip:alice@10.0.1.2",
            "permissions.allowUri register sip:a@b sip:bob@10.0.1.2",
            "permissions.testUri unknown sip:a@b sip:bob@10.0.1.2",
            "permissions.addressReload",
            "permissions.addressReload",
        ],
    };
    let returned = compare(&work, &stage)?;
    let kinds: BTreeSet<&String> = returned.iter().collect();
    ensure!(kinds.len() > 2, "{returned:?}");
    Ok(())
}

#[test]
fn addresses_are_dumped_and_read_again_as_in_kamailio() -> Result<()> {
    let work = WorkDir::new()?;
    work.write(
        "address.list",
        "1 10.0.1.2 32 5060 office\n2 10.0.1.2\n1 192.0.2.200 32 0 x\n3 198.51.100.7\n9 2001:db8::1\n",
    )?;
    let stage = Stage {
        before: "loadmodule \"permissions.so\"\n\
                 modparam(\"permissions\", \"address_file\", \"address.list\")",
        kamailio_only: "",
        corex_only: "",
        cases: &[case("allow_source_address(\"2\")")],
        commands: &["permissions.addressDump", "permissions.addressReload"],
    };
    compare(&work, &stage)?;
    // A file with a mistake leaves what was.
    let relay = Relay::new()?;
    let text = config(work.path(), "corex", stage.before, stage.cases).replace(
        "request_route",
        "modparam(\"permissions\", \"reload_delta\", 0)\nrequest_route",
    );
    let file = work.write("corex.cfg", text)?;
    let corex =
        CorexOptions::new(&file)
            .interface("user")
            .start(&relay.corex, work.path(), "corex")?;
    ensure!(ask(&relay, stage.cases)? == ["returned 1"]);
    work.write("address.list", "2 10.0.1.2/32\n")?;
    let said = commands(work.path(), "corex", &["permissions.addressReload"])?;
    ensure!(said.concat().contains("Reload failed."), "{said:?}");
    corex_lab::wait::until("the log says what is wrong", PATIENCE, || {
        let is_said = corex.log().contains("address.list:1:3: this is neither");
        Ok(is_said.then_some(()))
    })?;
    ensure!(ask(&relay, stage.cases)? == ["returned 1"]);
    work.write("address.list", "1 10.0.1.2\n")?;
    let said = commands(work.path(), "corex", &["permissions.addressReload"])?;
    ensure!(said.concat().contains("Reload OK"), "{said:?}");
    ensure!(ask(&relay, stage.cases)? == ["returned -1"]);
    corex.stop().map(drop)
}

#[test]
fn pipes_let_through_what_kamailios_do() -> Result<()> {
    let many = |call, times| Case {
        times,
        ..case(call)
    };
    let invite = |call, times| Case {
        times,
        method: "INVITE",
        ..case(call)
    };
    let cases = [
        many("rl_check()", 620),
        invite("rl_check()", 3),
        many("rl_check_pipe(\"2\")", 5),
        many("rl_check(\"3\")", 2),
        many("rl_check(\"31\")", 1),
        many("rl_check_pipe(\"9\")", 1),
        many("rl_check(\"4\")", 3),
    ];
    // An interval is longer than the test.
    let stage = Stage {
        before: "loadmodule \"ratelimit.so\"\n\
                 modparam(\"ratelimit\", \"timer_interval\", 600)\n\
                 modparam(\"ratelimit\", \"pipe\", \"1:TAILDROP:1\")\n\
                 modparam(\"ratelimit\", \"pipe\", \"2:RED:5\")\n\
                 modparam(\"ratelimit\", \"pipe\", \"3:TAILDROP:0\")\n\
                 modparam(\"ratelimit\", \"pipe\", \"4:FEEDBACK:80\")\n\
                 modparam(\"ratelimit\", \"queue\", \"1:OPTIONS\")\n\
                 modparam(\"ratelimit\", \"queue\", \"3:*\")",
        kamailio_only: "",
        corex_only: "",
        cases: &cases,
        commands: &[
            "rl.stats",
            "rl.get_pipes",
            "rl.get_queues",
            "rl.get_pid",
            "rl.set_pipe 5 RED 7",
            "rl.set_pipe 5 LIFO 7",
            "rl.set_pipe 40 RED 7",
            "rl.set_pipe 3 TAILDROP 9",
            "rl.set_queue 0 REGISTER 5",
            "rl.set_queue 9 REGISTER 5",
            "rl.set_queue 0 REGISTER 77",
            "rl.set_pid 0.5 1.5 2.5",
            "rl.push_load 1.5",
            "rl.push_load 0.5",
            "rl.get_pid",
            "rl.get_pipes",
            "rl.get_queues",
        ],
    };
    let returned = compare(&WorkDir::new()?, &stage)?;
    let passed = returned
        .iter()
        .take(620)
        .filter(|it| *it == "returned 1")
        .count();
    ensure!(passed == 600, "{passed}");
    Ok(())
}

#[test]
fn an_interval_ends_and_the_next_one_begins() -> Result<()> {
    let (relay, work) = (Relay::new()?, WorkDir::new()?);
    let before = "loadmodule \"ratelimit.so\"\nmodparam(\"ratelimit\", \"timer_interval\", 1)\n\
                  modparam(\"ratelimit\", \"pipe\", \"0:TAILDROP:1\")";
    let cases = [case("rl_check(\"0\")")];
    let file = work.write("corex.cfg", config(work.path(), "corex", before, &cases))?;
    let corex =
        CorexOptions::new(&file)
            .interface("user")
            .start(&relay.corex, work.path(), "corex")?;
    let caller = caller(&relay)?;
    let mut said = Vec::new();
    corex_lab::wait::until("requests pass again after one didn't", PATIENCE, || {
        said.extend(ask_by(&caller, &cases)?);
        let refused = said.iter().position(|it| it == "returned -1");
        let later = refused.and_then(|at| said.get(at..)).unwrap_or_default();
        Ok(later.iter().any(|it| it == "returned 1").then_some(()))
    })?;
    corex.stop().map(drop)
}

const RULES: [(u8, u8, &str); 9] = [
    (0, 0, "friendly-scanner"),
    (1, 0, "friendly-phone"),
    (0, 1, "XY"),
    (0, 2, "bad.example"),
    (1, 3, "10.0.1."),
    (0, 4, "mallory"),
    (1, 4, "alice"),
    (2, 0, "00882"),
    (1, 2, "away.example"),
];

#[test]
fn lists_are_compared_as_kamailio_compares_them() -> Result<()> {
    let work = WorkDir::new()?;
    // Kamailio's database of text files.
    let tables = work.join("dbtext");
    std::fs::create_dir_all(&tables)?;
    std::fs::write(
        tables.join("version"),
        "id(int,auto) table_name(string) table_version(int) \n0:secfilter:1\n",
    )?;
    let mut rows = "id(int,auto) action(int) type(int) data(string) \n".to_owned();
    let mut file = String::new();
    for (id, (action, kind, data)) in RULES.iter().enumerate() {
        rows += &format!("{id}:{action}:{kind}:{data}\n");
        file += &format!("{action} {kind} {data}\n");
    }
    std::fs::write(tables.join("secfilter"), rows)?;
    work.write("secfilter.list", file)?;
    let from = |from| Case {
        from,
        ..case("secf_check_from_hdr()")
    };
    let agent = |agent| Case {
        agent,
        ..case("secf_check_ua()")
    };
    let injected = |from, agent| Case {
        from,
        agent,
        ..case("secf_check_sqli_all()")
    };
    let cases = [
        case("secf_check_ip()"),
        agent("Friendly-Scanner/2"),
        agent("FRIENDLY-PHONE"),
        agent("friendly"),
        case("secf_check_country(\"xyz\")"),
        case("secf_check_country(\"de\")"),
        from("\"Alice\" <sip:mallory@bad.example>"),
        from("<sip:mallory2@x.example>"),
        from("Mallory <sip:x@x.example>"),
        from("<sip:alice@bad.example>"),
        from("<sip:x@bad.example.com>"),
        from("<sip:x@x.example>"),
        from("<sip:x.example>"),
        case("secf_check_to_hdr()"),
        case("secf_check_contact_hdr()"),
        case("secf_check_dst(\"00882\")"),
        case("secf_check_dst(\"0088212\")"),
        case("secf_check_sqli_hdr(\"a-b\")"),
        case("secf_check_sqli_hdr(\"a--b\")"),
        case("secf_check_sqli_hdr(\"a%27b\")"),
        injected("<sip:a@b>", "phone"),
        injected("<sip:a@b>", "x'y"),
        injected("<sip:a%60@b>", "phone"),
    ];
    let stage = Stage {
        before: "",
        kamailio_only: &format!(
            "loadmodule \"db_text.so\"\nloadmodule \"secfilter.so\"\n\
             modparam(\"secfilter\", \"db_url\", \"text://{}\")",
            tables.display()
        ),
        corex_only: "loadmodule \"secfilter.so\"\n\
                     modparam(\"secfilter\", \"data_file\", \"secfilter.list\")",
        cases: &cases,
        commands: &[
            "secfilter.stats",
            "secfilter.print ua",
            "secfilter.print user",
            "secfilter.add_bl user eve",
            "secfilter.add_wl ua softphone",
            "secfilter.print user",
            "secfilter.stats_reset",
            "secfilter.stats",
            "secfilter.reload",
            "secfilter.print user",
        ],
    };
    let returned = compare(&work, &stage)?;
    ensure!(returned.contains(&"nothing".to_owned()), "{returned:?}");
    Ok(())
}

/// Rows of the table `trusted`, and lines of trusted_file: address, transport, patterns of From and of the
/// request URI (empty: none), tag, priority.
const PEERS: [(&str, &str, &str, &str, &str, i32); 7] = [
    ("10.0.1.2", "udp", "^sip.alice@", "", "first", 1),
    (
        "10.0.1.2",
        "any",
        "@home.example$",
        "^sip.t[45]@",
        "second",
        5,
    ),
    ("10.0.1.2", "tcp", "", "", "never", 9),
    ("10.0.1.3", "any", "", "", "", 0),
    ("192.0.2.7", "tcp", "^sip.carol@", "", "carol", 0),
    ("192.0.2.7", "tls", "", "t8@", "", 0),
    ("192.0.2.9", "udp", "", "^sip.x@", "", 2),
];

#[test]
fn peers_are_trusted_as_by_kamailios_table() -> Result<()> {
    let work = WorkDir::new()?;
    let tables = work.join("dbtext");
    std::fs::create_dir_all(&tables)?;
    std::fs::write(
        tables.join("version"),
        "id(int,auto) table_name(string) table_version(int) \n0:trusted:6\n1:address:6\n",
    )?;
    let mut rows = "id(int,auto) src_ip(string) proto(string) from_pattern(string,null) \
                    ruri_pattern(string,null) tag(string,null) priority(int) \n"
        .to_owned();
    let mut file = String::new();
    for (id, (address, proto, from, uri, tag, priority)) in PEERS.iter().enumerate() {
        rows += &format!("{id}:{address}:{proto}:{from}:{uri}:{tag}:{priority}\n");
        let or_none = |text: &&str| if text.is_empty() { "-" } else { *text }.to_owned();
        let [from, uri, tag] = [from, uri, tag].map(or_none);
        file += &format!("{address} {proto} {from} {uri} {tag} {priority}\n");
    }
    std::fs::write(tables.join("trusted"), rows)?;
    std::fs::write(
        tables.join("address"),
        "id(int,auto) grp(int) ip_addr(string) mask(int) port(int) tag(string,null) \n0:1:10.0.9.9:32:0:\n",
    )?;
    work.write("trusted.list", file)?;
    work.write("address.list", "1 10.0.9.9 32 0\n")?;
    let from = |from| Case {
        from,
        ..case("allow_trusted()")
    };
    let cases = [
        case("allow_trusted()"),
        from("<sip:bob@home.example>"),
        from("<sip:bob@home.example>"),
        from("<sip:bob@home.example>"),
        from("<sip:bob@home.example>"),
        from("<sip:bob@other.example>"),
        from("<sip:alice@other.example>"),
        case("allow_trusted(\"10.0.1.3\", \"tls\")"),
        case("allow_trusted(\"192.0.2.7\", \"tls\")"),
        case("allow_trusted(\"192.0.2.7\", \"tls\")"),
        case("allow_trusted(\"192.0.2.7\", \"tcp\")"),
        case("allow_trusted(\"192.0.2.7\", \"tcp\", \"sip:carol@x\")"),
        case("allow_trusted(\"192.0.2.7\", \"any\", \"sip:carol@x\")"),
        case("allow_trusted(\"192.0.2.8\", \"udp\")"),
        case("$ru = \"sip:x@y\"; allow_trusted(\"192.0.2.9\", \"udp\")"),
        case("allow_trusted(\"192.0.2.9\", \"udp\")"),
    ];
    for finds_all in [0, 1] {
        let stage = Stage {
            before: &format!(
                "modparam(\"permissions\", \"peer_tag_avp\", \"$avp(tag)\")\n\
                 modparam(\"permissions\", \"peer_tag_mode\", {finds_all})"
            ),
            kamailio_only: &format!(
                "loadmodule \"db_text.so\"\nloadmodule \"permissions.so\"\n\
                 modparam(\"permissions\", \"db_url\", \"text://{}\")\n\
                 modparam(\"permissions\", \"db_mode\", 1)",
                tables.display()
            ),
            corex_only: "loadmodule \"permissions.so\"\n\
                         modparam(\"permissions\", \"trusted_file\", \"trusted.list\")\n\
                         modparam(\"permissions\", \"address_file\", \"address.list\")",
            cases: &cases,
            commands: &["permissions.trustedDump", "permissions.trustedReload"],
        };
        let returned = compare(&work, &stage)?;
        let kinds: BTreeSet<&String> = returned.iter().collect();
        ensure!(kinds.len() > 1, "{returned:?}");
    }
    Ok(())
}

#[test]
fn pike_blocks_at_the_same_request_as_kamailios() -> Result<()> {
    for density in [4, 16, 30] {
        let cases = [Case {
            times: 3 * density,
            ..case("pike_check_req()")
        }];
        // A window is longer than the test.
        let before = format!(
            "loadmodule \"pike.so\"\nmodparam(\"pike\", \"sampling_time_unit\", 600)\n\
             modparam(\"pike\", \"reqs_density_per_unit\", {density})\n\
             modparam(\"pike\", \"remove_latency\", 1200)"
        );
        let stage = Stage {
            before: &before,
            kamailio_only: "",
            corex_only: "",
            cases: &cases,
            commands: &["pike.top x"],
        };
        let returned = compare(&WorkDir::new()?, &stage)?;
        ensure!(returned.contains(&"returned -2".to_owned()), "{returned:?}");
    }
    Ok(())
}

/// Whether a request's call returns something at all, and what.
fn try_once(relay: &Relay, case: &Case, number: usize) -> Result<Option<String>> {
    let caller = relay.uac.udp(SocketAddr::new(Relay::UAC.sip().ip(), 0))?;
    caller.set_read_timeout(Some(Duration::from_millis(300)))?;
    let own = caller.local_addr()?.to_string();
    let request =
        request("t0", case, number).replace("10.0.1.2:5060;branch", &format!("{own};branch"));
    caller.send_to(request.as_bytes(), Relay::USER_SIDE.sip())?;
    let mut buffer = [0; 4096];
    let Ok(len) = caller.recv(&mut buffer) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(buffer.get(..len).unwrap_or_default());
    let line = text.lines().next().unwrap_or_default();
    Ok(Some(line.trim_start_matches("SIP/2.0 200 ").to_owned()))
}

#[test]
fn who_pike_finds_is_dropped_by_the_guard_unless_it_is_allowed() -> Result<()> {
    let case = case("pike_check_req()");
    for engine in ENGINES {
        let (relay, work) = (Relay::new()?, WorkDir::new()?);
        work.write("address.list", "2 10.0.1.0 24\n")?;
        let before = "loadmodule \"permissions.so\"\nloadmodule \"pike.so\"\n\
                      modparam(\"corex\", \"guard\", 1)\n\
                      modparam(\"permissions\", \"address_file\", \"address.list\")\n\
                      modparam(\"permissions\", \"reload_delta\", 0)\n\
                      modparam(\"permissions\", \"guard_group\", 2)\n\
                      modparam(\"pike\", \"sampling_time_unit\", 600)\n\
                      modparam(\"pike\", \"reqs_density_per_unit\", 8)\n\
                      modparam(\"pike\", \"guard_block\", 3000)";
        let text = config(work.path(), engine, before, &[case]);
        let file = work.write(&format!("{engine}.cfg"), text)?;
        let corex = CorexOptions::new(&file)
            .interface("user")
            .engine(engine)
            .start(&relay.corex, work.path(), engine)?;
        let command = |command: &str| -> Result<String> {
            Ok(commands(work.path(), engine, &[command])?.concat())
        };
        // Allowed: however much it sends.
        let flood = [Case { times: 60, ..case }];
        let returned = ask(&relay, &flood)?;
        ensure!(
            returned.iter().all(|it| it == "returned 1"),
            "{engine}: {returned:?}"
        );
        ensure!(
            command("pike.top ALL")?.contains("number_of_rows: 0"),
            "{engine}"
        );
        // Not any more.
        work.write("address.list", "2 10.0.9.0 24\n")?;
        ensure!(command("permissions.addressReload")?.contains("Reload OK"));
        let mut number = 0;
        corex_lab::wait::until("the guard drops it", PATIENCE, || {
            number += 1;
            let returned = try_once(&relay, &case, number)?;
            let listed = command("guard.list")?;
            Ok((returned.is_none() && listed.contains("10.0.1.2")).then_some(()))
        })?;
        corex_lab::wait::until("the log says who is blocked", PATIENCE, || {
            Ok(corex
                .log()
                .contains("PIKE - BLOCKing ip 10.0.1.2")
                .then_some(()))
        })?;
        ensure!(
            command("pike.top")?.contains("ip_addr: 10.0.1.2"),
            "{engine}"
        );
        command("guard.unblock 10.0.1.2")?;
        corex_lab::wait::until("the script has its say again", PATIENCE, || {
            number += 1;
            let returned = try_once(&relay, &case, number)?;
            Ok((returned.as_deref() == Some("returned -1")).then_some(()))
        })?;
        let books = corex.stop()?;
        books.check_balance()?;
    }
    Ok(())
}
