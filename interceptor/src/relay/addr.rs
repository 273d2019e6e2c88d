//! The two ends of a stolen connection, as types that can't be mistaken for each other.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// The client's address, as `getpeername` of the accepted socket gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddr(pub SocketAddr);

/// The original destination: the address and port that the client connected to. `sk_lookup` leaves
/// it in place, so `getsockname` of the accepted socket gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrigDst(pub SocketAddr);

// === impl ClientAddr ===

impl ClientAddr {
    /// The address without the port.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0.ip()
    }
}

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl OrigDst ===

impl OrigDst {
    /// The address without the port.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0.ip()
    }

    /// The redirected port.
    #[must_use]
    pub fn port(self) -> u16 {
        self.0.port()
    }
}

impl fmt::Display for OrigDst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
