//! corex's books, as it writes them with `--books`.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use corex_common::counters::{
    Counter, DetourCounters, EgressCounters, KernelCounters, Kind, WorkerCounters,
};
use serde_json::Value;

/// A snapshot of the counters. Read leniently: what isn't there is zero.
#[derive(Clone, Debug, Default)]
pub struct ObservedBooks(pub Value);

impl ObservedBooks {
    /// Reads the file.
    ///
    /// # Errors
    /// It isn't there, or isn't JSON.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("read the books from {}", path.display()))?;
        Ok(Self(serde_json::from_str(&text)?))
    }

    fn find(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(&self.0, |value, key| {
            let mut list = value.as_array().into_iter().flatten();
            let named = list.find(|entry| entry.get("name").is_some_and(|name| name == key));
            named.or_else(|| value.get(key))
        })
    }

    /// A counter, as in `kernel.steered`, `user.dropped.not_sip`, or `interfaces.eth0.queues`.
    pub fn get(&self, path: &str) -> u64 {
        self.find(path).and_then(Value::as_u64).unwrap_or(0)
    }

    /// A text, as in `engine`.
    pub fn text(&self, path: &str) -> &str {
        self.find(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// The counters of a group that aren't zero, as in `kernel.passed`.
    pub fn group(&self, path: &str) -> Vec<(String, u64)> {
        self.find(path)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), value.as_u64()?)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// The sum over a group.
    pub fn sum(&self, path: &str) -> u64 {
        self.group(path).iter().map(|(_, count)| count).sum()
    }

    /// Checks that every packet has exactly one verdict, in the kernel and in user space,
    /// and that what was handed over to be sent later has met its fate.
    ///
    /// # Errors
    /// A side doesn't balance; with the numbers.
    pub fn check_balance(&self) -> Result<()> {
        for (group, counters) in [
            ("kernel", &KernelCounters::ALL[..]),
            ("inline.egress", &EgressCounters::ALL),
            ("inline.detour", &DetourCounters::ALL),
        ] {
            let seen = self.sum_of(group, counters, Kind::Input);
            let decided = self.decided(group, counters);
            ensure!(
                seen == decided,
                "{group}: {seen} packets were seen and {decided} decided: {:#}",
                self.0
            );
        }
        let arrived =
            self.get("user.steered") + self.sum_of("user", &WorkerCounters::ALL, Kind::Input);
        let decided = self.decided("user", &WorkerCounters::ALL);
        ensure!(
            arrived == decided,
            "{arrived} messages arrived and {decided} were decided: {:#}",
            self.0
        );
        let queued = self.get("streams.queued");
        let handed_over = self.get("streams.handed_over");
        let settled = self.get("streams.delivered") + handed_over + self.sum("streams.dropped");
        ensure!(
            queued == settled,
            "{queued} messages were handed over and {settled} settled: {:#}",
            self.0
        );
        let copied = self.get("hep.copied");
        let settled = self.get("hep.exported") + self.sum("hep.dropped");
        ensure!(
            copied == settled,
            "{copied} messages were to be copied and {settled} settled: {:#}",
            self.0
        );
        Ok(())
    }

    /// The sum over those counters of a kind that stand in the group itself.
    fn sum_of(&self, group: &str, counters: &[Counter], kind: Kind) -> u64 {
        let of_kind = counters.iter().filter(|counter| counter.kind == kind);
        of_kind
            .map(|counter| self.get(&format!("{group}.{}", counter.name)))
            .sum()
    }

    /// The sum over the verdicts: those without a reason by their names, those with one as corex
    /// wrote them, whatever their reasons are.
    fn decided(&self, group: &str, counters: &[Counter]) -> u64 {
        self.sum_of(group, counters, Kind::Verdict)
            + self.sum(&format!("{group}.passed"))
            + self.sum(&format!("{group}.dropped"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn books() -> ObservedBooks {
        ObservedBooks(json!({
            "engine": "xdp",
            "kernel": {"seen": 10, "steered": 6, "passed": {"not_udp": 3, "fragment": 0}, "dropped": {"probe": 1}},
            "user": {"steered": 6, "socket_in": 2, "sent": 7, "dropped": {"not_sip": 1}},
        }))
    }

    #[test]
    fn counters_are_found_by_path_and_absent_ones_are_zero() {
        let books = books();
        assert_eq!(books.get("kernel.passed.not_udp"), 3);
        assert_eq!(books.get("kernel.nothing.like.it"), 0);
        assert_eq!(books.text("engine"), "xdp");
        assert_eq!(books.group("kernel.passed"), [("not_udp".to_owned(), 3)]);
    }

    #[test]
    fn a_packet_without_a_verdict_upsets_the_balance() {
        assert!(books().check_balance().is_ok());
        for path in [["kernel", "seen"], ["user", "sent"]] {
            let mut books = books();
            books.0[path[0]][path[1]] = json!(99);
            assert!(books.check_balance().is_err(), "{path:?}");
        }
    }

    #[test]
    fn books_without_a_kernel_side_balance_by_the_user_side_alone() {
        let books = ObservedBooks(json!({
            "kernel": null,
            "user": {"steered": 0, "socket_in": 2, "sent": 2},
        }));
        assert!(books.check_balance().is_ok());
    }
}
