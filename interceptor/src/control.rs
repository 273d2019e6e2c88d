//! The control side: brings the kernel and the workers to the specs.
//!
//! ```text
//! reconciler.rs     one task that brings every workload to its spec
//!   workload.rs       the controller of one workload
//!     plan.rs           which rules take effect, and why the others do not (pure)
//!     attachment.rs     a namespace with our programs in it
//!       ports.rs          the order in which ports are taken and released
//!       rule.rs           a rule in force
//!         sentence.rs       what it does, in words (pure)
//!         facts/            background tasks that watch one fact each
//!     draining.rs       a disarmed workload that still has connections
//! source.rs         where specs come from
//! context.rs        what every part may use, and how it wakes the reconciler
//! claims.rs         one workload for each port of a namespace
//! registry.rs       the published state, for status, metrics and reports
//! ```

pub mod attachment;
pub mod claims;
pub mod context;
pub mod draining;
pub mod facts;
pub mod plan;
mod ports;
pub mod reconciler;
pub mod registry;
mod rule;
mod sentence;
pub mod source;
pub mod task;
pub mod workload;
