//! The circuit breaker of a target: no caller waits for a laptop that is asleep.
//!
//! Only silence counts (time-outs, unreachable): a target that *refuses* costs its caller nothing
//! and is back the moment it listens, so it is asked every time.

use std::sync::atomic::{AtomicU32, Ordering};

/// This many failures in a row open the circuit.
pub const THRESHOLD: u32 = 3;

/// Consecutive failures of one target, shared by all workers.
#[derive(Debug, Default)]
pub struct Circuit {
    failures: AtomicU32,
}

// === impl Circuit ===

impl Circuit {
    /// Whether callers should not wait for this target.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= THRESHOLD
    }

    /// The target answered, were it by refusing. True if that closed the circuit.
    pub fn answered(&self) -> bool {
        // The common case must not write to a cache line that all workers read.
        self.failures.load(Ordering::Relaxed) != 0
            && self.failures.swap(0, Ordering::Relaxed) >= THRESHOLD
    }

    /// The target was silent. True if that opened the circuit.
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
