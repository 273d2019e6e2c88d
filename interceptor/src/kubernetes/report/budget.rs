//! A token bucket: how often something may happen.

use std::time::Duration;

use tokio::time::Instant;

/// Allows a burst, and then one use at a time.
#[derive(Debug)]
pub(super) struct Budget {
    burst: u32,
    refill: Duration,
    /// When the bucket is full again. A time in the past means that it is full.
    full_at: Instant,
}

// === impl Budget ===

impl Budget {
    /// Allows `burst` uses at once, and one more every `refill`.
    pub(super) fn new(burst: u32, refill: Duration) -> Self {
        Self { burst, refill, full_at: Instant::now() }
    }

    /// Uses the budget once.
    ///
    /// # Errors
    /// The budget is used up; the error is the time of the next use.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let full_at = self.full_at.max(now) + self.refill;
        let last = now + self.refill * self.burst;
        if full_at > last {
            return Err(now + (full_at - last));
        }
        self.full_at = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_at_a_time() {
        const REFILL: Duration = Duration::from_secs(10);
        let mut budget = Budget::new(3, REFILL);
        let now = Instant::now();
        for _ in 0..3 {
            assert!(budget.take(now).is_ok());
        }
        let next = budget.take(now).expect_err("used up");
        assert!(next <= now + REFILL, "{:?}", next - now);
        assert!(budget.take(next).is_ok());
        assert!(budget.take(next).is_err());
        let much_later = next + 10 * REFILL;
        assert_eq!(
            (0..10).filter(|_| budget.take(much_later).is_ok()).count(),
            3,
            "an idle bucket holds no more than the burst"
        );
    }
}
