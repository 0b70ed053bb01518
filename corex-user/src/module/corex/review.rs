//! Whether the hook's and inline mode's parameters fit the blocks that there are.

use super::send;
use crate::module::loops;
use corex_script::function::Review;
use corex_script::function::Routes;
use corex_script::settings::RateRule;
use corex_script::syntax::diag::Diagnostic;
use corex_script::syntax::span::Span;

pub(super) fn review(review: &mut dyn Review) {
    hook(review);
    inline(review);
    overload(review);
    limit(review);
    super::rule::review(review);
    loops::review(review, send::constant_destination);
}

/// Whether the hook and the parameters that belong to it are there together.
fn hook(review: &mut dyn Review) {
    let hook = review.block(Routes::NETWORK);
    let is_on = review.settings().corex.network_io_intercept;
    let diagnostic = match (hook, review.taken(&["network_io_intercept"])) {
        (None, Some(span)) if is_on => {
            Diagnostic::warning(span, "there is no event_route[network:msg] to run")
                .help("add the block, or remove this line")
        }
        (Some(span), _) if !is_on => Diagnostic::warning(span, "this block never runs")
            .help("add the line: modparam(\"corex\", \"network_io_intercept\", 1)"),
        (Some(span), _) if !review.has_message_avp() => {
            Diagnostic::warning(span, "what this block makes of a message is lost").help(
                "say where it leaves the new message: \
                 modparam(\"corex\", \"msg_avp\", \"$avp(msg)\")",
            )
        }
        _ => return,
    };
    review.report(diagnostic);
}

/// Whether `event_route[guard:limit]` and rates whose messages go there are there together.
fn limit(review: &mut dyn Review) {
    let goes_there = |rule: &RateRule| rule.is_to_route;
    let settings = review.settings();
    let is_wanted = settings.corex.guard.rates.iter().any(goes_there);
    let is_inline = settings.corex.inline.is_on;
    let diagnostic = match (review.limit_block(), review.taken(&["rate"])) {
        (_, Some(span)) if is_wanted && is_inline => {
            Diagnostic::error(span, "no route runs in inline mode, and a rate's messages go to one")
                .help("write `drop` instead of `route`, or leave it out")
        }
        (None, Some(span)) if is_wanted => Diagnostic::error(
            span,
            "a rate's messages go to event_route[guard:limit], and there is none",
        )
        .help("add the block, as in event_route[guard:limit] { sl_send_reply(\"503\", \"Slow down\"); }"),
        (Some(span), _) if !is_wanted => Diagnostic::warning(span, "this block never runs")
            .help("write `route` behind a rate: modparam(\"corex\", \"rate\", \"src: 50/s route\")"),
        _ => return,
    };
    review.report(diagnostic);
}

/// Whether what inline mode needs is there, and nothing that has no meaning in it.
fn inline(review: &mut dyn Review) {
    let inline = &review.settings().corex.inline;
    let (is_on, is_protecting) = (inline.is_on, !inline.protect.is_empty());
    let span = review.written(&["mode", "protect"]).unwrap_or(Span::NONE);
    match (is_on, is_protecting) {
        (true, false) => review.report(
            Diagnostic::error(span, "inline mode has no server to stand in front of")
                .help("name its socket: modparam(\"corex\", \"protect\", \"udp:ADDRESS:5060\")"),
        ),
        (false, true) => review.report(
            Diagnostic::warning(span, "`protect` has no meaning in proxy mode")
                .help("add the line: modparam(\"corex\", \"mode\", \"inline\")"),
        ),
        _ => {}
    }
    if !is_on {
        return;
    }
    if review.settings().corex.rp_filter.is_own() {
        let span = review.taken(&["rp_filter"]).unwrap_or(span);
        review.report(
            Diagnostic::error(span, "`rp_filter` has no meaning in inline mode").help(
                "the stack of the server's host looks at all packets: set the sysctl \
                 net.ipv4.conf.all.rp_filter, or for IPv6 a rule of nftables: \
                 fib saddr . iif oif missing drop",
            ),
        );
    }
    if !review.settings().listen.is_empty() {
        review.report(
            Diagnostic::warning(span, "`listen` has no meaning in inline mode")
                .help("corex opens no SIP socket: leave the `listen` lines out"),
        );
    }
    if let Some(span) = review.block(Routes::REQUEST.or(Routes::REPLY)) {
        review.report(
            Diagnostic::warning(span, "this block never runs in inline mode").help(
                "the server routes; what it receives and sends goes through \
                 event_route[network:msg]",
            ),
        );
    }
}

/// Whether the thresholds of overload are in order.
fn overload(review: &mut dyn Review) {
    let overload = &review.settings().corex.overload;
    let is_disordered = overload.low >= overload.high || overload.critical < overload.high;
    if !overload.is_on || !is_disordered {
        return;
    }
    let said = format!(
        "a worker would begin to shed at {} %, end at {} % and shed all unknown at {} %",
        overload.high, overload.low, overload.critical
    );
    let parameters = ["overload_high", "overload_low", "overload_critical"];
    let span = review.written(&parameters).unwrap_or(Span::NONE);
    review.report(
        Diagnostic::error(span, said)
            .help("write overload_low < overload_high <= overload_critical"),
    );
}
