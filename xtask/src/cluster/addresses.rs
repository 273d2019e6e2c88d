//! The addresses of the cluster. Chosen to be unlikely elsewhere; one cluster per machine, so they are constants. Where
//! there are two, the first is of IPv4 and the second of IPv6; [`Families`](super::Families) says whether there is the
//! second.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Of the bridge that joins the nodes, and so of the first node and of the API server.
pub(crate) const FIRST_NODE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
pub(crate) const FIRST_NODE6: Ipv6Addr = node6(1);
pub(crate) const SECOND_NODE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
pub(crate) const SECOND_NODE6: Ipv6Addr = node6(2);
/// A host in the nodes' network that is no node: it plays the developer's laptop.
pub(crate) const LAPTOP: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 100);
pub(crate) const LAPTOP6: Ipv6Addr = node6(0x100);
/// Where the developer's server listens on it.
pub(crate) const LAPTOP_PORT: u16 = 3000;

pub(crate) const SERVICES: [&str; 2] = ["10.96.0.0/24", "fd3e:9c51:a7d2:96::/112"];
/// The first of them: the API server, as pods see it.
pub(crate) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
pub(crate) const PODS: [&str; 2] = ["10.244.0.0/16", "fd3e:9c51:a7d2:2440::/60"];
pub(crate) const FIRST_PODS: [&str; 2] = ["10.244.1.0/24", "fd3e:9c51:a7d2:2441::/64"];
pub(crate) const SECOND_PODS: [&str; 2] = ["10.244.2.0/24", "fd3e:9c51:a7d2:2442::/64"];

pub(crate) const API_PORT: u16 = 6443;
/// Not etcd's usual one, which something else on the machine may have.
pub(crate) const ETCD_PORT: u16 = 23_790;
pub(crate) const ETCD_PEER_PORT: u16 = 23_800;

/// In the nodes' network. All of our IPv6 has a prefix of 48 bits, of which 40 are random (RFC 4193, 3.2.2).
const fn node6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd3e, 0x9c51, 0xa7d2, 0x99, 0, 0, 0, last)
}
