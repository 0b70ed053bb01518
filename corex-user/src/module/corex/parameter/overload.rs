//! What goes first when a worker can't keep up.

use std::time::Duration;

use corex_script::function::{Parameter, ParameterKind};

use super::word;

pub(super) const OVERLOAD: Parameter = Parameter {
    name: "overload",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: 1,
        set: |settings, value| settings.corex.overload.is_on = value != 0,
    },
    doc: "Whether a worker that can't keep up sheds what matters least, instead of what comes last: \
          first requests outside dialogs from unknown sources, then all from these. The XDP program \
          drops most of it, the worker what it finds waiting; both count it as drop_overload. Known \
          are peers of established dialogs and registered ones, and those that the guard allows. See \
          overload.md. Default: 0.",
};

pub(super) const OVERLOAD_DRY_RUN: Parameter = Parameter {
    name: "overload_dry_run",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: 1,
        set: |settings, value| settings.corex.overload.is_dry = value != 0,
    },
    doc: "With overload: nothing is shed, and nobody gets a 503; workers count as overload_dry what would \
          have gone. Default: 0.",
};

pub(super) const OVERLOAD_HIGH: Parameter = Parameter {
    name: "overload_high",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 1,
        max: 100,
        set: |settings, value| settings.corex.overload.high = value as u32,
    },
    doc: "How full, in percent, the fullest queue of a worker (a receive ring of AF_XDP, the receive \
          buffer of a kernel socket, what streams brought, or what other workers handed over) is when \
          it begins to shed requests outside dialogs from unknown sources. Default: 50.",
};

pub(super) const OVERLOAD_LOW: Parameter = Parameter {
    name: "overload_low",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: 99,
        set: |settings, value| settings.corex.overload.low = value as u32,
    },
    doc: "How full it is at most when that ends; less than overload_high. Default: 25.",
};

pub(super) const OVERLOAD_CRITICAL: Parameter = Parameter {
    name: "overload_critical",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 1,
        max: 101,
        set: |settings, value| settings.corex.overload.critical = value as u32,
    },
    doc: "How full it is when a worker begins to shed all from unknown sources, replies and requests \
          within dialogs too, until it is less full than overload_high; 101: never. Default: 90.",
};

pub(super) const OVERLOAD_REPLY: Parameter = Parameter {
    name: "overload_reply",
    aliases: &[],
    kind: ParameterKind::Text {
        set: |settings, text| {
            settings.corex.overload.replies = word(text, "silence", "503")?;
            Ok(())
        },
        help: "write \"silence\" or \"503\"",
    },
    doc: "What is said to who sent a request that is shed. \"silence\": nothing. \"503\": some get 503 \
          (Service Unavailable) with Retry-After, as many as overload_reply_rate allows; never an \
          ACK. Default: \"silence\".",
};

pub(super) const OVERLOAD_REPLY_RATE: Parameter = Parameter {
    name: "overload_reply_rate",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 1,
        max: 100_000,
        set: |settings, value| settings.corex.overload.reply_rate = value as u32,
    },
    doc: "How many such replies each worker sends in a second at most. Default: 100.",
};

pub(super) const RETRY_AFTER: Parameter = Parameter {
    name: "retry_after",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: 86_400,
        set: |settings, value| settings.corex.overload.retry_after = value as u32,
    },
    doc: "Seconds in the Retry-After of such a reply (RFC 3261 §20.33). Default: 10.",
};

pub(super) const KNOWN_PEER_AGE: Parameter = Parameter {
    name: "known_peer_age",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 1,
        max: 604_800,
        set: |settings, value| {
            settings.corex.overload.peer_age = Duration::from_secs(value as u64);
        },
    },
    doc: "How many seconds a peer stays known after its last INVITE or REGISTER that got a 2xx. \
          Default: 7200.",
};
