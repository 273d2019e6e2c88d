//! The control side: from what people wrote to what the kernel and the workers do.
//!
//! ```text
//! watch.rs        something changed: the workloads file, a mount, a process
//! reconciler.rs   one task; brings every workload to what is written, again and again until it fits
//!   managed.rs      one workload: its state machine
//!     plan.rs         which of its rules take effect, and why the others don't (pure)
//!     armed.rs        a namespace with our program in it
//!       prove.rs        is a byte really intercepted?
//!       resolve.rs      the addresses behind a target's name
//!       reopen.rs       a silent target, tried in the background
//!     leaving.rs      given back, with connections that may finish
//! registry.rs     what is published of all that, for status and metrics
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
pub mod source;
pub mod status;
pub mod task;
pub mod workload;
