//! The moment at which a condition can be evaluated.

use std::fmt;

/// The facts that a condition needs. A later variant is known later, and includes the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Needs {
    /// The addresses only. The condition is decided when the connection is made, before any byte.
    Connection,
    /// The name in the TLS ClientHello. The condition is decided when the ClientHello has arrived.
    ServerName,
    /// The head of a request. The condition is decided for each request.
    Request,
}

impl Needs {
    /// The moment at which the condition is decided, as part of a sentence.
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
