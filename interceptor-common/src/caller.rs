//! Showing the application whom it serves: what the relay tells the `getpeername` programs.

use crate::addr::Source;

/// Most connections of the relay to applications that show their caller, over all network namespaces.
pub const MAX_CALLERS: u32 = 131_072;

/// A connection of the relay to an application, as the application's end of it is found: key of the map whose values
/// are the callers' addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Relayed {
    /// The network namespace of both ends, as the kernel numbers them (`SO_NETNS_COOKIE`, never used again).
    netns: u64,
    /// The relay's end.
    source: Source,
    /// Always zero; spells out what would be padding.
    reserved: u32,
}

const _: () = assert!(size_of::<Relayed>() == 32);

// === impl Relayed ===

impl Relayed {
    /// The connection from `source` inside the namespace with this cookie.
    #[inline(always)]
    #[must_use]
    pub const fn new(netns: u64, source: Source) -> Self {
        Self { netns, source, reserved: 0 }
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
    fn equal_addresses_in_two_namespaces_are_two_keys() {
        let source = Source::from_ip4(1, 80);
        assert_eq!(Relayed::new(1, source), Relayed::new(1, source));
        assert_ne!(Relayed::new(1, source), Relayed::new(2, source));
        assert_ne!(Relayed::new(1, source), Relayed::new(1, Source::from_ip4(1, 81)));
    }
}
