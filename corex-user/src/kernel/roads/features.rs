//! What devices can do with frames that XDP sends, as the netdev family of generic netlink tells
//! (Linux 6.3).

use std::io;

use bytes::BufMut as _;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

/// include/uapi/linux/genetlink.h
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// include/uapi/linux/netdev.h
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const NETDEV_XDP_ACT_NDO_XMIT: u64 = 4;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const HEADERS: usize = 16 + 4;

/// A conversation with the kernel.
pub struct Features {
    socket: Socket,
    family: u16,
}

impl Features {
    /// Opens it.
    ///
    /// # Errors
    /// The kernel doesn't know the family, before Linux 6.3.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let request = request(
            GENL_ID_CTRL,
            CTRL_CMD_GETFAMILY,
            CTRL_ATTR_FAMILY_NAME,
            b"netdev\0",
        );
        let family = ask(&socket, &request, CTRL_ATTR_FAMILY_ID)?;
        let family = family.get(..2).and_then(|bytes| bytes.try_into().ok());
        Ok(Self {
            socket,
            family: u16::from_ne_bytes(family.ok_or_else(unreadable)?),
        })
    }

    /// Whether a device sends frames that XDP programs redirect to it. On a veth pair that, and
    /// sending back what came by it, takes a peer with an XDP program or GRO: else they are lost.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn sends(&self, ifindex: u32) -> io::Result<bool> {
        let request = request(
            self.family,
            NETDEV_CMD_DEV_GET,
            NETDEV_A_DEV_IFINDEX,
            &ifindex.to_ne_bytes(),
        );
        let features = ask(&self.socket, &request, NETDEV_A_DEV_XDP_FEATURES)?;
        let features = features.get(..8).and_then(|bytes| bytes.try_into().ok());
        let features = u64::from_ne_bytes(features.ok_or_else(unreadable)?);
        Ok(features & NETDEV_XDP_ACT_NDO_XMIT != 0)
    }
}

fn unreadable() -> io::Error {
    io::Error::other("an answer that can't be read")
}

fn request(family: u16, command: u8, attribute: u16, value: &[u8]) -> Vec<u8> {
    let attribute_len = 4 + value.len();
    let len = HEADERS + attribute_len.next_multiple_of(4);
    let mut message = Vec::with_capacity(len);
    message.put_u32_ne(len as u32);
    message.put_u16_ne(family);
    message.put_u16_ne(NLM_F_REQUEST);
    // Sequence and port: one request, one answer.
    message.put_bytes(0, 8);
    message.put_u8(command);
    message.put_u8(1);
    message.put_u16_ne(0);
    message.put_u16_ne(attribute_len as u16);
    message.put_u16_ne(attribute);
    message.put_slice(value);
    message.resize(len, 0);
    message
}

/// Sends a request; the value of an attribute of the answer.
fn ask(socket: &Socket, request: &[u8], attribute: u16) -> io::Result<Vec<u8>> {
    socket.send(request, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok());
    if kind.map(u16::from_ne_bytes) == Some(NLMSG_ERROR) {
        let errno = answer.get(16..20).and_then(|bytes| bytes.try_into().ok());
        let errno = errno.map_or(libc::EIO, |bytes| -i32::from_ne_bytes(bytes));
        return Err(io::Error::from_raw_os_error(errno));
    }
    find(&answer, attribute).ok_or_else(unreadable)
}

fn find(answer: &[u8], attribute: u16) -> Option<Vec<u8>> {
    let mut rest = answer.get(HEADERS..)?;
    loop {
        let len = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        if kind == attribute {
            return Some(rest.get(4..len)?.to_vec());
        }
        // An attribute is at least its header long.
        rest = rest.get(len.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_devices_can_do_where_it_knows_the_family() {
        let Ok(features) = Features::open() else {
            return;
        };
        // Loopback has no native XDP.
        assert!(!features.sends(1).unwrap());
        assert!(features.sends(u32::MAX / 2).is_err());
    }

    #[test]
    fn answers_that_are_cut_off_or_lie_about_lengths_are_refused() {
        let mut answer = vec![0; HEADERS];
        assert_eq!(find(&answer, 3), None);
        answer.extend([0, 0, 1, 0, 200, 0, 3, 0, 1, 2]);
        assert_eq!(find(&answer, 3), None);
    }
}
