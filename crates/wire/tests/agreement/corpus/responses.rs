//! Responses. Each is sent on a new connection, which the server closes after it.

use interceptor_wire::Reason::{self, *};

pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Method of the request: `GET` or `HEAD`.
    pub(crate) method: &'static str,
    pub(crate) bytes: &'static [u8],
    pub(crate) framed: Framed,
}

/// How our parser frames the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framed {
    /// A final response with a body of this many bytes on the wire. No bytes follow.
    Body(usize),
    /// The same, followed by bytes that do not belong to it.
    Less(usize),
    /// A response that ends with the connection.
    UntilClose,
    /// A response that is not complete.
    Waits,
    Doubt(Reason),
}

use Framed::{Body, Doubt, Less, UntilClose, Waits};

const fn case<const N: usize>(name: &'static str, bytes: &'static [u8; N], framed: Framed) -> Case {
    Case { name, method: "GET", bytes, framed }
}

const fn head<const N: usize>(name: &'static str, bytes: &'static [u8; N], framed: Framed) -> Case {
    Case { name, method: "HEAD", bytes, framed }
}

#[rustfmt::skip]
pub(crate) const CASES: &[Case] = &[
    // --- Well-formed, RFC 9112 ---
    case("length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Body(5)),
    case("length 0", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Body(0)),
    case("no reason", b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", Body(5)),
    case("no reason and no space", b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", Body(5)),
    case("bytes beyond ASCII in the reason", b"HTTP/1.1 200 \xe4\r\nContent-Length: 5\r\n\r\nhello", Body(5)),
    case("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Body(15)),
    case("chunk extension and trailer", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\n", Body(25)),
    case("spaces behind a chunk's size", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5   \r\nhello\r\n0   \r\n\r\n", Body(21)),
    case("until close", b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello", UntilClose),
    case("until close in HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nhello", UntilClose),
    case("until close though kept", b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nhello", UntilClose),
    case("nothing until close", b"HTTP/1.1 200 OK\r\n\r\n", UntilClose),
    case("length in HTTP/1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", Body(5)),
    case("not modified", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Body(0)),
    case("no content", b"HTTP/1.1 204 No Content\r\n\r\n", Body(0)),
    case("no content of length 0", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", Body(0)),
    case("reset content", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", Body(0)),
    case("interim first", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Body(5)),
    case("two interim first", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Body(5)),
    case("same length twice", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Body(5)),
    case("odd status", b"HTTP/1.1 599 x\r\nContent-Length: 5\r\n\r\nhello", Body(5)),
    head("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Body(0)),
    head("HEAD, chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Body(0)),
    head("HEAD without a length", b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", Body(0)),
    head("HEAD, not found", b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n", Body(0)),
    // --- More or fewer bytes than the head announces ---
    case("more than the length", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello", Less(2)),
    case("less than the length", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello", Waits),
    case("no last chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Waits),
    case("no line behind the last chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", Waits),
    case("half a head", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Waits),
    case("interim only", b"HTTP/1.1 100 Continue\r\n\r\n", Waits),
    // --- In doubt ---
    case("both", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Doubt(LengthAndEncoding)),
    case("both in HTTP/1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Doubt(LengthAndEncoding)),
    case("chunked in HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Doubt(TransferEncodingIn10)),
    case("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 2\r\n\r\nhello", Doubt(ContentLength)),
    case("list of lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", Doubt(ContentLength)),
    case("length with plus", b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", Doubt(ContentLength)),
    case("length with minus", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello", Doubt(ContentLength)),
    case("empty length", b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello", Doubt(ContentLength)),
    case("hexadecimal length", b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello", Doubt(ContentLength)),
    case("length over 64 bits", b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551621\r\n\r\nhello", Doubt(ContentLength)),
    case("identity", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello", Doubt(TransferEncoding)),
    case("gzip", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello", Doubt(TransferEncoding)),
    case("gzip, chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Doubt(TransferEncoding)),
    case("chunked, gzip", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Doubt(TransferEncoding)),
    case("chunked twice", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Doubt(TransferEncoding)),
    case("xchunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Doubt(TransferEncoding)),
    case("space before the colon", b"HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Doubt(HeaderName)),
    case("folded coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Doubt(HeaderName)),
    case("folded value", b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 5\r\n\r\nhello", Body(5)),
    case("NUL in a value", b"HTTP/1.1 200 OK\r\nX: y\0\r\nContent-Length: 5\r\n\r\nhello", Doubt(HeaderValue)),
    case("lines end in LF", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", Doubt(LineEnd)),
    case("head ends in LF LF", b"HTTP/1.1 200 OK\r\nContent-Length: 5\n\nhello", Doubt(LineEnd)),
    case("length behind a bare LF", b"HTTP/1.1 200 OK\r\nX: y\nContent-Length: 2\r\n\r\nhello", Doubt(LineEnd)),
    case("length behind a bare CR", b"HTTP/1.1 200 OK\r\nX: y\rContent-Length: 2\r\n\r\nhello", Doubt(HeaderValue)),
    case("chunk size with 0x", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", Doubt(Chunk)),
    case("chunk size ends in LF", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", Doubt(Chunk)),
    case("chunk longer than its size", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n", Doubt(Chunk)),
    case("last line is LF", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\n", Doubt(Trailer)),
    case("unasked 101", b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello", Doubt(UnaskedUpgrade)),
    case("empty line in front", b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Doubt(NotHttp)),
    case("HTTP/1.2", b"HTTP/1.2 200 OK\r\nContent-Length: 5\r\n\r\nhello", Doubt(Version)),
    case("HTTP/2", b"HTTP/2 200 OK\r\nContent-Length: 5\r\n\r\nhello", Doubt(Version)),
    case("status of two digits", b"HTTP/1.1 99 x\r\nContent-Length: 5\r\n\r\nhello", Doubt(StartLine)),
    case("status below 100", b"HTTP/1.1 099 x\r\nContent-Length: 5\r\n\r\nhello", Doubt(StartLine)),
    case("status of four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello", Doubt(StartLine)),
    case("no status", b"HTTP/1.1 OK\r\nContent-Length: 5\r\n\r\nhello", Doubt(StartLine)),
    case("ICY", b"ICY 200 OK\r\nContent-Length: 5\r\n\r\nhello", Doubt(NotHttp)),
    case("HTTP/0.9", b"<html>hello</html>", Doubt(NotHttp)),
];
