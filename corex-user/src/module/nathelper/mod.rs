//! The module `nathelper`: who sits behind a NAT, and how to reach them again. It keeps nobody's
//! binding open: what is sent at intervals (`natping_interval`) is the registrar's business.

mod alias;
mod contact;
mod test;

use corex_script::function::{
    Absent, Function, Module, Parameter, ParameterKind, Routes, function, value,
};

pub(super) static MODULE: Module = Module {
    name: "nathelper",
    doc: "User agents behind NATs: tests, and contacts by which they can be reached.",
    functions: FUNCTIONS,
    absent: ABSENT,
    parameters: PARAMETERS,
    ..Module::NONE
};

const SIP: Routes = Routes::REQUEST.or(Routes::REPLY);

#[rustfmt::skip]
const FUNCTIONS: &[Function] = &[
    function("nat_uac_test", &[&[value("flags")]], SIP, test::nat_uac_test, "Whether one of these tests holds, added up: 1, a private address in Contact; 2, the source isn't the host of the topmost Via; 4, a private address in the topmost Via; 8, one in SDP; 16, the source port isn't the one in the topmost Via; 32, the source is private; 64, a WebSocket (never, here); 128, the source port isn't the one in Contact; 256, c= of SDP isn't the source; 512, the message goes elsewhere than the request URI, or the second Via, says."),
    function("is_rfc1918", &[&[value("address")]], Routes::ANY, test::is_private, "Whether an IPv4 address is private: 10/8, 172.16/12, 192.168/16, 100.64/10, 192.0.0.0/29 (nat_addr_mode adds to it)."),
    function("fix_nated_contact", &[&[]], SIP, contact::fix, "Replaces host and port in Contact by where the message came from. What the user agent calls itself is lost then: set_contact_alias() keeps it."),
    function("set_contact_alias", &[&[], &[value("trim")]], SIP, alias::set, "Adds ;alias=address~port~transport, where the message came from, to the URI in Contact; with trim 1 it takes one that is there away."),
    function("add_contact_alias", &[&[], &[value("address"), value("port"), value("transport")]], SIP, alias::add, "The same behind the URI's host, unless the URI names the source already, its transport too (then it returns 2, as without Contact); or with what the script says."),
    function("handle_ruri_alias", &[&[], &[value("mode")]], Routes::REQUEST, alias::handle, "Takes an alias out of the request URI (the first, with mode 1 the last), and sets $du by it. 2 if there is none."),
    function("add_rcv_param", &[&[], &[value("uri")]], Routes::REQUEST, contact::add_received, "Adds ;received=\"sip:…\" with the source to every Contact, for a registrar; with 1 to the URI instead of the header."),
];

const ABSENT: &[Absent] = &[
    Absent {
        name: "fix_nated_register",
        why: "it is for a registrar on the same host: add_path_received(), or add_rcv_param(), tells one \
              behind corex where the request came from",
    },
    Absent {
        name: "fix_nated_sdp",
        why: "corex carries no media, and what it writes into SDP would lead nowhere: rtpengine \
              belongs to the server behind",
    },
    Absent {
        name: "set_alias_to_pv",
        why: "$(ct{nameaddr.uri}{uri.param,alias}) reads the same",
    },
];

/// A parameter for what is done at intervals, or to SDP.
const fn ignored(name: &'static str) -> Parameter {
    Parameter {
        name,
        aliases: &[],
        kind: ParameterKind::Ignored,
        doc: "For keeping bindings open, or for SDP: the registrar's business, behind corex.",
    }
}

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "nat_addr_mode",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 1,
            set: |settings, value| settings.nat.is_wide = value != 0,
        },
        doc: "1: all of 192.0.0.0/24 is private, too. Default: 1.",
    },
    Parameter {
        name: "alias_name",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                if text.is_empty() || !text.bytes().all(is_token) {
                    return Err("it is no name of a parameter".to_owned());
                }
                text.clone_into(&mut settings.nat.alias_name);
                Ok(())
            },
            help: "letters, digits and -_. make a name, as in \"alias\"",
        },
        doc: "The name of the parameter that set_contact_alias() and its kind go by. Default: \"alias\".",
    },
    ignored("natping_interval"),
    ignored("ping_nated_only"),
    ignored("nortpproxy_str"),
    ignored("received_avp"),
    ignored("force_socket"),
    ignored("sipping_from"),
    ignored("sipping_method"),
    ignored("sipping_bflag"),
    ignored("natping_disable_bflag"),
    ignored("natping_processes"),
    ignored("natping_socket"),
    ignored("keepalive_timeout"),
    ignored("udpping_from_path"),
    ignored("append_sdp_oldmediaip"),
    ignored("filter_server_id"),
];
