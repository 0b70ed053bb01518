//! Messages of our own.

use std::net::SocketAddr;

/// An OPTIONS that a script answers, from there; each `id` makes another one.
pub fn options(transport: &str, from: SocketAddr, id: &str) -> String {
    format!(
        "OPTIONS sip:ping@10.0.1.1 SIP/2.0\r\n\
         Via: SIP/2.0/{transport} {from};branch=z9hG4bK{id};rport\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:soak@10.0.1.2>;tag={id}\r\n\
         To: <sip:ping@10.0.1.1>\r\n\
         Call-ID: {id}\r\n\
         CSeq: 1 OPTIONS\r\n\
         User-Agent: corex-lab\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// Whether that is the answer to it.
pub fn is_answer(bytes: &[u8], id: &str) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.starts_with("SIP/2.0 200 ") && text.contains(&format!("Call-ID: {id}\r\n"))
}

/// A STUN Binding request (RFC 8489, section 5) with that transaction id.
pub fn stun(id: [u8; 12]) -> Vec<u8> {
    let mut bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    bytes.extend(id);
    bytes
}

/// Whether that is a success response to it.
pub fn is_stun_answer(bytes: &[u8], id: [u8; 12]) -> bool {
    bytes.starts_with(&[1, 1]) && bytes.get(8..20) == Some(&id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_by_its_call_id_and_status() {
        let request = options("UDP", "10.0.1.2:5060".parse().unwrap(), "abc");
        let answer = request.replace("OPTIONS sip:ping@10.0.1.1 SIP/2.0", "SIP/2.0 200 OK");
        assert!(is_answer(answer.as_bytes(), "abc"));
        assert!(!is_answer(answer.as_bytes(), "ab"));
        assert!(!is_answer(request.as_bytes(), "abc"));
        assert!(!is_answer(
            answer.replace(" 200 ", " 503 ").as_bytes(),
            "abc"
        ));
    }

    #[test]
    fn a_stun_answer_has_the_requests_transaction_id() {
        let mut answer = stun([7; 12]);
        assert!(!is_stun_answer(&answer, [7; 12]));
        answer[0] = 1;
        assert!(is_stun_answer(&answer, [7; 12]));
        assert!(!is_stun_answer(&answer, [8; 12]));
        assert!(!is_stun_answer(&[1, 1], [7; 12]));
    }
}
