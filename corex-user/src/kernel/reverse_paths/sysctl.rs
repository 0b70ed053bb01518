//! Whether the kernel's stack filters by reverse paths anywhere: the sysctl rp_filter (kernel:
//! Documentation/networking/ip-sysctl.rst).

use std::{collections::BTreeMap, ffi::OsString, fs, io, path::Path};

use netlink_sys::{
    AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE,
};

const SETTINGS: &str = "/proc/sys/net/ipv4/conf";
/// The group that is told of each value that changes (include/uapi/linux/rtnetlink.h).
const RTNLGRP_IPV4_NETCONF: u32 = 24;

/// Tells of changes as they happen. Who looked at the values now and then would miss one that is
/// taken back, and what was let in meanwhile would stay.
pub struct Changes(TokioSocket);

impl Changes {
    /// From here on they are told.
    ///
    /// # Errors
    /// When the kernel has no such socket for us.
    pub fn follow() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
        socket.socket_mut().add_membership(RTNLGRP_IPV4_NETCONF)?;
        Ok(Self(socket))
    }

    /// Waits for the next one. What it is doesn't matter, nor whether some are lost.
    ///
    /// # Errors
    /// When the socket is of no use any more.
    pub async fn next(&mut self) -> io::Result<()> {
        let mut buffer = [0_u8; 4096];
        match self.0.recv(&mut &mut buffer[..]).await {
            Err(error) if error.raw_os_error() != Some(libc::ENOBUFS) => Err(error),
            _ => Ok(()),
        }
    }
}

/// The values of all interfaces that there are, and that for all. The stack goes by the larger one of
/// `all` and the interface's. What can't be read is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sysctl(BTreeMap<OsString, Option<u8>>);

impl Sysctl {
    /// Reads them.
    pub fn read() -> Self {
        Self::read_in(Path::new(SETTINGS))
    }

    fn read_in(folder: &Path) -> Self {
        let Ok(entries) = fs::read_dir(folder) else {
            return Self::default();
        };
        let value = |entry: fs::DirEntry| {
            let name = entry.file_name();
            if name == "default" {
                // It is for interfaces that are made later.
                return None;
            }
            let value = match fs::read(entry.path().join("rp_filter")) {
                Ok(text) => text.first().copied(),
                // The interface has gone meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
                Err(_) => None,
            };
            Some((name, value))
        };
        Self(entries.flatten().filter_map(value).collect())
    }

    /// Whether the stack filters, or it can't be told: then it is asked in vain.
    pub fn is_on(&self) -> bool {
        self.0.is_empty() || self.0.values().any(|value| *value != Some(b'0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_any_interface_filters_or_none_can_be_read_the_stack_is_asked() {
        let folder = std::env::temp_dir().join(format!("corex-rp-{}", std::process::id()));
        assert!(Sysctl::read_in(&folder).is_on());
        let write = |name: &str, value: &str| {
            fs::create_dir_all(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("rp_filter"), value).unwrap();
        };
        write("all", "0\n");
        write("eth0", "0\n");
        write("default", "1\n");
        fs::create_dir_all(folder.join("gone")).unwrap();
        let off = Sysctl::read_in(&folder);
        assert!(!off.is_on());
        write("eth0", "2\n");
        let on = Sysctl::read_in(&folder);
        assert!(on.is_on() && on != off);
        fs::remove_dir_all(folder).unwrap();
    }
}
