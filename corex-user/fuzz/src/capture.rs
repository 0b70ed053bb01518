//! Captures that dictionaries are made of.

use std::io::Cursor;

use corex_sip::SipView;
use corex_user::dictionary::{capture::read, samples::Samples};

/// Takes the input for a file of packets.
///
/// # Panics
/// When something that is no SIP message is taken for one.
pub fn capture(data: &[u8]) {
    let mut samples = Samples::default();
    let _ = read(Cursor::new(data.to_vec()), &mut samples);
    for message in &samples.messages {
        assert!(SipView::parse(message).is_ok());
    }
}
