//! Why the kernel side could not be set up.

/// Why the kernel side could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The object could not be loaded. The source has the message of kernel or verifier.
    #[error("load the kernel programs: {0}")]
    Load(#[from] aya::EbpfError),
    /// The verifier or the attach point refused the program.
    #[error("kernel program: {0}")]
    Program(#[from] aya::programs::ProgramError),
    /// A map operation failed.
    #[error("map {name}: {source}")]
    Map {
        /// The map's name.
        name: &'static str,
        /// The kernel's error.
        source: aya::maps::MapError,
    },
    /// The heartbeat array could not be mapped into memory.
    #[error("map the heartbeats into memory: {0}")]
    Heartbeat(#[from] nix::Error),
    /// All rows of the counters are in use.
    #[error(
        "more than {} redirected ports in one network namespace",
        interceptor_common::steal::MAX_PORTS
    )]
    TooManyPorts,
}
