//! What everybody relies on, each a few seconds: `cargo xtask e2e`.

mod baseline;
mod callers;
mod conditions;
mod dual_stack;
mod leaving;
mod policy;
mod probes;
mod refusing;
mod rights;
mod scraping;
mod shutdown;
mod taking;
