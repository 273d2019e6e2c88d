//! What the relay has to understand of the bytes on a connection, and nothing more: what kind of bytes they are
//! ([`opening()`]), where HTTP/1 messages begin and end ([`http1`]), and which name a TLS client calls ([`hello`]).
//!
//! Nothing here does I/O, keeps bytes, or changes them: the caller owns the buffer, forwards what is in it as it
//! came, and asks where a message ends. It is a pure function of the bytes, however they are split.
//!
//! ```
//! use interceptor_wire::{Parsed, http1};
//!
//! let received = b"POST /cart HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nteapotGET";
//! let mut storage = http1::Storage::new();
//! let mut scan = http1::HeadScan::default();
//! let Parsed::Complete { head, len } = http1::request(received, &mut scan, &mut storage) else { panic!() };
//! assert_eq!((head.method(), head.path(), head.host()), ("POST", "/cart", Some("shop")));
//!
//! let mut body = head.body.clone();
//! assert_eq!(body.advance(&received[len..]), Ok(4));
//! assert!(body.is_done());
//! ```
//!
//! # In doubt
//!
//! Two parsers that see different ends in the same bytes are what request smuggling is made of. Whatever is read in
//! more than one way by software in use, or is no HTTP at all, is [`Parsed::Unframed`] with a [`Reason`]. That costs
//! nobody anything: such a connection becomes a plain pipe, and the app answers as it would have. What ordinary
//! clients send has to be framed.

#![forbid(unsafe_code)]

pub mod hello;
pub mod http1;
pub mod opening;

mod reason;

pub use opening::{Opening, opening};
pub use reason::Reason;

/// What the bytes so far are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed<T> {
    /// A beginning. Ask again when more has come.
    Partial,
    /// All of it.
    Complete {
        /// What it says.
        head: T,
        /// How many of the bytes it is.
        len: usize,
    },
    /// Not what was asked for, or in doubt. More bytes don't change it.
    Unframed(Reason),
}
