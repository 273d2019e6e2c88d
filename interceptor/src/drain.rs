//! Gives connections time to end by themselves.
//!
//! After the kernel has stopped steering, two kinds of connections still need the relay. Some are
//! open. Others are in their handshake and not counted yet. So a drain lasts at least for a grace
//! time, and at most until a deadline.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout_at},
};

/// How long a disarmed namespace keeps its listeners, and a released port its routes.
///
/// Handshakes that were under way need it: two retransmissions of a SYN-ACK on a slow path.
pub const GRACE: Duration = Duration::from_secs(3);

/// The grace time at the end of the daemon. A lost SYN-ACK is sent again after a second.
pub const GRACE_AT_EXIT: Duration = Duration::from_millis(1_500);

/// Counts open connections, and wakes tasks that wait for the last one to end.
#[derive(Debug, Default)]
pub struct OpenConnections {
    count: AtomicUsize,
    all_ended: Notify,
}

// === impl OpenConnections ===

impl OpenConnections {
    /// The number of open connections.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts one more.
    pub fn opened(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one less.
    pub fn closed(&self) {
        if self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.all_ended.notify_waiters();
        }
    }

    /// Waits for a moment at which none is open.
    pub async fn all_ended(&self) {
        loop {
            let mut ended = pin!(self.all_ended.notified());
            // From here on, no wake-up is missed. So read the count now.
            ended.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Waits until all have ended, but at least for `grace`. Gives up after `deadline`, even within
    /// `grace`. Returns the number of connections that are still open.
    pub async fn drain(&self, grace: Duration, deadline: Duration) -> usize {
        let end = Instant::now() + deadline;
        let drained = async {
            sleep(grace).await;
            self.all_ended().await;
        };
        match timeout_at(end, drained).await {
            Ok(()) => 0,
            Err(_elapsed) => self.count(),
        }
    }
}

/// Runs `then` on the current runtime after [`GRACE`].
pub fn after_grace(then: impl FnOnce() + Send + 'static) {
    tokio::spawn(async move {
        sleep(GRACE).await;
        then();
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::yield_now;

    use super::*;

    const NO_GRACE: Duration = Duration::ZERO;
    const SHORT: Duration = Duration::from_millis(30);
    const LONG: Duration = Duration::from_secs(60);

    /// A drain under way, with this many open connections.
    async fn draining(
        open: usize,
        grace: Duration,
    ) -> (Arc<OpenConnections>, tokio::task::JoinHandle<usize>) {
        let connections = Arc::new(OpenConnections::default());
        (0..open).for_each(|_| connections.opened());
        let drained = Arc::clone(&connections);
        let drain = tokio::spawn(async move { drained.drain(grace, LONG).await });
        yield_now().await;
        (connections, drain)
    }

    #[tokio::test]
    async fn a_drain_ends_with_the_last_connection() {
        let (connections, drain) = draining(2, NO_GRACE).await;
        connections.closed();
        yield_now().await;
        assert!(!drain.is_finished());
        connections.closed();
        assert_eq!(drain.await.expect("no panic"), 0);
    }

    #[tokio::test]
    async fn a_connection_that_comes_in_between_is_waited_for() {
        let (connections, drain) = draining(1, NO_GRACE).await;
        connections.closed();
        connections.opened();
        yield_now().await;
        assert!(!drain.is_finished());
        connections.closed();
        assert_eq!(drain.await.expect("no panic"), 0);
    }

    #[tokio::test]
    async fn a_drain_lasts_for_its_grace_time_at_least() {
        let started = Instant::now();
        let (_connections, drain) = draining(0, SHORT).await;
        assert_eq!(drain.await.expect("no panic"), 0);
        assert!(started.elapsed() >= SHORT);
    }

    #[tokio::test]
    async fn a_deadline_ends_a_drain_with_connections_and_within_the_grace_time() {
        let connections = OpenConnections::default();
        connections.opened();
        connections.opened();
        assert_eq!(connections.drain(NO_GRACE, SHORT).await, 2);
        assert_eq!(connections.drain(LONG, SHORT).await, 2);
        assert_eq!(OpenConnections::default().drain(LONG, SHORT).await, 0);
    }
}
