//! Header blocks, RFC 7541, without judgement: names and values are bytes, and each field keeps the
//! representation that its sender chose.
//!
//! A [`Decoder`] follows one direction of a connection. It takes a block in whatever pieces its
//! frames have, and returns the fields one by one, borrowed:
//!
//! ```
//! use interceptor_wire::http2::hpack::{Decoder, Encoder, Fields, MAX_FIELD};
//!
//! // RFC 7541, appendix C.3.1.
//! let block = b"\x82\x86\x84\x41\x0fwww.example.com";
//! let (mut decoder, mut fields) = (Decoder::new(MAX_FIELD), Fields::default());
//! for mut piece in block.chunks(7) {
//!     while let Some(field) = decoder.next(&mut piece)? {
//!         fields.push(field);
//!     }
//! }
//! decoder.finish()?;
//! assert_eq!(fields.value(b":authority"), Some(&b"www.example.com"[..]));
//!
//! let (mut encoder, mut out) = (Encoder::new(4096), Vec::new());
//! encoder.begin(&mut out);
//! fields.iter().for_each(|field| encoder.field(&mut out, field));
//! // The Huffman code makes the name shorter.
//! assert_eq!(out, b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff");
//! # Ok::<(), interceptor_wire::http2::hpack::HpackError>(())
//! ```
//!
//! An [`Encoder`] writes blocks for the decoder of a peer. It keeps the choices of the sender as
//! far as its own table has the same fields. [`encode_stateless`] writes fields for a peer whose
//! table follows another encoder.

mod decoder;
mod dynamic_table;
mod encoder;
mod error;
mod field;
mod fields;
mod huffman;
mod instruction;
mod integer;
mod static_table;

pub use decoder::Decoder;
pub use encoder::{Encoder, encode_stateless, size_update};
pub use error::HpackError;
pub use field::{Field, Indexing, Representation};
pub use fields::Fields;

/// Maximum length in bytes of the encoded name or value of one field, unless a [`Decoder`] is made
/// with another maximum. A decoder holds a field that is cut.
pub const MAX_FIELD: u32 = 256 * 1024;

/// Maximum size of a table in bytes that a relay should follow. Peers may announce up to 2^32 - 1.
pub const MAX_TABLE: u32 = 64 * 1024;
