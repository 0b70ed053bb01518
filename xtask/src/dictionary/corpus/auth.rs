//! Digest authentication (RFC 3261 §22, RFC 8760).

use super::random::Random;

/// What a server asks with.
pub(super) fn challenge(random: &mut Random, realm: &str) -> String {
    let nonce = nonce(random);
    match random.below(5) {
        0 => format!("Digest realm=\"{realm}\", nonce=\"{nonce}\""),
        1 => format!("Digest algorithm=MD5, realm=\"{realm}\", nonce=\"{nonce}\""),
        2 => format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm=MD5, qop=\"auth\""),
        3 => format!(
            "Digest realm=\"{realm}\",nonce=\"{nonce}\",opaque=\"{}\",algorithm=md5,qop=\"auth\"",
            random.hex(16)
        ),
        _ => format!(
            "Digest realm=\"{realm}\", qop=\"auth\", nonce=\"{nonce}\", opaque=\"\", stale=FALSE, \
             algorithm=MD5"
        ),
    }
}

fn nonce(random: &mut Random) -> String {
    match random.below(4) {
        0 => random.hex(8),
        1 => random.base64(36),
        2 => format!("{}/{}", random.digits(10), random.hex(32)),
        _ => random.uuid(),
    }
}

/// What a phone answers with.
pub(super) fn response(random: &mut Random, user: &str, realm: &str, uri: &str) -> String {
    let (nonce, response) = (nonce(random), random.hex(32));
    match random.below(4) {
        0 => format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm=MD5"
        ),
        1 => format!(
            "Digest username=\"{user}\",realm=\"{realm}\",nonce=\"{nonce}\",uri=\"{uri}\",\
             response=\"{response}\",cnonce=\"{}\",nc=00000001,qop=auth,algorithm=MD5",
            random.hex(32)
        ),
        2 => format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm=MD5, cnonce=\"{}\", opaque=\"{}\", qop=auth, \
             nc=0000000{}",
            random.hex(8),
            random.hex(16),
            random.between(1, 10)
        ),
        _ => format!(
            "Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm=MD5, opaque=\"{}\", \
             username=\"{user}\", uri=\"{uri}\", response=\"{response}\", cnonce=\"{}\", \
             nc=00000001, qop=auth",
            random.hex(32),
            random.word(16)
        ),
    }
}
