//! Answers requests, whichever socket they come by.

use std::sync::Arc;

use crate::rpc::binrpc::{self, Cookie, Frame, Kind, Malformed, Packet, Progress};
use crate::rpc::datagram::Answer;
use crate::rpc::fault::Fault;
use crate::rpc::fronts::End;
use crate::rpc::params::Params;
use crate::rpc::service::Rpc;

/// What the tasks of one listener share.
#[derive(Clone)]
pub(super) struct Server {
    pub rpc: Arc<Rpc>,
    pub autoconversion: bool,
    pub end: End,
}

impl Server {
    /// Runs a request. The packet to answer with, and whether the request could be read.
    pub async fn answer(&self, frame: Frame, payload: &[u8]) -> (Packet, bool) {
        let (method, values) = match binrpc::request(payload) {
            Ok(request) => request,
            Err(error) => {
                let fault = Fault::bad(format!("bad request method: {error}"));
                return (self.malformed(frame.cookie, &fault), false);
            }
        };
        let params = if self.autoconversion {
            Params::converting(values)
        } else {
            Params::strict(values)
        };
        let packet = match self.rpc.call(&method, &params).await {
            Ok(reply) => binrpc::reply(frame.cookie, &reply),
            Err(fault) => binrpc::fault(frame.cookie, &fault),
        };
        (packet, true)
    }

    /// The answer to a datagram. What can't be read gets none: its sender may be forged.
    pub async fn answer_datagram(&self, packet: &[u8]) -> Option<Answer> {
        let frame = match binrpc::progress(packet, self.rpc.limits.binrpc_request) {
            Ok(Progress::Whole(frame)) if frame.kind == Kind::Request => frame,
            _ => {
                self.rpc.fronts.count(|counters| &counters.malformed);
                return None;
            }
        };
        let payload = packet.get(frame.header..frame.header + frame.payload)?;
        let (packet, _) = self.answer(frame, payload).await;
        let too_long = Fault::failed("the reply is too long for a datagram");
        Some(Answer {
            bytes: packet.to_vec(),
            if_too_long: binrpc::fault(frame.cookie, &too_long).to_vec(),
        })
    }

    /// The answer to bytes that are no packet.
    pub fn corrupted(&self, error: Malformed) -> Packet {
        let fault = Fault::bad(format!("bad request: {error}"));
        self.malformed(Cookie::new(&[0]), &fault)
    }

    fn malformed(&self, cookie: Cookie, fault: &Fault) -> Packet {
        self.rpc.fronts.count(|counters| &counters.malformed);
        binrpc::fault(cookie, fault)
    }
}
