//! JSON-RPC over a FIFO: documents one after the other, replies into the client's own FIFO.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::answer::{Answered, answer};
use super::parse::{Piece, next_document};
use crate::kernel::root_files;
use crate::rpc::limits::Client;
use crate::rpc::service::Rpc;
use crate::rpc::socket_file::{self, SocketFile};
use corex_script::settings::control::Access;

/// Room for bytes to come.
const CHUNK: usize = 4096;
/// Replies that wait for their readers at a time; more are thrown away.
const AT_ONCE: usize = 32;
/// How often to look whether a client has opened its FIFO.
const LOOK: Duration = Duration::from_millis(20);

/// A FIFO that requests will be read from. It is made before privileges are given up and outside of the
/// runtime; its file goes with it.
#[derive(Debug)]
pub struct Fifo {
    pipe: File,
    file: SocketFile,
    replies: PathBuf,
}

impl Fifo {
    /// Makes the FIFO. Replies go to FIFOs that clients make in the folder `replies`.
    ///
    /// # Errors
    /// When the path can't be written or is taken by another kind of file, or there is no such
    /// user or group.
    pub fn make(path: &Path, access: &Access, replies: &Path) -> io::Result<Fifo> {
        let (pipe, file) = socket_file::fifo(path, access)?;
        Ok(Fifo {
            pipe,
            file,
            replies: replies.to_owned(),
        })
    }

    /// Goes on with the FIFO that another process hands over.
    ///
    /// # Errors
    /// When its file is gone, or there is no such user or group.
    pub fn adopt(path: &Path, access: &Access, replies: &Path, pipe: OwnedFd) -> io::Result<Fifo> {
        Ok(Fifo {
            pipe: pipe.into(),
            file: socket_file::adopt(path, access)?,
            replies: replies.to_owned(),
        })
    }

    /// Lets the file of a FIFO that was handed over go with this value.
    pub fn own_file(&mut self) {
        self.file.own();
    }

    /// Serves clients until it is dropped; within the runtime.
    ///
    /// # Errors
    /// When the FIFO can't be read.
    pub async fn serve(self, rpc: Arc<Rpc>, pretty: bool) -> io::Result<()> {
        let Fifo {
            pipe,
            file: _file,
            replies,
        } = self;
        let mut pipe = pipe::Receiver::from_file(pipe)?;
        let mut buffer = BytesMut::new();
        let mut tasks = JoinSet::new();
        // Half a document that nobody ends must not spoil the next one.
        let mut deadline = None;
        loop {
            buffer.reserve(CHUNK);
            let read = match deadline {
                None => pipe.read_buf(&mut buffer).await,
                Some(at) => match timeout_at(at, pipe.read_buf(&mut buffer)).await {
                    Ok(read) => read,
                    Err(_) => {
                        rpc.fronts.count(|counters| &counters.too_slow);
                        buffer.clear();
                        deadline = None;
                        continue;
                    }
                },
            };
            read?;
            while let Some(piece) = next_document(&buffer) {
                match piece {
                    Piece::Skip { length, is_junk } => {
                        deadline = None;
                        buffer.advance(length);
                        if is_junk {
                            rpc.fronts.count(|counters| &counters.malformed);
                        }
                    }
                    Piece::Document(length) if length <= rpc.limits.json_request => {
                        deadline = None;
                        let document = buffer.split_to(length);
                        take(&rpc, &replies, &document, pretty, &mut tasks).await;
                    }
                    Piece::Incomplete if buffer.len() <= rpc.limits.json_request => {
                        deadline.get_or_insert_with(|| Instant::now() + rpc.limits.request);
                        break;
                    }
                    Piece::Document(_) | Piece::Incomplete => {
                        rpc.fronts.count(|counters| &counters.malformed);
                        deadline = None;
                        buffer.clear();
                    }
                }
            }
        }
    }
}

impl AsFd for Fifo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Runs the requests of one document, and has the reply delivered.
async fn take(
    rpc: &Arc<Rpc>,
    replies: &Path,
    document: &[u8],
    pretty: bool,
    tasks: &mut JoinSet<()>,
) {
    while let Err(wait) = rpc.admit(&Client::Fifo) {
        sleep(wait).await;
    }
    let Answered {
        body: Some(body),
        reply_name: Some(name),
        ..
    } = answer(rpc, document, pretty).await
    else {
        return;
    };
    while tasks.try_join_next().is_some() {}
    if !is_plain(&name) || tasks.len() >= AT_ONCE {
        return rpc.fronts.count(|counters| &counters.undelivered);
    }
    let path = replies.join(name);
    let rpc = Arc::clone(rpc);
    tasks.spawn(async move {
        match timeout(rpc.limits.reply, deliver(&path, &body)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => rpc.fronts.count(|counters| &counters.undelivered),
            Err(_) => rpc.fronts.count(|counters| &counters.too_slow),
        }
    });
}

/// Whether a name stays within its folder.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

/// Writes to a client's FIFO, once it is open at the other end. Nothing but a FIFO is written
/// to, whatever the name is made to point at.
async fn deliver(path: &Path, body: &[u8]) -> io::Result<()> {
    loop {
        if !fs::symlink_metadata(path)?.file_type().is_fifo() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match root_files::open_fifo(path) {
            // The runtime looks whether it is a pipe once more.
            Ok(file) => return pipe::Sender::from_file(file)?.write_all(body).await,
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => sleep(LOOK).await,
            Err(error) => return Err(error),
        }
    }
}
