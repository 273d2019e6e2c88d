//! Tests whether `accept` returns the client's address, with a connection of our own for each kind
//! of socket.

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

/// Maximum time of one test connection. It stays on the loopback interface.
const PATIENCE: Duration = Duration::from_millis(250);

/// Documentation addresses, which no host has (RFC 5737, RFC 3849).
const CLIENT4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 7);
const CLIENT6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 7);

/// Tests an IPv4 socket, an IPv6 socket, and an IPv6 socket with an IPv4 client, in the namespace
/// in which `socket` makes sockets.
///
/// `show` takes the relay's address, the app's port and the client's address. The app sees the
/// client while the returned value lives.
///
/// # Errors
/// When a connection fails, or `accept` returns another address.
pub(super) async fn prove<Shown>(
    show: &impl Fn(SocketAddr, u16, SocketAddr) -> Option<Shown>,
    socket: &impl Fn(IpAddr) -> io::Result<Socket>,
) -> Result<(), CallerError> {
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    for (own, from, client) in [
        (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv4Addr::LOCALHOST), CLIENT4),
        (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), CLIENT6),
        (mapped.into(), Ipv4Addr::LOCALHOST.into(), CLIENT4),
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
        let seen = timeout(PATIENCE, call(show, socket, &listener, from, client))
            .await
            .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
            .map_err(CallerError::Try)?;
        if seen != client {
            return Err(CallerError::NotShown { expected: client, seen });
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

/// Connects to `listener` on behalf of `client`. Returns the address that `accept` returns.
async fn call<Shown>(
    show: &impl Fn(SocketAddr, u16, SocketAddr) -> Option<Shown>,
    socket: &impl Fn(IpAddr) -> io::Result<Socket>,
    listener: &TcpListener,
    from: IpAddr,
    client: SocketAddr,
) -> io::Result<SocketAddr> {
    let socket = socket(from)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    let relay = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let to = SocketAddr::new(from, listener.local_addr()?.port());
    let _shown = show(relay, to.port(), client).ok_or(io::ErrorKind::StorageFull)?;
    let (accepted, connected) =
        tokio::join!(listener.accept(), TcpSocket::from_std_stream(socket.into()).connect(to));
    connected?;
    let (_stream, seen) = accepted?;
    Ok(SocketAddr::new(seen.ip().to_canonical(), seen.port()))
}
