//! The daemon's side of the kernel programs: loading, maps, links.
//!
//! Each workload has [`PodPrograms`] of its own, because an `sk_lookup` program can't tell which
//! network namespace it runs in. The node has one [`Callers`], whose programs can tell.
//!
//! Nothing is pinned. When the process ends, the kernel removes all of it.

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
    steal::{Loader, bypass::Bypass, heartbeat::HeartbeatPage, others::others},
    via::Via,
};
