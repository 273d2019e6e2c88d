//! The connections of one worker: a task each, counted while it is open, and aborted with its
//! workload.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::shared::Shared;
use crate::relay::workload_id::WorkloadId;

/// The tasks of one worker's connections, so that those of one workload can be aborted.
#[derive(Debug, Default)]
pub(super) struct Connections {
    tasks: Mutex<HashMap<u64, (WorkloadId, AbortHandle)>>,
    next: AtomicU64,
}

/// A connection that is counted as open, however its task ends.
struct Open {
    number: u64,
    connections: Arc<Connections>,
    shared: Arc<Shared>,
}

// === impl Connections ===

impl Connections {
    /// Starts a task for a connection of the workload `id`.
    pub(super) fn spawn<F>(self: &Arc<Self>, id: WorkloadId, connection: F, shared: &Arc<Shared>)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        shared.opened();
        let open = Open { number, connections: Arc::clone(self), shared: Arc::clone(shared) };
        let task = tokio::spawn(async move {
            let _open = open;
            connection.await;
        });
        // The task can't have run yet: it belongs to this thread.
        self.tasks.lock().insert(number, (id, task.abort_handle()));
    }

    /// Aborts the connections of the workload `id`.
    pub(super) fn abort(&self, id: WorkloadId) {
        self.tasks
            .lock()
            .values()
            .filter(|(owner, _)| *owner == id)
            .for_each(|(_, task)| task.abort());
    }
}

// === impl Open ===

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.closed();
        if thread::panicking() {
            // tokio ends this task alone; the panic hook has logged the panic.
            self.shared.panicked();
        }
        self.connections.tasks.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::{sync::oneshot, task::yield_now};

    use super::*;

    const CUT: WorkloadId = WorkloadId(1);
    const KEPT: WorkloadId = WorkloadId(2);

    #[tokio::test]
    async fn a_panic_ends_its_own_connection_and_no_other() {
        let shared = Shared::new(1, 10);
        let connections: Arc<Connections> = Arc::default();
        let (done, is_done) = oneshot::channel();
        connections.spawn(KEPT, async { panic!("on purpose, by the test") }, &shared);
        connections.spawn(
            KEPT,
            async move {
                yield_now().await;
                done.send(()).expect("the test waits");
            },
            &shared,
        );
        is_done.await.expect("the other connection goes on");
        yield_now().await;
        assert_eq!(shared.panics(), 1);
        assert_eq!(shared.open(), 0);
        assert!(connections.tasks.lock().is_empty());
    }

    #[tokio::test]
    async fn cutting_a_workload_leaves_the_others_alone() {
        let shared = Shared::new(1, 10);
        let connections: Arc<Connections> = Arc::default();
        for id in [CUT, KEPT] {
            connections.spawn(id, std::future::pending(), &shared);
        }
        yield_now().await;
        connections.abort(CUT);
        while shared.open() > 1 {
            yield_now().await;
        }
        assert!(connections.tasks.lock().values().all(|(id, _)| *id == KEPT));
    }
}
