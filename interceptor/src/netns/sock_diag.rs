//! Asks the kernel for the cgroup or the timer of a TCP socket (`SOCK_DIAG_BY_FAMILY`,
//! sock_diag(7)).
//!
//! The kernel answers while the request is being sent, so the answer needs no waiting. Each answer
//! has the attribute `INET_DIAG_CGROUP_ID` without being asked for it (Linux 5.7,
//! `net/ipv4/inet_diag.c`). There is one kind of request and one kind of answer, so they are
//! encoded here.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

/// `SOCK_DIAG_BY_FAMILY` of `linux/sock_diag.h`.
pub(super) const BY_FAMILY: u16 = 20;
/// `INET_DIAG_CGROUP_ID` of `linux/inet_diag.h`.
const CGROUP_ID: u16 = 21;
/// `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;
/// `struct inet_diag_req_v2`.
pub(super) const REQUEST: usize = 56;
/// `struct inet_diag_msg`, which the attributes follow.
const ANSWER: usize = 72;
/// The place of `idiag_expires` in it, in milliseconds.
const EXPIRES: usize = 52;
/// The place of `idiag_inode` in it: 0 for a socket that no program has.
const INODE: usize = 68;
/// Maximum size of an answer in bytes. It is about 200.
const MAX_ANSWER: usize = 4096;
/// Sockets in every state.
const ANY_STATE: u32 = u32::MAX;

/// The number of a cgroup of version 2: the inode of its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CgroupId(pub u64);

/// Answers questions about the sockets of one network namespace.
#[derive(Debug)]
pub struct SockDiag {
    socket: Socket,
    /// The number of the last request.
    sequence: u32,
}

/// A TCP connection as one of its sockets sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The socket's own address.
    pub local: SocketAddr,
    /// Its peer's address.
    pub peer: SocketAddr,
}

/// The timer of a TCP socket that the kernel tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// None runs.
    None,
    /// That of keepalive, with the time that is left.
    Keepalive(Duration),
    /// Another one, which hides that of keepalive, or the program has not accepted the connection.
    Other,
}

/// Why the cgroup or the timer of a socket is unknown.
#[derive(Debug, thiserror::Error)]
pub enum SockDiagError {
    /// A system call failed, or the kernel refused the request.
    #[error("sock_diag: {0}")]
    Io(#[from] io::Error),
    /// The kernel has no such socket.
    #[error("sock_diag: no such socket")]
    NotFound,
    /// The kernel can't look for sockets.
    #[error("the kernel does not look sockets up (CONFIG_INET_DIAG)")]
    NotBuilt,
    /// The answer does not have the attribute.
    #[error("the kernel does not tell a socket's cgroup (Linux 5.7 does)")]
    NoCgroup,
    /// The answer is not about the socket that was asked for.
    #[error("sock_diag: unexpected answer")]
    Unexpected,
}

// === impl SockDiag ===

impl SockDiag {
    /// Opens a socket in the calling thread's namespace. It answers for that namespace, whichever
    /// thread uses it.
    ///
    /// # Errors
    /// When the kernel is out of sockets.
    pub fn open() -> io::Result<Self> {
        let (domain, protocol) =
            (Domain::from(libc::AF_NETLINK), Protocol::from(libc::NETLINK_SOCK_DIAG));
        // Non-blocking: without an answer there is an error, and no wait.
        let kind = Type::DGRAM.nonblocking().cloexec();
        Ok(Self { socket: Socket::new(domain, kind, Some(protocol))?, sequence: 0 })
    }

    /// Proves with a listener of our own, in the calling thread's namespace, that the kernel tells
    /// the cgroups of sockets.
    ///
    /// # Errors
    /// When it does not.
    pub fn prove() -> Result<(), SockDiagError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let peer = (Ipv4Addr::UNSPECIFIED, 0).into();
        match Self::open()?.cgroup_of(Ends { local: listener.local_addr()?, peer }) {
            Ok(_) => Ok(()),
            Err(SockDiagError::NotFound) => Err(SockDiagError::NotBuilt),
            Err(error) => Err(error),
        }
    }

    /// The cgroup in which the socket with these ends was created.
    ///
    /// Each call is one question and one answer: calls from several threads have to take turns.
    ///
    /// # Errors
    /// When the kernel has no such socket, or does not tell.
    pub fn cgroup_of(&mut self, socket: Ends) -> Result<CgroupId, SockDiagError> {
        self.ask(socket, cgroup_in)
    }

    /// The timer of the socket with these ends. One call at a time, too.
    ///
    /// # Errors
    /// When the kernel has no such socket, or does not tell.
    pub fn timer_of(&mut self, socket: Ends) -> Result<Timer, SockDiagError> {
        self.ask(socket, |answer, socket| body_of(answer, socket).map(timer_in))
    }

    fn ask<T>(
        &mut self,
        socket: Ends,
        read: impl FnOnce(&[u8], Ends) -> Result<T, SockDiagError>,
    ) -> Result<T, SockDiagError> {
        self.sequence = self.sequence.wrapping_add(1);
        (&self.socket).write_all(&request(socket, self.sequence))?;
        let mut answer = [0; MAX_ANSWER];
        loop {
            let length = (&self.socket).read(&mut answer)?;
            // After an error, the answer to an earlier request may have stayed behind.
            if u32_at(&answer[..length], 8) == Some(self.sequence) {
                return read(&answer[..length], socket);
            }
        }
    }
}

// === the format ===

/// The request for one socket. Addresses and ports are in network order, all else is in the host's.
fn request(socket: Ends, sequence: u32) -> [u8; HEADER + REQUEST] {
    let (local, peer) = (socket.local.ip().to_canonical(), socket.peer.ip().to_canonical());
    let mut message = [0; HEADER + REQUEST];
    let mut put = |at: usize, bytes: &[u8]| message[at..at + bytes.len()].copy_from_slice(bytes);
    // struct nlmsghdr: length, type, flags, sequence number, port.
    put(0, &((HEADER + REQUEST) as u32).to_ne_bytes());
    put(4, &BY_FAMILY.to_ne_bytes());
    put(6, &(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    put(8, &sequence.to_ne_bytes());
    // struct inet_diag_req_v2: family, protocol, extensions (none), padding, states.
    put(16, &[family(local), libc::IPPROTO_TCP as u8, 0, 0]);
    put(20, &ANY_STATE.to_ne_bytes());
    // struct inet_diag_sockid: ports, addresses, interface (any), cookie (INET_DIAG_NOCOOKIE).
    put(24, &socket.local.port().to_be_bytes());
    put(26, &socket.peer.port().to_be_bytes());
    put(28, &address(local));
    put(44, &address(peer));
    put(64, &[0xff; 8]);
    message
}

fn family(ip: IpAddr) -> u8 {
    (if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }) as u8
}

/// An address as the 16 bytes of `struct inet_diag_sockid`.
fn address(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            bytes
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The cgroup in the answer about `socket`.
fn cgroup_in(answer: &[u8], socket: Ends) -> Result<CgroupId, SockDiagError> {
    let id = attribute(body_of(answer, socket)?, CGROUP_ID)?.ok_or(SockDiagError::NoCgroup)?;
    let id = id.first_chunk().ok_or(SockDiagError::Unexpected)?;
    Ok(CgroupId(u64::from_ne_bytes(*id)))
}

/// The timer in a `struct inet_diag_msg`.
fn timer_in(body: &[u8]) -> Timer {
    if u32_at(body, INODE) == Some(0) {
        return Timer::Other;
    }
    match (body.get(2), u32_at(body, EXPIRES)) {
        (Some(0), _) => Timer::None,
        (Some(2), Some(left)) => Timer::Keepalive(Duration::from_millis(left.into())),
        _ => Timer::Other,
    }
}

/// The `struct inet_diag_msg` in the answer about `socket`, with its attributes.
fn body_of(answer: &[u8], socket: Ends) -> Result<&[u8], SockDiagError> {
    let header = answer.first_chunk::<HEADER>().ok_or(SockDiagError::Unexpected)?;
    let body = &answer[HEADER..];
    let kind = u16_at(header, 4).ok_or(SockDiagError::Unexpected)?;
    if i32::from(kind) == libc::NLMSG_ERROR {
        let code = body.first_chunk().map(|code| i32::from_ne_bytes(*code));
        return Err(match code.ok_or(SockDiagError::Unexpected)? {
            code if code == -libc::ENOENT => SockDiagError::NotFound,
            code => io::Error::from_raw_os_error(-code).into(),
        });
    }
    if kind != BY_FAMILY || body.len() < ANSWER {
        return Err(SockDiagError::Unexpected);
    }
    // If no socket has these ends, the kernel answers with a listener on the port.
    if ends_in(body) != Some(canonical(socket)) {
        return Err(SockDiagError::NotFound);
    }
    Ok(body)
}

/// The attribute of this kind in a `struct inet_diag_msg` with its attributes.
pub(super) fn attribute(body: &[u8], wanted: u16) -> Result<Option<&[u8]>, SockDiagError> {
    let mut rest = body.get(ANSWER..).unwrap_or_default();
    while let (Some(length), Some(kind)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let length = usize::from(length);
        let value = rest.get(4..length).ok_or(SockDiagError::Unexpected)?;
        if kind == wanted {
            return Ok(Some(value));
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(None)
}

/// The ends of the socket in an answer: family, then ports and addresses from byte 4 on.
fn ends_in(body: &[u8]) -> Option<Ends> {
    let family = i32::from(*body.first()?);
    let port = |at: usize| Some(u16::from_be_bytes(*body.get(at..)?.first_chunk()?));
    let ip = |at: usize| {
        let bytes: [u8; 16] = *body.get(at..)?.first_chunk()?;
        Some(match family {
            libc::AF_INET => IpAddr::from(*bytes.first_chunk::<4>()?),
            _ => IpAddr::from(Ipv6Addr::from(bytes)),
        })
    };
    Some(canonical(Ends {
        local: SocketAddr::new(ip(8)?, port(4)?),
        peer: SocketAddr::new(ip(24)?, port(6)?),
    }))
}

/// The same ends without IPv4 addresses in IPv6 form, and without scopes.
fn canonical(Ends { local, peer }: Ends) -> Ends {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    Ends { local: plain(local), peer: plain(peer) }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use rstest::rstest;

    use super::*;

    fn ends(local: &str, peer: &str) -> Ends {
        Ends { local: local.parse().expect("address"), peer: peer.parse().expect("address") }
    }

    /// An answer about `socket` with these attributes.
    fn answer(socket: Ends, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let asked = request(socket, 1);
        let mut answer = asked[..HEADER].to_vec();
        // Family, state, timer, retransmissions; then the same ports and addresses.
        answer.extend([asked[HEADER], 1, 0, 0]);
        answer.extend(&asked[HEADER + 8..]);
        answer.resize(HEADER + ANSWER, 0);
        for (kind, value) in attributes {
            let length = u16::try_from(4 + value.len()).expect("short");
            answer.extend(length.to_ne_bytes());
            answer.extend(kind.to_ne_bytes());
            answer.extend(*value);
            answer.resize(answer.len().next_multiple_of(4), 0);
        }
        answer
    }

    #[test]
    fn a_request_has_the_layout_of_the_kernels_struct() {
        let request = request(ends("10.1.2.3:40000", "127.0.0.1:8080"), 7);
        assert_eq!(u32::from_ne_bytes(*request.first_chunk().expect("long")), 72);
        assert_eq!(u32_at(&request, 8), Some(7));
        assert_eq!(&request[16..18], [2, 6], "AF_INET, TCP");
        assert_eq!(&request[24..28], [0x9c, 0x40, 0x1f, 0x90], "ports");
        assert_eq!(&request[28..32], [10, 1, 2, 3]);
        assert_eq!(&request[44..48], [127, 0, 0, 1]);
        assert_eq!(&request[64..], [0xff; 8], "no cookie");
        let mapped = ends("[::ffff:10.1.2.3]:40000", "[::ffff:127.0.0.1]:8080");
        assert_eq!(super::request(mapped, 7), request, "IPv4 in IPv6 form");
        assert_eq!(super::request(ends("[::1]:1", "[::1]:2"), 7)[16], 10, "AF_INET6");
    }

    #[rstest]
    #[case("10.1.2.3:40000", "127.0.0.1:8080")]
    #[case("[fd00::1]:40000", "[fd00::1]:8080")]
    fn the_cgroup_is_found_among_other_attributes(#[case] local: &str, #[case] peer: &str) {
        let socket = ends(local, peer);
        let id = 0x0123_4567_89ab_cdef_u64;
        let text = answer(socket, &[(8, &[0]), (5, &[1, 2, 3]), (CGROUP_ID, &id.to_ne_bytes())]);
        assert_eq!(cgroup_in(&text, socket).expect("an id"), CgroupId(id));
        // A part of it is an error, and no panic.
        for end in 0..text.len() {
            assert!(cgroup_in(&text[..end], socket).is_err(), "{end}");
        }
    }

    #[test]
    fn what_is_no_answer_about_the_socket_is_an_error() {
        let socket = ends("10.1.2.3:40000", "127.0.0.1:8080");
        let other = ends("10.1.2.3:40001", "127.0.0.1:8080");
        let with_id = |socket| answer(socket, &[(CGROUP_ID, &7_u64.to_ne_bytes())]);
        assert!(matches!(cgroup_in(&with_id(other), socket), Err(SockDiagError::NotFound)));
        assert!(matches!(cgroup_in(&answer(socket, &[]), socket), Err(SockDiagError::NoCgroup)));
        let empty = answer(socket, &[(CGROUP_ID, &[])]);
        assert!(matches!(cgroup_in(&empty, socket), Err(SockDiagError::Unexpected)));

        let mut error = with_id(socket)[..HEADER].to_vec();
        error[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        let refused = [&error[..], &(-libc::EPERM).to_ne_bytes()].concat();
        assert!(matches!(cgroup_in(&refused, socket), Err(SockDiagError::Io(_))));
        let absent = [&error[..], &(-libc::ENOENT).to_ne_bytes()].concat();
        assert!(matches!(cgroup_in(&absent, socket), Err(SockDiagError::NotFound)));
    }

    #[test]
    fn this_kernel_tells_the_cgroups_of_sockets() {
        SockDiag::prove().expect("Linux 5.7 with CONFIG_INET_DIAG");
    }

    #[rstest]
    #[case("127.0.0.1:0", "127.0.0.1")]
    #[case("[::]:0", "::ffff:127.0.0.1")]
    #[case("[::1]:0", "::1")]
    fn the_kernel_tells_the_cgroup_of_an_own_socket(#[case] listen: &str, #[case] ip: IpAddr) {
        let Ok(listener) = TcpListener::bind(listen) else {
            return assert!(listen.contains("::"), "no IPv4 loopback");
        };
        let port = listener.local_addr().expect("an address").port();
        let client = TcpStream::connect((ip, port)).expect("connects");
        let ends = Ends {
            local: client.local_addr().expect("an address"),
            peer: client.peer_addr().expect("an address"),
        };
        let mut diag = SockDiag::open().expect("a socket");
        let id = diag.cgroup_of(ends).expect("a cgroup");
        assert_ne!(id, CgroupId(0));
        let unknown = Ends { local: SocketAddr::new(ends.local.ip(), 1), ..ends };
        assert!(matches!(diag.cgroup_of(unknown), Err(SockDiagError::NotFound)));
        assert_eq!(diag.cgroup_of(ends).expect("after an error"), id);
    }

    #[test]
    fn the_kernel_tells_the_timer_of_keepalive() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listens");
        let to = listener.local_addr().expect("an address");
        let client = TcpStream::connect(to).expect("connects");
        let ends = Ends { local: to, peer: client.local_addr().expect("an address") };
        let mut diag = SockDiag::open().expect("a socket");
        assert_eq!(diag.timer_of(ends).expect("an answer"), Timer::Other, "not accepted");
        let accepted = listener.accept().expect("accepts").0;
        assert_eq!(diag.timer_of(ends).expect("an answer"), Timer::None);
        let after = Duration::from_secs(20);
        let keepalive = socket2::TcpKeepalive::new().with_time(after);
        socket2::SockRef::from(&accepted).set_tcp_keepalive(&keepalive).expect("set");
        let timer = diag.timer_of(ends).expect("an answer");
        let Timer::Keepalive(left) = timer else { panic!("{timer:?}") };
        // The kernel counts in ticks, and rounds up.
        assert!(left <= after + Duration::from_millis(100) && left > after / 2, "{left:?}");
        let unknown = Ends { local: SocketAddr::new(to.ip(), 1), ..ends };
        assert!(matches!(diag.timer_of(unknown), Err(SockDiagError::NotFound)));
    }

    #[test]
    fn other_timers_hide_that_of_keepalive() {
        for (kind, timer) in [
            (0, Timer::None),
            (1, Timer::Other),
            (2, Timer::Keepalive(Duration::from_millis(7))),
            (4, Timer::Other),
        ] {
            let mut body = [0; ANSWER];
            body[2] = kind;
            body[EXPIRES..EXPIRES + 4].copy_from_slice(&7_u32.to_ne_bytes());
            assert_eq!(timer_in(&body), Timer::Other, "not accepted");
            body[INODE..].copy_from_slice(&1_u32.to_ne_bytes());
            assert_eq!(timer_in(&body), timer);
        }
        assert_eq!(timer_in(&[]), Timer::Other);
    }
}
