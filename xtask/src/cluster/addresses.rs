//! The addresses of the cluster. They are constants, since a machine has one cluster, and chosen to
//! be unlikely elsewhere. Of two, the first is IPv4 and the second IPv6.
//! [`Families`](super::Families) tells whether the second is used.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The bridge between the nodes, and so the first node and the API server.
pub(crate) const FIRST_NODE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
pub(crate) const FIRST_NODE6: Ipv6Addr = node6(1);
pub(crate) const SECOND_NODE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
pub(crate) const SECOND_NODE6: Ipv6Addr = node6(2);
/// A host in the nodes' network that is not a node: the developer's laptop.
pub(crate) const LAPTOP: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 100);
pub(crate) const LAPTOP6: Ipv6Addr = node6(0x100);
/// The port of the developer's server on it.
pub(crate) const LAPTOP_PORT: u16 = 3000;

pub(crate) const SERVICES: [&str; 2] = ["10.96.0.0/24", "fd3e:9c51:a7d2:96::/112"];
/// The first address of the Services: the API server, as pods see it.
pub(crate) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
pub(crate) const PODS: [&str; 2] = ["10.244.0.0/16", "fd3e:9c51:a7d2:2440::/60"];
pub(crate) const FIRST_PODS: [&str; 2] = ["10.244.1.0/24", "fd3e:9c51:a7d2:2441::/64"];
pub(crate) const SECOND_PODS: [&str; 2] = ["10.244.2.0/24", "fd3e:9c51:a7d2:2442::/64"];

pub(crate) const API_PORT: u16 = 6443;
/// Not etcd's usual port, which another program on the machine may use.
pub(crate) const ETCD_PORT: u16 = 23_790;
pub(crate) const ETCD_PEER_PORT: u16 = 23_800;

/// In the nodes' network. All IPv6 addresses here share a prefix of 48 bits, of which 40 are random
/// (RFC 4193, 3.2.2).
const fn node6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd3e, 0x9c51, 0xa7d2, 0x99, 0, 0, 0, last)
}
