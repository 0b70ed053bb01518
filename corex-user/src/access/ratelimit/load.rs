//! How busy the host is, as FEEDBACK and NETWORK ask: from files of /proc that are opened while corex may
//! still open files.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// The most bytes that are read of a file: sockets beyond aren't counted.
const MAX_READ: usize = 1 << 20;

/// Files of /proc, and what was read last.
#[derive(Debug, Default)]
pub struct LoadSource {
    stat: Option<File>,
    sockets: Vec<File>,
    /// Ports whose sockets count.
    ports: Vec<u16>,
    /// Busy and all ticks of the CPUs.
    last: Option<(u64, u64)>,
}

impl LoadSource {
    /// Opens the files. `ports`: those that corex listens on.
    pub fn open(ports: Vec<u16>) -> LoadSource {
        let open = |path: &str| File::open(path).ok();
        LoadSource {
            stat: open("/proc/stat"),
            sockets: ["/proc/net/udp", "/proc/net/udp6"]
                .into_iter()
                .filter_map(open)
                .collect(),
            ports,
            last: None,
        }
    }

    /// How busy the CPUs were since the last call, 0 to 1; `None` where nobody knows yet.
    pub fn cpu(&mut self) -> Option<f64> {
        let text = read(self.stat.as_ref()?)?;
        let (busy, all) = ticks(&text)?;
        let (last_busy, last_all) = self.last.replace((busy, all))?;
        let passed = all.checked_sub(last_all).filter(|passed| *passed > 0)?;
        let share = busy.saturating_sub(last_busy) as f64 / passed as f64;
        Some(share.clamp(0.0, 1.0))
    }

    /// Bytes that wait in UDP sockets of our ports.
    pub fn waiting(&self) -> u64 {
        let texts = self.sockets.iter().filter_map(read);
        texts.map(|text| queued(&text, &self.ports)).sum()
    }
}

fn read(file: &File) -> Option<String> {
    let mut bytes = Vec::new();
    let mut block = vec![0; 65_536];
    while bytes.len() < MAX_READ {
        let len = file.read_at(&mut block, bytes.len() as u64).ok()?;
        if len == 0 {
            break;
        }
        bytes.extend_from_slice(block.get(..len)?);
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Busy and all ticks of all CPUs (proc_stat(5)): idle is the fourth number; time of guests is in that
/// of users already.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find(|line| line.starts_with("cpu "))?;
    let numbers: Vec<u64> = line
        .split_ascii_whitespace()
        .skip(1)
        .take(8)
        .map_while(|number| number.parse().ok())
        .collect();
    let all: u64 = numbers.iter().sum();
    Some((all.saturating_sub(*numbers.get(3)?), all))
}

/// Bytes in the receive queues of sockets at these ports, of a table like /proc/net/udp: the second column
/// is `ADDRESS:PORT`, the fifth `tx_queue:rx_queue`, all in hex.
fn queued(table: &str, ports: &[u16]) -> u64 {
    let of_line = |line: &str| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let (_, port) = columns.next()?.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let (_, received) = columns.nth(2)?.split_once(':')?;
        let bytes = u64::from_str_radix(received, 16).ok()?;
        ports.contains(&port).then_some(bytes)
    };
    table.lines().skip(1).filter_map(of_line).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_read() {
        let stat = "cpu  10 5 5 70 4 3 2 1 9 9\ncpu0 1 1 1 1\n";
        assert_eq!(ticks(stat), Some((30, 100)));
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr\n\
            10: 0101000A:13C4 00000000:0000 07 00000000:00000300 00:0 0\n\
            11: 0101000A:13C4 00000000:0000 07 00000000:00000010 00:0 0\n\
            12: 0101000A:0035 00000000:0000 07 00000000:00000FFF 00:0 0\n";
        assert_eq!(queued(table, &[5060]), 0x310);
        assert_eq!(queued(table, &[]), 0);
        let mut source = LoadSource::open(vec![5060]);
        assert_eq!(source.cpu(), None, "nothing to compare with yet");
        assert!(source.stat.is_some());
        source.waiting();
    }
}
