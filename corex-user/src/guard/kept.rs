//! The lists' entries that the configuration doesn't have, as lines of a file: `guard_file`.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use corex_common::{
    guard::{
        Listed, Network,
        lists::{BLOCKED, BY_BPFTOOL, BY_CONFIG, BY_OFFENCES, BY_RPC, BY_SCRIPT, STEALTHY},
    },
    ip::{PROTOCOL_TCP, PROTOCOL_UDP},
};
use corex_script::settings::guard::{GuardMistake, network};

use super::Which;

/// The first line of the file.
pub const HEADER: &str = "# What guard.save wrote: entries of the guard's lists that aren't in the \
                          configuration.\n";

/// An entry as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The list.
    pub which: Which,
    /// Whom it is for.
    pub network: Network,
    /// [`Listed::action`].
    pub action: u32,
    /// [`Listed::origin`].
    pub origin: u32,
    /// When it expires, in seconds since 1970.
    pub until: Option<u64>,
    /// [`Listed::hits`].
    pub hits: u64,
    /// When it was found last, in seconds since 1970; 0: never.
    pub seen: u64,
}

/// Names of [`Listed::origin`].
pub const ORIGINS: [(&str, u32); 5] = [
    ("bpftool", BY_BPFTOOL),
    ("config", BY_CONFIG),
    ("rpc", BY_RPC),
    ("script", BY_SCRIPT),
    ("offences", BY_OFFENCES),
];

/// The name of an origin.
pub fn origin_name(origin: u32) -> &'static str {
    let found = ORIGINS.iter().find(|(_, number)| *number == origin);
    found.map_or("bpftool", |(name, _)| name)
}

/// A network as it is written.
pub fn text(network: &Network) -> String {
    let mut text = format!("{}/{}", network.addr, network.len);
    match network.proto {
        0 => {}
        PROTOCOL_UDP => text.push_str("; udp"),
        PROTOCOL_TCP => text.push_str("; tcp"),
        other => {
            let _ = write!(text, "; {other}");
        }
    }
    if network.port != 0 {
        let _ = write!(text, "; {}", network.port);
    }
    text
}

/// Two clocks read at once: what the programs go by, and what people do.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// Nanoseconds of CLOCK_MONOTONIC.
    pub monotonic: u64,
    /// Since 1970.
    pub wall: Duration,
}

impl Clocks {
    /// As they are now.
    pub fn now() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            monotonic: crate::kernel::guard::now(),
            wall: wall.unwrap_or_default(),
        }
    }

    /// A time of CLOCK_MONOTONIC in seconds since 1970.
    pub fn wall_of(&self, at: u64) -> u64 {
        let wall = self.wall.as_nanos() as u64;
        (wall.saturating_add(at)).saturating_sub(self.monotonic) / 1_000_000_000
    }

    /// The other way round; at least 1, since 0 is never.
    pub fn monotonic_of(&self, seconds: u64) -> u64 {
        let at = u128::from(seconds) * 1_000_000_000 + u128::from(self.monotonic);
        u64::try_from(at.saturating_sub(self.wall.as_nanos()))
            .unwrap_or(u64::MAX)
            .max(1)
    }
}

impl Kept {
    /// What is kept of an entry.
    pub fn of(which: Which, network: Network, listed: &Listed, clocks: &Clocks) -> Self {
        Self {
            which,
            network,
            action: listed.action,
            origin: listed.origin,
            until: (listed.expires != 0).then(|| clocks.wall_of(listed.expires)),
            hits: listed.hits,
            seen: match listed.last_seen {
                0 => 0,
                seen => clocks.wall_of(seen),
            },
        }
    }

    /// The entry.
    pub fn listed(&self, clocks: &Clocks) -> Listed {
        Listed {
            expires: self.until.map_or(0, |until| clocks.monotonic_of(until)),
            hits: self.hits,
            last_seen: match self.seen {
                0 => 0,
                seen => clocks.monotonic_of(seen),
            },
            action: self.action,
            origin: self.origin,
        }
    }

    /// Its line, without the line break.
    pub fn line(&self) -> String {
        let list = match (self.which, self.action) {
            (Which::Allow, _) => "allow",
            (Which::Block, STEALTHY) => "stealth",
            (Which::Block, _) => "block",
            (Which::Trust, _) => "trust",
        };
        let mut line = format!("{list} by={}", origin_name(self.origin));
        for (name, number) in [("hits", self.hits), ("seen", self.seen)] {
            if number != 0 {
                let _ = write!(line, " {name}={number}");
            }
        }
        if let Some(until) = self.until {
            let _ = write!(line, " until={until}");
        }
        let _ = write!(line, " {}", text(&self.network));
        line
    }
}

/// Reads a line; `None`: it is none.
pub fn line(line: &str) -> Option<Kept> {
    parse(line).ok()
}

/// Reads a line: a list's name, then what is known of the entry, then the network.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(line: &str) -> Result<Kept, GuardMistake> {
    let mut at = line.len() - line.trim_start().len();
    let mut word = || {
        let rest = line.get(at..).unwrap_or_default();
        let start = at + rest.len() - rest.trim_start().len();
        let rest = line.get(start..).unwrap_or_default();
        let end = start + rest.find(' ').unwrap_or(rest.len());
        let word = line.get(start..end).unwrap_or_default();
        at = end;
        (start..end, word)
    };
    let (span, list) = word();
    let (which, action) = match list {
        "allow" => (Which::Allow, BLOCKED),
        "block" => (Which::Block, BLOCKED),
        "stealth" => (Which::Block, STEALTHY),
        other => {
            return Err(GuardMistake {
                part: span,
                what: format!("`{other}` is none of allow, block and stealth"),
            });
        }
    };
    let (mut origin, mut hits, mut seen, mut until) = (BY_RPC, 0, 0, None);
    loop {
        let (span, word) = word();
        let wrong = || GuardMistake {
            part: span.clone(),
            what: format!("`{word}` has no meaning here"),
        };
        let Some((name, value)) = word.split_once('=') else {
            let rest = line.get(span.start..).unwrap_or_default();
            let network = network(rest).map_err(|mistake| GuardMistake {
                part: span.start + mistake.part.start..span.start + mistake.part.end,
                what: mistake.what,
            })?;
            return Ok(Kept {
                which,
                network,
                action,
                origin,
                until,
                hits,
                seen,
            });
        };
        if name == "by" {
            let found = ORIGINS.iter().find(|(name, _)| *name == value);
            (_, origin) = *found.ok_or_else(wrong)?;
            continue;
        }
        let number: u64 = value.parse().map_err(|_| wrong())?;
        match name {
            "hits" => hits = number,
            "seen" => seen = number,
            "until" => until = Some(number),
            _ => return Err(wrong()),
        }
    }
}

#[cfg(test)]
#[path = "tests/kept.rs"]
mod tests;
