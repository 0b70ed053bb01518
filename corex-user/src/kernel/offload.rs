//! What ethtool's ioctl tells of a device: what it leaves to hardware, which XDP and user space then
//! don't see, and its channels.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
};

/// include/uapi/linux/ethtool.h
const ETHTOOL_STXCSUM: u32 = 0x17;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_SFLAGS: u32 = 0x26;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETH_FLAG_RXVLAN: u32 = 1 << 8;
/// include/uapi/linux/sockios.h
const SIOCETHTOOL: libc::Ioctl = 0x8946;

#[repr(C)]
struct EthtoolValue {
    cmd: u32,
    data: u32,
}

/// struct ethtool_channels.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct EthtoolChannels {
    cmd: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// Receive and transmit queues, as the driver of the device `name` tells. `None`: it tells nothing.
pub fn channels(name: &str) -> Option<(u32, u32)> {
    let wanted = EthtoolChannels {
        cmd: ETHTOOL_GCHANNELS,
        ..EthtoolChannels::default()
    };
    let found = ask(name, wanted).ok()?;
    Some((found.rx + found.combined, found.tx + found.combined))
}

/// Lets the kernel write checksums and VLAN tags into packets before the device `name` gets them:
/// on a detour there is no hardware, and user space must see packets as they will be on the wire.
///
/// # Errors
/// What the kernel says.
pub fn off(name: &str) -> io::Result<()> {
    for cmd in [ETHTOOL_STXCSUM, ETHTOOL_SFLAGS] {
        ask(name, EthtoolValue { cmd, data: 0 })?;
    }
    Ok(())
}

/// Whether the device takes VLAN tags off received packets before XDP sees them, while VLAN
/// devices are on it that want them.
pub fn strips_tags_of_vlans(name: &str) -> bool {
    let has_vlans = fs::read_dir(format!("/sys/class/net/{name}"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|entry| entry.strip_prefix("upper_").map(str::to_owned))
        .any(|upper| Path::new("/proc/net/vlan").join(upper).exists());
    let flags = EthtoolValue {
        cmd: ETHTOOL_GFLAGS,
        data: 0,
    };
    has_vlans && ask(name, flags).is_ok_and(|flags| flags.data & ETH_FLAG_RXVLAN != 0)
}

/// What an ethtool command reads and writes.
///
/// # Safety
/// As long as what the kernel writes for the command in it.
unsafe trait Request {}
// SAFETY: STXCSUM, GFLAGS and SFLAGS have an ethtool_value.
unsafe impl Request for EthtoolValue {}
// SAFETY: GCHANNELS has an ethtool_channels.
unsafe impl Request for EthtoolChannels {}

fn ask<T: Request>(name: &str, mut value: T) -> io::Result<T> {
    // SAFETY: no pointers; the descriptor is owned from here on.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
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
    // SAFETY: the request and what it points to live through the call, which writes at most a T.
    if unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_strips_nothing_and_can_not_be_changed() {
        assert!(!strips_tags_of_vlans("no-such-device"));
        assert!(off("no-such-device").is_err());
        assert_eq!(channels("no-such-device"), None);
        assert!(!strips_tags_of_vlans("lo"));
    }
}
