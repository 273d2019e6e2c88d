//! Suspects that a rule's target leads back to the rule's own port.
//!
//! In a loop, each connection to the target arrives as another client's, for which the target is
//! dialled again. None of them gets an answer. So dials in a row without a byte from the target
//! raise a suspicion. From then on dials wait, for a moment, until a probe has found out
//! (`control/facts/loop_probe.rs`). A target that is only slow is dialled as soon as the probe has
//! found no loop.
//!
//! An ordinary dial costs two atomic additions here, and an answer a load.

use std::{
    hash::{BuildHasher as _, RandomState},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

/// Maximum number of unanswered connections to a target without a suspicion, before [`SPREAD`].
pub const MAX_UNANSWERED: u32 = 4;
/// Each target gets up to this many more. Two rules of one loop must not suspect it at the same
/// time: each would hold the other one's probe.
const SPREAD: u32 = 4;
/// After a probe that found no loop, this many times more connections raise the next suspicion.
const PATIENCE: u32 = 4;
/// How long that lasts.
const CALM: Duration = Duration::from_secs(60);
/// Maximum time that a client waits for a probe.
const MAX_HOLD: Duration = Duration::from_millis(300);

/// What is known about the way of a target's connections.
#[derive(Debug)]
pub struct Suspicion {
    /// Open connections to the target since its last byte, and dials in progress.
    unanswered: AtomicU32,
    /// Changes with each byte that answers some of them.
    epoch: AtomicU32,
    verdict: AtomicU8,
    /// Clients that wait for a verdict.
    waiting: AtomicU32,
    /// Maximum of `unanswered` without a suspicion, unless a probe was in vain lately.
    usual: u32,
    relaxed: Mutex<Relaxed>,
    /// Told when a suspicion arises.
    raised: Notify,
    /// Told when a probe is over.
    settled: Notify,
}

/// The maximum after probes that found no loop.
#[derive(Debug)]
struct Relaxed {
    max: u32,
    until: Instant,
}

/// A connection to the target that has no answer yet. Dropping this forgets it.
#[derive(Debug)]
pub struct Unanswered {
    suspicion: Arc<Suspicion>,
    epoch: u32,
}

/// A client that waits for a verdict, or has gone.
struct Waiting<'a>(&'a AtomicU32);

const NONE: u8 = 0;
const SUSPECTED: u8 = 1;
const LOOP: u8 = 2;

// === impl Suspicion ===

impl Default for Suspicion {
    fn default() -> Self {
        let usual = MAX_UNANSWERED + RandomState::new().hash_one(0) as u32 % SPREAD;
        Self {
            unanswered: AtomicU32::new(0),
            epoch: AtomicU32::new(0),
            verdict: AtomicU8::new(NONE),
            waiting: AtomicU32::new(0),
            usual,
            relaxed: Mutex::new(Relaxed { max: usual, until: Instant::now() }),
            raised: Notify::new(),
            settled: Notify::new(),
        }
    }
}

impl Suspicion {
    /// Announces a connection to the target for a client. Waits while there is a suspicion. `None`
    /// if the target leads back: it is not to be dialled.
    pub async fn admit(self: &Arc<Self>) -> Option<Unanswered> {
        if self.is_loop() {
            return None;
        }
        let count = self.unanswered.fetch_add(1, Ordering::Relaxed) + 1;
        let epoch = self.epoch.load(Ordering::Relaxed);
        let unanswered = Unanswered { suspicion: Arc::clone(self), epoch };
        if count > self.usual && count > self.max() {
            // Boxed: else every connection would take the memory that only these need.
            Box::pin(self.wait()).await;
        }
        (!self.is_loop()).then_some(unanswered)
    }

    /// Whether clients go on coming while all of them wait. Those of a loop come one from the
    /// other, so they stop.
    #[must_use]
    pub fn is_contradicted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > self.max() / 4
    }

    /// Notes that the target has sent something.
    pub fn answered(&self) {
        // The usual case must not write to a cache line that all workers read.
        if self.unanswered.load(Ordering::Relaxed) != 0 {
            self.epoch.fetch_add(1, Ordering::Relaxed);
            self.unanswered.store(0, Ordering::Relaxed);
        }
    }

    /// Whether the target leads back.
    #[must_use]
    pub fn is_loop(&self) -> bool {
        self.verdict.load(Ordering::Relaxed) == LOOP
    }

    /// Waits for a suspicion, or for the certainty that there is a loop.
    pub async fn raised(&self) {
        self.raised.notified().await;
    }

    /// Has a probe find out whether the target leads back, unless one did lately.
    pub fn suspect(&self) {
        if Instant::now() >= self.relaxed.lock().until && self.raise() {
            self.raised.notify_one();
        }
    }

    /// Has a probe find out whether the target leads back, and waits for it.
    pub async fn settle(&self) {
        self.wait().await;
    }

    /// Notes that the target leads back. It is not dialled any more.
    pub fn confirm(&self) {
        self.verdict.store(LOOP, Ordering::Relaxed);
        self.settled.notify_waiters();
        self.raised.notify_one();
    }

    /// Notes that a probe found no loop.
    pub fn dismiss(&self) {
        {
            let mut relaxed = self.relaxed.lock();
            let max = if Instant::now() < relaxed.until { relaxed.max } else { self.usual };
            *relaxed = Relaxed { max: max.saturating_mul(PATIENCE), until: Instant::now() + CALM };
        }
        let order = Ordering::Relaxed;
        let _ = self.verdict.compare_exchange(SUSPECTED, NONE, order, order);
        self.settled.notify_waiters();
    }

    fn max(&self) -> u32 {
        let relaxed = self.relaxed.lock();
        if Instant::now() < relaxed.until { relaxed.max } else { self.usual }
    }

    /// Begins a suspicion. False if there is one already.
    fn raise(&self) -> bool {
        let order = Ordering::Relaxed;
        self.verdict.compare_exchange(NONE, SUSPECTED, order, order).is_ok()
    }

    async fn wait(&self) {
        let mut settled = pin!(self.settled.notified());
        // From here on, no verdict is missed.
        settled.as_mut().enable();
        if self.raise() {
            self.raised.notify_one();
        } else if self.is_loop() {
            return;
        }
        // A probe that takes longer has a slow way, on which a loop grows slowly, too.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        let _ = timeout(MAX_HOLD, settled).await;
    }
}

// === impl Waiting ===

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Unanswered ===

impl Drop for Unanswered {
    fn drop(&mut self) {
        let Suspicion { unanswered, epoch, .. } = &*self.suspicion;
        // An answer since then has set the count to zero.
        if epoch.load(Ordering::Relaxed) == self.epoch {
            let _ = unanswered
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn admitted(suspicion: &Arc<Suspicion>, count: u32) -> Vec<Unanswered> {
        let mut admitted = Vec::new();
        for _ in 0..count {
            admitted.push(suspicion.admit().await.expect("no loop"));
        }
        admitted
    }

    #[tokio::test]
    async fn unanswered_connections_raise_a_suspicion_that_holds_the_next_one() {
        let suspicion: Arc<Suspicion> = Arc::default();
        let usual = suspicion.usual;
        let _open = admitted(&suspicion, usual).await;
        let next = tokio::spawn({
            let suspicion = Arc::clone(&suspicion);
            async move { suspicion.admit().await.is_some() }
        });
        suspicion.raised().await;
        assert!(!next.is_finished());
        suspicion.confirm();
        assert!(!next.await.expect("no panic"), "the target leads back");
        assert!(suspicion.admit().await.is_none());
    }

    #[tokio::test]
    async fn a_slow_target_is_dialled_as_soon_as_it_is_no_loop() {
        let suspicion: Arc<Suspicion> = Arc::default();
        let started = Instant::now();
        let _open = admitted(&suspicion, suspicion.usual).await;
        let next = tokio::spawn({
            let suspicion = Arc::clone(&suspicion);
            async move { suspicion.admit().await.is_some() }
        });
        suspicion.raised().await;
        suspicion.dismiss();
        assert!(next.await.expect("no panic"));
        // The next suspicion needs more connections.
        let _more = admitted(&suspicion, suspicion.usual).await;
        assert!(started.elapsed() < MAX_HOLD, "a client waited for the clock");
    }

    #[tokio::test]
    async fn a_client_does_not_wait_for_a_probe_that_takes_long() {
        let suspicion: Arc<Suspicion> = Arc::default();
        let started = Instant::now();
        let _open = admitted(&suspicion, suspicion.usual + 1).await;
        assert!(started.elapsed() >= MAX_HOLD);
    }

    #[tokio::test]
    async fn answers_and_ends_leave_no_suspicion() {
        let suspicion: Arc<Suspicion> = Arc::default();
        let started = Instant::now();
        for _ in 0..10 {
            let open = admitted(&suspicion, suspicion.usual).await;
            suspicion.answered();
            drop(open);
            drop(admitted(&suspicion, suspicion.usual).await);
        }
        assert_eq!(suspicion.unanswered.load(Ordering::Relaxed), 0);
        assert!(started.elapsed() < MAX_HOLD);
    }
}
