//! `codec_in` and `codec_out`: which chain is for which messages.

use std::net::IpAddr;
use std::ops::Range;

use corex_script::function::{Parameter, ParameterKind, PartMistake, Review};
use corex_script::settings::CodecRule;
use corex_script::syntax::diag::Diagnostic;

use crate::chain::ChainId;

pub(super) const CODEC_IN: Parameter = Parameter {
    name: "codec_in",
    aliases: &[],
    kind: ParameterKind::Notation {
        set: |settings, text| {
            settings.corex.codec_in.push(rule(text)?);
            Ok(())
        },
    },
    doc: "CHAIN[;peer=NETWORK][;socket=ADDRESS[:PORT]]: the chain of the module codec that decodes \
          what is received, before event_route[network:msg], and without one. Only what comes from \
          the network, as in 192.0.2.0/24, and to our address, where those are written. May be set \
          many times: the first line that fits counts; the chain `none` leaves messages as they \
          are. Messages of fewer than min_msg_len bytes are left alone. Default: none.",
};

pub(super) const CODEC_OUT: Parameter = Parameter {
    name: "codec_out",
    aliases: &[],
    kind: ParameterKind::Notation {
        set: |settings, text| {
            settings.corex.codec_out.push(rule(text)?);
            Ok(())
        },
    },
    doc: "The same for what is about to be sent, after event_route[network:msg]: the chain encodes \
          it. `peer` is where it goes; a host name whose address isn't known yet is in no network. \
          Default: none.",
};

const HELP: &str = "its form is CHAIN[;peer=NETWORK][;socket=ADDRESS[:PORT]], as in \
                    \"edge;peer=192.0.2.0/24\"";

fn rule(text: &str) -> Result<CodecRule, PartMistake> {
    let mut rule = CodecRule {
        chain: None,
        peer: None,
        socket: None,
    };
    let mut at = 0;
    for (number, part) in text.split(';').enumerate() {
        let start = at + part.len() - part.trim_start().len();
        let span = start..start + part.trim().len();
        at += part.len() + 1;
        let part = part.trim();
        let mistake = |what: String| Err(mistake(span.clone(), what));
        match part.split_once('=') {
            None if number == 0 && !part.is_empty() => {
                rule.chain = (part != "none").then(|| part.to_owned());
            }
            Some(("peer", value)) if number > 0 && rule.peer.is_none() => match network(value) {
                Some(network) => rule.peer = Some(network),
                None => return mistake(format!("`{value}` is no network")),
            },
            Some(("socket", value)) if number > 0 && rule.socket.is_none() => match socket(value) {
                Some(socket) => rule.socket = Some(socket),
                None => return mistake(format!("`{value}` is no address")),
            },
            _ if number == 0 => return mistake("it begins with no chain's name".to_owned()),
            _ => return mistake(format!("`{part}` has no meaning here, or stands here once")),
        }
    }
    Ok(rule)
}

fn mistake(part: Range<usize>, what: String) -> PartMistake {
    PartMistake {
        part,
        what,
        help: HELP.to_owned(),
    }
}

/// An address, with or without the number of bits that count.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = match text.split_once('/') {
        Some((ip, bits)) => (ip, Some(bits.parse().ok()?)),
        None => (text, None),
    };
    let ip: IpAddr = ip.trim_matches(['[', ']']).parse().ok()?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(most);
    (bits <= most).then_some((ip, bits))
}

/// An address, with or without a port.
fn socket(text: &str) -> Option<(IpAddr, Option<u16>)> {
    let text = text.strip_prefix("udp:").unwrap_or(text);
    if let Ok(address) = text.parse::<std::net::SocketAddr>() {
        return Some((address.ip(), Some(address.port())));
    }
    let ip = text.trim_matches(['[', ']']).parse().ok()?;
    Some((ip, None))
}

/// Whether the chains that the lines name are there.
pub(super) fn review(review: &mut dyn Review) {
    for parameter in ["codec_in", "codec_out"] {
        let spans = review.all_taken(parameter);
        let settings = review.settings();
        let corex = &settings.corex;
        let rules = if parameter == "codec_in" {
            &corex.codec_in
        } else {
            &corex.codec_out
        };
        let missing: Vec<_> = rules
            .iter()
            .zip(spans)
            .filter_map(|(rule, span)| {
                let name = rule.chain.as_deref()?;
                let is_known = ChainId::find(settings, name.as_bytes()).is_some();
                (!is_known).then(|| (name.to_owned(), span))
            })
            .collect();
        for (name, span) in missing {
            review.report(
                Diagnostic::error(span, format!("there is no chain `{name}`")).help(format!(
                    "add the lines: loadmodule \"codec.so\" and modparam(\"codec\", \"chain\", \
                     \"{name}=…\")"
                )),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_a_chain_a_network_and_a_socket() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (text, chain, peer, socket) in [
            ("edge", Some("edge"), None, None),
            ("none", None, None, None),
            (
                " edge ; peer=192.0.2.0/24 ; socket=10.0.0.1:5060",
                Some("edge"),
                Some((ip("192.0.2.0"), 24)),
                Some((ip("10.0.0.1"), Some(5060))),
            ),
            (
                "none;peer=2001:db8::1",
                None,
                Some((ip("2001:db8::1"), 128)),
                None,
            ),
            (
                "e;socket=udp:[fd00::1]:5070",
                Some("e"),
                None,
                Some((ip("fd00::1"), Some(5070))),
            ),
            (
                "e;socket=fd00::1",
                Some("e"),
                None,
                Some((ip("fd00::1"), None)),
            ),
        ] {
            let expected = CodecRule {
                chain: chain.map(str::to_owned),
                peer,
                socket,
            };
            assert_eq!(rule(text), Ok(expected), "{text}");
        }
        for (text, at) in [
            ("", ""),
            (";peer=192.0.2.1", ""),
            ("peer=192.0.2.1", "peer=192.0.2.1"),
            ("e;peer=192.0.2.0/33", "peer=192.0.2.0/33"),
            ("e; peer=name", "peer=name"),
            ("e;peer=1.2.3.4;peer=1.2.3.4", "peer=1.2.3.4"),
            ("e;socket=5060", "socket=5060"),
            ("e;from=1.2.3.4", "from=1.2.3.4"),
            ("e;f", "f"),
        ] {
            let mistake = rule(text).unwrap_err();
            assert_eq!(&text[mistake.part.clone()], at, "{text}");
        }
    }
}
