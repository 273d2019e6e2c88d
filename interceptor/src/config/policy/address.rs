//! From where targets are dialled, and which of their addresses are reserved.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The network namespace from which the daemon dials targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dial {
    /// That of the workload, with its routes and network policies.
    #[default]
    Pod,
    /// That of the daemon.
    Node,
}

/// Kinds of addresses that are refused unless the admin allows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reserved {
    /// The loopback addresses.
    Loopback,
    /// Link-local addresses, such as a cloud's metadata service, and the IPv6 addresses of such
    /// services.
    LinkLocal,
    /// Multicast addresses, and the IPv4 broadcast address.
    Multicast,
    /// `0.0.0.0/8` and `::`.
    Unspecified,
    /// Addresses of the node that the daemon runs on.
    Node,
}

/// The names of the kinds in the policy file.
pub(super) const RESERVED: [(&str, Reserved); 5] = [
    ("loopback", Reserved::Loopback),
    ("linkLocal", Reserved::LinkLocal),
    ("multicast", Reserved::Multicast),
    ("unspecified", Reserved::Unspecified),
    ("node", Reserved::Node),
];

/// The reserved kind of `ip`, except [`Reserved::Node`], which depends on the node. `ip` must not
/// be an IPv4-mapped IPv6 address.
pub(super) fn reserved(ip: IpAddr) -> Option<Reserved> {
    if ip.is_loopback() {
        return Some(Reserved::Loopback);
    }
    if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Some(Reserved::Multicast);
    }
    let (link_local, unspecified) = match ip {
        // All of 0.0.0.0/8 means "this host" (RFC 1122).
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[0] == 0),
        IpAddr::V6(ip) => {
            (ip.is_unicast_link_local() || is_cloud_metadata(ip), ip.is_unspecified())
        }
    };
    match (link_local, unspecified) {
        (true, _) => Some(Reserved::LinkLocal),
        (_, true) => Some(Reserved::Unspecified),
        _ => None,
    }
}

/// Whether a cloud serves metadata and credentials of instances at this address.
///
/// In IPv4 these are link-local addresses. In IPv6 those need the name of a link, so clouds use
/// unique local addresses (RFC 4193) instead.
fn is_cloud_metadata(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        // AWS: ::254, ::23 for Pod Identity of EKS, and other services in the same network.
        [0xfd00, 0x0ec2, ..] => true,
        // Google Cloud.
        [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => true,
        // Scaleway.
        [0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042] => true,
        _ => false,
    }
}

// === impl Reserved ===

impl Reserved {
    /// What to write instead of such an address, as part of a sentence.
    pub(super) fn remedy(self, from: Dial) -> String {
        let reachable = "write an address of your computer that the pod can reach";
        match self {
            Self::Loopback => {
                let there = match from {
                    Dial::Pod => "pod",
                    Dial::Node => "node",
                };
                format!("from the {there}, that is the {there} itself; {reachable}")
            }
            Self::LinkLocal => {
                "it is link-local, or a cloud's metadata service; write another address".to_owned()
            }
            Self::Multicast => "it stands for many hosts; write the address of one".to_owned(),
            Self::Unspecified => format!("it names no host; {reachable}"),
            Self::Node => {
                "it is the pod's own node; write the address of another machine".to_owned()
            }
        }
    }
}

impl fmt::Display for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = RESERVED.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}
