//! The kernel's UDP sockets: one for each listen address and worker. Always open; they hold
//! the port, and take what XDP passes up.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use crate::kernel::sockopt;

/// Bytes wanted for each socket's buffers; the system's limit may give less.
const BUFFER: usize = 4 << 20;
/// The largest UDP payload, and so the largest that GRO puts together.
const MAX_DATAGRAM: usize = 65_535;

/// Why a listen address couldn't be opened.
#[derive(Debug, thiserror::Error)]
#[error("listen on udp:{address}: {reason}{}", remedy(.reason, .address))]
pub struct ListenError {
    address: SocketAddr,
    reason: io::Error,
}

fn remedy(error: &io::Error, address: &SocketAddr) -> String {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => format!(
            "; another process has the port: `ss -lunp sport = :{}` names it",
            address.port()
        ),
        Some(libc::EADDRNOTAVAIL) => {
            "; no interface of this host has the address: `ip address` lists them".to_owned()
        }
        Some(libc::EACCES) => "; ports below 1024 need CAP_NET_BIND_SERVICE".to_owned(),
        _ => String::new(),
    }
}

/// A listening UDP socket.
pub struct KernelSocket {
    socket: UdpSocket,
    state: UdpSocketState,
    address: SocketAddr,
}

/// A datagram as read.
pub struct Datagram<'a> {
    /// The payload.
    pub payload: &'a [u8],
    /// Sender.
    pub source: SocketAddr,
    /// Our address that it was sent to, also for a wildcard socket.
    pub local: SocketAddr,
}

impl KernelSocket {
    /// Fails if another process has the address: sockets that share a port would otherwise
    /// silently share it with a second corex too.
    ///
    /// # Errors
    /// What bind says, with a remedy.
    pub fn probe(address: SocketAddr) -> Result<(), ListenError> {
        Self::bind(address, false)
            .map(drop)
            .map_err(|reason| ListenError { address, reason })
    }

    /// Opens a socket that shares the address with the other workers' sockets.
    ///
    /// # Errors
    /// What the kernel says, with a remedy.
    pub fn open(address: SocketAddr) -> Result<Self, ListenError> {
        Self::try_open(address).map_err(|reason| ListenError { address, reason })
    }

    fn try_open(address: SocketAddr) -> io::Result<Self> {
        let socket: UdpSocket = Self::bind(address, true)?.into();
        let state = UdpSocketState::new((&socket).into())?;
        sockopt::allow_fragmentation(socket.as_fd(), address.is_ipv6())?;
        // The limits net.core.rmem_max and wmem_max may refuse: then the default holds.
        let _ = state.set_recv_buffer_size((&socket).into(), BUFFER);
        let _ = state.set_send_buffer_size((&socket).into(), BUFFER);
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            state,
            address,
        })
    }

    /// Another handle of the same socket, for another thread to send by.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let socket = self.socket.try_clone()?;
        let state = UdpSocketState::new((&socket).into())?;
        sockopt::allow_fragmentation(socket.as_fd(), self.address.is_ipv6())?;
        Ok(Self {
            socket,
            state,
            address: self.address,
        })
    }

    fn bind(address: SocketAddr, share: bool) -> io::Result<Socket> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        if address.is_ipv6() {
            // As Kamailio: an IPv6 socket doesn't take IPv4.
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_port(share)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    }

    /// Sends a datagram; `source` chooses our address when the socket is a wildcard's.
    ///
    /// # Errors
    /// What the kernel says; `WouldBlock` when its buffer is full.
    pub fn send(&self, payload: &[u8], to: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
        let source = source.filter(|_| self.address.ip().is_unspecified());
        self.state.try_send(
            (&self.socket).into(),
            &Transmit {
                destination: to,
                ecn: None,
                contents: payload,
                segment_size: None,
                src_ip: source.filter(|ip| !ip.is_unspecified()),
            },
        )
    }

    /// Datagrams that the kernel dropped since the socket was opened, above all because its
    /// buffer was full.
    pub fn drops(&self) -> u64 {
        sockopt::drops(self.socket.as_fd()).into()
    }

    /// Lets nothing more in: from here on the kernel drops what comes, and counts it among the
    /// socket's [drops](Self::drops). What waits stays.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn close_intake(&self) -> io::Result<()> {
        // Of every packet it keeps 0 bytes (socket(7), SO_ATTACH_FILTER).
        let keep_nothing = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
        SockRef::from(&self.socket).attach_filter(&[keep_nothing])
    }

    /// Reads what is there, up to a batch, and calls `each` for every datagram. Returns
    /// whether the batch was full, so that more may wait.
    pub fn receive(
        &self,
        buffers: &mut ReceiveBuffers,
        mut each: impl FnMut(Datagram<'_>),
    ) -> bool {
        let mut slices = buffers.memory.iter_mut().map(|b| IoSliceMut::new(b));
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| slices.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        let mut meta = [RecvMeta::default(); BATCH_SIZE];
        let count = match self
            .state
            .recv((&self.socket).into(), &mut slices, &mut meta)
        {
            Ok(count) => count,
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    tracing::debug!(%error, address = %self.address, "receive");
                }
                return false;
            }
        };
        for (buffer, meta) in slices.iter().zip(&meta).take(count) {
            let local = SocketAddr::new(
                meta.dst_ip.unwrap_or(self.address.ip()),
                self.address.port(),
            );
            // An empty datagram has stride 0 and is a datagram all the same.
            let data = buffer.get(..meta.len).unwrap_or_default();
            for payload in data
                .chunks(meta.stride.max(1))
                .chain(data.is_empty().then_some(data))
            {
                each(Datagram {
                    payload,
                    source: meta.addr,
                    local,
                });
            }
        }
        count == BATCH_SIZE
    }
}

impl AsFd for KernelSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Memory to receive a batch into; one for each worker.
pub struct ReceiveBuffers {
    memory: Vec<Box<[u8]>>,
}

impl ReceiveBuffers {
    /// Room for a full batch of the largest datagrams.
    pub fn new() -> Self {
        Self {
            memory: (0..BATCH_SIZE)
                .map(|_| vec![0; MAX_DATAGRAM].into_boxed_slice())
                .collect(),
        }
    }
}

impl Default for ReceiveBuffers {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> KernelSocket {
        KernelSocket::open("127.0.0.1:0".parse().unwrap()).unwrap()
    }

    fn receive_all(socket: &KernelSocket) -> Vec<(Vec<u8>, SocketAddr, SocketAddr)> {
        let mut got = Vec::new();
        let mut buffers = ReceiveBuffers::new();
        socket.receive(&mut buffers, |d| {
            got.push((d.payload.to_vec(), d.source, d.local));
        });
        got
    }

    #[test]
    fn a_datagram_arrives_whole_with_both_addresses() {
        let (a, b) = (loopback(), loopback());
        let payload = vec![7u8; 60_000];
        a.send(&payload, b.address, None).unwrap();
        a.send(b"", b.address, None).unwrap();
        let got = receive_all(&b);
        assert_eq!(
            got,
            [
                (payload, a.address, b.address),
                (Vec::new(), a.address, b.address)
            ]
        );
    }

    #[test]
    fn what_overflows_the_buffer_is_counted_and_the_rest_is_read() {
        const SENT: u64 = 30_000;
        let (a, b) = (loopback(), loopback());
        for _ in 0..SENT {
            a.send(&[7; 1000], b.address, None).unwrap();
        }
        let mut buffers = ReceiveBuffers::new();
        let mut read = 0;
        while b.receive(&mut buffers, |_| read += 1) {}
        assert!(b.drops() > 0);
        assert_eq!(read + b.drops(), SENT);
    }

    #[test]
    fn a_closed_intake_keeps_what_waits_and_counts_what_comes() {
        let (a, b) = (loopback(), loopback());
        a.send(b"waits", b.address, None).unwrap();
        b.close_intake().unwrap();
        for _ in 0..3 {
            a.send(b"comes", b.address, None).unwrap();
        }
        let got: Vec<_> = receive_all(&b).into_iter().map(|(data, ..)| data).collect();
        assert_eq!(got, [b"waits"]);
        assert_eq!(b.drops(), 3);
        // It still sends.
        b.send(b"out", a.address, None).unwrap();
        assert_eq!(receive_all(&a).len(), 1);
    }

    #[test]
    fn a_port_in_use_is_refused_with_the_way_to_find_its_owner() {
        let taken = loopback();
        let error = KernelSocket::probe(taken.address).unwrap_err().to_string();
        assert!(error.contains("another process has the port"), "{error}");
    }
}
