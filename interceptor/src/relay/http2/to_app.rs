//! What goes to the app.

use interceptor_wire::http2::StreamId;

use crate::relay::write_buffer::WriteBuffer;

/// The way to the app.
pub(super) struct ToApp {
    /// Bytes on their way.
    pub(super) out: WriteBuffer,
    /// The highest stream that the app has seen.
    pub(super) highest: StreamId,
    /// Whether the next byte from the client begins a frame, outside header blocks.
    pub(super) is_at_boundary: bool,
}

// === impl ToApp ===

impl ToApp {
    pub(super) fn new() -> Self {
        let out = WriteBuffer::default();
        Self { out, highest: StreamId::CONNECTION, is_at_boundary: false }
    }

    /// Whether a stream of this number may still be opened now.
    pub(super) fn may_open(&self, id: StreamId) -> bool {
        id > self.highest && self.is_at_boundary
    }

    /// Opens a stream with these frames.
    pub(super) fn open(&mut self, id: StreamId, frames: &[u8]) {
        self.out.push(frames);
        self.highest = self.highest.max(id);
    }
}
