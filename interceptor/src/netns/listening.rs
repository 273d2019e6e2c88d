//! The TCP ports on which something listens, by `sock_diag`(7): the kernel lists the listening
//! sockets of the calling thread's namespace, and no others. It says which of them have TCP MD5
//! keys (RFC 2385), too.

use std::{
    collections::BTreeSet,
    io::{self, Read as _},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

use super::sock_diag::{BY_FAMILY, HEADER, REQUEST, attribute};

/// `INET_DIAG_MD5SIG` of `linux/inet_diag.h`: the keys of a socket. The kernel tells them to a
/// process with `CAP_NET_ADMIN`, in answers with [`INFO`].
const MD5SIG: u16 = 18;
/// `INET_DIAG_INFO`, as a bit of a request's set of extensions.
const INFO: u8 = 1 << 1;

/// `TCP_LISTEN` of `net/tcp_states.h`, as a bit of a request's set of states.
const LISTENING: u32 = 1 << 10;
/// The place of the local port in `struct inet_diag_msg`, in network byte order.
const LOCAL_PORT: usize = 4;
/// The kernel answers in messages of at most this size.
const BUFFER: usize = 32 << 10;
/// Maximum time for an answer, which the kernel has ready at once.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The TCP ports on which a socket of the calling thread's namespace listens, whatever its address.
///
/// # Errors
/// When the kernel has no `sock_diag` for TCP, or does not allow it.
pub(super) fn listening_ports() -> io::Result<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    list(0, |port, _| _ = ports.insert(port))?;
    Ok(ports)
}

/// The TCP ports with a listener that has TCP MD5 keys. It accepts only signed packets of the peers
/// that the keys are for.
///
/// # Errors
/// When the kernel has no `sock_diag` for TCP, or does not allow it.
pub(super) fn signed_ports() -> io::Result<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    list(INFO, |port, answer| {
        if attribute(answer, MD5SIG).is_ok_and(|keys| keys.is_some_and(|keys| !keys.is_empty())) {
            ports.insert(port);
        }
    })?;
    Ok(ports)
}

/// Calls `each` with port and answer for each listening socket of the calling thread's namespace.
fn list(extensions: u8, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
    let socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW.cloexec(),
        Some(Protocol::from(libc::NETLINK_SOCK_DIAG)),
    )?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    for family in [libc::AF_INET, libc::AF_INET6] {
        socket.send(&request(family, extensions))?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = (&socket).read(&mut buffer)?;
            if read(&buffer[..length], &mut each)? {
                break;
            }
        }
    }
    Ok(())
}

/// A request for all listening TCP sockets of a family.
fn request(family: libc::c_int, extensions: u8) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let mut bytes = Vec::with_capacity(HEADER + REQUEST);
    bytes.extend(((HEADER + REQUEST) as u32).to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Sequence number and sender, which the kernel repeats and fills in.
    bytes.extend([0; 8]);
    bytes.extend([family as u8, libc::IPPROTO_TCP as u8, extensions, 0]);
    bytes.extend(LISTENING.to_ne_bytes());
    bytes.resize(HEADER + REQUEST, 0);
    bytes
}

/// Calls `each` for the answers in `bytes`. Returns whether the list is complete.
fn read(mut bytes: &[u8], each: &mut impl FnMut(u16, &[u8])) -> io::Result<bool> {
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    while let Some((header, _)) = bytes.split_first_chunk::<HEADER>() {
        let [a, b, c, d, e, f, ..] = *header;
        let length = u32::from_ne_bytes([a, b, c, d]) as usize;
        let body = bytes.get(HEADER..length).ok_or_else(broken)?;
        match libc::c_int::from(u16::from_ne_bytes([e, f])) {
            libc::NLMSG_DONE => return Ok(true),
            libc::NLMSG_ERROR => {
                let (errno, _) = body.split_first_chunk().ok_or_else(broken)?;
                return Err(io::Error::from_raw_os_error(-i32::from_ne_bytes(*errno)));
            }
            kind if kind == libc::c_int::from(BY_FAMILY) => {
                let port = body.get(LOCAL_PORT..).and_then(<[u8]>::first_chunk);
                each(u16::from_be_bytes(*port.ok_or_else(broken)?), body);
            }
            _ => {}
        }
        // Messages begin at multiples of four bytes.
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn ports_with_a_listener_are_found_and_others_are_not() {
        let bound: Vec<_> = ["127.0.0.1:0", "[::1]:0"]
            .into_iter()
            .filter_map(|address| TcpListener::bind(address).ok())
            .collect();
        let ports: Vec<_> = bound
            .iter()
            .map(|listener| listener.local_addr().expect("an address").port())
            .collect();
        assert!(!ports.is_empty());
        let listening = listening_ports().expect("a kernel with sock_diag");
        assert!(ports.iter().all(|port| listening.contains(port)), "{ports:?}: {listening:?}");

        // An open connection is no listener.
        let idle = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        idle.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().expect("one").into())
            .expect("bound");
        let address = idle.local_addr().expect("one").as_socket().expect("IPv4");
        assert!(!listening_ports().expect("sock_diag").contains(&address.port()));
    }

    #[test]
    fn an_error_of_the_kernel_is_an_error() {
        let mut message = vec![0; HEADER + 4];
        message[..4].copy_from_slice(&20_u32.to_ne_bytes());
        message[4..6].copy_from_slice(&(libc::NLMSG_ERROR as u16).to_ne_bytes());
        message[HEADER..].copy_from_slice(&(-libc::EPERM).to_ne_bytes());
        let error = read(&message, &mut |_, _| ()).expect_err("refused");
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        let cut_off = &message[..HEADER + 2];
        assert!(read(cut_off, &mut |_, _| ()).is_err());
    }
}
