//! SCTP towards peers, where the kernel has it: one association for each message that
//! send_data() sends, as nothing else uses it.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Handle;

use crate::{
    pipeline::carrier::{Address, Parcel},
    script::SendError,
    telemetry::stream_counters::StreamCounters,
};

/// How long a peer may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// IANA's number of the protocol.
const SCTP: i32 = 132;

fn open(to: SocketAddr) -> io::Result<Socket> {
    Socket::new(
        Domain::for_address(to),
        Type::STREAM,
        Some(Protocol::from(SCTP)),
    )
}

/// Sends a message to an address, on a thread for what blocks.
///
/// # Errors
/// When this kernel has no SCTP, or the destination is a name.
pub fn carry(
    handle: &Handle,
    parcel: Parcel,
    counters: &Arc<StreamCounters>,
) -> Result<(), SendError> {
    let Address::Known(to, _) = parcel.to else {
        return Err(SendError::NoTransport(
            "SCTP takes an address, names are not looked up for it",
        ));
    };
    let socket = open(to).map_err(|_| {
        SendError::NoTransport(
            "this kernel has no SCTP: it lacks CONFIG_IP_SCTP, or the module (modprobe sctp)",
        )
    })?;
    counters.add(|c| &c.queued);
    let counters = Arc::clone(counters);
    handle.spawn_blocking(move || {
        let sent = socket
            .set_write_timeout(Some(PATIENCE))
            .and_then(|()| socket.connect_timeout(&to.into(), PATIENCE))
            .and_then(|()| (&socket).write_all(&parcel.payload));
        match sent {
            Ok(()) => counters.add(|c| &c.delivered),
            Err(error) => {
                counters.add(|c| &c.drop_connect);
                tracing::warn!("{to} by sctp: {error}");
            }
        }
    });
    Ok(())
}
