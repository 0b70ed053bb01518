//! A process that stays root, for who doesn't: it has the files that only root can write or
//! read, such as pins and sockets' files that are to go when corex stops.
//!
//! It has no capabilities, starts no programs, opens no sockets, and does only what it was
//! started for, by names that it compares and by Landlock. What is asked of it is tried without
//! it first.

use std::{
    fs,
    io::{self, ErrorKind, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::{
            ffi::{OsStrExt as _, OsStringExt as _},
            fs::{FileTypeExt as _, OpenOptionsExt as _},
            net::UnixStream,
            process::CommandExt as _,
        },
    },
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use cap_std::{ambient_authority, fs::Dir};
use nix::sys::{
    signal::SigSet,
    socket::{MsgFlags, UnixAddr, sendto},
};

use super::{
    confine::{self, Reach},
    descriptors, privileges, syscalls,
};

/// The word on the command line that makes corex such a process.
pub const COMMAND: &str = "root-files";
/// Its name in lists of processes.
const NAME: &std::ffi::CStr = c"corex-root";
/// The longest path (PATH_MAX), and the largest content.
const MAX_PATH: u64 = 4096;
const MAX_CONTENT: u64 = 64 << 20;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What such a process does, all paths absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Kept {
    /// Files that it writes anew
    #[arg(long)]
    pub replace: Vec<PathBuf>,
    /// Files that it removes
    #[arg(long)]
    pub remove: Vec<PathBuf>,
    /// Folders that it removes, with what is below
    #[arg(long)]
    pub remove_below: Vec<PathBuf>,
    /// Folders that it writes files below
    #[arg(long)]
    pub write_below: Vec<PathBuf>,
    /// Folders that it reads files below
    #[arg(long)]
    pub read_below: Vec<PathBuf>,
    /// Folders that clients have their FIFOs and datagram sockets for replies in
    #[arg(long)]
    pub answer_below: Vec<PathBuf>,
    /// How many sockets it is handed, which it answers by
    #[arg(long, default_value_t = 0)]
    pub sockets: usize,
}

/// The process of this corex.
static PROCESS: OnceLock<Mutex<Process>> = OnceLock::new();
/// The sockets that it is to answer by.
static SOCKETS: Mutex<Vec<(PathBuf, OwnedFd)>> = Mutex::new(Vec::new());

struct Process {
    stream: UnixStream,
    /// The paths of sockets that it has, in order.
    sockets: Vec<PathBuf>,
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Job {
    Open,
    Replace,
    Remove,
    RemoveFolder,
    OpenFifo,
    Send,
}

impl Job {
    const ALL: [Job; 6] = [
        Job::Open,
        Job::Replace,
        Job::Remove,
        Job::RemoveFolder,
        Job::OpenFifo,
        Job::Send,
    ];
}

/// Has the process, which is to be started, answer by this datagram socket, too: only root may send
/// to a client's own that root made.
///
/// # Errors
/// When there can be no other descriptor of it.
pub fn answer_by(path: &Path, socket: BorrowedFd<'_>) -> io::Result<()> {
    if privileges::identity().is_some() && PROCESS.get().is_none() {
        let socket = socket.try_clone_to_owned()?;
        let mut sockets = SOCKETS.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.push((path.to_owned(), socket));
    }
    Ok(())
}

/// Starts the process, which lives as long as this one. To be called while there are privileges.
///
/// # Errors
/// When it can't be started.
pub fn start(kept: &Kept) -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_read_timeout(Some(PATIENCE))?;
    ours.set_write_timeout(Some(PATIENCE))?;
    let sockets = std::mem::take(&mut *SOCKETS.lock().unwrap_or_else(PoisonError::into_inner));
    let mut command = Command::new("/proc/self/exe");
    command.arg0("corex").arg(COMMAND);
    command.arg("--sockets").arg(sockets.len().to_string());
    for (option, paths) in [
        ("--replace", &kept.replace),
        ("--remove", &kept.remove),
        ("--remove-below", &kept.remove_below),
        ("--write-below", &kept.write_below),
        ("--read-below", &kept.read_below),
        ("--answer-below", &kept.answer_below),
    ] {
        for path in paths {
            command.arg(option).arg(std::path::absolute(path)?);
        }
    }
    command
        .env_clear()
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A terminal's Ctrl-C is not for it.
        .process_group(0)
        .spawn()?;
    let mut paths = Vec::new();
    for (path, socket) in sockets {
        descriptors::send_with(&ours, &[0], &[socket])?;
        paths.push(path);
    }
    // It is confined before anybody takes corex for ready.
    (&ours).read_exact(&mut [0])?;
    let _ = PROCESS.set(Mutex::new(Process {
        stream: ours,
        sockets: paths,
    }));
    Ok(())
}

/// What a file contains.
///
/// # Errors
/// When it can't be read.
pub fn read(path: &Path, open: impl FnOnce(&Path) -> io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
    open(path).or_else(|error| {
        let mut content = Vec::new();
        let file = opened(ask(error, Job::Open, path, &[])?)?;
        file.take(MAX_CONTENT).read_to_end(&mut content)?;
        Ok(content)
    })
}

/// Opens a file to read it.
///
/// # Errors
/// When it can't be opened.
pub fn open(path: &Path) -> io::Result<fs::File> {
    fs::File::open(path).or_else(|error| opened(ask(error, Job::Open, path, &[])?))
}

/// Writes a file, whole or not at all.
///
/// # Errors
/// When it can't be written.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let written = Dir::open_ambient_dir(parent, ambient_authority())
        .and_then(|folder| replace_in(&folder, Path::new(name), content, Until::Renamed));
    written.or_else(|error| ask(error, Job::Replace, path, content).map(drop))
}

/// The same below a folder: no symbolic link leads out of it.
///
/// # Errors
/// When it can't be written.
pub fn replace_below(root: &Path, folder: &Dir, path: &Path, content: &[u8]) -> io::Result<()> {
    replace_in(folder, path, content, Until::Stored)
        .or_else(|error| ask(error, Job::Replace, &root.join(path), content).map(drop))
}

/// Removes a file.
///
/// # Errors
/// When it can't be removed.
pub fn remove_file(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|error| ask(error, Job::Remove, path, &[]).map(drop))
}

/// Removes an empty folder.
///
/// # Errors
/// When it can't be removed.
pub fn remove_dir(path: &Path) -> io::Result<()> {
    fs::remove_dir(path).or_else(|error| ask(error, Job::RemoveFolder, path, &[]).map(drop))
}

/// Opens a client's FIFO for writing, without waiting.
///
/// # Errors
/// When it can't be opened: ENXIO where nobody reads it yet.
pub fn open_fifo(path: &Path) -> io::Result<fs::File> {
    open_own_fifo(path).or_else(|error| opened(ask(error, Job::OpenFifo, path, &[])?))
}

/// Sends to a client's datagram socket by the one at `own`, after that was refused with `error`.
///
/// # Errors
/// When it can't be sent.
pub fn send(error: io::Error, own: &Path, client: &Path, bytes: &[u8]) -> io::Result<()> {
    let number = PROCESS.get().and_then(|process| {
        let process = process.lock().unwrap_or_else(PoisonError::into_inner);
        process.sockets.iter().position(|path| path == own)
    });
    let Some(number) = number.and_then(|number| u8::try_from(number).ok()) else {
        return Err(error);
    };
    ask(error, Job::Send, client, &[&[number], bytes].concat()).map(drop)
}

fn open_own_fifo(path: &Path) -> io::Result<fs::File> {
    let file = fs::File::options()
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
        .open(path)?;
    if !file.metadata()?.file_type().is_fifo() {
        return Err(ErrorKind::InvalidInput.into());
    }
    Ok(file)
}

/// What comes back beside success: a descriptor, where one was asked for.
type Answer = Option<OwnedFd>;

fn opened(answer: Answer) -> io::Result<fs::File> {
    let fd = answer.ok_or(ErrorKind::InvalidData)?;
    Ok(fs::File::from(fd))
}

/// Asks the process, where there is one and `error` is that we may not.
fn ask(error: io::Error, job: Job, path: &Path, content: &[u8]) -> io::Result<Answer> {
    let Some(process) = PROCESS.get() else {
        return Err(error);
    };
    if error.kind() != ErrorKind::PermissionDenied {
        return Err(error);
    }
    let path = std::path::absolute(path)?;
    let mut process = process.lock().unwrap_or_else(PoisonError::into_inner);
    let (errno, fd) = exchange(&mut process.stream, job, &path, content)?;
    match errno {
        0 => Ok(fd),
        // Ours says as much as that of a process that nobody knows of.
        libc::EACCES => Err(error),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// One question and its answer: an error's number, or 0, and perhaps a descriptor. Where it fails there
/// is no other one, as the next would get an answer that is late.
fn exchange(
    stream: &mut UnixStream,
    job: Job,
    path: &Path,
    content: &[u8],
) -> io::Result<(i32, Answer)> {
    let mut errno = [0; 4];
    let outcome = stream
        .write_all(&[job as u8])
        .and_then(|()| put(stream, path.as_os_str().as_bytes()))
        .and_then(|()| put(stream, content))
        .and_then(|()| descriptors::receive_with(stream, &mut errno));
    if outcome.is_err() {
        let _ = stream.shutdown(Shutdown::Both);
    }
    let mut descriptors = outcome?;
    Ok((i32::from_le_bytes(errno), descriptors.pop()))
}

/// The process itself: serves what comes by standard input until it ends.
///
/// # Errors
/// When it can't be confined, or the other side doesn't keep to the protocol.
pub fn serve(kept: &Kept) -> io::Result<()> {
    // It ends with corex, and not before: a service manager sends SIGTERM to both.
    SigSet::all().thread_block()?;
    nix::sys::prctl::set_name(NAME)?;
    privileges::drop_all().map_err(io::Error::other)?;
    syscalls::forbid_programs().map_err(io::Error::other)?;
    syscalls::forbid_reaching_out().map_err(io::Error::other)?;
    confine::confine_to(&kept.reach()).map_err(io::Error::other)?;
    let mut stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut sockets = Vec::new();
    for _ in 0..kept.sockets {
        sockets.extend(descriptors::receive_with(&stream, &mut [0])?);
    }
    stream.write_all(&[0])?;
    loop {
        let mut job = [0];
        match stream.read(&mut job)? {
            0 => return Ok(()),
            _ => kept.answer(usize::from(job[0]), &mut stream, &sockets)?,
        }
    }
}

impl Kept {
    fn reach(&self) -> Reach {
        let parents = |paths: &[PathBuf]| -> Vec<PathBuf> {
            let parents = paths.iter().filter_map(|path| path.parent());
            parents.map(Path::to_owned).collect()
        };
        Reach {
            read: self.read_below.clone(),
            write: [
                parents(&self.replace),
                parents(&self.remove),
                parents(&self.remove_below),
                self.write_below.clone(),
                self.answer_below.clone(),
            ]
            .concat(),
        }
    }

    fn answer(&self, job: usize, stream: &mut UnixStream, sockets: &[OwnedFd]) -> io::Result<()> {
        let job = *Job::ALL.get(job).ok_or(ErrorKind::InvalidData)?;
        let path = PathBuf::from(std::ffi::OsString::from_vec(get(stream, MAX_PATH)?));
        let content = get(stream, MAX_CONTENT)?;
        let (errno, fd) = match self.work(job, &path, &content, sockets) {
            Ok(answer) => (0, answer),
            Err(error) => (error.raw_os_error().unwrap_or(libc::EACCES), None),
        };
        descriptors::send_with(stream, &errno.to_le_bytes(), fd.as_slice())
    }

    fn work(
        &self,
        job: Job,
        path: &Path,
        content: &[u8],
        sockets: &[OwnedFd],
    ) -> io::Result<Answer> {
        let refused = || io::Error::from_raw_os_error(libc::EACCES);
        let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        let below = |folders: &[PathBuf]| -> Option<PathBuf> {
            let mut folders = folders.iter();
            let folder = folders.find(|folder| {
                path.strip_prefix(folder)
                    .is_ok_and(|rest| rest.components().all(is_plain))
            })?;
            Some(folder.clone())
        };
        let named = |paths: &[PathBuf]| paths.iter().any(|named| named == path);
        match job {
            Job::Open => {
                below(&self.read_below).ok_or_else(refused)?;
                if !fs::metadata(path)?.is_file() {
                    return Err(refused());
                }
                return Ok(Some(fs::File::open(path)?.into()));
            }
            Job::Replace if named(&self.replace) => {
                let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
                    return Err(refused());
                };
                let folder = Dir::open_ambient_dir(folder, ambient_authority())?;
                replace_in(&folder, Path::new(name), content, Until::Renamed)?;
            }
            Job::Replace => {
                let root = below(&self.write_below).ok_or_else(refused)?;
                let inside = path.strip_prefix(&root).map_err(|_| refused())?;
                let folder = Dir::open_ambient_dir(&root, ambient_authority())?;
                replace_in(&folder, inside, content, Until::Stored)?;
            }
            Job::Remove if named(&self.remove) || below(&self.remove_below).is_some() => {
                fs::remove_file(path)?;
            }
            Job::RemoveFolder if below(&self.remove_below).is_some() => fs::remove_dir(path)?,
            Job::Remove | Job::RemoveFolder => return Err(refused()),
            Job::OpenFifo => {
                below(&self.answer_below).ok_or_else(refused)?;
                // Nothing but a FIFO: to open another thing may already do something.
                if !fs::symlink_metadata(path)?.file_type().is_fifo() {
                    return Err(refused());
                }
                return Ok(Some(open_own_fifo(path)?.into()));
            }
            Job::Send => {
                below(&self.answer_below).ok_or_else(refused)?;
                let (number, bytes) = content.split_first().ok_or_else(refused)?;
                let socket = sockets.get(usize::from(*number)).ok_or_else(refused)?;
                let client = UnixAddr::new(path)?;
                sendto(socket.as_raw_fd(), bytes, &client, MsgFlags::MSG_DONTWAIT)?;
            }
        }
        Ok(None)
    }
}

/// How long writing a file takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Until others see it.
    Renamed,
    /// Until it survives a power cut, too: that takes as long as the disk is busy with others' files.
    Stored,
}

/// Writes beside the file and then moves what is written there.
fn replace_in(folder: &Dir, path: &Path, content: &[u8], until: Until) -> io::Result<()> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(hidden);
    let written = folder
        .create(&temporary)
        .and_then(|mut file| {
            file.write_all(content)?;
            match until {
                Until::Renamed => Ok(()),
                Until::Stored => file.sync_all(),
            }
        })
        .and_then(|()| folder.rename(&temporary, folder, path));
    if written.is_err() {
        // It may never have come to be.
        let _ = folder.remove_file(&temporary);
    }
    written
}

fn put(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(&(bytes.len() as u64).to_le_bytes())?;
    stream.write_all(bytes)
}

fn get(stream: &mut impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut len = [0; 8];
    stream.read_exact(&mut len)?;
    let len = u64::from_le_bytes(len);
    if len > most {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    stream.take(len).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != len {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
