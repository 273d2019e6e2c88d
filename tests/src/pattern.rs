//! Content whose bytes depend on their position.

use bytes::Bytes;

/// `length` bytes that repeat with a period of 251, so that a cut or a shift shows.
pub fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at % 251) as u8).collect()
}
