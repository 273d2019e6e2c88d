//! The parts of protocols that the relay has to understand:
//!
//! - which protocol a client speaks: [`opening()`];
//! - where HTTP/1 messages begin and end: [`http1`];
//! - what the frames and header blocks of HTTP/2 say: [`http2`];
//! - which server name a TLS client asks for: [`hello`].
//!
//! Nothing here does I/O. The caller owns the buffer, forwards its content unchanged, and asks
//! where a message or frame ends. The answers depend on the bytes alone, not on the reads that they
//! arrive in. Only [`http2`] writes bytes: frames of our own, and header blocks for another table.
//!
//! ```
//! use interceptor_wire::{Parsed, http1};
//!
//! let received = b"POST /cart HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nteapotGET";
//! let mut storage = http1::Storage::new();
//! let mut scan = http1::HeadScan::default();
//! let parsed = http1::request(received, &mut scan, &mut storage);
//! let Parsed::Complete { head, len } = parsed else { panic!("{parsed:?}") };
//! assert_eq!((head.method(), head.path(), head.host()), ("POST", "/cart", Some("shop")));
//!
//! let mut body = head.body.clone();
//! assert_eq!(body.advance(&received[len..]), Ok(4));
//! assert!(body.is_done());
//! ```
//!
//! # In doubt
//!
//! Request smuggling needs two parsers that find different ends in the same bytes. Bytes that
//! software in use reads in more than one way, and bytes that are not HTTP, are
//! [`Parsed::Unframed`] with a [`Reason`]. The relay then makes the connection a plain pipe, and
//! the app answers as it would without the relay. Messages that ordinary clients send are framed.

#![forbid(unsafe_code)]
#![warn(clippy::missing_errors_doc, clippy::print_stderr, clippy::print_stdout)]

pub mod hello;
pub mod http1;
pub mod http2;
pub mod opening;

mod reason;

pub use opening::{Opening, opening};
pub use reason::Reason;

/// What the bytes received so far contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed<T> {
    /// The beginning of a head. Ask again when more bytes have arrived.
    Partial,
    /// A whole head.
    Complete {
        /// The content of the head.
        head: T,
        /// The length of the head in bytes.
        len: usize,
    },
    /// Another protocol, or a head whose end is in doubt. More bytes do not change that.
    Unframed(Reason),
}
