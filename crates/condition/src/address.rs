//! The text of an address, without the heap.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// Maximum length in bytes: `[`, the 39 characters of the longest IPv6 address, and `]:65535`.
const LONGEST_ADDRESS: usize = 47;

/// An address as text: `ip:port`, or `[ip]:port` for IPv6.
#[derive(Debug, Clone)]
pub(crate) struct AddressText {
    bytes: [u8; LONGEST_ADDRESS],
    length: usize,
}

// === impl AddressText ===

impl AddressText {
    /// Formats `address`.
    ///
    /// An IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) becomes the IPv4 address. A scope (`%eth0`)
    /// is left out.
    pub(crate) fn new(address: SocketAddr) -> Self {
        let mut text = Self { bytes: [0; LONGEST_ADDRESS], length: 0 };
        let plain = SocketAddr::new(address.ip().to_canonical(), address.port());
        let written = write!(text, "{plain}");
        debug_assert!(written.is_ok(), "{plain} is longer than the longest address");
        text
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl std::fmt::Write for AddressText {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        let end = self.length + part.len();
        self.bytes
            .get_mut(self.length..end)
            .ok_or(std::fmt::Error)?
            .copy_from_slice(part.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10.0.0.1:80", "10.0.0.1:80")]
    #[case("[fd00::1]:80", "[fd00::1]:80")]
    #[case("[::ffff:10.0.0.1]:80", "10.0.0.1:80")]
    #[case("[fe80::1%3]:80", "[fe80::1]:80")]
    #[case(
        "[1111:2222:3333:4444:5555:6666:7777:8888]:65535",
        "[1111:2222:3333:4444:5555:6666:7777:8888]:65535"
    )]
    fn an_address_is_formatted_as_envoy_does(#[case] address: &str, #[case] text: &str) {
        let address = AddressText::new(address.parse().expect("is an address"));
        assert_eq!(address.as_str(), text);
    }
}
