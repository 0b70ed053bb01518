//! Datagrams that are answered: keep-alives, STUN, and OPTIONS by all that runs scripts.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::Result;
use corex_lab::topology::Relay;

use super::{Context, message};
use crate::{random::Random, soak::lab::PINGS};

/// How long an answer may take on a machine that is busy with other things.
const ANSWER: Duration = Duration::from_secs(10);

/// A kind of ping.
#[derive(Clone, Copy, Debug)]
pub struct Ping {
    /// As it is shown.
    pub name: &'static str,
    /// Where it comes from; soak.cfg knows the scripts' ones.
    pub port: u16,
    /// How long to wait after one.
    pub every: Duration,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Options,
    KeepAlive,
    Stun,
}

const fn ping(name: &'static str, port: u16, a_second: u64, kind: Kind) -> Ping {
    Ping {
        name,
        port,
        every: Duration::from_millis(1000 / a_second),
        kind,
    }
}

/// All kinds, with how many there are each second.
pub const ALL: [Ping; 5] = [
    ping("OPTIONS", 5093, 20, Kind::Options),
    ping("OPTIONS, hook in Lua", 5091, 15, Kind::Options),
    ping("OPTIONS, hook in Perl", 5092, 8, Kind::Options),
    ping("keep-alives", 5094, 15, Kind::KeepAlive),
    ping("STUN", 5095, 10, Kind::Stun),
];

/// Sends one after the other, until it is over.
///
/// # Errors
/// The socket can't be made.
pub fn run(context: &Context, ping: Ping, mut random: Random) -> Result<()> {
    let from = SocketAddr::new(IpAddr::V4(PINGS), ping.port);
    let socket = context.lab.relay.uac.udp(from)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let tally = context.tally(ping.name);
    while !context.is_over() {
        let asked = Instant::now();
        let outcome = ask(&socket, from, ping.kind, &mut random);
        tally.note(&context.timeline, asked, outcome);
        context.pause(ping.every);
    }
    Ok(())
}

fn ask(
    socket: &UdpSocket,
    from: SocketAddr,
    kind: Kind,
    random: &mut Random,
) -> Result<(), String> {
    let number = random.next();
    let text = format!("{number:016x}");
    let mut id = [0; 12];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let request = match kind {
        Kind::Options => message::options("UDP", from, &text).into_bytes(),
        Kind::KeepAlive => b"\r\n\r\n".to_vec(),
        Kind::Stun => message::stun(id),
    };
    let sent = socket.send_to(&request, Relay::USER_SIDE.sip());
    sent.map_err(|error| format!("send: {error}"))?;
    let asked = Instant::now();
    let mut buffer = [0; 2048];
    loop {
        match socket.recv(&mut buffer) {
            Ok(len) => {
                let answer = &buffer[..len];
                let fits = match kind {
                    Kind::Options => message::is_answer(answer, &text),
                    Kind::KeepAlive => answer == b"\r\n",
                    Kind::Stun => message::is_stun_answer(answer, id),
                };
                // What doesn't fit is late.
                if fits {
                    return Ok(());
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(format!("receive: {error}")),
        }
        if asked.elapsed() > ANSWER {
            return Err(format!("no answer to {text}"));
        }
    }
}
