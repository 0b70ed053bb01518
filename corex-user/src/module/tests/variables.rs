//! Pseudo-variables.

use super::*;

#[test]
fn pseudo_variables_read_the_request() {
    for (pv, result) in [
        ("$rm", "INVITE"),
        ("$ru", "sip:bob:pw@example.com:5070;transport=udp"),
        ("$rU", "bob"),
        ("$rd", "example.com"),
        ("$rp", "5070"),
        ("$fu", "sip:alice@example.org"),
        ("$tu", "sip:bob@example.com"),
        ("$ci", "abc@192.0.2.1"),
        ("$cs", "7"),
        ("$ua", "test/1"),
        ("$si", "192.0.2.1"),
        ("$sp", "5062"),
        ("$Ri", "192.0.2.2"),
        ("$Rp", "5060"),
        ("$proto", "udp"),
        ("defined $du", "0"),
        ("defined $rs", "0"),
        ("defined $rr", "0"),
        ("defined $fs", "0"),
        ("$Ts > 1700000000", "1"),
        ("$pid > 0", "1"),
    ] {
        assert_eq!(request_value(pv), result, "{pv}");
    }
    assert_eq!(request_value("$ml"), INVITE.len().to_string());
    assert_eq!(request_value("$mb").as_bytes(), INVITE);
}

#[test]
fn pseudo_variables_read_the_reply() {
    for (pv, result) in [
        ("$rs", "200"),
        ("$rr", "All fine"),
        ("$rm", "INVITE"),
        ("defined $ru", "0"),
        ("defined $ua", "0"),
    ] {
        assert_eq!(route_value(OK, "", pv), result, "{pv}");
    }
}

#[test]
fn addresses_and_ports_are_set_in_the_hook() {
    assert_eq!(value("$si + \":\" + $sp"), "192.0.2.1:5062");
    assert_eq!(value("$Ri + \":\" + $Rp"), "192.0.2.2:5060");
    assert_eq!(value("$proto"), "udp");
}

#[test]
fn parts_of_the_request_uri_can_be_replaced() {
    for (statement, result) in [
        (
            "$rU = \"carol\";",
            "sip:carol:pw@example.com:5070;transport=udp",
        ),
        ("$rU = $null;", "sip:example.com:5070;transport=udp"),
        (
            "$rd = \"192.0.2.9\";",
            "sip:bob:pw@192.0.2.9:5070;transport=udp",
        ),
        (
            "$rd = \"[2001:db8::1]\";",
            "sip:bob:pw@[2001:db8::1]:5070;transport=udp",
        ),
        ("$rp = 5080;", "sip:bob:pw@example.com:5080;transport=udp"),
        ("$rp = $null;", "sip:bob:pw@example.com;transport=udp"),
        ("$ru = \"sip:x@y\";", "sip:x@y"),
        ("$ru = \"sip:x@y\"; $rU = \"z\";", "sip:z@y"),
        ("$ru = \"sip:x@y\"; $rp = \"1\" + 2;", "sip:x@y:12"),
        (
            "$ru = \"sip:x@y\"; $ru = $null;",
            "sip:bob:pw@example.com:5070;transport=udp",
        ),
        (
            "$rd = \"no host\";",
            "sip:bob:pw@example.com:5070;transport=udp",
        ),
        (
            "$var(u) = \"sip:\" + \"a@b\"; $ru = $var(u); $var(u) = \"other\";",
            "sip:a@b",
        ),
    ] {
        assert_eq!(route_value(INVITE, statement, "$ru"), result, "{statement}");
    }
}

#[test]
fn the_port_of_the_request_uri_is_the_default_where_none_is_written() {
    assert_eq!(route_value(INVITE, "$ru = \"sip:a@b\";", "$rp"), "5060");
    assert_eq!(route_value(INVITE, "$ru = \"sips:a@b\";", "$rp"), "5061");
}

#[test]
fn what_is_written_lasts_over_later_statements_and_not_to_the_next_message() {
    let mut runtime = runtime(&format!(
        "{MODULES} request_route {{
            if ($du != $null) drop;
            $du = \"sip:\" + \"192.0.2.7\" + \":\" + 5099;
            $var(x) = \"some\" + \"thing\" + \"else\";
            send();
         }}"
    ));
    for _ in 0..2 {
        let mut host = TestHost::default();
        assert_eq!(run(&mut runtime, INVITE, &mut host), RouteEnd::Finished);
        assert_eq!(host.sent[0].to, "192.0.2.7:5099");
    }
}

#[test]
fn fs_takes_an_address_or_a_name_of_a_listen_line() {
    assert_eq!(
        route_value(INVITE, "$fs = \"udp:192.0.2.3:5060\";", "$fs"),
        "udp:192.0.2.3:5060"
    );
    assert_eq!(
        route_value(INVITE, "$fs = \"second\";", "$fs"),
        "udp:192.0.2.3:5060"
    );
    assert_eq!(
        route_value(INVITE, "$fs = \"udp:9.9.9.9:5060\";", "defined $fs"),
        "0"
    );
    assert_eq!(
        route_value(INVITE, "$fs = \"second\"; $fs = $null;", "defined $fs"),
        "0"
    );

    let mut runtime = runtime(&format!(
        "{MODULES} listen=192.0.2.2\nlisten=192.0.2.3 name \"second\"
         request_route {{ $fs = \"second\"; send(\"192.0.2.9\"); }}"
    ));
    let mut host = TestHost::default();
    run(&mut runtime, INVITE, &mut host);
    assert_eq!(host.sent[0].socket, Some(SocketId(1)));
}

#[test]
fn avps_stack_and_are_read_by_index() {
    let before = "$avp(a) = 1; $avp(a) = \"two\"; $avp(a) = 3; $avp(b) = 9;";
    for (expression, result) in [
        ("$avp(a)", "3"),
        ("$(avp(a)[0])", "3"),
        ("$(avp(a)[1])", "two"),
        ("$(avp(a)[2])", "1"),
        ("$(avp(a)[-1])", "1"),
        ("$(avp(a)[-3])", "3"),
        ("defined $(avp(a)[3])", "0"),
        ("defined $(avp(a)[-4])", "0"),
        ("$avp(s:a)", "3"),
    ] {
        assert_eq!(
            route_value(INVITE, before, expression),
            result,
            "{expression}"
        );
    }
    let index = format!("{before} $var(i) = 1;");
    assert_eq!(route_value(INVITE, &index, "$(avp(a)[$var(i)])"), "two");
    let one_less = format!("{before} $avp(a) = $null;");
    assert_eq!(route_value(INVITE, &one_less, "$avp(a)"), "two");
    let only = format!("{before} $(avp(a)[*]) = \"only\";");
    assert_eq!(route_value(INVITE, &only, "$avp(a)"), "only");
    assert_eq!(route_value(INVITE, &only, "defined $(avp(a)[1])"), "0");
    let none = format!("{before} $(avp(a)[*]) = $null;");
    assert_eq!(route_value(INVITE, &none, "defined $avp(a)"), "0");
    assert_eq!(route_value(INVITE, &none, "$avp(b)"), "9");
}

#[test]
fn vars_start_at_zero_and_outlive_the_message_while_avps_do_not() {
    let mut runtime = runtime(&format!(
        "{MODULES} request_route {{
            $var(n) += 1;
            if (defined $avp(a)) send(\"avp\");
            $avp(a) = 1;
            if ($var(n) == 3) send(\"third\");
         }}"
    ));
    let mut host = TestHost::default();
    for _ in 0..3 {
        run(&mut runtime, INVITE, &mut host);
    }
    assert_eq!(host.sent.len(), 1);
    assert_eq!(host.sent[0].to, "third:5060 by name");
}

#[test]
fn a_var_holds_a_copy_and_null_makes_it_zero() {
    let before =
        "$var(a) = \"x\" + \"y\"; $var(b) = $var(a); $var(a) = \"changed\"; $var(b) = $var(b);";
    assert_eq!(route_value(INVITE, before, "$var(b)"), "xy");
    assert_eq!(
        route_value(INVITE, "$var(a) = \"x\"; $var(a) = $null;", "$var(a)"),
        "0"
    );
    assert_eq!(
        route_value(
            INVITE,
            "$var(a) = \"x\"; $var(a) += \"y\"; $var(a) += 1;",
            "$var(a)"
        ),
        "xy1"
    );
}

/// A request with headers that few have.
const RICH: &[u8] = b"INVITE sips:bob@[2001:db8::7];transport=tls SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n\
    From: \"Alice A\" <sip:alice@example.org:5071>;tag=1\r\n\
    To: Bob <sip:bob@example.com>;tag=2\r\n\
    Call-ID: abc\r\n\
    CSeq: 7 INVITE\r\n\
    Contact: <sip:alice@192.0.2.1>\r\n\
    P-Asserted-Identity: <tel:+123>\r\n\
    Refer-To: <sip:carol@example.net>\r\n\
    X-A: one\r\n\
    x-a: two\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 4\r\n\r\nbody";

#[test]
fn pseudo_variables_read_headers_and_uris() {
    for (expression, expected) in [
        ("$fU + $fd + $fn + $ft", "aliceexample.org\"Alice A\"1"),
        ("$tU + $td + $tn + $tt", "bobexample.comBob2"),
        ("$rz + $rd + $rp + $rP", "sips[2001:db8::7]5061tls"),
        ("$ct + $cT + $cl + $bs", "<sip:alice@192.0.2.1>text/plain44"),
        ("$csb + $mt + $rv", "7 INVITE1SIP/2.0"),
        ("$ai + $rt", "tel:+123sip:carol@example.net"),
        (
            "$hdr(x-a) + $(hdr(X-A)[1]) + $(hdr(X-A)[-1]) + $hdrc(X-A)",
            "onetwotwo2",
        ),
        ("$rb", "body"),
        ("$sas + $Ru", "udp:192.0.2.1:5062udp:192.0.2.2:5060"),
        (
            "$su + $sut",
            "sip:192.0.2.1:5062sip:192.0.2.1:5062;transport=udp",
        ),
        (
            "$siz + $af + $rcv(len) + $rcv(SrcPort)",
            "192.0.2.1INET3925062",
        ),
    ] {
        assert_eq!(route_value(RICH, "", expression), expected, "{expression}");
    }
    let changed = "$ru = \"sip:x@y\"; $du = \"sip:d.example;transport=tcp\"; ";
    for (expression, expected) in [
        (
            "$ou + $oU + $od + $op + $oP",
            "sips:bob@[2001:db8::7];transport=tlsbob[2001:db8::7]5061tls",
        ),
        ("$dd + $dp + $dP", "d.example5060tcp"),
        ("$rU + $rP", "xUDP"),
    ] {
        assert_eq!(
            route_value(RICH, changed, expression),
            expected,
            "{expression}"
        );
    }
    for absent in [
        "$pu",
        "$di",
        "$re",
        "$hdr(nothing)",
        "$(hdr(X-A)[2])",
        "$conid",
        "$Rn",
    ] {
        assert_eq!(
            route_value(RICH, "", &format!("defined {absent}")),
            "0",
            "{absent}"
        );
    }
}

#[test]
fn the_destination_set_can_be_read() {
    let before = "append_branch(\"sip:a@b\", \"0.5\"); $du = \"sip:d\"; append_branch(\"sip:c@d\"); setflag(2);";
    let expression = "$branch(count) + $branch(uri) + $(branch(uri)[1]) + $(branch(dst_uri)[-1]) \
                      + $branch(q) + $br + $mf + $mF";
    let request = format!(
        "{MODULES} request_route {{ {before} $var(x) = \"\" + {expression}; send_data(\"sip:192.0.2.9\", \"$var(x)\"); }}"
    );
    let mut runtime = runtime(&request);
    let mut host = TestHost::default();
    run(&mut runtime, INVITE, &mut host);
    assert_eq!(
        String::from_utf8_lossy(&host.sent[0].payload),
        "2sip:a@bsip:c@dsip:d500sip:a@b400000004"
    );
}

const HTABLE: &str = "loadmodule \"pv.so\"\n loadmodule \"htable.so\"\n
    modparam(\"htable\", \"htable\", \"calls=>size=4;autoexpire=100;\")
    modparam(\"htable\", \"htable\", \"n=>initval=5\")
    modparam(\"pv\", \"shvset\", \"limit=i:10\")
    modparam(\"pv\", \"shvset\", \"who=s:me\")\n";

#[test]
fn tables_are_shared_by_all_workers() {
    let config = config(&format!(
        "{MODULES}{HTABLE} request_route {{
             $shv(count) = $shv(count) + 1; $shv(text) = \"a\" + $shv(text);
             $sht(calls=>$ci) = \"call \" + $shv(count); $sht(n=>x) = $shtinc(n=>y);
             if ($shtex(calls=>$ci) < 90) drop;
             send_data(\"sip:192.0.2.9\", \"$shv(count) $shv(text) $sht(calls=>abc@192.0.2.1) $sht(n=>x) $sht(n=>z) $shv(limit) $shv(who)\");
             if ($shv(count) == 2) {{ sht_rm(\"calls\", \"$ci\"); $sht(n=>y) = $null; }}
             send_data(\"sip:192.0.2.9\", \"$sht(calls=>$ci) $sht(n=>y)\");
         }}"
    ));
    let mut sent = Vec::new();
    for worker in 0..2 {
        let mut runtime = Runtime::new(config.program.clone(), worker);
        let mut host = TestHost::default();
        assert_eq!(run(&mut runtime, INVITE, &mut host), RouteEnd::Finished);
        sent.extend(
            host.sent
                .iter()
                .map(|s| String::from_utf8_lossy(&s.payload).into_owned()),
        );
    }
    assert_eq!(
        sent,
        [
            "1 a0 call 1 6 5 10 me",
            "call 1 6",
            "2 aa0 call 2 7 5 10 me",
            "<null> 5"
        ]
    );
}

#[test]
fn a_table_that_is_not_there_is_a_mistake_of_the_configuration() {
    let said = |text: &str| {
        let loaded = load_str("test.cfg", text);
        assert!(loaded.config.is_none());
        loaded.report.to_string()
    };
    let report = said(&format!(
        "{MODULES}{HTABLE} request_route {{ $var(x) = $sht(cals=>$ci); }}"
    ));
    assert!(
        report.contains("there is no table `cals`, only calls, n"),
        "{report}"
    );
    let report = said(&format!("{MODULES} request_route {{ $var(x) = $sht(a); }}"));
    assert!(report.contains("expected table=>key"), "{report}");
    let report = said(&format!(
        "{MODULES} request_route {{ $var(x) = $rcv(port); }}"
    ));
    assert!(report.contains("$rcv has no `port`"), "{report}");
}

#[test]
fn the_clock_is_read_in_parts_and_formats() {
    let number = |text: &str| request_value(text).parse::<i64>().unwrap();
    assert!((1..=12).contains(&number("$time(mon)")));
    assert!((1..=7).contains(&number("$utime(wday)")));
    assert!(number("$time(year)") > 2020);
    assert!((number("$Ts") - number("$TV(s)")).abs() <= 1);
    assert!((number("$Ts") - number("$Tb")).abs() <= 5);
    assert!((0..1_000_000).contains(&number("$TV(u)")));
    assert!(request_value("$TV(Sn)").contains('.'));
    assert_eq!(request_value("$utimef(%Y)"), request_value("$utime(year)"));
    assert_eq!(request_value("$Tf").len(), 24);
}

#[test]
fn where_a_message_goes_is_known_in_the_outgoing_hook_only() {
    let mut runtime = runtime(&format!(
        "{MODULES} modparam(\"corex\", \"network_io_intercept\", 1)
         modparam(\"corex\", \"msg_avp\", \"$avp(out)\")
         event_route[network:msg] {{ $avp(out) = \"to \" + $sndto(ip) + $sndto(port) + $snd(port) + $sndto(proto); }}"
    ));
    let mut out = Vec::new();
    let hook = |runtime: &mut Runtime, direction, out: &mut Vec<u8>| {
        runtime.begin_message();
        runtime.run_network_msg(&env(), b"x", direction, &mut TestHost::default(), out);
        String::from_utf8_lossy(out).into_owned()
    };
    let text = hook(&mut runtime, Direction::Outgoing, &mut out);
    assert_eq!(text, "to 192.0.2.250605062udp");
    assert_eq!(hook(&mut runtime, Direction::Incoming, &mut out), "to ");
}
