//! The packet memory and the ledger of who holds which part of it.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    slice,
};

use super::sys::{self, Mapping};

/// A chunk of [`Umem`], held by one owner at a time. Neither `Clone` nor `Copy`: giving it
/// to a ring is giving it away.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    chunk: u32,
    /// Offset of the packet's first byte within the chunk.
    start: u32,
    /// Length of the packet.
    len: u32,
}

impl Frame {
    /// Length of the packet in bytes.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no packet in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunk's number.
    pub(crate) fn chunk(&self) -> u32 {
        self.chunk
    }
}

/// Memory that the NIC, the kernel and one worker share, cut into chunks of equal size.
///
/// A chunk begins with room for what the kernel puts before a packet (XDP_PACKET_HEADROOM,
/// 256 bytes, and the metadata record).
pub struct Umem {
    memory: Mapping,
    /// The memory as a file, for another process to go on with.
    file: OwnedFd,
    chunk_size: u32,
    chunks: u32,
}

/// The kernel's XDP_PACKET_HEADROOM.
const HEADROOM: u32 = 256;

impl Umem {
    /// Bytes of all chunks.
    pub fn size(&self) -> u64 {
        u64::from(self.chunks) * u64::from(self.chunk_size)
    }

    /// `chunks` chunks of `chunk_size` bytes (a power of two from 2,048 to the page size),
    /// and the pool that holds them all.
    ///
    /// # Errors
    /// What memfd_create and mmap say.
    pub fn new(chunks: u32, chunk_size: u32) -> io::Result<(Self, FramePool)> {
        let len = chunks as usize * chunk_size as usize;
        let file = sys::memory_file(len)?;
        let memory = Mapping::shared(file.as_fd(), len)?;
        let pool = FramePool {
            frames: (0..chunks)
                .rev()
                .map(|chunk| Frame {
                    chunk,
                    start: HEADROOM,
                    len: 0,
                })
                .collect(),
        };
        let umem = Self {
            memory,
            file,
            chunk_size,
            chunks,
        };
        Ok((umem, pool))
    }

    /// Maps the memory of a process that hands it over, with all frames in rings or in the hands of
    /// that process: [`Self::restore`] makes the pool of those that it gives up.
    ///
    /// # Errors
    /// It isn't what [`Self::new`] makes, or what mmap says.
    pub fn attach(file: OwnedFd, chunks: u32, chunk_size: u32) -> io::Result<Self> {
        let is_size = chunk_size.is_power_of_two() && (2048..=1 << 16).contains(&chunk_size);
        let len = chunks as usize * chunk_size as usize;
        if !is_size || len == 0 || !sys::is_memory_file(file.as_fd(), len)? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "this is no packet memory of the size that it is said to have",
            ));
        }
        let memory = Mapping::shared(file.as_fd(), len)?;
        Ok(Self {
            memory,
            file,
            chunk_size,
            chunks,
        })
    }

    /// The memory as a file, to be handed to another process.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// The pool of the frames that another process had, by the numbers of their chunks
    /// ([`FramePool::chunks`]). `None` where one is outside of the memory, or named twice: then who
    /// has which isn't known.
    ///
    /// Whoever hands them over names no chunk that is in a ring, and uses none any more.
    pub fn restore(&self, chunks: &[u32]) -> Option<FramePool> {
        let mut is_named = vec![false; self.chunks as usize];
        for chunk in chunks {
            let is_named = is_named.get_mut(*chunk as usize)?;
            if std::mem::replace(is_named, true) {
                return None;
            }
        }
        let frame = |chunk: &u32| Frame {
            chunk: *chunk,
            start: HEADROOM,
            len: 0,
        };
        Some(FramePool {
            frames: chunks.iter().map(frame).collect(),
        })
    }

    pub(crate) fn memory(&self) -> &Mapping {
        &self.memory
    }

    /// Bytes of a chunk.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// The longest packet that a frame holds.
    pub fn capacity(&self) -> usize {
        Self::capacity_of(self.chunk_size) as usize
    }

    /// The longest packet that a frame in a chunk of `chunk_size` holds.
    pub const fn capacity_of(chunk_size: u32) -> u32 {
        chunk_size - HEADROOM
    }

    /// The packet in a frame.
    #[inline]
    pub fn packet<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        self.slice(frame, frame.start, frame.len)
    }

    /// The packet, to be changed in place.
    #[inline]
    pub fn packet_mut<'a>(&'a self, frame: &'a mut Frame) -> &'a mut [u8] {
        let (start, len) = (frame.start, frame.len);
        self.slice_mut(frame, start, len)
    }

    /// The `len` bytes in front of the packet: where the XDP program's record is. Fewer if
    /// the chunk begins there.
    #[inline]
    pub fn before<'a>(&'a self, frame: &'a Frame, len: usize) -> &'a [u8] {
        let len = (len as u32).min(frame.start);
        self.slice(frame, frame.start - len, len)
    }

    /// Overwrites the `len` bytes in front of the packet with zeros.
    #[inline]
    pub fn wipe_before(&self, frame: &mut Frame, len: usize) {
        let len = (len as u32).min(frame.start);
        let start = frame.start - len;
        self.slice_mut(frame, start, len).fill(0);
    }

    /// All of the chunk behind the headroom, for a new packet to be written; then
    /// [`Self::set_packet`] says how long it became.
    pub fn room_mut<'a>(&'a self, frame: &'a mut Frame) -> &'a mut [u8] {
        frame.start = HEADROOM;
        frame.len = 0;
        self.slice_mut(frame, HEADROOM, self.chunk_size - HEADROOM)
    }

    /// Sets the packet's length after a write to [`Self::room_mut`]; cut to what there is.
    #[inline]
    pub fn set_packet(&self, frame: &mut Frame, len: usize) {
        frame.len = (len as u32).min(self.chunk_size - frame.start);
    }

    /// Drops the first `bytes` of the packet, as when VLAN tags are taken off.
    #[inline]
    pub fn advance(&self, frame: &mut Frame, bytes: usize) {
        let bytes = (bytes as u32).min(frame.len);
        frame.start += bytes;
        frame.len -= bytes;
    }

    #[inline]
    fn slice<'a>(&'a self, frame: &'a Frame, start: u32, len: u32) -> &'a [u8] {
        debug_assert!(frame.chunk < self.chunks && start + len <= self.chunk_size);
        let offset = frame.chunk as usize * self.chunk_size as usize + start as usize;
        // SAFETY: within the mapping, since frames are made with bounds checked; `frame` is
        // the chunk's only name and is borrowed as long as the slice lives.
        unsafe { slice::from_raw_parts(self.memory.start().add(offset).as_ptr(), len as usize) }
    }

    #[inline]
    fn slice_mut<'a>(&'a self, frame: &'a mut Frame, start: u32, len: u32) -> &'a mut [u8] {
        debug_assert!(frame.chunk < self.chunks && start + len <= self.chunk_size);
        let offset = frame.chunk as usize * self.chunk_size as usize + start as usize;
        // SAFETY: as in `slice`, and the frame is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.memory.start().add(offset).as_ptr(), len as usize) }
    }

    /// The address of a frame for the fill ring.
    #[inline]
    pub(crate) fn fill_address(&self, frame: Frame) -> u64 {
        u64::from(frame.chunk) * u64::from(self.chunk_size)
    }

    /// The descriptor of a frame's packet for the transmit ring.
    #[inline]
    pub(crate) fn descriptor(&self, frame: &Frame) -> libc::xdp_desc {
        libc::xdp_desc {
            addr: u64::from(frame.chunk) * u64::from(self.chunk_size) + u64::from(frame.start),
            len: frame.len,
            options: 0,
        }
    }

    /// The frame that the kernel gives back. `None` if the address or length is outside:
    /// then the entry is worth nothing, and using it would be unsound.
    #[inline]
    pub(crate) fn frame_from_kernel(&self, addr: u64, len: u32) -> Option<Frame> {
        let chunk_size = u64::from(self.chunk_size);
        let chunk = u32::try_from(addr / chunk_size).ok()?;
        let start = (addr % chunk_size) as u32;
        let end = start.checked_add(len)?;
        (chunk < self.chunks && end <= self.chunk_size).then_some(Frame { chunk, start, len })
    }
}

/// The frames that no ring holds.
#[derive(Debug)]
pub struct FramePool {
    frames: Vec<Frame>,
}

impl FramePool {
    /// Takes a frame.
    #[inline]
    pub fn take(&mut self) -> Option<Frame> {
        self.frames.pop()
    }

    /// Puts a frame back.
    #[inline]
    pub fn put(&mut self, frame: Frame) {
        self.frames.push(frame);
    }

    /// A pool without frames.
    pub fn empty() -> Self {
        Self { frames: Vec::new() }
    }

    /// The numbers of the frames' chunks, for [`Umem::restore`].
    pub fn chunks(&self) -> Vec<u32> {
        self.frames.iter().map(|frame| frame.chunk).collect()
    }

    /// How many frames are here.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_written_is_the_packet_read() {
        let (umem, mut pool) = Umem::new(4, 2048).unwrap();
        let mut a = pool.take().unwrap();
        let mut b = pool.take().unwrap();
        umem.room_mut(&mut a)[..5].copy_from_slice(b"first");
        umem.set_packet(&mut a, 5);
        umem.room_mut(&mut b)[..6].copy_from_slice(b"second");
        umem.set_packet(&mut b, 6);
        assert_eq!(umem.packet(&a), b"first");
        assert_eq!(umem.packet(&b), b"second");
        umem.advance(&mut b, 3);
        assert_eq!(umem.packet(&b), b"ond");
        assert_eq!(umem.before(&b, 3), b"sec");
        umem.wipe_before(&mut b, 3);
        assert_eq!(umem.before(&b, 3), &[0; 3]);
    }

    #[test]
    fn an_address_outside_the_memory_is_no_frame() {
        let (umem, _pool) = Umem::new(4, 2048).unwrap();
        assert!(umem.frame_from_kernel(4 * 2048, 1).is_none());
        assert!(umem.frame_from_kernel(3 * 2048 + 2000, 49).is_none());
        assert!(umem.frame_from_kernel(3 * 2048 + 2000, 48).is_some());
        assert!(umem.frame_from_kernel(u64::MAX, 1).is_none());
        assert!(umem.frame_from_kernel(0, u32::MAX).is_none());
    }

    #[test]
    fn who_attaches_sees_the_packets_and_gets_the_frames_that_are_named() {
        let (umem, mut pool) = Umem::new(4, 2048).unwrap();
        let mut kept = pool.take().unwrap();
        umem.room_mut(&mut kept)[..4].copy_from_slice(b"here");
        umem.set_packet(&mut kept, 4);
        let descriptor = umem.descriptor(&kept);
        let file = umem.file().try_clone_to_owned().unwrap();
        let other = Umem::attach(file, umem.chunks(), umem.chunk_size()).unwrap();
        let seen = other.frame_from_kernel(descriptor.addr, descriptor.len);
        assert_eq!(other.packet(&seen.unwrap()), b"here");
        let restored = other.restore(&pool.chunks()).unwrap();
        assert_eq!(restored.chunks(), pool.chunks());
        assert_eq!(restored.len(), 3);
    }

    #[test]
    fn frames_that_are_named_twice_or_outside_are_refused() {
        let (umem, _pool) = Umem::new(4, 2048).unwrap();
        assert!(umem.restore(&[0, 3]).is_some());
        assert!(umem.restore(&[0, 4]).is_none());
        assert!(umem.restore(&[1, 2, 1]).is_none());
    }

    #[test]
    fn only_memory_of_the_right_size_is_attached() {
        let (umem, _pool) = Umem::new(4, 2048).unwrap();
        let attach = |file: OwnedFd, chunks, size| Umem::attach(file, chunks, size).is_ok();
        let file = || umem.file().try_clone_to_owned().unwrap();
        assert!(attach(file(), 4, 2048));
        for (chunks, size) in [(5, 2048), (3, 2048), (4, 4096), (8, 1024), (0, 2048)] {
            assert!(!attach(file(), chunks, size), "{chunks} x {size}");
        }
        let other = std::fs::File::open("/dev/null").unwrap();
        assert!(!attach(other.into(), 4, 2048));
    }

    #[test]
    fn every_chunk_is_handed_out_once() {
        let (umem, mut pool) = Umem::new(8, 2048).unwrap();
        let mut addresses: Vec<u64> = std::iter::from_fn(|| pool.take())
            .map(|f| umem.fill_address(f))
            .collect();
        addresses.sort_unstable();
        assert_eq!(addresses, (0..8).map(|i| i * 2048).collect::<Vec<_>>());
    }
}
