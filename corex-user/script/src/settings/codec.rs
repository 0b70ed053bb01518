//! Parameters of the module `codec`, and which of its chains run without a script.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::MAX_MESSAGE_LEN;

/// Parameters of the module `codec`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Codec {
    /// The most bytes that a transformation may yield.
    pub max_output: u32,
    /// Parameters of single codecs, by name. What isn't set isn't here: its default is the
    /// codec's.
    pub of_codecs: BTreeMap<&'static str, i64>,
    /// `chain`: names and texts, in order.
    pub chains: Vec<NamedText>,
    /// `key`: names and texts, in order.
    pub keys: Vec<NamedText>,
    /// `dictionary`: names and paths, in order.
    pub dictionaries: Vec<NamedText>,
    /// The files that keys and dictionaries are in.
    pub files: Vec<PathBuf>,
    /// What is said of the keys of devices.
    pub devices: DeviceKeys,
    /// `on_error`: what a chain of `codec_in` can't decode goes on as it is; else it is dropped.
    pub passes_errors: bool,
}

/// Keys of devices: where they are kept, and what devices enrol with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceKeys {
    /// `keystore`.
    pub keystore: Option<Hidden>,
    /// `keystore_password`: where it is.
    pub password: Option<String>,
    /// `keystore_key`: where keys are that entries are sealed with, in order.
    pub seals: Vec<String>,
    /// `max_sessions`.
    pub max_sessions: u32,
    /// `session_expires`, in seconds.
    pub expires: u32,
    /// `enrol_key`: where keys are that devices enrol with, in order.
    pub enrol_keys: Vec<String>,
    /// `enrol_rate`: enrolments of one source that are looked at each second.
    pub enrol_rate: u32,
}

impl Default for DeviceKeys {
    fn default() -> DeviceKeys {
        DeviceKeys {
            keystore: None,
            password: None,
            seals: Vec::new(),
            max_sessions: 100_000,
            expires: 86_400,
            enrol_keys: Vec::new(),
            enrol_rate: 5,
        }
    }
}

/// A text that isn't printed, as it may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden(…)")
    }
}

/// A line that gives something a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedText {
    /// The name.
    pub name: String,
    /// The whole line, or what the name stands for.
    pub text: String,
}

impl Default for Codec {
    fn default() -> Codec {
        Codec {
            max_output: MAX_MESSAGE_LEN,
            of_codecs: BTreeMap::new(),
            chains: Vec::new(),
            keys: Vec::new(),
            dictionaries: Vec::new(),
            files: Vec::new(),
            devices: DeviceKeys::default(),
            passes_errors: false,
        }
    }
}

/// A line of `codec_in` or `codec_out`: the chain for messages of some peers, or on some socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodecRule {
    /// The chain's name; `None`: messages stay as they are.
    pub chain: Option<String>,
    /// The peer's network: an address, and how many of its bits count.
    pub peer: Option<(IpAddr, u8)>,
    /// Our address, and the port where it matters.
    pub socket: Option<(IpAddr, Option<u16>)>,
}

impl CodecRule {
    /// Whether it is for messages between these two.
    pub fn fits(&self, peer: SocketAddr, own: SocketAddr) -> bool {
        let in_network = |(network, bits)| is_in(peer.ip(), network, bits);
        let on_socket = |(ip, port): (IpAddr, Option<u16>)| {
            own.ip().to_canonical() == ip && port.is_none_or(|port| own.port() == port)
        };
        self.peer.is_none_or(in_network) && self.socket.is_none_or(on_socket)
    }
}

/// Whether the first `bits` bits of two addresses are the same.
fn is_in(ip: IpAddr, network: IpAddr, bits: u8) -> bool {
    let differs = match (ip.to_canonical(), network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => u128::from(one.to_bits() ^ other.to_bits()) << 96,
        (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits() ^ other.to_bits(),
        _ => return false,
    };
    differs.leading_zeros() >= u32::from(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(peer: Option<(&str, u8)>, socket: Option<(&str, Option<u16>)>) -> CodecRule {
        CodecRule {
            chain: None,
            peer: peer.map(|(ip, bits)| (ip.parse().unwrap(), bits)),
            socket: socket.map(|(ip, port)| (ip.parse().unwrap(), port)),
        }
    }

    #[test]
    fn a_rule_is_for_a_network_of_peers_and_a_socket() {
        let own = "10.0.0.1:5060";
        for (rule, peer, own, expected) in [
            (rule(None, None), "192.0.2.1:9", own, true),
            (
                rule(Some(("192.0.2.0", 24)), None),
                "192.0.2.255:9",
                own,
                true,
            ),
            (
                rule(Some(("192.0.2.0", 24)), None),
                "192.0.3.1:9",
                own,
                false,
            ),
            (
                rule(Some(("192.0.2.0", 24)), None),
                "[::ffff:192.0.2.9]:9",
                own,
                true,
            ),
            (rule(Some(("0.0.0.0", 0)), None), "192.0.2.1:9", own, true),
            (
                rule(Some(("0.0.0.0", 0)), None),
                "[2001:db8::1]:9",
                own,
                false,
            ),
            (
                rule(Some(("2001:db8::", 32)), None),
                "[2001:db8:1::1]:9",
                own,
                true,
            ),
            (
                rule(Some(("2001:db8::", 32)), None),
                "[2001:db9::1]:9",
                own,
                false,
            ),
            (
                rule(Some(("2001:db8::1", 128)), None),
                "[2001:db8::2]:9",
                own,
                false,
            ),
            (
                rule(Some(("192.0.2.1", 32)), None),
                "192.0.2.1:9",
                own,
                true,
            ),
            (
                rule(None, Some(("10.0.0.1", None))),
                "192.0.2.1:9",
                "10.0.0.1:7",
                true,
            ),
            (
                rule(None, Some(("10.0.0.1", Some(5060)))),
                "192.0.2.1:9",
                own,
                true,
            ),
            (
                rule(None, Some(("10.0.0.1", Some(5060)))),
                "192.0.2.1:9",
                "10.0.0.1:7",
                false,
            ),
            (
                rule(None, Some(("10.0.0.2", None))),
                "192.0.2.1:9",
                own,
                false,
            ),
        ] {
            let fits = rule.fits(peer.parse().unwrap(), own.parse().unwrap());
            assert_eq!(fits, expected, "{rule:?} {peer} {own}");
        }
    }
}
