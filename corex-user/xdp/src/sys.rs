//! System calls of AF_XDP, each wrapped once. Nothing here keeps state.

use std::{
    io,
    mem::{size_of, zeroed},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

fn check(ret: libc::c_int) -> io::Result<libc::c_int> {
    if ret < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(ret)
    }
}

/// socket(AF_XDP).
pub fn xsk_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = check(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// memfd_create: memory of `len` bytes that another process can map, too. Its size stays
/// (F_SEAL_SHRINK), so whoever maps it can rely on it.
pub fn memory_file(len: usize) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a C string.
    let fd = check(unsafe { libc::memfd_create(c"corex-umem".as_ptr(), flags) })?;
    // SAFETY: a fresh descriptor that nobody else owns.
    let file = unsafe { OwnedFd::from_raw_fd(fd) };
    let len = libc::off_t::try_from(len).map_err(io::Error::other)?;
    // SAFETY: no pointers.
    check(unsafe { libc::ftruncate(file.as_raw_fd(), len) })?;
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: no pointers.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
    Ok(file)
}

/// Whether a file is memory of [`memory_file`] of exactly that length, which can't shrink.
pub fn is_memory_file(file: BorrowedFd<'_>, len: usize) -> io::Result<bool> {
    // SAFETY: no pointers.
    let seals = check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) })?;
    // SAFETY: a structure of integers, for which zero is valid.
    let mut status: libc::stat = unsafe { zeroed() };
    // SAFETY: the pointer leads to `status`, which we own.
    check(unsafe { libc::fstat(file.as_raw_fd(), &mut status) })?;
    Ok(seals & libc::F_SEAL_SHRINK != 0 && usize::try_from(status.st_size) == Ok(len))
}

/// setsockopt with a plain value.
pub fn set_option<T: Copy>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: pointer and length describe `value`, which the kernel only reads.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// getsockopt of a structure of integers at level SOL_XDP.
fn xdp_option<T: Copy>(fd: BorrowedFd<'_>, name: libc::c_int) -> io::Result<T> {
    // SAFETY: the callers' T are structures of integers, for which zero is valid.
    let mut value: T = unsafe { zeroed() };
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: pointer and length describe `value`, which we own.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_XDP,
            name,
            ptr::from_mut(&mut value).cast(),
            &mut len,
        )
    })?;
    Ok(value)
}

/// SO_PREFER_BUSY_POLL: whether the socket's owner drives its queue.
pub fn prefers_busy_poll(fd: BorrowedFd<'_>) -> bool {
    let mut value: libc::c_int = 0;
    let mut len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: pointer and length describe `value`, which we own.
    let outcome = check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PREFER_BUSY_POLL,
            ptr::from_mut(&mut value).cast(),
            &mut len,
        )
    });
    outcome.is_ok() && value != 0
}

/// XDP_MMAP_OFFSETS: where the rings' fields are in their mappings.
pub fn mmap_offsets(fd: BorrowedFd<'_>) -> io::Result<libc::xdp_mmap_offsets> {
    xdp_option(fd, libc::XDP_MMAP_OFFSETS)
}

/// XDP_STATISTICS: drops that the kernel counted on this socket.
pub fn statistics(fd: BorrowedFd<'_>) -> io::Result<libc::xdp_statistics> {
    xdp_option(fd, libc::XDP_STATISTICS)
}

/// XDP_OPTIONS: whether the socket was bound for zero copy.
pub fn is_zero_copy(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let options: libc::xdp_options = xdp_option(fd, libc::XDP_OPTIONS)?;
    Ok(options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
}

/// bind to a queue of an interface.
pub fn bind(
    fd: BorrowedFd<'_>,
    ifindex: u32,
    queue: u32,
    flags: u16,
    shared_umem: Option<RawFd>,
) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: flags,
        sxdp_ifindex: ifindex,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: shared_umem.map_or(0, |fd| fd as u32),
    };
    // SAFETY: pointer and length describe `address`.
    check(unsafe {
        libc::bind(
            fd.as_raw_fd(),
            ptr::from_ref(&address).cast(),
            size_of::<libc::sockaddr_xdp>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Wakes the transmit side. EAGAIN, ENOBUFS and ENETDOWN are normal: what is in the ring stays
/// there and goes with the next wake-up. Returns whether the kernel says EBUSY: in copy mode it has
/// then taken a frame that the device didn't (xsk_generic_xmit(), NET_XMIT_DROP).
pub fn kick_tx(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: a null buffer of length 0; the errors are explained above.
    let ret = unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            ptr::null(),
            0,
            libc::MSG_DONTWAIT,
            ptr::null(),
            0,
        )
    };
    ret < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EBUSY)
}

/// Wakes the receive side, when the fill ring's flag asks for it; or polls it, where the socket prefers
/// that.
pub fn kick_rx(fd: BorrowedFd<'_>) {
    // SAFETY: as in `kick_tx`.
    unsafe {
        libc::recvfrom(
            fd.as_raw_fd(),
            ptr::null_mut(),
            0,
            libc::MSG_DONTWAIT,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
}

/// A shared memory mapping, unmapped on drop.
#[derive(Debug)]
pub struct Mapping {
    start: ptr::NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread; access is the owner's matter.
unsafe impl Send for Mapping {}

impl Mapping {
    /// The first `len` bytes of a file, shared with whoever else maps it.
    pub fn shared(file: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Self::new(len, libc::MAP_SHARED, file.as_raw_fd(), 0)
    }

    /// A ring of an AF_XDP socket at one of the XDP_PGOFF_ or XDP_UMEM_PGOFF_ offsets.
    pub fn ring(fd: BorrowedFd<'_>, len: usize, offset: libc::off_t) -> io::Result<Self> {
        Self::new(
            len,
            libc::MAP_SHARED | libc::MAP_POPULATE,
            fd.as_raw_fd(),
            offset,
        )
    }

    fn new(len: usize, flags: libc::c_int, fd: RawFd, offset: libc::off_t) -> io::Result<Self> {
        // SAFETY: the kernel chooses the address; nothing existing is replaced.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                fd,
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = ptr::NonNull::new(start.cast())
            .ok_or_else(|| io::Error::other("mmap returned address zero"))?;
        Ok(Self { start, len })
    }

    /// First byte.
    pub fn start(&self) -> ptr::NonNull<u8> {
        self.start
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and this is its last use.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
