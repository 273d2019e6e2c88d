//! The daemon's side of the kernel programs: loading, maps, links.
//!
//! One [`Steal`] per workload holds its own program and maps, because an `sk_lookup` program can't tell which network
//! namespace it runs in. [`Callers`] are one for all: their programs can. Nothing is pinned: when the process ends, in whatever way, the kernel removes all of it.

pub mod caller;
pub mod steal;

use aya::maps::{Map, MapError};

pub use self::{
    caller::{Callers, NetnsCallers},
    steal::{Loader, Steal, bypass::Bypass, heartbeat::HeartbeatPage},
};

/// Why the kernel side could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The object could not be loaded; the source tells what the kernel or the verifier said.
    #[error("load the kernel programs: {0}")]
    Load(#[from] aya::EbpfError),
    /// The verifier or the attach point refused the program.
    #[error("kernel program: {0}")]
    Program(#[from] aya::programs::ProgramError),
    /// A map operation failed.
    #[error("map {name}: {source}")]
    Map {
        /// Which map.
        name: &'static str,
        /// What the kernel said.
        source: aya::maps::MapError,
    },
    /// The heartbeat array could not be mapped into memory.
    #[error("map the heartbeats into memory: {0}")]
    Heartbeat(#[from] nix::Error),
    /// All rows of the counters are taken.
    #[error(
        "more than {} redirected ports in one network namespace",
        interceptor_common::steal::MAX_PORTS
    )]
    TooManyPorts,
}

fn take(program: &mut aya::Ebpf, name: &'static str) -> Result<Map, DatapathError> {
    program.take_map(name).ok_or_else(|| missing(name))
}

fn missing(name: &'static str) -> DatapathError {
    let source = MapError::InvalidName { name: name.into() };
    DatapathError::Map { name, source }
}
