//! A disarmed workload that still has open connections.
//!
//! They may end by themselves while their namespace exists. When the namespace is removed, they are
//! closed: their sockets would keep it alive.

use std::{
    path::PathBuf,
    sync::{Arc, Weak},
};

use crate::{
    netns::{HomeNetns, Netns, NetnsId, is_gone},
    relay::{
        worker::Workers,
        workload::{Workload, WorkloadId},
    },
};

/// A disarmed workload whose connections may still be open.
#[derive(Debug)]
pub struct Draining {
    path: PathBuf,
    netns: NetnsId,
    id: WorkloadId,
    workload: Weak<Workload>,
}

// === impl Draining ===

impl Draining {
    /// Begins to watch the workload's namespace.
    #[must_use]
    pub fn new(workload: &Arc<Workload>) -> Self {
        Self {
            path: workload.netns.path().to_owned(),
            netns: workload.netns.id(),
            id: workload.id,
            workload: Arc::downgrade(workload),
        }
    }

    /// Whether all its connections have ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.workload.strong_count() == 0
    }

    /// Closes the connections if the namespace is gone. Returns whether to keep watching: false if
    /// no connection is left or the namespace is gone.
    pub fn cut_if_gone(&self, home: &'static HomeNetns, workers: &Workers) -> bool {
        let Some(workload) = self.workload.upgrade() else { return false };
        let gone = is_gone(&Netns::open(&self.path, home), self.netns);
        if gone {
            workload.gone.set();
            workers.cut(self.id);
        }
        !gone
    }
}
