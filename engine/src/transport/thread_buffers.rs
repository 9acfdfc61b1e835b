//! Read and write buffers of each worker thread. Idle connections therefore need no buffers.

use std::cell::Cell;

/// The size of each buffer in bytes. It is large enough for hundreds of small messages in one system call,
/// and small enough to stay in the L2 cache.
const SIZE: usize = 64 * 1024;

thread_local! {
    static READ: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    static WRITE: Cell<Option<Vec<u8>>> = const { Cell::new(None) };
}

/// Calls `f` with the read buffer of this thread.
///
/// The buffer is removed from the thread-local storage during the call. If `f` runs a handler that calls this
/// function, the nested call allocates another buffer.
pub(crate) fn with_read_buffer<R>(f: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = READ.take().unwrap_or_else(|| vec![0; SIZE].into_boxed_slice());
    let result = f(&mut buffer);
    READ.set(Some(buffer));
    result
}

/// Calls `f` with the write buffer of this thread, empty and with a capacity of at least [`SIZE`] bytes.
pub(crate) fn with_write_buffer<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = WRITE.take().unwrap_or_else(|| Vec::with_capacity(SIZE));
    buffer.clear();
    let result = f(&mut buffer);
    WRITE.set(Some(buffer));
    result
}
