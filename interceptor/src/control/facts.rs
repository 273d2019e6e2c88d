//! Background tasks that watch one fact each and wake the reconciler when it changes.
//!
//! ```text
//! watch.rs      whether the workloads file, a mount or a process has changed
//! resolve.rs    the addresses behind a target's name
//! look_up.rs    asks the DNS servers for them; lookup_error.rs: why there are none
//! canary.rs     whether a connection to a port arrives at the relay
//! listener.rs   whether anything listens on a port that is not declared
//! target.rs     whether the target answers
//! hold.rs       what is reported of a target or a name that changes its mind (pure)
//! loop_probe.rs whether the target leads back to the rule's own ports
//! room.rs       whether the rule has its maximum number of connections
//! ```

pub mod canary;
pub mod hold;
pub mod listener;
mod look_up;
mod lookup_error;
pub mod loop_probe;
pub mod resolve;
pub mod room;
pub mod target;
pub mod watch;
