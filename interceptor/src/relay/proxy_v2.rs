//! The PROXY protocol header, version 2, by which a target learns the client's address.
//!
//! Specification: <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>, section 2.2.

use std::net::SocketAddr;

use super::addr::{ClientAddr, OrigDst};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_COMMAND: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The header for the connection that `client` made to `original`.
#[must_use]
pub fn header(ClientAddr(source): ClientAddr, OrigDst(destination): OrigDst) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.push(VERSION_COMMAND);
    let addresses = match (source, destination) {
        (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
            header.push(TCP_OVER_IPV4);
            [source.ip().octets(), destination.ip().octets()].concat()
        }
        (source, destination) => {
            header.push(TCP_OVER_IPV6);
            [to_ipv6(source), to_ipv6(destination)].concat()
        }
    };
    let length = addresses.len() as u16 + 4;
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(&addresses);
    header.extend_from_slice(&source.port().to_be_bytes());
    header.extend_from_slice(&destination.port().to_be_bytes());
    header
}

fn to_ipv6(addr: SocketAddr) -> [u8; 16] {
    match addr {
        SocketAddr::V4(addr) => addr.ip().to_ipv6_mapped().octets(),
        SocketAddr::V6(addr) => addr.ip().octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    #[test]
    fn ipv4_is_28_bytes_with_both_ends() {
        let header = header(ClientAddr(addr("10.1.2.3:40000")), OrigDst(addr("10.9.8.7:8080")));
        assert_eq!(header.len(), 28);
        assert_eq!(header[..12], SIGNATURE);
        assert_eq!(header[12..16], [0x21, 0x11, 0, 12]);
        assert_eq!(header[16..24], [10, 1, 2, 3, 10, 9, 8, 7]);
        assert_eq!(header[24..], [0x9c, 0x40, 0x1f, 0x90]);
    }

    #[test]
    fn ipv6_is_52_bytes() {
        let header = header(ClientAddr(addr("[fd00::1]:1")), OrigDst(addr("[fd00::2]:2")));
        assert_eq!(header.len(), 52);
        assert_eq!(header[12..16], [0x21, 0x21, 0, 36]);
        assert_eq!(header[31], 1);
        assert_eq!(header[47], 2);
    }
}
