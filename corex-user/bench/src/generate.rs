//! The load: requests at the rate at which they come back.
//!
//! A window of frames is on its way at any time; as replies are counted, as many more are
//! sent. So the figure is what the device sustains, and no device is drowned in packets that
//! it then spends its time dropping. What doesn't come back in time counts as lost.

use std::{net::SocketAddr, thread, time::Duration};

use anyhow::{Context as _, bail};
use aya::{
    Ebpf,
    maps::Array,
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp},
};
use corex_common::bench::{FIRST_PORT, LOAD, Load, PATIENCE, REQUEST_HEAD};
use corex_packet as packet;
use corex_packet::Envelope;
use corex_user::kernel::{interfaces::Interface, limits};

use crate::{ENDS, bare};

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
    /// Measured time in seconds
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Frames on their way at most
    #[arg(long, default_value_t = 512)]
    window: u64,
    /// Bytes of each request, at least
    #[arg(long, default_value_t = 380)]
    size: usize,
    /// CPU to send from
    #[arg(long, default_value_t = 0)]
    cpu: usize,
}

/// Frames that the kernel sends at once.
const BATCH: u32 = 64;
/// Turns of the program in a second, at the most.
const TURNS_A_SECOND: f64 = 12e6;
/// Seconds before the measurement: neighbours, caches, clocks.
const WARM_UP: f64 = 0.2;

fn mac(text: &str) -> Result<[u8; 6], String> {
    let bytes: Result<Vec<u8>, _> = text.split(':').map(|b| u8::from_str_radix(b, 16)).collect();
    bytes
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("{text:?} is no MAC"))
}

/// A request of `size` bytes or a little more.
fn request(size: usize) -> Vec<u8> {
    let mut text = format!(
        "{REQUEST_HEAD}0000@bench\r\n\
         Via: SIP/2.0/UDP {own}:{FIRST_PORT};branch=z9hG4bK-bench-1;rport\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:bench@{own}>;tag=bench\r\n\
         To: <sip:ping@{device}>\r\n\
         CSeq: 1 OPTIONS\r\n\
         Contact: <sip:bench@{own}>\r\n\
         User-Agent: bench",
        device = ENDS.device,
        own = ENDS.generator,
    );
    const END: &str = "\r\nContent-Length: 0\r\n\r\n";
    while text.len() + END.len() < size {
        text.push('u');
    }
    text.push_str(END);
    text.into_bytes()
}

/// Sends for the given time and prints `{"returned":…,"lost":…,"seconds":…}`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    limits::pin_thread(args.cpu);
    let mut ebpf = bare::object()?;
    bare::attach(&mut ebpf, "bench_sink", &args.interface)?;
    let program: &mut Xdp = ebpf
        .program_mut("bench_generate")
        .context("no generator")?
        .try_into()?;
    program.load()?;
    let payload = request(args.size);
    let envelope = Envelope {
        src_mac: args.own_mac,
        dst_mac: args.device_mac,
        src: SocketAddr::new(ENDS.generator.into(), FIRST_PORT),
        dst: SocketAddr::new(ENDS.device.into(), 5060),
        ttl: 64,
        identification: None,
        traffic_class: 0,
    };
    let mut frame = vec![0; payload.len() + packet::MAX_HEADERS_LEN];
    let len = packet::build_udp(&mut frame, &envelope, &payload)?;
    frame.truncate(len);

    let ifindex = Interface::by_name(&args.interface)?.index;
    let load = |seconds| Load {
        duration: Duration::from_secs_f64(seconds).as_nanos() as u64,
        window: args.window,
        ..Load::default()
    };
    measure(&mut ebpf, &frame, ifindex, load(WARM_UP))?;
    // What the warm-up still has on its way isn't ours to count.
    thread::sleep(Duration::from_nanos(PATIENCE));
    let load = measure(&mut ebpf, &frame, ifindex, load(args.seconds))?;
    let returned = load.returned - load.returned_before;
    if returned == 0 {
        bail!("nothing came back");
    }
    let seconds = (load.end - load.begin) as f64 / 1e9;
    println!(
        "{{\"returned\":{returned},\"lost\":{},\"seconds\":{seconds}}}",
        load.lost
    );
    Ok(())
}

fn measure(ebpf: &mut Ebpf, frame: &[u8], ifindex: u32, load: Load) -> anyhow::Result<Load> {
    let mut map: Array<_, Load> = ebpf.map_mut(LOAD).context("no map")?.try_into()?;
    map.set(0, load, 0)?;
    // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue, egress_ifindex.
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
    context[12..16].copy_from_slice(&ifindex.to_ne_bytes());
    // Longer than the measurement takes; the program stops sending by the clock.
    let turns = (TURNS_A_SECOND * load.duration as f64 / 1e9) as u32;
    loop {
        let program: &mut Xdp = ebpf
            .program_mut("bench_generate")
            .context("no generator")?
            .try_into()?;
        program.test_run(TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            repeat: turns,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        })?;
        let map: Array<_, Load> = ebpf.map(LOAD).context("no map")?.try_into()?;
        let load = map.get(&0, 0)?;
        if load.end != 0 {
            return Ok(load);
        }
    }
}
