//! Two connected ends in memory, which behave as two sockets of Linux do: a bounded send queue, FIN
//! in each direction by itself, and a reset that is reported once.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

/// Bytes that the receiving end acknowledges before its reader takes them.
pub(super) const WINDOW: usize = 64 << 10;
/// Maximum number of bytes between a writer and its reader; those beyond [`WINDOW`] are in the send
/// queue.
pub(super) const CAPACITY: usize = 2 * WINDOW;

/// One of two ends.
#[derive(Debug)]
pub struct MemoryStream {
    link: Arc<Mutex<[End; 2]>>,
    index: usize,
    resets_on_close: AtomicBool,
}

/// The state of one end.
#[derive(Debug, Default)]
struct End {
    /// Sent by the peer and not read.
    incoming: VecDeque<u8>,
    /// The peer has sent FIN.
    peer_finished: bool,
    /// This end has sent FIN.
    finished: bool,
    /// This end is closed.
    closed: bool,
    /// A reset has arrived.
    failed: bool,
    /// The error of the reset, until a call has reported it.
    error: Option<io::ErrorKind>,
    /// Tasks that wait for a change of either end.
    wakers: Vec<Waker>,
}

/// Two ends that are connected with each other.
pub(super) fn pair() -> (MemoryStream, MemoryStream) {
    let link: Arc<Mutex<[End; 2]>> = Arc::default();
    let end = |index| MemoryStream {
        link: Arc::clone(&link),
        index,
        resets_on_close: AtomicBool::new(false),
    };
    (end(0), end(1))
}

// === impl MemoryStream ===

impl MemoryStream {
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(cx, |own, _| own.read(buffer))
    }

    pub(super) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(cx, |own, _| own.peek(buffer))
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(cx, |own, peer| own.write(peer, bytes))
    }

    pub(super) fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        self.change(|own, peer| own.write(peer, bytes)).unwrap_or(Ok(0))
    }

    pub(super) fn read_now(&self, to: &mut Vec<u8>, limit: usize) -> io::Result<()> {
        let mut buffer = vec![0; limit];
        match self.change(|own, _| own.read(&mut buffer)) {
            Some(read) => read.map(|n| to.extend_from_slice(&buffer[..n])),
            None => Ok(()),
        }
    }

    pub(super) fn poll_failed(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx, |own, _| own.failed.then_some(()))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.change(|own, _| own.peek(&mut [0])).is_none()
    }

    pub(super) fn finish(&self) -> io::Result<()> {
        self.change(|own, peer| {
            if own.failed {
                return Err(io::ErrorKind::NotConnected.into());
            }
            own.finished = true;
            peer.peer_finished = true;
            Ok(())
        })
    }

    pub(super) fn reset_on_close(&self) {
        self.resets_on_close.store(true, Ordering::Relaxed);
    }

    pub(super) fn unacknowledged(&self) -> usize {
        self.change(|_, peer| peer.incoming.len().saturating_sub(WINDOW))
    }

    /// Tries `call`, and registers the task if it returns nothing.
    fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        call: impl FnOnce(&mut End, &mut End) -> Option<T>,
    ) -> Poll<T> {
        match self.change(call) {
            Some(ready) => Poll::Ready(ready),
            None => {
                let mut link = self.link.lock();
                let wakers = &mut link[self.index].wakers;
                if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                    wakers.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// Passes both ends to `call`, this one first. Wakes all waiting tasks if the ends have
    /// changed.
    fn change<T>(&self, call: impl FnOnce(&mut End, &mut End) -> T) -> T {
        let mut link = self.link.lock();
        let before = link.each_ref().map(End::state);
        let [first, second] = &mut *link;
        let (own, peer) = if self.index == 0 { (first, second) } else { (second, first) };
        let result = call(own, peer);
        if link.each_ref().map(End::state) != before {
            link.iter_mut().flat_map(|end| end.wakers.drain(..)).for_each(Waker::wake);
        }
        result
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        let resets = self.resets_on_close.load(Ordering::Relaxed);
        self.change(|own, peer| {
            own.closed = true;
            // Linux answers with a reset, too, for bytes that no call has read.
            if resets || !own.incoming.is_empty() {
                // The send queue is lost.
                peer.incoming.truncate(WINDOW);
                peer.fail();
            } else {
                peer.peer_finished = true;
            }
        });
    }
}

// === impl End ===

impl End {
    /// What waiting tasks may see of it.
    fn state(&self) -> (usize, bool, bool, bool) {
        (self.incoming.len(), self.peer_finished, self.failed, self.closed)
    }

    /// None if nothing has arrived.
    fn read(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let read = self.peek(buffer)?;
        match &read {
            Ok(n) => drop(self.incoming.drain(..n)),
            Err(_) => self.error = None,
        }
        Some(read)
    }

    /// As [`Self::read`], but removes nothing.
    fn peek(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let n = self.incoming.len().min(buffer.len());
        if n > 0 {
            self.incoming.iter().zip(&mut buffer[..n]).for_each(|(byte, to)| *to = *byte);
            return Some(Ok(n));
        }
        match self.error {
            _ if self.peer_finished => Some(Ok(0)),
            Some(error) => Some(Err(error.into())),
            None => self.failed.then_some(Ok(0)),
        }
    }

    /// None if the send queue is full.
    fn write(&mut self, peer: &mut Self, bytes: &[u8]) -> Option<io::Result<usize>> {
        if let Some(error) = self.error.take() {
            return Some(Err(error.into()));
        }
        if self.failed || self.finished {
            return Some(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if peer.closed {
            // The bytes go out, and a reset comes back.
            self.fail();
            return Some(Ok(bytes.len()));
        }
        let n = bytes.len().min(CAPACITY - peer.incoming.len());
        peer.incoming.extend(&bytes[..n]);
        (n > 0).then_some(Ok(n))
    }

    /// A reset has arrived.
    fn fail(&mut self) {
        if !self.failed {
            self.failed = true;
            self.error = Some(if self.peer_finished {
                io::ErrorKind::BrokenPipe
            } else {
                io::ErrorKind::ConnectionReset
            });
        }
    }
}
