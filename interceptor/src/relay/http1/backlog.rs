//! Bytes on their way to a stream whose send queue is full.

use std::{
    io,
    task::{Context, Poll, ready},
};

use crate::relay::stream::Stream;

/// Bytes that were read and not written. Empty and without memory most of the time.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    written: usize,
}

// === impl Backlog ===

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Appends bytes without an attempt to write them.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes as many of `bytes` as the send queue takes, and keeps the rest.
    ///
    /// # Errors
    /// When the stream has failed.
    pub(super) fn write(
        &mut self,
        cx: &mut Context<'_>,
        sink: &Stream,
        bytes: &[u8],
    ) -> io::Result<()> {
        let mut written = 0;
        if self.is_empty() && !bytes.is_empty() {
            written = match sink.poll_write(cx, bytes) {
                Poll::Ready(result) => result?,
                Poll::Pending => sink.write_now(bytes)?,
            };
        }
        self.push(&bytes[written..]);
        Ok(())
    }

    /// Writes all that is kept.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        sink: &Stream,
    ) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            self.written += ready!(sink.poll_write(cx, &self.bytes[self.written..]))?;
        }
        // Gives the memory back, not only the contents.
        *self = Self::default();
        Poll::Ready(Ok(()))
    }

    pub(super) fn into_rest(mut self) -> Vec<u8> {
        self.bytes.drain(..self.written);
        self.bytes
    }
}
