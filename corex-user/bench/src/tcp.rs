//! The load by TCP: requests in pipelines on a few connections, whose replies are counted.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use anyhow::bail;
use corex_common::bench::{self, BUCKETS};
use corex_user::kernel::limits;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{
    ENDS, PORT, message,
    protocol::{Order, Outcome},
    serve::serve,
};

/// `tcp`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// CPU to send from
    #[arg(long, default_value_t = 0)]
    cpu: usize,
    /// Connections
    #[arg(long, default_value_t = 4)]
    connections: usize,
}

/// What doesn't come back in this time is lost.
const PATIENCE: Duration = Duration::from_millis(500);
/// Requests written at once, at most.
const BURST: u64 = 32;

/// Serves orders.
pub fn run(args: &Args) -> anyhow::Result<()> {
    limits::pin_thread(args.cpu);
    let mut connections = Vec::new();
    for _ in 0..args.connections.max(1) {
        let stream = TcpStream::connect(SocketAddr::new(ENDS.of(false).1, PORT))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        connections.push(Connection {
            stream,
            unsent: Vec::new(),
            sent_at: VecDeque::new(),
            matched: 0,
        });
    }
    serve(|order| measure(&mut connections, order))
}

struct Connection {
    stream: TcpStream,
    unsent: Vec<u8>,
    /// When what is on its way was sent.
    sent_at: VecDeque<Instant>,
    /// How much of the end of a message's headers has been read.
    matched: usize,
}

impl Connection {
    fn write(&mut self) -> anyhow::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads replies, which have no bodies; hands over how long each took.
    fn read(&mut self, mut took: impl FnMut(Duration)) -> anyhow::Result<()> {
        const END: &[u8; 4] = b"\r\n\r\n";
        let mut buffer = [0; 65_536];
        let len = match self.stream.read(&mut buffer) {
            Ok(0) => bail!("the device closed the connection"),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let now = Instant::now();
        for byte in &buffer[..len] {
            self.matched = match self.matched {
                n if *byte == END[n] => n + 1,
                _ => usize::from(*byte == END[0]),
            };
            if self.matched == END.len() {
                self.matched = 0;
                if let Some(at) = self.sent_at.pop_front() {
                    took(now - at);
                }
            }
        }
        Ok(())
    }
}

fn measure(connections: &mut [Connection], order: &Order) -> anyhow::Result<Outcome> {
    let request = request(order.size);
    let mut outcome = Outcome::default();
    let mut counts = vec![0; BUCKETS as usize];
    let mut answered = 0;
    let duration = Duration::from_secs_f64(order.seconds);
    let begin = Instant::now();
    let mut progress = begin;
    let mut in_time = None;
    loop {
        let elapsed = begin.elapsed();
        let is_over = elapsed >= duration;
        if is_over && in_time.is_none() {
            in_time = Some((answered, elapsed));
        }
        let on_their_way = outcome.sent - answered;
        if is_over && (on_their_way == 0 || progress.elapsed() >= PATIENCE) {
            break;
        }
        if !is_over {
            let room = room(order, &mut outcome, elapsed, on_their_way);
            for _ in 0..room.min(BURST) {
                let index = outcome.sent as usize % connections.len();
                let connection = &mut connections[index];
                connection.unsent.extend_from_slice(&request);
                connection.sent_at.push_back(Instant::now());
                outcome.sent += 1;
            }
        }
        let before = answered;
        for connection in &mut *connections {
            connection.write()?;
            connection.read(|took| {
                answered += 1;
                let took = took.as_nanos() as u64;
                outcome.longest = outcome.longest.max(took);
                counts[bench::bucket(took) as usize] += 1;
            })?;
        }
        if answered != before {
            progress = Instant::now();
        } else if order.rate == 0 || is_over {
            wait(connections)?;
        }
    }
    let (in_time, elapsed) = in_time.unwrap_or((answered, begin.elapsed()));
    outcome.returned = if order.rate == 0 { in_time } else { answered };
    outcome.lost = outcome.sent - answered;
    outcome.seconds = elapsed.as_secs_f64();
    outcome.latencies = (0..BUCKETS)
        .map(|index| (bench::shortest(index), counts[index as usize]))
        .filter(|(_, count)| *count > 0)
        .collect();
    Ok(outcome)
}

/// How many requests to send now.
fn room(order: &Order, outcome: &mut Outcome, elapsed: Duration, on_their_way: u64) -> u64 {
    if order.rate == 0 {
        return order.window.saturating_sub(on_their_way);
    }
    let due = (elapsed.as_secs_f64() * order.rate as f64) as u64;
    let room = due.saturating_sub(outcome.sent + outcome.held_back);
    let held_back = room.saturating_sub(bench::BURST);
    outcome.held_back += held_back;
    room - held_back
}

fn wait(connections: &[Connection]) -> anyhow::Result<()> {
    let mut fds: Vec<PollFd<'_>> = connections
        .iter()
        .map(|c| PollFd::new(c.stream.as_fd(), PollFlags::POLLIN))
        .collect();
    poll(&mut fds, PollTimeout::from(1u8))?;
    Ok(())
}

/// The request of the traffic by UDP, but that its Via says TCP.
fn request(size: usize) -> Vec<u8> {
    let message = message::request("OPTIONS", size, false, "");
    let text = String::from_utf8_lossy(&message.payload);
    text.replacen("SIP/2.0/UDP", "SIP/2.0/TCP", 1).into_bytes()
}
