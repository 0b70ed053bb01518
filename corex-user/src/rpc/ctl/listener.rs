//! The sockets that binrpc is served on.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use super::server::Server;
use super::stream;
use crate::rpc::datagram::{self, Bound as Datagrams};
use crate::rpc::fronts::End;
use crate::rpc::service::Rpc;
use crate::rpc::socket_file::{self, SocketFile};
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

    /// Goes on with the socket that another process hands over.
    ///
    /// # Errors
    /// When its file is gone, or there is no such user or group.
    pub fn adopt(
        address: &BinrpcAddress,
        access: &Access,
        autoconversion: bool,
        socket: OwnedFd,
    ) -> io::Result<Listener> {
        let socket = match address {
            BinrpcAddress::UnixStream(path) => {
                Bound::Stream(socket.into(), socket_file::adopt(path, access)?)
            }
            BinrpcAddress::UnixDatagram(path) => {
                Bound::Datagrams(Datagrams::adopt_unix(path, access, socket)?)
            }
            BinrpcAddress::Udp(_) => Bound::Datagrams(Datagrams::adopt_udp(socket)),
            BinrpcAddress::Tcp(_) => Bound::Tcp(socket.into()),
        };
        Ok(Listener {
            socket,
            autoconversion,
        })
    }

    /// Lets the file of a socket that was handed over go with this value.
    pub fn own_file(&mut self) {
        match &mut self.socket {
            Bound::Stream(_, file) => file.own(),
            Bound::Datagrams(socket) => socket.own_file(),
            Bound::Tcp(_) => {}
        }
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

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Bound::Stream(socket, _) => socket.as_fd(),
            Bound::Tcp(socket) => socket.as_fd(),
            Bound::Datagrams(socket) => socket.as_fd(),
        }
    }
}
