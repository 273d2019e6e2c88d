//! The daemon's side of the kernel programs: loading, maps, links.
//!
//! One [`Steal`] per workload holds its own program and maps, because an `sk_lookup` program can't tell which network
//! namespace it runs in. [`Callers`] are one for all: their programs can. Nothing is pinned: when the process ends, in whatever way, the kernel removes all of it.

pub mod caller;
mod error;
mod object;
pub mod pod;
pub mod steal;
mod via;

pub use self::{
    caller::{Callers, NetnsCallers},
    error::DatapathError,
    pod::{PodPrograms, TakePorts},
    steal::{Loader, bypass::Bypass, heartbeat::HeartbeatPage},
    via::Via,
};
