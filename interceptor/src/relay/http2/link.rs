//! Where the bytes of one direction go while its frames are followed.

use std::{io, task::Context};

use crate::relay::{stolen::Stolen, stream::Stream, write_buffer::WriteBuffer};

/// The other side of the direction.
pub(super) struct Link<'l, 'c, 'a> {
    pub(super) cx: &'l mut Context<'c>,
    /// `None`: the bytes are kept.
    pub(super) sink: Option<&'a Stream>,
    pub(super) stolen: &'a Stolen,
    /// The other side was reset. The socket says so only once.
    pub(super) was_reset: bool,
}

// === impl Link ===

impl Link<'_, '_, '_> {
    /// Writes bytes as far as there is room, and keeps the rest in `out`.
    pub(super) fn send(&mut self, out: &mut WriteBuffer, bytes: &[u8]) {
        let Some(sink) = self.sink else { return out.push(bytes) };
        // Other failures show at the next read.
        if let Err(error) = out.write(self.cx, sink, bytes) {
            self.was_reset |= error.kind() == io::ErrorKind::ConnectionReset;
        }
    }
}
