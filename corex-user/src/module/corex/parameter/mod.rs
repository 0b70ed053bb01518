//! The parameters, in the order of the documentation; those of one subject are in one file.

mod answer;
mod dns;
mod file;
mod guard;
mod hook;
mod http;
mod inline;
mod interface;
mod lines_file;
mod overload;
mod rate;
mod signature;
mod stream;
mod trust;

use corex_script::function::Parameter;

use super::rule;

pub(super) const PARAMETERS: &[Parameter] = &[
    hook::ALIAS_SUBDOMAINS,
    hook::NETWORK_IO_INTERCEPT,
    hook::MIN_MSG_LEN,
    hook::MSG_AVP,
    http::METRICS,
    http::HTTP_HOST,
    http::HTTP_TOKEN_FILE,
    dns::DNS_CACHE,
    dns::DNS_FILE,
    hook::EVCB_REPLY_OUT,
    dns::DNS_STALE_TTL,
    dns::DNS_MAX_LOOKUPS,
    dns::DNS_MAX_PER_SOURCE,
    hook::ON_HOOK_FAILURE,
    trust::RP_FILTER,
    hook::HOOK_QUARANTINE,
    hook::LATENCY_SAMPLE,
    trust::STRICT,
    trust::REPLY_CHECK,
    trust::REPLY_KEY_FILE,
    overload::OVERLOAD,
    overload::OVERLOAD_DRY_RUN,
    overload::OVERLOAD_HIGH,
    overload::OVERLOAD_LOW,
    overload::OVERLOAD_CRITICAL,
    overload::OVERLOAD_REPLY,
    overload::OVERLOAD_REPLY_RATE,
    overload::RETRY_AFTER,
    overload::KNOWN_PEER_AGE,
    interface::MAX_PEERS,
    interface::SHARD,
    interface::BUSY_POLL,
    interface::REATTACH,
    interface::OFFLOAD,
    interface::PROBE_LEN,
    guard::GUARD,
    guard::ALLOW,
    guard::BLOCK,
    guard::STEALTH,
    guard::GUARD_DRY_RUN,
    guard::GUARD_FILE,
    answer::KEEPALIVE,
    answer::STUN,
    answer::OPTIONS_PING,
    hook::INTERCEPT_SEND,
    file::FILE_ROOT,
    file::FILE_MAX_SIZE,
    stream::TLS_CA_LIST,
    stream::TCP_MAX_PER_PEER,
    stream::TCP_RESERVE,
    stream::TCP_REPLY_CONNECT,
    stream::TCP_KEEPALIVE_LIFETIME,
    interface::INTERFACE,
    inline::MODE,
    inline::PROTECT,
    inline::ON_FAILURE,
    inline::WATCHDOG,
    inline::TOO_BIG,
    rule::CODEC_IN,
    rule::CODEC_OUT,
    rate::RATE,
    rate::RATE_BLOCK,
    signature::SIGNATURES,
    signature::MALFORMED,
];

/// One of two words.
fn word(text: &str, no: &str, yes: &str) -> Result<bool, String> {
    if text.eq_ignore_ascii_case(yes) {
        Ok(true)
    } else if text.eq_ignore_ascii_case(no) {
        Ok(false)
    } else {
        Err(format!("it is neither \"{no}\" nor \"{yes}\""))
    }
}
