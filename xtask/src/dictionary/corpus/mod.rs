//! Messages to train the dictionary with: made up, of the kinds that networks carry.
//!
//! What is the same in messages of one kind of device is written here as those devices write it:
//! names and order of headers, lists of methods, attributes of SDP. What differs from message to
//! message (names, numbers, addresses, tokens) is drawn anew each time, so that none of it gets into
//! the dictionary. The messages that the dictionary is measured with (corex-user/codec/tests/unseen)
//! come from elsewhere; a test makes sure that nothing of theirs is here.

mod agents;
mod auth;
mod bodies;
mod call;
mod event;
mod ims;
mod message;
mod random;
mod register;
mod sdp;
mod trunk;
mod web;

use random::Random;

/// So many messages, the same ones each time.
pub fn messages(count: usize) -> Vec<Vec<u8>> {
    let mut random = Random::new(0x5eed_c0de_c0de_c0de);
    let mut all: Vec<Vec<u8>> = Vec::new();
    while all.len() < count {
        let flow = match random.below(100) {
            0..22 => register::flow(&mut random),
            22..60 => call::flow(&mut random),
            60..74 => event::flow(&mut random),
            74..88 => ims::flow(&mut random),
            _ => web::flow(&mut random),
        };
        let style = Style::new(&mut random);
        all.extend(flow.into_iter().map(|text| style.apply(text).into_bytes()));
    }
    all.truncate(count);
    all
}

/// Habits that have nothing to do with the kind of message.
struct Style {
    /// To stands before From.
    to_first: bool,
    /// What a hop adds to Via begins a line, and so does each route.
    is_folded: bool,
    /// `Cseq`, `Call-Id`.
    is_odd: bool,
    /// sips: URIs.
    is_sips: bool,
}

impl Style {
    fn new(random: &mut Random) -> Style {
        Style {
            to_first: random.once_in(5),
            is_folded: random.once_in(10),
            is_odd: random.once_in(30),
            is_sips: random.once_in(25),
        }
    }

    fn apply(&self, text: String) -> String {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
        let place =
            |lines: &[String], name: &str| lines.iter().position(|line| line.starts_with(name));
        if self.to_first
            && let (Some(from), Some(to)) = (place(&lines, "From: "), place(&lines, "To: "))
        {
            lines.swap(from, to);
        }
        for line in &mut lines {
            if self.is_folded {
                *line = line
                    .replacen(";received=", "\r\n ;received=", 1)
                    .replace(">,<", ">,\r\n <");
            }
            if self.is_odd {
                *line = line
                    .replace("CSeq: ", "Cseq: ")
                    .replace("Call-ID: ", "Call-Id: ");
            }
            if self.is_sips && !line.starts_with("Via: ") {
                *line = line.replace("sip:", "sips:");
            }
        }
        if self.is_sips {
            let via = place(&lines, "Via: ");
            if let Some(line) = via.and_then(|at| lines.get_mut(at)) {
                *line = line.replacen("/UDP ", "/TLS ", 1);
            }
        }
        format!("{}\r\n\r\n{body}", lines.join("\r\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_same_each_time_and_differ_from_each_other() {
        let all = messages(500);
        assert_eq!(all, messages(500));
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn they_are_messages() {
        for message in messages(2000) {
            let text = String::from_utf8(message).expect("text");
            let (head, body) = text.split_once("\r\n\r\n").expect("an empty line");
            let mut lines = head.split("\r\n");
            let start = lines.next().unwrap_or_default();
            assert!(
                start.starts_with("SIP/2.0 ") || start.ends_with(" SIP/2.0"),
                "{text}"
            );
            let is_header = |line: &str| line.contains(':') || line.starts_with(' ');
            assert!(!head.contains("\n\n") && lines.all(is_header), "{text}");
            let len = format!("Content-Length: {}", body.len());
            assert!(
                head.ends_with(&len) || head.ends_with(&format!("l: {}", body.len())),
                "{text}"
            );
            for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
                let short = match name {
                    "Call-ID" => "i".to_owned(),
                    name => name[..1].to_lowercase(),
                };
                let head = head.to_lowercase();
                let is_there =
                    |name: &str| head.contains(&format!("\r\n{}: ", name.to_lowercase()));
                assert!(is_there(name) || is_there(&short), "{name} in {text}");
            }
        }
    }

    #[test]
    fn nothing_of_the_messages_that_are_measured_is_in_them() {
        let all = messages(super::super::MESSAGES).concat();
        let all = String::from_utf8(all).expect("text");
        let folder = super::super::codec_folder().join("tests/unseen");
        let (mut seen, mut found) = (0, Vec::new());
        for file in std::fs::read_dir(folder).expect("a folder") {
            let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
            seen += text.split("----\n").count();
            for line in text
                .lines()
                .filter(|line| line.contains('@') || line.contains("branch="))
            {
                assert!(!all.contains(line), "{line}");
            }
            for word in text.split([' ', ';', '<', '>', '"', '=', ':', '@', ',', '\r', '\n']) {
                let is_host =
                    word.contains(".example.") || word.starts_with("z9hG4bK") && word.len() > 7;
                let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
                let is_drawn = word.len() > 9 && has_digit && !word.contains('/');
                if is_host || is_drawn && !KNOWN.contains(&word) {
                    found.extend(all.contains(word).then(|| word.to_owned()));
                }
            }
        }
        assert_eq!(found, Vec::<String>::new());
        assert!(seen > 20, "{seen}");
    }

    /// Words with digits that are a protocol's own.
    const KNOWN: &[&str] = &[
        "3GPP-UTRAN-TDD",
        "utran-cell-id-3gpp",
        "ipsec-3gpp",
        "hmac-sha-1-96",
    ];
}
