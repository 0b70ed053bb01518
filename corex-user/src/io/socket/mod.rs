//! The kernel's UDP sockets: one for each listen address and worker. Always open; they hold
//! the port, and take what XDP passes up.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::sys::socket::{setsockopt, sockopt as options};
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use super::listen;
use crate::{
    kernel::{
        datagrams::{self, ReceiveBatch, Received},
        sockopt,
    },
    pipeline::{INITIAL_TTL, Listener},
};
use corex_script::settings::{DatagramSettings, Place};

/// Datagrams that are read at a time.
const BATCH_SIZE: usize = 64;
/// Bytes wanted for each socket's buffers; the system's limit may give less.
const BUFFER: usize = 4 << 20;
/// The largest UDP payload, and so the largest that GRO puts together.
const MAX_DATAGRAM: usize = 65_535;

/// Why a listen address couldn't be opened.
#[derive(Debug, thiserror::Error)]
#[error("{place}listen on {listener}: {reason}{remedy}")]
pub struct ListenError {
    place: Place,
    listener: String,
    reason: io::Error,
    remedy: String,
}

impl ListenError {
    fn new(listener: &Listener, reason: io::Error) -> Self {
        Self {
            place: listener.place.clone(),
            listener: listener.to_string(),
            remedy: listen::remedy(&reason, listener),
            reason,
        }
    }
}

/// A listening UDP socket.
pub struct KernelSocket {
    socket: UdpSocket,
    address: SocketAddr,
    /// What the kernel had dropped when this process got the socket.
    dropped_before: u64,
}

/// A datagram as read.
pub struct Datagram<'a> {
    /// The payload, which lies in the receive buffers.
    pub payload: &'a [u8],
    /// Sender.
    pub source: SocketAddr,
    /// Our address that it was sent to, also for a wildcard socket.
    pub local: SocketAddr,
    /// Time to live, or hop limit, that it came with.
    pub ttl: Option<u8>,
    /// Index of the interface that it came by; 0 if that isn't known.
    pub ifindex: u32,
}

impl KernelSocket {
    /// Fails if another process has the address: sockets that share a port would otherwise
    /// silently share it with a second corex too.
    ///
    /// # Errors
    /// What bind says, with a remedy.
    pub fn probe(listener: &Listener) -> Result<(), ListenError> {
        Self::bind(listener, false)
            .map(drop)
            .map_err(|reason| ListenError::new(listener, reason))
    }

    /// Opens a socket that shares the address with the other workers' sockets.
    ///
    /// # Errors
    /// What the kernel says, with a remedy.
    pub fn open(listener: &Listener, settings: &DatagramSettings) -> Result<Self, ListenError> {
        Self::try_open(listener, settings).map_err(|reason| ListenError::new(listener, reason))
    }

    fn try_open(listener: &Listener, settings: &DatagramSettings) -> io::Result<Self> {
        let address = listener.address;
        let socket = Self::bind(listener, true)?;
        // The limits net.core.rmem_max and wmem_max may refuse: then the default holds.
        let _ = socket.set_recv_buffer_size(BUFFER);
        let _ = socket.set_send_buffer_size(BUFFER);
        Self::configure(socket.into(), address, settings)
    }

    /// Goes on with a socket that another process hands over, with all that waits in it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn adopt(
        socket: OwnedFd,
        listener: &Listener,
        settings: &DatagramSettings,
    ) -> Result<Self, ListenError> {
        let address = listener.address;
        let dropped_before = sockopt::drops(socket.as_fd()).into();
        let adopted = Self::configure(socket.into(), address, settings).and_then(|socket| {
            if socket.address != address {
                return Err(io::Error::other("the socket handed over is another one's"));
            }
            Ok(Self {
                dropped_before,
                ..socket
            })
        });
        adopted.map_err(|reason| ListenError::new(listener, reason))
    }

    fn configure(
        socket: UdpSocket,
        address: SocketAddr,
        settings: &DatagramSettings,
    ) -> io::Result<Self> {
        if address.is_ipv6() {
            setsockopt(&socket, options::Ipv6RecvPacketInfo, &true)?;
            setsockopt(&socket, options::Ipv6RecvHopLimit, &true)?;
            setsockopt(&socket, options::Ipv6Ttl, &INITIAL_TTL.into())?;
        } else {
            setsockopt(&socket, options::Ipv4PacketInfo, &true)?;
            setsockopt(&socket, options::Ipv4RecvTtl, &true)?;
            setsockopt(&socket, options::Ipv4Ttl, &INITIAL_TTL.into())?;
        }
        // Not all kernels can; then datagrams come one by one.
        let _ = sockopt::receive_coalesced(socket.as_fd());
        sockopt::set_dont_fragment(socket.as_fd(), address.is_ipv6(), settings.dont_fragment)?;
        let class = libc::c_int::from(settings.traffic_class);
        if address.is_ipv6() {
            setsockopt(&socket, options::Ipv6TClass, &class)?;
        } else {
            setsockopt(&socket, options::Ipv4Tos, &class)?;
        }
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            address,
            dropped_before: 0,
        })
    }

    /// Another handle of the same socket, for another thread to send by.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
            ..*self
        })
    }

    fn bind(listener: &Listener, share: bool) -> io::Result<Socket> {
        let address = listener.address;
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
        listen::allow_absent(&socket, listener)?;
        socket.bind(&address.into())?;
        Ok(socket)
    }

    /// Sends a datagram, or several together, of `segment` bytes each; `source` chooses our address
    /// when the socket is a wildcard's, and `ttl` is their time to live or hop limit.
    ///
    /// # Errors
    /// What the kernel says; `WouldBlock` when its buffer is full.
    pub fn send(
        &self,
        payload: &[u8],
        to: SocketAddr,
        source: Option<SocketAddr>,
        ttl: u8,
        segment: Option<usize>,
    ) -> io::Result<()> {
        let source = source
            .filter(|source| self.address.ip().is_unspecified() && !source.ip().is_unspecified());
        let ttl = (ttl != INITIAL_TTL).then_some(ttl);
        datagrams::send(self.socket.as_fd(), payload, to, source, ttl, segment)
    }

    /// Datagrams that the kernel dropped since this process has the socket, above all because its
    /// buffer was full.
    pub fn drops(&self) -> u64 {
        let all: u64 = sockopt::drops(self.socket.as_fd()).into();
        all.saturating_sub(self.dropped_before)
    }

    /// How full its receive buffer is, in percent.
    pub fn receive_fill(&self) -> u32 {
        sockopt::receive_fill(self.socket.as_fd())
    }

    /// The address that it is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
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
        let batch = &mut buffers.0;
        let count = match batch.receive(self.socket.as_fd()) {
            Ok(count) => count,
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    tracing::debug!(%error, address = %self.address, "receive");
                }
                return false;
            }
        };
        for at in 0..count {
            if let Some(received) = batch.get(at) {
                self.divide(&received, &mut each);
            }
        }
        count == batch.capacity()
    }

    /// Calls `each` for every datagram of what was read at once.
    #[inline]
    fn divide(&self, received: &Received<'_>, each: &mut impl FnMut(Datagram<'_>)) {
        let Received {
            data,
            source,
            beside,
        } = *received;
        let local = match beside.local {
            Some(ip @ IpAddr::V6(_)) => {
                listen::scoped(SocketAddr::new(ip, self.address.port()), beside.ifindex)
            }
            Some(ip) => SocketAddr::new(ip, self.address.port()),
            None => self.address,
        };
        let mut pass = |payload| {
            each(Datagram {
                payload,
                source,
                local,
                ttl: beside.ttl,
                ifindex: beside.ifindex,
            });
        };
        match beside.segment {
            // An empty datagram is a datagram all the same.
            Some(segment) if segment < data.len() => data.chunks(segment.max(1)).for_each(pass),
            _ => pass(data),
        }
    }
}

impl AsFd for KernelSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Memory to receive a batch into; one for each worker.
pub struct ReceiveBuffers(ReceiveBatch);

impl ReceiveBuffers {
    /// Room for a full batch of the largest datagrams.
    pub fn new() -> Self {
        Self(ReceiveBatch::new(BATCH_SIZE, MAX_DATAGRAM))
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
    use corex_sip::Transport;

    fn loopback() -> KernelSocket {
        open("127.0.0.1:0")
    }

    fn open(address: &str) -> KernelSocket {
        let listener = Listener::new(Transport::Udp, address.parse().unwrap());
        KernelSocket::open(&listener, &DatagramSettings::default()).unwrap()
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
        a.send(&payload, b.address, None, INITIAL_TTL, None)
            .unwrap();
        a.send(b"", b.address, None, INITIAL_TTL, None).unwrap();
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
    fn a_datagram_has_the_ttl_that_it_is_sent_with_and_it_is_read() {
        for (address, wildcard) in [("127.0.0.1:0", "0.0.0.0:0"), ("[::1]:0", "[::]:0")] {
            let (receiver, wildcard) = (open(address), open(wildcard));
            let (to, ours) = (receiver.address, receiver.address);
            let sender = open(address);
            sender.send(b"1", to, None, INITIAL_TTL, None).unwrap();
            sender.send(b"2", to, None, 9, None).unwrap();
            wildcard.send(b"3", to, Some(ours), 1, None).unwrap();
            wildcard.send(b"4", to, Some(ours), 255, None).unwrap();
            let mut got = Vec::new();
            receiver.receive(&mut ReceiveBuffers::new(), |datagram| {
                got.push((datagram.payload.to_vec(), datagram.ttl));
            });
            let expected = [(b"1", 64), (b"2", 9), (b"3", 1), (b"4", 255)]
                .map(|(payload, ttl)| (payload.to_vec(), Some(ttl)));
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn datagrams_read_together_have_each_its_own_ttl_and_address() {
        let receiver = open("0.0.0.0:0");
        let sender = open("127.0.0.1:0");
        let sent = [
            (64, 1),
            (64, 1),
            (9, 1),
            (64, 1),
            (64, 2),
            (64, 2),
            (9, 2),
            (64, 1),
        ];
        for (ttl, host) in sent {
            let to = SocketAddr::from(([127, 0, 0, host], receiver.address.port()));
            sender.send(b"x", to, None, ttl, None).unwrap();
        }
        let mut got = Vec::new();
        receiver.receive(&mut ReceiveBuffers::new(), |datagram| {
            got.push((datagram.ttl, datagram.local.ip()));
        });
        let expected = sent.map(|(ttl, host)| (Some(ttl), IpAddr::from([127, 0, 0, host])));
        assert_eq!(got, expected);
    }

    #[test]
    fn what_overflows_the_buffer_is_counted_and_the_rest_is_read() {
        const SENT: u64 = 30_000;
        let (a, b) = (loopback(), loopback());
        for _ in 0..SENT {
            a.send(&[7; 1000], b.address, None, INITIAL_TTL, None)
                .unwrap();
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
        a.send(b"waits", b.address, None, INITIAL_TTL, None)
            .unwrap();
        b.close_intake().unwrap();
        for _ in 0..3 {
            a.send(b"comes", b.address, None, INITIAL_TTL, None)
                .unwrap();
        }
        let got: Vec<_> = receive_all(&b).into_iter().map(|(data, ..)| data).collect();
        assert_eq!(got, [b"waits"]);
        assert_eq!(b.drops(), 3);
        // It still sends.
        b.send(b"out", a.address, None, INITIAL_TTL, None).unwrap();
        assert_eq!(receive_all(&a).len(), 1);
    }

    #[test]
    fn a_socket_that_is_handed_over_keeps_what_waits_and_counts_its_drops_from_then_on() {
        let (a, b) = (loopback(), loopback());
        a.send(b"waits", b.address, None, INITIAL_TTL, None)
            .unwrap();
        let address = b.address;
        b.close_intake().unwrap();
        a.send(b"dropped", address, None, INITIAL_TTL, None)
            .unwrap();
        let fd = b.as_fd().try_clone_to_owned().unwrap();
        let listener = Listener::new(Transport::Udp, address);
        let heir = KernelSocket::adopt(fd, &listener, &DatagramSettings::default()).unwrap();
        a.send(b"dropped", address, None, INITIAL_TTL, None)
            .unwrap();
        assert_eq!((b.drops(), heir.drops()), (2, 1));
        drop(b);
        let got: Vec<_> = receive_all(&heir).into_iter().collect();
        assert_eq!(got, [(b"waits".to_vec(), a.address, address)]);
    }

    #[test]
    fn a_port_in_use_is_refused_with_the_way_to_find_its_owner() {
        let taken = loopback();
        let error = KernelSocket::probe(&Listener::new(Transport::Udp, taken.address))
            .unwrap_err()
            .to_string();
        assert!(error.contains("another process has the port"), "{error}");
    }
}
