//! Tests of the product's main promises, a few seconds each: `cargo xtask e2e`.

#![forbid(unsafe_code)]

mod baseline;
mod client_address;
mod conditions;
mod dual_stack;
mod listing;
mod policy;
mod probes;
mod refusals;
mod reporting;
mod rights;
mod scraping;
mod shutdown;
mod taking;
mod uninstall;
