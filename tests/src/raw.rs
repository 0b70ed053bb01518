//! Frames in and out as they are, past the kernel's network stack.

use std::{io, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    frame::Parsed,
    namespace::Namespace,
    sys::{PacketInfo, PacketSocket},
    wait,
};

/// Largest frame, GRO and loopback included.
const BUFFER: usize = 1 << 17;

/// Sends and receives whole frames on one interface of a namespace. What XDP takes away on
/// that interface isn't seen here, nor what AF_XDP sends: look at the other end of the cable.
#[derive(Debug)]
pub struct RawSocket {
    socket: PacketSocket,
}

/// A frame that passed by.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The bytes, VLAN tag included.
    pub bytes: Vec<u8>,
    /// Whether the namespace itself sent it.
    pub outgoing: bool,
    /// Whether its transport checksum is left to the NIC, and so not to be judged.
    pub checksum_pending: bool,
}

impl Seen {
    /// The UDP datagram in it, if it is one.
    pub fn udp(&self) -> Option<Parsed> {
        Parsed::read(&self.bytes)
    }
}

impl RawSocket {
    /// Opens a socket on an interface; frames are queued from here on.
    ///
    /// # Errors
    /// No such interface, or not root.
    pub fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        let socket = namespace.enter(|| {
            PacketSocket::open(interface)
                .with_context(|| format!("packet socket on {interface} of {}", namespace.name()))
        })?;
        Ok(Self { socket })
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        Ok(self.socket.send(frame)?)
    }

    /// The next frame in the queue, if there is one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn poll(&self) -> Result<Option<Seen>> {
        let mut buffer = vec![0; BUFFER];
        match self.socket.receive(&mut buffer) {
            Ok(info) => Ok(Some(seen(&buffer, info))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for a UDP datagram that came from the cable and that `wanted` accepts; skips
    /// everything else.
    ///
    /// # Errors
    /// None came within `limit`.
    pub fn receive_udp(&self, limit: Duration, wanted: impl Fn(&Parsed) -> bool) -> Result<Parsed> {
        wait::until("a frame arrives", limit, || {
            while let Some(seen) = self.poll()? {
                if let Some(udp) = seen.udp().filter(|udp| !seen.outgoing && wanted(udp)) {
                    return Ok(Some(udp));
                }
            }
            Ok(None)
        })
    }
}

fn seen(buffer: &[u8], info: PacketInfo) -> Seen {
    let mut bytes = buffer[..info.len].to_vec();
    // The kernel hands VLAN tags over beside the frame.
    if let Some((tpid, tci)) = info.vlan
        && bytes.len() >= 12
    {
        let tag = [tpid.to_be_bytes(), tci.to_be_bytes()].concat();
        bytes.splice(12..12, tag);
    }
    Seen {
        bytes,
        outgoing: info.outgoing,
        checksum_pending: info.checksum_pending,
    }
}
