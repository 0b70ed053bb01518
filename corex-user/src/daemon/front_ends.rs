//! The sockets that remote control is served on.

use std::sync::Arc;

use anyhow::Context as _;

use super::remote::Remote;
use crate::{
    rpc::{Rpc, ctl, limit::Limits},
    script::Config,
};

/// Sockets that are open and not served yet.
pub struct FrontEnds(Vec<ctl::Listener>);

impl FrontEnds {
    /// Opens the sockets that the configuration asks for: privileges may be needed.
    ///
    /// # Errors
    /// With the socket, what keeps it from being opened.
    pub fn bind(config: &Config) -> anyhow::Result<FrontEnds> {
        let control = &config.settings.control;
        if config.program.known.module("ctl").is_none() {
            return Ok(FrontEnds(Vec::new()));
        }
        let bind = |address| {
            ctl::Listener::bind(&address, &control.access, control.autoconversion)
                .with_context(|| format!("serve remote control on {address}"))
        };
        let listeners = control.listeners().into_iter().map(bind);
        listeners.collect::<anyhow::Result<_>>().map(FrontEnds)
    }

    /// Serves them for as long as the runtime runs; to be called within it.
    pub fn serve(self, remote: Arc<Remote>) {
        let rpc = Arc::new(Rpc::new(remote, Limits::default()));
        for listener in self.0 {
            let rpc = Arc::clone(&rpc);
            tokio::spawn(async move {
                if let Err(error) = listener.serve(rpc).await {
                    tracing::error!(%error, "remote control has ended on a socket");
                }
            });
        }
    }
}
