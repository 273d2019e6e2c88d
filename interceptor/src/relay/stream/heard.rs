//! Whether the peer of a TCP socket still answers, as far as the kernel knows (`TCP_INFO`, tcp(7)).

use std::{io, os::fd::AsRawFd as _, time::Duration};

use rustix::net::connect_unspec;
use socket2::{SockFilter, SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// The length of `struct tcp_info` up to the last field that is read here, in bytes.
const LENGTH: usize = 60;

/// What the kernel knows of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) struct Heard {
    /// The time since anything came from it.
    pub(in crate::relay) silent_for: Duration,
    /// The number of unanswered retransmissions in a row.
    pub(in crate::relay) retransmissions: u8,
    /// The number of unanswered probes in a row, of keepalive or of a closed window.
    pub(in crate::relay) probes: u8,
}

/// When and how often the kernel asks a silent peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) struct Keepalive {
    /// The silence before the first probe.
    pub(in crate::relay) after: Duration,
    /// The time between unanswered probes.
    pub(in crate::relay) every: Duration,
    /// The number of unanswered probes after which the kernel gives up. At most 127.
    pub(in crate::relay) probes: u32,
}

// === impl Heard ===

impl Heard {
    /// Reads the beginning of a `struct tcp_info`, whose numbers are the host's.
    fn of(info: &[u8; LENGTH]) -> Self {
        let ms = |at: usize| {
            let [a, b, c, d] = [info[at], info[at + 1], info[at + 2], info[at + 3]];
            Duration::from_millis(u32::from_ne_bytes([a, b, c, d]).into())
        };
        // The last data and the last ACK.
        Self { silent_for: ms(52).min(ms(56)), retransmissions: info[2], probes: info[3] }
    }
}

pub(super) fn heard(stream: &TcpStream) -> io::Result<Heard> {
    let mut info = [0; LENGTH];
    let mut length = LENGTH as libc::socklen_t;
    #[expect(unsafe_code, reason = "no library has the option with these fields")]
    // SAFETY: the descriptor is open as long as `stream`. The kernel writes `length` bytes or less.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Heard::of(&info))
}

pub(super) fn ask_when_silent(stream: &TcpStream, keepalive: Keepalive) {
    let Keepalive { after, every, probes } = keepalive;
    let socket = SockRef::from(stream);
    let is_sooner = || socket.tcp_keepalive_time().is_ok_and(|now| now < after);
    if socket.keepalive().unwrap_or(false) && is_sooner() {
        return;
    }
    let options = TcpKeepalive::new().with_time(after).with_interval(every).with_retries(probes);
    // Fails only on a socket that is no longer connected.
    let _ = socket.set_tcp_keepalive(&options);
}

/// Drops what arrives, unless it ends the connection: nothing of it is acknowledged.
pub(super) fn deafen(stream: &TcpStream, deaf: bool) {
    // The load, jump and return instructions of linux/bpf_common.h.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_ANY: u16 = 0x45;
    const RETURN: u16 = 0x06;
    // In the TCP header, with which the packet begins.
    const FLAGS: u32 = 13;
    const FIN_OR_RST: u32 = 0x05;
    let step = |code, jf, k| SockFilter::new(code, 0, jf, k);
    let filter = [
        step(LOAD_BYTE, 0, FLAGS),
        step(JUMP_IF_ANY, 1, FIN_OR_RST),
        step(RETURN, 0, u32::MAX),
        step(RETURN, 0, 0),
    ];
    let socket = SockRef::from(stream);
    // Fails if the socket is out of memory. The app then hears of the client later.
    let _ = if deaf { socket.attach_filter(&filter) } else { socket.detach_filter() };
}

pub(super) fn give_up(stream: &TcpStream) {
    // The kernel sends RST and reports ECONNRESET. Fails only on a socket without a connection.
    let _ = connect_unspec(stream);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::stream::{Stream, testing::Kind};

    #[test]
    fn the_fields_are_those_of_the_kernels_struct() {
        let mut info = [0; LENGTH];
        (info[2], info[3]) = (3, 1);
        info[52..56].copy_from_slice(&70_000_u32.to_ne_bytes());
        info[56..].copy_from_slice(&40_000_u32.to_ne_bytes());
        let silent_for = Duration::from_secs(40);
        assert_eq!(Heard::of(&info), Heard { silent_for, retransmissions: 3, probes: 1 });
    }

    #[tokio::test]
    async fn a_peer_that_answers_was_heard() {
        let (a, b) = Kind::Tcp.pair().await;
        b.write_all(b"x").await.expect("writes");
        a.read_more(&mut Vec::new()).await.expect("reads");
        let heard = a.heard().expect("a socket");
        assert!(heard.silent_for < Duration::from_secs(5), "{heard:?}");
        assert_eq!((heard.retransmissions, heard.probes), (0, 0));
    }

    #[tokio::test]
    async fn a_deaf_end_gets_and_acknowledges_nothing_but_the_end() {
        let (a, b) = Kind::Tcp.pair().await;
        a.deafen(true);
        b.write_all(b"hello").await.expect("writes");
        let mut got = Vec::new();
        let read = tokio::time::timeout(Duration::from_millis(300), a.read_more(&mut got)).await;
        assert!(read.is_err(), "{got:?}");
        assert!(!b.has_sent_all());
        a.deafen(false);
        a.read_more(&mut got).await.expect("reads");
        assert_eq!(got, b"hello");
        b.drained().await;

        a.deafen(true);
        b.reset_on_close();
        drop(b);
        let error = a.read_more(&mut got).await.expect_err("a reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_silent_peer_is_asked_at_the_shorter_of_two_times() {
        let (a, _b) = Kind::Tcp.pair().await;
        let Stream::Tcp(socket) = &a else { panic!("{a:?}") };
        let every = Duration::from_secs(1);
        for (after, then) in [(20, 20), (30, 20), (10, 10), (15, 10), (10, 10)] {
            let after = Duration::from_secs(after);
            a.ask_when_silent(Keepalive { after, every, probes: 3 });
            let now = SockRef::from(socket).tcp_keepalive_time().expect("a time");
            assert_eq!(now.as_secs(), then);
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_given_up_fails_like_one_that_was_reset() {
        let (a, b): (Stream, Stream) = Kind::Tcp.pair().await;
        a.give_up();
        for side in [a, b] {
            let error = side.read_more(&mut Vec::new()).await.expect_err("a reset");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }
}
