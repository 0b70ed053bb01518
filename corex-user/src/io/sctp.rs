//! SCTP towards peers, where the kernel has it: one association for each message that
//! send_data() sends, as nothing else uses it.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    runtime::Handle,
    sync::Semaphore,
    time::timeout,
};

use crate::{
    hep::Copies,
    pipeline::outbox::{Address, Deferred},
    telemetry::stream_counters::StreamCounters,
};
use corex_script::{SendError, limiter::SharedLimiter};
use corex_sip::Transport;

/// How long a peer may take to answer, and then to take the message.
const PATIENCE: Duration = Duration::from_secs(10);
/// Associations at a time.
const ASSOCIATIONS: usize = 256;
/// What this kernel lacks, and how to get it.
const MISSING: &str =
    "this kernel has no SCTP: it lacks CONFIG_IP_SCTP, or the module (modprobe sctp)";

static PLACES: Semaphore = Semaphore::const_new(ASSOCIATIONS);
static LIMITER: LazyLock<SharedLimiter> = LazyLock::new(SharedLimiter::default);

/// Whether this kernel has SCTP.
///
/// # Errors
/// `Unsupported`, with the name of what is missing; or what keeps a socket from being opened.
pub fn available() -> io::Result<()> {
    match open(Domain::IPV4) {
        Ok(_) => Ok(()),
        Err(error) if is_missing(&error) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, MISSING))
        }
        Err(error) => Err(error),
    }
}

fn open(domain: Domain) -> io::Result<Socket> {
    Socket::new(
        domain,
        Type::STREAM,
        Some(Protocol::from(libc::IPPROTO_SCTP)),
    )
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EPROTONOSUPPORT | libc::ESOCKTNOSUPPORT)
    )
}

/// Takes a message for an address over. Never blocks; what fails later is counted. The kernel
/// chooses the source: a message's address is that of another transport's socket.
///
/// # Errors
/// When this kernel has no SCTP, the destination is a name, or too many messages are under way.
pub fn submit(
    handle: &Handle,
    message: Deferred,
    counters: &Arc<StreamCounters>,
) -> Result<(), SendError> {
    let Address::Known(to, _) = message.to else {
        return Err(SendError::NoTransport(
            "SCTP takes an address, names are not looked up for it",
        ));
    };
    let socket = open(Domain::for_address(to)).map_err(|error| {
        if is_missing(&error) {
            SendError::NoTransport(MISSING)
        } else {
            SendError::Kernel(error.kind())
        }
    })?;
    let (payload, copies) = (message.payload, message.copies);
    dispatch(handle, &PLACES, socket, to, payload, counters, copies)
}

/// Connects a socket and sends one message, beside the workers.
fn dispatch(
    handle: &Handle,
    places: &'static Semaphore,
    socket: Socket,
    to: SocketAddr,
    payload: Bytes,
    counters: &Arc<StreamCounters>,
    copies: Copies,
) -> Result<(), SendError> {
    let place = places.try_acquire().map_err(|_| SendError::QueueFull)?;
    counters.add(|c| &c.queued);
    let counters = Arc::clone(counters);
    handle.spawn(async move {
        let _place = place;
        let late = || Err(io::ErrorKind::TimedOut.into());
        let connected = timeout(PATIENCE, connect(socket, to)).await;
        let error = match connected.unwrap_or_else(|_| late()) {
            Err(error) => {
                counters.add(|c| &c.drop_connect);
                error
            }
            Ok(mut socket) => match timeout(PATIENCE, send(&mut socket, &payload)).await {
                Ok(Ok(())) => {
                    counters.add(|c| &c.delivered);
                    if let Ok(local) = socket.local_addr() {
                        copies.pass(Transport::Sctp, local, to);
                    }
                    return;
                }
                Ok(Err(error)) => {
                    counters.add(|c| &c.drop_closed);
                    error
                }
                Err(_) => {
                    counters.add(|c| &c.drop_stuck);
                    io::ErrorKind::TimedOut.into()
                }
            },
        };
        if let Some(held_back) = LIMITER.allow() {
            tracing::warn!(held_back, "to {to} by sctp: {error}");
        }
    });
    Ok(())
}

/// To the kernel a one-to-one SCTP socket is a stream socket, and so it is to the runtime.
async fn connect(socket: Socket, to: SocketAddr) -> io::Result<TcpStream> {
    socket.set_nonblocking(true)?;
    TcpSocket::from_std_stream(socket.into()).connect(to).await
}

/// One write is one message, which the kernel takes whole or not at all.
async fn send(socket: &mut TcpStream, payload: &[u8]) -> io::Result<()> {
    let sent = socket.write(payload).await?;
    if sent < payload.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(())
}

/// TCP stands in for SCTP, which the kernel may lack.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::INITIAL_TTL;
    use tokio::{io::AsyncReadExt as _, net::TcpListener};

    fn tcp() -> Socket {
        Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()
    }

    fn message(to: Address) -> Deferred {
        Deferred {
            sender: "127.0.0.2".parse().unwrap(),
            payload: Bytes::from_static(b"hello"),
            to,
            transport: Transport::Sctp,
            socket: corex_script::SocketId(0),
            local: "127.0.0.1:5060".parse().unwrap(),
            ttl: INITIAL_TTL,
            own: Arc::default(),
            connection: None,
            is_reply: false,
            copies: Copies::default(),
        }
    }

    async fn at_rest(counters: &StreamCounters) {
        let rest = async {
            while counters.imbalance() != 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(2 * PATIENCE, rest).await.unwrap();
    }

    fn count(counters: &StreamCounters, name: &str) -> u64 {
        let all = counters.snapshot();
        all.iter().find(|(known, _)| *known == name).unwrap().1
    }

    #[tokio::test]
    async fn a_kernel_without_sctp_is_told_with_the_remedy() {
        let counters = Arc::default();
        let to = Address::Known("127.0.0.1:9".parse().unwrap(), None);
        let submitted = submit(&Handle::current(), message(to), &counters);
        match available() {
            Ok(()) => assert_eq!(submitted, Ok(())),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
                assert!(error.to_string().contains("modprobe sctp"), "{error}");
                assert_eq!(submitted, Err(SendError::NoTransport(MISSING)));
                assert_eq!(count(&counters, "queued"), 0);
            }
        }
        at_rest(&counters).await;
    }

    #[tokio::test]
    async fn a_name_is_refused() {
        let to = Address::Name {
            host: "a.example".into(),
            port: None,
            secure: false,
        };
        let submitted = submit(&Handle::current(), message(to), &Arc::default());
        assert!(matches!(submitted, Err(SendError::NoTransport(_))));
    }

    #[tokio::test]
    async fn a_message_arrives_and_one_that_nobody_takes_is_counted() {
        static PLACES: Semaphore = Semaphore::const_new(2);
        let counters = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let payload = Bytes::from_static(b"hello");
        for to in [listener.local_addr().unwrap(), closed] {
            let handle = Handle::current();
            let (payload, copies) = (payload.clone(), Copies::default());
            dispatch(&handle, &PLACES, tcp(), to, payload, &counters, copies).unwrap();
        }
        let (mut peer, _) = listener.accept().await.unwrap();
        let mut text = String::new();
        timeout(PATIENCE, peer.read_to_string(&mut text))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(text, "hello");
        at_rest(&counters).await;
        assert_eq!(count(&counters, "delivered"), 1);
        assert_eq!(count(&counters, "drop_connect"), 1);
    }

    #[tokio::test]
    async fn messages_under_way_are_limited() {
        static PLACES: Semaphore = Semaphore::const_new(1);
        let counters = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let another = || {
            let payload = Bytes::from_static(b"hello");
            let copies = Copies::default();
            dispatch(
                &Handle::current(),
                &PLACES,
                tcp(),
                to,
                payload,
                &counters,
                copies,
            )
        };
        // Nothing runs before the test waits.
        another().unwrap();
        assert_eq!(another(), Err(SendError::QueueFull));
        at_rest(&counters).await;
        another().unwrap();
        at_rest(&counters).await;
        assert_eq!(count(&counters, "delivered"), 2);
        assert_eq!(count(&counters, "queued"), 2);
    }
}
