//! HPACK: the examples of RFC 7541, properties of all blocks, and Go's implementation as an oracle.

#![forbid(unsafe_code)]

mod oracle;
mod properties;
#[path = "../support/hpack.rs"]
mod support;
mod vectors;
