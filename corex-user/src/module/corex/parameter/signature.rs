//! `signatures` and `malformed`: what scanners give themselves away by.

use std::ops::Range;
use std::path::{Path, PathBuf};

use corex_script::function::{Parameter, ParameterKind, PartMistake};
use corex_script::settings::{SignaturePattern, SignaturePlace};

use super::lines_file::{self, MAX_FILE};

pub(super) const SIGNATURES: Parameter = Parameter {
    name: "signatures",
    aliases: &[],
    kind: ParameterKind::Notation {
        set: |settings, text| {
            let (patterns, files) = parse(text, &settings.folder)?;
            let signatures = &mut settings.corex.guard.signatures;
            for pattern in patterns {
                if !signatures.patterns.contains(&pattern) {
                    signatures.patterns.push(pattern);
                }
            }
            signatures.files.extend(files);
            Ok(())
        },
    },
    doc: "What scanners give themselves away by: \"default\" for the list that corex brings along, \
          \"file:/etc/corex/signatures.txt\" for one of yours, or both with a semicolon between them. A \
          line of a file is `ua: TEXT` for User-Agent or `line: TEXT` for the first line, with `^` in \
          front of a text that must stand at the beginning; letters match whatever their case. The \
          first 512 bytes of messages are looked at. What has such a text is dropped, and counted as \
          drop_guard_signature. May be set many times. See guard.md. Default: nothing.",
};

pub(super) const MALFORMED: Parameter = Parameter {
    name: "malformed",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 0,
        max: 1,
        set: |settings, value| settings.corex.guard.signatures.drops_malformed = value != 0,
    },
    doc: "Whether messages are dropped, and counted as drop_guard_signature, that begin with no method \
          in capital letters and no SIP/2.0, or have no Via in their first 200 bytes. Where codec_in or \
          event_route[network:msg] may decode messages, what they make of one is looked at. See guard.md. \
          Default: 0.",
};

/// The list that corex brings along.
const SHIPPED: &str = include_str!("signatures.txt");

/// The most characters of a text.
const MAX_TEXT: usize = 64;

const HELP: &str = "write \"default\", \"file:/PATH\", or both, as in \
                    \"default; file:/etc/corex/signatures.txt\"";

/// What a value names, and the files that it was read from. Relative paths begin at `folder`.
fn parse(text: &str, folder: &Path) -> Result<(Vec<SignaturePattern>, Vec<PathBuf>), PartMistake> {
    let (mut patterns, mut files) = (Vec::new(), Vec::new());
    let mut at = 0;
    for part in text.split(';') {
        let start = at + part.len() - part.trim_start().len();
        let word = part.trim();
        let span = start..start + word.len();
        at += part.len() + 1;
        let mistake = |what: String| mistake(span.clone(), what);
        let found = if word == "default" {
            lines(SHIPPED)
        } else if let Some(path) = word.strip_prefix("file:") {
            let path = folder.join(path.trim());
            let text = lines_file::read(&path, MAX_FILE)
                .map_err(|reason| mistake(format!("{} can't be read: {reason}", path.display())))?;
            let found = lines(&text).map_err(|reason| format!("{}:{reason}", path.display()));
            files.push(path);
            found
        } else {
            return Err(mistake(format!(
                "`{word}` is neither default nor file:/PATH"
            )));
        };
        patterns.extend(found.map_err(&mistake)?);
    }
    Ok((patterns, files))
}

fn mistake(part: Range<usize>, what: String) -> PartMistake {
    PartMistake {
        part,
        what,
        help: HELP.to_owned(),
    }
}

/// Reads a list. A mistake begins with line and column.
fn lines(text: &str) -> Result<Vec<SignaturePattern>, String> {
    let mut patterns = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let mistake = |column: usize, what: &str| Err(format!("{}:{column}: {what}", number + 1));
        let begin = 1 + line.len() - line.trim_start().len();
        let (place, text) = match content.split_once(':') {
            Some((place, text)) => (place.trim(), text.trim()),
            None => (content, ""),
        };
        let place = match place {
            "ua" => SignaturePlace::UserAgent,
            "line" => SignaturePlace::FirstLine,
            _ => return mistake(begin, "write `ua: TEXT` or `line: TEXT`"),
        };
        let column = begin + content.len() - text.len();
        let (is_anchored, text) = match text.strip_prefix('^') {
            Some(text) => (true, text),
            None => (false, text),
        };
        if text.len() < 3 || text.len() > MAX_TEXT {
            return mistake(column, "a text has 3 to 64 characters");
        }
        if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return mistake(
                column,
                "only printable characters of ASCII can be looked for",
            );
        }
        patterns.push(SignaturePattern {
            place,
            is_anchored,
            text: text.to_ascii_lowercase().into_bytes(),
        });
    }
    Ok(patterns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::automaton;
    use corex_common::guard::signatures::refuses;
    use corex_script::settings::SignatureSettings;

    #[test]
    fn a_list_has_a_text_in_each_line() {
        let found = lines("# no\n\n ua: Friendly-Scanner \nline:^OPTIONS sip:nm\n").unwrap();
        assert_eq!(
            found,
            [
                SignaturePattern {
                    place: SignaturePlace::UserAgent,
                    is_anchored: false,
                    text: b"friendly-scanner".to_vec(),
                },
                SignaturePattern {
                    place: SignaturePlace::FirstLine,
                    is_anchored: true,
                    text: b"options sip:nm".to_vec(),
                },
            ]
        );
        for (text, at) in [
            ("friendly", "1:1"),
            ("ua: ok", "1:5"),
            ("ua: fine\n  from: friendly", "2:3"),
            ("ua:", "1:4"),
            ("ua: ^ab", "1:5"),
            ("ua: käse", "1:5"),
        ] {
            let reason = lines(text).unwrap_err();
            assert!(reason.starts_with(&format!("{at}:")), "{text}: {reason}");
        }
    }

    #[test]
    fn the_shipped_list_and_files_are_read_and_what_cannot_be_is_pointed_to() {
        let shipped = parse("default", Path::new("/")).unwrap().0;
        assert!(shipped.len() > 8);
        let folder = std::env::temp_dir();
        let path = folder.join(format!("corex-signatures-{}", std::process::id()));
        std::fs::write(&path, "ua: my-scanner\n").unwrap();
        let text = format!("default ; file:{}", path.display());
        assert_eq!(
            parse(&text, Path::new("/")).unwrap().0.len(),
            shipped.len() + 1
        );
        std::fs::write(&path, "my-scanner\n").unwrap();
        let mistake = parse(&text, Path::new("/")).unwrap_err();
        assert!(mistake.what.contains(":1:1: "), "{mistake:?}");
        std::fs::write(&path, "#".repeat(70_000)).unwrap();
        assert!(
            parse(&text, Path::new("/"))
                .unwrap_err()
                .what
                .contains("more than 65536")
        );
        std::fs::remove_file(&path).unwrap();
        for (text, at) in [
            ("", ""),
            ("defaults", "defaults"),
            ("default; file:relative", "file:relative"),
            ("file:/nonexistent/x", "file:/nonexistent/x"),
            ("file:/dev/zero", "file:/dev/zero"),
        ] {
            let mistake = parse(text, Path::new("/nonexistent")).unwrap_err();
            assert_eq!(text.get(mistake.part.clone()), Some(at), "{text}");
        }
    }

    /// What the shipped list says of a message.
    fn is_found(message: &str) -> bool {
        let settings = SignatureSettings {
            patterns: parse("default", Path::new("/")).unwrap().0,
            ..SignatureSettings::default()
        };
        let automaton = automaton::compile(&settings, true).unwrap();
        refuses(&automaton, message.replace('\n', "\r\n").as_bytes(), 0)
    }

    fn from_agent(agent: &str) -> String {
        format!(
            "REGISTER sip:example.com SIP/2.0\nUser-Agent: {agent}\nVia: SIP/2.0/UDP 192.0.2.1\n\n"
        )
    }

    #[test]
    fn what_tools_and_probes_send_is_found() {
        for agent in [
            "friendly-scanner",
            "friendly-request",
            "sipvicious",
            "sundayddr",
            "sip-scan",
            "SIPScan",
            "sipcli/v1.8",
            "VaxSIPUserAgent/3.1",
            "VaxIPUserAgent",
            "pplsip",
            "iWar",
            "smap 0.6.0",
            "SIVuS",
            "siparmyknife",
            "Gulp",
            "Viproy Penetration Testing Kit - Test Agent",
        ] {
            assert!(is_found(&from_agent(agent)), "{agent}");
        }
        for to in [
            "000000972595183136@192.0.2.1",
            "999900972595183136@192.0.2.1",
            "+00972595183136@192.0.2.1",
        ] {
            assert!(is_found(&format!("INVITE sip:{to} SIP/2.0\nVia: x\n\n")));
        }
        assert!(is_found("OPTIONS sip:nm SIP/2.0\nVia: x\n\n"));
    }

    #[test]
    fn what_phones_and_servers_send_is_not() {
        for agent in [
            "Asterisk PBX 18.9.0",
            "FPBX-16.0.40(18.9.0)",
            "FreeSWITCH-mod_sofia/1.10",
            "kamailio (5.6.3 (x86_64/linux))",
            "Yealink SIP-T46S 66.86.0.15",
            "Grandstream GXP2170 1.0.11.64",
            "LinphoneAndroid/5.0 (belle-sip/5.0)",
            "Zoiper rv2.10.15",
            "baresip v1.0.0 (x86_64/Linux)",
            "Cisco/SPA504G-7.6.2",
            "PolycomVVX-VVX_411-UA/5.9.5",
            "snomD785/10.1.54",
            "MicroSIP/3.21.3",
            "PortSIP UC Client",
            "eyeBeam release 3006o",
            "SIPp",
            "sipsak 0.9.8",
        ] {
            assert!(!is_found(&from_agent(agent)), "{agent}");
        }
        // Emergency calls, calls abroad, and by way of a line out of the house.
        for to in [
            "000",
            "999",
            "9999",
            "9000",
            "112",
            "0011972",
            "900972595",
            "+972595",
            "9011972",
        ] {
            let invite = format!("INVITE sip:{to}@example.com SIP/2.0\nVia: x\n\n");
            assert!(!is_found(&invite), "{to}");
        }
        let mut messages = 0;
        for file in ["rfc4475", "rfc5118", "reported"] {
            let path = format!("{}/../tests/torture/{file}.txt", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            for message in text.split("=== ").skip(1) {
                let (name, message) = message.split_once('\n').unwrap();
                assert!(!is_found(message), "{name}");
                messages += 1;
            }
        }
        assert!(messages > 60, "{messages}");
    }
}
