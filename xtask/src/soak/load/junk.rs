//! What nobody should send: damaged messages, noise, fragments, frames with wrong checksums.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use corex_lab::{
    Frame, RawSocket,
    frame::{Mac, UdpChecksum},
    topology::Relay,
};

use super::{Context, message};
use crate::{random::Random, soak::lab::JUNK};

/// Between two of them.
const EVERY: Duration = Duration::from_millis(33);
const PORT: u16 = 5099;

/// Sends one after the other, until it is over. Answers, if there are any, are nobody's.
///
/// # Errors
/// Sockets can't be made.
pub fn run(context: &Context, mut random: Random) -> Result<()> {
    let relay = &context.lab.relay;
    let from = SocketAddr::new(IpAddr::V4(JUNK), PORT);
    let socket = relay.uac.udp(from)?;
    let raw = RawSocket::open(&relay.uac, "eth0")?;
    let macs = (relay.uac.mac("eth0")?, relay.corex.mac("user")?);
    socket.set_nonblocking(true)?;
    let mut buffer = [0; 2048];
    while !context.is_over() {
        // What a link that is down refuses is junk all the same.
        if random.once_in(4) {
            let _ = raw.send(&frame(macs, from, &mut random));
        } else {
            let _ = socket.send_to(&datagram(from, &mut random), Relay::USER_SIDE.sip());
        }
        context.count_junk(1);
        while socket.recv(&mut buffer).is_ok() {}
        // What else passes that interface isn't wanted, and must not fill the socket's buffer.
        while matches!(raw.poll(), Ok(Some(_))) {}
        context.pause(EVERY);
    }
    Ok(())
}

fn noise(len: u64, random: &mut Random) -> Vec<u8> {
    (0..len).map(|_| random.next() as u8).collect()
}

/// A message with an extra header of so many bytes.
fn long(from: SocketAddr, len: usize) -> Vec<u8> {
    let text = message::options("UDP", from, "long");
    text.replacen("\r\n", &format!("\r\nX-Long: {}\r\n", "x".repeat(len)), 1)
        .into_bytes()
}

fn datagram(from: SocketAddr, random: &mut Random) -> Vec<u8> {
    let mut message = message::options("UDP", from, "junk").into_bytes();
    match random.below(8) {
        0 => {
            let len = random.below(1400);
            noise(len, random)
        }
        1 => {
            let len = random.below(40);
            noise(len, random)
        }
        2 => {
            message.truncate(random.below(message.len() as u64) as usize);
            message
        }
        // More than a frame holds: fragments.
        3 => long(from, random.between(1400, 6000) as usize),
        4 => {
            let text = String::from_utf8_lossy(&message).into_owned();
            text.replace("corex-lab", "friendly-scanner").into_bytes()
        }
        5 => Vec::new(),
        _ => {
            for _ in 0..random.between(1, 20) {
                let at = random.below(message.len() as u64) as usize;
                message[at] = random.next() as u8;
            }
            message
        }
    }
}

/// A frame that isn't as it should be.
fn frame(macs: (Mac, Mac), from: SocketAddr, random: &mut Random) -> Vec<u8> {
    let payload = message::options("UDP", from, "frame");
    let mut frame = Frame::udp(
        (macs.0, from),
        (macs.1, Relay::USER_SIDE.sip()),
        payload.as_bytes(),
    );
    match random.below(8) {
        0 => frame.udp_checksum = UdpChecksum::Wrong,
        1 => frame.udp_checksum = UdpChecksum::Zero,
        2 => frame.wrong_ip_checksum = true,
        3 => frame.vlans = vec![(0x8100, 42)],
        4 => frame.options = vec![1, 1, 1, 0],
        5 => frame.udp_length_lie = 20,
        6 => frame.padding = 30,
        _ => {
            let mut bytes = frame.build();
            bytes.truncate(random.between(14, 60) as usize);
            return bytes;
        }
    }
    frame.build()
}
