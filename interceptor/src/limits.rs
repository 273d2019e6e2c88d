//! What the process may use, and how many connections that is.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// A connection is two sockets: the caller's and the upstream.
const FILES_PER_CONNECTION: usize = 2;
/// Program, maps, link and namespace of one armed workload.
const FILES_PER_WORKLOAD: usize = 16;
/// Its listeners.
const FILES_PER_WORKER: usize = 2;

/// Raises the soft limit of open files to the hard one. Gives what it is then.
///
/// # Errors
/// When the limits can't be read or set.
pub fn raise_open_files() -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Lets maps be as large as they are: before Linux 5.11 they count as locked memory. Later kernels do not ask.
pub fn raise_locked_memory() {
    // Without the right to raise it, and on a kernel that asks, loading fails with a message of its own.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

/// How many connections this many workers may have open, beside this many armed workloads.
#[must_use]
pub fn connections(workloads: usize, workers: u32) -> usize {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    connections_within(usize::try_from(soft).unwrap_or(usize::MAX), workloads, workers as usize)
}

fn connections_within(files: usize, workloads: usize, workers: usize) -> usize {
    // Standard streams, event loops, admin connections, name look-ups, and connections that are being passed on while
    // the kernel learns that there is no room.
    let reserve = (files / 16).clamp(64, 1024);
    files.saturating_sub(reserve + workloads * (FILES_PER_WORKLOAD + workers * FILES_PER_WORKER))
        / FILES_PER_CONNECTION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_thousand_connections_fit_into_twenty_thousand_files() {
        assert!(connections_within(20_000, 1, 4) >= 9_000);
    }

    #[test]
    fn a_tight_limit_leaves_room_for_the_daemon_itself() {
        let connections = connections_within(256, 1, 2);
        assert!(connections > 0 && connections * FILES_PER_CONNECTION + 64 <= 256, "{connections}");
        assert_eq!(connections_within(64, 1, 1), 0);
    }
}
