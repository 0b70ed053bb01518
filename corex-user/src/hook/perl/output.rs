//! What a script prints: lines for the log.

use std::io::{PipeReader, Read as _};
use std::os::fd::AsFd as _;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::telemetry::line::Line;
use corex_script::limiter::Limiter;

/// A longer line is cut into several.
const MAX_LINE: usize = 8 << 10;

/// Read at a time.
const CHUNK: usize = 16 << 10;

/// What a pipe of the kernel holds.
const PIPE: usize = 64 << 10;

/// What Perl says before it ends for want of memory.
const OUT_OF_MEMORY: &[u8] = b"Out of memory";

/// The output of one process.
#[derive(Debug)]
pub(super) struct Output {
    pipe: Option<PipeReader>,
    line: Vec<u8>,
    /// Perl has said that it is out of memory.
    pub out_of_memory: bool,
}

impl Output {
    pub fn new(pipe: PipeReader) -> Output {
        Output {
            pipe: Some(pipe),
            line: Vec::new(),
            out_of_memory: false,
        }
    }

    /// What to wait for; `None` at the end.
    pub fn pipe(&self) -> Option<&PipeReader> {
        self.pipe.as_ref()
    }

    /// Reads some of what is there. Each whole line goes to the log as far as `limiter` allows.
    /// False if there was nothing.
    pub fn read(&mut self, worker: u32, limiter: &mut Limiter) -> bool {
        let Some(pipe) = &mut self.pipe else {
            return false;
        };
        let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        if !matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..)) {
            return false;
        }
        let mut buffer = [0; CHUNK];
        match pipe.read(&mut buffer) {
            Ok(0) | Err(_) => {
                self.pipe = None;
                self.end_line(worker, limiter);
            }
            Ok(read) => {
                for byte in buffer.iter().take(read) {
                    if *byte == b'\n' || self.line.len() == MAX_LINE {
                        self.end_line(worker, limiter);
                    }
                    if *byte != b'\n' {
                        self.line.push(*byte);
                    }
                }
            }
        }
        true
    }

    /// Reads the rest of a process that has ended. What it has started may still write: no more
    /// than a pipe holds is read.
    pub fn drain(&mut self, worker: u32, limiter: &mut Limiter) {
        for _ in 0..PIPE / CHUNK + 1 {
            if !self.read(worker, limiter) {
                break;
            }
        }
        self.end_line(worker, limiter);
    }

    fn end_line(&mut self, worker: u32, limiter: &mut Limiter) {
        if self.line.is_empty() {
            return;
        }
        self.out_of_memory |= self.line.starts_with(OUT_OF_MEMORY);
        if let Some(held_back) = limiter.allow() {
            tracing::info!(worker, held_back, "perl: {}", Line(&self.line));
        }
        self.line.clear();
    }
}
