//! Datagram sockets for requests: one request and one reply each, for binrpc and JSON-RPC.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::limits::Client;
use super::service::Rpc;
use super::socket_file::{self, SocketFile};
use crate::kernel::root_files;
use corex_script::settings::control::{Access, HostPort};

/// The longest datagram.
const LONGEST: usize = 65_535;
/// Requests that are worked on at a time; more are dropped.
const AT_ONCE: usize = 32;

/// A socket that the runtime doesn't have yet; its file goes with it.
#[derive(Debug)]
pub(super) enum Bound {
    Unix(std::os::unix::net::UnixDatagram, SocketFile),
    Udp(std::net::UdpSocket),
}

impl Bound {
    /// Makes a socket file.
    pub fn unix(path: &Path, access: &Access) -> io::Result<Bound> {
        let (socket, file) = socket_file::datagrams(path, access)?;
        root_files::answer_by(path, socket.as_fd())?;
        Ok(Bound::Unix(socket, file))
    }

    /// Opens a UDP port. Looks host names up, which blocks.
    pub fn udp(at: &HostPort) -> io::Result<Bound> {
        let socket = std::net::UdpSocket::bind(at.resolve()?)?;
        socket.set_nonblocking(true)?;
        Ok(Bound::Udp(socket))
    }

    /// Goes on with the socket of a socket file that another process hands over.
    pub fn adopt_unix(path: &Path, access: &Access, socket: OwnedFd) -> io::Result<Bound> {
        Ok(Bound::Unix(
            socket.into(),
            socket_file::adopt(path, access)?,
        ))
    }

    /// Goes on with a UDP port that another process hands over.
    pub fn adopt_udp(socket: OwnedFd) -> Bound {
        Bound::Udp(socket.into())
    }

    /// Lets the file of a socket that was handed over go with this value.
    pub fn own_file(&mut self) {
        if let Bound::Unix(_, file) = self {
            file.own();
        }
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Bound::Unix(socket, _) => socket.as_fd(),
            Bound::Udp(socket) => socket.as_fd(),
        }
    }
}

/// What to send back.
pub(super) struct Answer {
    /// The reply.
    pub bytes: Vec<u8>,
    /// What to send instead where the reply is longer than a datagram.
    pub if_too_long: Vec<u8>,
}

enum Socket {
    /// With its file.
    Unix(tokio::net::UnixDatagram, SocketFile),
    Udp(tokio::net::UdpSocket),
}

enum Peer {
    /// A path; `None`: the peer's socket has none, so nothing can be sent there.
    Unix(Option<PathBuf>),
    Udp(SocketAddr),
}

impl Peer {
    fn client(&self) -> Client {
        match self {
            Peer::Unix(path) => Client::Path(path.clone()),
            Peer::Udp(address) => Client::Ip(address.ip()),
        }
    }
}

impl Socket {
    async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Peer)> {
        match self {
            Socket::Unix(socket, _) => {
                let (length, peer) = socket.recv_from(buffer).await?;
                let path = peer.as_pathname().map(Path::to_owned);
                Ok((length, Peer::Unix(path)))
            }
            Socket::Udp(socket) => {
                let (length, peer) = socket.recv_from(buffer).await?;
                Ok((length, Peer::Udp(peer)))
            }
        }
    }

    async fn send(&self, bytes: &[u8], peer: &Peer) -> io::Result<()> {
        match (self, peer) {
            (Socket::Unix(socket, file), Peer::Unix(Some(path))) => {
                match socket.send_to(bytes, path).await {
                    Ok(_) => Ok(()),
                    Err(error) => root_files::send(error, file.path(), path, bytes),
                }
            }
            (Socket::Udp(socket), Peer::Udp(address)) => {
                socket.send_to(bytes, address).await.map(drop)
            }
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// Serves clients until it is dropped. A request that `answer` gives nothing for gets no reply.
pub(super) async fn serve<H, F>(
    bound: Bound,
    rpc: Arc<Rpc>,
    patience: Duration,
    answer: H,
) -> io::Result<()>
where
    H: Fn(Vec<u8>) -> F,
    F: Future<Output = Option<Answer>> + Send + 'static,
{
    let socket = match bound {
        Bound::Unix(socket, file) => {
            Socket::Unix(tokio::net::UnixDatagram::from_std(socket)?, file)
        }
        Bound::Udp(socket) => Socket::Udp(tokio::net::UdpSocket::from_std(socket)?),
    };
    let socket = Arc::new(socket);
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; LONGEST];
    loop {
        let (length, peer) = tokio::select! {
            received = socket.receive(&mut buffer) => match received {
                Ok(received) => received,
                // With UDP, an ICMP error for an earlier reply.
                Err(_) => {
                    tokio::task::yield_now().await;
                    continue;
                }
            },
            Some(_) = tasks.join_next() => continue,
        };
        if tasks.len() >= AT_ONCE || rpc.admit(&peer.client()).is_err() {
            rpc.fronts.count(|counters| &counters.refused);
            continue;
        }
        let answer = answer(buffer.get(..length).unwrap_or_default().to_vec());
        let (socket, rpc) = (Arc::clone(&socket), Arc::clone(&rpc));
        tasks.spawn(async move {
            let Some(answer) = answer.await else {
                return;
            };
            let sent = match timeout(patience, socket.send(&answer.bytes, &peer)).await {
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    timeout(patience, socket.send(&answer.if_too_long, &peer)).await
                }
                sent => sent,
            };
            match sent {
                Ok(Ok(())) => {}
                Ok(Err(_)) => rpc.fronts.count(|counters| &counters.undelivered),
                Err(_) => rpc.fronts.count(|counters| &counters.too_slow),
            }
        });
    }
}
