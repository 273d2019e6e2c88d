//! The limits of the process, and the maximum number of connections that follows from them.

mod memory;

use std::fmt;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use self::memory::Memory;
use crate::relay::socket_pool;

/// A connection has two sockets: the client's and the upstream.
const FILES_PER_CONNECTION: usize = 2;
/// Program, maps, link and namespace of one armed workload.
const FILES_PER_WORKLOAD: usize = 16;
/// Its listeners.
const FILES_PER_WORKER: usize = 2;
/// The name of a claimed port.
const FILES_PER_CLAIM: usize = 1;

/// The limits of this process, read at start.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    files: OpenFiles,
    memory: Memory,
}

/// Maximum open files of this process, read at start.
#[derive(Clone, Copy, Debug)]
pub struct OpenFiles(usize);

/// Lifts the limit of locked memory. Before Linux 5.11 the kernel counts BPF maps as locked memory;
/// later kernels do not.
pub fn raise_locked_memory() {
    // Without the right to raise it, loading fails on an old kernel with a message of its own.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

// === impl Limits ===

impl Limits {
    /// Raises the limits that can be raised, and returns the result.
    ///
    /// # Errors
    /// When the limits can't be read or set.
    pub fn raise() -> nix::Result<Self> {
        Ok(Self { files: OpenFiles::raise()?, memory: Memory::of_this_process() })
    }

    /// Maximum open connections with this number of armed workloads, claimed ports and workers.
    #[must_use]
    pub fn connections(self, workloads: usize, claims: usize, workers: u32) -> usize {
        self.files.connections(workloads, claims, workers).min(self.memory.connections())
    }
}

// === impl OpenFiles ===

impl fmt::Display for OpenFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl OpenFiles {
    /// Raises the soft limit to the hard limit, and returns the result.
    ///
    /// # Errors
    /// When the limits can't be read or set.
    pub fn raise() -> nix::Result<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(Self(usize::try_from(hard).unwrap_or(usize::MAX)))
    }

    /// Maximum connections for which the files suffice, with this number of workloads, claimed
    /// ports and workers.
    #[must_use]
    pub fn connections(self, workloads: usize, claims: usize, workers: u32) -> usize {
        // For standard streams, event loops, admin connections, name look-ups and spare sockets.
        // Also for connections that a worker accepts before the kernel sees that the limit is
        // reached.
        let reserve = (self.0 / 16).clamp(64, 1024) + socket_pool::MAX_SPARE;
        let per_workload = FILES_PER_WORKLOAD + workers as usize * FILES_PER_WORKER;
        let held = workloads * per_workload + claims * FILES_PER_CLAIM;
        self.0.saturating_sub(reserve + held) / FILES_PER_CONNECTION
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_thousand_connections_fit_into_twenty_thousand_files() {
        assert!(OpenFiles(20_000).connections(1, 1, 4) >= 9_000);
    }

    #[test]
    fn a_tight_limit_leaves_room_for_the_daemon_itself() {
        let connections = OpenFiles(256).connections(1, 1, 2);
        assert!(connections > 0 && connections * FILES_PER_CONNECTION + 64 <= 256, "{connections}");
        assert_eq!(OpenFiles(64).connections(1, 1, 1), 0);
    }
}
