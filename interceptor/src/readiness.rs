//! Whether the daemon is ready: every task that was registered at start is done.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;

/// The tasks that must be done before the daemon is ready. Once ready, it stays ready.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    started: Instant,
    /// The tasks that are not done, by name.
    pending: Mutex<BTreeSet<&'static str>>,
    ready: AtomicBool,
}

/// A task that must be done before the daemon is ready. Dropping this marks it as done.
#[derive(Debug)]
#[must_use = "the task is done when this is dropped"]
pub struct ReadyTask {
    readiness: Readiness,
    name: &'static str,
}

// === impl Readiness ===

impl Default for Readiness {
    fn default() -> Self {
        let pending = Mutex::default();
        Self(Arc::new(Shared { started: Instant::now(), pending, ready: AtomicBool::new(false) }))
    }
}

impl Readiness {
    /// Registers the task `name`. Register every task before the first one is done.
    pub fn task(&self, name: &'static str) -> ReadyTask {
        self.0.pending.lock().insert(name);
        ReadyTask { readiness: self.clone(), name }
    }

    /// Whether every task is done. False before the first task is registered.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Acquire)
    }

    fn done(&self, task: &'static str) {
        let mut pending = self.0.pending.lock();
        pending.remove(task);
        let after = self.0.started.elapsed();
        if pending.is_empty() {
            tracing::info!(task, ?after, "ready");
            self.0.ready.store(true, Ordering::Release);
        } else {
            let missing = pending.iter().copied().collect::<Vec<_>>().join(", ");
            tracing::info!(task, ?after, missing, "not ready yet");
        }
    }
}

// === impl ReadyTask ===

impl Drop for ReadyTask {
    fn drop(&mut self) {
        self.readiness.done(self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_is_ready_when_the_last_task_is_done() {
        let readiness = Readiness::default();
        assert!(!readiness.is_ready(), "no task has been registered");
        let (watch, sync) = (readiness.task("watch"), readiness.task("sync"));
        drop(sync);
        assert!(!readiness.is_ready());
        drop(watch);
        assert!(readiness.is_ready());
    }

    #[test]
    fn a_ready_daemon_stays_ready() {
        let readiness = Readiness::default();
        drop(readiness.task("watch"));
        let _late = readiness.task("late");
        assert!(readiness.is_ready());
    }
}
