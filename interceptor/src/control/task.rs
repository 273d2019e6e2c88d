//! A background task that ends when its owner drops it.

use tokio::task::JoinHandle;

/// Aborts the task when dropped.
#[derive(Debug)]
pub struct OwnedTask(JoinHandle<()>);

// === impl OwnedTask ===

impl OwnedTask {
    /// Starts `task` on the current runtime.
    pub fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }

    /// Whether the task has ended by itself.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for OwnedTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}
