//! Host names that are looked up.

use std::time::Duration;

use corex_script::function::{Parameter, ParameterKind};

pub(super) const DNS_STALE_TTL: Parameter = Parameter {
    name: "dns_stale_ttl",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: 604_800,
        set: |settings, value| {
            settings.dns.stale_ttl = Duration::from_secs(value as u64);
        },
    },
    doc: "So many seconds longer than its time an address of a host name is used when no name \
          server answers (RFC 8767); it is asked for again every 30 seconds. 0: no longer. \
          Default: 86400.",
};

pub(super) const DNS_MAX_LOOKUPS: Parameter = Parameter {
    name: "dns_max_lookups",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 4,
        max: 65_535,
        set: |settings, value| settings.dns.max_lookups = value as usize,
    },
    doc: "Host names that are looked up at a time. A quarter of these places is for names that had \
          an address before; of the others a zone (example.com, example.co.uk) has a quarter at \
          most. What finds none is dropped, and counted as dns_refused or dns_refused_zone. \
          Default: 256.",
};

pub(super) const DNS_MAX_PER_SOURCE: Parameter = Parameter {
    name: "dns_max_per_source",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 1,
        max: 65_535,
        set: |settings, value| settings.dns.max_per_source = value as usize,
    },
    doc: "Of the host names that are looked up at a time and had no address before, so many may be \
          for messages of one IPv4 address or IPv6 /64. More are dropped, and counted as \
          dns_refused_source. Default: 16.",
};
