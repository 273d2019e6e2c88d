//! Background tasks that watch one fact each and wake the reconciler when it changes.
//!
//! ```text
//! watch.rs      whether the workloads file, a mount or a process has changed
//! resolve.rs    the addresses behind a target's name
//! canary.rs     whether a connection to a port arrives at the relay
//! half_open.rs  whether a silent target answers again
//! ```

pub mod canary;
pub mod half_open;
pub mod resolve;
pub mod watch;
