//! The daemon's side of the kernel programs: loading, maps, links.
//!
//! Each workload has [`PodPrograms`] with programs and maps of its own, because an `sk_lookup`
//! program can't find out in which network namespace it runs. [`Callers`] exist once for the
//! process: their programs can. Nothing is pinned. When the process ends, in whatever way, the
//! kernel removes all programs, maps and links.

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
