//! The identity of an attached workload, which files of the relay use that need nothing else of it.

use std::fmt;

/// One attachment to one workload. A number is never used again within a run of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkloadId(pub u32);

// === impl WorkloadId ===

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
