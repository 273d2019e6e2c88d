//! New sockets in the calling thread's namespace.

use std::{io, net::IpAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// A TCP socket in the calling thread's namespace: non-blocking, of the family of `ip`.
///
/// # Errors
/// When the kernel is out of sockets.
pub fn tcp_socket(ip: IpAddr) -> io::Result<Socket> {
    let domain = if ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    Socket::new(domain, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))
}
