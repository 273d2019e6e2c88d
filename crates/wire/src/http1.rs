//! HTTP/1.0 and 1.1 as on the wire: RFC 9112, with heads read by `httparse`.
//!
//! A connection is a sequence of heads ([`request()`], [`response()`]) and bodies ([`Body`]). What each head says of the
//! bytes after its message is [`After`]; what the responses have to be read by is [`Asked`], which the caller keeps,
//! one for each request, in order.
//!
//! # What is in doubt
//!
//! See [`Reason`](crate::Reason). Decisions that the RFC leaves open:
//!
//! - Bare LF ends a line for some recipients and not for others (RFC 9112 section 2.2): never framed.
//! - `Content-Length` may be repeated if it is the same each time: those who accept that agree. Signs, lists,
//!   leading zeros (octal for some) and numbers beyond 2^63 - 1 are not framed.
//! - White space after a chunk's size is framed: old servers pad the size with it, and who accepts it agrees.
//! - Missing or repeated `Host` is framed, since it says nothing of where the message ends;
//!   [`RequestHead::host`] then names nobody.
//! - `Content_Length` and `Transfer_Encoding` are not framed: gateways that turn names into variables take them for
//!   the real ones.
//! - Methods are of letters, `-` and `_`. The standard allows more, but then `SSH-2.0` or `*1` might still be one.

mod body;
mod chunked;
mod exchange;
mod fields;
mod framer;
mod request;
mod response;
mod scan;

pub use body::Body;
pub use exchange::{After, Asked, Version};
pub use framer::{Event, RequestFramer, ResponseFramer};
pub use httparse::Header;
pub(crate) use request::is_method_byte;
pub use request::{RequestHead, request};
pub use response::{ResponseHead, response};
pub use scan::{HeadScan, Storage};

/// Bytes of a head, from its first to the empty line, with the empty lines before it.
pub const MAX_HEAD: usize = 64 * 1024;

/// Header fields in a head.
pub const MAX_HEADERS: usize = 128;

/// Bytes of a method; the longest registered one has 17.
pub const MAX_METHOD: usize = 32;

/// Bytes of a line with a chunk's size and extensions, without its end.
pub const MAX_CHUNK_LINE: usize = 4 * 1024;

/// Bytes of the trailers of one message.
pub const MAX_TRAILERS: usize = 16 * 1024;

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a field value, a reason phrase or a chunk extension may have: everything but control characters.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
