//! HTTP/1.0 and 1.1 as on the wire: RFC 9112, with heads read by `httparse`.
//!
//! A connection is a sequence of heads ([`request()`], [`response()`]) and bodies ([`Body`]).
//! [`After`] tells what follows a message. [`Asked`] holds what a request means for the framing of
//! its response: the caller keeps one for each request, in order. [`RequestFramer`] and
//! [`ResponseFramer`] put these together for one direction of a connection.
//!
//! # What is in doubt
//!
//! See [`Reason`](crate::Reason). Where the RFC leaves the decision open:
//!
//! - Bare LF ends a line for some recipients only (RFC 9112 section 2.2). It is never framed.
//! - A repeated `Content-Length` is framed if its values are equal: the recipients that accept it
//!   agree on its meaning. Signs, lists, leading zeros (octal for some recipients) and numbers
//!   beyond 2^63 - 1 are not framed.
//! - White space after a chunk's size is framed. Old servers pad the size with it, and the
//!   recipients that accept it agree on its meaning.
//! - A missing or repeated `Host` is framed, since it does not affect where the message ends.
//!   [`RequestHead::host`] is `None` then.
//! - `Content_Length` and `Transfer_Encoding` are not framed: gateways that turn names into
//!   variables take them for the real ones.
//! - A field with a control character, an odd name or a value on several lines does not affect the
//!   end of the head. It is framed, unless it resembles a field that decides about framing.
//! - Methods consist of letters, `-` and `_`. The standard allows more characters, but with these
//!   `SSH-2.0` and `*1` could be the beginning of a method too.

mod body;
mod chunked;
mod exchange;
mod fields;
mod framer;
mod headers;
mod odd;
mod offer;
mod request;
mod response;
mod scan;

pub use body::Body;
pub use exchange::{After, Asked, Version};
pub use framer::{Event, RequestFramer, ResponseFramer};
pub use headers::Headers;
pub use httparse::Header;
pub use offer::without_offers;
pub(crate) use request::is_method_byte;
pub use request::{RequestHead, request};
pub use response::{ResponseHead, response};
pub use scan::{HeadScan, Storage};

/// Maximum length of a head in bytes, with the empty line at its end and those in front of it.
pub const MAX_HEAD: usize = 64 * 1024;

/// Maximum length of a method in bytes. The longest registered one has 17.
pub const MAX_METHOD: usize = 32;

/// Maximum length in bytes of a line with a chunk's size and extensions, without its CRLF.
pub const MAX_CHUNK_LINE: usize = 4 * 1024;

/// Maximum length in bytes of the trailers of one message.
pub const MAX_TRAILERS: usize = 16 * 1024;

/// Whether a name may contain the byte, RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a field value, a reason phrase or a chunk extension may contain the byte: all but
/// control characters.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
