//! The buffer that bytes pass through between a read and a write, and how much of it one read
//! takes.

use std::cell::RefCell;

/// Maximum size of the first reads of a connection, in bytes.
const SMALL: usize = 16 << 10;
/// Maximum size of any read, in bytes. Reads grow up to it while they fill their buffer.
const LARGE: usize = 256 << 10;
/// Maximum number of bytes that one direction of a connection moves before other connections of the
/// thread get their turn.
pub const BURST: usize = 1 << 20;
/// The factor by which reads grow and shrink.
const STEP: usize = 4;

thread_local! {
    /// One buffer for all connections of a worker thread; it stays in the cache of the worker's
    /// core.
    pub static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; LARGE].into_boxed_slice());
}

/// How much the next read of a stream may take.
#[derive(Clone, Copy, Debug)]
pub struct Chunk(usize);

// === impl Chunk ===

impl Default for Chunk {
    fn default() -> Self {
        Self(SMALL)
    }
}

impl Chunk {
    /// In bytes.
    #[must_use]
    pub fn size(self) -> usize {
        self.0
    }

    /// Grows after a read of `n` bytes that filled the buffer, and shrinks after a small one.
    pub fn adapt(&mut self, n: usize) {
        if n == self.0 {
            self.0 = LARGE.min(self.0 * STEP);
        } else if n < self.0 / (STEP * STEP) {
            self.0 = SMALL.max(self.0 / STEP);
        }
    }
}
