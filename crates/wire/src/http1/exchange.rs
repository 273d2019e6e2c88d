//! What one message means for others: for the bytes that follow it, and, of a request, for the
//! framing of its response.

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

/// What the bytes after a message are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum After {
    /// The next message.
    Keep,
    /// Bytes that the other side ignores: the connection ends with this exchange, RFC 9112 section
    /// 9.6.
    Close,
    /// After a request, it depends on the response: another protocol if the status is 101, else the
    /// next request. So these bytes can't be framed before the response. After a response, another
    /// protocol begins, in both directions.
    Upgrade,
    /// The same for CONNECT, where a status of 2xx begins a tunnel.
    Connect,
}

/// The parts of a request that affect the framing of its response.
///
/// It applies to all responses to that request: interim ones (1xx except 101) and the final one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asked {
    pub(crate) kind: Kind,
    /// The request has the header `Upgrade`.
    pub(crate) upgrade: bool,
    /// The request is the last one on its connection.
    pub(crate) close: bool,
}

/// The methods that affect the framing of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Head,
    Connect,
    Other,
}
