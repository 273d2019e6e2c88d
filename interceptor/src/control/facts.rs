//! Background tasks that watch one fact each and wake the reconciler when it changes.
//!
//! ```text
//! watch.rs      whether the workloads file, a mount or a process has changed
//! resolve.rs    the addresses behind a target's name
//! canary.rs     whether a connection to a port arrives at the relay
//! half_open.rs  whether a silent target answers again
//! loop_probe.rs whether the target leads back to the rule's own ports
//! room.rs       whether the rule has its maximum number of connections
//! ```

pub mod canary;
pub mod half_open;
pub mod loop_probe;
pub mod resolve;
pub mod room;
pub mod watch;
