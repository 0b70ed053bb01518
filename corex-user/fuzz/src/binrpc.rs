//! binrpc packets.

use corex_user::rpc::binrpc::{self, Frame, Progress};
use corex_user::rpc::params::Params;

use crate::idle::{finish, rpc};

/// The most bytes of a payload.
const MOST: usize = 1 << 16;

/// Takes the input for a stream of packets, and runs the requests among them.
///
/// # Panics
/// When something that must hold of the results doesn't.
pub fn binrpc(data: &[u8]) {
    let rpc = rpc();
    let mut rest = data;
    while !rest.is_empty() {
        let frame = match binrpc::progress(rest, MOST) {
            Ok(Progress::Whole(frame)) => frame,
            Ok(Progress::Missing(missing)) => return assert!(missing > 0),
            Err(_) => return,
        };
        let (packet, after) = rest.split_at(frame.header + frame.payload);
        rest = after;
        let payload = &packet[frame.header..];
        if let Ok(records) = binrpc::payload(payload) {
            again(&binrpc::reply(frame.cookie, &records.into_iter().collect()));
        }
        if let Ok((method, values)) = binrpc::request(payload) {
            let packet = match finish(rpc.call(&method, &Params::strict(values))) {
                Ok(reply) => binrpc::reply(frame.cookie, &reply),
                Err(fault) => binrpc::fault(frame.cookie, &fault),
            };
            assert_eq!(again(&packet).cookie, frame.cookie);
        }
    }
}

/// What was written is read, and written the same way.
fn again(packet: &[u8]) -> Frame {
    let Ok(Progress::Whole(frame)) = binrpc::progress(packet, usize::MAX) else {
        panic!("no packet: {packet:x?}");
    };
    assert_eq!(frame.header + frame.payload, packet.len());
    let records = binrpc::payload(&packet[frame.header..]).expect("our own records");
    let twice = binrpc::reply(frame.cookie, &records.into_iter().collect());
    assert_eq!(&twice[frame.header..], &packet[frame.header..]);
    frame
}
