//! What the machine is, and what is compared.

use std::{fs, process::Command, thread};

use corex_lab::process::output_of;

use crate::{bench::results::Machine, compile};

/// Describes this machine; what can't be found out is left empty.
pub fn describe() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let line = |command: &mut Command| {
        let said = output_of(command).unwrap_or_default();
        said.lines().next().unwrap_or_default().trim().to_owned()
    };
    let date = line(Command::new("date").args(["-u", "+%FT%TZ"]));
    let mut git = Command::new("git");
    git.current_dir(compile::workspace());
    Machine {
        date,
        commit: line(git.args(["describe", "--always", "--exclude=*", "--dirty=+"])),
        processor: processor(&read("/proc/cpuinfo")),
        cpus: thread::available_parallelism().map_or(1, usize::from),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        kamailio: version(&line(Command::new("kamailio").arg("-v"))),
        load: first_number(&read("/proc/loadavg")),
    }
}

fn processor(cpuinfo: &str) -> String {
    let name = cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    name.unwrap_or_default()
}

/// Of "version: kamailio 5.6.3 (x86_64/linux)".
fn version(line: &str) -> String {
    let mut words = line.split_whitespace();
    words.nth(2).unwrap_or_default().to_owned()
}

fn first_number(text: &str) -> f64 {
    let word = text.split_whitespace().next();
    word.and_then(|word| word.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_names_are_found() {
        assert_eq!(version("version: kamailio 5.6.3 (x86_64/linux) "), "5.6.3");
        assert_eq!(version(""), "");
        assert_eq!(processor("processor\t: 0\nmodel name\t: A B C\n"), "A B C");
        assert_eq!(first_number("0.52 0.58 0.59 1/467 12345\n"), 0.52);
    }
}
