//! Addresses as map keys.

use core::net::{IpAddr, SocketAddr};

/// The source address and port of a TCP connection, as in the kernel's `bpf_sk_lookup` context.
///
/// IPv4 is stored in its IPv4-mapped IPv6 form, so that one map serves both families.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// Address in four words, each in network byte order.
    addr: [u32; 4],
    /// Port in host byte order; 32 bits wide to leave no padding.
    port: u32,
}

const _: () = assert!(size_of::<Source>() == 20);

/// The third word of an IPv4-mapped address, `::ffff:0:0/96`.
const MAPPED: u32 = 0xffff_u32.to_be();

// === impl Source ===

impl Source {
    /// From an IPv4 address in network byte order and a port in host byte order.
    #[inline(always)]
    #[must_use]
    pub const fn from_ip4(addr_be: u32, port: u16) -> Self {
        Self { addr: [0, 0, MAPPED, addr_be], port: port as u32 }
    }

    /// From an IPv6 address, four words in network byte order, and a port in host byte order.
    #[inline(always)]
    #[must_use]
    pub const fn from_ip6(addr_be: [u32; 4], port: u16) -> Self {
        Self { addr: addr_be, port: port as u32 }
    }

    /// The address in four words, each in network byte order; IPv4 in its mapped form.
    #[inline(always)]
    #[must_use]
    pub const fn ip6(self) -> [u32; 4] {
        self.addr
    }

    /// The address in network byte order, if it is IPv4.
    #[inline(always)]
    #[must_use]
    pub const fn ip4(self) -> Option<u32> {
        match self.addr {
            [0, 0, MAPPED, ip4] => Some(ip4),
            _ => None,
        }
    }

    /// The port in host byte order.
    #[inline(always)]
    #[must_use]
    pub const fn port(self) -> u16 {
        self.port as u16
    }
}

impl From<SocketAddr> for Source {
    fn from(addr: SocketAddr) -> Self {
        match addr.ip() {
            IpAddr::V4(ip) => Self::from_ip4(u32::from_ne_bytes(ip.octets()), addr.port()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h] = ip.segments();
                let word = |high: u16, low: u16| ((u32::from(high) << 16) | u32::from(low)).to_be();
                Self::from_ip6([word(a, b), word(c, d), word(e, f), word(g, h)], addr.port())
            }
        }
    }
}

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for a promise that the type is plain old data")]
// SAFETY: `repr(C)`, only integers, and the size assertion above shows that there is no padding.
unsafe impl aya::Pod for Source {}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn ipv4_and_its_mapped_form_are_one_key() {
        let ip = Ipv4Addr::new(10, 1, 2, 3);
        let plain = Source::from(SocketAddr::new(ip.into(), 40_000));
        let mapped = Source::from(SocketAddr::new(ip.to_ipv6_mapped().into(), 40_000));
        assert_eq!(plain, mapped);
    }

    #[test]
    fn words_are_in_network_byte_order() {
        let ip = Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0x0a0b, 0x0c0d);
        let source = Source::from(SocketAddr::new(ip.into(), 1));
        let mut octets = [0; 16];
        for (word, chunk) in source.addr.iter().zip(octets.chunks_exact_mut(4)) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        assert_eq!(octets, ip.octets());
    }

    #[test]
    fn gives_back_what_it_was_made_of() {
        let ip4 = Source::from_ip4(0x0403_0201, 80);
        assert_eq!(
            (ip4.ip4(), ip4.ip6(), ip4.port()),
            (Some(0x0403_0201), [0, 0, MAPPED, 0x0403_0201], 80)
        );
        let ip6 = Source::from_ip6([1, 2, 3, 4], u16::MAX);
        assert_eq!((ip6.ip4(), ip6.ip6(), ip6.port()), (None, [1, 2, 3, 4], u16::MAX));
        assert_eq!(Source::from_ip6([0; 4], 1).ip4(), None);
    }

    #[test]
    fn port_and_address_both_count() {
        let base = Source::from_ip4(1, 80);
        assert_ne!(base, Source::from_ip4(1, 81));
        assert_ne!(base, Source::from_ip4(2, 80));
    }
}
