//! Showing the application whom it serves: what the relay tells the `getpeername` programs.

use crate::addr::Source;

/// Most connections of the relay to applications that show their caller, over all network namespaces.
pub const MAX_CALLERS: u32 = 131_072;

/// A connection of the relay to an application: key of the map whose values are the callers' addresses.
///
/// The relay calls from the very address that it calls, so both ends have the one in `source`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Relayed {
    /// The network namespace of both ends, as the kernel numbers them (`SO_NETNS_COOKIE`); no number is used again.
    netns: u64,
    /// The relay's end.
    source: Source,
    /// The application's port in host byte order; 32 bits wide to leave no padding.
    port: u32,
}

const _: () = assert!(size_of::<Relayed>() == 32);

// === impl Relayed ===

impl Relayed {
    /// The connection from `source` to the application's `port`, inside the namespace with this cookie.
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
    fn all_of_it_counts() {
        let source = Source::from_ip4(1, 40_000);
        let relayed = Relayed::new(1, source, 8080);
        assert_eq!(relayed, Relayed::new(1, source, 8080));
        assert_ne!(relayed, Relayed::new(2, source, 8080));
        assert_ne!(relayed, Relayed::new(1, source, 8081));
        assert_ne!(relayed, Relayed::new(1, Source::from_ip4(1, 40_001), 8080));
    }
}
