//! The module `ctl`: binrpc over stream and datagram sockets.
//!
//! A client that is slow, too fast or broken costs itself its connection and nobody else
//! anything: all waiting is bounded, and counted in [`super::service::Books`].

mod stream;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use super::binrpc::{self, Cookie, Frame, Kind, Malformed, Packet, Progress};
use super::datagram::{self, Answer, Bound as Datagrams};
use super::fault::Fault;
use super::params::Params;
use super::service::{End, Rpc};
use super::socket_file::{self, SocketFile};
use corex_script::settings::control::{Access, BinrpcAddress};

/// A socket that binrpc will be served on. It is made before privileges are given up and
/// outside of the runtime; its file goes with it.
#[derive(Debug)]
pub struct Listener {
    socket: Bound,
    autoconversion: bool,
}

#[derive(Debug)]
enum Bound {
    Stream(UnixListener, SocketFile),
    Tcp(TcpListener),
    Datagrams(Datagrams),
}

impl Listener {
    /// Makes the socket. Looks host names up, which blocks.
    ///
    /// # Errors
    /// When the address is taken, the path can't be written, or there is no such host, user or
    /// group.
    pub fn bind(
        address: &BinrpcAddress,
        access: &Access,
        autoconversion: bool,
    ) -> io::Result<Listener> {
        let socket = match address {
            BinrpcAddress::UnixStream(path) => {
                let (socket, file) = socket_file::listen(path, access)?;
                Bound::Stream(socket, file)
            }
            BinrpcAddress::UnixDatagram(path) => Bound::Datagrams(Datagrams::unix(path, access)?),
            BinrpcAddress::Udp(at) => Bound::Datagrams(Datagrams::udp(at)?),
            BinrpcAddress::Tcp(at) => {
                let socket = TcpListener::bind(at.resolve()?)?;
                socket.set_nonblocking(true)?;
                Bound::Tcp(socket)
            }
        };
        Ok(Listener {
            socket,
            autoconversion,
        })
    }

    /// What `ctl.listen` shows of it.
    fn end(&self) -> io::Result<End> {
        let of_file = |proto, file: &SocketFile| End {
            proto,
            local: file.path().display().to_string(),
            local_port: String::new(),
            peer: String::new(),
            peer_port: String::new(),
        };
        let of_address = |proto, address: SocketAddr| End {
            proto,
            local: address.ip().to_string(),
            local_port: address.port().to_string(),
            peer: String::new(),
            peer_port: String::new(),
        };
        Ok(match &self.socket {
            Bound::Stream(_, file) => of_file("unix_stream", file),
            Bound::Datagrams(Datagrams::Unix(_, file)) => of_file("unix_dgram", file),
            Bound::Datagrams(Datagrams::Udp(socket)) => of_address("udp", socket.local_addr()?),
            Bound::Tcp(socket) => of_address("tcp", socket.local_addr()?),
        })
    }

    /// Serves clients until it is dropped; within the runtime.
    ///
    /// # Errors
    /// When the runtime can't take the socket.
    pub async fn serve(self, rpc: Arc<Rpc>) -> io::Result<()> {
        let end = self.end()?;
        rpc.fronts.listening(end.clone());
        let server = Server {
            autoconversion: self.autoconversion,
            end,
            rpc,
        };
        match self.socket {
            Bound::Stream(socket, file) => {
                let result = stream::unix(socket, server).await;
                // It was held until serving ended.
                drop(file);
                result
            }
            Bound::Tcp(socket) => stream::tcp(socket, server).await,
            Bound::Datagrams(socket) => {
                let rpc = Arc::clone(&server.rpc);
                let patience = rpc.limits.reply;
                let answer = move |packet: Vec<u8>| {
                    let server = server.clone();
                    async move { server.answer_datagram(&packet).await }
                };
                datagram::serve(socket, rpc, patience, answer).await
            }
        }
    }
}

/// What the tasks of one listener share.
#[derive(Clone)]
struct Server {
    rpc: Arc<Rpc>,
    autoconversion: bool,
    end: End,
}

impl Server {
    /// Runs a request. The packet to answer with, and whether the request could be read.
    async fn answer(&self, frame: Frame, payload: &[u8]) -> (Packet, bool) {
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
    async fn answer_datagram(&self, packet: &[u8]) -> Option<Answer> {
        let frame = match binrpc::progress(packet, self.rpc.limits.binrpc_request) {
            Ok(Progress::Whole(frame)) if frame.kind == Kind::Request => frame,
            _ => {
                self.rpc.fronts.count(|books| &books.malformed);
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
    fn corrupted(&self, error: Malformed) -> Packet {
        let fault = Fault::bad(format!("bad request: {error}"));
        self.malformed(Cookie::new(&[0]), &fault)
    }

    fn malformed(&self, cookie: Cookie, fault: &Fault) -> Packet {
        self.rpc.fronts.count(|books| &books.malformed);
        binrpc::fault(cookie, fault)
    }
}
