//! The Route headers of a request.

use std::ops::Range;

use crate::module::place::place;
use corex_sip::compose::Edits;
use corex_sip::{Elements, Header, NameAddr, SipView};

/// The most Routes that are looked at; a request with more is refused.
const MAX: usize = 64;

/// One value.
#[derive(Clone, Copy)]
pub(super) struct Route<'a> {
    header: Header<'a>,
    text: &'a [u8],
    /// Its URI.
    pub uri: &'a [u8],
}

/// All of them, from the top. `None` if one can't be read, or there are too many.
pub(super) fn routes<'a>(view: &SipView<'a>) -> Option<Vec<Route<'a>>> {
    let mut routes = Vec::new();
    for header in view.headers_named(b"Route") {
        for text in Elements::new(header.value) {
            if routes.len() >= MAX {
                return None;
            }
            let uri = NameAddr::parse(text)?.uri;
            routes.push(Route { header, text, uri });
        }
    }
    Some(routes)
}

/// Takes all Routes away but those in `kept`.
pub(super) fn keep(
    view: &SipView<'_>,
    routes: &[Route<'_>],
    kept: Range<usize>,
    edits: &mut Edits,
) {
    let mut at = 0;
    while let Some(first) = routes.get(at) {
        let rest = routes.get(at..).unwrap_or_default();
        let is_same = |route: &&Route<'_>| route.header.raw.as_ptr() == first.header.raw.as_ptr();
        let count = rest.iter().take_while(is_same).count();
        let left = kept.start.clamp(at, at + count)..kept.end.clamp(at, at + count);
        let value = place(view, first.header.value);
        match (
            routes.get(left.start),
            left.end.checked_sub(1).and_then(|last| routes.get(last)),
        ) {
            (Some(from), Some(to)) if !left.is_empty() => {
                let (from, to) = (place(view, from.text).start, place(view, to.text).end);
                if value.start < from {
                    edits.delete(value.start..from);
                }
                if to < value.end {
                    edits.delete(to..value.end);
                }
            }
            _ => edits.delete(place(view, first.header.raw)),
        }
        at += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corex_sip::compose::write;

    #[test]
    fn what_is_kept_of_routes_in_several_headers_stays_readable() {
        let message = b"A sip:b SIP/2.0\r\nRoute: <sip:0>, <sip:1>,<sip:2>\r\nX: y\r\n\
                        Route: <sip:3>\r\n\r\n";
        let view = SipView::parse(message).unwrap();
        let all = routes(&view).unwrap();
        assert_eq!(all.len(), 4);
        for kept in (0..=4).flat_map(|start| (start..=4).map(move |end| start..end)) {
            let mut edits = Edits::default();
            keep(&view, &all, kept.clone(), &mut edits);
            let mut out = Vec::new();
            write(message, &edits, &Edits::default(), &mut out);
            let left = SipView::parse(&out).unwrap();
            let uris: Vec<Vec<u8>> = routes(&left)
                .unwrap()
                .iter()
                .map(|route| route.uri.to_vec())
                .collect();
            let expected: Vec<Vec<u8>> = kept.map(|at| format!("sip:{at}").into_bytes()).collect();
            assert_eq!(uris, expected);
            assert!(
                left.headers_named(b"Route")
                    .all(|header| !header.value.is_empty())
            );
            assert!(left.header(b"X").is_some());
        }
    }

    #[test]
    fn too_many_routes_and_unreadable_ones_are_none() {
        let many = format!(
            "A sip:b SIP/2.0\r\nRoute: {}\r\n\r\n",
            "<sip:a>,".repeat(65)
        );
        assert!(routes(&SipView::parse(many.as_bytes()).unwrap()).is_none());
        let bad = b"A sip:b SIP/2.0\r\nRoute: <sip:a>, \"x\r\n\r\n";
        assert!(routes(&SipView::parse(bad).unwrap()).is_none());
    }
}
