//! A guest that runs a program of tests and ends.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use corex_lab::{process::Process, wait};

use super::{
    image::Image,
    nics::{self, Outside},
};
use crate::{compile, ui};

/// Emulated, a test takes ten times as long.
const LIMIT: Duration = Duration::from_secs(1800);
const QEMU: &str = "qemu-system-x86_64";
/// MiB of memory.
const MEMORY: &str = "4096";

/// What it takes to start one.
pub struct Guest<'a> {
    /// What it boots.
    pub image: &'a Image,
    /// The corex that is tested.
    pub corex: &'a Path,
    /// Where scripts and logs go.
    pub folder: &'a Path,
    /// Where its NICs' cables go, if it has any.
    pub outside: Option<&'a Outside>,
}

/// What a guest said.
pub struct Ran {
    text: String,
    /// Where it is.
    pub log: PathBuf,
    /// The kernel's release.
    pub release: String,
}

impl Ran {
    /// Whether a test passed, by what the harness said.
    pub fn passed(&self, test: &str) -> bool {
        // What a test prints may stand between the two.
        let after = self.after(test);
        after.is_some_and(|after| after.lines().any(|line| line.trim_end().ends_with("ok")))
    }

    /// All from where the harness names a test to the next one.
    fn after(&self, test: &str) -> Option<&str> {
        let line = format!("test {test} ... ");
        let after = self.text.split(line.as_str()).nth(1)?;
        Some(after.split("\ntest ").next().unwrap_or(after))
    }

    /// Whether all tests passed, by what the program returned.
    pub fn all_passed(&self) -> bool {
        self.text.contains("GUEST END 0")
    }

    /// What a test said behind `word`, on a line of its own or behind the harness's.
    pub fn said(&self, test: &str, word: &str) -> Option<&str> {
        let after = self.after(test)?;
        after
            .lines()
            .find_map(|line| line.split_once(word).map(|(_, rest)| rest.trim()))
    }

    /// Its lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines()
    }
}

impl Guest<'_> {
    /// Runs tests of a program in a guest, and returns what they said. `name`: of the log.
    ///
    /// # Errors
    /// QEMU doesn't start, or the guest doesn't come to its end.
    pub fn run(&self, program: &Path, tests: &[&str], name: &str) -> Result<Ran> {
        let script = self.folder.join(format!("{name}.sh"));
        let exact = if tests.len() > 1 { " --exact" } else { "" };
        fs::write(
            &script,
            format!(
                "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root\n\
                 hostname guest; ip link set dev lo up\n\
                 echo 1 > /proc/sys/kernel/printk\n\
                 mount -t bpf bpf /sys/fs/bpf\n\
                 echo \"GUEST RELEASE $(uname -r)\"\n\
                 cd '{tests_folder}'\n\
                 COREX_BIN='{corex}' '{program}' --nocapture --include-ignored --test-threads=1{exact} {tests} 2>&1\n\
                 echo \"GUEST END $?\"\n\
                 echo o > /proc/sysrq-trigger\n\
                 sleep 10\n",
                tests_folder = compile::workspace().join("tests").display(),
                corex = self.corex.display(),
                program = program.display(),
                tests = tests.join(" "),
            ),
        )
        .with_context(|| format!("write {}", script.display()))?;
        let log = self.folder.join(format!("{name}.log"));
        let mut command = self.qemu();
        command
            .args([
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max",
                "-smp",
                "2",
                "-m",
                MEMORY,
            ])
            .args([
                "-nographic",
                "-nodefaults",
                "-no-reboot",
                "-serial",
                "stdio",
            ])
            .arg("-kernel")
            .arg(&self.image.kernel)
            .arg("-initrd")
            .arg(&self.image.initrd)
            .arg("-append")
            .arg(format!(
                "console=ttyS0 quiet panic=-1 guest_script={}",
                script.display()
            ))
            .args([
                "-virtfs",
                "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
            ])
            .stdin(Stdio::null());
        let guest = Process::spawn("qemu", command, &log)?;
        wait::until("the guest is done", LIMIT, || {
            if let Some(last) = guest
                .log()
                .lines()
                .rev()
                .find(|line| line.starts_with("test "))
            {
                ui::progress(last);
            }
            guest.status()
        })
        .with_context(|| format!("the guest's words are in {}", log.display()))?;
        ui::end_progress();
        let text = read(&log)?;
        let Some(release) = text
            .lines()
            .find_map(|line| Some(line.split_once("GUEST RELEASE ")?.1))
        else {
            bail!("the guest didn't start; its words are in {}", log.display());
        };
        if !text.contains("GUEST END ") {
            bail!(
                "the guest ended before its tests; its words are in {}",
                log.display()
            );
        }
        Ok(Ran {
            release: release.trim().to_owned(),
            text,
            log,
        })
    }
}

impl Guest<'_> {
    fn qemu(&self) -> Command {
        let Some(outside) = self.outside else {
            let mut command = Command::new(QEMU);
            command.args(["-nic", "none"]);
            return command;
        };
        let mut command = outside.namespace().command(QEMU);
        command.args(nics::arguments());
        command
    }
}

/// What came by the serial line.
fn read(log: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(
        &mut File::open(log).with_context(|| format!("open {}", log.display()))?,
        &mut bytes,
    )?;
    Ok(String::from_utf8_lossy(&bytes).replace('\r', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(text: &str) -> Ran {
        Ran {
            text: text.to_owned(),
            log: PathBuf::new(),
            release: String::new(),
        }
    }

    #[test]
    fn a_test_passed_where_the_harness_says_so_behind_what_it_printed() {
        let ran = ran("test a::b ... noise\nok\ntest a::c ... FAILED\ntest a::d ... ok\n");
        let passed = ["a::b", "a::c", "a::d", "a::e"].map(|test| ran.passed(test));
        assert_eq!(passed, [true, false, true, false]);
    }

    #[test]
    fn what_a_test_says_isnt_taken_for_another_ones() {
        let ran =
            ran("test a ... ROAD skb\nok\ntest b ... ok\ntest c ... noise\nROAD native\nok\n");
        let said = ["a", "b", "c", "d"].map(|test| ran.said(test, "ROAD "));
        assert_eq!(said, [Some("skb"), None, Some("native"), None]);
    }

    #[test]
    fn all_passed_only_if_the_program_returned_nothing_else() {
        assert!(ran("GUEST END 0\n").all_passed());
        assert!(!ran("GUEST END 101\n").all_passed());
        assert!(!ran("").all_passed());
    }
}
