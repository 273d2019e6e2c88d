//! What tokio and socket2 have no word for: a reset at the close, and the wait for a send queue.

use std::{io, mem::MaybeUninit, net::Shutdown, os::fd::AsRawFd as _, time::Duration};

use socket2::SockRef;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

/// How long a peer may take none of what is queued for it before the wait is given up.
pub const NO_PROGRESS: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 1_000 });

/// How long a peer may take to close its side.
const LINGER: Duration = Duration::from_secs(5);

/// Makes the close that follows send an RST, as a server does that dies or has nobody listening.
pub fn reset_on_close(stream: &TcpStream) {
    // Fails only on a socket that is no longer connected, and then there is nobody to tell.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Waits until the peer has acknowledged all that was written, or takes nothing any more for [`NO_PROGRESS`].
pub async fn drained(stream: &TcpStream) {
    let mut least = usize::MAX;
    let mut since = Instant::now();
    loop {
        let queued = unacknowledged(stream);
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

/// Whether the peer has neither said anything nor ended, as a server does that waits for a request.
pub fn is_idle(stream: &TcpStream) -> bool {
    let peeked = SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]);
    peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Says that there is no more to come. The peer's own words may go on.
pub fn finish(stream: &TcpStream) {
    // Fails only on a socket that is no longer connected, and then there is nobody to tell.
    let _ = SockRef::from(stream).shutdown(Shutdown::Write);
}

/// Writes what somebody said before he broke off, as far as the peer takes it, and waits until it has arrived.
pub async fn last_words(stream: &TcpStream, mut words: &[u8]) {
    while !words.is_empty() {
        let Ok(Ok(())) = timeout(NO_PROGRESS, stream.writable()).await else { return };
        match stream.try_write(words) {
            Ok(n) => words = &words[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
    drained(stream).await;
}

/// Says that there is no more to come, and waits for the peer to say the same: at most [`LINGER`]. Closing at once
/// would throw away what it has not read yet if it has said something that nobody reads (RFC 9112, section 9.6).
pub async fn linger(stream: &TcpStream) {
    finish(stream);
    let until_end = async {
        let mut nowhere = [0; 1024];
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut nowhere) {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    };
    let _ = timeout(LINGER, until_end).await;
}

/// Bytes in the send queue that the peer has not acknowledged (SIOCOUTQ, tcp(7)).
fn unacknowledged(stream: &TcpStream) -> usize {
    let mut bytes: libc::c_int = 0;
    #[expect(unsafe_code, reason = "no library has this ioctl")]
    // SAFETY: the descriptor is open as long as `stream`, and the kernel writes one int.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}
