//! Which capabilities the process lacks for XDP (capabilities(7)).

use std::fs;

/// A capability that XDP or AF_XDP needs: its name, number and what for.
const NEEDED: [(&str, u32, &str); 4] = [
    ("CAP_NET_ADMIN", 12, "attach to the interface"),
    ("CAP_NET_RAW", 13, "open AF_XDP sockets"),
    ("CAP_PERFMON", 38, "the verifier's full checks"),
    ("CAP_BPF", 39, "load programs and maps"),
];

/// The needed capabilities that are not in the effective set, each with its purpose; empty
/// when all are there. CAP_IPC_LOCK is not among them: without it RLIMIT_MEMLOCK bounds the
/// packet memory, and opening the sockets reports that.
pub fn missing() -> Vec<String> {
    let effective = effective();
    NEEDED
        .iter()
        .filter(|(_, number, _)| effective & (1 << number) == 0)
        .map(|(name, _, purpose)| format!("{name} ({purpose})"))
        .collect()
}

/// CapEff of /proc/self/status (proc(5)); none if that can't be read.
fn effective() -> u64 {
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|l| l.starts_with("CapEff:"))?;
            u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok()
        })
        .unwrap_or(0)
}
