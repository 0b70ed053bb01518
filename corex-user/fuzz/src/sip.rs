//! SIP messages and the values in them.

use corex_sip::compose::{max_forwards, return_path};
use corex_sip::{NameAddr, Params, SipView, Uri, Via, Vias};

/// Takes the input for a message, and for each kind of value by itself.
///
/// # Panics
/// When something that must hold of the results doesn't.
pub fn sip(data: &[u8]) {
    uri(data, data);
    name_addr(data, data);
    for via in Vias::new(data).flatten() {
        self::via(data, &via);
    }
    params(data, Params::new(data));
    if let Ok(message) = SipView::parse(data) {
        view(&message);
    }
}

/// Asserts that a value was not copied and lies within the message.
fn within(message: &[u8], value: &[u8]) {
    let message = message.as_ptr_range();
    let value_range = value.as_ptr_range();
    assert!(
        value.is_empty() || message.start <= value_range.start && value_range.end <= message.end
    );
}

fn view(message: &SipView<'_>) {
    let bytes = message.message();
    within(bytes, message.version());
    within(bytes, message.body());
    let optional = [
        message.method(),
        message.request_uri(),
        message.reason(),
        message.call_id(),
        message.user_agent(),
        message.cseq().map(|cseq| cseq.method),
    ];
    for value in optional.into_iter().flatten() {
        within(bytes, value);
    }
    assert_eq!(message.is_request(), message.status().is_none());
    assert_eq!(message.is_request(), message.request_uri().is_some());
    if let Some(text) = message.request_uri() {
        uri(bytes, text);
    }
    let mut end = 0;
    for header in message.headers() {
        within(header.raw, header.name);
        within(header.raw, header.value);
        within(bytes, header.raw);
        let start = header.raw.as_ptr().addr() - bytes.as_ptr().addr();
        assert!(start >= end, "headers overlap");
        end = start + header.raw.len();
        assert!(header.is(header.name));
        assert!(message.header(header.name).is_some());
        name_addr(bytes, header.value);
    }
    assert!(message.body().len() + end <= bytes.len());
    for value in [message.from(), message.to()].into_iter().flatten() {
        within(bytes, value.uri);
        if let Some(tag) = value.tag() {
            within(bytes, tag);
        }
    }
    for via in message.vias().flatten() {
        self::via(bytes, &via);
    }
    let top = message.vias().next().flatten().map(|via| via.text);
    assert_eq!(message.top_via().map(|via| via.text), top);
    message.content_length();
    let _ = max_forwards(message);
}

fn uri(all: &[u8], text: &[u8]) {
    let Ok(uri) = Uri::parse(text) else {
        return;
    };
    let optional = [uri.user, uri.password, uri.transport_param()];
    for value in optional
        .into_iter()
        .flatten()
        .chain([uri.host, uri.headers])
    {
        within(all, value);
    }
    params(all, uri.params);
    if let Some(address) = uri.host_ip() {
        let bracketed = uri.host.first() == Some(&b'[');
        assert_eq!(bracketed, address.is_ipv6());
    }
    assert!(uri.transport().is_none() || uri.transport_param().is_some());
}

fn name_addr(all: &[u8], value: &[u8]) {
    if let Some(address) = NameAddr::parse(value) {
        within(all, address.display);
        within(all, address.uri);
        params(all, address.params);
        uri(all, address.uri);
    }
}

fn via(all: &[u8], via: &Via<'_>) {
    within(all, via.text);
    within(via.text, via.transport_name);
    within(via.text, via.host);
    params(all, via.params);
    via.transport();
    via.host_ip();
    via.rport();
    let optional = [via.branch(), via.received()];
    for value in optional.into_iter().flatten() {
        within(via.text, value);
    }
    if let Some(path) = return_path(via) {
        within(via.text, path.host);
    }
    // What was made out of a list stands by itself too.
    assert!(Via::parse(via.text).is_some());
}

fn params(all: &[u8], params: Params<'_>) {
    within(all, params.as_bytes());
    for param in params {
        within(all, param.name);
        within(all, param.unquoted());
        assert!(params.get(param.name).is_some());
    }
}
