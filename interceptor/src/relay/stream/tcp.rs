//! The operations of [`Stream`](super::Stream) for a TCP socket of the event loop, with as few
//! system calls as possible.

use std::{
    io::{self, Read as _, Write as _},
    mem::MaybeUninit,
    net::Shutdown,
    os::fd::AsRawFd as _,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};

/// Reads what has arrived.
///
/// After a read that did not fill the buffer the receive queue is empty. The event loop then waits
/// for the socket without another system call that would only report that (epoll(7), question 9).
pub(super) fn poll_read(
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
            // This error is for the event loop alone, which then forgets that the stream was
            // readable. It remembers a FIN.
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

/// Writes as many bytes as the send queue takes: at least one.
pub(super) fn poll_write(
    cx: &mut Context<'_>,
    stream: &TcpStream,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    poll_write_by(cx, stream, bytes, |bytes| (&*SockRef::from(stream)).write(bytes))
}

/// The same, but the last segment waits for the FIN, at most 200 ms (`MSG_MORE`, tcp(7)).
pub(super) fn poll_write_last(
    cx: &mut Context<'_>,
    stream: &TcpStream,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    poll_write_by(cx, stream, bytes, |bytes| {
        SockRef::from(stream).send_with_flags(bytes, libc::MSG_MORE | libc::MSG_NOSIGNAL)
    })
}

fn poll_write_by(
    cx: &mut Context<'_>,
    stream: &TcpStream,
    bytes: &[u8],
    write: impl Fn(&[u8]) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(cx))?;
        let mut written = None;
        let attempt = stream.try_io(Interest::WRITABLE, || {
            let n = write(bytes)?;
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

/// Writes as many bytes as the send queue takes, maybe none.
pub(super) fn write_now(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match (&*SockRef::from(stream)).write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

/// Appends what has arrived, up to about `limit` bytes.
pub(super) fn read_now(stream: &TcpStream, to: &mut Vec<u8>, limit: usize) -> io::Result<()> {
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

/// Whether the receive queue is empty and the peer has not ended.
pub(super) fn is_idle(stream: &TcpStream) -> bool {
    let peeked = SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]);
    peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Sends FIN.
pub(super) fn finish(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).shutdown(Shutdown::Write)
}

/// Makes the close that follows send RST.
pub(super) fn reset_on_close(stream: &TcpStream) {
    // Fails only on a socket that is no longer connected: then it has no peer that could see the
    // reset.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Waits until the socket has an error.
pub(super) async fn failed(stream: &TcpStream) {
    // Fails only when the event loop is gone, and this task with it.
    let _ = stream.ready(Interest::ERROR).await;
}

/// Bytes in the send queue that the peer has not acknowledged (SIOCOUTQ, tcp(7)).
pub(super) fn unacknowledged(stream: &TcpStream) -> usize {
    let mut bytes: libc::c_int = 0;
    #[expect(unsafe_code, reason = "no library has this ioctl")]
    // SAFETY: the descriptor is open as long as `stream`, and the kernel writes one int.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}
