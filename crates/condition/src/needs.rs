//! When a condition can be decided.

use std::fmt;

/// What a condition needs to be decided; the more, the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Needs {
    /// The addresses: decided when the connection is made, no byte is read.
    Connection,
    /// The name in the TLS ClientHello: decided when that has arrived.
    ServerName,
    /// The head of a request: decided for each of them.
    Request,
}

impl Needs {
    /// The moment at which it is decided.
    pub fn decided(self) -> &'static str {
        match self {
            Self::Connection => "when the connection is made",
            Self::ServerName => "once, when the ClientHello has arrived",
            Self::Request => "for each request",
        }
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "the addresses",
            Self::ServerName => "the TLS ClientHello",
            Self::Request => "the request's head",
        })
    }
}
