//! A phone, a registrar, and a corex inline on both their hosts: the scene of
//! `cargo xtask demo --inline`, and of its test.

use std::{net::SocketAddr, path::Path};

use anyhow::Result;

use crate::{
    books::ObservedBooks,
    corex::{Corex, CorexOptions},
    sipp::scenario,
    stage::{Side, Stage, file, look},
    topology::PORT,
};

/// Everything set up.
#[derive(Debug)]
pub struct Registrar {
    device: Corex,
    server: Corex,
    /// The rest of it.
    pub stage: Stage,
}

/// What was seen.
#[derive(Debug)]
pub struct Seen {
    /// On the wire between the two hosts.
    pub wire: Side,
    /// Between corex and the server's socket.
    pub stack: Side,
    /// The books on the device's side and on the server's.
    pub books: [ObservedBooks; 2],
}

impl Registrar {
    /// Sets everything up, with that corex or the one of [`crate::corex::binary`].
    ///
    /// # Errors
    /// Something can't start; with its log.
    pub fn start(binary: Option<&Path>) -> Result<Self> {
        let prepared = Stage::prepare()?;
        let (net, work, _) = &prepared;
        let start = |name: &str, host| {
            let options = CorexOptions::new(&file(&format!("inline-{name}.cfg")));
            let options = match binary {
                Some(binary) => options.binary(binary),
                None => options,
            };
            options.start(host, work.path(), name)
        };
        let (device, server) = (start("device", &net.device)?, start("server", &net.server)?);
        Ok(Self {
            device,
            server,
            stage: Stage::open(prepared, scenario("register_call.xml"))?,
        })
    }

    /// Ends everything, and tells what was seen.
    ///
    /// # Errors
    /// A corex doesn't end well, or tshark isn't there.
    pub fn finish(self) -> Result<Seen> {
        let ended = self.stage.end()?;
        let books = [self.device.stop()?, self.server.stop()?];
        ended.kamailio.stop();
        let by_port = |from: SocketAddr, to: SocketAddr| from.port() == PORT && to.port() == PORT;
        Ok(Seen {
            wire: look(&ended.wire, &ended.work.join("wire.pcap"), by_port)?,
            stack: look(&ended.stack, &ended.work.join("stack.pcap"), by_port)?,
            books,
        })
    }

    /// The logs of both corexes and of Kamailio.
    pub fn logs(&self) -> String {
        format!(
            "corex, device:\n{}\ncorex, server:\n{}\nKamailio:\n{}",
            self.device.log(),
            self.server.log(),
            self.stage.log()
        )
    }
}
