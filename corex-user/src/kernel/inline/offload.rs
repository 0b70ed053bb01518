//! What a device would leave to hardware, switched off (ethtool's ioctl): on a detour there is
//! no hardware, and user space must see packets as they will be on the wire.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

/// include/uapi/linux/ethtool.h
const ETHTOOL_STXCSUM: u32 = 0x17;
const ETHTOOL_SFLAGS: u32 = 0x26;
/// include/uapi/linux/sockios.h
const SIOCETHTOOL: libc::Ioctl = 0x8946;

#[repr(C)]
struct EthtoolValue {
    cmd: u32,
    data: u32,
}

/// Lets the kernel write checksums and VLAN tags into packets before the device `name` gets them.
///
/// # Errors
/// What the kernel says.
pub fn off(name: &str) -> io::Result<()> {
    // SAFETY: no pointers; the descriptor is owned from here on.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    for cmd in [ETHTOOL_STXCSUM, ETHTOOL_SFLAGS] {
        let mut value = EthtoolValue { cmd, data: 0 };
        // SAFETY: all zero is a valid ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // The last byte stays zero.
        for (to, from) in request
            .ifr_name
            .iter_mut()
            .take(libc::IFNAMSIZ - 1)
            .zip(name.bytes())
        {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_data = (&raw mut value).cast();
        // SAFETY: the request and what it points to live through the call, which writes at
        // most an ethtool_value.
        if unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
