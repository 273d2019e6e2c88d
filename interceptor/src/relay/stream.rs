//! Reading and writing a TCP stream of the event loop's with as few system calls as there can be.

use std::{
    cell::RefCell,
    io::{self, Read as _, Write as _},
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};

/// The first reads of a connection are this large at most, in bytes.
const SMALL: usize = 16 << 10;
/// Reads grow up to this as long as they fill what they are given, in bytes.
const LARGE: usize = 256 << 10;
/// How reads grow and shrink.
const STEP: usize = 4;

thread_local! {
    /// Where bytes stand between a read and the write after it. Stays in the cache of the worker's core.
    pub static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; LARGE].into_boxed_slice());
}

/// How much the next read of a stream may take.
#[derive(Clone, Copy, Debug)]
pub struct Chunk(usize);

// === impl Chunk ===

impl Default for Chunk {
    fn default() -> Self {
        Self(SMALL)
    }
}

impl Chunk {
    /// In bytes.
    #[must_use]
    pub fn size(self) -> usize {
        self.0
    }

    /// Grows after a read that filled it, and shrinks after a small one.
    pub fn adapt(&mut self, n: usize) {
        if n == self.0 {
            self.0 = LARGE.min(self.0 * STEP);
        } else if n < self.0 / (STEP * STEP) {
            self.0 = SMALL.max(self.0 / STEP);
        }
    }
}

/// Writes what there is room for, if any, to a stream that the event loop has not been told of room.
///
/// # Errors
/// When the stream has failed. That there is no room is no error.
pub fn write_now(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match (&*SockRef::from(stream)).write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

/// Reads what is there. After a read that did not fill the buffer the queue is empty, so the stream is waited for
/// without another system call that would only say so (epoll(7), question 9).
pub fn poll_read(
    cx: &mut Context<'_>,
    stream: &TcpStream,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_read_ready(cx))?;
        let mut read = None;
        let attempt = stream.try_io(Interest::READABLE, || {
            let n = (&*SockRef::from(stream)).read(buffer)?;
            read = Some(n);
            // Said to the event loop only: it forgets that the stream was readable. A FIN it remembers.
            if 0 < n && n < buffer.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match (read, attempt) {
            (Some(n), _) => return Poll::Ready(Ok(n)),
            (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            (None, Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            (None, Err(error)) => return Poll::Ready(Err(error)),
            (None, Ok(())) => unreachable!("a read that gave nothing failed"),
        }
    }
}

/// Appends what is there by now, but not much more than `limit` bytes, for a stream that is so new that the event loop
/// knows nothing of it yet.
///
/// # Errors
/// When the stream has failed. That there is nothing is no error.
pub fn read_now(stream: &TcpStream, to: &mut Vec<u8>, limit: usize) -> io::Result<()> {
    loop {
        let length = to.len();
        to.resize(to.capacity(), 0);
        let read = (&*SockRef::from(stream)).read(&mut to[length..]);
        to.truncate(length + *read.as_ref().unwrap_or(&0));
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
            Ok(_) if to.len() < to.capacity() || to.len() >= limit => return Ok(()),
            Ok(_) => to.reserve(to.len()),
        }
    }
}

/// Writes what there is room for: at least one byte.
pub fn poll_write(
    cx: &mut Context<'_>,
    stream: &TcpStream,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(cx))?;
        let mut written = None;
        let attempt = stream.try_io(Interest::WRITABLE, || {
            let n = (&*SockRef::from(stream)).write(bytes)?;
            written = Some(n);
            if n < bytes.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match (written, attempt) {
            (Some(0), _) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            (Some(n), _) => return Poll::Ready(Ok(n)),
            (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            (None, Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            (None, Err(error)) => return Poll::Ready(Err(error)),
            (None, Ok(())) => unreachable!("a write that took nothing failed"),
        }
    }
}

/// Appends what `stream` has to say. Nothing is its end.
pub async fn read_more(stream: &TcpStream, to: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read_buf(to) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}
