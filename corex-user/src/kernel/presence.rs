//! Whether programs are still where they were attached: anybody with the privilege can take them
//! off, and the kernel tells nobody.

use std::io;

use aya::programs::tc::TcHandle;
use futures_util::TryStreamExt as _;
use rtnetlink::Handle;

use super::{bpf_call, host::read_link};

/// Places for TCX programs (include/uapi/linux/bpf.h).
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;

/// A place that has one of our programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The interface's index.
    pub index: u32,
    /// Where there.
    pub hook: Hook,
}

/// Where a program is at an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// XDP: the program with this id.
    Xdp(u32),
    /// TCX: the program with this id, on egress or ingress.
    Tcx {
        /// The kernel's number of the program.
        program: u32,
        /// On egress; else on ingress.
        egress: bool,
    },
    /// A filter of the clsact qdisc.
    Filter {
        /// Of two of the same protocol the lower one is asked first.
        priority: u16,
        /// Its name among those of this priority.
        handle: TcHandle,
        /// On egress; else on ingress.
        egress: bool,
    },
}

/// Whether the program is there. `None`: the kernel doesn't say, or there is no such interface.
pub async fn is_there(handle: &Handle, place: Place) -> Option<bool> {
    match place.hook {
        Hook::Xdp(program) => {
            let link = read_link(handle, place.index).await.ok()??;
            Some(link.programs.contains(&program))
        }
        Hook::Tcx { program, egress } => {
            let side = if egress {
                BPF_TCX_EGRESS
            } else {
                BPF_TCX_INGRESS
            };
            match bpf_call::attached_to(place.index, side) {
                Ok(programs) => Some(programs.contains(&program)),
                // So it says of a place that has had none yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Some(false),
                Err(_) => None,
            }
        }
        Hook::Filter {
            priority,
            handle: name,
            egress,
        } => {
            let filters = handle
                .traffic_filter(i32::try_from(place.index).ok()?)
                .get();
            let mut filters = if egress {
                filters.egress().execute()
            } else {
                filters.ingress().execute()
            };
            let name = u32::from(name);
            // tc_msg's `info` is priority and protocol.
            while let Some(filter) = filters.try_next().await.ok()? {
                let found = u32::from(filter.header.handle);
                if filter.header.info >> 16 == u32::from(priority) && found == name {
                    return Some(true);
                }
            }
            Some(false)
        }
    }
}
