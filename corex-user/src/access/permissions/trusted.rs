//! What trusted_file has: peers that need no authentication, as in Kamailio's table `trusted`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use corex_sip::{Transport, host_ip};
use regex::bytes::Regex;

use super::address::SLOTS;
use crate::access::slot::slot;
use crate::access::text::{self, Field, Line, Mistake};

/// The most peers; each may have two regular expressions.
const MAX_PEERS: usize = 10_000;
const FORM: &str =
    "a line is: ADDRESS PROTO FROM_PATTERN [RURI_PATTERN [TAG [PRIORITY]]]; - stands for none";

/// A peer.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The transport; `None`: any. Those that corex doesn't have are never matched.
    pub proto: Proto,
    /// What From's URI must match.
    pub from: Option<Pattern>,
    /// What the request URI must match.
    pub request_uri: Option<Pattern>,
    /// Its tag.
    pub tag: Option<Box<[u8]>>,
    /// Peers of an address are asked in the order of this, the highest first.
    pub priority: i32,
}

/// The transport of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proto {
    /// Any of them.
    Any,
    /// One of corex's.
    One(Transport),
    /// SCTP or WebSocket, by Kamailio's number.
    Other(u8),
}

impl Proto {
    /// The transport of this name, in any case.
    pub fn parse(name: &[u8]) -> Option<Proto> {
        Some(match name.to_ascii_lowercase().as_slice() {
            b"any" => Proto::Any,
            b"udp" => Proto::One(Transport::Udp),
            b"tcp" => Proto::One(Transport::Tcp),
            b"tls" => Proto::One(Transport::Tls),
            b"sctp" => Proto::Other(4),
            b"ws" => Proto::Other(5),
            b"wss" => Proto::Other(6),
            _ => return None,
        })
    }

    /// Kamailio's number.
    pub fn number(self) -> u32 {
        match self {
            Proto::Any => 0,
            Proto::One(Transport::Udp) => 1,
            Proto::One(Transport::Tcp) => 2,
            Proto::One(Transport::Tls) => 3,
            Proto::One(_) => 4,
            Proto::Other(number) => number.into(),
        }
    }

    fn fits(self, other: Proto) -> bool {
        self == Proto::Any || other == Proto::Any || self == other
    }
}

/// A regular expression and its text.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As it is written.
    pub text: Box<[u8]>,
    regex: Regex,
}

impl Pattern {
    fn fits(pattern: Option<&Pattern>, text: &[u8]) -> bool {
        pattern.is_none_or(|pattern| pattern.regex.is_match(text))
    }
}

/// Peers by their addresses.
#[derive(Clone, Debug, Default)]
pub struct Trusted(HashMap<Box<[u8]>, Vec<Peer>>);

impl Trusted {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(file: &Path) -> Result<Trusted, Mistake> {
        Trusted::parse(file, &text::read(file)?)
    }

    /// As [`Self::read`], of a file that has been read already.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(file: &Path, bytes: &[u8]) -> Result<Trusted, Mistake> {
        let mut peers: HashMap<Box<[u8]>, Vec<Peer>> = HashMap::new();
        let mut count = 0;
        for line in text::lines(file, bytes) {
            let line = line.checked()?;
            let mut fields = line.fields();
            let Some(address) = fields.next() else {
                continue;
            };
            count += 1;
            if count > MAX_PEERS {
                let what = format!("these are more than {MAX_PEERS} peers");
                return Err(line.mistake(address.at, what, "use address_file for networks"));
            }
            if let Some(peer) = peer(line, fields)? {
                peers.entry(address.text.into()).or_default().push(peer);
            }
        }
        for list in peers.values_mut() {
            list.sort_by_key(|peer| std::cmp::Reverse(peer.priority));
        }
        Ok(Trusted(peers))
    }

    /// The addresses that there are peers at.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.0.keys().filter_map(|address| host_ip(address))
    }

    /// The peers that fit, in order. `from` and `request_uri` are those of the message.
    pub fn find<'a>(
        &'a self,
        address: &[u8],
        proto: Proto,
        from: &'a [u8],
        request_uri: &'a [u8],
    ) -> impl Iterator<Item = &'a Peer> {
        let peers = self.0.get(address).map(Vec::as_slice).unwrap_or_default();
        peers.iter().filter(move |peer| {
            peer.proto.fits(proto)
                && Pattern::fits(peer.from.as_ref(), from)
                && Pattern::fits(peer.request_uri.as_ref(), request_uri)
        })
    }

    /// All peers, with Kamailio's slot of each and the address.
    pub fn peers(&self) -> Vec<(u32, &[u8], &Peer)> {
        let mut all: Vec<_> = Vec::new();
        for (address, peers) in &self.0 {
            let slot = slot(address, SLOTS);
            all.extend(peers.iter().map(|peer| (slot, &**address, peer)));
        }
        all.sort_by_key(|(slot, address, _)| (*slot, *address));
        all
    }
}

fn peer(line: Line<'_>, mut fields: text::Fields<'_>) -> Result<Option<Peer>, Mistake> {
    let Some(proto) = fields.next() else {
        return Err(line.mistake(fields.place(), "the transport is missing", FORM));
    };
    if proto.text.eq_ignore_ascii_case(b"none") {
        return Ok(None);
    }
    let Some(known) = Proto::parse(proto.text) else {
        let help = "it is any, udp, tcp, tls, sctp, ws, wss or none";
        return Err(line.mistake(proto.at, "this is no transport", help));
    };
    let from = pattern(line, fields.next())?;
    let request_uri = pattern(line, fields.next())?;
    let tag = fields.next().filter(is_set).map(|field| field.text.into());
    let priority = match fields.next() {
        None => 0,
        Some(field) => std::str::from_utf8(field.text)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| line.mistake(field.at, "this is no priority", FORM))?,
    };
    Ok(Some(Peer {
        proto: known,
        from,
        request_uri,
        tag,
        priority,
    }))
}

fn is_set(field: &Field<'_>) -> bool {
    field.text != b"-" && field.text != b"NULL"
}

fn pattern(line: Line<'_>, field: Option<Field<'_>>) -> Result<Option<Pattern>, Mistake> {
    let Some(field) = field.filter(is_set) else {
        return Ok(None);
    };
    let regex = corex_script::regex(field.text).map_err(|reason| {
        let what = format!("this is no regular expression: {reason}");
        line.mistake(field.at, what, FORM)
    })?;
    Ok(Some(Pattern {
        text: field.text.into(),
        regex,
    }))
}
