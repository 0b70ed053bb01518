//! What a configuration sets.

use std::path::PathBuf;

use corex_script::load_str;
use corex_script::settings::control::{
    Access, BinrpcAddress, ControlSettings, DatagramAddress, HostPort,
};

fn load(lines: &str) -> Result<ControlSettings, String> {
    let text = format!(
        "listen=udp:127.0.0.1:5060\nloadmodule \"ctl.so\"\nloadmodule \"jsonrpcs.so\"\n\
         {lines}\nrequest_route {{ drop; }}\n"
    );
    let loaded = load_str("control.cfg", &text, crate::module::MODULES);
    match loaded.config {
        Some(config) => Ok(config.settings.control),
        None => Err(loaded.report.render(false)),
    }
}

#[test]
fn defaults_serve_one_socket_for_its_owner() {
    let control = load("").unwrap();
    assert_eq!(
        control.listeners(),
        [BinrpcAddress::UnixStream(PathBuf::from(
            "/run/corex/corex_ctl"
        ))]
    );
    assert_eq!(control.access.mode, 0o600);
    let json = control.json;
    assert_eq!(
        (json.by_http(), json.by_fifo(), json.by_datagram()),
        (false, true, true)
    );
}

#[test]
fn every_parameter_reaches_its_setting() {
    let control = load(
        r#"
        modparam("ctl", "binrpc", "unix:/tmp/x")
        modparam("ctl", "binrpc", "tcp:2048")
        modparam("ctl", "mode", 0660)
        modparam("ctl", "user", 7)
        modparam("ctl", "group", "daemon")
        modparam("ctl", "autoconversion", 1)
        modparam("jsonrpcs", "transport", 1)
        modparam("jsonrpcs", "pretty_format", 0)
        modparam("jsonrpcs", "fifo_name", "rpc.fifo")
        modparam("jsonrpcs", "fifo_mode", 0640)
        modparam("jsonrpcs", "fifo_user", 0)
        modparam("jsonrpcs", "fifo_group", "adm")
        modparam("jsonrpcs", "fifo_reply_dir", "/var/tmp/")
        modparam("jsonrpcs", "dgram_socket", "udp:1.2.3.4:8090")
        modparam("jsonrpcs", "dgram_mode", 0620)
        modparam("jsonrpcs", "dgram_user", "root")
        modparam("jsonrpcs", "dgram_group", 5)
        modparam("jsonrpcs", "dgram_timeout", 500)
        modparam("jsonrpcs", "http_socket", "9471")
        "#,
    )
    .unwrap();
    let access = |mode, user: &str, group: &str| Access {
        mode,
        user: Some(user.to_owned()),
        group: Some(group.to_owned()),
    };
    let at = |host: &str, port| HostPort {
        host: host.to_owned(),
        port,
    };
    assert_eq!(
        control.listeners(),
        [
            BinrpcAddress::UnixStream(PathBuf::from("/tmp/x")),
            BinrpcAddress::Tcp(at("127.0.0.1", 2048)),
        ]
    );
    assert_eq!(control.access, access(0o660, "7", "daemon"));
    assert!(control.autoconversion);
    let json = control.json;
    assert_eq!(
        (
            json.by_http(),
            json.by_fifo(),
            json.by_datagram(),
            json.pretty
        ),
        (true, false, false, false)
    );
    assert_eq!(json.fifo, PathBuf::from("/run/corex/rpc.fifo"));
    assert_eq!(json.fifo_access, access(0o640, "0", "adm"));
    assert_eq!(json.fifo_reply_dir, PathBuf::from("/var/tmp/"));
    assert_eq!(json.datagram, DatagramAddress::Udp(at("1.2.3.4", 8090)));
    assert_eq!(json.datagram_access, access(0o620, "root", "5"));
    assert_eq!(json.datagram_timeout, 500);
    assert_eq!(json.http, at("127.0.0.1", 9471));
}

#[test]
fn parameters_that_mean_nothing_are_errors_of_the_configuration() {
    for line in [
        r#"modparam("ctl", "binrpc", "unix:")"#,
        r#"modparam("ctl", "binrpc", "tcp:x:99999")"#,
        r#"modparam("ctl", "mode", 01000)"#,
        r#"modparam("jsonrpcs", "transport", 8)"#,
        r#"modparam("jsonrpcs", "fifo_name", "")"#,
        r#"modparam("jsonrpcs", "fifo_reply_dir", "tmp")"#,
        r#"modparam("jsonrpcs", "dgram_socket", "udp:1.2.3.4")"#,
        r#"modparam("jsonrpcs", "dgram_timeout", 0)"#,
        r#"modparam("jsonrpcs", "http_socket", "x:y")"#,
        r#"modparam("jsonrpcs", "tcp_socket", "tcp:127.0.0.1:1")"#,
    ] {
        assert!(load(line).is_err(), "{line}");
    }
}
