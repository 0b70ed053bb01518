//! The maps, declared with BTF so that `bpftool map dump` prints names.
//! Their meaning stands in `corex_common::maps`.

use aya_ebpf::{
    btf_maps::{Array, HashMap, PerCpuArray, XskMap},
    macros::btf_map,
};
use corex_common::{
    counters::{KernelCounters, SocketCounters, WorkerCounters},
    maps::{
        Config, Interface, MAX_INTERFACES, MAX_QUEUES, MAX_SOCKETS, MAX_WORKERS, Queue,
        SocketEntry, SocketKey,
    },
};

/// uapi/linux/bpf.h: the map may be mapped into user space.
const BPF_F_MMAPABLE: usize = 1 << 10;

#[btf_map]
pub static SOCKETS: HashMap<SocketKey, SocketEntry, { MAX_SOCKETS as usize }> = HashMap::new();

#[btf_map]
pub static SOCKET_COUNTS: PerCpuArray<SocketCounters, { MAX_SOCKETS as usize }> =
    PerCpuArray::new();

#[btf_map]
pub static COUNTERS: PerCpuArray<KernelCounters, 1> = PerCpuArray::new();

#[btf_map]
pub static CONFIG: Array<Config, 1, BPF_F_MMAPABLE> = Array::new();

#[btf_map]
pub static INTERFACES: HashMap<u32, Interface, { MAX_INTERFACES as usize }> = HashMap::new();

#[btf_map]
pub static XSKS: XskMap<{ MAX_QUEUES as usize }> = XskMap::new();

#[btf_map]
pub static QUEUES: Array<Queue, { MAX_QUEUES as usize }> = Array::new();

#[btf_map]
pub static WORKERS: Array<WorkerCounters, { MAX_WORKERS as usize }, BPF_F_MMAPABLE> = Array::new();

/// This CPU's counters. `None` never happens; the verifier wants to see it handled.
#[inline(always)]
pub fn counters<'a>() -> Option<&'a mut KernelCounters> {
    // SAFETY: the slot belongs to this CPU, and an XDP program isn't preempted by another
    // run of itself on the same CPU.
    COUNTERS.get_ptr_mut(0).map(|p| unsafe { &mut *p })
}

/// This CPU's counters of one listen socket.
#[inline(always)]
pub fn socket_counters<'a>(id: u32) -> Option<&'a mut SocketCounters> {
    // SAFETY: as in `counters`.
    SOCKET_COUNTS.get_ptr_mut(id).map(|p| unsafe { &mut *p })
}
