//! Suspects that a rule's target leads back to the rule's own port.
//!
//! In a loop, each connection to the target arrives as another client's, for which the target is
//! dialled again. None of them gets an answer. So dials in a row without a byte from the target
//! raise a suspicion. From then on dials wait, for a moment, until a probe has found out
//! (`control/facts/loop_probe.rs`). A target that is only slow is dialled as soon as the probe has
//! found no loop.
//!
//! An ordinary dial costs a load and two atomic additions here, and an answer a load.

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
    time::{Instant, sleep, timeout},
};

use super::probe_turn::ProbeTurn;

/// Maximum number of unanswered connections to a target without a suspicion, before [`SPREAD`].
pub const MAX_UNANSWERED: u32 = 4;
/// Each suspicion of a target needs up to this many more. Two rules of one loop must not suspect it
/// at the same time: each would hold the other one's probe.
const SPREAD: u32 = 8;
/// After so many suspicions in vain, the next one needs twice as many connections.
const MAX_CLOSE: u32 = 3;
/// How long a suspicion in vain has an effect on the next one.
const CALM: Duration = Duration::from_secs(60);
/// How long the first probe waits for its connection to come back.
pub const USUAL_PATIENCE: Duration = Duration::from_millis(60);
/// Each probe in vain doubles that, up to this: on a busy node, a connection comes back late.
const MAX_PATIENCE: Duration = Duration::from_millis(240);
/// Maximum time that a client waits for a probe.
const MAX_HOLD: Duration = Duration::from_millis(600);
/// How long a client waits while another rule's probe is under way, which may come through here.
const PASSING: Duration = Duration::from_millis(10);

/// What is known about the way of a target's connections.
#[derive(Debug)]
pub struct Suspicion {
    /// Open connections to the target since its last byte.
    unanswered: AtomicU32,
    /// Changes with each byte that answers some of them.
    epoch: AtomicU32,
    state: AtomicU8,
    /// Clients that wait for a verdict.
    waiting: AtomicU32,
    /// Maximum of `unanswered` without a suspicion, unless a probe was in vain lately.
    usual: u32,
    vain: Mutex<Vain>,
    /// Told when a suspicion arises.
    raised: Notify,
    /// Told when a probe is over.
    settled: Notify,
}

/// Why there is no suspicion any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissal {
    /// Probes found no loop. One that they missed must stay small until the next ones.
    NotFound,
    /// Clients went on coming while all of them waited. Those of a loop come one from the other.
    Contradicted,
}

/// The suspicions in vain, until the time given here.
#[derive(Debug)]
struct Vain {
    /// The maximum of `unanswered` without a suspicion.
    max: u32,
    /// How long the next probe waits for its connection to come back.
    patience: Duration,
    /// How many of them there were.
    count: u32,
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

/// A number below [`SPREAD`] that others can't predict.
fn spread() -> u32 {
    RandomState::new().hash_one(0) as u32 % SPREAD
}

const NONE: u8 = 0;
/// A probe is to find out.
const SUSPECTED: u8 = 1;
/// A probe is under way.
const PROBED: u8 = 2;
const LOOP: u8 = 3;

// === impl Suspicion ===

impl Default for Suspicion {
    fn default() -> Self {
        let usual = MAX_UNANSWERED + spread() / 2;
        Self {
            unanswered: AtomicU32::new(0),
            epoch: AtomicU32::new(0),
            state: AtomicU8::new(NONE),
            waiting: AtomicU32::new(0),
            usual,
            vain: Mutex::new(Vain::none(usual)),
            raised: Notify::new(),
            settled: Notify::new(),
        }
    }
}

impl Suspicion {
    /// Whether the target may be dialled for a client: it does not lead back, as far as is known.
    /// Waits while there is a suspicion.
    pub async fn admit(&self, turn: &ProbeTurn) -> bool {
        if self.is_loop() {
            return false;
        }
        let count = self.unanswered.load(Ordering::Relaxed);
        if count >= self.usual && count >= self.max() {
            // Boxed: else every connection would take the memory that only these need.
            Box::pin(self.wait(turn)).await;
        }
        !self.is_loop()
    }

    /// Notes a connection to the target for a client. One that is still being made is no sign of a
    /// loop, which accepts connections.
    #[must_use]
    pub fn opened(self: &Arc<Self>) -> Unanswered {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        let epoch = self.epoch.load(Ordering::Relaxed);
        Unanswered { suspicion: Arc::clone(self), epoch }
    }

    /// Whether the next client may have to wait.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed) >= self.usual
    }

    /// Whether clients go on coming while all of them wait.
    #[must_use]
    pub fn is_contradicted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > self.max() / 2
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
        self.state.load(Ordering::Relaxed) == LOOP
    }

    /// Waits for a suspicion, or for the certainty that there is a loop.
    pub async fn raised(&self) {
        self.raised.notified().await;
    }

    /// How long a probe waits for its connection to come back.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.vain.lock().current(self.usual).patience
    }

    /// Has a patient probe find out whether the target leads back, unless one did lately.
    pub fn suspect(&self) {
        if Instant::now() >= self.vain.lock().until && self.raise() {
            self.be_patient();
            self.raised.notify_one();
        }
    }

    /// Has a patient probe find out whether the target leads back, and waits for it.
    pub async fn settle(&self, turn: &ProbeTurn) {
        self.be_patient();
        self.wait(turn).await;
    }

    /// Lets the next probe wait long: it has a reason to expect its connection.
    fn be_patient(&self) {
        let mut vain = self.vain.lock();
        vain.current(self.usual);
        (vain.patience, vain.until) = (MAX_PATIENCE, Instant::now() + CALM);
    }

    /// Lets clients pass: another rule's probe is under way.
    pub fn let_pass(&self) {
        self.settled.notify_waiters();
    }

    /// Begins a probe. From now on, clients wait.
    pub fn begin_probe(&self) {
        let _ = self.change(SUSPECTED, PROBED);
    }

    /// Notes that the target leads back. It is not dialled any more.
    pub fn confirm(&self) {
        self.state.store(LOOP, Ordering::Relaxed);
        self.settled.notify_waiters();
        self.raised.notify_one();
    }

    /// Ends the suspicion.
    pub fn dismiss(&self, why: Dismissal) {
        {
            let mut vain = self.vain.lock();
            vain.current(self.usual);
            vain.max = match why {
                Dismissal::Contradicted => vain.max.saturating_mul(4),
                Dismissal::NotFound if vain.count < MAX_CLOSE => vain.max + 1 + spread(),
                Dismissal::NotFound => vain.max.saturating_mul(2),
            };
            vain.patience = (vain.patience * 2).min(MAX_PATIENCE);
            vain.count += 1;
            vain.until = Instant::now() + CALM;
        }
        let _ = self.change(SUSPECTED, NONE).or_else(|_| self.change(PROBED, NONE));
        self.settled.notify_waiters();
    }

    fn max(&self) -> u32 {
        self.vain.lock().current(self.usual).max
    }

    /// Begins a suspicion. False if there is one already.
    fn raise(&self) -> bool {
        self.change(NONE, SUSPECTED).is_ok()
    }

    fn change(&self, from: u8, to: u8) -> Result<u8, u8> {
        self.state.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
    }

    async fn wait(&self, turn: &ProbeTurn) {
        let mut settled = pin!(self.settled.notified());
        // From here on, no verdict is missed.
        settled.as_mut().enable();
        if self.raise() {
            self.raised.notify_one();
        } else if self.is_loop() {
            return;
        }
        if turn.is_taken() && self.state.load(Ordering::Relaxed) != PROBED {
            return sleep(PASSING).await;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        let _ = timeout(MAX_HOLD, settled).await;
    }
}

// === impl Vain ===

impl Vain {
    fn none(usual: u32) -> Self {
        Self { max: usual, patience: USUAL_PATIENCE, count: 0, until: Instant::now() }
    }

    /// What holds now.
    fn current(&mut self, usual: u32) -> &Self {
        if Instant::now() >= self.until {
            *self = Self::none(usual);
        }
        self
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
            assert!(suspicion.admit(&ProbeTurn::default()).await);
            admitted.push(suspicion.opened());
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
            async move { suspicion.admit(&ProbeTurn::default()).await }
        });
        suspicion.raised().await;
        assert!(!next.is_finished());
        suspicion.confirm();
        assert!(!next.await.expect("no panic"), "the target leads back");
        assert!(!suspicion.admit(&ProbeTurn::default()).await);
    }

    #[tokio::test]
    async fn a_slow_target_is_dialled_as_soon_as_it_is_no_loop() {
        let suspicion: Arc<Suspicion> = Arc::default();
        let started = Instant::now();
        let _open = admitted(&suspicion, suspicion.usual).await;
        let next = tokio::spawn({
            let suspicion = Arc::clone(&suspicion);
            async move { suspicion.admit(&ProbeTurn::default()).await }
        });
        suspicion.raised().await;
        suspicion.dismiss(Dismissal::NotFound);
        assert!(next.await.expect("no panic"));
        // The next suspicion needs more connections.
        let _more = admitted(&suspicion, suspicion.max() - suspicion.usual).await;
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
    async fn a_client_hardly_waits_while_another_rule_is_probed() {
        let (suspicion, turn) = (Arc::<Suspicion>::default(), ProbeTurn::default());
        let open = admitted(&suspicion, suspicion.usual).await;
        let _turn = turn.take().await;
        let started = Instant::now();
        assert!(suspicion.admit(&turn).await);
        assert!((PASSING..MAX_HOLD).contains(&started.elapsed()));
        // The rule's own probe follows.
        suspicion.raised().await;
        suspicion.begin_probe();
        let started = Instant::now();
        assert!(suspicion.admit(&turn).await);
        assert!(started.elapsed() >= MAX_HOLD);
        drop(open);
    }

    #[tokio::test]
    async fn what_probes_missed_stays_small_and_the_next_ones_are_more_patient() {
        let suspicion = Suspicion::default();
        let (max, patience) = (suspicion.max(), suspicion.patience());
        for count in 1..=MAX_CLOSE {
            suspicion.dismiss(Dismissal::NotFound);
            let close = max + count..=max + count * SPREAD;
            assert!(close.contains(&suspicion.max()), "{} {close:?}", suspicion.max());
            let doubled = patience * 2_u32.pow(count);
            assert_eq!(suspicion.patience(), doubled.min(MAX_PATIENCE));
        }
        let max = suspicion.max();
        suspicion.dismiss(Dismissal::NotFound);
        assert_eq!((suspicion.max(), suspicion.patience()), (2 * max, MAX_PATIENCE));
        suspicion.dismiss(Dismissal::Contradicted);
        assert_eq!(suspicion.max(), 8 * max);
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
