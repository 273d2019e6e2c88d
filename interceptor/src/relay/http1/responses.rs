//! The bytes of the current upstream.

use interceptor_wire::http1::ResponseFramer;

use crate::relay::{stream::Chunk, write_buffer::WriteBuffer};

/// The bytes that the current upstream sent.
#[derive(Default)]
pub(super) struct Responses {
    pub(super) framer: ResponseFramer,
    /// The beginning of a head.
    pub(super) buffered: Vec<u8>,
    /// Bytes for the client, whose send queue is full.
    pub(super) to_client: WriteBuffer,
    pub(super) chunk: Chunk,
}

// === impl Responses ===

impl Responses {
    /// The bytes that wait for the client's send queue, and those behind them.
    pub(super) fn into_rest(self) -> (Vec<u8>, Vec<u8>) {
        (self.to_client.into_rest(), self.buffered)
    }

    /// Drops the incomplete head of an upstream that is given up.
    pub(super) fn forget_buffered(&mut self) {
        self.buffered.clear();
    }
}
