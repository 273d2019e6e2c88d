//! Background tasks that watch one fact each and wake the reconciler when it changes.
//!
//! ```text
//! watch.rs      whether the workloads file, a mount or a process has changed
//! resolve.rs    the addresses behind a target's name; lookup_error.rs: why it has none
//! canary.rs     whether a connection to a port arrives at the relay
//! listener.rs   whether anything listens on a port that is not declared
//! target.rs     whether the target answers
//! hold.rs       what is reported of a target that changes its mind (pure)
//! ```

pub mod canary;
pub mod hold;
pub mod listener;
mod lookup_error;
pub mod resolve;
pub mod target;
pub mod watch;
