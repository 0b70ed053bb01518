//! What `modparam("siptrace", …)` sets.

use std::net::{IpAddr, SocketAddr};

use corex_script::function::{Parameter, ParameterKind};
use corex_script::settings::{Collector, Settings};
use corex_sip::{Uri, host_ip};

const NO_DATABASE: &str = "Databases: there are none here.";

/// A number of which not every value means something here.
const fn checked(
    name: &'static str,
    set: fn(&mut Settings, i64) -> Result<(), String>,
    help: &'static str,
    doc: &'static str,
) -> Parameter {
    Parameter {
        name,
        aliases: &[],
        kind: ParameterKind::Number { set, help },
        doc,
    }
}

const fn ignored(name: &'static str, doc: &'static str) -> Parameter {
    Parameter {
        name,
        aliases: &[],
        kind: ParameterKind::Ignored,
        doc,
    }
}

pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "duplicate_uri",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                let collector = Collector::parse(text.as_bytes())?;
                settings.siptrace.collector = Some(collector);
                Ok(())
            },
            help: "its form is \"sip:HOST:PORT\", as in \"sip:10.0.0.9:9060\"",
        },
        doc: "Where copies go: sip:HOST[:PORT], by UDP. A host name is looked up beside the \
              traffic, and again every half minute. Default port: 5060; Homer's is 9060.",
    },
    Parameter {
        name: "trace_on",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 1,
            set: |settings, value| settings.siptrace.is_on = value != 0,
        },
        doc: "Whether anything is copied, as long as the RPC command siptrace.status says nothing \
              else. A reload goes back to it. Default: 0.",
    },
    checked(
        "trace_mode",
        |settings, value| {
            if value & !1 != 0 {
                return Err(match value {
                    2 | 3 => "2 is for a database, and there is none here".to_owned(),
                    4..=7 => "4 is for copies in plain SIP; corex exports HEPv3".to_owned(),
                    _ => "it is 0 or 1".to_owned(),
                });
            }
            settings.siptrace.is_automatic = value == 1;
            Ok(())
        },
        "write 1: every message is copied to duplicate_uri in HEPv3",
        "1: every message that passes is copied, received and sent, our own replies among them. \
         Then sip_trace() isn't needed; where it is called the message is copied twice, as in \
         Kamailio. Default: 0.",
    ),
    Parameter {
        name: "trace_flag",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 31,
            set: |settings, value| settings.siptrace.flag = 1 << value,
        },
        doc: "The flag, of setflag(), of messages that tracing goes on for: what is sent for them is \
              copied, too. Default: none.",
    },
    checked(
        "trace_init_mode",
        |settings, value| {
            if !(0..=3).contains(&value) {
                return Err("it is 0, 1 or 2".to_owned());
            }
            settings.siptrace.allows_automatic = value != 2;
            settings.siptrace.allows_script = value != 1;
            Ok(())
        },
        "write 0 for both ways, 1 for trace_mode alone, 2 for functions and the flag alone",
        "Which ways of tracing there are. 0: both; 1: trace_mode; 2: functions and the flag. \
         Default: 0.",
    ),
    checked(
        "hep_mode_on",
        |_, value| match value {
            1 => Ok(()),
            _ => {
                Err("without HEP copies would be plain SIP, which corex doesn't export".to_owned())
            }
        },
        "write 1, or leave the line out",
        "1: copies are wrapped in HEP, as always here. Default: 1.",
    ),
    checked(
        "hep_version",
        |_, value| match value {
            3 => Ok(()),
            1 | 2 => Err(format!(
                "corex exports HEPv3 alone: version {value} has no room for microseconds, a key or \
                 a correlation id in full"
            )),
            _ => Err("there is no such version of HEP".to_owned()),
        },
        "write 3, or leave the line out; collectors that know HEP know it since 2014",
        "The version of HEP: 3. Default: 3.",
    ),
    Parameter {
        name: "hep_capture_id",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: u32::MAX as i64,
            set: |settings, value| settings.siptrace.capture_id = value as u32,
        },
        doc: "The number by which the collector knows this corex. Default: 1.",
    },
    Parameter {
        name: "auth_key",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                if text.len() > 255 {
                    return Err("it has more than 255 bytes".to_owned());
                }
                text.clone_into(&mut settings.siptrace.auth_key);
                Ok(())
            },
            help: "it is what the collector asks for, as in Homer's configuration",
        },
        doc: "What the collector lets copies in by. It is sent as it is: it keeps mistakes out, not \
              who can read the packets. Default: none.",
    },
    Parameter {
        name: "trace_local_ip",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.siptrace.local = Some(socket_address(text)?);
                Ok(())
            },
            help: "its form is \"[PROTO:]ADDRESS:PORT\", as in \"10.1.1.1:5060\"",
        },
        doc: "Our own address and port as copies show them, of messages received and sent: for a \
              host behind a NAT. Where it is of another family than the message's, the real one \
              stays. Default: the real ones.",
    },
    Parameter {
        name: "send_sock_addr",
        aliases: &["force_send_sock"],
        kind: ParameterKind::Text {
            set: |settings, text| {
                let uri = Uri::parse(text.as_bytes()).map_err(|error| error.to_string())?;
                let ip = host_ip(uri.host);
                settings.siptrace.send_from =
                    Some(ip.ok_or("its host is no IP address".to_owned())?);
                Ok(())
            },
            help: "its form is \"sip:ADDRESS:PORT\", as in \"sip:10.1.1.2:5060\"",
        },
        doc: "The address to send copies from. The port doesn't count: SIP's own socket gets no \
              answers from collectors. Default: the kernel chooses.",
    },
    Parameter {
        name: "send_sock_name",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                settings.siptrace.send_from_name = Some(text.to_owned());
                Ok(())
            },
            help: "it is the name of a listen line",
        },
        doc: "The listen line, by its name, whose address copies are sent from; it comes before \
              send_sock_addr. The port doesn't count.",
    },
    checked(
        "trace_to_database",
        |_, value| match value {
            0 => Ok(()),
            _ => Err("there is no database here".to_owned()),
        },
        "write 0, or leave the line out: copies go to duplicate_uri",
        "Whether copies go to a database: 0. Default: 0.",
    ),
    checked(
        "xheaders_write",
        |_, value| no_x_headers(value),
        "write 0, or leave the line out",
        "Whether copies in plain SIP say in headers of their own where they come from: 0, as HEP \
         has that beside the message. Default: 0.",
    ),
    checked(
        "xheaders_read",
        |_, value| no_x_headers(value),
        "write 0, or leave the line out",
        "Whether such headers are read: 0. Default: 0.",
    ),
    ignored(
        "trace_sl_acks",
        "Whether ACKs to replies of sl are copied without being asked for. Here trace_mode copies \
         them, and nothing else does: no script sees them.",
    ),
    ignored("db_url", NO_DATABASE),
    ignored("table", NO_DATABASE),
    ignored("trace_table_avp", NO_DATABASE),
    ignored("traced_user_avp", NO_DATABASE),
    ignored("trace_db_mode", NO_DATABASE),
    ignored("trace_delayed", NO_DATABASE),
    ignored(
        "evcb_msg",
        "The name of a function of KEMI; event_route[siptrace:msg] isn't run here.",
    ),
];

fn no_x_headers(value: i64) -> Result<(), String> {
    match value {
        0 => Ok(()),
        _ => Err(
            "copies go in HEPv3, which says beside the message what X-Siptrace headers say".into(),
        ),
    }
}

/// `[proto:]address:port`, IPv6 in brackets.
fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let address = ["udp:", "tcp:", "tls:", "sctp:", "any:"]
        .into_iter()
        .find_map(|proto| text.strip_prefix(proto))
        .unwrap_or(text);
    let read: Result<SocketAddr, _> = address.parse();
    read.or_else(|_| {
        let ip: IpAddr = address.trim_matches(['[', ']']).parse().map_err(|_| ())?;
        Ok(SocketAddr::new(ip, 5060))
    })
    .map_err(|()| "it is no IP address with a port".to_owned())
}
