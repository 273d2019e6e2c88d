//! The delays before another try after a failure.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// Delays that double with each failure in a row, up to a maximum.
#[derive(Clone, Debug)]
pub struct Backoff {
    initial: Duration,
    maximum: Duration,
    jitter: bool,
    /// Failures in a row.
    failures: u32,
}

/// Maximum doublings. Every maximum in use is reached earlier.
const MAX_DOUBLINGS: u32 = 16;

// === impl Backoff ===

impl Backoff {
    /// Delays of `initial`, twice that, four times that, and so on up to `maximum`.
    #[must_use]
    pub const fn new(initial: Duration, maximum: Duration) -> Self {
        Self { initial, maximum, jitter: false, failures: 0 }
    }

    /// Shortens each delay at random, to between half of it and all of it. So many clients of one
    /// server do not come back at the same moment.
    #[must_use]
    pub const fn with_jitter(self) -> Self {
        Self { jitter: true, ..self }
    }

    /// Counts a failure. Returns the delay before the next try.
    pub fn failed(&mut self) -> Duration {
        let doublings = self.failures.min(MAX_DOUBLINGS);
        self.failures = self.failures.saturating_add(1);
        let delay = self.maximum.min(self.initial.saturating_mul(1 << doublings));
        if self.jitter { jittered(delay) } else { delay }
    }

    /// Starts again with the initial delay, after a success or when the cause may have changed.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last reset.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

/// A random delay between half of `delay` and all of it, in steps of a two-thousandth.
fn jittered(delay: Duration) -> Duration {
    let share = RandomState::new().hash_one(()) % 1000;
    delay / 2 + delay / 2000 * share as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIAL: Duration = Duration::from_millis(50);
    const MAXIMUM: Duration = Duration::from_secs(5);

    fn delays(backoff: &mut Backoff, count: usize) -> Vec<u128> {
        (0..count).map(|_| backoff.failed().as_millis()).collect()
    }

    #[test]
    fn delays_double_up_to_the_maximum_and_stay_there() {
        let mut backoff = Backoff::new(INITIAL, MAXIMUM);
        let expected = [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000];
        assert_eq!(delays(&mut backoff, 9), expected);
        assert!(delays(&mut backoff, 100).iter().all(|&delay| delay == 5000));
    }

    #[test]
    fn a_reset_begins_with_the_initial_delay() {
        let mut backoff = Backoff::new(INITIAL, MAXIMUM);
        delays(&mut backoff, 5);
        assert_eq!(backoff.failures(), 5);
        backoff.reset();
        assert_eq!(backoff.failures(), 0);
        assert_eq!(delays(&mut backoff, 2), [50, 100]);
    }

    #[test]
    fn jitter_shortens_a_delay_by_half_at_most() {
        let mut backoff = Backoff::new(INITIAL, MAXIMUM).with_jitter();
        let delays = delays(&mut backoff, 40);
        assert!((25..=50).contains(&delays[0]), "{delays:?}");
        assert!(delays[8..].iter().all(|delay| (2500..=5000).contains(delay)), "{delays:?}");
        assert!(delays[8..].iter().any(|delay| *delay != delays[8]), "{delays:?}");
    }

    #[test]
    fn no_number_of_failures_overflows() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
        backoff.failures = u32::MAX;
        assert_eq!(backoff.failed(), Duration::MAX);
        assert_eq!(backoff.failures(), u32::MAX);
    }
}
