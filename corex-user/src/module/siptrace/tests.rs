//! What of siptrace's configuration means something here, and what is said of the rest.

use super::*;
use crate::module::MODULES;

const HEAD: &str = "listen=udp:10.0.0.1:5060 name \"edge\"\nloadmodule \"siptrace.so\"\n";

fn report(text: &str) -> (String, Option<Siptrace>) {
    let loaded = corex_script::load_str("test.cfg", text, MODULES);
    let settings = loaded.config.map(|config| config.settings.siptrace);
    (loaded.report.render(false), settings)
}

fn set(parameter: &str, value: &str) -> (String, Option<Siptrace>) {
    report(&format!(
        "{HEAD}modparam(\"siptrace\", \"{parameter}\", {value})\nrequest_route {{ exit; }}\n"
    ))
}

#[test]
fn kamailios_parameters_set_what_they_set_there() {
    let text = format!(
        "{HEAD}modparam(\"siptrace\", \"duplicate_uri\", \"sip:10.0.0.9:9060\")
        modparam(\"siptrace\", \"hep_mode_on\", 1)
        modparam(\"siptrace\", \"hep_version\", 3)
        modparam(\"siptrace\", \"hep_capture_id\", 4000000000)
        modparam(\"siptrace\", \"trace_to_database\", 0)
        modparam(\"siptrace\", \"xheaders_write\", 0)
        modparam(\"siptrace\", \"xheaders_read\", 0)
        modparam(\"siptrace\", \"trace_on\", 1)
        modparam(\"siptrace\", \"trace_mode\", 1)
        modparam(\"siptrace\", \"trace_init_mode\", 1)
        modparam(\"siptrace\", \"trace_flag\", 22)
        modparam(\"siptrace\", \"trace_local_ip\", \"udp:10.1.1.1:5064\")
        modparam(\"siptrace\", \"auth_key\", \"secret\")
        modparam(\"siptrace\", \"send_sock_addr\", \"sip:10.1.1.2:5000\")
        modparam(\"siptrace\", \"send_sock_name\", \"edge\")
        request_route {{ exit; }}\n"
    );
    let (report, settings) = report(&text);
    assert_eq!(report, "");
    let expected = Siptrace {
        is_on: true,
        is_automatic: true,
        allows_automatic: true,
        allows_script: false,
        flag: 1 << 22,
        collector: Some(Collector {
            host: "10.0.0.9".to_owned(),
            port: Some(9060),
        }),
        capture_id: 4_000_000_000,
        auth_key: "secret".to_owned(),
        local: Some("10.1.1.1:5064".parse().unwrap()),
        send_from: Some("10.1.1.2".parse().unwrap()),
        send_from_name: Some("edge".to_owned()),
    };
    assert_eq!(settings, Some(expected));
}

#[test]
fn what_has_no_meaning_here_is_refused_with_the_reason() {
    for (parameter, value, reason) in [
        ("hep_version", "1", "corex exports HEPv3 alone"),
        ("hep_version", "2", "corex exports HEPv3 alone"),
        ("hep_mode_on", "0", "plain SIP"),
        ("trace_to_database", "1", "there is no database here"),
        ("trace_mode", "2", "for a database"),
        ("trace_mode", "3", "for a database"),
        ("trace_mode", "4", "plain SIP"),
        ("trace_mode", "9", "it is 0 or 1"),
        ("xheaders_write", "1", "HEPv3"),
        ("xheaders_read", "1", "HEPv3"),
        ("trace_init_mode", "4", "it is 0, 1 or 2"),
        ("trace_flag", "32", "out of range"),
        ("duplicate_uri", "\"10.0.0.9\"", "no SIP URI"),
        ("duplicate_uri", "\"sip:h;transport=tcp\"", "by UDP only"),
        ("trace_local_ip", "\"edge\"", "no IP address"),
        ("send_sock_addr", "\"sip:edge\"", "no IP address"),
        ("send_sock_name", "\"other\"", "no listen line has the name"),
        (
            "duplicate_uri",
            "\"sip:10.0.0.1\"",
            "where corex itself listens",
        ),
        ("trace_mode", "1", "there is no collector"),
    ] {
        let (report, settings) = set(parameter, value);
        assert!(report.contains(reason), "{parameter}={value}: {report}");
        assert!(settings.is_none(), "{parameter}={value}");
    }
    for ignored in ["db_url", "table", "trace_sl_acks", "trace_delayed"] {
        let (report, settings) = set(ignored, "1");
        assert!(report.contains("no meaning here"), "{report}");
        assert!(settings.is_some());
    }
}

#[test]
fn modes_that_need_transactions_or_dialogs_are_refused_with_the_reason() {
    for (call, reason) in [
        ("sip_trace(\"\", \"$ci\", \"t\");", "Kamailio's module tm"),
        (
            "sip_trace(\"\", \"$ci\", \"D\");",
            "Kamailio's module dialog",
        ),
        ("sip_trace_mode(\"t\");", "Kamailio's module tm"),
        ("sip_trace_mode(\"x\");", "a mode is \"m\""),
        ("sip_trace(\"edge\");", "no SIP URI"),
    ] {
        let (report, settings) = report(&format!("{HEAD}request_route {{ {call} }}\n"));
        assert!(report.contains(reason), "{call}: {report}");
        assert!(settings.is_none());
    }
    let (report, settings) = report(&format!(
        "{HEAD}event_route[network:msg] {{ sip_trace(); }}\nrequest_route {{ exit; }}\n"
    ));
    assert!(settings.is_none(), "{report}");
}
