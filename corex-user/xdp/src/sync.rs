//! What a ring is made of: atomics and cells, the standard library's or those of models.

#[cfg(feature = "loom")]
pub use loom::{
    cell::UnsafeCell as Entry,
    sync::atomic::{AtomicU32, Ordering},
};
#[cfg(not(feature = "loom"))]
pub use std::sync::atomic::{AtomicU32, Ordering};

/// A place in a ring.
#[cfg(not(feature = "loom"))]
#[repr(transparent)]
pub struct Entry<T>(std::cell::UnsafeCell<T>);

#[cfg(not(feature = "loom"))]
impl<T> Entry<T> {
    /// Hands out where it is, to be read.
    #[inline(always)]
    pub fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    /// Hands out where it is, to be written.
    #[inline(always)]
    pub fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}
