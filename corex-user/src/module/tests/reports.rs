//! What is wrong with a configuration, and how that is said.

use super::*;
use corex_script::settings::RpFilter;
use corex_script::syntax::diag::Severity;

/// What is said about a text: `line:column severity message | label | help`, in order.
fn said(text: &str) -> Vec<String> {
    let loaded = load_str("test.cfg", text);
    let report = loaded.report;
    assert_eq!(report.has_errors(), loaded.config.is_none(), "{report}");
    let mut all: Vec<_> = report
        .diagnostics()
        .iter()
        .map(|diagnostic| {
            let place = report.location(diagnostic.span).unwrap();
            let severity = match diagnostic.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let mut line = format!("{severity} {}", diagnostic.message);
            for more in diagnostic.label.iter().chain(&diagnostic.help) {
                line.push_str(" | ");
                line.push_str(more);
            }
            ((place.line, place.column), line)
        })
        .collect();
    all.sort();
    all.into_iter()
        .map(|((line, column), said)| format!("{line}:{column} {said}"))
        .collect()
}

/// One mistake, which is said in these words.
fn mistake(text: &str, expected: &str) {
    let all = said(text);
    assert_eq!(all.len(), 1, "{text}\n{all:#?}");
    assert!(
        all[0].contains(expected),
        "{text}\n  said: {}\nwanted: {expected}",
        all[0]
    );
}

/// One mistake in request_route, with all modules loaded.
fn mistake_in_route(statements: &str, expected: &str) {
    mistake(
        &format!(
            "loadmodule \"corex.so\" loadmodule \"xlog.so\" loadmodule \"codec.so\"\nrequest_route {{ {statements} }}"
        ),
        expected,
    );
}

#[test]
fn core_parameters() {
    mistake(
        "listen = udp:[fe80::1]:5060",
        "1:14 error a link-local address needs its interface",
    );
    mistake(
        "listen = udp:[2001:db8::1%eth0]:5060",
        "2001:db8::1 is no link-local address",
    );
    mistake("listen = [fe80::1%]", "this address has no zone");
    mistake("alias = [fe80::1%eth0]", "on this host only");
    mistake(
        "lisen = udp:1.2.3.4",
        "1:1 error there is no core parameter `lisen` | did you mean `listen`?",
    );
    mistake("whatever = 1", "known are listen, alias, children");
    mistake("fork = no", "1:1 warning fork has no meaning here");
    mistake(
        "tcp_accept_no_cl = yes",
        "warning tcp_accept_no_cl has no meaning here",
    );
    mistake(
        "log_facility = LOG_LOCAL9",
        "1:16 error this is no facility of the system's log | expected LOG_KERN, LOG_USER",
    );
    mistake("log_facility = 1", "no facility");
    mistake(
        "log_name = \"a b\"",
        "1:12 error this is no name for the system's log",
    );
    mistake("log_name = \"\"", "no name for the system's log");
    mistake("log_stderror = 'x'", "log_stderror takes yes or no");
    mistake("auto_aliases = no", "warning auto_aliases");
    mistake(
        "port = 5080",
        "error port is not supported | write the port in the listen line",
    );
    mistake(
        "children = 0",
        "1:12 error children is out of range | expected a number from 1 to 4096",
    );
    mistake("children = \"x\"", "children takes a number");
    mistake("pmtu_discovery = \"x\"", "pmtu_discovery takes yes or no");
    mistake(
        "tos = IPTOS_FAST",
        "1:7 error this is no type of service | expected a number from 0 to 255, or IPTOS_LOWDELAY",
    );
    mistake("tos = 256", "no type of service");
    mistake(
        "tos = 0xb9",
        "1:7 warning the two lowest bits are ECN's and sent as 0 | write tos=0xb8",
    );
    mistake("mhomed = \"x\"", "mhomed takes yes or no");
    mistake(
        "pstn.gw_ip = \"1.2.3.4\"",
        "custom parameters are not supported",
    );
}

#[test]
fn headers_of_datagrams() {
    let set = |text: &str| {
        let datagrams = config(text).settings.datagrams;
        (datagrams.dont_fragment, datagrams.traffic_class)
    };
    assert_eq!(set("children=1"), (false, 0));
    assert_eq!(set("pmtu_discovery=1\ntos=0xb8"), (true, 0xb8));
    assert_eq!(set("pmtu_discovery=no\ntos=IPTOS_LOWDELAY"), (false, 0x10));
    assert_eq!(set("tos=\"IPTOS_THROUGHPUT\""), (false, 0x08));
    assert_eq!(set("tos=iptos_reliability"), (false, 0x04));
}

#[test]
fn reverse_path_filtering() {
    let line = |value: &str| {
        format!("loadmodule \"corex.so\"\nmodparam(\"corex\", \"rp_filter\", {value})\n")
    };
    let set = |value: &str| config(&line(value)).settings.corex.rp_filter;
    assert_eq!(
        ["-1", "0", "1", "2"].map(set),
        [
            RpFilter::Kernel,
            RpFilter::Off,
            RpFilter::Strict,
            RpFilter::Loose
        ]
    );
    assert_eq!(
        config("children=1").settings.corex.rp_filter,
        RpFilter::Kernel
    );
    mistake(&line("3"), "from -1 to 2");
    let inline = "modparam(\"corex\", \"mode\", \"inline\")\n\
                  modparam(\"corex\", \"protect\", \"udp:192.0.2.2:5060\")\n";
    for value in ["-1", "0"] {
        assert_eq!(said(&(line(value) + inline)), [""; 0]);
    }
    for value in ["1", "2"] {
        mistake(
            &(line(value) + inline),
            "2:32 error `rp_filter` has no meaning in inline mode",
        );
    }
}

#[test]
fn what_would_come_back_to_corex_itself() {
    let head = "listen=udp:192.0.2.2:5060 advertise 203.0.113.1:5080\nlisten=tcp:192.0.2.2\n\
        listen=udp:0.0.0.0:5090\nlisten=udp:sip.example.com\nloadmodule \"corex.so\"\n";
    for (call, column, socket) in [
        ("send(\"192.0.2.2\")", 22, "udp:192.0.2.2:5060"),
        (
            "send_udp(\"[::ffff:192.0.2.2]:5060\")",
            26,
            "udp:192.0.2.2:5060",
        ),
        ("send_tcp(\"192.0.2.2:5060\")", 26, "tcp:192.0.2.2:5060"),
        ("send(\"203.0.113.1:5080\")", 22, "udp:203.0.113.1:5080"),
        ("send(\"127.0.0.7:5090\")", 22, "udp:0.0.0.0:5090"),
        ("send(\"sip.example.com\")", 22, "udp:sip.example.com:5060"),
        (
            "send_data(\"sip:192.0.2.2\", \"$mb\")",
            27,
            "udp:192.0.2.2:5060",
        ),
        (
            "sendx(\"sip:192.0.2.2;transport=tcp\", \"\", \"x\")",
            23,
            "tcp:192.0.2.2:5060",
        ),
        ("forward(192.0.2.2, 5060)", 25, "udp:192.0.2.2:5060"),
        ("forward(\"192.0.2.2:5060\")", 25, "udp:192.0.2.2:5060"),
    ] {
        mistake(
            &format!("{head}request_route {{ {call}; }}"),
            &format!(
                "6:{column} error what is sent there comes back to corex itself | \
                 corex listens there, on {socket} | name the host that is to get the message"
            ),
        );
    }
    for call in [
        "send(\"192.0.2.2:5061\")",
        "send(\"192.0.2.3\")",
        "send_tcp(\"192.0.2.2:5090\")",
        "forward(\"127.0.0.1\")",
        "forward(192.0.2.2, 5061)",
        "send(\"$var(x)\")",
    ] {
        config(&format!("{head}request_route {{ {call}; }}"));
    }
    // Without a listen line: every IPv4 address of the host.
    mistake(
        "loadmodule \"corex.so\"\nrequest_route { send(\"127.0.0.1\"); }",
        "error what is sent there comes back",
    );
}

#[test]
fn listen_and_alias() {
    mistake(
        "listen = tls:192.0.2.1:5061",
        "1:10 error there are no listeners for tls | expected udp or tcp",
    );
    mistake("listen = sctp:eth0", "there are no listeners for sctp");
    mistake("listen = udp:192.0.2.1:0", "1:24 error 0 is no port");
    mistake("listen = udp:*:5060", "`*` is no address");
    let settings = config(
        "listen=udp:192.0.2.1:5070 advertise 203.0.113.1:5060 name \"out\"\nlisten=eth0\nlisten=[2001:db8::1]\n\
         alias=example.com\nalias=tcp:example.org:5080\nchildren=4\ndebug=-1\nmhomed=yes\nmax_while_loops=7",
    )
    .settings;
    assert_eq!(settings.listen.len(), 3);
    assert_eq!(
        (settings.listen[0].host.as_str(), settings.listen[0].port),
        ("192.0.2.1", 5070)
    );
    assert_eq!(settings.listen[0].name.as_deref(), Some("out"));
    assert_eq!(
        settings.listen[0].advertise,
        Some(("203.0.113.1".to_owned(), Some(5060)))
    );
    assert_eq!(
        (settings.listen[1].host.as_str(), settings.listen[1].port),
        ("eth0", 5060)
    );
    assert_eq!(settings.listen[2].host, "2001:db8::1");
    assert_eq!(settings.alias[0].to_string(), "example.com");
    assert_eq!(settings.alias[1].to_string(), "tcp:example.org:5080");
    assert_eq!(
        (settings.children, settings.debug, settings.mhomed),
        (Some(4), -1, true)
    );
    assert_eq!(settings.max_while_loops, 7);
}

#[test]
fn what_kamailio_has_and_is_not_here_has_a_remedy() {
    mistake(
        "loadmodule \"registrar.so\"",
        "who is registered where is kept by the server behind",
    );
    mistake(
        "modparam(\"registrar\", \"max_contacts\", 1)",
        "who is registered where is kept by the server behind",
    );
    mistake(
        "request_route { t_relay(); }",
        "forward() sends the request on without one",
    );
    mistake(
        "request_route { save(\"location\"); }",
        "add_path_received()",
    );
}

#[test]
fn a_configuration_without_a_request_route_is_noted() {
    let note = |text: &str| load_str("test.cfg", text).config.unwrap().note();
    let listen = "listen=udp:192.0.2.1:5060\n";
    assert!(note(listen).unwrap().contains("drop_request_unrouted"));
    assert!(note(&format!("{listen} reply_route {{ exit; }}")).is_some());
    assert_eq!(note(&format!("{listen} request_route {{ exit; }}")), None);
    let inline = "loadmodule \"corex.so\"\nmodparam(\"corex\", \"mode\", \"inline\")\n\
                  modparam(\"corex\", \"protect\", \"udp:192.0.2.1:5060\")\n";
    assert_eq!(note(inline), None);
}

#[test]
fn modules() {
    mistake(
        "loadmodule \"unheard.so\"",
        "1:12 error there is no module `unheard` here | expected one of corex, xlog, pv, sl, textops, siputils, maxfwd, rr, path, nathelper, kex, htable, codec",
    );
    mistake("loadmodule \"xlogs.so\"", "did you mean \"xlog.so\"?");
    mistake(
        "loadmodule \"pv.so\"\nloadmodule \"pv\"",
        "2:12 warning the module pv is loaded already",
    );
    mistake(
        "loadpath \"/usr/lib\"",
        "warning this path has no meaning here",
    );
    assert!(said("loadmodule \"/usr/lib/kamailio/modules/corex.so\"").is_empty());
}

#[test]
fn module_parameters() {
    mistake(
        "modparam(\"corex\", \"min_msg_len\", 1)",
        "1:11 error the module corex is not loaded | add the line: loadmodule \"corex.so\"",
    );
    mistake(
        "modparam(\"tm\", \"fr_timer\", 1)",
        "there is no module `tm` here",
    );
    let corex =
        |rest: &str, expected: &str| mistake(&format!("loadmodule \"corex.so\"\n{rest}"), expected);
    corex(
        "modparam(\"corex\", \"min_msg_lne\", 1)",
        "2:19 error the module corex has no parameter `min_msg_lne` | did you mean \"min_msg_len\"?",
    );
    corex(
        "modparam(\"corex\", \"colour\", 1)",
        "it has alias_subdomains, network_io_intercept",
    );
    corex(
        "modparam(\"corex\", \"min_msg_len\", \"32\")",
        "2:34 error min_msg_len takes a number",
    );
    corex(
        "modparam(\"corex\", \"min_msg_len\", -1)",
        "out of range | expected a number from 0 to 65535",
    );
    corex(
        "modparam(\"corex\", \"msg_avp\", 5)",
        "msg_avp takes a string",
    );
    corex(
        "modparam(\"corex\", \"msg_avp\", \"msg\")",
        "expected an AVP, as in \"$avp(msg)\"",
    );
    corex(
        "modparam(\"corex\", \"msg_avp\", \"$var(msg)\")",
        "msg_avp takes the name of an AVP",
    );
    corex(
        "modparam(\"corex\", \"msg_avp\", \"$avp(msg) \")",
        "msg_avp takes the name of an AVP",
    );
    corex(
        "modparam(\"corex\", \"alias_subdomains\", \"ws:example.com\")",
        "alias_subdomains: `ws` is not a protocol; expected udp, tcp, tls or sctp",
    );
    mistake(
        "loadmodule \"codec.so\" modparam(\"codec\", \"gzip_level\", 13)",
        "expected a number from 0 to 12",
    );
    mistake(
        "loadmodule \"xlog.so\" modparam(\"xlog\", \"buf_size\", 4096)",
        "warning buf_size of xlog has no meaning here",
    );
}

#[test]
fn both_spellings_of_module_parameters_set_the_same() {
    for names in [
        ["network_io_intercept", "min_msg_len", "msg_avp"],
        ["nio_intercept", "nio_min_msg_len", "nio_msg_avp"],
    ] {
        let [intercept, len, avp] = names;
        let config = config(&format!(
            "loadmodule \"corex.so\"
             modparam(\"corex\", \"{intercept}\", 32)
             modparam(\"corex\", \"{len}\", 40)
             modparam(\"corex\", \"{avp}\", \"$avp(msg)\")
             modparam(\"corex\", \"alias_subdomains\", \"udp:example.com:5060\")
             modparam(\"corex|corex\", \"probe_len\", 0)
             modparam(\"corex\", \"intercept_send\", no)
             event_route[network:msg] {{ $avp(msg) = $mb; }}"
        ));
        let corex = config.settings.corex;
        assert!(corex.network_io_intercept && !corex.intercept_send);
        assert_eq!((corex.min_msg_len, corex.probe_len), (40, 0));
        assert_eq!(
            corex.alias_subdomains[0].to_string(),
            "udp:example.com:5060"
        );
        assert!(config.program.msg_avp.is_some());
    }
}

#[test]
fn functions() {
    mistake(
        "request_route { send(\"a\"); }",
        "1:17 error send() is in the module corex, which is not loaded | add the line: loadmodule \"corex.so\"",
    );
    mistake_in_route(
        "xlgo(\"a\");",
        "there is no function xlgo() | did you mean xlog()?",
    );
    mistake_in_route(
        "u_relay();",
        "there is no function u_relay() | `corex list functions` shows those that there are",
    );
    mistake_in_route(
        "send(\"a\", \"b\");",
        "send() can't be called with 2 arguments | expected send() or send(host[:port])",
    );
    mistake_in_route(
        "xlog();",
        "with no arguments | expected xlog(format) or xlog(level, format)",
    );
    mistake_in_route(
        "xlog(\"L_LOUD\", \"x\");",
        "this is none of the values of `level` | expected \"L_ALERT\"",
    );
    mistake_in_route(
        "codec_encode(\"zip\", $mb, $avp(x));",
        "none of the values of `codec` | expected \"gzip\"",
    );
    mistake_in_route(
        "codec_encode(\"gzip\", $mb, \"x\");",
        "`output` must be a pseudo-variable that can be written",
    );
    mistake_in_route("codec_encode(\"gzip\", $mb, $mb);", "$mb can't be written");
    mistake_in_route(
        "codec_encode(\"gzip\", $mb, \"$var(x)y\");",
        "`output` must be a pseudo-variable",
    );
}

#[test]
fn functions_stay_in_their_routes_also_through_calls() {
    mistake_in_route(
        "if (is_incoming()) exit;",
        "2:21 error is_incoming() can't be used in request_route | only in event_route[network:msg]",
    );
    let hook = "loadmodule \"corex.so\" modparam(\"corex\", \"nio_intercept\", 1) modparam(\"corex\", \"msg_avp\", \"$avp(m)\")\n";
    mistake(
        &format!("{hook}event_route[network:msg] {{ send(\"a\"); }}"),
        "2:28 error send() can't be used in event_route[network:msg] | only in request_route and reply_route",
    );
    mistake(
        &format!(
            "{hook}event_route[network:msg] {{ route(A); }}\nroute[A] {{ route(B); }}\nroute[B] {{ send(\"a\"); }}"
        ),
        "4:12 error send() can't be used in event_route[network:msg] | only in request_route and reply_route | this block is called from event_route[network:msg]",
    );
    assert!(
        said("loadmodule \"corex.so\" route[A] { if (is_incoming()) exit; send(); }").is_empty()
    );
}

#[test]
fn route_blocks() {
    mistake(
        "request_route { route(NOPE); }",
        "1:23 error there is no route[NOPE] | add the block: route[NOPE]",
    );
    mistake(
        "request_route { route(RELEY); } route[RELAY] { exit; }",
        "did you mean route(RELAY)?",
    );
    mistake(
        "request_route { route(\"$var(x)\"); }",
        "the name of a route can't be computed",
    );
    mistake(
        "route[A] { exit; }\nroute[A] { exit; }",
        "2:7 error there is such a route block already | give it another name",
    );
    mistake(
        "route { exit; }\nrequest_route { exit; }",
        "2:1 error there is such a route block already",
    );
    mistake(
        "event_route[tm:local-request] { exit; }",
        "nothing here raises the event `tm:local-request` | expected network:msg, guard:limit or corex:reply-out",
    );
    mistake(
        "failure_route[F] { exit; }",
        "nothing here runs failure_route",
    );
    mistake(
        "branch_route[F] { exit; }",
        "nothing here runs branch_route",
    );
    mistake("onsend_route { exit; }", "nothing here runs onsend_route");
    mistake(
        "onreply_route[F] { exit; }",
        "nothing here runs a reply_route with a name",
    );
    mistake(
        "request_route { break; }",
        "there is no while or switch to leave | to leave the route block, write return;",
    );
}

#[test]
fn pseudo_variables() {
    mistake_in_route(
        "$var(x) = $rM;",
        "2:27 error there is no pseudo-variable $rM | did you mean $rm?",
    );
    mistake_in_route(
        "$var(x) = $xyzzy;",
        "`corex list variables` shows those that there are",
    );
    mistake_in_route("$var(x) = $avp;", "$avp needs a name | expected $avp(name)");
    mistake_in_route("$var(x) = $ru(x);", "$ru takes no name in parentheses");
    mistake_in_route("$var(x) = $(ru[1]);", "$ru has one value and no index");
    mistake_in_route(
        "$var(x) = $(avp(y)[*]);",
        "all values at once can't be read",
    );
    mistake_in_route(
        "$(avp(y)[1]) = 5;",
        "one value among several can't be replaced",
    );
    mistake_in_route(
        "$(var(x){s.len}) = 1;",
        "2:26 error what is transformed can't be written | expected no transformation",
    );
    mistake_in_route("$var(x) = $avp($var(y));", "a name can't be computed");
    mistake_in_route("$var( ) = 1;", "the name is empty");
    mistake_in_route(
        "$mb = 1;",
        "$mb can't be written | keep the value in a $var(name)",
    );
    mistake_in_route(
        "xlog(\"from $xx\\n\");",
        "2:28 error there is no pseudo-variable $xx",
    );
    mistake_in_route("xlog(\"5$ off\");", "write a dollar sign itself as `$$`");
    mistake_in_route(
        "$var(x) = \"user $rU\";",
        "2:33 warning $rU stays as it is written in this string",
    );
}

#[test]
fn expressions() {
    mistake_in_route(
        "if ($ru =~ \"a(b\") exit;",
        "2:28 error this is no regular expression: unclosed group",
    );
    mistake_in_route(
        "if ($ru =~ \"a{9999}{9999}\") exit;",
        "no regular expression",
    );
    mistake_in_route("if (@from.tag == \"x\") exit;", "selects are not supported");
    mistake_in_route(
        "if (metod == \"x\") exit;",
        "`metod` means nothing here | did you mean `method`?",
    );
    mistake_in_route(
        "if (myself) exit;",
        "it can be compared only: uri == myself",
    );
    mistake_in_route("$var(x) = 1 / 0;", "this divides by zero");
    mistake_in_route("method = \"x\";", "nothing can be assigned to this");
}

#[test]
fn the_hook_and_its_parameters_belong_together() {
    let corex = "loadmodule \"corex.so\"\n";
    mistake(
        &format!("{corex}modparam(\"corex\", \"nio_intercept\", 1)"),
        "2:36 warning there is no event_route[network:msg] to run",
    );
    mistake(
        &format!("{corex}event_route[network:msg] {{ exit; }}"),
        "2:13 warning this block never runs | add the line: modparam(\"corex\", \"network_io_intercept\", 1)",
    );
    mistake(
        &format!(
            "{corex}modparam(\"corex\", \"nio_intercept\", 1)\nevent_route[network:msg] {{ exit; }}"
        ),
        "3:13 warning what this block makes of a message is lost | say where it leaves the new message",
    );
    mistake(
        &format!(
            "{corex}modparam(\"corex\", \"nio_intercept\", 1)\nmodparam(\"corex\", \"msg_avp\", \"$avp(m)\")\n\
             event_route[network:msg] {{ $avp(m) = $ru; }}"
        ),
        "4:38 warning $ru is always $null here",
    );
    mistake(
        &format!(
            "{corex}modparam(\"corex\", \"nio_intercept\", 1)\nmodparam(\"corex\", \"msg_avp\", \"$avp(m)\")\n\
             event_route[network:msg] {{ $ru = \"sip:a@b\"; }}"
        ),
        "4:28 warning writing $ru does nothing here",
    );
}

#[test]
fn several_mistakes_are_reported_in_one_run_in_the_order_of_the_text() {
    let all = said(
        "lisen = 1\nloadmodule \"nope.so\"\nrequest_route {\n  foo();\n  $var(x) = $nope + $noper;\n  \
         if ($ru =~ \"(\") { bar(); }\n  while (baz()) { break; }\n}\n",
    );
    let places: Vec<_> = all
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(
        places,
        ["1:1", "2:12", "4:3", "5:13", "5:21", "6:14", "6:21", "7:10"],
        "{all:#?}"
    );
}

#[test]
fn a_report_shows_the_place_the_line_and_the_remedy() {
    let loaded = load_str("some.cfg", "request_route {\n    sned(\"192.0.2.1\");\n}\n");
    let text = loaded.report.render(false);
    for part in [
        "some.cfg:2:5",
        "sned(\"192.0.2.1\");",
        "^^^^",
        "did you mean send()?",
        "1 error",
    ] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_report() {
    let loaded = load(std::path::Path::new("/nonexistent/corex.cfg"));
    assert!(loaded.config.is_none());
    assert!(loaded.report.render(false).contains("can't be read"));
}
