//! One test for each construct.

use super::super::ast::{
    AssignOp, CaseLabel, ExprKind, HostKind, ItemKind, ParamValue, PvIndex, RouteKind, Setting,
    SettingValueKind, StmtKind,
};
use super::super::pv::parse_pv;
use super::super::span::Span;
use super::super::{MAX_NESTING, parse_str};
use super::{expression, good, grouped, item, route, statement, statements};

fn setting(text: &str) -> Setting {
    match item(text) {
        ItemKind::Setting(setting) => setting,
        other => panic!("{other:?}"),
    }
}

fn string(text: &str) -> Vec<u8> {
    match expression(text).kind {
        ExprKind::Str(text) => text.value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn comments_of_all_kinds_are_left_out() {
    assert_eq!(
        good("# a\n// b\n/* c /* nested */ d */ debug=1 # e")
            .items
            .len(),
        1
    );
}

#[test]
fn numbers_come_decimal_hexadecimal_octal_and_binary() {
    for (text, value) in [("12", 12), ("0x1F", 31), ("017", 15), ("101b", 5), ("0", 0)] {
        assert_eq!(expression(text).kind, ExprKind::Int(value), "{text}");
    }
}

#[test]
fn strings_take_kamailio_escapes_and_keep_unknown_ones() {
    assert_eq!(string(r#""a\n\r\t\a\"\\""#), b"a\n\r\t\x07\"\\");
    assert_eq!(string(r#""\x41\xfFz\101\07""#), b"A\xffzA\x07");
    assert_eq!(string(r#""^\+\d\1\s$""#), br"^\+\d\1\s$");
    assert_eq!(string("\"a\\\nb\""), b"ab");
    assert_eq!(string("\"a\nb\""), b"a\nb");
}

#[test]
fn single_quoted_strings_have_no_escapes() {
    assert_eq!(string(r"'a\n\x41 $rU'"), br"a\n\x41 $rU");
}

#[test]
fn adjacent_double_quoted_strings_are_one() {
    assert_eq!(string("\"a\" \n \"b\"  \"c\""), b"abc");
}

#[test]
fn place_within_a_string_is_found_behind_escapes_and_joins() {
    let source = r#"request_route { xlog("a\n$rU" " $rm"); }"#;
    let parsed = parse_str("a.cfg", source);
    let ItemKind::Route(route) = &parsed.file.items[0].kind else {
        panic!();
    };
    let StmtKind::Expr(expr) = &route.body.statements[0].kind else {
        panic!();
    };
    let ExprKind::Call(call) = &expr.kind else {
        panic!();
    };
    let ExprKind::Str(text) = &call.args[0].kind else {
        panic!();
    };
    assert_eq!(text.value, b"a\n$rU $rm");
    let at = |range| {
        parsed
            .report
            .sources
            .text(text.locate(range, call.args[0].span))
            .to_owned()
    };
    assert_eq!(at(2..5), "$rU");
    assert_eq!(at(6..9), "$rm");
    assert_eq!(at(0..1), "a");
    let str = super::super::ast::Str::new(text.clone(), call.args[0].span);
    let (pv, after) = parse_pv(&str, 2).unwrap();
    assert_eq!((pv.name.kind.as_str(), after), ("rU", 5));
    assert_eq!(parsed.report.sources.text(pv.span), "$rU");
}

#[test]
fn place_within_a_variable_within_a_string_is_found() {
    let source = r#"loadmodule "a\n$(hdr(X\x41Y)[1]{s.len,\tz})""#;
    let parsed = parse_str("a.cfg", source);
    let ItemKind::LoadModule(text) = &parsed.file.items[0].kind else {
        panic!();
    };
    let (pv, after) = parse_pv(text, 2).unwrap();
    assert_eq!(after, text.kind.value.len());
    let at = |span| parsed.report.sources.text(span);
    let inner = pv.inner.unwrap();
    assert_eq!(inner.kind.value, b"XAY");
    assert_eq!(at(inner.span), r"X\x41Y");
    assert_eq!(at(inner.kind.locate(2..3, inner.span)), "Y");
    assert_eq!(at(pv.transformations[0].name.span), "s.len");
    let args = pv.transformations[0].args.as_ref().unwrap();
    assert_eq!(at(args.kind.locate(1..2, args.span)), "z");
}

#[test]
fn settings_take_numbers_strings_words_and_booleans() {
    let value = |text: &str| setting(text).values[0].kind.clone();
    assert_eq!(value("debug = -3"), SettingValueKind::Int(-3));
    assert_eq!(value("mhomed=yes"), SettingValueKind::Bool(true));
    assert_eq!(value("mhomed=off"), SettingValueKind::Bool(false));
    assert_eq!(
        value("log_facility=LOG_LOCAL0;"),
        SettingValueKind::Word("LOG_LOCAL0".into())
    );
    assert!(matches!(value("log_name=\"x\""), SettingValueKind::Str(text) if text.value == b"x"));
    assert!(matches!(
        value("advertised_address=192.0.2.1"),
        SettingValueKind::Address(_)
    ));
}

#[test]
fn custom_parameters_have_a_group_and_a_description() {
    let setting = setting("pstn.gw_ip = \"1.2.3.4\" desc \"the gateway\"");
    assert_eq!(setting.group.unwrap().kind, "pstn");
    assert_eq!(setting.name.kind, "gw_ip");
    assert_eq!(setting.description.unwrap().kind.value, b"the gateway");
}

#[test]
fn listen_takes_every_form_of_address() {
    for (text, expected) in [
        ("udp:192.0.2.1:5060", "udp:192.0.2.1:5060"),
        ("192.0.2.1", "192.0.2.1"),
        ("\"192.0.2.1\"", "192.0.2.1"),
        ("udp:\"192.0.2.1\":5070", "udp:192.0.2.1:5070"),
        ("\"udp:192.0.2.1:5060\"", "udp:192.0.2.1:5060"),
        ("udp:[2001:db8::1]:5060", "udp:[2001:db8::1]:5060"),
        ("[::1]", "[::1]"),
        ("::1", "[::1]"),
        ("TCP:eth0", "TCP:eth0"),
        ("eth0.100:5060", "eth0.100:5060"),
        ("tls:br-lan:5061", "tls:br-lan:5061"),
        ("udp:3cx.example.com", "udp:3cx.example.com"),
        ("udp:10.0.0.1.example.com", "udp:10.0.0.1.example.com"),
        ("*:5060", "*:5060"),
        ("lo:*", "lo"),
        (
            "udp:1.2.3.4:5060 advertise 5.6.7.8:5060 name \"x\" virtual",
            "udp:1.2.3.4:5060 advertise 5.6.7.8:5060 name \"x\" virtual",
        ),
    ] {
        let setting = setting(&format!("listen={text}\n"));
        let SettingValueKind::Address(listen) = &setting.values[0].kind else {
            panic!("{setting:?}");
        };
        assert_eq!(setting.values.len(), 1, "{text}");
        assert_eq!(listen.to_string(), expected, "{text}");
    }
}

#[test]
fn alias_takes_several_hosts_on_a_line() {
    let file = good("alias=\"kamailio.org\" udp:sip.example.com:5060\nchildren=4");
    let ItemKind::Setting(setting) = &file.items[0].kind else {
        panic!();
    };
    assert_eq!(setting.values.len(), 2);
    assert_eq!(file.items.len(), 2);
}

#[test]
fn unknown_transport_is_kept_for_the_checker() {
    let setting = setting("listen=upd:192.0.2.1:5060");
    let SettingValueKind::Address(listen) = &setting.values[0].kind else {
        panic!();
    };
    let address = &listen.address.kind;
    assert_eq!(address.transport.as_ref().unwrap().kind, "upd");
    assert!(matches!(address.host.kind, HostKind::Ip(_)));
}

#[test]
fn modparam_takes_numbers_and_strings() {
    let ItemKind::ModParam(param) = item("modparam(\"a|b\", \"name\", -1);") else {
        panic!();
    };
    assert_eq!(param.modules.kind.value, b"a|b");
    assert_eq!(param.value.kind, ParamValue::Int(-1));
    let ItemKind::ModParam(param) = item("modparam(\"a\", \"name\", 'x')") else {
        panic!();
    };
    assert!(matches!(param.value.kind, ParamValue::Str(text) if text.value == b"x"));
}

#[test]
fn modules_and_their_paths_load() {
    assert!(matches!(
        item("loadmodule \"corex.so\""),
        ItemKind::LoadModule(_)
    ));
    assert!(matches!(
        item("loadmodule(\"corex.so\");"),
        ItemKind::LoadModule(_)
    ));
    assert!(matches!(item("mpath \"/a/\""), ItemKind::LoadPath(_)));
    assert!(matches!(item("loadpath \"/a/\""), ItemKind::LoadPath(_)));
}

#[test]
fn route_blocks_have_kinds_and_names() {
    for (text, kind, name) in [
        ("request_route {}", RouteKind::Request, None),
        ("route {}", RouteKind::Request, None),
        ("route[0] {}", RouteKind::Request, None),
        ("route[RELAY] {}", RouteKind::Request, Some("RELAY")),
        ("route[\"a b\"] {}", RouteKind::Request, Some("a b")),
        ("reply_route {}", RouteKind::Reply, None),
        ("onreply_route {}", RouteKind::Reply, None),
        ("onreply_route[1] {}", RouteKind::Reply, Some("1")),
        ("failure_route[F] {}", RouteKind::Failure, Some("F")),
        ("branch_route[B] {}", RouteKind::Branch, Some("B")),
        ("onsend_route {}", RouteKind::OnSend, None),
        (
            "event_route[network:msg] {}",
            RouteKind::Event,
            Some("network:msg"),
        ),
        (
            "event_route [tm:local-request] {}",
            RouteKind::Event,
            Some("tm:local-request"),
        ),
    ] {
        let route = route(text);
        assert_eq!(route.kind.kind, kind, "{text}");
        assert_eq!(route.name.map(|name| name.kind).as_deref(), name, "{text}");
    }
}

#[test]
fn semicolons_after_blocks_are_tolerated() {
    assert_eq!(
        statements(";; if (1) { ; }; while (1) { }; { exit; };").len(),
        3
    );
}

#[test]
fn else_if_is_one_statement_with_several_arms() {
    let StmtKind::If { arms, otherwise } =
        statement("if ($a) exit; else if ($b) { drop; } else if $c { } else return 1;")
    else {
        panic!();
    };
    assert_eq!(arms.len(), 3);
    assert_eq!(otherwise.unwrap().statements.len(), 1);
}

#[test]
fn inner_if_takes_the_else() {
    let StmtKind::If { arms, otherwise } = statement("if ($a) if ($b) exit; else drop;") else {
        panic!();
    };
    assert!(otherwise.is_none());
    assert!(matches!(
        &arms[0].body.statements[0].kind,
        StmtKind::If {
            otherwise: Some(_),
            ..
        }
    ));
}

#[test]
fn switch_has_values_expressions_and_default() {
    let StmtKind::Switch { cases, .. } = statement(
        "switch ($rm) { case \"INVITE\": case 2: exit; case /\"^B\": drop; break; default: exit; }",
    ) else {
        panic!();
    };
    let statements: Vec<usize> = cases.iter().map(|case| case.statements.len()).collect();
    assert_eq!(statements, [0, 1, 2, 1]);
    assert!(matches!(cases[2].label.kind, CaseLabel::Regex(_)));
    assert_eq!(cases[3].label.kind, CaseLabel::Default);
}

#[test]
fn endings_take_a_value_or_none() {
    for text in [
        "return;",
        "return();",
        "exit;",
        "exit();",
        "drop;",
        "drop();",
    ] {
        let value = match statement(text) {
            StmtKind::Return(value) | StmtKind::Exit(value) | StmtKind::Drop(value) => value,
            other => panic!("{other:?}"),
        };
        assert!(value.is_none(), "{text}");
    }
    assert!(matches!(statement("return -1;"), StmtKind::Return(Some(_))));
    assert!(matches!(
        statement("return(1) + 2;"),
        StmtKind::Return(Some(_))
    ));
    assert!(matches!(statement("break;"), StmtKind::Break));
}

#[test]
fn assignments_set_and_add() {
    for (text, expected) in [
        ("$avp(x) = 1;", AssignOp::Set),
        ("$ru += \"a\";", AssignOp::Add),
    ] {
        let StmtKind::Assign { op, .. } = statement(text) else {
            panic!("{text}");
        };
        assert_eq!(op.kind, expected);
    }
}

#[test]
fn calls_take_strings_numbers_variables_words_and_expressions() {
    let StmtKind::Expr(expr) = statement("f(\"a\", 1, $rU, NAME, \"\" + $mb + \"\", g());") else {
        panic!();
    };
    let ExprKind::Call(call) = expr.kind else {
        panic!();
    };
    assert_eq!(call.name.kind, "f");
    assert_eq!(call.args.len(), 6);
    assert!(matches!(statement("route(RELAY);"), StmtKind::Expr(_)));
    let StmtKind::Expr(socket) = statement("force_send_socket(udp:[::1]:5060);") else {
        panic!();
    };
    assert_eq!(socket.to_string(), "force_send_socket(udp:[::1]:5060)");
    assert!(matches!(statement("force_rport;"), StmtKind::Expr(_)));
}

#[test]
fn operators_group_by_kamailio_precedence() {
    for (text, expected) in [
        ("$a || $b && $c", "($a || ($b && $c))"),
        ("$a or $b and not $c", "($a || ($b && [! $c]))"),
        ("$a && $b | $c & $d ^ $e", "($a && ($b | ($c & ($d ^ $e))))"),
        ("$a << $b >> $c", "($a << ($b >> $c))"),
        ("$a ^ $b << $c == $d", "($a ^ ($b << ($c == $d)))"),
        ("$a == $b < $c + $d * $e", "($a == ($b < ($c + ($d * $e))))"),
        ("$a - $b - $c", "(($a - $b) - $c)"),
        ("($a - ($b - $c))", "($a - ($b - $c))"),
        ("$a mod 2 % 3 / 4", "((($a mod 2) mod 3) / 4)"),
        ("!$a == 1", "([! $a] == 1)"),
        ("-$a + -1", "([- $a] + [- 1])"),
        ("~$a & 1", "([~ $a] & 1)"),
        ("!~$a", "[! [~ $a]]"),
        ("$a !~ \"x\"", "($a !~ \"x\")"),
        ("(int)$a + (str)$b", "([(int) $a] + [(str) $b])"),
        ("defined $a && $b", "([defined $a] && $b)"),
        ("strlen($a) + 1", "([strlen $a] + 1)"),
        ("$a eq \"x\" or $a ine 2", "(($a eq \"x\") || ($a ine 2))"),
        ("uri == myself && $a", "((uri == myself) && $a)"),
        (
            "src_ip == 10.0.0.0/8 and src_port > 1024",
            "((src_ip == 10.0.0.0/8) && (src_port > 1024))",
        ),
        ("src_ip == 10.0.0.0/255.255.0.0", "(src_ip == 10.0.0.0/16)"),
        ("src_ip == [::1]", "(src_ip == [::1])"),
        ("msg:len >= 10", "(msg:len >= 10)"),
        ("@a.b[-1].c[\"d e\"] == 1", "(@a.b[-1].c[\"d e\"] == 1)"),
        ("@hf_value.subject == \"x\"", "(@hf_value.subject == \"x\")"),
    ] {
        assert_eq!(grouped(text), expected, "{text}");
    }
}

#[test]
fn pseudo_variables_have_names_insides_indexes_and_transformations() {
    let pv = |text: &str| match expression(text).kind {
        ExprKind::Pv(pv) => *pv,
        other => panic!("{other:?}"),
    };
    assert_eq!(pv("$rU").name.kind, "rU");
    assert_eq!(pv("$?").name.kind, "?");
    assert_eq!(pv("$null").name.kind, "null");
    assert_eq!(pv("$avp(s:a)").inner.unwrap().kind.value, b"s:a");
    assert_eq!(
        pv("$sht(a=>$(b(c)))").inner.unwrap().kind.value,
        b"a=>$(b(c))"
    );
    let full = pv("$(hdr(X)[-1]{s.substr,0,$(var(n){s.len})}{s.len})");
    assert_eq!(full.inner.as_ref().unwrap().kind.value, b"X");
    assert_eq!(full.index.unwrap().kind, PvIndex::At(-1));
    let [substr, len] = &full.transformations[..] else {
        panic!();
    };
    assert_eq!(substr.name.kind, "s.substr");
    assert_eq!(
        substr.args.as_ref().unwrap().kind.value,
        b"0,$(var(n){s.len})"
    );
    assert_eq!((len.name.kind.as_str(), &len.args), ("s.len", &None));
    assert_eq!(pv("$(avp(x)[*])").index.unwrap().kind, PvIndex::All);
    assert!(matches!(
        pv("$(avp(x)[$var(i)])").index.unwrap().kind,
        PvIndex::Pv(_)
    ));
    assert_eq!(pv("$(ru{uri.host}[0])"), pv("$(ru[0]{uri.host})"));
}

#[test]
fn words_of_the_language_are_names_where_no_keyword_fits() {
    assert!(matches!(statement("setflag(on);"), StmtKind::Expr(_)));
    assert_eq!(route("route[if] {}").name.unwrap().kind, "if");
    assert_eq!(setting("route = 1").name.kind, "route");
}

#[test]
fn spans_cover_what_was_written() {
    let source = "request_route {\n  $var(a) = (1 + 2) * 3;\n}";
    let parsed = parse_str("a.cfg", source);
    let ItemKind::Route(route) = &parsed.file.items[0].kind else {
        panic!();
    };
    let text = |span: Span| parsed.report.sources.text(span).to_owned();
    let StmtKind::Assign { target, op, value } = &route.body.statements[0].kind else {
        panic!();
    };
    assert_eq!(text(parsed.file.items[0].span), source);
    assert_eq!(
        text(route.body.statements[0].span),
        "$var(a) = (1 + 2) * 3;"
    );
    assert_eq!(text(target.span), "$var(a)");
    assert_eq!(text(op.span), "=");
    assert_eq!(text(value.span), "(1 + 2) * 3");
    assert_eq!(
        parsed.report.location(op.span).unwrap().to_string(),
        "a.cfg:2:11"
    );
}

#[test]
fn depth_is_bounded_for_every_nesting_construct() {
    let many = 50_000;
    for (open, close) in [
        ("$var(x) = ", "("),
        ("$var(x) = ", "!"),
        ("$var(x) = ", "- "),
        ("$var(x) = ", "(int)"),
        ("$var(x) = 1", " + 1"),
        ("$var(x) = 1", " + 1 * 1 || 1"),
        ("", "{"),
        ("", "if (1) "),
        ("", "if (1) {"),
        ("", "else "),
        ("", "while (1) "),
        ("", "switch (1) { case 1: "),
        ("", "f("),
        ("", "strlen("),
        ("$var(x) = ", "$("),
        ("$var(x) = ", "$a($"),
        ("$var(x) = $(a[", "$(a["),
        ("", "/*"),
    ] {
        let text = format!("request_route {{ {open}{}", close.repeat(many));
        let parsed = parse_str("a.cfg", &text);
        assert!(parsed.report.has_errors(), "{open}{close}");
        assert!(parsed.report.render(false).len() < 200_000);
    }
    let at_limit = "{".repeat(MAX_NESTING) + &"}".repeat(MAX_NESTING);
    good(&format!("request_route {{ {at_limit} }}"));
}

#[test]
fn long_else_if_chains_and_argument_lists_are_no_nesting() {
    let chain = "if ($a == 1) { exit; } else ".repeat(5000);
    good(&format!("request_route {{ {chain} drop; }}"));
    let args = "1, ".repeat(5000);
    good(&format!("request_route {{ f({args} 1); }}"));
}
