//! A TCP stream as the HTTP/2 library takes it: what was read before comes first, what was said
//! before is not said again, and what is written in one turn goes out at its end by one system
//! call. The library would write each data frame by itself.

use std::{
    io::{self, IoSlice},
    ops::Deref,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use interceptor_wire::opening::HTTP2_PREFACE as PREFACE;
use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::settings::FRAME_HEAD;
use crate::relay::{stream::Stream, write_buffer::WriteBuffer};

/// More than this does not wait to be written, in bytes.
const MAX_OUTBOX: usize = 64 << 10;

/// The stream between this side and one peer.
pub(super) struct Io<S> {
    outlet: Outlet<S>,
    /// Read before.
    ahead: Bytes,
    hush: Option<Hush>,
}

/// Where bytes go out.
#[derive(Clone)]
pub(super) struct Outlet<S> {
    stream: S,
    outbox: Arc<Mutex<Outbox>>,
}

/// Taken from the library, and not written.
#[derive(Default)]
struct Outbox {
    buffer: WriteBuffer,
    /// The stream has failed, and the library has not been told.
    error: Option<io::Error>,
}

/// Takes the library's preface and its SETTINGS out of what it writes: the peer has had somebody
/// else's.
#[derive(Default)]
struct Hush {
    head: Vec<u8>,
    /// Of the first frame.
    left: usize,
}

// === impl Outbox ===

impl Outbox {
    /// Takes what there is room for.
    fn push(&mut self, slices: &[IoSlice<'_>]) -> usize {
        let before = self.buffer.size();
        for slice in slices {
            let n = slice.len().min(MAX_OUTBOX - self.buffer.size());
            self.buffer.push(&slice[..n]);
        }
        self.buffer.size() - before
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, stream: &Stream) -> Poll<io::Result<()>> {
        self.buffer.poll_flush(cx, stream, |_| {})
    }
}

// === impl Outlet ===

impl<S: Deref<Target = Stream>> Outlet<S> {
    /// Writes what the library has put together, as far as there is room. It is told of a failure
    /// when it is polled next.
    pub(super) fn flush(&self, cx: &mut Context<'_>) {
        let mut outbox = self.lock();
        if outbox.error.is_none()
            && let Poll::Ready(Err(error)) = outbox.poll_flush(cx, &self.stream)
        {
            outbox.error = Some(error);
            cx.waker().wake_by_ref();
        }
    }

    /// Whether the peer had no room for all of it when it was last flushed.
    pub(super) fn is_full(&self) -> bool {
        !self.lock().buffer.is_empty()
    }

    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut outbox = self.lock();
        if let Some(error) = outbox.error.take() {
            return Poll::Ready(Err(error));
        }
        if outbox.buffer.size() == MAX_OUTBOX {
            ready!(outbox.poll_flush(cx, &self.stream))?;
        }
        Poll::Ready(Ok(outbox.push(slices)))
    }

    fn lock(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock()
    }
}

// === impl Hush ===

impl Hush {
    /// How many of `bytes` are not to be written; whether that was all of them.
    fn swallow(&mut self, bytes: &[u8]) -> (usize, bool) {
        let wanted = PREFACE.len() + FRAME_HEAD;
        let n = bytes.len().min(wanted - self.head.len());
        self.head.extend_from_slice(&bytes[..n]);
        if self.head.len() < wanted {
            return (n, false);
        }
        if n > 0 {
            let length = &self.head[PREFACE.len()..];
            self.left = u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize;
        }
        let payload = self.left.min(bytes.len() - n);
        self.left -= payload;
        (n + payload, self.left == 0)
    }
}

// === impl Io ===

impl<S: Deref<Target = Stream> + Clone> Io<S> {
    /// `ahead` was read from the stream before.
    pub(super) fn new(stream: S, ahead: Vec<u8>) -> Self {
        Self { outlet: Outlet { stream, outbox: Arc::default() }, ahead: ahead.into(), hush: None }
    }

    /// The peer has had a client's preface and SETTINGS already.
    pub(super) fn introduced(mut self) -> Self {
        self.hush = Some(Hush::default());
        self
    }

    /// To be flushed at the end of each turn.
    pub(super) fn outlet(&self) -> Outlet<S> {
        self.outlet.clone()
    }
}

impl<S: Deref<Target = Stream> + Unpin> AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let n = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..n]);
            self.ahead.advance(n);
            if self.ahead.is_empty() {
                // Gives the memory back.
                self.ahead = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        let read = self.outlet.stream.poll_read(cx, buffer.initialize_unfilled());
        if let Poll::Ready(Ok(n @ 1..)) = read {
            buffer.advance(n);
            return Poll::Ready(Ok(()));
        }
        // What the peer said before it broke off was there first.
        match self.outlet.lock().error.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => read.map_ok(drop),
        }
    }
}

impl<S: Deref<Target = Stream> + Unpin> AsyncWrite for Io<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(hush) = &mut self.hush {
            let bytes =
                slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
            let (swallowed, is_all) = hush.swallow(bytes);
            if is_all {
                self.hush = None;
            }
            if swallowed > 0 || bytes.is_empty() {
                return Poll::Ready(Ok(swallowed));
            }
        }
        self.outlet.poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // At the end of the turn.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outbox = self.outlet.lock();
        if let Some(error) = outbox.error.take() {
            return Poll::Ready(Err(error));
        }
        ready!(outbox.poll_flush(cx, &self.outlet.stream))?;
        Poll::Ready(self.outlet.stream.finish())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_frame_is_swallowed_however_it_is_written(
            settings in 0_usize..5,
            cuts in prop::collection::vec(1_usize..40, 1..60),
        ) {
            let mut said = PREFACE.to_vec();
            said.extend([0, 0, (6 * settings) as u8, 4, 0, 0, 0, 0, 0]);
            said.extend(vec![7; 6 * settings]);
            said.extend(b"rest");
            let (mut hush, mut rest) = (Hush::default(), &said[..]);
            let mut cuts = cuts.into_iter().cycle();
            loop {
                let n = cuts.next().expect("cuts go on for ever").min(rest.len());
                let (swallowed, is_all) = hush.swallow(&rest[..n]);
                rest = &rest[swallowed..];
                if is_all {
                    break;
                }
                prop_assert_eq!(swallowed, n);
            }
            prop_assert_eq!(rest, b"rest");
        }
    }
}
