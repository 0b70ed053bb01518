//! What an eBPF map takes, by the kernel's own accounting.

use std::{
    fs,
    os::fd::{AsRawFd as _, BorrowedFd},
};

/// A map and what it takes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MapUse {
    /// Its name.
    pub name: String,
    /// Its type, as bpftool calls it; a number where it has no name here.
    pub kind: String,
    /// Bytes of a key.
    pub key_size: u64,
    /// Bytes of a value.
    pub value_size: u64,
    /// The most entries.
    pub max_entries: u64,
    /// Entries in use: an array's are always.
    pub entries: u64,
    /// Bytes of memory that the kernel charges for it.
    pub memory: u64,
}

/// Reads what the kernel tells of a map's descriptor (Documentation/bpf: /proc/PID/fdinfo).
/// `entries` is what the caller counted, where it could. Zero where the kernel tells nothing.
pub fn map_use(name: &str, fd: BorrowedFd<'_>, entries: Option<u64>) -> MapUse {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let text = fs::read_to_string(path).unwrap_or_default();
    let number = |field: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let value = line.and_then(|line| line.strip_prefix(':'));
        value
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(0)
    };
    let max_entries = number("max_entries");
    MapUse {
        name: name.to_owned(),
        kind: match number("map_type") {
            1 => "hash".to_owned(),
            2 => "array".to_owned(),
            6 => "percpu_array".to_owned(),
            9 => "lru_hash".to_owned(),
            17 => "xskmap".to_owned(),
            27 => "ringbuf".to_owned(),
            other => other.to_string(),
        },
        key_size: number("key_size"),
        value_size: number("value_size"),
        max_entries,
        entries: entries.unwrap_or(max_entries),
        memory: number("memlock"),
    }
}
