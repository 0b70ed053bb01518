//! Functions of Kamailio's corex that mean nothing here, and why.

use corex_script::function::Absent;

const fn absent(name: &'static str, why: &'static str) -> Absent {
    Absent { name, why }
}

const RECEIVED: &str = "where a message came from and where it arrived stays what the packet says: \
    replies, Vias and logs go by that. set_send_socket() chooses the socket to send from";
const XAVP: &str = "our Via has what corex needs to find the way back; `advertise` in the listen \
    line says what it names, and add_local_rport() adds rport";
const MIRROR: &str = "no reply goes to two places here, and a mirrored request needs a server that \
    answers nobody: copy messages by modparam(\"siptrace\", …), or hand their bytes on by \
    send_data(\"sip:HOST:PORT\", $mb)";
const VIA_BODY: &str = "these flags are for Kamailio's own code, which reads them when it writes a Via; \
    for a script's own use there are setflag() and setxflag()";

pub(super) const ABSENT: &[Absent] = &[
    absent("set_recv_socket", RECEIVED),
    absent("set_recv_socket_name", RECEIVED),
    absent("set_source_address", RECEIVED),
    absent(
        "via_add_srvid",
        "there is no server_id here; `advertise` in the listen line tells one corex from another",
    ),
    absent("via_add_xavp_params", XAVP),
    absent("via_use_xavp_fields", XAVP),
    absent("via_reply_add_xavp_params", XAVP),
    absent("forward_uac", MIRROR),
    absent("forward_uac_uri", MIRROR),
    absent(
        "forward_reply",
        "a reply with our Via on top goes back by the next one when reply_route has ended: take \
         the line out",
    ),
    absent("msg_vbflag_set", VIA_BODY),
    absent("msg_vbflag_is_set", VIA_BODY),
    absent("msg_vbflag_reset", VIA_BODY),
    absent("msg_vbflag_parse", VIA_BODY),
    absent(
        "add_tcp_alias",
        "requests to a peer take a connection that is open to the very address and port; one that \
         the peer opened from another port is used for replies",
    ),
];
