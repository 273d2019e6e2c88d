//! Bytes on their way to a stream that has no room for them at present.

use std::{
    cell::RefCell,
    io,
    task::{Context, Poll, ready},
};

use super::stream::Stream;

/// Maximum size of the memory that a thread keeps for the next buffer, in bytes.
const MAX_SPARE: usize = 128 << 10;

thread_local! {
    /// The memory of the last buffer that became empty.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Bytes to be written before any others. It owns memory only while it is not empty.
#[derive(Debug, Default)]
pub struct WriteBuffer {
    bytes: Vec<u8>,
    /// The number of bytes that are written.
    written: usize,
}

// === impl WriteBuffer ===

impl WriteBuffer {
    /// Whether all bytes are written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The memory in use, in bytes: those that are written count until all are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = SPARE.take();
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes `bytes` as far as there is room and keeps the rest. Returns the number of bytes that
    /// were written.
    ///
    /// # Errors
    /// When the stream has failed.
    pub fn write(
        &mut self,
        cx: &mut Context<'_>,
        sink: &Stream,
        bytes: &[u8],
    ) -> io::Result<usize> {
        self.write_by(sink, bytes, |bytes| sink.poll_write(cx, bytes))
    }

    /// As [`write`](Self::write), for the last bytes before FIN.
    ///
    /// # Errors
    /// When the stream has failed.
    pub fn write_last(
        &mut self,
        cx: &mut Context<'_>,
        sink: &Stream,
        bytes: &[u8],
    ) -> io::Result<usize> {
        self.write_by(sink, bytes, |bytes| sink.poll_write_last(cx, bytes))
    }

    fn write_by(
        &mut self,
        sink: &Stream,
        bytes: &[u8],
        poll_write: impl FnOnce(&[u8]) -> Poll<io::Result<usize>>,
    ) -> io::Result<usize> {
        let mut written = 0;
        if self.is_empty() && !bytes.is_empty() {
            written = match poll_write(bytes) {
                Poll::Ready(result) => result?,
                // The event loop may only not know yet that a new stream has room.
                Poll::Pending => sink.write_now(bytes)?,
            };
        }
        self.push(&bytes[written..]);
        Ok(written)
    }

    /// Writes what is left, and reports each part to `written`. Ready when nothing is left.
    pub fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        sink: &Stream,
        mut written: impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            let rest = &self.bytes[self.written..];
            let n = ready!(sink.poll_write(cx, rest))?;
            written(&rest[..n]);
            self.written += n;
        }
        self.clear();
        Poll::Ready(Ok(()))
    }

    /// What is not written.
    #[must_use]
    pub fn into_rest(mut self) -> Vec<u8> {
        self.bytes.drain(..self.written);
        self.bytes
    }

    /// Frees the memory, not only the contents.
    fn clear(&mut self) {
        let mut bytes = std::mem::take(self).bytes;
        if (1..=MAX_SPARE).contains(&bytes.capacity()) {
            bytes.clear();
            SPARE.set(bytes);
        }
    }
}

impl From<Vec<u8>> for WriteBuffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, written: 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::relay::stream::testing::{Kind, fill};

    #[tokio::test]
    async fn bytes_without_room_are_kept_in_order_and_flushed() {
        let (sink, reader) = Kind::Memory.pair().await;
        let filled = fill(&sink).await;
        let mut buffer = WriteBuffer::default();
        for part in [&b"one "[..], b"two "] {
            let written = poll_fn(|cx| Poll::Ready(buffer.write(cx, &sink, part))).await;
            assert_eq!(written.expect("no failure"), 0);
        }
        assert_eq!((buffer.is_empty(), buffer.size()), (false, 8));
        let mut received = Vec::new();
        while received.len() < filled {
            reader.read_more(&mut received).await.expect("read");
        }
        let mut flushed = Vec::new();
        poll_fn(|cx| buffer.poll_flush(cx, &sink, |part| flushed.extend_from_slice(part)))
            .await
            .expect("no failure");
        assert_eq!(flushed, b"one two ");
        assert!(buffer.is_empty());
        let written = poll_fn(|cx| Poll::Ready(buffer.write(cx, &sink, b"three"))).await;
        assert_eq!(written.expect("no failure"), 5);
        assert_eq!(buffer.into_rest(), b"");
    }
}
