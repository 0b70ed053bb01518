//! Integers that the kernel side and user space share: an eBPF array mapped into memory, or the
//! heap where there is no eBPF.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, AtomicU64},
};

/// An atomic integer type: memory of any content is a valid value.
///
/// # Safety
/// Every bit pattern is a value, and zero is what [`Default`] makes.
pub unsafe trait Word: Default + Send + Sync {}
// SAFETY: an integer.
unsafe impl Word for AtomicU32 {}
// SAFETY: an integer.
unsafe impl Word for AtomicU64 {}

enum Place<T> {
    Heap(Box<[T]>),
    Mapped { start: NonNull<T>, len: usize },
}

/// Words that are all zero at first, and that every holder of the memory may change.
pub struct Memory<T>(Place<T>);

// SAFETY: the mapping holds atomics only and lives until the last owner drops it.
unsafe impl<T: Word> Send for Memory<T> {}
// SAFETY: as above.
unsafe impl<T: Word> Sync for Memory<T> {}

impl<T: Word> Memory<T> {
    /// `len` words on the heap.
    pub fn on_heap(len: usize) -> Self {
        Self(Place::Heap((0..len).map(|_| T::default()).collect()))
    }

    /// The first `len` words of a BPF_F_MMAPABLE array.
    ///
    /// # Errors
    /// What mmap says.
    pub fn of_map(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        // SAFETY: the kernel chooses the address and checks the length against the map.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len * size_of::<T>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast())
            .ok_or_else(|| io::Error::other("mmap returned address zero"))?;
        Ok(Self(Place::Mapped { start, len }))
    }

    /// All the words.
    #[inline]
    pub fn words(&self) -> &[T] {
        match &self.0 {
            Place::Heap(words) => words,
            // SAFETY: `len` words were mapped; atomics may be shared with the kernel.
            Place::Mapped { start, len } => unsafe {
                std::slice::from_raw_parts(start.as_ptr(), *len)
            },
        }
    }
}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        if let Place::Mapped { start, len } = &self.0 {
            // SAFETY: mapped in `of_map` with this length; nobody holds a reference.
            unsafe { libc::munmap(start.as_ptr().cast(), *len * size_of::<T>()) };
        }
    }
}
