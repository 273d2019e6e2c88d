//! One attempt to connect a socket, with all that has to be in place before its SYN is sent.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use socket2::{Socket, TcpKeepalive};
use tokio::net::TcpStream;

use crate::relay::{
    loop_guard::Hops, netns_stream::NetnsStream, stream::Stream, upstream::Upstream,
    workload::Workload,
};

/// Keepalive that detects, while neither side sends, that the app's end is gone. Both ends are in
/// one kernel, which answers the first probe.
const SAME_KERNEL: TcpKeepalive = TcpKeepalive::new().with_time(Duration::from_secs(60));

/// When the last packet of the handshake, the ACK, is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// With the first bytes, which this side sends at once.
    Delayed,
    /// By itself: the peer may be the first to send.
    Immediate,
}

/// The client on whose behalf a target is dialled.
#[derive(Clone, Debug)]
pub struct Cause {
    /// The redirected ports that led here.
    pub path: Arc<Hops>,
    /// The pod's address that the client connected to, and so probably the source of the new
    /// connection.
    pub destination: IpAddr,
}

/// The two ends of a new connection.
pub(super) struct Ends {
    /// Known if both ends are inside the namespace.
    pub(super) source: Option<SocketAddr>,
    pub(super) to: SocketAddr,
}

/// Connects `socket`. A connection that stays inside the namespace is first registered to bypass
/// our program.
pub(super) async fn connect(
    workload: &Workload,
    socket: Socket,
    Ends { source, to }: Ends,
    cause: Option<Cause>,
    ack: Ack,
) -> io::Result<Upstream> {
    socket.set_tcp_nodelay(true)?;
    // Without this, the kernel takes an urgent byte out of the stream (RFC 6093).
    socket.set_out_of_band_inline(true)?;
    if ack == Ack::Delayed {
        socket.set_tcp_quickack(false)?;
    }
    let bypass = match source {
        Some(source) => {
            // A minute after an app has closed its end, the kernel forgets it (`tcp_fin_timeout`).
            // It sends no packet to a client that keeps its own end open.
            socket.set_tcp_keepalive(&SAME_KERNEL)?;
            Some(workload.bypass.register(source)?)
        }
        None => {
            socket.set_keepalive(true)?;
            None
        }
    };
    let registration = match cause {
        Some(Cause { path, destination }) => {
            let dialling = workload.loop_guard.dialling(destination);
            send_syn(&socket, to)?;
            Some(dialling.register(local_addr(&socket)?, path))
        }
        None => {
            send_syn(&socket, to)?;
            None
        }
    };
    // Inside the namespace the handshake is complete by now, unless the app's accept queue is full.
    let is_connected = bypass.is_some() && socket.peer_addr().is_ok();
    let stream = TcpStream::from_std(socket.into())?;
    if !is_connected {
        stream.writable().await?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
    }
    let stream = NetnsStream::new(Stream::Tcp(stream), &workload.gone);
    Ok(Upstream { shown: None, stream, bypass, registration, unanswered: None, watch: None })
}

fn send_syn(socket: &Socket, to: SocketAddr) -> io::Result<()> {
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        result => result,
    }
}

pub(super) fn local_addr(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Whether an error means a shortage on this side, rather than anything about the peer.
pub(super) fn is_exhaustion(error: &io::Error) -> bool {
    is_shortage(error)
        || matches!(
            error.raw_os_error(),
            Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE | libc::EAGAIN)
        )
}

/// Whether an error means that the process or the system is out of file descriptors or memory.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
