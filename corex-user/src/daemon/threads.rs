//! The threads of this process, as Kamailio's list of processes shows them.

use std::fs;

use super::runtime;

/// Threads of this process: id and name.
pub fn threads() -> Vec<(u32, String)> {
    let mut threads: Vec<(u32, String)> = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|task| {
            let id = task.file_name().to_string_lossy().parse().ok()?;
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            Some((id, name.trim().to_owned()))
        })
        .collect();
    // The main thread, the workers, the rest: Kamailio's first index is a worker's, too.
    let pid = std::process::id();
    let rank = |id: u32, name: &str| match name.strip_prefix("corex-w") {
        _ if id == pid => (0, 0),
        Some(worker) => (1, worker.parse().unwrap_or(u32::MAX)),
        None => (2, id),
    };
    threads.sort_unstable_by_key(|(id, name)| rank(*id, name));
    threads
}

/// What the thread of that name does, as the list of processes shows it.
pub fn describe(name: &str, is_main: bool) -> String {
    if is_main {
        return "main process - signals, next hops".to_owned();
    }
    match (name, name.strip_prefix("corex-w")) {
        (_, Some(worker)) => format!("worker {worker}"),
        (runtime::STREAMS, _) => "tcp receiver - streams and names".to_owned(),
        (runtime::CONTROL, _) => "remote control, HTTP".to_owned(),
        ("corex-log", _) => "writes the log".to_owned(),
        ("corex-files", _) => "reads and writes files for scripts".to_owned(),
        ("corex-hep", _) => "sends copies of messages to a collector".to_owned(),
        ("corex-loader", _) => "reads configurations".to_owned(),
        ("corex-nics", _) => "keeps the NICs attached".to_owned(),
        ("corex-perl", _) => "looks after Perl's processes".to_owned(),
        (name, _) => name.to_owned(),
    }
}
