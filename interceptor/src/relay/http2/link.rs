//! Where the bytes of one direction go while its frames are followed.

use std::task::Context;

use crate::relay::{stolen::Stolen, stream::Stream, write_buffer::WriteBuffer};

/// The other side of the direction.
pub(super) struct Link<'l, 'c, 'a> {
    pub(super) cx: &'l mut Context<'c>,
    pub(super) sink: &'a Stream,
    pub(super) stolen: &'a Stolen,
}

// === impl Link ===

impl Link<'_, '_, '_> {
    /// Writes bytes as far as there is room, and keeps the rest in `out`.
    pub(super) fn send(&mut self, out: &mut WriteBuffer, bytes: &[u8]) {
        if !bytes.is_empty() {
            // A failure shows at the next flush or read.
            let _ = out.write(self.cx, self.sink, bytes);
        }
    }
}
