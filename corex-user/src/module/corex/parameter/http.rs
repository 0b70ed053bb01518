//! The HTTP server: metrics and who may ask.

use corex_script::function::{Parameter, ParameterKind, absolute};
use corex_script::settings::control::{HTTP_PORT, HostPort};

pub(super) const METRICS: Parameter = Parameter {
    name: "metrics",
    aliases: &[],
    kind: ParameterKind::Text {
        set: |settings, text| {
            settings.control.metrics = Some(HostPort::parse(text, HTTP_PORT)?);
            Ok(())
        },
        help: "write host:port, or the port alone for 127.0.0.1",
    },
    doc: "Where HTTP serves /metrics (OpenMetrics, for Prometheus), /health and /ready: \
          host:port, on 127.0.0.1 where no host is written; the port is 9470 where none is. \
          Default: nowhere.",
};

pub(super) const HTTP_HOST: Parameter = Parameter {
    name: "http_host",
    aliases: &[],
    kind: ParameterKind::Text {
        set: |settings, text| {
            if text.is_empty() {
                return Err("it is empty".to_owned());
            }
            settings.control.http_hosts.push(text.to_owned());
            Ok(())
        },
        help: "write a host name or an address, without a port",
    },
    doc: "A name or address that HTTP (metrics, and http_socket of jsonrpcs) may be asked by, \
          beside localhost, the address that the connection came to, and the host in \
          `metrics` or `http_socket`. By another one it answers 421: a web page could have \
          its own name lead here. May be set many times.",
};

pub(super) const HTTP_TOKEN_FILE: Parameter = Parameter {
    name: "http_token_file",
    aliases: &[],
    kind: ParameterKind::Text {
        set: |settings, text| {
            settings.control.http_token_file = Some(absolute(text)?);
            Ok(())
        },
        help: "write a file's path, as in \"/etc/corex-http.token\"",
    },
    doc: "A file with a token of 16 characters or more that only its owner may read (mode \
          0600, of root or the user that runs corex). Who asks for /metrics or /RPC must show \
          it: `Authorization: Bearer TOKEN`; /health and /ready are for everybody. It is read \
          at the start. Keep it out of the configuration's directory and of file_root, where \
          scripts may read. Default: none is asked for.",
};
