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

/// Datagrams that the kernel dropped on this socket (SO_MEMINFO, SK_MEMINFO_DROPS; linux
/// uapi sock_diag.h), above all because its buffer was full. 0 where the kernel won't tell.
pub fn drops(fd: BorrowedFd<'_>) -> u32 {
    const SK_MEMINFO_DROPS: usize = 8;
    let mut values = [0u32; SK_MEMINFO_DROPS + 1];
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
    if ret < 0 || (len as usize) < size_of_val(&values) {
        return 0;
    }
    values[SK_MEMINFO_DROPS]
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
