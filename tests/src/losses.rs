//! What the kernel lost beside corex, where nobody else could count it.

use std::{fmt, fs};

use anyhow::Result;

use crate::namespace::Namespace;

/// What the kernels of some hosts say that they lost.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelLosses {
    /// Datagrams for a port that nobody had.
    pub no_ports: u64,
    /// Datagrams for which a socket had no room, or that were damaged.
    pub in_errors: u64,
    /// Frames that a link didn't take, as where the ring between the ends of a veth pair is full.
    pub refused_by_links: u64,
}

impl KernelLosses {
    /// Up to now.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn of(hosts: &[&Namespace]) -> Result<Self> {
        let mut all = Self::default();
        for host in hosts {
            let snmp = host.enter(|| Ok(fs::read_to_string("/proc/thread-self/net/snmp")?))?;
            all.no_ports += udp(&snmp, "NoPorts");
            all.in_errors += udp(&snmp, "InErrors");
            let links = host.ip("-s -json link show")?;
            let links: Vec<serde_json::Value> = serde_json::from_str(&links)?;
            let refused = links.iter().map(|link| &link["stats64"]["tx"]["dropped"]);
            all.refused_by_links += refused.filter_map(serde_json::Value::as_u64).sum::<u64>();
        }
        Ok(all)
    }

    /// What was lost since then.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            no_ports: self.no_ports.saturating_sub(before.no_ports),
            in_errors: self.in_errors.saturating_sub(before.in_errors),
            refused_by_links: self
                .refused_by_links
                .saturating_sub(before.refused_by_links),
        }
    }

    /// All of it.
    pub fn sum(&self) -> u64 {
        self.no_ports + self.in_errors + self.refused_by_links
    }
}

impl fmt::Display for KernelLosses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            no_ports,
            in_errors,
            refused_by_links,
        } = self;
        write!(f, "the kernel lost {no_ports} for want of a socket")?;
        write!(f, ", {in_errors} for want of room in one")?;
        write!(f, ", {refused_by_links} on links")
    }
}

/// A counter of the lines `Udp:` in /proc/net/snmp: names, and then values.
fn udp(snmp: &str, name: &str) -> u64 {
    let mut lines = snmp.lines().filter(|line| line.starts_with("Udp:"));
    let (names, values) = (lines.next(), lines.next());
    let words = |line: Option<&str>| -> Vec<String> {
        let words = line.unwrap_or_default().split_whitespace();
        words.map(str::to_owned).collect()
    };
    let mut pairs = words(names).into_iter().zip(words(values));
    let value = pairs.find_map(|(of, value)| (of == name).then_some(value));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_name() {
        let snmp = "Ip: Forwarding\nIp: 1\nUdp: InDatagrams NoPorts InErrors\nUdp: 7 3 1\n\
                    UdpLite: InDatagrams NoPorts\nUdpLite: 9 9\n";
        let of = |name| udp(snmp, name);
        assert_eq!((of("NoPorts"), of("InErrors"), of("Else")), (3, 1, 0));
    }
}
