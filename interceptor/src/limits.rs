//! What the process may use, and how many connections that is.

mod memory;

use std::fmt;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use self::memory::Memory;
use crate::relay::socket_pool;

/// A connection is two sockets: the caller's and the upstream.
const FILES_PER_CONNECTION: usize = 2;
/// Program, maps, link and namespace of one armed workload.
const FILES_PER_WORKLOAD: usize = 16;
/// Its listeners.
const FILES_PER_WORKER: usize = 2;

/// What this process may use, as it was at start.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    files: OpenFiles,
    memory: Memory,
}

/// How many files this process may have open, as it was at start.
#[derive(Clone, Copy, Debug)]
pub struct OpenFiles(usize);

/// Lets maps be as large as they are: before Linux 5.11 they count as locked memory. Later kernels do not ask.
pub fn raise_locked_memory() {
    // Without the right to raise it, and on a kernel that asks, loading fails with a message of its own.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

// === impl Limits ===

impl Limits {
    /// Raises what can be raised. Gives what it is then.
    ///
    /// # Errors
    /// When the limits can't be read or set.
    pub fn raise() -> nix::Result<Self> {
        Ok(Self { files: OpenFiles::raise()?, memory: Memory::of_this_process() })
    }

    /// How many connections this many workers may have open, beside this many armed workloads.
    #[must_use]
    pub fn connections(self, workloads: usize, workers: u32) -> usize {
        self.files.connections(workloads, workers).min(self.memory.connections())
    }
}

// === impl OpenFiles ===

impl fmt::Display for OpenFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl OpenFiles {
    /// Raises the soft limit to the hard one. Gives what it is then.
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

    /// How many connections of this many workers they are enough for, beside this many armed workloads.
    #[must_use]
    pub fn connections(self, workloads: usize, workers: u32) -> usize {
        // Standard streams, event loops, admin connections, name look-ups, and connections that are being passed on
        // while the kernel learns that there is no room; and spare sockets.
        let reserve = (self.0 / 16).clamp(64, 1024) + socket_pool::MAX_SPARE;
        let per_workload = FILES_PER_WORKLOAD + workers as usize * FILES_PER_WORKER;
        self.0.saturating_sub(reserve + workloads * per_workload) / FILES_PER_CONNECTION
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_thousand_connections_fit_into_twenty_thousand_files() {
        assert!(OpenFiles(20_000).connections(1, 4) >= 9_000);
    }

    #[test]
    fn a_tight_limit_leaves_room_for_the_daemon_itself() {
        let connections = OpenFiles(256).connections(1, 2);
        assert!(connections > 0 && connections * FILES_PER_CONNECTION + 64 <= 256, "{connections}");
        assert_eq!(OpenFiles(64).connections(1, 1), 0);
    }
}
