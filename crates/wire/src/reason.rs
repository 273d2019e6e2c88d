//! The reasons for which bytes are not framed. The list is closed because it labels counters.

/// Why a connection can't be parsed from some byte on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Reason {
    /// The first bytes can't be the beginning of an HTTP/1 message.
    #[error("not HTTP/1")]
    NotHttp,
    /// A request line without a version, RFC 1945 section 4.1.
    #[error("HTTP/0.9")]
    Http09,
    /// A version other than 1.0 and 1.1.
    #[error("an HTTP version other than 1.0 and 1.1")]
    Version,
    /// A malformed request line or status line, RFC 9112 sections 3 and 4.
    #[error("a malformed request line or status line")]
    StartLine,
    /// HEAD or CONNECT in other letter case: the framing of the response depends on whether the
    /// server compares methods with case.
    #[error("HEAD or CONNECT in other letter case")]
    Method,
    /// A head of more than [`MAX_HEAD`](crate::http1::MAX_HEAD) bytes.
    #[error("a head of more than {} bytes", crate::http1::MAX_HEAD)]
    HeadTooLong,
    /// A line that ends in LF without CR, RFC 9112 section 2.2.
    #[error("a line that does not end in CRLF")]
    LineEnd,
    /// A malformed header name, RFC 9112 sections 5.1 and 5.2. It is empty, has white space,
    /// control characters or bytes beyond ASCII, or resembles that of a framing header. Or a
    /// framing header is continued on the next line.
    #[error("a malformed header name")]
    HeaderName,
    /// NUL, or CR without LF, in a value: RFC 9110 section 5.5.
    #[error("a malformed header value")]
    HeaderValue,
    /// `Content-Length` that is not a plain number, or several that differ, RFC 9112 section 6.3.
    #[error("an ambiguous Content-Length")]
    ContentLength,
    /// `Transfer-Encoding` other than `chunked` alone, RFC 9112 section 6.1.
    #[error("a Transfer-Encoding other than chunked")]
    TransferEncoding,
    /// `Transfer-Encoding` in HTTP/1.0, RFC 9112 section 6.1.
    #[error("a Transfer-Encoding in HTTP/1.0")]
    TransferEncodingIn10,
    /// Both `Content-Length` and `Transfer-Encoding`, RFC 9112 section 6.1.
    #[error("both Content-Length and Transfer-Encoding")]
    LengthAndEncoding,
    /// CONNECT with content, which has no defined meaning, RFC 9110 section 9.3.6.
    #[error("CONNECT with content")]
    ConnectWithContent,
    /// A chunk with a malformed size or end, RFC 9112 section 7.1.
    #[error("a malformed chunk")]
    Chunk,
    /// A chunk's size line of more than [`MAX_CHUNK_LINE`](crate::http1::MAX_CHUNK_LINE) bytes.
    #[error("a chunk's size line of more than {} bytes", crate::http1::MAX_CHUNK_LINE)]
    ChunkLineTooLong,
    /// A line after the last chunk that is not a header field, RFC 9112 section 7.1.2.
    #[error("a malformed trailer")]
    Trailer,
    /// Trailers of more than [`MAX_TRAILERS`](crate::http1::MAX_TRAILERS) bytes.
    #[error("trailers of more than {} bytes", crate::http1::MAX_TRAILERS)]
    TrailersTooLong,
    /// Status 101 in response to a request without `Upgrade`, RFC 9110 section 15.2.2.
    #[error("101 to a request without Upgrade")]
    UnaskedUpgrade,
    /// A frame that RFC 9113 section 4 makes an error of the connection.
    #[error("a malformed HTTP/2 frame")]
    Frame,
    /// A header block of HTTP/2 that can't be decoded, RFC 7541.
    #[error("a malformed header block")]
    HeaderBlock,
    /// A header block of HTTP/2 with more bytes than the relay keeps.
    #[error("a header block over the size limits")]
    HeaderBlockTooLong,
    /// The first bytes can't be the beginning of a TLS ClientHello.
    #[error("not TLS")]
    NotTls,
    /// A record or a ClientHello that violates RFC 8446 sections 4.1.2, 4.2 or 5.1, or RFC 6066
    /// section 3.
    #[error("a malformed TLS ClientHello")]
    Hello,
    /// A ClientHello of more than [`MAX_HELLO`](crate::hello::MAX_HELLO) bytes or
    /// [`MAX_RECORDS`](crate::hello::MAX_RECORDS) records.
    #[error("a TLS ClientHello over the size limits")]
    HelloTooLong,
    /// A PROXY protocol header that no server takes, or of more than
    /// [`MAX_HEADER`](crate::proxy::MAX_HEADER) bytes.
    #[error("a malformed PROXY header, or one of more than {} bytes", crate::proxy::MAX_HEADER)]
    ProxyHeader,
}

impl Reason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [Self; 26] = [
        Self::NotHttp,
        Self::Http09,
        Self::Version,
        Self::StartLine,
        Self::Method,
        Self::HeadTooLong,
        Self::LineEnd,
        Self::HeaderName,
        Self::HeaderValue,
        Self::ContentLength,
        Self::TransferEncoding,
        Self::TransferEncodingIn10,
        Self::LengthAndEncoding,
        Self::ConnectWithContent,
        Self::Chunk,
        Self::ChunkLineTooLong,
        Self::Trailer,
        Self::TrailersTooLong,
        Self::UnaskedUpgrade,
        Self::Frame,
        Self::HeaderBlock,
        Self::HeaderBlockTooLong,
        Self::NotTls,
        Self::Hello,
        Self::HelloTooLong,
        Self::ProxyHeader,
    ];

    /// The reason as the value of a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotHttp => "not_http",
            Self::Http09 => "http_0_9",
            Self::Version => "version",
            Self::StartLine => "start_line",
            Self::Method => "method",
            Self::HeadTooLong => "head_too_long",
            Self::LineEnd => "line_end",
            Self::HeaderName => "header_name",
            Self::HeaderValue => "header_value",
            Self::ContentLength => "content_length",
            Self::TransferEncoding => "transfer_encoding",
            Self::TransferEncodingIn10 => "transfer_encoding_in_1_0",
            Self::LengthAndEncoding => "length_and_encoding",
            Self::ConnectWithContent => "connect_with_content",
            Self::Chunk => "chunk",
            Self::ChunkLineTooLong => "chunk_line_too_long",
            Self::Trailer => "trailer",
            Self::TrailersTooLong => "trailers_too_long",
            Self::UnaskedUpgrade => "unasked_upgrade",
            Self::Frame => "frame",
            Self::HeaderBlock => "header_block",
            Self::HeaderBlockTooLong => "header_block_too_long",
            Self::NotTls => "not_tls",
            Self::Hello => "hello",
            Self::HelloTooLong => "hello_too_long",
            Self::ProxyHeader => "proxy_header",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_lists_each_reason_once_in_order() {
        let labels = Reason::ALL.iter().map(|reason| reason.label()).collect::<BTreeSet<_>>();
        assert_eq!(labels.len(), Reason::ALL.len());
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "{reason:?}");
        }
    }
}
