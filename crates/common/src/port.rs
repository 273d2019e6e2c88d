//! A port of a workload: its protocol and its number.

use core::{fmt, net::SocketAddr, num::NonZeroU16};

/// A transport protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of a workload. Ports of two protocols with the same number are different ports.
///
/// [`Display`](fmt::Display) is the form of the rule language: `8080` for TCP, `8125/udp` for UDP.
/// Ports are ordered by number, then by protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    number: NonZeroU16,
    protocol: Protocol,
}

// === impl Protocol ===

impl Protocol {
    /// The number in the IP header, as the IANA assigns it (`IPPROTO_TCP`, `IPPROTO_UDP`).
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

// === impl Port ===

impl Port {
    /// The TCP port `number`.
    #[must_use]
    pub const fn tcp(number: NonZeroU16) -> Self {
        Self { number, protocol: Protocol::Tcp }
    }

    /// The UDP port `number`.
    #[must_use]
    pub const fn udp(number: NonZeroU16) -> Self {
        Self { number, protocol: Protocol::Udp }
    }

    /// The TCP port of `address`. `None` for port zero, which is not a valid port.
    #[must_use]
    pub const fn tcp_of(address: &SocketAddr) -> Option<Self> {
        match NonZeroU16::new(address.port()) {
            Some(number) => Some(Self::tcp(number)),
            None => None,
        }
    }

    /// The number, in host byte order. Never zero.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.number.get()
    }

    /// The protocol.
    #[must_use]
    pub const fn protocol(self) -> Protocol {
        self.protocol
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::Tcp => self.number.fmt(f),
            Protocol::Udp => write!(f, "{}/{}", self.number, self.protocol),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString as _;

    use super::*;

    fn number(number: u16) -> NonZeroU16 {
        NonZeroU16::new(number).expect("not zero")
    }

    #[test]
    fn a_tcp_port_is_its_number_and_a_udp_port_says_so() {
        assert_eq!(Port::tcp(number(8080)).to_string(), "8080");
        assert_eq!(Port::udp(number(8125)).to_string(), "8125/udp");
    }

    #[test]
    fn ports_of_two_protocols_are_two_ports() {
        assert_ne!(Port::tcp(number(53)), Port::udp(number(53)));
    }

    #[test]
    fn ports_are_ordered_by_number_first() {
        let mut ports = [Port::udp(number(53)), Port::tcp(number(8080)), Port::tcp(number(53))];
        ports.sort();
        assert_eq!(ports.map(|port| port.to_string()), ["53", "53/udp", "8080"]);
    }
}
