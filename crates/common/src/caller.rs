//! The map by which the relay gives clients' addresses to the `getpeername` programs.

use crate::addr::Source;

/// Maximum connections of the relay to apps that show the client's address, over all network
/// namespaces.
pub const MAX_CALLERS: u32 = 131_072;

/// A connection of the relay to an app: the key of the map whose values are clients' addresses.
///
/// The relay connects from the app's own address, so both ends have the address in `source`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Relayed {
    /// The cookie of both ends' network namespace (`SO_NETNS_COOKIE`). The kernel never reuses one.
    netns: u64,
    /// The relay's end.
    source: Source,
    /// The app's port in host byte order; 32 bits wide to leave no padding.
    port: u32,
}

const _: () = assert!(size_of::<Relayed>() == 32);

// === impl Relayed ===

impl Relayed {
    /// The connection from `source` to the app's `port`, inside the namespace with this cookie.
    #[inline(always)]
    #[must_use]
    pub const fn new(netns: u64, source: Source, port: u16) -> Self {
        Self { netns, source, port: port as u32 }
    }
}

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for a promise that the type is plain old data")]
// SAFETY: `repr(C)`, only integers, and the size assertion above shows that there is no padding.
unsafe impl aya::Pod for Relayed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_namespace_source_and_port() {
        let source = Source::from_ip4(1, 40_000);
        let relayed = Relayed::new(1, source, 8080);
        assert_eq!(relayed, Relayed::new(1, source, 8080));
        assert_ne!(relayed, Relayed::new(2, source, 8080));
        assert_ne!(relayed, Relayed::new(1, source, 8081));
        assert_ne!(relayed, Relayed::new(1, Source::from_ip4(1, 40_001), 8080));
    }
}
