//! A caller on a cable to the machine that the package is tried on.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::Result;
use corex_lab::namespace::{Namespace, veth};

/// Where corex listens.
pub const EDGE: &str = "10.0.1.1:5060";
/// Where the caller is.
const CALLER: &str = "10.0.1.2:5061";
/// Between an answer and the next request.
const BETWEEN: Duration = Duration::from_millis(2);
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Two namespaces with a cable between their `eth0`: corex's and the caller's.
///
/// # Errors
/// What `ip` says.
pub fn cable() -> Result<(Namespace, Namespace)> {
    let (edge, caller) = (Namespace::new("edge")?, Namespace::new("caller")?);
    veth((&edge, "eth0"), (&caller, "eth0"))?;
    edge.address("eth0", "10.0.1.1/24")?;
    caller.address("eth0", "10.0.1.2/24")?;
    Ok((edge, caller))
}

/// What a caller has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Requests.
    pub sent: u64,
    /// Those that were answered 200.
    pub answered: u64,
}

/// Sends OPTIONS all the time while `action` runs, each after the answer to the one before or a while
/// without.
///
/// # Errors
/// The action's, or the socket's.
pub fn during(caller: &Namespace, action: impl FnOnce() -> Result<()>) -> Result<Counted> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let traffic = scope.spawn(|| exchange(caller, &is_over));
        let done = action();
        is_over.store(true, Ordering::Relaxed);
        let counted = traffic
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        done?;
        counted
    })
}

fn exchange(caller: &Namespace, is_over: &AtomicBool) -> Result<Counted> {
    let mut counted = Counted::default();
    let socket = socket(caller)?;
    while !is_over.load(Ordering::Relaxed) {
        counted.sent += 1;
        let answer = ask_by(&socket, counted.sent)?;
        if answer.is_some_and(|line| line.starts_with("SIP/2.0 200")) {
            counted.answered += 1;
        }
        thread::sleep(BETWEEN);
    }
    Ok(counted)
}

/// The first line of the answer to one OPTIONS, if there is one.
///
/// # Errors
/// The socket's.
pub fn ask(caller: &Namespace) -> Result<Option<String>> {
    ask_by(&socket(caller)?, 0)
}

fn socket(caller: &Namespace) -> Result<std::net::UdpSocket> {
    let own: SocketAddr = CALLER.parse()?;
    let socket = caller.udp(own)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn ask_by(socket: &std::net::UdpSocket, number: u64) -> Result<Option<String>> {
    let mut buffer = [0; 2048];
    let request = format!(
        "OPTIONS sip:{EDGE} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{number}\r\n\
         Max-Forwards: 70\r\nTo: <sip:{EDGE}>\r\nFrom: <sip:caller@{CALLER}>;tag={number}\r\n\
         Call-ID: {number}@{CALLER}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    // Where nobody listens any more, the kernel says so here.
    if socket.send_to(request.as_bytes(), EDGE).is_err() {
        return Ok(None);
    }
    let Ok(len) = socket.recv(&mut buffer) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
    Ok(text.lines().next().map(str::to_owned))
}
