//! One loop probe (`control/facts/loop_probe.rs`) at a time on a node.
//!
//! Two rules of one loop would hold each other's probe, and neither would find the loop.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, MutexGuard};

/// The place where the right to probe is taken.
#[derive(Debug, Default)]
pub struct ProbeTurn {
    lock: Mutex<()>,
    is_taken: AtomicBool,
}

/// The right to probe. It ends when this is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    is_taken: &'a AtomicBool,
    _lock: MutexGuard<'a, ()>,
}

// === impl ProbeTurn ===

impl ProbeTurn {
    /// The right to probe, unless another probe is under way.
    pub fn try_take(&self) -> Option<Turn<'_>> {
        self.lock.try_lock().ok().map(|lock| self.taken(lock))
    }

    /// The right to probe. Waits for other probes to end.
    pub async fn take(&self) -> Turn<'_> {
        self.taken(self.lock.lock().await)
    }

    /// Whether a probe is under way.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.is_taken.load(Ordering::Relaxed)
    }

    fn taken<'a>(&'a self, lock: MutexGuard<'a, ()>) -> Turn<'a> {
        self.is_taken.store(true, Ordering::Relaxed);
        Turn { is_taken: &self.is_taken, _lock: lock }
    }
}

// === impl Turn ===

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.is_taken.store(false, Ordering::Relaxed);
    }
}
