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
