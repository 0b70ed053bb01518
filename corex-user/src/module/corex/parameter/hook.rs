//! What the hook runs on, and what becomes of a message when it fails.

use std::time::Duration;

use corex_script::function::{Parameter, ParameterKind};
use corex_sip::alias::Entry;

use super::word;

pub(super) const ALIAS_SUBDOMAINS: Parameter = Parameter {
    name: "alias_subdomains",
    aliases: &[],
    kind: ParameterKind::Text {
        set: |settings, text| {
            let entry = Entry::parse(text).map_err(|error| error.to_string())?;
            settings.corex.alias_subdomains.push(entry);
            Ok(())
        },
        help: "its form is [proto:]domain[:port], as in \"udp:sip.example.com:5060\"",
    },
    doc: "[proto:]domain[:port]: the domain and all its sub-domains are `myself`. May be \
          set many times.",
};

pub(super) const NETWORK_IO_INTERCEPT: Parameter = Parameter {
    name: "network_io_intercept",
    aliases: &["nio_intercept"],
    kind: ParameterKind::Int {
        min: i32::MIN as i64,
        max: i32::MAX as i64,
        set: |settings, value| settings.corex.network_io_intercept = value != 0,
    },
    doc: "Anything but 0: event_route[network:msg] runs on each message received and each \
          about to be sent. Default: 0.",
};

pub(super) const MIN_MSG_LEN: Parameter = Parameter {
    name: "min_msg_len",
    aliases: &["nio_min_msg_len"],
    kind: ParameterKind::Int {
        min: 0,
        max: 65_535,
        set: |settings, value| settings.corex.min_msg_len = value as u32,
    },
    doc: "Messages of fewer bytes skip the hook. Default: 0.",
};

pub(super) const MSG_AVP: Parameter = Parameter {
    name: "msg_avp",
    aliases: &["nio_msg_avp"],
    kind: ParameterKind::MessageAvp,
    doc: "The AVP that event_route[network:msg] leaves the new message in, as in \
          \"$avp(msg)\". Default: none.",
};

pub(super) const ON_HOOK_FAILURE: Parameter = Parameter {
    name: "on_hook_failure",
    aliases: &[],
    kind: ParameterKind::Text {
        set: |settings, text| {
            settings.corex.drops_on_hook_failure = word(text, "pass", "drop")?;
            Ok(())
        },
        help: "write \"pass\" or \"drop\"",
    },
    doc: "Proxy mode: what becomes of a message when event_route[network:msg] fails: by an error \
          of its own, or since a script in Lua or Perl that it called failed or wasn't run, and \
          msg_avp is not set. \"pass\": it goes on as it was. \"drop\": it is dropped, and \
          counted as drop_hook_failed. Default: \"pass\". In inline mode on_failure says it.",
};

pub(super) const HOOK_QUARANTINE: Parameter = Parameter {
    name: "hook_quarantine",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: 86_400,
        set: |settings, value| {
            settings.corex.hook_quarantine = Duration::from_secs(value as u64);
        },
    },
    doc: "Who sends a message that costs Lua or Perl all the time or memory that a call may take, or \
          its process (Perl: two such messages), is kept from that language for 100 ms, and twice \
          as long each time up to so many seconds: calls are false. It is the sender's \
          address and port, from four ports on the address (IPv6: the /64); only when eight \
          addresses do so within ten seconds all calls rest. 0: they always do. corex.quarantine \
          shows who is held. Default: 10.",
};

pub(super) const LATENCY_SAMPLE: Parameter = Parameter {
    name: "latency_sample",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 1,
        max: 255,
        set: |settings, value| settings.corex.latency_sample = value as u8,
    },
    doc: "Of so many runs of the hook one is measured while it takes less than 8 microseconds, and stands \
          for the others in the histograms of how long hooks take; of one that takes longer each run is. \
          How many there were is exact in any case. 1: each is measured, which costs a short hook \
          as much as it takes itself. Default: 8.",
};

pub(super) const INTERCEPT_SEND: Parameter = Parameter {
    name: "intercept_send",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: 1,
        set: |settings, value| settings.corex.intercept_send = value != 0,
    },
    doc: "Whether what send() sends goes through the hook. Default: 1; 0 is what Kamailio \
          does.",
};

pub(super) const EVCB_REPLY_OUT: Parameter = Parameter {
    name: "evcb_reply_out",
    aliases: &[],
    kind: ParameterKind::Text {
        set: |_, _| Err("no script is called in the place of a route here".to_owned()),
        help: "write event_route[corex:reply-out] { … }, and call the function of Lua or Perl in it",
    },
    doc: "Kamailio's name of a KEMI function: not used here.",
};
