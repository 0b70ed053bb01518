//! One reading of everything that must not grow.

use std::fs;

use anyhow::{Context as _, Result};
use corex_lab::ObservedBooks;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a running corex has at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Since the run began.
    pub seconds: f64,
    /// How many corexes ran before this one.
    pub generation: u32,
    /// Since this corex took over.
    pub age: f64,
    /// What the kernel says of its memory.
    pub memory: Memory,
    /// Bytes of the heap that are in use; 0 where corex doesn't know.
    pub heap: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
    /// Frames of packet memory, wherever they are: free, in rings, on their way.
    pub frames: u64,
    /// SIP connections by TCP, as the kernel has them.
    pub connections: u64,
    /// Entries of all tables that scripts share.
    pub entries: u64,
    /// Devices whose keys are known.
    pub sessions: u64,
    /// Messages that workers have got, of this corex.
    pub messages: u64,
    /// Of the programs that corex has started: Perl's.
    pub children: Memory,
}

/// Memory in KiB, as /proc/PID/smaps_rollup has it (proc_pid_smaps(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// What is resident.
    pub rss: u64,
    /// The same, with shared pages divided among those who have them.
    pub pss: u64,
    /// What belongs to no file: heap, stacks, what LuaJIT has.
    pub anonymous: u64,
}

impl Memory {
    fn parse(rollup: &str) -> Option<Memory> {
        let field = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Some(Memory {
            rss: field("Rss:")?,
            pss: field("Pss:")?,
            anonymous: field("Anonymous:")?,
        })
    }

    fn of(pid: u32) -> Result<Memory> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        Memory::parse(&text).with_context(|| format!("no memory in {path}"))
    }

    fn add(&mut self, other: Memory) {
        self.rss += other.rss;
        self.pss += other.pss;
        self.anonymous += other.anonymous;
    }
}

impl Sample {
    /// What the kernel knows of a process.
    ///
    /// # Errors
    /// There is none.
    pub fn of_process(pid: u32) -> Result<Sample> {
        let mut children = Memory::default();
        for child in descendants(pid) {
            // One that has just ended has no memory.
            children.add(Memory::of(child).unwrap_or_default());
        }
        let count = |folder: &str| -> Result<u64> {
            let path = format!("/proc/{pid}/{folder}");
            let entries = fs::read_dir(&path).with_context(|| format!("read {path}"))?;
            Ok(entries.count() as u64)
        };
        Ok(Sample {
            memory: Memory::of(pid)?,
            descriptors: count("fd")?,
            threads: count("task")?,
            children,
            ..Sample::default()
        })
    }

    /// Adds what corex says of itself.
    pub fn with(mut self, books: &ObservedBooks) -> Sample {
        self.frames = frames(&books.0);
        self.heap = books.get("heap.in_use");
        self.entries = entries(&books.0);
        self.sessions = books.get("keys.sessions");
        self.messages = received(books);
        self
    }
}

/// Messages that workers have got.
pub fn received(books: &ObservedBooks) -> u64 {
    ["steered", "socket_in", "stream_in"]
        .map(|road| books.get(&format!("user.{road}")))
        .iter()
        .sum()
}

fn sum(list: &Value, names: &[&str]) -> u64 {
    let lines = list.as_array().into_iter().flatten();
    lines
        .flat_map(|line| names.iter().filter_map(|name| line[*name].as_u64()))
        .sum()
}

/// Frames that no ring holds, and those in the four rings: where a frame isn't, it is lost.
fn frames(books: &Value) -> u64 {
    sum(&books["workers"], &["frames_free"])
        + sum(&books["queues"], &["rx_waiting", "fill", "tx_in_flight"])
}

fn entries(books: &Value) -> u64 {
    let tables = books["tables"].as_object().into_iter().flatten();
    tables
        .filter_map(|(_, table)| table["entries"].as_u64())
        .sum()
}

/// Processes that a process has started, and those that these have.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|c| c.parse().ok()) {
            found.push(child);
            found.extend(descendants(child));
        }
    }
    found
}

/// SIP connections in /proc/net/tcp (proc_net(5)): established (01), with this port on either side.
pub fn connections(table: &str, ports: &[u16]) -> u64 {
    let is_ours = |address: &str| {
        let port = address.rsplit_once(':');
        let port = port.and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        port.is_some_and(|port| ports.contains(&port))
    };
    let lines = table.lines().skip(1);
    let counted = lines.filter(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(3) == Some(&"01")
            && [1, 2]
                .iter()
                .any(|at| fields.get(*at).is_some_and(|a| is_ours(a)))
    });
    counted.count() as u64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn memory_is_read_by_the_fields_names() {
        let text = "5581-7ffe ---p 00000000 00:00 0    [rollup]\n\
                    Rss:   81888 kB\nPss:   80127 kB\nPss_Anon: 1 kB\nAnonymous:   61000 kB\n";
        let memory = Memory {
            rss: 81_888,
            pss: 80_127,
            anonymous: 61_000,
        };
        assert_eq!(Memory::parse(text), Some(memory));
        assert_eq!(Memory::parse("Rss: 1 kB\n"), None);
    }

    #[test]
    fn this_process_has_memory_descriptors_and_threads() {
        let sample = Sample::of_process(std::process::id()).unwrap();
        assert!(sample.memory.rss >= sample.memory.anonymous && sample.memory.anonymous > 0);
        assert!(sample.descriptors >= 3 && sample.threads >= 1, "{sample:?}");
    }

    #[test]
    fn a_frame_is_counted_wherever_it_is() {
        let books = ObservedBooks(json!({
            "workers": [{"frames_free": 1000}, {"frames_free": 10}],
            "queues": [
                {"rx_waiting": 1, "fill": 2047, "tx_in_flight": 3, "rx_ring_full": 99},
                {"rx_waiting": 0, "fill": 2048, "tx_in_flight": 0},
            ],
            "tables": {"calls": {"entries": 7, "bytes": 900}, "users": {"entries": 3}},
            "keys": {"sessions": 2},
            "heap": {"in_use": 5, "held": 8},
            "user": {"steered": 20, "socket_in": 3, "stream_in": 4, "sent": 27},
        }));
        let sample = Sample::default().with(&books);
        assert_eq!(sample.frames, 1010 + 2051 + 2048);
        assert_eq!((sample.entries, sample.sessions), (10, 2));
        assert_eq!((sample.heap, sample.messages), (5, 27));
    }

    #[test]
    fn established_connections_are_counted_by_port() {
        let line = |local: &str, remote: &str, state: &str| {
            format!("   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 0\n")
        };
        let table = String::from("  sl  local_address rem_address   st\n")
            + &line("0101000A:13C4", "00000000:0000", "0A")
            + &line("0101000A:13C4", "0201000A:D431", "01")
            + &line("0102000A:9C40", "0202000A:13C5", "01")
            + &line("0101000A:13C4", "0201000A:D432", "06")
            + &line("0100007F:24FE", "0100007F:D433", "01");
        assert_eq!(connections(&table, &[5060, 5061]), 2);
    }
}
