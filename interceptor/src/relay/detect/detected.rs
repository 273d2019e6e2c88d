//! What the first bytes of a connection tell.

use interceptor_wire::{Opening, Parsed, Reason, hello, opening};

use crate::relay::stats::Piped;

/// Maximum number of bytes without an answer from [`opening()`]: the client sends only empty lines.
const MAX_OPENING: usize = 1024;

/// The protocol of a connection.
pub(super) enum Detected {
    Http1,
    Http2,
    /// TLS, with the server name of the ClientHello if it has one.
    Tls(Option<Box<str>>),
    /// Neither HTTP nor TLS, or the app sent first.
    Other(Piped),
    /// The client or the app ended before. A pipe passes that end on.
    Ended,
}

// === impl Detected ===

impl Detected {
    /// The protocol of a client that sent these bytes. None if more are needed.
    pub(super) fn by_client(received: &[u8]) -> Option<Self> {
        Some(match opening(received) {
            Opening::Undecided if received.len() < MAX_OPENING => return None,
            Opening::Undecided => Self::Other(Piped::Request(Reason::HeadTooLong)),
            Opening::Http1 => Self::Http1,
            Opening::Http2Preface => Self::Http2,
            // A second PROXY header is none of a request.
            Opening::Proxy | Opening::Other => Self::Other(Piped::Request(Reason::NotHttp)),
            Opening::Tls => match hello::client_hello(received) {
                Parsed::Partial => return None,
                Parsed::Complete { head, .. } => Self::Tls(head.server_name.map(Box::from)),
                Parsed::Unframed(reason) => Self::Other(Piped::Request(reason)),
            },
        })
    }
}
