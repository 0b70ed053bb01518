//! What the exporter of copies goes by: a configuration's plan, names, and this host's addresses.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, mpsc::Sender},
};

use crate::{
    hep::{Plan, World},
    io::outbox::AsyncOutbox,
    pipeline::{PipelineContext, is_local},
};

/// The module that copies are configured by.
const MODULE: &str = "siptrace";

/// Has the exporter go by a configuration. Its thread starts with the first one that loads the
/// module, with the rights of the calling one.
///
/// # Errors
/// When the thread can't be started.
pub fn follow(context: &PipelineContext, outbox: &AsyncOutbox) -> std::io::Result<()> {
    let settings = context.config.settings.siptrace.clone();
    let named = settings.send_from_name.as_deref();
    let listener = named.and_then(|name| {
        let mut all = context.listeners.iter();
        all.find(|listener| listener.name.as_deref() == Some(name))
    });
    let send_from = listener.map(|listener| listener.address.ip());
    let send_from = send_from.or(settings.send_from);
    context.exporter.follow(Plan {
        send_from: send_from.filter(|ip| !ip.is_unspecified()),
        own: Arc::clone(&context.own),
        settings,
    });
    if context.config.program.has_module(MODULE) {
        context.exporter.start(Arc::new(Names(outbox.clone())))?;
    }
    Ok(())
}

/// Names are looked up as those of SIP peers are.
struct Names(AsyncOutbox);

impl World for Names {
    fn look_up(&self, host: &str, port: Option<u16>, answer: Sender<Option<SocketAddr>>) {
        self.0.find(host, port, answer);
    }

    fn is_local(&self, ip: IpAddr) -> bool {
        is_local(ip)
    }
}
