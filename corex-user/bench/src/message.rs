//! The messages that are sent.

use std::net::IpAddr;

use corex_common::bench::{BEFORE_DIGITS, DIGITS, FIRST_PORT};

use crate::{ENDS, protocol::Traffic};

/// A message, by whom it is sent and whether it comes back.
#[derive(Clone, Debug)]
pub struct Message {
    pub payload: Vec<u8>,
    pub is_ipv6: bool,
    pub is_answered: bool,
}

/// CRLF CRLF (RFC 5626 §3.5.1).
const KEEP_ALIVE: &[u8] = b"\r\n\r\n";
/// What phones send to keep a binding of a NAT, without asking for an answer.
const NULS: &[u8] = &[0; 4];

/// What a phone offers.
const OFFER: &str = "v=0\r\no=- 3747 3747 IN IP4 198.51.100.7\r\ns=-\r\n\
    c=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio 40000 RTP/AVP 9 8 0 101\r\n\
    a=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";

/// The messages of a traffic, in the order in which they take turns.
pub fn messages(traffic: Traffic, size: usize) -> Vec<Message> {
    match traffic {
        Traffic::Options => vec![request("OPTIONS", size, false, "")],
        Traffic::Mix => mix(),
    }
}

fn mix() -> Vec<Message> {
    let mut all = Vec::new();
    for is_ipv6 in [false, true] {
        all.extend([
            request("REGISTER", 560, is_ipv6, ""),
            request("INVITE", 700, is_ipv6, OFFER),
            request("OPTIONS", 380, is_ipv6, ""),
            reply(is_ipv6, 520, ""),
            keep_alive(KEEP_ALIVE, is_ipv6),
            request("REGISTER", 860, is_ipv6, ""),
            request("BYE", 420, is_ipv6, ""),
            reply(is_ipv6, 600, OFFER),
            request("OPTIONS", 440, is_ipv6, ""),
            keep_alive(NULS, is_ipv6),
        ]);
    }
    all
}

fn keep_alive(payload: &[u8], is_ipv6: bool) -> Message {
    Message {
        payload: payload.to_vec(),
        is_ipv6,
        is_answered: false,
    }
}

/// A host as it stands in URIs.
fn host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// A request with `size` bytes of headers or a little more.
pub fn request(method: &str, size: usize, is_ipv6: bool, body: &str) -> Message {
    let (own, device) = ENDS.of(is_ipv6);
    let (own, device) = (host(own), host(device));
    let user = if method == "REGISTER" { "" } else { "ping@" };
    let line = format!("{method} sip:{user}{device} SIP/2.0");
    let via = format!("Via: SIP/2.0/UDP {own}:{FIRST_PORT};branch=z9hG4bK-bench-1;rport\r\n");
    complete(&line, &via, method, &own, &device, size, is_ipv6, body)
}

/// A 200 for a request that the device has forwarded.
fn reply(is_ipv6: bool, size: usize, body: &str) -> Message {
    let (own, device) = ENDS.of(is_ipv6);
    let (own, device) = (host(own), host(device));
    let via = format!(
        "Via: SIP/2.0/UDP {device}:5060;branch=z9hG4bK-bench-2\r\n\
         Via: SIP/2.0/UDP {own}:5060;branch=z9hG4bK-bench-1\r\n"
    );
    complete(
        "SIP/2.0 200 OK",
        &via,
        "INVITE",
        &own,
        &device,
        size,
        is_ipv6,
        body,
    )
}

#[expect(clippy::too_many_arguments, reason = "the parts of one message")]
fn complete(
    line: &str,
    via: &str,
    method: &str,
    own: &str,
    device: &str,
    size: usize,
    is_ipv6: bool,
    body: &str,
) -> Message {
    let before = char::from(BEFORE_DIGITS);
    // Blanks, which a header may have, bring the digits to their place.
    let blanks = DIGITS.saturating_sub(line.len() + "\r\nCall-ID:x".len());
    let mut text = format!(
        "{line}\r\nCall-ID:{:blanks$}{before}0000@bench\r\n\
         {via}\
         Max-Forwards: 70\r\n\
         From: <sip:bench@{own}>;tag=bench\r\n\
         To: <sip:ping@{device}>\r\n\
         CSeq: 1 {method}\r\n\
         Contact: <sip:bench@{own}>\r\n\
         User-Agent: bench",
        ""
    );
    let mut end = String::from("\r\n");
    if !body.is_empty() {
        end += "Content-Type: application/sdp\r\n";
    }
    end += &format!("Content-Length: {}\r\n\r\n", body.len());
    while text.len() + end.len() < size {
        text.push('u');
    }
    text += &end;
    text += body;
    Message {
        payload: text.into_bytes(),
        is_ipv6,
        is_answered: true,
    }
}
