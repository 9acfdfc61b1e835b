//! Buffers that belong to the worker thread, so that an idle connection owns none.

use std::cell::Cell;

/// Big enough for hundreds of small messages in one system call, small enough to stay in the second-level cache.
const SIZE: usize = 64 * 1024;

thread_local! {
    static READ: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    static WRITE: Cell<Option<Vec<u8>>> = const { Cell::new(None) };
}

/// Lends the read buffer of this thread.
///
/// It is taken out for the time of the call, because handlers run meanwhile: one that drives another session
/// from inside gets a buffer of its own.
pub(crate) fn with_read_buffer<R>(f: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = READ.take().unwrap_or_else(|| vec![0; SIZE].into_boxed_slice());
    let result = f(&mut buffer);
    READ.set(Some(buffer));
    result
}

/// Lends the write buffer of this thread, empty, with room for [`SIZE`] bytes.
pub(crate) fn with_write_buffer<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = WRITE.take().unwrap_or_else(|| Vec::with_capacity(SIZE));
    buffer.clear();
    let result = f(&mut buffer);
    WRITE.set(Some(buffer));
    result
}
