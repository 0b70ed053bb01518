//! How host names are looked up.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Times and bounds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsSettings {
    /// The least and the most that an address is used without asking again (`dns_cache_min_ttl`,
    /// `dns_cache_max_ttl`).
    pub min_ttl: Duration,
    /// See `min_ttl`.
    pub max_ttl: Duration,
    /// How long it is remembered that a name has no address (`dns_cache_negative_ttl`).
    pub negative_ttl: Duration,
    /// How much longer than its time an address is used when no name server answers
    /// (`dns_stale_ttl` of the module corex).
    pub stale_ttl: Duration,
    /// Names that are looked up at a time (`dns_max_lookups` of the module corex).
    pub max_lookups: usize,
    /// Of these, for one sender's messages (`dns_max_per_source` of the module corex).
    pub max_per_source: usize,
    /// Names with addresses that no name server is asked for (`dns_cache` of the module corex).
    pub records: Vec<(String, IpAddr)>,
    /// The files that some of them are from (`dns_file` of the module corex).
    pub files: Vec<PathBuf>,
}

impl Default for DnsSettings {
    fn default() -> Self {
        Self {
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(3600),
            negative_ttl: Duration::from_secs(10),
            // RFC 8767 §5 suggests one day to three.
            stale_ttl: Duration::from_secs(86_400),
            max_lookups: 256,
            max_per_source: 16,
            records: Vec::new(),
            files: Vec::new(),
        }
    }
}

impl DnsSettings {
    /// Lookups for names that had no address so far; the rest is for those that had one.
    pub fn max_new(&self) -> usize {
        (self.max_lookups - self.max_lookups / 4).max(1)
    }

    /// Of these, for names of one zone.
    pub fn max_per_zone(&self) -> usize {
        (self.max_new() / 4).max(1)
    }
}
