//! Datagrams from and to UDP sockets, with what the kernel says beside them: recvmmsg(2) into memory
//! that is set up once, and sendmsg(2) without memory of its own.

use std::{
    io,
    mem::{self, MaybeUninit},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr, slice,
};

/// Bytes of control messages: address and interface, TTL, and the length of what was put together;
/// or of those that are sent, fewer.
const CONTROL_LEN: usize = 96;

/// Control messages, in the alignment that their headers have.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_LEN]);

const _: () = assert!(align_of::<Control>() >= align_of::<libc::cmsghdr>());
// SAFETY: the macros compute lengths.
const _: () = assert!(unsafe {
    let address = libc::CMSG_SPACE(size_of::<libc::in6_pktinfo>() as libc::c_uint);
    let number = libc::CMSG_SPACE(size_of::<libc::c_int>() as libc::c_uint);
    CONTROL_LEN >= (address + 2 * number) as usize
});

/// What came with a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// The address that it was sent to (IP_PKTINFO, IPV6_PKTINFO).
    pub local: Option<IpAddr>,
    /// Index of the interface that it came by; 0 if that isn't known.
    pub ifindex: u32,
    /// Time to live, or hop limit (IP_TTL, IPV6_HOPLIMIT).
    pub ttl: Option<u8>,
    /// Bytes of each datagram, where the kernel has put several together (UDP_GRO).
    pub segment: Option<usize>,
}

/// A datagram, or several of one sender.
#[derive(Clone, Copy, Debug)]
pub struct Received<'b> {
    /// The payload.
    pub data: &'b [u8],
    /// Who sent it.
    pub source: SocketAddr,
    /// What the kernel says of it.
    pub beside: Beside,
}

/// Memory for a batch of datagrams, and the headers that lead to it. These are made once; before
/// each call only what the kernel has changed is set again.
pub struct ReceiveBatch {
    headers: Vec<libc::mmsghdr>,
    // What the headers point to. Nothing else uses it, and it doesn't grow.
    _iovecs: Vec<libc::iovec>,
    _sources: Vec<MaybeUninit<libc::sockaddr_storage>>,
    _control: Vec<MaybeUninit<Control>>,
    _memory: Vec<u8>,
    /// Headers that the kernel wrote into since they were set.
    used: usize,
}

impl ReceiveBatch {
    /// For `count` datagrams of `size` bytes at most; longer ones are cut off.
    pub fn new(count: usize, size: usize) -> Self {
        let mut memory = vec![0; count * size];
        let mut sources = vec![MaybeUninit::uninit(); count];
        let mut control = vec![MaybeUninit::uninit(); count];
        let mut iovecs: Vec<libc::iovec> = memory
            .chunks_exact_mut(size.max(1))
            .map(|part| libc::iovec {
                iov_base: part.as_mut_ptr().cast(),
                iov_len: size,
            })
            .collect();
        let headers = iovecs
            .iter_mut()
            .zip(sources.iter_mut().zip(&mut control))
            .map(|(iovec, (source, control))| {
                // SAFETY: of zeros alone it is an empty header: null pointers, lengths of 0.
                let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
                header.msg_hdr.msg_name = ptr::from_mut(source).cast();
                header.msg_hdr.msg_iov = iovec;
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_control = ptr::from_mut(control).cast();
                header
            })
            .collect::<Vec<_>>();
        Self {
            used: headers.len(),
            headers,
            _iovecs: iovecs,
            _sources: sources,
            _control: control,
            _memory: memory,
        }
    }

    /// Reads what waits, up to a batch, and says how many there were: [`Self::get`] has them until the
    /// next call.
    ///
    /// # Errors
    /// What the kernel says; `WouldBlock` when nothing waits.
    pub fn receive(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        for header in self.headers.iter_mut().take(self.used) {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_controllen = CONTROL_LEN as _;
        }
        self.used = 0;
        // SAFETY: every header leads to memory of this value, of the lengths that it says.
        let count = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                0,
                ptr::null_mut(),
            )
        };
        self.used = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        Ok(self.used)
    }

    /// How many datagrams are read at a time at most.
    pub fn capacity(&self) -> usize {
        self.headers.len()
    }

    /// One of those that the last call has read; `None` also where its sender's address is none of IP.
    #[inline]
    pub fn get(&self, at: usize) -> Option<Received<'_>> {
        let header = self.headers.get(at).filter(|_| at < self.used)?;
        let message = &header.msg_hdr;
        // SAFETY: the kernel has filled the header, the address, and so many bytes of the memory
        // behind the header's one iovec, which are ours and borrowed with `self`.
        let (source, data) = unsafe {
            let iovec = &*message.msg_iov;
            let len = iovec.iov_len.min(header.msg_len as usize);
            (
                address(message.msg_name, message.msg_namelen)?,
                slice::from_raw_parts(iovec.iov_base.cast(), len),
            )
        };
        Some(Received {
            data,
            source,
            beside: beside(message),
        })
    }
}

/// Reads an address.
///
/// # Safety
/// `name` leads to a `sockaddr_storage`, of which `len` bytes are set.
#[inline]
unsafe fn address(name: *const libc::c_void, len: libc::socklen_t) -> Option<SocketAddr> {
    let len = len as usize;
    let is = |family: libc::c_int, size| {
        // SAFETY: every address begins with its family.
        len >= size
            && unsafe { (*name.cast::<libc::sockaddr>()).sa_family } == family as libc::sa_family_t
    };
    if is(libc::AF_INET, size_of::<libc::sockaddr_in>()) {
        // SAFETY: it is of this family, and whole.
        let name = unsafe { &*name.cast::<libc::sockaddr_in>() };
        let ip = Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes());
        return Some(SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into());
    }
    if is(libc::AF_INET6, size_of::<libc::sockaddr_in6>()) {
        // SAFETY: it is of this family, and whole.
        let name = unsafe { &*name.cast::<libc::sockaddr_in6>() };
        let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
        let port = u16::from_be(name.sin6_port);
        return Some(SocketAddrV6::new(ip, port, name.sin6_flowinfo, name.sin6_scope_id).into());
    }
    None
}

/// Reads the control messages of a header that the kernel has filled.
#[inline]
fn beside(message: &libc::msghdr) -> Beside {
    let mut beside = Beside::default();
    // SAFETY: control data and its length are what the kernel has written; the macros stay within
    // it, and each kind of message has the type that its manual page gives it (ip(7), ipv6(7),
    // udp(7)).
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(message);
        while let Some(control) = next.as_ref() {
            let data = libc::CMSG_DATA(control);
            match (control.cmsg_level, control.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = ptr::read_unaligned(data.cast());
                    beside.local = Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
                    beside.ifindex = info.ipi_ifindex as u32;
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = ptr::read_unaligned(data.cast());
                    beside.local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                    beside.ifindex = info.ipi6_ifindex;
                }
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    let hops: libc::c_int = ptr::read_unaligned(data.cast());
                    beside.ttl = u8::try_from(hops).ok();
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let len: libc::c_int = ptr::read_unaligned(data.cast());
                    beside.segment = usize::try_from(len).ok();
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(message, control);
        }
    }
    beside
}

/// Sends a datagram. `source` is the address to send from, and `ttl` the time to live or hop limit,
/// where the socket's own are not to be taken. With `segment` the payload is that of several
/// datagrams, one behind the other, of so many bytes each, the last one may have fewer (udp(7),
/// UDP_SEGMENT): the kernel takes all or none.
///
/// # Errors
/// What the kernel says; `WouldBlock` when its buffer is full.
pub fn send(
    fd: BorrowedFd<'_>,
    payload: &[u8],
    to: SocketAddr,
    source: Option<SocketAddr>,
    ttl: Option<u8>,
    segment: Option<usize>,
) -> io::Result<()> {
    let segment = match segment.map(u16::try_from) {
        None => None,
        Some(Ok(len)) => Some(len),
        Some(Err(_)) => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let mut iovec = libc::iovec {
        iov_base: payload.as_ptr().cast_mut().cast(),
        iov_len: payload.len(),
    };
    let mut control = Control([0; CONTROL_LEN]);
    let (mut v4, mut v6);
    // SAFETY: of zeros alone it is an empty header: null pointers, lengths of 0.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &mut iovec;
    message.msg_iovlen = 1;
    match to {
        SocketAddr::V4(to) => {
            v4 = libc::sockaddr_in {
                sin_family: libc::AF_INET as _,
                sin_port: to.port().to_be(),
                sin_addr: in_addr(*to.ip()),
                sin_zero: [0; 8],
            };
            message.msg_name = ptr::from_mut(&mut v4).cast();
            message.msg_namelen = size_of_val(&v4) as libc::socklen_t;
        }
        SocketAddr::V6(to) => {
            v6 = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as _,
                sin6_port: to.port().to_be(),
                sin6_flowinfo: to.flowinfo(),
                sin6_addr: in6_addr(*to.ip()),
                sin6_scope_id: to.scope_id(),
            };
            message.msg_name = ptr::from_mut(&mut v6).cast();
            message.msg_namelen = size_of_val(&v6) as libc::socklen_t;
        }
    }
    if source.is_some() || ttl.is_some() || segment.is_some() {
        message.msg_control = ptr::from_mut(&mut control).cast();
        message.msg_controllen = CONTROL_LEN as _;
        let mut writer = ControlWriter::new(&message);
        match source {
            Some(SocketAddr::V4(source)) => writer.put(
                libc::IPPROTO_IP,
                libc::IP_PKTINFO,
                libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: in_addr(*source.ip()),
                    ipi_addr: in_addr(Ipv4Addr::UNSPECIFIED),
                },
            ),
            Some(SocketAddr::V6(source)) => writer.put(
                libc::IPPROTO_IPV6,
                libc::IPV6_PKTINFO,
                libc::in6_pktinfo {
                    ipi6_addr: in6_addr(*source.ip()),
                    // A link-local address is one of an interface.
                    ipi6_ifindex: source.scope_id(),
                },
            ),
            None => {}
        }
        if let Some(ttl) = ttl {
            let (level, kind) = match to {
                SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TTL),
                SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT),
            };
            writer.put(level, kind, libc::c_int::from(ttl));
        }
        if let Some(len) = segment {
            writer.put(libc::SOL_UDP, libc::UDP_SEGMENT, len);
        }
        message.msg_controllen = writer.len as _;
    }
    // SAFETY: the header leads to `payload`, which the kernel only reads, and to local variables, of
    // the lengths that it says.
    let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &message, 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Writes control messages one behind the other.
struct ControlWriter<'m> {
    message: &'m libc::msghdr,
    next: *mut libc::cmsghdr,
    /// Bytes that are taken.
    len: usize,
}

impl<'m> ControlWriter<'m> {
    /// Into the control data of `message`, which is all zeros and [`CONTROL_LEN`] long.
    fn new(message: &'m libc::msghdr) -> Self {
        Self {
            message,
            // SAFETY: the header is a valid one.
            next: unsafe { libc::CMSG_FIRSTHDR(message) },
            len: 0,
        }
    }

    fn put<T>(&mut self, level: libc::c_int, kind: libc::c_int, value: T) {
        const { assert!(size_of::<T>() <= size_of::<libc::in6_pktinfo>()) };
        // SAFETY: both macros compute lengths. `next` leads into the control data, which has room for
        // an address and two numbers, or is null, as CMSG_NXTHDR(3) says where it hasn't.
        unsafe {
            let size = size_of::<T>() as libc::c_uint;
            let Some(header) = self.next.as_mut() else {
                return;
            };
            header.cmsg_level = level;
            header.cmsg_type = kind;
            header.cmsg_len = libc::CMSG_LEN(size) as _;
            ptr::write_unaligned(libc::CMSG_DATA(header).cast(), value);
            self.len += libc::CMSG_SPACE(size) as usize;
            self.next = libc::CMSG_NXTHDR(self.message, header);
        }
    }
}

fn in_addr(ip: Ipv4Addr) -> libc::in_addr {
    libc::in_addr {
        s_addr: u32::from_ne_bytes(ip.octets()),
    }
}

fn in6_addr(ip: Ipv6Addr) -> libc::in6_addr {
    libc::in6_addr {
        s6_addr: ip.octets(),
    }
}
