//! What is answered without the script.

use corex_script::function::{Parameter, ParameterKind};
use corex_script::settings::Keepalive;

pub(super) const KEEPALIVE: Parameter = Parameter {
    name: "keepalive",
    aliases: &[],
    kind: ParameterKind::Text {
        set: |settings, text| {
            settings.corex.keepalive = match text.to_ascii_lowercase().as_str() {
                "pass" => Keepalive::Pass,
                "drop" => Keepalive::Drop,
                "pong" => Keepalive::Pong,
                _ => return Err("it is none of \"pass\", \"drop\" and \"pong\"".to_owned()),
            };
            Ok(())
        },
        help: "write \"pass\", \"drop\" or \"pong\"",
    },
    doc: "What becomes of keep-alives: datagrams of at most 8 bytes, all of them CR, LF or NUL, \
          empty ones too. \"drop\": they are dropped, and counted as drop_keepalive. \"pong\": CR LF \
          CR LF is answered with CR LF (keepalive_answered), others are dropped. \"pass\": \
          probe_len and the script decide. The XDP program does it, so that a worker sees none of \
          them; kernel sockets do the same. On TCP and TLS the ping of RFC 5626 is always \
          answered. See keepalive.md. Default: \"pass\".",
};

pub(super) const STUN: Parameter = Parameter {
    name: "stun",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: 1,
        set: |settings, value| settings.corex.stun = value != 0,
    },
    doc: "Whether STUN Binding requests (RFC 8489) to a listen socket are answered with the address \
          that they came from, as RFC 5626 wants it for UDP: by the XDP program, or by a worker \
          where there is more to them. They are counted as stun_answered, other STUN messages \
          are dropped as drop_stun. See keepalive.md. Default: 0.",
};

pub(super) const OPTIONS_PING: Parameter = Parameter {
    name: "options_ping",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: 1,
        set: |settings, value| settings.corex.options_ping = value != 0,
    },
    doc: "Whether OPTIONS whose request URI is `myself` and has no user part are answered with 200 \
          before request_route, behind codec_in and event_route[network:msg], with what \
          options_reply() of Kamailio's siputils writes. They are counted as replied and as \
          options_answered. Default: 0: the script decides.",
};
