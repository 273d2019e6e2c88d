//! What the fuzz targets do with their input. Each checks more than "no panic": see its first lines.
//!
//! `cargo xtask fuzz` runs them for long, guided by coverage; `tests/mutations.rs` for a moment with every `cargo test`.

#![forbid(unsafe_code)]

pub mod condition;
pub mod framer;
pub mod hello;
pub mod http1;
pub mod http2;
pub mod rule;
pub mod workloads;
