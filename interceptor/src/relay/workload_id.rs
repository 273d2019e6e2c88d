//! The identity of an attached workload. Files of the relay that need only that do not import the
//! workload itself.

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
