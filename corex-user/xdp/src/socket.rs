//! An AF_XDP socket bound to one queue of one interface, with its four rings.

mod handed;

pub use handed::RingLedger;

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    thread,
    time::{Duration, Instant},
};

use super::{
    flight::{Departed, Flight},
    progress::{Change, Progress},
    ring::{Consumer, Producer, RingMemory},
    sys::{self, Mapping},
    umem::{Frame, FramePool, Umem},
};

/// Entries of each ring.
pub const RING_SIZE: u32 = 2048;

/// Why a socket couldn't be opened.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {reason}{}", remedy(.reason))]
pub struct XskError {
    step: &'static str,
    reason: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOBUFS) => {
            " (the packet memory exceeds RLIMIT_MEMLOCK: give CAP_IPC_LOCK or raise `ulimit -l`)"
        }
        Some(libc::EPERM) => " (AF_XDP needs CAP_NET_RAW)",
        Some(libc::EBUSY) => " (another program has an AF_XDP socket on this queue)",
        Some(libc::EOPNOTSUPP) => " (the driver has no zero copy here: don't force it)",
        _ => "",
    }
}

fn step<T>(step: &'static str, result: io::Result<T>) -> Result<T, XskError> {
    result.map_err(|reason| XskError { step, reason })
}

/// How a socket was bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Interface index.
    pub ifindex: u32,
    /// Receive queue of that interface.
    pub queue: u32,
    /// The NIC writes into the packet memory itself.
    pub zero_copy: bool,
    /// Why the kernel refused zero copy (errno, as bind(2) gave it). `None`: it didn't, or wasn't
    /// asked.
    pub refusal: Option<i32>,
}

/// Packets that the kernel dropped on this socket although XDP had steered them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// No frame in the fill ring, or the frame is too small for the packet.
    pub rx_dropped: u64,
    /// The receive ring was full.
    pub rx_ring_full: u64,
}

/// One queue's socket.
pub struct QueueSocket {
    rx: Consumer<libc::xdp_desc>,
    tx: Producer<libc::xdp_desc>,
    fill: Producer<u64>,
    completion: Consumer<u64>,
    /// Frames handed to the transmit ring and not completed yet.
    flight: Flight,
    progress: Progress,
    bound: Bound,
    /// Whether the queue is driven from here: see [`UnboundSocket::new`].
    is_polled: bool,
    /// What the kernel had counted when this process got the socket.
    before: Statistics,
    fd: OwnedFd,
    /// The rings' memory; dropped after the rings.
    _mappings: [Mapping; 4],
}

/// Microseconds for which a call may poll a queue. Ours don't wait, so that it is only to be more than 0.
const BUSY_POLL_TIME: libc::c_int = 20;
/// How long a queue may stay busy. The kernel lets go of the queue of a process that has ended some
/// time after it has closed the process's descriptors.
const RELEASE: Duration = Duration::from_secs(5);
/// Between two looks whether it has.
const RETRY: Duration = Duration::from_millis(10);

/// Binds, and binds again for [`RELEASE`] where somebody has the queue still.
fn when_released(bind: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let deadline = Instant::now() + RELEASE;
    loop {
        match bind() {
            Err(error)
                if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline =>
            {
                thread::sleep(RETRY);
            }
            outcome => return outcome,
        }
    }
}

/// A socket that isn't bound yet. Making it is what takes privileges: binding it takes none.
#[derive(Debug)]
pub struct UnboundSocket(OwnedFd);

impl UnboundSocket {
    /// Makes one; needs CAP_NET_RAW. With `busy_poll` other than 0, which needs CAP_NET_ADMIN and Linux
    /// 5.11, whoever has it takes so many packets from the NIC itself each time that it looks for some,
    /// and interrupts are put off (kernel: Documentation/networking/napi.rst).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(busy_poll: u16) -> Result<Self, XskError> {
        let fd = step("AF_XDP socket", sys::xsk_socket())?;
        // In copy mode the socket's send buffer bounds what is in flight. FORCE needs
        // CAP_NET_ADMIN; without it the system's limit holds, which costs speed only.
        let size: libc::c_int = 16 << 20;
        let set = |name| sys::set_option(fd.as_fd(), libc::SOL_SOCKET, name, &size);
        if set(libc::SO_SNDBUFFORCE).is_err() {
            step("send buffer", set(libc::SO_SNDBUF))?;
        }
        if busy_poll > 0 {
            let options = [
                (libc::SO_PREFER_BUSY_POLL, 1),
                (libc::SO_BUSY_POLL, BUSY_POLL_TIME),
                (libc::SO_BUSY_POLL_BUDGET, busy_poll.into()),
            ];
            for (name, value) in options {
                let set = sys::set_option(fd.as_fd(), libc::SOL_SOCKET, name, &value);
                step("busy polling", set)?;
            }
        }
        Ok(Self(fd))
    }
}

/// Opens a worker's sockets, one for each of `queues` (interface index, queue), all over the
/// same packet memory so that a frame received on one can be sent by another. Fill rings are
/// filled from `pool` before the bind, evenly.
///
/// `copy` forces copy mode; otherwise zero copy is asked for, and what the kernel answers is in
/// [`Bound`]. For `busy_poll` see [`UnboundSocket::new`].
///
/// # Errors
/// The first step that failed, with the kernel's reason.
pub fn open(
    umem: &Umem,
    pool: &mut FramePool,
    queues: &[(u32, u32)],
    copy: bool,
    busy_poll: u16,
) -> Result<Vec<QueueSocket>, XskError> {
    let share = (pool.len() / 2 / queues.len().max(1)).min(RING_SIZE as usize);
    let mut sockets: Vec<QueueSocket> = Vec::with_capacity(queues.len());
    for &(ifindex, queue) in queues {
        let owner = sockets.first().map(|first| first.fd.as_raw_fd());
        let unbound = UnboundSocket::new(busy_poll)?;
        let mut socket =
            QueueSocket::bind(unbound, umem, pool, share, (ifindex, queue), copy, owner)?;
        if let Some(first) = sockets.first() {
            socket.bound.refusal = first.bound.refusal;
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Binds one more socket, to `queue` (interface index, queue), over the packet memory that
/// `sockets` have already; in the mode that they have. It gets `frames` of the pool's at most.
///
/// # Errors
/// The first step that failed, with the kernel's reason.
pub fn join(
    sockets: &mut Vec<QueueSocket>,
    umem: &Umem,
    pool: &mut FramePool,
    unbound: UnboundSocket,
    queue: (u32, u32),
    frames: usize,
) -> Result<(), XskError> {
    let owner = sockets.first().map(|first| first.fd.as_raw_fd());
    let share = frames.min(RING_SIZE as usize);
    sockets.push(QueueSocket::bind(
        unbound, umem, pool, share, queue, false, owner,
    )?);
    Ok(())
}

impl QueueSocket {
    fn bind(
        UnboundSocket(fd): UnboundSocket,
        umem: &Umem,
        pool: &mut FramePool,
        fill_frames: usize,
        (ifindex, queue): (u32, u32),
        copy: bool,
        umem_owner: Option<i32>,
    ) -> Result<Self, XskError> {
        let option = |name, what| {
            step(
                what,
                sys::set_option(fd.as_fd(), libc::SOL_XDP, name, &RING_SIZE),
            )
        };
        if umem_owner.is_none() {
            let registration = libc::xdp_umem_reg {
                addr: umem.memory().start().as_ptr() as u64,
                len: umem.memory().len() as u64,
                chunk_size: umem.chunk_size(),
                headroom: 0,
                flags: 0,
                tx_metadata_len: 0,
            };
            step(
                "register packet memory (XDP_UMEM_REG)",
                sys::set_option(fd.as_fd(), libc::SOL_XDP, libc::XDP_UMEM_REG, &registration),
            )?;
        }
        option(libc::XDP_UMEM_FILL_RING, "fill ring")?;
        option(libc::XDP_UMEM_COMPLETION_RING, "completion ring")?;
        option(libc::XDP_RX_RING, "receive ring")?;
        option(libc::XDP_TX_RING, "transmit ring")?;

        let bound = Bound {
            ifindex,
            queue,
            zero_copy: false,
            refusal: None,
        };
        let mut socket = Self::map(fd, bound, umem)?;
        // Before the bind: some drivers leak buffers when the fill ring is empty at bind.
        for _ in 0..fill_frames {
            let Some(frame) = pool.take() else { break };
            socket.refill(umem, pool, frame);
        }
        socket.fill.submit();
        let bind = |flags| {
            let bind = || sys::bind(socket.fd.as_fd(), ifindex, queue, flags, umem_owner);
            when_released(bind)
        };
        let bound = match umem_owner {
            // The kernel takes the owner's flags.
            Some(_) => bind(libc::XDP_SHARED_UMEM),
            None if copy => bind(libc::XDP_COPY | libc::XDP_USE_NEED_WAKEUP),
            // Asked for by itself, since a kernel that may choose doesn't say why it copies.
            None => match bind(libc::XDP_ZEROCOPY | libc::XDP_USE_NEED_WAKEUP) {
                Err(error) if error.raw_os_error() != Some(libc::EBUSY) => {
                    socket.bound.refusal = error.raw_os_error();
                    bind(libc::XDP_COPY | libc::XDP_USE_NEED_WAKEUP)
                }
                outcome => outcome,
            },
        };
        step("bind to the queue", bound)?;
        socket.bound.zero_copy = step("bind options", sys::is_zero_copy(socket.fd.as_fd()))?;
        Ok(socket)
    }

    /// Maps the rings of a socket that has them.
    fn map(fd: OwnedFd, bound: Bound, umem: &Umem) -> Result<Self, XskError> {
        let offsets = step("ring offsets", sys::mmap_offsets(fd.as_fd()))?;
        let (fill_memory, fill) = map_ring::<u64>(
            &fd,
            &offsets.fr,
            libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t,
        )?;
        let (completion_memory, completion) = map_ring::<u64>(
            &fd,
            &offsets.cr,
            libc::XDP_UMEM_PGOFF_COMPLETION_RING as libc::off_t,
        )?;
        let (rx_memory, rx) =
            map_ring::<libc::xdp_desc>(&fd, &offsets.rx, libc::XDP_PGOFF_RX_RING)?;
        let (tx_memory, tx) =
            map_ring::<libc::xdp_desc>(&fd, &offsets.tx, libc::XDP_PGOFF_TX_RING)?;
        // SAFETY: the mappings are live, sized for these rings and kept in the same
        // structure behind them; nobody else uses an end of these rings.
        Ok(unsafe {
            Self {
                rx: Consumer::new(rx),
                tx: Producer::new(tx),
                fill: Producer::new(fill),
                completion: Consumer::new(completion),
                flight: Flight::new(umem.chunks()),
                progress: Progress::default(),
                bound,
                is_polled: sys::prefers_busy_poll(fd.as_fd()),
                before: Statistics::default(),
                fd,
                _mappings: [fill_memory, completion_memory, rx_memory, tx_memory],
            }
        })
    }

    /// How it was bound.
    #[inline]
    pub fn bound(&self) -> Bound {
        self.bound
    }

    /// The next received packet.
    #[inline]
    pub fn receive(&mut self, umem: &Umem) -> Option<Frame> {
        loop {
            let descriptor = self.rx.pop()?;
            if let Some(frame) = umem.frame_from_kernel(descriptor.addr, descriptor.len) {
                return Some(frame);
            }
        }
    }

    /// Tells the kernel that the received packets' ring entries may be reused.
    pub fn release_received(&mut self) {
        self.rx.release();
    }

    /// Gives a frame to the NIC to receive into; into the pool when the fill ring is full.
    #[inline]
    pub fn refill(&mut self, umem: &Umem, pool: &mut FramePool, frame: Frame) {
        if self.fill.free(1) == 0 {
            pool.put(frame);
            return;
        }
        // The ring has room, so the entry isn't given back.
        let _ = self.fill.push(umem.fill_address(frame));
    }

    /// Fills the fill ring from the pool and publishes it.
    pub fn submit_fill(&mut self, umem: &Umem, pool: &mut FramePool, keep: usize) {
        while pool.len() > keep && self.fill.free(1) > 0 {
            let Some(frame) = pool.take() else { break };
            self.refill(umem, pool, frame);
        }
        self.fill.submit();
        if self.is_polled || self.fill.needs_wakeup() {
            sys::kick_rx(self.fd.as_fd());
        }
    }

    /// Queues a packet for transmission, and says by what name it can be [marked](Self::mark);
    /// gives the frame back when the ring is full.
    #[inline]
    pub fn transmit(&mut self, umem: &Umem, frame: Frame) -> Result<Departed, Frame> {
        if self.tx.push(umem.descriptor(&frame)).is_err() {
            return Err(frame);
        }
        Ok(self.flight.depart(&frame))
    }

    /// Writes on a frame what it is to the sender, for [`Self::take_marks`] to tell.
    #[inline]
    pub fn mark(&mut self, departed: Departed, mark: u8) {
        self.flight.mark(departed, mark);
    }

    /// The marks of all frames that the kernel was given to send and hasn't given back. Each is
    /// told once.
    pub fn take_marks(&mut self) -> impl Iterator<Item = u8> + '_ {
        self.flight.take_marks()
    }

    /// The marks of the frames that the kernel hasn't even taken out of the transmit ring. Each is
    /// told once.
    pub fn take_untaken_marks<'a>(&'a mut self, umem: &'a Umem) -> impl Iterator<Item = u8> + 'a {
        let flight = &mut self.flight;
        self.tx.untaken().filter_map(move |descriptor| {
            flight.take_mark(&umem.frame_from_kernel(descriptor.addr, 0)?)
        })
    }

    /// Whether the transmit ring takes another packet.
    #[inline]
    pub fn has_room(&mut self) -> bool {
        self.tx.free(1) > 0
    }

    /// Whether the NIC sends, as far as is known: it isn't [stuck](Self::is_stuck), nor has it held
    /// on to its frames for a tenth of a second.
    #[inline]
    pub fn takes_more(&self) -> bool {
        self.progress.takes_more()
    }

    /// Whether the NIC has held on to its frames for a second, and to some of them since.
    pub fn is_stuck(&self) -> bool {
        self.progress.is_stuck()
    }

    /// Publishes queued packets and wakes the kernel if it asks. Returns whether it did. `refused`
    /// is called with the mark of each packet that the device didn't take.
    pub fn flush_transmit(&mut self, umem: &Umem, mut refused: impl FnMut(Option<u8>)) -> bool {
        self.tx.submit();
        if self.is_stuck() {
            return false;
        }
        let mut kicked = false;
        let mut pending = self.tx.pending();
        while pending > 0 && self.tx.needs_wakeup() {
            kicked = true;
            let is_refused = sys::kick_tx(self.fd.as_fd()) && !self.bound.zero_copy;
            let left = self.tx.pending();
            if !is_refused || left == pending {
                break;
            }
            pending = left;
            let frame = self.tx.last_taken();
            let frame = frame.and_then(|last| umem.frame_from_kernel(last.addr, 0));
            refused(frame.and_then(|frame| self.flight.take_mark(&frame)));
        }
        kicked
    }

    /// Takes transmitted frames back into the pool, and tells whether the NIC is found to be stuck,
    /// or not to be any more.
    pub fn complete(&mut self, umem: &Umem, pool: &mut FramePool) -> Option<Change> {
        let mut completed = 0;
        while let Some(addr) = self.completion.pop() {
            completed += 1;
            if let Some(frame) = umem.frame_from_kernel(addr, 0) {
                self.flight.arrive(&frame);
                pool.put(frame);
            }
        }
        self.completion.release();
        let in_flight = self.flight.count();
        self.progress.look(completed, in_flight, Instant::now)
    }

    /// Whether packets wait in the transmit ring, because the kernel took only some, and are worth
    /// another wake-up.
    pub fn has_backlog(&self) -> bool {
        !self.is_stuck() && self.tx.pending() > 0
    }

    /// Frames handed to the kernel and not given back yet.
    pub fn in_flight(&self) -> u32 {
        self.flight.count()
    }

    /// Received packets that wait to be taken.
    pub fn waiting(&self) -> u32 {
        self.rx.waiting()
    }

    /// Free frames that the NIC may receive into.
    pub fn filled(&self) -> u32 {
        self.fill.pending()
    }

    /// What the kernel dropped since this process has the socket; it only grows.
    pub fn statistics(&self) -> Statistics {
        let before = self.before;
        sys::statistics(self.fd.as_fd()).map_or_else(
            |_| Statistics::default(),
            |s| Statistics {
                rx_dropped: s.rx_dropped.saturating_sub(before.rx_dropped),
                rx_ring_full: s.rx_ring_full.saturating_sub(before.rx_ring_full),
            },
        )
    }
}

impl AsFd for QueueSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for QueueSocket {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}

fn map_ring<T>(
    fd: &OwnedFd,
    offsets: &libc::xdp_ring_offset,
    page_offset: libc::off_t,
) -> Result<(Mapping, RingMemory<T>), XskError> {
    let len = offsets.desc as usize + RING_SIZE as usize * size_of::<T>();
    let mapping = step("map a ring", Mapping::ring(fd.as_fd(), len, page_offset))?;
    let start = mapping.start();
    // SAFETY: the kernel's offsets lie within the mapping, whose length was computed from
    // them, and are aligned for their types.
    let at = |offset: u64| unsafe { start.add(offset as usize) };
    let memory = RingMemory {
        producer: NonNull::cast(at(offsets.producer)),
        consumer: NonNull::cast(at(offsets.consumer)),
        flags: NonNull::cast(at(offsets.flags)),
        entries: NonNull::cast(at(offsets.desc)),
        size: RING_SIZE,
    };
    Ok((mapping, memory))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Index of `lo` in every network namespace.
    const LOOPBACK: u32 = 1;

    fn opened() -> Result<Vec<QueueSocket>, XskError> {
        let (umem, mut pool) = Umem::new(16, 2048).unwrap();
        open(&umem, &mut pool, &[(LOOPBACK, 0)], true, 0)
    }

    /// Needs privileges, as below.
    #[test]
    fn a_queue_is_driven_from_here_where_that_is_asked_for() {
        for busy_poll in [0, 64] {
            let Ok(socket) = UnboundSocket::new(busy_poll) else {
                eprintln!("skipped: AF_XDP needs CAP_NET_RAW and CAP_NET_ADMIN");
                return;
            };
            assert_eq!(sys::prefers_busy_poll(socket.0.as_fd()), busy_poll > 0);
        }
    }

    /// Needs privileges: without them no socket opens, and there is nothing to see.
    #[test]
    fn a_queue_that_is_let_go_of_is_waited_for_and_one_that_is_kept_is_not_had() {
        // SAFETY: the call has no pointers; this thread alone is in another network, whose
        // loopback nobody else uses.
        unsafe { libc::unshare(libc::CLONE_NEWNET) };
        let Ok(first) = opened() else {
            eprintln!("skipped: AF_XDP needs CAP_NET_RAW");
            return;
        };
        let refused = opened().map(drop).unwrap_err();
        assert_eq!(refused.reason.raw_os_error(), Some(libc::EBUSY));
        let letting_go = thread::spawn(move || {
            thread::sleep(RETRY * 10);
            drop(first);
        });
        assert!(opened().is_ok());
        letting_go.join().unwrap();
    }
}
