//! The relay's listeners inside a pod's network namespace.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
};

use interceptor_common::steal::Family;
use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};
use socket2::SockAddr;

use super::source_ports::QUIET_PORTS;
use crate::netns::{ip_of, tcp_socket};

/// Length of a listener's accept queue. The namespace's `net.core.somaxconn` may lower it.
const BACKLOG: i32 = 4096;

const PORT_TRIES: u64 = 16;

/// Opens one listener per address family of the calling thread's namespace, on a loopback address:
/// only the namespace's own processes reach it.
///
/// # Errors
/// When the namespace has no family at all, or one that can't be served: connections of that family
/// would not be intercepted.
pub fn open_listeners() -> io::Result<Vec<(Family, TcpListener)>> {
    let mut opened = Vec::new();
    let mut failure = None;
    for (family, ip) in [
        (Family::V4, IpAddr::from(Ipv4Addr::LOCALHOST)),
        (Family::V6, IpAddr::from(Ipv6Addr::LOCALHOST)),
    ] {
        match open_listener(ip) {
            Ok(listener) => opened.push((family, listener)),
            Err(error) if has_address(family) => {
                let lo = remedy_for_lo();
                let what = format!("there are addresses of its family, but not {ip}: {error}{lo}");
                return Err(io::Error::new(error.kind(), what));
            }
            Err(error) => {
                failure = Some(io::Error::new(error.kind(), format!("{error}{}", remedy_for_lo())));
            }
        }
    }
    match failure {
        // A namespace without one of the families is normal, one without both is not.
        Some(error) if opened.is_empty() => Err(error),
        _ => Ok(opened),
    }
}

/// Whether the calling thread's namespace has addresses of this family that other hosts may reach.
fn has_address(family: Family) -> bool {
    let ips = getifaddrs().into_iter().flatten().filter_map(|interface| ip_of(&interface));
    ips.filter(|ip| ip.is_ipv4() == (family == Family::V4)).any(|ip| match ip {
        IpAddr::V4(ip) => !ip.is_loopback(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    })
}

/// What to do, if the loopback interface of the calling thread's namespace is down: then it has no
/// loopback address.
fn remedy_for_lo() -> &'static str {
    let is_down = getifaddrs().into_iter().flatten().any(|interface| {
        interface.interface_name == "lo" && !interface.flags.contains(InterfaceFlags::IFF_UP)
    });
    if is_down {
        "; the interface `lo` is down: bring it up there (`ip link set lo up`), as the CNI plugin \
         `loopback` does"
    } else {
        ""
    }
}

fn open_listener(ip: IpAddr) -> io::Result<TcpListener> {
    let socket = tcp_socket(ip)?;
    if ip.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit all of these. They have the redirected port as their local port: an
    // app that restarts can bind it only if they share it.
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    // Without this, the kernel takes an urgent byte out of the stream (RFC 6093).
    socket.set_out_of_band_inline(true)?;
    // Above the usual range of ephemeral ports, where few apps listen; any port if these are taken.
    let seed = RandomState::new().hash_one(ip);
    let quiet = (0..PORT_TRIES).map(|n| {
        QUIET_PORTS.start() + (seed.wrapping_add(n * 101) % QUIET_PORTS.len() as u64) as u16
    });
    let bound = quiet
        .chain([0])
        .any(|port| socket.bind(&SockAddr::from(SocketAddr::new(ip, port))).is_ok());
    if !bound {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    }
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
