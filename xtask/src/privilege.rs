//! What this process may do.

use std::fs;

use anyhow::{Result, bail};
use corex_lab::sys;

/// What `corex run` needs for XDP and AF_XDP: capability and its number (capabilities(7)).
/// CAP_IPC_LOCK is for packet memory beyond RLIMIT_MEMLOCK.
const XDP_CAPABILITIES: [(&str, u32); 5] = [
    ("CAP_NET_ADMIN", 12),
    ("CAP_NET_RAW", 13),
    ("CAP_IPC_LOCK", 14),
    ("CAP_PERFMON", 38),
    ("CAP_BPF", 39),
];

/// Whether this is root.
pub fn is_root() -> bool {
    sys::effective_uid() == 0
}

/// Checks for root; `what` begins the sentence that says why.
///
/// # Errors
/// Not root.
pub fn require_root(what: &str) -> Result<()> {
    if !is_root() {
        bail!(
            "{what} needs root: run it as root, or with sudo -E env \"PATH=$PATH\" cargo xtask …"
        );
    }
    Ok(())
}

/// Checks that XDP programs can be loaded and attached.
///
/// # Errors
/// The capabilities that are missing.
pub fn require_xdp_capabilities() -> Result<()> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let missing = missing(&status);
    if !missing.is_empty() {
        bail!(
            "XDP needs root, or capabilities that this process doesn't have: {}",
            missing.join(", ")
        );
    }
    Ok(())
}

/// The capabilities missing from the effective set in a /proc/PID/status.
fn missing(status: &str) -> Vec<&'static str> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    XDP_CAPABILITIES
        .iter()
        .filter(|(_, number)| effective & (1 << number) == 0)
        .map(|(name, _)| *name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_misses_nothing_and_a_plain_user_everything() {
        assert!(missing("Name:\tx\nCapEff:\t000001ffffffffff\n").is_empty());
        assert_eq!(missing("CapEff:\t0000000000000000\n").len(), 5);
    }

    #[test]
    fn a_single_missing_capability_is_named() {
        let all_but_perfmon = 0x1ff_ffff_ffffu64 & !(1 << 38);
        assert_eq!(
            missing(&format!("CapEff:\t{all_but_perfmon:016x}\n")),
            ["CAP_PERFMON"]
        );
    }
}
