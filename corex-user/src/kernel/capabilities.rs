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

/// Whether a map can be written through its descriptor only with CAP_BPF: before Linux 5.19
/// kernel.unprivileged_bpf_disabled, which distributions set, withheld that too (c8644cd0efe7).
pub fn maps_need_bpf() -> bool {
    let read = |name| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    read("unprivileged_bpf_disabled").trim() != "0" && is_older(&read("osrelease"), (5, 19))
}

/// Whether a kernel's release, as in `6.1.0-18-amd64`, is older than that version. One that can't
/// be read is.
fn is_older(release: &str, than: (u32, u32)) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|number| number.parse().ok());
    let version = numbers.next().zip(numbers.next());
    version.is_none_or(|version| version < than)
}

/// Whether this process may become another user, of another group.
pub fn can_change_user() -> bool {
    // CAP_SETGID and CAP_SETUID.
    const NEEDED: u64 = 1 << 6 | 1 << 7;
    effective() & NEEDED == NEEDED
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        for (release, older) in [
            ("5.10.0-30-amd64\n", true),
            ("5.18.19", true),
            ("5.19.0-rc1", false),
            ("6.1.0", false),
            ("6.18\n", false),
            ("", true),
        ] {
            assert_eq!(is_older(release, (5, 19)), older, "{release}");
        }
    }
}
