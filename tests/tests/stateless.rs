//! Stateless proxying against the real Kamailio: the same configuration and the same requests,
//! and what leaves is the same but for what each makes up itself.

use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use corex_lab::{Kamailio, WorkDir, corex::CorexOptions, topology::Relay};

/// What arrives in this time arrives; on veth it takes far less.
const PATIENCE: Duration = Duration::from_millis(300);

/// A case: the user that the request URI names, statements, and the sender's Via behind the
/// sent-by host.
struct Case {
    statements: &'static str,
    via: &'static str,
    method: &'static str,
}

const fn case(statements: &'static str) -> Case {
    Case {
        statements,
        via: ":5060;branch=z9hG4bK1",
        method: "OPTIONS",
    }
}

const fn via(via: &'static str, statements: &'static str) -> Case {
    Case {
        statements,
        via,
        method: "OPTIONS",
    }
}

/// Cases that send one message to the answering side, or one reply.
const CASES: &[Case] = &[
    case("forward();"),
    via(":5060;branch=z9hG4bK1;rport", "forward();"),
    via(":5060;rport;branch=z9hG4bK1;x=y", "forward();"),
    via(";branch=z9hG4bK1", "forward();"),
    via(":5060;branch=old", "forward();"),
    case("force_rport(); forward();"),
    via(":5060;branch=z9hG4bK1;rport", "force_rport(); forward();"),
    case("rewriteuri(\"sip:new@10.0.2.2\"); forward();"),
    case("sethost(\"h.example\"); setport(\"5099\"); setuser(\"u\"); forward();"),
    case("prefix(\"00\"); strip_tail(1); forward();"),
    case("$rU = \"other\"; $rd = \"d.example\"; $rp = 5071; forward();"),
    case("append_hf(\"X-1: a\\r\\n\"); append_hf(\"X-2: b\\r\\n\"); forward();"),
    case("insert_hf(\"X-1: a\\r\\n\"); insert_hf(\"X-2: b\\r\\n\"); forward();"),
    case("append_hf(\"X-1: a\\r\\n\", \"From\"); insert_hf(\"X-2: b\\r\\n\", \"To\"); forward();"),
    case("remove_hf(\"Subject\"); remove_hf(\"X-A\"); forward();"),
    case("remove_hf_re(\"^X-\"); forward();"),
    case("if (search(\"HELLO\")) append_hf(\"X-1: found\\r\\n\"); forward();"),
    case("if (search_body(\"^hello\")) append_hf(\"X-1: found\\r\\n\"); forward();"),
    case("if (search(\"^Subj.*lo$\")) append_hf(\"X-1: found\\r\\n\"); forward();"),
    case("replace(\"hello\", \"BYE\"); forward();"),
    case("replace_all(\"hello\", \"ADIEU\"); forward();"),
    case("replace_body(\"hello\", \"BYE-BYE\"); forward();"),
    case("replace_body_all(\"l\", \"\"); forward();"),
    case("subst(\"/(h)(ello)/\\2\\1/g\"); forward();"),
    case("subst(\"/HELLO/bye/i\"); forward();"),
    case("subst_body(\"/l+/L/g\"); forward();"),
    case("subst_hf(\"Subject\", \"/hello/HH/\", \"a\"); forward();"),
    case("subst_uri(\"/(.*)@(.*)/\\1@new.\\2/\"); forward();"),
    case("subst_user(\"/t/TT/\"); forward();"),
    case("search_append(\"Subject: \", \"PRE-\"); forward();"),
    case("mf_process_maxfwd_header(\"10\"); forward();"),
    case("if (is_maxfwd_lt(\"71\") == 1) append_hf(\"X-1: lt\\r\\n\"); forward();"),
    case("add_uri_param(\"a=b\"); forward();"),
    case(
        "if (is_method(\"INVITE|OPTIONS\") && !has_totag()) append_hf(\"X-1: y\\r\\n\"); forward();",
    ),
    case("if (is_present_hf(\"l\") && has_body(\"a/b\")) append_hf(\"X-1: y\\r\\n\"); forward();"),
    case("setflag(3); if (isflagset(3) && !isflagset(4)) append_hf(\"X-1: y\\r\\n\"); forward();"),
    case(
        "append_hf(\"X-1: $fU $fd $tU $ft $cT $cl $bs $rm $hdr(X-A) $(hdr(Subject){s.len})\\r\\n\"); forward();",
    ),
    case(
        "append_hf(\"X-1: $oU $od $du $dd $dp $rz $ci $cs $si $sp $Ri $Rp $pr\\r\\n\"); forward();",
    ),
    case(
        "append_hf(\"X-1: $time(mon) $time(year) $time(wday) $time(yday) $time(mday) $time(hour) $utime(isdst)\\r\\n\"); forward();",
    ),
    case(
        "append_hf(\"X-1: $(hdr(From){nameaddr.uri}) $(ru{uri.host}) $(rb{s.select,1, }) $fn $tt\\r\\n\"); forward();",
    ),
    case("sl_send_reply(\"404\", \"Not here\");"),
    via(
        ":5060;branch=z9hG4bK1;rport",
        "sl_send_reply(\"200\", \"OK\");",
    ),
    case("force_rport(); sl_send_reply(\"200\", \"OK\");"),
    case("append_to_reply(\"X-1: a\\r\\n\"); sl_send_reply(\"486\", \"Busy\");"),
    case("sl_send_reply(\"100\", \"Trying\");"),
    case(
        "append_branch(\"sip:a@b\", \"0.75\"); append_branch(\"sip:c@d:99;x=y\", \"0.5\"); sl_send_reply(\"300\", \"Multiple\");",
    ),
    case("append_branch(\"sip:a@b\"); sl_send_reply(\"302\", \"Moved\");"),
    case("append_branch(\"sip:a@b\", \"2\"); sl_send_reply(\"302\", \"Moved\");"),
    case("send_udp(\"10.0.2.2\");"),
    case("send_udp(\"10.0.2.2:5060\");"),
    case("send_udp();"),
    case("$du = $null; $ru = \"sip:x@10.0.2.2\"; send_udp();"),
    Case {
        statements: "forward();",
        via: ":5060;branch=z9hG4bK1",
        method: "CANCEL",
    },
    Case {
        statements: "forward();",
        via: ":5060;branch=z9hG4bK1",
        method: "ACK",
    },
];

fn request(number: usize, case: &Case) -> String {
    let method = case.method;
    format!(
        "{method} sip:t{number}@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.2{}\r\n\
         From: \"A\" <sip:x@y.example>;tag=f1\r\nTo: <sip:z@y>\r\nCall-ID: c{number}\r\n\
         CSeq: 1 {method}\r\nMax-Forwards: 70\r\nSubject: hello\r\nX-A: hello\r\n\
         Content-Type: a/b\r\nContent-Length: 11\r\n\r\nhello hello",
        case.via
    )
}

fn config(send_name: &str, routes: &str) -> String {
    let routes = routes.replace("send_udp(", &format!("{send_name}("));
    format!(
        r#"#!KAMAILIO
listen=udp:{address}
children=1
debug=1
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "corex.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "maxfwd.so"
{routes}
"#,
        address = Relay::USER_SIDE.sip(),
    )
}

/// What came, and to whom.
#[derive(PartialEq, Eq, Debug)]
enum Came {
    Forwarded(String),
    Replied(String),
    Nothing,
}

/// Takes away what each makes up itself.
fn normal(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = Vec::new();
    let mut is_top = true;
    for line in text.split("\r\n") {
        if line.starts_with("Server:") {
            continue;
        }
        let mut line = line.to_owned();
        if line.starts_with("Via: SIP/2.0/UDP 10.0.1.1") && is_top {
            is_top = false;
            let end = line.find(";branch=").unwrap_or(line.len());
            line.truncate(end);
        }
        if line.starts_with("To:")
            && let Some(at) = line.find(";tag=")
        {
            line.truncate(at + 5);
        }
        // corex counts it down in forward(), which Kamailio leaves to the script.
        if line == "Max-Forwards: 69" {
            line = "Max-Forwards: 70".to_owned();
        }
        lines.push(line);
    }
    lines.join("\r\n")
}

fn wait(sockets: [&UdpSocket; 2]) -> Result<Came> {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = vec![0; 65_536];
    while Instant::now() < deadline {
        for (at, socket) in sockets.into_iter().enumerate() {
            socket.set_read_timeout(Some(Duration::from_millis(2)))?;
            if let Ok(len) = socket.recv(&mut buffer) {
                let text = normal(buffer.get(..len).unwrap_or_default());
                return Ok(match at {
                    0 => Came::Forwarded(text),
                    _ => Came::Replied(text),
                });
            }
        }
    }
    Ok(Came::Nothing)
}

fn exchange(relay: &Relay, inputs: &[String], to: SocketAddr) -> Result<Vec<Came>> {
    let answerer = relay.uas.udp(Relay::UAS.sip())?;
    let caller = relay.uac.udp(Relay::UAC.sip())?;
    inputs
        .iter()
        .map(|input| {
            caller.send_to(input.as_bytes(), to)?;
            wait([&answerer, &caller])
        })
        .collect()
}

/// Runs both; returns what came from Kamailio and from corex.
fn both(routes: &str, inputs: &[String]) -> Result<(Vec<Came>, Vec<Came>)> {
    let work = WorkDir::new()?;
    let relay = Relay::new()?;
    let text = config("send_udp", routes);
    let kamailio = Kamailio::start(&relay.corex, work.path(), "kamailio", &text, 5060)?;
    let theirs = exchange(&relay, inputs, Relay::USER_SIDE.sip())?;
    kamailio.stop();
    let file = work.write("corex.cfg", config("send", routes))?;
    let corex = CorexOptions::new(&file)
        .interface("user")
        .interface("core")
        .engine("xdp")
        .start(&relay.corex, work.path(), "corex")?;
    let ours = exchange(&relay, inputs, Relay::USER_SIDE.sip())?;
    corex.stop()?.check_balance()?;
    Ok((theirs, ours))
}

#[test]
fn what_is_forwarded_and_replied_is_what_kamailio_sends() -> Result<()> {
    let mut routes = String::from("request_route {\n$du = \"sip:10.0.2.2\";\nswitch ($rU) {\n");
    for (number, case) in CASES.iter().enumerate() {
        routes.push_str(&format!("case \"t{number}\": {} break;\n", case.statements));
    }
    routes.push_str("}\nexit;\n}\n");
    let inputs: Vec<String> = CASES
        .iter()
        .enumerate()
        .map(|(number, case)| request(number, case))
        .collect();
    let (theirs, ours) = both(&routes, &inputs)?;
    let mut differing = Vec::new();
    for ((case, theirs), ours) in CASES.iter().zip(&theirs).zip(&ours) {
        if theirs != ours {
            differing.push(format!(
                "{} (Via …{})\nKamailio {theirs:?}\ncorex    {ours:?}",
                case.statements, case.via
            ));
        }
    }
    ensure!(differing.is_empty(), "{}", differing.join("\n\n"));
    ensure!(ours.iter().filter(|came| **came == Came::Nothing).count() <= 1);
    Ok(())
}

/// Hosts and ports around those that are ours.
fn uris() -> Vec<String> {
    let hosts = [
        "10.0.1.1",
        "10.0.1.2",
        "10.0.2.1",
        "127.0.0.1",
        "alias.example",
        "ALIAS.Example",
        "sub.alias.example",
        "xalias.example",
        "alias.example.org",
        "tcponly.example",
        "port.example",
        "kamailio.org",
        "sip.kamailio.org",
        "a.b.kamailio.org",
        "evilkamailio.org",
        "kamailio.org.evil",
        "SIP.KAMAILIO.ORG",
        "udp.sub.example",
        "a.udp.sub.example",
        "ported.sub.example",
        "a.ported.sub.example",
        "example.com",
    ];
    let ends = [
        "",
        ":5060",
        ":5061",
        ":5070",
        ":0",
        ";transport=udp",
        ";transport=tcp",
        ":5060;transport=udp",
        ":5070;transport=tcp",
        ":5061;transport=tls",
    ];
    let with = |host: &str| ends.map(|end| format!("sip:u@{host}{end}"));
    hosts.iter().flat_map(|host| with(host)).collect()
}

#[test]
fn myself_is_whom_kamailio_takes_for_itself() -> Result<()> {
    let uris = uris();
    ensure!(uris.len() >= 200);
    let routes = r#"
alias="alias.example"
alias=tcp:"tcponly.example"
alias=udp:"port.example":5070
modparam("corex", "alias_subdomains", "kamailio.org")
modparam("corex", "alias_subdomains", "udp:udp.sub.example")
modparam("corex", "alias_subdomains", "ported.sub.example:5070")
request_route {
    if (uri == myself) sl_send_reply("200", "Myself");
    else sl_send_reply("404", "Another");
    exit;
}
"#;
    let inputs: Vec<String> = uris
        .iter()
        .enumerate()
        .map(|(number, uri)| {
            let text = request(number, &case(""));
            text.replace(&format!("sip:t{number}@example.com"), uri)
        })
        .collect();
    let (theirs, ours) = both(routes, &inputs)?;
    let line = |came: &Came| match came {
        Came::Replied(text) => text.lines().next().unwrap_or_default().to_owned(),
        other => format!("{other:?}"),
    };
    let mut differing = Vec::new();
    let mut mine = 0;
    for ((uri, theirs), ours) in uris.iter().zip(&theirs).zip(&ours) {
        mine += usize::from(line(ours).contains("200"));
        if line(theirs) != line(ours) {
            differing.push(format!(
                "{uri}: Kamailio {}, corex {}",
                line(theirs),
                line(ours)
            ));
        }
    }
    ensure!(differing.is_empty(), "{}", differing.join("\n"));
    ensure!(
        mine > 20 && mine < uris.len() - 20,
        "{mine} of {}",
        uris.len()
    );
    Ok(())
}

/// Expressions that both must compute to the same value. `$var(n)` is 7, `$var(s)` "abc",
/// `$avp(i)` 5, `$avp(t)` "12".
const EXPRESSIONS: &[&str] = &[
    "1 + 2 * 3",
    "(1 + 2) * 3",
    "7 / 2",
    "-7 / 2",
    "7 mod 4",
    "10 - 3 - 2",
    "1 << 5",
    "256 >> 3",
    "6 & 3",
    "6 | 3",
    "6 ^ 3",
    "~5",
    "-$var(n)",
    "$var(n) + $avp(i)",
    "$var(s) + $var(n)",
    "$var(n) + $avp(t)",
    "$avp(t) + 1",
    "$avp(i) + \"1\"",
    "\"x\" + \"y\"",
    "(int)\"42\" + 1",
    "(str)42 + 1",
    "$var(n) == 7",
    "$var(n) == \"7\"",
    "$avp(t) == 12",
    "$avp(t) == \"12\"",
    "$var(s) == \"abc\"",
    "$var(s) == \"ABC\"",
    "$var(s) != \"abd\"",
    "$var(s) =~ \"^A\"",
    "$var(s) =~ \"b.$\"",
    "!($var(s) =~ \"x\")",
    "$var(n) > 6",
    "$var(n) >= 7",
    "$var(n) < 7",
    "$var(n) <= 6",
    "1 && 0",
    "1 || 0",
    "0 || 0",
    "!0",
    "!5",
    "$avp(none) == $null",
    "$avp(i) == $null",
    "$var(none) == 0",
    "defined $avp(i)",
    "defined $avp(none)",
    "strlen($var(s))",
    "strempty(\"\")",
    "strempty($var(s))",
    "$var(n) == 7 && $var(s) == \"abc\" || 0",
    "1 + 2 == 3",
    "2 * 3 > 5 && 1",
    "$(var(s){s.len}) + 1",
    "$(var(s){s.toupper}) + $(var(s){s.substr,1,1})",
    "$ml + 0 > 100",
    "$cs + 1",
    "$cl / 2",
    "$rp + 1",
    "$Rp + 1",
    "$sp + 1",
    "$op + 1",
    "$dp + 1",
    "$bs + 1",
    "$cl + 1",
    "$ml + 1",
    "$mt + 1",
    "$rU + 1",
    "-1 && 1",
    "-1 || 0",
    "!(-5)",
    "-1",
    "$var(n) - 9",
    "$avp(i) - 5",
    "$var(s) + \"1\"",
    "is_method(\"OPTIONS\")",
    "is_method(\"INVITE\")",
    "!is_method(\"INVITE\")",
    "is_method(\"INVITE\") || $var(n) == 7",
    "is_method(\"OPTIONS\") && has_body(\"a/b\")",
    "(is_method(\"INVITE\") || 0) == 0",
];

#[test]
fn expressions_have_the_values_that_kamailio_gives_them() -> Result<()> {
    let mut routes = String::from(
        "request_route {\n$var(n) = 7; $var(s) = \"abc\"; $avp(i) = 5; $avp(t) = \"12\";\n",
    );
    for (number, expression) in EXPRESSIONS.iter().enumerate() {
        routes.push_str(&format!(
            "$var(r) = {expression}; append_hf(\"X-{number}: $var(r)\\r\\n\");\n"
        ));
        routes.push_str(&format!(
            "if ({expression}) append_hf(\"Y-{number}: true\\r\\n\"); \
             else append_hf(\"Y-{number}: false\\r\\n\");\n"
        ));
    }
    routes.push_str("$du = \"sip:10.0.2.2\"; forward(); exit;\n}\n");
    let (theirs, ours) = both(&routes, &[request(0, &case(""))])?;
    let ([Came::Forwarded(theirs)], [Came::Forwarded(ours)]) = (&*theirs, &*ours) else {
        anyhow::bail!("{theirs:?}\n{ours:?}");
    };
    let value = |text: &str, name: String| {
        let line = text.lines().find(|line| line.starts_with(&name));
        line.unwrap_or_default().to_owned()
    };
    let mut differing = Vec::new();
    for (number, expression) in EXPRESSIONS.iter().enumerate() {
        for kind in ["X", "Y"] {
            let name = format!("{kind}-{number}: ");
            let (theirs, ours) = (value(theirs, name.clone()), value(ours, name));
            ensure!(!ours.is_empty(), "{expression}");
            if theirs != ours {
                differing.push(format!("{expression}: Kamailio {theirs}, corex {ours}"));
            }
        }
    }
    ensure!(differing.is_empty(), "{}", differing.join("\n"));
    Ok(())
}

#[test]
fn flow_of_control_and_return_codes_are_kamailios() -> Result<()> {
    let routes = r#"
request_route {
    $du = "sip:10.0.2.2";
    route(A);
    append_hf("X-rc: $rc\r\n");
    if (route(B)) append_hf("X-B: true\r\n"); else append_hf("X-B: false\r\n");
    if (route(C)) append_hf("X-C: true\r\n"); else append_hf("X-C: false\r\n");
    $var(i) = 0;
    while ($var(i) < 5) {
        $var(i) = $var(i) + 1;
        if ($var(i) == 4) break;
        append_hf("X-i: $var(i)\r\n");
    }
    switch ($var(i)) {
        case 1:
            append_hf("X-s: 1\r\n");
        case 4:
            append_hf("X-s: 4\r\n");
        case 5:
            append_hf("X-s: 5\r\n");
            break;
        default:
            append_hf("X-s: d\r\n");
    }
    switch ($rm) {
        case /"^OPT":
            append_hf("X-m: options\r\n");
            break;
        default:
            append_hf("X-m: other\r\n");
    }
    if (method == "OPTIONS") append_hf("X-1: method\r\n");
    if (uri =~ "^sip:t0@") append_hf("X-2: uri\r\n");
    if (src_ip == 10.0.1.2) append_hf("X-3: src_ip\r\n");
    if (src_ip == 10.0.1.0/24) append_hf("X-4: network\r\n");
    if (dst_port == 5060) append_hf("X-5: dst_port\r\n");
    if (msg:len > 100) append_hf("X-6: len\r\n");
    if (proto == UDP) append_hf("X-7: proto\r\n");
    if (from_uri =~ "y.example") append_hf("X-8: from\r\n");
    $avp(l) = "1"; $avp(l) = "2"; $avp(l) = "3";
    append_hf("X-9: $avp(l) $(avp(l)[1]) $(avp(l)[2]) $(avp(l)[3])\r\n");
    $avp(l) = $null;
    append_hf("X-10: $avp(l)\r\n");
    $(avp(l)[*]) = "only";
    append_hf("X-11: $avp(l) $(avp(l)[1])\r\n");
    route(E);
    append_hf("X-12: not here\r\n");
}
route[A] { return 5; }
route[B] { return -1; }
route[C] { if (1) { return; } append_hf("X-c: no\r\n"); }
route[E] { forward(); exit; }
"#;
    let (theirs, ours) = both(&routes.replace("\\\\", "\\"), &[request(0, &case(""))])?;
    ensure!(matches!(ours.as_slice(), [Came::Forwarded(_)]), "{ours:?}");
    ensure!(theirs == ours, "Kamailio {theirs:?}\ncorex    {ours:?}");
    Ok(())
}
