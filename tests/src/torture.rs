//! Messages that parsers stumble over: those of RFC 4475 and RFC 5118, and what was reported of proxies.

use std::sync::LazyLock;

/// One of them.
#[derive(Clone, Debug)]
pub struct Torture {
    /// Where it is from: `RFC 4475`, `RFC 5118`, `reported`.
    pub source: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// The section there, or who reported it.
    pub section: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// All of them, in order.
pub static MESSAGES: LazyLock<Vec<Torture>> = LazyLock::new(|| {
    [
        ("RFC 4475", include_str!("../torture/rfc4475.txt")),
        ("RFC 5118", include_str!("../torture/rfc5118.txt")),
        ("reported", include_str!("../torture/reported.txt")),
    ]
    .into_iter()
    .flat_map(|(source, text)| {
        text.split("=== ")
            .skip(1)
            .map(move |it| message(source, it))
    })
    .collect()
});

/// A message from its heading on.
fn message(source: &'static str, text: &'static str) -> Torture {
    let (heading, text) = text.split_once('\n').unwrap_or((text, ""));
    let mut words = heading.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default();
    Torture {
        source,
        name: word(),
        section: word(),
        title: word(),
        bytes: bytes(&text.replace('\n', "\r\n")),
    }
}

/// Text with `<hex>` and `<repeat>` in it as the RFCs write them.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, tag, inner, after)) = next_tag(rest) {
        out.extend_from_slice(before.as_bytes());
        match tag.strip_prefix("repeat ") {
            Some(count) => {
                let count = count.parse().unwrap_or(0);
                out.extend_from_slice(inner.repeat(count).as_bytes());
            }
            None => {
                let digits = |at: usize| inner.get(at..at + 2);
                let byte = |at| u8::from_str_radix(digits(at)?, 16).ok();
                out.extend((0..inner.len()).step_by(2).filter_map(byte));
            }
        }
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// What is in front of the next tag, the tag, what is in it, and what is behind it.
fn next_tag(text: &str) -> Option<(&str, &str, &str, &str)> {
    let at = ["<hex>", "<repeat "].map(|tag| text.find(tag));
    let at = at.into_iter().flatten().min()?;
    let (before, rest) = text.split_at(at);
    let (tag, rest) = rest.strip_prefix('<')?.split_once('>')?;
    let name = tag.split(' ').next()?;
    let (inner, after) = rest.split_once(&format!("</{name}>"))?;
    Some((before, tag, inner, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_messages_of_the_rfcs_are_there() {
        let of = |source| MESSAGES.iter().filter(|it| it.source == source).count();
        assert_eq!((of("RFC 4475"), of("RFC 5118")), (49, 12));
        for message in MESSAGES.iter() {
            let text = String::from_utf8_lossy(&message.bytes);
            assert!(text.contains("SIP/"), "{}", message.name);
            assert!(
                !text.contains("<hex>") && !text.contains("<repeat"),
                "{}",
                message.name
            );
            assert!(text.contains("\r\n\r\n"), "{}", message.name);
        }
    }

    #[test]
    fn what_stands_for_bytes_is_bytes() {
        assert_eq!(
            bytes("a<hex>000aff</hex>b<repeat 3>xy</repeat>"),
            b"a\0\n\xffbxyxyxy"
        );
        let of = |name| {
            MESSAGES
                .iter()
                .find(|it| it.name == name)
                .unwrap()
                .bytes
                .len()
        };
        // As in the RFC's archive.
        for (name, len) in [
            ("longreq", 3515),
            ("mpart01", 1290),
            ("scalar02", 476),
            ("wsinv", 1001),
        ] {
            assert_eq!(of(name), len, "{name}");
        }
    }
}
