//! One end of a connection, with the operations that the relay needs.
//!
//! Half-close, reset and the length of the send queue are part of what the relay promises: each end
//! of a relayed connection sees the end that it would have seen without the relay. `AsyncRead` and
//! `AsyncWrite` do not offer them, so the relay does not use these traits. [`Stream`] is an enum: a
//! call costs no indirection.
//!
//! - `tcp.rs`: a socket of the event loop, read and written with as few system calls as possible.
//! - `memory.rs`: a pair of ends without a kernel, for tests.
//! - `heard.rs`: what the kernel knows of whether the peer still answers.
//! - `chunk.rs`: the buffer that bytes pass through, and how much one read takes.

mod chunk;
pub(super) mod heard;
#[cfg(test)]
mod memory;
mod tcp;
#[cfg(test)]
pub mod testing;

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::ReadBuf,
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

pub use self::chunk::{BURST, Chunk, SCRATCH};
use self::heard::{Heard, Keepalive};

/// Maximum time that a peer may take none of the bytes queued for it before the relay stops
/// waiting.
pub const NO_PROGRESS: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 1_000 });

/// Maximum wait for a peer to close its side after we closed ours, as servers have it.
const LINGER: Duration = Duration::from_secs(30);
/// The same for a peer that sends nothing.
const LINGER_SILENCE: Duration = Duration::from_secs(5);

/// One end of a connection.
#[derive(Debug)]
pub enum Stream {
    /// A TCP socket.
    Tcp(TcpStream),
    /// An end in memory.
    #[cfg(test)]
    Memory(memory::MemoryStream),
}

// === impl Stream ===

impl Stream {
    /// Two ends that are connected with each other, without a kernel between them.
    #[cfg(test)]
    pub fn pair() -> (Self, Self) {
        let (a, b) = memory::pair();
        (Self::Memory(a), Self::Memory(b))
    }

    /// Reads what has arrived. Zero bytes are the peer's FIN.
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => tcp::poll_read(cx, stream, buffer),
            #[cfg(test)]
            Self::Memory(stream) => stream.poll_read(cx, buffer),
        }
    }

    /// Writes as many bytes as the send queue takes: at least one.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => tcp::poll_write(cx, stream, bytes),
            #[cfg(test)]
            Self::Memory(stream) => stream.poll_write(cx, bytes),
        }
    }

    /// As [`poll_write`](Self::poll_write), for the last bytes before FIN: both travel in one
    /// segment if there is room.
    pub fn poll_write_last(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => tcp::poll_write_last(cx, stream, bytes),
            #[cfg(test)]
            Self::Memory(stream) => stream.poll_write(cx, bytes),
        }
    }

    /// Writes as many bytes as the send queue takes, without asking the event loop first. Zero if
    /// it takes none.
    ///
    /// # Errors
    /// When the stream has failed.
    pub fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => tcp::write_now(stream, bytes),
            #[cfg(test)]
            Self::Memory(stream) => stream.write_now(bytes),
        }
    }

    /// Appends what has arrived, up to about `limit` bytes, without asking the event loop first: it
    /// does not know a stream yet that was just accepted.
    ///
    /// # Errors
    /// When the stream has failed. An empty receive queue is not an error.
    pub fn read_now(&self, to: &mut Vec<u8>, limit: usize) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => tcp::read_now(stream, to, limit),
            #[cfg(test)]
            Self::Memory(stream) => stream.read_now(to, limit),
        }
    }

    /// Copies the first bytes that have arrived; they stay in the receive queue. Zero bytes are the
    /// peer's FIN.
    fn poll_peek(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => stream.poll_peek(cx, &mut ReadBuf::new(buffer)),
            #[cfg(test)]
            Self::Memory(stream) => stream.poll_peek(cx, buffer),
        }
    }

    /// Whether the peer has neither sent anything nor ended, as a server that waits for a request.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        match self {
            Self::Tcp(stream) => tcp::is_idle(stream),
            #[cfg(test)]
            Self::Memory(stream) => stream.is_idle(),
        }
    }

    /// Sends FIN: there is no more to come from this side. The peer may go on sending.
    ///
    /// # Errors
    /// When the stream has failed. A peer that is already gone is not an error: it needs no FIN.
    pub fn finish(&self) -> io::Result<()> {
        let finished = match self {
            Self::Tcp(stream) => tcp::finish(stream),
            #[cfg(test)]
            Self::Memory(stream) => stream.finish(),
        };
        match finished {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            finished => finished,
        }
    }

    /// What the kernel knows of whether the peer still answers. Nothing for an end in memory.
    pub(super) fn heard(&self) -> Option<Heard> {
        match self {
            Self::Tcp(stream) => heard::heard(stream).ok(),
            #[cfg(test)]
            Self::Memory(_) => None,
        }
    }

    /// The own address and the peer's. Nothing for an end in memory.
    pub(super) fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Self::Tcp(stream) => Some((stream.local_addr().ok()?, stream.peer_addr().ok()?)),
            #[cfg(test)]
            Self::Memory(_) => None,
        }
    }

    /// Makes the peer meet silence from now on, or no longer. Its end still arrives.
    pub(super) fn deafen(&self, deaf: bool) {
        match self {
            Self::Tcp(stream) => heard::deafen(stream, deaf),
            #[cfg(test)]
            Self::Memory(_) => {}
        }
    }

    /// Has the kernel ask a silent peer whether it is there, unless it does so sooner already.
    pub(super) fn ask_when_silent(&self, keepalive: Keepalive) {
        match self {
            Self::Tcp(stream) => heard::ask_when_silent(stream, keepalive),
            #[cfg(test)]
            Self::Memory(_) => {}
        }
    }

    /// Breaks a connection whose peer has vanished, as a reset of that peer would.
    pub(super) fn give_up(&self) {
        match self {
            Self::Tcp(stream) => heard::give_up(stream),
            #[cfg(test)]
            Self::Memory(_) => {}
        }
    }

    /// Makes the close that follows send RST, as a server does that dies or does not listen.
    pub fn reset_on_close(&self) {
        match self {
            Self::Tcp(stream) => tcp::reset_on_close(stream),
            #[cfg(test)]
            Self::Memory(stream) => stream.reset_on_close(),
        }
    }

    /// Waits until the stream has failed. It shows failures to a relay that does not read from it
    /// at present.
    pub async fn failed(&self) {
        match self {
            Self::Tcp(stream) => tcp::failed(stream).await,
            #[cfg(test)]
            Self::Memory(stream) => poll_fn(|cx| stream.poll_failed(cx)).await,
        }
    }

    /// Bytes in the send queue that the peer has not acknowledged.
    fn unacknowledged(&self) -> usize {
        match self {
            Self::Tcp(stream) => tcp::unacknowledged(stream),
            #[cfg(test)]
            Self::Memory(stream) => stream.unacknowledged(),
        }
    }

    /// Whether the peer has acknowledged all that was written.
    #[must_use]
    pub fn has_sent_all(&self) -> bool {
        self.unacknowledged() == 0
    }

    /// Waits for bytes and appends them. Zero bytes are the peer's FIN.
    ///
    /// # Errors
    /// When the stream has failed.
    pub async fn read_more(&self, to: &mut Vec<u8>) -> io::Result<usize> {
        poll_fn(|cx| {
            SCRATCH.with_borrow_mut(|scratch| {
                let scratch = &mut scratch[..Chunk::default().size()];
                let n = ready!(self.poll_read(cx, scratch))?;
                to.extend_from_slice(&scratch[..n]);
                Poll::Ready(Ok(n))
            })
        })
        .await
    }

    /// Waits for bytes and shows the first of them, at most `limit`, to `look`; they stay in the
    /// receive queue. No bytes are the peer's FIN. The future owns no buffer.
    ///
    /// # Errors
    /// When the stream has failed.
    pub async fn peek<T>(&self, limit: usize, mut look: impl FnMut(&[u8]) -> T) -> io::Result<T> {
        poll_fn(|cx| {
            SCRATCH.with_borrow_mut(|scratch| {
                let scratch = &mut scratch[..limit];
                let n = ready!(self.poll_peek(cx, scratch))?;
                Poll::Ready(Ok(look(&scratch[..n])))
            })
        })
        .await
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// When the stream fails before the send queue has taken all of them.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = poll_fn(|cx| self.poll_write(cx, bytes)).await?;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Waits until the peer has acknowledged all that was written. Gives up when it acknowledges
    /// nothing for [`NO_PROGRESS`].
    pub async fn drained(&self) {
        let mut least = usize::MAX;
        let mut since = Instant::now();
        loop {
            let queued = self.unacknowledged();
            if queued == 0 || (queued >= least && since.elapsed() >= NO_PROGRESS) {
                return;
            }
            if queued < least {
                least = queued;
                since = Instant::now();
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Writes the bytes that the other end sent before it failed, as far as the peer takes them,
    /// and waits until they have arrived.
    pub async fn send_rest(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let write = poll_fn(|cx| self.poll_write(cx, bytes));
            let Ok(Ok(n)) = timeout(NO_PROGRESS, write).await else { return };
            bytes = &bytes[n..];
        }
        self.drained().await;
    }

    /// Sends FIN and waits for the peer's, at most for [`LINGER`], or for [`LINGER_SILENCE`]
    /// without a byte. Without this wait, a close becomes a reset if the peer has sent bytes that
    /// we do not read. The peer would lose the bytes that it has not read yet (RFC 9112, section
    /// 9.6).
    pub async fn linger(&self) {
        // A stream that has failed shows it at the next read.
        let _ = self.finish();
        let until_end = async {
            let discard = |cx: &mut Context<'_>| {
                SCRATCH.with_borrow_mut(|scratch| self.poll_read(cx, scratch))
            };
            while let Ok(Ok(1..)) = timeout(LINGER_SILENCE, poll_fn(discard)).await {}
        };
        let _ = timeout(LINGER, until_end).await;
    }
}

#[cfg(test)]
mod tests;
