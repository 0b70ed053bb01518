//! Process limits and CPU placement.

use std::time::Duration;

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::resource::{RLIM_INFINITY, Resource, setrlimit},
    unistd::Pid,
};

use super::sched;

/// Lifts RLIMIT_MEMLOCK, which bounds the packet memory of a process without CAP_IPC_LOCK.
/// What can't be lifted shows when the memory is registered, with its remedy.
pub fn raise_memlock() {
    if let Err(error) = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY) {
        tracing::debug!(%error, "RLIMIT_MEMLOCK stays as it is");
    }
}

/// The CPUs that this process may run on.
pub fn allowed_cpus() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else {
        return Vec::new();
    };
    (0..CpuSet::count())
        .filter(|cpu| set.is_set(*cpu).unwrap_or(false))
        .collect()
}

/// How long a thread that messages go through runs while another one waits for its CPU. By default
/// that is some milliseconds: as long waits whoever receives for it, or has a reply for it.
const SLICE: Duration = Duration::from_micros(200);

/// Has the scheduler take turns more often while the calling thread, and what it starts, isn't alone on
/// its CPU. Kernels before 6.12 don't know that.
pub fn shorten_slice() {
    if let Err(error) = sched::set_slice(SLICE) {
        tracing::debug!(%error, "the scheduler's slice stays as it is");
    }
}

/// Pins the calling thread to one CPU. A refusal costs speed, not correctness.
pub fn pin_thread(cpu: usize) {
    let mut set = CpuSet::new();
    let pinned = set
        .set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    if let Err(error) = pinned {
        tracing::debug!(cpu, %error, "not pinned");
    }
}
