//! Asks the kernel why it refuses an XDP program, in the driver's own words.
//!
//! `BPF_LINK_CREATE` answers with an errno only. The older way, RTM_SETLINK with IFLA_XDP,
//! returns the extended acknowledgement (include/linux/netlink.h, NETLINK_EXT_ACK).

use std::os::fd::{AsRawFd as _, BorrowedFd};

use bytes::BufMut as _;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

const RTM_SETLINK: u16 = 19;
const IFLA_XDP: u16 = 43 | NLA_F_NESTED;
const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_FLAGS: u16 = 3;
const NLA_F_NESTED: u16 = 1 << 15;
const NLMSG_ERROR: u16 = 2;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLM_F_REQUEST_ACK: u16 = 1 | 4;
/// The reply doesn't quote the request.
const NLM_F_CAPPED: u16 = 0x100;
const NETLINK_HEADER: usize = 16;
const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1;
const XDP_FLAGS_SKB_MODE: u32 = 2;
const XDP_FLAGS_DRV_MODE: u32 = 4;

/// Tries to attach by netlink and returns the kernel's message. `None` when it has none to
/// give; should the attempt succeed, it is undone.
pub fn why_not(ifindex: u32, program: BorrowedFd<'_>, native: bool) -> Option<String> {
    let mode = if native {
        XDP_FLAGS_DRV_MODE
    } else {
        XDP_FLAGS_SKB_MODE
    };
    let mut socket = Socket::new(NETLINK_ROUTE).ok()?;
    socket.bind_auto().ok()?;
    socket.set_ext_ack(true).ok()?;
    socket.connect(&SocketAddr::new(0, 0)).ok()?;
    let request = request(
        ifindex,
        program.as_raw_fd(),
        mode | XDP_FLAGS_UPDATE_IF_NOEXIST,
    );
    socket.send(&request, 0).ok()?;
    let (reply, _) = socket.recv_from_full().ok()?;
    let errno = i32::from_ne_bytes(reply.get(16..20)?.try_into().ok()?);
    if errno == 0 {
        socket.send(&self::request(ifindex, -1, mode), 0).ok()?;
        socket.recv_from_full().ok()?;
        return None;
    }
    message(&reply)
}

fn request(ifindex: u32, fd: i32, flags: u32) -> Vec<u8> {
    const ATTRIBUTE: u16 = 8;
    const NESTED: u16 = 4 + 2 * ATTRIBUTE;
    const IFINFOMSG: usize = 16;
    let len = NETLINK_HEADER + IFINFOMSG + usize::from(NESTED);
    let mut message = Vec::with_capacity(len);
    message.put_u32_ne(len as u32);
    message.put_u16_ne(RTM_SETLINK);
    message.put_u16_ne(NLM_F_REQUEST_ACK);
    // Sequence and port: one request, one answer.
    message.put_bytes(0, 8);
    // struct ifinfomsg: family and type, the index, flags and their mask.
    message.put_bytes(0, 4);
    message.put_u32_ne(ifindex);
    message.put_bytes(0, 8);
    message.put_u16_ne(NESTED);
    message.put_u16_ne(IFLA_XDP);
    message.put_u16_ne(ATTRIBUTE);
    message.put_u16_ne(IFLA_XDP_FD);
    message.put_i32_ne(fd);
    message.put_u16_ne(ATTRIBUTE);
    message.put_u16_ne(IFLA_XDP_FLAGS);
    message.put_u32_ne(flags);
    message
}

/// The text attribute of an NLMSG_ERROR; `None`: it is none, or has no text.
pub fn message(reply: &[u8]) -> Option<String> {
    let u16_at = |i: usize| Some(u16::from_ne_bytes(reply.get(i..i + 2)?.try_into().ok()?));
    if u16_at(4)? != NLMSG_ERROR {
        return None;
    }
    // Header, errno, and the request's header or, uncapped, all of the request.
    let quoted = u32::from_ne_bytes(reply.get(20..24)?.try_into().ok()?) as usize;
    let mut at = NETLINK_HEADER + 4;
    at += if u16_at(6)? & NLM_F_CAPPED != 0 {
        NETLINK_HEADER
    } else {
        quoted
    };
    while let (Some(len), Some(kind)) = (u16_at(at), u16_at(at + 2)) {
        let len = usize::from(len);
        if len < 4 {
            return None;
        }
        if kind == NLMSGERR_ATTR_MSG {
            let text = reply.get(at + 4..at + len)?;
            let text = text.split(|b| *b == 0).next()?;
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        at += (len + 3) & !3;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_found_behind_the_capped_request() {
        let mut reply = vec![0u8; 36];
        reply[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        reply[6..8].copy_from_slice(&NLM_F_CAPPED.to_ne_bytes());
        reply[16..20].copy_from_slice(&(-34i32).to_ne_bytes());
        reply[20..24].copy_from_slice(&52u32.to_ne_bytes());
        reply.extend(12u16.to_ne_bytes());
        reply.extend(NLMSGERR_ATTR_MSG.to_ne_bytes());
        reply.extend(b"too big\0");
        assert_eq!(message(&reply).as_deref(), Some("too big"));
    }

    #[test]
    fn a_request_is_as_long_as_it_says() {
        let request = request(7, 3, XDP_FLAGS_DRV_MODE);
        assert_eq!(request.len(), 52);
        assert_eq!(request[..4], 52u32.to_ne_bytes());
        assert_eq!(request[20..24], 7u32.to_ne_bytes());
    }

    #[test]
    fn a_cut_reply_has_no_text() {
        assert_eq!(message(&[0; 10]), None);
        assert_eq!(message(&[2; 24]), None);
    }
}
