//! A TCP stream as the HTTP/2 library takes it: what was read before comes first, and what was said before is not said
//! again.

use std::{
    io::{self, IoSlice},
    net::Shutdown,
    ops::Deref,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

use super::settings::{FRAME_HEAD, PREFACE};
use crate::relay::stream::{poll_read, poll_write};

/// The stream between this side and one peer.
pub(super) struct Io<S> {
    stream: S,
    /// Read before.
    ahead: Bytes,
    hush: Option<Hush>,
    full: Full,
}

/// Whether the peer had no room for what was last written.
#[derive(Clone, Debug, Default)]
pub(super) struct Full(Arc<AtomicBool>);

/// Takes the library's preface and its SETTINGS out of what it writes: the peer has had somebody else's.
#[derive(Default)]
struct Hush {
    head: Vec<u8>,
    /// Of the first frame.
    left: usize,
}

// === impl Full ===

impl Full {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, full: bool) {
        self.0.store(full, Ordering::Relaxed);
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

impl<S> Io<S> {
    /// `ahead` was read from the stream before.
    pub(super) fn new(stream: S, ahead: Vec<u8>) -> Self {
        Self { stream, ahead: ahead.into(), hush: None, full: Full::default() }
    }

    /// The peer has had a client's preface and SETTINGS already.
    pub(super) fn introduced(mut self) -> Self {
        self.hush = Some(Hush::default());
        self
    }

    pub(super) fn full(&self) -> Full {
        self.full.clone()
    }
}

impl<S: Deref<Target = TcpStream> + Unpin> AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let n = ready!(poll_read(cx, &self.stream, buffer.initialize_unfilled()))?;
            buffer.advance(n);
        } else {
            let n = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..n]);
            self.ahead.advance(n);
            if self.ahead.is_empty() {
                // Gives the memory back.
                self.ahead = Bytes::new();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Deref<Target = TcpStream> + Unpin> AsyncWrite for Io<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(hush) = &mut self.hush {
            let (swallowed, is_all) = hush.swallow(bytes);
            if is_all {
                self.hush = None;
            }
            if swallowed > 0 || bytes.is_empty() {
                return Poll::Ready(Ok(swallowed));
            }
        }
        let written = poll_write(cx, &self.stream, bytes);
        self.full.set(written.is_pending());
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.hush.is_some() || slices.len() == 1 {
            let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
            return self.poll_write(cx, first);
        }
        let written = poll_write_vectored(cx, &self.stream, slices);
        self.full.set(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match SockRef::from(&*self.stream).shutdown(Shutdown::Write) {
            // The peer is gone already, which is no news to it.
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}

/// Writes what there is room for.
fn poll_write_vectored(
    cx: &mut Context<'_>,
    stream: &TcpStream,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let all: usize = slices.iter().map(|slice| slice.len()).sum();
    loop {
        ready!(stream.poll_write_ready(cx))?;
        let mut written = None;
        let attempt = stream.try_io(Interest::WRITABLE, || {
            let n = SockRef::from(stream).send_vectored(slices)?;
            written = Some(n);
            // Said to the event loop only: it forgets that the stream was writable.
            if n < all { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match (written, attempt) {
            (Some(n), _) => return Poll::Ready(Ok(n)),
            (None, Err(error))
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            (None, Err(error)) => return Poll::Ready(Err(error)),
            (None, Ok(())) => unreachable!("a write that took nothing failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_frame_is_swallowed_however_it_is_written(settings in 0_usize..5, cuts in prop::collection::vec(1_usize..40, 1..60)) {
            let mut said = PREFACE.to_vec();
            said.extend([0, 0, (6 * settings) as u8, 4, 0, 0, 0, 0, 0]);
            said.extend(vec![7; 6 * settings]);
            said.extend(b"rest");
            let (mut hush, mut rest, mut cuts) = (Hush::default(), &said[..], cuts.into_iter().cycle());
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
