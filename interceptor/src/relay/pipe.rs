//! Moves bytes between two connections so that each end notices as little as possible.
//!
//! - **Memory**: bytes pass through one scratch buffer per worker thread. A connection owns memory
//!   only while its reader is slower than its writer, and then at most its last read. An idle
//!   connection owns none.
//! - **Back-pressure**: nothing more is read from a side while the other has not taken the last
//!   read.
//! - **Ends**: a FIN is passed on after everything before it, in each direction by itself. A reset
//!   of one side becomes a reset of the other, after the bytes before it were passed on.
//! - **Fairness**: a busy connection gives the thread back after [`BURST`] bytes.

use std::{
    future::{Future as _, poll_fn},
    io,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, ready},
};

use tokio::time::sleep;

use super::{
    direction::Direction,
    observe::Observer,
    stream::{BURST, Chunk, NO_PROGRESS, SCRATCH, Stream},
    write_buffer::WriteBuffer,
};

/// How a pair of connections ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both directions ended with FIN.
    Closed,
    /// The client's side failed; the upstream side is to be reset.
    ClientFailed,
    /// The upstream side failed; the client's side is to be reset.
    UpstreamFailed,
}

/// What happened on a pair of connections before its bytes were piped.
#[derive(Debug, Default)]
pub struct Before {
    /// Read from the client, and not sent to the upstream side.
    pub up: Vec<u8>,
    /// Read from the upstream side, and not sent to the client.
    pub down: Vec<u8>,
    /// A write to the upstream side met a reset.
    pub upstream_was_reset: bool,
}

/// Moves bytes both ways until both directions have ended. The bytes that were read `before` go
/// first.
pub async fn pipe(
    client: &Stream,
    upstream: &Stream,
    before: Before,
    observer: &impl Observer,
) -> Ending {
    // Counts steps of either direction, to tell a slow reader from one that does not read.
    let progress = AtomicU64::new(0);
    let mut up = Flow::new(Direction::Up, before.up, observer, &progress);
    let mut down = Flow::new(Direction::Down, before.down, observer, &progress);
    up.end = before.upstream_was_reset.then_some(End::SinkReset);
    let mut failed = pin!(async {
        let ending = tokio::select! {
            () = client.failed() => Ending::ClientFailed,
            () = upstream.failed() => Ending::UpstreamFailed,
        };
        // What it sent before may still reach the other side.
        let mut before = None;
        while before.replace(progress.load(Ordering::Relaxed))
            != Some(progress.load(Ordering::Relaxed))
        {
            sleep(NO_PROGRESS).await;
        }
        ending
    });
    poll_fn(|cx| {
        let up_end = up.poll(cx, client, upstream, down.end);
        let down_end = down.poll(cx, upstream, client, up.end);
        match (up_end, down_end) {
            // A side that we read from failed: no more bytes can reach it.
            (Poll::Ready(End::SourceFailed), _) => return Poll::Ready(Ending::ClientFailed),
            (_, Poll::Ready(End::SourceFailed)) => return Poll::Ready(Ending::UpstreamFailed),
            (Poll::Ready(End::Finished), Poll::Ready(End::Finished)) => {
                return Poll::Ready(Ending::Closed);
            }
            // A side that we write to failed, and all its bytes before have reached the other.
            (Poll::Ready(End::SinkReset | End::SinkClosed), Poll::Ready(_)) => {
                return Poll::Ready(Ending::UpstreamFailed);
            }
            (Poll::Ready(_), Poll::Ready(End::SinkReset | End::SinkClosed)) => {
                return Poll::Ready(Ending::ClientFailed);
            }
            _ => {}
        }
        // While a side is not read, no failed read shows its failure.
        if !up.is_reading() || !down.is_reading() {
            failed.as_mut().poll(cx)
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
    SourceFailed,
    /// Writing met a reset. The socket reports that only once: a read now looks like its end.
    SinkReset,
    /// Writing met a socket whose peer was closed before.
    SinkClosed,
}

/// One direction.
struct Flow<'a, O> {
    direction: Direction,
    /// Read and not yet written. Empty and without memory most of the time.
    pending: WriteBuffer,
    chunk: Chunk,
    end: Option<End>,
    observer: &'a O,
    progress: &'a AtomicU64,
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

impl<'a, O: Observer> Flow<'a, O> {
    fn new(
        direction: Direction,
        pending: Vec<u8>,
        observer: &'a O,
        progress: &'a AtomicU64,
    ) -> Self {
        let chunk = Chunk::default();
        Self { direction, pending: pending.into(), chunk, end: None, observer, progress }
    }

    /// Whether the next poll reads from the source, and so would see its end or failure.
    fn is_reading(&self) -> bool {
        self.pending.is_empty() && self.end.is_none()
    }

    /// `opposite` is how the other direction ended, whose sink is our source.
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
                Ok(()) if opposite == Some(End::SinkReset) => End::SourceFailed,
                // Closing the sink sends it: the other direction has ended, and all of it was read.
                Ok(()) if opposite == Some(End::Finished) => {
                    self.observer.end(self.direction);
                    End::Finished
                }
                Ok(()) => self.finish(sink),
                Err(end) => end,
            },
        };
        self.end = Some(end);
        Poll::Ready(end)
    }

    /// Moves bytes until the source sends FIN, or one of the two fails.
    fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        source: &Stream,
        sink: &Stream,
    ) -> Poll<Result<(), End>> {
        let mut burst = 0;
        loop {
            ready!(self.poll_flush(cx, sink)).map_err(|error| End::of_write(&error))?;
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

    /// Reads once, and writes what was read. Returns the number of bytes read.
    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        source: &Stream,
        sink: &Stream,
        scratch: &mut [u8],
    ) -> Poll<Result<usize, End>> {
        let Ok(n) = ready!(source.poll_read(cx, &mut scratch[..self.chunk.size()])) else {
            return Poll::Ready(Err(End::SourceFailed));
        };
        self.chunk.adapt(n);
        if n == 0 {
            return Poll::Ready(Ok(0));
        }
        let bytes = &scratch[..n];
        match self.pending.write(cx, sink, bytes) {
            Ok(written) => passed(self.observer, self.direction, self.progress, &bytes[..written]),
            Err(error) => return Poll::Ready(Err(End::of_write(&error))),
        }
        Poll::Ready(Ok(n))
    }

    /// Writes what is left of an earlier read.
    fn poll_flush(&mut self, cx: &mut Context<'_>, sink: &Stream) -> Poll<io::Result<()>> {
        let Self { pending, observer, direction, progress, .. } = self;
        pending.poll_flush(cx, sink, |bytes| passed(*observer, *direction, progress, bytes))
    }

    /// Passes a FIN on.
    fn finish(&self, sink: &Stream) -> End {
        match sink.finish() {
            Ok(()) => {
                self.observer.end(self.direction);
                End::Finished
            }
            Err(error) => End::of_write(&error),
        }
    }
}

/// Reports bytes that were written.
fn passed(observer: &impl Observer, direction: Direction, progress: &AtomicU64, bytes: &[u8]) {
    progress.fetch_add(1, Ordering::Relaxed);
    if !bytes.is_empty() {
        observer.bytes(direction, bytes);
    }
}

#[cfg(test)]
mod tests;
