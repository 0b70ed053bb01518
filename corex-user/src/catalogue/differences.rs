//! What differs from Kamailio on purpose, and why: for the documentation.

use super::chapter::Chapter;

/// One of them.
pub(super) struct Difference {
    pub chapter: Chapter,
    module: &'static str,
    name: &'static str,
    text: &'static str,
}

const fn differs(
    chapter: Chapter,
    module: &'static str,
    name: &'static str,
    text: &'static str,
) -> Difference {
    Difference {
        chapter,
        module,
        name,
        text,
    }
}

/// What differs in the entry of this name, if anything does.
pub(super) fn find(chapter: Chapter, module: &str, name: &str) -> Option<&'static str> {
    let found = DIFFERENCES.iter().find(|difference| {
        (difference.chapter, difference.module, difference.name) == (chapter, module, name)
    });
    found.map(|difference| difference.text)
}

use Chapter::{Functions, Parameters, Transformations, Variables};

pub(super) const DIFFERENCES: &[Difference] = &[
    differs(
        Parameters,
        "core",
        "children",
        "these are threads, and with AF_XDP there is one for each receive queue of the NIC \
         that transmits, too, however many are asked for.",
    ),
    differs(
        Parameters,
        "core",
        "listen",
        "tls: and sctp: sockets are refused; corex connects by both, but takes no connections.",
    ),
    differs(
        Parameters,
        "core",
        "log_stderror",
        "Kamailio's default is no, and it logs to standard error as long as it runs in the \
         foreground with -E; corex always runs in the foreground, where its service manager \
         reads standard error.",
    ),
    differs(
        Parameters,
        "core",
        "tos",
        "Kamailio's default is 0x10, and it sets the bits of ECN where the number has them.",
    ),
    differs(
        Parameters,
        "app_lua",
        "max_instructions",
        "a parameter of corex alone: Kamailio lets scripts run for ever, and its process with them.",
    ),
    differs(
        Parameters,
        "app_lua",
        "max_time",
        "a parameter of corex alone, as max_instructions.",
    ),
    differs(
        Parameters,
        "app_lua",
        "max_memory",
        "a parameter of corex alone. Kamailio's Lua takes what the system has.",
    ),
    differs(
        Parameters,
        "app_lua",
        "register",
        "in Kamailio it belongs to app_lua_sr, and sr is empty without it.",
    ),
    differs(
        Functions,
        "app_lua",
        "lua_run",
        "AVPs that a script that failed had changed are as before. KSR.x.modf() takes every \
         function, and pseudo-variables in its arguments; integers have 64 bits. What a worker \
         mustn't wait for isn't there: see the module.",
    ),
    differs(
        Parameters,
        "corex",
        "max_peers",
        "a parameter of corex alone.",
    ),
    differs(
        Parameters,
        "corex",
        "latency_sample",
        "a parameter of corex alone.",
    ),
    differs(
        Parameters,
        "corex",
        "busy_poll",
        "a parameter of corex alone.",
    ),
    differs(
        Parameters,
        "corex",
        "reattach",
        "a parameter of corex alone.",
    ),
    differs(
        Parameters,
        "corex",
        "probe_len",
        "a parameter of corex alone. Kamailio drops datagrams of fewer than 32 bytes without a \
         trace; here they are counted.",
    ),
    differs(
        Functions,
        "app_perl",
        "perl_exec_simple",
        "in Kamailio a function that dies is true, and what it did to AVPs stays.",
    ),
    differs(
        Functions,
        "app_perl",
        "perl_exec",
        "in Kamailio what is no number, and a function that dies, is 0 and so ends the \
         configuration's script; and in event_route[network:msg] no function is called.",
    ),
    differs(
        Parameters,
        "app_perl",
        "filename",
        "Kamailio.pm, Kamailio::Constants (log levels, message types, flags), Kamailio::Message, \
         Kamailio::AVP and Kamailio::URI are built in, databases (Kamailio::VDB) are left out. \
         The log levels are known in main without `use Kamailio::Constants`, which example 1.15 \
         takes for granted. getHeader() takes a name in any case where none is written as it \
         asks. moduleFunction() calls every function; Kamailio refuses most.",
    ),
    differs(
        Parameters,
        "app_perl",
        "perl_destroy_func",
        "it is also called when the script is read again.",
    ),
    differs(
        Parameters,
        "app_perl",
        "timeout",
        "a parameter of corex alone. Kamailio waits for ever.",
    ),
    differs(
        Parameters,
        "app_perl",
        "max_memory",
        "a parameter of corex alone. In Kamailio Perl takes the memory of Kamailio's process.",
    ),
    differs(
        Parameters,
        "app_perl",
        "perl_path",
        "a parameter of corex alone. Kamailio is linked with one Perl.",
    ),
    differs(
        Parameters,
        "ctl",
        "binrpc",
        "a port that is written without a host is open on 127.0.0.1 alone; Kamailio opens it on \
         every address. The default is in /run/corex.",
    ),
    differs(
        Parameters,
        "jsonrpcs",
        "transport",
        "HTTP has a socket of its own, http_socket, and needs no xhttp. Notifications are not \
         answered, batches are, and what is no request gets the error codes of JSON-RPC 2.0; \
         Kamailio answers notifications, and everything else with an empty result.",
    ),
    differs(
        Parameters,
        "jsonrpcs",
        "fifo_mode",
        "Kamailio's default is 0660.",
    ),
    differs(
        Parameters,
        "jsonrpcs",
        "dgram_mode",
        "Kamailio's default is 0660.",
    ),
    differs(
        Parameters,
        "jsonrpcs",
        "fifo_reply_dir",
        "reply_name is the name of a FIFO in this directory and nothing else: no path, no link, \
         no other kind of file.",
    ),
    differs(
        Parameters,
        "jsonrpcs",
        "http_socket",
        "a parameter of corex alone. Kamailio answers on its SIP sockets, by the module xhttp.",
    ),
    differs(
        Parameters,
        "corex",
        "intercept_send",
        "a parameter of corex alone. In Kamailio send() passes the hook by, although the \
         documentation promises it everything that is about to be sent.",
    ),
    differs(
        Parameters,
        "corex",
        "network_io_intercept",
        "Kamailio 5.6 takes the new names alone, older ones the old names alone; corex takes both.",
    ),
    differs(
        Parameters,
        "corex",
        "file_root",
        "a parameter of corex alone. Kamailio reads and writes wherever it may.",
    ),
    differs(
        Parameters,
        "corex",
        "file_max_size",
        "a parameter of corex alone. Kamailio has no limit.",
    ),
    differs(
        Functions,
        "core",
        "forward",
        "Max-Forwards is counted down, and added where there is none (RFC 3261 section 16.6); \
         Kamailio leaves that to the module maxfwd. The request also goes to every branch of \
         append_branch(); Kamailio's forward() knows one destination. What RFC 3261 forbids to \
         forward is answered or dropped, and the script ends (strict of the module corex); Kamailio's \
         forward() sends what its parser has taken, and is false otherwise. Replies need the digest in its Via to \
         go back (reply_check of the module corex). \
         Kamailio sends a request to itself as often as Max-Forwards lets it; corex refuses that, \
         as it does with send() and all other functions: what is to be done here again, a route \
         can do.",
    ),
    differs(
        Functions,
        "corex",
        "append_branch",
        "a redirect reply lists the highest q first; Kamailio lists in the order of the calls.",
    ),
    differs(
        Functions,
        "corex",
        "send",
        "the outgoing hook runs on the message (see intercept_send). Host names are looked up \
         beside the workers: the first message to a name that isn't known yet makes the function \
         return true, and if the name has no address that message is counted as dropped \
         (streams.dropped.unresolved); once that is known, the function returns false.",
    ),
    differs(
        Functions,
        "corex",
        "send_tcp",
        "the connection is made beside the workers, so the function returns before it is known \
         whether there will be one. The outgoing hook runs on the message.",
    ),
    differs(
        Functions,
        "corex",
        "file_read",
        "only below file_root, and never through a symbolic link that leads out of it.",
    ),
    differs(
        Functions,
        "corex",
        "file_write",
        "only below file_root, never beside the configuration or its scripts, and through a temporary file that replaces the old one, so that no \
         reader sees half of it.",
    ),
    differs(
        Functions,
        "corex",
        "msg_iflag_set",
        "a flag that no name stands for is an error of the configuration where it is written \
         out; Kamailio finds it when the line runs.",
    ),
    differs(
        Parameters,
        "siptrace",
        "trace_mode",
        "Kamailio copies what is on the wire; corex copies the plain form, before the outgoing \
         hook and behind the incoming one. What isn't SIP isn't copied. The correlation id is the \
         Call-ID; Kamailio gives none.",
    ),
    differs(
        Parameters,
        "siptrace",
        "hep_version",
        "Kamailio's default is 1.",
    ),
    differs(
        Parameters,
        "siptrace",
        "hep_mode_on",
        "Kamailio's default is 0: sip_trace() then sends copies in plain SIP.",
    ),
    differs(
        Parameters,
        "siptrace",
        "trace_to_database",
        "Kamailio's default is 1.",
    ),
    differs(
        Parameters,
        "siptrace",
        "trace_flag",
        "Kamailio copies the whole transaction where the module tm is loaded, else replies of sl.",
    ),
    differs(
        Parameters,
        "siptrace",
        "send_sock_addr",
        "Kamailio sends from a SIP socket of its own, which it must listen on.",
    ),
    differs(
        Functions,
        "siptrace",
        "sip_trace",
        "the modes \"t\" and \"d\" are errors of the configuration, since there are neither \
         transactions nor dialogs; Kamailio without tm copies the message alone, and warns.",
    ),
    differs(
        Functions,
        "textops",
        "replace_all",
        "Content-Length follows when the body changes; Kamailio's stays as it was.",
    ),
    differs(
        Functions,
        "sanity",
        "sanity_check",
        "a reply passes what only requests have; Kamailio 5.6 fails each reply by 1 and 2. Option \
         tags of Proxy-Require compare without regard to case.",
    ),
    differs(
        Functions,
        "rr",
        "record_route",
        "the line is written by forward(), for each branch with the socket that it leaves by. A From \
         tag that can't stand in a URI is left out of it.",
    ),
    differs(
        Functions,
        "rr",
        "remove_record_route",
        "nothing of the line stays; Kamailio 5.6 leaves its end in the message.",
    ),
    differs(
        Functions,
        "rr",
        "loose_route",
        "a Route with maddr goes into $du, or for a strict router into the request URI, as it is: \
         forward() sends to maddr by the URI's transport, which Kamailio loses. There are no flow \
         tokens (RFC 5626).",
    ),
    differs(
        Functions,
        "nathelper",
        "set_contact_alias",
        "of several Contacts in one header the first is changed, as by fix_nated_contact() and \
         add_contact_alias(); in Kamailio 5.6 the last.",
    ),
    differs(
        Functions,
        "nathelper",
        "add_contact_alias",
        "of `Contact: *` it returns 2, as in Kamailio 5.8; in 5.6 -1.",
    ),
    differs(
        Functions,
        "nathelper",
        "handle_ruri_alias",
        "an alias that can't be read leaves the request URI as it is; Kamailio 5.6 writes into it.",
    ),
    differs(
        Functions,
        "core",
        "is_myself",
        "sub-domains of alias_subdomains count, and a lookup takes the same time for one alias \
         and for a hundred thousand.",
    ),
    differs(
        Variables,
        "core",
        "avp",
        "$(avp(name)[-1]) is the oldest value; in Kamailio 5.6 it is $null.",
    ),
    differs(
        Variables,
        "core",
        "var",
        "each worker has its own, as each of Kamailio's processes has.",
    ),
    differs(
        Variables,
        "core",
        "si",
        "set in event_route[network:msg], where Kamailio's is empty, and so are $sp, $Ri, $Rp, \
         $proto and what is derived from them.",
    ),
    differs(
        Variables,
        "core",
        "mb",
        "in the request and reply routes it is what the incoming hook left.",
    ),
    differs(
        Variables,
        "core",
        "pp",
        "the process is the same for all workers.",
    ),
    differs(
        Transformations,
        "core",
        "re.subst",
        "the regular expressions are those of the Rust crate regex: linear time on any input, no \
         back-references in the pattern.",
    ),
    differs(
        Parameters,
        "permissions",
        "address_file",
        "a network written as 192.0.2.0/24 is an error, where Kamailio takes it for a host name; so are \
         more networks than max_subnets, which Kamailio leaves out.",
    ),
    differs(
        Functions,
        "permissions",
        "allow_routing",
        "names of files must be constants, as they are read with the configuration; a name of which \
         neither file is there, and a line that is no rule, are errors, where Kamailio goes on without: \
         it then allows everything.",
    ),
    differs(
        Functions,
        "permissions",
        "allow_trusted",
        "patterns are extended regular expressions, as everywhere here; those in Kamailio's table are \
         basic ones.",
    ),
    differs(
        Parameters,
        "ratelimit",
        "pipe",
        "until the first interval is over NETWORK lets everything pass, where rl_check() ends Kamailio's \
         script.",
    ),
    differs(
        Functions,
        "secfilter",
        "secf_check_dst",
        "with dst_exact_match 0 each entry is compared with the whole number; Kamailio cuts the number \
         to the length of the entries that come first.",
    ),
    differs(
        Functions,
        "pike",
        "pike_check_req",
        "IPv4 and IPv6 have trees of their own, where Kamailio's share one. Together they have 524,288 \
         nodes at most; who finds no room passes, and is counted.",
    ),
];
