//! What corex holds in memory: what `corex.shm_status` and its like show and log.

use std::sync::atomic::Ordering;

use super::engine::PacketEngine;
use crate::{
    kernel::heap::HeapUse,
    pipeline::PipelineContext,
    rpc::daemon::{MemoryReport, Process, SharedMemory},
};
use corex_xdp::RING_SIZE;

/// Bytes that all workers share: maps, packet memory, values.
pub fn total(context: &PipelineContext, engine: &PacketEngine) -> SharedMemory {
    let maps: u64 = engine.maps().iter().map(|map| map.memory).sum();
    let values: u64 = parts(context).iter().map(|(_, bytes)| bytes).sum();
    let used = maps + engine.packet_memory() + values;
    SharedMemory {
        // It grows as it is needed: there is no pool with a free part.
        total: used,
        free: 0,
        used,
        real_used: used,
        max_used: used,
        fragments: 0,
    }
}

/// Logs what holds them.
pub fn log_shared(context: &PipelineContext, engine: &PacketEngine, report: MemoryReport) {
    let maps = engine.maps();
    if report == MemoryReport::Status {
        for map in &maps {
            tracing::info!(
                kind = %map.kind,
                key_size = map.key_size,
                value_size = map.value_size,
                entries = map.entries,
                max_entries = map.max_entries,
                bytes = map.memory,
                "shm: map {}",
                map.name
            );
        }
        for (name, bytes) in parts(context) {
            tracing::info!(bytes, "shm: {name}");
        }
        let (names, _) = context.outbox.cache_size();
        tracing::info!(names, "shm: names in the DNS cache");
        if engine.is_xdp() {
            tracing::info!(
                areas = engine.links().len(),
                bytes = engine.packet_memory(),
                "shm: packet memory"
            );
        }
        for line in engine.queue_lines() {
            tracing::info!(
                interface = %line.interface,
                queue = line.queue,
                entries = RING_SIZE,
                "shm: four rings"
            );
        }
    }
    let values: u64 = parts(context).iter().map(|(_, bytes)| bytes).sum();
    tracing::info!(
        maps = maps.iter().map(|map| map.memory).sum::<u64>(),
        packet_memory = engine.packet_memory(),
        values,
        "shm: all, in bytes"
    );
}

/// Has a worker log what it holds; of any other thread there is less to say.
pub fn log_worker(engine: &PacketEngine, process: &Process) {
    let worker = process.description.strip_prefix("worker ");
    let worker = worker.and_then(|id| id.parse::<usize>().ok());
    match worker.and_then(|id| engine.links().get(id)) {
        Some(link) => link.wants_memory.store(true, Ordering::Relaxed),
        None => {
            let heap = HeapUse::of_this_thread();
            tracing::info!(
                in_use = heap.in_use(),
                peak = heap.peak,
                allocations = heap.allocations,
                "pkg: heap of the thread that answers, in bytes; only workers have more to say"
            );
        }
    }
}

/// Bytes that values take, by what holds them.
fn parts(context: &PipelineContext) -> Vec<(String, u64)> {
    let program = &context.config.program;
    let mut parts = vec![(
        "$shv()".to_owned(),
        program.tables.values.used().bytes as u64,
    )];
    for (name, table) in &program.tables.by_name {
        parts.push((format!("htable {name}"), table.used().bytes as u64));
    }
    parts.push(("constants".to_owned(), program.pool.len() as u64));
    parts.push(("aliases".to_owned(), context.aliases.bytes() as u64));
    let (_, bytes) = context.outbox.cache_size();
    parts.push(("DNS cache".to_owned(), bytes as u64));
    parts
}
