//! Moving bytes between two connections so that each end notices as little as possible.
//!
//! - **Memory**: bytes pass through one scratch buffer per worker thread. A connection owns memory only while its
//!   reader is slower than its writer, and then no more than its last read; an idle one owns none.
//! - **Pressure**: nothing more is read from a side while the other has not taken what was read before.
//! - **Ends**: a FIN is passed on when everything before it is through, in each direction by itself. A reset of one
//!   side becomes a reset of the other.
//! - **Fairness**: one busy connection gives the thread back after [`BURST`] bytes.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The first reads of a connection are this large at most, in bytes.
const SMALL: usize = 16 << 10;
/// Reads grow up to this as long as they fill what they are given, in bytes.
const LARGE: usize = 256 << 10;
/// How reads grow and shrink.
const STEP: usize = 4;
/// A direction gives way to others after this many bytes.
const BURST: usize = 1 << 20;

thread_local! {
    /// Where bytes stand between a read and the write after it. Stays in the cache of the worker's core.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; LARGE].into_boxed_slice());
}

/// How a pair of connections ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both directions were closed in order.
    Closed,
    /// One side broke off; the other is to be reset.
    Reset,
}

/// Moves bytes both ways until both directions have ended. `first` goes to `b` before anything that `a` sends.
///
/// `moved` counts the bytes from `a` to `b` and from `b` to `a` as they are written.
pub async fn pipe<S>(a: &mut S, b: &mut S, first: Vec<u8>, moved: [Option<&AtomicU64>; 2]) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let [up, down] = moved;
    let mut up = Flow::new(first, up);
    let mut down = Flow::new(Vec::new(), down);
    poll_fn(|cx| {
        let up = up.poll(cx, a, b);
        let down = down.poll(cx, b, a);
        match (up, down) {
            // The side that we read from broke off: nothing of what the other still says can reach it.
            (Poll::Ready(End::SourceBroke), _) | (_, Poll::Ready(End::SourceBroke)) => Poll::Ready(Ending::Reset),
            (Poll::Ready(End::Finished), Poll::Ready(End::Finished)) => Poll::Ready(Ending::Closed),
            // The side that we write to broke off: what it said before that is still on its way to the other.
            (Poll::Ready(_), Poll::Ready(_)) => Poll::Ready(Ending::Reset),
            _ => Poll::Pending,
        }
    })
    .await
}

/// How one direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// FIN read and passed on.
    Finished,
    /// Reading failed.
    SourceBroke,
    /// Writing failed.
    SinkBroke,
}

/// One direction.
struct Flow<'a> {
    /// Read and not yet written, from `written` on. Empty and without memory most of the time.
    pending: Vec<u8>,
    written: usize,
    /// How much the next read may take.
    chunk: usize,
    /// FIN was read.
    eof: bool,
    end: Option<End>,
    moved: Option<&'a AtomicU64>,
}

// === impl Flow ===

impl<'a> Flow<'a> {
    fn new(pending: Vec<u8>, moved: Option<&'a AtomicU64>) -> Self {
        Self { pending, written: 0, chunk: SMALL, eof: false, end: None, moved }
    }

    fn poll<S>(&mut self, cx: &mut Context<'_>, source: &mut S, sink: &mut S) -> Poll<End>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.end.is_none() {
            self.end = Some(ready!(self.poll_move(cx, Pin::new(source), Pin::new(sink))));
        }
        Poll::Ready(self.end.expect("set above"))
    }

    fn poll_move<S>(&mut self, cx: &mut Context<'_>, mut source: Pin<&mut S>, mut sink: Pin<&mut S>) -> Poll<End>
    where
        S: AsyncRead + AsyncWrite,
    {
        let mut burst = 0;
        loop {
            if !self.pending.is_empty() && ready!(self.poll_flush(cx, sink.as_mut())).is_err() {
                return Poll::Ready(End::SinkBroke);
            }
            if self.eof {
                return match ready!(sink.as_mut().poll_shutdown(cx)) {
                    Ok(()) => Poll::Ready(End::Finished),
                    // The other end is gone already, which is no news to it.
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(End::Finished),
                    Err(_) => Poll::Ready(End::SinkBroke),
                };
            }
            if burst >= BURST {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let step = SCRATCH.with_borrow_mut(|scratch| {
                self.poll_step(cx, source.as_mut(), sink.as_mut(), &mut scratch[..])
            });
            match ready!(step) {
                Ok(0) => self.eof = true,
                Ok(n) => burst += n,
                Err(end) => return Poll::Ready(end),
            }
        }
    }

    /// One read, and the write of what it gave. Gives the number of bytes read.
    fn poll_step<S>(
        &mut self,
        cx: &mut Context<'_>,
        source: Pin<&mut S>,
        sink: Pin<&mut S>,
        scratch: &mut [u8],
    ) -> Poll<Result<usize, End>>
    where
        S: AsyncRead + AsyncWrite,
    {
        let mut buffer = ReadBuf::new(&mut scratch[..self.chunk]);
        if ready!(source.poll_read(cx, &mut buffer)).is_err() {
            return Poll::Ready(Err(End::SourceBroke));
        }
        let bytes = buffer.filled();
        if bytes.len() == self.chunk {
            self.chunk = LARGE.min(self.chunk * STEP);
        } else if bytes.len() < self.chunk / (STEP * STEP) {
            self.chunk = SMALL.max(self.chunk / STEP);
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let written = match sink.poll_write(cx, bytes) {
            Poll::Ready(Ok(n)) => n,
            Poll::Ready(Err(_)) => return Poll::Ready(Err(End::SinkBroke)),
            Poll::Pending => 0,
        };
        self.count(written);
        if written < bytes.len() {
            self.pending = bytes[written..].to_vec();
            self.written = 0;
        }
        Poll::Ready(Ok(bytes.len()))
    }

    /// Writes what an earlier read left.
    fn poll_flush<S: AsyncWrite>(&mut self, cx: &mut Context<'_>, mut sink: Pin<&mut S>) -> Poll<io::Result<()>> {
        while self.written < self.pending.len() {
            let n = ready!(sink.as_mut().poll_write(cx, &self.pending[self.written..]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
            self.count(n);
        }
        // Gives the memory back, not only the contents.
        self.pending = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn count(&self, bytes: usize) {
        if let Some(moved) = self.moved {
            moved.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}
