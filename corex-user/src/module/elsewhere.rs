//! Modules of Kamailio that aren't here, and what to do instead of what they do. Most keep state of
//! calls, users or media, which is the business of the server behind.

use corex_script::function::Elsewhere;

/// One that stays with the server behind.
const fn behind(
    name: &'static str,
    why: &'static str,
    functions: &'static [(&'static str, &'static str)],
) -> Elsewhere {
    Elsewhere {
        name,
        stays: true,
        why,
        functions,
    }
}

/// One whose lines can be taken out, or replaced.
const fn replaced(
    name: &'static str,
    why: &'static str,
    functions: &'static [(&'static str, &'static str)],
) -> Elsewhere {
    Elsewhere {
        stays: false,
        ..behind(name, why, functions)
    }
}

const TRANSACTIONS: &str = "transactions (tm) stay out: corex keeps nothing of a message that it has \
    sent, and the server behind retransmits, forks and times out. Hand requests to it by forward()";
const NO_TRANSACTION: &str = "there are no transactions: take it out. Retransmissions go the way of the \
    first, and replies by Via";
const USERS: &str = "who is registered where is kept by the server behind: hand REGISTER on to it, with \
    add_path_received() (path), and what it sends to its users comes back by loose_route() (rr)";
const PASSWORDS: &str = "the server behind knows passwords, and asks for them: its challenges and the \
    answers pass by corex";
const MEDIA: &str = "corex carries no media: the server behind has the proxy of them";
const BOOKS: &str = "the server behind sees the calls to be accounted for; copies of messages go to a \
    collector by modparam(\"siptrace\", …)";
const DATA: &str = "no message waits for a database here: what must be looked up is the server's behind; \
    tables in memory are $sht(…) (htable), Lua and Perl can fill them";
const CHOICE: &str = "corex asks no destination whether it lives: choose one in the script, \
    `$du = \"sip:…\"` by $si or a hash, or leave the choice to the server behind";
const DIALOGS: &str = "dialogs are the server's behind: corex keeps none. record_route() (rr) keeps them on \
    the way by corex";
const PRESENCE: &str =
    "presence is the server's behind: hand PUBLISH and SUBSCRIBE on by forward()";

#[rustfmt::skip]
pub(super) static ELSEWHERE: &[Elsewhere] = &[
    behind("tm", TRANSACTIONS, &[
        ("t_relay", "transactions (tm) stay out: forward() sends the request on without one, and answers nothing itself where that fails"),
        ("t_relay_to", ""), ("t_relay_to_udp", "forward(\"HOST\", PORT) sends the request there without a transaction"), ("t_relay_to_tcp", ""), ("t_relay_to_tls", ""), ("t_relay_to_sctp", ""),
        ("t_check_trans", NO_TRANSACTION), ("t_precheck_trans", NO_TRANSACTION), ("t_lookup_request", NO_TRANSACTION), ("t_lookup_cancel", "CANCEL goes the way of the INVITE by itself, if both come by the same lines: forward()"),
        ("t_newtran", NO_TRANSACTION), ("t_release", NO_TRANSACTION), ("t_retransmit_reply", NO_TRANSACTION), ("t_is_set", NO_TRANSACTION),
        ("t_reply", "sl_send_reply() replies without a transaction"), ("t_reply_callid", ""),
        ("t_on_failure", "failure_route runs on the server behind: take it out here"), ("t_on_branch", "branch_route runs on the server behind: put what it does in front of forward()"), ("t_on_branch_failure", ""), ("t_on_reply", "reply_route { … } runs for every reply: tell them apart there"),
        ("t_is_canceled", ""), ("t_is_expired", ""), ("t_any_timeout", ""), ("t_any_replied", ""), ("t_branch_timeout", ""), ("t_branch_replied", ""), ("t_check_status", "in reply_route $rs is the status"), ("t_grep_status", ""),
        ("t_set_fr", ""), ("t_reset_fr", ""), ("t_set_max_lifetime", ""), ("t_reset_max_lifetime", ""), ("t_set_retr", ""), ("t_reset_retr", ""), ("t_set_auto_inv_100", ""), ("t_set_disable_6xx", ""), ("t_set_disable_failover", ""), ("t_set_no_e2e_cancel_reason", ""), ("t_load_contacts", ""), ("t_next_contacts", ""), ("t_next_contact_flow", ""), ("t_drop_replies", ""), ("t_save_lumps", ""), ("t_replicate", ""), ("t_forward_nonack", ""), ("t_use_uac_headers", ""), ("t_uac_send", ""),
        ("t_is_request_route", ""), ("t_is_failure_route", ""), ("t_is_branch_route", ""), ("t_is_reply_route", ""),
    ]),
    behind("tmx", TRANSACTIONS, &[("t_cancel_branches", ""), ("t_cancel_callid", ""), ("t_reply_callid", ""), ("t_flush_flags", ""), ("t_flush_xflags", ""), ("t_suspend", ""), ("t_continue", ""), ("t_reuse_branch", ""), ("t_drop", ""), ("t_cell_append_branches", ""), ("t_is_branch_first", "")]),
    behind("tsilo", USERS, &[("ts_store", ""), ("ts_append", ""), ("ts_append_to", "")]),
    behind("usrloc", USERS, &[]),
    behind("registrar", USERS, &[("save", ""), ("lookup", ""), ("lookup_branches", ""), ("lookup_to_dset", ""), ("lookup_xavp", ""), ("registered", ""), ("unregister", ""), ("add_sock_hdr", ""), ("reg_fetch_contacts", ""), ("reg_free_contacts", ""), ("reg_from_user", ""), ("reg_send_reply", "")]),
    behind("outbound", "flows (RFC 5626) are the registrar's: add_path_received() and set_contact_alias() lead back by the same connection", &[]),
    behind("auth", PASSWORDS, &[("www_authenticate", ""), ("proxy_authenticate", ""), ("www_challenge", ""), ("proxy_challenge", ""), ("auth_challenge", ""), ("consume_credentials", "the server behind needs them: take it out"), ("has_credentials", ""), ("pv_www_authenticate", ""), ("pv_proxy_authenticate", ""), ("pv_auth_check", ""), ("auth_get_www_authenticate", "")]),
    behind("auth_db", PASSWORDS, &[("www_authorize", ""), ("proxy_authorize", ""), ("auth_check", ""), ("is_subscriber", "")]),
    behind("acc", BOOKS, &[("acc_log_request", ""), ("acc_db_request", ""), ("acc_rad_request", ""), ("acc_diam_request", "")]),
    behind("dialog", DIALOGS, &[("dlg_manage", ""), ("is_in_dlg", "has_totag() (siputils) says whether a request belongs to a dialog"), ("is_known_dlg", ""), ("dlg_get", ""), ("dlg_bye", ""), ("dlg_refer", ""), ("dlg_setflag", ""), ("dlg_resetflag", ""), ("dlg_isflagset", ""), ("set_dlg_profile", ""), ("unset_dlg_profile", ""), ("is_in_profile", ""), ("get_profile_size", ""), ("dlg_set_timeout", ""), ("dlg_set_property", ""), ("dlg_reset_property", "")]),
    behind("dispatcher", CHOICE, &[("ds_select_dst", ""), ("ds_select_domain", ""), ("ds_select", ""), ("ds_select_routes", ""), ("ds_next_dst", ""), ("ds_next_domain", ""), ("ds_set_dst", ""), ("ds_set_domain", ""), ("ds_mark_dst", ""), ("ds_mark_addr", ""), ("ds_is_from_list", "compare $si, or look it up in $sht(…) (htable)"), ("ds_list_exist", ""), ("ds_load_update", ""), ("ds_load_unset", "")]),
    behind("carrierroute", CHOICE, &[("cr_route", ""), ("cr_next_domain", "")]),
    behind("drouting", CHOICE, &[("do_routing", ""), ("use_next_gw", ""), ("next_routing", ""), ("is_from_gw", ""), ("goes_to_gw", "")]),
    behind("lcr", CHOICE, &[("load_gws", ""), ("next_gw", ""), ("from_gw", ""), ("from_any_gw", ""), ("to_gw", ""), ("to_any_gw", "")]),
    behind("rtpengine", MEDIA, &[("rtpengine_manage", ""), ("rtpengine_offer", ""), ("rtpengine_answer", ""), ("rtpengine_delete", ""), ("set_rtpengine_set", ""), ("start_recording", ""), ("rtpengine_info", "")]),
    behind("rtpproxy", MEDIA, &[("rtpproxy_manage", ""), ("rtpproxy_offer", ""), ("rtpproxy_answer", ""), ("rtpproxy_destroy", ""), ("unforce_rtp_proxy", ""), ("set_rtp_proxy_set", ""), ("rtpproxy_stream2uac", "")]),
    behind("sdpops", "SDP goes through as it is; search_body() and subst_body() (textops) look and change", &[("sdp_get", ""), ("sdp_remove_codecs_by_name", ""), ("sdp_remove_codecs_by_id", ""), ("sdp_keep_codecs_by_name", ""), ("sdp_keep_codecs_by_id", ""), ("sdp_with_media", ""), ("sdp_remove_media", ""), ("sdp_content", "has_body(\"application/sdp\") (textops)"), ("sdp_print", "")]),
    behind("presence", PRESENCE, &[("handle_publish", ""), ("handle_subscribe", ""), ("pres_auth_status", ""), ("pres_refresh_watchers", "")]),
    behind("presence_xml", PRESENCE, &[]), behind("presence_mwi", PRESENCE, &[]), behind("presence_dialoginfo", PRESENCE, &[]), behind("pua", PRESENCE, &[("pua_set_publish", "")]), behind("rls", PRESENCE, &[("rls_handle_subscribe", ""), ("rls_handle_notify", "")]), behind("xcap_server", PRESENCE, &[]),
    behind("msilo", "messages for who is away are kept by the server behind", &[("m_store", ""), ("m_dump", "")]),
    behind("alias_db", DATA, &[("alias_db_lookup", ""), ("alias_db_find", "")]),
    behind("speeddial", DATA, &[("sd_lookup", "")]),
    behind("dialplan", DATA, &[("dp_translate", ""), ("dp_match", ""), ("dp_replace", "")]),
    behind("domain", "domains of ours are `alias` lines, or alias_subdomains of corex; `myself` and is_myself() go by them", &[("is_from_local", "is_myself($fu)"), ("is_uri_host_local", "is_myself($ru)"), ("is_domain_local", "is_myhost(\"…\")"), ("lookup_domain", "")]),
    behind("enum", "names that need a look-up of their own are the server's behind", &[("enum_query", ""), ("enum_pv_query", ""), ("i_enum_query", "")]),
    behind("sqlops", DATA, &[("sql_query", ""), ("sql_xquery", ""), ("sql_pvquery", ""), ("sql_result_free", ""), ("sql_query_async", "")]),
    behind("avpops", "AVPs are assigned and compared by the language itself; a database is the server's behind", &[("avp_db_query", DATA), ("avp_db_load", DATA), ("avp_db_store", DATA), ("avp_check", "if ($avp(x) == …)"), ("avp_copy", "$avp(a) = $avp(b)"), ("avp_delete", "$(avp(x)[*]) = $null"), ("avp_pushto", ""), ("avp_print", ""), ("is_avp_set", "if (defined $avp(x))"), ("avp_subst", "$(avp(x){re.subst,…})"), ("avp_op", "")]),
    behind("db_mysql", DATA, &[]), behind("db_postgres", DATA, &[]), behind("db_sqlite", DATA, &[]), behind("db_text", DATA, &[]), behind("db_cluster", DATA, &[]), behind("db_unixodbc", DATA, &[]), behind("db_flatstore", DATA, &[]), behind("db_redis", DATA, &[]), behind("db_mongodb", DATA, &[]),
    behind("ndb_redis", DATA, &[("redis_cmd", ""), ("redis_pipe_cmd", ""), ("redis_execute", ""), ("redis_free", "")]),
    behind("http_client", "no message waits for a server of HTTP", &[("http_client_query", ""), ("http_connect", "")]),
    behind("http_async_client", "it suspends transactions, and there are none", &[("http_async_query", "")]),
    behind("async", "it suspends transactions, and there are none", &[("async_route", ""), ("async_sleep", ""), ("async_ms_sleep", ""), ("async_task_route", "")]),
    behind("uac", "who changes From and To must change them back in replies, by state that the server behind has", &[("uac_replace_from", ""), ("uac_replace_to", ""), ("uac_restore_from", ""), ("uac_restore_to", ""), ("uac_auth", ""), ("uac_auth_mode", ""), ("uac_req_send", ""), ("uac_reg_request_to", "")]),
    behind("topoh", "hiding the topology takes state of dialogs, or keys, of the server behind", &[]), behind("topos", "hiding the topology takes state of dialogs of the server behind", &[]), behind("sst", DIALOGS, &[]), behind("dmq", "instances share their devices' keys by a keystore, and nothing else", &[("dmq_handle_message", "")]),
    behind("websocket", "corex speaks UDP and TCP, and TLS as a client: WebSockets end at the server behind", &[("ws_handle_handshake", ""), ("ws_close", "")]),
    behind("tls", "corex connects by TLS (tls_ca_list of corex), but takes no connections by it: phones' TLS ends at the server behind", &[]),
    behind("sctp", "corex connects by SCTP without a module", &[]),
    replaced("xhttp", "corex has a server of HTTP of its own: modparam(\"jsonrpcs\", \"http_socket\", …)", &[("xhttp_reply", "")]), replaced("xhttp_rpc", "JSON-RPC is at /RPC of corex's own server of HTTP: modparam(\"jsonrpcs\", \"http_socket\", …)", &[("dispatch_xhttp_rpc", "")]), replaced("xhttp_prom", "metrics are at /metrics of corex's own server of HTTP", &[("prom_dispatch", "")]),
    replaced("cfg_rpc", "the commands cfg.* are built in: take the line out", &[]), replaced("corex_rpc", "take the line out", &[]), replaced("mi_fifo", "take the line out: ctl and jsonrpcs take commands", &[]), replaced("kemix", "take the line out", &[]),
    replaced("counters", "counters are built in: `corex rpc stats.get_statistics all`; take the line out", &[("cnt_inc", "$shv(x) = $shv(x) + 1"), ("cnt_add", ""), ("cnt_reset", "")]), replaced("statistics", "counters are built in; $shv(x) counts what else is wanted", &[("update_stat", "$shv(x) = $shv(x) + 1"), ("reset_stat", "$shv(x) = 0")]),
    replaced("textopsx", "most of it is in textops: append_hf(), remove_hf(), subst_hf()", &[("msg_apply_changes", "changes are made when the message leaves: put what must see them behind another forward(), or in the hook"), ("change_reply_status", ""), ("keep_hf", "remove_hf_re() takes away what is named"), ("fnmatch", "=~ compares with a regular expression"), ("append_hf_value", "append_hf()"), ("insert_hf_value", "insert_hf()"), ("remove_hf_value", "remove_hf()"), ("assign_hf_value", "subst_hf()"), ("remove_body", "")]),
    replaced("tcpops", "TCP has its parameters: `corex list parameters tcp`", &[("set_reply_no_connect", "take it out: replies open no connections unless modparam(\"corex\", \"tcp_reply_connect\", 1) says so"), ("set_reply_close", "take it out"), ("set_forward_no_connect", "take it out: forward() opens a connection where none is open, within tcp_max_connections"), ("set_forward_close", "take it out"), ("tcp_keepalive_enable", "take it out"), ("tcp_keepalive_disable", "take it out"), ("tcp_set_connection_lifetime", "take it out"), ("tcp_conid_alive", ""), ("tcp_conid_state", ""), ("tcp_enable_closed_event", "take it out")]),
    replaced("debugger", "take the line out: xlog() says what a script does, `corex rpc corex.trace` what messages pass", &[("dbg_pv_dump", ""), ("dbg_sip_msg", "")]), replaced("cfgutils", "no worker waits or ends by a script", &[("sleep", "take it out: a worker serves everybody"), ("usleep", "take it out: a worker serves everybody"), ("abort", ""), ("lock", "$shv(x) and $sht(…) are changed at once by one worker"), ("unlock", ""), ("rand_event", ""), ("rand_set_prob", ""), ("is_gflag", "$shv(x)"), ("set_gflag", "$shv(x)"), ("reset_gflag", "$shv(x)"), ("core_hash", "")]),
    replaced("rtimer", "nothing runs in corex without a message", &[]), replaced("timer", "nothing runs in corex without a message", &[]), replaced("mqueue", "nothing runs in corex without a message", &[("mq_add", ""), ("mq_fetch", "")]),
    replaced("regex", "=~ and pcre patterns in the script", &[("pcre_match", "$var =~ \"pattern\""), ("pcre_match_group", "")]), replaced("ipops", "`$si == 192.0.2.0/24` compares with a network", &[("is_ip", ""), ("is_ip4", ""), ("is_ip6", ""), ("is_pure_ip", ""), ("is_ip_rfc1918", "is_rfc1918() (nathelper)"), ("is_in_subnet", "$var == 192.0.2.0/24"), ("ip_is_in_subnet", "$var == 192.0.2.0/24"), ("compare_ips", "")]),
    replaced("app_python3", "scripts are Lua (app_lua) or Perl (app_perl)", &[("python_exec", "")]), replaced("app_jsdt", "scripts are Lua (app_lua) or Perl (app_perl)", &[("jsdt_run", "")]), replaced("app_ruby", "scripts are Lua (app_lua) or Perl (app_perl)", &[("ruby_run", "")]), replaced("app_sqlang", "scripts are Lua (app_lua) or Perl (app_perl)", &[("sqlang_run", "")]),
    replaced("exec", "no message waits for a program; Perl (app_perl) runs beside the workers, with bounds", &[("exec_msg", ""), ("exec_dset", ""), ("exec_avp", ""), ("exec_cmd", "")]),
    replaced("nosip", "what isn't SIP is seen by event_route[network:msg]", &[]), replaced("stun", "modparam(\"corex\", \"stun\", 1) answers STUN in the kernel", &[]), replaced("sipcapture", "copies for a collector: modparam(\"siptrace\", …)", &[("sip_capture", "sip_trace() (siptrace)")]), replaced("sipdump", "`corex rpc corex.trace` shows messages as they pass", &[("sipdump_send", "")]), replaced("log_systemd", "corex logs to standard error, which systemd reads", &[]), replaced("statsd", "Prometheus asks corex for metrics", &[]),
];
