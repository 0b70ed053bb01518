//! Socket options that no library here offers.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr,
};

/// Says who may fragment datagrams: nobody, and what exceeds the path MTU is refused with
/// EMSGSIZE; or over IPv4 the kernel and every router (no DF), over IPv6 the kernel alone, since
/// routers never do (ip(7), IP_MTU_DISCOVER; ipv6(7), IPV6_MTU_DISCOVER; RFC 3542 §11.2,
/// IPV6_DONTFRAG).
///
/// # Errors
/// What the kernel says.
pub fn set_dont_fragment(fd: BorrowedFd<'_>, ipv6: bool, dont_fragment: bool) -> io::Result<()> {
    if ipv6 {
        let discover = if dont_fragment {
            libc::IPV6_PMTUDISC_DO
        } else {
            libc::IPV6_PMTUDISC_WANT
        };
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, discover)?;
        let dont_fragment = dont_fragment.into();
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, dont_fragment)
    } else {
        let discover = if dont_fragment {
            libc::IP_PMTUDISC_DO
        } else {
            libc::IP_PMTUDISC_DONT
        };
        set(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, discover)
    }
}

/// Lets the kernel hand over several datagrams of one sender as one, with the length that each
/// has (udp(7), UDP_GRO).
///
/// # Errors
/// What the kernel says: before 5.0 it can't.
pub fn receive_coalesced(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Datagrams that the kernel dropped on this socket, above all because its buffer was full. 0 where
/// the kernel won't tell.
pub fn drops(fd: BorrowedFd<'_>) -> u32 {
    memory_info(fd).map_or(0, |info| info[SK_MEMINFO_DROPS])
}

/// How full a socket's receive buffer is, in percent. 0 where the kernel won't tell.
pub fn receive_fill(fd: BorrowedFd<'_>) -> u32 {
    let Some(info) = memory_info(fd) else {
        return 0;
    };
    let (taken, room) = (info[SK_MEMINFO_RMEM_ALLOC], info[SK_MEMINFO_RCVBUF]);
    (u64::from(taken) * 100 / u64::from(room.max(1))).min(100) as u32
}

// Linux, uapi/linux/sock_diag.h.
const SK_MEMINFO_RMEM_ALLOC: usize = 0;
const SK_MEMINFO_RCVBUF: usize = 1;
const SK_MEMINFO_DROPS: usize = 8;
const SK_MEMINFO_LEN: usize = SK_MEMINFO_DROPS + 1;

/// What the kernel says of a socket's memory (SO_MEMINFO).
fn memory_info(fd: BorrowedFd<'_>) -> Option<[u32; SK_MEMINFO_LEN]> {
    let mut values = [0u32; SK_MEMINFO_LEN];
    let mut len = size_of_val(&values) as libc::socklen_t;
    // SAFETY: pointer and length describe `values`, which we own.
    let ret = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &mut len,
        )
    };
    (ret == 0 && len as usize >= size_of_val(&values)).then_some(values)
}

fn set(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: pointer and length describe `value`, which the kernel only reads.
    let ret = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            ptr::from_ref(&value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if ret < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
