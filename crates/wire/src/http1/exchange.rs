//! What one message says of the next: after a request, of the bytes that follow it, and of how its response is to
//! be read.

/// The version in a start line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// `HTTP/1.0`
    Http10,
    /// `HTTP/1.1`
    Http11,
}

impl Version {
    /// As in a start line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// What the bytes behind a message are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum After {
    /// The next message.
    Keep,
    /// Nothing that the other side will answer: the connection ends with this exchange, RFC 9112 section 9.6.
    Close,
    /// Of a request: its response decides. Bytes behind it are another protocol's if that is 101, and the next
    /// request otherwise, so they can't be read before. Of a response: another protocol's bytes from here on, both
    /// ways.
    Upgrade,
    /// The same for CONNECT: a tunnel if the response is 2xx.
    Connect,
}

/// What has to be known of a request to read its response.
///
/// It serves all responses to that request: interim ones (1xx but 101) and then the final one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asked {
    pub(crate) kind: Kind,
    /// The request has the header `Upgrade`.
    pub(crate) upgrade: bool,
    /// The request is the last one on its connection.
    pub(crate) close: bool,
}

/// The methods that change what a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Head,
    Connect,
    Other,
}
