//! Tells whether an address belongs to a network namespace.
//!
//! A bind to the address gives the kernel's current answer. Two settings make a bind succeed for
//! addresses of other hosts, and only then the interfaces are listed. With `ip_nonlocal_bind`
//! (keepalived and the like) every address can be bound. In its IPVS mode kube-proxy gives the node
//! the addresses of all Services.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use socket2::{SockAddr, Socket};

use super::socket::tcp_socket;

/// The interface to which kube-proxy adds the addresses of Services in its IPVS mode. Connections
/// to them go on to pods.
const IPVS: &str = "kube-ipvs0";
/// Addresses that no host has: from TEST-NET-3 (RFC 5737) and the documentation prefix (RFC 3849).
const UNASSIGNED: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9)),
];
/// Maximum age of a list of interfaces. Listing those of a node with many pods takes a millisecond.
const FRESH: Duration = Duration::from_secs(1);

/// The addresses of a namespace's interfaces, at most [`FRESH`] old.
#[derive(Debug, Default)]
pub struct Addresses(ArcSwapOption<Listed>);

#[derive(Debug)]
struct Listed {
    at: Instant,
    /// Address -> whether it is on an interface other than kube-proxy's IPVS device.
    ips: HashMap<IpAddr, bool>,
}

// === impl Addresses ===

impl Addresses {
    /// Whether `ip` is an address of the calling thread's namespace. Always call it from the same
    /// namespace for one value of this type.
    ///
    /// # Errors
    /// When a system call fails.
    pub fn contain(&self, ip: IpAddr) -> io::Result<bool> {
        let ip = ip.to_canonical();
        if ip.is_loopback() || !is_bindable(ip)? {
            return Ok(ip.is_loopback());
        }
        let fresh = self.0.load_full().filter(|listed| listed.at.elapsed() < FRESH);
        if let Some(is_own) = fresh.and_then(|listed| listed.ips.get(&ip).copied()) {
            return Ok(is_own);
        }
        let listed = Arc::new(Listed::now()?);
        self.0.store(Some(Arc::clone(&listed)));
        match listed.ips.get(&ip) {
            Some(is_own) => Ok(*is_own),
            // On no interface: a route may make it local.
            None => Ok(!binds_anything_like(ip)?),
        }
    }
}

// === impl Listed ===

impl Listed {
    fn now() -> io::Result<Self> {
        let mut listed = Self { at: Instant::now(), ips: HashMap::new() };
        for interface in getifaddrs()? {
            if let Some(ip) = ip_of(&interface) {
                *listed.ips.entry(ip).or_default() |= interface.interface_name != IPVS;
            }
        }
        Ok(listed)
    }
}

/// The IP address of an entry of the interface list, if it has one.
pub(crate) fn ip_of(interface: &InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address?;
    let ip4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    ip4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

/// Binds `socket` to `ip` with any port. Returns whether that worked. It works for an address of
/// the socket's own namespace (`EADDRNOTAVAIL` otherwise), or if the namespace
/// [`binds_anything_like`] it.
pub fn bind_to_own(socket: &Socket, ip: IpAddr) -> bool {
    socket.bind(&SockAddr::from(SocketAddr::new(ip, 0))).is_ok()
}

/// Whether the calling thread's namespace has `ip_nonlocal_bind` set for the family of `ip`.
fn binds_anything_like(ip: IpAddr) -> io::Result<bool> {
    is_bindable(if ip.is_ipv4() { UNASSIGNED[0] } else { UNASSIGNED[1] })
}

fn is_bindable(ip: IpAddr) -> io::Result<bool> {
    Ok(bind_to_own(&tcp_socket(ip)?, ip))
}
