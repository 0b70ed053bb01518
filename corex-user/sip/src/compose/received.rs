//! Where a request came from: noted in its sender's Via (RFC 3261 §18.2.1, RFC 3581 §4), and
//! where our own reply goes (§18.2.2).

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::digits::{write_decimal, write_ip};
use crate::{Transport, Via};

/// A parameter of the sender's Via that we fill in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Note {
    Rport(u16),
    Received(IpAddr),
}

impl Note {
    /// Appends name and value.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Rport(port) => {
                out.extend_from_slice(b"rport=");
                write_decimal(port.into(), out);
            }
            Self::Received(ip) => {
                out.extend_from_slice(b"received=");
                write_ip(ip, out);
            }
        }
    }
}

/// What is noted in a sender's Via.
///
/// As Kamailio 5.6.3 does it: an `rport` that is there, with a value or without, is filled in and
/// wants `received` beside it; a forced one doesn't. A `received` that is there is never
/// believed: else a client could have replies sent to whom it likes.
pub(super) struct Notes<'a> {
    via: &'a Via<'a>,
    source: SocketAddr,
    force_rport: bool,
}

impl<'a> Notes<'a> {
    pub(super) const fn new(via: &'a Via<'a>, source: SocketAddr, force_rport: bool) -> Self {
        Self {
            via,
            source,
            force_rport,
        }
    }

    /// What replaces a part of [`Via::text`], in order of place: each whole `name=value` of the
    /// parameters that are there already.
    pub(super) fn replaced(&self) -> impl Iterator<Item = (Range<usize>, Note)> {
        self.via.params.into_iter().filter_map(|param| {
            let note = if param.name.eq_ignore_ascii_case(b"rport") {
                self.rport()
            } else if param.name.eq_ignore_ascii_case(b"received") {
                self.received()
            } else {
                return None;
            };
            let start = self.offset(param.name);
            let last = param.value.unwrap_or(param.name);
            Some((start..self.offset(last) + last.len(), note))
        })
    }

    /// What comes in addition, in the order in which Kamailio writes it.
    pub(super) fn added(&self) -> impl Iterator<Item = Note> {
        let found = self.via.params.first([b"rport", b"received"]);
        let [has_rport, has_received] = found.map(|param| param.is_some());
        let is_elsewhere = self.via.host_ip() != Some(self.source.ip().to_canonical());
        let rport = (self.force_rport && !has_rport).then(|| self.rport());
        let received = ((has_rport || is_elsewhere) && !has_received).then(|| self.received());
        rport.into_iter().chain(received)
    }

    /// The place in [`Via::text`] behind sent-by.
    pub(super) fn behind_sent_by(&self) -> usize {
        match self.via.params.as_bytes() {
            [] => self.via.text.len(),
            params => self.offset(params),
        }
    }

    const fn rport(&self) -> Note {
        Note::Rport(self.source.port())
    }

    const fn received(&self) -> Note {
        Note::Received(self.source.ip().to_canonical())
    }

    fn offset(&self, part: &[u8]) -> usize {
        part.as_ptr().addr() - self.via.text.as_ptr().addr()
    }
}

/// Where our own reply to a request goes: to the address that it came from; at the port that it
/// came from if rport is asked for or forced or a connection carried it, else at the port in
/// `via`, its topmost Via.
///
/// As Kamailio 5.6.3 does it: an `rport` counts with a value too, and `maddr` is not looked at, so
/// nobody can have our replies sent to somebody else.
pub fn reply_address(
    via: &Via<'_>,
    source: SocketAddr,
    transport: Transport,
    force_rport: bool,
) -> SocketAddr {
    let at_source =
        force_rport || transport != Transport::Udp || via.params.get(b"rport").is_some();
    let port = if at_source {
        source.port()
    } else {
        via.port.unwrap_or(transport.default_port())
    };
    let mut address = source;
    address.set_port(port);
    address
}
