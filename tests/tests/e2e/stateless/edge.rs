//! What an edge needs: Record-Route and Route, Path, contacts behind NATs.

use anyhow::{Result, ensure};

use super::{Came, both};

/// A case: statements, and the parts of the request that they are about.
struct Case {
    statements: &'static str,
    /// The request URI behind its user.
    host: &'static str,
    to_tag: &'static str,
    /// Header lines.
    headers: &'static str,
    method: &'static str,
    body: &'static str,
}

const PLAIN: Case = Case {
    statements: "",
    host: "example.com",
    to_tag: "",
    headers: "",
    method: "INVITE",
    body: "",
};

const fn first(statements: &'static str) -> Case {
    Case {
        statements,
        ..PLAIN
    }
}

/// A request inside of a dialog, with Routes.
const fn later(headers: &'static str, statements: &'static str) -> Case {
    Case {
        statements,
        to_tag: ";tag=t1",
        headers,
        method: "BYE",
        ..PLAIN
    }
}

/// One from a strict router, or for another host.
const fn later_to(host: &'static str, headers: &'static str, statements: &'static str) -> Case {
    Case {
        host,
        ..later(headers, statements)
    }
}

const fn contact(headers: &'static str, statements: &'static str) -> Case {
    Case {
        headers,
        statements,
        ..PLAIN
    }
}

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 10.9.9.9\r\ns=-\r\nc=IN IP4 10.9.9.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
const SDP_PUBLIC: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

/// Says what the script knows then, and sends the request to the other side.
const SEEN: &str = "append_hf(\"X-1: $rc $ru $du $fs\\r\\n\"); $du = \"sip:10.0.2.2\"; forward();";
const AWAY: &str = "$du = \"sip:10.0.2.2\"; forward();";
const ACROSS: &str = "$du = \"sip:10.0.2.2\"; $fs = \"udp:10.0.2.1:5060\"; forward();";

const LOOSE: &str = "loose_route(); SEEN";

/// Cases for a configuration that sets no parameters.
const CASES: &[Case] = &[
    first("record_route(); AWAY"),
    first("record_route(); ACROSS"),
    first("record_route(\";a=b;c\"); ACROSS"),
    first("add_rr_param(\";x=1\"); record_route(); add_rr_param(\";y=2\"); ACROSS"),
    first("record_route(); if (!record_route()) append_hf(\"X-1: twice\\r\\n\"); AWAY"),
    first("record_route_preset(\"edge.example:5070\"); AWAY"),
    first("record_route_preset(\"edge.example:5070;r2=on\", \"10.0.1.1;r2=on\"); AWAY"),
    first("add_rr_param(\";x=1\"); record_route_preset(\"edge.example\"); AWAY"),
    first("record_route_advertised_address(\"edge.example:5070\"); AWAY"),
    first("record_route_advertised_address(\"edge.example\"); ACROSS"),
    first("append_hf(\"X-1: $rdir(name) $rdir(id) $fti $tti\\r\\n\"); AWAY"),
    contact(
        "Record-Route: <sip:192.0.2.1;lr>\r\n",
        "record_route(); AWAY",
    ),
    // Loose routers on both sides.
    later("", LOOSE),
    later("Route: <sip:10.0.1.1;lr>\r\n", LOOSE),
    later("Route: <sip:10.0.2.1;lr>\r\n", LOOSE),
    later(
        "Route: <sip:10.0.1.1;lr;ftag=f1>, <sip:10.0.2.2;lr>\r\n",
        "loose_route(); append_hf(\"X-1: $rc $ru $du\\r\\n\"); forward();",
    ),
    later(
        "Route: <sip:10.0.1.1;lr>\r\nX: y\r\nRoute: <sip:10.0.2.2;lr>\r\n",
        LOOSE,
    ),
    later(
        "Route: <sip:10.0.1.1;r2=on;lr>, <sip:10.0.2.1;r2=on;lr>\r\n",
        LOOSE,
    ),
    later(
        "Route: <sip:10.0.1.1;r2=on;lr>,<sip:10.0.2.1;r2=on;lr>, <sip:192.0.2.1;lr>\r\n",
        LOOSE,
    ),
    later(
        "Route: <sip:10.0.1.1;r2=on;lr>\r\nRoute: <sip:10.0.2.1;r2=on;lr>\r\nRoute: <sip:192.0.2.1;lr>\r\n",
        LOOSE,
    ),
    later("Route: <sip:192.0.2.1;lr>, <sip:192.0.2.2;lr>\r\n", LOOSE),
    later(
        "Route: \"A, B\" <sip:10.0.1.1;lr>;p=q, <sip:192.0.2.2;lr>\r\n",
        LOOSE,
    ),
    later(
        "Route: <sip:u@10.0.1.1:5060;lr=on>, <sip:192.0.2.2:5070;lr>\r\n",
        LOOSE,
    ),
    later("Route: <sip:10.0.1.1:5061;lr>\r\n", LOOSE),
    later("Route: nonsense\r\n", LOOSE),
    // Strict routers behind us.
    later(
        "Route: <sip:10.0.1.1;lr>, <sip:192.0.2.1>, <sip:192.0.2.2;lr>\r\n",
        LOOSE,
    ),
    later("Route: <sip:192.0.2.1>\r\n", LOOSE),
    later(
        "Route: <sip:10.0.1.1;lr>\r\nRoute: <sip:192.0.2.1:5080>\r\n",
        LOOSE,
    ),
    // And in front of us.
    later_to(
        "10.0.1.1",
        "Route: <sip:192.0.2.1;lr>, <sip:bob@192.0.2.2>\r\n",
        LOOSE,
    ),
    later_to(
        "10.0.1.1",
        "Route: <sip:192.0.2.1>, <sip:bob@192.0.2.2>\r\n",
        LOOSE,
    ),
    later_to("10.0.1.1", "Route: <sip:bob@192.0.2.2>\r\n", LOOSE),
    later_to(
        "10.0.1.1;lr;r2=on",
        "Route: <sip:10.0.2.1;lr;r2=on>, <sip:192.0.2.1;lr>, <sip:bob@192.0.2.2>\r\n",
        LOOSE,
    ),
    later_to(
        "10.0.1.1;lr;r2=on",
        "Route: <sip:10.0.2.1;lr;r2=on>\r\nRoute: <sip:192.0.2.1;lr>\r\nRoute: <sip:bob@192.0.2.2>\r\n",
        LOOSE,
    ),
    later_to(
        "10.0.1.1",
        "Route: <sip:10.0.1.1;lr>, <sip:192.0.2.2;lr>\r\n",
        "loose_route_mode(\"1\"); SEEN",
    ),
    // Outside of a dialog.
    contact("Route: <sip:10.0.1.1;lr>\r\n", LOOSE),
    contact("Route: <sip:10.0.1.1;lr>, <sip:192.0.2.1;lr>\r\n", LOOSE),
    contact(
        "Route: <sip:10.0.1.1;lr>\r\n",
        "if (loose_route_preloaded()) append_hf(\"X-2: y\\r\\n\"); SEEN",
    ),
    contact(
        "Route: <sip:10.0.1.1;lr>, <sip:192.0.2.1;lr>\r\n",
        "if (rr_next_hop_route()) append_hf(\"X-2: n\\r\\n\"); loose_route(); if (rr_next_hop_route()) append_hf(\"X-2: y\\r\\n\"); SEEN",
    ),
    // Directions.
    later(
        "Route: <sip:10.0.1.1;lr;ftag=f1>\r\n",
        "loose_route(); if (is_direction(\"downstream\")) append_hf(\"X-2: down\\r\\n\"); append_hf(\"X-3: $rdir(name) $fti $tti $route_uri\\r\\n\"); SEEN",
    ),
    later(
        "Route: <sip:10.0.1.1;lr;ftag=t1>\r\n",
        "loose_route(); if (is_direction(\"upstream\")) append_hf(\"X-2: up\\r\\n\"); append_hf(\"X-3: $rdir(id) $fti $tti\\r\\n\"); record_route(); SEEN",
    ),
    later(
        "Route: <sip:10.0.1.1;lr;ftag=other>\r\n",
        "if (is_direction(\"upstream\")) append_hf(\"X-2: up\\r\\n\"); AWAY",
    ),
    later(
        "Route: <sip:192.0.2.1;lr;ftag=other>\r\n",
        "if (is_direction(\"upstream\")) append_hf(\"X-2: up\\r\\n\"); AWAY",
    ),
    later(
        "Route: <sip:10.0.1.1;lr;nat=yes>\r\n",
        "loose_route(); if (check_route_param(\";nat=YES\")) append_hf(\"X-2: nat\\r\\n\"); if (check_route_param(\"^nat\")) append_hf(\"X-3: nat\\r\\n\"); SEEN",
    ),
    // Path.
    first("add_path(); AWAY"),
    first("add_path(); ACROSS"),
    first("add_path(\"me\"); AWAY"),
    first("add_path(\"me\", \"a=b;c\"); AWAY"),
    first("add_path_received(); AWAY"),
    first("add_path_received(\"me\"); AWAY"),
    first("add_path_received(\"me\", \"a=b\"); ACROSS"),
    contact("Path: <sip:192.0.2.1;lr>\r\n", "add_path(); AWAY"),
    // Contacts.
    contact(
        "Contact: <sip:a@192.0.2.9:5070;x=y>;q=1\r\n",
        "fix_nated_contact(); AWAY",
    ),
    contact("Contact: sip:a@192.0.2.9\r\n", "fix_nated_contact(); AWAY"),
    contact(
        "Contact: <sip:a@h.example;maddr=192.0.2.4;x=y>\r\n",
        "fix_nated_contact(); AWAY",
    ),
    contact(
        "Contact: <sip:a@192.0.2.9>\r\n",
        "fix_nated_contact(); if (!fix_nated_contact()) append_hf(\"X-1: twice\\r\\n\"); AWAY",
    ),
    contact("Contact: sip:a@192.0.2.9\r\n", "set_contact_alias(); AWAY"),
    contact(
        "Contact: <sip:a@192.0.2.9;alias=192.0.2.1~5060~1>\r\n",
        "set_contact_alias(\"1\"); AWAY",
    ),
    contact(
        "Contact: <sip:a@192.0.2.9;x=y>\r\n",
        "add_contact_alias(); append_hf(\"X-1: $rc\\r\\n\"); AWAY",
    ),
    contact(
        "Contact: sip:a@192.0.2.9:5070\r\n",
        "add_contact_alias(); append_hf(\"X-1: $rc\\r\\n\"); AWAY",
    ),
    contact(
        "Contact: <sip:a@10.0.1.2:5060>\r\n",
        "add_contact_alias(); append_hf(\"X-1: $rc\\r\\n\"); AWAY",
    ),
    contact(
        "Contact: <sip:a@10.0.1.2>\r\n",
        "add_contact_alias(); append_hf(\"X-1: $rc\\r\\n\"); AWAY",
    ),
    contact(
        "Contact: <sip:a@192.0.2.9>\r\n",
        "add_contact_alias(\"192.0.2.3\", \"5099\", \"tcp\"); append_hf(\"X-1: $rc\\r\\n\"); AWAY",
    ),
    contact(
        "",
        "add_contact_alias(); append_hf(\"X-1: $rc\\r\\n\"); AWAY",
    ),
    contact(
        "",
        "if (!fix_nated_contact() && !set_contact_alias()) append_hf(\"X-1: none\\r\\n\"); AWAY",
    ),
    contact(
        "Contact: <sip:a@192.0.2.9>;q=1, \"B\" <sip:b@192.0.2.9>\r\n",
        "add_rcv_param(); AWAY",
    ),
    contact(
        "Contact: <sip:a@192.0.2.9;x=y>;q=1\r\n",
        "add_rcv_param(\"1\"); AWAY",
    ),
    Case {
        host: "192.0.2.9;x=y;alias=10.0.2.2~5060~1;z",
        ..first("handle_ruri_alias(); append_hf(\"X-1: $rc $du\\r\\n\"); forward();")
    },
    Case {
        host: "192.0.2.9;alias=192.0.2.5~5061~3",
        ..first("handle_ruri_alias(); SEEN")
    },
    Case {
        host: "192.0.2.9;alias=192.0.2.5",
        ..first("handle_ruri_alias(); SEEN")
    },
    first("handle_ruri_alias(); SEEN"),
    // Who sits behind a NAT. TESTS lists the flags that hold.
    contact("Contact: <sip:a@10.9.9.9:5060>\r\n", "TESTS AWAY"),
    contact("Contact: <sip:a@192.0.2.9:5070>\r\n", "TESTS AWAY"),
    contact("Contact: <sip:a@example.com>\r\n", "TESTS AWAY"),
    Case {
        body: SDP,
        ..contact("Content-Type: application/sdp\r\n", "TESTS AWAY")
    },
    Case {
        body: SDP_PUBLIC,
        ..contact("Content-Type: application/sdp\r\n", "TESTS AWAY")
    },
    Case {
        host: "192.0.2.9",
        ..first("$du = \"sip:10.0.2.2:5070\"; TESTS AWAY")
    },
    Case {
        host: "192.0.2.9",
        ..first("$du = \"sip:192.0.2.9\"; TESTS AWAY")
    },
    first(
        "if (is_rfc1918(\"10.1.2.3\")) append_hf(\"X-1: a\\r\\n\"); if (is_rfc1918(\"192.0.2.1\")) append_hf(\"X-2: b\\r\\n\"); if (is_rfc1918(\"100.64.0.1\")) append_hf(\"X-3: c\\r\\n\"); AWAY",
    ),
    // Values with fields.
    first(
        "$xavp(a=>x) = 1; $xavp(a[0]=>y) = \"two\"; $xavp(a=>x) = 3; append_hf(\"X-1: $xavp(a=>x) $xavp(a=>y) $xavp(a[1]=>x) $xavp(a[1]=>y) $xavp(a[-1]=>y)\\r\\n\"); AWAY",
    ),
    first(
        "$xavp(v) = 1; $xavp(v) = \"two\"; append_hf(\"X-1: $xavp(v) $xavp(v[1]) $xavp(v[-1]) $(xavp(v){s.len}) $xavp(w)\\r\\n\"); AWAY",
    ),
    first(
        "$xavp(v) = 1; $xavp(v) = 2; $xavp(v[1]) = 9; $xavp(v) = $null; append_hf(\"X-1: $xavp(v) $xavp(v[1])\\r\\n\"); AWAY",
    ),
    first(
        "$xavp(v) = 1; $xavp(v) = 2; $xavp(v[*]) = $null; append_hf(\"X-1: $xavp(v)\\r\\n\"); AWAY",
    ),
    first(
        "$xavp(a=>x) = 1; $xavp(a[0]=>x) = 2; append_hf(\"X-1: $xavp(a=>x) $xavp(a=>x[1]) $xavp(a=>x[-1]) <$xavp(a=>x[*])>\\r\\n\"); AWAY",
    ),
    first(
        "$xavp(a=>x) = 1; $xavp(a[0]=>x[0]) = 7; $xavp(a[0]=>y) = 8; $xavp(a[0]=>y) = $null; append_hf(\"X-1: $xavp(a=>x) $xavp(a=>y)\\r\\n\"); AWAY",
    ),
    first(
        "$var(i) = 1; $xavp(a=>x) = 1; $xavp(a=>x) = 2; append_hf(\"X-1: $xavp(a[$var(i)]=>x)\\r\\n\"); if ($xavp(a[3]=>x) == $null) append_hf(\"X-2: y\\r\\n\"); AWAY",
    ),
    // The core's extensions.
    first(
        "setsflag(\"3\"); if (issflagset(\"3\") && !issflagset(\"4\")) append_hf(\"X-1: y\\r\\n\"); resetsflag(\"3\"); if (issflagset(\"3\")) append_hf(\"X-2: y\\r\\n\"); AWAY",
    ),
    first(
        "if (issflagset(\"3\")) append_hf(\"X-1: y\\r\\n\"); pv_printf(\"$avp(x)\", \"<$rU>\"); append_hf(\"X-2: $avp(x)\\r\\n\"); AWAY",
    ),
    first(
        "setbflag(\"3\"); if (isbflagset(\"3\") && isbflagset(\"3\", \"0\") && !isbflagset(\"3\", \"1\")) append_hf(\"X-1: y\\r\\n\"); AWAY",
    ),
    first("if (is_first_hop()) append_hf(\"X-1: y\\r\\n\"); AWAY"),
    contact(
        "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK0\r\n",
        "if (is_first_hop()) append_hf(\"X-1: y\\r\\n\"); AWAY",
    ),
];

/// The same with the parameters that change what they do.
const OTHER_PARAMETERS: &str = r#"
modparam("rr", "enable_double_rr", 2)
modparam("rr", "enable_full_lr", 1)
modparam("rr", "add_username", 1)
modparam("rr", "force_send_socket", 1)
modparam("path", "use_received", 1)
modparam("path", "enable_r2", 1)
modparam("nathelper", "alias_name", "way")
modparam("nathelper", "nat_addr_mode", 0)
"#;
const OTHER_CASES: &[Case] = &[
    first("record_route(); AWAY"),
    first("record_route_preset(\"edge.example\"); AWAY"),
    first("record_route_advertised_address(\"edge.example\"); AWAY"),
    later("Route: <sip:10.0.2.1;lr>, <sip:192.0.2.1;lr>\r\n", LOOSE),
    later(
        "Route: <sip:10.0.1.1;lr;received=sip:192.0.2.7:5062>\r\n",
        LOOSE,
    ),
    later(
        "Route: <sip:10.0.1.1;lr;received=sip:192.0.2.7:5062%3Btransport%3Dtcp>\r\n",
        LOOSE,
    ),
    contact(
        "Route: <sip:10.0.1.1;lr;received=sip:192.0.2.7:5062>\r\n",
        LOOSE,
    ),
    later(
        "Route: <sip:192.0.2.1;lr;received=sip:192.0.2.7:5062>\r\n",
        LOOSE,
    ),
    later(
        "Route: <sip:10.0.1.1;lr;received=%zz>\r\n",
        "loose_route(); AWAY",
    ),
    first("add_path_received(); AWAY"),
    first("add_path(\"me\", \"a=b\"); ACROSS"),
    contact(
        "Contact: <sip:a@192.0.2.9>\r\n",
        "set_contact_alias(); AWAY",
    ),
    Case {
        host: "192.0.2.9;way=192.0.2.5~5061~2",
        ..first("handle_ruri_alias(); SEEN")
    },
    first("if (is_rfc1918(\"192.0.0.9\")) append_hf(\"X-1: y\\r\\n\"); AWAY"),
];

/// And with those that change how it is written.
const SHORT_PARAMETERS: &str = r#"
modparam("rr", "enable_double_rr", 0)
modparam("rr", "append_fromtag", 0)
modparam("rr", "sockname_mode", 1)
modparam("path", "use_received", 1)
modparam("path", "received_format", 1)
modparam("path", "received_name", "rcv")
modparam("path", "sockname_mode", 1)
"#;
const SHORT_CASES: &[Case] = &[
    first("record_route(); ACROSS"),
    first(
        "if (!record_route_preset(\"a.example\", \"b.example\")) append_hf(\"X-1: n\\r\\n\"); AWAY",
    ),
    later(
        "Route: <sip:192.0.2.1;lr;r2=on>, <sip:192.0.2.2;lr>\r\n",
        LOOSE,
    ),
    later("Route: <sip:10.0.1.1;lr;sn=core>\r\n", LOOSE),
    later("Route: <sip:10.0.1.1;lr;rcv=192.0.2.7~5062~2>\r\n", LOOSE),
    later("Route: <sip:10.0.1.1;lr;rcv=192.0.2.7~5062~1>\r\n", LOOSE),
    first("add_path_received(); AWAY"),
    first("add_path_received(\"me\"); ACROSS"),
];

fn request(number: usize, case: &Case) -> String {
    let Case {
        host,
        to_tag,
        headers,
        method,
        body,
        ..
    } = case;
    format!(
        "{method} sip:t{number}@{host} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.2:5060;branch=z9hG4bK1\r\n\
         {headers}From: \"A\" <sip:x@y.example>;tag=f1\r\nTo: <sip:z@y>{to_tag}\r\nCall-ID: c{number}\r\n\
         CSeq: 1 {method}\r\nMax-Forwards: 70\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn statements(case: &Case) -> String {
    let mut tests = String::from("$var(t) = \"\";");
    for bit in 0..10 {
        let flag = 1 << bit;
        tests += &format!(" if (nat_uac_test(\"{flag}\")) $var(t) = $var(t) + \" {flag}\";");
    }
    tests += " append_hf(\"X-1:$var(t)\\r\\n\");";
    case.statements
        .replace("SEEN", SEEN)
        .replace("AWAY", AWAY)
        .replace("ACROSS", ACROSS)
        .replace("TESTS", &tests)
}

fn compare(parameters: &str, cases: &[Case]) -> Result<()> {
    let mut routes = String::new();
    for module in ["rr", "path", "nathelper", "kex"] {
        routes.push_str(&format!("loadmodule \"{module}.so\"\n"));
    }
    routes.push_str("listen=udp:10.0.2.1:5060 name \"core\"\n");
    routes.push_str(parameters);
    routes.push_str("request_route {\nswitch ($rU) {\n");
    for (number, case) in cases.iter().enumerate() {
        routes.push_str(&format!(
            "case \"t{number}\": {} break;\n",
            statements(case)
        ));
    }
    routes.push_str("}\nexit;\n}\n");
    let inputs: Vec<String> = cases
        .iter()
        .enumerate()
        .map(|(number, case)| request(number, case))
        .collect();
    let (theirs, ours) = both(&routes, &inputs)?;
    let mut differing = Vec::new();
    for (((case, input), theirs), ours) in cases.iter().zip(&inputs).zip(&theirs).zip(&ours) {
        if theirs != ours {
            differing.push(format!(
                "{}\n{input}\nKamailio {theirs:#?}\ncorex    {ours:#?}",
                case.statements
            ));
        }
    }
    ensure!(differing.is_empty(), "{}", differing.join("\n\n"));
    let lost = ours.iter().filter(|came| **came == Came::Nothing).count();
    ensure!(lost == 0, "{lost} requests went nowhere");
    Ok(())
}

#[test]
fn an_edge_sends_what_kamailio_sends() -> Result<()> {
    compare("", CASES)
}

#[test]
fn parameters_of_rr_path_and_nathelper_do_what_they_do_in_kamailio() -> Result<()> {
    compare(OTHER_PARAMETERS, OTHER_CASES)?;
    compare(SHORT_PARAMETERS, SHORT_CASES)
}
