//! The system calls that `std` lacks; all unsafe code of the laboratory.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read as _},
    mem,
    os::{
        fd::{AsRawFd, FromRawFd as _, OwnedFd, RawFd},
        unix::{ffi::OsStrExt as _, net::UnixStream, process::CommandExt as _},
    },
    path::Path,
    process::{Child, Command, ExitStatus},
    ptr,
    sync::atomic::{AtomicI32, Ordering},
};

/// Signals that end a program, and that a person or a service manager sends.
const ENDING: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Moves the calling thread into the network namespace behind `file` (setns(2)).
///
/// # Errors
/// What the kernel says.
pub fn enter_network_namespace(file: &File) -> io::Result<()> {
    // SAFETY: setns takes a descriptor, which `file` keeps open, and no pointer.
    checked(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// Gives the command's process a process group of its own, and SIGKILL should the thread
/// that spawned it end (prctl(2), PR_SET_PDEATHSIG).
pub fn tie_to_parent(command: &mut Command) {
    command.process_group(0);
    // SAFETY: between fork and exec only prctl is called, which is async-signal-safe and
    // touches no memory of ours.
    unsafe {
        command.pre_exec(|| {
            checked(libc::prctl(
                libc::PR_SET_PDEATHSIG,
                libc::SIGKILL as libc::c_ulong,
            ))
            .map(drop)
        });
    }
}

/// Sends a signal to a process.
///
/// # Errors
/// What the kernel says: `ESRCH` when there is no such process.
pub fn kill(pid: u32, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: kill has no memory effects here.
    checked(unsafe { libc::kill(pid as libc::pid_t, signal) }).map(drop)
}

/// Sends a signal to a process group.
///
/// # Errors
/// As [`kill`].
pub fn kill_group(leader: u32, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: as in `kill`; a negative number means the group.
    checked(unsafe { libc::kill(-(leader as libc::pid_t), signal) }).map(drop)
}

/// Lets the kernel or the NIC cut what a socket sends into datagrams of `size` bytes (udp(7),
/// UDP_SEGMENT).
///
/// # Errors
/// What the kernel says.
pub fn set_udp_segment(socket: &std::net::UdpSocket, size: u16) -> io::Result<()> {
    let size = libc::c_int::from(size);
    // SAFETY: the option is an integer, which lives through the call.
    checked(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            ptr::from_ref(&size).cast(),
            mem::size_of_val(&size) as libc::socklen_t,
        )
    })
    .map(drop)
}

/// The kernel's version, as in (6, 1).
pub fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split('.')
        .map_while(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// How TC programs can be attached by this kernel, as `corex run --tc` has it: TCX from Linux 6.6 on.
pub fn tc_choices() -> &'static [&'static str] {
    if kernel() >= (6, 6) {
        &["tcx", "clsact"]
    } else {
        &["clsact"]
    }
}

/// Bytes that this process may still write on the file system of `path` (statvfs(3)).
///
/// # Errors
/// What the kernel says, e.g. that there is no such path.
pub fn space_left(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all-zero bytes are a valid statvfs; only integers are in it.
    let mut file_system: libc::statvfs = unsafe { mem::zeroed() };
    // SAFETY: both point to what is alive during the call; the path ends with NUL.
    checked(unsafe { libc::statvfs(path.as_ptr(), &mut file_system) })?;
    Ok(file_system.f_bavail.saturating_mul(file_system.f_frsize))
}

/// The effective user id of this process (geteuid(2)); 0 is root.
pub fn effective_uid() -> u32 {
    // SAFETY: geteuid always succeeds and touches no memory.
    unsafe { libc::geteuid() }
}

/// The write end of the pipe that [`on_signal`] tells about a signal.
static SIGNAL_PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_signal(signal: libc::c_int) {
    let byte = signal as u8;
    // SAFETY: write is async-signal-safe; it reads one byte that lives on this stack, and
    // the descriptor stays open for good.
    unsafe {
        libc::write(
            SIGNAL_PIPE.load(Ordering::Relaxed),
            ptr::from_ref(&byte).cast(),
            1,
        );
    }
}

/// Learns of the signals caught by [`catch_ending_signals`].
pub struct SignalReceiver(UnixStream);

impl SignalReceiver {
    /// Waits for a signal. `None` if the pipe broke.
    pub fn wait(mut self) -> Option<libc::c_int> {
        let mut byte = [0];
        self.0.read_exact(&mut byte).ok()?;
        Some(byte[0].into())
    }
}

/// Catches SIGINT, SIGTERM and SIGHUP, unless they are ignored (nohup).
///
/// # Errors
/// What the kernel says.
pub fn catch_ending_signals() -> io::Result<SignalReceiver> {
    let (reader, writer) = UnixStream::pair()?;
    SIGNAL_PIPE.store(writer.as_raw_fd(), Ordering::Relaxed);
    // The handler needs it as long as the process lives.
    mem::forget(writer);
    for signal in ENDING {
        // SAFETY: sigaction is given two valid structures; the all-zero one is valid. The
        // handler only calls what is async-signal-safe.
        unsafe {
            let mut old: libc::sigaction = mem::zeroed();
            checked(libc::sigaction(signal, ptr::null(), &mut old))?;
            if old.sa_sigaction == libc::SIG_IGN {
                continue;
            }
            let mut new: libc::sigaction = mem::zeroed();
            new.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
            new.sa_flags = libc::SA_RESTART;
            checked(libc::sigaction(signal, &new, ptr::null_mut()))?;
        }
    }
    Ok(SignalReceiver(reader))
}

/// Ends the process by a signal, so that the parent sees why.
pub fn die_of(signal: libc::c_int) -> ! {
    // SAFETY: the default disposition and raise have no memory effects.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
    std::process::exit(128 + signal)
}

/// Runs `command` in the foreground: signals that this process gets are handed to it, and
/// should this process be killed, it gets SIGTERM. Returns when it ends. Call it from the
/// main thread, with no other thread running: signals stay blocked afterwards.
///
/// # Errors
/// The program couldn't be started.
pub fn supervise(command: &mut Command) -> io::Result<ExitStatus> {
    const FORWARDED: [libc::c_int; 6] = [
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGUSR1,
        libc::SIGUSR2,
    ];
    // SAFETY: the set is initialised by sigemptyset before use; pthread_sigmask gets a valid
    // set and a null pointer, which it allows.
    let set = unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in FORWARDED {
            libc::sigaddset(&mut set, signal);
        }
        libc::sigaddset(&mut set, libc::SIGCHLD);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut());
        set
    };
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe functions are called, on a set
    // that lives on the child's stack.
    unsafe {
        command.pre_exec(|| {
            let mut none: libc::sigset_t = mem::zeroed();
            libc::sigemptyset(&mut none);
            libc::pthread_sigmask(libc::SIG_SETMASK, &none, ptr::null_mut());
            checked(libc::prctl(
                libc::PR_SET_PDEATHSIG,
                libc::SIGTERM as libc::c_ulong,
            ))
            .map(drop)
        });
    }
    let mut child: Child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        // SAFETY: the set is initialised; the second argument may be null.
        let signal = unsafe { libc::sigwaitinfo(&set, ptr::null_mut()) };
        if FORWARDED.contains(&signal) {
            // It may just have ended: try_wait will tell.
            let _ = kill(child.id(), signal);
        }
    }
}

/// The index of an interface in the calling thread's network namespace (if_nametoindex(3)).
///
/// # Errors
/// What the kernel says: `ENODEV` when there is none of that name.
pub fn interface_index(name: &str) -> io::Result<i32> {
    let name = CString::new(name)?;
    // SAFETY: the string is NUL-terminated and lives across the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(index as i32)
}

/// A packet socket on one interface (packet(7)): whole frames, those that pass in either
/// direction, with PACKET_AUXDATA.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

fn set(
    socket: &impl AsRawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the option is an int, whose address and size are passed.
    checked(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_ref(&value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Lets a socket hold that many bytes, beyond the limit of the machine.
///
/// # Errors
/// What the kernel says; without CAP_NET_ADMIN: EPERM.
pub fn set_receive_buffer(socket: &impl AsRawFd, bytes: libc::c_int) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
}

/// What a packet socket tells beside the bytes.
#[derive(Clone, Copy, Debug)]
pub struct PacketInfo {
    /// Bytes in the buffer.
    pub len: usize,
    /// Whether this host sent it.
    pub outgoing: bool,
    /// The VLAN tag (TPID, TCI) that the kernel took out of the frame.
    pub vlan: Option<(u16, u16)>,
    /// Whether the transport checksum is still to be filled in, by the NIC.
    pub checksum_pending: bool,
}

/// struct tpacket_auxdata of linux/if_packet.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct AuxData {
    status: u32,
    len: u32,
    snaplen: u32,
    mac: u16,
    net: u16,
    vlan_tci: u16,
    vlan_tpid: u16,
}

impl PacketSocket {
    /// Opens the socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(interface: &str) -> io::Result<Self> {
        let index = interface_index(interface)?;
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: socket takes numbers only; a fresh descriptor belongs to nobody else.
        let fd = unsafe {
            // Protocol 0 first: no packet of another interface gets in before the bind.
            OwnedFd::from_raw_fd(checked(libc::socket(
                libc::AF_PACKET,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                0,
            ))?)
        };
        let socket = Self(fd);
        set_receive_buffer(&socket.0, 32 << 20)?;
        set(&socket.0, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
        // SAFETY: all-zero is a valid sockaddr_ll; its address and size are passed.
        unsafe {
            let mut address: libc::sockaddr_ll = mem::zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = protocol;
            address.sll_ifindex = index;
            checked(libc::bind(
                socket.raw(),
                ptr::from_ref(&address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            ))?;
        }
        Ok(socket)
    }

    fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Sends one frame as it is.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: pointer and length are those of a slice.
        let sent = unsafe { libc::send(self.raw(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Takes the next frame if one is there, without waiting.
    ///
    /// # Errors
    /// What the kernel says; `WouldBlock` when there is none.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<PacketInfo> {
        // Aligned for cmsghdr.
        let mut control = [0u64; 16];
        // SAFETY: every pointer in the message header points to a local that outlives the
        // call, with its size; the control buffer is aligned and larger than the kernel's
        // record, which is read only as far as CMSG_NXTHDR and its length allow.
        unsafe {
            let mut from: libc::sockaddr_ll = mem::zeroed();
            let mut vector = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            let mut message: libc::msghdr = mem::zeroed();
            message.msg_name = ptr::from_mut(&mut from).cast();
            message.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            message.msg_iov = &mut vector;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(&control);
            let len = libc::recvmsg(self.raw(), &mut message, libc::MSG_DONTWAIT);
            if len < 0 {
                return Err(io::Error::last_os_error());
            }
            let mut aux = AuxData::default();
            let mut record = libc::CMSG_FIRSTHDR(&message);
            while let Some(header) = record.as_ref() {
                if header.cmsg_level == libc::SOL_PACKET
                    && header.cmsg_type == libc::PACKET_AUXDATA
                    && header.cmsg_len >= libc::CMSG_LEN(size_of::<AuxData>() as u32) as usize
                {
                    aux = ptr::read_unaligned(libc::CMSG_DATA(record).cast());
                }
                record = libc::CMSG_NXTHDR(&message, record);
            }
            Ok(PacketInfo {
                len: len as usize,
                outgoing: from.sll_pkttype == libc::PACKET_OUTGOING,
                vlan: (aux.status & libc::TP_STATUS_VLAN_VALID != 0)
                    .then_some((aux.vlan_tpid, aux.vlan_tci)),
                checksum_pending: aux.status & libc::TP_STATUS_CSUMNOTREADY != 0,
            })
        }
    }
}
