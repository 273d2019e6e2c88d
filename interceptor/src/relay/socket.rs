//! What tokio and socket2 have no word for: a reset at the close, and the wait for a send queue.

use std::{os::fd::AsRawFd as _, time::Duration};

use socket2::SockRef;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

/// How long a peer may take none of what is queued for it before the wait is given up.
pub const NO_PROGRESS: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 1_000 });

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

/// Bytes in the send queue that the peer has not acknowledged (SIOCOUTQ, tcp(7)).
fn unacknowledged(stream: &TcpStream) -> usize {
    let mut bytes: libc::c_int = 0;
    #[expect(unsafe_code, reason = "no library has this ioctl")]
    // SAFETY: the descriptor is open as long as `stream`, and the kernel writes one int.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}
