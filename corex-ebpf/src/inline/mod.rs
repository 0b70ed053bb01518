//! Inline mode: a server that owns its address and knows nothing of corex. Its packets are led
//! through the workers by a veth pair for each NIC.
//!
//! In: XDP on the NIC → worker → `peer` end → TC there redirects to the NIC's ingress.
//! Out: TC on the NIC's egress redirects into the `peer` end → XDP on the `own` end → worker →
//! NIC. What no worker takes passes as it is, or is dropped, as `on_failure` says.

mod detour;
mod egress;
mod ingress;

use aya_ebpf::helpers::bpf_ktime_get_ns;
use corex_common::inline::Inline;

use crate::maps::{HEARTBEATS, INLINE, INTERFACES, QUEUES, XSKS};

/// What the programs are told.
#[inline(always)]
fn inline() -> Option<&'static Inline> {
    INLINE.get(0)
}

/// Whether somebody takes what is put into a queue.
enum Service {
    /// Slot of the AF_XDP socket.
    Ready(u32),
    /// No socket.
    None,
    /// A worker that shows no sign of life.
    Hung,
}

/// Who serves a queue of an interface.
#[inline(always)]
fn service(ifindex: u32, queue: u32, inline: &Inline) -> Service {
    // SAFETY: entries are replaced as a whole; see `steer::listener`.
    let Some(interface) = (unsafe { INTERFACES.get(&ifindex) }) else {
        return Service::None;
    };
    if queue >= interface.queues {
        return Service::None;
    }
    let slot = interface.first_slot + queue;
    if XSKS.get(slot).is_none() {
        return Service::None;
    }
    let Some(line) = QUEUES.get(slot) else {
        return Service::None;
    };
    let Some(beat) = HEARTBEATS.get(line.worker) else {
        return Service::None;
    };
    // SAFETY: no argument, no effect.
    let now = unsafe { bpf_ktime_get_ns() };
    if now.saturating_sub(*beat) > inline.watchdog_ns {
        return Service::Hung;
    }
    Service::Ready(slot)
}
