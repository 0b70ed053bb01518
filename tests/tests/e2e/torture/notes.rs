//! What is right, and why the two differ.

pub(super) const INTRODUCTION: &str = "\
# Torture

Messages that parsers stumble over, and what corex makes of them beside the real Kamailio 5.6.3. An
end-to-end test sends them to both and compares: with this page, and byte for byte, where both send one
on. The page is what it saw:

    COREX_UPDATE=1 cargo test -p corex-lab --test e2e torture

The messages are in `tests/torture/`: the 49 of RFC 4475, the 12 of RFC 5118, and some of our own that
are modelled on public reports. Each engine, AF_XDP and kernel sockets, does the same.

- **send()** hands on what came as it came, each byte of it. It needs a first line that is SIP's, as
  routes run on nothing else.
- **forward()** is a proxy's, and checks what RFC 3261 §16.3 asks: what a proxy goes by must be there,
  once, and to be read in one way only. A request that isn't gets 400, or 414 (a Request-URI of more
  than 1,024 bytes), 416 (an unknown scheme; `sip`, `sips`, `tel` and `urn` are known), 420
  (Proxy-Require), 482 (a loop), 483 (Max-Forwards 0) or 505 (another version of SIP), and the script
  ends. What must not be answered is dropped under a counter that names the reason: an ACK, a
  request without Via, a reply on its way back. What only the far ends read, a date or a body, is their
  affair. `modparam(\"corex\", \"strict\", \"drop\")` answers nothing, `\"off\"` forwards as Kamailio does.
- **Inline mode** looks at no message: all of these pass a hook both ways as they came, by native and by
  generic XDP (`all_torture_passes_inline_as_it_came_both_ways`).
- A first line that is nearly SIP's, of another version or with spaces in the wrong places, reaches no
  route: it is answered with 505 or 400 in front of it; with `strict` \"drop\" or \"off\" it is dropped, as
  drop_sip_version, drop_request_uri or drop_not_sip.

Decisions where the RFC leaves one:

- A topmost Via that can't be read (a port above 65535, a comment, an empty parameter), or of a
  transport that we don't know, gets 400: no reply could be brought back by it. The answer to one that
  can't be read goes to the address and port that the request came from.
- Several values or fields where there is one: 400, whether they are equal or not, full and compact
  names alike. That goes for all such fields of RFC 3261 §20, and Event, Refer-To, Referred-By and
  Session-Expires.
- To and From: one address, with at most one tag that isn't empty. Names without quotes may have any
  signs but separators; white space within angle brackets is left as it is. Any scheme will do.
- Content-Length: digits in one line. More than there is: 400. Less, in a datagram: what follows goes on
  with it, as from Kamailio, and the receiver takes it off (§18.3); on a stream it is 400.
- The header fields are UTF-8 without control characters, but for escaped ones in quoted strings; every
  line belongs to one, and an empty line ends them. LF alone ends a line, too.
- Status codes are 100 to 699: any other reply is no SIP, and dropped as drop_not_sip with a line in the
  log.
- 482: our Via has a digest of what decides where a request goes (`l=`: source and destination of the
  packet, method, Request-URI, Call-ID, tags, CSeq and Route). One that comes again with the same, and
  with that Via, goes in circles. One that comes back changed, or from somebody else, goes on:
  Max-Forwards sees to the rest.
- By TCP and TLS a message without Content-Length, HTTP too, closes the connection: two readers could
  disagree about where the next one begins.

\"sent\": sent on. \"nothing\": neither sent on nor answered.
";

/// What is said of a message.
pub(super) fn note(name: &str) -> Option<&'static str> {
    NOTES.iter().find(|it| it.0 == name).map(|it| it.1)
}

const NOTES: &[(&str, &str)] = &[
    ("wsinv", "Well-formed."),
    (
        "intmeth",
        "Well-formed; the NUL is escaped in a quoted string.",
    ),
    ("esc01", "Well-formed."),
    ("escnull", "Well-formed."),
    ("esc02", "Well-formed: no escapes, names of their own."),
    ("lwsdisp", "Well-formed."),
    (
        "longreq",
        "Well-formed. Nothing in it is beyond our bounds.",
    ),
    ("dblreq", "Well-formed; what follows isn't part of it."),
    ("semiuri", "Well-formed."),
    (
        "transports",
        "Well-formed: only the topmost Via needs a transport that we know.",
    ),
    ("mpart01", "Well-formed."),
    (
        "unreason",
        "Well-formed. Its Via isn't ours: forward() has no part in it.",
    ),
    ("noreason", "Well-formed. Its Via isn't ours."),
    ("badinv01", "400."),
    ("clerr", "400."),
    ("ncl", "400."),
    (
        "scalar02",
        "400: neither CSeq nor Max-Forwards can be that large.",
    ),
    (
        "scalarlg",
        "To be dropped by who asked. Its Via isn't ours.",
    ),
    ("quotbal", "400."),
    ("ltgtruri", "400."),
    ("lwsruri", "400."),
    ("lwsstart", "400, or to be taken; the next one may not."),
    (
        "trws",
        "400, or to be taken, as spaces at the end change nothing.",
    ),
    (
        "escruri",
        "400, or the headers taken off. A Request-URI has none (§19.1.1).",
    ),
    ("baddate", "The far end's affair."),
    ("regbadct", "The registrar's affair."),
    (
        "badaspec",
        "400, or to be taken: it can be read in one way only.",
    ),
    (
        "baddn",
        "400, or to be taken. For one who takes a comma for the end of a value there are two of them.",
    ),
    ("badvers", "505."),
    ("mismatch01", "400."),
    ("mismatch02", "400 (or 501, of who knows methods)."),
    ("bigcode", "To be dropped."),
    (
        "badbranch",
        "A proxy without state takes it for one without branch.",
    ),
    ("insuf", "400."),
    ("unkscm", "416."),
    ("novelsc", "416."),
    ("unksm2", "Only the registrar has to know them."),
    ("bext01", "420 with Unsupported."),
    ("invut", "The far end's affair."),
    ("regaut01", "The registrar's affair."),
    ("multi01", "400."),
    ("mcl01", "400."),
    (
        "bcast",
        "Not to be sent to a broadcast address. Its topmost Via isn't ours.",
    ),
    ("zeromf", "483."),
    ("cparam01", "The registrar's affair."),
    ("cparam02", "The registrar's affair."),
    ("regescrt", "The registrar's affair."),
    ("sdp01", "The far end's affair."),
    ("inv2543", "To be taken: tags and branches came later."),
    ("ipv6-good", "Well-formed."),
    ("ipv6-bad", "400."),
    ("port-ambiguous", "Well-formed, if not as meant."),
    ("port-unambiguous", "Well-formed."),
    ("via-received-param-with-delim", "To be taken."),
    ("via-received-param-no-delim", "To be taken."),
    ("ipv6-in-sdp", "Well-formed."),
    ("mult-ip-in-header", "Well-formed."),
    ("mult-ip-in-sdp", "Well-formed."),
    ("ipv4-mapped-ipv6", "Well-formed."),
    (
        "ipv6-bug-abnf-3-colons",
        "To be taken: the old grammar had it so.",
    ),
    ("ipv6-correct-abnf-2-colons", "Well-formed."),
    ("14767-to-bad", "400."),
    ("14767-to-tags", "400."),
    ("14767-to-tag", "400."),
    (
        "28361-two",
        "Both go: what removes a field removes each of it.",
    ),
    ("cl-overflow", "400 (§18.3)."),
    ("cl-negative", "400."),
    ("via-port", "400: a reply could not be brought back."),
    ("via-transport", "400: a reply could not be brought back."),
    ("via-comment", "400: comments went with RFC 2543."),
    ("status-999", "Dropped as no SIP, with a line in the log."),
    (
        "ack-broken",
        "Dropped as header_missing: no ACK is ever answered.",
    ),
    ("uri-longest", "To be taken."),
    ("uri-too-long", "414, of who has a bound."),
];
