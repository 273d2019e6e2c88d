//! Does `accept` really name the caller? Tried with a connection of our own for each kind of socket.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use socket2::Socket;
use tokio::{
    net::{TcpListener, TcpSocket},
    time::timeout,
};

use super::error::CallerError;

/// How long a trial may take: it goes over the loopback interface.
const PATIENCE: Duration = Duration::from_millis(250);

/// Nobody has these addresses (RFC 5737, RFC 3849).
const SOMEBODY4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 7);
const SOMEBODY6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 7);

/// Tries an IPv4 socket, an IPv6 one, and an IPv6 one with an IPv4 caller, in the namespace where `socket` makes them.
///
/// `show` has the application that is called at a port by a relay's address see a caller, as long as what it gives lives.
pub(super) async fn prove<Shown>(
    show: &impl Fn(SocketAddr, u16, SocketAddr) -> Option<Shown>,
    socket: &impl Fn(IpAddr) -> io::Result<Socket>,
) -> Result<(), CallerError> {
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    for (own, from, somebody) in [
        (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv4Addr::LOCALHOST), SOMEBODY4),
        (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), SOMEBODY6),
        (mapped.into(), Ipv4Addr::LOCALHOST.into(), SOMEBODY4),
    ] {
        let listener = match listen(socket, own) {
            Ok(listener) => listener,
            // A namespace without IPv6.
            Err(error)
                if own.is_ipv6()
                    && matches!(
                        error.raw_os_error(),
                        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
                    ) =>
            {
                continue;
            }
            Err(error) => return Err(CallerError::Try(error)),
        };
        let seen = timeout(PATIENCE, call(show, socket, &listener, from, somebody))
            .await
            .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
            .map_err(CallerError::Try)?;
        if seen != somebody {
            return Err(CallerError::NotShown { expected: somebody, seen });
        }
    }
    Ok(())
}

fn listen(socket: &impl Fn(IpAddr) -> io::Result<Socket>, ip: IpAddr) -> io::Result<TcpListener> {
    let socket = socket(ip)?;
    if ip.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&SocketAddr::new(ip, 0).into())?;
    socket.listen(1)?;
    TcpListener::from_std(socket.into())
}

/// Calls `listener` on behalf of `somebody`; whom `accept` names.
async fn call<Shown>(
    show: &impl Fn(SocketAddr, u16, SocketAddr) -> Option<Shown>,
    socket: &impl Fn(IpAddr) -> io::Result<Socket>,
    listener: &TcpListener,
    from: IpAddr,
    somebody: SocketAddr,
) -> io::Result<SocketAddr> {
    let socket = socket(from)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    let relay = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let to = SocketAddr::new(from, listener.local_addr()?.port());
    let _shown = show(relay, to.port(), somebody).ok_or(io::ErrorKind::StorageFull)?;
    let (accepted, connected) =
        tokio::join!(listener.accept(), TcpSocket::from_std_stream(socket.into()).connect(to));
    connected?;
    let (_stream, seen) = accepted?;
    Ok(SocketAddr::new(seen.ip().to_canonical(), seen.port()))
}
