//! Why the kernel side could not be set up.

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
