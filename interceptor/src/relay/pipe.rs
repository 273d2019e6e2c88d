//! Moving bytes between two connections so that each end notices as little as possible.
//!
//! - **Memory**: bytes pass through one scratch buffer per worker thread. A connection owns memory
//!   only while its reader is slower than its writer, and then no more than its last read; an idle
//!   one owns none.
//! - **Pressure**: nothing more is read from a side while the other has not taken what was read
//!   before.
//! - **Ends**: a FIN is passed on when everything before it is through, in each direction by
//!   itself. A reset of one side becomes a reset of the other, after what it said before was passed
//!   on.
//! - **Fairness**: one busy connection gives the thread back after [`BURST`] bytes.

use std::{
    future::{Future as _, poll_fn},
    io,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, ready},
};

use tokio::time::sleep;

use super::stream::{Chunk, NO_PROGRESS, SCRATCH, Stream};

/// A direction gives way to others after this many bytes.
const BURST: usize = 1 << 20;

/// How a pair of connections ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both directions were closed in order.
    Closed,
    /// `a` broke off; `b` is to be reset.
    ABroke,
    /// `b` broke off; `a` is to be reset.
    BBroke,
}

/// What happened on a pair of connections before its bytes were piped.
#[derive(Debug, Default)]
pub struct Before {
    /// What `a` has said and `b` has not been sent, and the other way round.
    pub said: [Vec<u8>; 2],
    /// Writing to `b` met a reset.
    pub b_was_reset: bool,
}

/// Moves bytes both ways until both directions have ended. What was said `before` goes first.
///
/// `moved` counts the bytes from `a` to `b` and from `b` to `a` as they are written.
pub async fn pipe(
    a: &Stream,
    b: &Stream,
    before: impl Into<Before>,
    moved: [Option<&AtomicU64>; 2],
) -> Ending {
    let Before { said: [said_up, said_down], b_was_reset } = before.into();
    // Counts steps of either direction, to tell a slow reader from one that does not read.
    let progress = AtomicU64::new(0);
    let mut up = Flow::new(said_up, moved[0], &progress);
    let mut down = Flow::new(said_down, moved[1], &progress);
    up.end = b_was_reset.then_some(End::SinkReset);
    let mut broken = pin!(async {
        let ending = tokio::select! {
            () = a.failed() => Ending::ABroke,
            () = b.failed() => Ending::BBroke,
        };
        // What it said before may still reach the other.
        let mut before = None;
        while before.replace(progress.load(Ordering::Relaxed))
            != Some(progress.load(Ordering::Relaxed))
        {
            sleep(NO_PROGRESS).await;
        }
        ending
    });
    poll_fn(|cx| {
        let up_end = up.poll(cx, a, b, down.end);
        let down_end = down.poll(cx, b, a, up.end);
        match (up_end, down_end) {
            // A side that we read from broke off: nothing of what the other still says can reach
            // it.
            (Poll::Ready(End::SourceBroke), _) => return Poll::Ready(Ending::ABroke),
            (_, Poll::Ready(End::SourceBroke)) => return Poll::Ready(Ending::BBroke),
            (Poll::Ready(End::Finished), Poll::Ready(End::Finished)) => {
                return Poll::Ready(Ending::Closed);
            }
            // A side that we write to broke off, and all that it said before has reached the other.
            (Poll::Ready(End::SinkReset | End::SinkClosed), Poll::Ready(_)) => {
                return Poll::Ready(Ending::BBroke);
            }
            (Poll::Ready(_), Poll::Ready(End::SinkReset | End::SinkClosed)) => {
                return Poll::Ready(Ending::ABroke);
            }
            _ => {}
        }
        // A side that is not being read can't show by a failed read that it broke off.
        if !up.is_reading() || !down.is_reading() {
            broken.as_mut().poll(cx)
        } else {
            Poll::Pending
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
    /// Writing met a reset. That was the only time the socket tells of it: reading from it now
    /// looks like its end.
    SinkReset,
    /// Writing met a socket that had ended before.
    SinkClosed,
}

/// One direction.
struct Flow<'a> {
    /// Read and not yet written, from `written` on. Empty and without memory most of the time.
    pending: Vec<u8>,
    written: usize,
    chunk: Chunk,
    end: Option<End>,
    moved: Option<&'a AtomicU64>,
    progress: &'a AtomicU64,
}

// === impl Before ===

impl From<[Vec<u8>; 2]> for Before {
    fn from(said: [Vec<u8>; 2]) -> Self {
        Self { said, b_was_reset: false }
    }
}

// === impl End ===

impl End {
    fn of_write(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::ConnectionReset {
            Self::SinkReset
        } else {
            Self::SinkClosed
        }
    }
}

// === impl Flow ===

impl<'a> Flow<'a> {
    fn new(pending: Vec<u8>, moved: Option<&'a AtomicU64>, progress: &'a AtomicU64) -> Self {
        Self { pending, written: 0, chunk: Chunk::default(), end: None, moved, progress }
    }

    /// Whether the source is waited for, so that its end or failure will be seen.
    fn is_reading(&self) -> bool {
        self.pending.is_empty() && self.end.is_none()
    }

    /// `opposite` is how the other direction ended: what it met on our source.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &Stream,
        sink: &Stream,
        opposite: Option<End>,
    ) -> Poll<End> {
        let end = match self.end {
            Some(end) => end,
            None => match ready!(self.poll_move(cx, source, sink)) {
                Ok(()) if opposite == Some(End::SinkReset) => End::SourceBroke,
                // Closing it says so: that has ended, and all of it was read.
                Ok(()) if opposite == Some(End::Finished) => End::Finished,
                Ok(()) => finish(sink),
                Err(end) => end,
            },
        };
        self.end = Some(end);
        Poll::Ready(end)
    }

    /// Moves bytes until there are no more: the source said FIN, or one of the two failed.
    fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        source: &Stream,
        sink: &Stream,
    ) -> Poll<Result<(), End>> {
        let mut burst = 0;
        loop {
            if !self.pending.is_empty() {
                ready!(self.poll_flush(cx, sink)).map_err(|error| End::of_write(&error))?;
            }
            if burst >= BURST {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let step = SCRATCH.with_borrow_mut(|scratch| self.poll_step(cx, source, sink, scratch));
            match ready!(step)? {
                0 => return Poll::Ready(Ok(())),
                n => burst += n,
            }
        }
    }

    /// One read, and the write of what it gave. Gives the number of bytes read.
    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        source: &Stream,
        sink: &Stream,
        scratch: &mut [u8],
    ) -> Poll<Result<usize, End>> {
        let Ok(n) = ready!(source.poll_read(cx, &mut scratch[..self.chunk.size()])) else {
            return Poll::Ready(Err(End::SourceBroke));
        };
        self.chunk.adapt(n);
        if n == 0 {
            return Poll::Ready(Ok(0));
        }
        let bytes = &scratch[..n];
        let written = match sink.poll_write(cx, bytes) {
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(End::of_write(&error))),
            Poll::Pending => 0,
        };
        self.count(written);
        if written < n {
            self.pending = bytes[written..].to_vec();
            self.written = 0;
        }
        Poll::Ready(Ok(n))
    }

    /// Writes what an earlier read left.
    fn poll_flush(&mut self, cx: &mut Context<'_>, sink: &Stream) -> Poll<io::Result<()>> {
        while self.written < self.pending.len() {
            let n = ready!(sink.poll_write(cx, &self.pending[self.written..]))?;
            self.written += n;
            self.count(n);
        }
        // Gives the memory back, not only the contents.
        self.pending = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn count(&self, bytes: usize) {
        self.progress.fetch_add(1, Ordering::Relaxed);
        if let Some(moved) = self.moved {
            moved.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}

/// Passes a FIN on.
fn finish(sink: &Stream) -> End {
    sink.finish().map_or_else(|error| End::of_write(&error), |()| End::Finished)
}

#[cfg(test)]
mod tests;
