//! The load by UDP: a window of messages on their way, as many more as come back; or a rate.
//!
//! With a window, the figure is what the device sustains, and no device is drowned in packets
//! that it then spends its time dropping. With a rate, what doesn't come back is what the rate
//! loses, and how long the others take is measured. The kernel runs the generator, in
//! corex-ebpf/src/bench.rs.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use aya::{
    Ebpf,
    maps::Array,
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp},
};
use corex_common::bench::{
    self, BUCKETS, EXTREMES, Extremes, FIRST_PORT, FRAME_LEN, LATENCIES, LOAD, Load, MAX_TEMPLATES,
    PATIENCE, RETURNED, TEMPLATES, Template,
};
use corex_packet as packet;
use corex_packet::Envelope;
use corex_user::kernel::{interfaces::Interface, limits};

use crate::{
    ENDS, PORT, bare,
    message::{self, Message},
    protocol::{Order, Outcome},
    serve::serve,
};

/// `generate`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Interface to send from
    interface: String,
    /// MAC of the device
    #[arg(value_parser = mac)]
    device_mac: [u8; 6],
    /// MAC of the interface
    #[arg(value_parser = mac)]
    own_mac: [u8; 6],
    /// CPU to send from
    #[arg(long, default_value_t = 0)]
    cpu: usize,
}

/// Frames that the kernel sends at once: many where the most is asked for, few where each is to
/// leave when it is due.
const BATCH: u32 = 64;
const PACED_BATCH: u32 = 16;
/// Turns of the program in a second, before that is known.
const TURNS_A_SECOND: f64 = 3e6;
/// As many more turns than the measurement is likely to take: entering the kernel once more is a
/// gap in what is sent, and turns that are left over take time.
const MORE_TURNS: f64 = 1.15;
/// What is still on its way is waited for no longer than this.
const DRAIN: Duration = Duration::from_secs(2);

fn mac(text: &str) -> Result<[u8; 6], String> {
    let bytes: Result<Vec<u8>, _> = text.split(':').map(|b| u8::from_str_radix(b, 16)).collect();
    bytes
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("{text:?} is no MAC"))
}

/// Serves orders.
pub fn run(args: &Args) -> anyhow::Result<()> {
    limits::pin_thread(args.cpu);
    let mut ebpf = bare::object()?;
    bare::attach(&mut ebpf, "bench_sink", &args.interface)?;
    let program: &mut Xdp = ebpf
        .program_mut("bench_generate")
        .context("no generator")?
        .try_into()?;
    program.load()?;
    let ifindex = Interface::by_name(&args.interface)?.index;
    let mut pace = Pace::default();
    serve(|order| measure(&mut ebpf, args, ifindex, &mut pace, order))
}

/// Turns of the program in a second, with a window and at a rate.
#[derive(Clone, Copy, Debug)]
struct Pace {
    window: f64,
    rate: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            window: TURNS_A_SECOND,
            rate: TURNS_A_SECOND,
        }
    }
}

impl Pace {
    fn of(&mut self, load: &Load) -> &mut f64 {
        match load.rate {
            0 => &mut self.window,
            _ => &mut self.rate,
        }
    }
}

/// What the program is to send.
fn templates(args: &Args, order: &Order) -> anyhow::Result<Vec<Template>> {
    let messages = message::messages(order.traffic, order.size);
    ensure!(
        messages.len() <= MAX_TEMPLATES as usize,
        "more messages than templates"
    );
    messages.iter().map(|m| template(args, m)).collect()
}

fn template(args: &Args, message: &Message) -> anyhow::Result<Template> {
    let (src, dst) = ENDS.of(message.is_ipv6);
    let envelope = Envelope {
        src_mac: args.own_mac,
        dst_mac: args.device_mac,
        src: SocketAddr::new(src, FIRST_PORT),
        dst: SocketAddr::new(dst, PORT),
        ttl: 64,
        identification: None,
        traffic_class: 0,
    };
    let mut frame = [0; FRAME_LEN];
    let len = packet::build_udp(&mut frame, &envelope, &message.payload)
        .context("a message that fits no frame")?;
    let is_answered = u16::from(message.is_answered);
    Ok(Template {
        len: len as u32,
        answered: is_answered,
        numbered: is_answered,
        frame,
    })
}

/// Packets that have come back since the start.
fn returned(ebpf: &Ebpf) -> anyhow::Result<u64> {
    let map: Array<_, u64> = ebpf.map(RETURNED).context("no map")?.try_into()?;
    let mut sum = 0;
    for count in map.iter() {
        sum += count?;
    }
    Ok(sum)
}

fn measure(
    ebpf: &mut Ebpf,
    args: &Args,
    ifindex: u32,
    pace: &mut Pace,
    order: &Order,
) -> anyhow::Result<Outcome> {
    let templates = templates(args, order)?;
    let mut map: Array<_, Template> = ebpf.map_mut(TEMPLATES).context("no map")?.try_into()?;
    for (index, template) in templates.iter().enumerate() {
        map.set(index as u32, template, 0)?;
    }
    let mut map: Array<_, u64> = ebpf.map_mut(LATENCIES).context("no map")?.try_into()?;
    for index in 0..BUCKETS {
        map.set(index, 0, 0)?;
    }
    let mut map: Array<_, Extremes> = ebpf.map_mut(EXTREMES).context("no map")?.try_into()?;
    map.set(0, Extremes::default(), 0)?;
    let longest = templates.iter().max_by_key(|template| template.len);
    let longest = longest.context("nothing to send")?;
    let load = Load {
        duration: Duration::from_secs_f64(order.seconds).as_nanos() as u64,
        window: order.window,
        rate: order.rate,
        templates: templates.len() as u64,
        room: u64::from(longest.len),
        peers: order.peers,
        ..Load::default()
    };
    let frame = &longest.frame[..longest.len as usize];
    let load = send(ebpf, frame, ifindex, *pace.of(&load), load)?;
    *pace.of(&load) = load.turns as f64 * 1e9 / (load.end - load.begin).max(1) as f64;
    let in_time = load.returned - load.returned_before;
    let after = drain(ebpf, &load)?;
    let map: Array<_, Extremes> = ebpf.map(EXTREMES).context("no map")?.try_into()?;
    let extremes = map.get(&0, 0)?;
    let map: Array<_, u64> = ebpf.map(LATENCIES).context("no map")?.try_into()?;
    let mut latencies = Vec::new();
    for index in 0..BUCKETS {
        match map.get(&index, 0)? {
            0 => (),
            count => latencies.push((bench::shortest(index), count)),
        }
    }
    Ok(Outcome {
        sent: load.sent,
        unanswered: load.unanswered,
        held_back: load.held_back,
        // With a window the rate is that of what came back while it was kept full.
        returned: if order.rate == 0 { in_time } else { after },
        lost: load.sent.saturating_sub(after),
        seconds: (load.end - load.begin) as f64 / 1e9,
        by_order: extremes.by_order,
        longest: extremes.longest,
        latencies,
    })
}

/// Waits for what is still on its way; returns how many came back in all.
fn drain(ebpf: &Ebpf, load: &Load) -> anyhow::Result<u64> {
    let begin = Instant::now();
    let mut seen = (returned(ebpf)?, Instant::now());
    loop {
        thread::sleep(Duration::from_millis(1));
        let now = returned(ebpf)?;
        if now != seen.0 {
            seen = (now, Instant::now());
        }
        let is_complete = now - load.returned_before >= load.sent;
        let is_quiet = seen.1.elapsed() >= Duration::from_nanos(PATIENCE);
        if is_complete || is_quiet || begin.elapsed() >= DRAIN {
            return Ok(now - load.returned_before);
        }
    }
}

/// Has the kernel run the generator until its time is up.
fn send(
    ebpf: &mut Ebpf,
    frame: &[u8],
    ifindex: u32,
    pace: f64,
    load: Load,
) -> anyhow::Result<Load> {
    let mut map: Array<_, Load> = ebpf.map_mut(LOAD).context("no map")?.try_into()?;
    map.set(0, load, 0)?;
    // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue, egress_ifindex.
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
    context[12..16].copy_from_slice(&ifindex.to_ne_bytes());
    // The program stops sending by the clock.
    let turns = (pace * MORE_TURNS * load.duration as f64 / 1e9) as u32;
    let batch = if load.rate == 0 { BATCH } else { PACED_BATCH };
    loop {
        let program: &mut Xdp = ebpf
            .program_mut("bench_generate")
            .context("no generator")?
            .try_into()?;
        program.test_run(TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            repeat: turns.max(batch),
            attrs: TestRunAttrs::new().xdp_live_frames(batch),
            ..TestRunOptions::new()
        })?;
        let map: Array<_, Load> = ebpf.map(LOAD).context("no map")?.try_into()?;
        let load = map.get(&0, 0)?;
        if load.end != 0 {
            return Ok(load);
        }
    }
}
