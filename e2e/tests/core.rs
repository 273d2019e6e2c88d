//! What everybody relies on, each a few seconds: `cargo xtask e2e`.

#[path = "core/callers.rs"]
mod callers;
#[path = "core/conditions.rs"]
mod conditions;
#[path = "core/dual_stack.rs"]
mod dual_stack;
#[path = "core/dying.rs"]
mod dying;
#[path = "core/ground.rs"]
mod ground;
#[path = "core/leaving.rs"]
mod leaving;
#[path = "core/policy.rs"]
mod policy;
#[path = "core/probes.rs"]
mod probes;
#[path = "core/refusing.rs"]
mod refusing;
#[path = "core/rights.rs"]
mod rights;
#[path = "core/scraping.rs"]
mod scraping;
#[path = "core/taking.rs"]
mod taking;
