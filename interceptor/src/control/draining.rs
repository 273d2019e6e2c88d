//! What was given back and still has connections.
//!
//! They may finish, as long as their namespace is there. When it goes, they go: their sockets would keep it alive.

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

/// A workload that is not armed any more, and whose connections may still go on.
#[derive(Debug)]
pub struct Draining {
    path: PathBuf,
    netns: NetnsId,
    id: WorkloadId,
    workload: Weak<Workload>,
}

// === impl Draining ===

impl Draining {
    /// To be watched over from now on.
    #[must_use]
    pub fn new(workload: &Arc<Workload>) -> Self {
        Self {
            path: workload.netns.path().to_owned(),
            netns: workload.netns.id(),
            id: workload.id,
            workload: Arc::downgrade(workload),
        }
    }

    /// Whether there is anything left to watch over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.workload.strong_count() == 0
    }

    /// Lets go of the namespace if it is gone: connections in it would keep it alive. False when nothing is left to
    /// watch over.
    pub fn look_again(&self, home: &'static HomeNetns, workers: &Workers) -> bool {
        let Some(workload) = self.workload.upgrade() else { return false };
        let gone = is_gone(&Netns::open(&self.path, home), self.netns);
        if gone {
            workload.gone.set();
            workers.cut(self.id);
        }
        !gone
    }
}
