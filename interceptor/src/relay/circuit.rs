//! The circuit breaker of a target: no client waits for a laptop that is asleep.
//!
//! Only silence counts (time-outs, unreachable). A target that *refuses* costs its client nothing
//! and is back as soon as it listens, so it is dialled for every connection. What is reported of a
//! target is another matter: see `answer.rs`.

use std::sync::atomic::{AtomicU32, Ordering};

/// The number of failures in a row that opens the circuit.
pub const THRESHOLD: u32 = 3;

/// The failures in a row of one target, shared by all workers.
#[derive(Debug, Default)]
pub struct Circuit {
    failures: AtomicU32,
}

// === impl Circuit ===

impl Circuit {
    /// Whether clients go to the app without waiting for this target.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= THRESHOLD
    }

    /// Notes that the target answered, if only by a refusal. True if that closed the circuit.
    pub fn answered(&self) -> bool {
        // The usual case must not write to a cache line that all workers read.
        self.failures.load(Ordering::Relaxed) != 0
            && self.failures.swap(0, Ordering::Relaxed) >= THRESHOLD
    }

    /// Opens it: the daemon's own check got no answer, so no client has to wait for one.
    pub fn open(&self) {
        self.failures.fetch_max(THRESHOLD, Ordering::Relaxed);
    }

    /// Notes that the target was silent. True if that opened the circuit.
    pub fn silent(&self) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed) + 1 == THRESHOLD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_once_after_the_threshold_and_closes_with_the_first_answer() {
        let circuit = Circuit::default();
        assert!(!circuit.silent());
        assert!(!circuit.silent());
        assert!(!circuit.is_open());
        assert!(circuit.silent(), "the third failure opens it");
        assert!(!circuit.silent(), "opened already");
        assert!(circuit.is_open());
        assert!(circuit.answered(), "closes");
        assert!(!circuit.is_open());
        assert!(!circuit.answered(), "closed already");
    }

    #[test]
    fn a_check_without_an_answer_opens_it_at_once() {
        let circuit = Circuit::default();
        circuit.silent();
        circuit.open();
        assert!(circuit.is_open());
        assert!(!circuit.silent(), "opened already");
        assert!(circuit.answered());
        assert!(!circuit.is_open());
    }

    #[test]
    fn failures_must_be_in_a_row() {
        let circuit = Circuit::default();
        circuit.silent();
        circuit.silent();
        circuit.answered();
        circuit.silent();
        circuit.silent();
        assert!(!circuit.is_open());
    }
}
