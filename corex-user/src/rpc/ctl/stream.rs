//! binrpc over connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::server::Server;
use crate::http::AcceptTrouble;
use crate::rpc::binrpc::{self, Frame, Kind, Malformed, Progress};
use crate::rpc::fronts::End;
use crate::rpc::limits::Client;

/// Room for bytes to come, also where a client promises more.
const CHUNK: usize = 16 << 10;
/// How long a client has to go once it was told why; until then its bytes are thrown away.
const LINGER: Duration = Duration::from_millis(200);

/// Accepts connections to a socket file, and serves them.
pub(super) async fn unix(
    socket: std::os::unix::net::UnixListener,
    server: Server,
) -> io::Result<()> {
    let socket = UnixListener::from_std(socket)?;
    let mut tasks = JoinSet::new();
    let mut trouble = AcceptTrouble::default();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => {
                    let user = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
                    let end = End {
                        peer: "<anonymous unix socket>".to_owned(),
                        ..server.end.clone()
                    };
                    tasks.spawn(serve(stream, server.clone(), Client::User(user), end));
                }
                Err(error) => trouble.pause("remote control", &error).await,
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}

/// Accepts TCP connections, and serves them.
pub(super) async fn tcp(socket: std::net::TcpListener, server: Server) -> io::Result<()> {
    let socket = TcpListener::from_std(socket)?;
    let mut tasks = JoinSet::new();
    let mut trouble = AcceptTrouble::default();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Replies are written whole.
                    let _ = stream.set_nodelay(true);
                    let end = tcp_end(&server, peer);
                    tasks.spawn(serve(stream, server.clone(), Client::Ip(peer.ip()), end));
                }
                Err(error) => trouble.pause("remote control", &error).await,
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}

fn tcp_end(server: &Server, peer: SocketAddr) -> End {
    End {
        peer: peer.ip().to_string(),
        peer_port: peer.port().to_string(),
        ..server.end.clone()
    }
}

/// Why a client is served no longer.
enum Over {
    /// It went, or its connection broke.
    Gone,
    /// It was idle for long enough.
    Idle,
    /// It took too long.
    Slow,
    /// It sent what is no request.
    Malformed(Malformed),
    /// The same, and the answer is out already.
    Told,
}

async fn serve<S>(mut stream: S, server: Server, client: Client, end: End)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let fronts = &server.rpc.fronts;
    let Some(_connected) = fronts.connected(end, server.rpc.limits.connections) else {
        return fronts.count(|counters| &counters.refused);
    };
    match requests(&mut stream, &server, &client).await {
        Over::Gone | Over::Idle => {}
        Over::Slow => fronts.count(|counters| &counters.too_slow),
        Over::Malformed(error) => {
            let packet = server.corrupted(error);
            let _ = timeout(server.rpc.limits.reply, stream.write_all(&packet)).await;
            drain(&mut stream).await;
        }
        Over::Told => drain(&mut stream).await,
    }
}

/// Closing with unread bytes would reset a TCP connection before the client reads the fault.
async fn drain(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let _ = timeout(LINGER, async {
        let _ = stream.shutdown().await;
        let mut sink = [0; 1024];
        while matches!(stream.read(&mut sink).await, Ok(1..)) {}
    })
    .await;
}

async fn requests<S>(stream: &mut S, server: &Server, client: &Client) -> Over
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = &server.rpc.limits;
    let mut buffer = BytesMut::new();
    loop {
        if buffer.is_empty() {
            match timeout(limits.idle, stream.read_buf(&mut buffer)).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return Over::Gone,
                Err(_) => return Over::Idle,
            }
        }
        let frame = match timeout(limits.request, whole(stream, server, &mut buffer)).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(over)) => return over,
            Err(_) => return Over::Slow,
        };
        if frame.kind != Kind::Request {
            return Over::Malformed(Malformed::Corrupted);
        }
        while let Err(wait) = server.rpc.admit(client) {
            sleep(wait).await;
        }
        buffer.advance(frame.header);
        let payload = buffer.split_to(frame.payload);
        let (packet, is_read) = server.answer(frame, &payload).await;
        match timeout(limits.reply, stream.write_all(&packet)).await {
            Ok(Ok(())) if is_read => {}
            Ok(Ok(())) => return Over::Told,
            Ok(Err(_)) => {
                server.rpc.fronts.count(|counters| &counters.undelivered);
                return Over::Gone;
            }
            Err(_) => return Over::Slow,
        }
    }
}

/// Reads until the buffer begins with a whole packet.
async fn whole<S: AsyncRead + Unpin>(
    stream: &mut S,
    server: &Server,
    buffer: &mut BytesMut,
) -> Result<Frame, Over> {
    loop {
        let missing = match binrpc::progress(buffer, server.rpc.limits.binrpc_request) {
            Ok(Progress::Whole(frame)) => return Ok(frame),
            Ok(Progress::Missing(missing)) => missing,
            Err(error) => return Err(Over::Malformed(error)),
        };
        buffer.reserve(missing.min(CHUNK));
        match stream.read_buf(buffer).await {
            Ok(1..) => {}
            _ => return Err(Over::Gone),
        }
    }
}
