//! Configurations for corex in the networks of [`crate::topology`].

use std::net::{IpAddr, SocketAddr};

use crate::topology::{LabHost, PORT, Relay};

/// IP version of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The host's address of that version.
    pub fn of(self, host: LabHost) -> IpAddr {
        match self {
            Self::V4 => host.v4.into(),
            Self::V6 => host.v6.into(),
        }
    }

    /// As SIP writes it, with the port.
    fn host_port(self, host: LabHost) -> String {
        match self.of(host) {
            IpAddr::V4(address) => format!("{address}:{PORT}"),
            IpAddr::V6(address) => format!("[{address}]:{PORT}"),
        }
    }
}

/// What the incoming hook of [`relay`] may add to show that it ran.
pub const MARK: &str = "-- hook was here --";

/// A hook that replaces every message by itself.
pub const COPY: &str = "$avp(msg) = $mb;";

/// A hook that puts [`MARK`] behind every message that comes in.
pub fn mark() -> String {
    format!("if (is_incoming()) {{ $avp(msg) = $mb + \"{MARK}\"; }} else {{ $avp(msg) = $mb; }}")
}

/// A configuration for the corex of [`Relay`]: `send()` from either side to the other,
/// `parameters` (modparam lines and the like), and `hook` as event_route\[network:msg\].
pub fn relay(family: Family, parameters: &str, hook: &str) -> String {
    let [user_side, core_side, to_uac, to_uas] =
        [Relay::USER_SIDE, Relay::CORE_SIDE, Relay::UAC, Relay::UAS]
            .map(|host| family.host_port(host));
    let [uac, uas] = [Relay::UAC, Relay::UAS].map(|host| family.of(host));
    format!(
        r#"#!KAMAILIO
listen=udp:{user_side}
listen=udp:{core_side}
mhomed=1
loadmodule "corex.so"
loadmodule "codec.so"
modparam("corex", "network_io_intercept", 1)
modparam("corex", "msg_avp", "$avp(msg)")
{parameters}
event_route[network:msg] {{ {hook} }}
route[RELAY] {{
    if ($si == "{uac}") {{
        send("{to_uas}");
    }} else if ($si == "{uas}") {{
        send("{to_uac}");
    }}
}}
request_route {{ route(RELAY); }}
reply_route {{ route(RELAY); }}
"#
    )
}

/// A hook that keeps SIP plain for its own host and gzips it on the wire.
pub const GZIP: &str = r#"if (is_incoming()) codec_decode("gzip", "$mb", "$avp(msg)");
    else codec_encode("gzip", "$mb", "$avp(msg)");"#;

/// A configuration for inline mode in front of the sockets `protected`, with `parameters` (modparam
/// lines and the like) and `hook` as event_route\[network:msg\].
pub fn inline(protected: &[SocketAddr], parameters: &str, hook: &str) -> String {
    let protect: String = protected
        .iter()
        .map(|address| format!("modparam(\"corex\", \"protect\", \"udp:{address}\")\n"))
        .collect();
    format!(
        r#"#!KAMAILIO
loadmodule "corex.so"
loadmodule "codec.so"
loadmodule "xlog.so"
modparam("corex", "network_io_intercept", 1)
modparam("corex", "msg_avp", "$avp(msg)")
modparam("corex", "mode", "inline")
{protect}{parameters}
event_route[network:msg] {{
    {hook}
}}
"#
    )
}
