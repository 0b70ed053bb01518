//! What is believed of those who send.

use corex_script::function::{Parameter, ParameterKind, absolute};
use corex_script::settings::{RpFilter, Strict};

pub(super) const RP_FILTER: Parameter = Parameter {
    name: "rp_filter",
    aliases: &[],
    kind: ParameterKind::Int {
        min: -1,
        max: 2,
        set: |settings, value| {
            settings.corex.rp_filter = match value {
                0 => RpFilter::Off,
                1 => RpFilter::Strict,
                2 => RpFilter::Loose,
                _ => RpFilter::Kernel,
            };
        },
    },
    doc: "Proxy mode: reverse-path filtering (RFC 3704) of datagrams. -1: AF_XDP asks what the \
          kernel asks, the sysctl net.ipv4.conf.*.rp_filter, as it is at any time; IPv6 has none. 0: \
          AF_XDP asks nothing. 1, strict: IPv4 and IPv6 datagrams are dropped, and counted as \
          drop_rp_filter, unless the route to their source leads by the interface that they came \
          by; by kernel sockets, too, where the sysctl may refuse more. 2, loose: unless there is a \
          route to their source. In inline mode the stack of the server's host decides. Default: -1.",
};

pub(super) const STRICT: Parameter = Parameter {
    name: "strict",
    aliases: &[],
    kind: ParameterKind::Text {
        set: |settings, text| {
            settings.corex.strict = match text.to_ascii_lowercase().as_str() {
                "reply" => Strict::Reply,
                "drop" => Strict::Drop,
                "off" => Strict::Off,
                _ => return Err("it is none of \"reply\", \"drop\" and \"off\"".to_owned()),
            };
            Ok(())
        },
        help: "write \"reply\", \"drop\" or \"off\"",
    },
    doc: "What becomes of messages that RFC 3261 forbids to forward, as another parser might read \
          them in another way, or not at all. \"reply\": forward() answers such a request with 400, \
          414, 416, 420, 482 or 483, and the script ends; a request whose first line names another \
          version of SIP, or has spaces in the wrong places, gets 505 or 400 before request_route; \
          an ACK, and what has no Via, gets nothing. Such a reply, with our Via on top, is dropped. \
          \"drop\": all of them are. What gets no answer is counted under its reason, as \
          drop_header_missing and its like, what gets one as strict_answered. \"off\": only \
          Max-Forwards is looked at. send() and its like send what came, as it came. See \
          torture.md. Default: \"reply\".",
};

pub(super) const REPLY_CHECK: Parameter = Parameter {
    name: "reply_check",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: 1,
        set: |settings, value| settings.corex.reply_check = value != 0,
    },
    doc: "Whether forward() puts a keyed digest into its Via (the parameter k), and a reply with \
          our Via on top goes back only if it brings one that fits the Via below, Call-ID and \
          CSeq; else it is dropped, and counted as drop_reply_forged. Without it anybody can have \
          us send what he likes where he likes, by a reply with two Via. What reply_route \
          sends itself isn't looked at. Default: 1; 0 is what Kamailio does.",
};

pub(super) const REPLY_KEY_FILE: Parameter = Parameter {
    name: "reply_key_file",
    aliases: &[],
    kind: ParameterKind::Text {
        set: |settings, text| {
            settings.corex.reply_key_file = Some(absolute(text)?);
            Ok(())
        },
        help: "write a file's path, as in \"/etc/corex-reply.key\"",
    },
    doc: "A file with the keys of reply_check, one a line, of 16 characters or more (openssl rand \
          -hex 32), that only its owner may read (mode 0600, of root or the user that runs \
          corex). The first one goes into requests, any of them does in a reply: put a new one \
          first, reload, and take the old one out when nothing is on its way any more. Who \
          shares the file gets the replies to each other's requests, and a new start gets those \
          to the old one's. Keep it where scripts can't read. Default: a key that is made at the \
          start: replies that are on their way then are lost.",
};
