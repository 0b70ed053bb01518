//! Loose routing, as far as one message's run remembers it (RFC 3261 §16.4, §16.12).

use super::exec::{Exec, part_of};
use super::value::StrRef;
use corex_sip::compose::OwnLines;
use corex_sip::{Elements, NameAddr, Uri};

/// What a script has found out and decided about the way of a request.
#[derive(Clone, Default)]
pub struct Routing {
    /// Record-Route and Path lines of ours.
    pub lines: OwnLines,
    /// record_route() or one of its kind was called.
    pub is_recorded: bool,
    /// Parameters for the Record-Route that is yet to come: what add_rr_param() was given.
    pub parameters: Vec<u8>,
    /// loose_route() has found a Route, or a request URI, of ours: its parameters.
    pub own_parameters: Option<StrRef>,
    /// A Route behind ours names the next hop.
    pub has_next_hop: bool,
}

impl Routing {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        // All fields by name, so that none is forgotten.
        let Routing {
            lines,
            is_recorded,
            parameters,
            own_parameters,
            has_next_hop,
        } = self;
        lines.clear();
        *is_recorded = false;
        parameters.clear();
        *own_parameters = None;
        *has_next_hop = false;
    }
}

impl Exec<'_> {
    /// The URI of the topmost Route.
    pub fn top_route(&self) -> Option<&[u8]> {
        let value = self.view?.header(b"Route")?.value;
        Some(NameAddr::parse(Elements::new(value).next()?)?.uri)
    }

    /// Whether a URI is this proxy, and no device that it knows (RFC 5627).
    pub fn is_own_uri(&self, uri: &[u8]) -> bool {
        let is_gruu = |uri: &[u8]| Uri::parse(uri).is_ok_and(|uri| uri.params.get(b"gr").is_some());
        let string = part_of(self.whole_message(), self.message, uri);
        self.is_myself(string, true) && !is_gruu(uri)
    }

    /// The parameters of the Route that we once recorded: what loose_route() found, or else those of
    /// the topmost one, if that is ours.
    pub fn own_route_parameters(&self) -> Option<&[u8]> {
        if let Some(parameters) = self.changes.routing.own_parameters {
            return Some(self.bytes(parameters));
        }
        let uri = self.top_route()?;
        if !self.is_own_uri(uri) {
            return None;
        }
        Some(Uri::parse(uri).ok()?.params.as_bytes())
    }

    /// Whether a request goes the other way than the one that began its dialog: the Route that we
    /// recorded has another From tag (`ftag`).
    pub fn is_upstream(&self) -> bool {
        let found = self.own_route_parameters();
        let first = found.and_then(|text| corex_sip::Params::new(text).value(b"ftag"));
        let from = self.view.and_then(|view| view.from()?.tag());
        match (first, from) {
            (Some(first), Some(from)) if !first.is_empty() && !from.is_empty() => first != from,
            _ => false,
        }
    }
}
