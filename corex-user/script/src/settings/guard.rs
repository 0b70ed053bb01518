//! The guard: who is let in.

use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{RateBlock, RateRule, SignatureSettings};
use corex_common::guard::{Network, RULES};
use corex_common::ip::{PROTOCOL_TCP, PROTOCOL_UDP};
use corex_common::road::{METHODS, OTHER};

/// Where entries of a list come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GuardSource {
    /// They are written in the configuration.
    Network(Network),
    /// They stand in a file, a line for each.
    File(PathBuf),
    /// `stealth`: these are methods, by bit.
    Methods(u32),
}

/// Parameters of the module `corex` for the guard.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GuardSettings {
    /// `guard`: there is one, whether a rule is written or not.
    pub is_on: bool,
    /// `allow`: who is let in whatever else is written, in order.
    pub allow: Vec<GuardSource>,
    /// `block`: who isn't let in.
    pub block: Vec<GuardSource>,
    /// `stealth`: who gets no answer.
    pub stealth: Vec<GuardSource>,
    /// `stealth`: the methods of requests that get none, by bit: [`METHODS`] from 1, and [`OTHER`].
    pub stealth_methods: u32,
    /// `guard_dry_run`: rules that only count what they would do, by bit: [`RULES`].
    pub dry_run: u32,
    /// `guard_file`: where entries are kept that the configuration doesn't have.
    pub file: Option<PathBuf>,
    /// `rate`: how many messages are let through.
    pub rates: Vec<RateRule>,
    /// `rate_block`: who is above rates time and again is blocked.
    pub rate_block: Option<RateBlock>,
    /// `signatures` and `malformed`.
    pub signatures: SignatureSettings,
}

impl GuardSettings {
    /// The files that lists are read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let sources = self.allow.iter().chain(&self.block).chain(&self.stealth);
        sources
            .filter_map(|source| match source {
                GuardSource::File(path) => Some(path.as_path()),
                GuardSource::Network(_) | GuardSource::Methods(_) => None,
            })
            .chain(self.signatures.files.iter().map(PathBuf::as_path))
    }

    /// Whether anything is to be judged.
    pub fn is_wanted(&self) -> bool {
        self.is_on
            || !self.allow.is_empty()
            || !self.block.is_empty()
            || !self.stealth.is_empty()
            || self.stealth_methods != 0
            || self.file.is_some()
            || !self.rates.is_empty()
            || self.rate_block.is_some()
            || self.signatures != SignatureSettings::default()
    }
}

/// What is wrong with a text, and with which part of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuardMistake {
    /// Its bytes.
    pub part: Range<usize>,
    /// What is wrong.
    pub what: String,
}

/// How a network is written.
pub const NETWORK_HELP: &str = "write ADDRESS[/LEN][; PROTO][; PORT], as in \"203.0.113.0/24\" or \
                                \"2001:db8::/32; udp; 5060\"";

/// Reads `ADDRESS[/LEN][; PROTO][; PORT]`: PROTO is `udp`, `tcp` or `any`, PORT a listener's.
///
/// # Errors
/// What is wrong, and where.
pub fn network(text: &str) -> Result<Network, GuardMistake> {
    let mut parts = parts(text).into_iter();
    let (first, word) = parts.next().unwrap_or((0..0, ""));
    let mistake = |part: &Range<usize>, what: String| {
        Err(GuardMistake {
            part: part.clone(),
            what,
        })
    };
    let (address, len) = match word.split_once('/') {
        Some((address, len)) => (address, Some(len)),
        None => (word, None),
    };
    let Ok(address) = address.trim_matches(['[', ']']).parse::<IpAddr>() else {
        return mistake(&first, format!("`{word}` is no address or network"));
    };
    let network = match len {
        None => Some(Network::host(address)),
        Some(len) => len.parse().ok().and_then(|len| Network::new(address, len)),
    };
    let Some(network) = network else {
        return mistake(&first, format!("`{word}`: an address has no so many bits"));
    };
    let (mut proto, mut port) = (None, None);
    for (span, word) in parts {
        let as_proto = match word.to_ascii_lowercase().as_str() {
            "udp" => Some(PROTOCOL_UDP),
            "tcp" => Some(PROTOCOL_TCP),
            "any" => Some(0),
            _ => None,
        };
        match (as_proto, word.parse::<u16>()) {
            (Some(value), _) if proto.is_none() && port.is_none() => proto = Some(value),
            (None, Ok(value)) if port.is_none() => port = Some(value),
            (None, Err(_)) => {
                return mistake(
                    &span,
                    format!("`{word}` is neither a transport (udp, tcp, any) nor a port"),
                );
            }
            _ => {
                return mistake(
                    &span,
                    format!("`{word}` stands in the wrong place, or twice"),
                );
            }
        }
    }
    Ok(network.to(proto.unwrap_or(0), port.unwrap_or(0)))
}

/// What stands between semicolons, without the blanks around it, each with its place.
fn parts(text: &str) -> Vec<(Range<usize>, &str)> {
    let mut at = 0;
    let part = |part: &str| {
        let start = at + part.len() - part.trim_start().len();
        at += part.len() + 1;
        (start..start + part.trim().len(), part.len())
    };
    let places: Vec<_> = text.split(';').map(part).collect();
    places
        .into_iter()
        .map(|(span, _)| (span.clone(), text.get(span).unwrap_or_default()))
        .collect()
}

/// The bit of a method in [`GuardSettings::stealth_methods`]; `None`: there is no such method.
pub fn method_bit(name: &str) -> Option<u32> {
    let name = name.to_ascii_uppercase();
    if name == "OTHER" {
        return Some(1 << OTHER);
    }
    let at = METHODS
        .iter()
        .position(|method| method.trim_ascii_end() == name.as_bytes())?;
    Some(1 << (at + 1))
}

/// The bits of rules by their names, with commas between them; `all` is all that drop.
///
/// # Errors
/// What is no rule's name.
pub fn rules(text: &str) -> Result<u32, String> {
    let mut bits = 0;
    for word in text.split(',').map(str::trim) {
        let rule = RULES.iter().skip(1).find(|(name, _)| *name == word);
        bits |= match (word, rule) {
            ("all", _) => RULES.iter().skip(1).fold(0, |all, (_, bit)| all | bit),
            (_, Some((_, bit))) => *bit,
            _ => return Err(format!("`{word}` is no rule that drops")),
        };
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_a_length_a_transport_and_a_port_where_they_are_written() {
        let of = |text: &str, len| Network::new(text.parse().unwrap(), len).unwrap();
        for (text, expected) in [
            ("203.0.113.7", of("203.0.113.7", 32)),
            ("203.0.113.7/24", of("203.0.113.0", 24)),
            ("0.0.0.0/0", of("0.0.0.0", 0)),
            ("2001:db8::1", of("2001:db8::1", 128)),
            ("[2001:db8::]/32", of("2001:db8::", 32)),
            ("::ffff:192.0.2.1", of("192.0.2.1", 32)),
            ("::ffff:192.0.2.1/120", of("192.0.2.0", 24)),
            ("192.0.2.1; udp", of("192.0.2.1", 32).to(17, 0)),
            (" 192.0.2.1 ;TCP; 5061 ", of("192.0.2.1", 32).to(6, 5061)),
            ("192.0.2.1;any;5060", of("192.0.2.1", 32).to(0, 5060)),
            ("192.0.2.1;5060", of("192.0.2.1", 32).to(0, 5060)),
        ] {
            assert_eq!(network(text), Ok(expected), "{text}");
        }
        for (text, wrong) in [
            ("", ""),
            ("name", "name"),
            ("192.0.2.1/33", "192.0.2.1/33"),
            ("192.0.2.1/", "192.0.2.1/"),
            ("2001:db8::/129", "2001:db8::/129"),
            ("192.0.2.1; tls", "tls"),
            ("192.0.2.1; udp; udp", "udp"),
            ("192.0.2.1; 5060; udp", "udp"),
            ("192.0.2.1; udp; 70000", "70000"),
            ("192.0.2.1; 1; 2", "2"),
        ] {
            let mistake = network(text).unwrap_err();
            assert_eq!(&text[mistake.part], wrong, "{text}");
        }
    }

    #[test]
    fn methods_and_rules_have_names() {
        assert_eq!(method_bit("invite"), Some(1 << 1));
        assert_eq!(method_bit("UPDATE"), Some(1 << 14));
        assert_eq!(method_bit("other"), Some(1 << 15));
        assert_eq!(method_bit("INVITES"), None);
        assert_eq!(rules("block, rate"), Ok(0b1_0010));
        assert_eq!(rules("all"), Ok(0b1_1110));
        assert!(rules("allow").is_err() && rules("").is_err());
    }
}
