//! The kernel side as user space sees it: the eBPF object, its maps, the interfaces it is
//! attached to, and the kernel's route and neighbour tables.

pub mod attach;
mod bpf_call;
pub mod capabilities;
pub mod confine;
pub mod cpu_counters;
pub mod datagrams;
pub mod descriptors;
mod extack;
pub mod guard;
pub mod heap;
pub mod host;
pub mod identity;
pub mod inline;
pub mod interfaces;
pub mod knobs;
pub mod limits;
pub mod map_use;
pub mod maps_document;
pub mod memory;
pub mod object;
pub mod offload;
pub mod overload;
pub mod pins;
pub mod poll_set;
pub mod presence;
pub mod privileges;
pub mod reverse_paths;
pub mod roads;
pub mod root_files;
pub mod routes;
pub mod sockopt;
pub mod stacking;
pub mod syscalls;
pub mod worker_counters;
pub mod xdp_link;
mod xdp_owner;
