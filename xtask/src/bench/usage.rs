//! CPU time, of processes and of a CPU.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

/// The time that the threads of a process and of its children have run so far.
///
/// # Errors
/// There is no such process, or the kernel doesn't count it (CONFIG_SCHED_INFO).
pub fn of_process(pid: u32) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    let folder = format!("/proc/{pid}/task");
    for task in fs::read_dir(&folder).with_context(|| folder.clone())? {
        let task = task?.path();
        // A thread that has ended since has nothing any more.
        if let Ok(text) = fs::read_to_string(task.join("schedstat")) {
            sum += ran(&text).context("/proc/PID/task/TID/schedstat")?;
        }
        let children = fs::read_to_string(task.join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            sum += of_process(child.parse()?).unwrap_or_default();
        }
    }
    Ok(sum)
}

/// The first number of schedstat: nanoseconds on a CPU (Documentation/scheduler/sched-stats.rst).
fn ran(schedstat: &str) -> Option<Duration> {
    let nanoseconds = schedstat.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// The time that a CPU has been busy so far; to 10 ms.
///
/// # Errors
/// There is no such CPU.
pub fn of_cpu(cpu: &str) -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat")?;
    busy(&text, cpu).with_context(|| format!("no CPU {cpu} in /proc/stat"))
}

/// proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal, in hundredths of a second.
fn busy(stat: &str, cpu: &str) -> Option<Duration> {
    let name = format!("cpu{cpu}");
    let mut words = stat
        .lines()
        .map(str::split_whitespace)
        .find_map(|mut words| (words.next()? == name).then_some(words))?;
    let mut ticks = [0u64; 7];
    for tick in &mut ticks {
        *tick = words.next()?.parse().ok()?;
    }
    let [user, nice, system, _idle, _iowait, irq, softirq] = ticks;
    Some(Duration::from_millis(
        (user + nice + system + irq + softirq) * 10,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_is_busy_when_it_is_not_idle() {
        let stat = "cpu  9 9 9 9 9 9 9 9\ncpu0 1 1 1 1 1 1 1 1\ncpu1 10 20 30 1000 500 1 2 99\n";
        assert_eq!(busy(stat, "1"), Some(Duration::from_millis(630)));
        assert_eq!(busy(stat, "2"), None);
    }

    #[test]
    fn a_thread_ran_for_the_first_number() {
        assert_eq!(ran("298045 7 1\n"), Some(Duration::from_nanos(298_045)));
        assert_eq!(ran(""), None);
    }

    #[test]
    fn this_process_has_run() {
        assert!(of_process(std::process::id()).unwrap() > Duration::ZERO);
    }
}
