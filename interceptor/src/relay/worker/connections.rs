//! The connections of one worker: a task each, counted while it is open, aborted with its workload,
//! and woken while the daemon ends.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    thread,
};

use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::shared::Shared;
use crate::relay::workload_id::WorkloadId;

/// The tasks of one worker's connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    tasks: Mutex<HashMap<u64, Task>>,
    next: AtomicU64,
}

/// The task of a connection.
#[derive(Debug)]
struct Task {
    workload: WorkloadId,
    abort: AbortHandle,
    /// Set when the task runs for the first time.
    waker: Option<Waker>,
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
            open.note_waker(poll_fn(|cx| Poll::Ready(cx.waker().clone())).await);
            connection.await;
        });
        // The task can't have run yet: it belongs to this thread.
        let task = Task { workload: id, abort: task.abort_handle(), waker: None };
        self.tasks.lock().insert(number, task);
    }

    /// Has all connections polled. One that has not run yet is polled anyway.
    pub(super) fn wake(&self) {
        self.tasks.lock().values().flat_map(|task| &task.waker).for_each(Waker::wake_by_ref);
    }

    /// Aborts the connections of the workload `id`.
    pub(super) fn abort(&self, id: WorkloadId) {
        self.tasks
            .lock()
            .values()
            .filter(|task| task.workload == id)
            .for_each(|task| task.abort.abort());
    }
}

// === impl Open ===

impl Open {
    fn note_waker(&self, waker: Waker) {
        if let Some(task) = self.connections.tasks.lock().get_mut(&self.number) {
            task.waker = Some(waker);
        }
    }
}

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
    async fn every_connection_is_polled_when_it_is_woken() {
        let shared = Shared::new(1, 10);
        let connections: Arc<Connections> = Arc::default();
        let polls: Arc<AtomicU64> = Arc::default();
        for _ in 0..3 {
            let polls = Arc::clone(&polls);
            let connection = poll_fn(move |_| {
                polls.fetch_add(1, Ordering::Relaxed);
                Poll::<()>::Pending
            });
            connections.spawn(KEPT, connection, &shared);
        }
        yield_now().await;
        assert_eq!(polls.load(Ordering::Relaxed), 3);
        connections.wake();
        yield_now().await;
        assert_eq!(polls.load(Ordering::Relaxed), 6);
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
        assert!(connections.tasks.lock().values().all(|task| task.workload == KEPT));
    }
}
