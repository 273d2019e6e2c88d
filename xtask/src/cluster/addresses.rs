//! The addresses of the cluster. Chosen to be unlikely elsewhere; one cluster per machine, so they are constants.

use std::net::Ipv4Addr;

/// Of the bridge that joins the nodes, and so of the first node and of the API server.
pub(crate) const FIRST_NODE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
pub(crate) const SECOND_NODE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
/// A host in the nodes' network that is no node: it plays the developer's laptop.
pub(crate) const LAPTOP: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 100);
/// Where the developer's server listens on it.
pub(crate) const LAPTOP_PORT: u16 = 3000;

pub(crate) const SERVICES: &str = "10.96.0.0/24";
/// The first of them: the API server, as pods see it.
pub(crate) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
pub(crate) const PODS: &str = "10.244.0.0/16";

pub(crate) const API_PORT: u16 = 6443;
/// Not etcd's usual one, which something else on the machine may have.
pub(crate) const ETCD_PORT: u16 = 23_790;
pub(crate) const ETCD_PEER_PORT: u16 = 23_800;
