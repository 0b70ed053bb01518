//! A server with a corex in front of it, raw frames at both its sides, and a device without corex.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use corex_lab::{
    Corex, Frame, ObservedBooks, RawSocket, WorkDir, config,
    corex::CorexOptions,
    frame::Mac,
    topology::{Inline, LabHost},
};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};

/// How long what is to come may take on a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn gzip(plain: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?)
}

pub fn gunzip(encoded: &[u8]) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(encoded).read_to_end(&mut plain)?;
    Ok(plain)
}

/// A request of `len` bytes that doesn't compress well, and differs by `seed`.
pub fn invite(len: usize, seed: u64) -> Vec<u8> {
    let mut text =
        format!("INVITE sip:{seed}@10.0.2.2 SIP/2.0\r\nCall-ID: {seed}\r\n\r\n").into_bytes();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while text.len() < len {
        // xorshift64 (Marsaglia).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push(state as u8);
    }
    text
}

/// A server with a corex in front of it, and the router that it is connected to.
pub struct Bench {
    pub corex: Corex,
    /// On the router's interface to the server.
    pub wire: RawSocket,
    /// On the server's interface, above XDP.
    pub stack: RawSocket,
    macs: (Mac, Mac),
    pub net: Inline,
    _work: WorkDir,
}

impl Bench {
    pub fn new(parameters: &str, hook: &str) -> Result<Self> {
        Self::in_network(Inline::new()?, parameters, hook, &[])
    }

    pub fn in_network(
        net: Inline,
        parameters: &str,
        hook: &str,
        arguments: &[&str],
    ) -> Result<Self> {
        let work = WorkDir::new()?;
        // The strictest: what is injected must look as if it had come by that interface.
        net.server.sysctl("net.ipv4.conf.all.rp_filter", "1")?;
        net.server.sysctl("net.ipv4.conf.eth0.rp_filter", "1")?;
        let protected = [Inline::SERVER.sip(), Inline::SERVER.sip6()];
        let path = work.write("edge.cfg", config::inline(&protected, parameters, hook))?;
        let mut options = CorexOptions::new(&path).interface("eth0");
        for argument in arguments {
            options = options.argument(argument);
        }
        let corex = options.start(&net.server, work.path(), "edge")?;
        Ok(Self {
            corex,
            wire: RawSocket::open(&net.internet, "s")?,
            stack: RawSocket::open(&net.server, "eth0")?,
            macs: (net.internet.mac("s")?, net.server.mac("eth0")?),
            net,
            _work: work,
        })
    }

    /// A frame from the device to the server, as it is on the last cable.
    pub fn to_server(&self, v6: bool, payload: &[u8]) -> Frame {
        let [from, to] = addresses(v6);
        Frame::udp((self.macs.0, from), (self.macs.1, to), payload)
    }

    /// A frame from the server to the device.
    pub fn to_device(&self, v6: bool, payload: &[u8]) -> Frame {
        let [to, from] = addresses(v6);
        Frame::udp((self.macs.1, from), (self.macs.0, to), payload)
    }

    pub fn server(&self, v6: bool) -> Result<UdpSocket> {
        self.net.server.udp(addresses(v6)[1])
    }

    pub fn device(&self, v6: bool) -> Result<UdpSocket> {
        self.net.device.udp(addresses(v6)[0])
    }

    pub fn close(self) -> Result<ObservedBooks> {
        let books = self.corex.stop()?;
        books.check_balance()?;
        Ok(books)
    }
}

/// The device's and the server's.
pub fn addresses(v6: bool) -> [SocketAddr; 2] {
    let of = |host: LabHost| if v6 { host.sip6() } else { host.sip() };
    [of(Inline::DEVICE), of(Inline::SERVER)]
}

pub fn receive(socket: &UdpSocket) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 65_535];
    let (len, _) = socket.recv_from(&mut buffer).context("nothing arrived")?;
    buffer.truncate(len);
    Ok(buffer)
}

pub fn nothing_comes(socket: &UdpSocket) -> Result<()> {
    socket.set_read_timeout(Some(Duration::from_millis(300)))?;
    let came = socket.recv_from(&mut [0; 64]);
    socket.set_read_timeout(Some(PATIENCE))?;
    ensure!(came.is_err(), "something came");
    Ok(())
}
