//! Headers and checksums of a frame.

use std::{hint::black_box, net::SocketAddr};

use corex_packet::{self as packet, Envelope, Sum, UdpChecksum};
use criterion::{BenchmarkId, Criterion, Throughput};

use crate::INVITE;

fn envelope() -> Envelope {
    Envelope {
        src_mac: [2, 0, 0, 0, 0, 1],
        dst_mac: [2, 0, 0, 0, 0, 2],
        src: SocketAddr::from(([192, 0, 2, 1], 5060)),
        dst: SocketAddr::from(([192, 0, 2, 2], 5060)),
        ttl: 64,
        identification: None,
        traffic_class: 0,
    }
}

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksum");
    for len in [64usize, 380, 1400] {
        let data = vec![0xa5; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::from_parameter(len), &data, |bencher, data| {
            bencher.iter(|| Sum::of(black_box(data)));
        });
    }
    group.finish();

    let envelope = envelope();
    let mut frame = vec![0; INVITE.len() + packet::MAX_HEADERS_LEN];
    let len = packet::build_udp(&mut frame, &envelope, INVITE).expect("it fits");
    frame.truncate(len);
    let mut group = criterion.benchmark_group("packet");
    group.bench_function("parse and verify", |bencher| {
        bencher.iter(|| {
            let udp = packet::parse(black_box(&frame)).ok();
            udp.is_some_and(|udp| matches!(packet::verify_udp(&frame, &udp), UdpChecksum::Good(_)))
        });
    });
    let mut out = vec![0; frame.len()];
    group.bench_function("build", |bencher| {
        bencher.iter(|| packet::build_udp(black_box(&mut out), &envelope, INVITE).is_ok());
    });
    let udp = packet::parse(&frame).expect("a frame");
    let UdpChecksum::Good(sum) = packet::verify_udp(&frame, &udp) else {
        return;
    };
    group.bench_function("rewrite in place", |bencher| {
        bencher.iter(|| {
            let range = udp.payload_range();
            packet::rewrite_in_place(black_box(&mut frame), range, &envelope, Some(sum)).is_ok()
        });
    });
    group.finish();
}
