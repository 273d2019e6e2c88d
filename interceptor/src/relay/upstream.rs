//! The connection to whoever serves a client, and how it ends.

use std::sync::{Arc, atomic::Ordering};

use super::{dial::Upstream, socket, workload::Workload};

/// The connection to one of those who serve a caller.
#[derive(Debug)]
pub struct Server {
    /// The connection.
    pub upstream: Upstream,
    workload: Arc<Workload>,
}

// === impl Server ===

impl Server {
    /// Takes charge of `upstream`, a connection of `workload`.
    #[must_use]
    pub fn new(upstream: Upstream, workload: &Arc<Workload>) -> Self {
        Self { upstream, workload: Arc::clone(workload) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // In a namespace that is gone, a FIN would wait for an answer that can't come.
        if self.workload.cut.load(Ordering::Relaxed) {
            socket::reset_on_close(&self.upstream.stream);
        }
    }
}
