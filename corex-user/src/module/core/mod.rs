//! Functions that need no module: Kamailio has them in its core.

mod flag;
mod forward;
mod relay;
mod strict;
mod uri;

pub(super) use forward::force_socket;

use super::loops;
use corex_script::function::{
    self, BeforeRoute, CORE, Function, Handler, Module, Param, ParamKind, Routes, value,
};
use corex_script::settings::Strict;

pub(super) static MODULE: Module = Module {
    name: CORE,
    doc: "Built in, without loadmodule.",
    functions: FUNCTIONS,
    parameters: &[],
    review: Some(|review| loops::review(review, forward::constant_destination)),
    before_route: Some(|settings| {
        (settings.corex.strict != Strict::Off).then_some(strict::refuses as BeforeRoute)
    }),
    after_route: Some(relay::relay_reply),
    ..Module::NONE
};

const FLAG: Param = value("flag");
const BRANCH_FLAG: &[&[Param]] = &[&[FLAG], &[FLAG, value("branch")]];
const SIP: Routes = Routes::REQUEST.or(Routes::REPLY);

const fn function(
    name: &'static str,
    aliases: &'static [&'static str],
    forms: &'static [&'static [Param]],
    routes: Routes,
    handler: Handler,
    doc: &'static str,
) -> Function {
    Function {
        aliases,
        ..function::function(name, forms, routes, handler, doc)
    }
}

#[rustfmt::skip]
const FUNCTIONS: &[Function] = &[
    function("forward", &[], &[&[], &[HOST], &[HOST, value("port")]], Routes::REQUEST, forward::forward, "Forwards the request without state: with a Via of ours on top, Max-Forwards counted down, and the changes made that the script asked for; to host:port, else to $du, else to the request URI; and to every branch that append_branch() added. What RFC 3261 forbids to forward is answered or dropped, which ends the script: see the parameter strict of the module corex. A destination where corex itself listens is none. True if it was sent to one of them at least."),
    function("setflag", &[], &[&[FLAG]], Routes::ANY, flag::set, "Sets a flag of the message, 0 to 31."),
    function("resetflag", &[], &[&[FLAG]], Routes::ANY, flag::reset, "Resets a flag of the message."),
    function("isflagset", &[], &[&[FLAG]], Routes::ANY, flag::is_set, "Whether a flag of the message is set."),
    function("setbflag", &["setbranchflag"], BRANCH_FLAG, SIP, flag::set_branch, "Sets a flag of a branch, 0 to 31: of the request URI's, 0, or of the so many that append_branch() added."),
    function("resetbflag", &["resetbranchflag"], BRANCH_FLAG, SIP, flag::reset_branch, "Resets a flag of a branch."),
    function("isbflagset", &["isbranchflagset"], BRANCH_FLAG, SIP, flag::is_set_branch, "Whether a flag of a branch is set."),
    function("rewriteuri", &["seturi"], &[&[value("uri")]], Routes::REQUEST, uri::set_uri, "Replaces the request URI."),
    function("revert_uri", &[], &[&[]], Routes::REQUEST, uri::revert, "Brings the request URI back that the message came with."),
    function("rewritehost", &["sethost", "seth"], &[&[value("host")]], Routes::REQUEST, uri::set_host, "Replaces the request URI's host."),
    function("rewritehostport", &["sethostport", "sethp"], &[&[value("host:port")]], Routes::REQUEST, uri::set_host_port, "Replaces the request URI's host and port."),
    function("rewriteport", &["setport", "setp"], &[&[value("port")]], Routes::REQUEST, uri::set_port, "Replaces the request URI's port."),
    function("rewriteuser", &["setuser", "setu"], &[&[value("user")]], Routes::REQUEST, uri::set_user, "Replaces the request URI's user."),
    function("rewriteuserpass", &["setuserpass", "setup"], &[&[value("user:password")]], Routes::REQUEST, uri::set_user_info, "Replaces the request URI's user and password."),
    function("prefix", &[], &[&[value("text")]], Routes::REQUEST, uri::prefix, "Puts text in front of the request URI's user."),
    function("strip", &[], &[&[value("count")]], Routes::REQUEST, uri::strip, "Takes so many characters off the start of the request URI's user."),
    function("strip_tail", &[], &[&[value("count")]], Routes::REQUEST, uri::strip_tail, "Takes so many characters off the end of the request URI's user."),
    function("setdsturi", &[], &[&[value("uri")]], Routes::REQUEST, uri::set_destination, "Sets $du: where the request is sent instead of the request URI."),
    function("resetdsturi", &[], &[&[]], Routes::REQUEST, uri::reset_destination, "Unsets $du."),
    function("isdsturiset", &[], &[&[]], Routes::REQUEST, uri::has_destination, "Whether $du is set."),
    function("force_rport", &["add_rport"], &[&[]], SIP, forward::force_rport, "Replies go to the port that the request came from, whether its Via asks for that or not."),
    function("add_local_rport", &[], &[&[]], Routes::REQUEST, forward::local_rport, "Our own Via asks for rport."),
    function("is_myself", &[], &[&[value("uri")]], Routes::ANY, uri::is_myself, "Whether a URI is this proxy."),
    function("is_myhost", &[], &[&[value("host")]], Routes::ANY, uri::is_own_host, "Whether a host, or that of a URI, is this proxy's, on any port."),
    function("force_send_socket", &[], &[&[SOCKET]], SIP, forward::force_socket, "Sets $fs: the listen socket to send from, as udp:address:port or by its name."),
];

/// A host, with a port or not; also written without quotation marks.
const HOST: Param = Param {
    name: "host[:port]",
    kind: ParamKind::Word,
};

const SOCKET: Param = Param {
    name: "socket",
    kind: ParamKind::Word,
};
