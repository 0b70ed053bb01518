//! The limits: what a reflector in XDP does, and what AF_XDP does with no proxy around it.

use std::{os::fd::AsFd as _, os::fd::AsRawFd as _, thread};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::XskMap,
    programs::{Xdp, xdp::XdpMode},
};
use corex_packet as packet;
use corex_packet::Envelope;
use corex_user::kernel::{interfaces::Interface, limits};
use corex_xdp::Umem;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::TICK;

/// The benchmark's programs.
pub fn object() -> anyhow::Result<Ebpf> {
    let bytes = aya::include_bytes_aligned!(env!("BENCH_OBJECT"));
    Ok(Ebpf::load(bytes)?)
}

/// Attaches one of them natively.
pub fn attach(ebpf: &mut Ebpf, program: &str, interface: &str) -> anyhow::Result<()> {
    let program: &mut Xdp = ebpf
        .program_mut(program)
        .with_context(|| format!("no program {program}"))?
        .try_into()?;
    program.load()?;
    program.attach(interface, XdpMode::Driver)?;
    Ok(())
}

/// Reflects in the driver, until killed.
pub fn reflect(interface: &str) -> anyhow::Result<()> {
    let mut ebpf = object()?;
    attach(&mut ebpf, "bench_reflect", interface)?;
    println!("ready:");
    loop {
        thread::sleep(TICK);
    }
}

/// Receives by AF_XDP, verifies, rewrites the headers in place, transmits; until killed.
pub fn af_xdp(interface: &str) -> anyhow::Result<()> {
    const FRAMES: u32 = 4096;
    const BATCH: usize = 64;
    limits::raise_memlock();
    let mut ebpf = object()?;
    attach(&mut ebpf, "bench_steer", interface)?;
    let index = Interface::by_name(interface)?.index;
    let (umem, mut pool) = Umem::new(FRAMES, 2048)?;
    let mut queues = corex_xdp::open(&umem, &mut pool, &[(index, 0)], true, 0)?;
    let queue = queues.first_mut().context("no queue")?;
    let mut xsks: XskMap<_> = ebpf.map_mut("XSKS").context("no XSKS")?.try_into()?;
    xsks.set(0, queue.as_raw_fd(), 0)?;
    println!("ready:");
    loop {
        let mut busy = false;
        for _ in 0..BATCH {
            let Some(mut frame) = queue.receive(&umem) else {
                break;
            };
            busy = true;
            let bytes = umem.packet_mut(&mut frame);
            let Ok(datagram) = packet::parse(bytes) else {
                queue.refill(&umem, &mut pool, frame);
                continue;
            };
            let sum = match packet::verify_udp(bytes, &datagram) {
                packet::UdpChecksum::Good(sum) => Some(sum),
                _ => None,
            };
            let mac = |at: usize| <[u8; 6]>::try_from(&bytes[at..at + 6]);
            let envelope = Envelope {
                src_mac: mac(0)?,
                dst_mac: mac(6)?,
                src: datagram.dst,
                dst: datagram.src,
                ttl: 64,
                identification: None,
                traffic_class: datagram.traffic_class,
            };
            packet::rewrite_in_place(bytes, datagram.payload_range(), &envelope, sum)?;
            if let Err(frame) = queue.transmit(&umem, frame) {
                queue.refill(&umem, &mut pool, frame);
            }
        }
        queue.release_received();
        queue.flush_transmit(&umem, |_| ());
        queue.complete(&umem, &mut pool);
        queue.submit_fill(&umem, &mut pool, 512);
        if !busy {
            let mut fds = [PollFd::new(queue.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::try_from(TICK)?)?;
        }
    }
}
