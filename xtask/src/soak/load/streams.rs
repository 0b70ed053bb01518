//! Connections by TCP: some that stay, many that come and go, well-behaved or not.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use corex_lab::topology::Relay;

use super::{Context, message};
use crate::random::Random;

/// How long anything may take; a link that is down is no reason for TCP to give up, and what was sent
/// meanwhile is sent again after some seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections that stay, through take-overs as well.
const KEPT: usize = 4;
/// Between two things that are done.
const EVERY: Duration = Duration::from_millis(200);

/// What is done with connections, until it is over.
///
/// # Errors
/// None: what goes wrong is noted.
pub fn run(context: &Context, mut random: Random) -> Result<()> {
    let (kept, passing) = (
        context.tally("OPTIONS on connections that stay"),
        context.tally("OPTIONS on connections of their own"),
    );
    let mut connections: Vec<Option<TcpStream>> = (0..KEPT).map(|_| None).collect();
    while !context.is_over() {
        let asked = Instant::now();
        if random.once_in(2) {
            let at = random.below(KEPT as u64) as usize;
            let outcome = ask_on(context, &mut connections[at], &mut random);
            if outcome.is_err() {
                connections[at] = None;
            }
            kept.note(
                &context.timeline,
                asked,
                outcome.map_err(|e| format!("{e:#}")),
            );
        } else {
            match random.below(5) {
                0 | 1 => {
                    let outcome = ask_on(context, &mut None, &mut random);
                    passing.note(
                        &context.timeline,
                        asked,
                        outcome.map_err(|e| format!("{e:#}")),
                    );
                }
                what => {
                    context.count_junk(1);
                    // Whatever becomes of it.
                    let _ = misbehave(context, what, &mut random);
                }
            }
        }
        context.pause(EVERY);
    }
    Ok(())
}

fn connect(context: &Context) -> Result<TcpStream> {
    let stream = context.lab.relay.uac.enter(|| {
        let corex = Relay::USER_SIDE.sip();
        Ok(TcpStream::connect_timeout(&corex, PATIENCE)?)
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Asks on a connection, which is made if there is none.
fn ask_on(context: &Context, place: &mut Option<TcpStream>, random: &mut Random) -> Result<()> {
    let mut stream = match place.take() {
        Some(stream) => stream,
        None => connect(context).context("connect")?,
    };
    let id = format!("{:016x}", random.next());
    let request = message::options("TCP", stream.local_addr()?, &id);
    stream.write_all(request.as_bytes()).context("write")?;
    let mut answer = Vec::new();
    let mut buffer = [0; 2048];
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut buffer).context("read")? {
            0 => bail!("closed before the answer"),
            len => answer.extend_from_slice(&buffer[..len]),
        }
    }
    if !message::is_answer(&answer, &id) {
        bail!("another answer: {}", String::from_utf8_lossy(&answer));
    }
    *place = Some(stream);
    Ok(())
}

/// Leaves without a word, in the middle of a message, or after what is no message.
fn misbehave(context: &Context, how: u64, random: &mut Random) -> Result<()> {
    let mut stream = connect(context)?;
    let request = message::options("TCP", stream.local_addr()?, "left");
    match how {
        2 => {}
        3 => {
            let part = random.below(request.len() as u64) as usize;
            stream.write_all(&request.as_bytes()[..part])?;
        }
        _ => {
            let junk: Vec<u8> = (0..random.between(1, 3000))
                .map(|_| random.next() as u8)
                .collect();
            stream.write_all(&junk)?;
        }
    }
    if random.once_in(2) {
        stream.shutdown(Shutdown::Both)?;
    }
    Ok(())
}
