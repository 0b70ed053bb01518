//! The examples of the COREX documentation that are configuration, 1.1 to 1.14.

use super::super::ast::{ItemKind, RouteKind, StmtKind};
use super::{good, route, statements};

#[test]
fn parameters_of_the_documentation_parse() {
    let file = good(
        r#"
        modparam("corex", "alias_subdomains", "kamailio.org")
        modparam("corex", "alias_subdomains", "udp:sip-router.org:5060")
        modparam("corex", "network_io_intercept", 1)
        modparam("corex", "min_msg_len", 32)
        modparam("corex", "msg_avp", "$avp(msg)")
        "#,
    );
    assert_eq!(file.items.len(), 5);
    let all_params = |item: &super::Item| matches!(item.kind, ItemKind::ModParam(_));
    assert!(file.items.iter().all(all_params));
}

#[test]
fn function_calls_of_the_documentation_parse() {
    let statements = statements(
        r#"
        append_branch();
        append_branch("$avp(uri)", "0.5");
        send();
        send("10.20.15.10");
        send("sip.example.com:5070");
        send("$var(res)");
        send_data("sip:example.com:5070;transport=sctp", "Message at $Ts");
        msg_iflag_set("UAC_AUTH");
        msg_iflag_reset("UAC_AUTH");
        if(msg_iflag_is_set("UAC_AUTH")) { exit; }
        if(file_read("/tmp/data.txt", "$var(data)")) { exit; }
        if(file_write("/tmp/data.txt", "Data is: $var(data)")) { exit; }
        "#,
    );
    assert_eq!(statements.len(), 12);
}

#[test]
fn event_route_of_the_documentation_parses() {
    let route = route(
        r#"
event_route[network:msg] {
if (is_incoming()) {
xlog("L_INFO", "Received message '$mb' \n");
$avp(msg) = $mb;
} else {
xlog("L_INFO", "Sending message '$mb' \n");
$avp(msg) = $mb;
};
}
"#,
    );
    assert_eq!(route.kind.kind, RouteKind::Event);
    assert_eq!(
        route.name.map(|name| name.kind).as_deref(),
        Some("network:msg")
    );
    let [statement] = &route.body.statements[..] else {
        panic!("{:?}", route.body);
    };
    let StmtKind::If { arms, otherwise } = &statement.kind else {
        panic!("{statement:?}");
    };
    assert_eq!(arms.len(), 1);
    assert_eq!(arms[0].body.statements.len(), 2);
    assert_eq!(
        otherwise.as_ref().map(|block| block.statements.len()),
        Some(2)
    );
}

#[test]
fn use_case_of_the_documentation_parses() {
    let file = good(
        r#"
loadmodule "app_perl.so"
loadmodule "corex.so"

# ----- app_perl params -----
modparam("app_perl", "filename", "/usr/local/etc/kamailio/custom_compress.pl")
modparam("app_perl", "modpath", "/usr/local/lib64/kamailio/perl")

# ----- corex params -----
modparam("corex", "network_io_intercept", 32)
modparam("corex", "min_msg_len", 32)
modparam("corex", "msg_avp", "$avp(msg)")

event_route[network:msg] {
if (is_incoming()) {
if (perl_exec_simple("do_uncompress", "" + $mb + "")) {
xlog("L_INFO", "Received message '$avp(msg)' \n");
} else {
xlog("L_INFO", "Received message '$mb' \n");
$avp(msg) = $mb;
};
} else {
xlog("L_INFO", "Sending message '$mb' \n");
if (!perl_exec_simple("do_compress", "" + $mb + "")) {
$avp(msg) = $mb;
};
};
}
"#,
    );
    assert_eq!(file.items.len(), 8);
}
