//! What everybody relies on, each a few seconds: `cargo xtask e2e`.

#![forbid(unsafe_code)]

mod callers;
mod conditions;
mod dual_stack;
mod dying;
mod ground;
mod leaving;
mod policy;
mod probes;
mod refusing;
mod rights;
mod scraping;
mod taking;
