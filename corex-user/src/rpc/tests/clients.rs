//! Real clients, and a place for their sockets.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use tokio::runtime::{Builder, Runtime};

/// A folder that is removed with this value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "corex-rpc-{}-{}",
            process::id(),
            LAST.fetch_add(1, Ordering::Relaxed)
        );
        let path = env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Serves on threads of its own, so that tests may block.
pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Runs a client, with what it reads from its standard input.
pub(crate) fn output(program: &str, args: &[&str], input: &str) -> Output {
    use std::io::Write as _;
    let mut child = Command::new("timeout")
        .arg("20")
        .arg(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_ne!(
        output.status.code(),
        Some(127),
        "{program} is not installed: apt-get install kamailio kamcli curl"
    );
    output
}

/// What a client prints.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = output(program, args, "");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    format!("{text}{errors}")
}
