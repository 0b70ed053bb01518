//! Answers of name servers. The decoder is the resolver's; what it makes of them is corex's input.

use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::RData;

/// Takes the input for what a name server sends.
///
/// # Panics
/// When a name in it can't be shown.
pub fn dns(data: &[u8]) {
    let Ok(message) = Message::from_vec(data) else {
        return;
    };
    for record in &message.answers {
        let _ = record.name.to_string();
        match &record.data {
            RData::SRV(srv) => drop(srv.target.to_string()),
            RData::NAPTR(naptr) => drop(naptr.replacement.to_string()),
            _ => {}
        }
    }
}
