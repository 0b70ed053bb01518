//! JSON-RPC over a datagram socket: one document each.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::answer::{answer, too_long};
use crate::rpc::datagram::{self, Answer, Bound};
use crate::rpc::service::Rpc;
use corex_script::settings::control::{Access, DatagramAddress};

/// A socket that JSON-RPC will be served on. It is made before privileges are given up and outside of the
/// runtime; its file goes with it.
#[derive(Debug)]
pub struct Datagrams {
    socket: Bound,
}

impl Datagrams {
    /// Makes the socket. Looks host names up, which blocks.
    ///
    /// # Errors
    /// When the address is taken, the path can't be written, or there is no such host, user or
    /// group.
    pub fn bind(address: &DatagramAddress, access: &Access) -> io::Result<Datagrams> {
        let socket = match address {
            DatagramAddress::Unix(path) => Bound::unix(path, access)?,
            DatagramAddress::Udp(at) => Bound::udp(at)?,
        };
        Ok(Datagrams { socket })
    }

    /// Goes on with the socket that another process hands over.
    ///
    /// # Errors
    /// When its file is gone, or there is no such user or group.
    pub fn adopt(
        address: &DatagramAddress,
        access: &Access,
        socket: OwnedFd,
    ) -> io::Result<Datagrams> {
        let socket = match address {
            DatagramAddress::Unix(path) => Bound::adopt_unix(path, access, socket)?,
            DatagramAddress::Udp(_) => Bound::adopt_udp(socket),
        };
        Ok(Datagrams { socket })
    }

    /// Lets the file of a socket that was handed over go with this value.
    pub fn own_file(&mut self) {
        self.socket.own_file();
    }

    /// Serves clients until it is dropped; within the runtime. `patience` is how long a client
    /// may take to accept a reply.
    ///
    /// # Errors
    /// When the runtime can't take the socket.
    pub async fn serve(self, rpc: Arc<Rpc>, pretty: bool, patience: Duration) -> io::Result<()> {
        let shared = Arc::clone(&rpc);
        datagram::serve(self.socket, rpc, patience, move |document: Vec<u8>| {
            let rpc = Arc::clone(&shared);
            async move {
                let answered = if document.len() > rpc.limits.json_request {
                    rpc.fronts.count(|counters| &counters.malformed);
                    None
                } else {
                    answer(&rpc, &document, pretty).await.body
                };
                answered.map(|bytes| Answer {
                    bytes,
                    if_too_long: too_long(),
                })
            }
        })
        .await
    }
}

impl AsFd for Datagrams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
