//! The server that inline mode is measured in front of: it sends back what it gets.

use std::net::{SocketAddr, UdpSocket};

use crate::{ENDS, PORT};

/// Sends UDP back by a kernel socket, until killed.
pub fn run() -> anyhow::Result<()> {
    let (generator, device) = ENDS.of(false);
    let socket = UdpSocket::bind(SocketAddr::new(device, PORT))?;
    println!("ready:");
    let mut buffer = vec![0; 65_536];
    loop {
        let (len, _) = socket.recv_from(&mut buffer)?;
        // What can't be sent now is lost, and the generator counts it.
        let _ = socket.send_to(&buffer[..len], (generator, PORT));
    }
}
