//! The blocks that run by themselves, and when.

/// What a block is called, and when it runs.
pub(super) const ROUTES: &[(&str, &str)] = &[
    (
        "request_route",
        "Runs for each request, decoded and after the hook. What it doesn't send on or answer is \
         dropped and counted. `route` without a name is the same.",
    ),
    (
        "reply_route",
        "Runs for each reply. When it ends, the reply goes to where the Via below ours says, unless \
         the route drops it. `onreply_route` without a name is the same.",
    ),
    ("route[NAME]", "Runs where route(NAME) calls it."),
    (
        "event_route[network:msg]",
        "The hook: runs on the raw bytes of each message received or about to be sent, `$mb`, of \
         at least min_msg_len bytes, if network_io_intercept is 1. What it leaves in the AVP of \
         msg_avp takes the message's place; is_incoming() says which way it goes.",
    ),
    (
        "event_route[guard:limit]",
        "Runs in the place of request_route for requests above a rate with `route` (modparam(\"corex\", \
         \"rate\", …)). If it ends by return, request_route runs behind it. See guard.md.",
    ),
    (
        "event_route[corex:reply-out]",
        "Runs after a reply of corex's own was sent, by sl_send_reply() and its like, options_ping or a \
         check of forward(): `$rs`, `$rr` and `$rm` say which it was and for what. It can't change or hold \
         it. Under load (overload_reply) it doesn't run: what is shed costs no script.",
    ),
];
