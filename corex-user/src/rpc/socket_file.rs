//! Socket files and FIFOs: made with their final permissions, removed by whoever made them.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown,
};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::{Group, User, mkfifo};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::kernel::root_files;
use corex_script::settings::control::Access;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 64;

/// A file that is removed with this value, unless another one took its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
    is_ours: bool,
}

impl SocketFile {
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the file go with this value.
    pub fn own(&mut self) {
        self.is_ours = true;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.is_ours {
            return;
        }
        let identity = fs::symlink_metadata(&self.path).map(|meta| (meta.dev(), meta.ino()));
        if identity.is_ok_and(|identity| identity == self.identity) {
            // A folder that is gone took the file with it.
            let _ = root_files::remove_file(&self.path);
        }
    }
}

/// Makes a stream socket and listens on it.
pub(super) fn listen(path: &Path, access: &Access) -> io::Result<(UnixListener, SocketFile)> {
    let (socket, file) = bind(path, Type::STREAM, access)?;
    socket.listen(BACKLOG)?;
    Ok((UnixListener::from(OwnedFd::from(socket)), file))
}

/// The file of a socket that another process hands over: it is [ours](SocketFile::own) later.
pub(super) fn adopt(path: &Path, access: &Access) -> io::Result<SocketFile> {
    let mut file = hand_over(path, owner(access)?, access)?;
    file.is_ours = false;
    Ok(file)
}

/// Makes a datagram socket.
pub(super) fn datagrams(path: &Path, access: &Access) -> io::Result<(UnixDatagram, SocketFile)> {
    let (socket, file) = bind(path, Type::DGRAM, access)?;
    Ok((UnixDatagram::from(OwnedFd::from(socket)), file))
}

/// Makes a FIFO and opens both its ends: the last client's end is not the end of it. One that is
/// there already is replaced.
pub(super) fn fifo(path: &Path, access: &Access) -> io::Result<(File, SocketFile)> {
    let owner = owner(access)?;
    make_folder(path)?;
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_fifo() => fs::remove_file(path)?,
        Ok(_) => return Err(in_the_way()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let pipe = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
        .open(path)?;
    Ok((pipe, hand_over(path, owner, access)?))
}

fn bind(path: &Path, kind: Type, access: &Access) -> io::Result<(Socket, SocketFile)> {
    let owner = owner(access)?;
    make_folder(path)?;
    remove_stale(path, kind)?;
    let socket = Socket::new(Domain::UNIX, kind.nonblocking(), None)?;
    // The file takes the permissions that the socket has: at no time is it open to others.
    let socket = File::from(OwnedFd::from(socket));
    socket.set_permissions(Permissions::from_mode(0o600))?;
    let socket = Socket::from(OwnedFd::from(socket));
    socket.bind(&SockAddr::unix(path)?)?;
    Ok((socket, hand_over(path, owner, access)?))
}

fn hand_over(
    path: &Path,
    (user, group): (Option<u32>, Option<u32>),
    access: &Access,
) -> io::Result<SocketFile> {
    let meta = fs::symlink_metadata(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: (meta.dev(), meta.ino()),
        is_ours: true,
    };
    if user.is_some() || group.is_some() {
        chown(path, user, group)?;
    }
    fs::set_permissions(path, Permissions::from_mode(access.mode & 0o777))?;
    Ok(file)
}

/// Makes the folder that the file will be in, if only that one is missing.
fn make_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.exists() => {
            fs::create_dir(folder)
        }
        _ => Ok(()),
    }
}

/// Removes what an instance that died left behind; one that lives keeps its socket.
fn remove_stale(path: &Path, kind: Type) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => {}
        Ok(_) => return Err(in_the_way()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let answer = if kind == Type::STREAM {
        UnixStream::connect(path).map(drop)
    } else {
        UnixDatagram::unbound().and_then(|socket| socket.connect(path))
    };
    match answer {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A listener whose queue is full, or a socket of the other type: somebody is there.
        _ => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process answers on this socket",
        )),
    }
}

fn in_the_way() -> io::Error {
    io::Error::new(
        io::ErrorKind::AlreadyExists,
        "there is a file of another kind in its place",
    )
}

/// The numbers of user and group.
fn owner(access: &Access) -> io::Result<(Option<u32>, Option<u32>)> {
    let unknown = |what: &str, name: &str| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no {what} `{name}`"),
        )
    };
    let user = match &access.user {
        None => None,
        Some(name) => Some(match name.parse() {
            Ok(number) => number,
            Err(_) => User::from_name(name)?
                .ok_or_else(|| unknown("user", name))?
                .uid
                .as_raw(),
        }),
    };
    let group = match &access.group {
        None => None,
        Some(name) => Some(match name.parse() {
            Ok(number) => number,
            Err(_) => Group::from_name(name)?
                .ok_or_else(|| unknown("group", name))?
                .gid
                .as_raw(),
        }),
    };
    Ok((user, group))
}
