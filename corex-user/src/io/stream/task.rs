//! The task of a connection: it opens it, serves it, lends it to whoever wants to hand it over, and
//! clears up behind it.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use nix::sys::socket::{
    setsockopt,
    sockopt::{Ipv4Tos, Ipv6TClass},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use super::{
    connection::{End, Flow, Item, Line},
    hold::{Lent, Report},
    registry::{Phase, Streams},
    table::PeerKey,
};
use corex_sip::Transport;

/// How long the end of a connection may take that TLS tells its peer.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// What the task of a connection owns.
pub(super) struct Place {
    pub line: Line,
    pub queue: mpsc::Receiver<Item>,
    pub pongs: mpsc::WeakSender<Item>,
    pub phase: watch::Receiver<Phase>,
    pub orders: mpsc::Receiver<oneshot::Sender<Report>>,
    pub flow: Flow,
}

/// A connection that was opened.
pub(super) enum Opened {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why a connection is served no longer.
enum Stop {
    Ended(End),
    /// Somebody wants to hand it over.
    Asked(oneshot::Sender<Report>),
}

impl Place {
    /// Takes what waits out of the queue: it is written first when the connection goes on.
    fn empty_queue(&mut self) {
        while let Ok(item) = self.queue.try_recv() {
            self.flow.outward.next.push_back(item);
        }
    }

    /// Counts every message that is left.
    fn give_up(&mut self) -> usize {
        self.queue.close();
        self.empty_queue();
        self.flow.outward.messages().len()
    }

    /// Lends what there is to whoever asks. Whether it is gone for good.
    async fn lend(lent: Lent, asked: oneshot::Sender<Report>) -> bool {
        let (taken, is_taken) = oneshot::channel();
        // Nobody waits for it: then nobody takes it, either.
        drop(asked.send(Report { lent, taken }));
        is_taken.await.is_ok()
    }
}

impl Streams {
    /// Opens a connection, and serves it.
    pub(super) async fn connect(self, mut place: Place, key: PeerKey) {
        let (to, transport) = (key.0, key.1);
        let opened = loop {
            tokio::select! {
                opened = timeout(self.inner.settings.connect, self.open(key.clone())) => {
                    break opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                }
                () = reached(&mut place.phase, Phase::Over) => {
                    break Err(io::Error::other("corex stops"));
                }
                Some(asked) = place.orders.recv() => {
                    // What is half open is nothing that another process could go on with.
                    place.empty_queue();
                    let lent = Lent::Unopened(place.flow.outward.messages());
                    if Place::lend(lent, asked).await {
                        return;
                    }
                }
            }
        };
        match opened {
            Ok((local, opened)) => {
                self.inner.counters.add(|c| &c.connected);
                place.line.opened(local);
                self.serve(place, opened).await;
            }
            Err(error) => {
                self.complain(format_args!("{to}: no connection by {transport}: {error}"));
                self.forget(place.line.id);
                let left = place.give_up();
                self.inner.counters.add_many(|c| &c.drop_connect, left);
            }
        }
    }

    /// Connects, and shakes hands where the transport is TLS. With our address.
    async fn open(&self, (to, transport, name): PeerKey) -> io::Result<(SocketAddr, Opened)> {
        let stream = connect(to, self.inner.settings.traffic_class).await?;
        let local = stream.local_addr()?;
        if transport != Transport::Tls {
            return Ok((local, Opened::Tcp(stream)));
        }
        // The first one reads files.
        let inner = Arc::clone(&self.inner);
        let tls = tokio::task::spawn_blocking(move || inner.tls())
            .await
            .map_err(io::Error::other)?
            .map_err(io::Error::other)?;
        let stream = tls.connect(stream, name, to).await?;
        Ok((local, Opened::Tls(Box::new(stream))))
    }

    /// Runs a connection to its end and clears up behind it; or until another process has it.
    pub(super) async fn serve(self, mut place: Place, opened: Opened) {
        let mut opened = Some(opened);
        let end = loop {
            let stop = match &mut opened {
                Some(Opened::Tcp(stream)) => self.carry(&mut place, stream).await,
                Some(Opened::Tls(stream)) => self.carry(&mut place, &mut **stream).await,
                None => break End::Closed,
            };
            let asked = match stop {
                Stop::Ended(end) => break end,
                Stop::Asked(asked) => asked,
            };
            // The keys of TLS are in no descriptor: it goes on here, and who asks learns that by
            // the end of what it asks with.
            if let Some(Opened::Tcp(stream)) = opened.take_if(|o| matches!(o, Opened::Tcp(_))) {
                match lend(&mut place, stream, asked).await {
                    Ok(Some(stream)) => opened = Some(Opened::Tcp(stream)),
                    Ok(None) => return,
                    Err(error) => break End::Io(error),
                }
            }
        };
        let line = &place.line;
        let counters = &self.inner.counters;
        match &end {
            End::Idle => counters.add(|c| &c.closed_idle),
            End::KeepAlive => counters.add(|c| &c.closed_keepalive),
            End::Slow => counters.add(|c| &c.closed_slow),
            End::Framing(_) => counters.add(|c| &c.closed_framing),
            End::Closed | End::Io(_) | End::Stuck => counters.add(|c| &c.closed_peer),
            End::Stopping | End::Abandoned => {}
        }
        match &end {
            End::Framing(_) | End::Slow | End::Stuck => {
                self.complain(format_args!("{}: closed: {end}", line.peer));
            }
            _ => tracing::debug!(peer = %line.peer, "connection closed: {end}"),
        }
        self.forget(line.id);
        let left = place.give_up();
        counters.add_many(|c| &c.drop_closed, left);
        if end.is_orderly() {
            let farewell = async {
                match &mut opened {
                    Some(Opened::Tcp(stream)) => stream.shutdown().await,
                    Some(Opened::Tls(stream)) => stream.shutdown().await,
                    None => Ok(()),
                }
            };
            let _ = timeout(FAREWELL, farewell).await;
        }
    }

    /// Reads and writes until the connection ends, or somebody asks for it.
    async fn carry(&self, place: &mut Place, stream: impl AsyncRead + AsyncWrite + Unpin) -> Stop {
        let Place {
            line,
            queue,
            pongs,
            phase,
            orders,
            flow,
        } = place;
        let (reader, writer) = tokio::io::split(stream);
        tokio::select! {
            end = line.run(reader, writer, queue, pongs, flow, || self.unlist(line.id)) => {
                Stop::Ended(end)
            }
            () = reached(phase, Phase::Over) => Stop::Ended(End::Abandoned),
            Some(asked) = orders.recv() => Stop::Asked(asked),
        }
    }
}

/// Lends an open connection, and has it back unless another process goes on with it.
async fn lend(
    place: &mut Place,
    stream: TcpStream,
    asked: oneshot::Sender<Report>,
) -> io::Result<Option<TcpStream>> {
    place.empty_queue();
    let descriptor = Arc::new(OwnedFd::from(stream.into_std()?));
    let lent = Lent::open(&place.line, &place.flow, &descriptor);
    if Place::lend(lent, asked).await {
        return Ok(None);
    }
    // Where the copy is still on its way to nobody, this one has another one of its own.
    let own = match Arc::try_unwrap(descriptor) {
        Ok(own) => own,
        Err(shared) => shared.try_clone()?,
    };
    TcpStream::from_std(own.into()).map(Some)
}

/// Waits until corex has come that far in stopping.
pub(super) async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    // An error would mean that nobody is left to say so.
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}

/// Has a socket send all its packets with this byte of DSCP and ECN, its handshake included.
pub(super) fn mark(socket: &impl AsFd, address: SocketAddr, class: u8) -> io::Result<()> {
    let class = class.into();
    if address.is_ipv6() {
        setsockopt(socket, Ipv6TClass, &class)?;
    } else {
        setsockopt(socket, Ipv4Tos, &class)?;
    }
    Ok(())
}

async fn connect(to: SocketAddr, class: u8) -> io::Result<TcpStream> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    mark(&socket, to, class)?;
    socket.connect(to).await
}
