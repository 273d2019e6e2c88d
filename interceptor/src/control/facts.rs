//! Background tasks that find something out, and wake the reconciler when it has changed.
//!
//! ```text
//! watch.rs      the workloads file, a mount or a process has changed
//! resolve.rs    the addresses behind a target's name
//! canary.rs     does a connection to the port really arrive at the relay?
//! half_open.rs  does a silent target answer again?
//! ```

pub mod canary;
pub mod half_open;
pub mod resolve;
pub mod watch;
