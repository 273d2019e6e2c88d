//! The code of the fuzz targets. Each checks more than "no panic": its first lines list the
//! properties.
//!
//! `cargo xtask fuzz` runs the targets for a long time, guided by coverage. `tests/mutations.rs`
//! runs them for a moment with every `cargo test`.

#![forbid(unsafe_code)]

pub mod condition;
pub mod framer;
pub mod frames;
pub mod hello;
pub mod hpack;
pub mod http1;
pub mod rule;
pub mod workloads;
